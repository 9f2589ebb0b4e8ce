/* SPDX-License-Identifier: MIT */
/* Random bytes: see entropy.h. */
#include "backend/entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/log.h"

#define ENTROPY_RETRY_NS (10 * NS_PER_MS)

int entropy_open(struct entropy *e, const char *path)
{
	struct stat st;

	memset(e, 0, sizeof(*e));
	e->fd = -1;
	if (!path)
		return 0;
	e->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (e->fd < 0) {
		int err = errno;

		log_err("--source: %s: %s", path, strerror(err));
		return -err;
	}
	if (fstat(e->fd, &st) || S_ISDIR(st.st_mode)) {
		log_err("--source: %s is a folder", path);
		close(e->fd);
		return -EISDIR;
	}
	if (S_ISREG(st.st_mode))
		log_warn("--source: %s is a regular file: its bytes are given out once, then no more",
			 path);
	return 0;
}

static void wait_for_more(struct entropy *e)
{
	e->waiting = true;
	if (!e->watched)
		loop_timer_set(e->loop, &e->timer, ENTROPY_RETRY_NS);
	else
		loop_fd_mod(e->loop, &e->w, EPOLLIN);
}

static void more(struct entropy *e)
{
	if (!e->waiting)
		return;
	e->waiting = false;
	e->ready(e->ctx);
}

static void on_readable(void *ctx, uint32_t events)
{
	struct entropy *e = ctx;

	(void)events;
	/* Until a fill finds nothing again. */
	loop_fd_mod(e->loop, &e->w, 0);
	more(e);
}

static void on_timer(void *ctx)
{
	more(ctx);
}

int entropy_start(struct entropy *e, struct loop *loop,
		  void (*ready)(void *ctx), void *ctx)
{
	int rc;

	e->loop = loop;
	e->ready = ready;
	e->ctx = ctx;
	e->timer = (struct loop_timer){ .fn = on_timer, .ctx = e };
	if (e->fd < 0)
		return 0;
	e->w = (struct loop_fd){ e->fd, on_readable, e };
	rc = loop_fd_add(loop, &e->w, 0);
	e->watched = !rc;
	/* Regular files and some devices: looked at by the timer. */
	return rc == -EPERM ? 0 : rc;
}

void entropy_stop(struct entropy *e)
{
	loop_timer_cancel(e->loop, &e->timer);
	if (e->watched)
		loop_fd_del(e->loop, &e->w);
	e->watched = false;
}

void entropy_close(struct entropy *e)
{
	if (e->fd >= 0)
		close(e->fd);
}

size_t entropy_fill(struct entropy *e, void *dst, size_t len)
{
	ssize_t n;

	if (e->ended)
		return 0;
	do {
		if (e->fd < 0)
			n = getrandom(dst, len, GRND_NONBLOCK);
		else
			n = read(e->fd, dst, len);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && errno == EAGAIN) {
		wait_for_more(e);
		return 0;
	}
	log_err("--source gives no more random bytes: %s; the guest will wait for ever",
		n ? strerror(errno) : "its end is reached");
	e->ended = true;
	return 0;
}
