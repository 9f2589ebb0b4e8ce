# SPDX-License-Identifier: MIT
"""A daemon that serves one disk, and guests of either hypervisor on it. The
guests are those of `vireo run`, with a shell script of the test's."""
import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile

from guests import BIN, Lines, expect, tool, wait_for

# Runs what the kernel's command line carries as todo=BASE64.
GUEST_DOES = ("for w in $(cat /proc/cmdline); do case $w in todo=*) "
        "echo ${w#todo=} | base64 -d > /todo;; esac; done; sh /todo")


# Made once, for all cases: hypervisor -> (kernel, initramfs).
made = {}
made_in = tempfile.TemporaryDirectory(prefix="vireo-test.")


def make_guest(s, vmm):
    """From a run's kept folder, and from the command that it shows."""
    code, out = s.run("--vmm", vmm, "--keep", "-v", "--append",
                      "todo=" + base64.b64encode(b"exit 7").decode(),
                      "--", GUEST_DOES)
    expect(code == 7, code, out)
    shown = re.search(r"^\+ (\S*linux\.uml) |^\+ qemu.* -kernel (\S+)", out,
                      re.M)
    kept = re.search(r"kept (\S+)", out).group(1)
    initrd = os.path.join(made_in.name, vmm)
    shutil.move(os.path.join(kept, "initrd"), initrd)
    tool("rm", "-rf", kept)
    return shown.group(1) or shown.group(2), initrd


class Machine:
    """A daemon that serves one disk, and guests on demand."""

    def __init__(self, s, vmm, chardev="", device=""):
        self.s = s
        self.vmm = vmm
        self.chardev = chardev
        self.device = device
        self.daemon = None
        self.prefix = []
        self.guest = None
        self.socket = s.path("blk.sock")
        if vmm not in made:
            made[vmm] = make_guest(s, vmm)
        self.kernel, self.initrd = made[vmm]

    def serve(self, *words):
        self.daemon = self.s.popen(
            *self.prefix, os.path.join(BIN, "vireo-blk"), "--socket-path=" + self.socket,
            *words, stdout=subprocess.DEVNULL,
            stderr=open(self.s.path("log"), "ab"))
        wait_for(lambda: os.path.exists(self.socket), 60, "no socket")

    def command(self, todo):
        line = ("panic=0 quiet vireo.mode=command vireo.token=T "
                "vireo.console=%s todo=%s" % (
                    "tty0" if self.vmm == "uml" else "ttyS0",
                    base64.b64encode(todo.encode()).decode()))
        if self.vmm == "uml":
            return [self.kernel, "mem=128M", "initrd=" + self.initrd,
                    "uml_dir=" + self.s.path("uml") + "/", "con=null",
                    "con0=null,fd:1", "ssl=null",
                    "virtio_uml.device=%s:2" % self.socket] + line.split()
        return ["qemu-system-x86_64", "-nodefaults", "-display", "none",
                "-accel", "tcg", "-cpu", "max", "-machine",
                "q35,memory-backend=ram", "-m", "128", "-object",
                "memory-backend-memfd,id=ram,size=128M,share=on",
                "-serial", "stdio", "-kernel", self.kernel, "-initrd",
                self.initrd, "-append", "no_timer_check console=ttyS0 " + line,
                "-chardev", "socket,id=c,path=" + self.socket + self.chardev,
                "-device", "vhost-user-blk-pci,chardev=c" + self.device]

    def boot(self, todo):
        self.guest = self.s.guest(*self.command(todo))
        return Lines(self.guest.stdout.fileno())

    def boot_to_end(self, todo):
        lines = self.boot(todo)
        lines.until("@T exit ", 240)
        text = lines.until("\n")
        self.guest.communicate(timeout=120)
        before, code = text.split("@T exit ")
        return int(code.split()[0]), before.split("@T ready")[-1]

    def kill_guest(self):
        # As a whole: the guest's own processes would run on, untraced.
        os.killpg(self.guest.pid, signal.SIGKILL)
        self.guest.communicate(timeout=120)

    def stop(self):
        self.daemon.terminate()
        code = self.daemon.wait(timeout=60)
        expect(code == 0, "the daemon ends with", code)
        expect(not os.path.exists(self.socket), "the socket is left")
