/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_events.c - the requests of the back end: what each does here,
 * and what is answered. What is not served is refused, which is no end.
 *
 * They are served while we wait for an answer of the back end, too, so that
 * no handler sends a request of ours.
 */
#include "vhost/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages of the back end that are taken in one go, at most. */
#define EVENTS_MAX	64

int vhu_client_open_events(struct vhu_client *c)
{
	int pair[2], err;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	vhu_sock_init(&c->events, pair[0]);
	vhu_msg_init(&c->out, VHOST_USER_SET_BACKEND_REQ_FD, 0, 0);
	c->out.fd[0] = pair[1];
	c->out.nr_fds = 1;
	err = vhu_tell(c);
	close(pair[1]);
	return err;
}

static int on_config_change(struct vhu_client *c, struct vhu_msg *msg)
{
	(void)msg;
	c->changes++;
	return 0;
}

static int on_object_add(struct vhu_client *c, struct vhu_msg *msg)
{
	return c->conf.ops->object_add(c->conf.ops_ctx, msg->p.uuid);
}

static int on_object_remove(struct vhu_client *c, struct vhu_msg *msg)
{
	return c->conf.ops->object_remove(c->conf.ops_ctx, msg->p.uuid);
}

/* The descriptor goes with the answer, in the message's own place. */
static int on_object_lookup(struct vhu_client *c, struct vhu_msg *msg)
{
	int fd = c->conf.ops->object_lookup(c->conf.ops_ctx, msg->p.uuid);

	if (fd < 0)
		return fd;
	msg->fd[0] = fd;
	return 0;
}

static vhu_client_event *const handler[VHU_BACKEND_REQUESTS] = {
#define VHU_ROW(name, nr, payload, fds_min, fds_max, reply, pf, vf, when, fn, \
		about) [nr] = fn,
	VHU_BACK_MESSAGES(VHU_ROW)
#undef VHU_ROW
};

static int answer(struct vhu_client *c, const struct vhu_msg *in, int r)
{
	struct vhu_msg out;	/* c->out may wait for its own answer */

	vhu_msg_init(&out, in->hdr.request, VHU_REPLY, sizeof(uint64_t));
	out.p.u64 = r < 0;
	if (!r && vhu_backend_rule(in->hdr.request)->reply) {
		out.fd[0] = in->fd[0];
		out.nr_fds = 1;
	}
	return vhu_sock_send(c->events.fd, &out, c->conf.timeout_ms);
}

/* Refused is no end: the back end is told, if it asked. */
static int take_event(struct vhu_client *c)
{
	struct vhu_msg *in = &c->events.in;
	const struct vhu_rule *rule = vhu_backend_rule(in->hdr.request);
	struct vhu_session now = { c->pf, c->features, 0 };
	int r = -EPROTO;

	if (vhu_check_msg(rule, in, &now) == VHU_FINE &&
	    handler[in->hdr.request])
		r = handler[in->hdr.request](c, in);
	if (in->hdr.flags & VHU_NEED_REPLY || (rule && rule->reply))
		return answer(c, in, r);
	return 0;
}

int vhu_client_serve(struct vhu_client *c)
{
	int i, r;

	for (i = 0; i < EVENTS_MAX && c->events.fd >= 0; i++) {
		r = vhu_sock_recv(&c->events);
		if (r > 0)
			r = take_event(c);
		else if (r == 0)
			break;
		if (r < 0)
			return r;
	}
	return vhu_client_tell_missed(c);
}

int vhu_client_event_fd(const struct vhu_client *c)
{
	return c->events.fd;
}

int vhu_client_events(struct vhu_client *c)
{
	int err = vhu_client_serve(c);
	int changes = c->changes;

	if (err)
		return err;
	c->changes = 0;
	return changes;
}
