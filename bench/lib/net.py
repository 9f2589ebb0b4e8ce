# SPDX-License-Identifier: MIT
"""Network back ends and drivers: packets round and round between a driver
that busy-polls on one processor and a device on another that sends them back.
Ours and DPDK's (dpdk-testpmd: its vhost device, its virtio-user driver), in
every combination that shows something, alternating."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
from statistics import median

import machine
import packets

WINDOW = 256            # packets under way
RATE = 1000             # a second, where latency is measured
# name, length, features of the ring, the ratio that we aim at or None, short
# name
TABLE = (
    ("64 B, split", 64, (), 2.0, "64-split"),
    ("64 B, split, in order", 64, ("in-order",), None, "64-inorder"),
    ("64 B, packed, in order", 64, ("packed", "in-order"), 1.3, "64-packed"),
    ("64 B, packed, mergeable", 64, ("packed", "merge"), 1.3, "64-merge"),
    ("1500 B, split", 1500, (), 1.5, "1500-split"),
    ("1500 B, packed, in order", 1500, ("packed", "in-order"), 1.5,
     "1500-packed"),
    ("1500 B, packed, mergeable", 1500, ("packed", "merge"), 1.5,
     "1500-merge"),
)
CASES = {case[-1]: case[:-1] for case in TABLE}
# device, driver; the first is what the others are measured by
PAIRS = (("dpdk", "dpdk"), ("vireo", "dpdk"), ("vireo", "vireo"),
         ("dpdk", "vireo"))
TESTPMD = "dpdk-testpmd"


def testpmd(name, cores, vdev, length):
    # Its output is of use only as it comes.
    return ["stdbuf", "-o0", TESTPMD, "--lcores", cores, "-m", "256", "--no-huge",
            "--file-prefix=" + name, "--no-pci", "--single-file-segments",
            "--iova-mode=va", "--vdev", vdev, "--", "-i", "--nb-cores=1",
            "--forward-mode=io", "--txpkts=%d" % length,
            "--total-num-mbufs=16384", "--rxd=1024", "--txd=1024"]


class Child:
    """A process that is gone when the block ends."""

    def __init__(self, command, log, core=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log,
            universal_newlines=True, preexec_fn=None if core is None else
            lambda: os.sched_setaffinity(0, {core}))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_until(what, good):
    deadline = time.monotonic() + 15
    while not good():
        if time.monotonic() > deadline:
            sys.exit("bench: waited in vain for " + what)
        time.sleep(0.02)


def words(path):
    with open(path, errors="replace") as f:
        return f.read()


def device(args, kind, work, length, poll=True):
    sock, log = os.path.join(work, "sock"), os.path.join(work, "device")
    if os.path.exists(sock):
        os.unlink(sock)
    core = machine.pair()[1]
    if kind == "vireo":
        child = Child([os.path.join(args.build, "bin", "vireo-net"),
                       "--socket-path=" + sock, "--backend=echo"] +
                      ["--poll-us=1000000"] * poll, open(log, "w"), core)
    else:
        child = Child(testpmd(
            "vireo-bench-dev", "0@%d,1@%d" % (machine.pair()[0], core),
            "net_vhost0,iface=%s,queues=1" % sock, length), open(log, "w"))
    wait_until("the device", lambda: os.path.exists(sock))
    if kind == "dpdk":
        wait_until("testpmd", lambda: "testpmd>" in words(log))
        child.say("start")
    return child, sock


def vunet(args, sock, *more):
    done = subprocess.run(
        [os.path.join(args.build, "bench", "vunet"), "--socket", sock,
         "--seconds", str(args.seconds), "--core", str(machine.pair()[0])] +
        list(more), stdout=subprocess.PIPE, timeout=60 + args.seconds)
    if not done.stdout:
        sys.exit("bench: vunet failed")
    return json.loads(done.stdout)


def vireo_driver(args, sock, work, length, ring):
    return vunet(args, sock, "--len", str(length), "--window", str(WINDOW),
                 *["--" + word for word in ring])["pps"]


def dpdk_driver(args, sock, work, length, ring):
    log = os.path.join(work, "driver")
    vdev = "net_virtio_user0,path=%s,queues=1,queue_size=1024" % sock
    for word, name in (("packed", "packed_vq"), ("in-order", "in_order"),
                       ("merge", "mrg_rxbuf")):
        vdev += ",%s=%d" % (name, word in ring)
    core = machine.pair()[0]
    with Child(testpmd("vireo-bench-drv",
                       "0@%d,1@%d" % (machine.pair()[1], core), vdev,
                       length), open(log, "w")) as child:
        wait_until("testpmd", lambda: "testpmd>" in words(log))
        time.sleep(0.5)     # its link comes up
        child.say("start tx_first %d" % (WINDOW // 32))
        time.sleep(0.3)
        seen = []
        for _ in range(2):
            have = words(log).count("TX-packets")
            child.say("show port stats all")
            at = time.monotonic()
            wait_until("statistics",
                       lambda: words(log).count("TX-packets") > have)
            seen.append((at, int(re.findall(r"RX-packets: (\d+)",
                                            words(log))[-1])))
            time.sleep(args.seconds)
        child.say("stop")
        child.say("quit")
    (a, first), (b, second) = seen
    return (second - first) / (b - a)


DRIVERS = {"vireo": vireo_driver, "dpdk": dpdk_driver}


def measure(args, work, case, pair):
    _, length, ring, _ = case
    child, sock = device(args, pair[0], work, length)
    with child:
        return DRIVERS[pair[1]](args, sock, work, length, ring)


def processor_time(pid):
    """Seconds, of all threads."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(process, measured):
    """What @measured() returns, and the device's share of a processor."""
    before, at = processor_time(process.pid), time.monotonic()
    got = measured()
    return got, ((processor_time(process.pid) - before) /
                 (time.monotonic() - at))


def trips(args, work, kind):
    """One packet at a time, to a device that may sleep if it can; then none
    at all."""
    child, sock = device(args, kind.split()[0], work, 64,
                         kind.endswith("polls"))
    with child:
        sample, busy = share(child.process, lambda: vunet(
            args, sock, "--rate", str(RATE)))
        _, idle = share(child.process, lambda: vunet(args, sock, "--rate",
                                                     "0"))
    sample.update(busy=busy, idle=idle)
    return sample


def show(case, pairs, got, rounds):
    name, _, _, goal = case
    print("\n%s: million packets a second, each way; device under driver; "
          "median [least-most] of %d" % (name, rounds))
    base = got[pairs[0]]
    for pair in pairs:
        mine = got[pair]
        line = "  %-5s under %-5s  %6.2f [%.2f-%.2f]" % (
            pair + (median(mine) / 1e6, min(mine) / 1e6, max(mine) / 1e6))
        if pair != pairs[0]:
            ratio = median(a / b for a, b in zip(mine, base) if b)
            line += "  ratio %.2f" % ratio
            if pair == ("vireo", "dpdk") and goal:
                line += ", the goal is %.1f: %s" % (
                    goal, "met" if ratio >= goal else "MISSED")
        print(line, flush=True)


def rounds(args, kinds, measured):
    """Of each kind a sample each round, alternating."""
    got = {kind: [] for kind in kinds}
    for _, kind in machine.turns(args.rounds, kinds):
        got[kind].append(measured(kind))
    return got


def run(args, work):
    """Returns the results; prints them on the way."""
    pairs = PAIRS
    if args.alone or not shutil.which(TESTPMD):
        pairs = (("vireo", "vireo"),)
    if not args.alone and len(pairs) == 1:
        print("bench: %s is not installed: no comparison with it; "
              "scripts/setup bench installs it" % TESTPMD)
    results = []
    for short in args.case or CASES:
        case = CASES[short]
        got = rounds(args, pairs,
                     lambda pair: measure(args, work, case, pair))
        show(case, pairs, got, args.rounds)
        results.append({"name": case[0], "goal": case[3],
                        "pps": {"%s under %s" % p: v
                                for p, v in got.items()}})
    kinds = ["vireo", "vireo polls"] + ["dpdk"] * (len(pairs) > 1)
    latency = rounds(args, kinds, lambda kind: trips(args, work, kind))
    section = {"cases": results, "latency_rate": RATE, "latency": latency}
    head, rows = packets.latency_table(section)
    print(packets.text("\none packet at a time, %d a second, microseconds; "
                       "and the device's processor time" % RATE, head, rows))
    return section
