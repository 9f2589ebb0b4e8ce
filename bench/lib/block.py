# SPDX-License-Identifier: MIT
"""Block back ends under one user-space driver: random reads of 4 KiB at
several queue depths, from a disk that does nothing, from memory, from a file
in memory, and from a file on a disk that bypasses the page cache, beside fio
on the same file. Then what several queues and sleeping cost."""
import json
import os
import shutil
import subprocess
import sys
import time

import machine

DEPTHS = (1, 32, 128)
BLOCK = 4096
SIZE = 256 << 20

# What a case is about, whose ratio to the second of its peers we hold
# ourselves to, and by depth how much of it.
CASES = {
    "null": {"title": "a disk that answers at once",
             "peers": ("vireo-blk", "qemu-storage-daemon"),
             "goals": {1: 5.0, 128: 3.0}},
    "tmpfs": {"title": "a file on tmpfs",
              "peers": ("vireo-blk", "qemu-storage-daemon"),
              "goals": {128: 6.0}},
    # 1.5 times as long as the copy, at most.
    "mem": {"title": "a disk in memory, beside a bare copy of 4 KiB",
            "peers": ("vireo-blk", "a copy"), "goals": {128: 0.667}},
    "direct": {"title": "a file with O_DIRECT, beside fio on the host",
               "peers": ("vireo-blk", "fio", "qemu-storage-daemon"),
               "goals": {128: 0.95}},
    "queues": {"title": "a disk that answers at once, by several queues of "
                        "one driver's thread",
               "peers": ("1 queue", "2 queues", "4 queues"), "goals": {}},
    "sleep": {"title": "what sleeping costs", "peers": (), "goals": {}},
}
QUEUES = {"1 queue": 1, "2 queues": 2, "4 queues": 4}

# One read at a time, a thousand a second or as many as it goes.
SLEEPERS = (("always sleeps", ["--poll-us=0"]), ("default", []),
            ("polls up to 1 ms", ["--poll-us=1000"]),
            ("never sleeps", ["--poll-always"]))


def make_image(path):
    """Each block begins with its own offset, so that reads can be checked."""
    with open(path, "wb") as f:
        for base in range(0, SIZE, 1 << 20):
            piece = bytearray(1 << 20)
            for at in range(0, 1 << 20, BLOCK):
                piece[at:at + 8] = (base + at).to_bytes(8, sys.byteorder)
            f.write(piece)


def vireo_blk(build, case, sock, image):
    disk = ["--blk-file=" + image] if image else \
        ["--backend=" + ("mem" if case == "mem" else "null"),
         "--size=%d" % SIZE]
    if case == "direct":
        disk += ["--direct", "--fixed-memory=on"]
    return [os.path.join(build, "bin", "vireo-blk"),
            "--socket-path=" + sock] + disk


def storage_daemon(build, case, sock, image):
    disk = "driver=file,filename=" + image if image else \
        "driver=null-co,size=%d,read-zeroes=off" % SIZE
    if case == "direct":
        disk += ",cache.direct=on,aio=io_uring"
    return ["qemu-storage-daemon", "--blockdev", disk + ",node-name=disk",
            "--export", "type=vhost-user-blk,id=export,node-name=disk,"
            "addr.type=unix,writable=on,addr.path=" + sock]


PEERS = {"vireo-blk": vireo_blk, "qemu-storage-daemon": storage_daemon}
PEERS.update({name: vireo_blk for name in QUEUES})


class Daemon:
    """A back end's process, on the second processor, while the block runs."""

    def __init__(self, command, sock, log, cores=None):
        self.command, self.sock, self.log = command, sock, log
        self.cores = cores or {machine.pair()[1]}

    def __enter__(self):
        core = self.cores
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, core))
        deadline = time.monotonic() + 10
        while not os.path.exists(self.sock):
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                self.__exit__()
                sys.exit("bench: %s does not start: %s" %
                         (self.command[0], self.words()))
            time.sleep(0.02)
        return self.process.pid

    def words(self):
        with open(self.log.name, errors="replace") as f:
            return f.read().strip() or "it says nothing"

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def load(args, sock, pid, depth, seconds, *more):
    command = [os.path.join(args.build, "bench", "vublk"),
               "--socket", sock, "--depth", str(depth),
               "--seconds", str(seconds), "--size", str(BLOCK),
               "--core", str(machine.pair()[0]), "--pid", str(pid)]
    done = subprocess.run(command + list(more), stdout=subprocess.PIPE,
                          timeout=60 + seconds)
    if done.returncode:
        sys.exit("bench: %s: vublk failed" % sock)
    return json.loads(done.stdout)


def peers_here(case):
    found = []
    for peer in CASES[case]["peers"]:
        if peer in ("vireo-blk", "a copy") or peer in QUEUES or \
                shutil.which(peer):
            found.append(peer)
            continue
        print("bench: %s is not installed: no comparison with it; "
              "scripts/setup bench installs it" % peer)
    return found


def fio(image, depth, seconds):
    """The same reads, by the host itself."""
    core = machine.pair()[1]
    done = subprocess.run(
        ["fio", "--name=bench", "--filename=" + image, "--readonly",
         "--ioengine=io_uring", "--direct=1", "--rw=randread", "--bs=4k",
         "--iodepth=%d" % depth, "--time_based",
         "--runtime=%dms" % (1000 * seconds),
         "--ramp_time=200ms", "--cpus_allowed=%d" % core,
         "--output-format=json"],
        stdout=subprocess.PIPE, check=True, timeout=60 + seconds)
    job = json.loads(done.stdout)["jobs"][0]
    iops = job["read"]["iops"]
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100
    return {"depth": depth, "iops": iops, "errors": job["error"],
            "backend_cpu": cpu,
            "backend_cpu_ns_per_io": cpu * 1e9 / iops if iops else 0}


def copies(args, _, depth):
    """As a peer: one processor that copies, and does nothing else."""
    ns = machine.limits(args.build)["copy_4k_far_ns"]
    return {"depth": depth, "iops": 1e9 / ns, "errors": 0,
            "backend_cpu": 1.0, "backend_cpu_ns_per_io": ns}


def measure(args, case, peer, work, image, log, turn):
    """All depths of one start of a peer."""
    sock = os.path.join(work, "sock")
    if peer == "a copy":
        return [copies(args, work, depth) for depth in DEPTHS]
    if peer == "fio":
        return [fio(image, depth, args.seconds) for depth in DEPTHS]
    more, cores = [], None
    if peer in QUEUES:
        more = ["--queues", str(QUEUES[peer])]
        cores = os.sched_getaffinity(0) - {machine.pair()[0]}
    found = []
    command = PEERS[peer](args.build, case, sock, image)
    with Daemon(command, sock, log, cores) as pid:
        if case == "mem":   # what was never written would lie nowhere
            load(args, sock, pid, 32, 0.2, "--fill", "--check")
        elif image and turn == 0:
            load(args, sock, pid, 32, 0.2, "--check")
        for depth in DEPTHS:
            if peer not in QUEUES or depth >= QUEUES[peer]:
                found.append(load(args, sock, pid, depth, args.seconds,
                                  *more))
    return found


def run_case(args, case, work, image):
    samples = []
    peers = peers_here(case)
    log = open(os.path.join(work, "log"), "w")
    for turn, peer in machine.turns(args.rounds, peers):
        for result in measure(args, case, peer, work, image, log, turn):
            result.update(peer=peer, round=turn)
            samples.append(result)
        print("bench: %s, round %d of %d: %s" %
              (case, turn + 1, args.rounds, peer), flush=True)
    return {"name": case, "title": CASES[case]["title"],
            "goals": CASES[case]["goals"], "block": BLOCK,
            "peers": peers, "depths": list(DEPTHS), "samples": samples}


def processor_ns(pid):
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
            total += int(f.read().split()[0])
    return total


def sleeps(args, work):
    """How long one read takes, and what waiting for it costs."""
    sock = os.path.join(work, "sock")
    log = open(os.path.join(work, "log"), "w")
    daemons = [(name, vireo_blk(args.build, "null", sock, None) + more)
               for name, more in SLEEPERS]
    if shutil.which("qemu-storage-daemon"):
        daemons.append(("qemu-storage-daemon",
                        storage_daemon(args.build, "null", sock, None)))
    samples = []
    for turn, (name, command) in machine.turns(args.rounds, daemons):
        with Daemon(command, sock, log) as pid:
            for rate in (1000, 0):
                r = load(args, sock, pid, 1, args.seconds, "--latency",
                         *(["--rate", "1000"] if rate else []))
                r.update(peer=name, rate=rate, round=turn)
                samples.append(r)
            before, start = processor_ns(pid), time.monotonic()
            time.sleep(args.seconds)
            samples.append({
                "peer": name, "rate": "idle", "round": turn, "errors": 0,
                "backend_cpu": (processor_ns(pid) - before) / 1e9 /
                (time.monotonic() - start)})
        print("bench: sleep, round %d of %d: %s" %
              (turn + 1, args.rounds, name), flush=True)
    return samples


def run(args, work):
    results, sleep = [], None
    for case in args.case or CASES:
        image = None
        if case in ("tmpfs", "direct"):
            folder = "/dev/shm" if case == "tmpfs" else args.dir
            folder = os.path.join(folder, os.path.basename(work))
            os.makedirs(folder, exist_ok=True)
            image = os.path.join(folder, "disk")
        try:
            if image:
                make_image(image)
                os.sync()
            if case == "sleep":
                sleep = sleeps(args, work)
            else:
                results.append(run_case(args, case, work, image))
        finally:
            if image:
                shutil.rmtree(os.path.dirname(image), ignore_errors=True)
    return {"cases": results, "sleep": sleep} if sleep else \
        {"cases": results}
