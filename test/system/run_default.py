# SPDX-License-Identifier: MIT
"""vireo run under User Mode Linux: the self-check, commands, scripts, and a
person at a terminal."""
import fcntl
import os
import pty
import struct
import termios
import time

from guests import VIREO, Lines, Suite, expect, need_uml, tool

suite = Suite()


@suite.case
def self_check_is_right_and_quick_and_ends_with_the_table(s):
    need_uml()
    start = time.monotonic()
    code, out = s.vireo("run", "--vmm", "uml")
    took = time.monotonic() - start
    expect(code == 0, code, out)
    for step in ("mount", "checksums", "write", "reread", "discard",
                 "unmount", "e2fsck", "compare"):
        expect("  %-10s ok " % step in out, step, out)
    expect("entropy    skip" in out, out)
    expect("All is right." in out, out)
    expect(took < 120, "took", took)
    rows = {line.split()[0]: line.split() for line in out.splitlines()
            if line.startswith(("disk", "console", "entropy"))}
    expect(set(rows) == {"disk", "console", "entropy"}, rows)
    expect(int(rows["disk"][2]) > 100, rows)
    expect(int(rows["console"][1]) > 1, rows)
    expect("VERSION_1" in out and "FLUSH" in out, out)


@suite.case
def command_gives_its_output_and_its_exit_code(s):
    need_uml()
    code, out = s.run("--vmm", "uml", "--", "echo one; echo two; exit 42")
    expect(code == 42, code, out)
    expect(out == "one\ntwo\n", repr(out))


@suite.case
def command_of_several_words_keeps_them_apart(s):
    need_uml()
    code, out = s.run("--vmm", "uml", "--", "printf", "[%s]", "a  b", "c'd")
    expect((code, out) == (0, "[a  b][c'd]"), code, repr(out))


@suite.case
def long_output_comes_whole(s):
    need_uml()
    code, out = s.run("--vmm", "uml", "--", "seq 1 30000")
    expect(code == 0, code, out[-500:])
    expect(out == "".join("%d\n" % i for i in range(1, 30001)),
           len(out), out[:200], out[-200:])


@suite.case
def script_runs_from_standard_input(s):
    need_uml()
    image = s.ext4()
    text = ("mount -t ext4 /dev/vda /mnt\n" +
            "".join("echo %d >> /mnt/numbers\n" % i for i in range(300)) +
            "wc -l < /mnt/numbers\nsync\numount /mnt\nexit 3")
    code, out = s.run("--vmm", "uml", "--disk", image, text=text)
    expect((code, out) == (3, "300\n"), code, repr(out))
    tool("e2fsck", "-fn", image)
    got = tool("debugfs", "-R", "cat /numbers", image).splitlines()
    expect(got[-300:] == [str(i) for i in range(300)], got)


@suite.case
def two_disks_one_read_only(s):
    need_uml()
    rw = s.ext4("rw.img")
    ro = s.ext4("ro.img")
    with open(ro, "rb") as f:
        before = f.read()
    code, out = s.run(
        "--vmm", "uml", "--disk", rw, "--disk", ro + ",ro", "--",
        "cat /sys/block/vda/ro /sys/block/vdb/ro; "
        "dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2>/dev/null "
        "&& echo written; mount -t ext4 /dev/vda /mnt && echo x > /mnt/x; "
        "umount /mnt; mount -t ext4 -o ro /dev/vdb /mnt && ls /mnt")
    expect(code == 0, code, out)
    expect(out == "0\n1\nlost+found\n", repr(out))
    with open(ro, "rb") as f:
        expect(f.read() == before, "the read-only image has changed")
    tool("e2fsck", "-fn", rw)


@suite.case
def terminal_gives_a_shell(s):
    need_uml()
    start = time.monotonic()
    pid, fd = pty.fork()
    if pid == 0:
        # Before anyone looks at it: a terminal without a size has none.
        fcntl.ioctl(0, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 41, 133, 0, 0))
        os.execve(VIREO, [VIREO, "run", "--vmm", "uml"], s.env)
    term = Lines(fd)
    term.until("guest:/root# ")
    took = time.monotonic() - start
    expect(took < 60, "the shell took", took)
    os.write(fd, b"echo $((6*7)) $(stty size)\n")
    term.until("42 41 133")
    term.until("guest:/root# ")
    # A change while the guest runs reaches it, also among much output.
    os.write(fd, b"until stty size | grep '^50 100'; do echo .; done\n")
    time.sleep(0.5)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    term.until("50 100")
    term.until("guest:/root# ")
    # The guest's job control gets the Ctrl-C, not vireo.
    os.write(fd, b"sleep 1000\n")
    time.sleep(0.5)
    os.write(fd, b"\x03")
    term.until("guest:/root# ")
    os.write(fd, b"poweroff\n")
    term.until("start to power-off.")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    expect(status == 0, status)


@suite.case
def escape_key_stops_at_once(s):
    need_uml()
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(VIREO, [VIREO, "run", "--vmm", "uml"], s.env)
    term = Lines(fd)
    term.until("guest:/root# ")
    os.write(fd, b"\x1d")
    term.until("stopped by Ctrl-]")
    term.until("start to power-off.")
    _, status = os.waitpid(pid, 0)
    # What was changed for the guest is as it was before.
    flags = termios.tcgetattr(fd)[3]
    os.close(fd)
    expect(os.WEXITSTATUS(status) == 1, status)
    expect(flags & termios.ECHO and flags & termios.ICANON, flags)


suite.main()
