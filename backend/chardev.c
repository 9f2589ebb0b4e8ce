/* SPDX-License-Identifier: MIT */
/*
 * Moving a console's bytes: a bounded ring of output, a little input, and
 * whoever is or is not at the other end. Policy: see chardev.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vireo/state.h>

#include "backend/chardev_open.h"
#include "host/clock.h"
#include "host/log.h"

#define ESCAPE 0x1d		/* Ctrl-] */
#define PTY_LOOK_NS (200 * NS_PER_MS)
#define STOP_NS NS_PER_S

/* -- the ring of output -------------------------------------------------- */

static uint32_t ring_used(const struct chardev_ring *r)
{
	return r->tail - r->head;
}

/* Put @len bytes, which fit. */
static void ring_put(struct chardev_ring *r, const unsigned char *src,
		     uint32_t len)
{
	uint32_t at = r->tail % CHARDEV_BUFFER, n = CHARDEV_BUFFER - at;

	if (n > len)
		n = len;
	memcpy(r->data + at, src, n);
	memcpy(r->data, src + n, len - n);
	r->tail += len;
}

/* The bytes that are used, as at most two pieces. */
static int ring_pieces(struct chardev_ring *r, struct iovec iov[2])
{
	uint32_t at = r->head % CHARDEV_BUFFER, used = ring_used(r);
	uint32_t n = CHARDEV_BUFFER - at;

	if (n > used)
		n = used;
	iov[0] = (struct iovec){ r->data + at, n };
	iov[1] = (struct iovec){ r->data, used - n };
	return used > n ? 2 : 1;
}

/* -- watching ------------------------------------------------------------ */

static void on_io(void *ctx, uint32_t events);

/* Ask for what is needed now: one watch where both ends are one. */
static void watch(struct chardev *c)
{
	uint32_t in = 0, out = 0;

	if (c->in_fd >= 0 && !c->in_ended && c->in_pos == c->in_len)
		in = EPOLLIN;
	if (c->out_fd >= 0 && ring_used(&c->out))
		out = EPOLLOUT;
	if (c->in_fd == c->out_fd) {
		in |= out;
		out = 0;
	}
	if (in != c->in_watch && c->in_w.fd >= 0)
		loop_fd_mod(c->loop, &c->in_w, in);
	if (out != c->out_watch && c->out_w.fd >= 0)
		loop_fd_mod(c->loop, &c->out_w, out);
	c->in_watch = in;
	c->out_watch = out;
}

static int watch_fds(struct chardev *c)
{
	int rc = 0;

	c->in_watch = c->out_watch = 0;
	c->in_w = (struct loop_fd){ -1, on_io, c };
	c->out_w = (struct loop_fd){ -1, on_io, c };
	if (c->in_fd >= 0 && c->in_pollable) {
		c->in_w.fd = c->in_fd;
		rc = loop_fd_add(c->loop, &c->in_w, 0);
	}
	if (!rc && c->out_fd >= 0 && c->out_pollable &&
	    c->out_fd != c->in_fd) {
		c->out_w.fd = c->out_fd;
		rc = loop_fd_add(c->loop, &c->out_w, 0);
	}
	if (!rc)
		watch(c);
	return rc;
}

static void unwatch_fds(struct chardev *c)
{
	if (c->in_w.fd >= 0)
		loop_fd_del(c->loop, &c->in_w);
	if (c->out_w.fd >= 0)
		loop_fd_del(c->loop, &c->out_w);
	c->in_w.fd = c->out_w.fd = -1;
}

/* -- whoever is at the other end ----------------------------------------- */

static bool connected(const struct chardev *c)
{
	if (c->conf.kind == CHARDEV_PTY)
		return c->in_w.fd >= 0;
	return c->out_fd >= 0;
}

static void tell_loss(struct chardev *c)
{
	if (c->lost)
		log_warn("%llu bytes of console output were lost while nobody listened",
			 (unsigned long long)c->lost);
	c->lost = 0;
}

/* The other end is gone; wait for the next one, if one can come. */
static void hang_up(struct chardev *c)
{
	unwatch_fds(c);
	c->in_pos = c->in_len = 0;
	switch (c->conf.kind) {
	case CHARDEV_SOCKET:
		close(c->out_fd);
		c->in_fd = c->out_fd = -1;
		loop_fd_mod(c->loop, &c->listen_w, EPOLLIN);
		break;
	case CHARDEV_PTY:
		loop_timer_set(c->loop, &c->timer, PTY_LOOK_NS);
		break;
	default:
		log_warn("nobody reads the console's output any more");
		if (c->own_fds)
			close(c->out_fd);
		c->out_fd = -1;
		break;
	}
	/* From now on nobody makes the guest wait. */
	if (c->stalled) {
		c->stalled = false;
		c->events.writable(c->events.ctx);
	}
}

static void flush(struct chardev *c);

static void somebody_came(struct chardev *c)
{
	c->in_ended = false;
	if (watch_fds(c)) {
		log_err("cannot watch the console's other end");
		return;
	}
	tell_loss(c);
	flush(c);
	watch(c);
}

static void on_listen(void *ctx, uint32_t events)
{
	struct chardev *c = ctx;
	int fd = sock_accept(&c->listener);

	(void)events;
	if (fd < 0)
		return;
	c->in_fd = c->out_fd = fd;
	/* One at a time; others wait in the backlog. */
	loop_fd_mod(c->loop, &c->listen_w, 0);
	somebody_came(c);
}

static void on_pty_timer(void *ctx)
{
	struct chardev *c = ctx;
	struct pollfd p = { .fd = c->in_fd, .events = POLLIN };

	if (poll(&p, 1, 0) >= 0 && p.revents & POLLHUP)
		loop_timer_set(c->loop, &c->timer, PTY_LOOK_NS);
	else
		somebody_came(c);
}

/* -- moving -------------------------------------------------------------- */

/* Write out what the ring holds, as far as it goes. */
static void flush(struct chardev *c)
{
	struct iovec iov[2];
	ssize_t n;

	while (connected(c) && ring_used(&c->out)) {
		int pieces = ring_pieces(&c->out, iov);

		n = writev(c->out_fd, iov, pieces);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			hang_up(c);
			break;
		}
		c->out.head += (uint32_t)n;
	}
	if (c->stalled && ring_used(&c->out) <= CHARDEV_BUFFER / 2) {
		c->stalled = false;
		c->events.writable(c->events.ctx);
	}
}

/* Nobody listens: keep the newest bytes. */
static size_t keep(struct chardev *c, const unsigned char *src, size_t len)
{
	uint32_t room, n;

	if (len > CHARDEV_BUFFER) {
		c->lost += len - CHARDEV_BUFFER;
		src += len - CHARDEV_BUFFER;
	}
	n = len > CHARDEV_BUFFER ? CHARDEV_BUFFER : (uint32_t)len;
	room = CHARDEV_BUFFER - ring_used(&c->out);
	if (n > room) {
		c->lost += n - room;
		c->out.head += n - room;
	}
	ring_put(&c->out, src, n);
	return len;
}

/* A file takes all, or what it does not take is lost. */
static size_t write_file(struct chardev *c, const unsigned char *src,
			 size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = write(c->out_fd, src + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == len) {
		c->lost_told = false;
	} else if (!c->lost_told) {
		log_err("console output is lost: %s", strerror(errno));
		c->lost_told = true;
	}
	return len;
}

size_t chardev_write(struct chardev *c, const void *src, size_t len)
{
	uint32_t room;

	if (!c->loop) {
		c->stalled = true;
		return 0;
	}
	if (c->out_fd >= 0 && !c->out_pollable)
		return write_file(c, src, len);
	if (!connected(c))
		return keep(c, src, len);
	room = CHARDEV_BUFFER - ring_used(&c->out);
	if (len > room) {
		len = room;
		c->stalled = true;
	}
	ring_put(&c->out, src, (uint32_t)len);
	/* A tick later, so that what a guest prints in bits goes at once. */
	watch(c);
	return len;
}

/* Fetch input into the small buffer. */
static void fetch(struct chardev *c)
{
	ssize_t n;

	if (c->in_fd < 0 || c->in_ended || c->in_pos < c->in_len)
		return;
	do
		n = read(c->in_fd, c->in, sizeof(c->in));
	while (n < 0 && errno == EINTR);
	c->in_pos = 0;
	c->in_len = n > 0 ? (uint32_t)n : 0;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->in_ended = true;
		/* Not for stdio: output goes on without input. */
		if (c->conf.kind != CHARDEV_STDIO)
			hang_up(c);
		return;
	}
	if (c->conf.escape && memchr(c->in, ESCAPE, c->in_len))
		c->events.escaped(c->events.ctx);
}

size_t chardev_read(struct chardev *c, void *dst, size_t len)
{
	uint32_t n;

	if (!c->loop)
		return 0;
	if (!c->in_pollable)
		fetch(c);
	n = c->in_len - c->in_pos;
	if (n > len)
		n = (uint32_t)len;
	memcpy(dst, c->in + c->in_pos, n);
	c->in_pos += n;
	watch(c);
	return n;
}

static void on_io(void *ctx, uint32_t events)
{
	struct chardev *c = ctx;

	if (events & (EPOLLOUT | EPOLLERR))
		flush(c);
	if (events & (EPOLLIN | EPOLLHUP) && c->in_pos == c->in_len) {
		fetch(c);
		if (c->in_pos < c->in_len)
			c->events.readable(c->events.ctx);
	}
	/* The reader of a pipe is gone: nothing else would tell. */
	if (events & EPOLLERR && c->out_w.fd >= 0 && c->in_fd != c->out_fd)
		hang_up(c);
	/* Nothing more comes, and being told of it again would never end. */
	if (c->in_ended && c->in_w.fd >= 0 && c->in_fd != c->out_fd) {
		loop_fd_del(c->loop, &c->in_w);
		c->in_w.fd = -1;
	}
	watch(c);
}

/* -- life ---------------------------------------------------------------- */

int chardev_open(struct chardev **out, const struct chardev_conf *conf)
{
	struct chardev *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	rc = chardev_open_kind(c);
	if (rc) {
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

static int start_kind(struct chardev *c, struct loop *loop);

int chardev_start(struct chardev *c, struct loop *loop,
		  const struct chardev_events *events)
{
	int rc;

	c->loop = loop;
	c->events = *events;
	c->in_w.fd = c->out_w.fd = -1;
	c->timer = (struct loop_timer){ .fn = on_pty_timer, .ctx = c };
	rc = start_kind(c, loop);
	/* A ring may run already. */
	if (!rc && c->stalled) {
		c->stalled = false;
		c->events.writable(c->events.ctx);
	}
	if (!rc && c->in_pos < c->in_len)
		c->events.readable(c->events.ctx);
	return rc;
}

static int start_kind(struct chardev *c, struct loop *loop)
{
	bool peer = c->out_fd >= 0;
	int rc;

	if (c->conf.kind == CHARDEV_SOCKET) {
		c->listen_w = (struct loop_fd){ c->listener.fd, on_listen, c };
		rc = loop_fd_add(loop, &c->listen_w, peer ? 0 : EPOLLIN);
		if (!rc && peer)
			somebody_came(c);
		return rc;
	}
	if (c->conf.kind == CHARDEV_PTY) {
		on_pty_timer(c);
		return 0;
	}
	return watch_fds(c);
}

void chardev_stop(struct chardev *c)
{
	uint64_t end = clock_ns() + STOP_NS, now;

	if (!c->loop)
		return;
	c->stalled = false;
	while (connected(c) && ring_used(&c->out) &&
	       (now = clock_ns()) < end) {
		struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };

		if (poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) > 0)
			flush(c);
	}
	unwatch_fds(c);
	loop_timer_cancel(c->loop, &c->timer);
	if (c->conf.kind == CHARDEV_SOCKET)
		loop_fd_del(c->loop, &c->listen_w);
	c->loop = NULL;
}

void chardev_close(struct chardev *c)
{
	chardev_close_kind(c);
	free(c);
}

/* -- to the next program ------------------------------------------------- */

/* Tags of our state: bytes for the host, and for the guest. */
#define STATE_OUTPUT	(VIO_STATE_OUTER + 1)
#define STATE_INPUT	(VIO_STATE_OUTER + 2)

int chardev_listen_fd(const struct chardev *c)
{
	return c->listener.fd;
}

int chardev_peer_fd(const struct chardev *c)
{
	return c->conf.kind == CHARDEV_PTY || c->conf.kind == CHARDEV_SOCKET ?
		c->out_fd : -1;
}

void chardev_save(const struct chardev *c, struct vio_state_out *out)
{
	uint32_t used = ring_used(&c->out);
	unsigned char all[CHARDEV_BUFFER];

	for (uint32_t i = 0; i < used; i++)
		all[i] = c->out.data[(c->out.head + i) % CHARDEV_BUFFER];
	if (used)
		vio_state_put(out, STATE_OUTPUT, 0, all, used);
	if (c->in_pos < c->in_len)
		vio_state_put(out, STATE_INPUT, 0, c->in + c->in_pos,
			      c->in_len - c->in_pos);
}

int chardev_load(struct chardev *c, const struct vio_state_record *r)
{
	if (r->tag == STATE_OUTPUT) {
		if (r->len > CHARDEV_BUFFER - ring_used(&c->out))
			return VIO_E_PEER;
		ring_put(&c->out, r->p, r->len);
	} else if (r->tag == STATE_INPUT) {
		if (r->len > sizeof(c->in))
			return VIO_E_PEER;
		memcpy(c->in, r->p, r->len);
		c->in_pos = 0;
		c->in_len = r->len;
	} else {
		return VIO_E_UNSUPP;
	}
	if (c->loop)
		watch(c);
	return VIO_OK;
}

void chardev_given(struct chardev *c)
{
	c->out.head = c->out.tail;
	c->in_pos = c->in_len = 0;
	sock_leave(&c->listener);
}

bool chardev_size(const struct chardev *c, uint16_t *cols, uint16_t *rows)
{
	struct winsize w;

	if (c->conf.kind != CHARDEV_STDIO || !isatty(c->out_fd) ||
	    ioctl(c->out_fd, TIOCGWINSZ, &w) || !w.ws_col || !w.ws_row)
		return false;
	*cols = w.ws_col;
	*rows = w.ws_row;
	return true;
}

int chardev_unlink_dir(const struct chardev *c)
{
	return c->listener.dir_fd;
}
