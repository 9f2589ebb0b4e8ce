/* SPDX-License-Identifier: MIT */
/*
 * vhost/client.c - the front end's side of vhost-user as a bus for drivers.
 * It turns the bus's verbs into messages; it knows no device type, and of a
 * ring's layout no more than where the used index stands. Whatever the back
 * end answers is checked like any peer's words.
 */
#define _GNU_SOURCE	/* POLLRDHUP */
#include <vireo/vhu_client.h>

#include "vhost/msg.h"
#include "vhost/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define QUEUE_SIZE_MAX	1024	/* what all back ends known to us take */

/* Protocol features that this side can use. */
#define WANTED	(VHU_PF(MQ) | VHU_PF(REPLY_ACK) | VHU_PF(CONFIG) | \
		 VHU_PF(RESET_DEVICE) | VHU_PF(STATUS) | VHU_PF(BACKEND_REQ) | \
		 VHU_PF(INFLIGHT_SHMFD))

/* Messages of the back end that are taken in one go, at most. */
#define EVENTS_MAX	64

struct ring {
	struct vio_queue_layout layout;
	int kick;		/* eventfds, -1 where there is none */
	int call;
	bool wanted;		/* the driver set it up */
	bool running;
};

struct vhu_client {
	struct vhu_sock sock;
	struct vhu_msg out;
	struct vhu_sock events;	/* the back end's own requests */
	struct vhu_client_conf conf;
	uint64_t pf;		/* protocol features in force */
	uint64_t offered;
	uint64_t features;	/* the driver's */
	struct vhu_inflight inflight;	/* what inflight_fd is */
	int inflight_fd;	/* record of requests; -1: none */
	uint32_t status;	/* where the back end keeps none */
	unsigned nr_queues;
	bool has_pf;		/* bit 30 was offered */
	struct ring ring[VHU_CLIENT_QUEUES];
};

static bool has(const struct vhu_client *c, unsigned pf)
{
	return c->pf >> pf & 1;
}

/* -- messages ------------------------------------------------------------ */

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

/* Send c->out, which has an answer of its own of at least @min bytes. */
static int ask(struct vhu_client *c, uint32_t min)
{
	int err;

	err = vhu_sock_send(c->sock.fd, &c->out, c->conf.timeout_ms);
	if (!err)
		err = receive(c);
	if (!err && c->sock.in.hdr.size < min)
		err = -EPROTO;
	return err;
}

/* Send c->out, which has none; with REPLY_ACK it gets one. */
static int tell(struct vhu_client *c)
{
	bool ack = has(c, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	int err;

	if (!ack)
		return vhu_sock_send(c->sock.fd, &c->out, c->conf.timeout_ms);
	c->out.hdr.flags |= VHU_NEED_REPLY;
	err = ask(c, sizeof(uint64_t));
	if (!err && c->sock.in.p.u64)
		err = -EIO;
	return err;
}

static int tell_u64(struct vhu_client *c, uint32_t request, uint64_t v)
{
	vhu_msg_init(&c->out, request, 0, sizeof(v));
	c->out.p.u64 = v;
	return tell(c);
}

static int ask_u64(struct vhu_client *c, uint32_t request, uint64_t *v)
{
	int err;

	vhu_msg_init(&c->out, request, 0, 0);
	err = ask(c, sizeof(*v));
	if (!err)
		*v = c->sock.in.p.u64;
	return err;
}

static int tell_state(struct vhu_client *c, uint32_t request, uint32_t index,
		      uint32_t num)
{
	vhu_msg_init(&c->out, request, 0, sizeof(c->out.p.state));
	c->out.p.state.index = index;
	c->out.p.state.num = num;
	return tell(c);
}

static int tell_fd(struct vhu_client *c, uint32_t request, uint32_t index,
		   int fd)
{
	vhu_msg_init(&c->out, request, 0, sizeof(uint64_t));
	c->out.p.u64 = index;
	c->out.fd[0] = fd;
	c->out.nr_fds = 1;
	return tell(c);
}

/* What a bus says of an errno. */
static int bus_error(int err)
{
	return err ? VIO_E_IO : VIO_OK;
}

/* -- memory and rings ---------------------------------------------------- */

static int send_memory(struct vhu_client *c)
{
	const struct vio_window *w = &c->conf.window;
	struct vhu_mem_table *t = &c->out.p.table;

	vhu_msg_init(&c->out, VHOST_USER_SET_MEM_TABLE, 0,
		     offsetof(struct vhu_mem_table, region) +
		     sizeof(t->region[0]));
	t->nr = 1;
	t->region[0].guest_addr = w->addr.v;
	t->region[0].size = w->size;
	t->region[0].user_addr = (uintptr_t)w->host;
	t->region[0].mmap_offset = c->conf.mem_offset;
	c->out.fd[0] = c->conf.mem_fd;
	c->out.nr_fds = 1;
	return tell(c);
}

/* Our own address of a guest address, as the protocol wants it. */
static uint64_t user_addr(const struct vhu_client *c, vio_addr a)
{
	return (uintptr_t)c->conf.window.host +
	       (a.v - c->conf.window.addr.v);
}

static int send_addr(struct vhu_client *c, uint16_t index)
{
	const struct vio_queue_layout *l = &c->ring[index].layout;

	vhu_msg_init(&c->out, VHOST_USER_SET_VRING_ADDR, 0,
		     sizeof(c->out.p.addr));
	c->out.p.addr.index = index;
	c->out.p.addr.desc = user_addr(c, l->desc);
	c->out.p.addr.avail = user_addr(c, l->driver);
	c->out.p.addr.used = user_addr(c, l->device);
	return tell(c);
}

/* Have the back end record what is in flight, once for a driver's life. */
static int get_inflight(struct vhu_client *c)
{
	const struct vhu_msg *in = &c->sock.in;
	struct vhu_inflight *q = &c->out.p.inflight;
	unsigned i;
	int err;

	if (!has(c, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return 0;
	vhu_msg_init(&c->out, VHOST_USER_GET_INFLIGHT_FD, 0, sizeof(*q));
	for (i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (!c->ring[i].wanted)
			continue;
		q->nr_queues = (uint16_t)(i + 1);
		if (q->queue_size < c->ring[i].layout.size)
			q->queue_size = c->ring[i].layout.size;
	}
	if (!q->nr_queues)
		return 0;
	err = ask(c, offsetof(struct vhu_inflight, queue_size) +
		  sizeof(q->queue_size));
	/* Without a descriptor there is none, and we live without. */
	if (err || in->nr_fds != 1 || !in->p.inflight.mmap_size)
		return err;
	c->inflight = in->p.inflight;
	c->inflight_fd = vhu_msg_take_fd(&c->sock.in, 0);
	return 0;
}

static int send_inflight(struct vhu_client *c)
{
	if (c->inflight_fd < 0)
		return 0;
	vhu_msg_init(&c->out, VHOST_USER_SET_INFLIGHT_FD, 0,
		     sizeof(c->out.p.inflight));
	c->out.p.inflight = c->inflight;
	c->out.fd[0] = c->inflight_fd;
	c->out.nr_fds = 1;
	return tell(c);
}

static void forget_inflight(struct vhu_client *c)
{
	if (c->inflight_fd >= 0)
		close(c->inflight_fd);
	c->inflight_fd = -1;
}

static bool is_packed(const struct vhu_client *c)
{
	return c->features >> VIRTIO_F_RING_PACKED & 1;
}

/*
 * Where a ring goes on. A split one that has run: all that is not used. Of a
 * packed one only the record knows; else both wrap counters stand at 1.
 */
static uint32_t base_of(const struct vhu_client *c, const struct ring *r)
{
	const struct virtq_used *used =
		(const void *)(uintptr_t)user_addr(c, r->layout.device);
	vio_le16 idx;

	if (is_packed(c))
		return 0x80008000;
	idx.raw = __atomic_load_n(&used->idx.raw, __ATOMIC_ACQUIRE);
	return vio_from_le16(idx);
}

static int start_ring(struct vhu_client *c, uint16_t index)
{
	struct ring *r = &c->ring[index];
	int err;

	err = tell_state(c, VHOST_USER_SET_VRING_NUM, index, r->layout.size);
	if (!err)
		err = tell_state(c, VHOST_USER_SET_VRING_BASE, index,
				 base_of(c, r));
	if (!err)
		err = send_addr(c, index);
	if (!err)
		err = tell_fd(c, VHOST_USER_SET_VRING_CALL, index, r->call);
	if (!err)
		err = tell_fd(c, VHOST_USER_SET_VRING_KICK, index, r->kick);
	/* Without protocol features a ring is enabled as soon as it starts. */
	if (!err && c->has_pf)
		err = tell_state(c, VHOST_USER_SET_VRING_ENABLE, index, 1);
	r->running = !err;
	return err;
}

static int start(struct vhu_client *c)
{
	unsigned i;
	int err;

	err = c->inflight_fd < 0 ? get_inflight(c) : 0;
	if (!err)
		err = send_inflight(c);
	if (!err)
		err = send_memory(c);
	for (i = 0; i < VHU_CLIENT_QUEUES && !err; i++)
		if (c->ring[i].wanted && !c->ring[i].running)
			err = start_ring(c, (uint16_t)i);
	return err;
}

int vhu_client_stop_queue(struct vhu_client *c, uint16_t index,
			  uint16_t *avail)
{
	int err;

	if (index >= VHU_CLIENT_QUEUES || !c->ring[index].running)
		return -EINVAL;
	vhu_msg_init(&c->out, VHOST_USER_GET_VRING_BASE, 0,
		     sizeof(c->out.p.state));
	c->out.p.state.index = index;
	err = ask(c, sizeof(c->out.p.state));
	if (err)
		return err;
	c->ring[index].running = false;
	*avail = (uint16_t)c->sock.in.p.state.num;
	return 0;
}

/* The driver resets the device: all rings stop, and are forgotten. */
static int stop(struct vhu_client *c)
{
	uint16_t avail;
	unsigned i;
	int err = 0;

	for (i = 0; i < VHU_CLIENT_QUEUES && !err; i++) {
		if (c->ring[i].running)
			err = vhu_client_stop_queue(c, (uint16_t)i, &avail);
		c->ring[i].wanted = false;
	}
	forget_inflight(c);
	if (!err && has(c, VHOST_USER_PROTOCOL_F_RESET_DEVICE)) {
		vhu_msg_init(&c->out, VHOST_USER_RESET_DEVICE, 0, 0);
		err = tell(c);
	}
	return err;
}

/* -- the bus ------------------------------------------------------------- */

static int bus_get_status(void *bus, uint32_t *status)
{
	struct vhu_client *c = bus;
	uint64_t v = c->status;
	int err = 0;

	if (has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = ask_u64(c, VHOST_USER_GET_STATUS, &v);
	*status = (uint32_t)v & 0xff;
	return bus_error(err);
}

static int bus_set_status(void *bus, uint32_t status)
{
	struct vhu_client *c = bus;
	uint32_t fresh = status & ~c->status;
	int err = 0;

	if (!status)
		err = stop(c);
	else if (fresh & VIRTIO_STATUS_DRIVER_OK)
		err = start(c);
	c->status = status;
	if (!err && has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = tell_u64(c, VHOST_USER_SET_STATUS, status);
	return bus_error(err);
}

static int bus_get_features(void *bus, struct vio_features *f)
{
	struct vhu_client *c = bus;

	f->w[0] = c->offered;
	f->w[1] = 0;
	/* Two bits mean something else here than in the standard. */
	vio_feature_clear(f, VHOST_USER_F_PROTOCOL_FEATURES);
	vio_feature_clear(f, VHOST_F_LOG_ALL);
	return VIO_OK;
}

static int bus_set_features(void *bus, const struct vio_features *f)
{
	struct vhu_client *c = bus;
	uint64_t v = f->w[0];

	c->features = v;
	if (c->has_pf)
		v |= (uint64_t)1 << VHOST_USER_F_PROTOCOL_FEATURES;
	return bus_error(tell_u64(c, VHOST_USER_SET_FEATURES, v));
}

static int bus_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct vhu_client *c = bus;
	struct vhu_config *q = &c->out.p.config;
	const struct vhu_config *a = &c->sock.in.p.config;

	if (!has(c, VHOST_USER_PROTOCOL_F_CONFIG))
		return VIO_E_UNSUPP;
	if (len > VHU_CONFIG_MAX)
		return VIO_E_INVAL;
	vhu_msg_init(&c->out, VHOST_USER_GET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + len);
	q->offset = off;
	q->size = len;
	/* An answer without data is how a back end refuses. */
	if (ask(c, (uint32_t)VHU_CONFIG_HDR + len))
		return VIO_E_IO;
	memcpy(dst, a->data, len);
	return VIO_OK;
}

static int bus_config_write(void *bus, uint32_t off, const void *src,
			    uint32_t len)
{
	struct vhu_client *c = bus;
	struct vhu_config *q = &c->out.p.config;

	if (!has(c, VHOST_USER_PROTOCOL_F_CONFIG))
		return VIO_E_UNSUPP;
	if (len > VHU_CONFIG_MAX)
		return VIO_E_INVAL;
	vhu_msg_init(&c->out, VHOST_USER_SET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + len);
	q->offset = off;
	q->size = len;
	q->flags = VHU_CONFIG_WRITABLE;
	memcpy(q->data, src, len);
	return bus_error(tell(c));
}

static int bus_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	struct vhu_client *c = bus;

	*size = index < c->nr_queues ? c->conf.queue_size_max : 0;
	return VIO_OK;
}

static int bus_queue_start(void *bus, uint16_t index,
			   const struct vio_queue_layout *layout)
{
	struct vhu_client *c = bus;
	struct ring *r;

	if (index >= c->nr_queues)
		return VIO_E_INVAL;
	r = &c->ring[index];
	if (r->kick < 0)
		r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->call < 0)
		r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick < 0 || r->call < 0)
		return VIO_E_IO;
	r->layout = *layout;
	r->wanted = true;
	return VIO_OK;
}

static void bus_notify(void *bus, uint16_t index)
{
	struct vhu_client *c = bus;
	uint64_t one = 1;

	/* Full means: the back end has not even seen the last one. */
	while (write(c->ring[index].kick, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

static int bus_wait(void *bus, uint16_t index)
{
	struct vhu_client *c = bus;
	struct pollfd p[2] = {
		{ .fd = c->ring[index].call, .events = POLLIN },
		{ .fd = c->sock.fd, .events = POLLRDHUP },
	};
	bool runs = p[0].fd >= 0;
	uint64_t count;
	int r;

	/* Who waits without a ring polls a status: wait a little. */
	r = poll(p, 2, runs ? c->conf.timeout_ms : 1);
	if (r < 0)
		return errno == EINTR ? VIO_OK : VIO_E_IO;
	if (p[1].revents && c->conf.reconnect_ms)
		return bus_error(vhu_client_reconnect(c,
						      c->conf.reconnect_ms));
	if (p[1].revents || (r == 0 && runs))
		return VIO_E_IO;
	if (runs && read(p[0].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return VIO_E_IO;
	return VIO_OK;
}

const struct vio_bus_ops vhu_client_bus = {
	.get_status = bus_get_status,
	.set_status = bus_set_status,
	.get_features = bus_get_features,
	.set_features = bus_set_features,
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.queue_max = bus_queue_max,
	.queue_start = bus_queue_start,
	.notify = bus_notify,
	.wait = bus_wait,
};

/* -- what the back end tells unasked ------------------------------------- */

static int open_events(struct vhu_client *c)
{
	int pair[2], err;

	if (!has(c, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	vhu_sock_init(&c->events, pair[0]);
	vhu_msg_init(&c->out, VHOST_USER_SET_BACKEND_REQ_FD, 0, 0);
	c->out.fd[0] = pair[1];
	c->out.nr_fds = 1;
	err = tell(c);
	close(pair[1]);
	return err;
}

/* One request of the back end: 1 for a configuration change, else 0. */
static int take_event(struct vhu_client *c)
{
	const struct vhu_msg *in = &c->events.in;
	const struct vhu_rule *rule = vhu_backend_rule(in->hdr.request);
	bool known = vhu_check_msg(rule, in, c->pf) == VHU_FINE &&
		     in->hdr.request ==
		     VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
	int err = 0;

	if (in->hdr.flags & VHU_NEED_REPLY) {
		vhu_msg_init(&c->out, in->hdr.request, VHU_REPLY,
			     sizeof(uint64_t));
		c->out.p.u64 = !known;
		err = vhu_sock_send(c->events.fd, &c->out,
				    c->conf.timeout_ms);
	}
	return err ? err : known;
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

/* -- life cycle ---------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int agree(struct vhu_client *c)
{
	uint64_t wanted = WANTED & ~c->conf.protocol_off, pf, queues;
	int err;

	err = ask_u64(c, VHOST_USER_GET_FEATURES, &c->offered);
	if (err)
		return err;
	c->has_pf = c->offered >> VHOST_USER_F_PROTOCOL_FEATURES & 1;
	if (c->has_pf) {
		err = ask_u64(c, VHOST_USER_GET_PROTOCOL_FEATURES, &pf);
		if (!err)
			err = tell_u64(c, VHOST_USER_SET_PROTOCOL_FEATURES,
				       pf & wanted);
		if (err)
			return err;
		c->pf = pf & wanted;
	}
	vhu_msg_init(&c->out, VHOST_USER_SET_OWNER, 0, 0);
	err = tell(c);
	if (!err)
		err = open_events(c);
	if (err || !has(c, VHOST_USER_PROTOCOL_F_MQ))
		return err;
	err = ask_u64(c, VHOST_USER_GET_QUEUE_NUM, &queues);
	if (err)
		return err;
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
	c->nr_queues = 1;
	c->inflight_fd = -1;
	vhu_sock_init(&c->events, -1);
	if (!c->conf.timeout_ms)
		c->conf.timeout_ms = VHU_SEND_TIMEOUT_MS;
	if (!c->conf.queue_size_max)
		c->conf.queue_size_max = QUEUE_SIZE_MAX;
	for (i = 0; i < VHU_CLIENT_QUEUES; i++)
		c->ring[i].kick = c->ring[i].call = -1;
	fd = conf->socket_path ? connect_to(conf->socket_path)
			       : conf->socket_fd;
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
	forget_inflight(c);
	for (i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (c->ring[i].kick >= 0)
			close(c->ring[i].kick);
		if (c->ring[i].call >= 0)
			close(c->ring[i].call);
	}
	free(c);
}

/* -- another back end in the place of one that died ---------------------- */

/* All that the dead one had been told, in the order of a start. */
static int tell_again(struct vhu_client *c)
{
	unsigned had = c->nr_queues, i;
	int err;

	c->pf = 0;
	vhu_sock_fini(&c->events);
	vhu_sock_init(&c->events, -1);
	err = agree(c);
	if (err)
		return err;
	if (c->features & ~c->offered || c->nr_queues < had)
		return -ENOTSUP;
	err = bus_set_features(c, &(struct vio_features){ { c->features, 0 } });
	if (!err && c->status & VIRTIO_STATUS_DRIVER_OK) {
		for (i = 0; i < VHU_CLIENT_QUEUES; i++)
			c->ring[i].running = false;
		err = start(c);
	}
	if (!err && has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = tell_u64(c, VHOST_USER_SET_STATUS, c->status);
	return err ? -EIO : 0;
}

static int try_again(struct vhu_client *c)
{
	int fd = connect_to(c->conf.socket_path);

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
		bus_notify(c, (uint16_t)i);
		/* Full means: it is signalled already. */
		while (write(c->ring[i].call, &one, sizeof(one)) < 0 &&
		       errno == EINTR)
			;
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

int vhu_client_reconnect(struct vhu_client *c, int timeout_ms)
{
	bool in_order = c->features >> VIRTIO_F_IN_ORDER & 1;
	bool known = c->inflight_fd >= 0 || (in_order && !is_packed(c));
	uint64_t end = now_ms() + (uint64_t)timeout_ms;
	int err;

	if (!c->conf.socket_path ||
	    (c->status & VIRTIO_STATUS_DRIVER_OK && !known))
		return -EOPNOTSUPP;
	for (;;) {
		err = try_again(c);
		if (!err || err == -ENOTSUP || now_ms() >= end)
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

unsigned vhu_client_queues(const struct vhu_client *c)
{
	return c->nr_queues;
}

uint64_t vhu_client_protocol_features(const struct vhu_client *c)
{
	return c->pf;
}

int vhu_client_call_fd(const struct vhu_client *c, uint16_t index)
{
	return index < VHU_CLIENT_QUEUES ? c->ring[index].call : -1;
}
