/* SPDX-License-Identifier: MIT */
/* A device and its thread: see dev.h. */
#include "vmm/dev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/log.h"

enum {
	BUDGET = 16,		/* requests taken at a time */
};

/* -- service of queues, on the device's thread --------------------------- */

static struct vio_queue *vio_queue_of(const struct dev_queue *q)
{
	return &q->dev->vio->queue[q->index];
}

static void serve(void *ctx)
{
	struct dev_queue *q = ctx;
	enum vio_service r;

	r = vio_queue_service(vio_queue_of(q), BUDGET);
	q->waiting = r == VIO_SERVICE_WAIT;
	if (r == VIO_SERVICE_MORE)
		loop_defer(&q->dev->worker.loop, &q->again);
}

/* While the loop polls, kicks stay off: the driver need not notify. */
static bool poll_queue(void *ctx)
{
	struct dev_queue *q = ctx;
	struct vio_queue *vq = vio_queue_of(q);

	if (q->waiting || vq->state != VIO_QUEUE_RUNNING ||
	    !(vio_dev_status(q->dev->vio) & VIRTIO_STATUS_DRIVER_OK) ||
	    !vio_queue_pending(vq))
		return false;
	q->waiting = vio_queue_poll(vq, BUDGET) == VIO_SERVICE_WAIT;
	q->kicks_off = true;
	return true;
}

/* Turn kicks on, and work at what came before that. */
static bool before_sleep(void *ctx)
{
	struct dev_queue *q = ctx;
	struct vio_queue *vq = vio_queue_of(q);
	uint16_t before;

	if (!q->kicks_off || vq->state != VIO_QUEUE_RUNNING)
		return false;
	q->kicks_off = false;
	before = vio_queue_avail_base(vq);
	serve(q);
	return vio_queue_avail_base(vq) != before;
}

static const struct loop_poller_ops poller_ops = {
	.poll = poll_queue, .sleep = before_sleep,
};

static void on_kick(void *ctx, uint32_t events)
{
	struct dev_queue *q = ctx;
	uint64_t n;

	(void)events;
	if (read(q->kick, &n, sizeof(n)) < 0)
		return;
	/* The device may have asked for this itself. */
	q->waiting = false;
	/* A driver may reset its device before it switches off. */
	if (vio_dev_status(q->dev->vio) & VIRTIO_STATUS_DRIVER_OK)
		q->dev->agreed = q->dev->vio->driver.w[0];
	if (!poll_queue(q))
		serve(q);
}

void dev_kick(struct dev *d, unsigned queue)
{
	uint64_t one = 1;

	if (d->type->kicked) {
		d->type->kicked(d, queue);
		return;
	}
	/* Full means: it is signalled already. */
	while (write(d->queue[queue].kick, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

void dev_run(struct dev *d, void (*fn)(void *arg), void *arg)
{
	/* Without its thread, before and after a run, it is the caller's. */
	if (d->running)
		worker_run(&d->worker, fn, arg);
	else
		fn(arg);
}

/* -- life cycle ---------------------------------------------------------- */

static int open_queues(struct dev *d)
{
	unsigned n = d->vio->nr_queues, i;

	d->queue = calloc(n, sizeof(*d->queue));
	if (!d->queue)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		d->queue[i].kick = -1;
	for (i = 0; i < n; i++) {
		struct dev_queue *q = &d->queue[i];

		q->dev = d;
		q->index = i;
		q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (q->kick < 0)
			return -errno;
		q->watch = (struct loop_fd){ q->kick, on_kick, q };
		q->again = (struct loop_call){ .fn = serve, .ctx = q };
		q->poller.ops = &poller_ops;
		q->poller.ctx = q;
	}
	return 0;
}

int dev_open(struct dev *d, const struct dev_type *type, struct vio_dev *vio,
	     const char *stats_path)
{
	int err;

	d->type = type;
	d->vio = vio;
	err = open_queues(d);
	if (err) {
		log_err("no descriptors for the %s device: %s", type->name,
			strerror(-err));
		return err;
	}
	return stats_open(&d->stats, stats_path, type->name);
}

void dev_close(struct dev *d)
{
	if (d->stats.device)
		stats_close(&d->stats);
	for (unsigned i = 0; d->queue && i < d->vio->nr_queues; i++)
		if (d->queue[i].kick >= 0)
			close(d->queue[i].kick);
	free(d->queue);
	d->type->close(d);
}

struct start {
	struct dev *dev;
	int err;
};

static void start_here(void *arg)
{
	struct start *s = arg;
	struct dev *d = s->dev;
	struct loop *l = &d->worker.loop;

	loop_poll_limit(l, LOOP_POLL_DEFAULT_NS);
	if (d->type->start)
		s->err = d->type->start(d);
	if (d->type->kicked)
		return;
	for (unsigned i = 0; i < d->vio->nr_queues && !s->err; i++) {
		s->err = loop_fd_add(l, &d->queue[i].watch, EPOLLIN);
		if (!s->err)
			loop_poller_add(l, &d->queue[i].poller);
	}
}

int dev_start(struct dev *d)
{
	struct start s = { .dev = d };
	int err = worker_start(&d->worker, d->type->name);

	if (err) {
		log_err("no thread for the %s device: %s", d->type->name,
			strerror(-err));
		return err;
	}
	d->running = true;
	dev_run(d, start_here, &s);
	return s.err;
}

static void write_stats(const struct dev *d)
{
	const char *names[DAEMON_NAMES_MAX + 1];
	struct stats_values v = { 0 };

	if (!d->type->stats)
		return;
	daemon_names_of(d->type->features, d->agreed, names);
	d->type->stats(d, &v);
	stats_write((struct stats *)&d->stats, &v, names);
}

static void stop_here(void *arg)
{
	struct dev *d = arg;
	struct loop *l = &d->worker.loop;

	write_stats(d);
	for (unsigned i = 0; i < d->vio->nr_queues && !d->type->kicked; i++) {
		loop_fd_del(l, &d->queue[i].watch);
		loop_poller_del(l, &d->queue[i].poller);
	}
	vio_dev_set_status(d->vio, 0);
	if (d->type->stop)
		d->type->stop(d);
}

void dev_stop(struct dev *d)
{
	if (!d->running)
		return;
	dev_run(d, stop_here, d);
	worker_stop(&d->worker);
	d->running = false;
}
