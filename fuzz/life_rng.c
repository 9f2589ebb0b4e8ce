/* SPDX-License-Identifier: MIT */
/* The rings and the entropy device against a hostile driver. */
#include "fuzz/guest.h"

#include <vireo/rng.h>

struct source {
	struct vio_rng rng;
	size_t most;		/* bytes that it gives in one go */
};

static size_t fill(void *ctx, void *dst, size_t len)
{
	struct source *s = ctx;

	if (len > s->most)
		len = s->most;
	memset(dst, 0x5a, len);
	return len;
}

static void host_step(void *ctx, uint8_t how)
{
	struct source *s = ctx;

	s->most = how;
	if (how)
		vio_rng_ready(&s->rng);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_rng_source_ops ops = { fill };
	struct source s = { .most = 4096 };
	struct guest g;

	guest_init(&g, data, size, 1, vio_rng_ctx_size);
	must(vio_rng_init(&s.rng, g.queue, &ops, &s) == VIO_OK,
	     "the device can be made");
	g.host_step = host_step;
	g.host_ctx = &s;
	guest_run(&g, &s.rng.dev);
	return 0;
}
