# SPDX-License-Identifier: MIT
"""What a guest's kernel does with a disk beside reading and writing: discard,
another size, another cache mode, several queues, a serial number. One boot for
all of it, in each hypervisor."""
import os

from disks import Machine
from guests import Skip, Suite, expect, need_qemu, need_uml, tool, wait_for

suite = Suite()

# Each answer has a line of its own.
GUEST_DOES = """
cd /sys/block/vda
say() { echo "= $*"; }
say serial $(cat serial)
say queues $(ls mq | wc -l)
say cache $(cat queue/write_cache)
echo "write through" > cache_type
say cache $(cat queue/write_cache)
mount -t ext4 /dev/vda /mnt || say mount failed
dd if=/dev/urandom of=/mnt/f bs=64k count=96 conv=fsync 2>/dev/null
echo "write back" > cache_type
say cache $(cat queue/write_cache)
sync
say written
sleep 1
rm /mnt/f
sync
fstrim /mnt || say fstrim failed
say trimmed
sleep 1
i=0
while [ $(cat size) = 65536 ] && [ $i -lt 200 ]; do
        sleep 0.1; i=$((i + 1))
done
say size $(cat size)
umount /mnt
dd if=/dev/vda of=/dev/null bs=4k skip=8192 2>/dev/null && say read
exit 9
"""


class Guest(Machine):
    def command(self, todo):
        words = super().command(todo)
        return words + ["-smp", "2"] if self.vmm == "qemu" else words


def used(image):
    return os.stat(image).st_blocks * 512


def whole(s, vmm, device, queues):
    image = s.ext4(mib=32)
    control = s.path("control")
    machine = Guest(s, vmm, "", device)
    machine.serve("--blk-file=" + image, "--control-path=" + control,
                  "--serial=VIREO-7", "--num-queues=4")
    lines = machine.boot(GUEST_DOES)
    lines.until("= written", 240)
    full = used(image)
    lines.until("= trimmed", 240)
    wait_for(lambda: used(image) < full - (3 << 20), 60, "nothing trimmed")
    os.truncate(image, 48 << 20)
    code, out = s.vireo("ctl", control, "resize")
    expect(code == 0 and "98304" in out, out)
    lines.until("@T exit ", 240)
    text, code = lines.until("\n").split("@T exit ")
    expect(code.split()[0] == "9", text[-2000:])
    machine.guest.communicate(timeout=120)
    said = [line.strip()[2:] for line in text.splitlines()
            if line.strip().startswith("= ")]
    said = [word for word in said if word not in ("written", "trimmed")]
    expect(said == ["serial VIREO-7", "queues %d" % queues,
                    "cache write back", "cache write through",
                    "cache write back", "size 98304", "read"], said)
    machine.stop()
    os.truncate(image, 32 << 20)
    tool("e2fsck", "-fn", image)


@suite.case
def user_mode_linux_uses_all_of_a_disk(s):
    need_uml()
    whole(s, "uml", "", 1)


@suite.case
def qemu_uses_all_of_a_disk(s):
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    need_qemu()
    whole(s, "qemu", ",num-queues=4", 2)


suite.main()
