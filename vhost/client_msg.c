/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_msg.c - questions to the back end, and what it answers. Its
 * words are checked like any peer's.
 */
#include "vhost/client.h"

#include <errno.h>

/* Wait for the answer to c->out. 0, with it in c->sock.in, or -errno. */
static int receive(struct vhu_client *c)
{
	const struct vhu_msg *in = &c->sock.in;
	int r;

	for (;;) {
		r = vhu_sock_recv(&c->sock);
		if (r < 0)
			return r;
		if (r > 0)
			break;
		r = vhu_sock_wait(c->sock.fd, c->conf.timeout_ms);
		if (r < 0)
			return r;
		if (r == 0)
			return -ETIMEDOUT;
	}
	if (in->hdr.request != c->out.hdr.request ||
	    !(in->hdr.flags & VHU_REPLY))
		return -EPROTO;
	return 0;
}

int vhu_ask(struct vhu_client *c, uint32_t min)
{
	int err;

	err = vhu_sock_send(c->sock.fd, &c->out, c->conf.timeout_ms);
	if (!err)
		err = receive(c);
	if (!err && c->sock.in.hdr.size < min)
		err = -EPROTO;
	return err;
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
