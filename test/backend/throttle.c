/* SPDX-License-Identifier: MIT */
/* Limits hold, for operations and bytes, for the disk and each queue. */
#include "host/clock.h"
#include "test/backend/util.h"

#define QUEUES	3u
#define SLOTS	16u
#define TRY_MS	600u
#define SIZE	(1u << 20)

static unsigned char data[65536];
static struct blkdev *disk;
static struct loop loop;
static struct loop_timer stop;

struct slot {
	struct request r;
	unsigned queue;
};

static struct slot slots[QUEUES][SLOTS];
static unsigned done_ops[QUEUES];
static uint64_t len;
static bool over;
static unsigned stop_at;	/* so many of queue 0 */

static void submit(struct slot *s);

/* Each answer makes room for the next request. */
static void answered(struct vio_blk_io *io, int result)
{
	struct slot *s = vio_container_of(io, struct slot, r.io);

	CHECK_EQ(result, VIO_OK);
	done_ops[s->queue]++;
	if (!over)
		submit(s);
	if (stop_at && done_ops[0] == stop_at)
		loop_stop(&loop);
}

static void submit(struct slot *s)
{
	request_init(&s->r, VIO_BLK_WRITE, 0, len, data);
	s->r.io.queue = (uint16_t)s->queue;
	s->r.io.done = answered;
	disk->ops->io.submit(disk, &s->r.io);
}

static void on_stop(void *ctx)
{
	(void)ctx;
	over = true;
	loop_stop(&loop);
}

static void start(const struct blkdev_limits *l)
{
	struct blkdev *mem;

	CHECK_EQ(blkdev_mem_open(&mem, SIZE, false), 0);
	CHECK_EQ(blkdev_throttle_open(&disk, mem, QUEUES, l), 0);
	CHECK_EQ(loop_init(&loop), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		CHECK_EQ(disk->ops->attach(disk, q, &loop), 0);
}

static void finish(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		disk->ops->io.drain(disk, q);
		disk->ops->detach(disk, q);
	}
	loop_fini(&loop);
	blkdev_close(disk);
}

/* Operations a second, of all that @queues can do; a request has @bytes. */
static double rate(unsigned queues, uint64_t bytes)
{
	uint64_t from = clock_ns(), sum = 0;

	len = bytes;
	over = false;
	memset(done_ops, 0, sizeof(done_ops));
	stop = (struct loop_timer){ .fn = on_stop };
	loop_timer_set(&loop, &stop, TRY_MS * NS_PER_MS);
	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < SLOTS; i++) {
			slots[q][i].queue = q;
			submit(&slots[q][i]);
		}
	}
	CHECK_EQ(loop_run(&loop), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		sum += done_ops[q];
	return (double)sum * 1e9 / (double)(clock_ns() - from);
}

/* Each of @queues has its share, or nearly. */
static bool fair(unsigned queues)
{
	unsigned sum = 0, q;

	for (q = 0; q < queues; q++)
		sum += done_ops[q];
	for (q = 0; q < queues; q++)
		if (done_ops[q] * queues < sum * 0.7 ||
		    done_ops[q] * queues > sum * 1.3)
			return false;
	return true;
}

/*
 * As much as wanted, and never more than that and what was not used a moment
 * before. A machine that is busy with others makes less of one try, and more
 * of the next.
 */
static void check_rate(unsigned queues, uint64_t bytes, double want)
{
	bool good = false;

	for (unsigned tries = 0; tries < 20 && !good; tries++) {
		double is = rate(queues, bytes);

		vtest_note("%.0f a second, %.0f wanted%s", is, want,
			   fair(queues) ? "" : ", not shared fairly");
		CHECK(is < want * (1.05 + 100.0 / TRY_MS));
		good = is > want * 0.95 && is < want * 1.05 && fair(queues);
		for (unsigned q = 0; q < QUEUES; q++)
			disk->ops->io.drain(disk, q);
	}
	CHECK(good);
}

TEST("throttle: operations of the whole disk, shared fairly", "")
{
	start(&(struct blkdev_limits){ .ops = 3000 });
	check_rate(3, 4096, 3000);
	finish();
}

TEST("throttle: bytes of the whole disk", "")
{
	start(&(struct blkdev_limits){ .bytes = 64 << 20 });
	check_rate(2, 65536, (64 << 20) / 65536);
	finish();
}

TEST("throttle: operations and bytes of a queue", "")
{
	start(&(struct blkdev_limits){ .queue_ops = 2000,
				       .queue_bytes = 1 << 30 });
	check_rate(3, 4096, 6000);
	finish();
	start(&(struct blkdev_limits){ .queue_ops = 1000000,
				       .queue_bytes = 16 << 20 });
	check_rate(2, 16384, 2 * (16 << 20) / 16384);
	finish();
}

static void on_change(void *ctx)
{
	(void)ctx;
	blkdev_throttle_set(disk, &(struct blkdev_limits){ .ops = 0 });
}

TEST("throttle: limits change while requests wait", "")
{
	struct loop_timer change = { .fn = on_change };

	start(&(struct blkdev_limits){ .ops = 1 });
	loop_timer_set(&loop, &change, 50 * NS_PER_MS);
	/* 50 ms at one a second, then as fast as memory is. */
	len = 512;
	over = true;		/* no answer submits another */
	memset(done_ops, 0, sizeof(done_ops));
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[0][i].queue = 0;
		submit(&slots[0][i]);
	}
	CHECK_LE(done_ops[0], 2);
	stop = (struct loop_timer){ .fn = on_stop };
	/* Sixteen seconds at the old limit. */
	loop_timer_set(&loop, &stop, 10 * NS_PER_S);
	stop_at = SLOTS;
	CHECK_EQ(loop_run(&loop), 0);
	stop_at = 0;
	CHECK_EQ(done_ops[0], SLOTS);
	finish();
}

TEST("throttle: limits that change as a queue goes are nobody's", "")
{
	start(&(struct blkdev_limits){ .queue_ops = 1 });
	blkdev_throttle_set(disk, &(struct blkdev_limits){ .ops = 1 });
	for (unsigned q = 0; q < QUEUES; q++)
		disk->ops->detach(disk, q);
	/* These had nobody to tell. */
	blkdev_throttle_set(disk, &(struct blkdev_limits){ .ops = 2 });
	CHECK(!loop.posted && !loop.calls);
	blkdev_close(disk);
	loop_fini(&loop);
}

TEST("throttle: a queue that stops does not wait, and loses nothing", "")
{
	start(&(struct blkdev_limits){ .queue_ops = 1 });
	len = 512;
	over = true;
	memset(done_ops, 0, sizeof(done_ops));
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[1][i].queue = 1;
		submit(&slots[1][i]);
	}
	CHECK_LE(done_ops[1], 2);
	disk->ops->io.drain(disk, 1);
	CHECK_EQ(done_ops[1], SLOTS);
	finish();
}
