/* SPDX-License-Identifier: MIT */
/*
 * driver.h - what a ring layout does for the driver's half of a virtqueue.
 * vq.c checks what callers ask and calls the layout through this table.
 * Nothing here knows a bus or a device type.
 */
#ifndef CORE_RING_DRIVER_H
#define CORE_RING_DRIVER_H

#include <vireo/vq.h>

struct vio_vq_ops {
	/* Take the ring's areas from @shared; fill vq->layout. */
	int (*layout)(struct vio_vq *vq, struct vio_arena *shared);
	/* The ring and its records as they stand before the first buffer. */
	void (*reset)(struct vio_vq *vq);
	/*
	 * Enter a buffer whose segments were checked; @entries of the ring,
	 * which are free: 1 for an indirect table. VIO_OK or VIO_E_RANGE.
	 */
	int (*add)(struct vio_vq *vq, const struct vio_seg *seg,
		   unsigned nr_read, unsigned nr, unsigned entries,
		   void *token, uint32_t room);
	bool (*publish)(struct vio_vq *vq);
	void *(*get)(struct vio_vq *vq, uint32_t *len);
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

/*
 * A buffer's token, its length clamped to what was offered; the record is
 * free of it afterwards.
 */
void *vio_vq_take(struct vio_vq *vq, struct vio_vq_slot *slot, uint32_t len,
		  uint32_t *out);

/* The device broke the rules: the queue is not believed any more. NULL. */
void *vio_vq_broken(struct vio_vq *vq);

#endif
