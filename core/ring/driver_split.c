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

	vio_put16(&ring[idx & (vq->size - 1)], head);
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

/* -- what every buffer takes: see variant.h ------------------------------- */

static unsigned variant_of(const struct vio_vq *vq)
{
	return (vq->in_order ? VIO_V_IN_ORDER : 0) |
	       (VIO_MACHINE_BIG && vq->big_endian ? VIO_V_BIG : 0);
}

VIO_INLINE void put_desc(struct virtq_desc *d, uint64_t addr, size_t len,
			 uint16_t flags, uint16_t next, unsigned v)
{
	struct virtq_desc n = {
		vio_to_le64(vio_turn64(v, addr)),
		vio_to_le32(vio_turn32(v, (uint32_t)len)),
		vio_to_le16(vio_turn16(v, flags)),
		vio_to_le16(vio_turn16(v, next)),
	};

	*d = n;
}

static struct virtq_desc *table_of(const struct vio_vq *vq, uint16_t head)
{
	return (struct virtq_desc *)vq->table +
	       (size_t)head * vq->indirect_max;
}

/*
 * The segments as an indirect table, entry after entry
 * (split.driver.indirect-descriptors.5: in order, sequential indices).
 */
static bool add_indirect(struct vio_vq *vq, uint16_t head,
			 const struct vio_buf *b, unsigned nr, unsigned v)
{
	struct virtq_desc *table = table_of(vq, head);
	size_t len = nr * sizeof(*table);
	uint64_t addr;

	for (unsigned i = 0; i < nr; i++) {
		uint16_t flags = i >= b->nr_read ? VIRTQ_DESC_F_WRITE : 0;
		bool more = i + 1 < nr;

		if (!vio_vq_to_guest(&vq->buffers, b->seg[i].base,
				     b->seg[i].len, &addr))
			return false;
		put_desc(&table[i], addr, b->seg[i].len,
			 more ? flags | VIRTQ_DESC_F_NEXT : flags,
			 more ? (uint16_t)(i + 1) : 0, v);
	}
	if (!vio_vq_to_guest(&vq->window, table, len, &addr))
		return false;
	put_desc(&vq->desc[head], addr, len, VIRTQ_DESC_F_INDIRECT, 0, v);
	return true;
}

/*
 * The segments as a chain of free descriptors. In order, these follow each
 * other around the table, because they are freed in the order of their use.
 * @after: out, the free descriptor behind the chain.
 */
static bool add_direct(struct vio_vq *vq, uint16_t head,
		       const struct vio_buf *b, unsigned nr, uint16_t *after,
		       unsigned v)
{
	uint16_t at = head, next;
	uint64_t addr;

	for (unsigned i = 0;; at = next) {
		const struct vio_seg *s = &b->seg[i];
		uint16_t flags = i >= b->nr_read ? VIRTQ_DESC_F_WRITE : 0;

		next = vq->slot[at].next;
		if (vio_unlikely(!vio_vq_to_guest(&vq->buffers, s->base, s->len,
						  &addr)))
			return false;
		if (++i == nr) {
			put_desc(&vq->desc[at], addr, s->len, flags, 0, v);
			break;
		}
		put_desc(&vq->desc[at], addr, s->len,
			 flags | VIRTQ_DESC_F_NEXT, next, v);
	}
	*after = next;
	return true;
}

/* The chain at free_head is made: it is a buffer's. @after: the next free. */
VIO_INLINE void offer(struct vio_vq *vq, const struct vio_buf *b,
		      unsigned entries, uint32_t room, uint16_t after,
		      unsigned v)
{
	uint16_t head = vq->free_head;
	struct vio_vq_slot *slot = &vq->slot[head];

	slot->token = b->token;
	slot->room = room;
	slot->nr = (uint16_t)entries;
	vq->free_head = after;
	vq->nr_free = (uint16_t)(vq->nr_free - entries);
	avail_set(vq, vq->avail_next++, vio_turn16(v, head));
}

/* A buffer of any number of segments. */
VIO_APART int add_list(struct vio_vq *vq, const struct vio_buf *b)
{
	uint16_t head = vq->free_head, after = vq->slot[head].next;
	unsigned v = variant_of(vq);
	struct vio_vq_entry e;
	int err = vio_vq_check(vq, b, vq->nr_free, &e);
	bool ok;

	if (err)
		return err;
	if (e.entries == e.nr)
		ok = add_direct(vq, head, b, e.nr, &after, v);
	else
		ok = add_indirect(vq, head, b, e.nr, v);
	if (!ok)
		return VIO_E_RANGE;
	offer(vq, b, e.entries, e.room, after, v);
	return VIO_OK;
}

VIO_INLINE int add_one(struct vio_vq *vq, const struct vio_buf *b, unsigned v)
{
	const struct vio_seg *s = b->seg;
	uint16_t head = vq->free_head;
	uint64_t addr;
	int err;

	if (vio_unlikely(!vio_vq_is_single(b)))
		return add_list(vq, b);
	err = vio_vq_check_single(vq, b, s);
	if (vio_unlikely(err))
		return err;
	if (vio_unlikely(!vio_vq_to_guest(&vq->buffers, s->base, s->len,
					  &addr)))
		return VIO_E_RANGE;
	put_desc(&vq->desc[head], addr, s->len,
		 b->nr_write ? VIRTQ_DESC_F_WRITE : 0, 0, v);
	offer(vq, b, 1, b->nr_write ? (uint32_t)s->len : 0,
	      vq->slot[head].next, v);
	return VIO_OK;
}

VIO_INLINE unsigned add(struct vio_vq *vq, const struct vio_buf *buf,
			unsigned nr, int *err, unsigned v)
{
	unsigned n = 0;

	*err = VIO_OK;
	while (n < nr) {
		*err = add_one(vq, &buf[n], v);
		if (vio_unlikely(*err))
			break;
		n++;
	}
	vq->inflight = (uint16_t)(vq->inflight + n);
	return n;
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
	uint16_t idx = turn16(vq, vio_get16_acquire(&vq->used->idx, vq->dma));

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
VIO_INLINE void release(struct vio_vq *vq, uint16_t head, unsigned v)
{
	uint16_t last = head;

	if (v & VIO_V_IN_ORDER)
		return;
	for (unsigned i = vq->slot[head].nr; vio_unlikely(i > 1); i--)
		last = vq->slot[last].next;
	vq->slot[last].next = vq->free_head;
	vq->free_head = head;
}

VIO_INLINE struct vio_used take(struct vio_vq *vq, uint16_t head, uint32_t len,
				unsigned v)
{
	struct vio_vq_slot *slot = &vq->slot[head];

	release(vq, head, v);
	vq->used_next++;
	vq->nr_free = (uint16_t)(vq->nr_free + slot->nr);
	/* The device has read these lines; they are written again soon. */
	if (vq->indirect_max)
		vio_prefetch_write(table_of(vq, head));
	vio_prefetch_write(&vq->desc[head]);
	return vio_vq_take(vq, slot, len);
}

/* The next used entry, copied; false if it names no chain of ours. */
VIO_INLINE bool read_used(struct vio_vq *vq, uint16_t *head, uint32_t *len,
			  unsigned v)
{
	struct virtq_used_elem e;
	uint32_t id;

	vio_copy_in(&e, used_elem(vq, vq->used_next), sizeof(e));
	id = vio_turn32(v, vio_from_le32(e.id));
	*len = vio_turn32(v, vio_from_le32(e.len));
	*head = (uint16_t)id;
	return id < vq->size && vq->slot[id].nr;
}

/*
 * In order, one entry may end a batch: its id is the batch's last, and those
 * before it are taken as used completely (standard: 2.7.9). False: broken.
 */
VIO_INLINE bool next_in_order(struct vio_vq *vq, uint16_t *head, uint32_t *len,
			      unsigned v)
{
	uint16_t at = vq->oldest;
	bool last;

	if (!vq->in_batch) {
		if (!read_used(vq, &vq->batch_last, &vq->batch_len, v))
			return false;
		vq->in_batch = true;
	}
	/* Either the id was no head in use, or lies beyond the index. */
	if (!vq->slot[at].nr)
		return false;
	last = at == vq->batch_last;
	if (!last && (uint16_t)(vq->used_seen - vq->used_next) == 1)
		return false;
	vq->oldest = (uint16_t)(at + vq->slot[at].nr) & (vq->size - 1);
	vq->in_batch = !last;
	*head = at;
	*len = last ? vq->batch_len : vq->slot[at].room;
	return true;
}

VIO_INLINE unsigned get(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	unsigned seen = (uint16_t)(vq->used_seen - vq->used_next), n;
	uint16_t head;
	uint32_t len;
	bool ok;

	if (seen < max) {
		refresh(vq);
		seen = (uint16_t)(vq->used_seen - vq->used_next);
		if (vq->broken)
			return 0;
		if (seen < max)
			max = seen;
	}
	for (n = 0; n < max; n++) {
		if (v & VIO_V_IN_ORDER)
			ok = next_in_order(vq, &head, &len, v);
		else
			ok = read_used(vq, &head, &len, v);
		if (vio_unlikely(!ok)) {
			vio_vq_broken(vq);
			break;
		}
		used[n] = take(vq, head, len, v);
	}
	vq->inflight = (uint16_t)(vq->inflight - n);
	return n;
}

VIO_VQ_VARIANT(plain, 0)
VIO_VQ_VARIANT(in_order, VIO_V_IN_ORDER)
VIO_VQ_VARIANT(general, variant_of(vq))

static const struct vio_vq_hot *split_hot(const struct vio_vq *vq)
{
	switch (variant_of(vq)) {
	case 0:
		return VIO_SPECIAL(plain);
	case VIO_V_IN_ORDER:
		return VIO_SPECIAL(in_order);
	default:
		return &hot_general;
	}
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
	.hot = split_hot,
	.publish = split_publish,
	.pending = split_pending,
	.quiet = split_quiet,
	.listen = split_listen,
};
