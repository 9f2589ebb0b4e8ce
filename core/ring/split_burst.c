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

/* How many buffers the driver shows, @max at most; 0 also if that is a lie. */
static unsigned shown(struct vio_queue *q, unsigned max)
{
	const struct virtq_avail *avail = q->driver_area;
	unsigned n = (uint16_t)(q->avail_seen - q->avail_next);
	uint16_t idx;

	if (n < max) {
		/* pairs with [A]: the driver's release of avail->idx, after
		 * the ring entry and the descriptors it covers. */
		idx = vio_get16_acquire(&avail->idx, q->dma);
		n = (uint16_t)(idx - q->avail_next);
		if (vio_unlikely(n > q->size))
			return 0;
		q->avail_seen = idx;
	}
	return n < max ? n : max;
}

/*
 * All heads of a batch are read, once and into private copies, and the
 * descriptors asked for: each line takes its time to come. Returns how many
 * make sense.
 */
static unsigned read_heads(const struct vio_queue *q, uint16_t *head,
			   unsigned n)
{
	const struct virtq_avail *avail = q->driver_area;
	const vio_le16 *ring = (const vio_le16 *)(avail + 1);
	const struct virtq_desc *table = q->desc;
	unsigned mask = q->size - 1u, at = q->avail_next, i;

	for (i = 0; i < n; i++) {
		uint16_t h = vio_get16(&ring[at++ & mask]);

		if (vio_unlikely(h > mask))
			break;
		head[i] = h;
		vio_prefetch(&table[h]);
	}
	return i;
}

unsigned vio_split_peek(struct vio_queue *q, struct vio_piece *p,
			unsigned max, bool writable)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	const uint16_t want = writable ? VIRTQ_DESC_F_WRITE : 0;
	const struct virtq_desc *table = q->desc;
	uint16_t head[VIO_PEEK_MAX];
	struct virtq_desc d;
	unsigned i, n;

	n = read_heads(q, head, shown(q, max));
	for (i = 0; i < n; i++) {
		void *at;

		vio_copy_in(&d, &table[head[i]], sizeof(d));
		at = vio_peek_at(q, &view, vio_from_le64(d.addr),
				 vio_from_le32(d.len), writable);
		if (vio_unlikely(!at || (vio_from_le16(d.flags) &
					 VIO_PEEK_FLAGS) != want))
			break;
		p[i].base = at;
		p[i].len = vio_from_le32(d.len);
		p[i].id = head[i];
	}
	return i;
}

/* Enter a used buffer at @at; the driver does not see it yet. */
static void push(const struct vio_queue *q, uint16_t at, uint16_t id,
		 uint32_t len)
{
	struct virtq_used *used = q->device_area;
	struct virtq_used_elem *e = (struct virtq_used_elem *)(used + 1) +
				    (at & (q->size - 1));

	vio_put32x2(&e->id, &e->len, id, len);
}

void vio_split_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written)
{
	if (written)
		for (unsigned i = 0; i < n; i++)
			push(q, (uint16_t)(q->used_next + i), p[i].id,
			     p[i].len);
	else if (q->in_order)
		/* One entry for all of them, with the id of the last
		 * (standard: 2.7.9). */
		push(q, q->used_next, p[n - 1].id, 0);
	else
		for (unsigned i = 0; i < n; i++)
			push(q, (uint16_t)(q->used_next + i), p[i].id, 0);
	q->used_next = (uint16_t)(q->used_next + n);
	q->avail_next = (uint16_t)(q->avail_next + n);
}
