/* SPDX-License-Identifier: MIT */
/*
 * The machine with little guests, on whatever /dev/kvm this host has: also
 * one that is emulated runs them. Stock kernels: test/system/run_kvm.py.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test/vmm/guest.h"
#include "vmm/devices.h"
#include "vtest.h"

static struct machine m;
static struct loop loop;
static int pipes[2];
static char image[64];

static void need_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP("needs /dev/kvm");
	close(fd);
}

/* A file with the guest in it; the path is good while the file is open. */
static int make_image(const unsigned char *from, const unsigned char *end)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, from, (size_t)(end - from)), end - from);
	snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
	return fd;
}

static void make_machine(const char *cmdline, enum machine_transport t)
{
	const struct machine_conf conf = {
		.mem = 16 << 20, .cpus = 1, .transport = t,
		.boot = { .kernel = image, .cmdline = cmdline },
	};
	struct dev *d;

	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(machine_open(&m, &conf, &loop), 0);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	machine_serial(&m, NULL, pipes[1]);
	CHECK_EQ(dev_rng_open(&d, NULL), 0);
	CHECK_EQ(machine_add(&m, d), 0);
}

static void end_machine(int fd)
{
	machine_close(&m);
	loop_fini(&loop);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
}

TEST("a guest runs, is heard, and kicks without coming out to us", "")
{
	char said[64] = "";
	int fd;

	need_kvm();
	fd = make_image(guest_image, guest_image_end);
	make_machine("hello ", MACHINE_MMIO);
	CHECK_EQ(machine_run(&m), MACHINE_OFF);
	CHECK(read(pipes[0], said, sizeof(said) - 1) > 0);
	CHECK_STREQ(said, "hello virt0");
	/* The magic, and the place where nobody is. */
	CHECK_EQ(m.vcpu[0].stats.mmio, 2);
	CHECK_EQ(m.vcpu[0].stats.pio, strlen(said) + 1);
	end_machine(fd);
}

TEST("on a PCI bus, the place of the registers is nobody's", "")
{
	char said[64] = "";
	int fd;

	need_kvm();
	fd = make_image(guest_image, guest_image_end);
	make_machine("", MACHINE_PCI);
	CHECK_EQ(machine_run(&m), MACHINE_OFF);
	CHECK(read(pipes[0], said, sizeof(said) - 1) > 0);
	CHECK_STREQ(said, "\xff\xff\xff\xff" "0");
	/* Not one of the kicks is an event there. */
	CHECK_EQ(m.vcpu[0].stats.mmio, 2 + GUEST_KICKS);
	end_machine(fd);
}

static void *stop_when_heard(void *arg)
{
	struct pollfd p = { .fd = pipes[0], .events = POLLIN };

	(void)arg;
	poll(&p, 1, 60000);
	machine_stop(&m);
	return NULL;
}

TEST("memory goes on above 4 GiB", "")
{
	const struct machine_conf conf = {
		.mem = 5ull << 30, .cpus = 1, .transport = MACHINE_PCI,
		.boot = { .kernel = image },
	};
	int fd;

	need_kvm();
	fd = make_image(guest_image, guest_image_end);
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(machine_open(&m, &conf, &loop), 0);
	CHECK_EQ(m.ram.low, VMM_HOLE);
	/* Who gets the descriptor has it as long as it is. */
	CHECK_EQ(ftruncate(m.ram.fd, 0), -1);
	CHECK_EQ(m.ram.high, (5ull << 30) - VMM_HOLE);
	CHECK(ram_at(&m.ram, VMM_HOLE - 4, 4));
	CHECK(!ram_at(&m.ram, VMM_HOLE - 4, 5));
	CHECK(!ram_at(&m.ram, VMM_HOLE, 1));
	CHECK(ram_at(&m.ram, VMM_4G + m.ram.high - 1, 1));
	CHECK(!ram_at(&m.ram, VMM_4G + m.ram.high - 1, 2));
	CHECK_EQ(machine_run(&m), MACHINE_OFF);
	machine_close(&m);
	loop_fini(&loop);
	close(fd);
}

TEST("a guest that never ends is stopped", "")
{
	pthread_t t;
	int fd;

	need_kvm();
	fd = make_image(guest_slow, guest_slow_end);
	make_machine("", MACHINE_PCI);
	CHECK_EQ(pthread_create(&t, NULL, stop_when_heard, NULL), 0);
	CHECK_EQ(machine_run(&m), MACHINE_STOPPED);
	pthread_join(t, NULL);
	end_machine(fd);
}
