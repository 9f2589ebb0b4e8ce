# SPDX-License-Identifier: MIT
"""A guest of QEMU moves to another QEMU, back, and there again, while it
writes to its disk and reads from it, and asks its network who 10.0.2.2 is; each
QEMU has daemons of its own, and both disks' serve one image. QEMU 7.2 moves no
vhost-user-rng, and has no console.

What the disk writes into the guest's memory arrives only if it stands in the
dirty log. So the guest has files read into its emptied caches again and again,
and looks a second later what came of it; in between it may have moved.

QEMU without KVM, before 9.0, loses writes of the guest's processor when it
moves: it forgets to watch a page again whose bit it took away, until the
guest's next address space. The more often it looks at its bits, the likelier:
hence the bandwidth here, at which it looks three or four times."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from guests import BIN, Lines, Skip, Suite, expect, need_qemu, tool, wait_for
from disks import Machine

suite = Suite()
# Slow enough that the guest reads a lot meanwhile.
BANDWIDTH = 60 << 20
# What a guest does that comes after another one was lost.
AFTER = """
mount -t ext4 /dev/vda /mnt && cd /mnt || exit 1
cat still* | wc -c; dd if=/dev/urandom of=after bs=64k count=4 conv=fsync 2>/dev/null || exit 2
ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 || exit 6
for i in 1 2 3 4 5; do
	arping -c 1 -w 1 -I eth0 10.0.2.2 > /dev/null && break
	[ $i = 5 ] && exit 8
done
cd / && umount /mnt && exit 4
"""
# Slow enough that daemons miss pages.
LATE_BANDWIDTH = 10 << 20
# Slow enough that it is not over while it is looked at.
LATEST_BANDWIDTH = 4 << 20

# Files that never change, to be read, each time into other pages; and others
# that come and go.
LOAD = """
mount -t ext4 /dev/vda /mnt && cd /mnt || exit 1
for i in 1 2 3 4 5 6; do dd if=/dev/urandom of=still$i bs=64k count=12; done 2>/dev/null
sha256sum still* > /sums; sync
(n=0; while [ ! -e /stop ]; do
	dd if=/dev/urandom of=new bs=32k count=10 conv=fsync 2>/dev/null
	sha256sum < new > newsum; mv new kept; mv newsum keptsum
done; touch /stopped) &
(read asked; touch /asked) < /dev/ttyS0 &
ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 || exit 6
n=0
echo loaded
while [ $n -lt 1000 ]; do
	echo 3 > /proc/sys/vm/drop_caches
	head -c $((n * 123457 % 900000)) /dev/zero > /junk
	for i in 1 2 3 4 5 6; do cat still$(((i + n) % 6 + 1)); done > /dev/null
	for i in 1 2 3 4 5; do
		arping -c 1 -w 1 -I eth0 10.0.2.2 > /dev/null && break
		[ $i = 5 ] && exit 8
	done
	sleep 1
	sha256sum -c /sums > /checked 2>&1 || { cat /checked; exit 2; }
	n=$((n + 1)); echo round $n done
	[ -e /asked ] && break
done
touch /stop; until [ -e /stopped ]; do sleep 0.1; done
echo 3 > /proc/sys/vm/drop_caches
sha256sum < kept | cmp - keptsum || exit 3
cd / && umount /mnt && exit 4
"""


class Qmp:
    """The monitor of one QEMU."""

    def __init__(self, path):
        self.sock = wait_for(lambda: self.connect(path), 60, "no monitor")
        self.sock.settimeout(60)
        self.file = self.sock.makefile("rw")
        self.file.readline()
        self.do("qmp_capabilities")

    @staticmethod
    def connect(path):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except OSError:     # not made, or not listened on yet
            sock.close()
            return None

    def do(self, command, **arguments):
        self.file.write(json.dumps({"execute": command,
                                    "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            expect("error" not in answer, command, answer)
            if "return" in answer:
                return answer["return"]


class Place:
    """Daemons and the QEMU that comes to them."""

    def __init__(self, s, machine, name, image, *words):
        self.s = s
        self.name = name
        self.machine = machine
        self.socket = s.path(name + ".sock")
        self.monitor = s.path(name + ".qmp")
        self.log = s.path(name + ".log")
        self.daemons = [
            self.serve("blk", self.socket, "--blk-file=" + image, "--no-lock",
                       *words),
            self.serve("net", self.socket + ".net", "--backend=user", *words)]

    def serve(self, what, path, *words):
        daemon = self.s.popen(
            os.path.join(BIN, "vireo-" + what), "--socket-path=" + path,
            "--verbose", *words, stdout=subprocess.DEVNULL,
            stderr=open(self.log, "ab"))
        wait_for(lambda: os.path.exists(path), 60, "no socket")
        return daemon

    def more_devices(self):
        packed = self.machine.device
        return ["-chardev", "socket,id=n,path=" + self.socket + ".net",
                "-netdev", "vhost-user,id=n,chardev=n",
                # QEMU 7.2 dies of vectors with TCG.
                "-device", "virtio-net-pci,netdev=n,vectors=0,romfile=,"
                "mac=52:54:00:12:34:56" + packed]

    def start(self, todo, *more):
        if os.path.exists(self.monitor):
            os.unlink(self.monitor)
        # Pages that the kernel clears first would be sent again anyway.
        command = [w.replace(self.machine.socket, self.socket)
                   .replace("panic=0", "panic=0 init_on_alloc=0")
                   for w in self.machine.command(todo)]
        self.qemu = self.s.guest(
            *command, *self.more_devices(), "-qmp", "unix:%s,server=on,wait=off" % self.monitor,
            *more, stdin=subprocess.PIPE)
        self.lines = Lines(self.qemu.stdout.fileno())
        self.qmp = Qmp(self.monitor)

    def leave(self):
        self.qmp.do("quit")
        self.qemu.communicate(timeout=120)

    def end(self):
        for daemon in self.daemons:
            daemon.terminate()
            code = daemon.wait(timeout=60)
            expect(code == 0, self.name, "ends with", code)


def begin_move(here, there, todo, number, late, late_bandwidth):
    path = here.s.path("move%d" % number)
    there.start(todo, "-incoming", "unix:" + path,
                *(word.replace("@", str(number)) for word in late))
    wait_for(lambda: os.path.exists(path), 60, "nobody waits for the guest")
    for qmp in here.qmp, there.qmp:
        qmp.do("migrate-set-capabilities", capabilities=[
            {"capability": "events", "state": True},
            {"capability": "postcopy-ram", "state": bool(late)}])
    here.qmp.do("migrate-set-parameters", **{"max-bandwidth": BANDWIDTH,
                                             "downtime-limit": 300})
    if late:
        here.qmp.do("migrate-set-parameters",
                    **{"max-postcopy-bandwidth": late_bandwidth})
    here.qmp.do("migrate", uri="unix:" + path)
    if late:
        wait_for(lambda: here.qmp.do("query-migrate")["status"] == "active",
                 60, lambda: here.qmp.do("query-migrate"))
        here.qmp.do("migrate-start-postcopy")


def move(here, there, todo, number, late):
    begin_move(here, there, todo, number, late, LATE_BANDWIDTH)

    def through():
        state = here.qmp.do("query-migrate")
        expect(state.get("status") != "failed", state)
        # It completes a moment before its times are known.
        return state.get("status") == "completed" and \
            state.get("total-time") and state
    state = wait_for(through, 120, lambda: here.qmp.do("query-migrate"))
    print("# move %d: %d ms, of which the guest stood still %d" % (
        number, state["total-time"], state["downtime"]), flush=True)
    wait_for(lambda: there.qmp.do("query-status")["status"] == "running", 60,
             lambda: there.qmp.do("query-status"))
    here.leave()


def migrates(s, device, moves, *late):
    need_qemu()
    image = s.ext4(mib=32)
    machine = Machine(s, "qemu", "", device)
    places = [Place(s, machine, name, image,
                    *(["--postcopy"] if late else []))
              for name in ("one", "two")]
    places[0].start(LOAD)
    places[0].lines.until("loaded", 240)
    for number in range(moves):
        here, there = places[number % 2], places[(number + 1) % 2]
        here.lines.until("round", 240)
        move(here, there, LOAD, number, late)
        there.lines.until("done", 240)
        there.lines.until("done", 240)
    last = places[moves % 2]
    last.qemu.stdin.write(b"stop\n")
    last.qemu.stdin.flush()
    last.lines.until("@T exit ", 240)
    text = last.lines.until("\n")
    last.qemu.communicate(timeout=120)
    code = re.search(r"@T exit (\d+)", text).group(1)
    expect(code == "4" and "FAILED" not in text, text[-2000:])
    for place in places:
        place.end()
        with open(place.log) as log:
            text = log.read()
        if place in places[:moves]:
            for what in "blk", "net":
                expect(re.search("vireo-%s.*SET_LOG_BASE" % what, text),
                       "nothing is logged by", what, "at", place.name)
        expect("error:" not in text, text[-2000:])
    tool("e2fsck", "-fn", image)


@suite.case
def guest_moves_there_and_back_and_there(s):
    migrates(s, "", 3)


@suite.case
def guest_with_a_packed_disk_moves(s):
    migrates(s, ",packed=on", 1)


@suite.case
def guest_moves_before_its_memory(s):
    """There and back. Whether a daemon misses a page is chance, and counted;
    test/vhost/postcopy.c has it miss one."""
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    if not os.access("/dev/userfaultfd", os.R_OK | os.W_OK):
        raise Skip("/dev/userfaultfd cannot be opened")
    trace = s.path("trace@")
    migrates(s, "", 2, "-trace", "vhost_user_postcopy_fault_handler_found",
             "-D", trace)
    missed = 0
    for number, there in enumerate(("two", "one")):
        with open(trace.replace("@", str(number))) as log:
            missed += log.read().count("fault_handler_found")
        with open(s.path(there + ".log")) as log:
            text = log.read()
        for what in "blk", "net":
            for message in "ADVISE", "LISTEN", "END":
                expect(re.search("vireo-%s.*POSTCOPY_%s" % (what, message),
                                 text), what, "at", there, "got no", message)
    print("# %d pages were missed by daemons" % missed, flush=True)


def waits_for_page(daemon):
    """Does a thread of it sleep until a page has come?"""
    tasks = "/proc/%d/task" % daemon.pid
    for task in os.listdir(tasks):
        with open(os.path.join(tasks, task, "wchan")) as at:
            if "userfault" in at.read():
                return True
    return False


def until_one_waits(daemons, source, timeout):
    """What is missed while the source stands still stays missed. The guest may
    be the first to miss a page, and then asks no daemon for anything: the
    source brings it that one, and stands still again."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        source.send_signal(signal.SIGSTOP)
        for _ in range(10):
            if any(waits_for_page(d) for d in daemons):
                return True
            time.sleep(0.01)
        source.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    return False


@suite.case
def guest_is_killed_before_its_memory_came(s):
    """QEMU dies while daemons wait for pages: they part from it, and serve the
    next one."""
    if "VIREO_ALL" not in os.environ:
        raise Skip("a part of make soak")
    if not os.access("/dev/userfaultfd", os.R_OK | os.W_OK):
        raise Skip("/dev/userfaultfd cannot be opened")
    need_qemu()
    image = s.ext4(mib=32)
    machine = Machine(s, "qemu", "", "")
    one, two = [Place(s, machine, name, image, "--postcopy")
                for name in ("one", "two")]
    one.start(LOAD)
    one.lines.until("round", 240)
    begin_move(one, two, LOAD, 0, ["-D", s.path("two.qemu")],
               LATEST_BANDWIDTH)
    wait_for(lambda: one.qmp.do("query-migrate")["status"] ==
             "postcopy-active", 60, lambda: one.qmp.do("query-migrate"))
    started = time.monotonic()
    expect(until_one_waits(two.daemons, one.qemu, 40), "no daemon missed a page")
    print("# a daemon waited for a page after %.1f s" %
          (time.monotonic() - started), flush=True)
    two.qemu.kill()
    two.qemu.wait(timeout=60)
    one.qemu.kill()
    one.qemu.wait(timeout=60)
    # The same daemons, which must have let go of what they waited for.
    two.start(AFTER)
    text = two.lines.until("@T exit ", 240)
    text += two.lines.until("\n")
    two.qemu.communicate(timeout=120)
    expect(text.endswith("exit 4\n") or "exit 4" in text, text[-2000:])
    for place in one, two:
        place.end()
    with open(two.log) as log:
        text = log.read()
    for what in "blk", "net":
        expect(re.search("vireo-%s.*POSTCOPY_LISTEN" % what, text), what,
               "got no LISTEN")
    tool("e2fsck", "-fn", image)


suite.main()
