/* SPDX-License-Identifier: MIT */
/* An entropy device in the machine: the wiring of device and source. */
#include <errno.h>
#include <stdlib.h>
#include <vireo/rng.h>

#include "backend/entropy.h"
#include "host/log.h"
#include "vmm/devices.h"

struct dev_rng {
	struct dev dev;
	struct vio_rng rng;
	struct entropy source;
	struct vio_queue *queue;
};

static struct dev_rng *self(const struct dev *d)
{
	return vio_container_of(d, struct dev_rng, dev);
}

static size_t fill(void *source, void *dst, size_t len)
{
	return entropy_fill(source, dst, len);
}

static const struct vio_rng_source_ops source_ops = { .fill = fill };

static void ready(void *ctx)
{
	struct dev_rng *r = ctx;

	vio_rng_ready(&r->rng);
}

static int rng_start(struct dev *d)
{
	struct dev_rng *r = self(d);

	return entropy_start(&r->source, &d->worker.loop, ready, r);
}

static void rng_stop(struct dev *d)
{
	entropy_stop(&self(d)->source);
}

static void rng_stats(const struct dev *d, struct stats_values *v)
{
	const struct dev_rng *r = self(d);

	v->requests = r->queue->stats.requests;
	v->bytes_read = r->rng.bytes;
}

static void rng_close(struct dev *d)
{
	struct dev_rng *r = self(d);

	daemon_queues_free(r->queue);
	entropy_close(&r->source);
	free(r);
}

static const struct daemon_feature features[] = { { 0, NULL } };

static const struct dev_type rng_type = {
	.name = "rng", .features = features, .start = rng_start,
	.stop = rng_stop, .stats = rng_stats, .close = rng_close,
};

int dev_rng_open(struct dev **d, const char *stats)
{
	const struct vio_queue_limits limits = {
		.size_max = 256, .seg_max = 64, .ctx_size = vio_rng_ctx_size,
	};
	struct dev_rng *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	err = entropy_open(&r->source, NULL);
	if (err) {
		free(r);
		return err;
	}
	r->queue = daemon_queues_make(&r->rng.dev, 1, &limits);
	err = r->queue && !vio_rng_init(&r->rng, r->queue, &source_ops,
					&r->source) ? 0 : -ENOMEM;
	if (err) {
		rng_close(&r->dev);
		return err;
	}
	err = dev_open(&r->dev, &rng_type, &r->rng.dev, stats);
	if (err)
		dev_close(&r->dev);
	else
		*d = &r->dev;
	return err;
}
