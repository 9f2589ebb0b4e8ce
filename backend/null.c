/* SPDX-License-Identifier: MIT */
/* The disk without storage: measures everything around it. */
#include <errno.h>
#include <stdlib.h>

#include "backend/blkdev.h"

static void null_submit(void *backend, struct vio_blk_io *io)
{
	(void)backend;
	io->done(io, VIO_OK);
}

static void null_commit(void *backend, unsigned queue)
{
	(void)backend;
	(void)queue;
}

static void null_close(struct blkdev *d)
{
	free(d);
}

static const struct blkdev_ops null_ops = {
	.io = { .submit = null_submit, .commit = null_commit },
	.close = null_close,
};

int blkdev_null_open(struct blkdev **d, uint64_t size)
{
	struct blkdev *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->ops = &null_ops;
	n->engine = "null";
	n->conf.capacity_sectors = size / 512;
	n->conf.max_discard_sectors = 1u << 22;
	n->conf.max_discard_seg = VIO_BLK_RANGES_MAX;
	n->conf.discard_sector_alignment = 8;
	n->conf.max_write_zeroes_sectors = 1u << 22;
	n->conf.max_write_zeroes_seg = VIO_BLK_RANGES_MAX;
	n->conf.write_zeroes_may_unmap = true;
	*d = n;
	return 0;
}
