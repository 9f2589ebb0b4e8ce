#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests without an operating system (examples/bare) drive QEMU's disk,
entropy and console, on each machine and in each shape those come in."""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = sys.argv[1]
WORD = b"written without an operating system"
HELLO = "hello from a bare machine\n"
COMMON = ["-m", "64", "-display", "none", "-nodefaults", "-no-reboot",
          "-serial", "stdio"]
QEMU = {
    "riscv64": ["qemu-system-riscv64", "-M", "virt", "-bios", "none"],
    "aarch64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57"],
    "x86": ["qemu-system-x86_64", "-M", "pc",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
    "s390x": ["qemu-system-s390x", "-M", "s390-ccw-virtio"],
}
# isa-debug-exit shifts what it is given, and adds one.
ENDS = {"riscv64": 0, "aarch64": 0, "x86": 1, "s390x": 0}
PCI = ["riscv64", "aarch64", "x86"]
MMIO = ["-global", "virtio-mmio.force-legacy=false"]
PLAIN, PACKED = "\ndisk ok\n", "\npacked disk ok\n"
LEGACY = "\nlegacy disk ok\n"
# machine, options, what follows a device's name, what is said of the disk
CASES = [(machine, MMIO, kind, said)
         for machine in ("riscv64", "aarch64")
         for kind, said in (("-device", PLAIN),
                            ("-device,packed=on", PACKED))]
CASES += [(machine, [], kind, said)
          for machine in PCI
          for kind, said in (("-pci,disable-modern=off", PLAIN),
                             ("-pci,disable-legacy=on,packed=on", PACKED),
                             ("-pci,vectors=0", PLAIN))]
CASES += [("x86", ["-M", "q35"], "-pci", PLAIN)]
CASES += [(machine, ["-global", "virtio-mmio.force-legacy=true"], "-device",
           LEGACY) for machine in ("riscv64", "aarch64")]
CASES += [(machine, [], kind, LEGACY)
          for machine in PCI
          for kind in ("-pci,disable-modern=on",
                       "-pci,disable-modern=on,vectors=0")]
# Each device works twice there: told by adapter interrupts, and by others.
CASES += [("s390x", [], "-ccw,max_revision=%d" % r,
           "\nrevision %d disk ok\n" % r) for r in (2, 1, 0)]
CASES += [("s390x", [], "-ccw,packed=on", "\nrevision 2 packed disk ok\n")]


def devices(kind, folder):
    dev, _, more = kind.partition(",")
    more = "," + more if more else ""
    return ["-drive", "if=none,id=d,format=raw,file=%s/disk" % folder,
            "-chardev", "file,id=c,path=%s/console" % folder,
            "-device", "virtio-blk%s,drive=d%s" % (dev, more),
            "-device", "virtio-rng%s%s" % (dev, more),
            "-device", "virtio-serial%s%s" % (dev, more),
            "-device", "virtconsole,chardev=c"]


def run_case(machine, options, kind, said, folder, programs):
    """Gives what is wrong, or nothing."""
    with open(folder + "/disk", "wb") as disk:
        disk.truncate(1 << 20)
    command = QEMU[machine] + COMMON + options + devices(kind, folder) + [
        "-kernel", os.path.join(programs, machine + ".elf")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = "\n" + done.stdout.decode(errors="replace").replace("\r", "")
    times = 2 if machine == "s390x" else 1
    others = said.replace("packed ", "")
    wanted = {said: times, "\n3 devices, 0 failed\n": 1}
    for other in ("entropy", "console"):
        wanted[others.replace("disk", other)] = times
    ecam = 1 if "q35" in options else 0
    wanted["\nconfiguration in memory\n"] = ecam
    messages = 3 if "-pci" in kind and "vectors=0" not in kind else 0
    wanted["\nmessages came\n"] = messages
    for sort in ("adapter", "classic"):
        wanted["\n%s interrupts came\n" % sort] = 3 if times == 2 else 0
    if done.returncode != ENDS[machine] or [
            w for w in wanted if text.count(w) != wanted[w]]:
        return "exit code %d, and it said: %s" % (done.returncode, text)
    with open(folder + "/console") as console:
        if console.read() != HELLO * times:
            return "the console did not print the greeting"
    with open(folder + "/disk", "rb") as disk:
        if not disk.read(512).startswith(WORD):
            return "the word is not on the disk"
    return None


def main():
    print("1..%d" % len(CASES), flush=True)
    missing = [m for m in QEMU if not shutil.which(QEMU[m][0])]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="vireo-bare.") as programs:
        built = subprocess.run(
            [sys.executable, os.path.join(SOURCE, "scripts/bare"),
             "--out", programs], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, universal_newlines=True)
        print("# " + built.stdout.strip().replace("\n", "\n# "))
        for nr, (machine, options, kind, said) in enumerate(CASES, 1):
            title = "%d - %s" % (nr, " ".join([machine] + options +
                                              ["virtio-*" + kind]))
            if machine in missing:
                print("ok %s # SKIP %s is not installed"
                      % (title, QEMU[machine][0]), flush=True)
                continue
            with tempfile.TemporaryDirectory(prefix="vireo-bare.") as folder:
                wrong = built.returncode and "it could not be built"
                wrong = wrong or run_case(machine, options, kind, said,
                                          folder, programs)
            print("%sok %s" % ("not " if wrong else "", title), flush=True)
            if wrong:
                bad += 1
                print("# " + wrong.replace("\n", "\n# "), flush=True)
    sys.exit(1 if bad else 0)


main()
