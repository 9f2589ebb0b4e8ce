/* SPDX-License-Identifier: MIT */
/* Checksums and segmentation in software; see net_gso.h. */
#include "core/device/net_bytes.h"
#include "core/device/net_gso.h"
#include "core/base/string.h"

#define ETH_HDR		14u
#define VLAN_TAG	4u
#define IP6_HDR		40u
#define UDP_HDR		8u
#define TCP_HDR		20u
#define PROTO_TCP	6u
#define PROTO_UDP	17u
#define PROTO_FRAGMENT	44u
#define FRAGMENT_HDR	8u
#define FRAGMENT_MORE	0x2000u	/* IPv4: flag beside the offset */
#define TCP_FIN		0x01u
#define TCP_PSH		0x08u
#define TCP_CWR		0x80u

/*
 * Four bytes at a time: the sum of the halves is the same, and a packet has
 * too few to overflow 64 bits.
 */
uint64_t vio_net_sum(const unsigned char *p, uint32_t len, uint64_t s)
{
	for (; len >= 4; p += 4, len -= 4)
		s += vio_net_get32(p);
	if (len >= 2) {
		s += vio_net_get16(p);
		p += 2;
		len -= 2;
	}
	return len ? s + ((uint64_t)*p << 8) : s;
}

unsigned vio_net_fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~(unsigned)s & 0xffff;
}

static uint8_t type_of(const struct vio_net_cut *c)
{
	return c->meta.gso_type & (0xff ^ VIRTIO_NET_HDR_GSO_ECN ^
				   VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
}

/* Whole datagrams; fragments are another matter. */
static bool is_udp(const struct vio_net_cut *c)
{
	return type_of(c) == VIRTIO_NET_HDR_GSO_UDP_L4;
}

static bool is_fragmented(const struct vio_net_cut *c)
{
	return type_of(c) == VIRTIO_NET_HDR_GSO_UDP;
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
	unsigned v = vio_net_fold(vio_net_sum(c->bytes + c->meta.csum_start,
			      c->len - c->meta.csum_start, 0));

	/* 0 would say "none" in UDP, and all ones mean the same. */
	vio_net_put16(at, v ? v : 0xffff);
}

/* The network header, behind at most two VLAN tags. */
static bool find_l3(struct vio_net_cut *c)
{
	unsigned type, tags;

	c->l3 = ETH_HDR;
	for (tags = 0; tags <= 2; tags++, c->l3 += VLAN_TAG) {
		if (c->len < c->l3 + IP6_HDR)
			return false;
		type = vio_net_get16(c->bytes + c->l3 - 2);
		if (type == 0x0800)
			return c->bytes[c->l3] >> 4 == 4;
		if (type == 0x86dd)
			return is_v6(c);
		if (type != 0x8100 && type != 0x88a8)
			return false;
	}
	return false;
}

/* Does a transport header at @l4 fit the network header at @l3? */
static bool fits_l3(const struct vio_net_cut *c, uint32_t l3, uint32_t l4)
{
	unsigned words = c->bytes[l3] & 15u;

	if (c->bytes[l3] >> 4 == 6)
		return l4 >= l3 + IP6_HDR;
	return words >= 5 && l4 == l3 + words * 4;
}

/*
 * The outer headers of a tunnel were found; the inner ones are where the
 * sender says. What lies between, of whatever kind, is repeated as it is.
 */
static bool enter_tunnel(struct vio_net_cut *c)
{
	bool v6 = c->meta.gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6;
	const unsigned char *ip = c->bytes + c->l3;

	c->o3 = c->l3;
	c->o4 = c->meta.outer_th;
	if (c->meta.inner_nh + IP6_HDR > c->len || !fits_l3(c, c->o3, c->o4) ||
	    (ip[0] >> 4 == 4 && ip[9] != PROTO_UDP))
		return false;
	c->l3 = c->meta.inner_nh;
	/* Sums are over words of 16 bits from the outer header on. */
	return c->bytes[c->l3] >> 4 == (v6 ? 6 : 4) &&
	       (c->meta.csum_start - c->o4) % 2 == 0;
}

static bool parse_ufo(struct vio_net_cut *c)
{
	const unsigned char *ip = c->bytes + c->l3;

	/* Of IPv6 what comes before the fragment header: nothing else. */
	c->hdr = c->l4;
	return (is_v6(c) ? ip[6] == PROTO_UDP && c->l4 == c->l3 + IP6_HDR :
			   ip[9] == PROTO_UDP) &&
	       c->meta.csum_offset == 6 && c->len >= c->l4 + UDP_HDR &&
	       c->meta.gso_size >= FRAGMENT_HDR;
}

/* Do the headers fit each other, and what the driver said of them? */
static bool parse(struct vio_net_cut *c)
{
	uint8_t type = type_of(c);
	uint32_t l4_len;

	c->o4 = 0;
	if (!find_l3(c) ||
	    (c->meta.gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL &&
	     !enter_tunnel(c)))
		return false;
	c->l4 = c->meta.csum_start;
	if (!fits_l3(c, c->l3, c->l4) || c->l4 > VIO_NET_GSO_HDR_MAX)
		return false;
	if (is_fragmented(c))
		return parse_ufo(c);
	if (c->len < c->l4 + TCP_HDR ||
	    (type == VIRTIO_NET_HDR_GSO_TCPV4 && is_v6(c)) ||
	    (type == VIRTIO_NET_HDR_GSO_TCPV6 && !is_v6(c)))
		return false;
	l4_len = is_udp(c) ? UDP_HDR : (c->bytes[c->l4 + 12] >> 4) * 4u;
	c->hdr = c->l4 + l4_len;
	return (is_udp(c) || l4_len >= TCP_HDR) && c->hdr < c->len &&
	       c->hdr <= VIO_NET_GSO_HDR_MAX &&
	       c->meta.csum_offset == (is_udp(c) ? 6 : 16);
}

/*
 * Fragments: the checksum is over all of them. Their number, which IPv6 has
 * in no other place, comes from the content: others must not have the same.
 */
static void begin_fragments(struct vio_net_cut *c)
{
	uint64_t s;

	complete(c);
	s = vio_net_sum(c->bytes + c->l3, c->len - c->l3, 0);
	c->id = (uint32_t)(s ^ s >> 32) * 0x9e3779b1u;
	c->meta.gso_size &= (uint16_t)~7u;	/* offsets count 8 bytes */
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
	if (is_fragmented(c))
		begin_fragments(c);
	return c->len - c->at <= VIO_NET_PIECES_MAX * c->meta.gso_size;
}

/*
 * Length and number of the network header at @l3, for a packet that ends
 * @end bytes into it.
 */
static void fill_ip(struct vio_net_cut *c, uint32_t l3, uint32_t end,
		    bool numbered)
{
	unsigned char *ip = c->head + l3;

	if (ip[0] >> 4 == 6) {
		vio_net_put16(ip + 4, end - IP6_HDR);
		return;
	}
	vio_net_put16(ip + 2, end);
	if (numbered)
		vio_net_put16(ip + 4, (vio_net_get16(ip + 4) + c->nr) & 0xffff);
	vio_net_put16(ip + 10, 0);
	vio_net_put16(ip + 10,
		      vio_net_fold(vio_net_sum(ip, (ip[0] & 15u) * 4, 0)));
}

static void fill_l3(struct vio_net_cut *c, uint32_t n)
{
	fill_ip(c, c->l3, c->hdr - c->l3 + n, true);
	if (c->o4)
		fill_ip(c, c->o3, c->hdr - c->o3 + n, true);
}

static void fill_l4(struct vio_net_cut *c, uint32_t n, bool last)
{
	unsigned char *l4 = c->head + c->l4;

	if (is_udp(c)) {
		vio_net_put16(l4 + 4, UDP_HDR + n);
		return;
	}
	vio_net_put32(l4 + 4, vio_net_get32(l4 + 4) + (c->at - c->hdr));
	if (!last)
		l4[13] &= (unsigned char)~(TCP_FIN | TCP_PSH);
	/* "I have slowed down" is said once (RFC 3168). */
	if (c->nr)
		l4[13] &= 0xff ^ TCP_CWR;
}

/* The transport checksum at @at: of what begins at @l4, below @l3. */
static void fill_csum(struct vio_net_cut *c, uint32_t l3, uint32_t l4,
		      uint32_t at, uint32_t n, unsigned proto)
{
	unsigned char *ip = c->head + l3, *field = c->head + l4 + at;
	uint64_t s = c->hdr - l4 + n + proto;
	unsigned v;

	s = ip[0] >> 4 == 6 ? vio_net_sum(ip + 8, 32, s) :
			      vio_net_sum(ip + 12, 8, s);
	vio_net_put16(field, 0);
	/* Headers are even: the payload's words begin anew. */
	s = vio_net_sum(c->head + l4, c->hdr - l4, s);
	v = vio_net_fold(vio_net_sum(c->bytes + c->at, n, s));
	vio_net_put16(field, v || proto != PROTO_UDP ? v : 0xffff);
}

/*
 * The outer UDP header, when all that is within is complete. A checksum of 0
 * stays: none is wanted.
 */
static void fill_tunnel(struct vio_net_cut *c, uint32_t n)
{
	unsigned char *udp = c->head + c->o4;
	bool wanted = vio_net_get16(udp + 6) != 0 ||
		      c->meta.flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;

	vio_net_put16(udp + 4, c->hdr - c->o4 + n);
	if (wanted)
		fill_csum(c, c->o3, c->o4, 6, n, PROTO_UDP);
}

/* One fragment. Returns by how much its headers are longer. */
static uint32_t fill_fragment(struct vio_net_cut *c, uint32_t n, bool last)
{
	unsigned char *ip = c->head + c->l3, *f = c->head + c->l4;
	uint32_t off = c->at - c->hdr;

	if (!is_v6(c)) {
		vio_net_put16(ip + 6, off / 8 | (last ? 0 : FRAGMENT_MORE));
		fill_ip(c, c->l3, c->hdr - c->l3 + n, false);
		return 0;
	}
	f[0] = ip[6];
	f[1] = 0;
	ip[6] = PROTO_FRAGMENT;
	vio_net_put16(f + 2, off + (last ? 0 : 1));	/* off: by 8 */
	vio_net_put32(f + 4, c->id);
	fill_ip(c, c->l3, c->hdr - c->l3 + FRAGMENT_HDR + n, false);
	return FRAGMENT_HDR;
}

/* The headers of the next packet, with @n bytes behind; their length. */
static uint32_t fill_head(struct vio_net_cut *c, uint32_t n, bool last)
{
	memcpy(c->head, c->bytes, c->hdr);
	if (is_fragmented(c))
		return c->hdr + fill_fragment(c, n, last);
	fill_l3(c, n);
	fill_l4(c, n, last);
	fill_csum(c, c->l3, c->l4, c->meta.csum_offset, n,
		  is_udp(c) ? PROTO_UDP : PROTO_TCP);
	if (c->o4)
		fill_tunnel(c, n);
	return c->hdr;
}

bool vio_net_cut_next(struct vio_net_cut *c, struct vio_net_packet *pkt)
{
	uint32_t n = c->len - c->at, hdr;
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
	hdr = fill_head(c, n, last);
	c->seg[0] = (struct vio_seg){ c->head, hdr };
	c->seg[1] = (struct vio_seg){ c->bytes + c->at, n };
	pkt->nr_seg = 2;
	pkt->len = hdr + n;
	c->at += n;
	c->nr++;
	c->done = last;
	return true;
}
