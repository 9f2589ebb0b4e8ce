/* SPDX-License-Identifier: MIT */
/* Daemons ask for memory when they start, and not for a request. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/host/allocations.h"
#include "test/host/peer.h"
#include "vtest.h"

#define BLOCK		4096u
#define WARM		200u
#define REQUESTS	2000u
/* Of --aio=threads, and of what io_uring leaves to them (backend/file.h). */
#define POOL_THREADS	16u

static struct peer p;
static struct front_disk d;
static char counts[128];

static struct allocations asked(void)
{
	struct allocations a;
	int fd = open(counts, O_RDONLY);

	CHECK_GE(fd, 0);
	CHECK_EQ(read(fd, &a, sizeof(a)), sizeof(a));
	close(fd);
	return a;
}

/* Where in which file of the program's an address is. */
static void tell_place(uint64_t addr)
{
	unsigned long long from, to, off;
	char path[64], line[512], name[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", p.pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %255s", &from,
			   &to, &off, name) == 4 && addr >= from && addr < to)
			vtest_note("asked by %s+0x%llx", name,
				   (unsigned long long)addr - from + off);
	if (f)
		fclose(f);
}

/* Writes, reads and flushes. */
static void requests(unsigned n, unsigned char *data)
{
	for (unsigned i = 0; i < n; i++)
		if (i % 7)
			CHECK_EQ(disk_run(&d, 0, i & 1 ? VIRTIO_BLK_T_OUT :
					  VIRTIO_BLK_T_IN, i % 64 * 8, data,
					  BLOCK), VIO_OK);
		else
			CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_FLUSH, 0, NULL,
					  0), VIO_OK);
}

/*
 * @backend NULL: a file. @begins: of so many threads more the C library may
 * still have to make one, whenever the others are slow to come back.
 */
static void thrifty(const char *backend, const char *more, unsigned begins)
{
	char what[128];
	const char *const args[] = { what, "--num-queues=1", more, NULL };
	struct allocations before, after;
	unsigned char *data;
	int fd;

	peer_init(&p);
	fd = open(p.image, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(what, sizeof(what), backend ? "--backend=%s" : "--blk-file=%s",
		 backend ? backend : p.image);
	snprintf(counts, sizeof(counts), "%s/counts", p.dir);
	setenv("VIREO_ALLOCATIONS", counts, 1);
	setenv("LD_PRELOAD", ALLOCATIONS_LIB, 1);
	peer_start(&p, "vireo-blk", args, -1);
	unsetenv("LD_PRELOAD");
	disk_open(&d, p.socket, 1);
	data = front_data(&d.front, BLOCK);
	requests(WARM, data);
	before = asked();
	CHECK_GT(before.count, 10u);
	requests(REQUESTS, data);
	after = asked();
	if (after.count - before.count > begins) {
		for (uint64_t i = before.count; i < after.count &&
		     i < before.count + ALLOCATIONS_LAST; i++)
			tell_place(after.last[i % ALLOCATIONS_LAST]);
		FAIL("%s %s: %llu times for %u requests", what, more,
		     (unsigned long long)(after.count - before.count),
		     REQUESTS);
	}
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("no request of a disk asks for memory, whatever does the I/O", "")
{
	static const char *const aios[] = {
		"--aio=inline", "--aio=threads", "--aio=io_uring",
	};

	if (PEER_SANITIZED)
		SKIP("sanitizers have their own memory");
	thrifty("null", "--size=1M", 0);
	thrifty("mem", "--size=1M", 0);
	for (unsigned i = 0; i < 3; i++)
		thrifty(NULL, aios[i], i ? POOL_THREADS : 0);
}
