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

/*
 * The segments as a chain of free descriptors. In order, these follow each
 * other around the table, because they are freed in the order of their use.
 * Each record names the next descriptor, for push_chain().
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
			next = vio_vq_free_id(vq, i);
			vq->slot[at].word = vio_slot_word(0, next,
							  VIO_SLOT_FREE);
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
	head = vio_vq_free_id(vq, 0);
	if (e.entries == e.nr)
		ok = add_direct(vq, head, b, e.nr, v);
	else
		ok = add_indirect(vq, head, b, e.nr, v);
	if (!ok)
		return VIO_E_RANGE;
	vq->slot[head].token = b->token;
	vq->slot[head].word = vio_slot_word(e.room, e.entries == 1 ? head :
					    vio_slot_id(&vq->slot[head]),
					    e.entries - 1);
	vq->nr_lists = (uint16_t)(vq->nr_lists + (e.entries > 1));
	vio_vq_take_ids(vq, e.entries);
	vq->nr_free = (uint16_t)(vq->nr_free - e.entries);
	avail_set(vq, vq->avail_next++, vio_turn16(v, head));
	return VIO_OK;
}

/* Up to the end of the available ring, and as far as there is room. */
VIO_INLINE unsigned room_for(const struct vio_vq *vq, unsigned nr)
{
	unsigned run = vq->size - (vq->avail_next & (vq->size - 1u));

	if (run > vq->nr_free)
		run = vq->nr_free;
	return nr < run ? nr : run;
}

/* @n buffers of one entry each are there. */
VIO_INLINE void added(struct vio_vq *vq, unsigned n)
{
	vq->avail_next = (uint16_t)(vq->avail_next + n);
	vq->nr_free = (uint16_t)(vq->nr_free - n);
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
	unsigned left = vq->nr_stack, next = vq->next_id, n;
	struct vio_vq_slot *slots = vq->slot;
	struct virtq_desc *desc = vq->desc;
	const uint16_t *free = vq->free;
	const struct vio_buf *b, *end;

	for (b = buf, end = buf + room_for(vq, nr); b != end; b++, avail++) {
		unsigned id = next;
		uint64_t addr;
		uint32_t len;
		bool writable;

		if (vio_unlikely(!vio_vq_usual(&w, b, &addr, &writable)))
			break;
		if (left)
			id = free[--left];
		else
			next = (next + 1) & mask;
		len = (uint32_t)b->seg->len;
		slots[id].token = b->token;
		vio_put16(avail, vio_turn16(v, (uint16_t)id));
		if (writable) {
			put_desc(&desc[id], addr, len, VIRTQ_DESC_F_WRITE, 0,
				 v);
			slots[id].word = vio_slot_word(len, id, 0);
		} else {
			put_desc(&desc[id], addr, len, 0, 0, v);
			slots[id].word = vio_slot_word(0, id, 0);
		}
	}
	n = (unsigned)(b - buf);
	vq->nr_stack = (uint16_t)left;
	vq->next_id = (uint16_t)next;
	added(vq, n);
	return n;
}

static unsigned add(struct vio_vq *vq, const struct vio_buf *buf, unsigned nr,
		    int *err)
{
	unsigned v = variant_of(vq), n = 0;

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

#ifdef VIO_SMALL
#define SINGLES	NULL
#else
#define SINGLES	singles

/* Where the next singles are entered, one after the other. */
struct run {
	struct virtq_desc *desc;
	struct vio_vq_slot *slot;
	vio_le16 *avail;
	uint64_t move;		/* what makes a guest's address of a pointer */
	uint32_t id;
	uint32_t room;		/* all ones where the device may write */
	uint16_t flags;
};

VIO_INLINE void put_single(const struct run *r, unsigned i,
			   const struct vio_single *one, unsigned v)
{
	uint32_t id = r->id + i;

	put_desc(&r->desc[i], (uintptr_t)one->base + r->move, one->len,
		 r->flags, 0, v);
	r->slot[i].token = one->token;
	r->slot[i].word = vio_slot_word(one->len & r->room, id, 0);
	vio_put16(&r->avail[i], vio_turn16(v, (uint16_t)id));
}

/* The next ids follow each other, and so do their descriptors and records. */
static unsigned singles_run(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable)
{
	const unsigned v = variant_of(vq), id = vq->next_id;
	struct run r = {
		.desc = vq->desc + id, .slot = vq->slot + id,
		.avail = (vio_le16 *)(void *)(vq->avail + 1) +
			 (vq->avail_next & (vq->size - 1u)),
		.move = vq->buffers.addr.v - (uintptr_t)vq->buffers.host,
		.id = id, .room = writable ? UINT32_MAX : 0,
		.flags = writable ? VIRTQ_DESC_F_WRITE : 0,
	};
	unsigned left;

	nr = room_for(vq, nr);
	if (nr > vq->size - id)
		nr = vq->size - id;
	nr = vio_vq_fit(vq, one, nr);
	for (left = nr; left >= 4; left -= 4, one += 4) {
		VIO_UNROLL
		for (unsigned k = 0; k < 4; k++)
			put_single(&r, k, one + k, v);
		r.desc += 4, r.slot += 4, r.avail += 4, r.id += 4;
	}
	for (; left; left--, one++) {
		put_single(&r, 0, one, v);
		r.desc++, r.slot++, r.avail++, r.id++;
	}
	vq->next_id = (uint16_t)vio_vq_id_after(vq, id, nr);
	added(vq, nr);
	return nr;
}

static unsigned singles(struct vio_vq *vq, const struct vio_single *one,
			unsigned nr, bool writable)
{
	unsigned n = 0, got = 1;

	/* On at the other end of the table, or of the ring. */
	while (n < nr && got && !vq->nr_stack) {
		got = singles_run(vq, one + n, nr - n, writable);
		n += got;
	}
	vq->inflight = (uint16_t)(vq->inflight + n);
	return n;
}
#endif

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

static const struct virtq_used_elem *used_ring(const struct vio_vq *vq)
{
	return (const struct virtq_used_elem *)(const void *)(vq->used + 1);
}

/* An entry as copied: its length, and behind it its id. */
VIO_INLINE uint64_t used_of(uint64_t e, unsigned v)
{
	uint32_t half[2];

	memcpy(half, &e, sizeof(e));
#if VIO_MACHINE_BIG
	if (!(v & VIO_V_BIG)) {
		half[0] = __builtin_bswap32(half[0]);
		half[1] = __builtin_bswap32(half[1]);
	}
#else
	(void)v;
#endif
	return (uint64_t)half[0] << 32 | half[1];
}

/* The entry at @at. */
VIO_INLINE uint64_t read_used(const struct vio_vq *vq, unsigned at, unsigned v)
{
	uint64_t e;

	vio_copy_in(&e, used_ring(vq) + (at & (vq->size - 1u)), sizeof(e));
	return used_of(e, v);
}

/*
 * The descriptors of a chain, on the stack of those that are free, the first
 * uppermost. Returns the stack's end.
 */
VIO_APART uint16_t *push_chain(const struct vio_vq_slot *slots, uint16_t *free,
			       unsigned head, unsigned nr)
{
	uint16_t *end = free + nr, *to = end;

	for (; to != free; head = vio_slot_id(&slots[head]))
		*--to = (uint16_t)head;
	return end;
}

/*
 * One used entry, whatever it is. It may come out of its turn; from then on,
 * what comes back goes on the stack. False: the queue is broken.
 */
VIO_INLINE bool take_any(struct vio_vq *vq, struct vio_used *used, uint64_t t)
{
	uint32_t id = (uint32_t)(t >> 32), more;
	struct vio_vq_slot *slot = &vq->slot[id];

	if (vio_unlikely(id >= vq->size))
		return false;
	more = vio_slot_more(slot);
	if (vio_unlikely(more == VIO_SLOT_FREE))
		return false;
	if (VIO_RUNS && vq->straight && id == vq->oldest) {
		vq->oldest = (uint16_t)vio_vq_id_after(vq, id, more + 1);
	} else {
		vq->straight = false;
		push_chain(vq->slot, vq->free + vq->nr_stack, (uint16_t)id,
			   more + 1);
		vq->nr_stack = (uint16_t)(vq->nr_stack + more + 1);
	}
	vq->nr_lists = (uint16_t)(vq->nr_lists - !!more);
	vq->nr_free = (uint16_t)(vq->nr_free + more + 1);
	vio_vq_take(vq, slot, (uint32_t)t, used);
	ask_for(vq, id);
	return true;
}

#ifdef VIO_SMALL
static unsigned collect(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	unsigned n = 0;

	while (n < max && take_any(vq, &used[n],
				   read_used(vq, vq->used_next + n, v)))
		n++;
	return n;
}
#else
/* Of a run of @n entries as they were copied: those that came by turns. */
VIO_INLINE unsigned take_run(struct vio_vq *vq, struct vio_used *used,
			     const uint64_t *e, unsigned n, unsigned v)
{
	struct vio_vq_slot *s = vq->slot + vq->oldest;
	unsigned i, k, at = vq->oldest;

	if (n > vq->size - at)
		n = vq->size - at;
	for (i = 0; n - i >= 4; i += 4, s += 4, e += 4, used += 4) {
		ask_for(vq, at + i);
		VIO_UNROLL
		for (k = 0; k < 4; k++)
			if (!vio_vq_take_turn(&s[k], used_of(e[k], v),
					      &used[k]))
				goto out;
	}
	for (k = 0; k < n - i; k++)
		if (!vio_vq_take_turn(&s[k], used_of(e[k], v), &used[k]))
			break;
out:
	i += k;
	vq->oldest = (uint16_t)vio_vq_id_after(vq, at, i);
	vq->nr_free = (uint16_t)(vq->nr_free + i);
	return i;
}

/*
 * Those that are out of turn, one by one, and all behind them: numbers of the
 * queue stay in locals meanwhile.
 */
VIO_INLINE unsigned take_mixed(struct vio_vq *vq, struct vio_used *used,
			       const uint64_t *e, unsigned n, unsigned v)
{
	uint16_t *free = vq->free + vq->nr_stack;
	struct vio_vq_slot *slots = vq->slot;
	const unsigned size = vq->size;
	unsigned i;

	for (i = 0; i < n; i++) {
		uint64_t t = used_of(e[i], v);
		uint32_t id = (uint32_t)(t >> 32);

		if (vio_unlikely(id >= size || vio_slot_more(&slots[id])))
			break;
		*free++ = (uint16_t)id;
		vio_vq_take(vq, &slots[id], (uint32_t)t, &used[i]);
		ask_for(vq, id);
	}
	vq->nr_stack = (uint16_t)(vq->nr_stack + i);
	vq->nr_free = (uint16_t)(vq->nr_free + i);
	return i;
}

/* Entries that are copied at a time. */
#define USED_MAX	32u

/* @n used entries from @at on, copied. */
VIO_INLINE void copy_used(const struct vio_vq *vq, uint64_t *e, unsigned at,
			  unsigned n)
{
	unsigned run;

	at &= vq->size - 1u;
	run = vq->size - at < n ? vq->size - at : n;
	vio_copy_in(e, used_ring(vq) + at, run * sizeof(*e));
	if (vio_unlikely(run < n))
		vio_copy_in(e + run, used_ring(vq), (n - run) * sizeof(*e));
}

/* Take @max entries that the index covers. Fewer: the queue is broken. */
VIO_INLINE unsigned collect(struct vio_vq *vq, struct vio_used *used,
			    unsigned max, unsigned v)
{
	unsigned n = 0, got, k;
	uint64_t e[USED_MAX];

	for (; n < max; n += got) {
		got = max - n < USED_MAX ? max - n : USED_MAX;
		copy_used(vq, e, vq->used_next + n, got);
		for (k = 0; k < got; k++) {
			struct vio_used *u = used + n + k;

			/* An id could be made to match a list. */
			if (vio_likely(vq->straight && !vq->nr_lists))
				k += take_run(vq, u, e + k, got - k, v);
			else if (!vq->straight)
				k += take_mixed(vq, u, e + k, got - k, v);
			if (k < got && !take_any(vq, &used[n + k],
						 used_of(e[k], v)))
				return n + k;
		}
	}
	return n;
}
#endif

/* In order: the entry that ends a batch, which may be one of its own. */
VIO_INLINE bool next_batch(struct vio_vq *vq, unsigned v)
{
	uint64_t t = read_used(vq, vq->used_next, v);

	if (vio_unlikely(t >> 32 >= vq->size ||
			 vio_slot_more(&vq->slot[t >> 32]) == VIO_SLOT_FREE))
		return false;
	vq->batch_last = (uint16_t)(t >> 32);
	vq->batch_len = (uint32_t)t;
	return true;
}

/*
 * In order, one entry may end a batch: its id is the batch's last, and those
 * before it are taken as used completely (standard: 2.7.9).
 */
VIO_INLINE unsigned collect_in_order(struct vio_vq *vq, struct vio_used *used,
				 unsigned max, unsigned v)
{
	const unsigned mask = vq->size - 1u;
	unsigned n;

	for (n = 0; n < max; n++) {
		struct vio_vq_slot *slot = &vq->slot[vq->oldest];
		unsigned head = vq->oldest, more = vio_slot_more(slot);
		uint32_t len = (uint32_t)slot->word;
		bool last;

		if (!vq->in_batch && !next_batch(vq, v))
			break;
		/* Either the id was no head in use, or lies beyond the
		 * index. */
		last = head == vq->batch_last;
		if (vio_unlikely(more == VIO_SLOT_FREE ||
				 (!last && (uint16_t)(vq->used_seen -
						vq->used_next) == 1)))
			break;
		vq->in_batch = !last;
		if (last)
			len = vq->batch_len;
		vq->oldest = (uint16_t)((head + more + 1) & mask);
		vq->nr_free = (uint16_t)(vq->nr_free + more + 1);
		vq->nr_lists = (uint16_t)(vq->nr_lists - !!more);
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
	if (v & VIO_V_IN_ORDER) {
		n = collect_in_order(vq, used, max, v);
	} else {
		n = collect(vq, used, max, v);
		vq->used_next = (uint16_t)(vq->used_next + n);
	}
	if (vio_unlikely(n < max))
		vio_vq_broken(vq);
	vq->inflight = (uint16_t)(vq->inflight - n);
	vio_vq_straighten(vq);
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
	.publish = split_publish,
	.pending = split_pending,
	.quiet = split_quiet,
	.listen = split_listen,
};
