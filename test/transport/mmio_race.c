/* SPDX-License-Identifier: MIT */
/*
 * mmio_race.c - the MMIO transport's interrupt from the threads of queues,
 * while the driver acknowledges: the line ends where InterruptStatus has it.
 */
#include <pthread.h>

#include "test/transport/mmio_rig.h"

#define EVENTS	20000u

static bool level;
static unsigned done;

static void on_interrupt(void *ctx, bool up)
{
	(void)ctx;
	/* One at a time: a plain variable suffices. */
	CHECK_NE(up, level);
	level = up;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static const struct vio_mmio_ops ops = { on_interrupt, on_serve };

static void *queue_thread(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EVENTS; i++)
		rng.dev.transport->queue_notify(rng.dev.transport_ctx, queue);
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

TEST("the line ends where InterruptStatus has it",
     "mmio.device.mmio-device-register-layout.3 "
     "mmio.device.mmio-device-register-layout.4")
{
	static struct vio_mmio_queue regs[1];
	pthread_t t[2];

	make_rng();
	vio_mmio_init(&m, &rng.dev, &mem, regs, &ops, NULL, NULL);
	negotiate(0, HIGH_V1);
	wr(VIRTIO_MMIO_STATUS, 15);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, queue_thread, NULL), 0);
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < 2)
		wr(VIRTIO_MMIO_INTERRUPT_ACK,
		   rd(VIRTIO_MMIO_INTERRUPT_STATUS));
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(level, rd(VIRTIO_MMIO_INTERRUPT_STATUS) != 0);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, 3);
	CHECK(!level);
	rng.dev.transport->queue_notify(rng.dev.transport_ctx, queue);
	CHECK(level);
}
