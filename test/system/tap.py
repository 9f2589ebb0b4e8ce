#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vireo tap between guests and our disk: nothing changes for them, and what
it writes down is what happened; Wireshark can read it."""
import os
import re
import shutil
import time

from disks import Machine
from guests import BIN, Skip, Suite, expect, need_qemu, need_uml, tool, wait_for

suite = Suite()
# Written, and read back from the disk.
COPY = """dd if=/dev/urandom of=/w bs=1M count=4 2>/dev/null
dd if=/w of=/dev/vda bs=64k conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
cmp -n 4194304 /w /dev/vda && exit 4"""


def tapped(t, vmm, device=""):
    """Gives the record's lines."""
    image, record = t.path("img"), t.path("record")
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    machine = Machine(t, vmm, "", device)
    machine.serve("--blk-file=" + image)
    back, machine.socket = machine.socket, t.path("front")
    tap = t.popen(os.path.join(BIN, "vireo-tap"), machine.socket, back,
                  "--write=" + record, "--once")
    wait_for(lambda: os.path.exists(machine.socket), 60, "no socket")
    code, out = machine.boot_to_end(COPY)
    expect(code == 4, code, out)
    said, _ = tap.communicate(timeout=120)
    expect(tap.returncode == 0 and not said, said)
    machine.socket = back
    machine.stop()
    return tool(os.path.join(BIN, "vireo-tap"), "-r", record).splitlines()


def check(lines):
    count = {word: sum(bool(re.search(word, line)) for line in lines)
             for word in (" avail head ", " used head ", "kick$", "call$",
                          "SET_VRING_KICK", "STUCK", "jumped")}
    # 8 MiB in requests of at most 1 MiB, and the partition table.
    expect(count[" used head "] >= 9, count)
    expect(abs(count[" avail head "] - count[" used head "]) <= 8, count)
    expect(count["SET_VRING_KICK"] or count["kick$"], count)
    expect(not count["STUCK"] and not count["jumped"], count,
           [line for line in lines if "STUCK" in line or "jumped" in line])
    expect(any("the front end left" in line for line in lines), lines[-3:])
    return count


@suite.case
def user_mode_linux_kicks_by_message(t):
    need_uml()
    lines = tapped(t, "uml")
    check(lines)
    expect(any("-> VRING_KICK" in line for line in lines), "no message")
    expect(any("<- BACKEND_VRING_CALL" in line for line in lines), "no call")


@suite.case
def qemu_packed(t):
    need_qemu()
    lines = tapped(t, "qemu", ",packed=on")
    count = check(lines)
    expect(count["kick$"] and count["call$"], count)


@suite.case
def wireshark_reads_it(t):
    if not shutil.which("tshark"):
        raise Skip("package tshark is not installed")
    sock, record, lua = t.path("b"), t.path("record"), t.path("vireo.lua")
    daemon = t.popen(os.path.join(BIN, "vireo-rng"), "--socket-path=" + sock)
    tap = t.popen(os.path.join(BIN, "vireo-tap"), t.path("f"), sock,
                  "--write=" + record)
    wait_for(lambda: os.path.exists(t.path("f")) and os.path.exists(sock), 60,
             "no socket")
    tool(os.path.join(BIN, "vireo-probe"), t.path("f"))
    time.sleep(0.2)
    for child in (tap, daemon):
        child.terminate()
        expect(child.wait(10) == 0, "exit code")
    with open(lua, "w") as f:
        f.write(tool(os.path.join(BIN, "vireo-tap"), "--dissector"))
    out = tool("tshark", "-X", "lua_script:" + lua, "-r", record, "-T",
               "fields", "-e", "vireo.kind", "-e", "vireo.name", "-e",
               "vireo.queue")
    expect("1\tADD_MEM_REG\t65535" in out, out[-2000:])
    expect(re.search(r"^3\t\t0$", out, re.M), "no used buffer", out[-2000:])


suite.main()
