# SPDX-License-Identifier: MIT
"""KVM where it is real: QEMU emulates a machine with hardware
virtualization, and in it `vireo doctor` and `vireo run` have to find out and
use it. Guests in a guest, all disks ours. The machine is booted once; each
case looks at one part of what it said."""
import functools
import glob
import hashlib
import os
import re
import shlex
import shutil

from guests import BIN, Skip, Suite, expect, need_qemu, tool

suite = Suite()

PROGRAMS = ("qemu-system-x86_64", "mke2fs", "e2fsck", "debugfs")
FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin",
            "vgabios-stdvga.bin", "efi-virtio.rom")

PREPARE = """
mount -t ext4 /dev/vda /mnt || exit 9
for m in irqbypass kvm kvm-amd; do
	insmod $(find /mnt/lib/modules -name $m.ko) || exit 8
done
mount -t proc proc /mnt/proc
mount -t sysfs sys /mnt/sys
mount -t devtmpfs dev /mnt/dev
mkdir -p /mnt/dev/shm /mnt/dev/pts
mount -t tmpfs shm /mnt/dev/shm
mount -t devpts pts /mnt/dev/pts
mount -t tmpfs tmp /mnt/tmp
export PATH=/usr/bin:/bin HOME=/root LC_ALL=C
"""

# Of the disk that is given to the guest's guest.
DISK = "".join("%015d\n" % i for i in range(65536))

# What the guest's guest does with its disk.
INNER = ("mount -t ext4 /dev/vda /mnt && cd /mnt/files && "
         "sha256sum -c SHA256SUMS > /tmp/x && echo sums are right && exit 4")


def find_kernel():
    """The one that `vireo run --vmm qemu` uses."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for root in ("", os.path.join(cache, "vireo/linux-image-cloud-amd64")):
        found = glob.glob(root + "/boot/vmlinuz-*-cloud-amd64")
        if found:
            return root, sorted(found)[-1]
    return None


def copy_program(root, path):
    """With its libraries, where the loader finds them."""
    libs = re.findall(r"(/\S+) \(0x", tool("ldd", path))
    for lib in libs:
        if lib.startswith("/lib64/"):
            where = os.path.join(root, "lib64")
        else:
            where = os.path.join(root, "lib/x86_64-linux-gnu")
        shutil.copy(lib, where)
    shutil.copy(path, os.path.join(root, "usr/bin"))


def which(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(name + " is missing")
    return path


def machine(s):
    """A disk with all that vireo run needs, and a guest's kernel."""
    need_qemu()
    if not find_kernel():   # a run fetches it
        code, out = s.run("--vmm", "qemu", "--", "true")
        expect(code == 0, code, out)
    where, kernel = find_kernel()
    version = os.path.basename(kernel).replace("vmlinuz-", "")
    root = s.path("root")
    for name in ("bin", "boot", "dev", "etc", "lib/x86_64-linux-gnu",
                 "lib64", "proc", "root", "sys", "tmp", "usr/bin",
                 "usr/share/qemu"):
        os.makedirs(os.path.join(root, name))
    for name in ("vireo", "vireo-blk", "vireo-console", "vireo-rng",
                 "vireo-net", "vireo-vmm"):
        copy_program(root, os.path.join(BIN, name))
    for name in PROGRAMS:
        copy_program(root, which(name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin"))
    for name in FIRMWARE:
        for folder in ("qemu", "seabios"):
            path = os.path.join("/usr/share", folder, name)
            if os.path.exists(path):
                shutil.copy(path, os.path.join(root, "usr/share/qemu"))
                break
    shutil.copy(kernel, os.path.join(root, "boot"))
    tree = "lib/modules/" + version
    for name in ("drivers/virtio", "drivers/block", "drivers/char", "virt",
                 "arch/x86/kvm", "drivers/net", "net/core"):
        shutil.copytree(os.path.join(where or "/", tree, "kernel", name),
                        os.path.join(root, tree, "kernel", name))
    with open(os.path.join(root, "disk"), "w") as f:
        f.write(DISK)
    image = s.path("machine.img")
    tool("mke2fs", "-q", "-t", "ext4", "-d", root, image, "600M")
    return image


# Requests, one by one, to see what they cost.
READS = 2000

# The kernel says of each device what was agreed on: character 33 is
# VERSION_1.
OLD = ("ip addr; cut -c33 /sys/bus/virtio/devices/*/features | uniq -c; "
       "dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | sha256sum; "
       "tr 0-9 A-J < /dev/vda > /tmp/x; cat /tmp/x > /dev/vda; sync; "
       "head -c 64 /dev/hwrng > /dev/null && echo random; exit 5")


def old(transport):
    return ("cp /disk /tmp/%s; vireo run --vmm kvm --transport %s --mem 160 "
            "--net user --disk /tmp/%s -- '%s'; echo code $?; sha256sum < /tmp/%s; "
            "rm /tmp/%s" % ((transport,) * 3 + (OLD,) + (transport,) * 2))


# What the machine does, each part under a heading of its own.
PARTS = {
    "doctor": "vireo doctor",
    "pci": "vireo run -v --vmm kvm --net user -- 'ip addr; dd if=/dev/vda "
           "of=/dev/null bs=4k count=%d iflag=direct; %s'" % (READS, INNER),
    "mmio": "echo \"cat /sys/class/misc/hw_random/rng_available; ls "
            "/sys/bus/virtio/drivers/virtio_blk; dd if=/dev/vda bs=4k "
            "2>/dev/null | sha256sum; nproc; exit 3\" | vireo run --vmm kvm "
            "--transport mmio --cpus 2 --mem 160 --disk /disk",
    "pci-legacy": old("pci-legacy"),
    "mmio-legacy": old("mmio-legacy"),
}
# Those that `make soak` runs, too.
MORE_PARTS = {
    "pci-transitional": old("pci-transitional"),
    "qemu": "vireo run -v --vmm qemu-kvm -- '%s'" % INNER,
}
# For all of them; the tests' own limits are in meson.build.
LIMIT_S = 840
if os.environ.get("VIREO_ALL"):
    PARTS.update(MORE_PARTS)
    LIMIT_S = 2400


@functools.lru_cache(maxsize=None)
def parts(s):
    """The parts' outputs, from one run of the machine."""
    steps = "".join("echo == %s\nchroot /mnt sh -c %s\necho code $?\n"
                    "echo up $(cut -d. -f1 /proc/uptime) s\n" %
                    (name, shlex.quote(what))
                    for name, what in PARTS.items())
    _, out = s.vireo(
        "run", "--timeout", str(LIMIT_S), "--vmm", "qemu", "--mem", "768",
        "--disk", machine(s), "--", PREPARE + steps,
        timeout=LIMIT_S + 20)
    # If the end did not come, what came is judged all the same.
    found = re.split(r"^== ([\w-]+)\r?$", out, flags=re.M)[1:]
    for name, text in zip(found[::2], found[1::2]):
        up = re.search(r"^up (\d+) s", text, re.M)
        print("# %s was through after %s s" %
              (name, up.group(1) if up else "no"), flush=True)
    return dict(zip(found[::2], found[1::2])), out


def part(s, name):
    global scratch
    scratch = scratch or s
    found, out = parts(scratch)
    return found.get(name, "it did not come to this: " + out)


scratch = None


@suite.case
def doctor_finds_kvm(s):
    out = part(s, "doctor")
    expect("ok    KVM " in out, out)
    expect("can work here, with KVM" in out, out)


@suite.case
def our_machine_boots_linux_on_pci(s):
    """Disk, console and entropy in the machine's process, and a network in
    another, over vhost-user."""
    out = part(s, "pci")
    expect("--vhost-user=net," in out and "inet 10.0.2." in out, out)
    expect("vireo-vmm" in out and "sums are right" in out, out)
    expect("code 4" in out, out)
    # Those of the network: KVM takes them from the back end itself.
    expect("net device that came by this program: 0" in out, out)


@suite.case
def requests_do_not_leave_the_guests_kernel(s):
    """Neither kicks nor interrupts: all exits are those of the boot."""
    out = part(s, "pci")
    exits = re.search(r"exits to this program: (\d+) for memory", out)
    done = re.search(r"^disk vda +(\d+)", out, re.M)
    expect(exits and done and int(done.group(1)) > READS, out)
    expect(int(exits.group(1)) < READS / 2, out)


@suite.case
def our_machine_boots_linux_on_mmio(s):
    """With two processors, and a script on the console device."""
    out = part(s, "mmio")
    expect("virtio_rng.0" in out and "virtio0" in out, out)
    expect(hashlib.sha256(DISK.encode()).hexdigest() in out, out)
    expect(re.search(r"^2\r?$", out, re.M) and "code 3" in out, out)


def old_drivers(s, transport, version):
    out = part(s, transport)
    expect(re.search(r"^ +4 %d\r?$" % version, out, re.M), out)
    expect("inet 10.0.2." in out, out)
    expect(hashlib.sha256(DISK.encode()).hexdigest() in out, out)
    after = DISK.translate(str.maketrans("0123456789", "ABCDEFGHIJ"))
    expect(hashlib.sha256(after.encode()).hexdigest() in out, out)
    expect("random" in out and "code 5" in out, out)


@suite.case
def legacy_drivers_on_pci(s):
    old_drivers(s, "pci-legacy", 0)


@suite.case
def legacy_drivers_on_mmio(s):
    old_drivers(s, "mmio-legacy", 0)


@suite.case
def a_transitional_device_is_taken_as_a_modern_one(s):
    if "pci-transitional" not in PARTS:
        raise Skip("in make soak")
    old_drivers(s, "pci-transitional", 1)


@suite.case
def qemu_with_kvm_boots_linux(s):
    if "qemu" not in PARTS:
        raise Skip("in make soak")
    out = part(s, "qemu")
    expect("-accel kvm" in out and "sums are right" in out, out)
    expect("code 4" in out, out)


suite.main()
