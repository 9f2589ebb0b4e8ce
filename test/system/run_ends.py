# SPDX-License-Identifier: MIT
"""Whatever ends a run: one clear line, and nothing is left behind (that is
checked after every case)."""
import os
import signal
import time

from guests import VIREO, Lines, Suite, expect, fsck, need_uml

suite = Suite()

BUSY = ("mount -t ext4 /dev/vda /mnt; echo busy; while true; do "
        "dd if=/dev/urandom of=/mnt/x bs=64k count=64 conv=fsync "
        "2>/dev/null; done")


def start_busy(s, *words):
    """A guest that writes all the time; gives (child, its lines)."""
    child = s.popen(VIREO, "run", "--vmm", "uml", "--timeout", "240", *words,
                    "--", BUSY)
    lines = Lines(child.stdout.fileno())
    lines.until("busy\n")
    time.sleep(0.5)
    return child, lines


def ends(child, lines, code, text):
    out, _ = child.communicate(timeout=120)
    out = (lines.all + out).decode(errors="replace")
    expect(child.returncode == code, child.returncode, out)
    said = [line for line in out.splitlines() if line != "busy"]
    expect(len(said) == 1 and text in said[0], "not one clear line:", out)


def kill_uml(s):
    """All of it at once: the guest's processes would run on, untraced."""
    os.killpg(os.getpgid(s.pid_of("linux.uml")), signal.SIGKILL)


@suite.case
def ctrl_c(s):
    need_uml()
    child, lines = start_busy(s)
    child.send_signal(signal.SIGINT)
    ends(child, lines, 130, "stopped by signal 2")


@suite.case
def sigterm(s):
    need_uml()
    child, lines = start_busy(s)
    child.terminate()
    ends(child, lines, 143, "stopped by signal 15")


@suite.case
def hang_up(s):
    need_uml()
    child, lines = start_busy(s)
    child.send_signal(signal.SIGHUP)
    ends(child, lines, 129, "stopped by signal 1")


@suite.case
def killed_outright(s):
    need_uml()
    child, _ = start_busy(s)
    child.kill()
    child.communicate(timeout=120)


@suite.case
def panic(s):
    need_uml()
    code, out = s.run("--vmm", "uml", "--", "echo c > /proc/sysrq-trigger; "
                      "sleep 60")
    expect(code == 1, code, out)
    expect(len(out.splitlines()) == 1 and "kernel panicked: sysrq" in out,
           out)


@suite.case
def dead_back_end(s):
    need_uml()
    for program in ("vireo-blk", "vireo-console", "vireo-rng"):
        child, lines = start_busy(s)
        os.kill(s.pid_of(program), signal.SIGKILL)
        ends(child, lines, 1, "back end %s" % program)


@suite.case
def hypervisor_killed(s):
    """And the image of the guest that wrote is made whole by its journal."""
    need_uml()
    for _ in range(3):
        image = s.ext4()
        child, lines = start_busy(s, "--disk", image)
        kill_uml(s)
        ends(child, lines, 1, "User Mode Linux ended with signal 9")
        fsck(image)


@suite.case
def time_is_over(s):
    need_uml()
    code, out = s.vireo("run", "--vmm", "uml", "--timeout", "4", "--",
                        "echo busy; sleep 60")
    expect(code == 124 and "within 4 s" in out, code, out)


suite.main()
