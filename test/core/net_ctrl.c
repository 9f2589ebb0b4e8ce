/* SPDX-License-Identifier: MIT */
/*
 * net_ctrl.c - the network device's control queue against rings written by
 * hand: each command, each way to spoil it, and what it changes.
 */
#include <vireo/net.h>
#include "core/device/net_int.h"
#include "test/core/rig.h"
#include "vtest.h"

#define W	VIRTQ_DESC_F_WRITE
#define N	VIRTQ_DESC_F_NEXT
#define CTRL	2u

static struct rig r;
static struct vio_net net;
static struct vio_queue queue[3];
static unsigned char scratch[VIO_NET_PACKET_MAX];

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	(void)backend;
	(void)pair;
	(void)pkt;
	return nr;
}

static const struct vio_net_backend_ops wire = { .send = wire_send };
static const uint8_t own[6] = { 2, 0, 0, 0, 0, 1 };

/* The rig's ring serves as control queue, without the feature @off. */
static void start_without(unsigned off)
{
	struct vio_net_conf conf = { .mtu = 1500, .scratch = scratch };
	struct vio_features f;

	memcpy(conf.mac, own, 6);
	rig_init(&r, queue, 3, vio_net_ctx_size);
	CHECK_EQ(vio_net_init(&net, &conf, queue, &wire, NULL), VIO_OK);
	f = *vio_dev_offered(&net.dev);
	vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	vio_feature_clear(&f, off);
	/* These need most of the others. */
	vio_feature_clear(&f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO);
	vio_feature_clear(&f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM);
	rig_start(&r, &net.dev, &f);
	vio_queue_stop(&queue[0]);
	CHECK_EQ(vio_queue_start(&queue[CTRL], &r.mem, &r.layout, 0, 0),
		 VIO_OK);
	vio_queue_service(&queue[CTRL], 64);
}

static void start(void)
{
	start_without(VIRTIO_F_EVENT_IDX);
}

/* Returns the acknowledgement. */
static unsigned command(uint8_t class_, uint8_t cmd, const void *data,
			uint32_t len)
{
	unsigned char *at = rig_at(&r, RIG_DATA);
	uint32_t id, used;

	at[0] = class_;
	at[1] = cmd;
	memcpy(at + 2, data, len);
	*(unsigned char *)rig_at(&r, RIG_HIGH) = 0xee;
	/* The header is cut in two: framing plays no part. */
	rig_desc(&r, 0, RIG_DATA, 1, N, 1);
	rig_desc(&r, 1, RIG_DATA + 1, 1 + len, N, 2);
	rig_desc(&r, 2, RIG_HIGH, 1, W, 0);
	rig_avail(&r, 0);
	CHECK_EQ(vio_queue_service(&queue[CTRL], 64), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &used));
	CHECK_EQ(used, 1);
	return *(unsigned char *)rig_at(&r, RIG_HIGH);
}

#define OK(...) CHECK_EQ(command(__VA_ARGS__), VIRTIO_NET_OK)
#define ERR(...) CHECK_EQ(command(__VA_ARGS__), VIRTIO_NET_ERR)

static bool wanted(const uint8_t *mac, int vlan)
{
	unsigned char bytes[64] = { 0 };
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					  .len = sizeof(bytes) };

	memcpy(bytes, mac, 6);
	if (vlan >= 0) {
		bytes[12] = 0x81;
		bytes[14] = (unsigned char)(0xe0 | vlan >> 8);
		bytes[15] = (unsigned char)vlan;
	}
	return vio_net_wanted(&net, &p);
}

static const uint8_t other[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 9 };
static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

TEST("net: after a reset only what is addressed to it, or to all, comes in",
     "net.device.setting-mac-address-filtering.1 "
     "net.device.setting-mac-address-filtering.4")
{
	start();
	CHECK(wanted(own, -1));
	CHECK(wanted(all, -1));
	CHECK(!wanted(other, -1));
	CHECK(!wanted(group, -1));
	/* Stopped, as before its state is saved, it is as picky. */
	vio_queue_stop(&queue[CTRL]);
	CHECK(!wanted(other, -1));
	/* A front end that keeps the queue to itself: all is passed on. */
	CHECK_EQ(vio_dev_reset(&net.dev), VIO_OK);
	CHECK(wanted(other, -1));
}

TEST("net: receive modes, each alone and one over the other",
     "net.device.packet-receive-filtering.1 "
     "net.device.packet-receive-filtering.2 "
     "net.device.packet-receive-filtering.3 "
     "net.device.packet-receive-filtering.4 "
     "net.device.packet-receive-filtering.5 "
     "net.device.packet-receive-filtering.6 "
     "net.device.packet-receive-filtering.7 "
     "net.device.packet-receive-filtering.8 "
     "net.device.packet-receive-filtering.9 "
     "net.device.packet-receive-filtering.10 "
     "net.device.packet-receive-filtering.11 "
     "net.device.packet-receive-filtering.12 "
     "net.device.packet-receive-filtering.13")
{
	start();
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\1", 1);
	CHECK(wanted(group, -1) && !wanted(other, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, "\1", 1);
	CHECK(!wanted(group, -1) && wanted(all, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, "\1", 1);
	CHECK(!wanted(all, -1) && wanted(own, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, "\1", 1);
	CHECK(wanted(other, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, "\1", 1);
	CHECK(!wanted(other, -1) && !wanted(own, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1);
	CHECK(wanted(other, -1) && wanted(group, -1) && wanted(all, -1));
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1);
	CHECK(!wanted(own, -1));
	ERR(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\2", 1);
	ERR(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1\1", 2);
	ERR(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "", 0);
	ERR(VIRTIO_NET_CTRL_RX, 6, "\1", 1);
	CHECK(!net.filter.promisc);
	vio_dev_reset(&net.dev);
	CHECK(!net.filter.nouni && !net.filter.allmulti);
	start_without(VIRTIO_NET_F_CTRL_RX_EXTRA);
	ERR(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, "\1", 1);
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\1", 1);
}

/* Two tables of @a and @b entries; @lie is added to the second's number. */
static uint32_t tables(unsigned char *to, unsigned a, unsigned b,
		       uint32_t lie)
{
	unsigned char *p = to;
	uint32_t n = b + lie;

	memcpy(p, &(vio_le32){ vio_to_le32(a).raw }, 4);
	for (p += 4; a--; p += 6)
		memcpy(p, other, 6);
	memcpy(p, &(vio_le32){ vio_to_le32(n).raw }, 4);
	for (p += 4; b--; p += 6)
		memcpy(p, group, 6);
	return (uint32_t)(p - to);
}

TEST("net: address tables are taken whole or not at all",
     "net.device.setting-mac-address-filtering.1 "
     "net.device.setting-mac-address-filtering.2 "
     "net.device.packet-receive-filtering.1")
{
	unsigned char t[2048];
	uint32_t len;

	start();
	len = tables(t, 1, 1, 0);
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	CHECK(wanted(other, -1) && wanted(group, -1) && wanted(own, -1));
	/* Each way to be too short or too long leaves them as they are. */
	for (uint32_t i = 0; i < len; i++)
		ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, i);
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len + 1);
	len = tables(t, 0, 1, 0xffffffff);
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	len = tables(t, 0, 1, 0x2aaaaaab);	/* times 6 it wraps */
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	CHECK(wanted(other, -1) && wanted(group, -1));
	len = tables(t, 0, 0, 0);
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	CHECK(!wanted(other, -1) && !wanted(group, -1));
	/* More than it can tell apart: all of that kind. */
	len = tables(t, 0, VIO_NET_MACS + 1, 0);
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	CHECK(!wanted(other, -1) && wanted(group, -1));
	CHECK_GT(net.ctrl_refused, 10);
	len = tables(t, 1, 1, 0);
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	CHECK_EQ(vio_dev_reset(&net.dev), VIO_OK);
	CHECK_EQ(net.filter.nr_uni + net.filter.nr_multi, 0);
}

TEST("net: a new address holds in the filter and in the configuration",
     "net.device.setting-mac-address-filtering.3")
{
	unsigned char mac[6];

	start();
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6);
	CHECK(wanted(other, -1) && !wanted(own, -1));
	vio_dev_config_read(&net.dev, 0, mac, 6);
	CHECK_MEMEQ(mac, other, 6);
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group, 6);
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 5);
	vio_dev_reset(&net.dev);
	vio_dev_config_read(&net.dev, 0, mac, 6);
	CHECK_MEMEQ(mac, own, 6);
	start_without(VIRTIO_NET_F_CTRL_MAC_ADDR);
	ERR(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6);
}

TEST("net: tagged packets come in by the VLAN table alone",
     "net.device.vlan-filtering.1 net.device.vlan-filtering.2")
{
	start();
	CHECK(!wanted(own, 5) && wanted(own, -1));
	OK(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\5\0", 2);
	OK(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\xff\x0f", 2);
	CHECK(wanted(own, 5) && wanted(own, 4095) && !wanted(own, 6));
	OK(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, "\5\0", 2);
	CHECK(!wanted(own, 5));
	ERR(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\0\x10", 2);
	ERR(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\1", 1);
	ERR(VIRTIO_NET_CTRL_VLAN, 2, "\5\0", 2);
	start_without(VIRTIO_NET_F_CTRL_VLAN);
	CHECK(wanted(own, 5));
	ERR(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\5\0", 2);
}

TEST("net: an announcement is asked for until it is acknowledged",
     "net.device.gratuitous-packet-sending.1")
{
	unsigned char status;

	start();
	vio_net_announce(&net);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_config_read(&net.dev, 6, &status, 1);
	CHECK_EQ(status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	OK(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0);
	vio_dev_config_read(&net.dev, 6, &status, 1);
	CHECK_EQ(status, VIRTIO_NET_S_LINK_UP);
	ERR(VIRTIO_NET_CTRL_ANNOUNCE, 1, "", 0);
	start_without(VIRTIO_NET_F_GUEST_ANNOUNCE);
	vio_net_announce(&net);
	CHECK_EQ(r.config_changes, 0);
	ERR(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0);
}

TEST("net: the driver switches its offloads, but only those it has", "")
{
	const vio_le64 some = vio_to_le64(1u << VIRTIO_NET_F_GUEST_CSUM |
					  1u << VIRTIO_NET_F_GUEST_TSO4);
	const vio_le64 wrong = vio_to_le64(1u << VIRTIO_NET_F_MAC);

	start();
	CHECK(net.guest_offloads >> VIRTIO_NET_F_GUEST_TSO6 & 1);
	OK(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	   &some, 8);
	CHECK_EQ(net.guest_offloads, vio_from_le64(some));
	ERR(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
	    VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wrong, 8);
	ERR(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
	    VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &some, 7);
	CHECK_EQ(net.guest_offloads, vio_from_le64(some));
	start_without(VIRTIO_NET_F_GUEST_TSO4);
	ERR(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
	    VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &some, 8);
}

TEST("net: speed and duplex stand in the configuration, and only then",
     "net.device.device-configuration-layout.10 "
     "net.device.device-configuration-layout.11")
{
	struct vio_net_conf conf = { .speed = 10000, .standby = true };
	unsigned char c[17];

	rig_init(&r, queue, 3, vio_net_ctx_size);
	CHECK_EQ(vio_net_init(&net, &conf, queue, &wire, NULL), VIO_OK);
	CHECK(vio_has(vio_dev_offered(&net.dev), VIRTIO_NET_F_SPEED_DUPLEX));
	CHECK(vio_has(vio_dev_offered(&net.dev), VIRTIO_NET_F_STANDBY));
	vio_dev_config_read(&net.dev, 0, c, sizeof(c));
	CHECK_EQ(c[12] | c[13] << 8, 10000);
	CHECK_EQ(c[16], 1);	/* full: see doc/standard-notes.md */
	start();
	CHECK(!vio_has(vio_dev_offered(&net.dev), VIRTIO_NET_F_SPEED_DUPLEX));
	CHECK(!vio_has(vio_dev_offered(&net.dev), VIRTIO_NET_F_STANDBY));
}

TEST("net: commands unknown, cut off or without room for an answer", "")
{
	uint32_t id, len;

	start();
	ERR(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1\0", 2);
	ERR(0xff, 0, "\1", 1);
	/* One byte of a header. */
	rig_desc(&r, 0, RIG_DATA, 1, N, 1);
	rig_desc(&r, 1, RIG_HIGH, 1, W, 0);
	rig_avail(&r, 0);
	vio_queue_service(&queue[CTRL], 64);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 1);
	CHECK_EQ(*(unsigned char *)rig_at(&r, RIG_HIGH), VIRTIO_NET_ERR);
	/* Nowhere to answer: not carried out. */
	memcpy(rig_at(&r, RIG_DATA), "\0\0\1", 3);
	rig_desc(&r, 0, RIG_DATA, 3, 0, 0);
	rig_avail(&r, 0);
	vio_queue_service(&queue[CTRL], 64);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 0);
	CHECK(!net.filter.promisc);
	CHECK(!rig_broken(&r));
}

/* Another device of the kind, as after a start, given the state. */
static int go_on(const unsigned char *state, uint32_t len)
{
	start();
	return vio_dev_load(&net.dev, state, len);
}

TEST("net: what the driver commanded goes on in another process", "")
{
	static unsigned char state[4096], again[4096], t[2048];
	unsigned char mac[6];
	uint32_t len;

	start();
	OK(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, "\1", 1);
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t,
	   tables(t, 0, 1, 0));
	OK(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6);
	OK(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x34\1", 2);
	len = vio_dev_save(&net.dev, state, sizeof(state));
	CHECK_LT(len, sizeof(state));
	CHECK_EQ(vio_dev_save(&net.dev, NULL, 0), len);
	CHECK_EQ(go_on(state, len), VIO_OK);
	vio_queue_service(&queue[CTRL], 64);
	CHECK(wanted(other, -1) && wanted(group, -1));
	CHECK(!wanted(own, -1) && !wanted(all, -1));
	CHECK(wanted(other, 0x134) && !wanted(other, 0x135));
	vio_dev_config_read(&net.dev, 0, mac, 6);
	CHECK_MEMEQ(mac, other, 6);
	/* There, and there again: the same bytes. */
	CHECK_EQ(vio_dev_save(&net.dev, again, sizeof(again)), len);
	CHECK_MEMEQ(again, state, len);
	vio_dev_reset(&net.dev);
	CHECK(!net.filter.nobcast);
}

TEST("net: a state that makes no sense is refused", "")
{
	static unsigned char state[4096], bad[4096];
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	unsigned refused = 0;
	uint32_t len;

	start();
	len = vio_dev_save(&net.dev, state, sizeof(state));
	for (unsigned i = 0; i < 2000; i++) {
		memcpy(bad, state, len);
		for (unsigned n = 0; n < 3; n++)
			bad[vtest_below(&rand, len)] =
				(unsigned char)vtest_below(&rand, 256);
		refused += go_on(bad, len) != VIO_OK;
		/* Whatever it took, packets find a pair that is there. */
		CHECK_LE(net.filter.nr_uni, VIO_NET_MACS);
		CHECK_LE(net.filter.nr_multi, VIO_NET_MACS);
		CHECK_EQ(net.steering.pairs, 1);
		CHECK_EQ(net.steering.table.unclassified, 0);
		CHECK_EQ(net.steering.table.pair[0], 0);
	}
	CHECK_GT(refused, 100);
}
