/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_events.c - the requests of the back end: what each does here,
 * and what is answered. What is not served is refused, which is no end.
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

/* A request of the back end: 1 for a configuration change, 0, or -errno. */
typedef int event_handler(struct vhu_client *c, struct vhu_msg *msg);

static int on_config_change(struct vhu_client *c, struct vhu_msg *msg)
{
	(void)c;
	(void)msg;
	return 1;
}

static event_handler *const handler[VHU_BACKEND_REQUESTS] = {
#define VHU_ROW(name, nr, payload, fds_min, fds_max, reply, pf, vf, when, fn, \
		about) [nr] = fn,
	VHU_BACK_MESSAGES(VHU_ROW)
#undef VHU_ROW
};

/* Refused is no end: the back end is told, if it asked. */
static int take_event(struct vhu_client *c)
{
	struct vhu_msg *in = &c->events.in;
	const struct vhu_rule *rule = vhu_backend_rule(in->hdr.request);
	struct vhu_session now = { c->pf, c->features, 0 };
	int r = -EPROTO, err = 0;

	if (vhu_check_msg(rule, in, &now) == VHU_FINE &&
	    handler[in->hdr.request])
		r = handler[in->hdr.request](c, in);
	if (in->hdr.flags & VHU_NEED_REPLY) {
		vhu_msg_init(&c->out, in->hdr.request, VHU_REPLY,
			     sizeof(uint64_t));
		c->out.p.u64 = r < 0;
		err = vhu_sock_send(c->events.fd, &c->out,
				    c->conf.timeout_ms);
	}
	if (err)
		return err;
	return r > 0 ? r : 0;
}

int vhu_client_event_fd(const struct vhu_client *c)
{
	return c->events.fd;
}

int vhu_client_events(struct vhu_client *c)
{
	int changes = 0, i, r;

	if (c->events.fd < 0)
		return 0;
	for (i = 0; i < EVENTS_MAX; i++) {
		r = vhu_sock_recv(&c->events);
		if (r > 0)
			r = take_event(c);
		else if (r == 0)
			break;
		if (r < 0)
			return r;
		changes += r;
	}
	return changes;
}
