#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmark frame as users run it, in its quick form: that it ends, that
what it writes is whole, that it leaves nothing behind. Not how fast."""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

BUILD, SOURCE = sys.argv[1:3]
RUN = os.path.join(SOURCE, "bench", "run")


def start(*args):
    return subprocess.Popen([RUN, "--build", BUILD] + list(args),
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                            stderr=subprocess.STDOUT,
                            universal_newlines=True)


def check(what, good, text=""):
    if not good:
        raise AssertionError("%s: %s" % (what, text))


def check_gone(pid):
    """No file and no process of that run is left."""
    name = "vireo-bench-%d-" % pid
    files = glob.glob("/dev/shm/%s*" % name) + \
        glob.glob(os.path.join(tempfile.gettempdir(), name + "*"))
    check("left behind", not files, files)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, errors="replace") as f:
                line = f.read()
        except OSError:
            continue        # it ended meanwhile
        check("still running", name not in line, line)


def quick_run(out):
    bench = start("--quick", "--out", out, "null", "tmpfs")
    text = bench.communicate(timeout=100)[0]
    check("exit code", bench.returncode == 0, text)
    check_gone(bench.pid)
    with open(os.path.join(out, "results.json")) as f:
        whole = json.load(f)
    check("cases", [c["name"] for c in whole["cases"]] == ["null", "tmpfs"])
    for case in whole["cases"]:
        expected = len(case["peers"]) * len(case["depths"]) * whole["rounds"]
        check("samples", len(case["samples"]) == expected)
        for sample in case["samples"]:
            check("sample", sample["iops"] > 0 and sample["errors"] == 0 and
                  sample["backend_cpu_ns_per_io"] > 0, sample)
    check("limits", len(whole["limits"]) == 2 and
          all(v > 0 for v in whole["limits"][0].values()), whole["limits"])


def report(out):
    with open(os.path.join(out, "report.html")) as f:
        page = f.read()
    check("plots", page.count("<svg") == 4, page)
    with open(os.path.join(out, "report.md")) as f:
        text = f.read()
    for word in ("vireo-blk", "128", "cache line"):
        check("report.md", word in text, word)
        check("report.html", word in page, word)


def packets_too(out):
    """Into the same report, which keeps what it had."""
    bench = start("--net", "--quick", "--alone", "--out", out, "64-packed")
    text = bench.communicate(timeout=60)[0]
    check("exit code", bench.returncode == 0, text)
    check_gone(bench.pid)
    with open(os.path.join(out, "results.json")) as f:
        whole = json.load(f)
    check("disks", [c["name"] for c in whole["cases"]] == ["null", "tmpfs"])
    case, = whole["net"]["cases"]
    check("packets", len(case["pps"]["vireo under vireo"]) == 2 and
          min(case["pps"]["vireo under vireo"]) > 0, case)
    for sample in whole["net"]["latency"]["vireo"]:
        check("latency", 0 < sample["p50"] <= sample["p99"] and
              not sample["lost"], sample)
        check("idle", sample["idle"] < 0.1, sample)
    with open(os.path.join(out, "report.html")) as f:
        page = f.read()
    check("plots", page.count("<svg") == 5, page)
    check("html", "64 B, packed, in order" in page and "99.9 %" in page, page)
    with open(os.path.join(out, "report.md")) as f:
        check("report.md", "vireo under vireo" in f.read())


def interrupted():
    """Ends at once, with all that it started."""
    bench = start("--quick", "tmpfs")
    bench.stdout.readline()     # a first daemon has come and gone
    time.sleep(0.3)
    bench.send_signal(signal.SIGINT)
    bench.communicate(timeout=10)
    check("exit code", bench.returncode == 130, bench.returncode)
    check_gone(bench.pid)


def verified_writes():
    """The load writes, reads back, and tells a disk that forgets."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, wanted in (("mem", 0), ("null", 1)):
            sock = os.path.join(folder, kind)
            daemon = subprocess.Popen(
                [os.path.join(BUILD, "bin", "vireo-blk"), "--socket-path=" +
                 sock, "--backend=" + kind, "--size=16M", "--num-queues=2"])
            while not os.path.exists(sock) and daemon.poll() is None:
                time.sleep(0.01)
            done = subprocess.run(
                [os.path.join(BUILD, "bench", "vublk"), "--socket", sock,
                 "--depth", "32", "--queues", "2", "--verify", "--warmup",
                 "0", "--seconds", "0.2"], stdout=subprocess.PIPE, timeout=60)
            daemon.terminate()
            daemon.wait(20)
            check(kind, done.returncode == wanted and
                  json.loads(done.stdout)["ios"] > 0, done.stdout)


def wrong_words():
    bench = start("nonsense")
    text = bench.communicate(timeout=10)[0]
    check("exit code", bench.returncode == 2, bench.returncode)
    check("says what there is", "null tmpfs" in text, text)
    done = subprocess.run([os.path.join(BUILD, "bench", "vublk"),
                           "--socket", "/nonexistent/socket"],
                          stderr=subprocess.PIPE, universal_newlines=True)
    check("exit code", done.returncode == 1)
    check("says why", "No such file" in done.stderr, done.stderr)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as out:
        cases = ((quick_run, (out,)), (report, (out,)),
                 (packets_too, (out,)), (interrupted, ()),
                 (verified_writes, ()), (wrong_words, ()))
        if len(os.sched_getaffinity(0)) < 2:
            print("1..0 # SKIP needs two processors")
            return 0
        for nr, (case, args) in enumerate(cases, 1):
            try:
                case(*args)
                print("ok %d - %s" % (nr, case.__name__))
            except (AssertionError, OSError) as e:
                bad += 1
                print("not ok %d - %s" % (nr, case.__name__))
                print("# " + str(e).replace("\n", "\n# "))
    print("1..%d" % len(cases))
    return bad > 0


sys.exit(main())
