/* SPDX-License-Identifier: MIT */
/*
 * net_mq.c - several pairs: steering by what the driver sends, by a table,
 * and the hash, against the vectors that were published with it.
 */
#include "core/device/net_hash.h"
#include "test/core/netrig.h"
#include "vtest.h"

#define SEG(b)	{ .base = (b), .len = sizeof(b) }

static struct netrig n;

/* The key and the vectors of the RSS verification suite. */
static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
	0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct {
	uint8_t src[4], dst[4];
	uint16_t sport, dport;
	uint32_t ip, tcp;
} v4[] = {
	{ { 66, 9, 149, 187 }, { 161, 142, 100, 80 }, 2794, 1766,
	  0x323e8fc2, 0x51ccc178 },
	{ { 199, 92, 111, 2 }, { 65, 69, 140, 83 }, 14230, 4739,
	  0xd718262a, 0xc626b0ea },
	{ { 24, 19, 198, 95 }, { 12, 22, 207, 184 }, 12898, 38024,
	  0xd2d0a5de, 0x5c2b394a },
	{ { 38, 27, 205, 30 }, { 209, 142, 163, 6 }, 48228, 2217,
	  0x82989176, 0xafc7327f },
	{ { 153, 39, 163, 191 }, { 202, 188, 127, 2 }, 44251, 1303,
	  0x5d1809c5, 0x10e828a2 },
};

static const struct {
	uint16_t src[8], dst[8];
	uint16_t sport, dport;
	uint32_t ip, tcp;
} v6[] = {
	{ { 0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7 },
	  { 0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1 }, 2794, 1766,
	  0x2cc18cd5, 0x40207d3d },
	{ { 0x3ffe, 0x501, 8, 0, 0x260, 0x97ff, 0xfe40, 0xefab },
	  { 0xff02, 0, 0, 0, 0, 0, 0, 1 }, 14230, 4739,
	  0x0f0c461c, 0xdde51bbf },
	{ { 0x3ffe, 0x1900, 0x4545, 3, 0x200, 0xf8ff, 0xfe21, 0x67cf },
	  { 0xfe80, 0, 0, 0, 0x200, 0xf8ff, 0xfe21, 0x67cf }, 44251, 38024,
	  0x4b61e985, 0x02d1feef },
};

enum { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_OTHER = 132 };

static unsigned char bytes[256];

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static void put_ports(unsigned char *p, unsigned sport, unsigned dport)
{
	put16(p, sport);
	put16(p + 2, dport);
}

/* An IPv4 packet in bytes[], to the device's own address. */
static void make_v4(unsigned i, unsigned proto)
{
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, n.conf.mac, 6);
	put16(bytes + 12, 0x0800);
	bytes[14] = 0x45;
	bytes[23] = (unsigned char)proto;
	memcpy(bytes + 26, v4[i].src, 4);
	memcpy(bytes + 30, v4[i].dst, 4);
	put_ports(bytes + 34, v4[i].sport, v4[i].dport);
}

static void make_v6(unsigned i, unsigned proto)
{
	memset(bytes, 0, sizeof(bytes));
	put16(bytes + 12, 0x86dd);
	bytes[14] = 0x60;
	bytes[20] = (unsigned char)proto;
	for (unsigned k = 0; k < 8; k++) {
		put16(bytes + 22 + 2 * k, v6[i].src[k]);
		put16(bytes + 38 + 2 * k, v6[i].dst[k]);
	}
	put_ports(bytes + 54, v6[i].sport, v6[i].dport);
}

/* The same, with the addresses of a mobile node in extension headers. */
static void make_mobile(unsigned i, unsigned proto)
{
	unsigned char *p = bytes + 54;

	make_v6(i, 60);
	/* destination options: padding, home address */
	p[0] = 43;
	p[1] = 2;
	p[2] = 1;
	p[3] = 2;
	p[6] = 0xc9;
	p[7] = 16;
	memcpy(p + 8, bytes + 22, 16);
	p += 24;
	/* routing header type 2 */
	p[0] = (unsigned char)proto;
	p[1] = 2;
	p[2] = 2;
	p[3] = 1;
	memcpy(p + 8, bytes + 38, 16);
	put_ports(p + 24, v6[i].sport, v6[i].dport);
	memset(bytes + 22, 0x11, 32);
}

static uint16_t hash(uint32_t types, uint32_t *value, unsigned len)
{
	struct vio_seg seg[2] = { { bytes, 17 }, { bytes + 17, len - 17 } };
	const struct vio_net_packet p = { .seg = seg, .nr_seg = 2,
					  .len = len };
	struct vio_net_toeplitz t;
	struct vio_net_flow flow;

	vio_net_toeplitz_set(&t, key, sizeof(key));
	vio_net_flow_read(&p, &flow);
	return vio_net_flow_hash(&flow, types, &t, value);
}

static void expect_hash(uint32_t types, uint16_t report, uint32_t want)
{
	uint32_t value = 0;

	CHECK_EQ(hash(types, &value, 200), report);
	CHECK_EQ(value, want);
}

#define T(x)	VIRTIO_NET_HASH_TYPE_ ## x
#define R(x)	VIRTIO_NET_HASH_REPORT_ ## x

TEST("net: hashes of IPv4 are those of the verification suite", "")
{
	for (unsigned i = 0; i < VIO_ARRAY_LEN(v4); i++) {
		make_v4(i, PROTO_TCP);
		expect_hash(T(IPv4), R(IPv4), v4[i].ip);
		expect_hash(T(IPv4) | T(TCPv4), R(TCPv4), v4[i].tcp);
		expect_hash(T(IPv4) | T(UDPv4), R(IPv4), v4[i].ip);
		expect_hash(T(UDPv4) | T(IPv6), R(NONE), 0);
		make_v4(i, PROTO_UDP);
		expect_hash(T(TCPv4) | T(UDPv4), R(UDPv4), v4[i].tcp);
		make_v4(i, PROTO_OTHER);
		expect_hash(VIO_NET_HASH_TYPES, R(IPv4), v4[i].ip);
		/* Fragments have no ports, not even the first one. */
		make_v4(i, PROTO_TCP);
		bytes[20] = 0x20;
		expect_hash(VIO_NET_HASH_TYPES, R(IPv4), v4[i].ip);
	}
}

TEST("net: hashes of IPv6, with and without extension headers", "")
{
	for (unsigned i = 0; i < VIO_ARRAY_LEN(v6); i++) {
		make_v6(i, PROTO_TCP);
		expect_hash(T(IPv6), R(IPv6), v6[i].ip);
		expect_hash(VIO_NET_HASH_TYPES, R(TCPv6), v6[i].tcp);
		make_v6(i, PROTO_UDP);
		expect_hash(T(UDPv6) | T(IPv6), R(UDPv6), v6[i].tcp);
		make_mobile(i, PROTO_TCP);
		expect_hash(VIO_NET_HASH_TYPES, R(TCPv6_EX), v6[i].tcp);
		expect_hash(T(IP_EX), R(IPv6_EX), v6[i].ip);
		make_mobile(i, PROTO_UDP);
		expect_hash(T(UDP_EX), R(UDPv6_EX), v6[i].tcp);
		expect_hash(T(TCPv6), R(NONE), 0);
	}
	/* Without the types for them extension headers are skipped. */
	make_v6(0, 60);
	memset(bytes + 54, 0, 8);
	bytes[54] = PROTO_TCP;
	put_ports(bytes + 62, v6[0].sport, v6[0].dport);
	expect_hash(T(TCPv6), R(TCPv6), v6[0].tcp);
	expect_hash(T(TCP_EX), R(TCPv6_EX), v6[0].tcp);
	/* A fragment's ports lie elsewhere. */
	bytes[20] = 44;
	bytes[57] = 1;
	expect_hash(VIO_NET_HASH_TYPES, R(IPv6_EX), v6[0].ip);
}

TEST("net: cut off anywhere, a packet's headers are read to their end only",
     "")
{
	uint32_t value;

	for (unsigned len = 18; len < 120; len++) {
		make_mobile(0, PROTO_TCP);
		memset(bytes + len, 0xff, sizeof(bytes) - len);
		CHECK_LE(hash(VIO_NET_HASH_TYPES, &value, len), R(UDPv6_EX));
		make_v4(0, PROTO_TCP);
		CHECK_LE(hash(VIO_NET_HASH_TYPES, &value, len), R(TCPv4));
	}
}

/* -- the device ---------------------------------------------------------- */

static void start(void)
{
	netrig_init(&n);
	netrig_start(&n, NULL, 0);
	CHECK_EQ(netrig_command(&n, VIRTIO_NET_CTRL_RX,
				VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1, NULL, 0,
				NULL), VIRTIO_NET_OK);
	netrig_offer(&n, RX0, 8);
	netrig_offer(&n, RX1, 8);
}

static unsigned mq(uint8_t cmd, const void *data, uint32_t len)
{
	return netrig_command(&n, VIRTIO_NET_CTRL_MQ, cmd, data, len, NULL, 0,
			      NULL);
}

static unsigned set_pairs(uint16_t nr)
{
	const vio_le16 v = vio_to_le16(nr);

	return mq(VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &v, 2);
}

/* virtio_net_rss_config of four entries, all of them @pair but one. */
static uint32_t make_rss(unsigned char *p, uint32_t types, uint16_t pair)
{
	const uint16_t table[4] = { pair, pair, pair, 0 };

	memset(p, 0, 100);
	memcpy(p, &(vio_le32){ vio_to_le32(types).raw }, 4);
	p[4] = 3;		/* mask */
	p[6] = 0;		/* unclassified */
	for (unsigned i = 0; i < 4; i++)
		p[8 + 2 * i] = (unsigned char)table[i];
	p[16] = 2;		/* max_tx_vq */
	p[18] = sizeof(key);
	memcpy(p + 19, key, sizeof(key));
	return 19 + sizeof(key);
}

static unsigned receive(unsigned pair)
{
	struct vio_seg seg = { bytes, 100 };
	const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					  .len = 100 };

	return vio_net_receive(&n.net, pair, &p, 1);
}

static struct virtio_net_hdr *got(unsigned q)
{
	uint32_t len;

	return (struct virtio_net_hdr *)(void *)netrig_got(&n, q, &len);
}

TEST("net: all comes in on the first queue until the driver says otherwise",
     "net.device.automatic-receive-steering-multiqueue-mode.1 "
     "net.device.automatic-receive-steering-multiqueue-mode.2 "
     "net.device.device-configuration-layout.1 "
     "net.other.automatic-receive-steering-multiqueue-mode.1 "
     "net.other.automatic-receive-steering-multiqueue-mode.2 "
     "net.other.automatic-receive-steering-multiqueue-mode.3 "
     "net.other.automatic-receive-steering-multiqueue-mode.4 "
     "net.other.automatic-receive-steering-multiqueue-mode.5 "
     "net.other.device-operation-multiqueue-mode.1 "
     "net.other.device-operation-multiqueue-mode.2")
{
	const struct virtio_net_hdr none = { .flags = 0 };
	unsigned char c[2];

	start();
	CHECK(vio_has(vio_dev_offered(&n.net.dev), VIRTIO_NET_F_RSS));
	vio_dev_config_read(&n.net.dev, 8, c, 2);
	CHECK_EQ(c[0] | c[1] << 8, 2);
	make_v4(0, PROTO_TCP);
	CHECK_EQ(receive(1), 1);
	CHECK(got(RX0) && !got(RX1));
	/* What is sent before there is a choice is not remembered. */
	netrig_send(&n, TX1, &none, bytes, 100);
	CHECK_EQ(set_pairs(2), VIRTIO_NET_OK);
	for (unsigned q = 0; q < 2; q++) {
		netrig_send(&n, q ? TX1 : TX0, &none, bytes, 100);
		/* The answer has the ends exchanged. */
		memcpy(bytes + 26, v4[0].dst, 4);
		memcpy(bytes + 30, v4[0].src, 4);
		put_ports(bytes + 34, v4[0].dport, v4[0].sport);
		CHECK_EQ(receive(0), 1);
		CHECK_EQ(receive(1), 1);
		CHECK(got(q ? RX1 : RX0) && got(q ? RX1 : RX0));
		CHECK(!got(q ? RX0 : RX1));
		make_v4(0, PROTO_TCP);
	}
	CHECK_EQ(set_pairs(1), VIRTIO_NET_OK);
	CHECK_EQ(receive(1), 1);
	CHECK(got(RX0) && !got(RX1));
}

TEST("net: where the front end keeps the control queue, all pairs that run are used",
     "net.device.automatic-receive-steering-multiqueue-mode.3")
{
	const unsigned off[] = { VIRTIO_NET_F_CTRL_VQ };
	const struct virtio_net_hdr none = { .flags = 0 };
	unsigned count[2] = { 0 };

	netrig_init(&n);
	netrig_start(&n, off, 1);
	netrig_offer(&n, RX0, 8);
	netrig_offer(&n, RX1, 8);
	make_v4(0, PROTO_UDP);
	for (unsigned i = 0; i < 32; i++) {
		put_ports(bytes + 34, 1000 + i * 77, 53);
		CHECK_EQ(receive(0), 1);
		for (unsigned q = 0; q < 2; q++) {
			if (!got(q ? RX1 : RX0))
				continue;
			netrig_offer(&n, q ? RX1 : RX0, 1);
			count[q]++;
		}
	}
	CHECK_EQ(count[0] + count[1], 32);
	CHECK(count[0] >= 8 && count[1] >= 8);
	/* A flow comes where it was sent from. */
	for (unsigned q = 0; q < 2; q++) {
		make_v4(0, PROTO_TCP);
		netrig_send(&n, q ? TX1 : TX0, &none, bytes, 100);
		memcpy(bytes + 26, v4[0].dst, 4);
		memcpy(bytes + 30, v4[0].src, 4);
		put_ports(bytes + 34, v4[0].dport, v4[0].sport);
		CHECK_EQ(receive(1), 1);
		CHECK(got(q ? RX1 : RX0));
	}
	/* With one pair left. */
	netrig_start(&n, off, 1);
	netrig_offer(&n, RX0, 8);
	vio_queue_stop(&n.queue[RX1]);
	for (unsigned i = 0; i < 8; i++) {
		put_ports(bytes + 34, 1000 + i * 77, 53);
		CHECK_EQ(receive(1), 1);
		CHECK(got(RX0));
	}
}

TEST("net: numbers of pairs that there are not, and commands cut off", "")
{
	start();
	CHECK_EQ(set_pairs(0), VIRTIO_NET_ERR);
	CHECK_EQ(set_pairs(3), VIRTIO_NET_ERR);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2", 1),
		 VIRTIO_NET_ERR);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0\0", 3),
		 VIRTIO_NET_ERR);
	CHECK_EQ(mq(3, "\2\0", 2), VIRTIO_NET_ERR);
	CHECK_EQ(n.net.steering.pairs, 1);
	netrig_start(&n, (const unsigned[]){ VIRTIO_NET_F_MQ }, 1);
	CHECK_EQ(set_pairs(2), VIRTIO_NET_ERR);
}

TEST("net: a queue that stops is passed over; with none left all is dropped",
     "net.device.automatic-receive-steering-multiqueue-mode.3 "
     "net.device.automatic-receive-steering-multiqueue-mode.4")
{
	start();
	make_v4(1, PROTO_UDP);
	CHECK_EQ(set_pairs(2), VIRTIO_NET_OK);
	vio_queue_stop(&n.queue[RX1]);
	for (unsigned i = 0; i < 4; i++) {
		bytes[35] = (unsigned char)i;
		CHECK_EQ(receive(0), 1);
		CHECK(got(RX0));
	}
	vio_queue_stop(&n.queue[RX0]);
	CHECK_EQ(receive(0), 1);
	CHECK_EQ(n.net.pair[0].stats.rx_astray, 1);
}

TEST("net: the table decides, by the hash, which is reported too",
     "net.device.rss-processing.1 net.device.rss-processing.2 "
     "net.device.device-configuration-layout.7 "
     "net.device.device-configuration-layout.8 "
     "net.device.device-configuration-layout.13 "
     "net.other.hash-calculation-incoming-packets.2")
{
	unsigned char c[8], rss[128];
	struct virtio_net_hdr *h;

	start();
	CHECK(vio_has(vio_dev_offered(&n.net.dev), VIRTIO_NET_F_HASH_REPORT));
	CHECK(vio_has(vio_dev_offered(&n.net.dev), VIRTIO_NET_F_CTRL_VQ));
	vio_dev_config_read(&n.net.dev, 17, c, 7);
	CHECK_EQ(c[0], 40);
	CHECK_EQ(c[1] | c[2] << 8, 128);
	CHECK_EQ(c[3] | c[4] << 8, VIO_NET_HASH_TYPES);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss,
		    make_rss(rss, T(TCPv4) | T(IPv4), 1)), VIRTIO_NET_OK);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(v4); i++) {
		make_v4(i, PROTO_TCP);
		CHECK_EQ(receive(0), 1);
		h = got((v4[i].tcp & 3) == 3 ? RX0 : RX1);
		CHECK(h);
		CHECK_EQ(vio_from_le32(h->hash_value), v4[i].tcp);
		CHECK_EQ(vio_from_le16(h->hash_report), R(TCPv4));
		CHECK_EQ(vio_from_le16(h->num_buffers), 1);
	}
	/* No hash: unclassified. */
	make_v6(0, PROTO_TCP);
	CHECK_EQ(receive(1), 1);
	h = got(RX0);
	CHECK(h);
	CHECK_EQ(vio_from_le16(h->hash_report), R(NONE));
	CHECK_EQ(vio_from_le32(h->hash_value), 0);
	/* No other queue in its place. */
	vio_queue_stop(&n.queue[RX1]);
	make_v4(0, PROTO_TCP);
	CHECK_EQ(v4[0].tcp & 3, 0);
	CHECK_EQ(receive(0), 1);
	CHECK(!got(RX0));
	CHECK_EQ(n.net.pair[0].stats.rx_astray, 1);
}

TEST("net: the last command holds, table or number of pairs",
     "net.other.device-operation-multiqueue-mode.3")
{
	unsigned char rss[128];

	start();
	make_v4(0, PROTO_TCP);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss,
		    make_rss(rss, T(IPv4), 1)), VIRTIO_NET_OK);
	CHECK_EQ(receive(0), 1);
	CHECK(got(RX1));
	/* Fewer pairs than the table knows: it is not used any more. */
	CHECK_EQ(set_pairs(1), VIRTIO_NET_OK);
	CHECK_EQ(receive(0), 1);
	CHECK(got(RX0) && !got(RX1));
	CHECK_EQ(vio_dev_reset(&n.net.dev), VIO_OK);
	CHECK(!n.net.steering.rss && !n.net.steering.hash_types);
}

TEST("net: tables that lead nowhere, are too large, lie or are cut off", "")
{
	unsigned char rss[512], good[512];
	uint32_t len;

	start();
	len = make_rss(good, T(IPv4), 1);
#define REFUSED(where, value) do {					\
		memcpy(rss, good, sizeof(rss));				\
		rss[where] = (value);					\
		CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss, len),	\
			 VIRTIO_NET_ERR);				\
	} while (0)
	memset(good + len, 0, sizeof(good) - len);
	REFUSED(8, 2);		/* the first entry, beyond the pairs */
	REFUSED(13, 0x80);	/* its reserved bit */
	REFUSED(6, 2);		/* unclassified */
	REFUSED(4, 2);		/* three entries */
	REFUSED(5, 1);		/* 260 entries */
	REFUSED(16, 0);		/* no transmit queue */
	REFUSED(16, 3);
	REFUSED(18, 41);	/* a key longer than the device's */
	REFUSED(18, 39);	/* bytes behind the key */
	REFUSED(1, 2);		/* a hash type unknown */
	for (uint32_t i = 0; i < len; i++)
		CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, good, i),
			 VIRTIO_NET_ERR);
	CHECK(!n.net.steering.rss && !n.net.steering.hash_types);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, good, len),
		 VIRTIO_NET_OK);
	netrig_start(&n, (const unsigned[]){ VIRTIO_NET_F_RSS }, 1);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, good, len),
		 VIRTIO_NET_ERR);
}

TEST("net: hashes are reported without a table too, and only when told",
     "net.other.hash-calculation.1 net.other.hash-calculation.2 "
     "net.other.hash-calculation-incoming-packets.1 "
     "net.other.hash-calculation-incoming-packets.3")
{
	static const unsigned short_hdr[] = {
		VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
	};
	unsigned char conf[64] = { T(UDPv4) };
	struct virtio_net_hdr *h;

	start();
	conf[12] = sizeof(key);
	memcpy(conf + 13, key, sizeof(key));
	make_v4(2, PROTO_UDP);
	CHECK_EQ(receive(0), 1);
	h = got(RX0);
	CHECK_EQ(vio_from_le16(h->hash_report), R(NONE));
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_HASH_CONFIG, conf, 53),
		 VIRTIO_NET_OK);
	CHECK_EQ(receive(0), 1);
	h = got(RX0);
	CHECK_EQ(vio_from_le16(h->hash_report), R(UDPv4));
	CHECK_EQ(vio_from_le32(h->hash_value), v4[2].tcp);
	conf[6] = 1;		/* reserved */
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_HASH_CONFIG, conf, 53),
		 VIRTIO_NET_ERR);
	conf[6] = 0;
	for (unsigned i = 0; i < 53; i++)
		CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_HASH_CONFIG, conf, i),
			 VIRTIO_NET_ERR);
	netrig_start(&n, short_hdr, VIO_ARRAY_LEN(short_hdr));
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_HASH_CONFIG, conf, 53),
		 VIRTIO_NET_ERR);
	CHECK_EQ(n.net.hdr_len, VIRTIO_NET_HDR_LEN);
}

/* -- threads ------------------------------------------------------------- */

TEST("net: a packet for another thread's pair waits until that takes it", "")
{
	unsigned char rss[128];
	unsigned i, lost;

	netrig_init(&n);
	n.conf.threads = true;
	netrig_start(&n, NULL, 0);
	netrig_offer(&n, RX1, 16);
	CHECK_EQ(mq(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss,
		    make_rss(rss, T(IPv4), 1)), VIRTIO_NET_OK);
	make_v4(0, PROTO_TCP);
	n.ring[0].ready = 0;
	for (i = 0; i < 12; i++) {
		bytes[40] = (unsigned char)i;
		CHECK_EQ(receive(0), 1);
	}
	CHECK_EQ(n.ring[0].ready, 1);
	CHECK(!got(RX1));
	vio_queue_service(&n.queue[RX1], 16);
	for (i = 0; i < 12; i++)
		CHECK_EQ(((unsigned char *)got(RX1))[n.net.hdr_len + 40], i);
	CHECK(!got(RX1));
	/* A flood is bounded by the memory, and counted. */
	for (i = 0; i < 4000; i++)
		CHECK_EQ(receive(0), 1);
	lost = (unsigned)n.net.pair[0].stats.rx_astray;
	CHECK_GT(lost, 1000);
	CHECK_LT(lost, 4000);
	for (i = 0; i < 100; i++)
		vio_queue_service(&n.queue[RX1], 16);
	CHECK_EQ(n.net.pair[1].stats.rx_packets +
		 n.net.pair[1].stats.rx_no_room + lost, 4012);
	/* And goes on: around the end of the memory many times. */
	for (i = 0; i < 5000; i++) {
		CHECK_EQ(receive(0), 1);
		vio_queue_service(&n.queue[RX1], 16);
	}
	CHECK_EQ(n.net.pair[0].stats.rx_astray, lost);
}

/* -- queues that are nobody's --------------------------------------------- */

TEST("net: without more pairs, the last queue is nobody's", "")
{
	static const unsigned off[] = { VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS };
	static const struct vio_net_pair none;
	const struct vio_net_pair *behind;

	/* It would be the first of a pair behind those that there are. */
	netrig_init(&n);
	netrig_start(&n, off, VIO_ARRAY_LEN(off));
	behind = &n.net.pair[n.conf.pairs];
	netrig_offer(&n, CTRL, 4);
	CHECK_EQ(vio_queue_service(&n.queue[CTRL], 64), VIO_SERVICE_WAIT);
	CHECK(!memcmp(behind, &none, sizeof(none)));
	n.net.pair[n.conf.pairs].open = true;
	vio_queue_stop(&n.queue[CTRL]);
	CHECK(behind->open);
}

/* -- a flood -------------------------------------------------------------- */

/* Six packets of one descriptor or two; or six commands. */
static void flood(unsigned q, unsigned parts)
{
	const uint16_t next = parts > 1 ? VIRTQ_DESC_F_NEXT : 0;
	struct rig *r = &n.ring[q];

	memset(rig_at(r, RIG_DATA), 0, 256);
	for (unsigned i = 0; i < 6; i++) {
		rig_desc(r, 2 * i, RIG_DATA, parts > 1 ? 50 : 100, next,
			 (uint16_t)(2 * i + 1));
		rig_desc(r, 2 * i + 1, RIG_DATA + 50, 50, q == CTRL ?
			 VIRTQ_DESC_F_WRITE : 0, 0);
		rig_avail(r, (uint16_t)(2 * i));
	}
}

TEST("net: a flood on one queue keeps nobody from the others", "")
{
	static const struct { unsigned q, parts; } on[] = {
		{ TX0, 1 }, { TX0, 2 }, { CTRL, 2 },
	};
	uint32_t id, len;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(on); i++) {
		unsigned q = on[i].q, done = 0;

		netrig_init(&n);
		netrig_start(&n, NULL, 0);
		flood(q, on[i].parts);
		CHECK_EQ(vio_queue_poll(&n.queue[q], 4), VIO_SERVICE_MORE);
		while (rig_used(&n.ring[q], &id, &len))
			done++;
		CHECK_EQ(done, 4);
		/* The other pair's turn. */
		flood(TX1, 1);
		CHECK_EQ(vio_queue_poll(&n.queue[TX1], 64),
			 VIO_SERVICE_IDLE);
		CHECK_EQ(n.sent_pair, 1);
		CHECK_EQ(vio_queue_poll(&n.queue[q], 4), VIO_SERVICE_IDLE);
	}
}
