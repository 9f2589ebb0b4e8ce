/* SPDX-License-Identifier: MIT */
/* A kernel that transfers little, interrupts, fails, or cannot. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdatomic.h>

#include "backend/file.h"
#include "test/backend/util.h"

enum { SIZE = 1 << 20 };

static struct {
	size_t most;		/* bytes in one transfer; 0: no limit */
	int err;		/* what fails */
	unsigned fail_at;	/* the call that fails, counted from 1 */
	unsigned fail_count;	/* and how many after it */
	unsigned calls;
	int refuse_mode;	/* fallocate() modes that are not supported */
	bool zero;		/* transfer nothing */
	int last_mode, last_flags;
	unsigned syncs;
	atomic_bool hang;	/* until it is taken back */
} fault;

static bool fails(void)
{
	fault.calls++;
	if (!fault.fail_at || fault.calls < fault.fail_at ||
	    fault.calls >= fault.fail_at + fault.fail_count)
		return false;
	errno = fault.err;
	return true;
}

/* The first bytes of @iov as one short segment, if there is a limit. */
static struct iovec first(const struct iovec *iov)
{
	struct iovec v = *iov;

	if (fault.most && v.iov_len > fault.most)
		v.iov_len = fault.most;
	return v;
}

static ssize_t f_readv(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec v = first(iov);

	while (atomic_load(&fault.hang))
		usleep(1000);
	if (fails())
		return -1;
	if (fault.zero)
		return 0;
	return fault.most ? preadv(fd, &v, 1, off) : preadv(fd, iov, n, off);
}

static ssize_t f_writev(int fd, const struct iovec *iov, int n, off_t off,
			int flags)
{
	struct iovec v = first(iov);

	fault.last_flags = flags;
	if (fails())
		return -1;
	if (fault.zero)
		return 0;
	return fault.most ? pwritev(fd, &v, 1, off) :
		pwritev(fd, iov, n, off);
}

static int f_allocate(int fd, int mode, off_t off, off_t len)
{
	fault.last_mode = mode;
	if (mode & fault.refuse_mode) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (fails())
		return -1;
	return fallocate(fd, mode, off, len);
}

static int f_sync(int fd)
{
	fault.syncs++;
	return fails() ? -1 : fdatasync(fd);
}

static int f_discard(int fd, const uint64_t range[2], bool secure)
{
	(void)secure;
	(void)fd;
	(void)range;
	errno = EOPNOTSUPP;
	return -1;
}

static const struct file_sys sys = {
	.readv = f_readv, .writev = f_writev, .allocate = f_allocate,
	.datasync = f_sync, .discard = f_discard,
};

static char path[64];
static struct blkdev *d;

static void begin_with(int refuse_mode, enum blkdev_aio aio)
{
	struct blkdev_file_conf conf = {
		.path = path, .aio = aio, .num_queues = 1,
		.queue_size = 8, .sys = &sys,
	};

	memset(&fault, 0, sizeof(fault));
	fault.refuse_mode = refuse_mode;
	make_image(path, "/dev/shm", SIZE);
	CHECK_EQ(blkdev_file_open(&d, &conf), 0);
	fault.calls = 0;
}

static void begin(int refuse_mode)
{
	begin_with(refuse_mode, BLKDEV_AIO_INLINE);
}

static void end(void)
{
	blkdev_close(d);
	unlink(path);
}

static unsigned char in[8192], out[8192];

static void set_fault(int err, unsigned at, unsigned count)
{
	fault.err = err;
	fault.fail_at = at;
	fault.fail_count = count;
	fault.calls = 0;
}

TEST("short transfers go on where they stopped", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct request r;
	unsigned i;

	begin(0);
	vtest_fill(&rnd, out, sizeof(out));
	for (fault.most = 1; fault.most < 5000;
	     fault.most += 1 + vtest_below(&rnd, 700)) {
		request_init(&r, VIO_BLK_WRITE, 4096, sizeof(out), NULL);
		for (i = 0; i < 8; i++)
			r.seg[i] = (struct vio_seg){ out + i * 1024, 1024 };
		r.io.nr_seg = 8;
		CHECK_EQ(request_run(d, &r), VIO_OK);
		memset(in, 0, sizeof(in));
		CHECK_EQ(run(d, VIO_BLK_READ, 4096, sizeof(in), in), VIO_OK);
		CHECK_MEMEQ(in, out, sizeof(in));
	}
	end();
}

TEST("interruptions are tried again, but not for ever", "")
{
	begin(0);
	set_fault(EINTR, 1, 3);
	CHECK_EQ(run(d, VIO_BLK_WRITE, 0, 512, out), VIO_OK);
	CHECK_EQ(fault.calls, 4);
	set_fault(EAGAIN, 1, 3);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, 512, in), VIO_OK);
	set_fault(EINTR, 1, 2);
	CHECK_EQ(run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	set_fault(EINTR, 1, 2);
	CHECK_EQ(run(d, VIO_BLK_DISCARD, 0, 4096, NULL), VIO_OK);
	set_fault(EAGAIN, 1, 1000000);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, 512, in), VIO_E_IO);
	CHECK_EQ(fault.calls, FILE_TRIES_MAX);
	end();
}

TEST("errors of the host become errors of the one request", "")
{
	static const int errors[] = { EIO, ENOSPC, EFAULT, EDQUOT, EINVAL };
	static const uint8_t ops[] = {
		VIO_BLK_READ, VIO_BLK_WRITE, VIO_BLK_DISCARD,
		VIO_BLK_WRITE_ZEROES,
	};
	unsigned e, o;

	begin(0);
	for (e = 0; e < VIO_ARRAY_LEN(errors); e++)
		for (o = 0; o < VIO_ARRAY_LEN(ops); o++) {
			set_fault(errors[e], 1, 1);
			CHECK_EQ(run(d, ops[o], 0, 512,
				     ops[o] <= VIO_BLK_WRITE ? in : NULL),
				 VIO_E_IO);
			CHECK_EQ(run(d, ops[o], 0, 512,
				     ops[o] <= VIO_BLK_WRITE ? in : NULL),
				 VIO_OK);
		}
	/* An error after half of the data is an error of the whole. */
	fault.most = 512;
	set_fault(EIO, 2, 1);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, 1024, in), VIO_E_IO);
	fault.zero = true;
	set_fault(0, 0, 0);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, 512, in), VIO_E_IO);
	CHECK_EQ(run(d, VIO_BLK_WRITE, 0, 512, out), VIO_E_IO);
	end();
}

/* Kinds of requests that take several calls each. */
static int long_one(unsigned op, uint8_t flags)
{
	struct request r;

	request_init(&r, (int)op, 4096, op == VIO_BLK_FLUSH ? 0 : sizeof(out),
		     op <= VIO_BLK_WRITE ? out : NULL);
	r.io.flags = flags;
	return request_run(d, &r);
}

TEST("an error at any call of a request is one of that request", "")
{
	static const struct {
		uint8_t op, flags;
		int refuse;		/* modes of fallocate() */
		unsigned calls;		/* at least */
	} all[] = {
		{ VIO_BLK_READ, 0, 0, 8 },
		{ VIO_BLK_WRITE, 0, 0, 8 },
		{ VIO_BLK_DISCARD, 0, 0, 1 },
		{ VIO_BLK_WRITE_ZEROES, 0, 0, 1 },
		{ VIO_BLK_WRITE_ZEROES, VIO_BLK_UNMAP, 0, 1 },
		{ VIO_BLK_WRITE_ZEROES, 0, FALLOC_FL_ZERO_RANGE, 8 },
		{ VIO_BLK_SECURE_ERASE, 0, FALLOC_FL_PUNCH_HOLE, 9 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(all); i++) {
		unsigned at, calls;

		begin(all[i].refuse);
		fault.most = 1024;
		/* It finds out what the file can do. */
		CHECK_EQ(long_one(all[i].op, all[i].flags), VIO_OK);
		set_fault(0, 0, 0);
		CHECK_EQ(long_one(all[i].op, all[i].flags), VIO_OK);
		calls = fault.calls;
		CHECK_GE(calls, all[i].calls);
		for (at = 1; at <= calls; at++) {
			set_fault(EIO, at, 1);
			CHECK_EQ(long_one(all[i].op, all[i].flags), VIO_E_IO);
			CHECK_EQ(fault.calls, at);
			CHECK_EQ(long_one(all[i].op, all[i].flags), VIO_OK);
		}
		end();
	}
}

/* -- answers of the ring --------------------------------------------------- */

static struct {
	int res;		/* what the next answers are, */
	unsigned left;		/* so many */
	unsigned seen;		/* answers in all */
} answer;

/* Between the ring and the back end: this one's name comes first. */
unsigned io_uring_peek_batch_cqe(struct io_uring *ring,
				 struct io_uring_cqe **cqe, unsigned max)
{
	static unsigned (*real)(struct io_uring *, struct io_uring_cqe **,
				unsigned);
	unsigned n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "io_uring_peek_batch_cqe");
	n = real(ring, cqe, max);
	for (unsigned i = 0; i < n; i++, answer.seen++) {
		if (!answer.left)
			continue;
		answer.left--;
		/* Never more than it is: those bytes are not there. */
		if (cqe[i]->res > answer.res)
			cqe[i]->res = answer.res;
	}
	return n;
}

static int answered(int op, int res, unsigned count, unsigned char *p)
{
	int rc;

	answer.res = res;
	answer.left = count;
	answer.seen = 0;
	rc = run(d, op, 4096, 4096, p);
	CHECK_EQ(answer.left, 0);
	return rc;
}

/* Read and written, with so many answers of that kind before the right ones */
static void both(int res, unsigned count, int want)
{
	memset(out, (int)(count + 1), 4096);
	CHECK_EQ(answered(VIO_BLK_WRITE, res, count, out), want);
	CHECK_EQ(answered(VIO_BLK_WRITE, 0, 0, out), VIO_OK);
	memset(in, 0, 4096);
	CHECK_EQ(answered(VIO_BLK_READ, res, count, in), want);
	CHECK_EQ(answered(VIO_BLK_READ, 0, 0, in), VIO_OK);
	CHECK_MEMEQ(in, out, 4096);
}

TEST("the ring says less, again, nothing or no: as with system calls", "")
{
	struct loop loop;

	begin_with(0, BLKDEV_AIO_URING);
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
	answered(VIO_BLK_WRITE, 0, 0, out);
	if (!answer.seen) {
		d->ops->detach(d, 0);
		end();
		loop_fini(&loop);
		SKIP("needs liburing as a shared library");
	}
	/* The page cache is asked before the ring: not to be relied on. */
	vio_container_of(d, struct file, dev)->queues[0].cache_off = true;
	both(512, 1, VIO_OK);
	both(1000, 3, VIO_OK);
	both(-EAGAIN, 1, VIO_OK);
	both(-EINTR, FILE_TRIES_MAX - 1, VIO_OK);
	both(-EAGAIN, FILE_TRIES_MAX, VIO_E_IO);
	both(-EIO, 1, VIO_E_IO);
	both(-ENOSPC, 1, VIO_E_IO);
	both(0, 1, VIO_E_IO);
	d->ops->detach(d, 0);
	end();
	loop_fini(&loop);
}

static int write_fua(void)
{
	struct request r;

	request_init(&r, VIO_BLK_WRITE, 0, 512, out);
	r.io.flags = VIO_BLK_FUA;
	return request_run(d, &r);
}

TEST("after a sync that failed, no later one claims to have succeeded",
     "blk.device.device-operation.11")
{
	for (unsigned i = 0; i < 2; i++) {
		begin(0);
		set_fault(EIO, 1, 1);
		CHECK_EQ(i ? write_fua() :
			 run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_E_IO);
		CHECK_EQ(run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_E_IO);
		CHECK_EQ(write_fua(), VIO_E_IO);
		/* What asks for no durability goes on. */
		CHECK_EQ(run(d, VIO_BLK_WRITE, 0, 512, out), VIO_OK);
		CHECK_EQ(run(d, VIO_BLK_READ, 0, 512, in), VIO_OK);
		end();
	}
	/* Nothing was left behind by these. */
	begin(0);
	set_fault(EFAULT, 1, 1);
	CHECK_EQ(write_fua(), VIO_E_IO);
	set_fault(ENOSPC, 1, 1);
	CHECK_EQ(write_fua(), VIO_E_IO);
	CHECK_EQ(write_fua(), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	end();
}

TEST("FUA is durable before it is done", "")
{
	struct request r;

	begin(0);
	request_init(&r, VIO_BLK_WRITE, 0, 512, out);
	r.io.flags = VIO_BLK_FUA;
	CHECK_EQ(request_run(d, &r), VIO_OK);
	CHECK_EQ(fault.last_flags, RWF_DSYNC);
	request_init(&r, VIO_BLK_WRITE_ZEROES, 0, 512, NULL);
	r.io.flags = VIO_BLK_FUA;
	fault.syncs = 0;
	CHECK_EQ(request_run(d, &r), VIO_OK);
	CHECK_EQ(fault.syncs, 1);
	end();
}

static void zeroes_are_written(bool unmap)
{
	struct request r;

	memset(out, 0xa5, sizeof(out));
	CHECK_EQ(run(d, VIO_BLK_WRITE, 0, sizeof(out), out), VIO_OK);
	request_init(&r, VIO_BLK_WRITE_ZEROES, 512, 7168, NULL);
	r.io.flags = unmap ? VIO_BLK_UNMAP : 0;
	CHECK_EQ(request_run(d, &r), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, sizeof(in), in), VIO_OK);
	memset(out + 512, 0, 7168);
	CHECK_MEMEQ(in, out, sizeof(in));
}

TEST("zeroes are written by hand where nothing better exists", "")
{
	begin(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	CHECK_EQ(d->conf.max_discard_sectors, 0);
	CHECK(!d->conf.write_zeroes_may_unmap);
	zeroes_are_written(false);
	zeroes_are_written(true);
	/* Remembered: not asked again. */
	fault.last_mode = 0;
	zeroes_are_written(false);
	CHECK_EQ(fault.last_mode, 0);
	/* And by small steps. */
	fault.most = 100;
	zeroes_are_written(false);
	end();
}

TEST("zeroes do not deallocate unless they may", "")
{
	begin(FALLOC_FL_ZERO_RANGE);
	zeroes_are_written(false);
	CHECK_EQ(fault.last_mode & FALLOC_FL_PUNCH_HOLE, 0);
	zeroes_are_written(true);
	CHECK(fault.last_mode & FALLOC_FL_PUNCH_HOLE);
	end();
}

TEST("storage that hangs is not waited for without end", "")
{
	struct request r;
	struct loop loop;

	begin_with(0, BLKDEV_AIO_THREADS);
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
	blkdev_drain_limit(1);
	atomic_store(&fault.hang, true);
	request_init(&r, VIO_BLK_READ, 0, 4096, in);
	d->ops->io.submit(d, &r.io);
	d->ops->io.commit(d, 0);
	d->ops->io.drain(d, 0);
	CHECK_EQ(r.done, 0);
	/* Who gave up once does not wait again. */
	for (unsigned i = 0; i < 1000; i++)
		d->ops->io.drain(d, 0);
	CHECK_EQ(r.done, 0);
	/* It comes back after all. */
	atomic_store(&fault.hang, false);
	blkdev_drain_limit(30);
	d->ops->io.drain(d, 0);
	CHECK_EQ(r.done, 1);
	d->ops->detach(d, 0);
	end();
	loop_fini(&loop);
}

TEST("zones on storage that hangs are not waited for without end", "")
{
	const struct blkdev_zoned_conf conf = {
		.zone_sectors = 256, .num_queues = 1, .queue_size = 4,
	};
	struct blkdev *zones;
	struct request r;
	struct loop loop;

	begin_with(0, BLKDEV_AIO_THREADS);
	CHECK_EQ(blkdev_zoned_open(&zones, d, &conf), 0);
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(zones->ops->attach(zones, 0, &loop), 0);
	CHECK_EQ(run(zones, VIO_BLK_WRITE, 0, 4096, in), VIO_OK);
	blkdev_drain_limit(1);
	atomic_store(&fault.hang, true);
	request_init(&r, VIO_BLK_READ, 0, 4096, in);
	zones->ops->io.submit(zones, &r.io);
	zones->ops->io.commit(zones, 0);
	for (unsigned i = 0; i < 100; i++)
		zones->ops->io.drain(zones, 0);
	CHECK_EQ(r.done, 0);
	atomic_store(&fault.hang, false);
	blkdev_drain_limit(30);
	zones->ops->io.drain(zones, 0);
	CHECK_EQ(r.done, 1);
	zones->ops->detach(zones, 0);
	d = zones;
	end();
	loop_fini(&loop);
}
