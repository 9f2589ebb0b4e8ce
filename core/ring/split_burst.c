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

/* How far ahead descriptors are asked for: each line takes its time to come. */
#define AHEAD	8

/* All heads of a batch, copied, and zeros that only are asked for. */
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
	memset(head + n, 0, AHEAD * sizeof(*ring));
}

unsigned vio_split_peek(struct vio_queue *q, struct vio_piece *p,
			unsigned max, bool writable)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	const uint16_t want = writable ? VIRTQ_DESC_F_WRITE : 0;
	const struct virtq_desc *table = q->desc;
	vio_le16 head[VIO_PEEK_MAX + AHEAD];
	const unsigned size = q->size;
	unsigned i, n = shown(q, max);

	if (!n)
		return 0;
	copy_heads(q, head, n);
	for (i = 0; i < AHEAD; i++)
		vio_prefetch(&table[vio_from_le16(head[i])]);
	for (i = 0; i < n; i++) {
		unsigned id = vio_from_le16(head[i]);
		uint64_t addr, rest;
		bool near;
		void *at;

		vio_prefetch(&table[vio_from_le16(head[i + AHEAD])]);
		if (vio_unlikely(id >= size))
			break;
		vio_get_desc(&table[id], &addr, &rest);
		if (vio_unlikely((rest >> 32 & VIO_PEEK_FLAGS) != want))
			break;
		near = vio_view_has(&view, addr, (uint32_t)rest, &at);
		if (vio_unlikely(!near)) {
			at = vio_peek_far(q, addr, (uint32_t)rest, writable);
			view = vio_view_of(q->mem, q->mem_hint);
			if (!at)
				break;
		}
		p[i].base = at;
		p[i].len = (uint32_t)rest;
		p[i].id = (uint16_t)id;
	}
	return i;
}

void vio_split_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written)
{
	struct virtq_used *used = q->device_area;
	struct virtq_used_elem *ring = (struct virtq_used_elem *)(used + 1);
	unsigned mask = q->size - 1u, at = q->used_next, i;
	const uint32_t all = written ? UINT32_MAX : 0;

	if (!written && q->in_order) {
		/* One entry for all of them, with the id of the last
		 * (standard: 2.7.9). */
		ring += at & mask;
		vio_put32x2(&ring->id, &ring->len, p[n - 1].id, 0);
	} else {
		for (i = 0; i < n; i++, at++)
			vio_put32x2(&ring[at & mask].id, &ring[at & mask].len,
				    p[i].id, p[i].len & all);
	}
	q->used_next = (uint16_t)(q->used_next + n);
	q->avail_next = (uint16_t)(q->avail_next + n);
}
