# SPDX-License-Identifier: MIT
"""A daemon hands its guest over to a successor while the guest writes: the
guest sees a pause and no error, and the successor's successor has it next."""
import json
import os
import subprocess
import time

from disks import Machine
from guests import (BIN, Suite, expect, need_qemu, need_uml, tool,
                    wait_for)
from load import LOAD

suite = Suite()


class Line:
    """Daemons of which each inherits from the one before."""

    def __init__(self, s, machine, image):
        self.s = s
        self.machine = machine
        self.words = ["--socket-path=" + machine.socket,
                      "--blk-file=" + image,
                      "--control-path=" + s.path("control")]
        self.path = s.path("upgrade")
        self.log = s.path("log")
        self.daemon = self.start("--upgrade-path=" + self.path)
        wait_for(lambda: os.path.exists(machine.socket), 5, "no socket")

    def start(self, *more):
        return self.s.popen(os.path.join(BIN, "vireo-blk"), *self.words,
                            *more, stdout=subprocess.DEVNULL,
                            stderr=open(self.log, "ab"))

    def said(self):
        with open(self.log) as log:
            return log.read()

    def upgrade(self):
        before = self.said().count("took a session over")
        old, self.daemon = self.daemon, self.start("--inherit=" + self.path)
        code = old.wait(timeout=15)
        expect(code == 0, "the predecessor ends with", code, self.said())
        wait_for(lambda: self.said().count("took a session over") > before,
                 5, self.said)
        expect(self.daemon.poll() is None, self.said())
        expect(self.answers() == self.daemon.pid, "who answers now")

    def answers(self):
        """The pid of whoever is at the control socket."""
        code, out = self.s.vireo("ctl", self.s.path("control"), "status")
        expect(code == 0, out)
        return json.loads(out)["pid"]


def upgraded(s, vmm, device, times, rounds):
    image = s.ext4(mib=32)
    machine = Machine(s, vmm, "", device)
    line = Line(s, machine, image)
    lines = machine.boot(LOAD.replace("ROUNDS", str(rounds)))
    lines.until("busy", 60)
    for _ in range(times):
        time.sleep(0.4)
        line.upgrade()
    lines.until("@T exit ", 60)
    text = lines.until("\n")
    machine.guest.communicate(timeout=30)
    before, code = text.split("@T exit ")
    expect(code.split()[0] == "4", text[-3000:])
    # The image has one owner again.
    other = s.popen(os.path.join(BIN, "vireo-blk"), "--blk-file=" + image,
                    "--socket-path=" + s.path("other"))
    out = other.communicate(timeout=20)[0].decode()
    expect(other.returncode != 0 and "in use by another" in out, out)
    line.daemon.terminate()
    expect(line.daemon.wait(timeout=10) == 0, line.said())
    expect(not os.path.exists(machine.socket), "the socket is left")
    expect(not os.path.exists(line.path), "the upgrade socket is left")
    expect(not os.path.exists(s.path("control")), "the control socket is left")
    expect("error:" not in line.said(), line.said())
    tool("e2fsck", "-fn", image)


@suite.case
def user_mode_linux_does_not_notice(s):
    need_uml()
    upgraded(s, "uml", "", 4, 20)


@suite.case
def qemu_does_not_notice(s):
    need_qemu()
    upgraded(s, "qemu", ",packed=on", 2, 10)


@suite.case
def successor_that_fails_changes_nothing(s):
    image = s.ext4(mib=8)
    machine = Machine(s, "uml")
    line = Line(s, machine, image)
    # It has no such file; then none of the kind that the other had.
    line.words[1] = "--blk-file=" + s.path("nothing")
    bad = line.start("--inherit=" + line.path)
    expect(bad.wait(timeout=10) != 0, line.said())
    line.words[0] = "--fd=77"
    line.words[1] = "--blk-file=" + image
    bad = line.start("--inherit=" + line.path)
    expect(bad.wait(timeout=10) != 0, line.said())
    expect("--socket-path" in line.said(), line.said())
    expect(line.answers() == line.daemon.pid, "the control socket is lost")
    code, out = machine.boot_to_end("mount -t ext4 /dev/vda /mnt && exit 4")
    expect(code == 4, code, out)
    line.daemon.terminate()
    expect(line.daemon.wait(timeout=10) == 0, line.said())
    # Nobody to inherit from.
    line.words[0] = "--socket-path=" + machine.socket
    bad = line.start("--inherit=" + line.path)
    expect(bad.wait(timeout=10) != 0, line.said())


suite.main()
