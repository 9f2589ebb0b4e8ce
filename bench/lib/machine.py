# SPDX-License-Identifier: MIT
"""What the machine is, and how to be alone on it for a while."""
import json
import os
import platform
import re
import signal
import subprocess


def cores():
    return len(os.sched_getaffinity(0))


def pair():
    """A processor for the driver and one for the back end."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-2], usable[-1]


def turns(rounds, peers):
    """(round, peer) of all, in an order that alternates: who comes first in
    one round comes last in the next."""
    for turn in range(rounds):
        for peer in peers if turn % 2 == 0 else peers[::-1]:
            yield turn, peer


def has_kvm():
    """Is there hardware help for guests, and may we use it?"""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR)
    except OSError:
        return False
    os.close(fd)
    return True


def own_session():
    """Goes on in a child with a session of its own, which the scheduler
    prefers to all others where it groups processes by session. The parent
    keeps the terminal, passes signals on, and ends as the child does. Returns
    whether we are preferred."""
    child = os.fork()
    if child:
        follow(child)
    os.setsid()
    try:
        with open("/proc/self/autogroup", "w") as f:
            f.write("-20")
        return True
    except OSError:
        return False


def follow(child):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: os.kill(child, n))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        os._exit(128 + os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def first_line(path, pattern="(.*)"):
    try:
        with open(path) as f:
            for line in f:
                found = re.match(pattern, line)
                if found:
                    return found.group(1).strip()
    except OSError:
        pass
    return "unknown"


def memory_gib():
    kib = first_line("/proc/meminfo", r"MemTotal:\s+(\d+)")
    return round(int(kib) / 2 ** 20, 1) if kib.isdigit() else None


def version_of(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=10)
        return done.stdout.decode().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def facts(raised):
    return {
        "processor": first_line("/proc/cpuinfo", r"model name\s*: (.*)"),
        "processors": cores(),
        "virtual": "hypervisor" in first_line("/proc/cpuinfo",
                                              r"flags\s*: (.*)"),
        "memory_gib": memory_gib(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "session_preferred": raised,
        "qemu_storage_daemon": version_of("qemu-storage-daemon",
                                          "--version"),
    }


def limits(build):
    """What two processors of this machine allow at this moment."""
    command = [os.path.join(build, "bench", "limits")]
    done = subprocess.run(command + [str(c) for c in pair()], check=True,
                          stdout=subprocess.PIPE, timeout=60)
    return json.loads(done.stdout)
