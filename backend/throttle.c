/* SPDX-License-Identifier: MIT */
/*
 * A disk that is held to so many operations and bytes a second, as a whole
 * and per queue. It holds back requests before the disk below sees them, in
 * the order they came; it knows nothing of what they do.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "backend/blkdev.h"
#include "host/bucket.h"

#define BURST_NS	(100 * NS_PER_MS)

struct throttle;

struct throttle_queue {
	struct throttle *throttle;
	struct loop *loop;
	unsigned index;
	struct bucket ops, bytes;	/* under the lock */
	/* Held back; the queue's thread's, linked by their scratch. */
	struct vio_blk_io *first, **last;
	struct loop_timer timer;
	struct loop_call call;
	bool called;			/* under the lock */
};

struct throttle {
	struct blkdev dev;
	struct blkdev *below;
	pthread_mutex_t lock;
	struct bucket ops, bytes;	/* of all queues */
	unsigned waiting;		/* queues that hold requests back */
	bool limited;			/* any rate at all; atomic */
	unsigned nr_queues;
	struct throttle_queue queue[];
};

static struct throttle *throttle_of(void *backend)
{
	return vio_container_of(backend, struct throttle, dev);
}

static struct vio_blk_io **next_of(struct vio_blk_io *io)
{
	return (struct vio_blk_io **)(void *)io->scratch;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Under the lock. 0: admitted; else how long to wait. */
static uint64_t admit(struct throttle_queue *q, const struct vio_blk_io *io)
{
	struct throttle *t = q->throttle;
	struct bucket *b[] = { &t->ops, &q->ops, &t->bytes, &q->bytes };
	uint64_t now = clock_ns(), wait = 0;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(b); i++)
		wait = longer(wait, bucket_wait(b[i], now));
	for (unsigned i = 0; i < VIO_ARRAY_LEN(b) && !wait; i++)
		bucket_take(b[i], now, i < 2 ? 1 :
			    io->op == VIO_BLK_FLUSH ? 0 : io->len);
	return wait;
}

/* -- requests -------------------------------------------------------------- */

static void pass(struct throttle *t, struct vio_blk_io *io)
{
	t->below->ops->io.submit(t->below, io);
}

static struct vio_blk_io *take_first(struct throttle_queue *q)
{
	struct vio_blk_io *io = q->first;

	q->first = *next_of(io);
	if (!q->first)
		q->last = &q->first;
	return io;
}

/*
 * Let go what may go. Where other queues wait too, one at a time, so that
 * each of them has its turn. Returns how long to wait, 0 if nothing is left.
 */
static uint64_t release(struct throttle_queue *q)
{
	struct throttle *t = q->throttle;
	uint64_t wait = 0;

	while (q->first && !wait) {
		bool others;

		pthread_mutex_lock(&t->lock);
		wait = admit(q, q->first);
		others = t->waiting > 1;
		pthread_mutex_unlock(&t->lock);
		if (!wait) {
			pass(t, take_first(q));
			if (others && q->first)
				wait = 1;
		}
	}
	if (!q->first) {
		pthread_mutex_lock(&t->lock);
		t->waiting--;
		pthread_mutex_unlock(&t->lock);
	}
	return q->first ? wait : 0;
}

static void on_timer(void *ctx)
{
	struct throttle_queue *q = ctx;
	struct throttle *t = q->throttle;
	struct blkdev_batch *b = &t->dev.batch;
	uint64_t wait;

	if (!q->first)
		return;
	if (b->begin)
		b->begin(b->ctx, q->index);
	wait = release(q);
	t->below->ops->io.commit(t->below, q->index);
	if (b->end)
		b->end(b->ctx, q->index);
	if (wait)
		loop_timer_set(q->loop, &q->timer, wait);
}

/* The limits are others now. */
static void on_call(void *ctx)
{
	struct throttle_queue *q = ctx;

	pthread_mutex_lock(&q->throttle->lock);
	q->called = false;
	pthread_mutex_unlock(&q->throttle->lock);
	on_timer(q);
}

static void hold(struct throttle_queue *q, struct vio_blk_io *io,
		 uint64_t wait)
{
	struct throttle *t = q->throttle;

	if (!q->first) {
		pthread_mutex_lock(&t->lock);
		t->waiting++;
		pthread_mutex_unlock(&t->lock);
		loop_timer_set(q->loop, &q->timer, wait);
	}
	*next_of(io) = NULL;
	*q->last = io;
	q->last = next_of(io);
}

static void throttle_submit(void *backend, struct vio_blk_io *io)
{
	struct throttle *t = throttle_of(backend);
	struct throttle_queue *q = &t->queue[io->queue];
	uint64_t wait = 0;

	if (vio_likely(!__atomic_load_n(&t->limited, __ATOMIC_RELAXED) &&
		       !q->first)) {
		pass(t, io);
		return;
	}
	if (!q->first) {
		pthread_mutex_lock(&t->lock);
		/* Those who wait already go first. */
		wait = t->waiting ? 1 : admit(q, io);
		pthread_mutex_unlock(&t->lock);
	}
	if ((q->first || wait) && q->loop)
		hold(q, io, wait);
	else
		pass(t, io);
}

static void throttle_commit(void *backend, unsigned queue)
{
	struct throttle *t = throttle_of(backend);

	t->below->ops->io.commit(t->below, queue);
}

/* A queue that stops does not wait for its turn. */
static void stop_waiting(struct throttle_queue *q)
{
	if (!q->first)
		return;
	pthread_mutex_lock(&q->throttle->lock);
	q->throttle->waiting--;
	pthread_mutex_unlock(&q->throttle->lock);
	loop_timer_cancel(q->loop, &q->timer);
}

static void throttle_drain(void *backend, unsigned queue)
{
	struct throttle *t = throttle_of(backend);
	struct throttle_queue *q = &t->queue[queue];

	do {
		stop_waiting(q);
		while (q->first)
			pass(t, take_first(q));
		throttle_commit(backend, queue);
		if (t->below->ops->io.drain)
			t->below->ops->io.drain(t->below, queue);
	} while (q->first);
}

/* What is held back has not been below. */
static void throttle_leave(void *backend, unsigned queue)
{
	struct throttle *t = throttle_of(backend);
	struct throttle_queue *q = &t->queue[queue];

	stop_waiting(q);
	while (q->first) {
		struct vio_blk_io *io = take_first(q);

		io->done(io, VIO_E_AGAIN);
	}
	if (t->below->ops->io.leave)
		t->below->ops->io.leave(t->below, queue);
}

static unsigned throttle_report(void *backend, uint64_t sector,
				struct vio_blk_zone *zone, unsigned max)
{
	struct throttle *t = throttle_of(backend);

	return t->below->ops->io.zone_report(t->below, sector, zone, max);
}

static int throttle_wear(void *backend, struct vio_blk_wear *wear)
{
	struct throttle *t = throttle_of(backend);

	return t->below->ops->io.wear(t->below, wear);
}

/* -- life ------------------------------------------------------------------ */

static int throttle_attach(struct blkdev *d, unsigned queue,
			   struct loop *loop)
{
	struct throttle *t = throttle_of(d);
	struct throttle_queue *q = &t->queue[queue];

	q->loop = loop;
	q->timer = (struct loop_timer){ .fn = on_timer, .ctx = q };
	q->call = (struct loop_call){ .fn = on_call, .ctx = q };
	t->below->batch = d->batch;
	return t->below->ops->attach ?
		t->below->ops->attach(t->below, queue, loop) : 0;
}

static void throttle_detach(struct blkdev *d, unsigned queue)
{
	struct throttle *t = throttle_of(d);
	struct throttle_queue *q = &t->queue[queue];

	loop_timer_cancel(q->loop, &q->timer);
	/* Under the lock: nobody posts another one to this loop. */
	pthread_mutex_lock(&t->lock);
	loop_call_cancel(q->loop, &q->call);
	q->loop = NULL;
	pthread_mutex_unlock(&t->lock);
	if (t->below->ops->detach)
		t->below->ops->detach(t->below, queue);
}

static int throttle_resize(struct blkdev *d, uint64_t *sectors)
{
	struct throttle *t = throttle_of(d);

	if (!t->below->ops->resize) {
		*sectors = d->conf.capacity_sectors;
		return 0;
	}
	return t->below->ops->resize(t->below, sectors);
}

static void throttle_close(struct blkdev *d)
{
	struct throttle *t = throttle_of(d);

	pthread_mutex_destroy(&t->lock);
	blkdev_close(t->below);
	free(t);
}

static const struct blkdev_ops throttle_ops = {
	.io = { .submit = throttle_submit, .commit = throttle_commit,
		.drain = throttle_drain, .leave = throttle_leave,
		.zone_report = throttle_report,
		.wear = throttle_wear },
	.attach = throttle_attach,
	.detach = throttle_detach,
	.resize = throttle_resize,
	.close = throttle_close,
};

void blkdev_throttle_set(struct blkdev *d, const struct blkdev_limits *l)
{
	struct throttle *t = throttle_of(d);
	uint64_t now = clock_ns();
	bool limited = l->ops || l->bytes || l->queue_ops || l->queue_bytes;

	pthread_mutex_lock(&t->lock);
	bucket_set(&t->ops, l->ops, BURST_NS, now);
	bucket_set(&t->bytes, l->bytes, BURST_NS, now);
	for (unsigned i = 0; i < t->nr_queues; i++) {
		struct throttle_queue *q = &t->queue[i];

		bucket_set(&q->ops, l->queue_ops, BURST_NS, now);
		bucket_set(&q->bytes, l->queue_bytes, BURST_NS, now);
		if (q->loop && !q->called) {
			q->called = true;
			loop_post(q->loop, &q->call);
		}
	}
	__atomic_store_n(&t->limited, limited, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&t->lock);
}

int blkdev_throttle_open(struct blkdev **d, struct blkdev *below,
			 unsigned num_queues, const struct blkdev_limits *l)
{
	struct throttle *t = calloc(1, sizeof(*t) +
				    num_queues * sizeof(t->queue[0]));

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	t->dev.ops = &throttle_ops;
	t->dev.engine = below->engine;
	t->dev.conf = below->conf;
	t->below = below;
	t->nr_queues = num_queues;
	for (unsigned i = 0; i < num_queues; i++) {
		struct throttle_queue *q = &t->queue[i];

		q->throttle = t;
		q->index = i;
		q->last = &q->first;
	}
	blkdev_throttle_set(&t->dev, l);
	*d = &t->dev;
	return 0;
}
