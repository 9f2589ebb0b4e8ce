/* SPDX-License-Identifier: MIT */
/* Segments in a row become one packet; see net_rsc.h. */
#include "core/device/net_bytes.h"
#include "core/device/net_gso.h"
#include "core/device/net_int.h"
#include "core/device/net_rsc.h"
#include "core/base/string.h"

#define IP4_HDR		20u
#define IP6_HDR		40u
#define TCP_HDR		20u
#define TCP		6u
#define TCP_ACK		0x10u
#define TCP_PSH		0x08u
#define MOST		65535u	/* of an IP packet, payload of IPv6 */

/* One segment, as far as it is looked at. */
struct segment {
	unsigned char head[VIO_NET_RSC_HDR_MAX];
	uint32_t l4, hdr, payload;
	bool v6;
};

/* An IPv4 header without options, or an IPv6 one without extensions. */
static bool read_ip(struct segment *s, uint32_t len, uint32_t *end)
{
	const unsigned char *ip = s->head + VIO_NET_ETH_HDR;
	unsigned type = vio_net_get16(s->head + VIO_NET_ETH_TYPE_AT);

	s->v6 = type == 0x86dd;
	if (s->v6) {
		s->l4 = VIO_NET_ETH_HDR + IP6_HDR;
		*end = s->l4 + vio_net_get16(ip + 4);
		return ip[0] >> 4 == 6 && ip[6] == TCP && *end <= len;
	}
	s->l4 = VIO_NET_ETH_HDR + IP4_HDR;
	*end = VIO_NET_ETH_HDR + vio_net_get16(ip + 2);
	/* Whole, and what the checksum says. */
	return type == 0x0800 && ip[0] == 0x45 && ip[9] == TCP &&
	       !(vio_net_get16(ip + 6) & 0x3fff) && *end <= len &&
	       !vio_net_fold(vio_net_sum(ip, IP4_HDR, 0));
}

/* Segments of which nothing is asked, and that say nothing but data. */
static bool read_segment(const struct vio_net_packet *pkt, struct segment *s)
{
	uint32_t n = pkt->len < sizeof(s->head) ? pkt->len :
						  (uint32_t)sizeof(s->head);
	const unsigned char *tcp;
	uint32_t end;

	if ((pkt->meta.flags & ~VIRTIO_NET_HDR_F_DATA_VALID) ||
	    pkt->meta.gso_type ||
	    n < VIO_NET_ETH_HDR + IP4_HDR + TCP_HDR)
		return false;
	memset(s->head, 0, sizeof(s->head));
	vio_net_peek(pkt, s->head, n);
	if (!read_ip(s, pkt->len, &end) || n < s->l4 + TCP_HDR)
		return false;
	tcp = s->head + s->l4;
	s->hdr = s->l4 + (tcp[12] >> 4) * 4u;
	if (s->hdr < s->l4 + TCP_HDR || s->hdr > n || s->hdr > end)
		return false;
	s->payload = end - s->hdr;
	return (tcp[13] & ~TCP_PSH) == TCP_ACK;
}

/* The sum of the pseudo header, without the length. */
static uint64_t pseudo(const struct segment *s)
{
	const unsigned char *ip = s->head + VIO_NET_ETH_HDR;

	return s->v6 ? vio_net_sum(ip + 8, 32, TCP) :
		       vio_net_sum(ip + 12, 8, TCP);
}

/* The sum of @len bytes at @off of the packet, however it is cut. */
static uint64_t sum_at(const struct vio_net_packet *pkt, uint32_t off,
		       uint32_t len)
{
	const struct vio_seg *seg = pkt->seg;
	uint64_t sum = 0;
	bool odd = false;

	for (; off >= seg->len; seg++)
		off -= (uint32_t)seg->len;
	for (; len; seg++, off = 0) {
		uint32_t n = (uint32_t)seg->len - off;
		unsigned v;

		n = n < len ? n : len;
		v = ~vio_net_fold(vio_net_sum((unsigned char *)seg->base + off,
					      n, 0)) & 0xffff;
		sum += odd ? (v & 0xff) << 8 | v >> 8 : v;
		odd ^= n & 1;
		len -= n;
	}
	return sum;
}

static bool csum_ok(const struct vio_net_packet *pkt, const struct segment *s)
{
	uint32_t len = s->hdr - s->l4 + s->payload;

	return pkt->meta.flags & VIRTIO_NET_HDR_F_DATA_VALID ||
	       !vio_net_fold(pseudo(s) + len + sum_at(pkt, s->l4, len));
}

/* All but lengths, numbers, checksums, PSH: is it the same flow and state? */
static bool goes_on(const struct segment *a, const struct segment *b)
{
	const unsigned char *x = a->head, *y = b->head;
	uint32_t ip = VIO_NET_ETH_HDR, t = a->l4;

	if (a->v6 != b->v6 || a->hdr != b->hdr || memcmp(x, y, ip + 2))
		return false;
	if (a->v6 ? memcmp(x + ip + 2, y + ip + 2, 2) ||
		    memcmp(x + ip + 6, y + ip + 6, 34) :
		    memcmp(x + ip + 6, y + ip + 6, 4) ||
		    memcmp(x + ip + 12, y + ip + 12, 8))
		return false;
	/* ports; acknowledgement, and what else is there but the numbers */
	return !memcmp(x + t, y + t, 4) && !memcmp(x + t + 8, y + t + 8, 5) &&
	       !memcmp(x + t + 14, y + t + 14, 2) &&
	       !memcmp(x + t + 18, y + t + 18, a->hdr - t - 18);
}

/* The payload's bytes, where they lie. False: in too many pieces. */
static bool add_payload(struct vio_net_rsc *r,
			const struct vio_net_packet *pkt, uint32_t off,
			uint32_t len)
{
	const struct vio_seg *seg = pkt->seg;
	unsigned nr = r->pkt.nr_seg;

	for (; off >= seg->len; seg++)
		off -= (uint32_t)seg->len;
	for (uint32_t left = len; left; seg++, off = 0) {
		size_t n = seg->len - off;

		n = n < left ? n : left;
		if (nr > VIO_NET_RSC_SEGMENTS)
			return false;
		r->seg[nr++] = (struct vio_seg){
			(unsigned char *)seg->base + off, n };
		left -= (uint32_t)n;
	}
	r->pkt.nr_seg = (uint16_t)nr;
	r->pkt.len += len;
	return true;
}

/* The first segment's headers, for all. */
static void finish(struct vio_net_rsc *r, const struct segment *first,
		   bool push)
{
	unsigned char *ip = r->head + VIO_NET_ETH_HDR;
	unsigned char *tcp = r->head + first->l4;
	uint32_t len = r->pkt.len - first->l4;

	if (first->v6) {
		vio_net_put16(ip + 4, len);
	} else {
		vio_net_put16(ip + 2, r->pkt.len - VIO_NET_ETH_HDR);
		vio_net_put16(ip + 10, 0);
		vio_net_put16(ip + 10,
			      vio_net_fold(vio_net_sum(ip, IP4_HDR, 0)));
	}
	if (push)
		tcp[13] |= TCP_PSH;
	/* What was validated is as a sender leaves it to be completed. */
	vio_net_put16(tcp + 16, ~vio_net_fold(pseudo(first) + len) & 0xffff);
	r->pkt.meta = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = first->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 :
					VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = (uint16_t)first->payload,
		.hdr_len = (uint16_t)first->hdr,
		.csum_start = (uint16_t)first->l4, .csum_offset = 16,
		.merged = r->pkt.meta.merged,
		.dup_acks = r->pkt.meta.dup_acks,
	};
}

static bool begins(struct vio_net_rsc *r, const struct vio_net_packet *pkt,
		   uint64_t offloads, struct segment *s)
{
	unsigned need = VIRTIO_NET_F_GUEST_TSO4;

	if (!read_segment(pkt, s) || !s->payload)
		return false;
	if (s->v6)
		need = VIRTIO_NET_F_GUEST_TSO6;
	if (!(offloads >> need & 1) ||
	    !(offloads >> VIRTIO_NET_F_GUEST_CSUM & 1) ||
	    s->head[s->l4 + 13] & TCP_PSH)
		return false;
	if (!csum_ok(pkt, s)) {
		r->bad++;
		return false;
	}
	memcpy(r->head, s->head, s->hdr);
	r->seg[0] = (struct vio_seg){ r->head, s->hdr };
	r->pkt = (struct vio_net_packet){ .seg = r->seg, .nr_seg = 1,
					  .len = s->hdr };
	r->pkt.meta.merged = 1;
	return add_payload(r, pkt, s->hdr, s->payload);
}

unsigned vio_net_rsc(struct vio_net_rsc *r, const struct vio_net_packet *pkt,
		     unsigned nr, uint64_t offloads)
{
	struct vio_net_meta *m = &r->pkt.meta;
	struct segment first, s;
	bool push = false;
	unsigned i;

	r->bad = 0;
	if (nr < 2 || !begins(r, &pkt[0], offloads, &first))
		return 0;
	for (i = 1; i < nr && !push; i++) {
		uint32_t seq = vio_net_get32(first.head + first.l4 + 4) +
			       r->pkt.len - first.hdr;

		if (!read_segment(&pkt[i], &s) || !goes_on(&first, &s) ||
		    vio_net_get32(s.head + s.l4 + 4) != seq)
			break;
		/* A short one is the last; it is never made larger. */
		if (s.payload > first.payload ||
		    r->pkt.len - first.hdr !=
			    (uint32_t)m->merged * first.payload ||
		    r->pkt.len + s.payload > MOST)
			break;
		/* A wrong one is counted when it is the first. */
		if (!csum_ok(&pkt[i], &s) || (!s.payload && m->merged < 2))
			break;
		if (!s.payload) {
			m->dup_acks++;
			continue;
		}
		if (!add_payload(r, &pkt[i], s.hdr, s.payload))
			break;
		m->merged++;
		push = s.head[s.l4 + 13] & TCP_PSH;
	}
	if (m->merged < 2)
		return 0;
	finish(r, &first, push);
	return i;
}
