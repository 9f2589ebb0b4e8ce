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

/* All of a descriptor but its flags. */
static void put_desc(struct pvirtq_desc *d, uint64_t addr, size_t len,
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
static void put_flags(struct vio_vq *vq, uint16_t pos, uint16_t flags)
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
static int add_direct(struct vio_vq *vq, const struct vio_seg *seg,
		      unsigned nr_read, unsigned nr, uint16_t id)
{
	uint64_t addr;

	for (unsigned i = nr; i-- > 0;) {
		uint16_t pos = pvirtq_add(vq->avail_next, (uint16_t)i,
					  vq->size);
		uint16_t flags = i >= nr_read ? PVIRTQ_DESC_F_WRITE : 0;

		if (!vio_vq_to_guest(&vq->buffers, seg[i].base, seg[i].len,
				     &addr))
			return VIO_E_RANGE;
		if (i + 1 < nr)
			flags |= PVIRTQ_DESC_F_NEXT;
		put_desc(entry(vq, pos), addr, seg[i].len, id);
		put_flags(vq, pos, flags);
	}
	return VIO_OK;
}

static int add_indirect(struct vio_vq *vq, const struct vio_seg *seg,
			unsigned nr_read, unsigned nr, uint16_t id)
{
	struct pvirtq_desc *table = (struct pvirtq_desc *)vq->table +
				    (size_t)id * vq->indirect_max;
	size_t len = nr * sizeof(*table);
	uint64_t addr;

	for (unsigned i = 0; i < nr; i++) {
		if (!vio_vq_to_guest(&vq->buffers, seg[i].base, seg[i].len,
				     &addr))
			return VIO_E_RANGE;
		put_desc(&table[i], addr, seg[i].len, 0);
		/* packed.driver.indirect-descriptors.2: WRITE alone */
		vio_put16(&table[i].flags,
			  i >= nr_read ? PVIRTQ_DESC_F_WRITE : 0);
	}
	if (!vio_vq_to_guest(&vq->window, table, len, &addr))
		return VIO_E_RANGE;
	put_desc(entry(vq, vq->avail_next), addr, len, id);
	put_flags(vq, vq->avail_next, PVIRTQ_DESC_F_INDIRECT);
	return VIO_OK;
}

static bool segs_in_window(const struct vio_vq *vq, const struct vio_seg *seg,
			   unsigned nr)
{
	uint64_t addr;

	for (unsigned i = 0; i < nr; i++)
		if (!vio_vq_to_guest(&vq->buffers, seg[i].base, seg[i].len,
				     &addr))
			return false;
	return true;
}

static int packed_add(struct vio_vq *vq, const struct vio_seg *seg,
		      unsigned nr_read, unsigned nr, unsigned entries,
		      void *token, uint32_t room)
{
	uint16_t id = vq->free_head;
	struct vio_vq_slot *slot = &vq->slot[id];
	int err;

	/* Flags written outright cannot be taken back: check first. */
	if (!segs_in_window(vq, seg, nr))
		return VIO_E_RANGE;
	if (entries == nr)
		err = add_direct(vq, seg, nr_read, nr, id);
	else
		err = add_indirect(vq, seg, nr_read, nr, id);
	if (err)
		return err;
	vq->free_head = slot->next;
	slot->token = token;
	slot->room = room;
	slot->nr = (uint16_t)entries;
	if (vq->in_order) {	/* the buffers in flight, linked by age */
		if (!vq->inflight)
			vq->oldest = id;
		else
			vq->slot[vq->newest].next = id;
		vq->newest = id;
	}
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)entries,
				    vq->size);
	return VIO_OK;
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

static void *take(struct vio_vq *vq, uint16_t id, uint32_t len, uint32_t *out)
{
	struct vio_vq_slot *slot = &vq->slot[id];

	vq->used_next = pvirtq_add(vq->used_next, slot->nr, vq->size);
	vq->oldest = slot->next;
	slot->next = vq->free_head;
	vq->free_head = id;
	return vio_vq_take(vq, slot, len, out);
}

/* The next used descriptor, copied; false if it names no buffer of ours. */
static bool read_used(struct vio_vq *vq, uint16_t *id, uint32_t *len)
{
	struct pvirtq_desc d;
	uint16_t flags;

	if (!look(vq, &flags))
		return false;
	vio_copy_in(&d, entry(vq, vq->used_next),
		    offsetof(struct pvirtq_desc, flags));
	*id = vio_from_le16(d.id);
	/*
	 * 2.8.5 reserves the length where WRITE is clear; but QEMU never sets
	 * WRITE in a used descriptor. It is clamped to what was offered.
	 */
	*len = vio_from_le32(d.len);
	return *id < vq->size && vq->slot[*id].nr;
}

/*
 * In order, one descriptor may end a batch: its id is the batch's last, and
 * those before it are taken as used completely (2.8.9).
 */
static void *get_in_order(struct vio_vq *vq, uint32_t *len)
{
	uint16_t id = vq->oldest;
	bool last;

	if (!vq->in_batch) {
		if (!read_used(vq, &vq->batch_last, &vq->batch_len))
			return vio_vq_broken(vq);
		vq->in_batch = true;
	}
	last = id == vq->batch_last;
	/* The id is one in use, so it comes before the last in flight. */
	vq->in_batch = !last;
	return take(vq, id, last ? vq->batch_len : vq->slot[id].room, len);
}

static void *packed_get(struct vio_vq *vq, uint32_t *len)
{
	uint16_t id;

	if (vq->in_order)
		return get_in_order(vq, len);
	if (vio_unlikely(!read_used(vq, &id, len)))
		return vio_vq_broken(vq);
	return take(vq, id, *len, len);
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
	.add = packed_add,
	.publish = packed_publish,
	.get = packed_get,
	.pending = packed_pending,
	.quiet = packed_quiet,
	.listen = packed_listen,
};
