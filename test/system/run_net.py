# SPDX-License-Identifier: MIT
"""vireo run --net: a guest on a network, with servers that are this program
on the host's loopback."""
import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time

from disks import Machine
from guests import (BIN, VIREO, Lines, Skip, Suite, expect, need_qemu,
                    need_uml)

suite = Suite()
FILE = os.urandom(2 * 1000 * 1000 + 7)


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILE)))
        self.end_headers()
        self.wfile.write(FILE)

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def download(s, vmm, *more):
    server = serve()
    try:
        code, out = s.run(
            "--vmm", vmm, "--net", "user", "--host-loopback", *more, "--",
            "wget -q -O - http://10.0.2.2:%d/ | sha256sum" %
            server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
    if "without it; install" in out:
        raise Skip("this build has no libslirp")
    expect(code == 0, code, out)
    expect(hashlib.sha256(FILE).hexdigest() in out, out)


@suite.case
def a_guest_of_uml_downloads_a_file(s):
    need_uml()
    download(s, "uml")


@suite.case
def what_a_guest_downloads_is_on_record(s):
    """--record, read by somebody else's program: checksums and all."""
    need_uml()
    if not shutil.which("tshark"):
        raise Skip("package tshark is not installed")
    record = os.path.join(s.tmp, "r.pcap")
    download(s, "uml", "--record", record)
    out = subprocess.run(
        ["tshark", "-r", record, "-o", "tcp.check_checksum:TRUE",
         "-z", "follow,tcp,raw,0", "-q"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        universal_newlines=True).stdout
    # The server's half of the conversation is indented.
    half = "".join(line.strip() for line in out.splitlines()
                   if line.startswith("\t"))
    expect(bytes.fromhex(half).endswith(FILE), out[:500])
    os.unlink(record)


@suite.case
def a_guest_behind_passt_downloads_a_file(s):
    need_uml()
    if not shutil.which("passt"):
        raise Skip("package passt is not installed")
    routes = subprocess.run(["ip", "route"], stdout=subprocess.PIPE,
                            universal_newlines=True).stdout
    if "default via" not in routes:
        raise Skip("passt needs a default route on this host")
    wire = os.path.join(s.tmp, "wire")
    root = ["--runas", "0"] if os.getuid() == 0 else []
    passt = subprocess.Popen(
        ["passt", "--foreground", "--one-off", "--socket", wire] + root,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = serve()
    try:
        end = time.monotonic() + 60
        while not os.path.exists(wire) and time.monotonic() < end:
            time.sleep(0.05)
        code, out = s.run(
            "--vmm", "uml", "--net", "stream=" + wire, "--",
            "wget -q -O - http://$(ip route | "
            "sed -n 's/default via \\([0-9.]*\\).*/\\1/p'):%d/ | sha256sum" %
            server.server_address[1])
        expect(code == 0, code, out)
        expect(hashlib.sha256(FILE).hexdigest() in out, out)
    finally:
        server.shutdown()
        server.server_close()
        passt.kill()
        passt.wait()
        os.unlink(wire)


@suite.case
def a_guest_of_qemu_downloads_a_file_on_each_of_two_pairs(s):
    """On a queue for each processor; QEMU adds its memory once for each
    pair. What queues carried, the program says while the guest is there."""
    need_qemu()
    control = s.path("pairs")
    server = serve()
    guest = s.popen(
        VIREO, "run", "--timeout", "120", "--vmm", "qemu", "--mem", "192",
        "--cpus", "2", "--host-loopback", "--net",
        "user,queue-pairs=2,control-path=" + control, "--",
        "ls -d /sys/class/net/eth0/queues/tx-1; for c in 1 2; do "
        "taskset $c wget -q -O - http://10.0.2.2:%d/ | sha256sum; done; "
        "echo both; sleep 100" % server.server_address[1])
    try:
        try:
            out = Lines(guest.stdout.fileno()).until("both", 240)
        except AssertionError as why:
            if "without it; install" in str(why):
                raise Skip("this build has no libslirp") from None
            raise
        expect(out.count(hashlib.sha256(FILE).hexdigest()) == 2 and
               "tx-1" in out, out)
        code, out = s.vireo("ctl", control, "metrics")
        expect(code == 0, out)
        for queue in range(4):
            expect(re.search(r'network_packets_total{queue="%d"} [1-9]' %
                             queue, out), out)
    finally:
        server.shutdown()
        server.server_close()
        guest.terminate()
        guest.communicate(timeout=120)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, sent):
    """What the guest answers, or nothing as long as it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            line.settimeout(5)
            return line.recv(100)
    except OSError:
        return b""


@suite.case
def a_forwarded_port_leads_to_the_guest(s):
    need_uml()
    port = free_port()
    child = s.popen(VIREO, "run", "--vmm", "uml", "--net", "user",
                    "--hostfwd", "tcp::%d-:7" % port, "--",
                    "nc -l -p 7 -e sed s/question/answer/")
    said = b""
    end = time.monotonic() + 60
    while not said and child.poll() is None and time.monotonic() < end:
        said = ask(port, b"my question\n")
        time.sleep(0.1)
    out, _ = child.communicate(timeout=120)
    expect(said == b"my answer\n", said, out)
    expect(child.returncode == 0, child.returncode, out)


@suite.case
def loopback_is_closed_unless_it_is_opened(s):
    need_uml()
    server = serve()
    try:
        code, out = s.run(
            "--vmm", "uml", "--net", "user", "--",
            "ip route | grep -q default && "
            "nc -w 3 10.0.2.2 %d < /dev/null 2>&1 | tail -n 1" %
            server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
    expect(code == 0 and "can't connect" in out, code, out)


def meet_with_jumbo_frames(s, vmm, show, pattern, ping, zone):
    """Packets of 9000 bytes, and TCP, which checks them."""
    name = "jumbo-%d" % os.getpid()
    s.env["XDG_RUNTIME_DIR"] = s.tmp
    wire = "switch=%s,mtu=9000" % name
    first = s.popen(VIREO, "run", "--vmm", vmm, "--net", wire, "--",
                    show + "; cat /sys/class/net/eth0/mtu; "
                    "nc -l -p 7 -e sha256sum")
    try:
        text = Lines(first.stdout.fileno()).until("\n9000", 240)
        address = re.search(pattern, text).group() + zone
        code, out = s.run(
            "--vmm", vmm, "--net", wire, "--",
            "for i in $(seq 20); do "
            "%s -s 8900 -c 1 -W 1 %s > /tmp/p 2>&1 && break; "
            "sleep 1; done; "
            "cat /tmp/p; seq 1 60000 > /tmp/n; sha256sum < /tmp/n; "
            "nc %s 7 < /tmp/n" % (ping, address, address))
        expect(code == 0 and "8908 bytes from" in out, code, out)
        sums = [w for w in out.split() if re.fullmatch("[0-9a-f]{64}", w)]
        expect(len(sums) == 2 and sums[0] == sums[1], out)
    finally:
        first.terminate()
        first.communicate(timeout=120)
        shutil.rmtree(os.path.join(s.tmp, "vireo-switch-%d" % os.getuid()))


@suite.case
def two_guests_of_uml_with_jumbo_frames(s):
    need_uml()
    meet_with_jumbo_frames(s, "uml", "ip -4 addr show eth0",
                           r"169\.254\.\d+\.\d+", "ping", "")


@suite.case
def two_guests_of_qemu_with_jumbo_frames_over_ipv6(s):
    if "VIREO_ALL" not in os.environ:
        raise Skip("make soak has it")
    meet_with_jumbo_frames(s, "qemu", "sleep 3; ip -6 addr show eth0",
                           r"fe80::[0-9a-f:]+", "ping -6", "%eth0")


@suite.case
def two_guests_meet_on_a_switch(s):
    """There and back, each way checked by a sum: in large packets, checked by
    nobody on the way but TCP; then on a VLAN."""
    need_uml()
    name = "test-%d" % os.getpid()
    s.env["XDG_RUNTIME_DIR"] = s.tmp
    vlan = """mount -t hostfs -o / none /mnt
for m in llc/llc 802/stp 802/garp 802/mrp 8021q/8021q; do
	insmod /mnt/usr/lib/uml/modules/$(uname -r)/kernel/net/$m.ko
done
ip link add link eth0 name v5 type vlan id 5
ip addr add 10.9.5.%d/24 dev v5
ip link set v5 up
seq 1 60000 > /tmp/n
"""
    first = s.popen(VIREO, "run", "--vmm", "uml", "--net", "switch=" + name,
                    "--", vlan % 1 + "ip -4 addr show eth0; "
                    "for i in 1 2; do nc -l -p 7 -e sha256sum; "
                    "nc -l -p 8 -e cat /tmp/n; done")
    try:
        text = Lines(first.stdout.fileno()).until("scope")
        address = re.search(r"169\.254\.\d+\.\d+", text).group()
        code, out = s.run(
            "--vmm", "uml", "--net", "switch=" + name, "--", vlan % 2 +
            "for i in $(seq 20); do ping -c 1 -W 1 %s > /dev/null && break; "
            "done; try() { until nc $to $1 < $2 2> /tmp/e; do usleep 50000; "
            "done; }; for to in %s 10.9.5.1; do sha256sum < /tmp/n; "
            "try 7 /tmp/n; try 8 /dev/null | sha256sum; done" %
            (address, address))
        expect(code == 0, code, out)
        sums = [w for w in out.split() if len(w) == 64]
        expect(len(sums) == 6 and len(set(sums)) == 1, out)
    finally:
        first.terminate()
        first.communicate(timeout=120)
        # Others may come to the folder of a switch: it stays.
        shutil.rmtree(os.path.join(s.tmp, "vireo-switch-%d" % os.getuid()))


@suite.case
def a_server_that_is_killed_loses_no_packet(s):
    """QEMU connects to the next one, to which the rings say what was not
    answered yet: each ping comes back, if late."""
    if "VIREO_ALL" not in os.environ:
        raise Skip("make soak has it")
    need_qemu()
    machine = Machine(s, "qemu")
    machine.serve("--blk-file=" + s.ext4(mib=8))
    path = s.path("net.sock")

    def serve():
        return s.popen(os.path.join(BIN, "vireo-net"), "--backend=user",
                       "--socket-path=" + path)
    net = serve()
    guest = s.guest(
        *machine.command("ip addr add 10.0.2.15/24 dev eth0; "
                         "ip link set eth0 up; ping -c 60 -i 0.2 10.0.2.2"),
        "-chardev", "socket,id=n,reconnect=1,path=" + path,
        "-netdev", "vhost-user,id=n,chardev=n", "-device",
        "virtio-net-pci,netdev=n,vectors=0,romfile=")
    lines = Lines(guest.stdout.fileno())
    for seq in 10, 25, 40:
        lines.until("seq=%d " % seq, 240)
        net.kill()
        net.communicate()
        net = serve()
    lines.until("60 packets transmitted, 60 packets received", 240)
    guest.communicate(timeout=120)
    net.terminate()
    out, _ = net.communicate(timeout=120)
    expect(net.returncode == 0, out)
    machine.stop()


@suite.case
def options_that_cannot_be(s):
    code, out = s.run("--vmm", "uml", "--hostfwd", "tcp::1-:1", "--", "true")
    expect(code == 2 and "need --net user" in out, code, out)
    need_uml()
    code, out = s.run("--vmm", "uml", "--net", "pigeon", "--", "true")
    expect(code == 1 and "there is no 'pigeon'" in out, code, out)
    code, out = s.run("--vmm", "uml", "--net", "user", "--hostfwd", "tcp:80",
                      "--", "true")
    expect(code == 1 and "is not like tcp:127.0.0.1:8080-:80" in out, code,
           out)


suite.main()
