#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `make install` puts where, and that a program builds against it."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

BUILD, SOURCE = sys.argv[1:]

PROGRAM = """
#include <vireo/dev.h>
int main(void)
{
	struct vio_features f = { { 0, 0 } };

	vio_feature_set(&f, 32);
	return vio_has(&f, 32) ? 0 : 1;
}
"""


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True,
                          **more)
    assert done.returncode == 0, "%s: exit %d: %s" % (
        " ".join(command), done.returncode, done.stdout)
    return done.stdout


class Installed:
    def __init__(self, root):
        self.root = root
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir",
            root, env=dict(os.environ, DESTDIR=root))
        options = json.loads(run("meson", "introspect", BUILD,
                                 "--buildoptions"))
        self.option = {o["name"]: o["value"] for o in options}

    def path(self, *parts):
        """A path below the prefix, in DESTDIR."""
        return os.path.join(self.root,
                            self.option["prefix"].lstrip("/"), *parts)

    def programs(self):
        return (glob.glob(self.path(self.option["bindir"], "*")) +
                glob.glob(self.path(self.option["libexecdir"], "vireo*")))


def programs_answer(at):
    """every installed program knows --version and --help"""
    programs = at.programs()
    assert programs, "no program is installed"
    for program in programs:
        assert run(program, "--version").strip(), program
        assert "--" in run(program, "--help"), program


def programs_have_pages(at):
    """every installed program has a manual page"""
    for program in at.programs():
        page = at.path(at.option["mandir"], "man1",
                       os.path.basename(program) + ".1")
        assert glob.glob(page + "*"), "no page for " + program


def examples(page):
    """The programs of ours that a manual page's code begins lines with."""
    with open(page) as f:
        text = f.read().replace("\\-", "-")
    for block in re.findall(r"^\.nf\n(.*?)^\.fi", text, re.M | re.S):
        yield from re.findall(r"^(?:\$ )?(vireo[\w-]*) ", block, re.M)


def examples_are_found(at):
    """what examples and units call is where a shell looks for programs"""
    pages = glob.glob(at.path(at.option["mandir"], "man1", "*"))
    calls = [(page, word) for page in pages for word in examples(page)]
    assert calls, "no examples"
    for unit in glob.glob(os.path.join(SOURCE, "doc/systemd/*.service")):
        with open(unit) as f:
            calls += [(unit, word) for word in
                      re.findall(r"^ExecStart=(\S+)", f.read(), re.M)]
    for where, word in calls:
        assert os.path.exists(at.path(at.option["bindir"], word)), \
            "%s calls %s" % (where, word)


def descriptors_fit(at):
    """each descriptor for libvirt names an installed program"""
    found = glob.glob(at.path(at.option["datadir"], "qemu", "vhost-user",
                              "50-vireo-*.json"))
    backends = glob.glob(at.path(at.option["libexecdir"], "vireo-*"))
    assert len(found) >= len(backends), "descriptors: %s" % found
    for path in found:
        with open(path) as f:
            descriptor = json.load(f)
        for key in ("description", "type", "binary"):
            assert key in descriptor, "%s lacks %s" % (path, key)
        binary = at.root + descriptor["binary"]
        assert os.access(binary, os.X_OK), "%s: no %s" % (path, binary)


def library_links(at):
    """a program builds with what pkg-config says"""
    source = os.path.join(at.root, "main.c")
    with open(source, "w") as f:
        f.write(PROGRAM)
    found = glob.glob(at.path("**", "vireo.pc"), recursive=True)
    assert found, "no vireo.pc"
    flags = run("pkg-config", "--cflags", "--libs", "vireo", env=dict(
        os.environ, PKG_CONFIG_PATH=os.path.dirname(found[0]),
        PKG_CONFIG_SYSROOT_DIR=at.root)).split()
    program = os.path.join(at.root, "main")
    run(*os.environ.get("CC", "gcc").split(), source, "-o", program,
        "-Wall", "-Werror", *flags)
    run(program)


def headers_are_whole(at):
    """every public header is installed"""
    for where, _, names in os.walk(os.path.join(SOURCE, "include", "vireo")):
        for name in names:
            path = os.path.relpath(os.path.join(where, name), SOURCE)
            assert os.path.exists(at.path(path)), path


def main():
    cases = [programs_answer, programs_have_pages, examples_are_found,
             descriptors_fit, library_links, headers_are_whole]
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        at = Installed(root)
        for nr, case in enumerate(cases, 1):
            try:
                case(at)
                print("ok %d - %s" % (nr, case.__doc__))
            except AssertionError as reason:
                failed += 1
                print("not ok %d - %s" % (nr, case.__doc__))
                print("# " + str(reason).replace("\n", "\n# "))
    print("1..%d" % len(cases))
    return 1 if failed else 0


sys.exit(main())
