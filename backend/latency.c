/* SPDX-License-Identifier: MIT */
/*
 * A disk whose requests are timed, from being submitted to being done: for
 * each queue, how many took up to which time. It changes nothing of them, and
 * is not there where nobody wants to know.
 *
 * A queue's numbers are written by its thread alone, and read by any.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/blkdev.h"
#include "host/clock.h"

/* Bucket i: up to 2^(i + FIRST) microseconds; the last one: any time. */
#define FIRST		3u
#define BUCKETS		22u	/* 8 us to 8.4 s, and all */

struct timed {
	struct vio_blk_io io;	/* for the disk below */
	struct vio_blk_io *up;
	struct timed_queue *queue;
	uint64_t since_ns;
	struct timed *next;	/* of those that are free */
};

struct timed_queue {
	uint64_t nr[BUCKETS];	/* atomic, as is the sum */
	uint64_t sum_ns;
	struct timed *free;
	struct timed *slots;
};

struct latency {
	struct blkdev dev;
	struct blkdev *below;
	unsigned nr_queues;
	struct timed_queue queue[];
};

static struct latency *latency_of(void *backend)
{
	return vio_container_of(backend, struct latency, dev);
}

static unsigned bucket_of(uint64_t ns)
{
	uint64_t us = (ns + 999) / 1000;
	unsigned i = 0;

	while (i < BUCKETS - 1 && us > 1ull << (i + FIRST))
		i++;
	return i;
}

/* One thread writes. */
static void add(uint64_t *to, uint64_t n)
{
	__atomic_store_n(to, *to + n, __ATOMIC_RELAXED);
}

static void timed_done(struct vio_blk_io *io, int result)
{
	struct timed *t = vio_container_of(io, struct timed, io);
	struct timed_queue *q = t->queue;
	uint64_t ns = clock_ns() - t->since_ns;
	struct vio_blk_io *up = t->up;

	if (vio_likely(result != VIO_E_AGAIN)) {
		add(&q->nr[bucket_of(ns)], 1);
		add(&q->sum_ns, ns);
	}
	/* A zone append says where it went. */
	up->offset = io->offset;
	t->next = q->free;
	q->free = t;
	up->done(up, result);
}

static void latency_submit(void *backend, struct vio_blk_io *io)
{
	struct latency *l = latency_of(backend);
	struct timed_queue *q = &l->queue[io->queue];
	struct timed *t = q->free;

	/* More at a time than a ring has: that is not timed. */
	if (vio_unlikely(!t)) {
		l->below->ops->io.submit(l->below, io);
		return;
	}
	q->free = t->next;
	t->io = *io;
	t->io.done = timed_done;
	t->up = io;
	t->queue = q;
	t->since_ns = clock_ns();
	l->below->ops->io.submit(l->below, &t->io);
}

static void latency_commit(void *backend, unsigned queue)
{
	struct latency *l = latency_of(backend);

	l->below->ops->io.commit(l->below, queue);
}

static void latency_drain(void *backend, unsigned queue)
{
	struct latency *l = latency_of(backend);

	if (l->below->ops->io.drain)
		l->below->ops->io.drain(l->below, queue);
}

static void latency_leave(void *backend, unsigned queue)
{
	struct latency *l = latency_of(backend);

	if (l->below->ops->io.leave)
		l->below->ops->io.leave(l->below, queue);
}

static unsigned latency_report(void *backend, uint64_t sector,
			       struct vio_blk_zone *zone, unsigned max)
{
	struct latency *l = latency_of(backend);

	return l->below->ops->io.zone_report(l->below, sector, zone, max);
}

static int latency_wear(void *backend, struct vio_blk_wear *wear)
{
	struct latency *l = latency_of(backend);

	return l->below->ops->io.wear(l->below, wear);
}

/* -- what it found --------------------------------------------------------- */

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void tell_queue(const struct timed_queue *q, unsigned index,
		       struct text *out)
{
	const char *name = "vireo_storage_seconds";
	uint64_t nr = 0, us = load(&q->sum_ns) / 1000;

	for (unsigned i = 0; i < BUCKETS; i++) {
		unsigned long long le = 1ull << (i + FIRST);

		nr += load(&q->nr[i]);
		text_fmt(out, "%s_bucket{queue=\"%u\",le=\"", name, index);
		if (i < BUCKETS - 1)
			text_fmt(out, "%llu.%06llu", le / 1000000,
				 le % 1000000);
		else
			text_fmt(out, "+Inf");
		text_fmt(out, "\"} %llu\n", (unsigned long long)nr);
	}
	text_fmt(out, "%s_count{queue=\"%u\"} %llu\n", name, index,
		 (unsigned long long)nr);
	text_fmt(out, "%s_sum{queue=\"%u\"} %llu.%06llu\n", name, index,
		 (unsigned long long)(us / 1000000),
		 (unsigned long long)(us % 1000000));
}

void blkdev_latency_tell(struct blkdev *d, struct text *out)
{
	struct latency *l = latency_of(d);

	text_fmt(out, "# TYPE vireo_storage_seconds histogram\n"
		 "# UNIT vireo_storage_seconds seconds\n"
		 "# HELP vireo_storage_seconds Times from a request's start to its end, in the storage.\n");
	for (unsigned i = 0; i < l->nr_queues; i++)
		tell_queue(&l->queue[i], i, out);
}

/* -- life ------------------------------------------------------------------ */

static int latency_attach(struct blkdev *d, unsigned queue, struct loop *loop)
{
	struct latency *l = latency_of(d);

	l->below->batch = d->batch;
	return l->below->ops->attach ?
		l->below->ops->attach(l->below, queue, loop) : 0;
}

static void latency_detach(struct blkdev *d, unsigned queue)
{
	struct latency *l = latency_of(d);

	if (l->below->ops->detach)
		l->below->ops->detach(l->below, queue);
}

static int latency_resize(struct blkdev *d, uint64_t *sectors)
{
	struct latency *l = latency_of(d);

	if (!l->below->ops->resize) {
		*sectors = d->conf.capacity_sectors;
		return 0;
	}
	return l->below->ops->resize(l->below, sectors);
}

static void latency_free(struct latency *l)
{
	for (unsigned i = 0; i < l->nr_queues; i++)
		free(l->queue[i].slots);
	free(l);
}

static void latency_close(struct blkdev *d)
{
	struct latency *l = latency_of(d);

	blkdev_close(l->below);
	latency_free(l);
}

static const struct blkdev_ops latency_ops = {
	.io = { .submit = latency_submit, .commit = latency_commit,
		.drain = latency_drain, .leave = latency_leave,
		.zone_report = latency_report,
		.wear = latency_wear },
	.attach = latency_attach,
	.detach = latency_detach,
	.resize = latency_resize,
	.close = latency_close,
};

int blkdev_latency_open(struct blkdev **d, struct blkdev *below,
			unsigned num_queues, unsigned queue_size)
{
	struct latency *l = calloc(1, sizeof(*l) +
				   num_queues * sizeof(l->queue[0]));

	if (!l)
		return -ENOMEM;
	l->dev.ops = &latency_ops;
	l->dev.engine = below->engine;
	l->dev.conf = below->conf;
	l->below = below;
	l->nr_queues = num_queues;
	for (unsigned i = 0; i < num_queues; i++) {
		struct timed_queue *q = &l->queue[i];

		q->slots = calloc(queue_size, sizeof(*q->slots));
		if (!q->slots) {
			latency_free(l);
			return -ENOMEM;
		}
		for (unsigned s = 0; s < queue_size; s++) {
			q->slots[s].next = q->free;
			q->free = &q->slots[s];
		}
	}
	*d = &l->dev;
	return 0;
}
