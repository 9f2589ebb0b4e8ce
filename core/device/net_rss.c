/* SPDX-License-Identifier: MIT */
/*
 * net_rss.c - the commands that say how many pairs are used, and which packet
 * goes to which (standard: 5.1.6.5.5 to 5.1.6.5.7): copied and checked whole
 * before they take effect. What follows from them is in net_steer.c.
 */
#include "core/device/net_hash.h"
#include "core/device/net_int.h"
#include "core/base/string.h"

static void learn(struct vio_net *net, bool on)
{
	__atomic_store_n(&net->learns, on, __ATOMIC_RELAXED);
}

/* Forget which flow was sent where: its queue may be in use no more. */
static void forget_flows(struct vio_net *net)
{
	for (unsigned i = 0; i < VIO_NET_FLOWS; i++)
		__atomic_store_n(&net->flow[i], 0, __ATOMIC_RELAXED);
}

void vio_net_steering_tell(const struct vio_net *net)
{
	if (net->backend && net->backend->steering)
		net->backend->steering(net->backend_ctx, &net->steering);
}

void vio_net_steering_reset(struct vio_net *net)
{
	/* Asked of the features here: packets come while they change. */
	const bool untold = !vio_net_is_told_pairs(net);

	net->steering = (struct vio_net_steering){
		.untold = untold, .pairs = 1,
	};
	learn(net, net->conf.pairs > 1 && untold);
	forget_flows(net);
	vio_net_steering_tell(net);
}

static bool set_pairs(struct vio_net *net, struct vio_cursor *c)
{
	vio_le16 wire;
	uint16_t n;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_MQ) ||
	    c->left != sizeof(wire) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	n = vio_dev_from16(&net->dev, wire);
	if (n < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || n > net->conf.pairs)
		return false;
	net->steering.rss = false;
	net->steering.pairs = n;
	forget_flows(net);
	learn(net, n > 1);
	return true;
}

/* The key, with its length before it, and nothing behind. */
static bool read_key(struct vio_cursor *c, uint8_t *key, uint8_t *len)
{
	memset(key, 0, VIO_NET_HASH_KEY);
	return vio_cursor_read(c, len, 1) && *len <= VIO_NET_HASH_KEY &&
	       c->left == *len && vio_cursor_read(c, key, *len);
}

static bool read_table(const struct vio_net *net, struct vio_cursor *c,
		       struct vio_net_indirection *t)
{
	vio_le16 wire[VIO_NET_RSS_TABLE];
	unsigned n = t->mask + 1u;

	if (n > VIO_NET_RSS_TABLE || (n & t->mask) ||
	    t->unclassified >= net->conf.pairs ||
	    !vio_cursor_read(c, wire, n * (uint32_t)sizeof(wire[0])))
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint16_t id = vio_dev_from16(&net->dev, wire[i]);

		if (id >= net->conf.pairs)
			return false;
		t->pair[i] = (uint8_t)id;
	}
	return true;
}

static bool set_rss(struct vio_net *net, struct vio_cursor *c)
{
	struct vio_net_steering *s = &net->steering;
	struct virtio_net_rss_config_head head;
	struct vio_net_indirection t = { .mask = 0 };
	uint8_t key[VIO_NET_HASH_KEY], key_len;
	uint32_t types;
	vio_le16 wire;
	uint16_t n;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_RSS) ||
	    !vio_cursor_read(c, &head, sizeof(head)))
		return false;
	types = vio_dev_from32(&net->dev, head.hash_types);
	t.mask = vio_dev_from16(&net->dev, head.indirection_table_mask);
	t.unclassified = vio_dev_from16(&net->dev, head.unclassified_queue);
	if (types & ~VIO_NET_HASH_TYPES || !read_table(net, c, &t) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)) ||
	    !read_key(c, key, &key_len))
		return false;
	n = vio_dev_from16(&net->dev, wire);
	if (!n || n > net->conf.pairs)
		return false;
	s->rss = true;
	s->hash_types = types;
	s->table = t;
	vio_net_toeplitz_set(&s->key, key, key_len);
	learn(net, false);
	return true;
}

static bool set_hash(struct vio_net *net, struct vio_cursor *c)
{
	uint8_t key[VIO_NET_HASH_KEY], key_len, reserved[8], any = 0;
	vio_le32 wire;
	uint32_t types;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_HASH_REPORT) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)) ||
	    !vio_cursor_read(c, reserved, sizeof(reserved)) ||
	    !read_key(c, key, &key_len))
		return false;
	for (unsigned i = 0; i < sizeof(reserved); i++)
		any |= reserved[i];
	types = vio_dev_from32(&net->dev, wire);
	if (any || types & ~VIO_NET_HASH_TYPES)
		return false;
	net->steering.hash_types = types;
	vio_net_toeplitz_set(&net->steering.key, key, key_len);
	return true;
}

bool vio_net_set_mq(struct vio_net *net, uint8_t command,
		    struct vio_cursor *c)
{
	bool ok = false;

	switch (command) {
	case VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		ok = set_pairs(net, c);
		break;
	case VIRTIO_NET_CTRL_MQ_RSS_CONFIG:
		ok = set_rss(net, c);
		break;
	case VIRTIO_NET_CTRL_MQ_HASH_CONFIG:
		ok = set_hash(net, c);
		break;
	}
	if (ok)
		vio_net_steering_tell(net);
	return ok;
}
