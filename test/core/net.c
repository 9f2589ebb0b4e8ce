/* SPDX-License-Identifier: MIT */
/* net.c - the network device against rings written by hand. */
#include <vireo/net.h>
#include "core/device/net_hdr.h"
#include "test/core/rig.h"
#include "vtest.h"

#include <stdlib.h>

#define HDR	VIRTIO_NET_HDR_LEN
#define W	VIRTQ_DESC_F_WRITE
#define N	VIRTQ_DESC_F_NEXT

enum { RXQ = 0, TXQ = 1 };

static struct rig r;
static struct vio_net net;
static struct vio_queue queue[3];
static unsigned char sent[VIO_NET_PACKET_MAX];
static struct vio_net_meta sent_meta;
static unsigned sent_len, nr_sent, refuse, rooms;
static unsigned admits = ~0u;

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	CHECK(backend == &sent_len);
	CHECK_EQ(pair, 0);
	for (unsigned i = 0; i < nr; i++) {
		if (refuse)
			return i;
		sent_len = 0;
		for (unsigned k = 0; k < pkt[i].nr_seg; k++) {
			memcpy(sent + sent_len, pkt[i].seg[k].base,
			       pkt[i].seg[k].len);
			sent_len += (unsigned)pkt[i].seg[k].len;
		}
		CHECK_EQ(sent_len, pkt[i].len);
		sent_meta = pkt[i].meta;
		nr_sent++;
		admits--;
	}
	return nr;
}

static void wire_room(void *backend, unsigned pair)
{
	(void)backend;
	CHECK_EQ(pair, 0);
	rooms++;
}

static unsigned wire_admit(void *backend, unsigned pair, unsigned max)
{
	CHECK(backend == &sent_len);
	CHECK_EQ(pair, 0);
	return admits < max ? admits : max;
}

static const struct vio_net_backend_ops wire = {
	.send = wire_send, .room = wire_room, .admit = wire_admit,
};

static const struct vio_net_conf conf = {
	.mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500,
};

/* The rig's one ring serves as queue @which, without the features @off. */
static void start_without(unsigned which, const uint8_t *off, unsigned nr)
{
	struct vio_features f;

	nr_sent = sent_len = refuse = rooms = 0;
	admits = ~0u;
	rig_init(&r, queue, 3, vio_net_ctx_size);
	CHECK_EQ(vio_net_init(&net, &conf, queue, &wire, &sent_len), VIO_OK);
	f = *vio_dev_offered(&net.dev);
	vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	/* Its longer header is in net_mq.c. */
	vio_feature_clear(&f, VIRTIO_NET_F_HASH_REPORT);
	for (unsigned i = 0; i < nr; i++)
		vio_feature_clear(&f, off[i]);
	rig_start(&r, &net.dev, &f);
	if (which == TXQ) {
		vio_queue_stop(&queue[0]);
		CHECK_EQ(vio_queue_start(&queue[1], &r.mem, &r.layout, 0, 0),
			 VIO_OK);
	}
}

static void start(unsigned which)
{
	start_without(which, NULL, 0);
}

static void start_unmerged(unsigned which)
{
	start_without(which, (const uint8_t[]){ VIRTIO_NET_F_MRG_RXBUF }, 1);
}

static unsigned char *data(void)
{
	return rig_at(&r, RIG_DATA);
}

/* A header of zeroes and @len bytes that count, in one descriptor. */
static void put_packet(unsigned len)
{
	memset(data(), 0, HDR);
	for (unsigned i = 0; i < len; i++)
		data()[HDR + i] = (unsigned char)(i + 1);
	rig_desc(&r, 0, RIG_DATA, HDR + len, 0, 0);
}

static void kick_tx(void)
{
	rig_avail(&r, 0);
	CHECK_EQ(vio_queue_service(&queue[TXQ], 64), VIO_SERVICE_IDLE);
}

static void expect_used(uint32_t want)
{
	uint32_t id, len = ~0u;

	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, want);
}

/* -- from the driver ----------------------------------------------------- */

TEST("net: a packet goes out as the driver wrote it, however it is cut",
     "net.device.device-configuration-layout.6 "
     "split.device.message-framing.1")
{
	/* Lengths of the first, second and third descriptor. */
	static const unsigned cut[][2] = {
		{ HDR, 60 }, { 1, 11 }, { HDR + 1, 59 }, { HDR - 1, 2 },
		{ 5, 67 }, { HDR + 60, 1440 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(cut); i++) {
		unsigned a = cut[i][0], b = cut[i][1];

		start(TXQ);
		put_packet(1514);
		rig_desc(&r, 0, RIG_DATA, a, N, 1);
		rig_desc(&r, 1, RIG_DATA + a, b, N, 2);
		rig_desc(&r, 2, RIG_DATA + a + b, HDR + 1514 - a - b, 0, 0);
		kick_tx();
		expect_used(0);
		CHECK_EQ(nr_sent, 1);
		CHECK_EQ(sent_len, 1514);
		CHECK_MEMEQ(sent, data() + HDR, 1514);
		CHECK_EQ(net.pair[0].stats.tx_packets, 1);
		CHECK_EQ(net.pair[0].stats.tx_bytes, 1514);
	}
}

TEST("net: what is shorter than a header or longer than a packet is dropped",
     "")
{
	static const unsigned len[] = { 1, HDR - 1, HDR, HDR + 13 };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(len); i++) {
		start(TXQ);
		rig_desc(&r, 0, RIG_DATA, len[i], 0, 0);
		kick_tx();
		expect_used(0);
		CHECK_EQ(nr_sent, 0);
		CHECK_EQ(net.pair[0].stats.tx_malformed, 1);
		CHECK(!rig_broken(&r));
		/* Its neighbours go out. */
		put_packet(14);
		kick_tx();
		CHECK_EQ(nr_sent, 1);
	}
	start(TXQ);
	rig_desc(&r, 0, RIG_LOW, RIG_LEN, N, 1);
	rig_desc(&r, 1, RIG_HIGH, RIG_LEN, 0, 0);
	kick_tx();
	CHECK_EQ(net.pair[0].stats.tx_malformed, 1);
	/* Nothing to read at all, but room to write. */
	start(TXQ);
	rig_desc(&r, 0, RIG_DATA, 100, W, 0);
	kick_tx();
	expect_used(0);
	CHECK_EQ(net.pair[0].stats.tx_malformed, 1);
}

TEST("net: offloads that were not agreed on are dropped, unknown flags ignored",
     "net.device.packet-transmission.1 net.device.packet-transmission.2")
{
	start(TXQ);
	put_packet(60);
	/* DATA_VALID and others are not the driver's to set. */
	data()[0] = 0xfe;
	memset(data() + 6, 0xff, 4);	/* csum_start, csum_offset: not used */
	kick_tx();
	CHECK_EQ(nr_sent, 1);
	CHECK_EQ(sent_meta.flags, 0);
	put_packet(60);
	data()[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	kick_tx();
	put_packet(60);
	data()[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	kick_tx();
	CHECK_EQ(nr_sent, 1);
	CHECK_EQ(net.pair[0].stats.tx_malformed, 2);
}

TEST("net: what the wire refuses is counted, and the buffer comes back", "")
{
	start(TXQ);
	refuse = 1;
	put_packet(60);
	kick_tx();
	expect_used(0);
	CHECK_EQ(net.pair[0].stats.tx_dropped, 1);
	CHECK_EQ(net.pair[0].stats.tx_packets, 0);
}

TEST("net: what the wire does not admit stays in the ring until it says so",
     "")
{
	uint32_t id, len;

	start(TXQ);
	put_packet(60);
	/* Two descriptors: packets of several pieces go another way. */
	rig_desc(&r, 1, RIG_DATA, HDR + 60, 0, 0);
	for (unsigned i = 2; i < 6; i += 2) {
		rig_desc(&r, i, RIG_DATA, HDR, N, i + 1);
		rig_desc(&r, i + 1, RIG_DATA + HDR, 60, 0, 0);
	}
	/* None of them twice among three, as many as are popped. */
	for (unsigned i = 0; i < 8; i++)
		rig_avail(&r, i % 4 < 2 ? i % 4 : i % 4 * 2 - 2);
	for (unsigned done = 0; done < 8; done += admits) {
		admits = 0;
		CHECK_EQ(vio_queue_service(&queue[TXQ], 64),
			 VIO_SERVICE_WAIT);
		CHECK_EQ(nr_sent, done);
		CHECK(!rig_used(&r, &id, &len));
		CHECK_EQ(queue[TXQ].inflight, 0);
		r.ready = 0;
		vio_net_go_on(&net, 0);
		CHECK_EQ(r.ready, 1);
		admits = 3;
		CHECK_EQ(vio_queue_service(&queue[TXQ], 64), done < 6 ?
			 VIO_SERVICE_WAIT : VIO_SERVICE_IDLE);
		CHECK_EQ(nr_sent, done < 6 ? done + 3 : 8);
		while (rig_used(&r, &id, &len))
			;
		admits = 3;
	}
	CHECK_EQ(net.pair[0].stats.tx_packets, 8);
	CHECK_EQ(net.pair[0].stats.tx_dropped, 0);
}

/* -- the header ---------------------------------------------------------- */

static struct vio_features all_features(void)
{
	return (struct vio_features){ { ~0ull, ~0ull } };
}

TEST("net: the header is as long as the features say",
     "net.driver.setting-up-receive-buffers.4")
{
	struct vio_features f = { { 0, 0 } };

	CHECK_EQ(vio_net_hdr_len(&f), 10);
	vio_feature_set(&f, VIRTIO_NET_F_MRG_RXBUF);
	CHECK_EQ(vio_net_hdr_len(&f), 12);
	f = (struct vio_features){ { 0, 0 } };
	vio_feature_set(&f, VIRTIO_F_VERSION_1);
	CHECK_EQ(vio_net_hdr_len(&f), 12);
	vio_feature_set(&f, VIRTIO_NET_F_HASH_REPORT);
	CHECK_EQ(vio_net_hdr_len(&f), 20);
	vio_feature_set(&f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO);
	CHECK_EQ(vio_net_hdr_len(&f), 24);
	vio_feature_clear(&f, VIRTIO_NET_F_HASH_REPORT);
	CHECK_EQ(vio_net_hdr_len(&f), 24);
	vio_feature_clear(&f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO);
	vio_feature_set(&f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO);
	CHECK_EQ(vio_net_hdr_len(&f), 24);
}

static struct virtio_net_hdr header(uint8_t flags, uint8_t gso_type,
				    uint16_t gso_size, uint16_t start,
				    uint16_t offset)
{
	return (struct virtio_net_hdr){
		.flags = flags, .gso_type = gso_type,
		.gso_size = vio_to_le16(gso_size),
		.csum_start = vio_to_le16(start),
		.csum_offset = vio_to_le16(offset),
	};
}

TEST("net: offsets outside the packet and sizes that cannot be are refused",
     "net.device.packet-transmission.8")
{
	const struct vio_features all = all_features();
	const uint8_t need = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	const struct {
		struct virtio_net_hdr h;
		bool good;
	} table[] = {
		{ header(0, 0, 0, 0xffff, 0xffff), true },
		{ header(need, 0, 0, 34, 16), true },
		{ header(need, 0, 0, 98, 0), true },
		{ header(need, 0, 0, 98, 1), false },
		{ header(need, 0, 0, 0xffff, 0), false },
		{ header(need, 0, 0, 0xffff, 0xffff), false },
		{ header(need, 0, 0, 0, 0xffff), false },
		{ header(need, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 16), true },
		{ header(need, VIRTIO_NET_HDR_GSO_TCPV4, 0, 34, 16), false },
		/* Then it is one piece. */
		{ header(need, VIRTIO_NET_HDR_GSO_TCPV4, 0xffff, 34, 16),
		  true },
		{ header(0, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 16), false },
		{ header(need, VIRTIO_NET_HDR_GSO_TCPV4 |
			 VIRTIO_NET_HDR_GSO_ECN, 1448, 34, 16), true },
		{ header(need, VIRTIO_NET_HDR_GSO_UDP_L4 |
			 VIRTIO_NET_HDR_GSO_ECN, 1448, 34, 6), false },
		{ header(need, VIRTIO_NET_HDR_GSO_ECN, 1448, 34, 16), false },
		{ header(need, 2, 1448, 34, 16), false },
		{ header(need, 0x1f, 1448, 34, 16), false },
		{ header(need, 1 | 0x20, 1448, 34, 16), false },
		{ header(need, 1 | 0x20 | 0x40, 1448, 34, 16), false },
	};
	struct vio_net_meta m;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(table); i++) {
		vtest_note("header %u", i);
		CHECK_EQ(vio_net_hdr_check(&table[i].h, 100, &all, &m),
			 table[i].good);
	}
}

/* -- to the driver ------------------------------------------------------- */

static unsigned char wire_bytes[VIO_NET_PACKET_MAX];

static struct vio_seg wire_seg[3];

/* A packet that counts, in three pieces. */
static struct vio_net_packet from_wire(uint32_t len)
{
	uint32_t at[] = { 0, 6, len / 2 > 7 ? len / 2 : 7, len };

	for (uint32_t i = 0; i < len; i++)
		wire_bytes[i] = (unsigned char)(i * 7 + 3);
	for (unsigned i = 0; i < 3; i++)
		wire_seg[i] = (struct vio_seg){ wire_bytes + at[i],
						at[i + 1] - at[i] };
	return (struct vio_net_packet){ .seg = wire_seg, .nr_seg = 3,
					.len = len };
}

/* Buffers of @len bytes each, @nr of them, one descriptor each. */
static void give_buffers(unsigned nr, unsigned len)
{
	memset(r.low + 0x1000, 0xee, RIG_LEN - 0x1000);
	for (unsigned i = 0; i < nr; i++) {
		rig_desc(&r, i, RIG_DATA + i * (uint64_t)len, len, W, 0);
		rig_avail(&r, (uint16_t)i);
	}
}

TEST("net: a packet lands behind a header of zeroes, in one buffer",
     "net.device.processing-incoming-packets.1 "
     "net.device.processing-incoming-packets.5 "
     "net.device.processing-incoming-packets.21 "
     "net.device.processing-incoming-packets.24 "
     "net.device.setting-up-receive-buffers.2")
{
	static const unsigned char want[HDR] = { [10] = 1 };
	struct vio_net_packet p;

	start_unmerged(RXQ);
	give_buffers(1, 2048);
	p = from_wire(60);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	expect_used(HDR + 60);
	CHECK_MEMEQ(data(), want, HDR);
	CHECK_MEMEQ(data() + HDR, wire_bytes, 60);
	CHECK_EQ(data()[HDR + 60], 0xee);
	CHECK_EQ(r.notifies, 1);
	CHECK_EQ(net.pair[0].stats.rx_packets, 1);
	CHECK_EQ(net.pair[0].stats.rx_bytes, 60);
}

TEST("net: a packet flows over into as many buffers as it takes, all full",
     "net.device.processing-incoming-packets.2 "
     "net.device.processing-incoming-packets.3 "
     "net.device.processing-incoming-packets.4 "
     "net.device.setting-up-receive-buffers.1")
{
	struct vio_net_packet p;

	start(RXQ);
	give_buffers(6, 300);
	p = from_wire(1000);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(data()[10], 4);
	CHECK_EQ(data()[11], 0);
	/* One publication for all: none is seen without the others. */
	CHECK_EQ(r.notifies, 1);
	for (unsigned i = 0; i < 3; i++)
		expect_used(300);
	expect_used(HDR + 1000 - 900);
	CHECK_MEMEQ(data() + HDR, wire_bytes, 1000);
	CHECK_EQ(data()[HDR + 1000], 0xee);
	/* Two are left: too few for the next, which uses none of them. */
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 0);
	CHECK_EQ(queue[0].inflight, 2);
	vio_net_drain(&net, 0);
	CHECK_EQ(queue[0].inflight, 0);
	CHECK_EQ(vio_queue_avail_base(&queue[0]), 4);
	p = from_wire(300);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	expect_used(300);
	expect_used(HDR);
	CHECK_EQ(net.pair[0].stats.rx_too_long, 0);
}

TEST("net: a packet that no buffer could hold is dropped, not cut",
     "net.device.setting-up-receive-buffers.2")
{
	struct vio_net_packet p;

	start_unmerged(RXQ);
	give_buffers(2, 200);
	p = from_wire(189);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_too_long, 1);
	p = from_wire(188);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	expect_used(200);
	/* A buffer that cannot even hold the header. */
	start(RXQ);
	give_buffers(4, HDR - 1);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_too_long, 1);
	vio_queue_stop(&queue[0]);
	CHECK_EQ(queue[0].inflight, 0);
}

TEST("net: beyond the MTU nothing is passed on, but a VLAN tag is no payload",
     "net.device.device-configuration-layout.5")
{
	struct vio_net_packet p;

	start(RXQ);
	give_buffers(2, 2048);
	p = from_wire(1514);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_packets, 1);
	p = from_wire(1518);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_too_long, 1);
	wire_bytes[12] = 0x81;
	wire_bytes[13] = 0;
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_packets, 2);
	start_without(RXQ, (const uint8_t[]){ VIRTIO_NET_F_MTU }, 1);
	give_buffers(2, 2048);
	p = from_wire(1600);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	CHECK_EQ(net.pair[0].stats.rx_packets, 1);
}

TEST("net: without buffers packets wait; with the next ones the wire hears",
     "")
{
	struct vio_net_packet p = from_wire(60);

	start(RXQ);
	/* Nobody waits: kicks stay off. */
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_WAIT);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 0);
	vio_net_want_room(&net, 0);
	CHECK_EQ(r.ready, 1);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(rooms, 0);
	give_buffers(1, 2048);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_WAIT);
	CHECK_EQ(rooms, 1);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	vio_net_gave_up(&net, 0, 3);
	CHECK_EQ(net.pair[0].stats.rx_no_room, 3);
}

TEST("net: nothing is delivered before DRIVER_OK, nor while paused",
     "core.device.device-status-field.1")
{
	struct vio_net_packet p = from_wire(60);

	start(RXQ);
	give_buffers(2, 2048);
	queue[0].paused = true;
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 0);
	queue[0].paused = false;
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 1);
	net.dev.status &= ~(uint32_t)VIRTIO_STATUS_DRIVER_OK;
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 0);
	net.dev.status |= VIRTIO_STATUS_DRIVER_OK;
	vio_queue_stop(&queue[0]);
	CHECK_EQ(vio_net_receive(&net, 0, &p, 1), 0);
}

/* -- configuration ------------------------------------------------------- */

TEST("net: configuration says address, link and MTU, and never yields to writes",
     "net.device.device-configuration-layout.2 "
     "net.device.device-configuration-layout.4")
{
	struct vio_net_conf bad = conf;
	unsigned char c[12];

	start(RXQ);
	vio_dev_config_read(&net.dev, 0, c, sizeof(c));
	CHECK_MEMEQ(c, conf.mac, 6);
	CHECK_EQ(c[6], VIRTIO_NET_S_LINK_UP);
	CHECK_EQ(c[10] | c[11] << 8, 1500);
	CHECK_EQ(vio_dev_config_write(&net.dev, 10, "\0\1", 2), VIO_E_PEER);
	vio_net_link(&net, false);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_config_read(&net.dev, 0, c, sizeof(c));
	CHECK_EQ(c[6], 0);
	vio_net_link(&net, true);
	vio_dev_config_read(&net.dev, 0, c, sizeof(c));
	CHECK_EQ(c[6], VIRTIO_NET_S_LINK_UP);
	bad.mtu = 67;
	CHECK_EQ(vio_net_init(&net, &bad, queue, &wire, NULL), VIO_E_INVAL);
	bad = conf;
	bad.mac[0] = 1;		/* a group's address */
	CHECK_EQ(vio_net_init(&net, &bad, queue, &wire, NULL), VIO_E_INVAL);
}
