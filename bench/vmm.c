/* SPDX-License-Identifier: MIT */
/*
 * What it costs a guest to speak to a device of our machine: a register that
 * is answered on the processor's thread, one that the device's thread answers,
 * and a kick, which does not leave the kernel. One line each, on whatever
 * /dev/kvm there is; where that is emulated, the numbers are the emulator's.
 * Then how many kicks a request for a disk takes, which are the same on any.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/vmm_disk.h"
#include "host/clock.h"
#include "host/log.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

enum { MARK_PORT = 0x500, MARKS = 6, TIMES = 10000 };

extern const unsigned char bench_guest[], bench_guest_end[];

struct marks {
	uint64_t ns[MARKS];
	unsigned n;
};

static uint64_t no_read(void *ctx, uint64_t off, unsigned len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return 0;
}

static void mark(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	struct marks *m = ctx;

	(void)off;
	(void)value;
	(void)len;
	if (m->n < MARKS)
		m->ns[m->n++] = clock_ns();
}

static const struct bus_ops mark_bus = { no_read, mark };

static int run(struct machine *m, struct marks *marks)
{
	struct dev *d;
	int err = dev_rng_open(&d, NULL);

	if (!err)
		err = machine_add(m, d);
	if (!err)
		err = bus_add(&m->ports, MARK_PORT, 1, &mark_bus, marks);
	return err ? err : machine_run(m);
}

static void print(const struct marks *marks, const struct machine *m)
{
	static const char *const what[] = {
		"InterruptStatus, on the processor's thread",
		"DeviceFeatures, on the device's thread",
		"QueueNotify, by ioeventfd",
	};

	for (unsigned i = 0; i < MARKS / 2; i++)
		printf("%8llu ns  %s\n",
		       (unsigned long long)(marks->ns[2 * i + 1] -
					    marks->ns[2 * i]) / TIMES,
		       what[i]);
	printf("%8.2f     exits to the program for each kick\n",
	       (double)(m->vcpu[0].stats.mmio - 2.0 * TIMES) / TIMES);
}

int main(void)
{
	static struct machine m;
	static struct loop loop;
	static struct marks marks;
	char path[32];
	struct machine_conf conf = {
		.mem = RAM_MIN, .cpus = 1, .transport = MACHINE_MMIO,
		.boot = { .kernel = path },
	};
	size_t len = (size_t)(bench_guest_end - bench_guest);
	int fd = memfd_create("guest", MFD_CLOEXEC), end;

	log_init("vmm", LOG_LEVEL_INFO);
	if (fd < 0 || write(fd, bench_guest, len) != (ssize_t)len ||
	    loop_init(&loop))
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (machine_open(&m, &conf, &loop))
		return 1;
	end = run(&m, &marks);
	if (end == MACHINE_OFF && marks.n == MARKS)
		print(&marks, &m);
	machine_close(&m);
	loop_fini(&loop);
	close(fd);
	return end == MACHINE_OFF && marks.n == MARKS ? bench_disk() : 1;
}
