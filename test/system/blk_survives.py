# SPDX-License-Identifier: MIT
"""One vireo-blk, many front ends: a disk survives guests that are reset,
killed and replaced while they write, and serves whoever comes next."""
import os
import random
import time

from disks import Machine
from guests import BIN, Suite, expect, fsck, need_qemu, need_uml, tool, wait_for

suite = Suite()
# Deaths of a daemon under a guest.
KILLS = int(os.environ.get("VIREO_KILLS", "1"))

HEAVY = """
mount -t ext4 /dev/vda /mnt || exit 1
cat /mnt/synced 2>/dev/null
echo $$ $(date +%s) >> /mnt/synced
sync
echo busy
for i in 1 2 3; do
	(while true; do
		dd if=/dev/urandom of=/mnt/w$i bs=64k count=60 conv=fsync
		rm -rf /mnt/d$i; mkdir /mnt/d$i
		for f in 1 2 3 4 5 6 7 8 9; do
			echo $f > /mnt/d$i/$f
		done
	done 2>/dev/null) &
done
sleep 60
"""


def verified(machine, image, kills):
    """After so many ends in mid-write, the next guest finds all of it."""
    code, out = machine.boot_to_end(
        "mount -t ext4 /dev/vda /mnt || exit 1; wc -l < /mnt/synced; "
        "umount /mnt; exit 4")
    expect(code == 4 and out.split() == [str(kills)], code, out)
    machine.stop()
    tool("e2fsck", "-fn", image)


def kill_again_and_again(s, vmm, times):
    image = s.ext4()
    machine = Machine(s, vmm)
    machine.serve("--blk-file=" + image)
    for number in range(times):
        machine.boot(HEAVY).until("busy")
        time.sleep(0.7 + 0.3 * number)
        machine.kill_guest()
        # What the journal makes whole in a copy, it does for the guest.
        copy = s.path("copy.img")
        tool("cp", "--sparse=always", image, copy)
        fsck(copy)
    verified(machine, image, times)


# Many at once: large and small files, appends, renames, removals, links.
STORM = """
mount -t ext4 /dev/vda /mnt || exit 1
for i in 1 2 3 4; do (
	mkdir /mnt/$i; cd /mnt/$i; n=0
	while [ $n -lt 20 ]; do
		dd if=/dev/urandom of=big bs=32k count=$((n % 20 + 1))
		cat big >> all; [ $(wc -c < all) -gt 6000000 ] && rm all
		mkdir d$n; echo $n > d$n/x; ln d$n/x d$n/y; mv d$n e$n
		[ $((n % 3)) = 0 ] && rm -r e$n
		[ $((n % 5)) = 0 ] && sync
		n=$((n + 1))
	done
) 2>/dev/null & done
wait
cd /mnt && find . -type f ! -name SUMS | sort > /tmp/list
xargs sha256sum < /tmp/list > SUMS
cd / && umount /mnt && mount -t ext4 /dev/vda /mnt && cd /mnt || exit 2
sha256sum -c SUMS > /tmp/checked || exit 3
wc -l < /tmp/checked; cd /; umount /mnt && exit 4
"""


def storm(s, vmm, rounds):
    image = s.ext4()
    machine = Machine(s, vmm)
    machine.serve("--blk-file=" + image)
    code, out = machine.boot_to_end(STORM.replace("-lt 20",
                                                  "-lt %d" % rounds))
    # Of three folders a writer keeps two, with one file and a link to it.
    expect(code == 4 and int(out.split()[-1]) >= 4 * (rounds // 3 * 4 + 1),
           code, out)
    machine.stop()
    tool("e2fsck", "-fn", image)


# Meanwhile, so that something is always under way, as long as it dies.
SYNC = """for i in 1 2 3; do
	(while [ $(date +%%s) -lt $((START + %d)) ]; do
		dd if=/dev/zero of=/mnt/sync$i bs=16k count=8 conv=fsync,notrunc
	done 2>/dev/null; rm /mnt/sync$i) &
	writers="$writers $!"
done
"""
# From one death to the next, on average.
PERIOD_S = 2.4


def outlived(s, device, kills):
    """The guest's disk dies and comes back, and the guest notices nothing."""
    image = s.ext4()
    machine = Machine(s, "qemu", ",reconnect=1", device)
    # A write takes its time, and is met by a death.
    machine.prefix = ["env", "LD_PRELOAD=" + os.path.join(
        os.path.dirname(BIN), "test", "system", "libslow.so")]
    serve = ["--blk-file=" + image, "--aio=threads", "--verbose"]
    machine.serve(*serve)
    todo = "echo busy; dmesg -n 8; START=$(date +%s)" + STORM.replace(
        "for i in", SYNC % (PERIOD_S * kills + 3) + "for i in", 1).replace(
        "null & done\nwait\n",
        "null & writers=\"$writers $!\"; done\nwait $writers\n")
    lines = machine.boot(todo.replace("-lt 20", "-lt %d" % (2 + 2 * kills)))
    lines.until("busy", 240)
    for number in range(kills):
        time.sleep(0.4 + random.random())
        machine.daemon.kill()
        machine.daemon.wait()
        machine.serve(*serve)
        # QEMU comes back once a second.
        time.sleep(1.2)
    lines.until("@T exit ", 200 + 30 * kills)
    text = lines.until("\n")
    machine.guest.communicate(timeout=120)
    before, code = text.split("@T exit ")
    expect(code.split()[0] == "4" and "I/O error" not in before, text)
    machine.stop()
    tool("e2fsck", "-fn", image)
    with open(s.path("log")) as log:
        again = log.read().count("are done again")
    print("# %d deaths, %d with requests in flight" % (kills, again),
          flush=True)
    # Writes take their time, so that most deaths meet some.
    expect(kills < 10 or again * 3 >= kills, "too few of them")


@suite.case
def qemu_outlives_its_disk(s):
    need_qemu()
    outlived(s, "", KILLS)


@suite.case
def qemu_outlives_its_packed_disk(s):
    need_qemu()
    outlived(s, ",packed=on", KILLS)


@suite.case
def user_mode_linux_writes_heavily(s):
    need_uml()
    storm(s, "uml", 18)


@suite.case
def qemu_writes_heavily(s):
    need_qemu()
    storm(s, "qemu", 6)


@suite.case
def user_mode_linux_killed_while_writing(s):
    need_uml()
    kill_again_and_again(s, "uml", 2)


@suite.case
def qemu_killed_while_writing(s):
    need_qemu()
    kill_again_and_again(s, "qemu", 1)


@suite.case
def user_mode_linux_reboots_while_writing(s):
    """It executes itself again; the same daemon serves it again."""
    need_uml()
    image = s.ext4()
    machine = Machine(s, "uml")
    machine.serve("--blk-file=" + image)
    code, out = machine.boot_to_end(
        "[ -e /dev/vda ] || exit 2\n" +
        HEAVY.replace("sleep 60", "sleep 1; [ $(wc -l < /mnt/synced) -gt 2 ]"
                      " && exit 6; reboot -f"))
    expect(code == 6, code, out)
    machine.stop()
    fsck(image)


@suite.case
def daemon_killed_leaves_a_whole_image(s):
    need_uml()
    image = s.ext4()
    machine = Machine(s, "uml")
    machine.serve("--blk-file=" + image)
    machine.boot(HEAVY).until("busy")
    time.sleep(1)
    machine.daemon.kill()
    machine.daemon.wait()
    machine.kill_guest()
    os.unlink(machine.socket)
    fsck(image)
    machine.serve("--blk-file=" + image)
    verified(machine, image, 1)


@suite.case
def front_end_without_shared_memory_is_told_the_cure(s):
    need_qemu()
    image = s.ext4()
    machine = Machine(s, "qemu")
    machine.serve("--blk-file=" + image)
    # The firmware starts the disk; its memory is QEMU's alone.
    qemu = s.guest("qemu-system-x86_64", "-nodefaults", "-display", "none",
                   "-accel", "tcg", "-m", "64",
                   "-chardev", "socket,id=c,path=" + machine.socket,
                   "-device", "vhost-user-blk-pci,chardev=c")

    def told():
        with open(s.path("log")) as f:
            return "share=on" in f.read()
    wait_for(told, 60, "nothing is said of share=on")
    qemu.kill()
    qemu.communicate()
    code, out = machine.boot_to_end("mount -t ext4 /dev/vda /mnt && exit 4")
    expect(code == 4, code, out)
    machine.stop()


@suite.case
def read_only_image_stays_as_it_is(s):
    need_uml()
    image = s.ext4()
    os.chmod(image, 0o444)
    with open(image, "rb") as f:
        before = f.read()
    machine = Machine(s, "uml")
    machine.serve("--blk-file=" + image, "--read-only")
    code, out = machine.boot_to_end(
        "cat /sys/block/vda/ro; mount -t ext4 -o ro /dev/vda /mnt && "
        "ls /mnt; dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync "
        "2>/dev/null && echo written; exit 4")
    expect((code, out.split()) == (4, ["1", "lost+found"]), code, out)
    machine.stop()
    with open(image, "rb") as f:
        expect(f.read() == before, "the image has changed")


@suite.case
def backends_without_a_file(s):
    need_uml()
    machine = Machine(s, "uml")
    machine.serve("--backend=mem", "--size=32M")
    code, out = machine.boot_to_end(
        "blockdev --getsize64 /dev/vda; "
        "dd if=/dev/urandom of=/w bs=1M count=32 2>/dev/null; "
        "dd if=/w of=/dev/vda bs=1M conv=fsync 2>/dev/null; "
        "echo 3 > /proc/sys/vm/drop_caches; cmp /w /dev/vda && exit 4")
    expect((code, out.split()) == (4, ["33554432"]), code, out)
    machine.stop()
    machine.serve("--backend=null", "--size=1G")
    code, out = machine.boot_to_end(
        "blockdev --getsize64 /dev/vda; dd if=/dev/vda of=/dev/null bs=1M "
        "count=64 2>/dev/null && exit 4")
    expect((code, out.split()) == (4, ["1073741824"]), code, out)
    machine.stop()


suite.main()
