/* SPDX-License-Identifier: MIT */
/* The host's end of the serial port: see line.h. */
#include "vmm/line.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"

/* -- out: the guest printed ---------------------------------------------- */

static size_t write_out(struct line *l, const unsigned char *p, size_t len)
{
	ssize_t n;

	if (l->chr)
		return chardev_write(l->chr, p, len);
	n = l->fd < 0 ? (ssize_t)len : write(l->fd, p, len);
	if (n >= 0)
		return (size_t)n;
	if (errno != EINTR)
		l->fd = -1;	/* nobody reads it any more */
	return 0;
}

/* Until the port is empty, or the chardev full: it calls again then. */
static void pass_out(struct line *l)
{
	size_t n;

	for (;;) {
		if (l->out_pos == l->out_len) {
			l->out_pos = 0;
			l->out_len = serial_take(l->serial, l->out_buf,
						 sizeof(l->out_buf));
		}
		if (!l->out_len)
			return;
		n = write_out(l, l->out_buf + l->out_pos,
			      l->out_len - l->out_pos);
		if (!n && l->chr)
			return;
		l->out_pos += n;
	}
}

static void on_out(void *ctx)
{
	struct line *l = ctx;

	/* Before the look: what comes from now on posts again. */
	atomic_store(&l->out_posted, false);
	pass_out(l);
}

/* A processor's thread. */
static void printed(void *ctx)
{
	struct line *l = ctx;

	if (!atomic_exchange(&l->out_posted, true))
		loop_post(l->loop, &l->out);
}

/* -- in: the user typed -------------------------------------------------- */

static void pass_in(struct line *l)
{
	for (;;) {
		if (l->in_pos == l->in_len) {
			l->in_pos = 0;
			l->in_len = chardev_read(l->chr, l->in_buf,
						 sizeof(l->in_buf));
		}
		if (!l->in_len)
			return;
		l->in_pos += serial_put(l->serial, l->in_buf + l->in_pos,
					l->in_len - l->in_pos);
		if (l->in_pos < l->in_len)
			return;	/* the port says when it has room */
	}
}

static void on_in(void *ctx)
{
	struct line *l = ctx;

	atomic_store(&l->in_posted, false);
	pass_in(l);
}

/* A processor's thread. */
static void room(void *ctx)
{
	struct line *l = ctx;

	if (l->chr && !atomic_exchange(&l->in_posted, true))
		loop_post(l->loop, &l->in);
}

static void on_readable(void *ctx)
{
	pass_in(ctx);
}

static void on_writable(void *ctx)
{
	pass_out(ctx);
}

static void on_escaped(void *ctx)
{
	struct line *l = ctx;

	l->escaped(l->ctx);
}

/* -- life cycle ---------------------------------------------------------- */

void line_init(struct line *l, struct serial *serial, struct loop *loop)
{
	*l = (struct line){ .serial = serial, .loop = loop, .fd = -1 };
	l->out.fn = on_out;
	l->in.fn = on_in;
	l->out.ctx = l->in.ctx = l;
	serial->printed = printed;
	serial->room = room;
	serial->ctx = l;
}

int line_start(struct line *l)
{
	const struct chardev_events events = {
		on_readable, on_writable, on_escaped, l,
	};
	int err = l->chr ? chardev_start(l->chr, l->loop, &events) : 0;

	l->started = l->chr && !err;
	if (err)
		log_err("cannot watch the serial port's host end: %s",
			strerror(-err));
	return err;
}

void line_stop(struct line *l)
{
	pass_out(l);
	if (l->started)
		chardev_stop(l->chr);
	l->started = false;
}
