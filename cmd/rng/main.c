/* SPDX-License-Identifier: MIT */
/*
 * vireo-rng: an entropy device behind a vhost-user socket. Here lies only the
 * wiring: options, source, device.
 */
#include <errno.h>
#include <string.h>
#include <vireo/rng.h>

#include "backend/entropy.h"
#include "host/daemon.h"
#include "host/log.h"

struct rng {
	struct vio_rng dev;
	struct entropy source;
	struct vio_queue *queue;
};

static const char *source_path;

static const struct opt options[] = {
	{ .name = "source", .type = OPT_STRING, .to = &source_path,
	  .arg = "FILE",
	  .help = "Take the random bytes from this file or device; by default from the kernel.",
	},
	{ 0 }
};

static const char *const capabilities[] = { NULL };
static const struct daemon_feature features[] = { { 0, NULL } };
static const char *const syscalls[] = { NULL };

static size_t fill(void *source, void *dst, size_t len)
{
	return entropy_fill(source, dst, len);
}

static const struct vio_rng_source_ops source_ops = { .fill = fill };

static void rng_close(struct daemon *d)
{
	struct rng *r = d->ctx;

	daemon_queues_free(r->queue);
	entropy_close(&r->source);
}

static int rng_open(struct daemon *d)
{
	const struct vio_queue_limits limits = {
		.size_max = 1024, .seg_max = 64, .ctx_size = vio_rng_ctx_size,
	};
	struct rng *r = d->ctx;
	int rc;

	rc = entropy_open(&r->source, source_path);
	if (rc)
		return rc;
	r->queue = daemon_queues_make(&r->dev.dev, 1, &limits);
	if (!r->queue || vio_rng_init(&r->dev, r->queue, &source_ops,
				      &r->source)) {
		rng_close(d);
		return -ENOMEM;
	}
	d->dev = &r->dev.dev;
	return 0;
}

static void ready(void *ctx)
{
	struct rng *r = ctx;

	vio_rng_ready(&r->dev);
}

static int rng_start(struct daemon *d)
{
	struct rng *r = d->ctx;
	int rc = entropy_start(&r->source, &d->main->loop, ready, r);

	if (rc)
		log_err("cannot watch the source: %s", strerror(-rc));
	return rc;
}

static void rng_stop(struct daemon *d)
{
	struct rng *r = d->ctx;

	entropy_stop(&r->source);
}

static void rng_stats(struct daemon *d, struct stats_values *v)
{
	struct rng *r = d->ctx;

	v->requests = r->queue->stats.requests;
	v->bytes_read = r->dev.bytes;
}

static const struct daemon_type rng_type = {
	.program = "vireo-rng",
	.summary = "Serve a virtio entropy device.",
	.device = "rng",
	.capabilities = capabilities,
	.opts = options,
	.features = features,
	.syscalls = syscalls,
	.heritable = true,
	.open = rng_open,
	.start = rng_start,
	.stop = rng_stop,
	.close = rng_close,
	.stats = rng_stats,
};

int main(int argc, char **argv)
{
	static struct rng rng;

	return daemon_main(&rng_type, &rng, argc, argv);
}
