/* SPDX-License-Identifier: MIT */
/* Flows and their hash; see net_hash.h. */
#include "core/device/net_bytes.h"
#include "core/device/net_hash.h"
#include "core/device/net_int.h"
#include "core/base/string.h"

#define HEADERS		192u	/* bytes of a packet that are looked at */
#define MOST_EXTENSIONS	8u
#define IP4_HDR		20u
#define IP6_HDR		40u
#define TCP_HDR		20u
#define UDP_HDR		8u
#define ADDR6		16u
#define PROTO_TCP	6u
#define PROTO_UDP	17u
/* IPv6 extension headers (RFC 8200, RFC 6275) */
#define HOP_BY_HOP	0u
#define ROUTING		43u
#define FRAGMENT	44u
#define DESTINATION	60u
#define MOBILITY	135u
#define ROUTING_HOME	2u	/* a routing header's type */
#define OPTION_PAD1	0u
#define OPTION_HOME	0xc9u

/* The first bytes of a packet, as a private copy. */
struct headers {
	unsigned char byte[HEADERS];
	uint32_t len;
};

static void read_ports(const struct headers *h, uint32_t at, unsigned proto,
		       struct vio_net_flow *flow)
{
	uint32_t need = proto == PROTO_TCP ? TCP_HDR : UDP_HDR;

	if ((proto != PROTO_TCP && proto != PROTO_UDP) || at > h->len ||
	    h->len - at < need)
		return;
	flow->proto = (uint8_t)proto;
	memcpy(flow->port, h->byte + at, sizeof(flow->port));
}

static void read_v4(const struct headers *h, uint32_t at,
		    struct vio_net_flow *flow)
{
	const unsigned char *ip = h->byte + at;
	uint32_t len;

	if (h->len - at < IP4_HDR || ip[0] >> 4 != 4)
		return;
	len = (ip[0] & 15u) * 4;
	if (len < IP4_HDR)
		return;
	flow->version = 4;
	memcpy(flow->addr, ip + 12, 8);
	/* More fragments, or not the first. */
	if (!(vio_net_get16(ip + 6) & 0x3fff))
		read_ports(h, at + len, ip[9], flow);
}

/* The home address among the options at @p; @end lies in the headers. */
static void read_options(const unsigned char *p, const unsigned char *end,
			 struct vio_net_flow *flow)
{
	uint32_t left, len;

	while (p < end) {
		left = (uint32_t)(end - p);
		if (*p == OPTION_PAD1) {
			p++;
			continue;
		}
		if (left < 2 || left - 2 < p[1])
			return;
		len = p[1];
		if (*p == OPTION_HOME && len == ADDR6)
			memcpy(flow->home, p + 2, ADDR6);
		p += 2 + len;
	}
}

/* One extension header. Returns its length, 0 if it is cut off or a bound. */
static uint32_t read_extension(const struct headers *h, uint32_t at,
			       unsigned type, struct vio_net_flow *flow)
{
	const unsigned char *p = h->byte + at;
	uint32_t len;

	if (at > h->len || h->len - at < 8)
		return 0;
	if (type == FRAGMENT)
		return vio_net_get16(p + 2) & 0xfff9 ? 0 : 8;
	len = (p[1] + 1u) * 8;
	if (h->len - at < len)
		return 0;
	if (type == DESTINATION)
		read_options(p + 2, p + len, flow);
	else if (type == ROUTING && p[2] == ROUTING_HOME && len >= 8 + ADDR6)
		memcpy(flow->home + ADDR6, p + 8, ADDR6);
	return len;
}

static bool is_extension(unsigned type)
{
	return type == HOP_BY_HOP || type == ROUTING || type == FRAGMENT ||
	       type == DESTINATION || type == MOBILITY;
}

static void read_v6(const struct headers *h, uint32_t at,
		    struct vio_net_flow *flow)
{
	const unsigned char *ip = h->byte + at;
	unsigned next, i;
	uint32_t len;

	if (h->len - at < IP6_HDR || ip[0] >> 4 != 6)
		return;
	flow->version = 6;
	memcpy(flow->addr, ip + 8, 2 * ADDR6);
	memcpy(flow->home, flow->addr, 2 * ADDR6);
	next = ip[6];
	at += IP6_HDR;
	for (i = 0; i < MOST_EXTENSIONS && is_extension(next); i++) {
		flow->extended = true;
		len = read_extension(h, at, next, flow);
		if (!len)
			return;
		next = h->byte[at];
		at += len;
	}
	read_ports(h, at, next, flow);
}

void vio_net_flow_read(const struct vio_net_packet *pkt,
		       struct vio_net_flow *flow)
{
	struct headers h;
	uint32_t at = VIO_NET_ETH_TYPE_AT;
	unsigned type, tags;

	*flow = (struct vio_net_flow){ .version = 0 };
	h.len = pkt->len < HEADERS ? pkt->len : HEADERS;
	vio_net_peek(pkt, h.byte, h.len);
	for (tags = 0; tags <= 2; tags++, at += VIO_NET_VLAN_TAG) {
		if (h.len < at + 2)
			return;
		type = vio_net_get16(h.byte + at);
		if (type == 0x0800)
			read_v4(&h, at + 2, flow);
		if (type == 0x86dd)
			read_v6(&h, at + 2, flow);
		if (type != 0x8100 && type != 0x88a8)
			return;
	}
}

/* One end of a flow. */
static uint32_t mix_end(const uint8_t *addr, unsigned len,
			const uint8_t *port)
{
	uint32_t h = 0x811c9dc5u;
	unsigned i;

	for (i = 0; i < len; i++)
		h = (h ^ addr[i]) * 0x01000193u;
	h = (h ^ vio_net_get16(port)) * 0x01000193u;
	return (h ^ h >> 15) * 0x85ebca6bu;
}

uint32_t vio_net_flow_mix(const struct vio_net_flow *flow)
{
	unsigned half = flow->version == 4 ? 4 : ADDR6;
	/* A sum knows no direction. */
	uint32_t h = mix_end(flow->addr, half, flow->port) +
		     mix_end(flow->addr + half, half, flow->port + 2) +
		     flow->proto;

	return h ^ h >> 13;
}

/* -- Toeplitz ------------------------------------------------------------ */

/* The 32 bits of the key from bit @at on; the key has 4 bytes of reserve. */
static uint32_t window(const uint8_t *key, unsigned at)
{
	const uint8_t *p = key + at / 8;
	uint64_t v = (uint64_t)p[0] << 32 | (uint64_t)p[1] << 24 |
		     (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];

	return (uint32_t)(v >> (8 - at % 8));
}

void vio_net_toeplitz_set(struct vio_net_toeplitz *t, const uint8_t *key,
			  unsigned len)
{
	uint8_t k[VIO_NET_HASH_KEY + 1] = { 0 };
	unsigned i, v, bit;

	memcpy(k, key, len < VIO_NET_HASH_KEY ? len : VIO_NET_HASH_KEY);
	for (i = 0; i < 2 * VIO_NET_HASH_INPUT; i++)
		for (v = 0; v < 16; v++) {
			t->part[i][v] = 0;
			for (bit = 0; bit < 4; bit++)
				if (v & 8u >> bit)
					t->part[i][v] ^= window(k,
								4 * i + bit);
		}
}

uint32_t vio_net_toeplitz(const struct vio_net_toeplitz *t,
			  const uint8_t *input, unsigned len)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < len && i < VIO_NET_HASH_INPUT; i++)
		hash ^= t->part[2 * i][input[i] >> 4] ^
			t->part[2 * i + 1][input[i] & 15];
	return hash;
}

/* What to report where @types has any of TCP, UDP or addresses alone. */
static uint16_t report_of(const struct vio_net_flow *flow, uint32_t types,
			  unsigned ip, unsigned tcp, unsigned udp)
{
	if (flow->proto == PROTO_TCP && types >> (tcp - 1) & 1)
		return (uint16_t)tcp;
	if (flow->proto == PROTO_UDP && types >> (udp - 1) & 1)
		return (uint16_t)udp;
	return types >> (ip - 1) & 1 ? (uint16_t)ip :
				       VIRTIO_NET_HASH_REPORT_NONE;
}

static uint16_t choose(const struct vio_net_flow *flow, uint32_t types)
{
	uint16_t r = VIRTIO_NET_HASH_REPORT_NONE;

	if (flow->version == 4)
		return report_of(flow, types, VIRTIO_NET_HASH_REPORT_IPv4,
				 VIRTIO_NET_HASH_REPORT_TCPv4,
				 VIRTIO_NET_HASH_REPORT_UDPv4);
	if (flow->version != 6)
		return r;
	if (flow->extended)
		r = report_of(flow, types, VIRTIO_NET_HASH_REPORT_IPv6_EX,
			      VIRTIO_NET_HASH_REPORT_TCPv6_EX,
			      VIRTIO_NET_HASH_REPORT_UDPv6_EX);
	return r ? r : report_of(flow, types, VIRTIO_NET_HASH_REPORT_IPv6,
				 VIRTIO_NET_HASH_REPORT_TCPv6,
				 VIRTIO_NET_HASH_REPORT_UDPv6);
}

uint16_t vio_net_flow_hash(const struct vio_net_flow *flow, uint32_t types,
			   const struct vio_net_toeplitz *t, uint32_t *hash)
{
	uint8_t input[VIO_NET_HASH_INPUT];
	uint16_t report = choose(flow, types);
	unsigned len = flow->version == 4 ? 8 : 2 * ADDR6;

	*hash = 0;
	if (report == VIRTIO_NET_HASH_REPORT_NONE)
		return report;
	memcpy(input, report >= VIRTIO_NET_HASH_REPORT_IPv6_EX ? flow->home :
								  flow->addr,
	       len);
	if (report != VIRTIO_NET_HASH_REPORT_IPv4 &&
	    report != VIRTIO_NET_HASH_REPORT_IPv6 &&
	    report != VIRTIO_NET_HASH_REPORT_IPv6_EX) {
		memcpy(input + len, flow->port, sizeof(flow->port));
		len += (unsigned)sizeof(flow->port);
	}
	*hash = vio_net_toeplitz(t, input, len);
	return report;
}
