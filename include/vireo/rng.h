/* SPDX-License-Identifier: MIT */
/*
 * vireo/rng.h - the entropy device (standard: 5.4) and the door to its source.
 */
#ifndef VIREO_RNG_H
#define VIREO_RNG_H

#include <vireo/dev.h>
#include <vireo/spec/rng.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vio_rng_source_ops {
	/*
	 * Random bytes, at most @len, without blocking. Returns how many; 0
	 * if there are none now: call vio_rng_ready() when there are.
	 * Queue's thread.
	 */
	size_t (*fill)(void *source, void *dst, size_t len);
};

struct vio_rng {
	struct vio_dev dev;
	const struct vio_rng_source_ops *source;
	void *source_ctx;
	uint64_t bytes;		/* given out so far */
};

extern const uint16_t vio_rng_ctx_size;

int vio_rng_init(struct vio_rng *rng, struct vio_queue *queue,
		 const struct vio_rng_source_ops *source, void *source_ctx);

/* The source has bytes again. Any thread. */
void vio_rng_ready(struct vio_rng *rng);

#ifdef __cplusplus
}
#endif
#endif
