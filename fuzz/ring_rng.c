/* SPDX-License-Identifier: MIT */
/* Fuzz target: the entropy device behind any ring. */
#include "ring.h"

#include <vireo/rng.h>

#include <string.h>

static size_t fill(void *ctx, void *dst, size_t len)
{
	size_t *left = ctx;

	/* Runs dry, so that requests are put back too. */
	if (len > *left)
		len = *left;
	*left -= len;
	memset(dst, 0x55, len);
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_rng_source_ops ops = { .fill = fill };
	struct fuzz_ring f;
	struct vio_rng rng;
	size_t left = 100000;

	if (size < 2)
		return 0;
	fuzz_ring_init(&f, 1, vio_rng_ctx_size);
	if (vio_rng_init(&rng, f.queue, &ops, &left) == VIO_OK)
		fuzz_ring_run(&f, &rng.dev, 0, data, size, NULL, NULL);
	return 0;
}
