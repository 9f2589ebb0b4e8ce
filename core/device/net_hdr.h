/* SPDX-License-Identifier: MIT */
/*
 * net_hdr.h - the header before each packet: how long it is, whether what it
 * says can be true. Knows no queue and no packet's contents.
 */
#ifndef CORE_DEVICE_NET_HDR_H
#define CORE_DEVICE_NET_HDR_H

#include <vireo/net.h>

/* Bytes of the header under these features. */
uint16_t vio_net_hdr_len(const struct vio_features *f);

/*
 * Between this order and that of a legacy driver on a machine of the other
 * one (net.other.legacy-interface-device-operation.1).
 */
void vio_net_hdr_mirror(struct virtio_net_hdr *hdr);

/*
 * vio_net_hdr_check() - a header from the driver, already copied, before a
 * packet of @len bytes. True, and @meta, if it may be acted upon: every
 * offset in @meta lies in the packet, every offload in it was negotiated.
 */
bool vio_net_hdr_check(const struct virtio_net_hdr *hdr, uint32_t len,
		       const struct vio_features *f,
		       struct vio_net_meta *meta);

#endif
