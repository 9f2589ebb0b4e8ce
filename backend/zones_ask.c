/* SPDX-License-Identifier: MIT */
/* Questions to a zoned device, see zones_ask.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/zones_ask.h"

#define SCAN_BATCH	64u
#define PIECE		32768u	/* bytes; compared at a time */
#define DATA_ALIGN	4096u	/* direct I/O is content with that */

int zones_ask_all(struct zones *z, struct blkdev *below, bool opened)
{
	struct vio_blk_zone told[SCAN_BATCH];
	uint32_t i = 0;

	while (i < z->nr) {
		unsigned n = below->ops->io.zone_report(below,
			z->zone[i].start, told, SCAN_BATCH);

		for (unsigned k = 0; k < n && i < z->nr; k++, i++) {
			if (told[k].start != z->zone[i].start)
				return -EIO;
			zones_adopt(z, i, &told[k]);
			if (opened)
				zones_expect(z, i);
		}
		if (!n)
			return -EIO;
	}
	return 0;
}

/* -- comparing ------------------------------------------------------------- */

bool zones_check_wanted(struct zones *z, const struct vio_blk_io *write,
			struct zone_check *c)
{
	uint64_t sector = write->offset / 512;

	if (write->op != VIO_BLK_WRITE)
		return false;
	*c = (struct zone_check){
		.write = write,
		.len = zones_replayed(z, sector, write->len / 512) * 512,
		.otherwise = VIRTIO_BLK_S_ZONE_UNALIGNED_WP,
	};
	if (zones_at(z, sector)->state == VIRTIO_BLK_ZS_FULL)
		c->otherwise = VIRTIO_BLK_S_ZONE_INVALID_CMD;
	return c->len;
}

/* Are these the bytes of the write from @at on? */
static bool same(const struct vio_blk_io *write, uint64_t at,
		 const unsigned char *data, uint64_t len)
{
	for (unsigned i = 0; i < write->nr_seg && len; i++) {
		const struct vio_seg *s = &write->seg[i];
		uint64_t n = s->len;

		if (at >= n) {
			at -= n;
			continue;
		}
		n = n - at < len ? n - at : len;
		if (memcmp((const unsigned char *)s->base + at, data, n) != 0)
			return false;
		data += n;
		len -= n;
		at = 0;
	}
	return !len;
}

static void run(struct zone_checker *k);

static void told(struct vio_blk_io *io, int result)
{
	struct zone_checker *k = vio_container_of(io, struct zone_checker, io);
	bool flush = io->op == VIO_BLK_FLUSH;

	if (result == VIO_OK && io->op == VIO_BLK_READ &&
	    !same(k->first->write, k->pos, k->data, io->len))
		result = k->first->otherwise;
	k->pos += io->len;
	k->flushed = flush;
	k->result = result;
	k->waits = false;
	run(k);
	/* A flush comes from another thread, and nobody commits after it what
	 * it let go. */
	if (flush)
		k->below->ops->io.commit(k->below, k->io.queue);
}

static void ask(struct zone_checker *k, enum vio_blk_op op, uint64_t len)
{
	k->io.op = (uint8_t)op;
	k->io.len = k->seg.len = len;
	k->io.nr_seg = op == VIO_BLK_READ;
	k->io.offset = op == VIO_BLK_READ ? k->first->write->offset + k->pos :
		0;
	k->waits = true;
	k->below->ops->io.submit(k->below, &k->io);
}

static void end(struct zone_checker *k)
{
	struct zone_check *c = k->first;
	int result = k->result;

	k->first = c->next;
	k->pos = 0;
	k->result = VIO_OK;
	k->flushed = false;
	c->done(c, result);
}

static void step(struct zone_checker *k)
{
	const struct zone_check *c = k->first;
	uint64_t left = c->len - k->pos;

	if (k->result == VIO_OK && left)
		ask(k, VIO_BLK_READ, left < PIECE ? left : PIECE);
	else if (k->result == VIO_OK && c->write->flags & VIO_BLK_FUA &&
		 !k->flushed)
		ask(k, VIO_BLK_FLUSH, 0);	/* the first time did not */
	else
		end(k);
}

/* In a loop, as the device may answer at once. */
static void run(struct zone_checker *k)
{
	if (k->running)
		return;
	k->running = true;
	while (k->first && !k->waits)
		step(k);
	k->running = false;
}

void zones_checker_init(struct zone_checker *k, struct blkdev *below,
			unsigned queue)
{
	*k = (struct zone_checker){ .below = below };
	k->io.queue = (uint16_t)queue;
	k->io.seg = &k->seg;
	k->io.done = told;
}

void zones_checker_fini(struct zone_checker *k)
{
	free(k->data);
}

void zones_check(struct zone_checker *k, struct zone_check *c)
{
	if (!k->data)
		k->seg.base = k->data = aligned_alloc(DATA_ALIGN, PIECE);
	if (!k->data) {
		c->done(c, VIO_E_IO);
		return;
	}
	c->next = NULL;
	if (k->first)
		k->last->next = c;
	else
		k->first = c;
	k->last = c;
	run(k);
}

void *zones_cut(struct vio_blk_io *io, uint64_t skip)
{
	const struct vio_seg *from = io->seg;
	struct vio_seg *seg = calloc(io->nr_seg, sizeof(*seg));

	if (!seg)
		return NULL;
	io->offset += skip;
	io->len -= skip;
	while (skip >= from->len) {
		skip -= from->len;
		from++;
		io->nr_seg--;
	}
	memcpy(seg, from, io->nr_seg * sizeof(*seg));
	seg->base = (unsigned char *)seg->base + skip;
	seg->len -= skip;
	io->seg = seg;
	return seg;
}
