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
#include "core/ring/track.h"
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

static uint16_t get16(const struct vio_queue *q, const vio_le16 *p)
{
	return vio_ring16(q, vio_get16(p));
}

static void put16(const struct vio_queue *q, vio_le16 *p, uint16_t v)
{
	vio_put16(p, vio_ring16(q, v));
}

static void wrote(const struct vio_queue *q, const void *p, size_t len)
{
	if (vio_unlikely(vio_mem_is_logged(q->mem)))
		vio_ring_log(q, p, len);
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
	q->heads_seen = q->descs_seen = avail_base;
	q->used_next = q->used_shown = q->used_signalled = used_base;
	/* core.device.virtqueues: flags start clear unless suppressing. */
	put16(q, &used(q)->flags, 0);
	wrote(q, &used(q)->flags, 2);
	if (q->event_idx) {
		put16(q, avail_event(q), q->avail_next);
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
	idx = vio_ring16(q, vio_get16_acquire(&avail(q)->idx, q->dma));
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

static bool walk_fault(const struct vio_req *req, const char *text,
		       uint64_t value)
{
	VIO_RING_BREAK(req->queue, text, { "head", req->head },
		       { "value", value }, { "size", req->queue->size });
	return false;
}

static uint16_t flags_of(const struct vio_queue *q, struct virtq_desc d)
{
	return vio_ring16(q, vio_from_le16(d.flags));
}

/* split.driver.indirect-descriptors: what an indirect table must be. */
static bool indirect_ok(const struct vio_req *req, struct virtq_desc d)
{
	const struct vio_queue *q = req->queue;
	uint32_t len = vio_ring32(q, vio_from_le32(d.len));
	uint16_t flags = flags_of(q, d);
	uint64_t addr = vio_ring64(q, vio_from_le64(d.addr));

	if (!q->indirect)
		return walk_fault(req, "indirect descriptor, but "
				  "INDIRECT_DESC was not negotiated", flags);
	if (flags & VIRTQ_DESC_F_NEXT)
		return walk_fault(req, "descriptor is both INDIRECT and NEXT",
				  flags);
	if (!len || len % sizeof(d))
		return walk_fault(req, "indirect table's length is not a "
				  "multiple of 16", len);
	if (len - 1 > UINT64_MAX - addr)
		return walk_fault(req, "indirect table runs past the end of "
				  "the address space", addr);
	return true;
}

static bool add(struct vio_queue *q, struct vio_req *req, struct virtq_desc d)
{
	const struct vio_ring_desc rd = {
		.addr = vio_ring64(q, vio_from_le64(d.addr)),
		.len = vio_ring32(q, vio_from_le32(d.len)),
		.writable = flags_of(q, d) & VIRTQ_DESC_F_WRITE,
	};

	return vio_ring_req_add(q, req, &rd);
}

/* Where the descriptors of a chain come from. */
struct table {
	const unsigned char *at;	/* NULL: not in one piece */
	uint64_t addr;			/* indirect: the guest's */
	uint32_t entries;
};

/* The indirect table that @d leads to. */
static struct table indirect_table(struct vio_queue *q, struct virtq_desc d)
{
	uint32_t len = vio_ring32(q, vio_from_le32(d.len));
	struct table t = {
		.addr = vio_ring64(q, vio_from_le64(d.addr)),
		.entries = len / sizeof(d),
	};

	t.at = vio_mem_fast(q->mem, q->mem_hint, t.addr, len, VIO_PERM_READ);
	if (vio_unlikely(!t.at))
		t.at = vio_mem_at(q->mem, &q->mem_hint, vio_addr_of(t.addr),
				  len, VIO_PERM_READ);
	return t;
}

/* A private copy of entry @i of a table that lies across regions. */
static bool fetch_pieces(struct vio_queue *q, uint64_t addr, uint32_t i,
			 struct virtq_desc *d)
{
	return vio_ring_copy_in(q, vio_addr_of(addr + i * sizeof(*d)), d,
				sizeof(*d));
}

/*
 * Follow a chain from its first descriptor @d to its end. A direct chain may
 * end in an indirect table (split.device.indirect-descriptors), which may not
 * nest; so @left, set twice at most, bounds the loop.
 */
static bool walk_chain(struct vio_queue *q, struct vio_req *req,
		       struct virtq_desc d)
{
	struct table t = { .at = q->desc, .entries = q->size };
	uint32_t left = t.entries - 1, i;
	bool nested = false;

	for (;;) {
		uint16_t flags = flags_of(q, d);

		if (flags & VIRTQ_DESC_F_INDIRECT) {
			if (vio_unlikely(nested))
				return walk_fault(req, "indirect descriptor "
						  "in an indirect table",
						  flags);
			if (vio_unlikely(!indirect_ok(req, d)))
				return false;
			t = indirect_table(q, d);
			/* split.driver.indirect-descriptors.3: no chain is
			 * longer than a queue can be; a table of 4 GiB would
			 * keep us busy for seconds. */
			left = t.entries < VIRTQ_SIZE_MAX ? t.entries :
							    VIRTQ_SIZE_MAX;
			nested = true;
			i = 0;
		} else {
			if (vio_unlikely(!add(q, req, d)))
				return false;
			if (!(flags & VIRTQ_DESC_F_NEXT))
				return true;
			i = vio_ring16(q, vio_from_le16(d.next));
		}
		if (vio_unlikely(i >= t.entries))
			return walk_fault(req, "descriptor index is outside "
					  "the table", i);
		if (vio_unlikely(!left--))
			return walk_fault(req, "descriptor chain is a loop",
					  i);
		if (vio_likely(t.at)) {
			vio_copy_in(&d, t.at + i * sizeof(d), sizeof(d));
		} else {
			struct virtq_desc e;

			if (!fetch_pieces(q, t.addr, i, &e))
				return walk_fault(req, "indirect table is "
						  "not in guest memory",
						  t.addr);
			d = e;
		}
	}
}

/* -- looking ahead ------------------------------------------------------- */

/*
 * What the driver wrote last lies in its processor's cache, and each line of
 * it takes a hundred nanoseconds to come. So heads and first descriptors are
 * read some requests in advance, once and into private copies, and what they
 * lead to is asked for.
 */

/* Entries whose first descriptor is read in advance; half of the heads. */
#define DESCS_AHEAD	(VIO_RING_AHEAD / 2)

static void prefetch_table(struct vio_queue *q, const struct virtq_desc *d)
{
	const unsigned char *p;

	if (!(flags_of(q, *d) & VIRTQ_DESC_F_INDIRECT))
		return;
	p = vio_mem_fast(q->mem, q->mem_hint,
			 vio_ring64(q, vio_from_le64(d->addr)), 1,
			 VIO_PERM_READ);
	if (p)
		vio_prefetch(p);
}

static void look_ahead(struct vio_queue *q)
{
	const struct virtq_desc *table = q->desc;
	uint16_t shown = (uint16_t)(q->avail_seen - q->avail_next), slot;
	uint16_t heads = shown < VIO_RING_AHEAD ? shown : VIO_RING_AHEAD;
	uint16_t descs = shown < DESCS_AHEAD ? shown : DESCS_AHEAD;

	while ((uint16_t)(q->heads_seen - q->avail_next) < heads) {
		uint16_t head = get16(q, &avail_ring(q)[q->heads_seen &
							 (q->size - 1)]);

		q->ahead_head[q->heads_seen++ % VIO_RING_AHEAD] = head;
		if (vio_likely(head < q->size))
			vio_prefetch(&table[head]);
	}
	while ((uint16_t)(q->descs_seen - q->avail_next) < descs) {
		slot = q->descs_seen++ % VIO_RING_AHEAD;
		/* A head outside the table breaks the queue when it is due. */
		if (vio_unlikely(q->ahead_head[slot] >= q->size))
			continue;
		vio_copy_in(&q->ahead_desc[slot], &table[q->ahead_head[slot]],
			    sizeof(*table));
		prefetch_table(q, &q->ahead_desc[slot]);
	}
}

static struct vio_req *split_pop(struct vio_queue *q)
{
	uint16_t head, slot = q->avail_next % VIO_RING_AHEAD;
	struct vio_req *req;

	if (q->avail_next == q->avail_seen && !refresh(q))
		return NULL;
	look_ahead(q);
	head = q->ahead_head[slot];
	if (vio_unlikely(head >= q->size))
		return VIO_RING_BREAK(q, "available ring names a descriptor "
				       "outside the table", { "head", head },
				       { "size", q->size });
	req = vio_ring_slot(q, head);
	if (vio_unlikely(req->state != VIO_REQ_FREE))
		return VIO_RING_BREAK(q, "a chain was made available again "
				       "before it was used", { "head", head },
				       { "in flight", q->inflight });
	vio_ring_req_begin(q, req, head);
	if (vio_unlikely(!walk_chain(q, req, q->ahead_desc[slot])))
		return NULL;
	q->avail_next++;
	if (q->track)
		vio_track_split_pop(q->track, head);
	return req;
}

static struct vio_req *split_replay(struct vio_queue *q, uint16_t head)
{
	struct vio_req *req = vio_ring_slot(q, head);
	struct virtq_desc d;

	vio_ring_req_begin(q, req, head);
	vio_copy_in(&d, (const struct virtq_desc *)q->desc + head, sizeof(d));
	return walk_chain(q, req, d) ? req : NULL;
}

/*
 * The used index in the ring is the truth; what was taken beyond it stands in
 * the record.
 */
static void split_recover(struct vio_queue *q, uint16_t *avail_base,
			  uint16_t *used_base)
{
	*used_base = get16(q, &used(q)->idx);
	*avail_base = vio_track_split_begin(q, *used_base,
					    get16(q, &avail(q)->idx));
}

/* Slots are the heads; nothing else keeps track of them. */
static void split_unpop(struct vio_queue *q, struct vio_req *req)
{
	q->avail_next--;
	/* Its copies may be overwritten: look at all of them again. */
	q->heads_seen = q->descs_seen = q->avail_next;
	if (q->track)
		vio_track_split_unpop(q->track, req->head);
}

static void split_push(struct vio_queue *q, struct vio_req *req)
{
	struct virtq_used_elem *e =
		&used_ring(q)[q->used_next & (q->size - 1)];

	vio_put32(&e->id, vio_ring32(q, req->head));
	vio_put32(&e->len, vio_ring32(q, req->written));
	wrote(q, e, sizeof(*e));
	q->used_next++;
	if (q->track)
		vio_track_push(q->track, req->head);
}

/* NOTIFY_ON_EMPTY: nothing is in flight and nothing to pop. */
static bool ran_empty(struct vio_queue *q)
{
	return q->notify_empty && !q->inflight && !split_pending(q) &&
	       q->state != VIO_QUEUE_BROKEN;
}

/* split.driver: may we notify, after moving from used_signalled? */
static bool want_notify(struct vio_queue *q)
{
	uint16_t old = q->used_signalled, event;

	if (vio_unlikely(ran_empty(q))) {
		q->used_signalled = q->used_next;
		return true;
	}
	if (!q->event_idx)
		return !(get16(q, &avail(q)->flags) &
			 VIRTQ_AVAIL_F_NO_INTERRUPT);
	event = get16(q, used_event(q));
	q->used_signalled = q->used_next;
	if (vio_unlikely(!q->signalled_valid)) {
		q->signalled_valid = true;
		return true;
	}
	return virtq_need_event(event, q->used_next, old);
}

static bool split_publish(struct vio_queue *q)
{
	if (q->track)
		vio_track_split_publish(q);
	/* pairs with [B]: the driver's acquire of used->idx, before it reads
	 * the used elements. */
	vio_store_release16(&used(q)->idx, vio_ring16(q, q->used_next),
			    q->dma);
	wrote(q, &used(q)->idx, 2);
	if (q->track)
		vio_track_split_published(q);
	q->used_shown = q->used_next;
	/* pairs with [C]: the driver's barrier between asking for a
	 * notification (used_event, avail->flags) and its last look at
	 * used->idx. One of the two sees the other. */
	vio_peer_mb(q->dma);
	return want_notify(q);
}

static void split_kicks_off(struct vio_queue *q)
{
	/* With EVENT_IDX, flags must stay 0; a stale avail_event does it. */
	if (q->event_idx)
		return;
	put16(q, &used(q)->flags, VIRTQ_USED_F_NO_NOTIFY);
	wrote(q, &used(q)->flags, 2);
}

static bool split_kicks_on(struct vio_queue *q)
{
	if (q->event_idx) {
		put16(q, avail_event(q), q->avail_next);
		wrote(q, avail_event(q), 2);
	} else {
		put16(q, &used(q)->flags, 0);
		wrote(q, &used(q)->flags, 2);
	}
	/* pairs with [D]: the driver's barrier between publishing avail->idx
	 * and reading avail_event or used->flags to decide on a kick. */
	vio_peer_mb(q->dma);
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
	return get16(q, &used(q)->idx);
}

const struct vio_ring_ops vio_ring_split = {
	.map = split_map,
	.init = split_init,
	.recover = split_recover,
	.pop = split_pop,
	.replay = split_replay,
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
