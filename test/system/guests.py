# SPDX-License-Identifier: MIT
"""What the system tests share: TAP, runs of `vireo run` in a scratch folder
of their own, back ends and guests beside it, and the proof that nothing is
left behind. Each process that a test starts carries a mark in its
environment, by which leftovers are found wherever they went."""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = sys.argv[1]
VIREO = os.path.join(BIN, "vireo")
UML = "/usr/bin/linux.uml"
MARK = "VIREO_TEST_MARK"
REPORTS = os.path.join(os.path.dirname(BIN), "interop")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TEXT_MAX = 4000


class Suite:
    """Runs cases, prints TAP, counts failures."""

    def __init__(self):
        self.cases = []

    def case(self, function):
        self.cases.append(function)
        return function

    def main(self):
        # A word chooses the cases that have it in their name.
        self.cases = [c for c in self.cases
                      if sys.argv[2:] == [] or sys.argv[2] in c.__name__]
        print("1..%d" % len(self.cases), flush=True)
        bad = 0
        for number, function in enumerate(self.cases, 1):
            name = function.__name__.replace("_", " ")
            scratch = Scratch()
            start = time.monotonic()
            try:
                function(scratch)
                scratch.check_nothing_left()
                print("ok %d - %s" % (number, name), flush=True)
            except Skip as skip:
                print("ok %d - %s # SKIP %s" % (number, name, skip),
                      flush=True)
            except Exception as error:
                bad += 1
                print("not ok %d - %s" % (number, name))
                text = "%s: %s" % (type(error).__name__, error)
                for line in text[-TEXT_MAX:].splitlines():
                    print("# " + line, flush=True)
            finally:
                scratch.remove()
                print("# %.1f s" % (time.monotonic() - start), flush=True)
        sys.exit(1 if bad else 0)


class Skip(Exception):
    """The reason why a case cannot run on this machine."""


def expect(good, *what):
    if not good:
        raise AssertionError(" ".join(str(w) for w in what))


class Scratch:
    """A folder and a mark of its own for one case."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="vireo-test.")
        self.tmp = os.path.join(self.dir, "tmp")
        os.mkdir(self.tmp)
        self.mark = os.path.basename(self.dir)
        self.env = dict(os.environ, TMPDIR=self.tmp)
        self.env[MARK] = self.mark

    def path(self, name):
        return os.path.join(self.dir, name)

    def popen(self, *words, **how):
        how.setdefault("stdin", subprocess.DEVNULL)
        how.setdefault("stdout", subprocess.PIPE)
        how.setdefault("stderr", subprocess.STDOUT)
        return subprocess.Popen([str(w) for w in words], env=self.env,
                                start_new_session=True, **how)

    def guest(self, *words, **how):
        """A hypervisor: User Mode Linux must not keep its memory in our
        scratch folder."""
        return self.popen("env", "-u", "TMPDIR", *words, **how)

    def vireo(self, *words, timeout=300, text=None):
        """Gives (exit code, what it printed)."""
        child = self.popen(VIREO, *words,
                           stdin=subprocess.PIPE if text is not None
                           else subprocess.DEVNULL)
        try:
            out, _ = child.communicate(
                None if text is None else text.encode(), timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise AssertionError("vireo %s hangs" % (words,)) from None
        return child.returncode, out.decode(errors="replace")

    def run(self, *words, **how):
        return self.vireo("run", "--timeout", "240", *words, **how)

    def processes(self):
        """Those that carry our mark, as pid -> command line."""
        found = {}
        mark = ("%s=%s" % (MARK, self.mark)).encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    if mark not in f.read().split(b"\0"):
                        continue
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    found[int(pid)] = f.read().replace(
                        b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
        return found

    def pid_of(self, word, timeout=60):
        """The first process of ours whose command begins with @word."""
        def look():
            for pid, line in sorted(self.processes().items()):
                if os.path.basename(line.split(" ")[0]) == word:
                    return pid
            return None
        return wait_for(look, timeout, "no process %s" % word)

    def check_nothing_left(self):
        wait_for(lambda: not self.processes(), 60,
                 lambda: "processes left: %s" % self.processes())
        wait_for(lambda: not os.listdir(self.tmp), 60,
                 lambda: "files left: %s" % os.listdir(self.tmp))

    def remove(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)

    def ext4(self, name="disk.img", mib=64):
        path = self.path(name)
        tool("mke2fs", "-q", "-t", "ext4", path, "%dM" % mib)
        return path


def wait_for(what, timeout, why):
    end = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(why() if callable(why) else why)
        time.sleep(0.05)


def keep_report(name, what):
    """In BUILD/interop, for scripts/interop; never seen half written."""
    os.makedirs(REPORTS, exist_ok=True)
    path = os.path.join(REPORTS, name)
    with open(path + ".new", "w") as f:
        json.dump(what, f, indent=1, sort_keys=True)
    os.rename(path + ".new", path + ".json")
    return path + ".json"


def check_reports(s, kind):
    """What doc/interop.md says of whom we met is no more than was seen. Of
    another kind, reports of an earlier run may lie there."""
    seen = s.path("reports")
    os.mkdir(seen)
    for name in os.listdir(REPORTS):
        if name.startswith(kind) and name.endswith(".json"):
            shutil.copy(os.path.join(REPORTS, name), seen)
    child = s.popen(sys.executable, os.path.join(TOP, "scripts", "interop"),
                    "--check", seen)
    out, _ = child.communicate(timeout=120)
    expect(child.returncode == 0, out.decode())


def tool(*words, codes=(0,)):
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin",
               LC_ALL="C")
    done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.stdout.decode(errors="replace")
    expect(done.returncode in codes, words, "gives", done.returncode, out)
    return out


def fsck(image):
    """Replays the journal as a mount would, then demands a clean image."""
    tool("e2fsck", "-fy", "-E", "journal_only", image, codes=(0, 1))
    tool("e2fsck", "-fn", image)


def need_uml():
    if not os.path.exists(UML):
        raise Skip("package user-mode-linux is not installed")


def need_qemu():
    if not shutil.which("qemu-system-x86_64"):
        raise Skip("package qemu-system-x86 is not installed")


class Lines:
    """Reads a child's output until a text comes."""

    def __init__(self, fd):
        self.fd = fd
        self.all = b""
        self.seen = 0

    def until(self, text, timeout=120):
        end = time.monotonic() + timeout
        text = text.encode()
        while text not in self.all[self.seen:]:
            ready, _, _ = select.select([self.fd], [], [],
                                        max(0, end - time.monotonic()))
            expect(ready, "no %r in" % text, self.all[-2000:])
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            expect(data, "end before %r in" % text, self.all[-2000:])
            self.all += data
        self.seen = self.all.index(text, self.seen) + len(text)
        return self.all.decode(errors="replace")
