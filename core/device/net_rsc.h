/* SPDX-License-Identifier: MIT */
/*
 * net_rsc.h - TCP segments that came one after the other become one large
 * packet for the driver (RSC_EXT). Knows packets; no queue.
 */
#ifndef CORE_DEVICE_NET_RSC_H
#define CORE_DEVICE_NET_RSC_H

#include <vireo/net.h>

#define VIO_NET_RSC_HDR_MAX	114u	/* Ethernet, IPv6, TCP with options */
#define VIO_NET_RSC_SEGMENTS	48u

/* One packet made of many; its payload lies where it came. */
struct vio_net_rsc {
	struct vio_net_packet pkt;
	uint32_t bad;			/* checksums that were wrong */
	struct vio_seg seg[1 + VIO_NET_RSC_SEGMENTS];
	unsigned char head[VIO_NET_RSC_HDR_MAX];
};

/*
 * vio_net_rsc() - merge what can be of @pkt[0] and those that follow it, for
 * a driver that bears @offloads. Returns how many became r->pkt; 0: the first
 * is to go as it is.
 */
unsigned vio_net_rsc(struct vio_net_rsc *r, const struct vio_net_packet *pkt,
		     unsigned nr, uint64_t offloads);

#endif
