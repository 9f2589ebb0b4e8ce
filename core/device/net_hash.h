/* SPDX-License-Identifier: MIT */
/*
 * net_hash.h - which flow a packet belongs to, and the hash over that which
 * the driver configures (standard: 5.1.6.4.3). Knows packets' bytes; no
 * queue, no device.
 */
#ifndef CORE_DEVICE_NET_HASH_H
#define CORE_DEVICE_NET_HASH_H

#include <vireo/net.h>

/* Two IPv6 addresses and two ports. */
#define VIO_NET_HASH_INPUT	36u

/* All types that are calculated here. */
#define VIO_NET_HASH_TYPES						\
	(VIRTIO_NET_HASH_TYPE_IPv4 | VIRTIO_NET_HASH_TYPE_TCPv4 |	\
	 VIRTIO_NET_HASH_TYPE_UDPv4 | VIRTIO_NET_HASH_TYPE_IPv6 |	\
	 VIRTIO_NET_HASH_TYPE_TCPv6 | VIRTIO_NET_HASH_TYPE_UDPv6 |	\
	 VIRTIO_NET_HASH_TYPE_IP_EX | VIRTIO_NET_HASH_TYPE_TCP_EX |	\
	 VIRTIO_NET_HASH_TYPE_UDP_EX)

/* What is known of a packet; all 0: nothing. */
struct vio_net_flow {
	uint8_t version;	/* 4, 6, or 0: no IP */
	uint8_t proto;		/* 6: TCP, 17: UDP, if its header is there */
	bool extended;		/* IPv6 with extension headers */
	uint8_t addr[32];	/* source, destination; IPv4: 8 bytes */
	uint8_t home[32];	/* extended: as mobile nodes have them */
	uint8_t port[4];	/* source, destination */
};

/* Read a packet's headers. A fragment has no ports. */
void vio_net_flow_read(const struct vio_net_packet *pkt,
		       struct vio_net_flow *flow);

/* The same number for both directions of a flow. */
uint32_t vio_net_flow_mix(const struct vio_net_flow *flow);

/* A key of @len bytes, zeroes behind it; at most VIO_NET_HASH_KEY count. */
void vio_net_toeplitz_set(struct vio_net_toeplitz *t, const uint8_t *key,
			  unsigned len);
uint32_t vio_net_toeplitz(const struct vio_net_toeplitz *t,
			  const uint8_t *input, unsigned len);

/*
 * The hash of a flow by the enabled @types. Returns what is reported of it,
 * VIRTIO_NET_HASH_REPORT_NONE where none of them fits.
 */
uint16_t vio_net_flow_hash(const struct vio_net_flow *flow, uint32_t types,
			   const struct vio_net_toeplitz *t, uint32_t *hash);

#endif
