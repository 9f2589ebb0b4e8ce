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
	unsigned off = pvirtq_off(q->avail_next, q->size), i;
	bool wrap = pvirtq_wrap(q->avail_next, q->size);
	const struct pvirtq_desc *ring = q->desc;
	uint16_t want;

	/* Entries that were never given back, before this start. */
	if (vio_unlikely(q->used_next != q->avail_next))
		return 0;
	/* At the end of the ring, a batch ends. */
	if (max > q->size - off)
		max = q->size - off;
	want = (uint16_t)((wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED) |
			  (writable ? PVIRTQ_DESC_F_WRITE : 0));
	for (i = 0; i < max; i++) {
		const struct pvirtq_desc *e = &ring[off + i];
		struct pvirtq_desc d;
		uint16_t flags;

		vio_prefetch(e + AHEAD);
		/* pairs with [E]: the driver's release of the flags, after
		 * the rest of the descriptor. */
		flags = vio_get16_acquire(&e->flags, q->dma);
		if ((flags & (OWNER | VIO_PEEK_FLAGS)) != want)
			break;
		vio_copy_in(&d, e, offsetof(struct pvirtq_desc, flags));
		p[i].len = vio_from_le32(d.len);
		p[i].id = vio_from_le16(d.id);
		p[i].base = vio_peek_at(q, &view, vio_from_le64(d.addr),
					p[i].len, writable);
		if (vio_unlikely(!p[i].base || p[i].id >= q->size))
			break;
	}
	return i;
}

/*
 * Enter a used descriptor at offset @off. The driver polls the first that it
 * was not shown, whose flags wait for the publication.
 */
static void push(struct vio_queue *q, unsigned off, uint16_t id, uint32_t len,
		 uint16_t flags, bool first)
{
	struct pvirtq_desc *d = (struct pvirtq_desc *)q->desc + off;

	vio_put16(&d->id, id);
	vio_put32(&d->len, len);
	if (first)
		q->first_flags = flags;
	else
		vio_put16(&d->flags, flags);
}

/* All @n of them lie before the end of the ring. */
void vio_packed_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written)
{
	unsigned off = pvirtq_off(q->used_next, q->size), i;
	bool first = q->used_next == q->used_shown;
	uint16_t flags = pvirtq_wrap(q->used_next, q->size) ? OWNER : 0;

	if (written) {
		for (i = 0; i < n; i++)
			push(q, off + i, p[i].id, p[i].len,
			     flags | PVIRTQ_DESC_F_WRITE, first && !i);
	} else if (q->in_order) {
		/* One descriptor for all, with the id of the last (standard:
		 * 2.8.9). */
		push(q, off, p[n - 1].id, 0, flags, first);
	} else {
		for (i = 0; i < n; i++)
			push(q, off + i, p[i].id, 0, flags, first && !i);
	}
	q->used_next = pvirtq_add(q->used_next, (uint16_t)n, q->size);
	q->avail_next = q->used_next;
}
