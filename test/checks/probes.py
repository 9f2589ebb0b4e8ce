#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The static probes are in the programs that were built."""
import os
import re
import subprocess
import sys

NAMES = {"message": 3, "kick": 1, "serve": 3, "served": 3, "notify": 1}


def main():
    if not any(os.path.exists(os.path.join("/usr/include", d, "sys/sdt.h"))
               for d in ("", "x86_64-linux-gnu")):
        print("package systemtap-sdt-dev is not installed")
        sys.exit(77)
    for name in ("vireo-blk", "vireo-console", "vireo-rng"):
        notes = subprocess.run(
            ["readelf", "-n", os.path.join(sys.argv[1], name)], check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        seen = {}
        for probe in re.finditer(r"Provider: vireo\s+Name: (\S+)\s+"
                                 r"Location: .*\s+Arguments:(.*)", notes):
            seen[probe.group(1)] = len(probe.group(2).split())
        if seen != NAMES:
            print(notes[:2000])
            sys.exit("%s has the probes %s, not %s" % (name, seen, NAMES))
    print("ok")


main()
