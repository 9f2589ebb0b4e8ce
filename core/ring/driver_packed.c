/* SPDX-License-Identifier: MIT */
/*
 * driver_packed.c - the driver's half of the packed virtqueue (standard:
 * 2.8). Buffer ids and what they stand for are kept in private memory; the
 * ring is written, and read back only where the device says it wrote. Knows
 * no bus and no device type.
 */
#include "core/ring/driver.h"
#include "core/mem/access.h"
#include <vireo/spec/packed.h>

static int packed_layout(struct vio_vq *vq, struct vio_arena *shared)
{
	size_t ring = vq->size * sizeof(struct pvirtq_desc);
	size_t ev = sizeof(struct pvirtq_event_suppress);

	vq->ring = vio_arena_take(shared, ring, VIO_VQ_LINE);
	vq->driver_event = vio_arena_take(shared, ev, VIO_VQ_LINE);
	vq->device_event = vio_arena_take(shared, ev, VIO_VQ_LINE);
	if (!vq->ring || !vq->driver_event || !vq->device_event)
		return VIO_E_NOSPC;
	if (!vio_vq_to_guest(&vq->window, vq->ring, ring,
			     &vq->layout.desc.v) ||
	    !vio_vq_to_guest(&vq->window, vq->driver_event, ev,
			     &vq->layout.driver.v) ||
	    !vio_vq_to_guest(&vq->window, vq->device_event, ev,
			     &vq->layout.device.v))
		return VIO_E_RANGE;
	return VIO_OK;
}

static void packed_reset(struct vio_vq *vq)
{
	memset(vq->ring, 0, vq->size * sizeof(*vq->ring));
	memset(vq->driver_event, 0, sizeof(*vq->driver_event));
	memset(vq->device_event, 0, sizeof(*vq->device_event));
	vq->avail_next = vq->avail_shown = 0;
	vq->used_next = 0;
}

static struct pvirtq_desc *entry(struct vio_vq *vq, uint16_t pos)
{
	return &vq->ring[pvirtq_off(pos, vq->size)];
}

/* The bits that make a descriptor at @pos available. */
static uint16_t avail_bits(const struct vio_vq *vq, uint16_t pos)
{
	return pvirtq_wrap(pos, vq->size) ? PVIRTQ_DESC_F_AVAIL :
					    PVIRTQ_DESC_F_USED;
}

/* -- what every buffer takes: see variant.h ------------------------------- */

static unsigned variant_of(const struct vio_vq *vq)
{
	return vq->in_order ? VIO_V_IN_ORDER : 0;
}

/* All of a descriptor but its flags. */
VIO_INLINE void put_desc(struct pvirtq_desc *d, uint64_t addr, size_t len,
			 uint16_t id)
{
	d->addr = vio_to_le64(addr);
	d->len = vio_to_le32((uint32_t)len);
	d->id = vio_to_le16(id);
}

/*
 * The device looks at one place only, the first descriptor it was not shown;
 * its flags wait for the publication, all others are written outright.
 * packed.driver.scatter-gather-support.6 follows from that.
 */
VIO_INLINE void put_flags(struct vio_vq *vq, uint16_t pos, uint16_t flags)
{
	flags |= avail_bits(vq, pos);
	if (pos == vq->avail_shown)
		vq->first_flags = flags;
	else
		vio_put16(&entry(vq, pos)->flags, flags);
}

/*
 * A list's first flags, where it is not the first of a batch, are written
 * last: the ring may be shown up to here at any time.
 */
static void add_direct(struct vio_vq *vq, const struct vio_buf *b, unsigned nr,
		       uint16_t id)
{
	uint64_t addr = 0;

	for (unsigned i = nr; i-- > 0;) {
		uint16_t pos = pvirtq_add(vq->avail_next, (uint16_t)i,
					  vq->size);
		uint16_t flags = i >= b->nr_read ? PVIRTQ_DESC_F_WRITE : 0;

		vio_vq_to_guest(&vq->buffers, b->seg[i].base, b->seg[i].len,
				&addr);
		if (i + 1 < nr)
			flags |= PVIRTQ_DESC_F_NEXT;
		put_desc(entry(vq, pos), addr, b->seg[i].len, id);
		put_flags(vq, pos, flags);
	}
}

static bool add_indirect(struct vio_vq *vq, const struct vio_buf *b,
			 unsigned nr, uint16_t id)
{
	struct pvirtq_desc *table = (struct pvirtq_desc *)vq->table +
				    (size_t)id * vq->indirect_max;
	size_t len = nr * sizeof(*table);
	uint64_t addr = 0;

	for (unsigned i = 0; i < nr; i++) {
		vio_vq_to_guest(&vq->buffers, b->seg[i].base, b->seg[i].len,
				&addr);
		put_desc(&table[i], addr, b->seg[i].len, 0);
		/* packed.driver.indirect-descriptors.2: WRITE alone */
		vio_put16(&table[i].flags,
			  i >= b->nr_read ? PVIRTQ_DESC_F_WRITE : 0);
	}
	if (!vio_vq_to_guest(&vq->window, table, len, &addr))
		return false;
	put_desc(entry(vq, vq->avail_next), addr, len, id);
	put_flags(vq, vq->avail_next, PVIRTQ_DESC_F_INDIRECT);
	return true;
}

static bool in_window(const struct vio_vq *vq, const struct vio_buf *b,
		      unsigned nr)
{
	uint64_t addr;

	for (unsigned i = 0; i < nr; i++)
		if (vio_unlikely(!vio_vq_to_guest(&vq->buffers, b->seg[i].base,
						  b->seg[i].len, &addr)))
			return false;
	return true;
}

/* Buffer free_head, the @n-th of a batch, is in the ring. */
VIO_INLINE void offer(struct vio_vq *vq, const struct vio_buf *b,
		      unsigned entries, uint32_t room, unsigned n, unsigned v)
{
	uint16_t id = vq->free_head;
	struct vio_vq_slot *slot = &vq->slot[id];

	vq->free_head = slot->next;
	slot->token = b->token;
	slot->room = room;
	slot->nr = (uint16_t)entries;
	if (v & VIO_V_IN_ORDER) {	/* in flight, linked by age */
		if (!vq->inflight && !n)
			vq->oldest = id;
		else
			vq->slot[vq->newest].next = id;
		vq->newest = id;
	}
	vq->nr_free = (uint16_t)(vq->nr_free - entries);
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)entries,
				    vq->size);
}

/* A buffer of any number of segments. */
VIO_APART int add_list(struct vio_vq *vq, const struct vio_buf *b, unsigned n)
{
	struct vio_vq_entry e;
	int err = vio_vq_check(vq, b, vq->nr_free, &e);

	if (err)
		return err;
	/* Flags written outright cannot be taken back: check first. */
	if (!in_window(vq, b, e.nr))
		return VIO_E_RANGE;
	if (e.entries == e.nr)
		add_direct(vq, b, e.nr, vq->free_head);
	else if (!add_indirect(vq, b, e.nr, vq->free_head))
		return VIO_E_RANGE;
	offer(vq, b, e.entries, e.room, n, variant_of(vq));
	return VIO_OK;
}

VIO_INLINE int add_one(struct vio_vq *vq, const struct vio_buf *b, unsigned n,
		       unsigned v)
{
	const struct vio_seg *s = b->seg;
	uint64_t addr;
	int err;

	if (vio_unlikely(!vio_vq_is_single(b)))
		return add_list(vq, b, n);
	err = vio_vq_check_single(vq, b, s);
	if (vio_unlikely(err))
		return err;
	if (vio_unlikely(!vio_vq_to_guest(&vq->buffers, s->base, s->len,
					  &addr)))
		return VIO_E_RANGE;
	put_desc(entry(vq, vq->avail_next), addr, s->len, vq->free_head);
	put_flags(vq, vq->avail_next, b->nr_write ? PVIRTQ_DESC_F_WRITE : 0);
	offer(vq, b, 1, b->nr_write ? (uint32_t)s->len : 0, n, v);
	return VIO_OK;
}

VIO_INLINE unsigned add(struct vio_vq *vq, const struct vio_buf *buf,
			unsigned nr, int *err, unsigned v)
{
	unsigned n = 0;

	*err = VIO_OK;
	while (n < nr) {
		*err = add_one(vq, &buf[n], n, v);
		if (vio_unlikely(*err))
			break;
		n++;
	}
	vq->inflight = (uint16_t)(vq->inflight + n);
	return n;
}

/* Does the device want to hear of entries from @old on to avail_shown? */
static bool want_kick(struct vio_vq *vq, uint16_t old)
{
	uint16_t flags, event;

	/* pairs with [I]: the device's release of flags, after desc. */
	flags = vio_get16_acquire(&vq->device_event->flags, vq->dma);
	if (flags == RING_EVENT_FLAGS_DISABLE)
		return false;
	if (flags != RING_EVENT_FLAGS_DESC || !vq->event_idx)
		return true;
	if (!pvirtq_unpack(vio_get16(&vq->device_event->desc), vq->size,
			   &event))
		return true;
	return pvirtq_need_event(event, vq->avail_shown, old, vq->size);
}

static bool packed_publish(struct vio_vq *vq)
{
	uint16_t old = vq->avail_shown;

	/* pairs with [E]: the device's acquire of the flags, before it reads
	 * the descriptor and those behind it. */
	vio_store_release16(&entry(vq, old)->flags, vq->first_flags,
			    vq->dma);
	vq->avail_shown = vq->avail_next;
	/* pairs with [J]: the device's barrier between its event suppression
	 * and its last look at the ring. */
	vio_peer_mb(vq->dma);
	return want_kick(vq, old);
}

/* Is the next descriptor used? @flags: as loaded. */
static bool look(struct vio_vq *vq, uint16_t *flags)
{
	bool wrap = pvirtq_wrap(vq->used_next, vq->size);

	/* pairs with [G]: the device's release of the flags, after the rest
	 * of the descriptor and those of the batch behind it. */
	*flags = vio_get16_acquire(&entry(vq, vq->used_next)->flags,
				   vq->dma);
	return !!(*flags & PVIRTQ_DESC_F_AVAIL) == wrap &&
	       !!(*flags & PVIRTQ_DESC_F_USED) == wrap;
}

static bool packed_pending(struct vio_vq *vq)
{
	uint16_t flags;

	return vq->in_batch || look(vq, &flags);
}

VIO_INLINE struct vio_used take(struct vio_vq *vq, uint16_t id, uint32_t len)
{
	struct vio_vq_slot *slot = &vq->slot[id];

	vq->used_next = pvirtq_add(vq->used_next, slot->nr, vq->size);
	vq->nr_free = (uint16_t)(vq->nr_free + slot->nr);
	vq->oldest = slot->next;
	slot->next = vq->free_head;
	vq->free_head = id;
	return vio_vq_take(vq, slot, len);
}

enum found { NONE, FOUND, WRONG };

/* The next used descriptor, copied. WRONG: it names no buffer of ours. */
VIO_INLINE enum found read_used(struct vio_vq *vq, uint16_t *id, uint32_t *len)
{
	struct pvirtq_desc d;
	uint16_t flags;

	if (!look(vq, &flags))
		return NONE;
	vio_copy_in(&d, entry(vq, vq->used_next),
		    offsetof(struct pvirtq_desc, flags));
	*id = vio_from_le16(d.id);
	/*
	 * 2.8.5 reserves the length where WRITE is clear; but QEMU never sets
	 * WRITE in a used descriptor. It is clamped to what was offered.
	 */
	*len = vio_from_le32(d.len);
	return *id < vq->size && vq->slot[*id].nr ? FOUND : WRONG;
}

/*
 * In order, one descriptor may end a batch: its id is the batch's last, and
 * those before it are taken as used completely (2.8.9).
 */
VIO_INLINE enum found next_in_order(struct vio_vq *vq, uint16_t *id,
				    uint32_t *len)
{
	enum found f = FOUND;
	bool last;

	if (!vq->in_batch)
		f = read_used(vq, &vq->batch_last, &vq->batch_len);
	if (f != FOUND)
		return f;
	*id = vq->oldest;
	last = *id == vq->batch_last;
	/* The id is one in use, so it comes before the last in flight. */
	vq->in_batch = !last;
	*len = last ? vq->batch_len : vq->slot[*id].room;
	return FOUND;
}

VIO_INLINE unsigned get(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	unsigned n;

	for (n = 0; n < max; n++) {
		uint16_t id;
		uint32_t len;
		enum found f = v & VIO_V_IN_ORDER ?
			       next_in_order(vq, &id, &len) :
			       read_used(vq, &id, &len);

		if (vio_unlikely(f == WRONG))
			vio_vq_broken(vq);
		if (f != FOUND)
			break;
		used[n] = take(vq, id, len);
	}
	vq->inflight = (uint16_t)(vq->inflight - n);
	return n;
}

VIO_VQ_VARIANT(plain, 0)
VIO_VQ_VARIANT(in_order, VIO_V_IN_ORDER)
#ifdef VIO_SMALL
VIO_VQ_VARIANT(general, variant_of(vq))
#endif

static const struct vio_vq_hot *packed_hot(const struct vio_vq *vq)
{
	return variant_of(vq) ? VIO_SPECIAL(in_order) : VIO_SPECIAL(plain);
}

static void packed_quiet(struct vio_vq *vq)
{
	vio_put16(&vq->driver_event->flags, RING_EVENT_FLAGS_DISABLE);
}

static void packed_listen(struct vio_vq *vq)
{
	vio_put16(&vq->driver_event->desc,
		  pvirtq_pack(vq->used_next, vq->size));
	/* pairs with [F]: the device's acquire of flags, before desc. */
	vio_store_release16(&vq->driver_event->flags,
			    vq->event_idx ? RING_EVENT_FLAGS_DESC :
					    RING_EVENT_FLAGS_ENABLE,
			    vq->dma);
	/* pairs with [H]: the wish is out before we look again. */
	vio_peer_mb(vq->dma);
}

const struct vio_vq_ops vio_vq_packed = {
	.layout = packed_layout,
	.reset = packed_reset,
	.hot = packed_hot,
	.publish = packed_publish,
	.pending = packed_pending,
	.quiet = packed_quiet,
	.listen = packed_listen,
};
