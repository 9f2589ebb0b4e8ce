/* SPDX-License-Identifier: MIT */
/*
 * The zones of a zoned device, passed on. The device below does what it is
 * asked for and says no more than that something failed; the standard wants to
 * know why. So the zones are followed here, by the rules of zones.h: each
 * request is judged before it is sent, and where the device does otherwise, it
 * is asked how the zone stands now. A report is the device's own word.
 *
 * What changes a zone that must be written in sequence stands in that zone's
 * line, and the first alone is at the device: an append finds its place, a
 * write its write pointer. Resetting all waits until no line moves.
 *
 * A write that a program died over is sent again, and may be on the device.
 * In zones that held data when the disk was opened, what starts below the
 * write pointer is therefore compared. An append is not: nobody was told of
 * the place that the first one had, so it finds another.
 *
 * It is a back end among others: it knows no ring, no guest and no ioctl.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backend/blkdev.h"
#include "backend/drain.h"
#include "backend/zones_ask.h"
#include "host/clock.h"
#include "host/log.h"

#define APPEND_MAX_SECTORS	2048u

struct host_zones;

struct hio {
	struct vio_blk_io io;	/* for the device */
	struct vio_blk_io *up;
	struct host_zones *dev;
	struct hio *next;	/* free, or behind it in its zone's line */
	struct hio *next_ready;
	struct zone_write write;
	struct zone_check check;
	void *rest;		/* what a write's second part needs, or NULL */
};

/* The first one is at the device, or about to be. */
struct line {
	struct hio *first, *last;
};

struct host_queue {
	struct host_zones *dev;
	struct loop *loop;
	struct hio *all, *free;		/* the queue's thread's */
	unsigned busy;			/* of them */
	unsigned index;
	bool running;			/* its ready ones are being started */
	struct zone_checker checker;
	/* At the head of their lines, and to be started; under the lock. */
	struct line ready;
	struct loop_call call;
	bool called;
};

struct host_zones {
	struct blkdev dev;
	struct blkdev *below;
	unsigned nr_queues;
	struct host_queue *queues;

	pthread_mutex_t lock;		/* of what follows */
	pthread_cond_t moved;		/* something is ready */
	struct zones zones;
	struct line *lines;		/* of each zone */
	struct line all;		/* those that reset all zones */
	uint32_t nr_started;		/* in the lines, and ready or started */
	struct blkdev_patience patience;
	atomic_bool inherited;		/* the states are still to be read */
	bool lost;			/* and could not be */
};

static struct host_zones *self(void *backend)
{
	return vio_container_of(backend, struct host_zones, dev);
}

static struct host_queue *queue_of(const struct hio *h)
{
	return &h->dev->queues[h->up->queue];
}

static uint32_t zone_of(const struct hio *h)
{
	return (uint32_t)(h->up->offset / 512 /
			  h->dev->zones.conf.zone_sectors);
}

static bool is_write(const struct hio *h)
{
	return h->up->op == VIO_BLK_WRITE || h->up->op == VIO_BLK_ZONE_APPEND;
}

/* -- one request ----------------------------------------------------------- */

static struct hio *borrow(struct host_queue *q, struct vio_blk_io *up)
{
	struct hio *h = q->free;

	if (!h)
		return NULL;
	q->free = h->next;
	q->busy++;
	h->io = *up;
	h->up = up;
	h->dev = q->dev;
	h->next = h->next_ready = NULL;
	return h;
}

static void finish(struct hio *h, int result)
{
	struct host_queue *q = queue_of(h);
	struct vio_blk_io *up = h->up;

	h->next = q->free;
	q->free = h;
	q->busy--;
	up->done(up, result);
}

static void pass_on(struct hio *h,
		    void (*done)(struct vio_blk_io *io, int result))
{
	struct blkdev *below = h->dev->below;

	h->io.done = done;
	below->ops->io.submit(below, &h->io);
}

static void plain_done(struct vio_blk_io *io, int result)
{
	finish(vio_container_of(io, struct hio, io), result);
}

/* -- what the device says -------------------------------------------------- */

/*
 * A request failed that should not have, by what is known of its zone. Ask,
 * and say why. @h: the one in its zone that is under way.
 */
static int look_again(struct hio *h, int result)
{
	struct host_zones *z = h->dev;
	uint32_t index = zone_of(h);
	struct zone *g = &z->zones.zone[index];
	const struct zone_write *w = &h->write;
	struct vio_blk_zone told;

	if (!z->below->ops->io.zone_report(z->below, g->start, &told, 1))
		return result;
	pthread_mutex_lock(&z->lock);
	zones_adopt(&z->zones, index, &told);
	pthread_mutex_unlock(&z->lock);
	if (result != VIO_E_IO)
		return result;
	if (told.state == VIRTIO_BLK_ZS_OFFLINE ||
	    told.state == VIRTIO_BLK_ZS_RDONLY)
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	/* Somebody else writes there. */
	if (h->up->op == VIO_BLK_WRITE && told.type == VIRTIO_BLK_ZT_SWR &&
	    (told.wp < w->sector || told.wp > w->sector + w->nr))
		return VIRTIO_BLK_S_ZONE_UNALIGNED_WP;
	return result;
}

/* -- lines ----------------------------------------------------------------- */

static void ready_push(struct host_queue *q, struct hio *h)
{
	h->next_ready = NULL;
	if (q->ready.last)
		q->ready.last->next_ready = h;
	else
		q->ready.first = h;
	q->ready.last = h;
}

static struct hio *ready_pop(struct host_queue *q)
{
	struct hio *h = q->ready.first;

	if (h)
		q->ready.first = h->next_ready;
	if (!q->ready.first)
		q->ready.last = NULL;
	return h;
}

static void line_push(struct line *l, struct hio *h)
{
	h->next = NULL;
	if (l->last)
		l->last->next = h;
	else
		l->first = h;
	l->last = h;
}

static void line_pop(struct line *l)
{
	l->first = l->first->next;
	if (!l->first)
		l->last = NULL;
}

/*
 * It is its turn: its own queue's thread starts it. Under the lock. @here: the
 * queue whose thread this is, which looks by itself.
 */
static void make_ready(struct hio *h, const struct host_queue *here)
{
	struct host_queue *q = queue_of(h);

	h->dev->nr_started++;
	ready_push(q, h);
	if (q == here)
		return;
	if (!q->called && q->loop) {
		q->called = true;
		loop_post(q->loop, &q->call);
	}
	pthread_cond_broadcast(&h->dev->moved);
}

/* Under the lock: all zones were reset, or nobody waits for that any more. */
static void move_all(struct host_zones *z, const struct host_queue *here)
{
	if (z->all.first) {
		make_ready(z->all.first, here);
		return;
	}
	for (uint32_t i = 0; i < z->zones.nr; i++)
		if (z->lines[i].first)
			make_ready(z->lines[i].first, here);
}

/* @h was at its line's head and is done. Under the lock. */
static void leave(struct hio *h)
{
	struct host_zones *z = h->dev;
	bool all = h->up->op == VIO_BLK_ZONE_RESET_ALL;
	struct line *l = all ? &z->all : &z->lines[zone_of(h)];

	z->nr_started--;
	line_pop(l);
	if (all || (z->all.first && !z->nr_started))
		move_all(z, queue_of(h));
	else if (l->first && !z->all.first)
		make_ready(l->first, queue_of(h));
}

/* Under the lock. */
static void enter(struct hio *h)
{
	struct host_zones *z = h->dev;
	bool all = h->up->op == VIO_BLK_ZONE_RESET_ALL;
	struct line *l = all ? &z->all : &z->lines[zone_of(h)];

	line_push(l, h);
	if (l->first == h && (all ? !z->nr_started : !z->all.first))
		make_ready(h, queue_of(h));
}

/* -- what stands in lines -------------------------------------------------- */

static void line_done(struct hio *h, int result)
{
	struct host_zones *z = h->dev;

	pthread_mutex_lock(&z->lock);
	leave(h);
	pthread_mutex_unlock(&z->lock);
	free(h->rest);
	h->rest = NULL;
	finish(h, result);
}

/* Under the lock: may it be done now? It counts as done, then. */
static int judge(struct hio *h)
{
	struct zones *z = &h->dev->zones;
	const struct vio_blk_io *up = h->up;

	if (h->dev->lost)
		return VIO_E_IO;
	if (is_write(h))
		return zones_begin(z, up->offset / 512, up->len / 512,
				   up->op == VIO_BLK_ZONE_APPEND, &h->write);
	if (up->op == VIO_BLK_ZONE_RESET_ALL) {
		zones_reset_all(z);
		return VIO_OK;
	}
	return zones_manage(z, up->op, up->offset / 512);
}

static void run_ready(struct host_queue *q);

/* The device is through with the first of a line. */
static void line_io_done(struct vio_blk_io *io, int result)
{
	struct hio *h = vio_container_of(io, struct hio, io);
	struct host_zones *z = h->dev;
	struct host_queue *q = queue_of(h);

	pthread_mutex_lock(&z->lock);
	if (is_write(h))
		zones_end(&z->zones, &h->write, result == VIO_OK);
	else if (result != VIO_OK && h->up->op == VIO_BLK_ZONE_RESET_ALL)
		z->lost = zones_ask_all(&z->zones, z->below, false) != 0;
	pthread_mutex_unlock(&z->lock);
	if (result != VIO_OK && h->up->op != VIO_BLK_ZONE_RESET_ALL)
		result = look_again(h, result);
	if (h->up->op == VIO_BLK_ZONE_APPEND)
		h->up->offset = h->write.sector * 512;
	line_done(h, result);
	run_ready(q);
}

/* The device holds the first part of it: the rest goes where that ends. */
static int start_rest(struct hio *h)
{
	struct host_zones *z = h->dev;
	int rc;

	h->rest = zones_cut(&h->io, h->check.len);
	if (!h->rest)
		return VIO_E_IO;
	pthread_mutex_lock(&z->lock);
	rc = zones_begin(&z->zones, h->io.offset / 512, h->io.len / 512, false,
			 &h->write);
	pthread_mutex_unlock(&z->lock);
	if (rc == VIO_OK)
		pass_on(h, line_io_done);
	return rc;
}

/* Nothing else was done to its zone meanwhile: it is first in line. */
static void checked(struct zone_check *c, int result)
{
	struct hio *h = vio_container_of(c, struct hio, check);
	struct host_queue *q = queue_of(h);

	if (result == VIO_OK && c->len < h->up->len) {
		result = start_rest(h);
		if (result == VIO_OK)
			return;
	}
	line_done(h, result);
	run_ready(q);
}

static void start(struct hio *h)
{
	struct host_zones *z = h->dev;
	const struct zone *g = &z->zones.zone[zone_of(h)];
	bool again;
	int rc;

	pthread_mutex_lock(&z->lock);
	again = !z->lost && zones_check_wanted(&z->zones, h->up, &h->check);
	rc = again ? VIO_OK : judge(h);
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK) {
		line_done(h, rc);
		return;
	}
	if (again) {
		h->check.done = checked;
		zones_check(&queue_of(h)->checker, &h->check);
		return;
	}
	if (is_write(h)) {
		h->io.op = VIO_BLK_WRITE;
		h->io.offset = h->write.sector * 512;
	} else if (h->up->op == VIO_BLK_ZONE_RESET_ALL) {
		h->io.offset = 0;
		h->io.len = z->zones.conf.disk * 512;
	} else {
		h->io.len = g->size * 512;
	}
	pass_on(h, line_io_done);
}

/* One after another, however deep the stack is that brings them. */
static void run_ready(struct host_queue *q)
{
	struct hio *h;

	if (q->running)
		return;
	q->running = true;
	for (;;) {
		pthread_mutex_lock(&q->dev->lock);
		h = ready_pop(q);
		pthread_mutex_unlock(&q->dev->lock);
		if (!h)
			break;
		start(h);
	}
	q->running = false;
}

static void stand_in_line(struct hio *h)
{
	struct host_queue *q = queue_of(h);

	pthread_mutex_lock(&h->dev->lock);
	enter(h);
	pthread_mutex_unlock(&h->dev->lock);
	run_ready(q);
}

static void on_ready(void *ctx)
{
	struct host_queue *q = ctx;
	struct blkdev_batch *b = &q->dev->dev.batch;

	pthread_mutex_lock(&q->dev->lock);
	q->called = false;
	pthread_mutex_unlock(&q->dev->lock);
	if (b->begin)
		b->begin(b->ctx, q->index);
	run_ready(q);
	q->dev->below->ops->io.commit(q->dev->below, q->index);
	if (b->end)
		b->end(b->ctx, q->index);
}

/* -- what does not --------------------------------------------------------- */

/* blk.device.device-operation.34 */
static void read_done(struct vio_blk_io *io, int result)
{
	struct hio *h = vio_container_of(io, struct hio, io);
	struct blkdev *below = h->dev->below;
	struct vio_blk_zone told;

	if (result == VIO_E_IO &&
	    below->ops->io.zone_report(below, io->offset / 512, &told, 1) &&
	    told.state == VIRTIO_BLK_ZS_OFFLINE)
		result = VIRTIO_BLK_S_ZONE_INVALID_CMD;
	finish(h, result);
}

static void do_read(struct hio *h)
{
	struct host_zones *z = h->dev;
	int rc;

	pthread_mutex_lock(&z->lock);
	rc = zones_check_read(&z->zones, h->io.offset / 512, h->io.len / 512);
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK)
		finish(h, rc);
	else
		pass_on(h, read_done);
}

static void free_write_done(struct vio_blk_io *io, int result)
{
	struct hio *h = vio_container_of(io, struct hio, io);
	struct host_zones *z = h->dev;

	pthread_mutex_lock(&z->lock);
	zones_end(&z->zones, &h->write, result == VIO_OK);
	pthread_mutex_unlock(&z->lock);
	finish(h, result);
}

/* Of zones that can be written anywhere, in any order. */
static void do_free_write(struct hio *h)
{
	struct host_zones *z = h->dev;
	int rc;

	pthread_mutex_lock(&z->lock);
	rc = judge(h);
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK)
		finish(h, rc);
	else
		pass_on(h, free_write_done);
}

/* -- the back end ---------------------------------------------------------- */

/*
 * The first request of all: who had the disk before has stopped, and its zones
 * stand as the device says.
 */
static void catch_up(struct host_zones *z)
{
	pthread_mutex_lock(&z->lock);
	if (atomic_load(&z->inherited))
		z->lost = zones_ask_all(&z->zones, z->below, true) != 0;
	atomic_store(&z->inherited, false);
	pthread_mutex_unlock(&z->lock);
}

static bool allowed(const struct host_zones *z, const struct vio_blk_io *up)
{
	uint64_t end = z->zones.conf.disk * 512;

	if (up->op == VIO_BLK_FLUSH)
		return true;
	return up->offset < end && up->len <= end - up->offset &&
	       (up->op == VIO_BLK_READ || !z->dev.conf.read_only);
}

static void host_submit(void *backend, struct vio_blk_io *up)
{
	struct host_zones *z = self(backend);
	struct hio *h = borrow(&z->queues[up->queue], up);

	if (vio_unlikely(atomic_load_explicit(&z->inherited,
					      memory_order_acquire)))
		catch_up(z);
	if (!h) {
		up->done(up, VIO_E_IO);
		return;
	}
	if (!allowed(z, up)) {
		finish(h, VIO_E_IO);
		return;
	}
	if (up->op == VIO_BLK_READ)
		do_read(h);
	else if (up->op >= VIO_BLK_ZONE_OPEN ||
		 (up->op == VIO_BLK_WRITE &&
		  z->zones.zone[zone_of(h)].type == VIRTIO_BLK_ZT_SWR))
		stand_in_line(h);
	else if (up->op == VIO_BLK_WRITE)
		do_free_write(h);
	else
		pass_on(h, plain_done);
}

static void host_commit(void *backend, unsigned queue)
{
	struct host_zones *z = self(backend);

	z->below->ops->io.commit(z->below, queue);
}

/*
 * What is left may stand behind another queue's requests. That queue's thread
 * sees to them; if it is this one, we do.
 */
static void drain_neighbours(struct host_queue *q)
{
	struct host_zones *z = q->dev;
	struct blkdev *below = z->below;

	for (unsigned i = 0; i < z->nr_queues; i++) {
		struct host_queue *n = &z->queues[i];

		if (n->loop != q->loop || !n->busy)
			continue;
		run_ready(n);
		below->ops->io.commit(below, i);
		if (below->ops->io.drain)
			below->ops->io.drain(below, i);
	}
}

static void wait_ready(struct host_queue *q, uint64_t end)
{
	const struct timespec t = {
		.tv_sec = (time_t)(end / NS_PER_S),
		.tv_nsec = (long)(end % NS_PER_S),
	};
	struct host_zones *z = q->dev;

	pthread_mutex_lock(&z->lock);
	while (!q->ready.first &&
	       !pthread_cond_clockwait(&z->moved, &z->lock, CLOCK_MONOTONIC,
				       &t))
		;
	pthread_mutex_unlock(&z->lock);
}

static void host_drain(void *backend, unsigned queue)
{
	struct host_zones *z = self(backend);
	struct host_queue *q = &z->queues[queue];
	uint64_t end = blkdev_drain_end(&z->patience);

	while (q->busy) {
		drain_neighbours(q);
		if (q->busy)
			wait_ready(q, end);
		if (q->busy && clock_ns() >= end) {
			blkdev_drain_failed(&z->patience, q->busy);
			return;
		}
	}
}

static unsigned host_report(void *backend, uint64_t sector,
			    struct vio_blk_zone *out, unsigned max)
{
	struct host_zones *z = self(backend);

	return z->below->ops->io.zone_report(z->below, sector, out, max);
}

static int host_wear(void *backend, struct vio_blk_wear *wear)
{
	struct host_zones *z = self(backend);

	return z->below->ops->io.wear(z->below, wear);
}

/* -- life ------------------------------------------------------------------ */

static int host_attach(struct blkdev *d, unsigned queue, struct loop *loop)
{
	struct host_zones *z = self(d);
	struct host_queue *q = &z->queues[queue];

	q->call = (struct loop_call){ .fn = on_ready, .ctx = q };
	z->below->batch = d->batch;
	pthread_mutex_lock(&z->lock);
	q->called = false;
	q->loop = loop;
	pthread_mutex_unlock(&z->lock);
	return z->below->ops->attach ?
		z->below->ops->attach(z->below, queue, loop) : 0;
}

static void host_detach(struct blkdev *d, unsigned queue)
{
	struct host_zones *z = self(d);
	struct host_queue *q = &z->queues[queue];
	struct loop *loop = q->loop;

	if (z->below->ops->detach)
		z->below->ops->detach(z->below, queue);
	pthread_mutex_lock(&z->lock);
	q->loop = NULL;
	pthread_mutex_unlock(&z->lock);
	loop_call_cancel(loop, &q->call);
}

static void host_memory(struct blkdev *d, void *base, size_t len, bool huge,
			bool add)
{
	struct blkdev *below = self(d)->below;

	if (below->ops->memory)
		below->ops->memory(below, base, len, huge, add);
}

static void host_close(struct blkdev *d)
{
	struct host_zones *z = self(d);

	zones_fini(&z->zones);
	for (unsigned i = 0; z->queues && i < z->nr_queues; i++) {
		zones_checker_fini(&z->queues[i].checker);
		free(z->queues[i].all);
	}
	free(z->queues);
	free(z->lines);
	pthread_mutex_destroy(&z->lock);
	pthread_cond_destroy(&z->moved);
	if (z->below)
		blkdev_close(z->below);
	free(z);
}

static const struct blkdev_ops host_ops = {
	.io = { .submit = host_submit, .commit = host_commit,
		.drain = host_drain, .zone_report = host_report,
		.wear = host_wear },
	.attach = host_attach,
	.detach = host_detach,
	.memory = host_memory,
	.close = host_close,
};

static int make_queues(struct host_zones *z,
		       const struct blkdev_host_zones_conf *conf)
{
	z->nr_queues = conf->num_queues;
	z->queues = calloc(conf->num_queues, sizeof(*z->queues));
	if (!z->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->num_queues; i++) {
		struct host_queue *q = &z->queues[i];

		q->dev = z;
		q->index = i;
		zones_checker_init(&q->checker, z->below, i);
		q->all = calloc(conf->queue_size, sizeof(*q->all));
		if (!q->all)
			return -ENOMEM;
		for (unsigned k = 0; k < conf->queue_size; k++) {
			q->all[k].next = q->free;
			q->free = &q->all[k];
		}
	}
	return 0;
}

/* The disk as it is from now on, once its zones are known. */
static void fill_conf(struct host_zones *z)
{
	struct vio_blk_conf *c = &z->dev.conf;
	uint64_t append = APPEND_MAX_SECTORS;
	bool aware = false;

	for (uint32_t i = 0; i < z->zones.nr; i++) {
		const struct zone *g = &z->zones.zone[i];

		aware |= g->type == VIRTIO_BLK_ZT_SWP;
		if (g->type == VIRTIO_BLK_ZT_SWR && g->capacity < append)
			append = g->capacity;
	}
	c->zones.model = aware ? VIRTIO_BLK_Z_HA : VIRTIO_BLK_Z_HM;
	c->zones.max_append_sectors = aware ? 0 : (uint32_t)append;
	if (aware) {
		c->zones.max_active = 0;
	} else {
		c->max_discard_sectors = c->max_discard_seg = 0;
		c->max_write_zeroes_sectors = c->max_write_zeroes_seg = 0;
		c->write_zeroes_may_unmap = false;
	}
	z->zones.conf.model = c->zones.model;
	z->zones.conf.max_active = c->zones.max_active;
}

static int open_zones(struct host_zones *z)
{
	const struct vio_blk_conf *c = &z->dev.conf;
	const struct zones_conf zc = {
		.model = VIRTIO_BLK_Z_HM,
		.disk = c->capacity_sectors,
		.zone_sectors = c->zones.zone_sectors,
		.max_open = c->zones.max_open,
		.max_active = c->zones.max_active,
		.granularity = c->zones.write_granularity,
	};
	int rc = zones_init(&z->zones, &zc);

	if (!rc)
		z->lines = calloc(z->zones.nr, sizeof(*z->lines));
	if (!rc && !z->lines)
		rc = -ENOMEM;
	if (!rc)
		rc = zones_ask_all(&z->zones, z->below, true);
	if (rc)
		log_err("the zones of the disk cannot be passed on: %s",
			strerror(-rc));
	return rc;
}

int blkdev_host_zones_open(struct blkdev **d, struct blkdev *below,
			   const struct blkdev_host_zones_conf *conf)
{
	struct host_zones *z = calloc(1, sizeof(*z));
	int rc;

	if (!z)
		return -ENOMEM;
	pthread_mutex_init(&z->lock, NULL);
	pthread_cond_init(&z->moved, NULL);
	z->dev.ops = &host_ops;
	z->dev.engine = below->engine;
	z->dev.conf = below->conf;
	z->below = below;
	rc = make_queues(z, conf);
	if (!rc)
		rc = open_zones(z);
	if (rc) {
		z->below = NULL;	/* still the caller's */
		host_close(&z->dev);
		return rc;
	}
	fill_conf(z);
	atomic_store(&z->inherited, conf->inherited);
	*d = &z->dev;
	return 0;
}
