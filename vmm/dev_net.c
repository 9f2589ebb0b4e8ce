/* SPDX-License-Identifier: MIT */
/* A network card in the machine: the wiring of device and wire. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/netdev.h"
#include "host/log.h"
#include "vmm/devices.h"

enum { QUEUE_SIZE = 256, SEG_MAX = 64, QUEUES = 3 };

struct dev_net {
	struct dev dev;
	struct vio_net net;
	struct netdev *wire;
	struct vio_queue *queue;
	unsigned char *scratch;	/* for packets that are cut here */
	bool attached;
};

static struct dev_net *self(const struct dev *d)
{
	return vio_container_of(d, struct dev_net, dev);
}

static int net_start(struct dev *d)
{
	struct dev_net *n = self(d);
	int err = 0;

	if (n->wire->ops->attach)
		err = n->wire->ops->attach(n->wire, 0, &d->worker.loop);
	if (err)
		log_err("the network does not start: %s", strerror(-err));
	n->attached = !err;
	return err;
}

static void net_stop(struct dev *d)
{
	struct dev_net *n = self(d);

	if (n->attached && n->wire->ops->detach)
		n->wire->ops->detach(n->wire, 0);
	n->attached = false;
}

static void net_stats(const struct dev *d, struct stats_values *v)
{
	const struct vio_net_stats *s = &self(d)->net.pair[0].stats;

	v->requests = s->tx_packets + s->rx_packets;
	v->bytes_read = s->rx_bytes;
	v->bytes_written = s->tx_bytes;
	v->errors = s->tx_malformed + s->tx_dropped + s->rx_no_room +
		    s->rx_too_long + s->rx_malformed;
}

static void net_close(struct dev *d)
{
	struct dev_net *n = self(d);

	if (n->wire)
		netdev_close(n->wire);
	daemon_queues_free(n->queue);
	free(n->scratch);
	free(n);
}

#define FEATURE(name) { VIRTIO_NET_F_ ## name, "VIRTIO_NET_F_" #name }

static const struct daemon_feature features[] = {
	FEATURE(CSUM), FEATURE(GUEST_CSUM), FEATURE(MTU), FEATURE(MAC),
	FEATURE(HOST_TSO4), FEATURE(HOST_TSO6), FEATURE(GUEST_TSO4),
	FEATURE(GUEST_TSO6), FEATURE(MRG_RXBUF), FEATURE(STATUS),
	FEATURE(CTRL_VQ), { 0, NULL }
};

static const struct dev_type net_type = {
	.name = "net", .features = features, .start = net_start,
	.stop = net_stop, .stats = net_stats, .close = net_close,
};

static int make_device(struct dev_net *n)
{
	const struct vio_queue_limits limits = {
		.size_max = QUEUE_SIZE, .seg_max = SEG_MAX,
		.ctx_size = vio_net_ctx_size,
	};
	uint32_t pid = (uint32_t)getpid();
	/* Locally administered, and this machine's own. */
	struct vio_net_conf conf = {
		.mac = { 0x52, 0x55, (uint8_t)(pid >> 24),
			 (uint8_t)(pid >> 16), (uint8_t)(pid >> 8),
			 (uint8_t)pid },
		.mtu = n->wire->mtu, .offloads = n->wire->offloads,
	};

	n->scratch = malloc(VIO_NET_PACKET_MAX);
	n->queue = daemon_queues_make(&n->net.dev, QUEUES, &limits);
	if (!n->queue || !n->scratch)
		return -ENOMEM;
	conf.scratch = n->scratch;
	if (vio_net_init(&n->net, &conf, n->queue, &n->wire->io, n->wire))
		return -EINVAL;
	n->wire->net = &n->net;
	return 0;
}

int dev_net_open(struct dev **d, const struct dev_net_conf *c)
{
	const struct netdev_conf conf = { .kind = c->wire, .pairs = 1 };
	struct dev_net *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return -ENOMEM;
	err = netdev_open(&n->wire, &conf);
	if (!err)
		err = make_device(n);
	if (err) {
		net_close(&n->dev);
		return err;
	}
	err = dev_open(&n->dev, &net_type, &n->net.dev, c->stats);
	if (err)
		dev_close(&n->dev);
	else
		*d = &n->dev;
	return err;
}

const struct netdev *dev_net_wire(const struct dev *d)
{
	return self(d)->wire;
}
