/* SPDX-License-Identifier: MIT */
/* A console in the machine: the wiring of device and the host's end. */
#include <errno.h>
#include <stdlib.h>
#include <vireo/console.h>

#include "host/log.h"
#include "vmm/devices.h"

struct dev_console {
	struct dev dev;
	struct vio_console con;
	struct chardev *chr;
	struct vio_queue *queues;
	void (*escaped)(void *ctx);
	void *ctx;
};

static struct dev_console *self(const struct dev *d)
{
	return vio_container_of(d, struct dev_console, dev);
}

static size_t back_write(void *backend, const void *src, size_t len)
{
	struct dev_console *c = backend;

	return chardev_write(c->chr, src, len);
}

static size_t back_read(void *backend, void *dst, size_t len)
{
	struct dev_console *c = backend;

	return chardev_read(c->chr, dst, len);
}

static void back_emergency(void *backend, unsigned char byte)
{
	struct dev_console *c = backend;

	if (!chardev_write(c->chr, &byte, 1))
		log_warn("an emergency byte 0x%02x found no room", byte);
}

static const struct vio_console_backend_ops back_ops = {
	.write = back_write, .read = back_read, .emergency = back_emergency,
};

static void on_readable(void *ctx)
{
	struct dev_console *c = ctx;

	vio_console_readable(&c->con);
}

static void on_writable(void *ctx)
{
	struct dev_console *c = ctx;

	vio_console_writable(&c->con);
}

static void on_escaped(void *ctx)
{
	struct dev_console *c = ctx;

	if (c->escaped)
		c->escaped(c->ctx);
}

static int console_start(struct dev *d)
{
	struct dev_console *c = self(d);
	const struct chardev_events events = {
		on_readable, on_writable, on_escaped, c,
	};
	int err = chardev_start(c->chr, &d->worker.loop, &events);

	if (err)
		log_err("cannot watch the console's host end: error %d", -err);
	return err;
}

static void console_stop(struct dev *d)
{
	chardev_stop(self(d)->chr);
}

static void console_stats(const struct dev *d, struct stats_values *v)
{
	const struct dev_console *c = self(d);

	for (unsigned i = 0; i < VIO_CONSOLE_QUEUES; i++)
		v->requests += c->queues[i].stats.requests;
	v->bytes_read = c->con.stats.bytes_in;
	v->bytes_written = c->con.stats.bytes_out;
}

static void console_close(struct dev *d)
{
	struct dev_console *c = self(d);

	daemon_queues_free(c->queues);
	if (c->chr)
		chardev_close(c->chr);
	free(c);
}

static const struct daemon_feature features[] = {
	{ VIRTIO_CONSOLE_F_SIZE, "VIRTIO_CONSOLE_F_SIZE" },
	{ VIRTIO_CONSOLE_F_EMERG_WRITE, "VIRTIO_CONSOLE_F_EMERG_WRITE" },
	{ 0, NULL }
};

static const struct dev_type console_type = {
	.name = "console", .features = features, .start = console_start,
	.stop = console_stop, .stats = console_stats, .close = console_close,
};

static void resize_here(void *arg)
{
	struct dev_console *c = arg;
	uint16_t cols, rows;

	if (chardev_size(c->chr, &cols, &rows))
		vio_console_resize(&c->con, cols, rows);
}

int dev_console_unlink_dir(const struct dev *d)
{
	return chardev_unlink_dir(self(d)->chr);
}

void dev_console_resized(struct dev *d)
{
	dev_run(d, resize_here, self(d));
}

static int make_device(struct dev_console *c)
{
	const struct vio_queue_limits limits = {
		.size_max = 256, .seg_max = 64,
		.ctx_size = vio_console_ctx_size,
	};
	struct vio_console_conf conf = { 0 };

	chardev_size(c->chr, &conf.cols, &conf.rows);
	c->queues = daemon_queues_make(&c->con.dev, VIO_CONSOLE_QUEUES,
				       &limits);
	if (!c->queues)
		return -ENOMEM;
	return vio_console_init(&c->con, &conf, c->queues, &back_ops, c) ?
	       -EINVAL : 0;
}

int dev_console_open(struct dev **d, const struct dev_console_conf *conf)
{
	struct dev_console *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->escaped = conf->escaped;
	c->ctx = conf->ctx;
	err = chardev_open(&c->chr, &conf->chr);
	if (!err)
		err = make_device(c);
	if (err) {
		console_close(&c->dev);
		return err;
	}
	err = dev_open(&c->dev, &console_type, &c->con.dev, conf->stats);
	if (err)
		dev_close(&c->dev);
	else
		*d = &c->dev;
	return err;
}
