/* SPDX-License-Identifier: MIT */
/*
 * The network driver with two pairs and all that costs something, against the
 * network device: every command, large packets in tunnels, and what a device
 * says that cannot be. The wire sends back what it gets, on the first pair.
 */
#include "loop.h"

#include <vireo/driver_net.h>
#include <vireo/net.h>

#include <stdlib.h>

#define ROOM	4096u
#define ETH	14u

static struct fixture {
	struct loop loop;
	struct vio_net dev;
	struct vio_netdrv drv;
	unsigned char *buf;
	unsigned char scratch[VIO_NET_PACKET_MAX];
} f;

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	(void)backend;
	(void)pair;
	/* All arrives on the first: where it goes is the device's choice. */
	return vio_net_receive(&f.dev, 0, pkt, nr);
}

static void arm(void *timer, unsigned queue, uint32_t usecs)
{
	(void)timer;
	(void)queue;
	(void)usecs;
}

static const struct vio_net_backend_ops wire_ops = { .send = wire_send };
static const struct vio_net_timer_ops timer_ops = { .arm = arm };

/* The driver itself refuses it: no command of it reaches the device. */
#define UNSENT(call)							\
	do {								\
		uint64_t before_ = f.dev.ctrl_commands;			\
									\
		CHECK_EQ(call, VIO_E_INVAL);				\
		CHECK_EQ(f.dev.ctrl_commands, before_);			\
	} while (0)

static void setup_with(bool more, uint64_t offloads, unsigned off)
{
	const struct vio_net_conf conf = {
		.mac = { 2, 0, 0, 0, 0, 9 }, .mtu = 3000, .pairs = 2,
		.speed = 2500, .scratch = f.scratch, .timer = &timer_ops,
		.offloads = offloads,
	};
	struct vio_features extra = vio_netdrv_more_features();
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 64, .indirect_max = 8 },
		.pairs = 2, .rx_buffers = 40, .rx_len = 4096,
	};

	memset(&f, 0, sizeof(f));
	if (more) {
		c.wanted.w[0] |= extra.w[0];
		c.wanted.w[1] |= extra.w[1];
	}
	vio_feature_clear(&c.wanted, off);
	loop_init(&f.loop, 5, vio_net_ctx_size, vtest_seed());
	CHECK_EQ(vio_net_init(&f.dev, &conf, f.loop.queue, &wire_ops, &f),
		 VIO_OK);
	loop_attach(&f.loop, &f.dev.dev);
	CHECK_EQ(vio_netdrv_init(&f.drv, &loop_bus, &f.loop, &c,
				 &f.loop.drv_mem), VIO_OK);
	if (off != VIRTIO_NET_F_CTRL_VQ)
		CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_RX,
					    VIRTIO_NET_CTRL_RX_PROMISC, "\1",
					    1), VIO_OK);
	f.buf = loop_buffer(&f.loop, ROOM);
}

static void setup(bool more, uint64_t offloads)
{
	setup_with(more, offloads, VIRTIO_F_RING_PACKED);
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

/* UDP from port @port; both directions are one flow. Returns its bytes. */
static unsigned char *make_udp(unsigned port)
{
	unsigned char *p = f.buf + VIO_NETDRV_HEADROOM;

	memset(p, 0, 200);
	put16(p + 12, 0x0800);
	p[ETH] = 0x45;
	p[ETH + 9] = 17;
	memset(p + ETH + 12, 7, 8);
	put16(p + ETH + 20, port);
	put16(p + ETH + 22, port);
	return p;
}

static int send_out(unsigned pair, uint32_t len,
		    const struct vio_netdrv_offload *off)
{
	struct vio_seg seg = { f.buf + VIO_NETDRV_HEADROOM, len };
	int err;

	memset(f.buf, 0xff, VIO_NETDRV_HEADROOM);
	err = vio_netdrv_send(&f.drv, pair, &seg, 1, off, &f);
	if (err)
		return err;
	/* The header is right before it; num_buffers, its end, is none. */
	for (unsigned i = 1; !off && i <= f.drv.hdr_len; i++)
		CHECK_EQ(f.buf[VIO_NETDRV_HEADROOM - i], 0);
	vio_netdrv_commit(&f.drv, pair);
	while (loop_step(&f.loop))
		;
	CHECK(vio_netdrv_sent(&f.drv, pair) == &f);
	return VIO_OK;
}

/* Packets that a pair received, the last of them in @pkt. */
static unsigned drain(unsigned pair, struct vio_netdrv_packet *pkt)
{
	unsigned n = 0;

	while (vio_netdrv_receive(&f.drv, pair, pkt)) {
		vio_netdrv_recycle(&f.drv, pair, pkt);
		n++;
	}
	vio_netdrv_commit(&f.drv, pair);
	while (loop_step(&f.loop))
		;
	return n;
}

TEST("net: pairs are sent on only when the device was told",
     "net.driver.packet-transmission.2 "
     "net.driver.automatic-receive-steering-multiqueue-mode.1 "
     "net.driver.automatic-receive-steering-multiqueue-mode.2 "
     "net.driver.automatic-receive-steering-multiqueue-mode.3 "
     "net.driver.automatic-receive-steering-multiqueue-mode.4 "
     "net.driver.setting-up-receive-buffers.5 "
     "net.other.legacy-interface-automatic-receive-steering-multiqueue-mode.1 "
     "net.driver.device-configuration-layout.10 "
     "net.driver.device-configuration-layout.11")
{
	struct vio_netdrv_packet pkt;

	setup(false, 0);
	CHECK_EQ(f.drv.max_pairs, 2);
	CHECK_EQ(f.drv.ctrlq, 4);
	CHECK_EQ(f.drv.speed, loop_legacy ? UINT32_MAX : 2500);
	CHECK_EQ(f.drv.duplex, loop_legacy ? 0xff : 1);
	f.dev.config.speed = vio_to_le32(0x80000000u);
	f.dev.config.duplex = 2;
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_OK);
	CHECK_EQ(f.drv.speed, UINT32_MAX);
	CHECK_EQ(f.drv.duplex, 0xff);
	make_udp(5);
	CHECK_EQ(send_out(1, 100, NULL), VIO_E_STATE);
	CHECK_EQ(send_out(0, 100, NULL), VIO_OK);
	CHECK_EQ(drain(0, &pkt), 1);
	UNSENT(vio_netdrv_set_pairs(&f.drv, 0));
	UNSENT(vio_netdrv_set_pairs(&f.drv, 3));
	CHECK_EQ(vio_netdrv_set_pairs(&f.drv, 2), VIO_OK);
	/* What comes back goes where it was sent. */
	for (unsigned i = 0; i < 6; i++) {
		make_udp(100 + i);
		CHECK_EQ(send_out(i & 1, 100, NULL), VIO_OK);
		CHECK_EQ(drain(i & 1, &pkt), 1);
		CHECK_EQ(drain(!(i & 1), &pkt), 0);
	}
	CHECK_EQ(vio_netdrv_set_pairs(&f.drv, 1), VIO_OK);
	CHECK_EQ(send_out(1, 100, NULL), VIO_E_STATE);
	/* A number of pairs that cannot be. */
	f.dev.config.max_virtqueue_pairs = vio_to_le16(0);
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_E_PEER);
	loop_fini(&f.loop);
}

TEST("net: what the driver assumes and leaves where a feature is not there",
     "net.driver.device-configuration-layout.5 "
     "net.driver.device-configuration-layout.12")
{
	setup_with(false, 0, VIRTIO_NET_F_STATUS);
	vio_net_link(&f.dev, false);
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_OK);
	CHECK(f.drv.link_up);
	loop_fini(&f.loop);
	if (loop_legacy)
		return;
	/* Offered, wanted, and of no use without commands. */
	setup_with(true, 0, VIRTIO_NET_F_CTRL_VQ);
	CHECK(vio_has(vio_dev_offered(&f.dev.dev), VIRTIO_NET_F_HASH_REPORT));
	CHECK(!vio_dev_has(&f.dev.dev, VIRTIO_NET_F_HASH_REPORT));
	loop_fini(&f.loop);
}

TEST("net: large packets are wanted only where buffers could hold one",
     "net.driver.setting-up-receive-buffers.1")
{
	static const unsigned large[] = {
		VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_RSC_EXT,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
	};

	if (loop_legacy)
		SKIP("needs features that a legacy bus has no room for");
	for (unsigned merge = 0; merge < 2; merge++) {
		setup_with(true, 0, merge ? VIRTIO_F_RING_PACKED :
					    VIRTIO_NET_F_MRG_RXBUF);
		for (unsigned i = 0; i < VIO_ARRAY_LEN(large); i++)
			CHECK_EQ(vio_drv_has(&f.drv.drv, large[i]),
				 merge && (!loop_narrow || large[i] < 64));
		loop_fini(&f.loop);
	}
}

TEST("net: the table and the hash, as the driver set them",
     "net.driver.receive-side-scaling-rss.1 "
     "net.driver.receive-side-scaling-rss.2 "
     "net.driver.receive-side-scaling-rss.3 "
     "net.driver.receive-side-scaling-rss.4 "
     "net.driver.receive-side-scaling-rss.5 "
     "net.driver.setting-up-receive-buffers.4 "
     "net.driver.device-configuration-layout.12")
{
	static const uint8_t key[40] = { 1, 2, 3 };
	uint16_t table[2] = { 1, 1 };
	struct vio_netdrv_rss rss = {
		.hash_types = VIRTIO_NET_HASH_TYPE_UDPv4, .table = table,
		.nr = 2, .tx_pairs = 2, .key = key, .key_len = sizeof(key),
	};
	struct vio_netdrv_packet pkt;

	if (loop_legacy)
		SKIP("needs features that a legacy bus has no room for");
	setup(false, 0);
	CHECK_EQ(vio_netdrv_set_rss(&f.drv, &rss), VIO_E_UNSUPP);
	CHECK_EQ(vio_netdrv_set_hash(&f.drv, 4, key, 40), VIO_E_UNSUPP);
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_MQ,
				    VIRTIO_NET_CTRL_MQ_RSS_CONFIG, key, 40),
		 VIO_E_UNSUPP);
	loop_fini(&f.loop);
	setup(true, 0);
	CHECK_EQ(f.drv.hdr_len, loop_narrow ? VIRTIO_NET_HDR_LEN_HASH :
					      VIRTIO_NET_HDR_LEN_TUNNEL);
	CHECK_EQ(f.drv.table_max, 128);
	CHECK_EQ(f.drv.key_max, 40);
	rss.nr = 3;
	UNSENT(vio_netdrv_set_rss(&f.drv, &rss));
	rss.nr = 256;
	UNSENT(vio_netdrv_set_rss(&f.drv, &rss));
	rss.nr = 2;
	table[0] = 2;
	UNSENT(vio_netdrv_set_rss(&f.drv, &rss));
	table[0] = 1;
	rss.hash_types |= 1u << 20;
	UNSENT(vio_netdrv_set_rss(&f.drv, &rss));
	rss.hash_types = VIRTIO_NET_HASH_TYPE_UDPv4;
	CHECK_EQ(vio_netdrv_set_rss(&f.drv, &rss), VIO_OK);
	make_udp(9);
	CHECK_EQ(send_out(0, 100, NULL), VIO_OK);
	CHECK_EQ(drain(0, &pkt), 0);
	CHECK_EQ(drain(1, &pkt), 1);
	CHECK_EQ(pkt.hash_report, VIRTIO_NET_HASH_REPORT_UDPv4);
	CHECK_EQ(vio_netdrv_set_hash(&f.drv, 1u << 30, key, 40),
		 VIO_E_INVAL);
	CHECK_EQ(vio_netdrv_set_hash(&f.drv, 0, key, 40), VIO_OK);
	CHECK_EQ(send_out(1, 100, NULL), VIO_OK);
	CHECK_EQ(drain(0, &pkt), 1);
	CHECK_EQ(pkt.hash_report, VIRTIO_NET_HASH_REPORT_NONE);
	loop_fini(&f.loop);
}

TEST("net: notifications, statistics, offloads and addresses by command",
     "net.driver.notifications-coalescing.1 "
     "net.driver.notifications-coalescing.2 "
     "net.driver.notifications-coalescing.3 "
     "net.driver.notifications-coalescing.4 "
     "net.driver.device-statistics.1 net.driver.device-statistics.2 "
     "net.driver.device-statistics.3 net.driver.setting-offloads-state.1 "
     "net.driver.setting-mac-address-filtering.3 "
     "net.driver.setting-mac-address-filtering.4")
{
	static const uint8_t mac[2][6] = { { 2, 3 }, { 1, 4 } };
	uint64_t types, v[6];
	uint32_t packets = 77, usecs = 77;
	struct vio_netdrv_packet pkt;
	unsigned nr;

	if (loop_legacy)
		SKIP("needs features that a legacy bus has no room for");
	setup(false, 0);
	CHECK_EQ(vio_netdrv_coalesce(&f.drv, true, 4, 40), VIO_OK);
	CHECK_EQ(vio_netdrv_coalesce_queue(&f.drv, 3, 6, 60), VIO_OK);
	UNSENT(vio_netdrv_coalesce_queue(&f.drv, 4, 6, 60));
	UNSENT(vio_netdrv_coalesced(&f.drv, 4, &packets, &usecs));
	CHECK_EQ(packets, 77);
	CHECK_EQ(vio_netdrv_coalesced(&f.drv, 1, &packets, &usecs), VIO_OK);
	CHECK(packets == 4 && usecs == 40);
	CHECK_EQ(vio_netdrv_coalesced(&f.drv, 3, &packets, &usecs), VIO_OK);
	CHECK(packets == 6 && usecs == 60);
	CHECK_EQ(vio_netdrv_coalesce(&f.drv, true, 0, 0), VIO_OK);
	make_udp(9);
	CHECK_EQ(send_out(0, 100, NULL), VIO_OK);
	CHECK_EQ(drain(0, &pkt), 1);
	CHECK_EQ(vio_netdrv_stats_types(&f.drv, &types), VIO_OK);
	CHECK(types >> VIRTIO_NET_STATS_TYPE_REPLY_CVQ & 1);
	CHECK_EQ(vio_netdrv_stats(&f.drv, 0,
				  VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC, v, 6,
				  &nr), VIO_OK);
	CHECK_EQ(nr, 6);
	CHECK_EQ(v[1], 1);
	CHECK_EQ(v[2], 100);
	CHECK_EQ(vio_netdrv_stats(&f.drv, 4,
				  VIRTIO_NET_STATS_TYPE_REPLY_CVQ, v, 1, &nr),
		 VIO_OK);
	CHECK_EQ(nr, 2);
	UNSENT(vio_netdrv_stats(&f.drv, 0,
				VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC, v, 6,
				&nr));
	/* Of that queue, but this device has none. */
	CHECK_EQ(vio_netdrv_stats(&f.drv, 0,
				  VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED, v, 6,
				  &nr), VIO_E_INVAL);
	UNSENT(vio_netdrv_set_offloads(&f.drv, 1u << VIRTIO_NET_F_MAC));
	UNSENT(vio_netdrv_set_offloads(&f.drv, 1ull << 46));
	CHECK_EQ(vio_netdrv_set_offloads(&f.drv, 0), VIO_OK);
	CHECK_EQ(f.dev.guest_offloads, 0);
	CHECK_EQ(vio_netdrv_set_macs(&f.drv, mac, 1, mac + 1, 1), VIO_OK);
	CHECK_EQ(f.dev.filter.nr_uni, 1);
	CHECK_MEMEQ(f.dev.filter.multi[0], mac[1], 6);
	CHECK_EQ(vio_netdrv_set_macs(&f.drv, NULL, 0, NULL, 0), VIO_OK);
	CHECK_EQ(f.dev.filter.nr_uni + f.dev.filter.nr_multi, 0);
	/* The device refuses: what stands in its answer is not taken. */
	vio_queue_stop(&f.loop.queue[3]);
	packets = 77;
	CHECK_EQ(vio_netdrv_coalesced(&f.drv, 3, &packets, &usecs),
		 VIO_E_INVAL);
	CHECK_EQ(packets, 77);
	loop_fini(&f.loop);
}

/* TCP over IPv4 in a tunnel over IPv4. */
static uint32_t make_tunnel(struct vio_netdrv_offload *off)
{
	unsigned char *p = make_udp(4789), *ip = p + ETH + 20 + 8 + 8 + ETH;

	memset(p + 100, 0x55, 2000);
	put16(p + ETH + 2, 2066 - ETH);
	put16(ip - 2, 0x0800);
	memset(ip, 0, 40);
	ip[0] = 0x45;
	ip[9] = 6;
	ip[20 + 12] = 0x50;
	*off = (struct vio_netdrv_offload){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM |
			 VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
			    VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
		.hdr_len = 104, .gso_size = 1000, .csum_start = 84,
		.csum_offset = 16, .outer_th = 34, .inner_nh = 64,
	};
	return 104 + 1962;
}

TEST("net: packets in tunnels go out only as they may be",
     "net.driver.packet-transmission.10 net.driver.packet-transmission.11 "
     "net.driver.packet-transmission.12 net.driver.packet-transmission.13 "
     "net.driver.packet-transmission.14 net.driver.packet-transmission.15 "
     "net.driver.packet-transmission.16 net.driver.packet-transmission.17 "
     "net.driver.packet-transmission.23 "
     "net.driver.packet-transmission.25 net.driver.packet-transmission.26 "
     "net.driver.packet-transmission.27 net.driver.packet-transmission.30 "
     "net.driver.packet-transmission.31 net.driver.packet-transmission.32 "
     "net.driver.packet-transmission.34")
{
	struct vio_netdrv_offload off, bad;
	struct vio_netdrv_packet pkt;
	uint32_t len;

	if (loop_legacy || loop_narrow)
		SKIP("needs features that this bus has no room for");
	setup(true, 0);
	len = make_tunnel(&off);
#define REFUSED(change, why) do {				\
		bad = off;					\
		bad.change;					\
		CHECK_EQ(send_out(0, len, &bad), why);		\
	} while (0)
	REFUSED(gso_type |= VIRTIO_NET_HDR_GSO_UDP_TUNNEL, VIO_E_INVAL);
	REFUSED(gso_type = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
		VIO_E_UNSUPP);
	REFUSED(gso_type = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 |
			   VIRTIO_NET_HDR_GSO_UDP, VIO_E_UNSUPP);
	REFUSED(gso_type = VIRTIO_NET_HDR_GSO_TCPV4, VIO_E_INVAL);
	REFUSED(flags |= VIRTIO_NET_HDR_F_DATA_VALID, VIO_E_INVAL);
	REFUSED(flags = VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM, VIO_E_INVAL);
	REFUSED(hdr_len = 0, VIO_E_INVAL);
	REFUSED(outer_th = 0, VIO_E_INVAL);
	REFUSED(inner_nh = 34, VIO_E_INVAL);
	REFUSED(inner_nh = 84, VIO_E_INVAL);
	/* Cut on the way, as the wire does not take it whole. */
	CHECK_EQ(send_out(0, len, &off), VIO_OK);
	CHECK_EQ(drain(0, &pkt), 2);
	CHECK_EQ(pkt.gso_type, 0);
	CHECK_EQ(f.drv.pair[0].bad, 0);
	loop_fini(&f.loop);
	setup(false, 0);
	len = make_tunnel(&off);
	CHECK_EQ(send_out(0, len, &off), VIO_E_UNSUPP);
	off.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	CHECK_EQ(send_out(0, len, &off), VIO_E_UNSUPP);
	loop_fini(&f.loop);
}

/* What the wire hands the device, however impossible. */
static unsigned hand(const struct vio_net_meta *m)
{
	struct vio_seg seg = { f.buf, 1500 };
	const struct vio_net_packet p = { .meta = *m, .seg = &seg,
					  .nr_seg = 1, .len = 1500 };
	struct vio_netdrv_packet pkt;

	f.dev.guest_offloads = ~0ull;
	f.dev.merges = false;
	CHECK_EQ(vio_net_receive(&f.dev, 0, &p, 1), 1);
	while (loop_step(&f.loop))
		;
	return drain(0, &pkt);
}

TEST("net: the driver takes no packet whose tunnel cannot be",
     "net.driver.processing-incoming-packets.1 "
     "net.driver.processing-incoming-packets.4 "
     "net.driver.processing-incoming-packets.8 "
     "net.driver.processing-incoming-packets.9 "
     "net.driver.processing-incoming-packets.10")
{
	const struct vio_net_meta good = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
			    VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
		.gso_size = 1000, .csum_start = 84, .csum_offset = 16,
		.outer_th = 34, .inner_nh = 64,
	};
	struct vio_net_meta m;

	if (loop_legacy || loop_narrow)
		SKIP("needs features that this bus has no room for");
	setup(true, ~0ull);
	CHECK_EQ(hand(&good), 1);
#define LIE(change) do {					\
		m = good;					\
		m.change;					\
		CHECK_EQ(hand(&m), 0);				\
	} while (0)
	LIE(gso_type |= VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
	LIE(gso_type = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4);
	LIE(flags = VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM);
	LIE(flags |= VIRTIO_NET_HDR_F_DATA_VALID);
	LIE(inner_nh = 1500);
	LIE(inner_nh = 34);
	LIE(csum_start = 1499);
	m = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM |
			 VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM };
	CHECK_EQ(hand(&m), 0);
	CHECK_EQ(f.drv.pair[0].bad, 8);
	/* Numbers in the place of offsets are none, and need not fit. */
	m = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM |
			 VIRTIO_NET_HDR_F_RSC_INFO,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 10,
		.csum_start = 0xffff, .csum_offset = 0xffff };
	CHECK_EQ(hand(&m), 1);
	/* And flags that nobody knows are nothing. */
	m = (struct vio_net_meta){ .flags = 0xf0 };
	CHECK_EQ(hand(&m), 1);
	vio_feature_clear(&f.drv.drv.features,
			  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO);
	CHECK_EQ(hand(&good), 0);
	loop_fini(&f.loop);
}

/* As a device that lies would fill a buffer. False: there is none. */
static bool fill(unsigned nr_buffers, uint32_t len)
{
	static const unsigned char zero[4096];
	struct virtio_net_hdr hdr = {
		.num_buffers = vio_to_le16((uint16_t)nr_buffers) };
	struct vio_req *req = vio_queue_pop(&f.dev.dev.queue[0]);
	struct vio_cursor c;

	if (!req)
		return false;
	c = vio_req_writer(req);
	CHECK(vio_cursor_write(&c, zero, len));
	c = vio_req_writer(req);
	CHECK(vio_cursor_write(&c, &hdr, len < f.dev.hdr_len ?
					 len : f.dev.hdr_len));
	vio_req_done(req);
	return true;
}

TEST("net: the driver takes no packet of buffers that are not there", "")
{
	const struct {
		unsigned nr;
		uint32_t len[2];	/* 4096: full; 1: not used at all */
	} lie[] = {
		{ 0, { 200, 1 } }, { 0xffff, { 4096, 1 } },
		{ VIO_NETDRV_SEGS + 1, { 4096, 1 } }, { 2, { 200, 1 } },
		{ 2, { 4096, 1 } }, { 2, { 4096, 0 } }, { 1, { 0, 1 } },
		{ 1, { 5, 1 } },
	};
	struct vio_netdrv_packet pkt;
	unsigned out;

	if (loop_legacy || loop_narrow)
		SKIP("needs features that this bus has no room for");
	setup(true, ~0ull);
	out = vio_vq_inflight(&f.drv.pair[0].rx);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(lie); i++) {
		uint64_t bad = f.drv.pair[0].bad;

		for (unsigned k = 0; k < 2 && lie[i].len[k] != 1; k++)
			CHECK(fill(lie[i].nr, lie[i].len[k]));
		CHECK_EQ(drain(0, &pkt), 0);
		CHECK_GT(f.drv.pair[0].bad, bad);
		/* Each buffer is the device's again. */
		CHECK_EQ(vio_vq_inflight(&f.drv.pair[0].rx), out);
		CHECK(!f.drv.pair[0].rx.broken);
	}
	CHECK(fill(2, 4096) && fill(0, 300));
	CHECK_EQ(drain(0, &pkt), 1);
	CHECK_EQ(pkt.len, 4096 + 300 - f.dev.hdr_len);
	loop_fini(&f.loop);
}
