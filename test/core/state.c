/* SPDX-License-Identifier: MIT */
/*
 * state.c - a device's state as bytes: what was put comes back, and bytes
 * that are not whole, of another device, or too new are refused.
 */
#include <string.h>
#include <vireo/console.h>
#include <vireo/spec/virtio.h>
#include <vireo/state.h>

#include "vtest.h"

#define ID 7u

static unsigned char b[256];

static uint32_t sample(void)
{
	struct vio_state_out out;

	vio_state_begin(&out, b, sizeof(b), ID);
	vio_state_put32(&out, 1, VIO_STATE_MUST, 0x12345678);
	vio_state_put(&out, 2, 0, "abc", 3);
	vio_state_put(&out, 3, 0, NULL, 0);
	return vio_state_end(&out);
}

TEST("state: what was put comes back", "")
{
	struct vio_state_record r;
	uint32_t len = sample(), pos = 0, v;

	CHECK_EQ(len, 8 + 12 + 11 + 8 + 12);
	CHECK_EQ(vio_state_next(b, len, ID, &pos, &r), VIO_OK);
	CHECK_EQ(r.tag, 1);
	CHECK_EQ(r.flags, VIO_STATE_MUST);
	CHECK_EQ(vio_state_get32(&r, &v), VIO_OK);
	CHECK_EQ(v, 0x12345678);
	CHECK_EQ(vio_state_next(b, len, ID, &pos, &r), VIO_OK);
	CHECK_EQ(r.len, 3);
	CHECK_EQ(memcmp(r.p, "abc", 3), 0);
	CHECK_EQ(vio_state_get32(&r, &v), VIO_E_PEER);
	CHECK_EQ(vio_state_next(b, len, ID, &pos, &r), VIO_OK);
	CHECK_EQ(r.len, 0);
	CHECK_EQ(vio_state_next(b, len, ID, &pos, &r), VIO_E_AGAIN);
}

TEST("state: the bytes are the same on every machine", "")
{
	static const unsigned char want[] = {
		'V', 'i', 'o', 'S', 1, 0, ID, 0,
		1, 0, 1, 0, 4, 0, 0, 0, 0x78, 0x56, 0x34, 0x12,
		2, 0, 0, 0, 3, 0, 0, 0, 'a', 'b', 'c',
		3, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 4, 0, 0, 0, 51, 0, 0, 0,
	};

	CHECK_EQ(sample(), sizeof(want));
	CHECK_EQ(memcmp(b, want, sizeof(want)), 0);
}

TEST("state: without room it only counts", "")
{
	struct vio_state_out out;

	memset(b, 0xee, sizeof(b));
	vio_state_begin(&out, b, 10, ID);
	vio_state_put(&out, 2, 0, "abc", 3);
	CHECK_EQ(vio_state_end(&out), 31);
	for (unsigned i = 10; i < sizeof(b); i++)
		CHECK_EQ(b[i], 0xee);
	vio_state_begin(&out, NULL, 0, ID);
	CHECK_EQ(vio_state_end(&out), 20);
}

/* How a walk over the first @len bytes ends. */
static int walk(uint32_t len, uint32_t id)
{
	struct vio_state_record r;
	uint32_t pos = 0;
	int err;

	do
		err = vio_state_next(b, len, id, &pos, &r);
	while (err == VIO_OK);
	return err;
}

TEST("state: what is not whole or of another device is refused", "")
{
	uint32_t len = sample();

	CHECK_EQ(walk(len, ID), VIO_E_AGAIN);
	CHECK_EQ(walk(len, ID + 1), VIO_E_PEER);
	for (uint32_t i = 0; i < len; i++)
		CHECK_EQ(walk(i, ID), VIO_E_PEER);
	/* Longer than it says. */
	b[len] = 0;
	CHECK_EQ(walk(len + 1, ID), VIO_E_PEER);
	b[4] = 2;	/* a later version */
	CHECK_EQ(walk(len, ID), VIO_E_PEER);
	sample();
	memset(b + 12, 0xff, 4);	/* a length far away */
	CHECK_EQ(walk(len, ID), VIO_E_PEER);
}

/* -- a device's ------------------------------------------------------------ */

static struct vio_console con;
static struct vio_queue queue[VIO_CONSOLE_QUEUES];
static uint32_t outer_value;
static bool outer_knows;

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

static void outer_save(void *ctx, struct vio_state_out *out)
{
	(void)ctx;
	vio_state_put32(out, VIO_STATE_OUTER, VIO_STATE_MUST, outer_value);
}

static int outer_load(void *ctx, const struct vio_state_record *r)
{
	(void)ctx;
	return outer_knows ? vio_state_get32(r, &outer_value) : VIO_E_UNSUPP;
}

TEST("state: a device's, and that of what lies behind it", "")
{
	static const struct vio_console_backend_ops ops = {
		.read = no_bytes, .write = all_bytes,
	};
	static const struct vio_dev_outer outer = { outer_save, outer_load };
	const struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	struct vio_state_out out;
	uint32_t len;

	CHECK_EQ(vio_console_init(&con, &conf, queue, &ops, NULL), VIO_OK);
	con.dev.outer = &outer;
	con.tx_pos = 17;
	outer_value = 99;
	outer_knows = true;
	len = vio_dev_save(&con.dev, b, sizeof(b));
	CHECK_LE(len, sizeof(b));
	con.tx_pos = outer_value = 0;
	CHECK_EQ(vio_dev_load(&con.dev, b, len), VIO_OK);
	CHECK_EQ(con.tx_pos, 17);
	CHECK_EQ(outer_value, 99);
	/* Nothing of it counts if the end is missing. */
	con.tx_pos = 0;
	CHECK_EQ(vio_dev_load(&con.dev, b, len - 1), VIO_E_PEER);
	CHECK_EQ(con.tx_pos, 0);
	/* A record that must be known and is not. */
	outer_knows = false;
	CHECK_EQ(vio_dev_load(&con.dev, b, len), VIO_E_PEER);
	con.dev.outer = NULL;
	CHECK_EQ(vio_dev_load(&con.dev, b, len), VIO_E_PEER);
	/* And one that need not. */
	vio_state_begin(&out, b, sizeof(b), VIRTIO_ID_CONSOLE);
	vio_state_put32(&out, 77, 0, 1);
	vio_state_put32(&out, VIO_STATE_OUTER + 5, 0, 1);
	len = vio_state_end(&out);
	CHECK_EQ(vio_dev_load(&con.dev, b, len), VIO_OK);
}
