/* SPDX-License-Identifier: MIT */
/*
 * shared.h - what vq.c knows of queues whose buffers go through hooks
 * (shared.c): how they begin, and that a buffer's token is not the caller's.
 */
#ifndef CORE_RING_SHARED_H
#define CORE_RING_SHARED_H

#include <vireo/dma.h>
#include "core/ring/driver.h"

extern const struct vio_vq_ops vio_vq_shared;

/* Put the hooks of @mem around vq->ops, which are the layout's. */
int vio_vq_shared_init(struct vio_vq *vq, const struct vio_drv_mem *mem,
		       struct vio_arena *priv);

/* The caller's token of what the layout gave; the hooks let the buffer go. */
void *vio_vq_shared_token(struct vio_vq *vq, void *buffer, uint32_t len);

static inline bool vio_vq_is_shared(const struct vio_vq *vq)
{
	return vq->hooked.dma != NULL;
}

#endif
