# SPDX-License-Identifier: MIT
"""Our machine on KVM: what registers and kicks cost a guest, and how many
kicks a request for a disk takes. bench/vmm measures; this keeps what it
said."""
import os
import re
import subprocess


def run(args, _):
    program = os.path.join(args.build, "bench", "vmm")
    if not os.path.exists(program) or not os.path.exists("/dev/kvm"):
        print("bench: our machine needs a PC with /dev/kvm: left out")
        return []
    done = subprocess.run([program], stdout=subprocess.PIPE, timeout=120,
                          check=True, universal_newlines=True)
    print(done.stdout, end="", flush=True)
    found = re.findall(r"^ *([\d.]+) +(ns +)?(.*)$", done.stdout, re.M)
    return [{"what": what, "value": float(number),
             "unit": unit.strip() or "1"} for number, unit, what in found]
