# SPDX-License-Identifier: MIT
"""fio in a guest writes all over a disk of ours and verifies every block, in
direct I/O of uneven sizes and through an ext4 of the guest's."""
import os
import shutil
import subprocess

from disks import Machine
from guests import Skip, Suite, expect, need_uml, tool

suite = Suite()

GUEST_DOES = """
mkdir /t
mount -t ext4 /dev/ubda /t || exit 20
mount --bind /dev /t/dev
mount -t proc none /t/proc
mount -t tmpfs none /t/tmp
fio() { chroot /t /usr/bin/fio --name=v --verify=crc32c --verify_fatal=1 \
        --verify_dump=0 --ioengine=libaio --iodepth=16 --randrepeat=0 \
        --aux-path=/tmp "$@" || exit 21; }
fio --filename=/dev/vda --direct=1 --rw=randwrite --bsrange=512-64k \
    --blockalign=512 --size=24M --verify_backlog=256
fio --filename=/dev/vda --direct=1 --rw=write --bs=128k --size=24M
mke2fs /dev/vda >/dev/null 2>&1
mount -t ext4 /dev/vda /t/mnt || exit 22
fio --filename=/mnt/f --rw=randwrite --bs=4k --size=12M --fsync=32
exit 9
"""


def tools(s):
    """A small file system with fio and what it is linked with."""
    fio = shutil.which("fio")
    if not fio:
        raise Skip("needs fio; scripts/setup bench installs it")
    stage, image = s.path("stage"), s.path("tools.img")
    for folder in ("usr/bin", "dev", "proc", "tmp", "mnt"):
        os.makedirs(os.path.join(stage, folder))
    shutil.copy(fio, os.path.join(stage, "usr/bin/fio"))
    said = subprocess.run(["ldd", fio], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True).stdout
    for word in said.split():
        if not word.startswith("/"):
            continue
        to = stage + word
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(word, to)
    with open(image, "wb") as f:
        f.truncate(96 << 20)
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-d", stage, image)
    return image


class Guest(Machine):
    def command(self, todo):
        # What fio is linked with wants to be mapped.
        return ["mem=512M" if word.startswith("mem=") else word
                for word in super().command(todo)] + \
            ["ubd0=" + self.s.path("tools.img")]


def whole(s, *words):
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    need_uml()
    tools(s)
    machine = Guest(s, "uml")
    machine.serve(*words, "--num-queues=1")
    code, text = machine.boot_to_end(GUEST_DOES)
    expect(code == 9, code, text[-3000:])
    expect(text.count("err= 0") == 3, text[-3000:])
    machine.stop()


@suite.case
def fio_verifies_a_file(s):
    image = s.path("disk")
    with open(image, "wb") as f:
        f.truncate(32 << 20)
    whole(s, "--blk-file=" + image)


@suite.case
def fio_verifies_a_file_with_direct_io(s):
    image = s.path("disk")
    with open(image, "wb") as f:
        f.truncate(32 << 20)
    whole(s, "--blk-file=" + image, "--direct", "--fixed-memory=on")


suite.main()
