/* SPDX-License-Identifier: MIT */
/*
 * net_tell.c - what the device tells of itself and when: notifications that
 * wait for more packets or for a time, and statistics.
 */
#include "core/device/net_int.h"
#include "test/core/netrig.h"
#include "vtest.h"

static struct netrig n;
static unsigned armed, armed_queue;
static uint32_t armed_usecs;

static void arm(void *timer, unsigned queue, uint32_t usecs)
{
	CHECK(timer == &n);
	armed++;
	armed_queue = queue;
	armed_usecs = usecs;
}

static const struct vio_net_timer_ops timer = { .arm = arm };

static void start_without(unsigned bit)
{
	netrig_init(&n);
	n.conf.timer = &timer;
	n.conf.timer_ctx = &n;
	netrig_start(&n, &bit, 1);
	armed = 0;
}

static void start(void)
{
	start_without(VIRTIO_F_EVENT_IDX);
}

/* -- notifications ------------------------------------------------------- */

static unsigned coal(uint8_t cmd, uint32_t max, uint32_t usecs)
{
	const struct virtio_net_ctrl_coal c = {
		vio_to_le32(max), vio_to_le32(usecs) };

	return netrig_command(&n, VIRTIO_NET_CTRL_NOTF_COAL, cmd, &c,
			      sizeof(c), NULL, 0, NULL);
}

static unsigned coal_vq(uint16_t queue, uint32_t max, uint32_t usecs)
{
	const struct virtio_net_ctrl_coal_vq c = {
		.vq_index = vio_to_le16(queue),
		.reserved = vio_to_le16(0xffff),
		.coal = { vio_to_le32(max), vio_to_le32(usecs) },
	};

	return netrig_command(&n, VIRTIO_NET_CTRL_NOTF_COAL,
			      VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &c, sizeof(c),
			      NULL, 0, NULL);
}

/* 0, and the parameters, or 1. */
static unsigned coal_get(uint16_t queue, uint32_t *max, uint32_t *usecs)
{
	const vio_le16 c[2] = { vio_to_le16(queue), vio_to_le16(0) };
	struct virtio_net_ctrl_coal back;
	uint32_t used;
	unsigned ack;

	ack = netrig_command(&n, VIRTIO_NET_CTRL_NOTF_COAL,
			     VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, c, sizeof(c),
			     &back, sizeof(back), &used);
	*max = vio_from_le32(back.max_packets);
	*usecs = vio_from_le32(back.max_usecs);
	CHECK_EQ(used, ack ? 1 : 9);
	return ack;
}

/* Packets to the driver, one by one; returns the notifications for them. */
static unsigned receive(unsigned nr)
{
	unsigned char bytes[64] = { 2, 0, 0, 0, 0, 1 };
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					  .len = sizeof(bytes) };
	unsigned before = n.ring[0].notifies;
	uint32_t len;

	for (unsigned i = 0; i < nr; i++) {
		netrig_offer(&n, RX0, 1);
		CHECK_EQ(vio_net_receive(&n.net, 0, &p, 1), 1);
		CHECK(netrig_got(&n, RX0, &len));
	}
	return n.ring[0].notifies - before;
}

static unsigned transmit(unsigned nr)
{
	const struct virtio_net_hdr none = { .flags = 0 };
	const unsigned char bytes[64] = { 0 };
	unsigned before = n.ring[0].notifies;

	for (unsigned i = 0; i < nr; i++)
		netrig_send(&n, TX0, &none, bytes, sizeof(bytes));
	return n.ring[0].notifies - before;
}

TEST("net: notifications wait for so many packets, or for the time",
     "net.device.notifications-coalescing.7")
{
	unsigned before;

	start();
	CHECK_EQ(receive(20), 20);
	CHECK_EQ(transmit(20), 20);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 5, 100),
		 VIRTIO_NET_OK);
	CHECK_EQ(receive(20), 4);
	CHECK_EQ(armed_queue, RX0);
	CHECK_EQ(armed_usecs, 100);
	CHECK_EQ(transmit(20), 20);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, 50),
		 VIRTIO_NET_OK);
	CHECK_EQ(transmit(20), 2);
	CHECK_EQ(armed_queue, TX0);
	/* Four are left: the time is over. */
	before = n.ring[0].notifies;
	vio_net_time(&n.net, TX0);
	CHECK_EQ(n.ring[0].notifies, before + 1);
	/* And it counts anew; the time of a queue that was told is nothing. */
	CHECK_EQ(transmit(7), 0);
	CHECK_EQ(transmit(1), 1);
	before = n.ring[0].notifies;
	vio_net_time(&n.net, TX0);
	CHECK_EQ(n.ring[0].notifies, before);
	/* Either of them 0: after every packet. */
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 0, 50),
		 VIRTIO_NET_OK);
	CHECK_EQ(transmit(5), 5);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 5, 0), VIRTIO_NET_OK);
	CHECK_EQ(transmit(5), 5);
}

TEST("net: parameters that change are looked at once more",
     "net.device.notifications-coalescing.2")
{
	unsigned before;

	start();
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 15, 1000),
		 VIRTIO_NET_OK);
	CHECK_EQ(transmit(10), 0);
	before = n.ring[0].notifies;
	n.ring[0].ready = 0;
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, 1000),
		 VIRTIO_NET_OK);
	CHECK_EQ(n.ring[0].ready, 2);
	/* The control queue's own notification, and then this one. */
	vio_queue_service(&n.queue[TX0], 1);
	CHECK_EQ(n.ring[0].notifies, before + 2);
	/* A shorter time is armed. */
	CHECK_EQ(transmit(3), 0);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, 70),
		 VIRTIO_NET_OK);
	vio_queue_service(&n.queue[TX0], 1);
	CHECK_EQ(armed_usecs, 70);
	start_without(VIRTIO_NET_F_NOTF_COAL);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, 1),
		 VIRTIO_NET_ERR);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8, 1),
		 VIRTIO_NET_ERR);
	netrig_init(&n);	/* without a clock */
	netrig_start(&n, NULL, 0);
	CHECK(!vio_has(vio_dev_offered(&n.net.dev), VIRTIO_NET_F_NOTF_COAL));
}

TEST("net: a driver that goes on kicking does not put the time off",
     "net.device.notifications-coalescing.7")
{
	unsigned before;

	start();
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 100, 50),
		 VIRTIO_NET_OK);
	CHECK_EQ(transmit(20), 0);
	CHECK_EQ(armed, 1);
	before = n.ring[0].notifies;
	vio_net_time(&n.net, TX0);
	CHECK_EQ(n.ring[0].notifies, before + 1);
	CHECK_EQ(transmit(20), 0);
	CHECK_EQ(armed, 2);
	/* A longer one does not, either. */
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 100, 80),
		 VIRTIO_NET_OK);
	CHECK_EQ(transmit(5), 0);
	CHECK_EQ(armed, 2);
}

TEST("net: a driver that wants no notification gets none when it is time",
     "net.device.notifications-coalescing.8")
{
	unsigned before;

	start();
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 5, 100),
		 VIRTIO_NET_OK);
	CHECK_EQ(receive(2), 0);
	*rig_avail_flags(&n.ring[RX0]) = vio_to_le16(
		VIRTQ_AVAIL_F_NO_INTERRUPT);
	before = n.ring[0].notifies;
	vio_net_time(&n.net, RX0);
	CHECK_EQ(receive(10), 0);
	CHECK_EQ(n.ring[0].notifies, before);
	/* A queue that stops says what it withholds: nobody else would. */
	*rig_avail_flags(&n.ring[RX0]) = vio_to_le16(0);
	receive(12);
	CHECK(n.queue[RX0].withheld);
	before = n.ring[0].notifies;
	vio_queue_stop(&n.queue[RX0]);
	CHECK_EQ(n.ring[0].notifies, before + 1);
}

TEST("net: one queue's parameters, until it stops",
     "net.device.notifications-coalescing.1 "
     "net.device.notifications-coalescing.3 "
     "net.device.notifications-coalescing.4 "
     "net.device.notifications-coalescing.5 "
     "net.device.notifications-coalescing.6 "
     "net.device.notifications-coalescing.9")
{
	uint32_t max, us;

	start();
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 3, 30),
		 VIRTIO_NET_OK);
	CHECK_EQ(coal_vq(RX0, 4, 40), VIRTIO_NET_OK);
	CHECK_EQ(coal_vq(TX1, 6, 60), VIRTIO_NET_OK);
	CHECK(!coal_get(RX0, &max, &us) && max == 4 && us == 40);
	CHECK(!coal_get(RX1, &max, &us) && max == 3 && us == 30);
	CHECK(!coal_get(TX1, &max, &us) && max == 6 && us == 60);
	CHECK(!coal_get(TX0, &max, &us) && max == 0 && us == 0);
	CHECK_EQ(coal_vq(CTRL, 1, 1), VIRTIO_NET_ERR);
	CHECK_EQ(coal_vq(77, 1, 1), VIRTIO_NET_ERR);
	CHECK_EQ(coal_get(CTRL, &max, &us), VIRTIO_NET_ERR);
	CHECK_EQ(receive(4), 1);
	for (unsigned i = 0; i < 2; i++) {
		unsigned q = i ? TX1 : RX0;

		vio_queue_stop(&n.queue[q]);
		CHECK_EQ(coal_get((uint16_t)q, &max, &us), VIRTIO_NET_ERR);
		CHECK_EQ(coal_vq((uint16_t)q, 1, 1), VIRTIO_NET_ERR);
		CHECK_EQ(vio_queue_start(&n.queue[q], &n.ring[q].mem,
					 &n.ring[q].layout, 0, 0), VIO_OK);
	}
	CHECK(!coal_get(RX0, &max, &us) && max == 3 && us == 30);
	CHECK(!coal_get(TX1, &max, &us) && max == 0 && us == 0);
	vio_dev_reset(&n.net.dev);
	for (unsigned i = 0; i < CTRL; i++)
		CHECK(!n.net.coal[i].packets && !n.net.coal[i].usecs);
	start_without(VIRTIO_NET_F_VQ_NOTF_COAL);
	CHECK_EQ(coal_vq(RX0, 4, 40), VIRTIO_NET_ERR);
	CHECK_EQ(coal_get(RX0, &max, &us), VIRTIO_NET_ERR);
}

TEST("net: what the driver said stands while the device sleeps",
     "core.device.device-suspend.7")
{
	uint32_t max, us;

	start();
	vio_feature_set(&n.net.dev.driver, VIRTIO_F_SUSPEND);
	CHECK_EQ(coal(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 3, 30),
		 VIRTIO_NET_OK);
	CHECK_EQ(coal_vq(RX0, 4, 40), VIRTIO_NET_OK);
	CHECK(n.net.knows);
	vio_dev_set_status(&n.net.dev, VIRTIO_STATUS_SUSPEND | 15);
	CHECK_EQ(vio_dev_status(&n.net.dev), VIRTIO_STATUS_SUSPEND | 11);
	CHECK(n.net.knows);
	vio_dev_set_status(&n.net.dev, 15);
	CHECK(!coal_get(RX0, &max, &us) && max == 4 && us == 40);
	CHECK(!coal_get(RX1, &max, &us) && max == 3 && us == 30);
}

/* -- statistics ---------------------------------------------------------- */

#define BIT(t)	((uint64_t)1 << VIRTIO_NET_STATS_TYPE_REPLY_ ## t)

static unsigned char answer[1024];

static unsigned stats(unsigned nr, const uint16_t *queue,
		      const uint64_t *types, uint32_t room, uint32_t *used)
{
	struct virtio_net_ctrl_queue_stats s[16];

	memset(s, 0, sizeof(s));
	memset(answer, 0, sizeof(answer));
	for (unsigned i = 0; i < nr; i++) {
		s[i].vq_index = vio_to_le16(queue[i]);
		s[i].types_bitmap[0] = vio_to_le64(types[i]);
	}
	return netrig_command(&n, VIRTIO_NET_CTRL_STATS,
			      VIRTIO_NET_CTRL_STATS_GET, s,
			      nr * (uint32_t)sizeof(s[0]), answer, room, used);
}

/* The reply at @at; expects its header. Returns where the next one is. */
static uint32_t reply(uint32_t at, unsigned type, unsigned queue, unsigned nr,
		      uint64_t *number)
{
	struct virtio_net_stats_reply_hdr h;
	vio_le64 v;

	memcpy(&h, answer + at, sizeof(h));
	CHECK_EQ(h.type, type);
	CHECK_EQ(vio_from_le16(h.vq_index), queue);
	CHECK_EQ(vio_from_le16(h.size), 8 + 8 * nr);
	for (unsigned i = 0; i < nr; i++) {
		memcpy(&v, answer + at + 8 + 8 * i, 8);
		number[i] = vio_from_le64(v);
	}
	return at + 8 + 8 * nr;
}

TEST("net: statistics of each type, as the standard lays them out",
     "net.device.device-statistics.1 net.device.device-statistics.4 "
     "net.device.device-statistics.5")
{
	static const uint16_t queue[] = { RX0, TX0, CTRL };
	const uint64_t types[] = {
		BIT(RX_BASIC) | BIT(RX_CSUM) | BIT(RX_GSO),
		BIT(TX_BASIC) | BIT(TX_CSUM) | BIT(TX_GSO), BIT(CVQ),
	};
	uint32_t at, used;
	uint64_t v[6];
	vio_le64 cap;

	start();
	CHECK_EQ(netrig_command(&n, VIRTIO_NET_CTRL_STATS,
				VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0, &cap, 8,
				&used), VIRTIO_NET_OK);
	CHECK_EQ(used, 9);
	CHECK_EQ(vio_from_le64(cap), types[0] | types[1] | types[2]);
	receive(3);
	transmit(2);
	CHECK_EQ(netrig_command(&n, 77, 0, NULL, 0, NULL, 0, NULL),
		 VIRTIO_NET_ERR);
	n.net.pair[0].stats.rx_no_room = 5;
	n.net.pair[0].stats.rx_too_long = 2;
	n.net.pair[0].stats.tx_malformed = 1;
	CHECK_EQ(stats(3, queue, types, 1000, &used), VIRTIO_NET_OK);
	at = reply(0, 0, RX0, 6, v);
	CHECK_EQ(v[1], 3);
	CHECK_EQ(v[2], 3 * 64);
	CHECK_EQ(v[3], 3);
	CHECK_EQ(v[4], 7);
	CHECK_EQ(v[5], 5);
	at = reply(at, 1, RX0, 4, v);
	CHECK(!v[0] && !v[1] && v[2] == 3 && !v[3]);
	at = reply(at, 2, RX0, 4, v);
	at = reply(at, 16, TX0, 6, v);
	CHECK_GT(v[0], 1);
	CHECK_EQ(v[1], 2);
	CHECK_EQ(v[2], 2 * 64);
	CHECK_EQ(v[3], 2);
	CHECK_EQ(v[4], 1);
	CHECK_EQ(v[5], 1);
	at = reply(at, 17, TX0, 2, v);
	at = reply(at, 18, TX0, 6, v);
	at = reply(at, 32, CTRL, 2, v);
	CHECK_EQ(v[0], 3);
	CHECK_EQ(v[1], 2);
	CHECK_EQ(used, at + 1);
}

TEST("net: one wrong entry fails all; room that is short is filled",
     "net.device.device-statistics.2 net.device.device-statistics.3 "
     "net.device.device-statistics.6 net.device.device-statistics.7")
{
	static const uint16_t queue[] = { RX0, TX0, 5, CTRL };
	static const unsigned no_csum[] = {
		VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
		VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_HOST_USO,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM, VIRTIO_NET_F_RSC_EXT,
	};
	uint64_t types[] = { BIT(RX_BASIC), BIT(TX_BASIC), BIT(RX_BASIC),
			     BIT(RX_BASIC) };
	uint64_t v[6];
	uint32_t used;

	start();
	CHECK_EQ(stats(3, queue, types, 1000, &used), VIRTIO_NET_ERR);
	CHECK_EQ(used, 1);
	CHECK_EQ(stats(1, &queue[3], &types[3], 1000, &used),
		 VIRTIO_NET_ERR);
	types[1] = BIT(RX_BASIC);	/* not of that queue */
	CHECK_EQ(stats(2, queue, types, 1000, &used), VIRTIO_NET_ERR);
	types[1] = BIT(TX_SPEED);	/* not supported */
	CHECK_EQ(stats(2, queue, types, 1000, &used), VIRTIO_NET_ERR);
	types[1] = 1ull << 63;
	CHECK_EQ(stats(2, queue, types, 1000, &used), VIRTIO_NET_ERR);
	CHECK_EQ(stats(0, queue, types, 1000, &used), VIRTIO_NET_ERR);
	CHECK_EQ(netrig_command(&n, VIRTIO_NET_CTRL_STATS,
				VIRTIO_NET_CTRL_STATS_GET, answer, 15, answer,
				100, &used), VIRTIO_NET_ERR);
	/* A number at its end goes on at the beginning. */
	n.net.pair[0].stats.rx_packets = UINT64_MAX;
	receive(2);
	types[1] = BIT(TX_BASIC);
	CHECK_EQ(stats(2, queue, types, 60, &used), VIRTIO_NET_OK);
	CHECK_EQ(used, 61);
	reply(0, 0, RX0, 6, v);
	CHECK_EQ(v[1], 1);
	CHECK_EQ(answer[56], 16);
	CHECK_EQ(stats(1, queue, types, 0, &used), VIRTIO_NET_OK);
	CHECK_EQ(used, 1);
	netrig_start(&n, no_csum, VIO_ARRAY_LEN(no_csum));
	types[1] = BIT(TX_CSUM);
	CHECK_EQ(stats(2, queue, types, 1000, &used), VIRTIO_NET_ERR);
	start_without(VIRTIO_NET_F_DEVICE_STATS);
	types[1] = BIT(TX_BASIC);
	CHECK_EQ(stats(2, queue, types, 1000, &used), VIRTIO_NET_ERR);
}
