# SPDX-License-Identifier: MIT
"""A guest of QEMU that has an IOMMU before its disk (ACCESS_PLATFORM): all
addresses of rings and buffers are ones that the guest made up, and each page
is taken away when it is not needed any more. A daemon that got one wrong would
write into other memory; the file system and the sums say so."""
import json
import os

from guests import (BIN, Skip, Suite, expect, keep_report, need_qemu, tool,
                    wait_for)
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


def status(s, control):
    child = s.popen(os.path.join(BIN, "vireo"), "ctl", control, "status")
    out, _ = child.communicate(timeout=20)
    expect(child.returncode == 0, out)
    return json.loads(out)


def lives(s, name, device, line, *args):
    """Gives what was agreed on while the guest was at work."""
    need_qemu()
    image = s.ext4(mib=32)
    control = s.path("control")
    machine = Guarded(s, device, line)
    machine.serve("--blk-file=" + image, "--iommu", "--verbose",
                  "--control-path=" + control, *args)
    lines = machine.boot(TODO)
    lines.until("@T ready", 90)
    # The driver of the guest, not the firmware's.
    seen = wait_for(lambda: next(
        (a for a in [status(s, control)]
         if "VIRTIO_F_ACCESS_PLATFORM" in a["features"] and
         any(q["state"] == "running" for q in a["queues"])), None), 60,
        "no ring runs behind the IOMMU")
    lines.until("@T exit ", 90)
    code = lines.until("\n").split("@T exit ")[-1].split()[0]
    machine.guest.communicate(timeout=30)
    machine.stop()
    with open(s.path("log")) as log:
        text = log.read()
    expect(code == "4", code, text[-2000:])
    expect("IOTLB_MSG" in text, "nothing was translated")
    expect("error:" not in text, text[-2000:])
    tool("e2fsck", "-fn", image)
    print("# %d translations and their ends" % text.count("IOTLB_MSG"),
          flush=True)
    keep_report("serves-" + name, {k: seen[k] for k in (
        "device", "features", "protocol_features")})


@suite.case
def guest_with_an_iommu_and_a_packed_ring(s):
    lives(s, "qemu-iommu", ",packed=on", "iommu.strict=0", "--num-queues=2")


@suite.case
def guest_with_an_iommu_that_is_strict(s):
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    lives(s, "qemu-iommu-strict", "", "iommu.strict=1")


suite.main()
