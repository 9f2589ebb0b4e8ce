/* SPDX-License-Identifier: MIT */
/* Checksums and segmentation in software; see net_gso.h. */
#include "core/device/net_gso.h"
#include "core/base/string.h"

#define ETH_HDR		14u
#define VLAN_TAG	4u
#define IP6_HDR		40u
#define UDP_HDR		8u
#define TCP_HDR		20u
#define PROTO_TCP	6u
#define PROTO_UDP	17u
#define TCP_FIN		0x01u
#define TCP_PSH		0x08u
#define TCP_CWR		0x80u

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/*
 * The sum of 16-bit words in network order, an odd byte counting as the upper
 * half of one. Four bytes at a time: the sum of the halves is the same, and a
 * packet has too few to overflow 64 bits.
 */
static uint64_t sum(const unsigned char *p, uint32_t len, uint64_t s)
{
	for (; len >= 4; p += 4, len -= 4)
		s += get32(p);
	if (len >= 2) {
		s += get16(p);
		p += 2;
		len -= 2;
	}
	return len ? s + ((uint64_t)*p << 8) : s;
}

static unsigned fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~(unsigned)s & 0xffff;
}

static bool is_udp(const struct vio_net_cut *c)
{
	return c->meta.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
}

static bool is_v6(const struct vio_net_cut *c)
{
	return c->bytes[c->l3] >> 4 == 6;
}

/* Only a checksum: over what the driver said, wherever that is. */
static void complete(struct vio_net_cut *c)
{
	unsigned char *at = c->bytes + c->meta.csum_start +
			    c->meta.csum_offset;
	unsigned v = fold(sum(c->bytes + c->meta.csum_start,
			      c->len - c->meta.csum_start, 0));

	/* 0 would say "none" in UDP, and all ones mean the same. */
	put16(at, v ? v : 0xffff);
}

/* The network header, behind at most two VLAN tags. */
static bool find_l3(struct vio_net_cut *c)
{
	unsigned type, tags;

	c->l3 = ETH_HDR;
	for (tags = 0; tags <= 2; tags++, c->l3 += VLAN_TAG) {
		if (c->len < c->l3 + IP6_HDR)
			return false;
		type = get16(c->bytes + c->l3 - 2);
		if (type == 0x0800)
			return c->bytes[c->l3] >> 4 == 4;
		if (type == 0x86dd)
			return is_v6(c);
		if (type != 0x8100 && type != 0x88a8)
			return false;
	}
	return false;
}

/* Do the headers fit each other, and what the driver said of them? */
static bool parse(struct vio_net_cut *c)
{
	uint8_t type = c->meta.gso_type & (0xff ^ VIRTIO_NET_HDR_GSO_ECN);
	uint32_t l4_len;

	if (!find_l3(c))
		return false;
	c->l4 = c->meta.csum_start;
	if (c->l4 < c->l3 + (is_v6(c) ? IP6_HDR :
			     (c->bytes[c->l3] & 15u) * 4) ||
	    c->l4 > VIO_NET_GSO_HDR_MAX || c->len < c->l4 + TCP_HDR)
		return false;
	if (!is_v6(c) && ((c->bytes[c->l3] & 15) < 5 ||
			  c->l4 != c->l3 + (c->bytes[c->l3] & 15u) * 4))
		return false;
	if ((type == VIRTIO_NET_HDR_GSO_TCPV4 && is_v6(c)) ||
	    (type == VIRTIO_NET_HDR_GSO_TCPV6 && !is_v6(c)))
		return false;
	l4_len = is_udp(c) ? UDP_HDR : (c->bytes[c->l4 + 12] >> 4) * 4u;
	c->hdr = c->l4 + l4_len;
	return (is_udp(c) || l4_len >= TCP_HDR) && c->hdr < c->len &&
	       c->hdr <= VIO_NET_GSO_HDR_MAX &&
	       c->meta.csum_offset == (is_udp(c) ? 6 : 16);
}

bool vio_net_cut_begin(struct vio_net_cut *c, unsigned char *bytes,
		       uint32_t len, const struct vio_net_meta *meta)
{
	c->bytes = bytes;
	c->len = len;
	c->meta = *meta;
	c->nr = 0;
	c->done = false;
	if (!meta->gso_type) {
		if (meta->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			complete(c);
		return true;
	}
	if (!parse(c))
		return false;
	c->at = c->hdr;
	return true;
}

/* Lengths and the number of the packet, for a payload of @n bytes. */
static void fill_l3(struct vio_net_cut *c, uint32_t n)
{
	unsigned char *ip = c->head + c->l3;

	if (is_v6(c)) {
		put16(ip + 4, c->hdr - c->l3 - IP6_HDR + n);
		return;
	}
	put16(ip + 2, c->hdr - c->l3 + n);
	put16(ip + 4, (get16(ip + 4) + c->nr) & 0xffff);
	put16(ip + 10, 0);
	put16(ip + 10, fold(sum(ip, c->l4 - c->l3, 0)));
}

static void fill_l4(struct vio_net_cut *c, uint32_t n, bool last)
{
	unsigned char *l4 = c->head + c->l4;

	if (is_udp(c)) {
		put16(l4 + 4, UDP_HDR + n);
		return;
	}
	put32(l4 + 4, get32(l4 + 4) + (c->at - c->hdr));
	if (!last)
		l4[13] &= (unsigned char)~(TCP_FIN | TCP_PSH);
	/* "I have slowed down" is said once (RFC 3168). */
	if (c->nr)
		l4[13] &= 0xff ^ TCP_CWR;
}

static void fill_csum(struct vio_net_cut *c, uint32_t n)
{
	unsigned char *ip = c->head + c->l3, *l4 = c->head + c->l4;
	unsigned char *at = l4 + c->meta.csum_offset;
	uint32_t len = c->hdr - c->l4 + n;
	uint64_t s = len + (is_udp(c) ? PROTO_UDP : PROTO_TCP);
	unsigned v;

	s = is_v6(c) ? sum(ip + 8, 32, s) : sum(ip + 12, 8, s);
	put16(at, 0);
	/* Transport headers are even: the payload's words begin anew. */
	s = sum(l4, c->hdr - c->l4, s);
	v = fold(sum(c->bytes + c->at, n, s));
	put16(at, v || !is_udp(c) ? v : 0xffff);
}

bool vio_net_cut_next(struct vio_net_cut *c, struct vio_net_packet *pkt)
{
	uint32_t n = c->len - c->at;
	bool last;

	if (c->done)
		return false;
	*pkt = (struct vio_net_packet){ .seg = c->seg };
	if (!c->meta.gso_type) {
		c->seg[0] = (struct vio_seg){ c->bytes, c->len };
		pkt->nr_seg = 1;
		pkt->len = c->len;
		c->done = true;
		return true;
	}
	last = n <= c->meta.gso_size;
	if (!last)
		n = c->meta.gso_size;
	memcpy(c->head, c->bytes, c->hdr);
	fill_l3(c, n);
	fill_l4(c, n, last);
	fill_csum(c, n);
	c->seg[0] = (struct vio_seg){ c->head, c->hdr };
	c->seg[1] = (struct vio_seg){ c->bytes + c->at, n };
	pkt->nr_seg = 2;
	pkt->len = c->hdr + n;
	c->at += n;
	c->nr++;
	c->done = last;
	return true;
}
