# SPDX-License-Identifier: MIT
"""Rings alone: a buffer from the driver's half to the device's and back, with
no payload. Ours beside the kernel's ringtest (tools/virtio/ringtest of the
package linux-source-6.1), which is unpacked and built below BUILD and is no
part of us; each side polls on a processor of its own. And ours in one thread,
measured in copies of 64 bytes of the same minute."""
import glob
import json
import os
import subprocess
import sys
import tarfile
import time
from statistics import median

import machine

SIZE, BATCH, WINDOW = 256, 32, 128
# ours, its options, theirs, the ratio that we aim at
PAIRS = (
    ("split", [], "virtio_ring_0_9", 3.0),
    ("split, in order", ["--in-order"], "virtio_ring_inorder", 2.0),
    ("packed", ["--packed"], "ring", None),
)
# what, options, nanoseconds that we aim at where a copy takes 3.7
ALONE = (
    ("split", [], 4.0),
    ("split, in order", ["--in-order"], None),
    ("packed", ["--packed"], 5.0),
    ("packed, in order", ["--packed", "--in-order"], None),
)
AIM_COPY_NS = 3.7
FOLDER = "tools/virtio/ringtest/"
SOURCES = "/usr/src/linux-source-*.tar.xz"


def unpack(archive, to):
    """Only the folder; reading the archive takes most of a minute."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, found, name = member.name.partition("/" + FOLDER)
            if found and member.isfile() and "/" not in name:
                with open(os.path.join(to, name), "wb") as f:
                    f.write(tar.extractfile(member).read())
            elif not found and os.listdir(to):
                return


def ringtest(build):
    """The folder of their programs, or None: they are not to be had."""
    folder = os.path.join(build, "bench", "ringtest")
    theirs = [pair[2] for pair in PAIRS]
    if all(os.path.exists(os.path.join(folder, p)) for p in theirs):
        return folder
    archives = sorted(glob.glob(SOURCES))
    if not archives:
        return None
    os.makedirs(folder, exist_ok=True)
    print("bench: unpacking ringtest, once", flush=True)
    unpack(archives[-1], folder)
    done = subprocess.run(["make", "-s", "-C", folder] + theirs,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    if done.returncode:
        sys.exit("bench: ringtest cannot be built:\n" + done.stdout)
    return folder


def ours(args, options, threads, buffers):
    """What the program says; ns_per_buffer is always a number."""
    done = subprocess.run(
        [os.path.join(args.build, "bench", "ring"), "--threads",
         str(threads), "--size", str(SIZE), "--batch", str(BATCH),
         "--outstanding", str(WINDOW), "--buffers", str(buffers)] + options,
        stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(done.stdout)


COUNTERS = ("cycles", "instructions", "cache_misses")


def counted(samples):
    """What the processor counted a buffer, or that it does not."""
    if any(s[c] is None for s in samples for c in COUNTERS):
        return "cycles and cache misses: this machine does not count them"
    return ", ".join("%.1f %s" % (median(s[c] for s in samples),
                                  c.replace("_", " ")) for c in COUNTERS)


def taken(folder, program, buffers):
    """Seconds, of the whole process: it measures nothing itself."""
    driver, device = machine.pair()
    start = time.monotonic()
    subprocess.run(
        [os.path.join(folder, program), "--host-affinity", str(device),
         "--guest-affinity", str(driver), "--ring-size", str(SIZE),
         "--run-cycles", str(buffers), "--batch", str(BATCH),
         "--outstanding", str(WINDOW)], check=True, timeout=300,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def theirs(folder, program, buffers):
    """Without what its start and its end take, as ours is measured."""
    return (taken(folder, program, buffers) -
            taken(folder, program, WINDOW)) * 1e9 / buffers


def spread(values):
    return "%.1f [%.1f-%.1f]" % (median(values), min(values), max(values))


def two_threads(args, folder, buffers):
    results = []
    print("\nrings alone, two processors, ns a buffer, median [least-most]:")
    for name, options, program, goal in PAIRS:
        samples, other = [], []
        for _, peer in machine.turns(args.rounds,
                                     ("ours", "theirs") if folder else
                                     ("ours",)):
            if peer == "ours":
                samples.append(ours(args, options, 2, buffers))
            else:
                other.append(theirs(folder, program, buffers))
        mine = [s["ns_per_buffer"] for s in samples]
        line = "  %-16s %s" % (name, spread(mine))
        if folder:
            ratio = median(b / a for a, b in zip(mine, other))
            line += "   %s %s   ratio %.2f" % (program, spread(other), ratio)
            if goal:
                line += ", the goal is %.1f: %s" % (
                    goal, "met" if ratio >= goal else "MISSED")
        print(line + "\n" + 19 * " " + counted(samples), flush=True)
        results.append({"name": name, "goal": goal, "ns": mine,
                        "peer": program, "peer_ns": other,
                        "samples": samples})
    return results


def one_thread(args, buffers):
    results = []
    print("\nrings alone, one processor, batches of %d, ns a buffer; in "
          "copies of 64 bytes:" % BATCH)
    for name, options, goal in ALONE:
        ns, copies, samples = [], [], []
        for _ in range(args.rounds):
            samples.append(ours(args, options, 1, buffers))
            ns.append(samples[-1]["ns_per_buffer"])
            copies.append(ns[-1] / machine.limits(args.build)["copy_64_ns"])
        line = "  %-16s %s   %s copies" % (name, spread(ns), spread(copies))
        if goal:
            most = goal / AIM_COPY_NS
            line += ", the goal is %.1f: %s" % (
                most, "met" if median(copies) <= most else "MISSED")
        print(line + "\n" + 19 * " " + counted(samples), flush=True)
        results.append({"name": name, "goal_ns": goal, "ns": ns,
                        "in_copies_of_64": copies, "samples": samples})
    return results


def run(args, _):
    """Returns the results; prints them on the way."""
    buffers = int(10e6 * args.seconds)
    folder = ringtest(args.build)
    if not folder:
        print("bench: %s is not there: no comparison with ringtest; "
              "scripts/setup bench installs it" % SOURCES)
    return {"two": two_threads(args, folder, buffers),
            "one": one_thread(args, buffers)}
