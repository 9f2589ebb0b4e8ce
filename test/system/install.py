# SPDX-License-Identifier: MIT
"""What `make install` puts down serves those who build on it: a program of
their own on the libraries, found by pkg-config."""
import os
import shlex
import shutil
import subprocess
import time

from guests import BIN, TOP, VIREO, Skip, Suite, expect

suite = Suite()


def out(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True,
                          **more)
    expect(done.returncode == 0, " ".join(command), done.stdout)
    return done.stdout


def install(root):
    """Into a folder of its own; gives where pkg-config finds it there."""
    out("meson", "install", "-C", os.path.dirname(BIN), "--no-rebuild",
        "--destdir", root)
    for path, _, files in os.walk(root):
        if "vireo-vhost.pc" in files:
            return path
    raise AssertionError("no vireo-vhost.pc in " + root)


@suite.case
def a_back_end_of_ones_own_is_built_and_serves(s):
    for tool in ("pkg-config", "meson", "cc"):
        if not shutil.which(tool):
            raise Skip("%s is not installed" % tool)
    root = os.path.join(s.tmp, "root")
    env = dict(os.environ, PKG_CONFIG_PATH=install(root),
               PKG_CONFIG_SYSROOT_DIR=root)
    flags = out("pkg-config", "--cflags", "--libs", "--static",
                "vireo-vhost", env=env)
    program = os.path.join(s.tmp, "vhost_rng")
    socket = os.path.join(s.tmp, "rng.sock")
    out("cc", "-std=c11", "-Wall", "-Wextra", "-Werror",
        os.path.join(TOP, "examples/vhost_rng.c"), "-o", program,
        *shlex.split(flags))
    daemon = s.popen(program, socket)
    try:
        end = time.monotonic() + 60
        while not os.path.exists(socket) and time.monotonic() < end:
            time.sleep(0.01)
        text = out(VIREO, "probe", socket, "--type=rng", "--rules")
        expect("smoke test: good" in text and ", 0 broken" in text, text)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=120)
    shutil.rmtree(root)
    os.unlink(program)
    os.unlink(socket)


suite.main()
