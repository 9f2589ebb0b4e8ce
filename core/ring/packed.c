/* SPDX-License-Identifier: MIT */
/*
 * packed.c - the device half of the packed virtqueue (standard: 2.8).
 *
 * One ring of descriptors, written by both sides; who may write one is said
 * by two bits of its flags against a wrap counter. As in split.c, each shared
 * word is loaded once and nothing that was written is read back. In struct
 * vio_queue, avail_next and used_* are positions (spec/packed.h), and
 * outstanding counts the ring's entries that the driver has lent us.
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
	uint32_t lent;

	if (!pvirtq_unpack(avail_base, q->size, &avail) ||
	    !pvirtq_unpack(used_base, q->size, &used))
		return VIO_E_INVAL;
	lent = pvirtq_distance(used, avail, q->size);
	if (lent > q->size)
		return VIO_E_INVAL;
	q->avail_next = avail;
	q->used_next = q->used_shown = q->used_signalled = used;
	q->outstanding = (uint16_t)lent;
	vio_put16(&device_event(q)->flags, RING_EVENT_FLAGS_ENABLE);
	wrote(q, device_event(q), sizeof(*device_event(q)));
	return VIO_OK;
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

/* -- what every request takes: see variant.h ------------------------------ */

static unsigned variant_of(const struct vio_queue *q)
{
	return (q->in_order ? VIO_V_IN_ORDER : 0) |
	       (q->track ? VIO_V_TRACK : 0);
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
	unsigned room = q->size - q->outstanding;

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

VIO_INLINE struct vio_req *new_req(struct vio_queue *q)
{
	struct vio_req *req;

	if (vio_unlikely(!q->nr_free))
		return VIO_RING_BREAK(q, "more requests than the ring is long",
				      { "in flight", q->inflight },
				      { "size", q->size });
	req = vio_ring_slot(q, q->free[q->nr_free - 1]);
	vio_ring_req_begin(q, req);
	return req;
}

/* The list's last descriptor was read: it names the buffer. */
VIO_INLINE struct vio_req *take(struct vio_queue *q, struct vio_req *req,
				unsigned nr, uint16_t id)
{
	if (vio_unlikely(id >= q->size || q->id_busy[id]))
		return VIO_RING_BREAK(q, "buffer id is outside the ring's "
				      "size or in use", { "id", id },
				      { "size", q->size },
				      { "in flight", q->inflight });
	req->head = id;
	req->nr_desc = (uint16_t)nr;
	req->state = VIO_REQ_POPPED;
	q->id_busy[id] = 1;
	q->nr_free--;
	return req;
}

VIO_INLINE struct vio_req *pop_one(struct vio_queue *q, struct vio_view *view,
				   unsigned v)
{
	uint16_t flags, id, nr = 1;
	struct pvirtq_desc d;
	struct vio_req *req;
	void *p;

	if (!look(q, &flags))
		return NULL;
	req = new_req(q);
	if (vio_unlikely(!req))
		return NULL;
	fetch(q, pvirtq_off(q->avail_next, q->size), &d);
	p = vio_view_at(view, vio_from_le64(d.addr), vio_from_le32(d.len));
	if (vio_likely(p && !(v & VIO_V_TRACK) && q->outstanding < q->size &&
		       !(flags & (PVIRTQ_DESC_F_NEXT |
				  PVIRTQ_DESC_F_INDIRECT)))) {
		vio_fill_single(req, p, vio_from_le32(d.len),
				flags & PVIRTQ_DESC_F_WRITE);
		id = vio_from_le16(d.id);
	} else if (!walk_list(req, view, flags, &d, &nr, &id)) {
		return NULL;
	}
	if (vio_unlikely(!take(q, req, nr, id)))
		return NULL;
	q->outstanding = (uint16_t)(q->outstanding + nr);
	q->avail_next = pvirtq_add(q->avail_next, nr, q->size);
	if (v & VIO_V_TRACK)
		vio_track_packed_pop(q->track, req->slot);
	return req;
}

/* Entries of the ring that are asked for before they are looked at. */
#define AHEAD	16

VIO_INLINE unsigned pop(struct vio_queue *q, struct vio_req **req,
			unsigned max, unsigned v)
{
	struct vio_view view = vio_view_of(q->mem, q->mem_hint);
	unsigned n;

	for (n = 0; n < max; n++) {
		vio_prefetch(&ring(q)[pvirtq_off(q->avail_next, q->size)] +
			     AHEAD);
		req[n] = pop_one(q, &view, v);
		if (!req[n])
			break;
	}
	if (v & VIO_V_IN_ORDER)
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
	struct vio_req *req = new_req(q);
	uint16_t i = entry, nr = 1;
	struct pvirtq_desc d;
	struct vio_fill fill;

	if (!req)
		return NULL;
	fill = vio_fill_begin(req);
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
	t->entry[req->slot] = entry;
	return take(q, req, nr, vio_from_le16(d.id));
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
	q->outstanding -= req->nr_desc;
	if (q->track)
		vio_track_packed_unpop(q->track, req->slot);
}

static void packed_forget(struct vio_queue *q, struct vio_req *req)
{
	q->id_busy[req->head] = 0;
	q->free[q->nr_free++] = req->slot;
}

/* -- done ---------------------------------------------------------------- */

/*
 * The driver polls one place only, the first descriptor not yet used. So all
 * others of a batch are written outright, and the flags of the first wait for
 * the publication.
 */
VIO_INLINE void push(struct vio_queue *q, struct vio_req *req, unsigned v)
{
	struct pvirtq_desc *d = &ring(q)[pvirtq_off(q->used_next, q->size)];
	uint16_t flags = pvirtq_wrap(q->used_next, q->size) ?
			 PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0;

	if (req->written)
		flags |= PVIRTQ_DESC_F_WRITE;
	vio_put16(&d->id, req->head);
	vio_put32(&d->len, req->written);
	if (q->used_next == q->used_shown)
		q->first_flags = flags;
	else
		vio_put16(&d->flags, flags);
	wrote(q, d, sizeof(*d));
	q->used_next = pvirtq_add(q->used_next, req->nr_desc, q->size);
	q->outstanding -= req->nr_desc;
	if (v & VIO_V_TRACK)
		vio_track_push(q->track, q->track->entry[req->slot]);
	packed_forget(q, req);
}

VIO_INLINE void done(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n, unsigned v)
{
	unsigned current = 0, i;
	struct vio_req *r;

	if (v & VIO_V_IN_ORDER) {
		for (i = 0; i < n; i++)
			req[i]->state = VIO_REQ_DONE;
		for (i = 0; (r = vio_ring_next_in_order(q, i)); i++) {
			push(q, r, v);
			current += vio_ring_forget(q, r);
		}
	} else {
		for (i = 0; i < n; i++) {
			push(q, req[i], v);
			current += vio_ring_forget(q, req[i]);
		}
	}
	vio_ring_forgotten(q, i, current);
}

VIO_RING_VARIANT(plain, 0)
VIO_RING_VARIANT(in_order, VIO_V_IN_ORDER)
VIO_RING_VARIANT(general, variant_of(q))

static const struct vio_ring_hot *packed_hot(const struct vio_queue *q)
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
	.peek = vio_packed_peek,
	.use = vio_packed_use,
	.unpop = packed_unpop,
	.forget = packed_forget,
	.pending = packed_pending,
	.publish = packed_publish,
	.wants = want_notify,
	.kicks_off = packed_kicks_off,
	.kicks_on = packed_kicks_on,
	.avail_base = packed_base,
	.used_base = packed_used_base,
};
