/* SPDX-License-Identifier: MIT */
/* Direct I/O from memory and to places that do not suit it. */
#include <errno.h>
#include <fcntl.h>

#include "backend/file.h"
#include "test/backend/util.h"

enum { SIZE = 1 << 20, LONG = 200 << 10 };

/* What the kernel was asked to do, and how much of it it does at once. */
static struct {
	size_t most;
	unsigned direct, buffered, misaligned;
} seen;

static struct file *file_of(struct blkdev *d)
{
	return vio_container_of(d, struct file, dev);
}

static struct blkdev *d;

/* Is it a direct one, and aligned as such must be? */
static void look(int fd, const struct iovec *iov, int n, off_t off)
{
	const struct file *f = file_of(d);
	uintptr_t mem = 0, pos = (uintptr_t)off;
	int i;

	if (!(fcntl(fd, F_GETFL) & O_DIRECT)) {
		seen.buffered++;
		return;
	}
	seen.direct++;
	for (i = 0; i < n; i++) {
		mem |= (uintptr_t)iov[i].iov_base;
		pos |= iov[i].iov_len;
	}
	if (mem & (f->mem_align - 1) || pos & (f->off_align - 1))
		seen.misaligned++;
}

static struct iovec first(const struct iovec *iov)
{
	struct iovec v = *iov;

	if (seen.most && v.iov_len > seen.most)
		v.iov_len = seen.most;
	return v;
}

static ssize_t d_readv(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec v = first(iov);

	look(fd, iov, n, off);
	return seen.most ? preadv(fd, &v, 1, off) : preadv(fd, iov, n, off);
}

static ssize_t d_writev(int fd, const struct iovec *iov, int n, off_t off,
			int flags)
{
	struct iovec v = first(iov);

	look(fd, iov, n, off);
	return seen.most ? pwritev2(fd, &v, 1, off, flags) :
		pwritev2(fd, iov, n, off, flags);
}

static char path[64];
static struct loop loop;
static struct file_sys sys;

static bool begin(enum blkdev_aio aio)
{
	struct blkdev_file_conf conf = {
		.path = path, .aio = aio, .num_queues = 1, .queue_size = 8,
		.direct = true, .sys = &sys,
	};

	sys = file_sys_linux;
	sys.readv = d_readv;
	sys.writev = d_writev;
	make_image(path, "/tmp", SIZE);
	if (blkdev_file_open(&d, &conf)) {
		unlink(path);
		return false;
	}
	memset(&seen, 0, sizeof(seen));
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
	return true;
}

static void end(void)
{
	d->ops->detach(d, 0);
	loop_fini(&loop);
	blkdev_close(d);
	unlink(path);
}

static unsigned char mem[LONG + 8192] __attribute__((aligned(4096)));
static unsigned char want[LONG];

/* Three segments, uneven ones: none is a number of blocks. */
static int move(int op, uint64_t offset, unsigned char *p, size_t len,
		unsigned flags)
{
	size_t a = len / 3 | 1, b = 1 + len % 7;
	struct request r;

	request_init(&r, op, offset, len, NULL);
	r.seg[0] = (struct vio_seg){ p, a };
	r.seg[1] = (struct vio_seg){ p + a, b };
	r.seg[2] = (struct vio_seg){ p + a + b, len - a - b };
	r.io.nr_seg = 3;
	r.io.flags = (uint8_t)flags;
	return request_run(d, &r);
}

static void there_and_back(struct vtest_rand *rnd, uint64_t offset,
			   unsigned at, size_t len, unsigned flags)
{
	vtest_fill(rnd, want, len);
	memcpy(mem + at, want, len);
	CHECK_EQ(move(VIO_BLK_WRITE, offset, mem + at, len, flags), VIO_OK);
	memset(mem, 0x5a, at + len + 16);
	CHECK_EQ(move(VIO_BLK_READ, offset, mem + at, len, 0), VIO_OK);
	CHECK_MEMEQ(mem + at, want, len);
	/* Nothing beside it. */
	if (at)
		CHECK_EQ(mem[at - 1], 0x5a);
	CHECK_EQ(mem[at + len], 0x5a);
	if (at % 16)
		return;
	/* What lies in memory as it should, sees the same. */
	CHECK_EQ(run(d, VIO_BLK_READ, offset, len, mem), VIO_OK);
	CHECK_MEMEQ(mem, want, len);
}

static void at_every_place(enum blkdev_aio aio, unsigned step)
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	unsigned at, block;

	if (!begin(aio)) {
		vtest_note("no direct I/O in /tmp, left out");
		return;
	}
	block = file_of(d)->off_align;
	for (at = 0; at < file_of(d)->mem_align; at += step)
		there_and_back(&rnd, block * (at % 16), at, block,
			       at % 64 ? 0 : VIO_BLK_FUA);
	/* As whole blocks, all of it was direct; no segment ever was as the
	 * guest had it. */
	CHECK_GE(seen.direct, 1);
	CHECK_EQ(seen.buffered, 0);
	CHECK_EQ(seen.misaligned, 0);
	/* More than the buffer in between holds. */
	there_and_back(&rnd, block, 3, LONG, 0);
	CHECK_EQ(seen.buffered, 0);
	CHECK_EQ(seen.misaligned, 0);
	end();
}

TEST("data that lie anywhere in memory are read and written directly", "")
{
	at_every_place(BLKDEV_AIO_THREADS, 1);
	at_every_place(BLKDEV_AIO_INLINE, 41);
	at_every_place(BLKDEV_AIO_URING, 29);
}

TEST("a transfer that stops within a block goes on all the same", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	if (!begin(BLKDEV_AIO_INLINE))
		SKIP("no direct I/O in /tmp");
	for (seen.most = 512; seen.most < 70000; seen.most = seen.most * 3)
		there_and_back(&rnd, 8192, (unsigned)seen.most % 100, 16384, 0);
	end();
}

TEST("a part of a block is written without harm to the rest of it", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct file *f;

	if (!begin(BLKDEV_AIO_INLINE))
		SKIP("no direct I/O in /tmp");
	/* As on a disk of such blocks. */
	f = file_of(d);
	f->off_align = f->mem_align = 4096;
	vtest_fill(&rnd, want, 8192);
	memcpy(mem, want, 8192);
	CHECK_EQ(run(d, VIO_BLK_WRITE, 0, 8192, mem), VIO_OK);
	CHECK_EQ(seen.direct, 1);
	vtest_fill(&rnd, want + 512, 1024);
	memcpy(mem + 4096, want + 512, 1024);
	CHECK_EQ(run(d, VIO_BLK_WRITE, 512, 1024, mem + 4096), VIO_OK);
	CHECK_EQ(seen.buffered, 1);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, 8192, mem), VIO_OK);
	CHECK_MEMEQ(mem, want, 8192);
	CHECK_EQ(seen.misaligned, 0);
	end();
}

TEST("the lock is on the descriptor whose requests may outlive us", "")
{
	struct blkdev_file_conf conf = {
		.path = path, .num_queues = 1, .queue_size = 8,
		.direct = true, .impatient = true,
	};
	struct blkdev *other;
	int fd;

	if (!begin(BLKDEV_AIO_THREADS))
		SKIP("no direct I/O in /tmp");
	CHECK_EQ(blkdev_file_open(&other, &conf), -EBUSY);
	/* A request under way holds its file, and so the lock. */
	fd = dup(file_of(d)->fd);
	close(file_of(d)->fd);
	file_of(d)->fd = file_of(d)->buffered_fd;
	CHECK_EQ(blkdev_file_open(&other, &conf), -EBUSY);
	close(fd);
	CHECK_EQ(blkdev_file_open(&other, &conf), 0);
	blkdev_close(other);
	end();
}
