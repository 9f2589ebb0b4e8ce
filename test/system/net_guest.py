# SPDX-License-Identifier: MIT
"""What a Linux guest asks of its network card, by ip and ethtool, while TCP
runs whose every byte is compared: offloads, addresses, VLANs, pairs of
queues, hashes. The guest is User Mode Linux, whose control queue is our
device's, behind a tap interface in a network namespace; its tools are the
host's, through hostfs. One guest does it all; each case looks at its part of
what was said. The host's half is this program, called anew within the
namespace."""
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading

CONTROL = os.environ.get("VIREO_CONTROL", "")
HOST, HOST6 = "10.9.0.1", "fd09::1"
FILE = b"".join(b"%d\n" % i for i in range(1, 100001))
PACKETS = len(FILE) // 1448     # that hold the file, at the usual MTU
ALL = os.environ.get("VIREO_ALL", "")
GUEST = """
all=%(all)s
mount -t hostfs -o / none /mnt
for m in lib/crc-ccitt net/ipv6/ipv6 net/llc/llc net/802/stp net/802/garp \\
	net/802/mrp net/8021q/8021q; do
	insmod /mnt/usr/lib/uml/modules/$(uname -r)/kernel/$m.ko
done
tool() {
	chroot /mnt /usr/sbin/ethtool "$@" > /tmp/said 2>&1 ||
		echo "refused: $*: $(cat /tmp/said)"
	[ "${1#-[KLXNC]}" = "" ] || cat /tmp/said
}
of() { cat /sys/class/net/eth0/statistics/$1_packets; }
ip addr show dev eth0 | grep -o 'inet 169.254.*eth0'
ip addr add 10.9.0.2/24 dev eth0
ip addr add fd09::2/64 dev eth0
for i in $(seq 50); do
	ip addr show dev eth0 | grep -q tentative || break
	usleep 100000
done
seq 1 100000 > /tmp/n
sum=$(sha256sum < /tmp/n)
# By large writes, so that there is something to cut.
up() {
	[ "$(chroot /mnt bash -c 'exec 3<>/dev/tcp/$0/7; cat >&3; cat <&3' \
		"$1" < /tmp/n)" = "$sum" ]
}
# The file there, and the file from there; how many packets each took.
flow() {
	tx=$(of tx)
	up ${2:-%(host)s} || return
	tx=$(($(of tx) - tx)) rx=$(of rx)
	nc ${2:-%(host)s} 9 < /dev/null | cmp - /tmp/n &&
		echo "flow $1: $tx $(($(of rx) - rx))"
}
soak() { [ -z "$all" ] || "$@"; }
# 200 frames from the host to that address and VLAN; how many came.
come() {
	rx=$(of rx)
	echo "$2 $3" | nc %(host)s 8 > /tmp/asked
	echo "come $1: $(($(of rx) - rx))"
}
""" % {"host": HOST, "all": ALL}

# A flow beside all others, round and round, while the card changes; each has
# to end well.
OFFLOADS = """
ip link set eth0 mtu 1500
flow whole
(while [ ! -e /tmp/stop ]; do
	up %(host)s || echo "beside: different"
	nc %(host)s 9 < /dev/null | cmp - /tmp/n || echo "beside: different"
	echo >> /tmp/count
done) &
tool -K eth0 tso off; tool -K eth0 rx-gro-hw off
tool -K eth0 tso on; tool -K eth0 rx-gro-hw on
tool -K eth0 tx off gso off; tool -K eth0 rx-gro-hw off
echo > /tmp/stop; wait; echo "beside: $(wc -l < /tmp/count)"
flow "no checksums, IPv6" %(host6)s
soak flow "no checksums"
soak tool -K eth0 tx on gso on tso off
soak flow "small out"
tool -K eth0 tx on tso on gso on
soak flow "small in"
tool -K eth0 rx-gro-hw on
flow "IPv6" %(host6)s
ip link set eth0 mtu 9000
tool -K eth0 tso off gso off rx-gro-hw off
flow jumbo
tool -K eth0 tso on gso on rx-gro-hw on
""" % {"host": HOST, "host6": HOST6}

WANTED = """
mac=$(cat /sys/class/net/eth0/address)
come own $mac 0
come other 02:00:00:00:00:99 0
ip link set eth0 promisc on
come "other, promiscuous" 02:00:00:00:00:99 0
ip link set eth0 promisc off
soak come "other again" 02:00:00:00:00:99 0
come group 01:00:5e:11:22:33 0
ifconfig eth0 allmulti
come "all groups" 01:00:5e:11:22:33 0
ifconfig eth0 -allmulti
chroot /mnt /sbin/ip maddr add 01:00:5e:11:22:33 dev eth0
come "group of the table" 01:00:5e:11:22:33 0
soak come "other group" 01:00:5e:11:22:34 0
come "VLAN of nobody" $mac 5
ip link add link eth0 name v5 type vlan id 5
ip link set v5 up
come VLAN $mac 5
soak come "other VLAN" $mac 6
ip link del v5
come "VLAN that went" $mac 5
ip link set eth0 address 02:00:00:00:00:55
soak flow "new address"
come "new address" 02:00:00:00:00:55 0
come "old address" $mac 0
"""

PAIRS = """
tool -L eth0 combined 2
tool -l eth0 | sed -n 's/^Combined:/pairs/p' | tail -n 1
soak flow "two pairs"
tool -X eth0 weight 0 1
first=$(tool -S eth0 | sed -n 's/ *rx_queue_1_packets: //p')
flow "second pair"
echo "second: $(($(tool -S eth0 |
	sed -n 's/ *rx_queue_1_packets: //p') - first))"
tool -X eth0 default
tool -X eth0 hkey $(seq -s : 10 49)
tool -x eth0 | grep 10:11:12
tool -N eth0 rx-flow-hash tcp4 sd
tool -n eth0 rx-flow-hash tcp4 | tail -n 4
tool -K eth0 rxhash on
soak flow "with hashes"
soak flow "with hashes, IPv6" %s
tool -C eth0 rx-usecs 50 rx-frames 8 tx-frames 1
tool -c eth0 | sed -n 's/^rx-usecs:/usecs/p'
flow "hashes, and put off"
tool -L eth0 combined 1
soak flow "one pair again"
echo "announce" | nc %s 8
carrier() { until [ "$(cat /sys/class/net/eth0/carrier)" = $1 ]; do
	usleep 20000; done; }
echo "link: now"
carrier 0; echo "link: down"
carrier 1; echo "link: up"
flow "link up again"
echo the end
""" % (HOST6, HOST)


class Up(socketserver.BaseRequestHandler):
    """Tells the sum of a file's length, as sha256sum does."""

    def handle(self):
        import hashlib
        whole, left = hashlib.sha256(), len(FILE)
        while left:
            data = self.request.recv(min(left, 65536))
            if not data:
                return
            whole.update(data)
            left -= len(data)
        self.request.sendall(whole.hexdigest().encode() + b"  -\n")


class Down(socketserver.BaseRequestHandler):
    """Gives what the guest has, too."""

    def handle(self):
        self.request.sendall(FILE)


def announced():
    """Does the guest tell its neighbours where it is, when it is asked to?
    By ARP, in which it asks for its own address."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                       socket.htons(0x0806)) as raw:
        raw.bind(("t0", 0x0806))
        raw.settimeout(60)
        subprocess.run([sys.argv[2], "ctl", CONTROL, "announce"], check=True,
                       stdout=subprocess.DEVNULL)
        own = socket.inet_aton("10.9.0.2")
        while True:
            frame = raw.recv(2048)
            if frame[28:32] == own and frame[38:42] == own:
                return True


class Frames(socketserver.StreamRequestHandler):
    """200 frames to the address that is asked for, tagged or not."""

    def handle(self):
        words = self.rfile.readline().decode().split()
        if len(words) == 2:
            self.send_frames(*words)
            self.wfile.write(b"sent\n")
        elif words == ["announce"]:
            self.wfile.write(b"announced: %d\n" % announced())

    def send_frames(self, mac, vid):
        tag = b"" if vid == "0" else \
            b"\x81\x00" + int(vid).to_bytes(2, "big")
        frame = bytes.fromhex(mac.replace(":", "")) + \
            b"\x02\0\0\0\0\x07" + tag + b"\x88\xb5" + bytes(60)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("t0", 0))
            for _ in range(200):
                raw.send(frame)


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def host():
    """In the namespace; ends with the guest, with its exit code."""
    for line in ("link set lo up",
                 "tuntap add t0 mode tap vnet_hdr multi_queue",
                 "link set t0 mtu 9000 up",
                 "addr add %s/24 dev t0" % HOST,
                 "addr add %s/64 dev t0 nodad" % HOST6):
        subprocess.run(["ip"] + line.split(), check=True)
    for port, handler in ((7, Up), (8, Frames), (9, Down)):
        threading.Thread(target=Server(("::", port), handler).serve_forever,
                         daemon=True).start()
    return subprocess.run(sys.argv[2:]).returncode


if __name__ == "__main__" and sys.argv[1:2] == ["--host"]:
    sys.exit(host())

from guests import VIREO, Lines, Skip, Suite, expect, need_uml  # noqa: E402

suite = Suite()


def said(s, part, known={}):
    """What the guest said at one part, of which it is asked but once."""
    need_uml()
    if not shutil.which("ethtool", path=os.environ["PATH"] + ":/usr/sbin"):
        raise Skip("package ethtool is not installed")
    if os.getuid() != 0 or not os.path.exists("/dev/net/tun") or \
            subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "probe",
                            "mode", "tap"], stderr=subprocess.DEVNULL
                           ).returncode:
        raise Skip("needs root, a network namespace and a tap interface")
    if not known:
        control = s.env["VIREO_CONTROL"] = s.path("control")
        child = s.popen("unshare", "-n", sys.executable,
                        os.path.abspath(__file__), "--host", VIREO, "run",
                        "--timeout", "240", "--vmm", "uml", "--net",
                        "tap=t0,queue-pairs=2,control-path=" + control,
                        "--", GUEST + OFFLOADS +
                        "echo ====\n" + WANTED + "echo ====\n" + PAIRS)
        lines = Lines(child.stdout.fileno())
        for text, way in (("link: now", "down"), ("link: down", "up")):
            lines.until(text, 240)
            code, out = s.vireo("ctl", control, "link", way)
            expect(code == 0, out)
        rest = child.communicate(timeout=240)[0]
        known["code"] = child.returncode
        known["out"] = (lines.all + rest).decode(errors="replace")
    out = known["out"]
    expect(known["code"] == 0 and "the end" in out and
           out.count("====\n") == 2, known["code"], out)
    return out.split("====\n")[part]


def flows(out):
    """Packets out and in, by the name of the flow."""
    expect("refused" not in out, out)
    return {name: (int(tx), int(rx)) for name, tx, rx in
            re.findall(r"flow (.*): (\d+) (\d+)", out)}


@suite.case
def offloads_are_switched_while_bytes_flow(s):
    out = said(s, 0)
    got = flows(out)
    expect("different" not in out and re.search(r"beside: [1-9]", out), out)
    # Nobody gives addresses there: it has one of its own.
    expect("inet 169.254." in out, out)
    expect(len(got) == (7 if ALL else 4), out)
    for name, out_small, in_small in (
            ("whole", False, False), ("small out", True, True),
            ("small in", False, True), ("no checksums", True, True),
            ("no checksums, IPv6", True, True), ("IPv6", False, False)):
        for number, small in zip(got.get(name, ()), (out_small, in_small)):
            expect((number >= PACKETS) == small, name, out)
    for number in got["jumbo"]:
        expect(len(FILE) // 9000 <= number < PACKETS, "jumbo", out)


@suite.case
def the_guest_gets_the_packets_that_it_wants(s):
    """By number, as frames that our device drops never reach the guest."""
    out = said(s, 1)
    got = {name: int(n) for name, n in re.findall(r"come (.*): (\d+)", out)}
    wanted = ("own", "other, promiscuous", "all groups",
              "group of the table", "VLAN", "new address")
    expect(len(got) == (14 if ALL else 11) and
           len(flows(out)) == (1 if ALL else 0), out)
    for name, number in got.items():
        expect(number >= 200 if name in wanted else number < 100, name, out)


@suite.case
def pairs_of_queues_hashes_and_moderation(s):
    out = said(s, 2)
    got = flows(out)
    expect(len(got) == (7 if ALL else 3), out)
    expect("announced: 1" in out, out)
    expect("link: down\nlink: up" in out, out)
    expect(re.search(r"pairs\s+2", out), out)
    second = int(re.search(r"second: (\d+)", out).group(1))
    expect(second >= got["second pair"][1], out)
    expect("10:11:12" in out and "IP DA" in out, out)
    expect("L4 bytes" not in out, out)
    expect(re.search(r"usecs\s+50", out), out)


suite.main()
