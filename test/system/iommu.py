# SPDX-License-Identifier: MIT
"""A guest of QEMU that has an IOMMU before its disk (ACCESS_PLATFORM): all
addresses of rings and buffers are ones that the guest made up, and each page
is taken away when it is not needed any more. A daemon that got one wrong would
write into other memory; the file system and the sums say so."""
from guests import Suite, expect, need_qemu, tool
from disks import Machine

suite = Suite()

# Written, read back past the caches, unmounted clean. 4: all is well.
TODO = """
dmesg | grep -q 'DMAR: Intel(R) Virt' || exit 11
ls /sys/kernel/iommu_groups/*/devices > /groups; grep -q : /groups || exit 12
cat /sys/block/vda/device/features | cut -c34 | grep -q 1 || exit 13
mount -t ext4 /dev/vda /mnt && cd /mnt || exit 1
for i in 1 2 3 4; do (
	dd if=/dev/urandom of=f$i bs=64k count=32 conv=fsync 2>/dev/null
) & done; wait
sha256sum f* > /sums; sync
for i in 1 2; do
	echo 3 > /proc/sys/vm/drop_caches
	sha256sum -c /sums > /checked 2>&1 || { cat /checked; exit 2; }
done
cd / && umount /mnt && exit 4
"""


class Guarded(Machine):
    """Its disk is behind an IOMMU."""

    def __init__(self, s, device="", line=""):
        super().__init__(s, "qemu", "", ",bus=rp,iommu_platform=on,"
                         "ats=on,disable-legacy=on" + device)
        self.line = line

    def command(self, todo):
        words = super().command(todo)
        at = words.index("-chardev")
        # Only behind a port is it a PCI Express device, that is, one whose
        # own translations the guest takes away without being strict.
        words[at:at] = ["-device", "intel-iommu,device-iotlb=on",
                        "-device", "pcie-root-port,id=rp,chassis=1"]
        return [w.replace("panic=0", "panic=0 intel_iommu=on " + self.line)
                for w in words]


def lives(s, device, line, *args):
    need_qemu()
    image = s.ext4(mib=32)
    machine = Guarded(s, device, line)
    machine.serve("--blk-file=" + image, "--iommu", "--verbose", *args)
    code, text = machine.boot_to_end(TODO)
    expect(code == 4, code, text[-2000:])
    machine.stop()
    with open(s.path("log")) as log:
        text = log.read()
    expect("IOTLB_MSG" in text, "nothing was translated")
    expect("error:" not in text, text[-2000:])
    tool("e2fsck", "-fn", image)
    print("# %d translations and their ends" % text.count("IOTLB_MSG"),
          flush=True)


@suite.case
def guest_with_an_iommu_that_is_strict(s):
    lives(s, "", "iommu.strict=1")


@suite.case
def guest_with_an_iommu_and_a_packed_ring(s):
    lives(s, ",packed=on", "iommu.strict=0", "--num-queues=2")


suite.main()
