/* SPDX-License-Identifier: MIT */
/*
 * ccw_race.c - indicators from the threads of queues, while a driver sets
 * them anew, as often as it likes: what is read is one that was set.
 */
#include <pthread.h>

#include "test/transport/ccw_rig.h"

#define EVENTS	20000u

static unsigned done;

static void on_interrupt(void *ctx)
{
	(void)ctx;
}

static void on_adapter_interrupt(void *ctx, unsigned isc)
{
	(void)ctx;
	CHECK(isc == 3 || isc == 6);
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static const struct vio_ccw_ops ops = { on_interrupt, on_adapter_interrupt,
					on_serve };

static void *queue_thread(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EVENTS; i++)
		blk.dev.transport->queue_notify(&c, queue);
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* The summary, then indicators in either of two places. */
static void set_adapter(bool other)
{
	const uint64_t v[] = { IND, IND + 64, other ? 9 : 1, other ? 6 : 3 };

	put(4, v, (const uint8_t[]){ 8, 8, 8, 1 });
	CHECK(run(CCW_CMD_SET_IND_ADAPTER, 0, 25));
	__atomic_store_n(at(IND), 0, __ATOMIC_SEQ_CST);
}

TEST("ccw: indicators are set anew while queues' threads use them", "")
{
	pthread_t t[2];
	unsigned turn = 0;

	bring_up();
	c.ops = &ops;
	set_adapter(false);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, queue_thread, NULL), 0);
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < 2)
		set_adapter(++turn % 2);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(*at(IND), 1);
	/* Bits 1 and 9 from the left alone. */
	CHECK_EQ(at(IND + 64)[0] & ~0x40, 0);
	CHECK_EQ(at(IND + 64)[1] & ~0x40, 0);
}
