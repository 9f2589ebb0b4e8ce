/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/net.h - constants and wire structs of the network device
 * (standard: 5.1), in its spelling.
 */
#ifndef VIREO_SPEC_NET_H
#define VIREO_SPEC_NET_H

#include <vireo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Feature bits (5.1.3) */
#define VIRTIO_NET_F_CSUM			0
#define VIRTIO_NET_F_GUEST_CSUM			1
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS	2
#define VIRTIO_NET_F_MTU			3
#define VIRTIO_NET_F_MAC			5
#define VIRTIO_NET_F_GUEST_TSO4			7
#define VIRTIO_NET_F_GUEST_TSO6			8
#define VIRTIO_NET_F_GUEST_ECN			9
#define VIRTIO_NET_F_GUEST_UFO			10
#define VIRTIO_NET_F_HOST_TSO4			11
#define VIRTIO_NET_F_HOST_TSO6			12
#define VIRTIO_NET_F_HOST_ECN			13
#define VIRTIO_NET_F_HOST_UFO			14
#define VIRTIO_NET_F_MRG_RXBUF			15
#define VIRTIO_NET_F_STATUS			16
#define VIRTIO_NET_F_CTRL_VQ			17
#define VIRTIO_NET_F_CTRL_RX			18
#define VIRTIO_NET_F_CTRL_VLAN			19
#define VIRTIO_NET_F_CTRL_RX_EXTRA		20
#define VIRTIO_NET_F_GUEST_ANNOUNCE		21
#define VIRTIO_NET_F_MQ				22
#define VIRTIO_NET_F_CTRL_MAC_ADDR		23
#define VIRTIO_NET_F_DEVICE_STATS		50
#define VIRTIO_NET_F_HASH_TUNNEL		51
#define VIRTIO_NET_F_VQ_NOTF_COAL		52
#define VIRTIO_NET_F_NOTF_COAL			53
#define VIRTIO_NET_F_GUEST_USO4			54
#define VIRTIO_NET_F_GUEST_USO6			55
#define VIRTIO_NET_F_HOST_USO			56
#define VIRTIO_NET_F_HASH_REPORT		57
#define VIRTIO_NET_F_GUEST_HDRLEN		59
#define VIRTIO_NET_F_RSS			60
#define VIRTIO_NET_F_RSC_EXT			61
#define VIRTIO_NET_F_STANDBY			62
#define VIRTIO_NET_F_SPEED_DUPLEX		63
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO	65
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM	66
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO	67
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM	68

/* Configuration layout (5.1.4) */
#define VIRTIO_NET_S_LINK_UP	1
#define VIRTIO_NET_S_ANNOUNCE	2

#define VIRTIO_NET_MTU_MIN	68
#define VIRTIO_NET_MAC_LEN	6

struct virtio_net_config {
	uint8_t mac[VIRTIO_NET_MAC_LEN];
	vio_le16 status;
	vio_le16 max_virtqueue_pairs;
	vio_le16 mtu;
	vio_le32 speed;		/* Mbit/s */
	uint8_t duplex;
	uint8_t rss_max_key_size;
	vio_le16 rss_max_indirection_table_length;
	vio_le32 supported_hash_types;
	vio_le32 supported_tunnel_types;
};

VIO_STATIC_ASSERT(offsetof(struct virtio_net_config, mtu) == 10, "5.1.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_net_config, duplex) == 16, "5.1.4");
VIO_STATIC_ASSERT(sizeof(struct virtio_net_config) == 28, "5.1.4");

/* The header before each packet (5.1.6) */
#define VIRTIO_NET_HDR_F_NEEDS_CSUM	1
#define VIRTIO_NET_HDR_F_DATA_VALID	2
#define VIRTIO_NET_HDR_F_RSC_INFO	4
#define VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM 8

#define VIRTIO_NET_HDR_GSO_NONE		0
#define VIRTIO_NET_HDR_GSO_TCPV4	1
#define VIRTIO_NET_HDR_GSO_UDP		3
#define VIRTIO_NET_HDR_GSO_TCPV6	4
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 0x20
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6 0x40
#define VIRTIO_NET_HDR_GSO_ECN		0x80
/* Either of the two. */
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL	0x60

struct virtio_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	vio_le16 hdr_len;
	vio_le16 gso_size;
	vio_le16 csum_start;
	vio_le16 csum_offset;
	vio_le16 num_buffers;	/* legacy: with MRG_RXBUF only */
	/* with HASH_REPORT, and with what follows them */
	vio_le32 hash_value;
	vio_le16 hash_report;
	vio_le16 padding_reserved;
	/* with HOST_UDP_TUNNEL_GSO or GUEST_UDP_TUNNEL_GSO */
	vio_le16 outer_th_offset;
	vio_le16 inner_nh_offset;
};

#define VIRTIO_NET_HDR_LEN_LEGACY	10
#define VIRTIO_NET_HDR_LEN		12
#define VIRTIO_NET_HDR_LEN_HASH		20
#define VIRTIO_NET_HDR_LEN_TUNNEL	24

VIO_STATIC_ASSERT(offsetof(struct virtio_net_hdr, num_buffers) ==
		  VIRTIO_NET_HDR_LEN_LEGACY, "5.1.6");
VIO_STATIC_ASSERT(offsetof(struct virtio_net_hdr, hash_value) ==
		  VIRTIO_NET_HDR_LEN, "5.1.6");
VIO_STATIC_ASSERT(offsetof(struct virtio_net_hdr, outer_th_offset) ==
		  VIRTIO_NET_HDR_LEN_HASH, "5.1.6");
VIO_STATIC_ASSERT(sizeof(struct virtio_net_hdr) == VIRTIO_NET_HDR_LEN_TUNNEL,
		  "5.1.6");

/* Hash types, and what is reported of them (5.1.6.4.3, 5.1.6.4.5) */
#define VIRTIO_NET_HASH_TYPE_IPv4	(1u << 0)
#define VIRTIO_NET_HASH_TYPE_TCPv4	(1u << 1)
#define VIRTIO_NET_HASH_TYPE_UDPv4	(1u << 2)
#define VIRTIO_NET_HASH_TYPE_IPv6	(1u << 3)
#define VIRTIO_NET_HASH_TYPE_TCPv6	(1u << 4)
#define VIRTIO_NET_HASH_TYPE_UDPv6	(1u << 5)
#define VIRTIO_NET_HASH_TYPE_IP_EX	(1u << 6)
#define VIRTIO_NET_HASH_TYPE_TCP_EX	(1u << 7)
#define VIRTIO_NET_HASH_TYPE_UDP_EX	(1u << 8)

#define VIRTIO_NET_HASH_REPORT_NONE	0
#define VIRTIO_NET_HASH_REPORT_IPv4	1
#define VIRTIO_NET_HASH_REPORT_TCPv4	2
#define VIRTIO_NET_HASH_REPORT_UDPv4	3
#define VIRTIO_NET_HASH_REPORT_IPv6	4
#define VIRTIO_NET_HASH_REPORT_TCPv6	5
#define VIRTIO_NET_HASH_REPORT_UDPv6	6
#define VIRTIO_NET_HASH_REPORT_IPv6_EX	7
#define VIRTIO_NET_HASH_REPORT_TCPv6_EX	8
#define VIRTIO_NET_HASH_REPORT_UDPv6_EX	9

/* Control virtqueue (5.1.6.5) */
struct virtio_net_ctrl_hdr {
	uint8_t class_;		/* "class" is a word of C++ */
	uint8_t command;
};

#define VIRTIO_NET_OK	0
#define VIRTIO_NET_ERR	1

#define VIRTIO_NET_CTRL_RX		0
#define VIRTIO_NET_CTRL_RX_PROMISC	0
#define VIRTIO_NET_CTRL_RX_ALLMULTI	1
#define VIRTIO_NET_CTRL_RX_ALLUNI	2
#define VIRTIO_NET_CTRL_RX_NOMULTI	3
#define VIRTIO_NET_CTRL_RX_NOUNI	4
#define VIRTIO_NET_CTRL_RX_NOBCAST	5

#define VIRTIO_NET_CTRL_MAC		1
#define VIRTIO_NET_CTRL_MAC_TABLE_SET	0
#define VIRTIO_NET_CTRL_MAC_ADDR_SET	1

#define VIRTIO_NET_CTRL_VLAN		2
#define VIRTIO_NET_CTRL_VLAN_ADD	0
#define VIRTIO_NET_CTRL_VLAN_DEL	1

#define VIRTIO_NET_CTRL_ANNOUNCE	3
#define VIRTIO_NET_CTRL_ANNOUNCE_ACK	0

#define VIRTIO_NET_CTRL_MQ		4
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET	0
#define VIRTIO_NET_CTRL_MQ_RSS_CONFIG	1
#define VIRTIO_NET_CTRL_MQ_HASH_CONFIG	2
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN	1
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX	0x8000


/*
 * Of virtio_net_rss_config what comes before the table, which has (mask + 1)
 * entries of 16 bits. virtio_net_hash_config begins alike, and has zeroes up
 * to the length of the key.
 */
struct virtio_net_rss_config_head {
	vio_le32 hash_types;
	vio_le16 indirection_table_mask;
	vio_le16 unclassified_queue;
};

/* Behind the table: le16 max_tx_vq, u8 hash_key_length, and the key. */

VIO_STATIC_ASSERT(sizeof(struct virtio_net_rss_config_head) == 8, "5.1.6.5.7");

#define VIRTIO_NET_CTRL_GUEST_OFFLOADS		5
#define VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET	0
/* In the command's mask, where features beyond 63 have no bit of their own */
#define VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO		46
#define VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO_CSUM	47

#define VIRTIO_NET_CTRL_NOTF_COAL		6
#define VIRTIO_NET_CTRL_NOTF_COAL_TX_SET	0
#define VIRTIO_NET_CTRL_NOTF_COAL_RX_SET	1
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET	2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET	3

struct virtio_net_ctrl_coal {
	vio_le32 max_packets;
	vio_le32 max_usecs;
};

struct virtio_net_ctrl_coal_vq {
	vio_le16 vq_index;
	vio_le16 reserved;
	struct virtio_net_ctrl_coal coal;
};

VIO_STATIC_ASSERT(sizeof(struct virtio_net_ctrl_coal_vq) == 12, "5.1.6.5.9");

#define VIRTIO_NET_CTRL_STATS			8
#define VIRTIO_NET_CTRL_STATS_QUERY		0
#define VIRTIO_NET_CTRL_STATS_GET		1

/* Numbers of replies; of types, the bits of a mask */
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC	0
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_CSUM	1
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_GSO	2
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED	3
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC	16
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_CSUM	17
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_GSO	18
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_SPEED	19
#define VIRTIO_NET_STATS_TYPE_REPLY_CVQ		32

struct virtio_net_ctrl_queue_stats {
	vio_le16 vq_index;
	vio_le16 reserved[3];
	vio_le64 types_bitmap[1];
};

struct virtio_net_stats_reply_hdr {
	uint8_t type;
	uint8_t reserved;
	vio_le16 vq_index;
	vio_le16 reserved1;
	vio_le16 size;
};

/* The numbers behind the header, in the standard's order */
#define VIRTIO_NET_STATS_CVQ_NR		2
#define VIRTIO_NET_STATS_RX_BASIC_NR	6
#define VIRTIO_NET_STATS_TX_BASIC_NR	6
#define VIRTIO_NET_STATS_RX_CSUM_NR	4
#define VIRTIO_NET_STATS_TX_CSUM_NR	2
#define VIRTIO_NET_STATS_RX_GSO_NR	4
#define VIRTIO_NET_STATS_TX_GSO_NR	6
#define VIRTIO_NET_STATS_SPEED_NR	2

VIO_STATIC_ASSERT(sizeof(struct virtio_net_ctrl_queue_stats) == 16,
		  "5.1.6.5.10");
VIO_STATIC_ASSERT(sizeof(struct virtio_net_stats_reply_hdr) == 8,
		  "5.1.6.5.10");

#ifdef __cplusplus
}
#endif
#endif
