/* SPDX-License-Identifier: MIT */
/* A disk in the machine: the wiring of device and storage. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/blk.h>

#include "backend/blkdev.h"
#include "host/log.h"
#include "vmm/devices.h"

enum {
	QUEUE_SIZE = 256,
	SEG_MAX = 254,		/* what a ring of that size has room for */
};

struct dev_blk {
	struct dev dev;
	struct vio_blk blk;
	struct blkdev *disk;
	struct vio_queue *queues;
	struct vio_blk_stats *stats;
	unsigned num_queues, attached;
};

static struct dev_blk *self(const struct dev *d)
{
	return vio_container_of(d, struct dev_blk, dev);
}

static void batch_begin(void *ctx, unsigned queue)
{
	struct dev_blk *b = ctx;

	vio_queue_hold(&b->queues[queue]);
}

static void batch_end(void *ctx, unsigned queue)
{
	struct dev_blk *b = ctx;

	vio_queue_release(&b->queues[queue]);
}

static int blk_start(struct dev *d)
{
	struct dev_blk *b = self(d);
	int err;

	if (!b->disk->ops->attach)
		return 0;
	for (; b->attached < b->num_queues; b->attached++) {
		err = b->disk->ops->attach(b->disk, b->attached,
					   &d->worker.loop);
		if (err) {
			log_err("cannot start the disk: %s", strerror(-err));
			return err;
		}
	}
	return 0;
}

static void blk_stop(struct dev *d)
{
	struct dev_blk *b = self(d);

	for (unsigned i = 0; i < b->num_queues; i++)
		if (b->disk->ops->io.drain)
			b->disk->ops->io.drain(b->disk, i);
	while (b->attached)
		b->disk->ops->detach(b->disk, --b->attached);
}

static void blk_stats(const struct dev *d, struct stats_values *v)
{
	const struct dev_blk *b = self(d);

	for (unsigned i = 0; i < b->num_queues; i++) {
		const struct vio_blk_stats *s = &b->stats[i];

		v->requests += s->reads + s->writes + s->flushes + s->others;
		v->bytes_read += s->bytes_read;
		v->bytes_written += s->bytes_written;
		v->errors += s->errors;
	}
}

static void blk_close(struct dev *d)
{
	struct dev_blk *b = self(d);

	if (b->disk)
		blkdev_close(b->disk);
	daemon_queues_free(b->queues);
	free(b->stats);
	free(b);
}

#define FEATURE(name) { VIRTIO_BLK_F_ ## name, "VIRTIO_BLK_F_" #name }

static const struct daemon_feature features[] = {
	FEATURE(SIZE_MAX), FEATURE(SEG_MAX), FEATURE(GEOMETRY), FEATURE(RO),
	FEATURE(BLK_SIZE), FEATURE(FLUSH), FEATURE(TOPOLOGY),
	FEATURE(CONFIG_WCE), FEATURE(MQ), FEATURE(DISCARD),
	FEATURE(WRITE_ZEROES), FEATURE(ZONED), { 0, NULL }
};

static const struct dev_type blk_type = {
	.name = "block", .features = features, .start = blk_start,
	.stop = blk_stop, .stats = blk_stats, .close = blk_close,
};

static int make_device(struct dev_blk *b, const struct dev_blk_conf *c)
{
	/* A segment that crosses the hole in memory counts twice. */
	const struct vio_queue_limits limits = {
		.size_max = QUEUE_SIZE, .seg_max = 2 * SEG_MAX + 8,
		.ctx_size = vio_blk_ctx_size,
	};
	struct vio_blk_conf *conf = &b->disk->conf;

	b->queues = daemon_queues_make(&b->blk.dev, b->num_queues, &limits);
	b->stats = calloc(b->num_queues, sizeof(*b->stats));
	if (!b->queues || !b->stats)
		return -ENOMEM;
	conf->seg_max = SEG_MAX;
	conf->num_queues = (uint16_t)b->num_queues;
	memcpy(conf->serial, "vireo", 5);
	b->disk->batch = (struct blkdev_batch){ batch_begin, batch_end, b };
	if (vio_blk_init(&b->blk, conf, b->queues, &b->disk->ops->io,
			 b->disk, b->stats)) {
		log_err("the block device refuses the geometry of %s",
			c->path);
		return -EINVAL;
	}
	return 0;
}

int dev_blk_open(struct dev **d, const struct dev_blk_conf *c)
{
	const struct blkdev_file_conf conf = {
		.path = c->path, .read_only = c->read_only,
		.direct = c->direct, .num_queues = c->num_queues,
		.queue_size = QUEUE_SIZE,
	};
	const struct blkdev_host_zones_conf zones = {
		.num_queues = c->num_queues, .queue_size = QUEUE_SIZE,
	};
	struct dev_blk *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->num_queues = c->num_queues;
	err = blkdev_file_open(&b->disk, &conf);
	if (!err && b->disk->conf.zoned)
		err = blkdev_host_zones_open(&b->disk, b->disk, &zones);
	if (!err)
		err = make_device(b, c);
	if (err) {
		blk_close(&b->dev);
		return err;
	}
	err = dev_open(&b->dev, &blk_type, &b->blk.dev, c->stats);
	if (err)
		dev_close(&b->dev);
	else
		*d = &b->dev;
	return err;
}
