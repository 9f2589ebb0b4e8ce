/* SPDX-License-Identifier: MIT */
/*
 * vhost/hand_over.c - a session goes from one process to another while the
 * front end waits: the old one stops its rings and says all that the front end
 * said to it once more, in the protocol's own messages, so that the new one
 * checks and does it all as if it came from there. The connection itself comes
 * last but for the kicks, which start the rings.
 *
 * Up to the connection each message is answered; if one is refused, the old
 * process goes on as if nothing had been.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>
#include <vireo/state.h>

/* Not of the protocol: the front end's connection, to go on with. */
#define CONNECTION	0x76696f01u
/* A file with the device's own state (vireo/state.h). */
#define STATE		0x76696f02u
#define TIMEOUT_MS	10000

struct talk {
	struct vhu_server *s;
	struct vhu_sock sock;
	struct vhu_msg msg;
	bool refused;		/* said by the new process, not our failure */
	bool deposit;		/* nobody answers */
};

/* Send t->msg and wait until the other one did it. 0 or -errno. */
static int tell(struct talk *t)
{
	const struct vhu_msg *in = &t->sock.in;
	int r;

	if (t->deposit)
		return vhu_sock_send(t->sock.fd, &t->msg, 0);
	t->msg.hdr.flags |= VHU_NEED_REPLY;
	r = vhu_sock_send(t->sock.fd, &t->msg, TIMEOUT_MS);
	while (!r) {
		r = vhu_sock_recv(&t->sock);
		if (r)
			break;
		r = vhu_sock_wait(t->sock.fd, TIMEOUT_MS);
		if (r <= 0)
			return r ? r : -ETIMEDOUT;
		r = 0;
	}
	if (r < 0)
		return r;
	if (in->hdr.request != t->msg.hdr.request ||
	    !(in->hdr.flags & VHU_REPLY) ||
	    in->hdr.size != sizeof(uint64_t) || in->p.u64) {
		t->refused = true;
		return -EPROTO;
	}
	return 0;
}

static int tell_fd(struct talk *t, int fd)
{
	t->msg.fd[0] = fd;
	t->msg.nr_fds = fd >= 0;
	return tell(t);
}

static int tell_u64(struct talk *t, uint32_t request, uint64_t v, int fd)
{
	vhu_msg_init(&t->msg, request, 0, sizeof(v));
	t->msg.p.u64 = v;
	return tell_fd(t, fd);
}

static int tell_state(struct talk *t, uint32_t request, uint32_t index,
		      uint32_t num)
{
	vhu_msg_init(&t->msg, request, 0, sizeof(t->msg.p.state));
	t->msg.p.state.index = index;
	t->msg.p.state.num = num;
	return tell(t);
}

static int tell_fd_of(struct talk *t, uint32_t request, uint32_t index, int fd)
{
	return tell_u64(t, request, index | (fd < 0 ? VHU_VRING_NOFD : 0), fd);
}

/* What the driver wrote to the configuration is part of it. */
static int tell_config(struct talk *t)
{
	const struct vio_dev *dev = t->s->dev;
	struct vhu_config *c = &t->msg.p.config;
	uint32_t len = dev->config_len;

	if (!len || !(vhu_offered_protocol(t->s) & VHU_PF(CONFIG)))
		return 0;
	vhu_msg_init(&t->msg, VHOST_USER_SET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + len);
	c->size = len;
	c->flags = VHU_CONFIG_MIGRATION;
	vio_dev_config_read(t->s->dev, 0, c->data, len);
	return tell(t);
}

static int tell_agreed(struct talk *t)
{
	const struct vhu_server *s = t->s;
	int err = 0;

	if (s->protocol_set)
		err = tell_u64(t, VHOST_USER_SET_PROTOCOL_FEATURES,
			       s->protocol, -1);
	if (!err)
		err = tell_u64(t, VHOST_USER_SET_FEATURES, s->features, -1);
	if (!err && s->back_fd >= 0)
		err = tell_u64(t, VHOST_USER_SET_BACKEND_REQ_FD, 0,
			       s->back_fd);
	if (!err && s->dev->guest_big != VIO_MACHINE_BIG)
		err = tell_state(t, VHOST_USER_SET_VRING_ENDIAN, 0,
				 s->dev->guest_big);
	return err ? err : tell_config(t);
}

/* Give a file with the state in it, or -errno. */
static int write_state(struct vhu_server *s)
{
	uint32_t len = vio_dev_save(s->dev, NULL, 0);
	unsigned char *p;
	int fd, err = 0;

	if (len > VIO_STATE_MAX)
		return -E2BIG;
	fd = memfd_create("vireo-state", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	p = malloc(len);
	if (!p || vio_dev_save(s->dev, p, len) != len)
		err = -ENOMEM;
	else if (pwrite(fd, p, len, 0) != (ssize_t)len)
		err = -EIO;
	free(p);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int tell_state_of_device(struct talk *t)
{
	int fd = write_state(t->s), err;

	if (fd < 0)
		return fd;
	err = tell_u64(t, STATE, 0, fd);
	close(fd);
	return err;
}

static int tell_memory(struct talk *t)
{
	int err = 0;

	for (unsigned i = 0; i < vhu_map_regions(t->s->map) && !err; i++) {
		vhu_msg_init(&t->msg, VHOST_USER_ADD_MEM_REG, 0,
			     sizeof(t->msg.p.reg));
		err = tell_fd(t, vhu_map_region(t->s->map, i,
						&t->msg.p.reg.region));
	}
	return err;
}

static int tell_shared(struct talk *t)
{
	int fd, err = 0;

	vhu_msg_init(&t->msg, VHOST_USER_SET_INFLIGHT_FD, 0,
		     sizeof(t->msg.p.inflight));
	fd = vhu_inflight_fd(t->s, &t->msg.p.inflight);
	if (fd >= 0)
		err = tell_fd(t, fd);
	vhu_msg_init(&t->msg, VHOST_USER_SET_LOG_BASE, 0,
		     sizeof(t->msg.p.log));
	fd = vhu_log_file(t->s, &t->msg.p.log);
	if (!err && fd >= 0)
		err = tell_fd(t, fd);
	if (!err && t->s->log_fd >= 0)
		err = tell_u64(t, VHOST_USER_SET_LOG_FD, 0, t->s->log_fd);
	return err;
}

static int tell_ring(struct talk *t, const struct vhu_ring *r)
{
	bool on = r->state == VHU_RING_STOPPED_ON;
	int err = 0;

	if (r->num)
		err = tell_state(t, VHOST_USER_SET_VRING_NUM, r->index,
				 r->num);
	if (!err)
		err = tell_state(t, VHOST_USER_SET_VRING_BASE, r->index,
				 r->base);
	if (!err && r->have_addr) {
		vhu_msg_init(&t->msg, VHOST_USER_SET_VRING_ADDR, 0,
			     sizeof(t->msg.p.addr));
		t->msg.p.addr = r->addr;
		t->msg.p.addr.index = r->index;
		err = tell(t);
	}
	if (!err && r->call_fd >= 0)
		err = tell_fd_of(t, VHOST_USER_SET_VRING_CALL, r->index,
				 r->call_fd);
	if (!err && r->err_fd >= 0)
		err = tell_fd_of(t, VHOST_USER_SET_VRING_ERR, r->index,
				 r->err_fd);
	/* Without protocol features SET_FEATURES has enabled it. */
	if (!err && on && t->s->features & VHU_F_PROTOCOL)
		err = tell_state(t, VHOST_USER_SET_VRING_ENABLE, r->index, 1);
	return err;
}

static int tell_kick(struct talk *t, const struct vhu_ring *r)
{
	if (!r->kicked)
		return 0;
	if (r->kick_fd >= 0 || r->poll)
		return tell_fd_of(t, VHOST_USER_SET_VRING_KICK, r->index,
				  r->kick_fd);
	return tell_state(t, VHOST_USER_VRING_KICK, r->index, 0);
}

static int tell_all(struct talk *t)
{
	struct vhu_server *s = t->s;
	int err = tell_agreed(t);

	if (!err)
		err = tell_state_of_device(t);
	if (!err)
		err = tell_shared(t);
	if (!err)
		err = tell_memory(t);
	for (unsigned i = 0; i < s->nr_rings && !err; i++)
		err = tell_ring(t, &s->ring[i]);
	if (!err && s->status)
		err = tell_u64(t, VHOST_USER_SET_STATUS, s->status, -1);
	if (!err)
		err = tell_u64(t, CONNECTION, 0, s->sock.fd);
	return err;
}

/* Stop for a while: everything but being started is kept. */
static int stop_all(struct vhu_server *s)
{
	int err = 0;

	for (unsigned i = 0; i < s->nr_rings && !err; i++)
		err = vhu_ring_event(&s->ring[i], VHU_EV_STOP);
	return err;
}

static void start_again(struct vhu_server *s)
{
	for (unsigned i = 0; i < s->nr_rings; i++)
		vhu_ring_try_start(&s->ring[i]);
}

static int give(struct vhu_server *s, int fd, bool deposit)
{
	struct talk *t;
	int err;

	if (s->sock.fd < 0)
		return -ENOTCONN;
	/* A userfaultfd is for this process's memory alone. */
	if (vhu_sock_in_message(&s->sock) || s->post_fd >= 0)
		return -EAGAIN;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->s = s;
	t->deposit = deposit;
	vhu_sock_init(&t->sock, fd);
	err = stop_all(s);
	if (!err)
		err = tell_all(t);
	if (err) {
		vhu_say(s, VIO_LOG_ERROR, t->refused ?
			"the successor refuses what the front end had told" :
			"the session cannot be handed over",
			{ "request", t->msg.hdr.request },
			{ "errno", (uint64_t)-err });
		start_again(s);
	}
	/* Theirs from now on: what fails now is for them to say. */
	for (unsigned i = 0; i < s->nr_rings && !err; i++) {
		if (tell_kick(t, &s->ring[i]))
			break;
	}
	vhu_msg_drop_fds(&t->sock.in);
	free(t);
	if (!err)
		vhu_server_detach(s);
	return err;
}

int vhu_server_hand_over(struct vhu_server *s, int fd)
{
	return give(s, fd, false);
}

int vhu_server_deposit(struct vhu_server *s, int fd)
{
	return give(s, fd, true);
}

/* -- the other end --------------------------------------------------------- */

static int read_state(struct vhu_server *s, int fd)
{
	unsigned char *p;
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size <= 0 || st.st_size > VIO_STATE_MAX)
		return -EPROTO;
	p = malloc((size_t)st.st_size);
	if (!p)
		return -ENOMEM;
	err = pread(fd, p, (size_t)st.st_size, 0) == st.st_size ?
		vio_dev_load(s->dev, p, (uint32_t)st.st_size) : VIO_E_IO;
	free(p);
	if (err == VIO_OK)
		return 0;
	vhu_say(s, VIO_LOG_ERROR,
		"the predecessor's device has a state that this one cannot take over",
		{ "bytes", (uint64_t)st.st_size },
		{ "error", (uint64_t)-err });
	return -EINVAL;
}

/* What the predecessor says beyond the protocol. */
int vhu_on_predecessor(struct vhu_server *s, struct vhu_msg *msg)
{
	if (!s->inheriting || msg->nr_fds != 1)
		return -EPROTO;
	if (msg->hdr.request == STATE)
		return read_state(s, msg->fd[0]);
	if (msg->hdr.request != CONNECTION || s->inherited >= 0)
		return -EPROTO;
	s->inherited = vhu_msg_take_fd(msg, 0);
	return 0;
}

int vhu_server_take_over(struct vhu_server *s, int fd)
{
	int err = vhu_server_attach(s, fd), conn;

	if (err)
		return err;
	s->inheriting = true;
	while (!err) {
		err = vhu_sock_wait(fd, TIMEOUT_MS);
		if (err > 0)
			err = vhu_server_readable(s);
		else if (!err)
			err = -ETIMEDOUT;
	}
	s->inheriting = false;
	conn = s->inherited;
	s->inherited = -1;
	/* All was said, and the old process let go. */
	if (err == -ENOTCONN && conn >= 0) {
		vhu_sock_fini(&s->sock);
		vhu_sock_init(&s->sock, conn);
		return 0;
	}
	if (conn >= 0)
		close(conn);
	vhu_server_detach(s);
	return err;
}
