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
	uint64_t rest = vio_turn32(v, (uint32_t)len) |
			(uint64_t)vio_turn16(v, flags) << 32 |
			(uint64_t)vio_turn16(v, next) << 48;

	vio_put_desc(d, vio_turn64(v, addr), rest);
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

/* The free descriptor @i behind the next. */
VIO_INLINE uint16_t free_desc(const struct vio_vq *vq, unsigned i, unsigned v)
{
	if (v & VIO_V_IN_ORDER)
		return (uint16_t)((vq->next_id + i) & (vq->size - 1u));
	return vq->free[vq->nr_free - 1 - i];
}

static uint16_t split_next_id(const struct vio_vq *vq)
{
	return free_desc(vq, 0, variant_of(vq));
}

/*
 * The segments as a chain of free descriptors. In order, these follow each
 * other around the table, because they are freed in the order of their use.
 */
static bool add_direct(struct vio_vq *vq, uint16_t head,
		       const struct vio_buf *b, unsigned nr, unsigned v)
{
	uint16_t at = head, next = 0;
	uint64_t addr;

	for (unsigned i = 0; i < nr; at = next) {
		const struct vio_seg *s = &b->seg[i];
		uint16_t flags = i >= b->nr_read ? VIRTQ_DESC_F_WRITE : 0;

		if (vio_unlikely(!vio_vq_to_guest(&vq->buffers, s->base, s->len,
						  &addr)))
			return false;
		next = 0;
		if (++i < nr) {
			flags |= VIRTQ_DESC_F_NEXT;
			next = free_desc(vq, i, v);
			vq->slot[at].next = next;
		}
		put_desc(&vq->desc[at], addr, s->len, flags, next, v);
	}
	return true;
}

/* A buffer that is not as most are; or why it is none. */
VIO_APART int add_list(struct vio_vq *vq, const struct vio_buf *b)
{
	unsigned v = variant_of(vq);
	struct vio_vq_entry e;
	int err = vio_vq_check(vq, b, vq->nr_free, &e);
	uint16_t head;
	bool ok;

	if (err)
		return err;
	head = free_desc(vq, 0, v);
	if (e.entries == e.nr)
		ok = add_direct(vq, head, b, e.nr, v);
	else
		ok = add_indirect(vq, head, b, e.nr, v);
	if (!ok)
		return VIO_E_RANGE;
	vio_vq_keep(&vq->slot[head], b->token, e.room, e.entries);
	vq->next_id = free_desc(vq, e.entries, v | VIO_V_IN_ORDER);
	vq->nr_free = (uint16_t)(vq->nr_free - e.entries);
	avail_set(vq, vq->avail_next++, vio_turn16(v, head));
	return VIO_OK;
}

/*
 * Add buffers of one segment, up to @nr, as far as there is room and to the end
 * of the available ring. Returns how many.
 */
VIO_INLINE unsigned add_run(struct vio_vq *vq, const struct vio_buf *buf,
			    unsigned nr, unsigned v)
{
	const struct vio_vq_bounds w = vio_vq_bounds(vq);
	const unsigned mask = vq->size - 1u, off = vq->avail_next & mask;
	vio_le16 *avail = (vio_le16 *)(void *)(vq->avail + 1) + off;
	const uint16_t *free = vq->free + vq->nr_free;
	struct vio_vq_slot *slots = vq->slot;
	struct virtq_desc *desc = vq->desc;
	const struct vio_buf *b, *end;
	unsigned id = vq->next_id, n;

	if (nr > vq->nr_free)
		nr = vq->nr_free;
	if (nr > mask + 1 - off)
		nr = mask + 1 - off;
	for (b = buf, end = buf + nr; b != end; b++, avail++) {
		struct vio_vq_slot *slot;
		uint64_t addr;
		uint32_t len;
		bool writable;

		if (vio_unlikely(!vio_vq_usual(&w, b, &addr, &writable)))
			break;
		if (!(v & VIO_V_IN_ORDER))
			id = *--free;
		slot = &slots[id];
		len = (uint32_t)b->seg->len;
		slot->token = b->token;
		slot->nr = 1;
		slot->next = 0;
		vio_put16(avail, vio_turn16(v, (uint16_t)id));
		if (writable) {
			put_desc(&desc[id], addr, len, VIRTQ_DESC_F_WRITE, 0,
				 v);
			slot->room = len;
		} else {
			put_desc(&desc[id], addr, len, 0, 0, v);
			slot->room = 0;
		}
		if (v & VIO_V_IN_ORDER)
			id = (id + 1) & mask;
	}
	n = (unsigned)(b - buf);
	vq->next_id = (uint16_t)id;
	vq->avail_next = (uint16_t)(vq->avail_next + n);
	vq->nr_free = (uint16_t)(vq->nr_free - n);
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

/* The device has read these lines; they are written again soon. */
VIO_INLINE void ask_for(const struct vio_vq *vq, unsigned head)
{
	if (vq->indirect_max)
		vio_prefetch_write(table_of(vq, (uint16_t)head));
	vio_prefetch_write(&vq->desc[head]);
}

/* The used entry at @at, copied. */
VIO_INLINE void read_used(const struct virtq_used_elem *e, uint32_t *id,
			  uint32_t *len, unsigned v)
{
	uint32_t n[2];

	vio_get32x2(&e->id, &e->len, n);
	*id = vio_turn32(v, n[0]);
	*len = vio_turn32(v, n[1]);
}

/*
 * The descriptors of a chain, on the stack of those that are free, the first
 * uppermost. Returns the stack's end.
 */
VIO_APART uint16_t *push_chain(const struct vio_vq_slot *slots, uint16_t *free,
			       uint16_t head)
{
	uint16_t *end = free + slots[head].nr, *to = end;

	for (; to != free; head = slots[head].next)
		*--to = head;
	return end;
}

/* Take @max entries that the index covers. Fewer: the queue is broken. */
VIO_INLINE unsigned collect(struct vio_vq *vq, struct vio_used *used,
			    unsigned max, unsigned v)
{
	const struct virtq_used_elem *ring = (void *)(vq->used + 1);
	const unsigned mask = vq->size - 1u, size = vq->size;
	struct vio_vq_slot *slots = vq->slot;
	uint16_t *free = vq->free + vq->nr_free;
	unsigned at = vq->used_next, n;

	for (n = 0; n < max; n++, at++) {
		struct vio_vq_slot *slot;
		uint32_t id, len;

		read_used(&ring[at & mask], &id, &len, v);
		slot = &slots[id];
		if (vio_unlikely(id >= size))
			break;
		if (vio_likely(slot->nr == 1))
			*free++ = (uint16_t)id;
		else if (slot->nr)
			free = push_chain(slots, free, (uint16_t)id);
		else
			break;
		vio_vq_take(vq, slot, len, &used[n]);
		ask_for(vq, id);
	}
	vq->nr_free = (uint16_t)(free - vq->free);
	vq->used_next = (uint16_t)at;
	return n;
}

/*
 * In order, one entry may end a batch: its id is the batch's last, and those
 * before it are taken as used completely (standard: 2.7.9).
 */
VIO_INLINE unsigned collect_in_order(struct vio_vq *vq, struct vio_used *used,
				 unsigned max, unsigned v)
{
	const struct virtq_used_elem *ring = (void *)(vq->used + 1);
	const unsigned mask = vq->size - 1u;
	unsigned n;

	for (n = 0; n < max; n++) {
		struct vio_vq_slot *slot = &vq->slot[vq->oldest];
		uint16_t head = vq->oldest;
		uint32_t len, id;
		bool last;

		if (!vq->in_batch) {
			read_used(&ring[vq->used_next & mask], &id,
				  &vq->batch_len, v);
			if (vio_unlikely(id > mask || !vq->slot[id].nr))
				break;
			vq->batch_last = (uint16_t)id;
		}
		/* Either the id was no head in use, or lies beyond the
		 * index. */
		last = head == vq->batch_last;
		if (vio_unlikely(!slot->nr ||
				 (!last && (uint16_t)(vq->used_seen -
						vq->used_next) == 1)))
			break;
		vq->in_batch = !last;
		len = last ? vq->batch_len : slot->room;
		vq->oldest = (uint16_t)((head + slot->nr) & mask);
		vq->nr_free = (uint16_t)(vq->nr_free + slot->nr);
		vq->used_next++;
		vio_vq_take(vq, slot, len, &used[n]);
		ask_for(vq, head);
	}
	return n;
}

VIO_INLINE unsigned get(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	unsigned seen = (uint16_t)(vq->used_seen - vq->used_next), n;

	if (seen < max) {
		refresh(vq);
		seen = (uint16_t)(vq->used_seen - vq->used_next);
		if (vq->broken)
			return 0;
		if (seen < max)
			max = seen;
	}
	n = v & VIO_V_IN_ORDER ? collect_in_order(vq, used, max, v) :
				 collect(vq, used, max, v);
	if (vio_unlikely(n < max))
		vio_vq_broken(vq);
	vq->inflight = (uint16_t)(vq->inflight - n);
	return n;
}

#ifdef VIO_SMALL
VIO_VQ_VARIANT(any, variant_of(vq))
#else
VIO_VQ_VARIANT(plain, 0)
VIO_VQ_VARIANT(in_order, VIO_V_IN_ORDER)
#if VIO_MACHINE_BIG
VIO_VQ_VARIANT(big, variant_of(vq))
#endif
#endif

static const struct vio_vq_hot *split_hot(const struct vio_vq *vq)
{
#ifdef VIO_SMALL
	(void)vq;
	return &hot_any;
#else
#if VIO_MACHINE_BIG
	if (vq->big_endian)
		return &hot_big;
#endif
	return vq->in_order ? &hot_in_order : &hot_plain;
#endif
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
	.next_id = split_next_id,
	.publish = split_publish,
	.pending = split_pending,
	.quiet = split_quiet,
	.listen = split_listen,
};
