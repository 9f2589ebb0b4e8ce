/* SPDX-License-Identifier: MIT */
/* console.c - the console device against rings written by hand. */
#include <vireo/console.h>
#include "test/core/rig.h"
#include "vtest.h"

static struct rig r;
static struct vio_console con;
static struct vio_queue queue[VIO_CONSOLE_QUEUES];
static char out[4096];
static size_t out_len, out_room;
static const char *in;
static int emergency_byte;

static size_t host_write(void *backend, const void *src, size_t len)
{
	(void)backend;
	if (len > out_room)
		len = out_room;
	memcpy(out + out_len, src, len);
	out_len += len;
	out_room -= len;
	return len;
}

static size_t host_read(void *backend, void *dst, size_t len)
{
	size_t have = strlen(in);

	(void)backend;
	if (len > have)
		len = have;
	memcpy(dst, in, len);
	in += len;
	return len;
}

static void host_emergency(void *backend, unsigned char byte)
{
	(void)backend;
	emergency_byte = byte;
}

static const struct vio_console_backend_ops ops = {
	.write = host_write, .read = host_read, .emergency = host_emergency };

/* The rig's one ring serves as queue @which. */
static void start(unsigned which)
{
	const struct vio_console_conf conf = { 80, 25 };

	out_len = 0;
	out_room = sizeof(out);
	in = "";
	emergency_byte = -1;
	rig_init(&r, queue, VIO_CONSOLE_QUEUES, vio_console_ctx_size);
	CHECK_EQ(vio_console_init(&con, &conf, queue, &ops, NULL), VIO_OK);
	rig_start_plain(&r, &con.dev);
	if (which == VIO_CONSOLE_TXQ) {
		vio_queue_stop(&queue[0]);
		CHECK_EQ(vio_queue_start(&queue[1], &r.mem, &r.layout, 0, 0),
			 VIO_OK);
	}
}

static enum vio_service kick(unsigned which)
{
	return vio_queue_service(&queue[which], 64);
}

static void print(const char *text)
{
	memcpy(rig_at(&r, RIG_DATA), text, strlen(text));
	rig_desc(&r, 0, RIG_DATA, strlen(text), 0, 0);
	rig_avail(&r, 0);
}

TEST("what the guest prints comes out", "")
{
	uint32_t id, len;

	start(VIO_CONSOLE_TXQ);
	print("hello");
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_IDLE);
	CHECK_MEMEQ(out, "hello", 5);
	CHECK_EQ(out_len, 5);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 0);
	CHECK_EQ(con.stats.bytes_out, 5);
}

TEST("a full terminal keeps the buffer; nothing is lost or doubled", "")
{
	uint32_t id, len;

	start(VIO_CONSOLE_TXQ);
	out_room = 2;
	print("hello");
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_WAIT);
	CHECK(!rig_used(&r, &id, &len));
	out_room = 2;
	vio_console_writable(&con);
	CHECK_EQ(r.ready, 1);
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_WAIT);
	out_room = 100;
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(out_len, 5);
	CHECK_MEMEQ(out, "hello", 5);
}

TEST("a ring that stops in the middle of a buffer goes on there", "")
{
	start(VIO_CONSOLE_TXQ);
	out_room = 3;
	print("hello");
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_WAIT);
	CHECK_EQ(vio_queue_stop(&queue[1]), 0);
	CHECK_EQ(vio_queue_avail_base(&queue[1]), 0);
	out_room = 100;
	CHECK_EQ(vio_queue_start(&queue[1], &r.mem, &r.layout, 0, 0), VIO_OK);
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_IDLE);
	CHECK_EQ(out_len, 5);
	CHECK_MEMEQ(out, "hello", 5);
}

TEST("a reset forgets a buffer that was half printed", "")
{
	start(VIO_CONSOLE_TXQ);
	out_room = 3;
	print("hello");
	CHECK_EQ(kick(VIO_CONSOLE_TXQ), VIO_SERVICE_WAIT);
	vio_dev_set_status(&con.dev, 0);
	CHECK_EQ(vio_dev_status(&con.dev), 0);
	CHECK_EQ(con.tx_pos, 0);
}

TEST("input waits for a buffer, and a buffer for input", "")
{
	uint32_t id, len;

	start(VIO_CONSOLE_RXQ);
	in = "typed";
	CHECK_EQ(kick(VIO_CONSOLE_RXQ), VIO_SERVICE_IDLE);
	CHECK_STREQ(in, "typed");
	rig_desc(&r, 0, RIG_DATA, 3, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(kick(VIO_CONSOLE_RXQ), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 3);
	CHECK_MEMEQ(rig_at(&r, RIG_DATA), "typ", 3);
	rig_desc(&r, 1, RIG_DATA, 3, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 1);
	CHECK_EQ(kick(VIO_CONSOLE_RXQ), VIO_SERVICE_WAIT);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 2);
	CHECK(!rig_used(&r, &id, &len));
	in = "!";
	vio_console_readable(&con);
	CHECK_EQ(kick(VIO_CONSOLE_RXQ), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 1);
	CHECK_EQ(con.stats.bytes_in, 6);
}

TEST("the emergency byte is taken at any time",
     "console.device.device-initialization.1 "
     "console.device.device-initialization.2")
{
	const struct vio_console_conf conf = { 0, 0 };
	const vio_le32 word = vio_to_le32(0x12345641);

	start(0);
	CHECK_EQ(vio_console_init(&con, &conf, queue, &ops, NULL), VIO_OK);
	CHECK_EQ(vio_dev_status(&con.dev), 0);
	CHECK_EQ(vio_dev_config_write(&con.dev, 8, &word, 4), VIO_OK);
	CHECK_EQ(emergency_byte, 0x41);
	CHECK_EQ(vio_dev_config_write(&con.dev, 8, "B", 1), VIO_OK);
	CHECK_EQ(emergency_byte, 'B');
	CHECK_EQ(vio_dev_config_write(&con.dev, 0, &word, 4), VIO_E_PEER);
	CHECK_EQ(vio_dev_config_write(&con.dev, 9, "C", 1), VIO_E_PEER);
	CHECK_EQ(emergency_byte, 'B');
}

TEST("size: offered if known, and a change is told", "")
{
	const struct vio_console_conf none = { 0, 0 };
	struct virtio_console_config c;

	start(0);
	CHECK(vio_has(vio_dev_offered(&con.dev), VIRTIO_CONSOLE_F_SIZE));
	CHECK(!vio_has(vio_dev_offered(&con.dev),
		       VIRTIO_CONSOLE_F_MULTIPORT));
	vio_console_resize(&con, 132, 50);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_config_read(&con.dev, 0, &c, sizeof(c));
	CHECK_EQ(vio_from_le16(c.cols), 132);
	CHECK_EQ(vio_from_le16(c.rows), 50);
	CHECK_EQ(vio_console_init(&con, &none, queue, &ops, NULL), VIO_OK);
	CHECK(!vio_has(vio_dev_offered(&con.dev), VIRTIO_CONSOLE_F_SIZE));
}
