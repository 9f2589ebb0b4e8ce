/* SPDX-License-Identifier: MIT */
/*
 * A queue that stops and need not wait: what is not begun comes back, and
 * nothing of it is written after that; the rest is finished.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/file.h"
#include "test/backend/util.h"

#define BLOCK	4096u
#define MOST	64u
#define ROUNDS	50u

static char path[64];
static struct blkdev *d;
static struct loop loop;
static struct request r[2][MOST];
static unsigned char data[2][MOST][BLOCK];

static void begin(struct blkdev *disk)
{
	d = disk;
	CHECK_EQ(loop_init(&loop), 0);
	for (unsigned q = 0; q < 2; q++)
		CHECK_EQ(d->ops->attach(d, q, &loop), 0);
}

static void end(void)
{
	for (unsigned q = 0; q < 2; q++)
		d->ops->detach(d, q);
	blkdev_close(d);
	loop_fini(&loop);
}

/* Each has a block of the disk and says which, and in which round. */
static void submit(unsigned q, unsigned n, unsigned round, uint8_t flags)
{
	for (unsigned i = 0; i < n; i++) {
		memset(data[q][i], (int)(1 + i + 16 * q + round), BLOCK);
		request_init(&r[q][i], VIO_BLK_WRITE, (q * MOST + i) * BLOCK,
			     BLOCK, data[q][i]);
		r[q][i].io.queue = (uint16_t)q;
		r[q][i].io.flags = flags;
		d->ops->io.submit(d, &r[q][i].io);
	}
	d->ops->io.commit(d, q);
}

/* How many of a queue's came back. Each was done once, or not begun. */
static unsigned stop(unsigned q, unsigned n)
{
	unsigned left = 0;

	d->ops->io.leave(d, q);
	d->ops->io.drain(d, q);
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(r[q][i].done, 1);
		CHECK(r[q][i].result == VIO_OK ||
		      r[q][i].result == VIO_E_AGAIN);
		left += r[q][i].result == VIO_E_AGAIN;
	}
	return left;
}

static bool is_written(unsigned q, unsigned i)
{
	static unsigned char got[BLOCK];

	CHECK_EQ(run(d, VIO_BLK_READ, (q * MOST + i) * BLOCK, BLOCK, got),
		 VIO_OK);
	return !memcmp(got, data[q][i], BLOCK);
}

static void check_blocks(unsigned q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(is_written(q, i), r[q][i].result == VIO_OK);
}

TEST("leave: what a limit holds back comes back, in its order", "")
{
	const struct blkdev_limits limits = { .ops = 1 }, none = { 0 };
	struct blkdev *mem, *throttle, *timed;

	CHECK_EQ(blkdev_mem_open(&mem, 2 * MOST * BLOCK, false), 0);
	CHECK_EQ(blkdev_throttle_open(&throttle, mem, 2, &limits), 0);
	CHECK_EQ(blkdev_latency_open(&timed, throttle, 2, MOST), 0);
	begin(timed);
	submit(0, MOST, 0, 0);
	submit(1, MOST, 0, 0);
	CHECK_GE(stop(0, MOST), MOST - 1);
	/* Those that came first were let go. */
	for (unsigned i = 1; i < MOST; i++)
		CHECK(r[0][i - 1].result == VIO_OK ||
		      r[0][i].result == VIO_E_AGAIN);
	/* The other queue's still wait. */
	CHECK_EQ(r[1][MOST - 1].done, 0);
	d->ops->io.drain(d, 1);
	for (unsigned i = 0; i < MOST; i++)
		CHECK_EQ(r[1][i].result, VIO_OK);
	blkdev_throttle_set(throttle, &none);
	check_blocks(0, MOST);
	check_blocks(1, MOST);
	/* And the queue can go on. */
	submit(0, MOST, 1, 0);
	CHECK_EQ(stop(0, MOST), 0);
	check_blocks(0, MOST);
	end();
}

/* -- a pool whose threads hang --------------------------------------------- */

static atomic_bool hang;
static atomic_uint begun;

static ssize_t slow_writev(int fd, const struct iovec *iov, int n, off_t off,
			   int flags)
{
	(void)flags;
	atomic_fetch_add(&begun, 1);
	while (atomic_load(&hang))
		usleep(100);
	return pwritev(fd, iov, n, off);
}

static void *let_go(void *arg)
{
	(void)arg;
	/* Not before it is waited for, most of the time. */
	usleep(10000);
	atomic_store(&hang, false);
	return NULL;
}

static void open_file(enum blkdev_aio aio, const struct file_sys *sys)
{
	struct blkdev_file_conf conf = {
		.path = path, .aio = aio, .num_queues = 2,
		.queue_size = MOST, .sys = sys,
	};
	struct blkdev *file;

	make_image(path, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
		   2 * MOST * BLOCK);
	CHECK_EQ(blkdev_file_open(&file, &conf), 0);
	begin(file);
}

TEST("leave: what no thread has begun comes back, the rest is waited for", "")
{
	struct file_sys sys = file_sys_linux;
	pthread_t thread;

	sys.writev = slow_writev;
	open_file(BLKDEV_AIO_THREADS, &sys);
	atomic_store(&hang, true);
	submit(0, MOST, 0, 0);
	submit(1, MOST, 0, 0);
	while (atomic_load(&begun) < 16)
		usleep(100);
	d->ops->io.leave(d, 0);
	CHECK_EQ(pthread_create(&thread, NULL, let_go, NULL), 0);
	/* All threads there are have requests of the first queue. */
	CHECK_EQ(stop(0, MOST), MOST - 16);
	CHECK(!atomic_load(&hang));
	d->ops->io.drain(d, 1);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	check_blocks(0, MOST);
	check_blocks(1, MOST);
	submit(0, MOST, 1, 0);
	d->ops->io.drain(d, 0);
	for (unsigned i = 0; i < MOST; i++)
		CHECK_EQ(r[0][i].result, VIO_OK);
	check_blocks(0, MOST);
	end();
	unlink(path);
}

/*
 * The kernel begins durable writes one after the other on many file systems,
 * and can be had to forget those that wait.
 */
TEST("leave: what the kernel has not begun comes back, and is not written", "")
{
	unsigned left = 0, round;

	open_file(BLKDEV_AIO_AUTO, NULL);
	if (strcmp(d->engine, "io_uring")) {
		end();
		unlink(path);
		SKIP("needs io_uring, and a folder that is not in memory");
	}
	for (round = 0; round < ROUNDS && left < MOST; round++) {
		submit(0, MOST, round, VIO_BLK_FUA);
		left += stop(0, MOST);
		check_blocks(0, MOST);
	}
	vtest_note("%u of %u came back", left, round * MOST);
	/* Another queue's, and all of them, are not touched. */
	submit(0, MOST, round, VIO_BLK_FUA);
	submit(1, MOST, round, VIO_BLK_FUA);
	stop(0, MOST);
	d->ops->io.drain(d, 1);
	for (unsigned i = 0; i < MOST; i++)
		CHECK_EQ(r[1][i].result, VIO_OK);
	check_blocks(0, MOST);
	check_blocks(1, MOST);
	end();
	unlink(path);
	if (!left)
		SKIP("needs a file system that does not begin all at once");
}
