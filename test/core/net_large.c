/* SPDX-License-Identifier: MIT */
/*
 * net_large.c - packets in UDP tunnels, fragments, and segments that become
 * one packet: through the device, judged by a reading of headers of the
 * test's own.
 */
#include "test/core/netrig.h"
#include "vtest.h"

#define ETH	14u
#define UDP	8u
#define VXLAN	8u

static struct netrig n;
static unsigned char packet[70000];

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* Byte by byte, unlike the code under test. */
static unsigned long sum(const unsigned char *p, unsigned len,
			 unsigned long s)
{
	for (unsigned i = 0; i < len; i++)
		s += i % 2 ? p[i] : (unsigned long)p[i] << 8;
	return s;
}

static unsigned fold(unsigned long s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (unsigned)s;
}

static unsigned ip_len(bool v6)
{
	return v6 ? 40 : 20;
}

/* Is the transport checksum of @len bytes at @l4, behind the IP header? */
static bool csum_right(const unsigned char *ip, unsigned l4_len,
		       unsigned proto)
{
	bool v6 = ip[0] >> 4 == 6;
	unsigned long s = l4_len + proto;

	s = v6 ? sum(ip + 8, 32, s) : sum(ip + 12, 8, s);
	return fold(sum(ip + ip_len(v6), l4_len, s)) == 0xffff;
}

static void put_ip(unsigned char *ip, bool v6, unsigned proto, unsigned len)
{
	memset(ip, 0, ip_len(v6));
	ip[0] = v6 ? 0x60 : 0x45;
	ip[v6 ? 6 : 9] = (unsigned char)proto;
	put16(ip + (v6 ? 4 : 2), v6 ? len : len + 20);
	memset(ip + (v6 ? 8 : 12), 0x0a + proto, v6 ? 32 : 8);
	if (!v6)
		put16(ip + 10, ~fold(sum(ip, 20, 0)) & 0xffff);
}

static void start_without(const unsigned *off, unsigned nr)
{
	netrig_init(&n);
	netrig_start(&n, off, nr);
}

static void start(void)
{
	start_without(NULL, 0);
}

/* Of the negotiated set a header as long as it must be. */
static struct virtio_net_hdr header(uint8_t gso, unsigned size,
				    unsigned csum_start, unsigned offset)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = gso,
		.gso_size = vio_to_le16((uint16_t)size),
		.csum_start = vio_to_le16((uint16_t)csum_start),
		.csum_offset = vio_to_le16((uint16_t)offset),
	};
}

/* -- tunnels ------------------------------------------------------------- */

struct tunnel {
	bool outer6, inner6, udp, csum;
	unsigned len;
	/* offsets */
	unsigned o4, i3, i4, data;
	struct virtio_net_hdr hdr;
};

static unsigned make_tunnel(struct tunnel *t)
{
	unsigned char *p = packet;
	unsigned all;

	t->o4 = ETH + ip_len(t->outer6);
	t->i3 = t->o4 + UDP + VXLAN + ETH;
	t->i4 = t->i3 + ip_len(t->inner6);
	t->data = t->i4 + (t->udp ? UDP : 20);
	all = t->data + t->len;
	memset(p, 0, t->data);
	for (unsigned i = 0; i < t->len; i++)
		p[t->data + i] = (unsigned char)(i * 7 + i / 256);
	put16(p + 12, t->outer6 ? 0x86dd : 0x0800);
	put_ip(p + ETH, t->outer6, 17, all - t->o4);
	put16(p + t->o4 + 2, 4789);
	put16(p + t->o4 + 4, all - t->o4);
	put16(p + t->i3 - 2, t->inner6 ? 0x86dd : 0x0800);
	put_ip(p + t->i3, t->inner6, t->udp ? 17 : 6, all - t->i4);
	p[t->i4 + 12] = t->udp ? p[t->i4 + 12] : 0x50;
	t->hdr = header(t->udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : t->inner6 ?
			VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
			1000, t->i4, t->udp ? 6 : 16);
	t->hdr.gso_type |= t->inner6 ? VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6 :
				       VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4;
	t->hdr.outer_th_offset = vio_to_le16((uint16_t)t->o4);
	t->hdr.inner_nh_offset = vio_to_le16((uint16_t)t->i3);
	if (t->csum)
		t->hdr.flags |= VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;
	return all;
}

static void check_cut(const struct tunnel *t, unsigned i, unsigned len)
{
	const unsigned char *p = n.log[i].byte;
	unsigned all = n.log[i].len, at = i * 1000;

	CHECK_EQ(all, t->data + len);
	CHECK_MEMEQ(p + t->data, packet + t->data + at, len);
	CHECK_EQ(get16(p + ETH + (t->outer6 ? 4 : 2)),
		 all - (t->outer6 ? t->o4 : ETH));
	CHECK_EQ(get16(p + t->i3 + (t->inner6 ? 4 : 2)),
		 all - (t->inner6 ? t->i4 : t->i3));
	if (!t->outer6)
		CHECK_EQ(fold(sum(p + ETH, 20, 0)), 0xffff);
	if (!t->inner6)
		CHECK_EQ(fold(sum(p + t->i3, 20, 0)), 0xffff);
	CHECK_EQ(get16(p + t->o4 + 4), all - t->o4);
	CHECK(csum_right(p + t->i3, all - t->i4, t->udp ? 17 : 6));
	if (t->csum)
		CHECK(csum_right(p + ETH, all - t->o4, 17));
	else
		CHECK_EQ(get16(p + t->o4 + 6), 0);
}

TEST("net: what is in a tunnel is cut with both sets of headers",
     "net.device.packet-transmission.5 net.device.packet-transmission.6")
{
	for (unsigned i = 0; i < 16; i++) {
		struct tunnel t = {
			.outer6 = i & 1, .inner6 = i & 2, .udp = i & 4,
			.csum = i & 8, .len = 2500,
		};
		unsigned len;

		start();
		len = make_tunnel(&t);
		/* GUEST_HDRLEN is agreed on, and this a lie all the same. */
		t.hdr.hdr_len = vio_to_le16(0xffff);
		netrig_send(&n, TX0, &t.hdr, packet, len);
		CHECK_EQ(n.nr_sent, 3);
		for (unsigned k = 0; k < 3; k++)
			check_cut(&t, k, k < 2 ? 1000 : 500);
		CHECK_EQ(n.net.pair[0].stats.tx_segments, 3);
	}
}

/* A header of a tunnel that was changed; it must not be accepted. */
static void refused(struct tunnel *t, unsigned len)
{
	uint64_t was = n.net.pair[0].stats.tx_malformed;

	n.nr_sent = 0;
	netrig_send(&n, TX0, &t->hdr, packet, len);
	CHECK_EQ(n.nr_sent, 0);
	CHECK_EQ(n.net.pair[0].stats.tx_malformed, was + 1);
}

TEST("net: tunnels that contradict themselves are not accepted",
     "net.device.packet-transmission.8 net.device.packet-transmission.9 "
     "net.device.packet-transmission.10")
{
	const struct tunnel good = { .len = 2500, .csum = true };
	static const unsigned no_csum[] = {
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM };
	static const unsigned no_tunnel[] = {
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO };
	struct tunnel t;
	unsigned len;

#define BAD(change) do {					\
		t = good;					\
		len = make_tunnel(&t);				\
		change;						\
		refused(&t, len);				\
	} while (0)
	start();
	BAD(t.hdr.gso_type |= VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
	BAD(t.hdr.flags &= (uint8_t)~VIRTIO_NET_HDR_F_NEEDS_CSUM);
	BAD(t.hdr.flags |= VIRTIO_NET_HDR_F_DATA_VALID);
	BAD(t.hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4);
	BAD(t.hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 |
			     VIRTIO_NET_HDR_GSO_UDP);
	BAD(t.hdr.gso_type &= (uint8_t)~VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
	BAD(t.hdr.outer_th_offset = vio_to_le16(0));
	BAD(t.hdr.outer_th_offset = vio_to_le16(35));
	BAD(t.hdr.outer_th_offset = vio_to_le16(0xffff));
	BAD(t.hdr.inner_nh_offset = vio_to_le16(0xffff));
	BAD(t.hdr.inner_nh_offset = vio_to_le16((uint16_t)(t.o4 + 7)));
	BAD(t.hdr.inner_nh_offset = vio_to_le16((uint16_t)(t.i4 - 19)));
	BAD(t.hdr.gso_type ^= VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
	BAD(packet[ETH + 9] = 6);	/* no UDP around */
	BAD(packet[t.i3] = 0x65);	/* another version within */
	BAD(t.hdr.gso_size = vio_to_le16(0));
	start_without(no_csum, 1);
	/* The flag says nothing then, and the checksum is none. */
	t = good;
	t.csum = false;
	len = make_tunnel(&t);
	t.hdr.flags |= VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;
	netrig_send(&n, TX0, &t.hdr, packet, len);
	CHECK_EQ(n.nr_sent, 3);
	check_cut(&t, 0, 1000);
	start_without(no_tunnel, 2);
	BAD((void)0);
}

TEST("net: a driver that bears tunnels gets them whole, others in pieces",
     "net.other.processing-incoming-packets.2 "
     "net.other.processing-incoming-packets.3 "
     "net.device.processing-incoming-packets.10 "
     "net.device.processing-incoming-packets.11 "
     "net.device.processing-incoming-packets.19 "
     "net.device.processing-incoming-packets.20 "
     "net.device.processing-incoming-packets.22 "
     "net.device.processing-incoming-packets.25 "
     "net.device.processing-incoming-packets.27 "
     "net.device.processing-incoming-packets.28 "
     "net.device.processing-incoming-packets.29")
{
	static const unsigned off[] = {
		VIRTIO_NET_F_RSC_EXT, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
	};

	for (unsigned i = 0; i < 4; i++) {
		struct tunnel t = { .len = 1500, .csum = i & 1 };
		unsigned nr_off = i < 2 ? 1 : i == 2 ? 3 : 2;
		struct vio_seg seg = { packet, make_tunnel(&t) };
		struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					    .len = (uint32_t)seg.len };
		struct virtio_net_hdr *h;
		uint32_t len;

		start_without(off, nr_off);
		packet[0] = 0xff;
		memset(packet, 0xff, 6);
		p.meta = (struct vio_net_meta){
			.flags = t.hdr.flags, .gso_type = t.hdr.gso_type,
			.gso_size = 1000, .csum_start = (uint16_t)t.i4,
			.csum_offset = 16, .outer_th = (uint16_t)t.o4,
			.inner_nh = (uint16_t)t.i3,
		};
		netrig_offer(&n, RX0, 4);
		CHECK_EQ(vio_net_receive(&n.net, 0, &p, 1), 1);
		h = (void *)netrig_got(&n, RX0, &len);
		CHECK(h);
		if (i == 2 || i == 3) {
			/* i == 3: its checksum is too much for the driver */
			CHECK_EQ(h->gso_type, 0);
			CHECK_EQ(h->flags, 0);
			CHECK(netrig_got(&n, RX0, &len));
			continue;
		}
		CHECK_EQ(h->flags, t.hdr.flags);
		CHECK_EQ(h->gso_type, t.hdr.gso_type);
		CHECK_EQ(vio_from_le16(h->gso_size), 1000);
		CHECK_EQ(vio_from_le16(h->hdr_len), t.data);
		CHECK_EQ(vio_from_le16(h->outer_th_offset), t.o4);
		CHECK_EQ(vio_from_le16(h->inner_nh_offset), t.i3);
		CHECK_EQ(len, n.net.hdr_len + t.data + t.len);
	}
}

/* -- fragments ----------------------------------------------------------- */

TEST("net: a datagram too large is cut into fragments",
     "net.device.processing-incoming-packets.7")
{
	static unsigned char whole[9000];

	for (unsigned v6 = 0; v6 < 2; v6++) {
		unsigned l4 = ETH + ip_len(v6), size = 4000, got = 0;
		struct virtio_net_hdr h = header(VIRTIO_NET_HDR_GSO_UDP, 1001,
						 l4, 6);

		start();
		memset(packet, 0, l4 + UDP);
		for (unsigned i = 0; i < size - UDP; i++)
			packet[l4 + UDP + i] = (unsigned char)(i * 3 + i / 256);
		put16(packet + 12, v6 ? 0x86dd : 0x0800);
		put_ip(packet + ETH, v6, 17, size);
		put16(packet + l4 + 4, size);
		/* The pseudo header's sum, to be completed. */
		put16(packet + l4 + 6, fold(v6 ?
			sum(packet + ETH + 8, 32, size + 17) :
			sum(packet + ETH + 12, 8, size + 17)));
		netrig_send(&n, TX0, &h, packet, l4 + size);
		CHECK_EQ(n.nr_sent, 4);
		memcpy(whole, packet, l4);
		for (unsigned i = 0; i < 4; i++) {
			const unsigned char *p = n.log[i].byte, *f;
			unsigned at = v6 ? l4 + 8 : l4, word;

			f = v6 ? p + l4 + 2 : p + ETH + 6;
			word = get16(f);
			CHECK_EQ(v6 ? word & 1 : word >> 13, i < 3);
			CHECK_EQ(v6 ? word & 0xfff8 : (word & 0x1fff) * 8,
				 got);
			CHECK_EQ(get16(p + ETH + (v6 ? 4 : 2)),
				 n.log[i].len - (v6 ? l4 : ETH));
			if (v6) {
				CHECK_EQ(p[ETH + 6], 44);
				CHECK_EQ(p[l4], 17);
				CHECK_MEMEQ(p + l4 + 4,
					    n.log[0].byte + l4 + 4, 4);
			} else {
				CHECK_EQ(fold(sum(p + ETH, 20, 0)), 0xffff);
			}
			memcpy(whole + l4 + got, p + at, n.log[i].len - at);
			got += n.log[i].len - at;
		}
		CHECK_EQ(got, size);
		CHECK_MEMEQ(whole + l4 + UDP, packet + l4 + UDP, size - UDP);
		CHECK(csum_right(whole + ETH, size, 17));
		/* Fragments of less than 8 bytes there are none. */
		h.gso_size = vio_to_le16(7);
		netrig_send(&n, TX0, &h, packet, l4 + size);
		CHECK_EQ(n.nr_sent, 4);
	}
}

/* -- merging ------------------------------------------------------------- */

#define SEGMENTS	6u
#define MSS		200u

static unsigned char in[SEGMENTS][512];
static struct vio_seg in_seg[SEGMENTS];
static struct vio_net_packet in_pkt[SEGMENTS];

static void finish(unsigned i, bool v6)
{
	unsigned char *ip = in[i] + ETH, *tcp = ip + ip_len(v6);
	unsigned len = (unsigned)in_seg[i].len - ETH - ip_len(v6);
	unsigned long s = len + 6;

	put16(tcp + 16, 0);
	s = v6 ? sum(ip + 8, 32, s) : sum(ip + 12, 8, s);
	put16(tcp + 16, ~fold(sum(tcp, len, s)) & 0xffff);
}

/* Segments in a row, the last one short. */
static void make_segments(bool v6)
{
	unsigned l4 = ETH + ip_len(v6);

	for (unsigned i = 0; i < SEGMENTS; i++) {
		unsigned len = i < SEGMENTS - 1 ? MSS : 50;

		memset(in[i], 0, sizeof(in[i]));
		memset(in[i], 0xff, 6);
		put16(in[i] + 12, v6 ? 0x86dd : 0x0800);
		put_ip(in[i] + ETH, v6, 6, 20 + len);
		put32(in[i] + l4 + 4, 0xffffff00u + i * MSS);
		in[i][l4 + 12] = 0x50;
		in[i][l4 + 13] = 0x10;
		for (unsigned k = 0; k < len; k++)
			in[i][l4 + 20 + k] = (unsigned char)(i * 50 + k);
		in_seg[i] = (struct vio_seg){ in[i], l4 + 20 + len };
		in_pkt[i] = (struct vio_net_packet){
			.seg = &in_seg[i], .nr_seg = 1,
			.len = (uint32_t)in_seg[i].len };
		finish(i, v6);
	}
}

/* Receive them; returns how many packets the driver sees. */
static unsigned run(struct virtio_net_hdr *first, unsigned char *bytes,
		    uint32_t *first_len)
{
	unsigned nr = 0;
	unsigned char *p;
	uint32_t len;

	netrig_offer(&n, RX0, SEGMENTS);
	CHECK_EQ(vio_net_receive(&n.net, 0, in_pkt, SEGMENTS), SEGMENTS);
	while ((p = netrig_got(&n, RX0, &len))) {
		if (!nr++) {
			memcpy(first, p, n.net.hdr_len);
			*first_len = len - n.net.hdr_len;
			memcpy(bytes, p + n.net.hdr_len, *first_len);
		}
	}
	return nr;
}

TEST("net: segments in a row become one packet, which says of how many",
     "net.device.processing-incoming-packets.23 "
     "net.device.processing-incoming-packets.24")
{
	static const unsigned off[] = { VIRTIO_NET_F_RSC_EXT };
	static unsigned char got[4096];
	struct virtio_net_hdr h;
	uint32_t len;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		unsigned l4 = ETH + ip_len(v6);
		unsigned all = 20 + 5 * MSS + 50;

		start();
		make_segments(v6);
		in[5][l4 + 13] |= 8;	/* PSH */
		finish(5, v6);
		CHECK_EQ(run(&h, got, &len), 1);
		CHECK_EQ(len, l4 + all);
		CHECK_EQ(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM |
				  VIRTIO_NET_HDR_F_RSC_INFO);
		CHECK_EQ(h.gso_type, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 :
					  VIRTIO_NET_HDR_GSO_TCPV4);
		CHECK_EQ(vio_from_le16(h.gso_size), MSS);
		CHECK_EQ(vio_from_le16(h.hdr_len), l4 + 20);
		CHECK_EQ(vio_from_le16(h.csum_start), SEGMENTS);
		CHECK_EQ(vio_from_le16(h.csum_offset), 0);
		for (unsigned i = 0; i < SEGMENTS; i++)
			CHECK_MEMEQ(got + l4 + 20 + i * MSS, in[i] + l4 + 20,
				    i < 5 ? MSS : 50);
		CHECK_EQ(got[l4 + 13], 0x18);
		/* With the checksum completed it is right. */
		put16(got + l4 + 16,
		      ~fold(sum(got + l4, all, 0)) & 0xffff);
		CHECK(csum_right(got + ETH, all, 6));
		if (!v6)
			CHECK_EQ(fold(sum(got + ETH, 20, 0)), 0xffff);
		CHECK_EQ(n.net.pair[0].stats.rx_merged, 1);
		start_without(off, 1);
		CHECK_EQ(run(&h, got, &len), SEGMENTS);
		CHECK_EQ(h.flags, 0);
	}
}

TEST("net: what does not go on, is not right or is no data is not merged", "")
{
	static unsigned char got[4096];
	unsigned char *tcp = in[2] + ETH + 20;
	struct virtio_net_hdr h;
	uint32_t len;

	/* 0 and 1 become one; 2 is itself; 3 to 5 go on, unless 2 ended it. */
#define CUT_AT_2(change, packets) do {				\
		start();					\
		make_segments(false);				\
		change;						\
		finish(2, false);				\
		CHECK_EQ(run(&h, got, &len), packets);		\
		CHECK_EQ(len, ETH + 40 + 2 * MSS);		\
		CHECK_EQ(vio_from_le16(h.csum_start), 2);	\
	} while (0)
	CUT_AT_2(put32(tcp + 4, 5), 3);		/* another number */
	CUT_AT_2(tcp[13] = 0x11, 3);		/* FIN */
	CUT_AT_2(tcp[13] = 0x50, 3);		/* ECE */
	CUT_AT_2(tcp[1] = 1, 3);		/* another port */
	CUT_AT_2(tcp[15] = 1, 3);		/* window */
	CUT_AT_2(tcp[11] = 1, 3);		/* acknowledgement */
	CUT_AT_2(in[2][ETH + 1] = 2, 3);	/* ECN; its sum is wrong too */
	CUT_AT_2(in_pkt[2].meta.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, 3);
	/* A wrong checksum is not made a right one. */
	start();
	make_segments(false);
	tcp[17] ^= 1;
	CHECK_EQ(run(&h, got, &len), 3);
	CHECK_EQ(vio_from_le16(h.csum_start), 2);
	CHECK_EQ(n.net.pair[0].stats.rx_csum_bad, 1);
	/* An acknowledgement said twice is counted, not shown. */
	start();
	make_segments(false);
	put_ip(in[2] + ETH, false, 6, 20);
	in_seg[2].len = in_pkt[2].len = ETH + 40;
	finish(2, false);
	for (unsigned i = 3; i < SEGMENTS; i++) {
		put32(in[i] + ETH + 20 + 4, 0xffffff00u + (i - 1) * MSS);
		finish(i, false);
	}
	CHECK_EQ(run(&h, got, &len), 1);
	CHECK_EQ(vio_from_le16(h.csum_start), 5);
	CHECK_EQ(vio_from_le16(h.csum_offset), 1);
}

TEST("net: large packets of the wire say of how many they are, with RSC_EXT",
     "net.device.processing-incoming-packets.12")
{
	struct virtio_net_hdr *h;
	uint32_t len;

	start();
	make_segments(false);
	in_pkt[0].meta = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
			    VIRTIO_NET_HDR_GSO_ECN,
		.gso_size = 60, .csum_start = 34, .csum_offset = 16,
	};
	netrig_offer(&n, RX0, 1);
	CHECK_EQ(vio_net_receive(&n.net, 0, in_pkt, 1), 1);
	h = (void *)netrig_got(&n, RX0, &len);
	CHECK(h);
	CHECK_EQ(h->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM |
			   VIRTIO_NET_HDR_F_RSC_INFO);
	CHECK_EQ(h->gso_type, VIRTIO_NET_HDR_GSO_TCPV4 |
			      VIRTIO_NET_HDR_GSO_ECN);
	CHECK_EQ(vio_from_le16(h->csum_start), 4);
	CHECK_EQ(vio_from_le16(h->csum_offset), 0);
}

/* -- which large packets a driver gets ----------------------------------- */

TEST("net: no large packet of a kind that the driver did not agree to",
     "net.device.processing-incoming-packets.6 "
     "net.device.processing-incoming-packets.8 "
     "net.device.processing-incoming-packets.9")
{
	static const uint8_t type[] = {
		VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
		VIRTIO_NET_HDR_GSO_UDP_L4,
	};
	static const unsigned off[] = {
		VIRTIO_NET_F_RSC_EXT, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6,
	};
	struct virtio_net_hdr *h;
	uint32_t len;

	for (unsigned i = 0; i < 6; i++) {
		bool v6 = i % 3 == 1, udp = i % 3 == 2, bears = i < 3;
		unsigned l4 = ETH + ip_len(v6), nr = 0;

		start_without(off, bears ? 1 : VIO_ARRAY_LEN(off));
		make_segments(v6);
		in[0][ETH + (v6 ? 6 : 9)] = udp ? 17 : 6;
		in_pkt[0].meta = (struct vio_net_meta){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = type[i % 3], .gso_size = 110,
			.csum_start = (uint16_t)l4,
			.csum_offset = udp ? 6 : 16,
		};
		netrig_offer(&n, RX0, 4);
		CHECK_EQ(vio_net_receive(&n.net, 0, in_pkt, 1), 1);
		while ((h = (void *)netrig_got(&n, RX0, &len))) {
			CHECK_EQ(h->gso_type, bears ? type[i % 3] : 0);
			nr++;
		}
		CHECK_EQ(nr, bears ? 1 : 2);
	}
}

/* -- what is asked for and cannot be had ---------------------------------- */

TEST("net: a packet that nobody can cut is dropped", "")
{
	const struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
			    VIRTIO_NET_HDR_GSO_ECN,
		.gso_size = vio_to_le16(100), .csum_start = vio_to_le16(34),
		.csum_offset = vio_to_le16(16),
	};

	/* The back end cuts, but not with ECN; and there is no memory. */
	netrig_init(&n);
	n.conf.scratch = NULL;
	n.conf.offloads = 1ull << VIRTIO_NET_F_CSUM |
			  1ull << VIRTIO_NET_F_HOST_TSO4;
	netrig_start(&n, NULL, 0);
	make_segments(false);
	netrig_send(&n, TX0, &h, in[0], in_pkt[0].len);
	CHECK_EQ(n.nr_sent, 0);
	CHECK_EQ(n.net.pair[0].stats.tx_dropped, 1);
}

TEST("net: a driver that bears tunnels goes on in another process", "")
{
	static const unsigned off[] = {
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
	};
	static unsigned char state[4096];
	uint64_t bears;
	uint32_t len;

	start();
	bears = n.net.guest_offloads;
	CHECK(bears & VIO_NET_OFFLOAD_TUNNEL);
	len = vio_dev_save(&n.net.dev, state, sizeof(state));
	CHECK_LT(len, sizeof(state));
	start();
	n.net.guest_offloads = 0;
	CHECK_EQ(vio_dev_load(&n.net.dev, state, len), VIO_OK);
	CHECK_EQ(n.net.guest_offloads, bears);
	/* One that does not is not made to. */
	start_without(off, VIO_ARRAY_LEN(off));
	CHECK_EQ(vio_dev_load(&n.net.dev, state, len), VIO_E_PEER);
}
