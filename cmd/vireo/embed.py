# SPDX-License-Identifier: MIT
"""embed.py OUT NAME=FILE...: make a C file that holds each FILE as
`const char NAME[]` and its size as `const size_t NAME_size`."""
import sys

out = ['/* Made by embed.py. */', '#include "guest.h"']
for pair in sys.argv[2:]:
    name, path = pair.split("=", 1)
    with open(path, "rb") as f:
        data = f.read()
    rows = [", ".join(str(b) for b in data[i:i + 16])
            for i in range(0, len(data), 16)]
    out.append("const char %s[] = {\n\t%s\n};" % (name, ",\n\t".join(rows)))
    out.append("const size_t %s_size = sizeof(%s);" % (name, name))
with open(sys.argv[1], "w") as f:
    f.write("\n".join(out) + "\n")
