/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_msg.c - questions to the back end, and what it answers. Its
 * words are checked like any peer's.
 */
#include "vhost/client.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

int64_t vhu_client_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Wait until something is there, and serve what the back end asks: it may
 * need that before it can answer us. 0 or -errno.
 */
static int wait_for_word(struct vhu_client *c, int64_t end)
{
	struct pollfd p[2] = {
		{ .fd = c->sock.fd, .events = POLLIN },
		{ .fd = c->events.fd, .events = POLLIN },
	};
	int64_t left = end - vhu_client_now_ms();
	int r;

	if (left <= 0)
		return -ETIMEDOUT;
	r = poll(p, 2, (int)left);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	/* Without the channel there still is the answer. */
	if (r > 0 && p[1].revents && vhu_client_serve(c) < 0)
		vhu_sock_fini(&c->events);
	return 0;
}

/* Wait for the answer to c->out. 0, with it in c->sock.in, or -errno. */
static int receive(struct vhu_client *c)
{
	int64_t end = vhu_client_now_ms() + c->conf.timeout_ms;
	const struct vhu_msg *in = &c->sock.in;
	int r;

	for (;;) {
		r = vhu_sock_recv(&c->sock);
		if (r < 0)
			return r;
		if (r > 0)
			break;
		r = wait_for_word(c, end);
		if (r < 0)
			return r;
	}
	if (in->hdr.request != c->out.hdr.request ||
	    !(in->hdr.flags & VHU_REPLY))
		return -EPROTO;
	return 0;
}

int vhu_ask(struct vhu_client *c, uint32_t min)
{
	int err;

	c->asking = true;
	err = vhu_sock_send(c->sock.fd, &c->out, c->conf.timeout_ms);
	if (!err)
		err = receive(c);
	c->asking = false;
	if (!err && c->sock.in.hdr.size < min)
		err = -EPROTO;
	return err ? err : vhu_client_tell_missed(c);
}

int vhu_tell(struct vhu_client *c)
{
	bool ack = vhu_client_has(c, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	int err;

	if (!ack)
		return vhu_sock_send(c->sock.fd, &c->out, c->conf.timeout_ms);
	c->out.hdr.flags |= VHU_NEED_REPLY;
	err = vhu_ask(c, sizeof(uint64_t));
	if (!err && c->sock.in.p.u64)
		err = -EIO;
	return err;
}

int vhu_tell_u64(struct vhu_client *c, uint32_t request, uint64_t v)
{
	vhu_msg_init(&c->out, request, 0, sizeof(v));
	c->out.p.u64 = v;
	return vhu_tell(c);
}

int vhu_ask_u64(struct vhu_client *c, uint32_t request, uint64_t *v)
{
	int err;

	vhu_msg_init(&c->out, request, 0, 0);
	err = vhu_ask(c, sizeof(*v));
	if (!err)
		*v = c->sock.in.p.u64;
	return err;
}

int vhu_tell_state(struct vhu_client *c, uint32_t request, uint32_t index,
		   uint32_t num)
{
	vhu_msg_init(&c->out, request, 0, sizeof(c->out.p.state));
	c->out.p.state.index = index;
	c->out.p.state.num = num;
	return vhu_tell(c);
}

int vhu_tell_fd(struct vhu_client *c, uint32_t request, uint32_t index,
		int fd)
{
	vhu_msg_init(&c->out, request, 0, sizeof(uint64_t));
	c->out.p.u64 = index;
	c->out.fd[0] = fd;
	c->out.nr_fds = 1;
	return vhu_tell(c);
}
