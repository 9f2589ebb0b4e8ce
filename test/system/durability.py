# SPDX-License-Identifier: MIT
"""What a guest was told is durable survives a power failure: everything that
vireo-blk wrote is on record, in its order, and of what was not flushed any
part may be lost. File systems are whole after each such end, and hold every
record whose fsync had returned."""
import glob
import os
import random
import re
import shutil
import signal
import struct
import time

from disks import Machine
from guests import BIN, Skip, Suite, expect, fsck, need_qemu, need_uml, tool

suite = Suite()
# Ends that are tried of each run, and runs.
STATES = int(os.environ.get("VIREO_STATES", "6"))
WRITTEN, ZEROED, SYNCED = 1, 2, 3
ENTRY = struct.Struct("=QQQ")
SECTOR = 512

LOAD = """
%s
mount -t %s /dev/vda /mnt || exit 1
echo busy
for i in 1 2; do
	(n=0; while true; do
		n=$((n + 1))
		dd if=/dev/urandom of=/mnt/w$i bs=32k count=$((n %% 9 + 1))
		mkdir /mnt/d$i; cp /mnt/w$i /mnt/d$i; rm -r /mnt/d$i
	done 2>/dev/null) &
done
n=0
while true; do
	n=$((n + 1))
	echo "record $n of many" |
		dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null
	echo durable $n
done
"""


def read_record(path):
    """Entries as (what, at, bytes or length); the last may be torn."""
    with open(path, "rb") as f:
        raw = f.read()
    found, at = [], 0
    while at + ENTRY.size <= len(raw):
        what, where, length = ENTRY.unpack_from(raw, at)
        at += ENTRY.size
        if what == WRITTEN:
            found.append((what, where, raw[at:at + length]))
            at += length
        else:
            found.append((what, where, length))
    if at > len(raw):
        found.pop()
    return found


def apply(image, entry, keep=lambda: True):
    what, where, data = entry
    if what == ZEROED:
        data = bytes(data)
    if what == SYNCED:
        return
    for i in range(0, len(data), SECTOR):
        if keep():
            image.seek(where + i)
            image.write(data[i:i + SECTOR])


def after_power_failure(base, record, path, seed):
    """All that was flushed, and of the rest what chance has it: whole writes,
    sectors of them, nothing."""
    rand = random.Random(seed)
    last = max([i for i, e in enumerate(record) if e[0] == SYNCED], default=-1)
    tool("cp", "--sparse=always", base, path)
    with open(path, "r+b") as image:
        for entry in record[:last + 1]:
            apply(image, entry)
        share = rand.choice([0, 0.2, 0.5, 0.9, 1])
        torn = rand.random() < 0.5
        for entry in record[last + 1:]:
            if torn:
                apply(image, entry, lambda: rand.random() < share)
            elif rand.random() < share:
                apply(image, entry)
    return len(record) - last - 1


def write_until_killed(s, vmm, base, fs, seconds):
    """Gives the record, and how many fsyncs the guest saw return."""
    image = s.path("disk.img")
    tool("cp", "--sparse=always", base, image)
    machine = Machine(s, vmm)
    path = s.path("writes")
    machine.prefix = ["env", "VIREO_WRITES=" + path, "LD_PRELOAD=" +
                      os.path.join(os.path.dirname(BIN), "test", "system",
                                   "libwrites.so")]
    machine.serve("--blk-file=" + image, "--aio=inline", "--num-queues=1")
    load = xfs_guest(machine) if fs == "xfs" else ""
    lines = machine.boot(LOAD % (load, fs))
    lines.until("busy", 240)
    time.sleep(seconds * (0.5 + random.random()))
    machine.daemon.kill()
    machine.daemon.wait()
    # As a whole: a guest's own processes would run on.
    os.killpg(machine.guest.pid, signal.SIGKILL)
    out = lines.all + machine.guest.communicate(timeout=120)[0]
    os.unlink(machine.socket)
    told = [int(n) for n in re.findall(rb"durable (\d+)\r?\n", out)]
    os.unlink(image)
    return read_record(path), max(told, default=0)


def check_log(text, told):
    """Every record up to @told, in order; behind it others may be, or torn
    ones."""
    want = ["record %d of many" % n for n in range(1, told + 1)]
    expect(text.splitlines()[:told] == want, "told of", told, "found",
           len(text.splitlines()), text[-200:])


def must_fail(what, *args):
    try:
        what(*args)
    except AssertionError:
        return
    raise AssertionError("a disk that lost what it had flushed goes unnoticed")


def half_of(record):
    """What a disk has that lies about its later flushes."""
    syncs = [i for i, e in enumerate(record) if e[0] == SYNCED]
    return record[:syncs[len(syncs) // 2] + 1]


@suite.case
def what_user_mode_linux_was_told_is_durable(s):
    need_uml()
    base = s.ext4("base.img")
    path = s.path("crash.img")
    seed = random.randrange(1 << 32)
    record, told = write_until_killed(s, "uml", base, "ext4", 2)
    expect(told > 3, "only %d records" % told)

    def check():
        fsck(path)
        check_log(tool("debugfs", "-R", "cat /log", path).split("\n", 1)[1],
                  told)
    for i in range(STATES):
        lost = after_power_failure(base, record, path, seed + i)
        check()
    print("# seed %d: %d entries, %d of them not flushed, %d records" %
          (seed, len(record), lost, told), flush=True)
    after_power_failure(base, half_of(record), path, seed)
    must_fail(check)


def cpio(files):
    """An archive as the kernel takes it behind an initramfs."""
    out = b""
    for name, data in files + [("TRAILER!!!", b"")]:
        head = "070701" + "".join("%08X" % n for n in (
            0, 0o100644 if data else 0, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
            len(name) + 1, 0))
        for part in (head.encode() + name.encode() + b"\0", data):
            out += part + bytes(-len(part) % 4)
    return out


def xfs_guest(machine):
    """The guest's modules for XFS, and how to load them."""
    top = os.path.dirname(os.path.dirname(machine.kernel))
    found = {os.path.basename(f): f for f in glob.glob(
        top + "/lib/modules/**/*.ko", recursive=True)}
    names = [n for n in ("crc32c_generic.ko", "libcrc32c.ko", "exportfs.ko",
                         "xfs.ko") if n in found]
    if "xfs.ko" not in names:
        raise Skip("the guest's kernel has no xfs.ko beside it")
    with open(machine.initrd, "rb") as f:
        initrd = f.read()
    files = []
    for name in names:
        with open(found[name], "rb") as f:
            files.append((name, f.read()))
    with open(machine.s.path("initrd"), "wb") as f:
        f.write(initrd + bytes(-len(initrd) % 4) + cpio(files))
    machine.initrd = machine.s.path("initrd")
    return "".join("insmod /%s\n" % name for name in names)


@suite.case
def what_qemu_was_told_is_durable_on_xfs(s):
    """Its journal is replayed by a mount: another guest looks."""
    need_qemu()
    if "VIREO_ALL" not in os.environ:
        raise Skip("make soak has it")
    if not shutil.which("mkfs.xfs", path=os.environ["PATH"] + ":/usr/sbin"):
        raise Skip("package xfsprogs is not installed")
    base, path = s.path("base.img"), s.path("crash.img")
    with open(base, "wb") as f:
        f.truncate(400 << 20)
    tool("mkfs.xfs", "-q", base)
    seed = random.randrange(1 << 32)
    record, told = write_until_killed(s, "qemu", base, "xfs", 6)
    expect(told > 3, "only %d records" % told)

    def check():
        machine = Machine(s, "qemu")
        load = xfs_guest(machine)
        machine.serve("--blk-file=" + path)
        code, out = machine.boot_to_end(
            load + "mount -t xfs /dev/vda /mnt && cat /mnt/log && "
            "umount /mnt && exit 4")
        machine.stop()
        expect(code == 4, code, out)
        check_log(out[out.index("record 1 "):], told)
        tool("xfs_repair", "-n", path)
    for i in range(STATES):
        after_power_failure(base, record, path, seed + i)
        check()
    print("# seed %d: %d entries, %d records" % (seed, len(record), told),
          flush=True)
    after_power_failure(base, half_of(record), path, seed)
    must_fail(check)


suite.main()
