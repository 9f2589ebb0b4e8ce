/* SPDX-License-Identifier: MIT */
/*
 * virtio-net whose pairs have threads of their own: packets go on coming in
 * while the driver goes away and comes back. The judge is the thread
 * sanitizer; elsewhere this shows that nothing hangs.
 */
#include <pthread.h>
#include <string.h>

#include "netrig.h"
#include "vtest.h"

static struct netrig n;
static bool enough;

/* The back end of the second pair: a packet of TCP over IPv4, and again. */
static void *bring(void *arg)
{
	static unsigned char bytes[64] = {
		[12] = 8, [14] = 0x45, [17] = 50, [23] = 6,
	};
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = {
		.seg = &seg, .nr_seg = 1, .len = sizeof(bytes),
	};

	(void)arg;
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		vio_net_receive(&n.net, 1, &p, 1);
	return NULL;
}

TEST("net: a driver comes back while packets come in on another thread", "")
{
	const uint32_t before = VIRTIO_STATUS_ACKNOWLEDGE |
				VIRTIO_STATUS_DRIVER;
	static const unsigned off[] = {
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
	};
	static unsigned char state[4096];
	struct vio_features f;
	pthread_t thread;
	uint32_t len;

	netrig_init(&n);
	n.conf.threads = true;
	netrig_start(&n, off, VIO_ARRAY_LEN(off));
	f = n.net.dev.driver;
	len = vio_dev_save(&n.net.dev, state, sizeof(state));
	CHECK_LT(len, sizeof(state));
	vio_dev_reset(&n.net.dev);
	__atomic_store_n(&enough, false, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_create(&thread, NULL, bring, NULL), 0);
	for (unsigned i = 0; i < 500; i++) {
		vio_dev_set_status(&n.net.dev, before);
		CHECK_EQ(vio_dev_set_features(&n.net.dev, &f), VIO_OK);
		vio_dev_set_status(&n.net.dev,
				   before | VIRTIO_STATUS_FEATURES_OK);
		CHECK_EQ(vio_dev_load(&n.net.dev, state, len), VIO_OK);
		vio_dev_set_status(&n.net.dev, 0);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* -- all that threads do at once ------------------------------------------ */

/* A rig of the tests counts, and that is its own affair. */
static void nothing(void *ctx)
{
	(void)ctx;
}

static void no_queue(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static const struct vio_transport_ops deaf = {
	.queue_notify = no_queue, .queue_ready = no_queue,
	.config_changed = nothing,
};

static bool ended(void)
{
	return __atomic_load_n(&enough, __ATOMIC_RELAXED);
}

/* The second pair's: it sends, is brought packets, and gives buffers. */
static void *work(void *arg)
{
	static const struct virtio_net_hdr h;
	static unsigned char bytes[64] = {
		[12] = 8, [14] = 0x45, [17] = 50, [23] = 6,
	};
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = {
		.seg = &seg, .nr_seg = 1, .len = sizeof(bytes),
	};
	uint32_t len;

	(void)arg;
	while (!ended()) {
		netrig_send(&n, TX1, &h, bytes, sizeof(bytes));
		netrig_offer(&n, RX1, 1);
		vio_net_receive(&n.net, 1, &p, 1);
		vio_queue_service(&n.queue[RX1], 4);
		while (netrig_got(&n, RX1, &len))
			;
		bytes[35]++;
	}
	return NULL;
}

/* The first pair's: what belongs there comes by mail. */
static void *work_by_mail(void *arg)
{
	uint32_t len;

	(void)arg;
	while (!ended()) {
		netrig_offer(&n, RX0, 1);
		vio_queue_service(&n.queue[RX0], 4);
		while (netrig_got(&n, RX0, &len))
			;
	}
	return NULL;
}

/* What a driver may ask, all of it. */
static void command_all(unsigned i)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };
	const uint8_t on[] = { i & 1 }, pairs[] = { (uint8_t)(1 + (i & 1)), 0 };
	const uint8_t coal[] = { (uint8_t)(i & 3), 0, 0, 0, 9, 0, 0, 0 };
	const uint8_t vlan[] = { (uint8_t)i, 1 };
	const uint8_t stats[] = { 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
				  0 };
	static const struct {
		uint8_t class_, command;
	} none[] = { { VIRTIO_NET_CTRL_ANNOUNCE,
		       VIRTIO_NET_CTRL_ANNOUNCE_ACK } };
	uint8_t reply[64];

#define ASK(class_, cmd, data)						\
	CHECK_EQ(netrig_command(&n, class_, cmd, data, sizeof(data),	\
				NULL, 0, NULL), VIRTIO_NET_OK)
	ASK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, on);
	ASK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac);
	ASK(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vlan);
	ASK(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs);
	ASK(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
	    coal);
	ASK(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET,
	    coal);
#undef ASK
	CHECK_EQ(netrig_command(&n, none[0].class_, none[0].command, NULL, 0,
				NULL, 0, NULL), VIRTIO_NET_OK);
	CHECK_EQ(netrig_command(&n, VIRTIO_NET_CTRL_STATS,
				VIRTIO_NET_CTRL_STATS_GET, stats,
				sizeof(stats), reply, sizeof(reply), NULL),
		 VIRTIO_NET_OK);
}

static void *command(void *arg)
{
	(void)arg;
	for (unsigned i = 0; !ended(); i++)
		command_all(i);
	return NULL;
}

static void arm(void *ctx, unsigned queue, uint32_t usecs)
{
	(void)ctx;
	(void)queue;
	(void)usecs;
}

static void all_at_once(const unsigned *off, unsigned nr)
{
	static const struct vio_net_timer_ops timer = { arm };
	void *(*const job[])(void *) = { work, work_by_mail, command };
	pthread_t thread[3];
	unsigned char config[8];

	netrig_init(&n);
	n.conf.threads = true;
	n.conf.timer = &timer;
	netrig_start(&n, off, nr);
	vio_dev_attach(&n.net.dev, &deaf, NULL, NULL);
	__atomic_store_n(&enough, false, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, job[i], NULL), 0);
	for (unsigned i = 0; i < 300; i++) {
		vio_net_link(&n.net, i & 1);
		vio_net_announce(&n.net);
		vio_dev_config_read(&n.net.dev, 0, config, sizeof(config));
		/* What the driver acknowledges takes nothing else away. */
		CHECK_EQ(config[6] & VIRTIO_NET_S_LINK_UP, i & 1);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
}

TEST("net: pairs, commands and the host at once, each on its own thread", "")
{
	/* With these, packets take the longer way. */
	static const unsigned off[] = {
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_RSC_EXT,
	};

	all_at_once(NULL, 0);
	all_at_once(off, VIO_ARRAY_LEN(off));
	CHECK_EQ(n.net.hdr_len, VIRTIO_NET_HDR_LEN);
}
