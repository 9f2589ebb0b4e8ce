/* SPDX-License-Identifier: MIT */
/*
 * split.c - the device half of the split virtqueue (standard: 2.7).
 *
 * The driver writes the descriptor table and the available ring at any time;
 * each word of them is loaded once, into a local, and only the local is used.
 * What the device writes (used ring, event word) it never reads back: the
 * indices live in struct vio_queue. It knows no device and no transport.
 */
#include "core/ring/ring.h"
#include "core/mem/access.h"
#include <vireo/spec/split.h>

static const struct virtq_avail *avail(const struct vio_queue *q)
{
	return q->driver_area;
}

static const vio_le16 *avail_ring(const struct vio_queue *q)
{
	return (const vio_le16 *)(avail(q) + 1);
}

static struct virtq_used *used(const struct vio_queue *q)
{
	return q->device_area;
}

static struct virtq_used_elem *used_ring(const struct vio_queue *q)
{
	return (struct virtq_used_elem *)(used(q) + 1);
}

/* Written by the driver, behind the available ring (EVENT_IDX). */
static const vio_le16 *used_event(const struct vio_queue *q)
{
	return avail_ring(q) + q->size;
}

/* Written by the device, behind the used ring (EVENT_IDX). */
static vio_le16 *avail_event(const struct vio_queue *q)
{
	return (vio_le16 *)(used_ring(q) + q->size);
}

static void wrote(const struct vio_queue *q, const void *p, size_t len)
{
	if (vio_unlikely(q->mem->dirty))
		vio_mem_wrote(q->mem, p, len);
}

/* split.other.virtqueues: alignments of the three areas; 2.7: power of 2. */
static bool layout_ok(const struct vio_queue_layout *l, uint16_t size_max)
{
	return l->size && l->size <= size_max && !(l->size & (l->size - 1)) &&
	       !(l->desc.v % VIRTQ_DESC_ALIGN) &&
	       !(l->driver.v % VIRTQ_AVAIL_ALIGN) &&
	       !(l->device.v % VIRTQ_USED_ALIGN);
}

static int split_map(struct vio_queue *q, struct vio_mem *mem,
		     const struct vio_queue_layout *l)
{
	unsigned hint = 0;
	const void *driver;
	void *desc, *device;

	if (!layout_ok(l, q->limits.size_max))
		return VIO_E_INVAL;
	desc = vio_mem_at(mem, &hint, l->desc, virtq_desc_bytes(l->size),
			  VIO_PERM_READ);
	driver = vio_mem_at(mem, &hint, l->driver, virtq_avail_bytes(l->size),
			    VIO_PERM_READ);
	device = vio_mem_at(mem, &hint, l->device, virtq_used_bytes(l->size),
			    VIO_PERM_RW);
	if (!desc || !driver || !device)
		return VIO_E_RANGE;
	/* Guest alignment says nothing about where the host mapped it. */
	if ((uintptr_t)desc % 2 || (uintptr_t)driver % 2 ||
	    (uintptr_t)device % 4)
		return VIO_E_INVAL;
	q->desc = desc;
	q->driver_area = driver;
	q->device_area = device;
	q->size = l->size;
	return VIO_OK;
}

static int split_init(struct vio_queue *q, uint16_t avail_base,
		      uint16_t used_base)
{
	q->avail_next = q->avail_seen = avail_base;
	q->used_next = q->used_shown = q->used_signalled = used_base;
	/* core.device.virtqueues: flags start clear unless suppressing. */
	vio_put16(&used(q)->flags, 0);
	wrote(q, &used(q)->flags, 2);
	if (q->event_idx) {
		vio_put16(avail_event(q), q->avail_next);
		wrote(q, avail_event(q), 2);
	}
	return VIO_OK;
}

/*
 * Look how far the driver is. True if there is something to pop; false too
 * when the index makes no sense, which breaks the queue.
 */
static bool refresh(struct vio_queue *q)
{
	uint16_t idx, ahead;

	/* pairs with [A]: the driver's release of avail->idx, after the ring
	 * entry and the descriptors it covers. */
	idx = vio_get16_acquire(&avail(q)->idx);
	ahead = (uint16_t)(idx - q->avail_next);
	if (vio_unlikely(ahead > q->size)) {
		VIO_RING_BREAK(q, "available index is further ahead than the "
				"ring is long", { "index", idx },
				{ "next", q->avail_next }, { "size", q->size });
		return false;
	}
	q->avail_seen = idx;
	return ahead != 0;
}

static bool split_pending(struct vio_queue *q)
{
	return q->avail_next != q->avail_seen || refresh(q);
}

/* Where the descriptors of a chain come from, and how far the walk is. */
struct walk {
	struct vio_queue *q;
	struct vio_req *req;
	const unsigned char *table;	/* NULL: indirect, not in one piece */
	vio_addr table_addr;
	uint32_t entries;
	uint32_t left;			/* bound on the steps still allowed */
};

/* A private copy of descriptor @i, which is below entries. */
static bool fetch(struct walk *w, uint32_t i, struct virtq_desc *d)
{
	uint64_t off = i * (uint64_t)sizeof(*d);

	if (vio_likely(w->table)) {
		vio_copy_in(d, w->table + off, sizeof(*d));
		return true;
	}
	return vio_ring_copy_in(w->q, vio_addr_of(w->table_addr.v + off), d,
				sizeof(*d));
}

static bool walk_fault(struct walk *w, const char *text, uint64_t value)
{
	VIO_RING_BREAK(w->q, text, { "head", w->req->head },
			{ "value", value }, { "size", w->q->size });
	return false;
}

/* split.driver.indirect-descriptors: what an indirect table must be. */
static bool enter_indirect(struct walk *w, const struct virtq_desc *d)
{
	uint32_t len = vio_from_le32(d->len);
	uint16_t flags = vio_from_le16(d->flags);
	uint64_t addr = vio_from_le64(d->addr);

	if (!w->q->indirect)
		return walk_fault(w, "indirect descriptor, but INDIRECT_DESC "
				  "was not negotiated", flags);
	if (flags & VIRTQ_DESC_F_NEXT)
		return walk_fault(w, "descriptor is both INDIRECT and NEXT",
				  flags);
	if (!len || len % sizeof(*d))
		return walk_fault(w, "indirect table's length is not a "
				  "multiple of 16", len);
	if (len - 1 > UINT64_MAX - addr)
		return walk_fault(w, "indirect table runs past the end of "
				  "the address space", addr);
	w->table_addr = vio_addr_of(addr);
	w->table = vio_mem_at(w->q->mem, &w->q->mem_hint, w->table_addr, len,
			      VIO_PERM_READ);
	w->entries = len / sizeof(*d);
	/* split.driver.indirect-descriptors.3: no chain is longer than a
	 * queue can be; a table of 4 GiB would keep us busy for seconds. */
	w->left = w->entries < VIRTQ_SIZE_MAX ? w->entries : VIRTQ_SIZE_MAX;
	return true;
}

/* One descriptor's bytes join the request. */
static bool add(struct walk *w, const struct virtq_desc *d)
{
	const struct vio_ring_desc rd = {
		.addr = vio_from_le64(d->addr),
		.len = vio_from_le32(d->len),
		.writable = vio_from_le16(d->flags) & VIRTQ_DESC_F_WRITE,
	};

	return vio_ring_req_add(w->q, w->req, &rd);
}

/*
 * Follow a chain from entry @i to its end. A direct chain may end in an
 * indirect table (split.device.indirect-descriptors), which may not nest; so
 * w->left, set at most twice, bounds the loop.
 */
static bool walk_chain(struct walk *w, uint32_t i)
{
	bool nested = false;
	struct virtq_desc d;
	uint16_t flags;

	for (;;) {
		if (i >= w->entries)
			return walk_fault(w, "descriptor index is outside the "
					  "table", i);
		if (!w->left--)
			return walk_fault(w, "descriptor chain is a loop", i);
		if (!fetch(w, i, &d))
			return walk_fault(w, "indirect table is not in guest "
					  "memory", w->table_addr.v);
		flags = vio_from_le16(d.flags);
		if (vio_unlikely(flags & VIRTQ_DESC_F_INDIRECT)) {
			if (nested)
				return walk_fault(w, "indirect descriptor in "
						  "an indirect table", i);
			if (!enter_indirect(w, &d))
				return false;
			nested = true;
			i = 0;
			continue;
		}
		if (!add(w, &d))
			return false;
		if (!(flags & VIRTQ_DESC_F_NEXT))
			return true;
		i = vio_from_le16(d.next);
	}
}

static struct vio_req *split_pop(struct vio_queue *q)
{
	struct walk w = { .q = q, .table = q->desc, .entries = q->size,
			  .left = q->size };
	uint16_t head;

	if (q->avail_next == q->avail_seen && !refresh(q))
		return NULL;
	head = vio_get16(&avail_ring(q)[q->avail_next & (q->size - 1)]);
	if (vio_unlikely(head >= q->size))
		return VIO_RING_BREAK(q, "available ring names a descriptor "
				       "outside the table", { "head", head },
				       { "size", q->size });
	w.req = vio_ring_slot(q, head);
	if (vio_unlikely(w.req->state != VIO_REQ_FREE))
		return VIO_RING_BREAK(q, "a chain was made available again "
				       "before it was used", { "head", head },
				       { "in flight", q->inflight });
	vio_ring_req_begin(q, w.req, head);
	if (vio_unlikely(!walk_chain(&w, head)))
		return NULL;
	q->avail_next++;
	return w.req;
}

/* Slots are the heads; nothing else keeps track of them. */
static void split_unpop(struct vio_queue *q, struct vio_req *req)
{
	(void)req;
	q->avail_next--;
}

static void split_push(struct vio_queue *q, struct vio_req *req)
{
	struct virtq_used_elem *e =
		&used_ring(q)[q->used_next & (q->size - 1)];

	vio_put32(&e->id, req->head);
	vio_put32(&e->len, req->written);
	wrote(q, e, sizeof(*e));
	q->used_next++;
}

/* split.driver: may we notify, after moving from used_signalled? */
static bool want_notify(struct vio_queue *q)
{
	uint16_t old = q->used_signalled, event;

	if (!q->event_idx)
		return !(vio_get16(&avail(q)->flags) &
			 VIRTQ_AVAIL_F_NO_INTERRUPT);
	event = vio_get16(used_event(q));
	q->used_signalled = q->used_next;
	if (vio_unlikely(!q->signalled_valid)) {
		q->signalled_valid = true;
		return true;
	}
	return virtq_need_event(event, q->used_next, old);
}

static bool split_publish(struct vio_queue *q)
{
	/* pairs with [B]: the driver's acquire of used->idx, before it reads
	 * the used elements. */
	vio_store_release16(&used(q)->idx, q->used_next);
	wrote(q, &used(q)->idx, 2);
	q->used_shown = q->used_next;
	/* pairs with [C]: the driver's barrier between asking for a
	 * notification (used_event, avail->flags) and its last look at
	 * used->idx. One of the two sees the other. */
	vio_mb();
	return want_notify(q);
}

static void split_kicks_off(struct vio_queue *q)
{
	/* With EVENT_IDX, flags must stay 0; a stale avail_event does it. */
	if (q->event_idx)
		return;
	vio_put16(&used(q)->flags, VIRTQ_USED_F_NO_NOTIFY);
	wrote(q, &used(q)->flags, 2);
}

static bool split_kicks_on(struct vio_queue *q)
{
	if (q->event_idx) {
		vio_put16(avail_event(q), q->avail_next);
		wrote(q, avail_event(q), 2);
	} else {
		vio_put16(&used(q)->flags, 0);
		wrote(q, &used(q)->flags, 2);
	}
	/* pairs with [D]: the driver's barrier between publishing avail->idx
	 * and reading avail_event or used->flags to decide on a kick. */
	vio_mb();
	return refresh(q);
}

static uint16_t split_avail_base(const struct vio_queue *q)
{
	return q->avail_next;
}

static uint16_t split_used_base(const struct vio_queue *q)
{
	return q->used_next;
}

static uint16_t split_used_idx(const struct vio_queue *q)
{
	return vio_get16(&used(q)->idx);
}

const struct vio_ring_ops vio_ring_split = {
	.map = split_map,
	.init = split_init,
	.pop = split_pop,
	.unpop = split_unpop,
	.pending = split_pending,
	.push = split_push,
	.publish = split_publish,
	.kicks_off = split_kicks_off,
	.kicks_on = split_kicks_on,
	.avail_base = split_avail_base,
	.used_base = split_used_base,
	.used_idx = split_used_idx,
};
