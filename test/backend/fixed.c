/* SPDX-License-Identifier: MIT */
/* The guest's memory as registered buffers, and rings of other kinds. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "backend/file.h"
#include "host/worker.h"
#include "test/backend/util.h"

enum { SIZE = 1 << 20, MEM = 4 << 20 };

static struct blkdev *d;
static struct worker w;
static char path[64];

static struct file_queue *queue(void)
{
	return &vio_container_of(d, struct file, dev)->queues[0];
}

static void attach(void *arg)
{
	*(int *)arg = d->ops->attach(d, 0, &w.loop);
}

static void detach(void *arg)
{
	(void)arg;
	d->ops->detach(d, 0);
}

/* 0, or why this machine has none such. */
static int begin(struct blkdev_file_conf conf)
{
	int rc;

	conf.path = path;
	conf.aio = BLKDEV_AIO_URING;
	conf.num_queues = 2;
	conf.queue_size = 8;
	make_image(path, "/tmp", SIZE);
	rc = blkdev_file_open(&d, &conf);
	if (rc) {
		unlink(path);
		return rc;
	}
	CHECK_EQ(worker_start(&w, "disk"), 0);
	worker_run(&w, attach, &rc);
	CHECK_EQ(rc, 0);
	return 0;
}

static void end(void)
{
	worker_run(&w, detach, NULL);
	worker_stop(&w);
	blkdev_close(d);
	unlink(path);
}

static unsigned char *map(int fd, void *at)
{
	unsigned char *p = mmap(at, MEM, PROT_READ | PROT_WRITE, MAP_SHARED |
				(at ? MAP_FIXED : 0), fd, 0);

	CHECK_NE((intptr_t)p, (intptr_t)MAP_FAILED);
	return p;
}

static unsigned char *map_new(void *at)
{
	int fd = memfd_create("guest", 0);
	unsigned char *p;

	CHECK_EQ(ftruncate(fd, MEM), 0);
	p = map(fd, at);
	close(fd);
	return p;
}

static void run_here(void *arg)
{
	struct request *r = arg;

	request_run(d, r);
}

static int go(int op, uint64_t offset, size_t len, void *p)
{
	struct request r;

	request_init(&r, op, offset, len, p);
	worker_run(&w, run_here, &r);
	return r.result;
}

/* Two pieces of it. */
static int go_split(int op, uint64_t offset, size_t len, unsigned char *p)
{
	struct request r;

	request_init(&r, op, offset, len, p);
	r.seg[0].len = len / 2;
	r.seg[1] = (struct vio_seg){ p + len, len / 2 };
	r.io.nr_seg = 2;
	worker_run(&w, run_here, &r);
	return r.result;
}

static long pinned_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long kib = -1;

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %ld kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static void nothing(void *arg)
{
	(void)arg;
}

static void write_and_read(unsigned char *p, uint64_t offset, unsigned seed)
{
	struct vtest_rand rnd = vtest_rand_init(seed);
	static unsigned char want[16384];
	int fd = open(path, O_RDONLY);
	unsigned char got[4096];

	vtest_fill(&rnd, want, sizeof(want));
	memcpy(p, want, sizeof(want));
	CHECK_EQ(go(VIO_BLK_WRITE, offset, 4096, p), VIO_OK);
	CHECK_EQ(go_split(VIO_BLK_WRITE, offset + 4096, 8192, p), VIO_OK);
	CHECK_EQ(pread(fd, got, 4096, (off_t)offset), 4096);
	CHECK_MEMEQ(got, want, 4096);
	close(fd);
	memset(p, 0, sizeof(want));
	CHECK_EQ(go(VIO_BLK_READ, offset, 4096, p), VIO_OK);
	CHECK_MEMEQ(p, want, 4096);
	CHECK_EQ(go(VIO_BLK_READ, offset + 4096, 4096, p), VIO_OK);
	CHECK_MEMEQ(p, want, 4096);
	CHECK_EQ(go(VIO_BLK_READ, offset + 8192, 4096, p), VIO_OK);
	CHECK_MEMEQ(p, want + 8192, 4096);
}

/* Several of one buffer, as the kernel takes them from 6.15 on. */
static void pieces(unsigned char *p)
{
	struct vio_seg seg[3] = {
		{ p, 4096 }, { p + 65536, 4096 }, { p + 16384, 4096 }
	};
	bool can = queue()->fixed_lists;

	CHECK_EQ(file_fixed_find_all(queue(), seg, 3), can ? 0 : -1);
	seg[1].base = p - 4096;
	CHECK_EQ(file_fixed_find_all(queue(), seg, 3), -1);
	CHECK_EQ(file_fixed_find_all(queue(), seg, 1), can ? 0 : -1);
}

static const struct blkdev_file_conf with_memory = {
	.direct = true, .fixed = BLKDEV_FIXED_ON,
};

TEST("guest memory is registered, used, and let go of before it is unmapped",
     "")
{
	unsigned char *p;

	if (begin(with_memory))
		SKIP("needs io_uring, and direct I/O in /tmp");
	if (!queue()->fixed) {
		end();
		SKIP("needs a kernel with sparse tables of buffers");
	}
	p = map_new(NULL);
	d->ops->memory(d, p, MEM, false, true);
	write_and_read(p + 8192, 0, 1);
	CHECK_EQ(file_fixed_find(queue(), p, 4096), 0);
	CHECK_EQ(file_fixed_find(queue(), p + MEM - 4096, 4096), 0);
	CHECK_EQ(file_fixed_find(queue(), p + MEM - 4096, 8192), -1);
	CHECK_EQ(file_fixed_find(queue(), p - 4096, 8192), -1);
	CHECK_GE(pinned_kib(), MEM / 1024);
	pieces(p);
	d->ops->memory(d, p, MEM, false, false);
	/* Behind what it has the queue's thread do. */
	for (unsigned i = 0; i < 60000 && pinned_kib(); i++) {
		worker_run(&w, nothing, NULL);
		usleep(1000);
	}
	CHECK_EQ(pinned_kib(), 0);
	/* It is through with that. */
	worker_run(&w, nothing, NULL);
	CHECK_EQ(queue()->nr_fixed, 0);
	/* Others at the same place, at once: none of what was there. */
	for (unsigned i = 0; i < 20; i++) {
		map_new(p);
		d->ops->memory(d, p, MEM, false, true);
		write_and_read(p, 65536, i);
		CHECK_GE(file_fixed_find(queue(), p, 4096), 0);
		d->ops->memory(d, p, MEM, false, false);
	}
	/* And used without, when nobody said so. */
	map_new(p);
	write_and_read(p, 4096, 2);
	end();
	munmap(p, MEM);
}

TEST("memory that the kernel does not pin is used without", "")
{
	char other[64];
	unsigned char *p;
	int fd;

	if (begin(with_memory))
		SKIP("needs io_uring, and direct I/O in /tmp");
	if (!queue()->fixed) {
		end();
		SKIP("needs a kernel with sparse tables of buffers");
	}
	make_image(other, "/tmp", MEM);
	fd = open(other, O_RDWR);
	p = map(fd, NULL);
	d->ops->memory(d, p, MEM, false, true);
	write_and_read(p, 0, 1);
	if (file_fixed_find(queue(), p, 4096) >= 0)
		vtest_note("this kernel pins pages of any file");
	d->ops->memory(d, p, MEM, false, false);
	end();
	munmap(p, MEM);
	close(fd);
	unlink(other);
}

TEST("more memory than there is room for is used without", "")
{
	unsigned char *p = map_new(NULL);
	unsigned i;

	if (begin(with_memory))
		SKIP("needs io_uring, and direct I/O in /tmp");
	for (i = 0; i < MEM / 65536; i++)
		d->ops->memory(d, p + i * 65536, 65536, false, true);
	for (i = 0; i < MEM / 65536; i += 7)
		write_and_read(p + i * 65536, 0, i);
	for (i = 0; i < MEM / 65536; i++)
		d->ops->memory(d, p + i * 65536, 65536, false, false);
	write_and_read(p, 0, 1);
	end();
	munmap(p, MEM);
}

TEST("by default only huge pages are registered, and none on request", "")
{
	struct blkdev_file_conf conf = { .direct = true };
	unsigned char *p = map_new(NULL);

	for (unsigned i = 0; i < 3; i++) {
		bool huge = i > 0;

		conf.fixed = i == 2 ? BLKDEV_FIXED_OFF : BLKDEV_FIXED_AUTO;
		if (begin(conf))
			SKIP("needs io_uring, and direct I/O in /tmp");
		d->ops->memory(d, p, MEM, huge, true);
		write_and_read(p, 0, i);
		CHECK_EQ(queue()->nr_fixed, i == 1 && queue()->fixed ? 1 : 0);
		d->ops->memory(d, p, MEM, huge, false);
		end();
	}
	munmap(p, MEM);
}

TEST("a thread of the kernel takes the requests", "")
{
	struct blkdev_file_conf conf = { .sqpoll = true };
	unsigned char *p = map_new(NULL);

	for (unsigned i = 0; i < 2; i++) {
		conf.direct = i;
		conf.fixed = BLKDEV_FIXED_ON;
		if (begin(conf))
			SKIP("needs a kernel thread of io_uring");
		CHECK(queue()->files_fixed);
		d->ops->memory(d, p, MEM, false, true);
		for (unsigned k = 0; k < 10; k++)
			write_and_read(p + k * 16384, 4096 * k, k);
		/* It went to sleep meanwhile. */
		usleep(30000);
		write_and_read(p, 0, 100);
		CHECK_EQ(go(VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
		d->ops->memory(d, p, MEM, false, false);
		end();
	}
	munmap(p, MEM);
}

TEST("polled completions are refused where nothing could be polled", "")
{
	struct blkdev_file_conf conf = { .iopoll = true };
	unsigned char *p = map_new(NULL);
	int rc;

	CHECK_EQ(begin(conf), -EINVAL);		/* the page cache */
	conf.direct = true;
	rc = begin(conf);
	if (!rc) {
		write_and_read(p, 0, 1);
		write_and_read(p + 1, 512, 2);
		end();
	} else {
		CHECK_LT(rc, 0);
		vtest_note("no polled queues here: %s", strerror(-rc));
	}
	munmap(p, MEM);
}
