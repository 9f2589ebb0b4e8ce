#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The checks of scripts/ find what they are there to find: each runs over a
small tree with one fault in it, and over the same tree without."""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = sys.argv[1]
SPDX = "/* SPDX-License-Identifier: MIT */\n"

BASE_H = SPDX + "#include <stdint.h>\n"
MB = "void pause_here(void);\nvoid vio_mb(void);\n"

# check, what is wrong, path, text of the faulty file, text of a right one
CASES = [
    ("spdx", "no licence line", "core/base/a.c",
     "int a;\n", SPDX + "int a;\n"),
    ("style", "a long line", "core/base/a.c",
     SPDX + "/* " + "x" * 80 + " */\n", SPDX + "/* " + "x" * 70 + " */\n"),
    ("style", "a blank at a line's end", "core/base/a.c",
     SPDX + "int a; \n", SPDX + "int a;\n"),
    ("style", "a long function", "core/base/a.c",
     SPDX + "int f(void)\n{\n" + "\t;\n" * 61 + "}\n",
     SPDX + "int f(void)\n{\n" + "\t;\n" * 60 + "}\n"),
    ("style", "deep nesting", "core/base/a.c",
     SPDX + "void f(void)\n{\n" + "".join(
         "\t" * n + "if (1) {\n" for n in range(1, 6)) + "}\n",
     SPDX + "void f(void)\n{\n" + "".join(
         "\t" * n + "if (1) {\n" for n in range(1, 5)) + "}\n"),
    ("style", "a long file", "core/base/a.c",
     SPDX + "\n" * 800, SPDX + "\n" * 799),
    ("includes", "an upward include", "core/ring/a.c",
     SPDX + '#include "core/dev/dev.h"\n',
     SPDX + '#include "core/mem/mem.h"\n'),
    ("includes", "a device that knows another", "core/device/blk.c",
     SPDX + '#include "core/device/net.h"\n',
     SPDX + '#include "core/device/blk-conf.h"\n'),
    ("includes", "a C library header in the core", "core/ring/a.c",
     SPDX + "#include <stdlib.h>\n", SPDX + "#include <stdint.h>\n"),
    ("includes", "a cycle", "core/dev/dev.h",
     SPDX + '#include "core/dev/dev2.h"\n', SPDX),
    ("labels", "a barrier without a partner's name", "core/ring/a.c",
     SPDX + MB + "void f(void)\n{\n" + "\tpause_here();\n" * 9 +
     "\tvio_mb();\n}\n",
     SPDX + MB + "/* pairs with [A]: g() */\nvoid f(void)\n{\n"
     "\tvio_mb();\n}\n/* pairs with [A]: f() */\n"),
    ("labels", "a label that stands once", "core/ring/a.c",
     SPDX + "/* pairs with [A]: g() */\n",
     SPDX + "/* pairs with [A]: g() */\n/* pairs with [A]: f() */\n"),
    ("headers", "a header that needs another first", "include/vireo/a.h",
     SPDX + "extern uint32_t a;\n", BASE_H + "extern uint32_t a;\n"),
    ("headers", "a header that is no C++", "include/vireo/a.h",
     SPDX + "extern int class;\n", SPDX + "extern int klass;\n"),
    ("headers", "a header without a guard", "include/vireo/a.h",
     SPDX + "struct a { int b; };\n", SPDX + "struct a;\n"),
    ("freestanding", "a call of the C library", "core/base/a.c",
     SPDX + "int puts(const char *);\nint f(void);\n"
     'int f(void) { return puts("x"); }\n',
     SPDX + "int f(void);\nint f(void) { return 1; }\n"),
    ("freestanding", "an atomic that 32 bits lack", "core/base/a.c",
     SPDX + "extern long long a;\nvoid f(void);\n"
     "long long a;\nvoid f(void) { __atomic_fetch_add(&a, 1, 5); }\n",
     SPDX + "extern int a;\nvoid f(void);\n"
     "int a;\nvoid f(void) { __atomic_fetch_add(&a, 1, 5); }\n"),
    ("sparse", "a wrong null pointer", "core/base/a.c",
     SPDX + "extern char *a;\nchar *a = 0;\n",
     SPDX + "extern char *a;\nchar *a = (void *)0;\n"),
    ("clauses", "a clause that does not exist", "test/a.c",
     SPDX + 'TEST("x", "core.nonsense.1")\n',
     SPDX + 'TEST("x", "core.driver.device-status-field.1")\n'),
    ("docs", "an excerpt that is out of date", "doc/a.md",
     "<!-- from core/mem/mem.h -->\n```c\nint a;\n```\n",
     "<!-- from core/mem/mem.h -->\n```c\n" + SPDX + "```\n"),
    ("docs", "a link to nothing", "doc/a.md",
     "[a](nothing.md)\n", "[a](clauses.tsv)\n"),
    ("man", "an unknown macro", "cmd/a.1",
     '.\\" SPDX-License-Identifier: MIT\n.TH A 1\n.SH NAME\na \\- b\n.XX\n',
     '.\\" SPDX-License-Identifier: MIT\n.TH A 1\n.SH NAME\na \\- b\n'),
]

# What the trees hold beside the file in question.
COMMON = {
    "doc/clauses-reasons.tsv": "",
    "doc/clauses-traced.txt": "",
    "core/mem/mem.h": SPDX,
    "core/dev/dev.h": SPDX,
    "core/dev/dev2.h": SPDX + '#include "core/dev/dev.h"\n',
    "core/device/net.h": SPDX,
    "core/device/blk-conf.h": SPDX,
}


def write(top, path, text):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def verdict(check, path, text):
    with tempfile.TemporaryDirectory() as top:
        shutil.copytree(os.path.join(SOURCE, "scripts"),
                        os.path.join(top, "scripts"))
        write(top, "include/vireo/base.h", BASE_H)
        os.makedirs(os.path.join(top, "doc"), exist_ok=True)
        shutil.copy(os.path.join(SOURCE, "doc", "clauses.tsv"),
                    os.path.join(top, "doc"))
        for name, common in COMMON.items():
            write(top, name, common)
        write(top, path, text)
        done = subprocess.run(
            [os.path.join(top, "scripts", "check-" + check)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True)
        return done.returncode, done.stdout


def judge(check, path, bad, good):
    code, text = verdict(check, path, bad)
    if code == 0:
        return "the fault was not found"
    if os.path.basename(path) not in text and check != "freestanding":
        return "something else was found: " + text
    code, text = verdict(check, path, good)
    if code != 0:
        return "without the fault: " + text
    return None


def main():
    failed = 0
    for nr, (check, what, path, bad, good) in enumerate(CASES, 1):
        wrong = judge(check, path, bad, good)
        failed += wrong is not None
        print("%s %d - check-%s finds %s" %
              ("not ok" if wrong else "ok", nr, check, what))
        if wrong:
            print("# " + wrong.replace("\n", "\n# "))
    print("1..%d" % len(CASES))
    return 1 if failed else 0


sys.exit(main())
