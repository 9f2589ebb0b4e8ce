/* SPDX-License-Identifier: MIT */
/*
 * driver_split.c - the driver's half of the split virtqueue (standard: 2.7).
 * Everything that decides anything is kept in private memory: descriptors are
 * written and never read back, free descriptors and chains are linked by the
 * slots. Knows no bus and no device type.
 */
#include "core/ring/driver.h"
#include "core/mem/access.h"

/*
 * A legacy ring is in this machine's own byte order; where that is the
 * standard's anyway, nothing is left of this.
 */
static inline uint16_t turn16(const struct vio_vq *vq, uint16_t x)
{
	return VIO_MACHINE_BIG && vq->big_endian ? __builtin_bswap16(x) : x;
}

static inline uint32_t turn32(const struct vio_vq *vq, uint32_t x)
{
	return VIO_MACHINE_BIG && vq->big_endian ? __builtin_bswap32(x) : x;
}

static inline uint64_t turn64(const struct vio_vq *vq, uint64_t x)
{
	return VIO_MACHINE_BIG && vq->big_endian ? __builtin_bswap64(x) : x;
}

/* The event words lie behind the rings. */
static vio_le16 *used_event(struct vio_vq *vq)
{
	return (vio_le16 *)(void *)(vq->avail + 1) + vq->size;
}

static vio_le16 *avail_event(struct vio_vq *vq)
{
	struct virtq_used_elem *ring = (void *)(vq->used + 1);

	return (vio_le16 *)(void *)(ring + vq->size);
}

static struct virtq_used_elem *used_elem(struct vio_vq *vq, uint16_t idx)
{
	struct virtq_used_elem *ring = (void *)(vq->used + 1);

	return &ring[idx & (vq->size - 1)];
}

static void avail_set(struct vio_vq *vq, uint16_t idx, uint16_t head)
{
	vio_le16 *ring = (void *)(vq->avail + 1);

	vio_put16(&ring[idx & (vq->size - 1)], turn16(vq, head));
}

static int split_layout(struct vio_vq *vq, struct vio_arena *shared)
{
	size_t d = virtq_desc_bytes(vq->size), a = virtq_avail_bytes(vq->size),
	       u = virtq_used_bytes(vq->size);

	vq->desc = vio_arena_take(shared, d, VIO_VQ_LINE);
	vq->avail = vio_arena_take(shared, a, VIO_VQ_LINE);
	vq->used = vio_arena_take(shared, u, VIO_VQ_LINE);
	if (!vq->desc || !vq->avail || !vq->used)
		return VIO_E_NOSPC;
	if (!vio_vq_to_guest(&vq->window, vq->desc, d, &vq->layout.desc.v) ||
	    !vio_vq_to_guest(&vq->window, vq->avail, a,
			     &vq->layout.driver.v) ||
	    !vio_vq_to_guest(&vq->window, vq->used, u, &vq->layout.device.v))
		return VIO_E_RANGE;
	return VIO_OK;
}

static void split_reset(struct vio_vq *vq)
{
	memset(vq->desc, 0, virtq_desc_bytes(vq->size));
	memset(vq->avail, 0, virtq_avail_bytes(vq->size));
	memset(vq->used, 0, virtq_used_bytes(vq->size));
	vq->avail_next = vq->avail_shown = 0;
	vq->used_next = vq->used_seen = 0;
}

static void put_desc(const struct vio_vq *vq, struct virtq_desc *d,
		     uint64_t addr, size_t len, uint16_t flags, uint16_t next)
{
	struct virtq_desc v = {
		vio_to_le64(turn64(vq, addr)),
		vio_to_le32(turn32(vq, (uint32_t)len)),
		vio_to_le16(turn16(vq, flags)),
		vio_to_le16(turn16(vq, next)),
	};

	*d = v;
}

/*
 * The segments as an indirect table, entry after entry
 * (split.driver.indirect-descriptors.5: in order, sequential indices).
 */
static int fill_table(struct vio_vq *vq, struct virtq_desc *table,
		      const struct vio_seg *seg, unsigned nr_read, unsigned nr)
{
	uint64_t addr;
	unsigned i;

	for (i = 0; i < nr; i++) {
		uint16_t flags = i >= nr_read ? VIRTQ_DESC_F_WRITE : 0;

		if (!vio_vq_to_guest(&vq->buffers, seg[i].base, seg[i].len,
				     &addr))
			return VIO_E_RANGE;
		if (i + 1 < nr)
			flags |= VIRTQ_DESC_F_NEXT;
		put_desc(vq, &table[i], addr, seg[i].len, flags,
			 flags & VIRTQ_DESC_F_NEXT ? (uint16_t)(i + 1) : 0);
	}
	return VIO_OK;
}

static struct virtq_desc *table_of(const struct vio_vq *vq, uint16_t head)
{
	return (struct virtq_desc *)vq->table +
	       (size_t)head * vq->indirect_max;
}

static int add_indirect(struct vio_vq *vq, const struct vio_seg *seg,
			unsigned nr_read, unsigned nr)
{
	uint16_t head = vq->free_head;
	struct virtq_desc *table = table_of(vq, head);
	size_t len = nr * sizeof(*table);
	uint64_t addr;
	int err;

	err = fill_table(vq, table, seg, nr_read, nr);
	if (err)
		return err;
	if (!vio_vq_to_guest(&vq->window, table, len, &addr))
		return VIO_E_RANGE;
	put_desc(vq, &vq->desc[head], addr, len, VIRTQ_DESC_F_INDIRECT, 0);
	return VIO_OK;
}

/*
 * The segments as a chain of free descriptors. In order, these follow each
 * other around the table, because they are freed in the order of their use.
 */
static int add_direct(struct vio_vq *vq, const struct vio_seg *seg,
		      unsigned nr_read, unsigned nr)
{
	uint16_t at = vq->free_head;
	uint64_t addr;
	unsigned i;

	for (i = 0; i < nr; i++) {
		uint16_t next = vq->slot[at].next;
		uint16_t flags = i >= nr_read ? VIRTQ_DESC_F_WRITE : 0;

		if (!vio_vq_to_guest(&vq->buffers, seg[i].base, seg[i].len,
				     &addr))
			return VIO_E_RANGE;
		if (i + 1 < nr)
			flags |= VIRTQ_DESC_F_NEXT;
		put_desc(vq, &vq->desc[at], addr, seg[i].len, flags,
			 flags & VIRTQ_DESC_F_NEXT ? next : 0);
		at = next;
	}
	return VIO_OK;
}

/* @nr descriptors from free_head on now belong to a chain. */
static void take_free(struct vio_vq *vq, unsigned nr)
{
	uint16_t at = vq->free_head;
	unsigned i;

	for (i = 0; i < nr; i++)
		at = vq->slot[at].next;
	vq->free_head = at;
}

static int split_add(struct vio_vq *vq, const struct vio_seg *seg,
		     unsigned nr_read, unsigned nr, unsigned entries,
		     void *token, uint32_t room)
{
	struct vio_vq_slot *slot = &vq->slot[vq->free_head];
	int err;

	if (entries == nr)
		err = add_direct(vq, seg, nr_read, nr);
	else
		err = add_indirect(vq, seg, nr_read, nr);
	if (err)
		return err;
	slot->token = token;
	slot->room = room;
	slot->nr = (uint16_t)entries;
	avail_set(vq, vq->avail_next, vq->free_head);
	vq->avail_next++;
	take_free(vq, entries);
	return VIO_OK;
}

static bool split_publish(struct vio_vq *vq)
{
	uint16_t old = vq->avail_shown, new_idx = vq->avail_next;

	vq->avail_shown = new_idx;
	/* pairs with [A]: the device reads idx, then the entries */
	vio_store_release16(&vq->avail->idx, turn16(vq, new_idx), vq->dma);
	/* pairs with [D]: idx is out before we look for a kick */
	vio_peer_mb(vq->dma);
	if (vq->event_idx)
		return virtq_need_event(turn16(vq, vio_get16(avail_event(vq))),
					new_idx, old);
	return !(turn16(vq, vio_get16(&vq->used->flags)) &
		 VIRTQ_USED_F_NO_NOTIFY);
}

/*
 * Look how far the device is. It cannot have used more than it was shown:
 * anything else is a lie, and the queue cannot be believed any more.
 */
static bool refresh(struct vio_vq *vq)
{
	/* pairs with [B]: the device fills entries, then idx */
	uint16_t idx = turn16(vq, vio_get16_acquire(&vq->used->idx,
						    vq->dma));

	if (vio_unlikely((uint16_t)(idx - vq->used_next) >
			 (uint16_t)(vq->avail_shown - vq->used_next))) {
		vq->broken = true;
		return false;
	}
	vq->used_seen = idx;
	return idx != vq->used_next;
}

static bool split_pending(struct vio_vq *vq)
{
	return vq->used_seen != vq->used_next || refresh(vq);
}

/* The chain's descriptors are free again. */
static void release(struct vio_vq *vq, uint16_t head)
{
	uint16_t last = head;
	unsigned i;

	if (vq->in_order)
		return;
	for (i = 1; i < vq->slot[head].nr; i++)
		last = vq->slot[last].next;
	vq->slot[last].next = vq->free_head;
	vq->free_head = head;
}

static void *take(struct vio_vq *vq, uint16_t head, uint32_t len,
		  uint32_t *out)
{
	release(vq, head);
	vq->used_next++;
	/* The device has read these lines; they are written again soon. */
	if (vq->indirect_max)
		vio_prefetch_write(table_of(vq, head));
	vio_prefetch_write(&vq->desc[head]);
	return vio_vq_take(vq, &vq->slot[head], len, out);
}

/* The next used entry, copied; false if it names no chain of ours. */
static bool read_used(struct vio_vq *vq, uint16_t *head, uint32_t *len)
{
	struct virtq_used_elem e;
	uint32_t id;

	vio_copy_in(&e, used_elem(vq, vq->used_next), sizeof(e));
	id = turn32(vq, vio_from_le32(e.id));
	*len = turn32(vq, vio_from_le32(e.len));
	*head = (uint16_t)id;
	return id < vq->size && vq->slot[id].nr;
}

/*
 * In order, one entry may end a batch: its id is the batch's last, and those
 * before it are taken as used completely (standard: 2.7.9).
 */
static void *get_in_order(struct vio_vq *vq, uint32_t *len)
{
	uint16_t head = vq->oldest;
	bool last;

	if (!vq->in_batch) {
		if (!read_used(vq, &vq->batch_last, &vq->batch_len))
			return vio_vq_broken(vq);
		vq->in_batch = true;
	}
	/* Either the id was no head in use, or lies beyond the index. */
	if (!vq->slot[head].nr)
		return vio_vq_broken(vq);
	last = head == vq->batch_last;
	if (!last && (uint16_t)(vq->used_seen - vq->used_next) == 1)
		return vio_vq_broken(vq);
	vq->oldest = (uint16_t)(head + vq->slot[head].nr) & (vq->size - 1);
	vq->in_batch = !last;
	return take(vq, head, last ? vq->batch_len : vq->slot[head].room, len);
}

static void *split_get(struct vio_vq *vq, uint32_t *len)
{
	uint16_t head;

	if (vq->in_order)
		return get_in_order(vq, len);
	if (vio_unlikely(!read_used(vq, &head, len)))
		return vio_vq_broken(vq);
	return take(vq, head, *len, len);
}

static void split_quiet(struct vio_vq *vq)
{
	/* With event indices the flag must stay 0; a passed event is quiet
	 * (split.driver.used-buffer-notification-suppression.3). */
	if (vq->event_idx)
		vio_put16(used_event(vq),
			  turn16(vq, (uint16_t)(vq->used_next - 1)));
	else
		vio_put16(&vq->avail->flags,
			  turn16(vq, VIRTQ_AVAIL_F_NO_INTERRUPT));
}

static void split_listen(struct vio_vq *vq)
{
	if (vq->event_idx)
		vio_put16(used_event(vq), turn16(vq, vq->used_next));
	else
		vio_put16(&vq->avail->flags, 0);
	/* pairs with [C]: the wish is out before we look again */
	vio_peer_mb(vq->dma);
}

const struct vio_vq_ops vio_vq_split = {
	.layout = split_layout,
	.reset = split_reset,
	.add = split_add,
	.publish = split_publish,
	.get = split_get,
	.pending = split_pending,
	.quiet = split_quiet,
	.listen = split_listen,
};
