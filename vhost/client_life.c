/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_life.c - how the front end comes to a back end: connecting,
 * agreeing on protocol features, and the same again with the successor of one
 * that died.
 */
#define _GNU_SOURCE	/* POLLRDHUP */
#include "vhost/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define QUEUE_SIZE_MAX	1024	/* what all back ends known to us take */

/* Protocol features that this side can use. */
#define WANTED	(VHU_PF(MQ) | VHU_PF(REPLY_ACK) | VHU_PF(CONFIG) | \
		 VHU_PF(RESET_DEVICE) | VHU_PF(STATUS) | VHU_PF(BACKEND_REQ) | \
		 VHU_PF(INFLIGHT_SHMFD) | VHU_PF(LOG_SHMFD) | \
		 VHU_PF(CONFIGURE_MEM_SLOTS) | VHU_PF(MTU) | VHU_PF(RARP) | \
		 VHU_PF(DEVICE_STATE))
/* All, or the usual stop would not be the usual one. */
#define LEAVE	(VHU_PF(INFLIGHT_SHMFD) | VHU_PF(GET_VRING_BASE_INFLIGHT) | \
		 VHU_PF(GET_VRING_BASE_SKIP_DRAIN))

static int accept_from(int listen_fd, int timeout_ms)
{
	int r = vhu_sock_wait(listen_fd, timeout_ms);
	int fd;

	if (r <= 0)
		return r ? r : -ETIMEDOUT;
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A connection to the back end, or -errno. */
static int get_connected(const struct vhu_client_conf *conf, int timeout_ms)
{
	if (conf->listen)
		return accept_from(conf->socket_fd, timeout_ms);
	return conf->socket_path ?
		vhu_sock_connect(conf->socket_path, timeout_ms) :
		conf->socket_fd;
}

static int agree(struct vhu_client *c)
{
	uint64_t wanted = (WANTED | LEAVE | vhu_client_wishes(&c->conf)) &
			  ~c->conf.protocol_off;
	uint64_t pf, queues;
	int err;

	err = vhu_ask_u64(c, VHOST_USER_GET_FEATURES, &c->offered);
	if (err)
		return err;
	c->has_pf = c->offered >> VHOST_USER_F_PROTOCOL_FEATURES & 1;
	if (c->has_pf) {
		err = vhu_ask_u64(c, VHOST_USER_GET_PROTOCOL_FEATURES, &pf);
		if (err)
			return err;
		pf &= wanted;
		if ((pf & LEAVE) != LEAVE)
			pf &= ~LEAVE | VHU_PF(INFLIGHT_SHMFD);
		err = vhu_tell_u64(c, VHOST_USER_SET_PROTOCOL_FEATURES, pf);
		if (err)
			return err;
		c->pf = pf;
	}
	vhu_msg_init(&c->out, VHOST_USER_SET_OWNER, 0, 0);
	err = vhu_tell(c);
	if (!err)
		err = vhu_client_open_events(c);
	if (!err)
		err = vhu_client_ask_shmem(c);
	if (!err)
		err = vhu_client_ask_slots(c);
	if (err || !vhu_client_has(c, VHOST_USER_PROTOCOL_F_MQ))
		return err;
	err = vhu_ask_u64(c, VHOST_USER_GET_QUEUE_NUM, &queues);
	if (err)
		return err;
	/* And a control queue behind them, if the back end has one. */
	if (c->conf.queue_pairs && queues < VHU_CLIENT_QUEUES)
		queues = 2 * queues + 1;
	c->nr_queues = queues < VHU_CLIENT_QUEUES ? (unsigned)queues
						  : VHU_CLIENT_QUEUES;
	return 0;
}

int vhu_client_open(struct vhu_client **out,
		    const struct vhu_client_conf *conf)
{
	struct vhu_client *c = calloc(1, sizeof(*c));
	unsigned i;
	int fd, err;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	c->nr_queues = c->conf.queue_pairs ? 3 : 1;
	c->inflight_fd = -1;
	vhu_sock_init(&c->events, -1);
	vhu_client_init_memory(c);
	if (!c->conf.timeout_ms)
		c->conf.timeout_ms = VHU_SEND_TIMEOUT_MS;
	if (!c->conf.queue_size_max)
		c->conf.queue_size_max = QUEUE_SIZE_MAX;
	for (i = 0; i < VHU_CLIENT_QUEUES; i++)
		c->ring[i].kick = c->ring[i].call = -1;
	fd = get_connected(conf, c->conf.timeout_ms);
	vhu_sock_init(&c->sock, fd);
	err = fd < 0 ? fd : agree(c);
	if (err) {
		vhu_client_close(c);
		return err;
	}
	*out = c;
	return 0;
}

void vhu_client_close(struct vhu_client *c)
{
	unsigned i;

	if (!c)
		return;
	vhu_sock_fini(&c->sock);
	vhu_sock_fini(&c->events);
	vhu_client_forget_inflight(c);
	vhu_client_free_shmem(c);
	vhu_client_free_memory(c);
	for (i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (c->ring[i].kick >= 0)
			close(c->ring[i].kick);
		if (c->ring[i].call >= 0)
			close(c->ring[i].call);
	}
	free(c);
}

/* -- another back end in the place of one that died ---------------------- */

static int tell_again(struct vhu_client *c)
{
	unsigned had = c->nr_queues;
	int err;

	c->pf = 0;
	c->nr_missed = 0;
	vhu_client_unshow(c);
	vhu_sock_fini(&c->events);
	vhu_sock_init(&c->events, -1);
	err = agree(c);
	if (err)
		return err;
	if (c->features & ~c->offered || c->nr_queues < had)
		return -ENOTSUP;
	return vhu_client_again(c) ? -EIO : 0;
}

static int try_again(struct vhu_client *c, int64_t end)
{
	int64_t left = end - vhu_client_now_ms();
	int fd = get_connected(&c->conf, left > 0 ? (int)left : 0);

	if (fd < 0)
		return fd;
	vhu_sock_fini(&c->sock);
	vhu_sock_init(&c->sock, fd);
	return tell_again(c);
}

/* A kick or a call may have died with the old one. */
static void wake_all(struct vhu_client *c)
{
	uint64_t one = 1;
	unsigned i;

	for (i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (!c->ring[i].running)
			continue;
		vhu_client_notify(c, (uint16_t)i, 0);
		/* Full means: it is signalled already. */
		while (write(c->ring[i].call, &one, sizeof(one)) < 0 &&
		       errno == EINTR)
			;
	}
}

int vhu_client_reconnect(struct vhu_client *c, int timeout_ms)
{
	bool in_order = c->features >> VIRTIO_F_IN_ORDER & 1;
	bool known = c->inflight_fd >= 0 ||
		     (in_order && !vhu_client_is_packed(c));
	int64_t end = vhu_client_now_ms() + timeout_ms;
	int err;

	if ((!c->conf.socket_path && !c->conf.listen) ||
	    (c->status & VIRTIO_STATUS_DRIVER_OK && !known))
		return -EOPNOTSUPP;
	for (;;) {
		err = try_again(c, end);
		if (!err || err == -ENOTSUP || vhu_client_now_ms() >= end)
			break;
		poll(NULL, 0, 1);
	}
	if (!err)
		wake_all(c);
	return err;
}

bool vhu_client_connected(const struct vhu_client *c)
{
	struct pollfd p = { .fd = c->sock.fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 0;
}

int vhu_client_fd(const struct vhu_client *c)
{
	return c->sock.fd;
}

unsigned vhu_client_queues(const struct vhu_client *c)
{
	return c->nr_queues;
}

uint64_t vhu_client_protocol_features(const struct vhu_client *c)
{
	return c->pf;
}

int vhu_client_use_kick(struct vhu_client *c, uint16_t index, int fd)
{
	struct vhu_client_ring *r;
	int own;

	if (index >= VHU_CLIENT_QUEUES || c->ring[index].wanted)
		return -EINVAL;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	r = &c->ring[index];
	if (r->kick >= 0)
		close(r->kick);
	r->kick = own;
	return 0;
}

int vhu_client_call_fd(const struct vhu_client *c, uint16_t index)
{
	return index < VHU_CLIENT_QUEUES ? c->ring[index].call : -1;
}
