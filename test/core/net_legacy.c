/* SPDX-License-Identifier: MIT */
/*
 * net_legacy.c - the network device and a driver from before VERSION_1, on a
 * machine of the other byte order too. Its rings are little-endian all the
 * same, which the rig writes by hand: it is the numbers in them that count.
 */
#include <vireo/net.h>
#include "test/core/rig.h"
#include "vtest.h"

#define HDR	VIRTIO_NET_HDR_LEN
#define W	VIRTQ_DESC_F_WRITE
#define N	VIRTQ_DESC_F_NEXT

enum { RXQ = 0, TXQ = 1, CTRLQ = 2 };

static struct rig r;
static struct vio_net net;
static struct vio_queue queue[3];
static unsigned char scratch[VIO_NET_PACKET_MAX];
static struct vio_net_meta meta;
static unsigned nr_sent;

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	(void)backend;
	(void)pair;
	meta = pkt[nr - 1].meta;
	nr_sent += nr;
	return nr;
}

static const struct vio_net_backend_ops wire = { .send = wire_send };

/* A big-endian driver, of the features that are offered less @without. */
static void start(unsigned which, uint64_t without)
{
	const struct vio_net_conf conf = {
		.mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .scratch = scratch,
		.offloads = 1ull << VIRTIO_NET_F_CSUM |
			    1ull << VIRTIO_NET_F_HOST_TSO4,
	};

	nr_sent = 0;
	rig_init(&r, queue, 3, vio_net_ctx_size);
	CHECK_EQ(vio_net_init(&net, &conf, queue, &wire, NULL), VIO_OK);
	net.dev.offered.w[0] &= ~without;
	vio_dev_transitional(&net.dev);
	rig_start_legacy(&r, &net.dev);
	if (which != RXQ) {
		vio_queue_stop(&queue[RXQ]);
		CHECK_EQ(vio_queue_start(&queue[which], &r.mem, &r.layout, 0,
					 0), VIO_OK);
	}
	vio_dev_set_guest_endian(&net.dev, true);
}

static unsigned char *data(void)
{
	return rig_at(&r, RIG_DATA);
}

static void put16(unsigned at, uint16_t v)
{
	data()[at] = (unsigned char)(v >> 8);
	data()[at + 1] = (unsigned char)v;
}

TEST("net: a big-endian legacy driver's header says the same",
     "net.other.legacy-interface-device-operation.1")
{
	start(TXQ, 0);
	memset(data(), 0, HDR + 100);
	data()[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	data()[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	put16(2, 54);
	put16(4, 1000);
	put16(6, 34);
	put16(8, 16);
	rig_desc(&r, 0, RIG_DATA, HDR + 100, 0, 0);
	rig_avail(&r, 0);
	vio_queue_service(&queue[TXQ], 16);
	CHECK_EQ(nr_sent, 1);
	CHECK_EQ(net.pair[0].stats.tx_malformed, 0);
	CHECK_EQ(meta.hdr_len, 54);
	CHECK_EQ(meta.gso_size, 1000);
	CHECK_EQ(meta.csum_start, 34);
	CHECK_EQ(meta.csum_offset, 16);
}

TEST("net: a big-endian legacy driver is told of a packet in its own order",
     "net.other.legacy-interface-device-operation.1")
{
	static unsigned char bytes[300];
	const struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = {
		.seg = &seg, .nr_seg = 1, .len = sizeof(bytes),
		.meta = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			  .csum_start = 34, .csum_offset = 6 },
	};

	start(RXQ, 0);
	for (unsigned i = 0; i < 2; i++) {
		rig_desc(&r, i, RIG_DATA + i * 1024, 200, W, 0);
		rig_avail(&r, (uint16_t)i);
	}
	memcpy(bytes, net.conf.mac, 6);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_packets, 1);
	CHECK_MEMEQ(data() + 6, "\0\x22\0\6\0\2", 6);
}

/* One command, its data and room for the answer. */
static unsigned char command(uint8_t class_, uint8_t cmd, const void *bytes,
			     unsigned len)
{
	const unsigned char head[2] = { class_, cmd };

	memcpy(data(), head, 2);
	memcpy(data() + 2, bytes, len);
	data()[1024] = 0x55;
	rig_desc(&r, 0, RIG_DATA, 2, N, 1);
	rig_desc(&r, 1, RIG_DATA + 2, len, N, 2);
	rig_desc(&r, 2, RIG_DATA + 1024, 1, W, 0);
	rig_avail(&r, 0);
	vio_queue_service(&queue[CTRLQ], 16);
	return data()[1024];
}

TEST("net: a big-endian legacy driver's commands say the same",
     "net.other.legacy-interface-setting-mac-address-filtering.1 "
     "net.other.legacy-interface-vlan-filtering.1 "
     "net.other.legacy-interface-setting-offloads-state.1")
{
	static const unsigned char table[] = { 0, 0, 0, 2, 2, 0, 0, 0, 0, 5,
		2, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 0, 0, 0, 0, 7 };
	unsigned char offloads[8] = { 0 };

	start(CTRLQ, 0);
	CHECK_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
			 table, sizeof(table)), VIRTIO_NET_OK);
	CHECK_EQ(net.filter.nr_uni, 2);
	CHECK_EQ(net.filter.nr_multi, 1);
	CHECK_EQ(net.filter.multi[0][5], 7);
	CHECK_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD,
			 "\1\2", 2), VIRTIO_NET_OK);
	CHECK_EQ(net.filter.vlan[0x102 / 32], 1u << 0x102 % 32);
	offloads[7] = 1u << VIRTIO_NET_F_GUEST_CSUM;
	CHECK_EQ(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, offloads, 8),
		 VIRTIO_NET_OK);
	CHECK_EQ(net.guest_offloads, 1u << VIRTIO_NET_F_GUEST_CSUM);
}

TEST("net: a big-endian legacy driver reads the configuration in its order",
     "net.other.legacy-interface-device-configuration-layout.1")
{
	unsigned char c[12];

	start(TXQ, 0);
	vio_dev_config_read(&net.dev, 0, c, sizeof(c));
	CHECK_MEMEQ(c, "\2\0\0\0\0\1\0\1\0\1\x05\xdc", 12);
}

TEST("net: an address that a legacy driver writes counts with its last byte",
     "net.other.legacy-interface-setting-mac-address-filtering.2")
{
	static const unsigned char mac[] = { 6, 5, 4, 3, 2, 7 };

	start(TXQ, 1ull << VIRTIO_NET_F_CTRL_MAC_ADDR);
	for (uint32_t i = 0; i < 6; i++) {
		CHECK_EQ(net.filter.mac[0], 2);
		CHECK_EQ(vio_dev_config_write(&net.dev, i, &mac[i], 1),
			 VIO_OK);
	}
	CHECK_MEMEQ(net.filter.mac, mac, 6);
	CHECK_EQ(vio_dev_config_write(&net.dev, 6, mac, 1), VIO_E_PEER);
	/* With a command for it, this is none of the driver's business. */
	start(TXQ, 0);
	CHECK_EQ(vio_dev_config_write(&net.dev, 0, mac, 6), VIO_E_PEER);
	CHECK_EQ(net.filter.mac[0], 2);
}
