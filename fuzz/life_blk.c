/* SPDX-License-Identifier: MIT */
/* The block device against a hostile driver and storage that takes time. */
#include "fuzz/guest.h"

#include <vireo/blk.h>

#define SECTORS		64
#define PENDING		64

struct storage {
	struct vio_blk blk;
	bool read_only;
	bool late;
	struct vio_blk_io *pending[PENDING];
	unsigned nr;
	unsigned sum;
};

/* Touch each byte of the payload, so that a sanitizer looks at it. */
static void touch(struct storage *s, const struct vio_blk_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->nr_seg; i++) {
		unsigned char *p = io->seg[i].base;

		sum += io->seg[i].len;
		if (io->op == VIO_BLK_READ)
			memset(p, 0xa5, io->seg[i].len);
		else
			for (size_t k = 0; k < io->seg[i].len; k++)
				s->sum += p[k];
	}
	must(sum == io->len, "segments and length agree");
}

static void finish(struct storage *s, unsigned i, int result)
{
	struct vio_blk_io *io = s->pending[i];

	s->pending[i] = s->pending[--s->nr];
	if (result == VIO_OK &&
	    (io->op == VIO_BLK_READ || io->op == VIO_BLK_WRITE))
		touch(s, io);
	io->done(io, result);
}

static void submit(void *ctx, struct vio_blk_io *io)
{
	struct storage *s = ctx;
	const uint64_t end = (uint64_t)SECTORS * 512;

	must(io->op == VIO_BLK_FLUSH ||
	     (io->offset <= end && io->len <= end - io->offset),
	     "requests stay inside the disk");
	must(io->offset % 512 == 0 && io->len % 512 == 0, "whole sectors");
	must(!s->read_only || io->op == VIO_BLK_READ ||
	     io->op == VIO_BLK_FLUSH, "a read-only disk is not changed");
	must(s->nr < PENDING, "no more requests than ring entries");
	s->pending[s->nr++] = io;
	if (!s->late)
		finish(s, s->nr - 1, VIO_OK);
}

static void commit(void *ctx, unsigned queue)
{
	(void)ctx;
	must(queue == 0, "commit names the queue");
}

static void drain(void *ctx, unsigned queue)
{
	struct storage *s = ctx;

	(void)queue;
	while (s->nr)
		finish(s, 0, VIO_OK);
}

static void host_step(void *ctx, uint8_t how)
{
	static const int results[] = { VIO_OK, VIO_OK, VIO_E_IO,
				       VIO_E_UNSUPP };
	struct storage *s = ctx;

	s->late = how & 1;
	if (s->nr)
		finish(s, (how >> 3) % s->nr, results[how >> 1 & 3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_blk_backend_ops ops = {
		.submit = submit, .commit = commit, .drain = drain,
	};
	struct vio_blk_conf conf = {
		.capacity_sectors = SECTORS, .seg_max = 8,
		.max_discard_sectors = 32, .max_discard_seg = 4,
		.discard_sector_alignment = 1,
		.max_write_zeroes_sectors = 32, .max_write_zeroes_seg = 4,
		.write_zeroes_may_unmap = true, .in_order = true,
		.serial = "fuzz",
	};
	struct storage s = { 0 };
	struct guest g;

	conf.read_only = size && data[0] & 0x80;
	s.read_only = conf.read_only;
	guest_init(&g, data, size, 1, vio_blk_ctx_size);
	must(vio_blk_init(&s.blk, &conf, g.queue, &ops, &s, NULL) == VIO_OK,
	     "the device can be made");
	g.host_step = host_step;
	g.host_ctx = &s;
	guest_run(&g, &s.blk.dev);
	must(s.nr == 0, "storage has nothing left");
	return 0;
}
