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
