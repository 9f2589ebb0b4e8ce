/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the network device behind any ring, with all that it can
 * offer. The two top bits of the first byte say which queue; packets sent
 * come back, in the receive queue's case some are waiting: segments that may
 * become one. The two bits below them in the second byte: whether the wire
 * takes large packets, so that they come back as they are.
 */
#include "ring.h"

#include <vireo/net.h>

#include <string.h>

static struct vio_net net;

static unsigned send(void *ctx, unsigned pair,
		     const struct vio_net_packet *pkt, unsigned nr)
{
	unsigned *sum = ctx;

	for (unsigned i = 0; i < nr; i++)
		for (unsigned k = 0; k < pkt[i].nr_seg; k++)
			for (size_t j = 0; j < pkt[i].seg[k].len; j++)
				*sum += ((const volatile unsigned char *)
					 pkt[i].seg[k].base)[j];
	return vio_net_receive(&net, pair, pkt, nr);
}

static bool step(void *ctx)
{
	/* Ethernet, IPv4 and TCP, twice the same but for the number. */
	static unsigned char bytes[2][1514];
	struct vio_seg seg[2] = { { bytes[0], 1514 }, { bytes[1], 1514 } };
	const struct vio_net_packet p[2] = {
		{ .meta.flags = VIRTIO_NET_HDR_F_DATA_VALID, .seg = &seg[0],
		  .nr_seg = 1, .len = 1514 },
		{ .meta.flags = VIRTIO_NET_HDR_F_DATA_VALID, .seg = &seg[1],
		  .nr_seg = 1, .len = 1514 },
	};

	(void)ctx;
	for (unsigned i = 0; i < 2; i++) {
		memcpy(bytes[i], "\xff\xff\xff\xff\xff\xff", 6);
		memcpy(bytes[i] + 12, "\x08\0\x45\0\x05\xdc", 6);
		bytes[i][23] = 6;
		memcpy(bytes[i] + 24, "\xb5\x1d", 2);
		bytes[i][40] = (unsigned char)(i * 5);
		bytes[i][41] = (unsigned char)(i * 0xb4);
		bytes[i][46] = 0x50;
		bytes[i][47] = 0x10;
	}
	vio_net_time(&net, 0);
	return vio_net_receive(&net, 0, p, 2) && net.pair[0].stats.rx_packets;
}

static void arm(void *timer, unsigned queue, uint32_t usecs)
{
	(void)timer;
	(void)queue;
	(void)usecs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_net_backend_ops ops = { .send = send };
	static const struct vio_net_timer_ops timer = { .arm = arm };
	static unsigned char scratch[VIO_NET_PACKET_MAX];
	struct vio_net_conf conf = {
		.mac = { 2 }, .mtu = 1500, .scratch = scratch,
		.timer = &timer,
	};
	struct fuzz_ring f;
	unsigned sum = 0;

	if (size < 2)
		return 0;
	conf.offloads = data[1] & 0x40 ? ~0ull : 0;
	fuzz_ring_init(&f, 3, vio_net_ctx_size);
	if (vio_net_init(&net, &conf, f.queue, &ops, &sum) == VIO_OK)
		fuzz_ring_run(&f, &net.dev,
			      data[0] >> 6 & 1 ? 2 : data[0] >> 7, data, size,
			      step, NULL);
	return 0;
}
