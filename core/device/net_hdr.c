/* SPDX-License-Identifier: MIT */
/* The header before each packet; see net_hdr.h. */
#include "core/device/net_hdr.h"

#define ETH_HDR		14u
#define IP4_HDR		20u
#define UDP_HDR		8u

uint16_t vio_net_hdr_len(const struct vio_features *f)
{
	if (vio_has(f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO) ||
	    vio_has(f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO))
		return VIRTIO_NET_HDR_LEN_TUNNEL;
	if (vio_has(f, VIRTIO_NET_F_HASH_REPORT))
		return VIRTIO_NET_HDR_LEN_HASH;
	/* A legacy driver's has no num_buffers unless it merges. */
	if (!vio_has(f, VIRTIO_F_VERSION_1) &&
	    !vio_has(f, VIRTIO_NET_F_MRG_RXBUF))
		return VIRTIO_NET_HDR_LEN_LEGACY;
	return VIRTIO_NET_HDR_LEN;
}

void vio_net_hdr_mirror(struct virtio_net_hdr *hdr)
{
	vio_le16 *const field[] = { &hdr->hdr_len, &hdr->gso_size,
				    &hdr->csum_start, &hdr->csum_offset,
				    &hdr->num_buffers };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(field); i++)
		field[i]->raw = __builtin_bswap16(field[i]->raw);
}

/* May the driver ask for it? */
static bool gso_negotiated(uint8_t type, const struct vio_features *f)
{
	bool tso = vio_has(f, VIRTIO_NET_F_HOST_TSO4) ||
		   vio_has(f, VIRTIO_NET_F_HOST_TSO6);
	uint8_t base = type & (0xff ^ VIRTIO_NET_HDR_GSO_UDP_TUNNEL);

	/* ECN without the feature is a bit of TCP's header like any other. */
	if ((type & VIRTIO_NET_HDR_GSO_ECN) && !tso)
		return false;
	switch (base & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vio_has(f, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vio_has(f, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:	/* never in a tunnel */
		return type == VIRTIO_NET_HDR_GSO_UDP &&
		       vio_has(f, VIRTIO_NET_F_HOST_UFO);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return base == VIRTIO_NET_HDR_GSO_UDP_L4 &&
		       vio_has(f, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* What is said of a tunnel: one kind, and headers in their order. */
static bool check_tunnel(const struct virtio_net_hdr *hdr,
			 const struct vio_features *f,
			 struct vio_net_meta *meta)
{
	uint32_t outer, inner;

	if (!vio_has(f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO) ||
	    (hdr->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL) ==
		    VIRTIO_NET_HDR_GSO_UDP_TUNNEL ||
	    hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		return false;
	outer = vio_from_le16(hdr->outer_th_offset);
	inner = vio_from_le16(hdr->inner_nh_offset);
	meta->outer_th = (uint16_t)outer;
	meta->inner_nh = (uint16_t)inner;
	if (vio_has(f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM))
		meta->flags |= hdr->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;
	return outer >= ETH_HDR + IP4_HDR && outer + UDP_HDR <= inner &&
	       inner + IP4_HDR <= meta->csum_start;
}

/* net.device.packet-transmission: a tunnel's checksum without a tunnel */
static bool tunnel_csum_alone(const struct virtio_net_hdr *hdr,
			      const struct vio_features *f)
{
	return hdr->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM &&
	       !(hdr->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL) &&
	       vio_has(f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM);
}

bool vio_net_hdr_check(const struct virtio_net_hdr *hdr, uint32_t len,
		       const struct vio_features *f,
		       struct vio_net_meta *meta)
{
	uint32_t start, offset;

	*meta = (struct vio_net_meta){ .flags = 0 };
	if (vio_unlikely(tunnel_csum_alone(hdr, f)))
		return false;
	/* By far the most common: nothing is asked for. Flags that are not
	 * for a driver to set are ignored. */
	if (vio_likely(!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)))
		return hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE;
	start = vio_from_le16(hdr->csum_start);
	offset = vio_from_le16(hdr->csum_offset);
	/* Both are 16 bits: the sum cannot wrap. */
	if (!vio_has(f, VIRTIO_NET_F_CSUM) || start + offset + 2 > len)
		return false;
	meta->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	meta->csum_start = (uint16_t)start;
	meta->csum_offset = (uint16_t)offset;
	meta->hdr_len = vio_from_le16(hdr->hdr_len);
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	meta->gso_type = hdr->gso_type;
	meta->gso_size = vio_from_le16(hdr->gso_size);
	if (hdr->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL &&
	    !check_tunnel(hdr, f, meta))
		return false;
	return meta->gso_size && gso_negotiated(hdr->gso_type, f);
}
