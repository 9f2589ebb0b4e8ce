# SPDX-License-Identifier: MIT
"""A daemon hands its guest over to a successor while the guest writes: the
guest sees a pause and no error, and the successor's successor has it next."""
import json
import os
import shlex
import signal
import subprocess
import time

from disks import Machine
from guests import (BIN, Skip, Suite, expect, need_qemu, need_uml, tool,
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
        wait_for(lambda: os.path.exists(machine.socket), 60, "no socket")

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
        code = old.wait(timeout=60)
        expect(code == 0, "the predecessor ends with", code, self.said())
        wait_for(lambda: self.said().count("took a session over") > before,
                 60, self.said)
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
    lines.until("busy", 240)
    for _ in range(times):
        time.sleep(0.4)
        line.upgrade()
    lines.until("@T exit ", 240)
    text = lines.until("\n")
    machine.guest.communicate(timeout=120)
    before, code = text.split("@T exit ")
    expect(code.split()[0] == "4", text[-3000:])
    # The image has one owner again.
    other = s.popen(os.path.join(BIN, "vireo-blk"), "--blk-file=" + image,
                    "--socket-path=" + s.path("other"))
    out = other.communicate(timeout=120)[0].decode()
    expect(other.returncode != 0 and "in use by another" in out, out)
    line.daemon.terminate()
    expect(line.daemon.wait(timeout=60) == 0, line.said())
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
    expect(bad.wait(timeout=60) != 0, line.said())
    line.words[0] = "--fd=77"
    line.words[1] = "--blk-file=" + image
    bad = line.start("--inherit=" + line.path)
    expect(bad.wait(timeout=60) != 0, line.said())
    expect("--socket-path" in line.said(), line.said())
    expect(line.answers() == line.daemon.pid, "the control socket is lost")
    code, out = machine.boot_to_end("mount -t ext4 /dev/vda /mnt && exit 4")
    expect(code == 4, code, out)
    line.daemon.terminate()
    expect(line.daemon.wait(timeout=60) == 0, line.said())
    # Nobody to inherit from.
    line.words[0] = "--socket-path=" + machine.socket
    bad = line.start("--inherit=" + line.path)
    expect(bad.wait(timeout=60) != 0, line.said())


TAP = """
ip tuntap add t0 mode tap vnet_hdr
ip addr add 10.9.0.1/24 dev t0
ip link set t0 up
net="%(bin)s/vireo-net --socket-path=%(sock)s --backend=tap=t0"
net="$net --mac=02:00:00:00:00:01"
$net --upgrade-path=%(sock)s.up & old=$!
until [ -e %(sock)s ]; do sleep 0.1; done
%(guest)s > %(log)s 2>&1 &
ask() {
	python3 -c '
import socket, time
end = time.monotonic() + 60
while True:
    try:
        with socket.create_connection(("10.9.0.2", 7), 2) as line:
            if line.recv(99) == b"hello\\n":
                break
    except OSError:
        pass
    assert time.monotonic() < end
    time.sleep(0.1)
print("heard", flush=True)'
}
ask
for i in 1 2; do
	$net --inherit=%(sock)s.up & new=$!
	wait $old; echo ended $?; old=$new
	ask
done
kill $old; wait $old; echo ended $?
"""
HELLO = """
ip link set eth0 up && ip addr add 10.9.0.2/24 dev eth0
while true; do echo hello | nc -l -p 7 > /dev/null; done
"""


@suite.case
def tap_interface_goes_along(s):
    need_uml()
    if os.getuid() != 0 or not os.path.exists("/dev/net/tun") or \
            subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "probe",
                            "mode", "tap"], stderr=subprocess.DEVNULL
                           ).returncode:
        raise Skip("needs root, a network namespace and a tap interface")
    machine = Machine(s, "uml")
    guest = [w.replace(machine.socket + ":2", machine.socket + ":1")
             for w in machine.command(HELLO)]
    with open(s.path("script"), "w") as f:
        f.write(TAP % {"bin": BIN, "sock": machine.socket,
                       "guest": "env -u TMPDIR setsid " + shlex.join(guest),
                       "log": s.path("guest")})
    child = s.popen("unshare", "-n", "sh", "-e", s.path("script"))
    out = child.communicate(timeout=240)[0].decode(errors="replace")
    expect(child.returncode == 0 and out.count("heard") == 3 and
           out.count("ended 0") == 3, child.returncode, out)
    for pid in s.processes():
        os.kill(pid, signal.SIGKILL)


suite.main()
