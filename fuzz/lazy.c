/* SPDX-License-Identifier: MIT */
/* See lazy.h. */
#include "fuzz/lazy.h"

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	struct lazy *z = ctx;

	must(z->nr_held < LAZY_QUEUES * LAZY_SIZE,
	     "no more requests than the rings have");
	z->held[z->nr_held++] = io;
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

void lazy_on_line(void *ctx, bool level)
{
	struct lazy *z = ctx;

	must(level != z->line, "the line changes when it is said to");
	z->line = level;
}

void lazy_on_serve(void *ctx, struct vio_queue *q)
{
	struct lazy *z = ctx;

	must(q == &z->queue[q->index], "it is one of our queues");
}

/* -- moves --------------------------------------------------------------- */

void lazy_memory(struct lazy *z)
{
	uint16_t at = bytes_u16(&z->in) % LAZY_RAM;
	uint8_t want = bytes_u8(&z->in);
	const uint8_t *from;
	size_t len = bytes_take(&z->in, want, &from);

	if (len > LAZY_RAM - at)
		len = LAZY_RAM - at;
	if (len)
		memcpy(z->ram + at, from, len);
}

void lazy_serve(struct lazy *z)
{
	vio_queue_service(&z->queue[bytes_u8(&z->in) % LAZY_QUEUES], 8);
}

void lazy_finish(struct lazy *z)
{
	struct vio_blk_io *io;

	if (!z->nr_held)
		return;
	io = z->held[--z->nr_held];
	for (unsigned i = 0; io->op == VIO_BLK_READ && i < io->nr_seg; i++)
		memset(io->seg[i].base, 0x5a, io->seg[i].len);
	io->done(io, VIO_OK);
}

void lazy_resize(struct lazy *z)
{
	vio_blk_resize(&z->blk, bytes_u8(&z->in));
}

void lazy_step(struct lazy *z, lazy_move *const *moves, unsigned nr)
{
	moves[bytes_u8(&z->in) % nr](z);
}

/* -- a life -------------------------------------------------------------- */

void lazy_make(struct lazy *z)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_queue_limits limits = { LAZY_SIZE, 16,
						 vio_blk_ctx_size };
	const struct vio_blk_conf disk = { .capacity_sectors = 64,
		.seg_max = 8, .serial = "fuzz", .num_queues = LAZY_QUEUES };

	z->ram = calloc(1, LAZY_RAM);
	z->region = (struct vio_region){ { 0 }, LAZY_RAM, z->ram, 0,
					 VIO_PERM_RW };
	must(z->ram && vio_mem_init(&z->mem, &z->region, 1) == VIO_OK,
	     "there is memory");
	for (unsigned i = 0; i < LAZY_QUEUES; i++) {
		size_t len = vio_queue_storage_size(&limits);

		z->storage[i] = aligned_alloc(64, (len + 63) / 64 * 64);
		must(z->storage[i] && vio_queue_init(&z->queue[i], NULL,
			(uint16_t)i, &limits, z->storage[i], len) == VIO_OK,
		     "a queue can be made");
	}
	must(vio_blk_init(&z->blk, &disk, z->queue, &be, z, NULL) == VIO_OK,
	     "the disk can be made");
}

void lazy_end(struct lazy *z)
{
	while (z->nr_held)
		lazy_finish(z);
	must(vio_dev_status(&z->blk.dev) == 0, "a reset ends");
	must(!z->line && !z->mem.pins, "nothing is left");
	for (unsigned i = 0; i < LAZY_QUEUES; i++)
		free(z->storage[i]);
	free(z->ram);
}
