/* SPDX-License-Identifier: MIT */
/*
 * split.c - the device half of the split virtqueue (standard: 2.7).
 *
 * The driver writes the descriptor table and the available ring at any time;
 * each word of them is loaded once, into a local, and only the local is used.
 * What the device writes (used ring, event word) it never reads back: the
 * indices live in struct vio_queue. It knows no device and no transport.
 */
#include "core/ring/fill.h"
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
		return vio_ring_lost(hint);
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

/* -- what every request takes: see variant.h ------------------------------ */

static unsigned variant_of(const struct vio_queue *q)
{
	return (q->in_order ? VIO_V_IN_ORDER : 0) |
	       (q->track ? VIO_V_TRACK : 0) | (q->big_endian ? VIO_V_BIG : 0);
}

/* A descriptor's numbers, copied. */
struct numbers {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

VIO_INLINE struct numbers numbers_of(const struct virtq_desc *d, unsigned v)
{
	struct numbers n = {
		.addr = vio_turn64(v, vio_from_le64(d->addr)),
		.len = vio_turn32(v, vio_from_le32(d->len)),
		.flags = vio_turn16(v, vio_from_le16(d->flags)),
		.next = vio_turn16(v, vio_from_le16(d->next)),
	};

	return n;
}

/* -- chains -------------------------------------------------------------- */

VIO_APART bool walk_fault(const struct vio_req *req, const char *text,
		       uint64_t value)
{
	VIO_RING_BREAK(req->queue, text, { "head", req->head },
		       { "value", value }, { "size", req->queue->size });
	return false;
}

/* split.driver.indirect-descriptors: what an indirect table must be. */
VIO_APART bool indirect_ok(const struct vio_req *req, const struct numbers *d)
{
	if (!req->queue->indirect)
		return walk_fault(req, "indirect descriptor, but "
				  "INDIRECT_DESC was not negotiated",
				  d->flags);
	if (d->flags & VIRTQ_DESC_F_NEXT)
		return walk_fault(req, "descriptor is both INDIRECT and NEXT",
				  d->flags);
	if (!d->len || d->len % sizeof(struct virtq_desc))
		return walk_fault(req, "indirect table's length is not a "
				  "multiple of 16", d->len);
	if (d->len - 1 > UINT64_MAX - d->addr)
		return walk_fault(req, "indirect table runs past the end of "
				  "the address space", d->addr);
	return true;
}

/* Where the descriptors of a chain come from. */
struct table {
	const unsigned char *at;	/* NULL: not in one piece */
	uint64_t addr;			/* indirect: the guest's */
	uint32_t entries;
};

/* The indirect table that @d leads to. */
VIO_INLINE struct table indirect_table(struct vio_queue *q,
				       const struct vio_view *view,
				       const struct numbers *d)
{
	struct table t = {
		.at = vio_view_at(view, d->addr, d->len),
		.addr = d->addr,
		.entries = d->len / (uint32_t)sizeof(struct virtq_desc),
	};

	if (vio_unlikely(!t.at))
		t.at = vio_mem_at(q->mem, &q->mem_hint, vio_addr_of(t.addr),
				  d->len, VIO_PERM_READ);
	return t;
}

/* A private copy of entry @i, in range. */
VIO_INLINE bool fetch(struct vio_queue *q, const struct table *t, uint32_t i,
		      struct virtq_desc *d)
{
	if (vio_unlikely(!t->at))	/* it lies across regions */
		return vio_ring_copy_in(q, vio_addr_of(t->addr +
						       i * sizeof(*d)),
					d, sizeof(*d));
	vio_copy_in(d, t->at + i * sizeof(*d), sizeof(*d));
	return true;
}

/*
 * Follow a chain from its first descriptor @d to its end. A direct chain may
 * end in an indirect table (split.device.indirect-descriptors), which may not
 * nest; so @left, set twice at most, bounds the loop.
 */
VIO_INLINE bool walk(struct vio_queue *q, struct vio_req *req,
		     struct vio_view *view, struct virtq_desc *d, unsigned v)
{
	struct table t = { .at = q->desc, .entries = q->size };
	struct vio_fill fill = vio_fill_begin(req);
	uint32_t left = t.entries - 1, i;
	bool nested = false;

	for (;;) {
		struct numbers n = numbers_of(d, v);

		if (vio_unlikely(n.flags & VIRTQ_DESC_F_INDIRECT)) {
			if (vio_unlikely(nested))
				return walk_fault(req, "indirect descriptor "
						  "in an indirect table",
						  n.flags);
			if (vio_unlikely(!indirect_ok(req, &n)))
				return false;
			t = indirect_table(q, view, &n);
			/* split.driver.indirect-descriptors.3: no chain is
			 * longer than a queue can be; a table of 4 GiB would
			 * keep us busy for seconds. */
			left = t.entries < VIRTQ_SIZE_MAX ? t.entries :
							    VIRTQ_SIZE_MAX;
			nested = true;
			i = 0;
		} else {
			if (vio_unlikely(!vio_fill_add(q, req, &fill, view,
					n.addr, n.len,
					n.flags & VIRTQ_DESC_F_WRITE)))
				return false;
			if (!(n.flags & VIRTQ_DESC_F_NEXT))
				break;
			i = n.next;
		}
		if (vio_unlikely(i >= t.entries))
			return walk_fault(req, "descriptor index is outside "
					  "the table", i);
		if (vio_unlikely(!left--))
			return walk_fault(req, "descriptor chain is a loop",
					  i);
		if (vio_unlikely(!fetch(q, &t, i, d)))
			return !vio_ring_waits(q) &&
			       walk_fault(req, "indirect table is not in "
					  "guest memory", t.addr);
	}
	vio_fill_end(req, &fill);
	return true;
}

#define CHAINED	(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT)

VIO_APART bool walk_little(struct vio_queue *q, struct vio_req *req,
			struct vio_view *view, struct virtq_desc *d)
{
	return walk(q, req, view, d, 0);
}

VIO_APART bool walk_big(struct vio_queue *q, struct vio_req *req,
		     struct vio_view *view, struct virtq_desc *d)
{
	return walk(q, req, view, d, VIO_V_BIG);
}

/* The request that begins with descriptor @d, copied. False: broken. */
VIO_INLINE bool fill(struct vio_queue *q, struct vio_req *req,
		     struct vio_view *view, struct virtq_desc *d, unsigned v)
{
	struct numbers n = numbers_of(d, v);
	void *p = vio_view_at(view, n.addr, n.len);

	vio_ring_req_begin(q, req);
	if (vio_likely(p && !(n.flags & CHAINED))) {
		vio_fill_single(req, p, n.len, n.flags & VIRTQ_DESC_F_WRITE);
		return true;
	}
	return v & VIO_V_BIG ? walk_big(q, req, view, d) :
			       walk_little(q, req, view, d);
}

/* -- pop ----------------------------------------------------------------- */

/* Of a batch, copied. */
struct ahead {
	uint16_t head[VIO_RING_BATCH];
	struct virtq_desc desc[VIO_RING_BATCH];
};

/*
 * What the driver wrote last lies in its processor's cache, and each line of
 * it takes a hundred nanoseconds to come. So all heads of a batch are read,
 * once and into private copies, and the descriptors asked for. A head outside
 * the table breaks the queue when it is due.
 */
VIO_INLINE void look_at_heads(const struct vio_queue *q, struct ahead *a,
			      unsigned n, unsigned v)
{
	const struct virtq_desc *table = q->desc;
	const vio_le16 *ring = avail_ring(q);
	unsigned size = q->size, at = q->avail_next & (size - 1);

	for (unsigned i = 0; i < n; i++) {
		unsigned head = vio_turn16(v, vio_get16(&ring[at]));

		a->head[i] = (uint16_t)head;
		at = (at + 1) & (size - 1);
		vio_prefetch(&table[head]);
	}
}

/* And the first descriptors, where these may lead to tables elsewhere. */
VIO_INLINE void look_at_tables(const struct vio_queue *q, struct ahead *a,
			       const struct vio_view *view, unsigned n,
			       unsigned v)
{
	const struct virtq_desc *table = q->desc;

	for (unsigned i = 0; i < n; i++) {
		struct numbers d;

		if (vio_unlikely(a->head[i] >= q->size))
			continue;
		vio_copy_in(&a->desc[i], &table[a->head[i]], sizeof(*table));
		d = numbers_of(&a->desc[i], v);
		if (d.flags & VIRTQ_DESC_F_INDIRECT)
			vio_prefetch(vio_view_at(view, d.addr, 1));
	}
}

VIO_APART struct vio_req *bad_head(struct vio_queue *q, uint16_t head)
{
	if (head >= q->size)
		return VIO_RING_BREAK(q, "available ring names a descriptor "
				       "outside the table", { "head", head },
				       { "size", q->size });
	return VIO_RING_BREAK(q, "a chain was made available again before it "
			      "was used", { "head", head },
			      { "in flight", q->inflight });
}

/* The request of the @i-th head; NULL: broken. */
VIO_INLINE struct vio_req *take(struct vio_queue *q, struct vio_view *view,
				struct ahead *a, unsigned i, unsigned v)
{
	const struct virtq_desc *table = q->desc;
	uint16_t head = a->head[i];
	struct vio_req *req;

	if (vio_unlikely(head >= q->size))
		return bad_head(q, head);
	req = vio_ring_slot(q, head);
	if (vio_unlikely(req->state != VIO_REQ_FREE))
		return bad_head(q, head);
	if (!q->indirect)
		vio_copy_in(&a->desc[i], &table[head], sizeof(*table));
	if (vio_unlikely(!fill(q, req, view, &a->desc[i], v)))
		return NULL;
	req->state = VIO_REQ_POPPED;
	if (v & VIO_V_TRACK)
		vio_track_split_pop(q->track, head);
	return req;
}

VIO_INLINE unsigned pop(struct vio_queue *q, struct vio_req **req,
			unsigned max, unsigned v)
{
	unsigned n = (uint16_t)(q->avail_seen - q->avail_next), i;
	struct vio_view view;
	struct ahead a;

	if (n < max) {
		if (!refresh(q))
			return 0;
		n = (uint16_t)(q->avail_seen - q->avail_next);
	}
	if (n > max)
		n = max;
	view = vio_view_of(q->mem, q->mem_hint);
	look_at_heads(q, &a, n, v);
	if (q->indirect)
		look_at_tables(q, &a, &view, n, v);
	for (i = 0; i < n; i++) {
		req[i] = take(q, &view, &a, i, v);
		if (vio_unlikely(!req[i]))
			break;
	}
	if (v & VIO_V_IN_ORDER)
		vio_ring_order(q, req, i);
	q->avail_next = (uint16_t)(q->avail_next + i);
	vio_ring_popped(q, i);
	return i;
}

static struct vio_req *split_replay(struct vio_queue *q, uint16_t head)
{
	struct vio_req *req = vio_ring_slot(q, head);
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	struct virtq_desc d;

	vio_copy_in(&d, (const struct virtq_desc *)q->desc + head, sizeof(d));
	return fill(q, req, &view, &d, variant_of(q)) ? req : NULL;
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
	if (q->track)
		vio_track_split_unpop(q->track, req->head);
}

/* -- done ---------------------------------------------------------------- */

/* Enter a finished request at @at; the driver does not see it yet. */
VIO_INLINE void push(struct vio_queue *q, const struct vio_req *req,
		     uint16_t at, unsigned v)
{
	struct virtq_used_elem *e = &used_ring(q)[at & (q->size - 1)];

	vio_put32x2(&e->id, &e->len, vio_turn32(v, req->head),
		    vio_turn32(v, req->written));
	wrote(q, e, sizeof(*e));
	if (v & VIO_V_TRACK)
		vio_track_push(q->track, req->head);
}

VIO_INLINE void done(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n, unsigned v)
{
	unsigned current = 0, i = 0;
	uint16_t at = q->used_next;
	struct vio_req *r;

	if (v & VIO_V_IN_ORDER) {
		/* split.device.in-order: use buffers in the order they were
		 * made available. */
		for (i = 0; i < n; i++)
			req[i]->state = VIO_REQ_DONE;
		for (i = 0; (r = vio_ring_next_in_order(q, i)); i++) {
			push(q, r, at++, v);
			current += vio_ring_forget(q, r);
		}
	} else {
		for (i = 0; i < n; i++) {
			push(q, req[i], at++, v);
			current += vio_ring_forget(q, req[i]);
		}
	}
	q->used_next = at;
	vio_ring_forgotten(q, i, current);
}

VIO_RING_VARIANT(plain, 0)
VIO_RING_VARIANT(in_order, VIO_V_IN_ORDER)
VIO_RING_VARIANT(general, variant_of(q))

static const struct vio_ring_hot *split_hot(const struct vio_queue *q)
{
	switch (variant_of(q)) {
	case 0:
		return VIO_SPECIAL(plain);
	case VIO_V_IN_ORDER:
		return VIO_SPECIAL(in_order);
	default:
		return &hot_general;
	}
}

/* -- notifications ------------------------------------------------------- */

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
	.hot = split_hot,
	.replay = split_replay,
	.peek = vio_split_peek,
	.use = vio_split_use,
	.unpop = split_unpop,
	.pending = split_pending,
	.publish = split_publish,
	.wants = want_notify,
	.kicks_off = split_kicks_off,
	.kicks_on = split_kicks_on,
	.avail_base = split_avail_base,
	.used_base = split_used_base,
	.used_idx = split_used_idx,
};
