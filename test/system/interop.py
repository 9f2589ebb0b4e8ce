#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Front ends of others on our back ends: what each of them agrees on, asked of
the daemon while it works. Kept in BUILD/interop, and held against
doc/interop.md, together with the reports of probe.py."""
import json
import os
import shutil
import subprocess

from disks import Machine
from guests import (BIN, Skip, Suite, check_reports, expect, keep_report,
                    need_qemu, need_uml, wait_for)

suite = Suite()
# Reads, and waits to be ended.
READ = "dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null; sleep 60"


def ask(t, control):
    child = t.popen(os.path.join(BIN, "vireo"), "ctl", control, "status")
    out, _ = child.communicate(timeout=120)
    expect(child.returncode == 0, out)
    return json.loads(out)


def done(status):
    return sum(q["requests"] for q in status["queues"])


def record(t, name, control, least):
    """Waits until work was done, and keeps what was agreed on."""
    seen = {}

    def look():
        seen.update(ask(t, control))
        return done(seen) >= least
    wait_for(look, 60, lambda: "only %d requests done" % done(seen))
    kinds = {q["format"] for q in seen["queues"] if q["state"] == "running"}
    expect(len(kinds) == 1, "running rings", kinds)
    keep_report("serves-" + name, {k: seen[k] for k in (
        "device", "features", "protocol_features")})
    return seen, kinds.pop()


def guest(t, name, vmm, device=""):
    image = t.path("img")
    with open(image, "wb") as f:
        f.truncate(16 << 20)
    control = t.path("control")
    machine = Machine(t, vmm, "", device)
    machine.serve("--blk-file=" + image, "--control-path=" + control)
    machine.boot(READ)
    seen = record(t, name, control, 30)
    machine.kill_guest()
    machine.stop()
    return seen


@suite.case
def user_mode_linux(t):
    need_uml()
    seen, _ = guest(t, "uml", "uml")
    expect("INBAND_NOTIFICATIONS" in seen["protocol_features"], seen)
    expect("VIRTIO_F_VERSION_1" in seen["features"], seen)


@suite.case
def qemu_split(t):
    need_qemu()
    seen, kind = guest(t, "qemu", "qemu")
    expect(kind == "split", kind)
    expect("INFLIGHT_SHMFD" in seen["protocol_features"], seen)


@suite.case
def qemu_packed(t):
    need_qemu()
    _, kind = guest(t, "qemu-packed", "qemu", ",packed=on")
    expect(kind == "packed", kind)


@suite.case
def dpdk_virtio_user(t):
    """Two pairs of queues. It keeps the control queue to itself, so that the
    device is not told how many are used: flows come back on both."""
    if not shutil.which("dpdk-testpmd"):
        raise Skip("package dpdk-dev is not installed")
    if os.geteuid():
        raise Skip("testpmd needs to be root")
    sock, control = t.path("net"), t.path("control")
    daemon = t.popen(os.path.join(BIN, "vireo-net"), "--backend=echo",
                     "--queue-pairs=2", "--socket-path=" + sock,
                     "--control-path=" + control)
    wait_for(lambda: os.path.exists(control), 60, "no socket")
    pmd = t.popen("dpdk-testpmd", "-l", "0,1", "--main-lcore", "1",
                  "--no-huge", "-m", "256", "--no-pci",
                  "--file-prefix=" + t.mark, "--vdev",
                  "net_virtio_user0,path=%s,queues=2,cq=1" % sock, "--",
                  "-i", "--total-num-mbufs=8192", "--nb-cores=1",
                  "--rxq=2", "--txq=2", "--forward-mode=flowgen",
                  stdin=subprocess.PIPE)
    pmd.stdin.write(b"start\n")
    pmd.stdin.flush()
    # What it sends comes back, and is sent again.
    seen, _ = record(t, "dpdk-virtio-user", control, 10000)
    expect(all(q["requests"] for q in seen["queues"][:4]), seen)
    expect("VIRTIO_NET_F_MQ" in seen["features"], seen)
    pmd.communicate(b"stop\nquit\n", timeout=60)
    daemon.terminate()
    expect(daemon.wait(10) == 0, "the daemon's exit code")


@suite.case
def the_page_says_no_more_than_was_seen(t):
    check_reports(t, "serves-")


suite.main()
