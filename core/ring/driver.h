/* SPDX-License-Identifier: MIT */
/*
 * driver.h - what a ring layout does for the driver's half of a virtqueue.
 * vq.c checks what callers ask and calls the layout through this table.
 * Nothing here knows a bus or a device type.
 */
#ifndef CORE_RING_DRIVER_H
#define CORE_RING_DRIVER_H

#include <vireo/vq.h>
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

/* The same of a buffer of one segment, @s. */
VIO_INLINE int vio_vq_check_single(const struct vio_vq *vq,
				   const struct vio_buf *b,
				   const struct vio_seg *s)
{
	if (vio_unlikely(!b->token || s->len - 1 >= UINT32_MAX))
		return VIO_E_INVAL;
	return vio_likely(vq->nr_free) ? VIO_OK : VIO_E_NOSPC;
}

VIO_INLINE bool vio_vq_is_single(const struct vio_buf *b)
{
	return (uint16_t)(b->nr_read + b->nr_write) == 1;
}

/*
 * A buffer's token, its length clamped to what was offered; the record is
 * free of it afterwards. The caller counts inflight and nr_free.
 */
VIO_INLINE struct vio_used vio_vq_take(struct vio_vq *vq,
				       struct vio_vq_slot *slot, uint32_t len)
{
	struct vio_used u = { slot->token, len };

	if (vio_unlikely(len > slot->room)) {
		u.len = slot->room;
		vq->stats.clamped++;
	}
	slot->token = NULL;
	slot->nr = 0;
	return u;
}

/* The device broke the rules: the queue is not believed any more. False. */
static inline bool vio_vq_broken(struct vio_vq *vq)
{
	vq->broken = true;
	return false;
}

#endif
