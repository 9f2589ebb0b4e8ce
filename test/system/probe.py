#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vireo probe, on our back ends and on those of others: what it says of them
is what they are. Its reports stay in BUILD/interop, for scripts/interop."""
import json
import os
import shutil
import subprocess

from guests import (BIN, Skip, Suite, check_reports, expect, keep_report,
                    wait_for)

suite = Suite()
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"


def serve(t, sock, *words, **how):
    how.setdefault("stdout", subprocess.DEVNULL)
    how.setdefault("stderr", subprocess.DEVNULL)
    child = t.popen(*words, **how)
    wait_for(lambda: os.path.exists(sock) or child.poll() is not None, 60,
             "%s makes no socket" % words[0])
    return child


def probe(t, sock, name, *words):
    """Gives (exit code, report)."""
    child = t.popen(os.path.join(BIN, "vireo-probe"), sock, "--json", *words,
                    stderr=subprocess.PIPE)
    out, err = child.communicate(timeout=120)
    try:
        report = json.loads(out)
    except ValueError:
        raise AssertionError("no report: %s %s" % (out, err)) from None
    t.saved = keep_report("probe-" + name, report)
    return child.returncode, report


def verdicts(report, word):
    return ["%s: %s" % (r["id"], r["text"]) for r in report["rules"]
            if r["verdict"] == word]


def end(child):
    child.terminate()
    return child.wait(10)


def ours(t, name, *words):
    """A clean report, and a daemon that ends well after it."""
    sock = t.path(name)
    child = serve(t, sock, os.path.join(BIN, "vireo-" + name),
                  "--socket-path=" + sock, *words)
    code, report = probe(t, sock, "vireo-" + name, "--rules",
                         "--destructive")
    expect(code == 0, report)
    expect(report["type"] == name, report["type"])
    expect(report["smoke_good"], report["smoke"])
    expect("packed:" in report["smoke"], report["smoke"])
    for word in ("breach", "note", "untried"):
        expect(not verdicts(report, word), verdicts(report, word))
    expect(len(verdicts(report, "ok")) >= 20, report)
    expect(end(child) == 0, "the daemon's exit code")
    return report


@suite.case
def our_disk_gets_a_clean_report(t):
    report = ours(t, "blk", "--backend=mem", "--size=16M", "--num-queues=4")
    expect(report["config"]["capacity"] == 32768, report["config"])
    expect(report["config"]["num_queues"] == 4, report["config"])
    expect(report["queues"] == 4, report["queues"])
    expect("FLUSH" in report["features"], report["features"])
    expect("INFLIGHT_SHMFD" in report["protocol_features"], report)


@suite.case
def our_entropy_gets_a_clean_report(t):
    report = ours(t, "rng")
    expect("64 random bytes" in report["smoke"], report["smoke"])


@suite.case
def our_console_gets_a_clean_report(t):
    out = t.path("said")
    report = ours(t, "console", "--backend=file", "--path=" + out,
                  "--cols=100", "--rows=30")
    expect(report["config"].get("cols") == 100, report["config"])
    with open(out) as f:
        expect(f.read() == "vireo probe\n" * 4, "what was printed")


@suite.case
def our_network_gets_a_clean_report(t):
    report = ours(t, "net", "--backend=echo")
    expect("a frame was taken" in report["smoke"], report["smoke"])


@suite.case
def a_disk_that_lies_about_its_device_is_found_out(t):
    """Told that it is a network device, the probe must not be satisfied."""
    sock = t.path("blk")
    child = serve(t, sock, os.path.join(BIN, "vireo-blk"), "--backend=mem",
                  "--size=1M", "--num-queues=1", "--socket-path=" + sock)
    code, report = probe(t, sock, "lie", "--type=net")
    os.unlink(t.saved)
    expect(code == 1 and verdicts(report, "breach"), report)
    end(child)


def qsd(t, sock):
    if not shutil.which("qemu-storage-daemon"):
        raise Skip("package qemu-system-common is not installed")
    image = t.path("img")
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    return ["qemu-storage-daemon", "--blockdev",
            "driver=file,node-name=f,filename=" + image, "--export",
            "type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=" +
            sock + ",writable=on,num-queues=2"]


@suite.case
def the_truth_about_qemu_storage_daemon(t):
    sock = t.path("q")
    child = serve(t, sock, *qsd(t, sock))
    code, report = probe(t, sock, "qemu-storage-daemon", "--destructive")
    expect(report["type"] == "blk" and report["smoke_good"], report)
    expect(report["config"]["capacity"] == 16384, report["config"])
    expect(report["queues"] == 2 and code == 0, report)
    expect("INFLIGHT_SHMFD" not in report["protocol_features"], report)
    expect(not verdicts(report, "breach"), report["rules"])
    end(child)


@suite.case
def wrong_messages_and_qemu_storage_daemon(t):
    """Version 7.2 acknowledges a request that it does not know."""
    sock = t.path("q")
    words = " ".join(qsd(t, sock))
    code, report = probe(t, sock, "qemu-storage-daemon-rules", "--rules",
                         "--start=exec " + words)
    expect(code == 1, report)
    expect(any("request 200: accepted" in v
               for v in verdicts(report, "breach")), report["rules"])
    expect(report["smoke_good"], report["smoke"])


@suite.case
def the_truth_about_virtiofsd(t):
    if not os.access(VIRTIOFSD, os.X_OK):
        raise Skip("package qemu-system-common is not installed")
    if os.geteuid():
        raise Skip("virtiofsd needs to be root")
    sock = t.path("fs")
    os.mkdir(t.path("shared"))
    for name in "one", "two":
        os.mkdir(os.path.join(t.path("shared"), name))
    # It ends with its front end, so the probe starts it again and again.
    code, report = probe(
        t, sock, "virtiofsd", "--type=fs", "--start=exec %s --socket-path=%s "
        "-o source=%s --thread-pool-size=1 -o sandbox=chroot" %
        (VIRTIOFSD, sock, t.path("shared")))
    for word in ("FUSE_INIT: version 7.", "the root is a folder, mode 0755",
                 "STATFS: ", "READDIR: 4 names"):
        expect(word in report["smoke"], word, report["smoke"])
    expect(code == 0 and not verdicts(report, "untried"), report)
    expect("CONFIG" not in report["protocol_features"], report)


@suite.case
def the_truth_about_dpdk(t):
    if not shutil.which("dpdk-testpmd"):
        raise Skip("package dpdk-dev is not installed")
    if os.geteuid():
        raise Skip("testpmd needs to be root")
    sock = t.path("v")
    child = serve(t, sock, "dpdk-testpmd", "-l", "0,1", "--main-lcore", "0",
                  "--no-huge", "-m", "256", "--no-pci",
                  "--file-prefix=" + t.mark, "--vdev",
                  "net_vhost0,iface=%s,queues=1" % sock, "--", "-i",
                  "--total-num-mbufs=8192", "--nb-cores=1",
                  stdin=subprocess.PIPE)
    _, report = probe(t, sock, "dpdk-testpmd", "--rules")
    expect(report["type"] == "net" and report["smoke_good"], report)
    expect("packed:" in report["smoke"], report["smoke"])
    expect(any("HOST_ECN is offered without" in v
               for v in verdicts(report, "breach")), report["rules"])
    child.communicate(b"quit\n", timeout=60)


@suite.case
def nobody_there(t):
    code, out = t.vireo("probe", t.path("nothing"))
    expect(code == 3 and "does a vhost-user back end listen" in out, code,
           out)


@suite.case
def the_page_says_no_more_than_was_seen(t):
    check_reports(t, "probe-")


suite.main()
