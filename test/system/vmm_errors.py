# SPDX-License-Identifier: MIT
"""vireo-vmm where it cannot work: no KVM, none for this user, no kernel, no
memory. One line that names the cause, and the cure where there is one."""
import os
import shutil
import subprocess
import time

from guests import BIN, Skip, Suite, expect

suite = Suite()
VMM = os.path.join(BIN, "vireo-vmm")


def refused(s, words, *texts, code=1, around=()):
    if not os.path.exists(VMM):
        raise Skip("vireo-vmm is built for x86-64 only")
    child = s.popen(*around, VMM, *words)
    try:
        out, _ = child.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        child.kill()
        raise AssertionError("%s: it runs" % (words,)) from None
    out = out.decode(errors="replace")
    expect(child.returncode == code, words, "gives", child.returncode, out)
    expect(len(out.splitlines()) == 1, "not one clear line:", out)
    for text in texts:
        expect(text in out, text, "is not in", out)


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("needs /dev/kvm")


def kernel(s, size=8192, load=0x200000, room=0x100000):
    """A file with a good header and no code that anybody runs."""
    image = bytearray(size)

    def put(at, value, length):
        image[at:at + length] = value.to_bytes(length, "little")

    put(0x1f1, 1, 1)
    put(0x1fe, 0xaa55, 2)
    put(0x200, 0x66eb, 2)
    image[0x202:0x206] = b"HdrS"
    put(0x206, 0x20f, 2)
    put(0x211, 1, 1)
    put(0x22c, 0x7fffffff, 4)
    put(0x236, 1, 2)
    put(0x238, 255, 4)
    put(0x258, load, 8)
    put(0x260, room, 4)
    path = s.path("kernel")
    with open(path, "wb") as f:
        f.write(image)
    return path


def guest(s, code):
    """A kernel whose 64-bit entry is these bytes."""
    path = kernel(s)
    with open(path, "r+b") as f:
        f.seek(0x400 + 0x200)
        f.write(code)
    return path


# Port 0x604 has power, and this value switches it off.
SWITCH_OFF = b"\xba\x04\x06\0\0\xb8\0\x34\0\0\x66\xef\xf4"
FOREVER = b"\xeb\xfe"


def machine_with_all(s):
    """All devices that the machine opens something for."""
    with open(s.path("disk"), "wb") as f:
        f.truncate(1 << 20)
    return ["--mem", "32M", "--disk", s.path("disk"), "--rng", "--cpus", "2",
            "--console", "socket", "--console-path", s.path("console"),
            "--serial", "stderr", "--stats-dir", s.dir, "--net", "null",
            "--transport", "pci-legacy"]


@suite.case
def a_guest_starts_and_ends_in_the_sandbox(s):
    need_kvm()
    child = s.popen(VMM, "--kernel", guest(s, SWITCH_OFF),
                    *machine_with_all(s))
    out = child.communicate(timeout=120)[0].decode(errors="replace")
    expect(child.returncode == 0 and not out, child.returncode, out)
    expect(not os.path.exists(s.path("console")), "the socket is left")
    for nr, name in enumerate(("block", "console", "rng", "net")):
        with open(s.path("%d.json" % nr)) as f:
            expect('"%s"' % name in f.read(), "no numbers of", name)


@suite.case
def the_sandbox_is_closed_while_a_guest_runs(s):
    need_kvm()
    child = s.popen(VMM, "--kernel", guest(s, FOREVER), *machine_with_all(s))
    wanted = {"Seccomp": "2", "NoNewPrivs": "1",
              "CapEff": "0000000000000000"}
    found = {}
    for _ in range(400):
        with open("/proc/%d/status" % child.pid) as f:
            found = {k: v.strip() for k, _, v in
                     (line.partition(":") for line in f) if k in wanted}
        if found.get("Seccomp") == "2":
            break
        time.sleep(0.05)
    expect(found == wanted, found)
    child.terminate()
    out = child.communicate(timeout=120)[0].decode(errors="replace")
    expect(child.returncode == 1 and not out, child.returncode, out)


@suite.case
def no_kvm(s):
    if subprocess.run(["unshare", "-m", "true"], stdin=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("needs the right to mount")
    for cover, texts in (
            ("mount -t tmpfs none /dev", ("no /dev/kvm", "modprobe")),
            ("mount --bind /dev/null /dev/kvm", ("is no KVM",))):
        if "bind" in cover:
            need_kvm()
        refused(s, ["--kernel", "/none"], *texts,
                around=("unshare", "-m", "sh", "-c",
                        cover + ' && exec "$0" "$@"'))


@suite.case
def no_permission(s):
    need_kvm()
    if os.geteuid() or not shutil.which("setpriv") or \
            os.stat("/dev/kvm").st_mode & 6:
        raise Skip("needs root, and a /dev/kvm that is not for all")
    os.chmod(s.dir, 0o755)
    program = s.path("vireo-vmm")
    shutil.copy(VMM, program)   # where a stranger can read it
    child = s.popen("setpriv", "--reuid", "65534", "--regid", "65534",
                    "--clear-groups", program, "--kernel", "/none")
    out = child.communicate(timeout=120)[0].decode()
    expect(child.returncode == 1 and "adduser" in out, out)


@suite.case
def options_make_no_sense(s):
    refused(s, [], "--kernel", code=2)
    refused(s, ["--kernel", "x", "--mem", "15M"], "--mem", code=2)
    refused(s, ["--kernel", "x", "--mem", "33333333"], "1M", code=2)
    refused(s, ["--kernel", "x", "--cpus", "65"], "--cpus", code=2)
    refused(s, ["--kernel", "x", "--transport", "ccw"], "mmio", code=2)
    refused(s, ["--kernel", "x", "--console", "stdio"], "exclude", code=2)
    refused(s, ["--kernel", "x", "--console", "file"], "--console-path",
            code=2)
    refused(s, ["--kernel", "x", "--sandbox", "none"], "unsafe", code=2)


@suite.case
def no_kernel_to_boot(s):
    need_kvm()
    good = kernel(s)
    short = s.path("short")
    with open(good, "rb") as f, open(short, "wb") as g:
        g.write(f.read(1024))
    refused(s, ["--kernel", s.path("none")], "No such file")
    refused(s, ["--kernel", s.dir], "is no file")
    refused(s, ["--kernel", "/etc/passwd"], "no bzImage")
    refused(s, ["--kernel", VMM], "ELF")
    refused(s, ["--kernel", short], "cut short")
    refused(s, ["--kernel", os.devnull], "is no file")


@suite.case
def kernel_and_memory_do_not_fit(s):
    need_kvm()
    refused(s, ["--kernel", kernel(s, room=0x3000000), "--mem", "48M"],
            "give it more", "48 MiB")
    refused(s, ["--kernel", kernel(s, size=0x180000)], "damaged")
    refused(s, ["--kernel", kernel(s, load=1 << 63)], "damaged")
    initrd = s.path("initrd")
    with open(initrd, "wb") as f:
        f.truncate(20 << 20)
    refused(s, ["--kernel", kernel(s), "--initrd", initrd, "--mem", "16M"],
            "initramfs", "more memory")
    refused(s, ["--kernel", kernel(s), "--append", "x" * 256], "256", "255")


@suite.case
def devices_cannot_be_had(s):
    need_kvm()
    refused(s, ["--kernel", kernel(s), "--net", "wire"], "wire")
    none = s.path("none.img")
    refused(s, ["--kernel", kernel(s), "--disk", none], none)


suite.main()
