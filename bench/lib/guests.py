# SPDX-License-Identifier: MIT
"""TCP between Linux guests, and between a guest and its host, by iperf3: the
card that is vireo-net behind QEMU's vhost-user, beside the one that QEMU has
itself. In a network namespace of this program's own; the guests are QEMU's,
with or without hardware help. Knows nothing of reports."""
import ctypes
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import time
from statistics import median

import machine

CLONE_NEWNET = 0x40000000
MODULES = ("virtio_pci", "virtio_net")
SECONDS = 3             # of one direction
BOOT = 60               # seconds that a guest may take to speak
# The offloads that a card can have; QEMU's words.
OFFLOADS = ("csum", "gso", "guest_csum", "guest_tso4", "guest_tso6",
            "guest_ecn", "guest_ufo", "host_tso4", "host_tso6", "host_ecn",
            "host_ufo")
# name, our back end, QEMU's, where the guest finds its partner
WIRES = (
    ("guest and host, user", "user", "user", "10.0.2.2", "10.0.2.15/24"),
    ("guest and host, tap", "tap=t0", "tap,ifname=t0,script=no,"
     "downscript=no,vhost=off", "10.9.0.1", "10.9.0.2/24"),
    ("two guests", "switch=bench", "stream", "10.9.0.3", "10.9.0.2/24"),
)
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2> /dev/null
for m in $(cat /modules); do insmod $m; done
echo ready
word() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }
ip link set lo up; ip addr add $(word ip) dev eth0; ip link set eth0 up
if [ $(word role) = server ]; then
	echo listening; iperf3 -s
fi
for i in $(seq 40); do ping -c 1 -W 1 $(word to) > /dev/null && break; done
for way in "" -R; do
	iperf3 -f m -t $(word seconds) $way -c $(word to) |
		sed -n 's/.* \\([0-9.]*\\) Mbits.*receiver.*/mbit \\1/p'
done
echo the end
poweroff -f
"""


def find_kernel():
    """The one that `vireo run --vmm qemu` uses, and fetches."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for root in ("", os.path.join(cache, "vireo/linux-image-cloud-amd64")):
        found = glob.glob(root + "/boot/vmlinuz-*-cloud-amd64")
        if found:
            return root, sorted(found)[-1]
    return None


def copy_program(root, path):
    """With its libraries, where the loader finds them."""
    done = subprocess.run(["ldd", path], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True)
    for lib in re.findall(r"(/\S+) \(0x", done.stdout):
        where = os.path.join(root, "lib64" if lib.startswith("/lib64/")
                             else "lib/x86_64-linux-gnu")
        os.makedirs(where, exist_ok=True)
        shutil.copy(lib, where)
    shutil.copy(path, os.path.join(root, "bin"))


def copy_modules(root, tree, version):
    """Those that the card takes, in the order in which they load."""
    base = os.path.join(tree + "/lib/modules", version)
    known = {os.path.basename(p)[:-3]: p for p in glob.glob(
        base + "/kernel/**/*.ko", recursive=True)}
    names = []

    def need(name):
        path = known.get(name)
        if not path or path in names:
            return
        done = subprocess.run(["modinfo", "-F", "depends", path], check=True,
                              stdout=subprocess.PIPE, universal_newlines=True)
        for other in filter(None, done.stdout.strip().split(",")):
            need(other)
        names.append(path)

    for name in MODULES:
        need(name)
    for path in names:
        shutil.copy(path, root)
    with open(os.path.join(root, "modules"), "w") as f:
        f.write("".join("/%s\n" % os.path.basename(p) for p in names))


def make_initramfs(work, tree, version):
    root = os.path.join(work, "root")
    os.makedirs(os.path.join(root, "bin"))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin"))
    copy_program(root, shutil.which("iperf3"))
    copy_modules(root, tree, version)
    with open(os.path.join(root, "init"), "w") as f:
        f.write(INIT)
    os.chmod(os.path.join(root, "init"), 0o755)
    path = os.path.join(work, "initramfs")
    names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE,
                           check=True).stdout
    done = subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root,
                          input=names, stdout=subprocess.PIPE, check=True,
                          stderr=subprocess.DEVNULL)
    with gzip.open(path, "wb", 1) as f:
        f.write(done.stdout)
    shutil.rmtree(root)
    return path


class Bench:
    """Processes of one measurement; they are gone when the block ends."""

    def __init__(self, args, work, kernel, initramfs, accel):
        self.args, self.work, self.accel = args, work, accel
        self.kernel, self.initramfs = kernel, initramfs
        # What a nested host's hypervisor keeps back is not asked for.
        self.cpu = "max" if accel == "tcg" else "max,-arch-capabilities"
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.kill()
            child.wait()
        self.children = []

    def start(self, *command, **how):
        how.setdefault("stdout", subprocess.DEVNULL)
        self.children.append(subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.DEVNULL,
            stderr=open(os.path.join(self.work, "errors"), "a"), **how))
        return self.children[-1]

    def vireo_net(self, backend, number):
        sock = os.path.join(self.work, "sock%d" % number)
        if os.path.exists(sock):
            os.unlink(sock)
        more = ["--host-loopback"] * (backend == "user")
        self.start(os.path.join(self.args.build, "bin", "vireo-net"),
                   "--socket-path=" + sock, "--backend=" + backend, *more,
                   env=dict(os.environ, XDG_RUNTIME_DIR=self.work))
        deadline = time.monotonic() + 10
        while not os.path.exists(sock):
            if time.monotonic() > deadline:
                sys.exit("bench: vireo-net does not start; see " +
                         os.path.join(self.work, "errors"))
            time.sleep(0.02)
        return ["-chardev", "socket,id=c,path=" + sock,
                "-netdev", "vhost-user,id=n,chardev=c"]

    def qemu_net(self, backend, number):
        if backend == "stream":
            backend = "stream,server=%s,addr.type=unix,addr.path=%s" % (
                "off" if number else "on", os.path.join(self.work, "wire"))
        return ["-netdev", backend + ",id=n"]

    def guest(self, card, wire, number, words, offloads):
        _, ours, theirs, _, _ = wire
        net = self.vireo_net(ours, number) if card == "vireo" else \
            self.qemu_net(theirs, number)
        # Without vectors, as QEMU 7.2 without KVM needs for vhost-user.
        device = "virtio-net-pci,netdev=n,vectors=0,mac=52:54:00:00:00:%02d" % (
            number + 1)
        if not offloads:
            device += "".join(",%s=off" % o for o in OFFLOADS)
        return self.start(
            "qemu-system-x86_64", "-accel", self.accel, "-M",
            "q35,memory-backend=m", "-cpu", self.cpu, "-m", "256", "-object",
            "memory-backend-memfd,id=m,size=256M,share=on", "-display",
            "none", "-nodefaults", "-no-reboot", "-kernel", self.kernel,
            "-initrd", self.initramfs, "-serial", "stdio", *net, "-device",
            device, "-append", "console=ttyS0 quiet panic=-1 " + words,
            stdout=subprocess.PIPE)


class Silent(SystemExit):
    """A guest that did not say what it should."""


def lines_of(child, until, seconds=BOOT + 4 * SECONDS):
    """What the guest says up to that word, as lines."""
    got, deadline = b"", time.monotonic() + seconds
    os.set_blocking(child.stdout.fileno(), False)
    while until not in got:
        if child.poll() is not None or time.monotonic() > deadline:
            raise Silent("bench: a guest said no '%s' but:\n%s" % (
                until.decode(), got.decode(errors="replace")[-2000:]))
        got += child.stdout.read() or b""
        time.sleep(0.02)
    return got.decode(errors="replace").splitlines()


def boots(bench):
    """Some hosts promise hardware help, and a guest stands still with it."""
    with bench:
        try:
            child = bench.guest("qemu", WIRES[0], 0, "role=none", True)
            lines_of(child, b"ready", 10)
        except Silent:
            return False
    return True


def measure(bench, card, wire, offloads):
    """Mbit/s from the guest and to it."""
    name, _, _, partner, own = wire
    for path in glob.glob(os.path.join(bench.work, "wire")):
        os.unlink(path)
    words = "role=%s ip=%s to=" + partner + " seconds=%d" % SECONDS
    if name == "two guests":
        server = bench.guest(card, wire, 0, words % ("server",
                                                     partner + "/24"),
                             offloads)
        lines_of(server, b"listening")
    else:
        bench.start("iperf3", "-s")
    client = bench.guest(card, wire, 1, words % ("client", own), offloads)
    lines = lines_of(client, b"the end")
    said = [float(w) for line in lines
            for w in re.findall(r"\bmbit ([0-9.]+)$", line)]
    if len(said) != 2:
        sys.exit("bench: iperf3 in the guest gave no two figures:\n" +
                 "\n".join(lines[-20:]))
    return said


def own_network():
    """A namespace with a tap interface. False: not permitted."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return False
    for command in ("link set lo up", "tuntap add t0 mode tap vnet_hdr",
                    "addr add 10.9.0.1/24 dev t0", "link set t0 up"):
        if subprocess.run(["ip"] + command.split(),
                          stderr=subprocess.DEVNULL).returncode:
            return False
    return True


def missing():
    for tool in ("qemu-system-x86_64", "iperf3", "busybox", "modinfo", "ip"):
        if not shutil.which(tool):
            return tool + " is not installed; scripts/setup bench installs it"
    if not find_kernel():
        return "no guest kernel; `vireo run --vmm qemu` fetches one"
    return None


def compare(args, bench, wire, offloads, results):
    cards = ("qemu", "vireo")
    got = {card: [] for card in cards}
    for _, card in machine.turns(args.rounds, cards):
        with bench:
            got[card].append(measure(bench, card, wire, offloads))
    for way, at in (("from the guest", 0), ("to the guest", 1)):
        if wire[0] == "two guests" and at:
            continue    # the same the other way round
        mbit = {card: [v[at] for v in got[card]] for card in cards}
        name = "%s, %s, offloads %s" % (wire[0], way,
                                        "on" if offloads else "off")
        results.append({"name": name, "mbit": mbit})
        ratio = median(a / b for a, b in zip(mbit["vireo"], mbit["qemu"]))
        print("  %-52s vireo %6.0f  qemu %6.0f  ratio %.2f" % (
            name, median(mbit["vireo"]), median(mbit["qemu"]), ratio),
            flush=True)


def run(args, work):
    """Returns the results; prints them on the way."""
    why = missing()
    if why or not own_network():
        print("bench: no guests: " + (why or "needs root, for a network "
                                             "namespace and a tap interface"))
        return {"cases": [], "machine_kind": "no guests"}
    tree, kernel = find_kernel()
    version = os.path.basename(kernel)[len("vmlinuz-"):]
    initramfs = make_initramfs(work, tree, version)
    accel = "tcg"
    if machine.has_kvm() and boots(Bench(args, work, kernel, initramfs,
                                         "kvm")):
        accel = "kvm"
    kind = "QEMU's guests, " + ("KVM" if accel == "kvm" else
                                "software emulation")
    print("\nTCP between guests and hosts, Mbit/s, %s:" % kind)
    bench = Bench(args, work, kernel, initramfs, accel)
    results = []
    for wire in WIRES:
        for offloads in (True, False):
            compare(args, bench, wire, offloads, results)
    return {"cases": results, "machine_kind": kind}
