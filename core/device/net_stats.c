/* SPDX-License-Identifier: MIT */
/*
 * net_stats.c - statistics for the driver (standard: 5.1.6.5.10): what is
 * counted elsewhere, in the standard's terms. Knows no ring and no packet.
 */
#include "core/device/net_int.h"
#include "core/base/shared64.h"
#include "core/base/string.h"

/* Entries of one command: some for each queue there can be. */
#define ENTRIES		(4 * (2 * VIO_NET_PAIRS + 1))
#define NUMBERS		6u	/* of the largest reply */

#define BIT(type)	((uint64_t)1 << VIRTIO_NET_STATS_TYPE_REPLY_ ## type)
#define OF_RX		(BIT(RX_BASIC) | BIT(RX_CSUM) | BIT(RX_GSO))
#define OF_TX		(BIT(TX_BASIC) | BIT(TX_CSUM) | BIT(TX_GSO))

struct wanted {
	uint16_t queue;
	uint64_t types;
};

static uint64_t get(const uint64_t *p)
{
	return vio_shared64_get(p);
}

static bool has_any(const struct vio_net *net, const uint8_t *bit,
		    unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (vio_dev_has(&net->dev, bit[i]))
			return true;
	return false;
}

/* Types of which the driver may ask, for a queue that carries packets. */
static uint64_t types_of(const struct vio_net *net, unsigned queue)
{
	static const uint8_t host[] = { VIRTIO_NET_F_HOST_TSO4,
					VIRTIO_NET_F_HOST_TSO6,
					VIRTIO_NET_F_HOST_USO };
	static const uint8_t guest[] = { VIRTIO_NET_F_GUEST_TSO4,
					 VIRTIO_NET_F_GUEST_TSO6 };
	uint64_t t = queue % 2 ? OF_TX : OF_RX;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_GUEST_CSUM))
		t &= ~BIT(RX_CSUM);
	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_CSUM))
		t &= ~BIT(TX_CSUM);
	if (!has_any(net, guest, VIO_ARRAY_LEN(guest)))
		t &= ~BIT(RX_GSO);
	if (!has_any(net, host, VIO_ARRAY_LEN(host)))
		t &= ~BIT(TX_GSO);
	return t;
}

/* -- the numbers, in the standard's order -------------------------------- */

static unsigned cvq(const struct vio_net *net, uint64_t *n)
{
	n[0] = get(&net->ctrl_commands);
	/* With this one: a reply is part of a command that succeeds. */
	n[1] = n[0] - get(&net->ctrl_refused);
	return VIRTIO_NET_STATS_CVQ_NR;
}

static unsigned rx_basic(const struct vio_queue *q,
			 const struct vio_net_stats *s, uint64_t *n)
{
	n[0] = get(&q->stats.wakes);
	n[1] = get(&s->rx_packets);
	n[2] = get(&s->rx_bytes);
	n[3] = get(&q->stats.notifications);
	n[4] = get(&s->rx_no_room) + get(&s->rx_too_long) +
	       get(&s->rx_malformed) + get(&s->rx_astray);
	n[5] = get(&s->rx_no_room);
	return VIRTIO_NET_STATS_RX_BASIC_NR;
}

static unsigned tx_basic(const struct vio_queue *q,
			 const struct vio_net_stats *s, uint64_t *n)
{
	n[0] = get(&q->stats.wakes);
	n[1] = get(&s->tx_packets);
	n[2] = get(&s->tx_bytes);
	n[3] = get(&q->stats.notifications);
	n[4] = get(&s->tx_malformed) + get(&s->tx_dropped);
	n[5] = get(&s->tx_malformed);
	return VIRTIO_NET_STATS_TX_BASIC_NR;
}

static uint64_t less(uint64_t all, uint64_t some)
{
	return all > some ? all - some : 0;
}

static unsigned rx_csum(const struct vio_net_stats *s, uint64_t *n)
{
	n[0] = get(&s->rx_csum_valid);
	n[1] = get(&s->rx_needs_csum);
	n[2] = less(get(&s->rx_packets), n[0] + n[1]);
	n[3] = get(&s->rx_csum_bad);
	return VIRTIO_NET_STATS_RX_CSUM_NR;
}

static unsigned tx_csum(const struct vio_queue *q,
			const struct vio_net_stats *s, uint64_t *n)
{
	n[1] = get(&s->tx_csum) + get(&s->tx_gso);
	n[0] = less(get(&q->stats.requests), n[1] + get(&s->tx_malformed));
	return VIRTIO_NET_STATS_TX_CSUM_NR;
}

static unsigned rx_gso(const struct vio_net_stats *s, uint64_t *n)
{
	n[0] = get(&s->rx_large);
	n[1] = get(&s->rx_large_bytes);
	n[2] = get(&s->rx_merged);
	n[3] = get(&s->rx_merged_bytes);
	return VIRTIO_NET_STATS_RX_GSO_NR;
}

static unsigned tx_gso(const struct vio_net_stats *s, uint64_t *n)
{
	n[0] = get(&s->tx_gso);
	n[1] = get(&s->tx_gso_bytes);
	n[2] = get(&s->tx_segments);
	n[3] = get(&s->tx_segment_bytes);
	n[4] = get(&s->tx_whole);
	n[5] = get(&s->tx_whole_bytes);
	return VIRTIO_NET_STATS_TX_GSO_NR;
}

static unsigned numbers(const struct vio_net *net, unsigned queue,
			unsigned type, uint64_t *n)
{
	const struct vio_queue *q = &net->dev.queue[queue];
	const struct vio_net_stats *s = &net->pair[queue / 2].stats;

	switch (type) {
	case VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC:
		return rx_basic(q, s, n);
	case VIRTIO_NET_STATS_TYPE_REPLY_RX_CSUM:
		return rx_csum(s, n);
	case VIRTIO_NET_STATS_TYPE_REPLY_RX_GSO:
		return rx_gso(s, n);
	case VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC:
		return tx_basic(q, s, n);
	case VIRTIO_NET_STATS_TYPE_REPLY_TX_CSUM:
		return tx_csum(q, s, n);
	case VIRTIO_NET_STATS_TYPE_REPLY_TX_GSO:
		return tx_gso(s, n);
	default:
		return cvq(net, n);
	}
}

/* -- commands ------------------------------------------------------------ */

static void reply(const struct vio_net *net, struct vio_cursor *c,
		  uint32_t *at, unsigned queue, unsigned type)
{
	struct virtio_net_stats_reply_hdr hdr = { .type = (uint8_t)type };
	vio_le64 wire[NUMBERS];
	uint64_t n[NUMBERS];
	unsigned nr = numbers(net, queue, type, n);
	uint16_t len = (uint16_t)(nr * sizeof(wire[0]));

	for (unsigned i = 0; i < nr; i++)
		wire[i] = vio_dev_to64(&net->dev, n[i]);
	hdr.vq_index = vio_dev_to16(&net->dev, (uint16_t)queue);
	hdr.size = vio_dev_to16(&net->dev, (uint16_t)(sizeof(hdr) + len));
	vio_net_answer(c, at, &hdr, sizeof(hdr));
	vio_net_answer(c, at, wire, len);
}

/* net.device.device-statistics.2: one that is wrong spoils all. */
static bool read_wanted(const struct vio_net *net, struct vio_cursor *c,
			struct wanted *w, unsigned *nr)
{
	struct virtio_net_ctrl_queue_stats wire;
	uint64_t may;

	if (!c->left || c->left % sizeof(wire) ||
	    c->left / sizeof(wire) > ENTRIES)
		return false;
	for (*nr = 0; c->left; w++, ++*nr) {
		if (!vio_cursor_read(c, &wire, sizeof(wire)))
			return false;
		w->queue = vio_dev_from16(&net->dev, wire.vq_index);
		w->types = vio_dev_from64(&net->dev, wire.types_bitmap[0]);
		if (w->queue == vio_net_ctrlq(net))
			may = BIT(CVQ);
		else if (w->queue < vio_net_ctrlq(net))
			may = types_of(net, w->queue);
		else
			return false;
		if (w->types & ~may)
			return false;
	}
	return true;
}

static bool get_stats(struct vio_net *net, struct vio_cursor *c)
{
	struct wanted w[ENTRIES];
	uint32_t at = 0;
	unsigned nr;

	if (!read_wanted(net, c, w, &nr))
		return false;
	for (unsigned i = 0; i < nr; i++)
		for (unsigned t = 0; t <= VIRTIO_NET_STATS_TYPE_REPLY_CVQ; t++)
			if (w[i].types >> t & 1)
				reply(net, c, &at, w[i].queue, t);
	return true;
}

bool vio_net_get_stats(struct vio_net *net, uint8_t command,
		       struct vio_cursor *c)
{
	uint32_t at = 0;
	vio_le64 wire;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_DEVICE_STATS))
		return false;
	switch (command) {
	case VIRTIO_NET_CTRL_STATS_QUERY:
		wire = vio_dev_to64(&net->dev, BIT(CVQ) | OF_RX | OF_TX);
		return !c->left && vio_net_answer(c, &at, &wire, sizeof(wire));
	case VIRTIO_NET_CTRL_STATS_GET:
		return get_stats(net, c);
	default:
		return false;
	}
}
