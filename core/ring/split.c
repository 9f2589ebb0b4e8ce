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
	if (VIO_RUNS)
		q->used_mark = used_base;
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
 * when the index makes no sense, which breaks the queue: also one that uses
 * again what it was not told yet to be used (a record of what is in flight
 * has no room for that).
 */
static bool refresh(struct vio_queue *q)
{
	uint16_t taken = (uint16_t)(q->avail_next - q->used_shown);
	uint16_t idx, ahead;

	/* pairs with [A]: the driver's release of avail->idx, after the ring
	 * entry and the descriptors it covers. */
	idx = vio_ring16(q, vio_get16_acquire(&avail(q)->idx, q->dma));
	ahead = (uint16_t)(idx - q->avail_next);
	if (vio_unlikely(ahead && (uint32_t)ahead + taken > q->size)) {
		VIO_RING_BREAK(q, "available index is further ahead than the "
				"ring is long", { "index", idx },
				{ "next", q->avail_next },
				{ "used", q->used_shown },
				{ "size", q->size });
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

#ifdef VIO_SMALL
static unsigned variant_of(const struct vio_queue *q)
{
	return q->big_endian ? VIO_V_BIG : 0;
}
#endif

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

#ifndef VIO_SMALL
VIO_APART bool walk_big(struct vio_queue *q, struct vio_req *req,
			struct vio_view *view, struct virtq_desc *d)
{
	return walk(q, req, view, d, VIO_V_BIG);
}
#endif

/*
 * A chain that is more than one buffer in the memory that was hit last; its
 * first descriptor is { @addr, @rest }, as copied. False: broken, or nothing.
 */
VIO_APART bool fill_slow(struct vio_queue *q, struct vio_req *req,
			 uint64_t addr, uint64_t rest)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	const vio_le64 at[2] = { vio_to_le64(addr), vio_to_le64(rest) };
	struct virtq_desc d;

	memcpy(&d, at, sizeof(d));
#ifdef VIO_SMALL
	return walk(q, req, &view, &d, variant_of(q));
#else
	if (vio_unlikely(q->big_endian))
		return walk_big(q, req, &view, &d);
	return walk(q, req, &view, &d, 0);
#endif
}

/* -- pop ----------------------------------------------------------------- */

/* How far ahead descriptors are asked for. */
#define AHEAD	8

/* Of a batch, copied; the heads end in some that only are asked for. */
struct ahead {
	vio_le16 head[VIO_RING_BATCH + AHEAD];
	/* Chains that are more than one buffer: which of the batch. */
	uint8_t late[VIO_RING_BATCH];
	unsigned nr_late;
	uint64_t desc[VIO_RING_BATCH][2];	/* of these */
};

/*
 * What the driver wrote last lies in its processor's cache, and each line of
 * it takes a hundred nanoseconds to come. So all heads of a batch are copied
 * before the first is looked at, and descriptors are asked for in advance.
 */
VIO_INLINE void copy_heads(const struct vio_queue *q, struct ahead *a,
			   unsigned n)
{
	unsigned at = q->avail_next & (q->size - 1u), run = q->size - at;
	const vio_le16 *ring = avail_ring(q);

	if (run > n)
		run = n;
	vio_copy_in(a->head, ring + at, run * sizeof(*ring));
	if (vio_unlikely(run < n))
		vio_copy_in(a->head + run, ring, (n - run) * sizeof(*ring));
	memset(a->head + n, 0, AHEAD * sizeof(*ring));
}

VIO_INLINE unsigned head_of(const struct ahead *a, unsigned i, unsigned v)
{
	return vio_turn16(v, vio_from_le16(a->head[i]));
}

VIO_APART void bad_head(struct vio_queue *q, unsigned head)
{
	if (head >= q->size)
		VIO_RING_BREAK(q, "available ring names a descriptor outside "
			       "the table", { "head", head },
			       { "size", q->size });
	else
		VIO_RING_BREAK(q, "a chain was made available again before it "
			       "was used", { "head", head },
			       { "in flight", q->inflight });
}

/*
 * Fill the requests that are one buffer in the memory that was hit last; the
 * others are left for finish(). Returns how many have a head that can be; the
 * next breaks the queue.
 */
VIO_INLINE unsigned take(struct vio_queue *q, struct vio_req **req,
			 struct ahead *a, unsigned n, unsigned v)
{
	const struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	const uint64_t book = vio_ring_book(q, 1, VIO_REQ_POPPED);
	const struct virtq_desc *table = q->desc;
	const size_t stride = q->slot_stride;
	unsigned char *slots = q->slots;
	const unsigned size = q->size;
	unsigned i, nr_late = 0;

	for (i = 0; i < n; i++) {
		unsigned head = head_of(a, i, v), flags;
		struct vio_req *r = (void *)(slots + head * stride);
		uint64_t addr, rest;
		uint32_t len;
		void *p;

		vio_prefetch(&table[head_of(a, i + AHEAD, v)]);
		if (vio_unlikely(head >= size || r->state != VIO_REQ_FREE))
			break;
		vio_get_desc(&table[head], &addr, &rest);
		len = vio_turn32(v, (uint32_t)rest);
		flags = vio_turn16(v, (uint16_t)(rest >> 32));
		vio_ring_book_put(r, book);
		req[i] = r;
		if (vio_likely(VIO_RUNS && !(flags & CHAINED) && vio_view_has(
				&view, vio_turn64(v, addr), len, &p))) {
			vio_fill_single(r, p, len, flags & VIRTQ_DESC_F_WRITE);
			continue;
		}
		/* A table elsewhere, perhaps: ask for it too. */
		vio_prefetch(vio_view_at(&view, vio_turn64(v, addr), 1));
		a->desc[nr_late][0] = addr;
		a->desc[nr_late][1] = rest;
		a->late[nr_late++] = (uint8_t)i;
	}
	a->nr_late = nr_late;
	return i;
}

/*
 * Fill what take() left. Returns how many of @n are whole. Fewer: broken, or a
 * translation comes later.
 */
VIO_APART unsigned finish(struct vio_queue *q, struct vio_req **req,
			  const struct ahead *a, unsigned n)
{
	for (unsigned i = 0; i < a->nr_late; i++) {
		unsigned at = a->late[i];

		bool whole = fill_slow(q, req[at], a->desc[i][0],
				       a->desc[i][1]);

		if (vio_likely(whole)) {
			vio_ring_req_take(q, req[at], 1);
			continue;
		}
		/* It and those behind it were never popped. */
		for (unsigned k = at; k < n; k++) {
			req[k]->seg = vio_ring_inline(req[k]);
			req[k]->state = VIO_REQ_FREE;
		}
		return at;
	}
	return n;
}

VIO_INLINE unsigned pop(struct vio_queue *q, struct vio_req **req,
			unsigned max, unsigned v)
{
	unsigned n = (uint16_t)(q->avail_seen - q->avail_next), got;
	struct ahead a;

	if (n < max) {
		if (!refresh(q))
			return 0;
		n = (uint16_t)(q->avail_seen - q->avail_next);
	}
	if (n > max)
		n = max;
	copy_heads(q, &a, n);
	got = take(q, req, &a, n, v);
	if (a.nr_late) {
		unsigned whole = finish(q, req, &a, got);

		if (vio_unlikely(whole < got))
			got = n = whole;
	}
	if (vio_unlikely(got < n))
		bad_head(q, head_of(&a, got, v));
	q->avail_next = (uint16_t)(q->avail_next + got);
	if (q->in_order)
		vio_ring_order(q, req, got);
	if (q->track)
		vio_track_split_pop(q->track, req, got);
	vio_ring_popped(q, got);
	return got;
}

static struct vio_req *split_replay(struct vio_queue *q, uint16_t head)
{
	struct vio_req *req = vio_ring_slot(q, head);
	uint64_t addr, rest;

	vio_get_desc((const struct virtq_desc *)q->desc + head, &addr, &rest);
	if (!fill_slow(q, req, addr, rest))
		return NULL;
	vio_ring_req_take(q, req, 1);
	return req;
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

/* @n used elements from @at on were written, under a dirty log. */
VIO_APART void log_used(const struct vio_queue *q, uint16_t at, unsigned n)
{
	for (; n; n--, at++)
		vio_ring_log(q, &used_ring(q)[at & (q->size - 1)],
			     sizeof(struct virtq_used_elem));
}

/* Enter requests whose turn it is; the driver does not see them yet. */
VIO_INLINE void push(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n, unsigned v)
{
	const uint32_t usual = vio_ring_usual(q), mask = q->size - 1u;
	struct virtq_used_elem *ring = used_ring(q);
	uint32_t at = q->used_next;
	unsigned old = 0;

	for (unsigned i = 0; i < n; i++, at++) {
		struct vio_req *r = req[i];
		struct virtq_used_elem *e = &ring[at & mask];

		if (vio_unlikely(!VIO_RUNS || vio_ring_key_of(r) != usual))
			old += vio_ring_forget(q, r);
		vio_put32(&e->id, vio_turn32(v, r->head));
		vio_put32(&e->len, vio_turn32(v, r->written));
		r->state = VIO_REQ_FREE;
	}
	if (vio_unlikely(vio_mem_is_logged(q->mem)))
		log_used(q, q->used_next, n);
	if (q->track)
		vio_track_split_push(q->track, req, n);
	q->used_next = (uint16_t)at;
	vio_ring_forgotten(q, n, old);
}

VIO_INLINE void done(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n, unsigned v)
{
	struct vio_req *turn[VIO_RING_BATCH];
	bool in_order = q->in_order;

	/* split.device.in-order: use buffers in the order they were made
	 * available. */
	if (in_order) {
		vio_ring_finish(q, req, n);
		req = turn;
		n = vio_ring_turn(q, turn, VIO_RING_BATCH);
	}
	for (;;) {
		push(q, req, n, v);
		if (!in_order || n < VIO_RING_BATCH)
			return;
		n = vio_ring_turn(q, turn, VIO_RING_BATCH);
	}
}

#ifdef VIO_SMALL
VIO_RING_VARIANT(any, variant_of(q))
#else
VIO_RING_VARIANT(little, 0)
VIO_RING_VARIANT(big, VIO_V_BIG)
#endif

static const struct vio_ring_hot *split_hot(const struct vio_queue *q)
{
#ifdef VIO_SMALL
	(void)q;
	return &hot_any;
#else
	return q->big_endian ? &hot_big : &hot_little;
#endif
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
	if (VIO_RUNS)
		q->used_mark = q->used_next;
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
#ifndef VIO_SMALL
	.peek = vio_split_peek,
	.use = vio_split_use,
	.put_off = vio_split_put_off,
#endif
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
