# SPDX-License-Identifier: MIT
"""vireo run under QEMU in software emulation."""
from guests import Suite, expect, need_qemu, tool

suite = Suite()


@suite.case
def self_check_with_disk_and_entropy(s):
    need_qemu()
    code, out = s.run("--vmm", "qemu")
    expect(code == 0, code, out)
    for step in ("mount", "checksums", "write", "reread", "discard",
                 "entropy", "unmount", "e2fsck", "compare"):
        expect("  %-10s ok " % step in out, step, out)


@suite.case
def two_processors_two_queues(s):
    need_qemu()
    image = s.ext4()
    code, out = s.run(
        "--vmm", "qemu", "--cpus", "2", "--disk", image, "--",
        "ls -d /sys/block/vda/mq/*; mount -t ext4 /dev/vda /mnt; "
        "for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=64k "
        "count=64 conv=fsync 2>/dev/null & done; wait; umount /mnt")
    expect(code == 0, code, out)
    expect(out.split() == ["/sys/block/vda/mq/0", "/sys/block/vda/mq/1"],
           out)
    tool("e2fsck", "-fn", image)


@suite.case
def reset_in_mid_flight(s):
    """The machine is reset while it writes; the next boot finds all that
    was synced, and a file system that its journal makes whole."""
    need_qemu()
    image = s.ext4()
    code, out = s.run(
        "--vmm", "qemu", "--disk", image, "--",
        "mount -t ext4 /dev/vda /mnt || exit 9\n"
        "if [ -e /mnt/synced ]; then cat /mnt/synced; umount /mnt; exit 5; "
        "fi\n"
        "echo kept > /mnt/synced; sync\n"
        "for i in 1 2 3 4; do (while true; do dd if=/dev/urandom "
        "of=/mnt/w$i bs=64k count=80 conv=fsync 2>/dev/null; done) & done\n"
        "sleep 2; echo b > /proc/sysrq-trigger; sleep 60")
    expect(code == 5, code, out)
    # The kernel says on the same serial port that it resets.
    expect(out.splitlines()[-1:] == ["kept"], repr(out))
    tool("e2fsck", "-fn", image)


suite.main()
