/* SPDX-License-Identifier: MIT */
/* Disks against a model in memory, through every way of doing I/O. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "host/worker.h"
#include "test/backend/util.h"

enum { SIZE = 1 << 20, INFLIGHT = 32 };

static const struct {
	enum blkdev_aio aio;
	const char *dir, *name;
	bool direct;
} ways[] = {
	{ BLKDEV_AIO_URING, "/tmp", "io_uring", false },
	{ BLKDEV_AIO_URING, "/tmp", "io_uring, direct", true },
	{ BLKDEV_AIO_URING, "/dev/shm", "io_uring on memory", false },
	{ BLKDEV_AIO_THREADS, "/tmp", "threads", false },
	{ BLKDEV_AIO_INLINE, "/dev/shm", "inline", false },
	{ BLKDEV_AIO_INLINE, "/dev/shm", "inline, mapped", false },
};

enum { WAY_MAPPED = 5 };

/* A device with its loop; false: this machine lacks that way. */
struct bed {
	struct blkdev *d;
	struct loop loop;
	char path[64];
};

static void fill_image(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY);

	CHECK_GE(fd, 0);
	CHECK_EQ(fallocate(fd, 0, 0, (off_t)size), 0);
	close(fd);
}

static bool bed_open(struct bed *b, unsigned way, bool read_only)
{
	struct blkdev_file_conf conf = {
		.path = b->path,
		.read_only = read_only,
		.direct = ways[way].direct,
		.aio = ways[way].aio,
		.num_queues = 1,
		.queue_size = 128,
	};
	int rc;

	make_image(b->path, ways[way].dir, SIZE);
	/* Without holes it is mapped. */
	if (way == WAY_MAPPED)
		fill_image(b->path, SIZE);
	rc = blkdev_file_open(&b->d, &conf);
	if (rc) {
		unlink(b->path);
		vtest_note("%s: %s, left out", ways[way].name, strerror(-rc));
		return false;
	}
	CHECK_EQ(loop_init(&b->loop), 0);
	CHECK_EQ(b->d->ops->attach(b->d, 0, &b->loop), 0);
	return true;
}

static void bed_close(struct bed *b)
{
	b->d->ops->detach(b->d, 0);
	loop_fini(&b->loop);
	blkdev_close(b->d);
	unlink(b->path);
}

/* Cut @len bytes at @p into uneven segments; blocks for direct I/O. */
static void cut(struct request *r, struct vtest_rand *rnd, unsigned char *p,
		uint64_t len)
{
	uint64_t unit = vtest_below(rnd, 2) ? 512 : 4096, n;

	r->io.nr_seg = 0;
	while (len) {
		n = unit * (1 + vtest_below(rnd, 3));
		if (n > len || r->io.nr_seg == 15)
			n = len;
		r->seg[r->io.nr_seg++] = (struct vio_seg){ p, n };
		p += n;
		len -= n;
	}
}

/*
 * Batches of requests on ranges that do not overlap within a batch, so that
 * the order in which they are done does not matter.
 */
static void compare_with_model(struct blkdev *d, bool zero_discard)
{
	static unsigned char model[SIZE], buf[INFLIGHT][SIZE / INFLIGHT]
		__attribute__((aligned(4096)));
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static struct request r[INFLIGHT];
	unsigned round, i;

	memset(model, 0, sizeof(model));
	for (round = 0; round < 60; round++) {
		for (i = 0; i < INFLIGHT; i++) {
			static const uint8_t ops[] = {
				VIO_BLK_READ, VIO_BLK_READ, VIO_BLK_WRITE,
				VIO_BLK_WRITE, VIO_BLK_WRITE_ZEROES,
				VIO_BLK_DISCARD,
			};
			uint64_t part = SIZE / INFLIGHT, off, len;
			uint8_t op = ops[vtest_below(&rnd, zero_discard ?
						     6 : 5)];

			off = vtest_below(&rnd, part / 512) * 512;
			len = (1 + vtest_below(&rnd, (part - off) / 512)) *
			      512;
			off += i * part;
			request_init(&r[i], op, off, len, NULL);
			if (vtest_below(&rnd, 4) == 0)
				r[i].io.flags = op == VIO_BLK_WRITE ?
					VIO_BLK_FUA : VIO_BLK_UNMAP;
			if (op == VIO_BLK_WRITE)
				vtest_fill(&rnd, buf[i], len);
			if (op <= VIO_BLK_WRITE)
				cut(&r[i], &rnd, buf[i], len);
			d->ops->io.submit(d, &r[i].io);
		}
		d->ops->io.commit(d, 0);
		if (d->ops->io.drain)
			d->ops->io.drain(d, 0);
		for (i = 0; i < INFLIGHT; i++) {
			unsigned char *at = model + r[i].io.offset;

			CHECK_EQ(r[i].done, 1);
			CHECK_EQ(r[i].result, VIO_OK);
			if (r[i].io.op == VIO_BLK_READ)
				CHECK_MEMEQ(buf[i], at, r[i].io.len);
			else if (r[i].io.op == VIO_BLK_WRITE)
				memcpy(at, buf[i], r[i].io.len);
			else
				memset(at, 0, r[i].io.len);
		}
		CHECK_EQ(run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	}
}

TEST("every way of doing I/O agrees with a model", "")
{
	struct bed b;
	unsigned i, n = 0;

	for (i = 0; i < VIO_ARRAY_LEN(ways); i++) {
		if (!bed_open(&b, i, false))
			continue;
		n++;
		compare_with_model(b.d, b.d->conf.max_discard_sectors);
		bed_close(&b);
	}
	CHECK_GE(n, 2);
}

TEST("the memory disk agrees with a model", "")
{
	struct blkdev *d;

	CHECK_EQ(blkdev_mem_open(&d, SIZE, false), 0);
	CHECK_EQ(d->conf.capacity_sectors, SIZE / 512);
	compare_with_model(d, true);
	CHECK_EQ(run(d, VIO_BLK_WRITE_ZEROES, SIZE, 512, NULL), VIO_E_IO);
	CHECK_EQ(run(d, VIO_BLK_WRITE_ZEROES, SIZE - 512, 1024, NULL),
		 VIO_E_IO);
	blkdev_close(d);
}

TEST("ranges outside and writes to a read-only disk are refused", "")
{
	static unsigned char buf[4096] __attribute__((aligned(4096)));
	static const int writes[] = { VIO_BLK_WRITE, VIO_BLK_DISCARD,
				      VIO_BLK_WRITE_ZEROES };
	struct bed b;
	unsigned i, k;

	for (i = 0; i < VIO_ARRAY_LEN(ways); i++) {
		if (!bed_open(&b, i, true))
			continue;
		CHECK(b.d->conf.read_only);
		CHECK_EQ(b.d->conf.max_discard_sectors, 0);
		CHECK_EQ(run(b.d, VIO_BLK_READ, SIZE - 4096, 4096, buf),
			 VIO_OK);
		CHECK_EQ(run(b.d, VIO_BLK_READ, SIZE - 512, 4096, buf),
			 VIO_E_IO);
		CHECK_EQ(run(b.d, VIO_BLK_READ, UINT64_MAX - 511, 4096, buf),
			 VIO_E_IO);
		for (k = 0; k < 3; k++)
			CHECK_EQ(run(b.d, writes[k], 0, 4096, buf), VIO_E_IO);
		CHECK_EQ(run(b.d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
		bed_close(&b);
	}
}

TEST("a file that shrinks gives errors, not old data", "")
{
	static unsigned char buf[8192] __attribute__((aligned(4096)));
	struct bed b;
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(ways); i++) {
		if (!bed_open(&b, i, false))
			continue;
		CHECK_EQ(truncate(b.path, 4096), 0);
		CHECK_EQ(run(b.d, VIO_BLK_READ, 0, 4096, buf), VIO_OK);
		CHECK_EQ(run(b.d, VIO_BLK_READ, 0, 8192, buf), VIO_E_IO);
		CHECK_EQ(run(b.d, VIO_BLK_READ, 65536, 512, buf), VIO_E_IO);
		bed_close(&b);
	}
}

TEST("discard gives space back", "")
{
	static unsigned char buf[65536] __attribute__((aligned(4096)));
	struct stat before, after;
	struct bed b;

	if (!bed_open(&b, 4, false))
		SKIP("no /dev/shm");
	memset(buf, 1, sizeof(buf));
	CHECK_EQ(run(b.d, VIO_BLK_WRITE, 0, sizeof(buf), buf), VIO_OK);
	CHECK_EQ(stat(b.path, &before), 0);
	CHECK_EQ(run(b.d, VIO_BLK_DISCARD, 0, sizeof(buf), NULL), VIO_OK);
	CHECK_EQ(stat(b.path, &after), 0);
	CHECK_GE(before.st_blocks, 128);
	CHECK_EQ(after.st_blocks, 0);
	CHECK_EQ(after.st_size, SIZE);
	bed_close(&b);
}

TEST("a mapped file is written and read alike, and gets no new pages", "")
{
	static unsigned char buf[8192] __attribute__((aligned(4096)));
	struct stat st;
	struct bed b;
	unsigned i;

	if (!bed_open(&b, WAY_MAPPED, false))
		SKIP("no /dev/shm");
	for (i = 1; i < 50; i++) {
		memset(buf, (int)i, sizeof(buf));
		CHECK_EQ(run(b.d, VIO_BLK_WRITE, 512 * i, 8192, buf), VIO_OK);
		memset(buf, 0, sizeof(buf));
		CHECK_EQ(run(b.d, VIO_BLK_READ, 512 * i, 8192, buf), VIO_OK);
		CHECK_EQ(buf[0], i);
		CHECK_EQ(buf[8191], i);
	}
	CHECK_EQ(run(b.d, VIO_BLK_DISCARD, 0, SIZE, NULL), VIO_OK);
	for (i = 0; i < SIZE / 8192; i++)
		CHECK_EQ(run(b.d, VIO_BLK_READ, 8192 * i, 8192, buf), VIO_OK);
	CHECK_EQ(stat(b.path, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	bed_close(&b);
}

/* Requests whose answers come through the loop of a worker. */
struct live {
	struct worker w;
	struct bed *b;
	struct request r[INFLIGHT];
	unsigned char buf[INFLIGHT][4096] __attribute__((aligned(4096)));
	unsigned left;
	int begun, ended;
};

static void live_begin(void *ctx, unsigned queue)
{
	struct live *l = ctx;

	CHECK_EQ(queue, 0);
	l->begun++;
}

static void live_end(void *ctx, unsigned queue)
{
	struct live *l = ctx;

	CHECK_EQ(queue, 0);
	l->ended++;
}

static void live_attach(void *arg)
{
	struct live *l = arg;

	CHECK_EQ(l->b->d->ops->attach(l->b->d, 0, &l->w.loop), 0);
}

static void live_detach(void *arg)
{
	struct live *l = arg;

	l->b->d->ops->detach(l->b->d, 0);
}

static void live_submit(void *arg)
{
	struct live *l = arg;
	struct blkdev *d = l->b->d;
	unsigned i;

	for (i = 0; i < INFLIGHT; i++) {
		request_init(&l->r[i], i % 2 ? VIO_BLK_WRITE : VIO_BLK_FLUSH,
			     i % 2 ? i * 4096 : 0, i % 2 ? 4096 : 0,
			     i % 2 ? l->buf[i] : NULL);
		d->ops->io.submit(d, &l->r[i].io);
	}
	d->ops->io.commit(d, 0);
}

static void live_count(void *arg)
{
	struct live *l = arg;
	unsigned i;

	l->left = 0;
	for (i = 0; i < INFLIGHT; i++)
		l->left += !l->r[i].done;
}

TEST("answers come by the loop, in batches", "")
{
	static const enum blkdev_aio aio[] = { BLKDEV_AIO_URING,
					       BLKDEV_AIO_THREADS };
	static struct live l;
	unsigned i, k;

	for (i = 0; i < 2; i++) {
		struct bed b;
		struct blkdev_file_conf conf = {
			.path = b.path, .aio = aio[i], .num_queues = 1,
			.queue_size = 128,
		};

		memset(&l, 0, sizeof(l));
		l.b = &b;
		make_image(b.path, "/tmp", SIZE);
		if (blkdev_file_open(&b.d, &conf)) {
			unlink(b.path);
			continue;
		}
		b.d->batch = (struct blkdev_batch){ live_begin, live_end, &l };
		CHECK_EQ(worker_start(&l.w, "disk"), 0);
		worker_run(&l.w, live_attach, &l);
		worker_run(&l.w, live_submit, &l);
		for (k = 0; k < 60000; k++) {
			worker_run(&l.w, live_count, &l);
			if (!l.left)
				break;
			usleep(1000);
		}
		CHECK_EQ(l.left, 0);
		CHECK_GE(l.begun, 1);
		CHECK_EQ(l.begun, l.ended);
		worker_run(&l.w, live_detach, &l);
		worker_stop(&l.w);
		blkdev_close(b.d);
		unlink(b.path);
	}
}

static int open_size(uint64_t size)
{
	struct blkdev_file_conf conf = { .num_queues = 1, .queue_size = 8 };
	struct blkdev *d = NULL;
	char path[64];
	int rc;

	make_image(path, "/tmp", size);
	conf.path = path;
	rc = blkdev_file_open(&d, &conf);
	if (!rc)
		blkdev_close(d);
	unlink(path);
	return rc;
}

static int open_path(const char *path)
{
	struct blkdev_file_conf conf = { .num_queues = 1, .queue_size = 8,
					 .path = path };
	struct blkdev *d = NULL;
	int rc = blkdev_file_open(&d, &conf);

	if (!rc)
		blkdev_close(d);
	return rc;
}

TEST("what cannot be a disk is refused", "")
{
	CHECK_EQ(open_size(0), -EINVAL);
	CHECK_EQ(open_size(511), -EINVAL);
	CHECK_EQ(open_size(512), 0);
	CHECK_EQ(open_size(1000), -EINVAL);
	CHECK_EQ(open_path("/nonexistent"), -ENOENT);
	CHECK_LT(open_path("/tmp"), 0);
	CHECK_LT(open_path("/dev/null"), 0);
}

TEST("two writers of one image are refused, two readers are not", "")
{
	struct blkdev_file_conf conf = { .num_queues = 1, .queue_size = 8 };
	struct blkdev *a, *b;
	char path[64];

	make_image(path, "/tmp", SIZE);
	conf.path = path;
	CHECK_EQ(blkdev_file_open(&a, &conf), 0);
	CHECK_EQ(blkdev_file_open(&b, &conf), -EBUSY);
	conf.read_only = true;
	CHECK_EQ(blkdev_file_open(&b, &conf), -EBUSY);
	blkdev_close(a);
	CHECK_EQ(blkdev_file_open(&a, &conf), 0);
	CHECK_EQ(blkdev_file_open(&b, &conf), 0);
	blkdev_close(a);
	blkdev_close(b);
	unlink(path);
}
