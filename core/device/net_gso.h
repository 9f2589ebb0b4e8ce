/* SPDX-License-Identifier: MIT */
/*
 * net_gso.h - what hardware does for a sender, in software: checksums are
 * completed, large packets are cut into small ones: TCP and UDP, these in a
 * UDP tunnel, and UDP into fragments. For either direction, where the
 * receiving side cannot do it itself. Knows no queue.
 */
#ifndef CORE_DEVICE_NET_GSO_H
#define CORE_DEVICE_NET_GSO_H

#include <vireo/net.h>

#define VIO_NET_GSO_HDR_MAX	256u
/*
 * Pieces of one packet. A packet of 64 KiB in single bytes would hold up all
 * others of its thread for many milliseconds; of the 48 bytes that Linux's TCP
 * sends at least, it has no more than these.
 */
#define VIO_NET_PIECES_MAX	1400u

/* A packet being cut; private to net_gso.c. */
struct vio_net_cut {
	unsigned char *bytes;	/* all of it, a private copy */
	uint32_t len;
	struct vio_net_meta meta;
	uint32_t l3, l4, hdr;	/* offsets: network, transport, payload */
	uint32_t o3, o4;	/* the same of a tunnel; o4 0: none */
	uint32_t id;		/* of an IPv6 packet cut into fragments */
	uint32_t at;		/* of the payload, what comes next */
	uint32_t nr;		/* segments made */
	bool done;
	struct vio_seg seg[2];
	unsigned char head[VIO_NET_GSO_HDR_MAX + 8];	/* fragment header */
};

/*
 * The sum of 16-bit words in network order, an odd byte counting as the upper
 * half of one; and the checksum that such a sum makes.
 */
uint64_t vio_net_sum(const unsigned char *p, uint32_t len, uint64_t s);
unsigned vio_net_fold(uint64_t s);

/*
 * vio_net_cut_begin() - @bytes is a private copy of a packet of @len bytes
 * whose header said @meta, checked by vio_net_hdr_check(). False if its own
 * headers do not fit what @meta says: drop it.
 */
bool vio_net_cut_begin(struct vio_net_cut *c, unsigned char *bytes,
		       uint32_t len, const struct vio_net_meta *meta);

/*
 * vio_net_cut_next() - the next packet, complete, valid until the next call.
 * False when there is none left.
 */
bool vio_net_cut_next(struct vio_net_cut *c, struct vio_net_packet *pkt);

#endif
