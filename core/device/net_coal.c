/* SPDX-License-Identifier: MIT */
/*
 * net_coal.c - notifications that wait until there are more packets, or for a
 * time (standard: 5.1.6.5.9). What a queue withholds is its own business;
 * here is decided when. Knows no ring, and no clock but the one that it asks
 * to be called by.
 *
 * Parameters are set on the control queue's thread and read on the queues'.
 */
#include "core/device/net_int.h"
#include "core/base/shared64.h"

enum { ALL_RX, ALL_TX };

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/* Packets that went through a queue so far. */
static uint64_t packets(const struct vio_net *net, const struct vio_queue *q)
{
	return q->index % 2 ? q->stats.requests :
			      net->pair[q->index / 2].stats.rx_packets;
}

static bool is_due(const struct vio_net *net, const struct vio_queue *q)
{
	const struct vio_net_coal *c = &net->coal[q->index];
	uint32_t max = load(&c->packets);

	return c->due || !max || !load(&c->usecs) ||
	       packets(net, q) - c->told >= max;
}

bool vio_net_moderate(struct vio_dev *dev, struct vio_queue *q)
{
	struct vio_net *net = vio_container_of(dev, struct vio_net, dev);
	struct vio_net_coal *c;

	if (!vio_net_carries(net, q->index) || !net->conf.timer)
		return false;
	c = &net->coal[q->index];
	if (is_due(net, q)) {
		c->told = packets(net, q);
		return false;
	}
	if (!c->armed) {
		c->armed = true;
		c->armed_usecs = load(&c->usecs);
		net->conf.timer->arm(net->conf.timer_ctx, q->index,
				     c->armed_usecs);
	}
	return true;
}

static void tell(struct vio_net *net, struct vio_queue *q)
{
	struct vio_net_coal *c = &net->coal[q->index];

	c->due = true;
	vio_queue_notify_withheld(q);
	c->due = false;
}

void vio_net_time(struct vio_net *net, unsigned queue)
{
	if (queue >= vio_net_ioqs(net))
		return;
	net->coal[queue].armed = false;
	tell(net, &net->dev.queue[queue]);
}

/*
 * The parameters may be others now, and the time shorter. A time that runs is
 * left alone otherwise: each kick comes here, and would put it off for ever.
 */
void vio_net_coal_check(struct vio_net *net, struct vio_queue *q)
{
	struct vio_net_coal *c = &net->coal[q->index];

	if (!vio_net_carries(net, q->index))
		return;
	if (load(&c->usecs) < c->armed_usecs)
		c->armed = false;
	vio_queue_notify_withheld(q);
}

static void inherit(struct vio_net *net, unsigned queue)
{
	unsigned all = queue % 2 ? ALL_TX : ALL_RX;

	store(&net->coal[queue].packets, load(&net->coal_all[all].packets));
	store(&net->coal[queue].usecs, load(&net->coal_all[all].usecs));
}

/*
 * net.device.notifications-coalescing.5 and .6: what was set for the queue
 * alone is forgotten, unless it only sleeps. What it withholds is not: nobody
 * else would tell.
 */
void vio_net_coal_stop(struct vio_net *net, struct vio_queue *q)
{
	if (vio_dev_status(&net->dev) & VIRTIO_STATUS_DRIVER_OK)
		tell(net, q);
	q->withheld = false;
	net->coal[q->index].armed = false;
	if (!net->dev.suspending)
		inherit(net, q->index);
}

void vio_net_coal_reset(struct vio_net *net)
{
	for (unsigned i = 0; i < VIO_ARRAY_LEN(net->coal_all); i++) {
		store(&net->coal_all[i].packets, 0);
		store(&net->coal_all[i].usecs, 0);
	}
	for (unsigned i = 0; i < vio_net_ioqs(net); i++)
		inherit(net, i);
}

/* -- commands ------------------------------------------------------------ */

static void set(struct vio_net *net, unsigned queue, uint32_t max_packets,
		uint32_t max_usecs)
{
	store(&net->coal[queue].packets, max_packets);
	store(&net->coal[queue].usecs, max_usecs);
	/* It looks whether it is time now. */
	vio_dev_queue_ready(&net->dev, &net->dev.queue[queue]);
}

static bool set_all(struct vio_net *net, unsigned all, struct vio_cursor *c)
{
	struct virtio_net_ctrl_coal wire;
	uint32_t max_packets, max_usecs;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_NOTF_COAL) ||
	    c->left != sizeof(wire) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	max_packets = vio_dev_from32(&net->dev, wire.max_packets);
	max_usecs = vio_dev_from32(&net->dev, wire.max_usecs);
	store(&net->coal_all[all].packets, max_packets);
	store(&net->coal_all[all].usecs, max_usecs);
	for (unsigned i = all; i < vio_net_ioqs(net); i += 2)
		set(net, i, max_packets, max_usecs);
	return true;
}

/* One of the queues that are started and carry packets, or a lie. */
static bool read_index(const struct vio_net *net, struct vio_cursor *c,
		       uint16_t *index)
{
	vio_le16 wire;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_VQ_NOTF_COAL) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)) ||
	    !vio_cursor_skip(c, sizeof(wire)))
		return false;
	*index = vio_dev_from16(&net->dev, wire);
	return vio_net_carries(net, *index) &&
	       __atomic_load_n(&net->dev.queue[*index].state,
			       __ATOMIC_RELAXED) == VIO_QUEUE_RUNNING;
}

static bool set_one(struct vio_net *net, struct vio_cursor *c)
{
	struct virtio_net_ctrl_coal wire;
	uint16_t index;

	if (!read_index(net, c, &index) || c->left != sizeof(wire) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	set(net, index, vio_dev_from32(&net->dev, wire.max_packets),
	    vio_dev_from32(&net->dev, wire.max_usecs));
	return true;
}

static bool get_one(struct vio_net *net, struct vio_cursor *c)
{
	struct virtio_net_ctrl_coal wire;
	uint32_t at = 0;
	uint16_t index;

	if (!read_index(net, c, &index) || c->left)
		return false;
	wire.max_packets = vio_dev_to32(&net->dev,
					load(&net->coal[index].packets));
	wire.max_usecs = vio_dev_to32(&net->dev,
				      load(&net->coal[index].usecs));
	return vio_net_answer(c, &at, &wire, sizeof(wire));
}

bool vio_net_set_coal(struct vio_net *net, uint8_t command,
		      struct vio_cursor *c)
{
	switch (command) {
	case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
		return set_all(net, ALL_TX, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
		return set_all(net, ALL_RX, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
		return set_one(net, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
		return get_one(net, c);
	default:
		return false;
	}
}
