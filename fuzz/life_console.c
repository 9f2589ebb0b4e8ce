/* SPDX-License-Identifier: MIT */
/* The console device against a hostile driver and a slow terminal. */
#include "fuzz/guest.h"

#include <vireo/console.h>

struct terminal {
	struct vio_console con;
	size_t room;		/* bytes of output that it takes */
	size_t input;		/* bytes that were typed */
	unsigned sum;
};

static size_t term_write(void *ctx, const void *src, size_t len)
{
	struct terminal *t = ctx;
	const unsigned char *p = src;

	if (len > t->room)
		len = t->room;
	t->room -= len;
	for (size_t i = 0; i < len; i++)
		t->sum += p[i];		/* touches each byte */
	return len;
}

static size_t term_read(void *ctx, void *dst, size_t len)
{
	struct terminal *t = ctx;

	if (len > t->input)
		len = t->input;
	t->input -= len;
	memset(dst, 'x', len);
	return len;
}

static void term_emergency(void *ctx, unsigned char byte)
{
	struct terminal *t = ctx;

	t->sum += byte;
}

static void host_step(void *ctx, uint8_t how)
{
	struct terminal *t = ctx;

	if (how & 1) {
		t->input = how;
		vio_console_readable(&t->con);
	} else if (how & 2) {
		vio_console_resize(&t->con, how, how);
	} else {
		t->room = how;
		vio_console_writable(&t->con);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_console_backend_ops ops = {
		term_write, term_read, term_emergency,
	};
	struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	struct terminal t = { .room = 100, .input = 100 };
	struct guest g;

	guest_init(&g, data, size, VIO_CONSOLE_QUEUES, vio_console_ctx_size);
	must(vio_console_init(&t.con, &conf, g.queue, &ops, &t) == VIO_OK,
	     "the device can be made");
	g.host_step = host_step;
	g.host_ctx = &t;
	guest_run(&g, &t.con.dev);
	return 0;
}
