# SPDX-License-Identifier: MIT
"""Zoned disks as Linux, libzbd, fio and btrfs see them. It takes a kernel that
knows zones, on both sides: QEMU emulates a machine with hardware
virtualization, its kernel makes a zoned block device in memory (null_blk), and
our daemon passes that on, or makes zones itself, for a guest in that guest.
The kernel is a package that is fetched and unpacked, never installed. The
machine is booted once; each case looks at one part of what it said."""
import base64
import functools
import glob
import lzma
import os
import re
import shlex
import shutil
import subprocess

from disks import GUEST_DOES
from guests import BIN, VIREO, Skip, Suite, expect, need_qemu, tool

suite = Suite()

# It takes a minute or two; much longer where others use the processors.
TIMEOUT = 3000
# What was said, as it comes: to be read when it fails, or while it runs.
LOG = os.path.join(os.path.dirname(BIN), "zoned.log")

PACKAGE = "linux-image-6.12-cloud-amd64"
PROGRAMS = ("fio", "blkzone", "zbd", "mkfs.btrfs", "btrfs")
MODULES = ("kvm", "kvm_amd", "null_blk", "virtio_blk", "btrfs", "configfs",
           "virtio_rng")

# The machine's disks: what follows here, its copy for the guest in it, and a
# file with room for zones.
PREPARE = """
mount -t ext4 /dev/vda /mnt || exit 9
for d in proc sys dev; do mount -o bind /$d /mnt/$d; done
mkdir -p /mnt/dev/shm
mount -t tmpfs shm /mnt/dev/shm
mount -t tmpfs tmp /mnt/tmp
mkdir -p /mnt/run
mount -t tmpfs tmp /mnt/run
exec chroot /mnt /usr/bin/bash /machine
"""

# $1: name; then NAME=VALUE of null_blk.
MACHINE = r"""
export PATH=/usr/bin:/usr/sbin:/bin HOME=/root LC_ALL=C
for m in configfs kvm kvm_amd null_blk; do modprobe $m nr_devices=0; done
mount -t configfs none /sys/kernel/config
make_zones() {
	d=/sys/kernel/config/nullb/$1; shift
	mkdir $d
	for a in memory_backed=1 zoned=1 size=512 blocksize=4096 zone_size=8 \
		"$@"; do
		echo ${a#*=} > $d/${a%%=*}
	done
	echo 1 > $d/power
}
serve() {
	rm -f /tmp/s; vireo-blk --socket-path=/tmp/s "$@" & daemon=$!
	while [ ! -S /tmp/s ]; do sleep 0.1; done
}
guest() {
	vireo-vmm --kernel=/vmlinuz --initrd=/initrd --mem=320M --cpus=2 \
		--disk=/dev/vdb,ro --append="console=ttyS0 quiet panic=-1 \
reboot=k vireo.mode=command vireo.token=T vireo.console=ttyS0 \
todo=$(base64 /$1 | tr -d '\n')" "${@:2}" < /dev/null
}
part() { echo "== $1"; }
say() { echo "= $*"; }
"""

# What a guest does to the zones that it finds, wherever they are from. Each
# answer has a line of its own.
GUEST = r"""
say() { echo "= $*"; }
mkdir /t; mount -t ext4 -o ro,noload /dev/vda /t || say no tools
for d in proc sys dev; do mount -o bind /$d /t/$d; done
mount -t tmpfs tmp /t/tmp
chroot /t sh /inner $1
exit 0
"""

INNER = r"""
export PATH=/usr/bin:/usr/sbin:/bin HOME=/tmp LC_ALL=C
say() { echo "= $*"; }
modprobe virtio_blk
D=vdb; q=/sys/block/$D/queue
say model $(cat $q/zoned) zones $(cat $q/nr_zones) size \
	$(cat $q/chunk_sectors) open $(cat $q/max_open_zones) active \
	$(cat $q/max_active_zones)
say append $(( $(cat $q/zone_append_max_bytes) > 0 ))
say discard $(cat $q/discard_max_bytes)
blkzone report /dev/$D > /tmp/report
say reported $(grep -c start: /tmp/report)
say types $(sed 's/.*type: \([0-9]\).*/\1/' /tmp/report | sort | uniq -c)
say libzbd $(zbd report /dev/$D | grep -c "^Zone")
Z=$(cat $q/chunk_sectors)
state() { blkzone report -o $(($1 * Z)) -c 1 /dev/$D |
	sed 's/.*wptr \(0x[0-9a-f]*\).*zcond: *[0-9]*(\(..\)).*/\2 \1/'; }
# All of them; what a full zone's pointer is, nobody says.
summary() { blkzone report $1 | sed '/(fu)/s/wptr 0x[0-9a-f]*//' | sha256sum; }
# One that is sequential, and follows all that are not.
N=40
for op in open close open finish finish reset; do
	blkzone $op -o $((N * Z)) -c 1 /dev/$D; c=$?
	say $op $c $(state $N)
done
dd if=/dev/zero of=/dev/$D bs=64k count=2 oflag=direct \
	seek=$((N * Z / 128)) 2> /tmp/x; say write $? $(state $N)
blkzone close -o $((N * Z)) -c 1 /dev/$D; say close $? $(state $N)
dd if=/dev/zero of=/dev/$D bs=4k count=1 oflag=direct \
	seek=$((N * Z / 8 + 100)) 2> /tmp/x; say elsewhere $(($? != 0)) $(state $N)
dd if=/dev/zero of=/dev/$D bs=64k count=1 oflag=direct \
	seek=$((N * Z / 128 + 2)) 2> /tmp/x; say on $? $(state $N)
zbd reset -ofst $((N * Z * 512)) -len $((Z * 512)) /dev/$D > /tmp/x
say libzbd reset $? $(state $N)
# More than may be open.
i=0; n=0; while [ $i -lt 16 ]; do
	blkzone open -o $(((N + i) * Z)) -c 1 /dev/$D 2> /tmp/x && n=$((n + 1))
	i=$((i + 1))
done
say opened $n of 16
blkzone reset /dev/$D; say reset all $?
fio --eta=never --name=w --filename=/dev/$D --direct=1 --zonemode=zbd --rw=randwrite \
	--offset=$((32 * Z * 512)) --size=$((8 * Z * 512)) --bs=64k \
	--iodepth=8 --ioengine=libaio --io_size=12m --max_open_zones=4 --verify=crc32c \
	--do_verify=1 --verify_fatal=1 --output=/tmp/fio
say fio random $?
fio --eta=never --name=w --filename=/dev/$D --direct=1 --zonemode=zbd --rw=write \
	--offset=$((48 * Z * 512)) --size=$((4 * Z * 512)) --bs=128k \
	--iodepth=16 --ioengine=libaio --numjobs=2 --group_reporting=1 \
	--offset_increment=$((4 * Z * 512)) --output=/tmp/fio
say fio sequence $?
fio --eta=never --name=r --filename=/dev/$D --direct=1 --zonemode=zbd --rw=randread \
	--offset=$((48 * Z * 512)) --size=$((8 * Z * 512)) --bs=16k \
	--iodepth=16 --ioengine=libaio --io_size=8m --output=/tmp/fio
say fio read $?
say full $(blkzone report /dev/$D | grep -c "(fu)")
blkzone reset /dev/$D; say reset all $?
say empty $(blkzone report /dev/$D | grep -c "(em)")
# A file system that appends.
modprobe btrfs
mkfs.btrfs -q -f -O zoned -d single -m single /dev/$D > /tmp/x 2>&1
c=$?; say mkfs $c; [ $c = 0 ] || cat /tmp/x
mkdir /tmp/m; mount -t btrfs /dev/$D /tmp/m; say mount $?
for i in 1 2 3 4 5 6 7 8; do
	dd if=/dev/urandom of=/tmp/m/$i bs=1M count=3 conv=fsync 2> /dev/null
done
rm /tmp/m/3 /tmp/m/6
(cd /tmp/m; sha256sum *) > /tmp/sums
umount /tmp/m; mount -t btrfs /dev/$D /tmp/m
(cd /tmp/m; sha256sum -c /tmp/sums > /tmp/x); say sums $? $(wc -l < /tmp/sums)
btrfs scrub start -B /tmp/m > /tmp/x 2>&1; say scrub $?
grep -E "Error summary" /tmp/x
umount /tmp/m
btrfs check /dev/$D > /tmp/x 2>&1; say check $?
say complaints $(dmesg | grep -cE "I/O error|BTRFS (error|critical)")
say end $(summary /dev/$D)
"""

# Zones that the machine's kernel makes, by way of our daemon.
PASSED = r"""
part passed
make_zones z zone_nr_conv=4 zone_capacity=6 zone_max_open=6 zone_max_active=8
serve --blk-file=/dev/z
guest guest --vhost-user=blk,/tmp/s
say end $(blkzone report /dev/z | sed '/(fu)/s/wptr 0x[0-9a-f]*//' | sha256sum)
kill $daemon; wait $daemon; say daemon ends with $?
"""

# Zones that our daemon makes of a file, with the same shape.
MADE = r"""
part made
truncate -s 512M /tmp/file
serve --blk-file=/tmp/file --zoned=host-managed --zone-size=8M \
	--zone-capacity=6M --conventional-zones=4 --max-open-zones=6 \
	--max-active-zones=8
guest guest --vhost-user=blk,/tmp/s
kill $daemon; wait $daemon; say daemon ends with $?
rm /tmp/file /tmp/file.zones
"""

PARTS = {"passed": PASSED, "made": MADE}


def cache():
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(folder, "vireo")


def find_kernel():
    """The newest such package's files, fetched once."""
    root = os.path.join(cache(), PACKAGE)
    found = glob.glob(root + "/boot/vmlinuz-*")
    if found:
        return root, sorted(found)[-1]
    if not shutil.which("apt-get"):
        raise Skip("no apt-get to fetch %s with" % PACKAGE)
    os.makedirs(cache(), exist_ok=True)
    work = root + ".%d" % os.getpid()
    os.mkdir(work)
    try:
        name = re.search(r"Depends: (linux-image-\S+)",
                         tool("apt-cache", "depends", "--important", PACKAGE))
        done = subprocess.run(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download",
             name.group(1)], cwd=work, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        debs = glob.glob(work + "/*.deb")
        expect(debs, "no kernel:", done.stdout.decode())
        tool("dpkg-deb", "-x", debs[0], work + "/tree")
        os.rename(work + "/tree", root)
    finally:
        shutil.rmtree(work)
    return root, sorted(glob.glob(root + "/boot/vmlinuz-*"))[-1]


def which(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(name + " is missing: scripts/setup zoned installs it")
    return path


def copy_program(root, path):
    """With its libraries, where the loader finds them."""
    for lib in re.findall(r"(/\S+) \(0x", tool("ldd", path)):
        where = "lib64" if lib.startswith("/lib64/") else \
            "lib/x86_64-linux-gnu"
        shutil.copy(lib, os.path.join(root, where))
    shutil.copy(path, os.path.join(root, "usr/bin"))


def copy_modules(source, root, version):
    """Those that are wanted, with all that they need, unpacked."""
    old = os.path.join(source, "lib/modules", version)
    new = os.path.join(root, "lib/modules", version)
    os.makedirs(new)
    for path in glob.glob(old + "/modules.*"):
        shutil.copy(path, new)
    known = {}
    for path in glob.glob(old + "/kernel/**/*.ko*", recursive=True):
        name = os.path.basename(path).split(".")[0].replace("-", "_")
        known[name] = path
    todo = list(MODULES)
    done = set()
    while todo:
        name = todo.pop()
        if name in done or name not in known:
            continue
        done.add(name)
        packed = known[name].endswith(".xz")
        with (lzma.open if packed else open)(known[name], "rb") as f:
            data = f.read()
        to = os.path.join(new, os.path.relpath(known[name], old))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with open(to.split(".ko")[0] + ".ko", "wb") as f:
            f.write(data)
        for key in (b"depends=", b"softdep=pre: "):
            found = re.search(rb"\0" + key + rb"([^\0]*)", data)
            if found:
                todo += re.split(r"[, ]+", found.group(1).decode()
                                 .replace("-", "_"))
    tool("depmod", "-b", root, version)


def make_initrd(s, kernel):
    """Of a guest that does what its command line says."""
    code, out = s.run("--vmm", "qemu", "--kernel", kernel, "--keep", "-v",
                      "--append", "todo=" + base64.b64encode(
                          b"exit 7").decode(), "--", GUEST_DOES)
    expect(code == 7, code, out)
    kept = re.search(r"kept (\S+)", out).group(1)
    initrd = s.path("initrd")
    shutil.move(os.path.join(kept, "initrd"), initrd)
    tool("rm", "-rf", kept)
    return initrd


def machine(s):
    """Its disk; and its kernel, where vireo run finds modules for it."""
    need_qemu()
    programs = [which(name) for name in PROGRAMS]
    source, kernel = find_kernel()
    version = os.path.basename(kernel).replace("vmlinuz-", "")
    root = s.path("root")
    for name in ("bin", "boot", "dev", "lib/x86_64-linux-gnu", "lib64",
                 "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin"):
        os.makedirs(os.path.join(root, name))
    copy_modules(source, root, version)
    here = os.path.join(root, "boot", os.path.basename(kernel))
    shutil.copy(kernel, here)
    shutil.copy(kernel, os.path.join(root, "vmlinuz"))
    shutil.copy(make_initrd(s, here), os.path.join(root, "initrd"))
    for name in ("vireo-blk", "vireo-vmm"):
        copy_program(root, os.path.join(BIN, name))
    for path in programs + ["/bin/bash"]:
        copy_program(root, path)
    tool("/bin/busybox", "--install", "-s", os.path.join(root, "bin"))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox.real"))
    for name in os.listdir(os.path.join(root, "bin")):
        path = os.path.join(root, "bin", name)
        if os.path.islink(path):
            os.remove(path)
            os.symlink("busybox.real", path)
    for name, text in (
            ("guest", GUEST), ("inner", INNER),
            ("machine", MACHINE + "".join(PARTS.values()) + "part end\n")):
        with open(os.path.join(root, name), "w") as f:
            f.write(text)
    image = s.path("machine.img")
    tool("mke2fs", "-q", "-t", "ext4", "-d", root, image, "400M")
    return here, image


@functools.lru_cache(maxsize=None)
def parts(s):
    """The parts' outputs, from one run of the machine."""
    kernel, image = machine(s)
    copy = s.path("copy.img")
    shutil.copy(image, copy)
    with open(LOG, "wb") as log:
        child = s.popen(
            VIREO, "run", "--timeout", str(TIMEOUT), "--vmm", "qemu",
            "--kernel", kernel, "--mem", "1600", "--disk", image, "--disk",
            copy + ",ro", "--", PREPARE, stdout=log)
        child.wait(timeout=TIMEOUT + 60)
    with open(LOG, errors="replace") as log:
        out = log.read()
    found = re.split(r"^== ([\w-]+)\r?$", out, flags=re.M)[1:]
    return dict(zip(found[::2], found[1::2])), out


def said(s, name):
    global scratch
    scratch = scratch or s
    found, out = parts(scratch)
    expect(name in found and "end" in found, out[-6000:])
    return [line.strip()[2:] for line in found[name].splitlines()
            if line.strip().startswith("= ")], found[name]


# The first that the machine's disks lie in.
scratch = None

# Of both, whoever makes the zones.
WANT = [
    "model host-managed zones 64 size 16384 open 6 active 8", "append 1",
    "discard 0", "reported 64", "types 4 1 60 2", "libzbd 64",
    "open 0 oe 0x000000", "close 0 em 0x000000", "open 0 oe 0x000000",
    "finish 0 fu 0x004000", "finish 0 fu 0x004000", "reset 0 em 0x000000",
    "write 0 oi 0x000100", "close 0 cl 0x000100", "elsewhere 1 cl 0x000100",
    "on 0 oi 0x000180", "libzbd reset 0 em 0x000000", "opened 6 of 16",
    "reset all 0", "fio random 0", "fio sequence 0", "fio read 0",
    "full 8", "reset all 0", "empty 60", "mkfs 0", "mount 0", "sums 0 6",
    "scrub 0", "check 0", "complaints 0",
]


def check(s, name):
    lines, text = said(s, name)
    ends = [line for line in lines if line.startswith("end ")]
    lines = [line for line in lines if line not in ends]
    # How many fio fills at random is its own affair.
    lines = ["full 8" if re.fullmatch(r"full \d+", line) else line
             for line in lines]
    expect(lines == WANT + ["daemon ends with 0"], lines, text[-3000:])
    return ends


@suite.case
def zones_of_a_device_are_passed_on(s):
    """And the device's own report is the guest's."""
    ends = check(s, "passed")
    expect(len(ends) == 2 and ends[0] == ends[1], ends)


@suite.case
def zones_are_made_of_a_file(s):
    check(s, "made")


suite.main()
