/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the block device behind any ring, with a back end that is
 * prompt or late, as a bit of the input says.
 */
#include "ring.h"

#include <vireo/blk.h>

#include <stdlib.h>
#include <string.h>

#define SECTORS	8u
#define ZONE	2u
#define PENDING	16u

struct disk {
	unsigned char data[SECTORS * 512];
	struct vio_blk_io *pending[PENDING];
	unsigned nr;
	bool late;
};

static void move(struct disk *d, struct vio_blk_io *io)
{
	uint64_t at = io->offset;
	unsigned i;

	for (i = 0; i < io->nr_seg; i++) {
		if (io->op == VIO_BLK_READ)
			memcpy(io->seg[i].base, d->data + at, io->seg[i].len);
		else
			memcpy(d->data + at, io->seg[i].base, io->seg[i].len);
		at += io->seg[i].len;
	}
}

/* The device must never ask for what is not there. */
static void execute(struct disk *d, struct vio_blk_io *io)
{
	if (io->offset > sizeof(d->data) ||
	    io->len > sizeof(d->data) - io->offset)
		abort();
	if (io->op <= VIO_BLK_WRITE || io->op == VIO_BLK_ZONE_APPEND)
		move(d, io);
	else
		memset(d->data + io->offset, 0, io->len);
	io->done(io, io->offset == 1024 ? VIO_E_IO : VIO_OK);
}

static bool step(void *ctx)
{
	struct disk *d = ctx;

	if (!d->nr)
		return false;
	execute(d, d->pending[--d->nr]);
	return true;
}

static void submit(void *ctx, struct vio_blk_io *io)
{
	struct disk *d = ctx;

	if (!d->late) {
		execute(d, io);
		return;
	}
	if (d->nr == PENDING)
		abort();
	d->pending[d->nr++] = io;
}

static void commit(void *ctx, unsigned queue)
{
	(void)ctx;
	(void)queue;
}

static void drain(void *ctx, unsigned queue)
{
	(void)queue;
	while (step(ctx))
		;
}

static unsigned zone_report(void *ctx, uint64_t sector,
			    struct vio_blk_zone *z, unsigned max)
{
	unsigned n;

	(void)ctx;
	for (n = 0; n < max && sector < SECTORS; n++) {
		z[n] = (struct vio_blk_zone){
			.start = sector & ~(uint64_t)(ZONE - 1),
			.capacity = ZONE, .type = VIRTIO_BLK_ZT_SWP,
		};
		sector = z[n].start + ZONE;
	}
	return n;
}

static int wear(void *ctx, struct vio_blk_wear *w)
{
	(void)ctx;
	*w = (struct vio_blk_wear){ 1, 2, 12 };
	return VIO_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_blk_backend_ops ops = {
		.submit = submit, .commit = commit, .drain = drain,
		.zone_report = zone_report, .wear = wear,
	};
	struct vio_blk_conf conf = {
		.capacity_sectors = SECTORS, .seg_max = 4, .in_order = true,
		.max_discard_sectors = 4, .max_discard_seg = 2,
		.max_write_zeroes_sectors = 4, .max_write_zeroes_seg = 2,
		.write_zeroes_may_unmap = true, .serial = "fuzz",
		.max_secure_erase_sectors = 4, .max_secure_erase_seg = 2,
		.secure_erase_sector_alignment = ZONE, .lifetime = true,
		.zones = { VIRTIO_BLK_Z_HA, ZONE, 1, 2, 2, 512 },
	};
	struct fuzz_ring f;
	struct vio_blk blk;
	struct disk d;

	if (size < 2)
		return 0;
	memset(&d, 0, sizeof(d));
	d.late = data[0] >> 6 & 1;
	conf.zoned = data[0] >> 7;
	fuzz_ring_init(&f, 1, vio_blk_ctx_size);
	if (vio_blk_init(&blk, &conf, f.queue, &ops, &d, NULL) == VIO_OK)
		fuzz_ring_run(&f, &blk.dev, 0, data, size, step, &d);
	return 0;
}
