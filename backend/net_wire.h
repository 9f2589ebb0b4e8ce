/* SPDX-License-Identifier: MIT */
/*
 * What back ends share whose packets travel with a virtio header before
 * them: from a packet to that header and back. Whoever is at the other end
 * is not trusted: what comes back is checked.
 */
#ifndef BACKEND_NET_WIRE_H
#define BACKEND_NET_WIRE_H

#include <string.h>
#include <sys/uio.h>

#include "core/device/net_hdr.h"

enum { WIRE_HDR = VIRTIO_NET_HDR_LEN, WIRE_IOVS = 80 };

/*
 * Header and packet as a list for writev(). @hdr lives as long as the list.
 * Returns how many; 0: too many pieces.
 */
static inline unsigned wire_iov(const struct vio_net_packet *pkt,
				struct virtio_net_hdr *hdr,
				struct iovec iov[WIRE_IOVS])
{
	const struct vio_net_meta *m = &pkt->meta;

	if (pkt->nr_seg >= WIRE_IOVS)
		return 0;
	*hdr = (struct virtio_net_hdr){
		.flags = m->flags, .gso_type = m->gso_type,
		.hdr_len = vio_to_le16(m->hdr_len),
		.gso_size = vio_to_le16(m->gso_size),
		.csum_start = vio_to_le16(m->csum_start),
		.csum_offset = vio_to_le16(m->csum_offset),
	};
	iov[0] = (struct iovec){ hdr, WIRE_HDR };
	for (unsigned i = 0; i < pkt->nr_seg; i++)
		iov[i + 1] = (struct iovec){ pkt->seg[i].base,
					     pkt->seg[i].len };
	return pkt->nr_seg + 1u;
}

/* @len bytes that were read, header first. False: no packet. */
static inline bool wire_packet(const unsigned char *bytes, size_t len,
			       struct vio_seg *seg,
			       struct vio_net_packet *pkt)
{
	const struct vio_features all = { { ~0ull, ~0ull } };
	struct virtio_net_hdr hdr = { .flags = 0 };

	if (len < WIRE_HDR + VIO_NET_PACKET_MIN)
		return false;
	memcpy(&hdr, bytes, WIRE_HDR);
	*seg = (struct vio_seg){ (void *)(uintptr_t)(bytes + WIRE_HDR),
				 len - WIRE_HDR };
	*pkt = (struct vio_net_packet){ .seg = seg, .nr_seg = 1,
					.len = (uint32_t)(len - WIRE_HDR) };
	return vio_net_hdr_check(&hdr, pkt->len, &all, &pkt->meta);
}

#endif
