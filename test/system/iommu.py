# SPDX-License-Identifier: MIT
"""A guest of QEMU that has an IOMMU before its disk (ACCESS_PLATFORM): all
addresses of rings and buffers are ones that the guest made up, and each page
is taken away when it is not needed any more. A daemon that got one wrong would
write into other memory; the file system and the sums say so."""
import json
import os
import subprocess

from guests import (BIN, Skip, Suite, expect, keep_report, need_qemu, tool,
                    wait_for)
from disks import Machine

suite = Suite()

# Written, read back past the caches, unmounted clean. 4: all is well.
GUEST_DOES = """
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
        self.more = []
        super().__init__(s, "qemu", "", ",bus=rp,iommu_platform=on,"
                         "ats=on,disable-legacy=on" + device)
        self.line = line

    def command(self, todo):
        words = super().command(todo)
        at = words.index("-chardev")
        # Only behind a port is it a PCI Express device, that is, one whose
        # own translations the guest takes away without being strict.
        words[at:at] = ["-device", "intel-iommu,device-iotlb=on",
                        "-device", "pcie-root-port,id=rp,chassis=1"] + self.more
        return [w.replace("panic=0", "panic=0 intel_iommu=on " + self.line)
                for w in words]


def status(s, control):
    child = s.popen(os.path.join(BIN, "vireo"), "ctl", control, "status")
    out, _ = child.communicate(timeout=120)
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
    lines = machine.boot(GUEST_DOES)
    lines.until("@T ready", 240)
    # The driver of the guest, not the firmware's.
    seen = wait_for(lambda: next(
        (a for a in [status(s, control)]
         if "VIRTIO_F_ACCESS_PLATFORM" in a["features"] and
         any(q["state"] == "running" for q in a["queues"])), None), 60,
        "no ring runs behind the IOMMU")
    lines.until("@T exit ", 240)
    code = lines.until("\n").split("@T exit ")[-1].split()[0]
    machine.guest.communicate(timeout=120)
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


# 4: the interface of the host answered, to small packets and large ones.
PINGS = """
ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 || exit 6
cat /sys/class/net/eth0/device/features | cut -c34 | grep -q 1 || exit 13
for size in 56 1400 9000 30000; do
	ping -c 5 -s $size 10.0.2.2 > /pings || { cat /pings; exit 8; }
	grep -q ' 0% packet loss' /pings || { cat /pings; exit 9; }
done
exit 4
"""
# In a network namespace of its own: the daemon, behind its tap interface.
WIRE = """ip tuntap add t0 mode tap vnet_hdr
ip addr add 10.0.2.2/24 dev t0 && ip link set t0 up
exec "$0" --backend=tap=t0 --iommu --verbose --socket-path="$1"
"""


@suite.case
def guest_whose_network_is_behind_an_iommu(s):
    """Packets go to and come from a tap interface."""
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        raise Skip("needs root and /dev/net/tun")
    need_qemu()
    machine = Guarded(s)
    machine.serve("--backend=mem", "--size=1M", "--iommu")
    path = s.path("net.sock")
    with open(s.path("net.log"), "wb") as log:
        net = s.popen("unshare", "-n", "sh", "-ec", WIRE,
                      os.path.join(BIN, "vireo-net"), path,
                      stdout=subprocess.DEVNULL, stderr=log)
    wait_for(lambda: os.path.exists(path), 60, "no socket")
    # QEMU 7.2 dies of vectors with TCG.
    machine.more = ["-device", "pcie-root-port,id=rn,chassis=2",
                    "-chardev", "socket,id=n,path=" + path,
                    "-netdev", "vhost-user,id=n,chardev=n",
                    "-device", "virtio-net-pci,netdev=n,vectors=0,romfile=,"
                    "bus=rn,iommu_platform=on,ats=on,disable-legacy=on"]
    lines = machine.boot(PINGS)
    lines.until("@T exit ", 240)
    code = lines.until("\n").split("@T exit ")[-1].split()[0]
    machine.guest.communicate(timeout=120)
    machine.stop()
    net.terminate()
    expect(net.wait(timeout=60) == 0, "vireo-net ends with", net.returncode)
    with open(s.path("net.log")) as log:
        text = log.read()
    expect(code == "4", code, text[-2000:])
    expect("IOTLB_MSG" in text, "nothing was translated")
    expect("error:" not in text, text[-2000:])
    print("# %d translations and their ends" % text.count("IOTLB_MSG"),
          flush=True)


suite.main()
