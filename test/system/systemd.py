# SPDX-License-Identifier: MIT
"""A real systemd restarts vireo-blk, by the units that we ship, under a front
end that writes and reads back what it wrote. All of it is in an emulated
machine, whose root is an initramfs: the systemd of this host is copied there
and never run here."""
import glob
import os
import re
import shutil
import stat

from guests import BIN, TOP, Lines, Skip, Suite, expect, need_qemu, tool

suite = Suite()
RESTARTS = 8    # in a row: more than systemd's usual limit of starts
SECONDS = 60    # that the front end is busy, in the machine's time
SYSTEMD = ("/lib/systemd/systemd", "/bin/systemctl")
VUBLK = os.path.join(os.path.dirname(BIN), "bench/vublk")

# Looks at what the manager holds while neither program is there.
DROP_IN = """
[Service]
ExecStartPre=systemctl show -p NFileDescriptorStore %n
StandardOutput=append:/between
StandardError=append:/log
"""

TRY = """
[Unit]
Wants=basic.target
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh /try
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
TimeoutStartSec=infinity
"""

# Each step waits for what it is about: after a restart, for a megabyte that
# the new program wrote.
SCRIPT = """
unit=vireo-blk@d.service
show() { systemctl show -p $1 --value $unit; }
wrote() { sed -n 's/^wchar: //p' /proc/$(show MainPID)/io; }
moves() {
	local to=$(($(wrote) + 1000000))
	until [ $(wrote) -gt $to ]; do sleep 0.1; done
}
systemctl --version | head -n 1
systemctl enable --now vireo-blk@d.socket
vublk --socket /run/vireo/d.sock --verify --depth 8 --warmup 0 \\
	--seconds SECONDS > /client 2>&1 & client=$!
until [ $(show ActiveState) = active ]; do sleep 0.1; done
moves
for i in $(seq RESTARTS); do
	read from x < /proc/uptime
	systemctl restart $unit
	code=$?
	read to x < /proc/uptime
	[ $code = 0 ] || break
	moves
	echo "@ restarted $code from $from to $to holds" \\
		$(show NFileDescriptorStore)
done
kill -0 $client && echo "@ busy to the end"
# Without its back end it would never end.
[ $code = 0 ] || kill $client
wait $client
echo "@ client $? $(cat /client)"
echo "@ between" $(cat /between)
echo "@ log"; cat /log
systemctl stop vireo-blk@d.socket $unit
echo "@ ended $(show Result), $(show NRestarts) by itself"
echo "@ over"
echo o > /proc/sysrq-trigger
"""


def find_kernel():
    """The one that `vireo run --vmm qemu` uses."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = [path for root in ("", cache + "/vireo/linux-image-cloud-amd64")
             for path in glob.glob(root + "/boot/vmlinuz-*-cloud-amd64")]
    return max(found, default=None)


class Root:
    """The machine's files, as on a Debian whose /bin is /usr/bin."""

    def __init__(self, path):
        self.path = path
        for name in ("bin", "lib", "lib64", "sbin"):
            os.makedirs(os.path.join(path, "usr", name))
            os.symlink("usr/" + name, os.path.join(path, name))
        for name in ("dev", "proc", "root", "run", "sys", "tmp"):
            os.mkdir(os.path.join(path, name))

    def at(self, name):
        path = os.path.join(self.path, name.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text):
        with open(self.at(name), "w") as f:
            f.write(text)

    def program(self, path, where):
        """With its libraries, at the places where the loader finds them."""
        for lib in re.findall(r"(/\S+) \(0x", tool("ldd", path)):
            shutil.copy(lib, self.at(lib))
        shutil.copy(path, self.at(where))

    def archive(self, out):
        """As the kernel takes an initramfs."""
        with open(out, "wb") as f:
            for folder, folders, files in os.walk(self.path):
                for name in folders + files:
                    self.member(f, os.path.join(folder, name))
            self.entry(f, "TRAILER!!!", 0, b"")

    def member(self, f, path):
        mode = os.lstat(path).st_mode
        data = os.readlink(path).encode() if stat.S_ISLNK(mode) else b""
        if stat.S_ISREG(mode):
            with open(path, "rb") as member:
                data = member.read()
        self.entry(f, os.path.relpath(path, self.path), mode, data)

    @staticmethod
    def entry(f, name, mode, data):
        numbers = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                   len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % n for n in numbers)
        head += name.encode() + b"\0"
        f.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


def make_root(s):
    root = Root(s.path("root"))
    for path in SYSTEMD:
        root.program(path, path)
    for name in ("vireo", "vireo-blk"):
        root.program(os.path.join(BIN, name), "/usr/bin/" + name)
    root.program(VUBLK, "/usr/bin/vublk")
    shutil.copy("/bin/busybox", root.at("/usr/bin/busybox"))
    for name in "cat head kill sed seq sh sleep".split():
        os.symlink("busybox", root.at("/usr/bin/" + name))
    units = "/usr/lib/systemd/system/"
    for path in glob.glob("/lib/systemd/system/*.target"):
        if os.path.isfile(path):
            shutil.copy(path, root.at(units + os.path.basename(path)))
    for path in glob.glob(os.path.join(TOP, "doc/systemd/*")):
        shutil.copy(path, root.at(units + os.path.basename(path)))
    root.write("/etc/systemd/system/vireo-blk@.service.d/test.conf", DROP_IN)
    root.write("/etc/systemd/system/try.service", TRY)
    root.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    root.write("/etc/group", "root:x:0:\n")
    root.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    root.write("/try", SCRIPT.replace("RESTARTS", str(RESTARTS))
               .replace("SECONDS", str(SECONDS)))
    with open(root.at("/var/lib/vireo/d.img"), "wb") as f:
        f.write(bytes(16 << 20))
    return root


def boot(s):
    need_qemu()
    for path in SYSTEMD + ("/bin/busybox", VUBLK):
        if not os.path.exists(path):
            raise Skip(path + " is missing")
    if not find_kernel():   # a run fetches it
        code, out = s.run("--vmm", "qemu", "--", "true")
        expect(code == 0, code, out)
    make_root(s).archive(s.path("initrd"))
    guest = s.guest(
        "qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel",
        "tcg", "-cpu", "max", "-smp", "2", "-m", "768", "-no-reboot",
        "-serial", "stdio", "-kernel", find_kernel(), "-initrd",
        s.path("initrd"), "-append", "no_timer_check console=ttyS0 quiet "
        "panic=-1 rdinit=/lib/systemd/systemd systemd.unit=try.service "
        "systemd.log_target=kmsg systemd.show_status=0")
    text = Lines(guest.stdout.fileno()).until("@ over", 600)
    guest.communicate(timeout=120)
    return text.replace("\r", "")


@suite.case
def restarts_by_systemd_are_a_pause(s):
    text = boot(s)
    done = re.findall(r"@ restarted 0 from \S+ to \S+ holds 0\n", text)
    expect(len(done) == RESTARTS, text)
    expect("@ busy to the end" in text, text)
    client = re.search(r"@ client 0 .*\"errors\": (\d+)", text)
    expect(client and client.group(1) == "0", text)
    # Nothing before the first start, the session before each later one.
    expect("@ between NFileDescriptorStore=0" +
           " NFileDescriptorStore=1" * RESTARTS + "\n" in text, text)
    expect(text.count("took a session over") == RESTARTS, text)
    expect("error:" not in text and "warning:" not in text, text)
    expect("@ ended success, 0 by itself" in text, text)


suite.main()
