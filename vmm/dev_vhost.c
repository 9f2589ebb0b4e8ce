/* SPDX-License-Identifier: MIT */
/*
 * A device in another process, over vhost-user. The guest's registers and
 * configuration are answered here; the rings are worked at there. What the
 * driver kicks is the back end's own eventfd; what the back end says by its
 * call descriptor becomes an interrupt of whatever kind the transport has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vireo/spec/blk.h>
#include <vireo/vhu_client.h>

#include "host/log.h"
#include "vmm/devices.h"

enum {
	CONFIG_MAX = 96,
	/* Of a disk, where erasing and zones begin; few back ends have more. */
	BLK_CONFIG_OLD = 60,
	QUEUE_SIZE = 256,
	AGAIN_NS = 200 * 1000 * 1000,	/* between attempts to reconnect */
};

struct vhost_call {
	struct dev_vhost *dev;
	unsigned index;
	struct loop_fd watch;
	bool watched;		/* here: it cannot go to the guest directly */
	bool running;
	uint64_t came;		/* events that were read here */
};

struct dev_vhost {
	struct dev dev;
	struct vio_dev vio;
	struct vio_dev_ops ops;		/* with the type's id */
	const struct dev_vhost_type *type;
	struct vhu_client *client;
	struct vio_queue *queues;
	struct vhost_call *calls;
	struct loop_fd events, socket;
	struct loop_timer again;	/* while the back end is away */
	unsigned char config[CONFIG_MAX];
	bool started, watching;
	bool stuck;		/* until the driver resets it */
};

static struct dev_vhost *self(const struct dev *d)
{
	return vio_container_of(d, struct dev_vhost, dev);
}

static struct dev_vhost *of_vio(const struct vio_dev *vio)
{
	return vio_container_of(vio, struct dev_vhost, vio);
}

static const struct vio_bus_ops *const bus = &vhu_client_bus;

static const struct dev_vhost_type types[] = {
	{ "net", 1, 2, 12 }, { "blk", 2, 1, 96 }, { "console", 3, 2, 12 },
	{ "rng", 4, 1, 0 }, { "vsock", 19, 2, 8 }, { "fs", 26, 2, 40 },
	{ NULL, 0, 0, 0 },
};

const struct dev_vhost_type *dev_vhost_type(const char *name, size_t len)
{
	const struct dev_vhost_type *t;

	for (t = types; t->name; t++)
		if (strlen(t->name) == len && !memcmp(t->name, name, len))
			return t;
	return NULL;
}

/* There is no going on with what the driver gave it: the driver is told. */
static void lost(struct dev_vhost *v)
{
	log_err("the back end of the %s device cannot go on; the guest has to reset it",
		v->type->name);
	vio_dev_needs_reset(&v->vio);
}

/* -- what the back end says ---------------------------------------------- */

static void on_call(void *ctx, uint32_t events)
{
	struct vhost_call *c = ctx;
	struct vio_dev *vio = &c->dev->vio;
	uint64_t n;

	(void)events;
	if (read(c->watch.fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	c->came++;
	vio->transport->queue_notify(vio->transport_ctx,
				     &vio->queue[c->index]);
}

static void watch_call(struct dev_vhost *v, struct vhost_call *c, bool on)
{
	struct loop *l = &v->dev.worker.loop;

	if (on == c->watched)
		return;
	if (!on)
		loop_fd_del(l, &c->watch);
	else if (loop_fd_add(l, &c->watch, EPOLLIN))
		return;
	c->watched = on;
}

/* Where do the back end's interrupts go, now? Past us, if that can be. */
static void route_call(struct dev_vhost *v, struct vhost_call *c)
{
	const struct dev *d = &v->dev;

	watch_call(v, c, !d->direct ||
		   !d->direct(d->direct_ctx, c->index, c->watch.fd));
}

static void vhost_rerouted(struct dev *d)
{
	struct dev_vhost *v = self(d);

	for (unsigned i = 0; i < v->vio.nr_queues; i++)
		if (v->calls[i].running)
			route_call(v, &v->calls[i]);
}

/* A back end need not know fields of features that it does not offer. */
static uint32_t config_len(const struct dev_vhost *v)
{
	struct vio_features offered;

	bus->get_features(v->client, &offered);
	if (v->type->id == VIRTIO_ID_BLOCK &&
	    !vio_has(&offered, VIRTIO_BLK_F_SECURE_ERASE) &&
	    !vio_has(&offered, VIRTIO_BLK_F_ZONED))
		return BLK_CONFIG_OLD;
	return v->type->config_len;
}

static int read_config(struct dev_vhost *v)
{
	if (!v->type->config_len)
		return 0;
	return bus->config_read(v->client, 0, v->config, config_len(v)) ?
		-EIO : 0;
}

/* -- whether it is there ------------------------------------------------- */

static int watch(struct dev_vhost *v)
{
	struct loop *l = &v->dev.worker.loop;
	int err;

	v->socket.fd = vhu_client_fd(v->client);
	v->events.fd = vhu_client_event_fd(v->client);
	err = loop_fd_add(l, &v->socket, EPOLLRDHUP);
	if (!err && v->events.fd >= 0) {
		err = loop_fd_add(l, &v->events, EPOLLIN);
		if (err)
			loop_fd_del(l, &v->socket);
	}
	v->watching = !err;
	return err;
}

static void unwatch(struct dev_vhost *v)
{
	struct loop *l = &v->dev.worker.loop;

	if (!v->watching)
		return;
	loop_fd_del(l, &v->socket);
	if (v->events.fd >= 0)
		loop_fd_del(l, &v->events);
	v->watching = false;
}

/*
 * One attempt; it comes again until there is a back end. What is in the rings
 * waits for it, and the guest with that. The eventfds of kicks and interrupts
 * are the same for its successor.
 */
static void reconnect(void *ctx)
{
	struct dev_vhost *v = ctx;
	int err = vhu_client_reconnect(v->client, 0);

	if (err && !vhu_client_connected(v->client) && err != -ENOTSUP &&
	    err != -EOPNOTSUPP) {
		loop_timer_set(&v->dev.worker.loop, &v->again, AGAIN_NS);
		return;
	}
	if (err) {
		v->stuck = true;
		lost(v);
		return;
	}
	log_info("the back end of the %s device is back", v->type->name);
	if (watch(v))
		lost(v);
}

static void away(struct dev_vhost *v)
{
	unwatch(v);
	log_warn("the back end of the %s device is gone; it is waited for",
		 v->type->name);
	loop_timer_set(&v->dev.worker.loop, &v->again, AGAIN_NS);
}

static void on_hangup(void *ctx, uint32_t events)
{
	(void)events;
	away(ctx);
}

static void on_event(void *ctx, uint32_t events)
{
	struct dev_vhost *v = ctx;
	int n = vhu_client_events(v->client);

	(void)events;
	if (n < 0)
		away(v);
	else if (n && !read_config(v))
		vio_dev_config_changed(&v->vio);
}

/* -- what the driver says ------------------------------------------------ */

static int check_features(struct vio_dev *vio, const struct vio_features *f)
{
	struct dev_vhost *v = of_vio(vio);

	return bus->set_features(v->client, f) ? VIO_E_PEER : VIO_OK;
}

static int config_write(struct vio_dev *vio, uint32_t off, const void *src,
			uint32_t len)
{
	struct dev_vhost *v = of_vio(vio);

	if (bus->config_write(v->client, off, src, len))
		return VIO_E_PEER;
	memcpy(v->config + off, src, len);
	return VIO_OK;
}

static void end_calls(struct dev_vhost *v)
{
	const struct dev *d = &v->dev;

	for (unsigned i = 0; i < v->vio.nr_queues; i++) {
		v->calls[i].running = false;
		if (d->direct)
			d->direct(d->direct_ctx, i, -1);
		watch_call(v, &v->calls[i], false);
	}
}

static void reset(struct vio_dev *vio)
{
	struct dev_vhost *v = of_vio(vio);

	end_calls(v);
	if (v->started && bus->set_status(v->client, 0))
		log_warn("the back end of the %s device does not stop",
			 v->type->name);
	v->started = false;
	/* Nothing is in flight any more: any back end will do. */
	if (v->stuck)
		loop_timer_set(&v->dev.worker.loop, &v->again, 0);
	v->stuck = false;
}

static int start_queue(struct dev_vhost *v, unsigned i)
{
	struct vhost_call *c = &v->calls[i];
	int err;

	err = bus->queue_start(v->client, (uint16_t)i,
			       &v->vio.queue[i].layout);
	if (err)
		return err;
	c->watch.fd = vhu_client_call_fd(v->client, (uint16_t)i);
	c->running = true;
	route_call(v, c);
	return 0;
}

/* The driver is ready: so are all rings that it will use. */
static void start_rings(struct dev_vhost *v)
{
	const uint32_t begun = VIRTIO_STATUS_ACKNOWLEDGE |
			       VIRTIO_STATUS_DRIVER |
			       VIRTIO_STATUS_FEATURES_OK;
	int err = bus->set_status(v->client, begun);

	for (unsigned i = 0; i < v->vio.nr_queues && !err; i++)
		if (v->vio.queue[i].state == VIO_QUEUE_RUNNING)
			err = start_queue(v, i);
	if (!err)
		err = bus->set_status(v->client,
				      begun | VIRTIO_STATUS_DRIVER_OK);
	v->started = true;
	if (err)
		lost(v);
}

/* Comes at DRIVER_OK, and with a kick that had no eventfd. */
static void vhost_kicked(struct dev *d, unsigned queue)
{
	struct dev_vhost *v = self(d);
	uint64_t one = 1;

	if (!(vio_dev_status(&v->vio) & VIRTIO_STATUS_DRIVER_OK))
		return;
	if (!v->started) {
		d->agreed = v->vio.driver.w[0];
		start_rings(v);
	}
	/* Full means: it is signalled already. */
	while (write(d->queue[queue].kick, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

/* -- life cycle ---------------------------------------------------------- */

static int vhost_start(struct dev *d)
{
	struct dev_vhost *v = self(d);

	v->events = (struct loop_fd){ .fn = on_event, .ctx = v };
	v->socket = (struct loop_fd){ .fn = on_hangup, .ctx = v };
	v->again = (struct loop_timer){ .fn = reconnect, .ctx = v };
	return watch(v);
}

static void vhost_stop(struct dev *d)
{
	struct dev_vhost *v = self(d);
	uint64_t came = 0;

	unwatch(v);
	loop_timer_cancel(&d->worker.loop, &v->again);
	for (unsigned i = 0; i < v->vio.nr_queues; i++)
		came += v->calls[i].came;
	log_debug("interrupts of the %s device that came by this program: %llu",
		  v->type->name, (unsigned long long)came);
}

static void vhost_close(struct dev *d)
{
	struct dev_vhost *v = self(d);

	vhu_client_close(v->client);
	daemon_queues_free(v->queues);
	free(v->calls);
	free(v);
}

static const struct dev_type vhost_type = {
	.name = "vhost-user", .modern_only = true, .start = vhost_start,
	.stop = vhost_stop, .kicked = vhost_kicked,
	.rerouted = vhost_rerouted, .close = vhost_close,
};

/* Features that concern transport and rings, and that we can pass on. */
static uint64_t passed_on(uint64_t offered)
{
	const uint64_t rings = 1ull << VIRTIO_F_INDIRECT_DESC |
			       1ull << VIRTIO_F_EVENT_IDX |
			       1ull << VIRTIO_F_VERSION_1 |
			       1ull << VIRTIO_F_RING_PACKED |
			       1ull << VIRTIO_F_IN_ORDER |
			       1ull << VIRTIO_F_ORDER_PLATFORM;
	const uint64_t types = (1ull << 24) - 1;

	return offered & (rings | types);
}

static int connect_to(struct dev_vhost *v, const char *path, struct ram *ram)
{
	const struct vhu_client_conf conf = {
		.socket_path = path, .mem_fd = ram->fd,
		.window = { .host = ram->host, .size = ram->span },
		.queue_size_max = QUEUE_SIZE,
		.queue_pairs = v->type->id == VIRTIO_ID_NET,
	};
	int err = vhu_client_open(&v->client, &conf);

	if (err)
		log_err("cannot connect to the %s back end at %s: %s",
			v->type->name, path, strerror(-err));
	else if (vhu_client_queues(v->client) < v->type->queues)
		err = -ENOTSUP;
	if (!err)
		err = read_config(v);
	if (err && v->client)
		log_err("the back end at %s is no %s device, or cannot tell its configuration and queues (CONFIG, MQ)",
			path, v->type->name);
	return err;
}

static int make_device(struct dev_vhost *v, const char *path)
{
	/* The rings are looked at, never worked at, here. */
	const struct vio_queue_limits limits = {
		.size_max = QUEUE_SIZE, .seg_max = 16,
	};
	unsigned n = vhu_client_queues(v->client);
	struct vio_features offered;

	bus->get_features(v->client, &offered);
	v->ops = (struct vio_dev_ops){
		.name = v->type->name, .id = v->type->id,
		.check_features = check_features, .reset = reset,
		.config_write = config_write,
	};
	v->queues = daemon_queues_make(&v->vio, n, &limits);
	v->calls = calloc(n, sizeof(*v->calls));
	if (!v->queues || !v->calls)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		v->calls[i].dev = v;
		v->calls[i].index = i;
		v->calls[i].watch.fn = on_call;
		v->calls[i].watch.ctx = &v->calls[i];
	}
	vio_dev_init(&v->vio, &v->ops, &offered, v->queues, (uint16_t)n,
		     v->config, v->type->config_len);
	v->vio.offered.w[0] = passed_on(offered.w[0]);
	v->vio.offered.w[1] = 0;
	if (vio_has(&v->vio.offered, VIRTIO_F_VERSION_1))
		return 0;
	log_err("the back end at %s is for legacy drivers only", path);
	return -ENOTSUP;
}

/* The back end is kicked by what the guest's kicks arrive at. */
static int use_kicks(struct dev_vhost *v)
{
	int err = 0;

	for (unsigned i = 0; i < v->vio.nr_queues && !err; i++)
		err = vhu_client_use_kick(v->client, (uint16_t)i,
					  v->dev.queue[i].kick);
	return err;
}

int dev_vhost_open(struct dev **d, const struct dev_vhost_conf *conf)
{
	struct dev_vhost *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->type = conf->type;
	err = connect_to(v, conf->path, conf->ram);
	if (!err)
		err = make_device(v, conf->path);
	if (err) {
		vhost_close(&v->dev);
		return err;
	}
	vio_feature_set(&v->dev.withheld, VIRTIO_F_RING_RESET);
	vio_feature_set(&v->dev.withheld, VIRTIO_F_NOTIFICATION_DATA);
	vio_feature_set(&v->dev.withheld, VIRTIO_F_SUSPEND);
	err = dev_open(&v->dev, &vhost_type, &v->vio, NULL);
	if (!err)
		err = use_kicks(v);
	if (err)
		dev_close(&v->dev);
	else
		*d = &v->dev;
	return err;
}
