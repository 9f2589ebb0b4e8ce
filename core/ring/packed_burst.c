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

unsigned vio_packed_peek(struct vio_queue *q, struct vio_piece *p,
			 unsigned max, bool writable)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	unsigned off = pvirtq_off(q->avail_next, q->size), want, i;
	const struct pvirtq_desc *d = (struct pvirtq_desc *)q->desc + off;
	bool wrap = pvirtq_wrap(q->avail_next, q->size);
	const unsigned size = q->size;
	const bool dma = q->dma;
	unsigned room;

	/* Entries that were never given back, before this start. */
	if (vio_unlikely(q->used_next != q->avail_next))
		return 0;
	/* What was not shown as used cannot be available again. */
	room = size - pvirtq_distance(q->used_shown, q->avail_next, q->size);
	if (vio_unlikely(max > room))
		max = room;
	/* At the end of the ring, a batch ends. */
	if (max > size - off)
		max = size - off;
	want = (wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED) |
	       (writable ? PVIRTQ_DESC_F_WRITE : 0u);
	for (i = 0; i < max; i++, d++) {
		/* pairs with [E]: the driver's release of the flags, after
		 * the rest of the descriptor. */
		uint64_t tail = vio_get_tail_acquire(&d->len, dma), addr;
		bool near;
		void *at;

		vio_prefetch(d + AHEAD);
		if ((tail >> 48 & (OWNER | VIO_PEEK_FLAGS)) != want)
			break;
		vio_tail_is_ours(&d->len);
		p[i].len = (uint32_t)tail;
		p[i].id = (uint16_t)(tail >> 32);
		addr = vio_get64(&d->addr);
		if (vio_unlikely(p[i].id >= size))
			break;
		near = vio_view_has(&view, addr, (uint32_t)tail, &at);
		if (vio_unlikely(!near)) {
			at = vio_peek_far(q, addr, (uint32_t)tail, writable);
			view = vio_view_of(q->mem, q->mem_hint);
			if (!at)
				break;
		}
		p[i].base = at;
	}
	return i;
}

/* All @n of them lie before the end of the ring. */
void vio_packed_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written)
{
	unsigned off = pvirtq_off(q->used_next, q->size), i = 0;
	unsigned flags = pvirtq_wrap(q->used_next, q->size) ? OWNER : 0;
	struct pvirtq_desc *d = (struct pvirtq_desc *)q->desc + off;
	unsigned left = n;

	if (written) {
		flags |= PVIRTQ_DESC_F_WRITE;
	} else if (q->in_order) {
		/* One descriptor for all, with the id of the last (standard:
		 * 2.8.9). */
		i = n - 1;
		left = 1;
	}
	/* The driver polls the first that it was not shown, whose flags wait
	 * for the publication. */
	if (q->used_next == q->used_shown) {
		vio_put16(&d->id, p[i].id);
		vio_put32(&d->len, written ? p[i].len : 0);
		q->first_flags = (uint16_t)flags;
		d++, i++, left--;
	}
	for (; left; d++, i++, left--)
		vio_put_tail(&d->len, (written ? p[i].len : 0u) |
				      (uint64_t)p[i].id << 32 |
				      (uint64_t)flags << 48);
	q->used_next = pvirtq_add(q->used_next, (uint16_t)n, q->size);
	q->avail_next = q->used_next;
}
