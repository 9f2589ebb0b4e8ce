# SPDX-License-Identifier: MIT
"""Wrong usage and bad images: one clear line, exit code 2, no guest."""
import glob
import os

from guests import Skip, Suite, expect, need_uml, wait_for

suite = Suite()


def refused(s, words, *texts):
    code, out = s.vireo("run", *words, timeout=60)
    expect(code == 2, words, "gives", code, out)
    expect(len(out.splitlines()) <= 2, "not one clear line:", out)
    for text in texts:
        expect(text in out, text, "is not in", out)


@suite.case
def image_is_missing(s):
    path = s.path("none.img")
    refused(s, ["--disk", path], path, "No such file")


@suite.case
def image_is_a_folder(s):
    refused(s, ["--disk", s.dir + ",ro"], s.dir, "directory")


@suite.case
def image_is_unreadable(s):
    path = s.path("shut.img")
    with open(path, "wb") as f:
        f.truncate(4096)
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        # For root every file is readable; a read-only tree is not.
        refused(s, ["--disk", "/proc/version"], "/proc/version",
                "Permission denied" if os.geteuid() else "")
        return
    refused(s, ["--disk", path], path, "Permission denied", ",ro")


@suite.case
def image_is_not_whole_sectors(s):
    for size in (0, 1, 511, 513, 4097):
        path = s.path("%d.img" % size)
        with open(path, "wb") as f:
            f.truncate(size)
        refused(s, ["--disk", path], path, "%d bytes" % size, "512")


@suite.case
def image_is_given_twice(s):
    path = s.path("disk.img")
    other = s.path("other.img")
    with open(path, "wb") as f:
        f.truncate(4096)
    os.link(path, other)
    refused(s, ["--disk", path, "--disk", path + ",ro"], path, "twice")
    refused(s, ["--disk", path, "--disk", other], other, "twice")


@suite.case
def kernel_and_initramfs_are_missing(s):
    refused(s, ["--vmm", "uml", "--kernel", "/none"], "/none",
            "No such file")
    refused(s, ["--initrd", "/none"], "/none", "No such file")


@suite.case
def options_are_wrong(s):
    refused(s, ["--nonsense"], "nonsense")
    refused(s, ["--mem", "lots"], "--mem lots")
    refused(s, ["--mem", "1"], "--mem 1")
    refused(s, ["--cpus", "0"], "--cpus 0")
    refused(s, ["--vmm", "bochs"], "kvm, qemu-kvm, uml or qemu")
    refused(s, ["--console", "x"], "--console x")
    refused(s, ["--console", "file:"], "--console file:")
    refused(s, ["ls"], "ls", "--")
    refused(s, ["--kernel", "/etc/passwd"], "--vmm")
    refused(s, ["--disk"], "disk")


@suite.case
def package_cannot_be_fetched(s):
    """No network, an old list: said in one line, and no half of it kept."""
    cache = s.path("cache")
    fake = s.path("fake")
    os.mkdir(fake)
    for name in ("apt-get", "qemu-system-x86_64"):
        path = os.path.join(fake, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\necho E: no such package >&2\nexit 100\n")
        os.chmod(path, 0o755)
    s.env["PATH"] = fake + ":" + s.env["PATH"]
    s.env["XDG_CACHE_HOME"] = cache
    if glob.glob("/boot/vmlinuz-*-cloud-amd64"):
        raise Skip("the package is installed")
    code, out = s.vireo("run", "--vmm", "qemu", timeout=60)
    expect(code == 1, code, out)
    expect("cannot fetch package linux-image-cloud-amd64: E: no such package"
           in out, out)
    wait_for(lambda: not os.listdir(os.path.join(cache, "vireo")), 60,
             "something is left in the cache")


@suite.case
def memory_is_too_much(s):
    need_uml()
    code, out = s.vireo("run", "--vmm", "uml", "--mem", "1000000",
                        timeout=60)
    expect(code == 1 and "/dev/shm" in out and "--mem" in out, code, out)
    expect(len(out.splitlines()) == 1, out)


@suite.case
def command_is_unknown(s):
    code, out = s.vireo("nonsense", timeout=60)
    expect(code == 2 and "nonsense" in out, code, out)
    code, out = s.vireo("../vireo", timeout=60)
    expect(code == 2, code, out)


@suite.case
def doctor_says_how_it_stands(s):
    code, out = s.vireo("doctor", timeout=60)
    expect(code in (0, 1), code, out)
    expect(("can work here" in out) == (code == 0), code, out)
    for name in ("KVM", "io_uring", "Landlock", "seccomp", "memfd",
                 "hugepages", "vireo-blk"):
        expect(name in out, name, "is not in", out)


suite.main()
