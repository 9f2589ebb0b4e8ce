/* SPDX-License-Identifier: MIT */
/*
 * vhost/client.c - the front end's side of vhost-user as a bus for drivers.
 * It turns the bus's verbs into messages; it knows no device type, and of a
 * ring's layout no more than where the used index stands.
 */
#define _GNU_SOURCE	/* POLLRDHUP */
#include "vhost/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vireo/spec/split.h>
#include <vireo/queue.h>
#include <vireo/spec/virtio.h>

/* What a bus says of an errno. */
static int bus_error(int err)
{
	return err ? VIO_E_IO : VIO_OK;
}

/* -- rings ---------------------------------------------------------------- */

/* Our own address of one of the driver's. */
static void *host_addr(struct vhu_client *c, vio_addr a)
{
	if (vhu_client_has_iommu(c))
		return vhu_client_host_of(c, a.v);
	return c->conf.window.host + (a.v - c->conf.window.addr.v);
}

/* An address in a ring's set-up, as the protocol wants it. */
static uint64_t ring_addr(struct vhu_client *c, vio_addr a)
{
	return vhu_client_has_iommu(c) ? a.v : (uintptr_t)host_addr(c, a);
}

static int send_addr(struct vhu_client *c, uint16_t index)
{
	const struct vio_queue_layout *l = &c->ring[index].layout;

	vhu_msg_init(&c->out, VHOST_USER_SET_VRING_ADDR, 0,
		     sizeof(c->out.p.addr));
	c->out.p.addr.index = index;
	c->out.p.addr.desc = ring_addr(c, l->desc);
	c->out.p.addr.avail = ring_addr(c, l->driver);
	c->out.p.addr.used = ring_addr(c, l->device);
	if (c->log.fd >= 0) {
		c->out.p.addr.flags = VHU_VRING_F_LOG;
		c->out.p.addr.log =
			vhu_client_guest_of(c, host_addr(c, l->device));
	}
	return vhu_tell(c);
}

/* Features as the driver has them, and those that are ours. */
static int send_features(struct vhu_client *c)
{
	uint64_t v = c->features;

	if (c->has_pf)
		v |= (uint64_t)1 << VHOST_USER_F_PROTOCOL_FEATURES;
	if (c->log.fd >= 0)
		v |= (uint64_t)1 << VHOST_F_LOG_ALL;
	return vhu_tell_u64(c, VHOST_USER_SET_FEATURES, v);
}

/* Before the driver has its features, they will be told with the log's. */
int vhu_client_tell_logging(struct vhu_client *c)
{
	unsigned i;
	int err;

	if (!c->features)
		return 0;
	err = send_features(c);
	for (i = 0; i < VHU_CLIENT_QUEUES && !err; i++)
		if (c->ring[i].running)
			err = send_addr(c, (uint16_t)i);
	return err;
}

/* Have the back end record what is in flight, once for a driver's life. */
static int get_inflight(struct vhu_client *c)
{
	const struct vhu_msg *in = &c->sock.in;
	struct vhu_inflight *q = &c->out.p.inflight;
	unsigned i;
	int err;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
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
	err = vhu_ask(c, offsetof(struct vhu_inflight, queue_size) +
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
	return vhu_tell(c);
}

void vhu_client_forget_inflight(struct vhu_client *c)
{
	if (c->inflight_fd >= 0)
		close(c->inflight_fd);
	c->inflight_fd = -1;
}

bool vhu_client_is_packed(const struct vhu_client *c)
{
	return c->features >> VIRTIO_F_RING_PACKED & 1;
}

/*
 * Where a ring goes on. A split one that has run: all that is not used. A
 * packed one: where it was stopped, or where the record says; a new one has
 * both wrap counters at 1.
 */
static uint32_t base_of(struct vhu_client *c, const struct vhu_client_ring *r)
{
	const struct virtq_used *used = host_addr(c, r->layout.device);
	vio_le16 idx;

	if (vhu_client_is_packed(c))
		return r->base;
	if (!used)
		return 0;
	idx.raw = __atomic_load_n(&used->idx.raw, __ATOMIC_ACQUIRE);
	return vio_from_le16(idx);
}

static int start_ring(struct vhu_client *c, uint16_t index)
{
	struct vhu_client_ring *r = &c->ring[index];
	int err;

	err = vhu_client_tell_ring(c, &r->layout);
	if (!err)
		err = vhu_tell_state(c, VHOST_USER_SET_VRING_NUM, index,
				     r->layout.size);
	if (!err)
		err = vhu_tell_state(c, VHOST_USER_SET_VRING_BASE, index,
				 base_of(c, r));
	if (!err)
		err = send_addr(c, index);
	if (!err)
		err = vhu_tell_fd(c, VHOST_USER_SET_VRING_CALL, index, r->call);
	if (!err)
		err = vhu_tell_fd(c, VHOST_USER_SET_VRING_KICK, index, r->kick);
	/* Without protocol features a ring is enabled as soon as it starts. */
	if (!err && c->has_pf)
		err = vhu_tell_state(c, VHOST_USER_SET_VRING_ENABLE, index, 1);
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
		err = vhu_client_send_memory(c);
	for (i = 0; i < VHU_CLIENT_QUEUES && !err; i++)
		if (c->ring[i].wanted && !c->ring[i].running)
			err = start_ring(c, (uint16_t)i);
	return err;
}

static int stop_queue(struct vhu_client *c, uint16_t index, uint16_t *avail,
		      uint32_t request)
{
	int err;

	if (index >= VHU_CLIENT_QUEUES || !c->ring[index].running)
		return -EINVAL;
	vhu_msg_init(&c->out, request, 0, sizeof(c->out.p.state));
	c->out.p.state.index = index;
	err = vhu_ask(c, sizeof(c->out.p.state));
	if (err)
		return err;
	c->ring[index].running = false;
	c->ring[index].base = c->sock.in.p.state.num;
	*avail = (uint16_t)c->sock.in.p.state.num;
	return 0;
}

int vhu_client_stop_queue(struct vhu_client *c, uint16_t index,
			  uint16_t *avail)
{
	return stop_queue(c, index, avail, VHOST_USER_GET_VRING_BASE);
}

int vhu_client_leave_queue(struct vhu_client *c, uint16_t index,
			   uint16_t *avail)
{
	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN)
	    || c->inflight_fd < 0)
		return -EOPNOTSUPP;
	return stop_queue(c, index, avail,
			  VHOST_USER_GET_VRING_BASE_SKIP_DRAIN);
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
	vhu_client_forget_inflight(c);
	if (!err && vhu_client_has(c, VHOST_USER_PROTOCOL_F_RESET_DEVICE)) {
		vhu_msg_init(&c->out, VHOST_USER_RESET_DEVICE, 0, 0);
		err = vhu_tell(c);
	}
	vhu_client_unshow(c);
	return err;
}

/* -- the bus -------------------------------------------------------------- */

static int bus_get_status(void *bus, uint32_t *status)
{
	struct vhu_client *c = bus;
	uint64_t v = c->status;
	int err = 0;

	if (vhu_client_has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = vhu_ask_u64(c, VHOST_USER_GET_STATUS, &v);
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
	if (!err && vhu_client_has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = vhu_tell_u64(c, VHOST_USER_SET_STATUS, status);
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
	if (!c->conf.iommu)
		vio_feature_clear(f, VIRTIO_F_ACCESS_PLATFORM);
	return VIO_OK;
}

static int bus_set_features(void *bus, const struct vio_features *f)
{
	struct vhu_client *c = bus;

	c->features = f->w[0];
	return bus_error(send_features(c));
}

/* From the start: the library of QEMU's back ends does not look at offsets. */
static int bus_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct vhu_client *c = bus;
	struct vhu_config *q = &c->out.p.config;
	const struct vhu_config *a = &c->sock.in.p.config;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_CONFIG))
		return VIO_E_UNSUPP;
	if (off > VHU_CONFIG_MAX || len > VHU_CONFIG_MAX - off)
		return VIO_E_INVAL;
	vhu_msg_init(&c->out, VHOST_USER_GET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + off + len);
	q->offset = 0;
	q->size = off + len;
	/* An answer without data is how a back end refuses. */
	if (vhu_ask(c, (uint32_t)VHU_CONFIG_HDR + off + len))
		return VIO_E_IO;
	memcpy(dst, a->data + off, len);
	return VIO_OK;
}

static int bus_config_write(void *bus, uint32_t off, const void *src,
			    uint32_t len)
{
	struct vhu_client *c = bus;
	struct vhu_config *q = &c->out.p.config;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_CONFIG))
		return VIO_E_UNSUPP;
	if (len > VHU_CONFIG_MAX)
		return VIO_E_INVAL;
	vhu_msg_init(&c->out, VHOST_USER_SET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + len);
	q->offset = off;
	q->size = len;
	q->flags = VHU_CONFIG_WRITABLE;
	memcpy(q->data, src, len);
	return bus_error(vhu_tell(c));
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
	struct vhu_client_ring *r;

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
	r->base = (uint32_t)VIO_QUEUE_NEW_PACKED << 16 | VIO_QUEUE_NEW_PACKED;
	r->wanted = true;
	return VIO_OK;
}

void vhu_client_notify(void *bus, uint16_t index, uint16_t next)
{
	struct vhu_client *c = bus;
	struct vhu_client_ring *r = &c->ring[index];
	uint64_t one = 1;

	(void)next;
	if (__atomic_load_n(&r->notified, __ATOMIC_ACQUIRE)) {
		__atomic_store_n((uint16_t *)r->notifier_page,
				 vio_to_le16(index).raw, __ATOMIC_RELEASE);
		return;
	}
	/* Full means: the back end has not even seen the last one. */
	while (write(r->kick, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int bus_wait(void *bus, uint16_t index)
{
	struct vhu_client *c = bus;
	struct pollfd p[3] = {
		{ .fd = c->ring[index].call, .events = POLLIN },
		{ .fd = c->sock.fd, .events = POLLRDHUP },
		{ .fd = c->conf.serve_events ? c->events.fd : -1,
		  .events = POLLIN },
	};
	bool runs = p[0].fd >= 0;
	uint64_t count;
	int r;

	/* Who waits without a ring polls a status: wait a little. */
	r = poll(p, 3, runs ? c->conf.timeout_ms : 1);
	if (r < 0)
		return errno == EINTR ? VIO_OK : VIO_E_IO;
	if (p[1].revents && c->conf.reconnect_ms)
		return bus_error(vhu_client_reconnect(c,
						      c->conf.reconnect_ms));
	if (p[1].revents || (r == 0 && runs))
		return VIO_E_IO;
	if (p[2].revents && vhu_client_serve(c) < 0)
		vhu_sock_fini(&c->events);
	if (runs && read(p[0].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return VIO_E_IO;
	return VIO_OK;
}

int vhu_client_set_mtu(struct vhu_client *c, uint16_t mtu)
{
	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_MTU))
		return -EOPNOTSUPP;
	return vhu_tell_u64(c, VHOST_USER_NET_SET_MTU, mtu);
}

int vhu_client_send_rarp(struct vhu_client *c, const uint8_t mac[6])
{
	uint64_t v = 0;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_RARP))
		return -EOPNOTSUPP;
	memcpy(&v, mac, 6);
	return vhu_tell_u64(c, VHOST_USER_SEND_RARP, v);
}

/* All that the dead one had been told, in the order of a start. */
int vhu_client_again(struct vhu_client *c)
{
	unsigned i;
	int err;

	err = vhu_client_send_log(c);
	if (!err)
		err = send_features(c);
	if (!err && c->status & VIRTIO_STATUS_DRIVER_OK) {
		for (i = 0; i < VHU_CLIENT_QUEUES; i++)
			c->ring[i].running = false;
		err = start(c);
	}
	if (!err && vhu_client_has(c, VHOST_USER_PROTOCOL_F_STATUS))
		err = vhu_tell_u64(c, VHOST_USER_SET_STATUS, c->status);
	return err;
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
	.notify = vhu_client_notify,
	.wait = bus_wait,
	.shm = vhu_client_bus_shm,
};
