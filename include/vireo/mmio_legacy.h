/* SPDX-License-Identifier: MIT */
/*
 * vireo/mmio_legacy.h - the MMIO transport's device side in its legacy form,
 * version 1 (standard: 4.2.4): for guests from before the standard, and those
 * that were never told of it. The twin of mmio.h, and used like it.
 *
 * Thread: as mmio.h.
 */
#ifndef VIREO_MMIO_LEGACY_H
#define VIREO_MMIO_LEGACY_H

#include <vireo/mmio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The registers of one queue, as the driver wrote them. */
struct vio_mmio_legacy_queue {
	uint32_t align;		/* bytes, of the used ring */
	uint32_t pfn;		/* page of its start; 0: not in use */
	uint32_t size;
};

struct vio_mmio_legacy {
	struct vio_dev *dev;
	struct vio_mem *mem;
	const struct vio_mmio_ops *ops;
	void *ctx;
	struct vio_mmio_legacy_queue *queue;	/* as many as the device has */
	uint32_t vendor_id;
	uint32_t page_size;		/* of the guest; bytes */
	uint32_t host_features_sel;
	uint32_t guest_features_sel;
	uint32_t queue_sel;
	uint32_t interrupt_status;	/* atomic */
	struct vio_line line;
};

/*
 * vio_mmio_legacy_init() - as vio_mmio_init(). The device is made transitional
 * (dev.h); a guest of another byte order than this machine's needs
 * vio_dev_set_guest_endian() too. Features beyond 31 are not offered here.
 */
void vio_mmio_legacy_init(struct vio_mmio_legacy *m, struct vio_dev *dev,
			  struct vio_mem *mem,
			  struct vio_mmio_legacy_queue *queue,
			  const struct vio_mmio_ops *ops, void *ctx,
			  const struct vio_log *log);

/* As vio_mmio_read() and vio_mmio_write(). */
uint64_t vio_mmio_legacy_read(struct vio_mmio_legacy *m, uint64_t off,
			      unsigned len);
void vio_mmio_legacy_write(struct vio_mmio_legacy *m, uint64_t off,
			   uint64_t value, unsigned len);

#ifdef __cplusplus
}
#endif
#endif
