/* SPDX-License-Identifier: MIT */
/* Fuzz target: the console device behind any ring, either queue. */
#include "ring.h"

#include <vireo/console.h>

#include <string.h>

static size_t take(void *ctx, const void *src, size_t len)
{
	const volatile unsigned char *p = src;
	size_t *left = ctx, i;

	if (len > *left)
		len = *left;
	*left -= len;
	for (i = 0; i < len; i++)
		(void)p[i];
	return len;
}

static size_t give(void *ctx, void *dst, size_t len)
{
	size_t *left = ctx;

	if (len > *left)
		len = *left;
	*left -= len;
	memset(dst, 'x', len);
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_console_backend_ops ops = {
		.write = take, .read = give,
	};
	const struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	struct vio_console con;
	struct fuzz_ring f;
	size_t left = 5000;

	if (size < 2)
		return 0;
	fuzz_ring_init(&f, VIO_CONSOLE_QUEUES, vio_console_ctx_size);
	if (vio_console_init(&con, &conf, f.queue, &ops, &left) == VIO_OK)
		fuzz_ring_run(&f, &con.dev, data[0] >> 7, data, size, NULL,
			      NULL);
	return 0;
}
