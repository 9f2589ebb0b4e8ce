/* SPDX-License-Identifier: MIT */
/*
 * split_burst.c - the device half of the split virtqueue for buffers that are
 * looked at and used within one call of a device (vio_queue_peek()): as long
 * as nothing else is in flight, no request need be made of them and none
 * remembered. What is out of the ordinary is left to split.c, which also says
 * what is wrong with it. It knows no device and no transport.
 */
#include "core/ring/ring.h"
#include "core/mem/access.h"
#include "core/mem/fast.h"

#define LATE	64	/* buffers that may stay hidden; of small rings, less */

/* How many buffers the driver shows, @max at most; 0 also if that is a lie. */
static unsigned shown(struct vio_queue *q, unsigned max)
{
	const struct virtq_avail *avail = q->driver_area;
	unsigned n = (uint16_t)(q->avail_seen - q->avail_next);
	unsigned taken = (uint16_t)(q->avail_next - q->used_shown);
	uint16_t idx;

	if (n < max) {
		/* pairs with [A]: the driver's release of avail->idx, after
		 * the ring entry and the descriptors it covers. */
		idx = vio_get16_acquire(&avail->idx, q->dma);
		n = (uint16_t)(idx - q->avail_next);
		if (vio_unlikely(n + taken > q->size))
			return 0;
		q->avail_seen = idx;
	}
	return n < max ? n : max;
}

/* All heads of a batch, copied. */
static void copy_heads(const struct vio_queue *q, vio_le16 *head, unsigned n)
{
	unsigned at = q->avail_next & (q->size - 1u), run = q->size - at;
	const struct virtq_avail *avail = q->driver_area;
	const vio_le16 *ring = (const vio_le16 *)(avail + 1);

	if (run > n)
		run = n;
	vio_copy_in(head, ring + at, run * sizeof(*ring));
	if (vio_unlikely(run < n))
		vio_copy_in(head + run, ring, (n - run) * sizeof(*ring));
}

/* Each line of descriptors takes its time to come, so all are asked for at
 * once; where they seem to follow each other, each line of four. */
static void ask_for(const struct virtq_desc *table, const vio_le16 *head,
		    unsigned n)
{
	unsigned first = vio_from_le16(head[0]), step = 1;

	if (vio_from_le16(head[n - 1]) - first == n - 1)
		step = 4;
	for (unsigned i = 0; i < n; i += step)
		vio_prefetch(&table[vio_from_le16(head[i])]);
	vio_prefetch(&table[vio_from_le16(head[n - 1])]);
}

/* What buffers are checked against, all of a batch. */
struct bounds {
	struct vio_view view;
	const struct virtq_desc *table;
	unsigned size;
	uint32_t want;		/* flags, of VIO_PEEK_FLAGS */
};

/* A buffer, as it was read. */
struct seen {
	uint64_t addr, rest;
	unsigned id;
};

VIO_INLINE bool is_ours(const struct bounds *b, const struct seen *s)
{
	return vio_likely((s->rest >> 32 & VIO_PEEK_FLAGS) == b->want);
}

/* False: it takes more, or is none; @s says what was read then. */
VIO_INLINE bool see(const struct bounds *b, vio_le16 head, struct seen *s,
		    struct vio_piece *p)
{
	void *at;

	s->id = vio_from_le16(head);
	if (vio_unlikely(s->id >= b->size))
		return false;
	vio_get_desc(&b->table[s->id], &s->addr, &s->rest);
	if (!is_ours(b, s) ||
	    !vio_view_has(&b->view, s->addr, (uint32_t)s->rest, &at))
		return false;
	p->base = at;
	p->id = s->id;
	p->len = (uint32_t)s->rest;
	return true;
}

/* As many as lie in the memory that was hit last; @s: the next, as read. */
VIO_INLINE unsigned see_run(const struct bounds *b, const vio_le16 *head,
			    struct vio_piece *p, unsigned n, struct seen *s)
{
	unsigned i, k;

	for (i = 0; n - i >= 4; i += 4, head += 4, p += 4) {
		VIO_UNROLL
		for (k = 0; k < 4; k++)
			if (!see(b, head[k], s, &p[k]))
				return i + k;
	}
	for (k = 0; k < n - i; k++)
		if (!see(b, head[k], s, &p[k]))
			break;
	return i + k;
}

unsigned vio_split_peek(struct vio_queue *q, struct vio_piece *p,
			unsigned max, bool writable)
{
	struct bounds b = {
		.view = vio_view_of(q->mem, q->mem_hint), .table = q->desc,
		.size = q->size, .want = writable ? VIRTQ_DESC_F_WRITE : 0,
	};
	vio_le16 head[VIO_PEEK_MAX];
	unsigned i = 0, n = shown(q, max);
	struct seen s = { 0, 0, 0 };

	if (!n)
		return 0;
	copy_heads(q, head, n);
	ask_for(b.table, head, n);
	for (;; i++) {
		i += see_run(&b, head + i, p + i, n - i, &s);
		if (vio_likely(i == n) || s.id >= b.size || !is_ours(&b, &s))
			return i;
		p[i].base = vio_peek_far(q, s.addr, (uint32_t)s.rest,
					 writable);
		b.view = vio_view_of(q->mem, q->mem_hint);
		if (!p[i].base)
			return i;
		p[i].id = s.id;
		p[i].len = (uint32_t)s.rest;
	}
}

/* Entries of @n buffers, one after the other. */
VIO_INLINE void put_used(struct virtq_used_elem *e, const struct vio_piece *p,
			 unsigned n, bool written)
{
	for (; n >= 4; n -= 4, e += 4, p += 4) {
		VIO_UNROLL
		for (unsigned k = 0; k < 4; k++)
			vio_put32x2(&e[k].id, &e[k].len, p[k].id,
				    written ? p[k].len : 0);
	}
	for (; n; n--, e++, p++)
		vio_put32x2(&e->id, &e->len, p->id, written ? p->len : 0);
}

/*
 * A driver that polls gets to see of what is used all but the last LATE to
 * 2 * LATE buffers and a batch, and the index changes every LATE buffers only,
 * not with each burst. That suits drivers that give buffers back piece by
 * piece, as they need descriptors, but all at once where they find nearly all
 * used: DPDK's then takes 40 percent longer for a packet, as buffers that
 * waited longer are in no cache (doc/performance.md).
 *
 * In order, an entry stands for a batch: what is shown ends with one.
 */
bool vio_split_put_off(struct vio_queue *q)
{
	const struct virtq_avail *avail = q->driver_area;
	struct virtq_used *used = q->device_area;
	unsigned late = q->size / 8 < LATE ? q->size / 8u : LATE;

	if (q->event_idx || q->notify_empty || q->big_endian || q->track ||
	    q->withheld || vio_mem_is_logged(q->mem) ||
	    !(vio_get16(&avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT))
		return false;
	if ((uint16_t)(q->used_next - q->used_mark) < late)
		return true;
	/* pairs with [B]: the driver's acquire of used->idx, before it reads
	 * the used elements. A driver that asks for notifications meanwhile
	 * gets its own with the rest, which is not far. */
	if (q->used_mark != q->used_shown)
		vio_store_release16(&used->idx, q->used_mark, q->dma);
	q->used_shown = q->used_mark;
	q->used_mark = q->used_next;
	return true;
}

void vio_split_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written)
{
	struct virtq_used *used = q->device_area;
	struct virtq_used_elem *ring = (struct virtq_used_elem *)(used + 1);
	unsigned at = q->used_next & (q->size - 1u), run = q->size - at;

	if (run > n)
		run = n;
	if (written) {
		put_used(ring + at, p, run, true);
		put_used(ring, p + run, n - run, true);
	} else if (q->in_order) {
		/* One entry for all of them, with the id of the last
		 * (standard: 2.7.9). */
		put_used(ring + at, p + n - 1, 1, false);
	} else {
		put_used(ring + at, p, run, false);
		put_used(ring, p + run, n - run, false);
	}
	q->used_next = (uint16_t)(q->used_next + n);
	q->avail_next = (uint16_t)(q->avail_next + n);
}
