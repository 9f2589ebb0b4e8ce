/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the network device behind any ring. The two top bits of the
 * first byte say which queue; packets sent come back, in the receive queue's
 * case one is waiting.
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
	static unsigned char bytes[1514];
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
					  .len = sizeof(bytes) };

	(void)ctx;
	return vio_net_receive(&net, 0, &p, 1) && net.pair[0].stats.rx_packets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vio_net_backend_ops ops = { .send = send };
	const struct vio_net_conf conf = { .mac = { 2 }, .mtu = 1500 };
	struct fuzz_ring f;
	unsigned sum = 0;

	if (size < 2)
		return 0;
	fuzz_ring_init(&f, 3, vio_net_ctx_size);
	if (vio_net_init(&net, &conf, f.queue, &ops, &sum) == VIO_OK)
		fuzz_ring_run(&f, &net.dev,
			      data[0] >> 6 & 1 ? 2 : data[0] >> 7, data, size,
			      step, NULL);
	return 0;
}
