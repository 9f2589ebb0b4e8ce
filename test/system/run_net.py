# SPDX-License-Identifier: MIT
"""vireo run --net: a guest on a network, with servers that are this program
on the host's loopback."""
import hashlib
import http.server
import os
import socket
import threading
import time

from guests import VIREO, Skip, Suite, expect, need_uml

suite = Suite()
FILE = os.urandom(2 * 1000 * 1000 + 7)


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILE)))
        self.end_headers()
        self.wfile.write(FILE)

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def download(s, vmm, *more):
    server = serve()
    try:
        code, out = s.run(
            "--vmm", vmm, "--net", "user", "--host-loopback", *more, "--",
            "wget -q -O - http://10.0.2.2:%d/ | sha256sum" %
            server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
    if "without it; install" in out:
        raise Skip("this build has no libslirp")
    expect(code == 0, code, out)
    expect(hashlib.sha256(FILE).hexdigest() in out, out)


@suite.case
def a_guest_of_uml_downloads_a_file(s):
    need_uml()
    download(s, "uml")


@suite.case
def a_guest_of_qemu_downloads_a_file(s):
    download(s, "qemu", "--mem", "192")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, sent):
    """What the guest answers, or nothing as long as it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            line.settimeout(5)
            return line.recv(100)
    except OSError:
        return b""


@suite.case
def a_forwarded_port_leads_to_the_guest(s):
    need_uml()
    port = free_port()
    child = s.popen(VIREO, "run", "--vmm", "uml", "--net", "user",
                    "--hostfwd", "tcp::%d-:7" % port, "--",
                    "nc -l -p 7 -e sed s/question/answer/")
    said = b""
    end = time.monotonic() + 30
    while not said and child.poll() is None and time.monotonic() < end:
        said = ask(port, b"my question\n")
        time.sleep(0.1)
    out, _ = child.communicate(timeout=30)
    expect(said == b"my answer\n", said, out)
    expect(child.returncode == 0, child.returncode, out)


@suite.case
def loopback_is_closed_unless_it_is_opened(s):
    need_uml()
    server = serve()
    try:
        code, out = s.run(
            "--vmm", "uml", "--net", "user", "--",
            "ip route | grep -q default && "
            "nc -w 3 10.0.2.2 %d < /dev/null 2>&1 | tail -n 1" %
            server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
    expect(code == 0 and "can't connect" in out, code, out)


@suite.case
def options_that_cannot_be(s):
    code, out = s.run("--vmm", "uml", "--hostfwd", "tcp::1-:1", "--", "true")
    expect(code == 2 and "need --net user" in out, code, out)
    need_uml()
    code, out = s.run("--vmm", "uml", "--net", "pigeon", "--", "true")
    expect(code == 1 and "there is no 'pigeon'" in out, code, out)
    code, out = s.run("--vmm", "uml", "--net", "user", "--hostfwd", "tcp:80",
                      "--", "true")
    expect(code == 1 and "is not like tcp:127.0.0.1:8080-:80" in out, code,
           out)


suite.main()
