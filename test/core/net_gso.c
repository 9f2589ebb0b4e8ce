/* SPDX-License-Identifier: MIT */
/*
 * net_gso.c - checksums and segmentation in software, judged by a checksum
 * and a reading of headers of the test's own.
 */
#include "core/device/net_gso.h"
#include "vtest.h"

#include <stdlib.h>

#define L3	14u
#define BIG	40000u

static unsigned char packet[BIG];
static unsigned char payload[BIG];

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

/* Byte by byte, unlike the code under test. */
static unsigned long sum(const unsigned char *p, unsigned len,
			 unsigned long s)
{
	for (unsigned i = 0; i < len; i++)
		s += i % 2 ? p[i] : (unsigned long)p[i] << 8;
	return s;
}

static bool right(unsigned long s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s == 0xffff;
}

struct shape {
	bool v6, udp;
	unsigned tags;		/* VLAN tags */
	unsigned options;	/* bytes of IPv4 options */
	unsigned len;		/* payload */
	unsigned mss;
	uint8_t flags;		/* of TCP */
};

static unsigned l3_of(const struct shape *s)
{
	return L3 + 4 * s->tags;
}

static unsigned l4_of(const struct shape *s)
{
	return l3_of(s) + (s->v6 ? 40 : 20 + s->options);
}

static unsigned data_of(const struct shape *s)
{
	return l4_of(s) + (s->udp ? 8 : 20);
}

static unsigned build(const struct shape *s, struct vio_net_meta *m)
{
	unsigned char *ip = packet + l3_of(s), *l4 = packet + l4_of(s);
	unsigned n = data_of(s) + s->len;

	memset(packet, 0, data_of(s));
	memset(packet, 0x22, 12);
	for (unsigned i = 0; i < s->tags; i++)
		put16(packet + 12 + 4 * i, i ? 0x8100 : s->tags > 1 ? 0x88a8 :
		      0x8100);
	put16(ip - 2, s->v6 ? 0x86dd : 0x0800);
	ip[0] = s->v6 ? 0x60 : (unsigned char)(0x45 + s->options / 4);
	ip[s->v6 ? 6 : 9] = s->udp ? 17 : 6;
	if (!s->v6)
		put16(ip + 4, 0xfffe);	/* its number wraps */
	memset(ip + (s->v6 ? 8 : 12), 0x0a, s->v6 ? 32 : 8);
	put16(l4, 1000);
	put16(l4 + 2, 80);
	if (!s->udp) {
		memcpy(l4 + 4, "\xff\xff\xff\x00", 4);	/* it wraps too */
		l4[12] = 0x50;
		l4[13] = s->flags;
	}
	memcpy(packet + data_of(s), payload, s->len);
	*m = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = s->udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : s->v6 ?
			VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = (uint16_t)s->mss,
		.csum_start = (uint16_t)l4_of(s),
		.csum_offset = s->udp ? 6 : 16,
		.hdr_len = 9999,	/* a lie: nobody believes it */
	};
	return n;
}

static void check_l4(const struct shape *s, const unsigned char *p,
		     unsigned len)
{
	const unsigned char *ip = p + l3_of(s);
	unsigned l4 = l4_of(s);
	unsigned long v = len - l4 + (s->udp ? 17 : 6);

	v = s->v6 ? sum(ip + 8, 32, v) : sum(ip + 12, 8, v);
	CHECK(right(sum(p + l4, len - l4, v)));
}

static void check_segment(const struct shape *s, const unsigned char *p,
			  unsigned len, unsigned nr, unsigned at)
{
	const unsigned char *ip = p + l3_of(s), *l4 = p + l4_of(s);
	unsigned n = len - data_of(s);
	bool last = at + n == s->len;
	uint32_t seq;

	CHECK_MEMEQ(p, packet, l3_of(s));
	CHECK_MEMEQ(p + data_of(s), payload + at, n);
	if (s->v6) {
		CHECK_EQ(get16(ip + 4), len - l3_of(s) - 40);
	} else {
		CHECK_EQ(get16(ip + 2), len - l3_of(s));
		CHECK_EQ(get16(ip + 4), (0xfffe + nr) & 0xffff);
		CHECK(right(sum(ip, 20 + s->options, 0)));
	}
	check_l4(s, p, len);
	if (s->udp) {
		CHECK_EQ(get16(l4 + 4), n + 8);
		return;
	}
	seq = (uint32_t)get16(l4 + 4) << 16 | get16(l4 + 6);
	CHECK_EQ(seq, (uint32_t)(0xffffff00u + at));
	CHECK_EQ(l4[13] & 0x09, last ? s->flags & 0x09 : 0);
	CHECK_EQ(l4[13] & 0x80, nr ? 0 : s->flags & 0x80);
	CHECK_EQ(l4[13] & 0x10, s->flags & 0x10);
}

static void run(const struct shape *s)
{
	static unsigned char whole[BIG];
	struct vio_net_meta m;
	struct vio_net_packet p;
	struct vio_net_cut *c = malloc(sizeof(*c));
	unsigned len = build(s, &m), nr = 0, at = 0;
	unsigned char *copy = malloc(len);

	CHECK(c && copy);
	memcpy(copy, packet, len);
	CHECK(vio_net_cut_begin(c, copy, len, &m));
	while (vio_net_cut_next(c, &p)) {
		unsigned n = 0;

		for (unsigned i = 0; i < p.nr_seg; i++) {
			memcpy(whole + n, p.seg[i].base, p.seg[i].len);
			n += (unsigned)p.seg[i].len;
		}
		CHECK_EQ(n, p.len);
		CHECK_EQ(p.meta.flags, 0);
		CHECK_EQ(p.meta.gso_type, 0);
		CHECK_LE(n - data_of(s), s->mss);
		check_segment(s, whole, n, nr++, at);
		at += n - data_of(s);
	}
	CHECK_EQ(at, s->len);
	CHECK_EQ(nr, (s->len + s->mss - 1) / s->mss);
	free(copy);
	free(c);
}

TEST("gso: segments are whole packets, their headers as a sender makes them",
     "net.device.packet-transmission.7")
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());

	vtest_fill(&r, payload, sizeof(payload));
	for (unsigned i = 0; i < 400; i++) {
		struct shape s = {
			.v6 = i & 1, .udp = i & 2, .tags = i / 4 % 3,
			.options = i & 1 ? 0 : 4 * (i / 8 % 11),
			.len = 1 + (unsigned)vtest_below(&r, 30000),
			.mss = 1 + (unsigned)vtest_below(&r, 3000),
			.flags = (uint8_t)vtest_u64(&r),
		};

		if (s.udp && i % 5 == 0)
			s.mss = 1460;
		run(&s);
	}
}

TEST("gso: a checksum alone is completed over what the driver said", "")
{
	const struct shape s = { .len = 333, .mss = 1 };
	struct vio_net_packet p;
	struct vio_net_meta m;
	struct vio_net_cut c;
	unsigned len;

	for (unsigned i = 0; i < s.len; i++)
		payload[i] = (unsigned char)(i * 3);
	len = build(&s, &m);
	m.gso_type = 0;
	/* The driver has put the pseudo header's sum there. */
	put16(packet + m.csum_start + 16, (unsigned)
	      (sum(packet + L3 + 12, 8, len - m.csum_start + 6) % 0xffff));
	CHECK(vio_net_cut_begin(&c, packet, len, &m));
	CHECK(vio_net_cut_next(&c, &p));
	CHECK_EQ(p.len, len);
	check_l4(&s, packet, len);
	CHECK(!vio_net_cut_next(&c, &p));
}

TEST("gso: headers that do not fit what was said of them are refused", "")
{
	const struct shape good = { .len = 3000, .mss = 1000 };
	struct vio_net_meta m;
	struct vio_net_cut c;
	unsigned len = build(&good, &m);

	CHECK(vio_net_cut_begin(&c, packet, len, &m));
	m.csum_start += 4;		/* not where the header ends */
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	len = build(&good, &m);
	m.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	len = build(&good, &m);
	m.csum_offset = 6;
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	len = build(&good, &m);
	packet[L3] = 0x44;		/* a header of 16 bytes */
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	len = build(&good, &m);
	packet[12] = 0x08;		/* ARP */
	packet[13] = 0x06;
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	len = build(&good, &m);
	packet[l4_of(&good) + 12] = 0x40;	/* TCP of 16 bytes */
	CHECK(!vio_net_cut_begin(&c, packet, len, &m));
	build(&good, &m);
	packet[l4_of(&good) + 12] = 0xf0;	/* of 60, past the end */
	CHECK(!vio_net_cut_begin(&c, packet, l4_of(&good) + 60, &m));
	/* In single bytes: as many as are allowed, and one more. */
	len = build(&(struct shape){ .len = VIO_NET_PIECES_MAX, .mss = 1 },
		    &m);
	CHECK(vio_net_cut_begin(&c, packet, len - 1, &m));
	CHECK(vio_net_cut_begin(&c, packet, len, &m));
	CHECK(!vio_net_cut_begin(&c, packet, len + 1, &m));
	build(&good, &m);
	for (len = 0; len <= data_of(&good); len++)
		CHECK(!vio_net_cut_begin(&c, packet, len, &m));
}
