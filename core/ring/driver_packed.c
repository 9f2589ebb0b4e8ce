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
	id = vio_vq_free_id(vq, 0);
	if (e.entries == e.nr)
		add_direct(vq, b, e.nr, id);
	else if (!add_indirect(vq, b, e.nr, id))
		return VIO_E_RANGE;
	vq->slot[id].token = b->token;
	vq->slot[id].word = vio_slot_word(e.room, id, e.entries - 1);
	vio_vq_take_ids(vq, 1);
	vq->nr_free = (uint16_t)(vq->nr_free - e.entries);
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)e.entries,
				    vq->size);
	vq->inflight++;
	return VIO_OK;
}

/* How far ahead descriptors are asked for that will be written. */
#define AHEAD	16

/* Up to the end of the ring, and as far as there is room. */
VIO_INLINE unsigned room_for(const struct vio_vq *vq, unsigned nr)
{
	unsigned run = vq->size - pvirtq_off(vq->avail_next, vq->size);

	if (run > vq->nr_free)
		run = vq->nr_free;
	return nr < run ? nr : run;
}

/* @n buffers of one entry each are there. */
VIO_INLINE void added(struct vio_vq *vq, unsigned n)
{
	vq->nr_free = (uint16_t)(vq->nr_free - n);
	vq->avail_next = pvirtq_add(vq->avail_next, (uint16_t)n, vq->size);
	vq->inflight = (uint16_t)(vq->inflight + n);
}

/* A descriptor of its own; of the first that waits for the publication, the
 * flags do so. */
VIO_INLINE void put_whole(struct vio_vq *vq, struct pvirtq_desc *d,
			  uint64_t addr, uint64_t tail, bool hidden)
{
	if (vio_unlikely(hidden)) {
		put_desc(d, addr, (uint32_t)tail, (uint16_t)(tail >> 32));
		vq->first_flags = (uint16_t)(tail >> 48);
	} else {
		d->addr = vio_to_le64(addr);
		vio_put_tail(&d->len, tail);
	}
}

/*
 * Add buffers of one segment, up to @nr and to the end of the ring, as far as
 * there is room. Returns how many.
 */
VIO_INLINE unsigned add_run(struct vio_vq *vq, const struct vio_buf *buf,
			    unsigned nr)
{
	const struct vio_vq_bounds w = vio_vq_bounds(vq);
	const unsigned size = vq->size, off = pvirtq_off(vq->avail_next, size);
	const uint64_t bits = (uint64_t)avail_bits(vq, vq->avail_next) << 48;
	const uint64_t write = (uint64_t)PVIRTQ_DESC_F_WRITE << 48;
	unsigned left = vq->nr_stack, next = vq->next_id, n;
	bool hidden = vq->avail_next == vq->avail_shown;
	struct pvirtq_desc *d = vq->ring + off;
	struct vio_vq_slot *slots = vq->slot;
	const uint16_t *free = vq->free;

	nr = room_for(vq, nr);
	for (n = 0; n < nr; n++, d++) {
		const struct vio_buf *b = &buf[n];
		uint64_t addr, tail;
		unsigned id = next;
		bool writable;

		/* The device looked at it last: have it back in time. */
		vio_prefetch_write(d + AHEAD);
		if (vio_unlikely(!vio_vq_usual(&w, b, &addr, &writable)))
			break;
		if (left)
			id = free[--left];
		else
			next = next + 1 < size ? next + 1 : 0;
		tail = (uint32_t)b->seg->len | (uint64_t)id << 32 | bits;
		slots[id].token = b->token;
		if (writable) {
			slots[id].word = vio_slot_word((uint32_t)tail, id, 0);
			tail |= write;
		} else {
			slots[id].word = vio_slot_word(0, id, 0);
		}
		put_whole(vq, d, addr, tail, hidden);
		hidden = false;
	}
	vq->nr_stack = (uint16_t)left;
	vq->next_id = (uint16_t)next;
	added(vq, n);
	return n;
}

static unsigned add(struct vio_vq *vq, const struct vio_buf *buf, unsigned nr,
		    int *err)
{
	unsigned n = 0;

	for (*err = VIO_OK; n < nr; n++) {
		if (VIO_RUNS && vio_vq_is_single(&buf[n]))
			n += add_run(vq, buf + n, nr - n);
		if (vio_likely(n == nr))
			break;
		*err = add_list(vq, &buf[n]);
		if (vio_unlikely(*err))
			break;
	}
	return n;
}

#ifdef VIO_SMALL
#define SINGLES	NULL
#else
#define SINGLES	singles

/* Where the next singles are entered, one after the other. */
struct run {
	struct pvirtq_desc *desc;
	struct vio_vq_slot *slot;
	uint64_t move;		/* what makes a guest's address of a pointer */
	uint64_t id;		/* in the place of a record's word */
	uint64_t bits;		/* flags, in the place of a tail */
	uint32_t room;		/* all ones where the device may write */
};

VIO_INLINE void put_single(struct vio_vq *vq, const struct run *r, unsigned i,
			   const struct vio_single *one, bool hidden)
{
	uint64_t id = r->id + ((uint64_t)i << 32);

	put_whole(vq, &r->desc[i], (uintptr_t)one->base + r->move,
		  (one->len | r->bits) + id, hidden);
	r->slot[i].token = one->token;
	r->slot[i].word = (one->len & r->room) + id;
}

VIO_INLINE void advance(struct run *r, unsigned n)
{
	r->desc += n;
	r->slot += n;
	r->id += (uint64_t)n << 32;
}

/* The next ids follow each other, and so do their records. */
static unsigned singles_run(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable)
{
	const unsigned id = vq->next_id, flags = writable ?
		avail_bits(vq, vq->avail_next) | PVIRTQ_DESC_F_WRITE :
		avail_bits(vq, vq->avail_next);
	struct run r = {
		.desc = entry(vq, vq->avail_next), .slot = vq->slot + id,
		.move = vq->buffers.addr.v - (uintptr_t)vq->buffers.host,
		.id = (uint64_t)id << 32, .bits = (uint64_t)flags << 48,
		.room = writable ? UINT32_MAX : 0,
	};
	unsigned left;

	nr = room_for(vq, nr);
	if (nr > vq->size - id)
		nr = vq->size - id;
	left = nr = vio_vq_fit(vq, one, nr);
	if (left && vq->avail_next == vq->avail_shown) {
		put_single(vq, &r, 0, one++, true);
		advance(&r, 1);
		left--;
	}
	for (; left >= 4; left -= 4, one += 4) {
		/* The device looked at it last: have it back in time. */
		vio_prefetch_write(r.desc + AHEAD);
		VIO_UNROLL
		for (unsigned k = 0; k < 4; k++)
			put_single(vq, &r, k, one + k, false);
		advance(&r, 4);
	}
	for (; left; left--, one++) {
		put_single(vq, &r, 0, one, false);
		advance(&r, 1);
	}
	vq->next_id = (uint16_t)vio_vq_id_after(vq, id, nr);
	added(vq, nr);
	return nr;
}

static unsigned singles(struct vio_vq *vq, const struct vio_single *one,
			unsigned nr, bool writable)
{
	unsigned n = 0, got = 1;

	/* On with the first id, or at the other end of the ring. */
	while (n < nr && got && !vq->nr_stack) {
		got = singles_run(vq, one + n, nr - n, writable);
		n += got;
	}
	return n;
}
#endif

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

/* The used descriptors ahead: where they are, and what they look like. */
struct ahead {
	const struct pvirtq_desc *d;
	uint64_t bits;		/* flags in the place of a tail, of WHOSE */
	bool dma;
	unsigned max;		/* of them, to the end of the ring */
};

#define WHOSE_TAIL	((uint64_t)WHOSE << 48)

VIO_INLINE struct ahead look_ahead(const struct vio_vq *vq, unsigned max)
{
	unsigned off = pvirtq_off(vq->used_next, vq->size);
	struct ahead a = {
		.d = vq->ring + off, .dma = vq->dma,
		.bits = pvirtq_wrap(vq->used_next, vq->size) ? WHOSE_TAIL : 0,
		.max = max < vq->size - off ? max : vq->size - off,
	};

	return a;
}

/* The tail of the next one but @i, copied. False: it is not used yet. */
VIO_INLINE bool read_tail(const struct ahead *a, unsigned i, uint64_t *tail)
{
	/* pairs with [G]: the device's release of the flags, after the rest
	 * of the descriptor and those behind it. */
	*tail = vio_get_tail_acquire(&a->d[i].len, a->dma);
	if ((*tail ^ a->bits) & WHOSE_TAIL)
		return false;
	vio_tail_is_ours(&a->d[i].len);
	return true;
}

/* A tail: its length, and behind it its id. */
VIO_INLINE uint64_t used_of(uint64_t tail)
{
	return tail & 0xffffffffffffull;
}

/* The record that a tail names, and what it has of the ring beyond one entry;
 * NULL: it names none. */
VIO_INLINE struct vio_vq_slot *record_of(const struct vio_vq *vq, uint64_t tail,
					 unsigned *more)
{
	unsigned id = (uint16_t)(tail >> 32);

	if (vio_unlikely(id >= vq->size))
		return NULL;
	*more = vio_slot_more(&vq->slot[id]);
	return vio_likely(*more != VIO_SLOT_FREE) ? &vq->slot[id] : NULL;
}

/* A buffer is back that took @more entries beyond one. */
VIO_INLINE void came_back(struct vio_vq *vq, unsigned more)
{
	vq->nr_free = (uint16_t)(vq->nr_free + more + 1);
	vq->used_next = pvirtq_add(vq->used_next, (uint16_t)(more + 1),
				   vq->size);
	vq->inflight--;
}

/*
 * One used descriptor, whatever it is. It may come out of its turn; from then
 * on, what comes back goes on the stack. False: the queue is broken.
 *
 * 2.8.5 reserves the length where WRITE is clear; but QEMU never sets WRITE in
 * a used descriptor. It is clamped to what was offered.
 */
VIO_INLINE bool take_any(struct vio_vq *vq, struct vio_used *used,
			 uint64_t tail)
{
	unsigned id = (uint16_t)(tail >> 32), more;
	struct vio_vq_slot *slot = record_of(vq, tail, &more);

	if (vio_unlikely(!slot))
		return vio_vq_broken(vq);
	if (VIO_RUNS && vq->straight && id == vq->oldest) {
		vq->oldest = (uint16_t)vio_vq_id_after(vq, id, 1);
	} else {
		vq->straight = false;
		vq->free[vq->nr_stack++] = (uint16_t)id;
	}
	vio_vq_take(vq, slot, (uint32_t)tail, used);
	came_back(vq, more);
	return true;
}

/* @n buffers of one entry are back. */
VIO_INLINE void all_back(struct vio_vq *vq, unsigned n)
{
	vq->nr_free = (uint16_t)(vq->nr_free + n);
	vq->used_next = pvirtq_add(vq->used_next, (uint16_t)n, vq->size);
	vq->inflight = (uint16_t)(vq->inflight - n);
}

/*
 * Take up to @max that are buffers of one entry whose turn it is, to the end
 * of the ring and of the table. *@odd: out, it ended at one that is used but
 * not so, and has this *@tail.
 */
VIO_INLINE unsigned take_run(struct vio_vq *vq, struct vio_used *used,
			     unsigned max, bool *odd, uint64_t *tail)
{
	unsigned at = vq->oldest, i, k = 0;
	struct ahead a = look_ahead(vq, max);
	struct vio_vq_slot *s = vq->slot + at;

	*odd = false;
	if (a.max > vq->size - at)
		a.max = vq->size - at;
	for (i = 0; a.max - i >= 4; i += 4, s += 4, a.d += 4, used += 4) {
		VIO_UNROLL
		for (k = 0; k < 4; k++) {
			if (!read_tail(&a, k, tail))
				goto out;
			*odd = !vio_vq_take_turn(&s[k], used_of(*tail),
						 &used[k]);
			if (*odd)
				goto out;
		}
	}
	for (k = 0; k < a.max - i; k++) {
		if (!read_tail(&a, k, tail))
			break;
		*odd = !vio_vq_take_turn(&s[k], used_of(*tail), &used[k]);
		if (*odd)
			break;
	}
out:
	i += k;
	vq->oldest = (uint16_t)vio_vq_id_after(vq, at, i);
	all_back(vq, i);
	return i;
}

/* The same where they come out of turn. */
VIO_INLINE unsigned take_mixed(struct vio_vq *vq, struct vio_used *used,
			       unsigned max, bool *odd, uint64_t *tail)
{
	const struct ahead a = look_ahead(vq, max);
	uint16_t *free = vq->free + vq->nr_stack;
	unsigned i, more;

	*odd = false;
	for (i = 0; i < a.max && read_tail(&a, i, tail); i++) {
		struct vio_vq_slot *slot = record_of(vq, *tail, &more);

		*odd = !slot || more;
		if (vio_unlikely(*odd))
			break;
		free[i] = (uint16_t)(*tail >> 32);
		vio_vq_take(vq, slot, (uint32_t)*tail, &used[i]);
	}
	vq->nr_stack = (uint16_t)(vq->nr_stack + i);
	all_back(vq, i);
	return i;
}

/* The one or the other. A build for size takes all as odd ones. */
VIO_INLINE unsigned take_some(struct vio_vq *vq, struct vio_used *used,
			      unsigned max, bool *odd, uint64_t *tail)
{
	if (!VIO_RUNS) {
		const struct ahead a = look_ahead(vq, 1);

		*odd = read_tail(&a, 0, tail);
		return 0;
	}
	if (vio_likely(vq->straight))
		return take_run(vq, used, max, odd, tail);
	return take_mixed(vq, used, max, odd, tail);
}

/* Take up to @max; one that names no buffer of ours breaks the queue. */
VIO_INLINE unsigned collect(struct vio_vq *vq, struct vio_used *used,
			    unsigned max)
{
	unsigned n = 0, got;
	uint64_t tail;
	bool odd;

	do {
		got = take_some(vq, used + n, max - n, &odd, &tail);
		n += got;
		if (odd) {
			if (!take_any(vq, &used[n], tail))
				break;
			n++;
		}
	} while (n < max && (got || odd));
	return n;
}

/*
 * In order, one descriptor may end a batch: its id is the batch's last, and
 * those before it are taken as used completely (2.8.9). The id is one in use,
 * so it comes before the last in flight. False: the queue is broken.
 */
VIO_INLINE bool next_batch(struct vio_vq *vq, uint64_t tail)
{
	unsigned more;

	if (vio_unlikely(!record_of(vq, tail, &more)))
		return vio_vq_broken(vq);
	vq->batch_last = (uint16_t)(tail >> 32);
	vq->batch_len = (uint32_t)tail;
	return vq->in_batch = true;
}

/* The next of a batch. */
VIO_INLINE void take_next(struct vio_vq *vq, struct vio_used *used)
{
	struct vio_vq_slot *slot = &vq->slot[vq->oldest];
	unsigned more = vio_slot_more(slot);
	uint32_t len = (uint32_t)slot->word;

	vq->in_batch = vq->oldest != vq->batch_last;
	if (!vq->in_batch)
		len = vq->batch_len;
	vio_vq_take(vq, slot, len, used);
	vq->oldest = (uint16_t)vio_vq_id_after(vq, vq->oldest, 1);
	came_back(vq, more);
}

VIO_INLINE unsigned collect_in_order(struct vio_vq *vq, struct vio_used *used,
				     unsigned max)
{
	unsigned n = 0, got;
	uint64_t tail;
	bool odd;

	while (n < max) {
		if (!vq->in_batch) {
			/* Each that stands for itself; what does not begins
			 * a batch. */
			got = take_some(vq, used + n, max - n, &odd, &tail);
			n += got;
			if (odd ? !next_batch(vq, tail) : !got)
				break;
		}
		while (n < max && vq->in_batch)
			take_next(vq, &used[n++]);
	}
	return n;
}

VIO_INLINE unsigned get(struct vio_vq *vq, struct vio_used *used, unsigned max,
			unsigned v)
{
	unsigned n = v & VIO_V_IN_ORDER ? collect_in_order(vq, used, max) :
					  collect(vq, used, max);

	vio_vq_straighten(vq);
	return n;
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
	.publish = packed_publish,
	.pending = packed_pending,
	.quiet = packed_quiet,
	.listen = packed_listen,
};
