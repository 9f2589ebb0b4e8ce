/* SPDX-License-Identifier: MIT */
/*
 * What the ring targets share: a device on a ring of 16 entries or fewer, in
 * one page of guest memory that the input fills. Each target makes a device;
 * the rest is alike.
 *
 * The input: one byte of ring features (event index, indirect, in order,
 * packed), one of log2 of the size, then the page from guest address 0 on:
 * descriptors at 0, driver area at 0x100, device area at 0x140, all else from
 * 0x1e0 on.
 */
#ifndef FUZZ_RING_H
#define FUZZ_RING_H

#include <vireo/dev.h>

#define FUZZ_PAGE	4096u
#define FUZZ_QUEUES	3u

struct fuzz_ring {
	struct vio_queue queue[FUZZ_QUEUES];
	struct vio_dev *dev;
	struct vio_region region;
	struct vio_mem mem;
	unsigned config_changes;
};

/* Fresh queues with room for @ctx_size bytes a request. */
void fuzz_ring_init(struct fuzz_ring *f, unsigned nr_queues,
		    uint16_t ctx_size);

/*
 * Negotiate, start queue @index on the input's ring, serve it, reset. @step
 * moves the back end and says whether it did something; NULL: none.
 */
void fuzz_ring_run(struct fuzz_ring *f, struct vio_dev *dev, unsigned index,
		   const uint8_t *data, size_t size,
		   bool (*step)(void *ctx), void *ctx);

#endif
