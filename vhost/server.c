/* SPDX-License-Identifier: MIT */
/*
 * vhost/server.c - the session with a front end: its life, and the dispatch
 * of its messages. What a message means stands in device.c, ring.c, map.c.
 */
#include "server.h"
#include "trace.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* Messages handled in one go, so that other work gets its turn. */
#define MESSAGES_PER_TURN	64
#define QUEUES_MAX		(VHU_VRING_IDX_MASK + 1)

static vhu_handler *const handler[VHU_REQUESTS] = {
#define VHU_ROW(name, nr, payload, fds_min, fds_max, reply, pf, vf, when, fn, \
		about) [nr] = fn,
	VHU_FRONT_MESSAGES(VHU_ROW)
#undef VHU_ROW
};

void vhu_log(const struct vhu_server *s, enum vio_log_level level,
	     const char *text, const struct vio_named *v, unsigned nr)
{
	if (s->conf.log.fn)
		s->conf.log.fn(s->conf.log.ctx, level, text, v, nr);
}

int vhu_reply_fd(struct vhu_server *s, const struct vhu_msg *msg,
		 uint32_t size, int fd)
{
	int err;

	s->out.hdr.request = msg->hdr.request;
	s->out.hdr.flags = VHU_VERSION | VHU_REPLY;
	s->out.hdr.size = size;
	s->out.nr_fds = fd >= 0;
	s->out.fd[0] = fd;
	/* Nobody is there any more to read what a deposit did not ask for. */
	if (s->inheriting && !(msg->hdr.flags & VHU_NEED_REPLY))
		return VHU_REPLIED;
	err = vhu_sock_send(s->sock.fd, &s->out, VHU_SEND_TIMEOUT_MS);
	if (err) {
		vhu_say(s, VIO_LOG_ERROR, "front end does not take a reply",
			{ "request", msg->hdr.request },
			{ "errno", (uint64_t)-err });
		return err;
	}
	return VHU_REPLIED;
}

int vhu_reply(struct vhu_server *s, const struct vhu_msg *msg, uint32_t size)
{
	return vhu_reply_fd(s, msg, size, -1);
}

int vhu_reply_u64(struct vhu_server *s, const struct vhu_msg *msg, uint64_t v)
{
	s->out.p.u64 = v;
	return vhu_reply(s, msg, sizeof(v));
}

/*
 * Does the front end wait for word on a request that has no answer of its
 * own? One that reconnected may not negotiate again, so that NEED_REPLY is
 * believed as long as it did not choose its protocol features. Asked after
 * the request was handled, since SET_PROTOCOL_FEATURES itself may want it.
 */
static bool wants_ack(const struct vhu_server *s, const struct vhu_msg *msg)
{
	uint64_t pf = s->protocol_set ? s->protocol : vhu_offered_protocol(s);

	return msg->hdr.flags & VHU_NEED_REPLY &&
		(s->inheriting || pf & VHU_PF(REPLY_ACK));
}

/* What is so now, of what a request may ask for. */
static unsigned conditions(const struct vhu_server *s)
{
	unsigned when = VHU_WHEN_SUSPENDED;

	for (unsigned i = 0; i < s->nr_rings; i++) {
		if (vhu_ring_started(&s->ring[i]))
			when &= ~(unsigned)VHU_WHEN_SUSPENDED;
	}
	if (vhu_state_moves(s))
		when |= VHU_WHEN_TRANSFER;
	if (s->post_fd >= 0)
		when |= VHU_WHEN_ADVISED;
	if (s->post_listening)
		when |= VHU_WHEN_LISTENING;
	return when;
}

/* Check and run one request. 0, VHU_REPLIED or -errno (logged). */
static int run_request(struct vhu_server *s, const struct vhu_rule *rule,
		       struct vhu_msg *msg)
{
	uint32_t req = msg->hdr.request;
	/*
	 * Held against what we offer, not what was accepted: the text gates
	 * some requests on the former, and front ends differ.
	 */
	struct vhu_session now = { vhu_offered_protocol(s), s->features,
				   rule && rule->when ? conditions(s) : 0 };
	enum vhu_fault fault = vhu_check_msg(rule, msg, &now);

	if (fault == VHU_UNKNOWN && s->inheriting)
		return vhu_on_predecessor(s, msg);
	if (!fault && !handler[req])
		fault = VHU_NO_FEATURE;
	if (fault) {
		const char *name = rule ? rule->name : "request";

		vhu_say(s, VIO_LOG_ERROR, vhu_fault_text(fault),
			{ name, req },
			{ "bytes", msg->hdr.size },
			{ "bytes_min", rule ? rule->min : 0 },
			{ "bytes_max", rule ? rule->max : 0 },
			{ "fds", msg->nr_fds });
		return -EPROTO;
	}
	/* Not the kicks, of which there are as many as requests. */
	if (req != VHOST_USER_VRING_KICK)
		vhu_say(s, VIO_LOG_DEBUG, rule->name,
			{ "request", req }, { "bytes", msg->hdr.size },
			{ "fds", msg->nr_fds }, { "flags", msg->hdr.flags },
			{ "u64", msg->hdr.size >= 8 ? msg->p.u64 : 0 });
	return handler[req](s, msg);
}

static int handle(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_rule *rule = vhu_rule(msg->hdr.request);
	int err;

	VHU_TRACE3(message, msg->hdr.request, msg->hdr.size, msg->nr_fds);
	err = run_request(s, rule, msg);
	vhu_msg_drop_fds(msg);
	if (err == VHU_REPLIED)
		return 0;
	if ((!rule || !rule->reply) && wants_ack(s, msg)) {
		int sent = vhu_reply_u64(s, msg, err ? 1 : 0);

		return sent < 0 ? sent : 0;
	}
	return err;
}

static int lost(struct vhu_server *s, int err)
{
	static const char *const text[] = {
		[EPIPE] = "front end left in the middle of a message",
		[EBADMSG] = "front end sent no vhost-user message",
		[EMSGSIZE] = "front end announced a message that is too long",
		[E2BIG] = "front end sent too many file descriptors",
	};
	const char *t = "connection to the front end failed";
	const struct vhu_hdr *h = &s->sock.in.hdr;

	if (err == -ENOTCONN)
		return err;
	if ((size_t)-err < VIO_ARRAY_LEN(text) && text[-err])
		t = text[-err];
	if (s->sock.have < sizeof(*h))
		vhu_say(s, VIO_LOG_ERROR, t, { "errno", (uint64_t)-err });
	else
		vhu_say(s, VIO_LOG_ERROR, t, { "request", h->request },
			{ "flags", h->flags }, { "bytes", h->size },
			{ "errno", (uint64_t)-err });
	return err;
}

/*
 * A front end that asks and asks and reads no answer would have us wait for
 * room, and all others with us. Its next question waits instead.
 */
static bool has_room(const struct vhu_server *s, const struct vhu_msg *msg)
{
	const struct vhu_rule *rule = vhu_rule(msg->hdr.request);
	struct pollfd p = { .fd = s->sock.fd, .events = POLLOUT };

	/* In postcopy memory is answered, too. */
	if (!(rule && rule->reply) && !(msg->hdr.flags & VHU_NEED_REPLY) &&
	    !s->post_listening)
		return true;
	return poll(&p, 1, 0) != 0;
}

int vhu_server_events(const struct vhu_server *s)
{
	return s->clogged ? POLLOUT : POLLIN;
}

int vhu_server_readable(struct vhu_server *s)
{
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		int r = s->clogged ? 1 : vhu_sock_recv(&s->sock);

		if (r == 0)
			return 0;
		if (r < 0)
			return lost(s, r);
		s->clogged = !has_room(s, &s->sock.in);
		if (s->clogged)
			return 0;
		r = handle(s, &s->sock.in);
		if (r)
			return r;
	}
	return 0;
}

int vhu_server_create(struct vhu_server **server, const struct vhu_conf *conf)
{
	unsigned nr = conf->dev->nr_queues;
	struct vhu_server *s;

	if (nr > QUEUES_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s) + nr * sizeof(s->ring[0]));
	if (!s)
		return -ENOMEM;
	s->tlb = conf->iommu ? vhu_tlb_new() : NULL;
	if (conf->iommu && !s->tlb) {
		free(s);
		return -ENOMEM;
	}
	s->conf = *conf;
	s->dev = conf->dev;
	if (conf->iommu)
		vio_dev_behind_iommu(s->dev);
	s->back_fd = -1;
	s->log_fd = -1;
	s->log_watch = -1;
	s->post_fd = -1;
	s->inherited = -1;
	pthread_mutex_init(&s->maps_lock, NULL);
	vhu_sock_init(&s->sock, -1);
	pthread_mutex_init(&s->back_lock, NULL);
	pthread_mutex_init(&s->back_ask, NULL);
	pthread_mutex_init(&s->calls_lock, NULL);
	pthread_mutex_init(&s->post_lock, NULL);
	s->nr_rings = nr;
	for (unsigned i = 0; i < nr; i++)
		vhu_ring_init(s, (uint16_t)i);
	vio_dev_attach(s->dev, &vhu_transport_ops, s, &conf->log);
	*server = s;
	return 0;
}

void vhu_server_destroy(struct vhu_server *s)
{
	if (!s)
		return;
	/* Without a front end the queues' threads may be gone already. */
	if (s->sock.fd >= 0)
		vhu_server_detach(s);
	/* Requests that never ended refer to maps, and those to us. */
	if (s->maps)
		return;
	vhu_state_leave(s);
	pthread_mutex_destroy(&s->post_lock);
	pthread_mutex_destroy(&s->calls_lock);
	pthread_mutex_destroy(&s->back_ask);
	pthread_mutex_destroy(&s->back_lock);
	pthread_mutex_destroy(&s->maps_lock);
	vhu_tlb_free(s->tlb);
	free(s);
}

int vhu_server_attach(struct vhu_server *s, int conn_fd)
{
	struct vhu_sock extra;

	if (s->sock.fd >= 0) {
		vhu_sock_init(&extra, conn_fd);
		vhu_sock_fini(&extra);
		return -EBUSY;
	}
	vhu_sock_init(&s->sock, conn_fd);
	return 0;
}

int vhu_server_fd(const struct vhu_server *s)
{
	return s->sock.fd;
}

void vhu_server_detach(struct vhu_server *s)
{
	/*
	 * The connection goes last: a front end that outlives us looks into
	 * its rings when it sees it go, and goes on from what it finds.
	 */
	vhu_post_drop(s);
	vhu_device_reset(s);
	for (unsigned i = 0; i < s->nr_rings; i++)
		vhu_ring_forget(&s->ring[i]);
	vhu_log_drop(s);
	vhu_map_drop(s);
	vhu_inflight_drop(s);
	vhu_back_close(s);
	vhu_sock_fini(&s->sock);
	vhu_state_drop(s);
	vhu_state_forget(s);
	vhu_iotlb_flush(s);
	vio_dev_set_guest_endian(s->dev, VIO_MACHINE_BIG);
	s->features = 0;
	s->protocol = 0;
	s->protocol_set = false;
	s->status = 0;
	s->told_no_memory = false;
	s->clogged = false;
}
