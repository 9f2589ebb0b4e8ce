/* SPDX-License-Identifier: MIT */
/* A disk in memory, see disk.h. */
#include "disk.h"

#include <stdlib.h>

void disk_init(struct disk *d, uint64_t size, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->rand = vtest_rand_init(seed);
	d->size = size;
	d->data = malloc(size);
	CHECK(d->data);
	vtest_fill_much(&d->rand, d->data, size);
}

void disk_fini(struct disk *d)
{
	CHECK_EQ(d->nr_pending, 0);
	free(d->data);
}

static void transfer(struct disk *d, struct vio_blk_io *io)
{
	uint64_t at = io->offset;
	unsigned i;

	for (i = 0; i < io->nr_seg; i++) {
		const struct vio_seg *s = &io->seg[i];

		if (io->op == VIO_BLK_READ)
			memcpy(s->base, d->data + at, s->len);
		else
			memcpy(d->data + at, s->base, s->len);
		at += s->len;
	}
	CHECK_EQ(at - io->offset, io->len);
}

static void execute(struct disk *d, struct vio_blk_io *io)
{
	int result = VIO_OK;

	CHECK_LE(io->offset, d->size);
	CHECK_LE(io->len, d->size - io->offset);
	if (d->fail_one_in && vtest_below(&d->rand, d->fail_one_in) == 0) {
		result = vtest_below(&d->rand, 2) ? VIO_E_IO : VIO_E_UNSUPP;
	} else if (io->op == VIO_BLK_READ || io->op == VIO_BLK_WRITE) {
		transfer(d, io);
	} else if (io->op == VIO_BLK_FLUSH) {
		d->flushes++;
	} else {
		/* Discarded data is undefined; zeroes are a legal kind. */
		memset(d->data + io->offset, 0, io->len);
	}
	io->done(io, result);
}

static void submit(void *ctx, struct vio_blk_io *io)
{
	struct disk *d = ctx;

	if (!d->late) {
		execute(d, io);
		return;
	}
	CHECK_LT(d->nr_pending, DISK_PENDING);
	d->pending[d->nr_pending++] = io;
}

static void commit(void *ctx, unsigned queue)
{
	struct disk *d = ctx;

	(void)queue;
	d->committed++;
}

bool disk_step(void *ctx)
{
	struct disk *d = ctx;
	struct vio_blk_io *io;
	unsigned i = 0;

	if (!d->nr_pending)
		return false;
	if (d->reorder)
		i = (unsigned)vtest_below(&d->rand, d->nr_pending);
	io = d->pending[i];
	memmove(&d->pending[i], &d->pending[i + 1],
		(d->nr_pending - i - 1) * sizeof(d->pending[0]));
	d->nr_pending--;
	execute(d, io);
	return true;
}

static void drain(void *ctx, unsigned queue)
{
	struct disk *d = ctx;
	unsigned i = 0;

	while (i < d->nr_pending) {
		struct vio_blk_io *io = d->pending[i];

		if (io->queue != queue) {
			i++;
			continue;
		}
		memmove(&d->pending[i], &d->pending[i + 1],
			(d->nr_pending - i - 1) * sizeof(d->pending[0]));
		d->nr_pending--;
		execute(d, io);
		/* done() may have submitted more, behind what is there. */
	}
}

const struct vio_blk_backend_ops disk_ops = {
	.submit = submit,
	.commit = commit,
	.drain = drain,
};
