/* SPDX-License-Identifier: MIT */
/*
 * driver_legacy.c - where a ring of the legacy interface lies, for the
 * driver's half (standard: 2.7.2): table, available and used ring in one
 * piece, at a multiple of Queue Align. It knows no bus.
 */
#include "core/ring/driver.h"

/* More than a ring of today's takes: padding before, within and after it. */
size_t vio_vq_legacy_extra(uint32_t align)
{
	return 3 * (size_t)align;
}

int vio_vq_legacy_layout(struct vio_vq *vq, struct vio_arena *shared,
			 uint32_t align)
{
	struct vio_queue_layout *l = &vq->layout;
	unsigned char *at;
	uint64_t bytes;
	vio_addr addr;

	if (align < VIRTQ_USED_ALIGN || (align & (align - 1)))
		return VIO_E_INVAL;
	/* split.other.legacy-interfaces-virtqueue-layout.1 */
	bytes = vio_legacy_ring_bytes(vq->size, align);
	if (bytes > SIZE_MAX)
		return VIO_E_NOSPC;
	at = vio_arena_take(shared, (size_t)bytes, align);
	if (!at)
		return VIO_E_NOSPC;
	/* The device's addresses have to be as round as ours. */
	if (!vio_vq_to_guest(&vq->window, at, (size_t)bytes, &addr.v) ||
	    addr.v & (align - 1) ||
	    !vio_legacy_layout(l, vq->size, addr, align))
		return VIO_E_RANGE;
	vq->desc = (void *)at;
	vq->avail = (void *)(at + (l->driver.v - addr.v));
	vq->used = (void *)(at + (l->device.v - addr.v));
	return VIO_OK;
}
