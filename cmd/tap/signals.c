/* SPDX-License-Identifier: MIT */
/* Kicks and calls pass through, and are seen. */
#include "tap.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void pass(int to, const void *buf, size_t len)
{
	/* A full one is signalled already. */
	while (write(to, buf, len) < 0 && errno == EINTR)
		;
}

static void on_signal(void *ctx, uint32_t events)
{
	struct signal_path *s = ctx;
	struct tap *t = s->tap;
	unsigned char buf[8];
	uint64_t one = 1;
	ssize_t n;

	n = events & EPOLLIN ? read(s->from.fd, buf, sizeof(buf)) : -1;
	if (n <= 0) {
		/* A pipe whose other end is gone would wake us for ever. */
		if (n == 0 || events & (EPOLLHUP | EPOLLERR)) {
			loop_fd_del(&t->loop, &s->from);
			tap_note(t, s->queue, "no %s can come any more",
				 s->is_call ? "call" : "kick");
		}
		return;
	}
	/* Before the other side is woken, and changes what there is. */
	if (s->is_call)
		rings_call(t, s->queue);
	else
		rings_kick(t, s->queue);
	pass(s->to, &one, sizeof(one));
}

void signal_drop(struct signal_path *s)
{
	if (s->from.fd < 0)
		return;
	loop_fd_del(&s->tap->loop, &s->from);
	close(s->from.fd);
	close(s->to);
	s->from.fd = s->to = -1;
}

int signal_between(struct tap *t, uint16_t queue, bool is_call, int fd)
{
	struct signal_path *s = is_call ? &t->call[queue] : &t->kick[queue];
	int mine = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), rc;

	signal_drop(s);
	if (mine < 0)
		return -errno;
	s->from = (struct loop_fd){ is_call ? mine : fd, on_signal, s };
	s->to = is_call ? fd : mine;
	s->queue = queue;
	s->is_call = is_call;
	s->tap = t;
	rc = loop_fd_add(&t->loop, &s->from, EPOLLIN);
	if (!rc)
		return mine;
	s->from.fd = s->to = -1;
	close(mine);
	return rc;
}
