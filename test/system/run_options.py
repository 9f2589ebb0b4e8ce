# SPDX-License-Identifier: MIT
"""vireo run with a console elsewhere, and with a kernel and an initramfs of
the user's own."""
import glob
import os
import select
import shutil
import socket
import stat
import subprocess
import time

from guests import UML, VIREO, Lines, Suite, expect, need_uml, wait_for

suite = Suite()


def talk(child, fd):
    """A shell at the console's other end, and the guest's end by it."""
    end = time.monotonic() + 60
    said = b""
    # What was said before we came may be lost: ask until it answers.
    while b"guest:/root# " not in said:
        expect(time.monotonic() < end, "no prompt in", said)
        os.write(fd, b"\n")
        if select.select([fd], [], [], 0.5)[0]:
            said += os.read(fd, 4096)
    line = Lines(fd)
    os.write(fd, b"echo $((6*7)) sizes\n")
    line.until("42 sizes")
    os.write(fd, b"exit\n")
    out, _ = child.communicate(timeout=120)
    expect(child.returncode == 0, child.returncode, out)


@suite.case
def console_on_a_pty(s):
    need_uml()
    child = s.popen(VIREO, "run", "--vmm", "uml", "--console", "pty")
    text = Lines(child.stdout.fileno()).until("\n")
    name = [w for w in text.split() if w.startswith("/dev/pts/")][0]
    fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
    talk(child, fd)
    os.close(fd)


@suite.case
def console_on_a_socket(s):
    need_uml()
    path = s.path("console.sock")
    child = s.popen(VIREO, "run", "--vmm", "uml", "--console",
                    "socket:" + path)
    wait_for(lambda: os.path.exists(path), 60, "no socket")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        talk(child, line.fileno())
    expect(not os.path.exists(path), "the socket is left")


@suite.case
def console_into_a_file(s):
    need_uml()
    path = s.path("console.txt")
    child = s.popen(VIREO, "run", "--vmm", "uml", "--console",
                    "file:" + path)

    def prompt():
        with open(path, "rb") as f:
            return b"guest:/root# " in f.read()
    wait_for(lambda: os.path.exists(path) and prompt(), 60, "no prompt")
    child.terminate()
    child.communicate(timeout=120)
    expect(child.returncode == 143, child.returncode)


@suite.case
def own_kernel_and_initramfs(s):
    need_uml()
    root = s.path("root")
    for name in ("bin", "dev", "proc"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin"))
    shutil.copy(glob.glob("/usr/lib/uml/modules/*/kernel/drivers/char/"
                          "virtio_console.ko")[0], root)
    init = os.path.join(root, "init")
    with open(init, "w") as f:
        f.write("#!/bin/busybox sh\n"
                "alias b=/bin/busybox\n"
                "b mount -t proc proc /proc\n"
                "b mount -t devtmpfs dev /dev\n"
                "b insmod /virtio_console.ko\n"
                "b sleep 1\n"
                "b echo all mine: $(b cat /proc/cmdline) > /dev/hvc0\n"
                "b sleep 1\n"
                "b poweroff -f\n")
    os.chmod(init, stat.S_IRWXU)
    archive = s.path("initrd")
    subprocess.run("find . | busybox cpio -o -H newc > %s" % archive,
                   shell=True, cwd=root, check=True,
                   stderr=subprocess.DEVNULL)
    code, out = s.run("--vmm", "uml", "--kernel", UML, "--initrd", archive,
                      "--append", "my=word", "--mem", "96")
    expect(code == 0, code, out)
    expect("all mine: " in out and "my=word" in out, out)
    expect("mem=96M" in out and "console=hvc0" in out, out)


@suite.case
def kernel_that_is_none(s):
    need_uml()
    path = s.path("kernel")
    with open(path, "w") as f:
        f.write("#!/bin/sh\necho nothing here boots >&2\nexit 3\n")
    os.chmod(path, 0o755)
    code, out = s.run("--vmm", "uml", "--kernel", path)
    expect(code == 1 and "exit code 3: nothing here boots" in out, code, out)
    os.chmod(path, 0o644)
    code, out = s.run("--vmm", "uml", "--kernel", path)
    expect(code == 1 and "Permission denied" in out, code, out)


@suite.case
def standard_files_may_be_closed(s):
    need_uml()
    path = s.path("out")
    child = s.popen("sh", "-c", '"$0" run --vmm uml -- "echo said" '
                    '<&- 2>&- > "$1"', VIREO, path)
    child.communicate(timeout=120)
    with open(path) as f:
        expect(child.returncode == 0 and f.read() == "said\n",
               child.returncode)


suite.main()
