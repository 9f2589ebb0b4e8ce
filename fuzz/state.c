/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the state of a device. Whatever the bytes are, no more is read
 * than there is; what is taken comes out again as it went in.
 */
#include <stdlib.h>
#include <string.h>
#include <vireo/console.h>
#include <vireo/state.h>

static struct vio_console con;
static struct vio_queue queue[VIO_CONSOLE_QUEUES];

static size_t no_bytes(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	(void)dst;
	(void)len;
	return 0;
}

static size_t all_bytes(void *ctx, const void *src, size_t len)
{
	(void)ctx;
	(void)src;
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_console_backend_ops ops = {
		.read = no_bytes, .write = all_bytes,
	};
	const struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	unsigned char again[64];
	uint32_t pos, len;

	if (vio_console_init(&con, &conf, queue, &ops, NULL) != VIO_OK)
		abort();
	if (vio_dev_load(&con.dev, data, (uint32_t)size) != VIO_OK)
		return 0;
	pos = con.tx_pos;
	len = vio_dev_save(&con.dev, again, sizeof(again));
	if (len > sizeof(again))
		abort();
	con.tx_pos = ~pos;
	if (vio_dev_load(&con.dev, again, len) != VIO_OK ||
	    (pos && con.tx_pos != pos))
		abort();
	return 0;
}
