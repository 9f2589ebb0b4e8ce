#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmark frame as users run it, in its quick form: that it ends, that
what it writes is whole, that it leaves nothing behind. Not how fast."""
import glob
import json
import os
import subprocess
import sys
import tempfile

BUILD, SOURCE = sys.argv[1:3]
RUN = os.path.join(SOURCE, "bench", "run")


def run(*args):
    return subprocess.run([RUN, "--build", BUILD] + list(args),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=100,
                          universal_newlines=True)


def check(what, good, text=""):
    if not good:
        raise AssertionError("%s: %s" % (what, text))


def leftovers():
    return set(glob.glob("/dev/shm/vireo-bench-*") +
               glob.glob(os.path.join(tempfile.gettempdir(),
                                      "vireo-bench-*")))


def quick_run(out):
    before = leftovers()
    done = run("--quick", "--out", out)
    check("exit code", done.returncode == 0, done.stdout)
    check("left behind", leftovers() <= before, leftovers() - before)
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


def wrong_words():
    done = run("nonsense")
    check("exit code", done.returncode == 2, done.returncode)
    check("says what there is", "null tmpfs" in done.stdout, done.stdout)
    done = subprocess.run([os.path.join(BUILD, "bench", "vublk"),
                           "--socket", "/nonexistent/socket"],
                          stderr=subprocess.PIPE, universal_newlines=True)
    check("exit code", done.returncode == 1)
    check("says why", "No such file" in done.stderr, done.stderr)


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as out:
        cases = ((quick_run, (out,)), (report, (out,)), (wrong_words, ()))
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
