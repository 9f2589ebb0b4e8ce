/* SPDX-License-Identifier: MIT */
/*
 * packed.c - the device half of the packed virtqueue (standard: 2.8).
 *
 * One ring of descriptors, written by both sides; who may write one is said
 * by two bits of its flags against a wrap counter. As in split.c, each shared
 * word is loaded once and nothing that was written is read back. In struct
 * vio_queue, avail_next and used_* are positions (spec/packed.h).
 */
#include "core/ring/fill.h"
#include "core/ring/track.h"
#include "core/mem/access.h"
#include <vireo/spec/packed.h>

/* Read and, once used, written. */
static struct pvirtq_desc *ring(const struct vio_queue *q)
{
	return q->desc;
}

static const struct pvirtq_event_suppress *driver_event(
	const struct vio_queue *q)
{
	return q->driver_area;
}

static struct pvirtq_event_suppress *device_event(const struct vio_queue *q)
{
	return q->device_area;
}

static void wrote(const struct vio_queue *q, const void *p, size_t len)
{
	if (vio_unlikely(vio_mem_is_logged(q->mem)))
		vio_ring_log(q, p, len);
}

/* packed.other: alignments of 2.8; the size need not be a power of 2. */
static bool layout_ok(const struct vio_queue_layout *l, uint16_t size_max)
{
	return l->size && l->size <= size_max &&
	       l->size <= PVIRTQ_SIZE_MAX &&
	       !(l->desc.v % PVIRTQ_DESC_ALIGN) &&
	       !(l->driver.v % PVIRTQ_EVENT_ALIGN) &&
	       !(l->device.v % PVIRTQ_EVENT_ALIGN);
}

static int packed_map(struct vio_queue *q, struct vio_mem *mem,
		      const struct vio_queue_layout *l)
{
	const uint64_t ev = sizeof(struct pvirtq_event_suppress);
	unsigned hint = 0;
	const void *driver;
	void *desc, *device;

	if (!layout_ok(l, q->limits.size_max))
		return VIO_E_INVAL;
	desc = vio_mem_at(mem, &hint, l->desc,
			  l->size * (uint64_t)sizeof(struct pvirtq_desc),
			  VIO_PERM_RW);
	driver = vio_mem_at(mem, &hint, l->driver, ev, VIO_PERM_READ);
	device = vio_mem_at(mem, &hint, l->device, ev, VIO_PERM_RW);
	if (!desc || !driver || !device)
		return vio_ring_lost(hint);
	/* Guest alignment says nothing about where the host mapped it. */
	if ((uintptr_t)desc % 8 || (uintptr_t)driver % 2 ||
	    (uintptr_t)device % 2)
		return VIO_E_INVAL;
	q->desc = desc;
	q->driver_area = driver;
	q->device_area = device;
	q->size = l->size;
	return VIO_OK;
}

static int packed_init(struct vio_queue *q, uint16_t avail_base,
		       uint16_t used_base)
{
	uint16_t avail, used;

	if (!pvirtq_unpack(avail_base, q->size, &avail) ||
	    !pvirtq_unpack(used_base, q->size, &used) ||
	    pvirtq_distance(used, avail, q->size) > q->size)
		return VIO_E_INVAL;
	q->avail_next = avail;
	q->used_next = q->used_shown = q->used_signalled = used;
	vio_put16(&device_event(q)->flags, RING_EVENT_FLAGS_ENABLE);
	wrote(q, device_event(q), sizeof(*device_event(q)));
	return VIO_OK;
}

/*
 * Entries that the driver can have lent us beside those we took: one that it
 * was not shown as used is ours still, and what it says there is a lie.
 */
static unsigned room_of(const struct vio_queue *q)
{
	return q->size - pvirtq_distance(q->used_shown, q->avail_next,
					 q->size);
}

/* Is the descriptor at the next position available? @flags: as loaded. */
static bool look(const struct vio_queue *q, uint16_t *flags)
{
	bool wrap = pvirtq_wrap(q->avail_next, q->size);

	/* pairs with [E]: the driver's release of the flags, after the rest
	 * of the descriptor and of the list that it begins. */
	*flags = vio_get16_acquire(
		&ring(q)[pvirtq_off(q->avail_next, q->size)].flags,
		q->dma);
	return !!(*flags & PVIRTQ_DESC_F_AVAIL) == wrap &&
	       !!(*flags & PVIRTQ_DESC_F_USED) != wrap;
}

static bool packed_pending(struct vio_queue *q)
{
	uint16_t flags;

	return look(q, &flags);
}

VIO_APART bool fault(struct vio_req *req, const char *text, uint64_t value)
{
	VIO_RING_BREAK(req->queue, text,
		       { "offset", pvirtq_off(req->queue->avail_next,
					      req->queue->size) },
		       { "value", value }, { "size", req->queue->size });
	return false;
}

/* -- lists --------------------------------------------------------------- */

/* One descriptor's bytes join the request; @flags stand for the copy's. */
VIO_INLINE bool add(struct vio_req *req, struct vio_fill *fill,
		    struct vio_view *view, const struct pvirtq_desc *d,
		    uint16_t flags)
{
	return vio_fill_add(req->queue, req, fill, view,
			    vio_from_le64(d->addr), vio_from_le32(d->len),
			    flags & PVIRTQ_DESC_F_WRITE);
}

/*
 * packed.driver.indirect-descriptors: the entries of an indirect table stand
 * one after the other; WRITE is their only flag.
 */
VIO_APART bool walk_indirect(struct vio_req *req, struct vio_view *view,
			  const struct pvirtq_desc *d)
{
	struct vio_fill fill = vio_fill_begin(req);
	uint32_t len = vio_from_le32(d->len);
	struct vio_queue *q = req->queue;
	uint64_t addr = vio_from_le64(d->addr);
	struct pvirtq_desc e;

	if (!q->indirect)
		return fault(req, "indirect descriptor, but INDIRECT_DESC was "
			     "not negotiated", 0);
	if (!len || len % sizeof(e))
		return fault(req, "indirect table's length is not a multiple "
			     "of 16", len);
	if (len - 1 > UINT64_MAX - addr)
		return fault(req, "indirect table runs past the end of the "
			     "address space", addr);
	/* Each entry takes room in the request or is empty; bounded both by
	 * the segments and, for empty ones, by the ring's size. */
	if (len / sizeof(e) > q->limits.seg_max)
		return fault(req, "indirect table has too many entries",
			     len / sizeof(e));
	for (; len; len -= sizeof(e), addr += sizeof(e)) {
		const void *at = vio_view_at(view, addr, sizeof(e));

		if (vio_likely(at))
			vio_copy_in(&e, at, sizeof(e));
		else if (!vio_ring_copy_in(q, vio_addr_of(addr), &e,
					   sizeof(e)))
			return !vio_ring_waits(q) &&
			       fault(req, "indirect table is not in guest "
				     "memory", addr);
		if (!add(req, &fill, view, &e, vio_from_le16(e.flags)))
			return false;
	}
	vio_fill_end(req, &fill);
	return true;
}

/* A private copy of all but the flags, which are loaded before. */
VIO_INLINE void fetch(const struct vio_queue *q, uint16_t off,
		      struct pvirtq_desc *d)
{
	vio_copy_in(d, &ring(q)[off], offsetof(struct pvirtq_desc, flags));
}

/*
 * The list that begins at the next position with @d, copied, and @flags.
 * @nr: out, entries of the ring; @id: out, from the last of them.
 */
VIO_APART bool walk_list(struct vio_req *req, struct vio_view *view,
		      uint16_t flags, struct pvirtq_desc *d, uint16_t *nr,
		      uint16_t *id)
{
	struct vio_fill fill = vio_fill_begin(req);
	struct vio_queue *q = req->queue;
	uint16_t off = pvirtq_off(q->avail_next, q->size);
	unsigned room = room_of(q);

	if (q->track)
		vio_track_packed_list(q->track);
	for (*nr = 1;; ++*nr) {
		/* Bounds the loop: the ring is not longer than its size. */
		if (vio_unlikely(*nr > room))
			return fault(req, "more descriptors than the ring "
				     "has free", *nr);
		if (*nr > 1) {
			flags = vio_get16(&ring(q)[off].flags);
			fetch(q, off, d);
		}
		if (q->track)
			vio_track_packed_desc(q->track, d, flags);
		if (vio_unlikely(flags & PVIRTQ_DESC_F_INDIRECT)) {
			/* A list is all direct, or one indirect table. */
			if (*nr > 1 || (flags & PVIRTQ_DESC_F_NEXT))
				return fault(req, "indirect descriptor in a "
					     "list", flags);
			break;
		}
		if (vio_unlikely(!add(req, &fill, view, d, flags)))
			return false;
		if (!(flags & PVIRTQ_DESC_F_NEXT))
			break;
		if (vio_unlikely(++off == q->size))
			off = 0;
	}
	*id = vio_from_le16(d->id);
	if (flags & PVIRTQ_DESC_F_INDIRECT)
		return walk_indirect(req, view, d);
	vio_fill_end(req, &fill);
	return true;
}

/* -- pop ----------------------------------------------------------------- */

/* A descriptor's two bits that say whose it is. */
#define WHOSE	(PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)

/* A list is filled here first, as its last descriptor says who it is. */
static struct vio_req *nameless(const struct vio_queue *q)
{
	return vio_ring_slot(q, q->limits.size_max);
}

/* The request @id, of @nr descriptors, is as @from was filled. */
static struct vio_req *name(struct vio_queue *q, const struct vio_req *from,
			    uint16_t nr, uint16_t id)
{
	unsigned segs = (unsigned)from->nr_read + from->nr_write;
	struct vio_req *req;

	if (vio_unlikely(id >= q->size ||
			 vio_ring_slot(q, id)->state != VIO_REQ_FREE))
		return VIO_RING_BREAK(q, "buffer id is outside the ring's "
				      "size or in use", { "id", id },
				      { "size", q->size },
				      { "in flight", q->inflight });
	req = vio_ring_slot(q, id);
	req->seg = segs <= VIO_REQ_INLINE - VIO_REQ_SPARE ?
		   vio_ring_inline(req) :
		   q->overflow + id * vio_ring_overflow(&q->limits);
	memcpy(req->seg, from->seg, segs * sizeof(*req->seg));
	req->read_len = from->read_len;
	req->write_len = from->write_len;
	req->written = 0;
	req->nr_read = from->nr_read;
	req->nr_write = from->nr_write;
	vio_ring_req_take(q, req, nr);
	return req;
}

/*
 * All that is not one buffer in the memory that was hit last, or is wrong.
 * The first descriptor is @addr and @tail, as copied.
 */
VIO_APART struct vio_req *pop_slow(struct vio_queue *q, uint64_t addr,
				   uint64_t tail)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	struct pvirtq_desc d = {
		.addr = vio_to_le64(addr),
		.len = vio_to_le32((uint32_t)tail),
		.id = vio_to_le16((uint16_t)(tail >> 32)),
	};
	struct vio_req *req = nameless(q);
	uint16_t id, nr;

	/* Until it has a name, it belongs to no map and has no age. */
	if (!walk_list(req, &view, (uint16_t)(tail >> 48), &d, &nr, &id))
		return NULL;
	req = name(q, req, nr, id);
	if (!req)
		return NULL;
	q->avail_next = pvirtq_add(q->avail_next, nr, q->size);
	if (q->track)
		vio_track_packed_pop(q->track, id);
	return req;
}

/* Entries of the ring that are asked for before they are looked at. */
#define AHEAD	16

/* Flags that say that the descriptor at @pos is available, of WHOSE. */
static unsigned avail_bits(const struct vio_queue *q, uint16_t pos)
{
	return pvirtq_wrap(pos, q->size) ? PVIRTQ_DESC_F_AVAIL :
					   PVIRTQ_DESC_F_USED;
}

/*
 * Pop while descriptors are buffers of their own in the memory that was hit
 * last, up to the end of the ring and @max. Returns how many; @more: out, it
 * ended at a descriptor that takes pop_slow(), and is *@addr and *@tail.
 */
VIO_INLINE unsigned pop_run(struct vio_queue *q, struct vio_req **req,
			    unsigned max, bool *more, uint64_t *addr,
			    uint64_t *tail)
{
	const struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	const uint64_t book = vio_ring_book(q, 1, VIO_REQ_POPPED);
	const unsigned size = q->size, bits = avail_bits(q, q->avail_next);
	const struct pvirtq_desc *d = ring(q) + pvirtq_off(q->avail_next, size);
	unsigned room = size - pvirtq_off(q->avail_next, size), n;
	const unsigned lent = room_of(q);
	struct vio_track *track = q->track;
	const size_t stride = q->slot_stride;
	unsigned char *slots = q->slots;
	const bool dma = q->dma;

	*more = false;
	if (room > max)
		room = max;
	for (n = 0; n < room; n++, d++) {
		/* pairs with [E]: the driver's release of the flags, after
		 * the rest of the descriptor and of its list. */
		uint64_t t = vio_get_tail_acquire(&d->len, dma), at;
		unsigned flags = (unsigned)(t >> 48);
		unsigned id = (uint16_t)(t >> 32);
		struct vio_req *r = (void *)(slots + id * stride);
		void *p;

		if ((flags ^ bits) & WHOSE)
			break;
		vio_prefetch(d + AHEAD);
		vio_tail_is_ours(&d->len);
		at = vio_get64(&d->addr);
		if (vio_unlikely(!VIO_RUNS || n == lent || id >= size ||
				 r->state != VIO_REQ_FREE ||
				 flags & (PVIRTQ_DESC_F_NEXT |
					  PVIRTQ_DESC_F_INDIRECT) ||
				 !vio_view_has(&view, at, (uint32_t)t, &p))) {
			*addr = at;
			*tail = t;
			*more = true;
			break;
		}
		vio_fill_single(r, p, (uint32_t)t, flags & PVIRTQ_DESC_F_WRITE);
		vio_ring_book_put(r, book);
		if (track)
			vio_track_packed_single(track, at, t);
		req[n] = r;
	}
	q->avail_next = pvirtq_add(q->avail_next, (uint16_t)n, q->size);
	return n;
}

static unsigned packed_pop(struct vio_queue *q, struct vio_req **req,
			   unsigned max)
{
	uint64_t addr, tail;
	unsigned n = 0, got;
	bool more;

	do {
		got = pop_run(q, req + n, max - n, &more, &addr, &tail);
		n += got;
		if (vio_unlikely(more)) {
			req[n] = pop_slow(q, addr, tail);
			if (!req[n])
				break;
			n++;
		}
		/* On, behind a list or at the ring's other end. */
	} while (n < max && (more || (got && !pvirtq_off(q->avail_next,
							 q->size))));
	if (q->in_order)
		vio_ring_order(q, req, n);
	vio_ring_popped(q, n);
	return n;
}

/*
 * From the record, where the list's length was checked; its entries are as
 * good as any driver's. The ring's own are counted as lent to us already.
 */
static struct vio_req *packed_replay(struct vio_queue *q, uint16_t entry)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	struct vio_track *t = q->track;
	struct vio_req *req = nameless(q);
	struct vio_fill fill = vio_fill_begin(req);
	uint16_t i = entry, nr = 1;
	struct pvirtq_desc d;

	for (;; i = t->link[i], nr++) {
		uint16_t flags = vio_track_packed_read(t, i, &d);

		if (flags & PVIRTQ_DESC_F_INDIRECT) {
			if (entry != t->last[entry])
				fault(req, "indirect descriptor in a list",
				      flags);
			else if (walk_indirect(req, &view, &d))
				break;
			return NULL;
		}
		if (!add(req, &fill, &view, &d, flags))
			return NULL;
		vio_fill_end(req, &fill);
		if (i == t->last[entry])
			break;
	}
	req = name(q, req, nr, vio_from_le16(d.id));
	if (req)
		t->entry[req->head] = entry;
	return req;
}

static void packed_recover(struct vio_queue *q, uint16_t *avail_base,
			   uint16_t *used_base)
{
	uint16_t avail, used;

	/* What makes no sense is refused by init. */
	if (!pvirtq_unpack(*avail_base, q->size, &avail) ||
	    !pvirtq_unpack(*used_base, q->size, &used))
		return;
	vio_track_packed_begin(q, &avail, &used);
	*avail_base = pvirtq_pack(avail, q->size);
	*used_base = pvirtq_pack(used, q->size);
}

static void packed_unpop(struct vio_queue *q, struct vio_req *req)
{
	/* Back by nr_desc is forward by the rest of the circle. */
	q->avail_next = pvirtq_add(q->avail_next, q->size, q->size);
	q->avail_next = pvirtq_add(q->avail_next, q->size - req->nr_desc,
				   q->size);
	if (q->track)
		vio_track_packed_unpop(q->track, req->head);
}

/* -- done ---------------------------------------------------------------- */

/* Descriptors from @from on to used_next were written, under a dirty log. */
VIO_APART void log_used(const struct vio_queue *q, uint16_t from,
			struct vio_req *const *req, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		vio_ring_log(q, ring(q) + pvirtq_off(from, q->size),
			     sizeof(struct pvirtq_desc));
		from = pvirtq_add(from, req[i]->nr_desc, q->size);
	}
}

/*
 * Enter requests whose turn it is. The driver polls one place only, the first
 * descriptor not yet used. So all others of a batch are written outright, and
 * the flags of the first wait for the publication.
 */
VIO_INLINE void push(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n)
{
	const uint32_t usual = vio_ring_usual(q);
	const unsigned size = q->size;
	const uint16_t from = q->used_next;
	unsigned off = pvirtq_off(from, size), old = 0;
	unsigned bits = pvirtq_wrap(from, size) ? WHOSE : 0;
	struct pvirtq_desc *ring_at = ring(q);
	bool hidden = from == q->used_shown;

	for (unsigned i = 0; i < n; i++) {
		struct pvirtq_desc *d = &ring_at[off];
		struct vio_req *r = req[i];
		uint32_t written = r->written;
		unsigned flags = written ? bits | PVIRTQ_DESC_F_WRITE : bits;

		if (vio_unlikely(hidden)) {
			hidden = false;
			vio_put16(&d->id, r->head);
			vio_put32(&d->len, written);
			q->first_flags = (uint16_t)flags;
		} else {
			vio_put_tail(&d->len, written |
				     (uint64_t)r->head << 32 |
				     (uint64_t)flags << 48);
		}
		if (vio_unlikely(!VIO_RUNS || vio_ring_key_of(r) != usual)) {
			old += vio_ring_forget(q, r);
			off += r->nr_desc - 1u;
		}
		r->state = VIO_REQ_FREE;
		if (vio_unlikely(++off >= size)) {
			off -= size;
			bits ^= WHOSE;
		}
	}
	if (vio_unlikely(vio_mem_is_logged(q->mem)))
		log_used(q, from, req, n);
	if (q->track)
		vio_track_packed_push(q->track, req, n);
	q->used_next = (uint16_t)(bits ? off : off + size);
	vio_ring_forgotten(q, n, old);
}

static void packed_done(struct vio_queue *q, struct vio_req *const *req,
			unsigned n)
{
	struct vio_req *turn[VIO_RING_BATCH];
	bool in_order = q->in_order;

	if (in_order) {
		vio_ring_finish(q, req, n);
		req = turn;
		n = vio_ring_turn(q, turn, VIO_RING_BATCH);
	}
	for (;;) {
		push(q, req, n);
		if (!in_order || n < VIO_RING_BATCH)
			return;
		n = vio_ring_turn(q, turn, VIO_RING_BATCH);
	}
}

static const struct vio_ring_hot *packed_hot(const struct vio_queue *q)
{
	static const struct vio_ring_hot hot = { packed_pop, packed_done };

	(void)q;
	return &hot;
}

/* -- notifications ------------------------------------------------------- */

/* packed.other: the driver's event suppression structure, 2.8.10. */
static bool want_notify(struct vio_queue *q)
{
	uint16_t old = q->used_signalled, word, event, flags;

	q->used_signalled = q->used_next;
	/* pairs with [F]: the driver's release of flags, after desc. */
	flags = vio_get16_acquire(&driver_event(q)->flags, q->dma);
	if (flags == RING_EVENT_FLAGS_DISABLE)
		return false;
	if (flags != RING_EVENT_FLAGS_DESC || !q->event_idx)
		return true;
	word = vio_get16(&driver_event(q)->desc);
	if (vio_unlikely(!q->signalled_valid)) {
		q->signalled_valid = true;
		return true;
	}
	/* An offset outside the ring asks for nothing that makes sense. */
	return !pvirtq_unpack(word, q->size, &event) ||
	       pvirtq_need_event(event, q->used_next, old, q->size);
}

static bool packed_publish(struct vio_queue *q)
{
	struct pvirtq_desc *d = &ring(q)[pvirtq_off(q->used_shown, q->size)];

	if (q->track)
		vio_track_packed_publish(q);
	/* pairs with [G]: the driver's acquire of the flags, before it reads
	 * the descriptor and those behind it. */
	vio_store_release16(&d->flags, q->first_flags, q->dma);
	wrote(q, &d->flags, sizeof(d->flags));
	if (q->track)
		vio_track_packed_published(q);
	q->used_shown = q->used_next;
	/* pairs with [H]: the driver's barrier between its event suppression
	 * and its last look at the ring. One of the two sees the other. */
	vio_peer_mb(q->dma);
	return want_notify(q);
}

static void packed_kicks_off(struct vio_queue *q)
{
	vio_put16(&device_event(q)->flags, RING_EVENT_FLAGS_DISABLE);
	wrote(q, device_event(q), sizeof(*device_event(q)));
}

static bool packed_kicks_on(struct vio_queue *q)
{
	struct pvirtq_event_suppress *e = device_event(q);

	vio_put16(&e->desc, pvirtq_pack(q->avail_next, q->size));
	/* pairs with [I]: the driver's acquire of flags, before desc. */
	vio_store_release16(&e->flags, q->event_idx ? RING_EVENT_FLAGS_DESC :
						      RING_EVENT_FLAGS_ENABLE,
			    q->dma);
	wrote(q, e, sizeof(*e));
	/* pairs with [J]: the driver's barrier between making descriptors
	 * available and reading our event suppression. */
	vio_peer_mb(q->dma);
	return packed_pending(q);
}

static uint16_t packed_base(const struct vio_queue *q)
{
	return pvirtq_pack(q->avail_next, q->size);
}

static uint16_t packed_used_base(const struct vio_queue *q)
{
	return pvirtq_pack(q->used_next, q->size);
}

const struct vio_ring_ops vio_ring_packed = {
	.map = packed_map,
	.init = packed_init,
	.recover = packed_recover,
	.hot = packed_hot,
	.replay = packed_replay,
#ifndef VIO_SMALL
	.peek = vio_packed_peek,
	.use = vio_packed_use,
#endif
	.unpop = packed_unpop,
	.pending = packed_pending,
	.publish = packed_publish,
	.wants = want_notify,
	.kicks_off = packed_kicks_off,
	.kicks_on = packed_kicks_on,
	.avail_base = packed_base,
	.used_base = packed_used_base,
};
