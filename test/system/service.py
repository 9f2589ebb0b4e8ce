# SPDX-License-Identifier: MIT
"""vireo-blk as a service: a manager makes its socket, keeps its session while
the program is restarted, and gives both to the next one. The manager is a few
lines here; the guest is real, writes all the while, and sees no error."""
import array
import os
import socket
import subprocess
import threading
import time

from disks import Machine
from guests import BIN, Suite, expect, need_uml, tool, wait_for
from load import LOAD

suite = Suite()


class Manager:
    """What systemd does for a unit with a socket and a store of fds."""

    def __init__(self, s):
        self.s = s
        self.path = s.path("notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(s.path("blk.sock"))
        self.listener.listen(8)
        self.store = {}
        self.said = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                data, extra, _, _ = self.sock.recvmsg(4096, 4096)
            except OSError:
                return
            fds = array.array("i")
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(value)
            self.told(dict(line.split("=", 1)
                           for line in data.decode().splitlines()), fds)

    def told(self, words, fds):
        self.said.append(words)
        name = words.get("FDNAME")
        if "FDSTORE" in words:
            expect(words["FDPOLL"] == "0", words)
            self.store[name] = fds[0]
            return
        if "FDSTOREREMOVE" in words:
            os.close(self.store.pop(name))
        for fd in fds:      # a barrier's
            os.close(fd)

    def heard(self, word):
        return sum(word in words for words in self.said)

    def start(self, *words):
        fds = [self.listener.fileno()] + list(self.store.values())
        names = ["blk.socket"] + list(self.store)
        env = dict(self.s.env, NOTIFY_SOCKET=self.path,
                   LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(names))
        numbers = range(3, 3 + len(fds))

        def place():
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
            for number, fd in zip(numbers, high):
                os.dup2(fd, number)
        before = self.heard("READY")
        child = subprocess.Popen(
            ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh",
             os.path.join(BIN, "vireo-blk")] + list(words),
            env=env, preexec_fn=place, pass_fds=numbers,
            start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.s.path("log"), "ab"))
        wait_for(lambda: self.heard("READY") > before or
                 child.poll() is not None, 60, "not ready")
        return child

    def end(self):
        self.sock.close()
        self.listener.close()
        for fd in self.store.values():
            os.close(fd)


def log_of(s):
    with open(s.path("log")) as f:
        return f.read()


@suite.case
def restarts_under_a_guest_that_writes(s):
    need_uml()
    image = s.ext4(mib=32)
    machine = Machine(s, "uml")
    manager = Manager(s)
    words = ["--socket-path=" + machine.socket, "--blk-file=" + image]
    daemon = manager.start(*words)
    lines = machine.boot(LOAD.replace("ROUNDS", "12"))
    lines.until("busy", 240)
    for number in range(1, 4):
        time.sleep(0.4)
        daemon.terminate()
        expect(daemon.wait(15) == 0, log_of(s))
        expect(list(manager.store) == ["vireo-session"], manager.store)
        daemon = manager.start(*words)
        wait_for(lambda: not manager.store, 60, "the store is not emptied")
        expect(log_of(s).count("took a session over") == number, log_of(s))
    lines.until("@T exit ", 240)
    text = lines.until("\n")
    machine.guest.communicate(timeout=120)
    expect(text.split("@T exit ")[1].split()[0] == "4", text[-3000:])
    expect(manager.heard("STOPPING") == 3, manager.said)
    # Without a front end there is nothing to keep.
    daemon.terminate()
    expect(daemon.wait(15) == 0 and not manager.store, log_of(s))
    expect(os.path.exists(machine.socket), "the manager's socket is removed")
    expect("error:" not in log_of(s), log_of(s))
    manager.end()
    tool("e2fsck", "-fn", image)


@suite.case
def socket_that_the_manager_made_and_a_session_of_no_use(s):
    need_uml()
    image = s.ext4(mib=8)
    machine = Machine(s, "uml")
    manager = Manager(s)
    # Nobody ever wrote into it.
    ours, kept = socket.socketpair(socket.AF_UNIX)
    ours.close()
    manager.store["vireo-session"] = os.dup(kept.fileno())
    kept.close()
    daemon = manager.start("--socket-path=" + machine.socket,
                           "--blk-file=" + image)
    expect("of no use" in log_of(s), log_of(s))
    code, out = machine.boot_to_end("mount -t ext4 /dev/vda /mnt && exit 4")
    expect(code == 4, code, out)
    daemon.terminate()
    expect(daemon.wait(10) == 0, log_of(s))
    manager.end()


suite.main()
