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

/* A descriptor's two bits that say whose it is. */
#define WHOSE	(PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)

/* The bits that make a descriptor at @pos available. */
static uint16_t avail_bits(const struct vio_vq *vq, uint16_t pos)
{
	return pvirtq_wrap(pos, vq->size) ? PVIRTQ_DESC_F_AVAIL :
					    PVIRTQ_DESC_F_USED;
}

/* -- what every buffer takes: see variant.h ------------------------------- */

#ifdef VIO_SMALL
static unsigned variant_of(const struct vio_vq *vq)
{
	return vq->in_order ? VIO_V_IN_ORDER : 0;
}
#endif

/* All of a descriptor but its flags. */
VIO_INLINE void put_desc(struct pvirtq_desc *d, uint64_t addr, size_t len,
			 uint16_t id)
{
	d->addr = vio_to_le64(addr);
	/* Atomic: the device may load them with the flags, before it sees
	 * by these that they are not for it yet (vio_get_tail_acquire()). */
	vio_hide32(&d->len, (uint32_t)len);
	vio_hide16(&d->id, id);
}

static uint16_t packed_next_id(const struct vio_vq *vq)
{
	if (vq->in_order)
		return vq->next_id;
	return vq->free[vq->size - vq->inflight - 1];
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

/* In order, ids go round: that of the oldest buffer is the first free again. */
VIO_INLINE unsigned id_after(unsigned id, unsigned size)
{
	return id + 1 < size ? id + 1 : 0;
}

/* A buffer that is not as most are; or why it is none. */
VIO_APART int add_list(struct vio_vq *vq, const struct vio_buf *b)
{
	struct vio_vq_entry e;
	int err = vio_vq_check(vq, b, vq->nr_free, &e);
	uint16_t id;

	if (err)
		return err;
	/* Flags written outright cannot be taken back: check first. */
	if (!in_window(vq, b, e.nr))
		return VIO_E_RANGE;
	id = packed_next_id(vq);
	if (e.entries == e.nr)
		add_direct(vq, b, e.nr, id);
	else if (!add_indirect(vq, b, e.nr, id))
		return VIO_E_RANGE;
	vio_vq_keep(&vq->slot[id], b->token, e.room, e.entries);
	vq->next_id = (uint16_t)id_after(id, vq->size);
	vq->nr_free = (uint16_t)(vq->nr_free - e.entries);
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)e.entries,
				    vq->size);
	vq->inflight++;
	return VIO_OK;
}

/* How far ahead descriptors are asked for that will be written. */
#define AHEAD	16

/*
 * Add buffers of one segment, up to @nr and to the end of the ring, as far as
 * there is room. Returns how many.
 */
VIO_INLINE unsigned add_run(struct vio_vq *vq, const struct vio_buf *buf,
			    unsigned nr, unsigned v)
{
	const struct vio_vq_bounds w = vio_vq_bounds(vq);
	const unsigned size = vq->size, off = pvirtq_off(vq->avail_next, size);
	const uint16_t *free = vq->free + (size - vq->inflight);
	const uint64_t bits = (uint64_t)avail_bits(vq, vq->avail_next) << 48;
	const uint64_t write = (uint64_t)PVIRTQ_DESC_F_WRITE << 48;
	bool hidden = vq->avail_next == vq->avail_shown;
	struct pvirtq_desc *d = vq->ring + off;
	struct vio_vq_slot *slots = vq->slot;
	unsigned id = vq->next_id, n;

	if (nr > vq->nr_free)
		nr = vq->nr_free;
	if (nr > size - off)
		nr = size - off;
	for (n = 0; n < nr; n++, d++) {
		const struct vio_buf *b = &buf[n];
		struct vio_vq_slot *slot;
		uint64_t addr, tail;
		uint32_t len;
		bool writable;

		/* The device looked at it last: have it back in time. */
		vio_prefetch_write(d + AHEAD);
		if (vio_unlikely(!vio_vq_usual(&w, b, &addr, &writable)))
			break;
		if (!(v & VIO_V_IN_ORDER))
			id = *--free;
		slot = &slots[id];
		len = (uint32_t)b->seg->len;
		slot->token = b->token;
		slot->nr = 1;
		slot->next = 0;
		if (writable) {
			tail = len | bits | write;
			slot->room = len;
		} else {
			tail = len | bits;
			slot->room = 0;
		}
		if (vio_unlikely(hidden)) {
			hidden = false;
			put_desc(d, addr, len, (uint16_t)id);
			vq->first_flags = (uint16_t)(tail >> 48);
		} else {
			d->addr = vio_to_le64(addr);
			vio_put_tail(&d->len, tail | (uint64_t)id << 32);
		}
		if (v & VIO_V_IN_ORDER)
			id = id_after(id, size);
	}
	vq->next_id = (uint16_t)id;
	vq->nr_free = (uint16_t)(vq->nr_free - n);
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)n, vq->size);
	vq->inflight = (uint16_t)(vq->inflight + n);
	return n;
}

VIO_INLINE unsigned add(struct vio_vq *vq, const struct vio_buf *buf,
			unsigned nr, int *err, unsigned v)
{
	unsigned n = 0;

	for (*err = VIO_OK; n < nr; n++) {
		if (VIO_RUNS && vio_vq_is_single(&buf[n]))
			n += add_run(vq, buf + n, nr - n, v);
		if (vio_likely(n == nr))
			break;
		*err = add_list(vq, &buf[n]);
		if (vio_unlikely(*err))
			break;
	}
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

/*
 * Take up to @max, to the end of the ring. Returns how many; a descriptor
 * that names no buffer of ours breaks the queue.
 */
VIO_INLINE unsigned get_run(struct vio_vq *vq, struct vio_used *used,
			    unsigned max)
{
	const unsigned size = vq->size, start = pvirtq_off(vq->used_next, size);
	const unsigned bits = pvirtq_wrap(vq->used_next, size) ? WHOSE : 0;
	uint16_t *free = vq->free + (size - vq->inflight);
	struct vio_vq_slot *slots = vq->slot;
	struct pvirtq_desc *d = vq->ring + start;
	const bool dma = vq->dma;
	unsigned n, lists = 0, last = max < size - start ? max : size - start;
	unsigned left;

	for (n = 0; n < last; n++, d++) {
		/* pairs with [G]: the device's release of the flags, after
		 * the rest of the descriptor and those behind it. */
		uint64_t t = vio_get_tail_acquire(&d->len, dma);
		unsigned id = (uint16_t)(t >> 32);
		struct vio_vq_slot *slot = &slots[id];

		if (((unsigned)(t >> 48) ^ bits) & WHOSE)
			break;
		vio_tail_is_ours(&d->len);
		if (vio_unlikely(id >= size)) {
			vio_vq_broken(vq);
			break;
		}
		if (vio_unlikely(slot->nr != 1)) {
			unsigned more = slot->nr - 1u;

			if (!slot->nr) {
				vio_vq_broken(vq);
				break;
			}
			/* These are nobody's; the end comes sooner, and at
			 * once where the list goes round it. */
			d += more;
			lists += more;
			left = size - start > lists ? size - start - lists : 0;
			if (last > left)
				last = left;
		}
		/*
		 * 2.8.5 reserves the length where WRITE is clear; but QEMU
		 * never sets WRITE in a used descriptor. It is clamped to
		 * what was offered.
		 */
		vio_vq_take(vq, slot, (uint32_t)t, &used[n]);
		*free++ = (uint16_t)id;
	}
	vq->nr_free = (uint16_t)(vq->nr_free + n + lists);
	vq->used_next = pvirtq_add(vq->used_next, (uint16_t)(n + lists),
				   vq->size);
	vq->inflight = (uint16_t)(vq->inflight - n);
	return n;
}

VIO_INLINE unsigned collect(struct vio_vq *vq, struct vio_used *used,
			    unsigned max)
{
	unsigned n = 0, got;

	do {
		got = get_run(vq, used + n, max - n);
		n += got;
		/* On at the ring's other end. */
	} while (got && n < max && !vq->broken);
	return n;
}

/* The next used descriptor. False: none; or it names no buffer: broken. */
VIO_INLINE bool next_batch(struct vio_vq *vq)
{
	unsigned bits = pvirtq_wrap(vq->used_next, vq->size) ? WHOSE : 0, id;
	struct pvirtq_desc *d = entry(vq, vq->used_next);
	/* pairs with [G]: as above */
	uint64_t t = vio_get_tail_acquire(&d->len, vq->dma);

	if (((unsigned)(t >> 48) ^ bits) & WHOSE)
		return false;
	vio_tail_is_ours(&d->len);
	id = (uint16_t)(t >> 32);
	if (vio_unlikely(id >= vq->size || !vq->slot[id].nr))
		return vio_vq_broken(vq);
	vq->batch_last = (uint16_t)id;
	vq->batch_len = (uint32_t)t;
	return true;
}

/*
 * In order, one descriptor may end a batch: its id is the batch's last, and
 * those before it are taken as used completely (2.8.9). The id is one in use,
 * so it comes before the last in flight.
 */
VIO_INLINE unsigned collect_in_order(struct vio_vq *vq, struct vio_used *used,
				 unsigned max)
{
	unsigned n;

	for (n = 0; n < max; n++) {
		unsigned id = vq->oldest, nr;
		struct vio_vq_slot *slot = &vq->slot[id];
		uint32_t len = slot->room;

		if (!vq->in_batch && !next_batch(vq))
			break;
		nr = slot->nr;
		vq->in_batch = id != vq->batch_last;
		if (!vq->in_batch)
			len = vq->batch_len;
		vio_vq_take(vq, slot, len, &used[n]);
		vq->oldest = (uint16_t)id_after(id, vq->size);
		vq->nr_free = (uint16_t)(vq->nr_free + nr);
		vq->used_next = pvirtq_add(vq->used_next, (uint16_t)nr,
					   vq->size);
	}
	vq->inflight = (uint16_t)(vq->inflight - n);
	return n;
}

VIO_INLINE unsigned get(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	return v & VIO_V_IN_ORDER ? collect_in_order(vq, used, max) :
				    collect(vq, used, max);
}

#ifdef VIO_SMALL
VIO_VQ_VARIANT(any, variant_of(vq))
#else
VIO_VQ_VARIANT(plain, 0)
VIO_VQ_VARIANT(in_order, VIO_V_IN_ORDER)
#endif

static const struct vio_vq_hot *packed_hot(const struct vio_vq *vq)
{
#ifdef VIO_SMALL
	(void)vq;
	return &hot_any;
#else
	return vq->in_order ? &hot_in_order : &hot_plain;
#endif
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
	.next_id = packed_next_id,
	.publish = packed_publish,
	.pending = packed_pending,
	.quiet = packed_quiet,
	.listen = packed_listen,
};
