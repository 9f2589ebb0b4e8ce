/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what the network device makes of one packet: its header
 * checked, its flow hashed, cut as it says, or merged with itself. The input:
 * 24 bytes of header, then the packet.
 */
#include "core/device/net_gso.h"
#include "core/device/net_hash.h"
#include "core/device/net_hdr.h"
#include "core/device/net_rsc.h"

#include <stdlib.h>
#include <string.h>

#define HDR	sizeof(struct virtio_net_hdr)

static unsigned char bytes[VIO_NET_PACKET_MAX];

static void cut(uint32_t len, const struct vio_net_meta *meta)
{
	struct vio_net_packet pkt;
	struct vio_net_cut c;
	unsigned sum = 0;

	if (!vio_net_cut_begin(&c, bytes, len, meta))
		return;
	while (vio_net_cut_next(&c, &pkt)) {
		uint32_t all = 0;

		for (unsigned i = 0; i < pkt.nr_seg; i++) {
			all += (uint32_t)pkt.seg[i].len;
			for (size_t k = 0; k < pkt.seg[i].len; k++)
				sum += ((const volatile unsigned char *)
					pkt.seg[i].base)[k];
		}
		if (all != pkt.len || pkt.len > VIO_NET_PACKET_MAX)
			abort();
	}
	(void)sum;
}

static void merge(unsigned char *at, uint32_t len)
{
	/* In two pieces, the second one odd. */
	struct vio_seg seg[2] = { { at, len / 3 }, { at + len / 3,
						     len - len / 3 } };
	struct vio_net_packet p[3] = {
		{ .meta.flags = VIRTIO_NET_HDR_F_DATA_VALID, .seg = seg,
		  .nr_seg = 2, .len = len },
	};
	static struct vio_net_rsc r;
	uint32_t all = 0;

	p[1] = p[2] = p[0];
	p[2].meta.flags = 0;
	if (!vio_net_rsc(&r, p, 3, ~0ull))
		return;
	for (unsigned i = 0; i < r.pkt.nr_seg; i++)
		all += (uint32_t)r.pkt.seg[i].len;
	if (all != r.pkt.len)
		abort();
}

static void hash(unsigned char *at, uint32_t len)
{
	struct vio_seg seg = { at, len };
	const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					  .len = len };
	static struct vio_net_toeplitz t;
	struct vio_net_flow flow;
	uint32_t value;

	vio_net_flow_read(&p, &flow);
	vio_net_flow_mix(&flow);
	if (vio_net_flow_hash(&flow, VIO_NET_HASH_TYPES, &t, &value) >
	    VIRTIO_NET_HASH_REPORT_UDPv6_EX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vio_features all = { { ~0ull, ~0ull } };
	struct virtio_net_hdr hdr;
	struct vio_net_meta meta;
	unsigned char *copy;
	uint32_t len;

	if (size < HDR + VIO_NET_PACKET_MIN ||
	    size - HDR > VIO_NET_PACKET_MAX)
		return 0;
	len = (uint32_t)(size - HDR);
	memcpy(&hdr, data, HDR);
	/* Of its own, so that each byte beyond it is found. */
	copy = malloc(len);
	if (!copy)
		return 0;
	memcpy(copy, data + HDR, len);
	hash(copy, len);
	merge(copy, len);
	free(copy);
	if (vio_net_hdr_check(&hdr, len, &all, &meta)) {
		memcpy(bytes, data + HDR, len);
		cut(len, &meta);
	}
	return 0;
}
