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
};

/* The functions of a variant, from the bodies add() and get(). */
#define VIO_VQ_VARIANT(name, v)						\
	static unsigned add_##name(struct vio_vq *vq,			\
				   const struct vio_buf *buf,		\
				   unsigned nr, int *err)		\
	{								\
		return add(vq, buf, nr, err, v);			\
	}								\
	static unsigned get_##name(struct vio_vq *vq,			\
				   struct vio_used *used, unsigned max)	\
	{								\
		return get(vq, used, max, v);				\
	}								\
	static const struct vio_vq_hot hot_##name = {			\
		.add = add_##name, .get = get_##name,			\
	};

struct vio_vq_ops {
	/* Take the ring's areas from @shared; fill vq->layout. */
	int (*layout)(struct vio_vq *vq, struct vio_arena *shared);
	/* The ring and its records as they stand before the first buffer. */
	void (*reset)(struct vio_vq *vq);
	/* What every buffer takes, for a queue like this one. */
	const struct vio_vq_hot *(*hot)(const struct vio_vq *vq);
	/* The number of the next buffer's record, where the ring has room. */
	uint16_t (*next_id)(const struct vio_vq *vq);
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

/* Its record. */
VIO_INLINE void vio_vq_keep(struct vio_vq_slot *slot, void *token,
			    uint32_t room, unsigned entries)
{
	slot->token = token;
	slot->room = room;
	slot->nr = (uint16_t)entries;
}

/*
 * A buffer's token, its length clamped to what was offered; the record is
 * free of it afterwards. The caller counts inflight and nr_free.
 */
VIO_INLINE void vio_vq_take(struct vio_vq *vq, struct vio_vq_slot *slot,
			    uint32_t len, struct vio_used *u)
{
	u->token = slot->token;
	if (vio_unlikely(len > slot->room)) {
		len = slot->room;
		vq->stats.clamped++;
	}
	u->len = len;
	slot->nr = 0;
	slot->next = 0;
}

/* The device broke the rules: the queue is not believed any more. False. */
static inline bool vio_vq_broken(struct vio_vq *vq)
{
	vq->broken = true;
	return false;
}

#endif
