/* SPDX-License-Identifier: MIT */
/*
 * driver.h - what a ring layout does for the driver's half of a virtqueue.
 * vq.c checks what callers ask and calls the layout through this table.
 * Nothing here knows a bus or a device type.
 */
#ifndef CORE_RING_DRIVER_H
#define CORE_RING_DRIVER_H

#include <vireo/vq.h>
#include "core/base/string.h"
#include "core/ring/variant.h"

/* What every buffer takes; see struct vio_ring_hot. */
struct vio_vq_hot {
	/* As vio_vq_add_many() and vio_vq_get_many(), of a queue that is not
	 * broken; get: with buffers in flight. */
	unsigned (*add)(struct vio_vq *vq, const struct vio_buf *buf,
			unsigned nr, int *err);
	unsigned (*get)(struct vio_vq *vq, struct vio_used *used,
			unsigned max);
	/*
	 * As vio_vq_add_singles(), as many from the front as are as they
	 * should be and follow each other in the ring; the rest is add()'s.
	 * NULL: all are.
	 */
	unsigned (*singles)(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable);
};

/* The functions of a variant, from the body get(). */
#define VIO_VQ_VARIANT(name, v)						\
	static unsigned get_##name(struct vio_vq *vq,			\
				   struct vio_used *used, unsigned max)	\
	{								\
		return get(vq, used, max, v);				\
	}								\
	static const struct vio_vq_hot hot_##name = {			\
		.add = add, .get = get_##name, .singles = SINGLES,	\
	};

struct vio_vq_ops {
	/* Take the ring's areas from @shared; fill vq->layout. */
	int (*layout)(struct vio_vq *vq, struct vio_arena *shared);
	/* The ring and its records as they stand before the first buffer. */
	void (*reset)(struct vio_vq *vq);
	/* What every buffer takes, for a queue like this one. */
	const struct vio_vq_hot *(*hot)(const struct vio_vq *vq);
	bool (*publish)(struct vio_vq *vq);
	bool (*pending)(struct vio_vq *vq);
	void (*quiet)(struct vio_vq *vq);
	void (*listen)(struct vio_vq *vq);
};

extern const struct vio_vq_ops vio_vq_split, vio_vq_packed;

/* A build may leave a layout out (doc/porting.md); it is NULL then. */
static inline const struct vio_vq_ops *vio_vq_layout(bool packed)
{
#if defined(VIO_NO_PACKED)
	return packed ? NULL : &vio_vq_split;
#elif defined(VIO_NO_SPLIT)
	return packed ? &vio_vq_packed : NULL;
#else
	return packed ? &vio_vq_packed : &vio_vq_split;
#endif
}

/* A split ring's areas as the legacy interface has them; fills vq->layout. */
int vio_vq_legacy_layout(struct vio_vq *vq, struct vio_arena *shared,
			 uint32_t align);

#define VIO_VQ_LINE	64	/* bytes; areas of a ring share no cache line */

/* The guest address of shared bytes; false if they leave the window. */
static inline bool vio_vq_to_guest(const struct vio_window *w, const void *p,
				   size_t len, uint64_t *addr)
{
	uint64_t off = (uint64_t)((uintptr_t)p - (uintptr_t)w->host);

	if (vio_unlikely(off >= w->size || len > w->size - off))
		return false;
	*addr = w->addr.v + off;
	return true;
}

/* A buffer as it is entered. */
struct vio_vq_entry {
	unsigned nr;		/* segments */
	unsigned entries;	/* of the ring: 1 for an indirect table */
	uint32_t room;		/* bytes that the device may write */
};

/*
 * What the standard asks of a buffer, and what the ring has left for it:
 * VIO_OK, VIO_E_INVAL, VIO_E_NOSPC.
 */
VIO_INLINE int vio_vq_check(const struct vio_vq *vq, const struct vio_buf *b,
			    unsigned nr_free, struct vio_vq_entry *e)
{
	unsigned nr = (unsigned)b->nr_read + b->nr_write, i;
	uint64_t total = 0, writable = 0;

	if (vio_unlikely(!b->token || !nr || nr > vq->size))
		return VIO_E_INVAL;
	for (i = 0; i < nr; i++) {
		size_t len = b->seg[i].len;

		if (vio_unlikely(!len || len > UINT32_MAX))
			return VIO_E_INVAL;
		total += len;
		if (i >= b->nr_read)
			writable += len;
	}
	/* split.driver.virtqueue-descriptor-table.1: below 2^32 in all */
	if (vio_unlikely(total > UINT32_MAX))
		return VIO_E_INVAL;
	e->nr = nr;
	e->entries = nr > 1 && nr <= vq->indirect_max ? 1 : nr;
	e->room = (uint32_t)writable;
	return vio_likely(e->entries <= nr_free) ? VIO_OK : VIO_E_NOSPC;
}

/* What all buffers of a batch are checked against. */
struct vio_vq_bounds {
	const unsigned char *host;
	uint64_t addr, size;
	uint32_t longest;	/* a segment may be */
};

VIO_INLINE struct vio_vq_bounds vio_vq_bounds(const struct vio_vq *vq)
{
	const struct vio_window *w = &vq->buffers;
	struct vio_vq_bounds b = { w->host, w->addr.v, w->size,
		w->size < UINT32_MAX ? (uint32_t)w->size : UINT32_MAX };

	return b;
}

/* nr_read and nr_write of a buffer of one segment, in one word. */
#if VIO_MACHINE_BIG
#define VIO_ONE_READ	0x10000u
#define VIO_ONE_WRITE	1u
#else
#define VIO_ONE_READ	1u
#define VIO_ONE_WRITE	0x10000u
#endif

/*
 * Is it a buffer that is as most are: one segment, in the window? What else
 * there is to say of one is vio_vq_check()'s.
 */
VIO_INLINE bool vio_vq_usual(const struct vio_vq_bounds *w,
			     const struct vio_buf *b, uint64_t *addr,
			     bool *writable)
{
	const struct vio_seg *s = b->seg;
	uint64_t off;
	uint32_t nr;

	memcpy(&nr, (const char *)b + offsetof(struct vio_buf, nr_read),
	       sizeof(nr));
	*writable = nr == VIO_ONE_WRITE;
	if (vio_unlikely((nr != VIO_ONE_WRITE && nr != VIO_ONE_READ) ||
			 !b->token || s->len - 1 >= w->longest))
		return false;
	off = (uint64_t)((uintptr_t)s->base - (uintptr_t)w->host);
	*addr = w->addr + off;
	return vio_likely(off <= w->size - s->len);
}

VIO_INLINE bool vio_vq_is_single(const struct vio_buf *b)
{
	return (uint16_t)(b->nr_read + b->nr_write) == 1;
}

/*
 * How many of these, from the front, are as they should be: not empty, and in
 * the window.
 */
unsigned vio_vq_fit(const struct vio_vq *vq, const struct vio_single *one,
		    unsigned nr);

/* -- records of buffers ---------------------------------------------------- */

/*
 * The word of a record: how many bytes the device may write, then the record's
 * own number, and what the buffer takes of the ring beyond one entry. A chain
 * of a split ring has the number of the next descriptor there instead, in all
 * its descriptors; only the first is in use as a record.
 * So the upper half of the word of a buffer of one entry is what the device has
 * to say of it.
 */
#define VIO_SLOT_FREE	0xffffu		/* taken beyond one: not in use */

VIO_INLINE uint64_t vio_slot_word(uint32_t room, unsigned id, unsigned more)
{
	return room | (uint64_t)id << 32 | (uint64_t)more << 48;
}

VIO_INLINE unsigned vio_slot_more(const struct vio_vq_slot *s)
{
	return (unsigned)(s->word >> 48);
}

VIO_INLINE unsigned vio_slot_id(const struct vio_vq_slot *s)
{
	return (uint16_t)(s->word >> 32);
}

/* The number @i behind @id, which is at most size. */
VIO_INLINE unsigned vio_vq_id_after(const struct vio_vq *vq, unsigned id,
				    unsigned i)
{
	id += i;
	return id < vq->size ? id : id - vq->size;
}

/* The free number @i behind the next. */
uint16_t vio_vq_free_id(const struct vio_vq *vq, unsigned i);

/* The next @n are taken. */
void vio_vq_take_ids(struct vio_vq *vq, unsigned n);

/* Used in several places, of which a build for size has one. */
#ifdef VIO_SMALL
#define VIO_ONCE	static __attribute__((noinline, unused))
#else
#define VIO_ONCE	VIO_INLINE
#endif

/* After something came back: where nothing is out, all is straight again. */
VIO_INLINE void vio_vq_straighten(struct vio_vq *vq)
{
	/* A build for size has no use for that. */
	if (!VIO_RUNS || vio_likely(vq->inflight || vq->straight))
		return;
	vq->nr_stack = 0;
	vq->oldest = vq->next_id;
	vq->straight = true;
}

/*
 * A buffer's token, its length clamped to what was offered; the record is
 * free of it afterwards. The caller counts.
 */
VIO_ONCE void vio_vq_take(struct vio_vq *vq, struct vio_vq_slot *slot,
			  uint32_t len, struct vio_used *u)
{
	uint32_t room = (uint32_t)slot->word;

	u->token = slot->token;
	if (vio_unlikely(len > room)) {
		len = room;
		vq->stats.clamped++;
	}
	u->len = len;
	slot->word = UINT64_MAX;
}

/*
 * The same of a used buffer of one entry whose turn it is. @t: length and
 * number as the device says them, in the places of a record's word. False,
 * and nothing happened: they are not what was offered.
 */
VIO_INLINE bool vio_vq_take_turn(struct vio_vq_slot *slot, uint64_t t,
				 struct vio_used *u)
{
	if (vio_unlikely((slot->word ^ t) >> 32 ||
			 (uint32_t)t > (uint32_t)slot->word))
		return false;
	u->token = slot->token;
	u->len = (uint32_t)t;
	slot->word = UINT64_MAX;
	return true;
}

/* The device broke the rules: the queue is not believed any more. False. */
static inline bool vio_vq_broken(struct vio_vq *vq)
{
	vq->broken = true;
	return false;
}

#endif
