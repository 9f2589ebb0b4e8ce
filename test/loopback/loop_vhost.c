/* SPDX-License-Identifier: MIT */
/*
 * The bus of vhost-user: our front end over our back end, message by message,
 * at the two ends of a socket. The back end reads its messages on a thread of
 * its own, but the two never run at once: the front end asks for an answer to
 * each message, and waits for it. So schedules are as seeded as elsewhere.
 *
 * Where buffers lie out of the device's reach (loop_bounce()), an IOMMU is
 * before it whose entries are missed one by one.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/vhu.h>
#include <vireo/vhu_client.h>

/* Longer than any machine is busy; nobody waits for it to pass. */
#define TIMEOUT_MS	60000

const bool loop_legacy = false;
const bool loop_narrow = true;

struct loop_vhost {
	struct vhu_server *server;
	struct vhu_client *client;
	pthread_t thread;		/* the server's */
	int kick[LOOP_QUEUES];		/* what it watches; -1: nothing */
	uint64_t heard[LOOP_QUEUES];	/* notifications, by the driver */
};

static struct vhu_client *client_of(void *bus)
{
	return ((struct loop *)bus)->side.vhost->client;
}

/* -- the back end's surroundings ------------------------------------------ */

static int env_watch(void *env, unsigned queue, int fd)
{
	struct loop *l = env;

	l->side.vhost->kick[queue] = fd;
	l->started[queue] = true;
	return 0;
}

static void env_unwatch(void *env, unsigned queue)
{
	struct loop *l = env;

	l->side.vhost->kick[queue] = -1;
	l->started[queue] = false;
}

/* The front end waits meanwhile: the world goes on here. */
static int env_drain(void *env, unsigned queue)
{
	struct loop *l = env;

	while (l->queue[queue].inflight)
		if (!loop_step(l))
			return -1;
	return 0;
}

static void env_wake(void *env, unsigned queue)
{
	struct loop *l = env;

	l->kicked[queue] = true;
}

static const struct vhu_env_ops env_ops = {
	.watch_kick = env_watch,
	.unwatch_kick = env_unwatch,
	.drain = env_drain,
	.queue_wake = env_wake,
};

/* Until the front end hangs up. */
static void *serve(void *arg)
{
	struct loop_vhost *v = arg;

	do {
		struct pollfd p = { .fd = vhu_server_fd(v->server),
				    .events = POLLIN };

		CHECK_EQ(poll(&p, 1, -1), 1);
	} while (vhu_server_readable(v->server) == 0);
	return NULL;
}

/* -- who moves next -------------------------------------------------------- */

static enum vio_service service(struct loop *l, unsigned queue, unsigned max)
{
	return vhu_queue_service(l->side.vhost->server, queue, max);
}

/* What the back end asks; not while it stops, when we wait for its answer. */
static bool listen_to_it(struct loop *l)
{
	struct loop_vhost *v = l->side.vhost;
	struct pollfd p = { .events = POLLIN };
	int changes;

	if (!v->client || pthread_equal(pthread_self(), v->thread))
		return false;
	p.fd = vhu_client_event_fd(v->client);
	if (poll(&p, 1, 0) != 1)
		return false;
	changes = vhu_client_events(v->client);
	CHECK_GE(changes, 0);
	l->config_changes += (unsigned)changes;
	return true;
}

unsigned loop_config_changes(struct loop *l)
{
	listen_to_it(l);
	return l->config_changes;
}

/* -- the bus --------------------------------------------------------------- */

static int bus_get_status(void *bus, uint32_t *status)
{
	return vhu_client_bus.get_status(client_of(bus), status);
}

static int bus_set_status(void *bus, uint32_t status)
{
	return vhu_client_bus.set_status(client_of(bus), status);
}

static int bus_get_features(void *bus, struct vio_features *f)
{
	return vhu_client_bus.get_features(client_of(bus), f);
}

static int bus_set_features(void *bus, const struct vio_features *f)
{
	return vhu_client_bus.set_features(client_of(bus), f);
}

static int bus_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	return vhu_client_bus.config_read(client_of(bus), off, dst, len);
}

static int bus_config_write(void *bus, uint32_t off, const void *src,
			    uint32_t len)
{
	return vhu_client_bus.config_write(client_of(bus), off, src, len);
}

static int bus_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	return vhu_client_bus.queue_max(client_of(bus), index, size);
}

static int bus_queue_start(void *bus, uint16_t index,
			   const struct vio_queue_layout *layout)
{
	return vhu_client_bus.queue_start(client_of(bus), index, layout);
}

static void bus_notify(void *bus, uint16_t index, uint16_t next)
{
	struct loop *l = bus;
	struct loop_vhost *v = l->side.vhost;
	struct pollfd p = { .fd = v->kick[index], .events = POLLIN };

	/* core.driver.device-initialization.6 */
	CHECK(l->early ||
	      vio_dev_status(l->dev) & VIRTIO_STATUS_DRIVER_OK);
	vhu_client_bus.notify(v->client, index, next);
	if (p.fd < 0)
		return;
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK(vhu_queue_kicked(v->server, index));
	l->kicked[index] = true;
}

/* The queue's count spares a look at the descriptor at each step. */
static int bus_wait(void *bus, uint16_t index)
{
	struct loop *l = bus;
	uint64_t *heard = &l->side.vhost->heard[index], count;
	bool more = true;

	if (!(vio_dev_status(l->dev) & VIRTIO_STATUS_DRIVER_OK))
		return loop_step(l) ? VIO_OK : VIO_E_IO;
	while (more && *heard == l->queue[index].stats.notifications)
		more = loop_step(l);
	*heard = l->queue[index].stats.notifications;
	return read(vhu_client_call_fd(client_of(bus), index), &count,
		    sizeof(count)) == sizeof(count) ? VIO_OK : VIO_E_IO;
}

struct vio_bus_ops loop_bus = {
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

/* -- the two ends ---------------------------------------------------------- */

static void detach(struct loop *l)
{
	struct loop_vhost *v = l->side.vhost;
	struct vhu_client *c = v->client;

	v->client = NULL;
	vhu_client_close(c);
	CHECK_EQ(pthread_join(v->thread, NULL), 0);
	vhu_server_detach(v->server);
	vhu_server_destroy(v->server);
	free(v);
}

/* The driver's rings lie in the first region; the others are added to it. */
static void connect_to(struct loop *l, struct loop_vhost *v, int fd)
{
	struct vio_window w[LOOP_REGIONS];
	struct vhu_client_conf conf = {
		.socket_fd = fd,
		.mem_fd = l->mem_fd,
		.queue_size_max = l->limits.size_max,
		.timeout_ms = TIMEOUT_MS,
		.iommu = l->own,
	};
	uint64_t off = 0;
	unsigned i;

	for (i = 0; i < LOOP_REGIONS; i++) {
		w[i] = (struct vio_window){ l->window.host + off,
					    l->region[i].addr,
					    l->region[i].size };
		off += w[i].size;
	}
	conf.window = w[0];
	CHECK_EQ(vhu_client_open(&v->client, &conf), 0);
	for (i = 1; i < LOOP_REGIONS; i++)
		CHECK_EQ(vhu_client_add_memory(v->client, &w[i], l->mem_fd,
				(uint64_t)(w[i].host - w[0].host)), 0);
}

void loop_attach(struct loop *l, struct vio_dev *dev)
{
	struct loop_vhost *v = calloc(1, sizeof(*v));
	struct vhu_conf conf = {
		.dev = dev, .env = &env_ops, .env_ctx = l, .iommu = l->own,
	};
	int pair[2];

	CHECK(v);
	l->side.vhost = v;
	l->service = service;
	l->bus_step = listen_to_it;
	l->detach = detach;
	loop_adopt(l, dev);
	/* The protocol has no word for it: doc/standard-notes.md */
	vio_feature_clear(&dev->offered, VIRTIO_F_SUSPEND);
	for (unsigned i = 0; i < LOOP_QUEUES; i++)
		v->kick[i] = -1;
	conf.log = l->log;
	CHECK_EQ(vhu_server_create(&v->server, &conf), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(vhu_server_attach(v->server, pair[0]), 0);
	CHECK_EQ(pthread_create(&v->thread, NULL, serve, v), 0);
	connect_to(l, v, pair[1]);
}
