# SPDX-License-Identifier: MIT
"""Block back ends under one user-space driver: random reads of 4 KiB at
several queue depths, from a disk that does nothing and from a file in memory.
"""
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

# What a case is about, and which ratio at depth 128 we hold ourselves to.
CASES = {
    "null": {"title": "a disk that answers at once", "goal": 2.0},
    "tmpfs": {"title": "a file on tmpfs", "goal": 4.0},
}


def make_image(path):
    """Each block begins with its own offset, so that reads can be checked."""
    with open(path, "wb") as f:
        for base in range(0, SIZE, 1 << 20):
            piece = bytearray(1 << 20)
            for at in range(0, 1 << 20, BLOCK):
                piece[at:at + 8] = (base + at).to_bytes(8, sys.byteorder)
            f.write(piece)


def vireo_blk(build, case, sock, image):
    disk = ["--backend=null", "--size=%d" % SIZE] if case == "null" else \
        ["--blk-file=" + image]
    return [os.path.join(build, "bin", "vireo-blk"),
            "--socket-path=" + sock] + disk


def storage_daemon(build, case, sock, image):
    disk = "driver=null-co,size=%d,read-zeroes=off" % SIZE \
        if case == "null" else "driver=file,filename=" + image
    return ["qemu-storage-daemon", "--blockdev", disk + ",node-name=disk",
            "--export", "type=vhost-user-blk,id=export,node-name=disk,"
            "addr.type=unix,writable=on,addr.path=" + sock]


PEERS = {"vireo-blk": vireo_blk, "qemu-storage-daemon": storage_daemon}


class Daemon:
    """A back end's process, on the second processor, while the block runs."""

    def __init__(self, command, sock, log):
        self.command, self.sock, self.log = command, sock, log

    def __enter__(self):
        core = {machine.pair()[1]}
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


def peers_here():
    found = [p for p in PEERS if p == "vireo-blk" or shutil.which(p)]
    for peer in PEERS:
        if peer not in found:
            print("bench: %s is not installed: no comparison with it; "
                  "scripts/setup bench installs it" % peer)
    return found


def run_case(args, case, work, image):
    samples = []
    peers = peers_here()
    sock = os.path.join(work, "sock")
    log = open(os.path.join(work, "log"), "w")
    for turn in range(args.rounds):
        order = peers if turn % 2 == 0 else peers[::-1]
        for peer in order:
            command = PEERS[peer](args.build, case, sock, image)
            with Daemon(command, sock, log) as pid:
                if case == "tmpfs" and turn == 0:
                    load(args, sock, pid, 32, 0.2, "--check")
                for depth in DEPTHS:
                    result = load(args, sock, pid, depth, args.seconds)
                    result.update(peer=peer, round=turn)
                    samples.append(result)
            print("bench: %s, round %d of %d: %s" %
                  (case, turn + 1, args.rounds, peer), flush=True)
    return {"name": case, "title": CASES[case]["title"],
            "goal": CASES[case]["goal"], "block": BLOCK,
            "peers": peers, "depths": list(DEPTHS), "samples": samples}


def run(args, work):
    results = []
    image = None
    for case in args.case or CASES:
        if case == "tmpfs":
            shm = os.path.join("/dev/shm", os.path.basename(work))
            os.makedirs(shm, exist_ok=True)
            image = os.path.join(shm, "disk")
        try:
            if image:
                make_image(image)
            results.append(run_case(args, case, work, image))
        finally:
            if image:
                shutil.rmtree(os.path.dirname(image), ignore_errors=True)
                image = None
    return results
