/* SPDX-License-Identifier: MIT */
/*
 * packed_burst.c - the device half of the packed virtqueue for buffers that
 * are looked at and used within one call of a device (vio_queue_peek()): as
 * long as nothing else is in flight, each used descriptor goes where the
 * available one stood. What is out of the ordinary is left to packed.c, which
 * also says what is wrong with it. It knows no device and no transport.
 */
#include "core/ring/ring.h"
#include "core/mem/access.h"
#include "core/mem/fast.h"
#include <vireo/spec/packed.h>

#define OWNER	(PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)
#define AHEAD	16	/* entries that are asked for before they are read */

/* What buffers are checked against, all of a batch. */
struct bounds {
	struct vio_view view;
	uint64_t want;		/* flags in the place of a tail, of MASK */
	unsigned size;
	bool dma;
};

#define MASK	((uint64_t)(OWNER | VIO_PEEK_FLAGS) << 48)

/* A buffer, as it was read. */
struct seen {
	uint64_t addr, tail;
	bool ours;		/* of the kind that is looked for */
};

/* False: it takes more, or is none; @s says what was read then. */
VIO_INLINE bool see(const struct bounds *b, const struct pvirtq_desc *d,
		    struct seen *s, struct vio_piece *p)
{
	void *at;

	/* pairs with [E]: the driver's release of the flags, after the rest
	 * of the descriptor. */
	s->tail = vio_get_tail_acquire(&d->len, b->dma);
	s->ours = (s->tail & MASK) == b->want;
	if (!s->ours)
		return false;
	vio_tail_is_ours(&d->len);
	s->addr = vio_get64(&d->addr);
	p->id = (uint16_t)(s->tail >> 32);
	p->len = (uint32_t)s->tail;
	s->ours = (uint16_t)(s->tail >> 32) < b->size;
	if (vio_unlikely(!s->ours) ||
	    !vio_view_has(&b->view, s->addr, (uint32_t)s->tail, &at))
		return false;
	p->base = at;
	return true;
}

/* As many as lie in the memory that was hit last; @s: the next, as read. */
VIO_INLINE unsigned see_run(const struct bounds *b,
			    const struct pvirtq_desc *d, struct vio_piece *p,
			    unsigned n, struct seen *s)
{
	unsigned i, k;

	for (i = 0; n - i >= 4; i += 4, d += 4, p += 4) {
		vio_prefetch(d + AHEAD);
		VIO_UNROLL
		for (k = 0; k < 4; k++)
			if (!see(b, d + k, s, &p[k]))
				return i + k;
	}
	for (k = 0; k < n - i; k++)
		if (!see(b, d + k, s, &p[k]))
			break;
	return i + k;
}

unsigned vio_packed_peek(struct vio_queue *q, struct vio_piece *p,
			 unsigned max, bool writable)
{
	unsigned off = pvirtq_off(q->avail_next, q->size), room, i;
	const struct pvirtq_desc *d = (struct pvirtq_desc *)q->desc + off;
	unsigned flags = pvirtq_wrap(q->avail_next, q->size) ?
			 PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED;
	struct seen s = { 0, 0, false };
	struct bounds b = {
		.view = vio_view_of(q->mem, q->mem_hint), .size = q->size,
		.dma = q->dma,
	};

	/* Entries that were never given back, before this start. */
	if (vio_unlikely(q->used_next != q->avail_next))
		return 0;
	/* What was not shown as used cannot be available again. */
	room = q->size - pvirtq_distance(q->used_shown, q->avail_next,
					 q->size);
	if (vio_unlikely(max > room))
		max = room;
	/* At the end of the ring, a batch ends. */
	if (max > q->size - off)
		max = q->size - off;
	if (writable)
		flags |= PVIRTQ_DESC_F_WRITE;
	b.want = (uint64_t)flags << 48;
	for (i = 0;; i++) {
		i += see_run(&b, d + i, p + i, max - i, &s);
		if (i == max || !s.ours)
			return i;
		p[i].base = vio_peek_far(q, s.addr, p[i].len, writable);
		b.view = vio_view_of(q->mem, q->mem_hint);
		if (!p[i].base)
			return i;
	}
}

/* Tails of @n descriptors, one after the other. */
VIO_INLINE void put_used(struct pvirtq_desc *d, const struct vio_piece *p,
			 unsigned n, uint64_t flags, bool written)
{
	for (; n >= 4; n -= 4, d += 4, p += 4) {
		VIO_UNROLL
		for (unsigned k = 0; k < 4; k++)
			vio_put_tail(&d[k].len, (written ? p[k].len : 0) |
						(uint64_t)p[k].id << 32 |
						flags);
	}
	for (; n; n--, d++, p++)
		vio_put_tail(&d->len, (written ? p->len : 0) |
				      (uint64_t)p->id << 32 | flags);
}

/* All @n of them lie before the end of the ring. */
void vio_packed_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written)
{
	unsigned off = pvirtq_off(q->used_next, q->size), left = n;
	unsigned flags = pvirtq_wrap(q->used_next, q->size) ? OWNER : 0;
	struct pvirtq_desc *d = (struct pvirtq_desc *)q->desc + off;

	if (written) {
		flags |= PVIRTQ_DESC_F_WRITE;
	} else if (q->in_order) {
		/* One descriptor for all, with the id of the last (standard:
		 * 2.8.9). */
		p += n - 1;
		left = 1;
	}
	/* The driver polls the first that it was not shown, whose flags wait
	 * for the publication. */
	if (q->used_next == q->used_shown) {
		vio_put16(&d->id, (uint16_t)p->id);
		vio_put32(&d->len, written ? p->len : 0);
		q->first_flags = (uint16_t)flags;
		d++, p++, left--;
	}
	if (written)
		put_used(d, p, left, (uint64_t)flags << 48, true);
	else
		put_used(d, p, left, (uint64_t)flags << 48, false);
	q->used_next = pvirtq_add(q->used_next, (uint16_t)n, q->size);
	q->avail_next = q->used_next;
}
