/* SPDX-License-Identifier: MIT */
/*
 * pci_race.c - interrupts of the PCI transport from the thread of a queue,
 * while the driver masks, unmasks, reads the ISR status and moves vectors:
 * no message is lost, and the line ends where the ISR status has it.
 */
#include <pthread.h>
#include <sched.h>

#include "test/transport/pci_rig.h"

#define EVENTS	20000u
#define TURNS	2000u

static uint32_t raised;		/* events so far */
static uint32_t told;		/* of these, when the last message went */
static bool level;		/* of the line */
static unsigned done;

static void on_intx(void *ctx, bool up)
{
	(void)ctx;
	/* One at a time: plain variables suffice. */
	CHECK_NE(up, level);
	level = up;
}

static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	uint32_t now = __atomic_load_n(&raised, __ATOMIC_SEQ_CST);
	uint32_t old = __atomic_load_n(&told, __ATOMIC_SEQ_CST);

	(void)ctx;
	CHECK_EQ(vector, 1);
	CHECK_EQ(addr, 0xfee00000);
	CHECK_EQ(data, 7);
	while (old < now && !__atomic_compare_exchange_n(&told, &old, now,
			false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static const struct vio_pci_ops ops = { .intx = on_intx, .msi = on_msi,
					.serve = on_serve };

static void *queue_thread(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EVENTS; i++) {
		__atomic_fetch_add(&raised, 1, __ATOMIC_SEQ_CST);
		rig.dev->transport->queue_notify(rig.dev->transport_ctx,
						 &rig.queue[i & 1]);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void start(void)
{
	rig_console(&rig_conf);
	CHECK_EQ(vio_pci_init(&rig.p, &rig_conf, rig.dev, &rig.mem, rig.regs,
			      rig.vectors, &ops, NULL, NULL), VIO_OK);
	raised = told = done = 0;
	level = false;
	rig_place();
	rig_negotiate(0, RIG_V1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 15, 1);
}

/* Two queues' threads, and what the driver does meanwhile. */
static void race(void (*meanwhile)(struct vtest_rand *rnd))
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	pthread_t t[2];

	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, queue_thread, NULL), 0);
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < 2)
		meanwhile(&rnd);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* Raises one event each time that main changes the turn. */
static unsigned turn, answered;

/* Close on its heels where there are processors enough. */
static void wait_for(const unsigned *word, unsigned value)
{
	for (unsigned spins = 0; __atomic_load_n(word, __ATOMIC_SEQ_CST) <
				 value; spins++)
		if (spins > 2000)
			sched_yield();
}

static void *one_by_one(void *arg)
{
	(void)arg;
	for (unsigned i = 1; i <= TURNS; i++) {
		wait_for(&turn, i);
		__atomic_fetch_add(&raised, 1, __ATOMIC_SEQ_CST);
		rig.dev->transport->queue_notify(rig.dev->transport_ctx,
						 &rig.queue[i & 1]);
		__atomic_store_n(&answered, i, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void mask(bool all, bool on)
{
	uint64_t entry = RIG_MSIX_BAR + 1 * VIO_PCI_MSIX_ENTRY;

	if (all)
		vio_pci_config_write(&rig.p, rig.p.cap_msix +
				     VIO_PCI_MSIX_CONTROL,
				     VIO_PCI_MSIX_ENABLE |
				     (on ? VIO_PCI_MSIX_MASK_ALL : 0), 2);
	else
		rig_mem_put(entry + 12, on, 4);
}

TEST("no message is lost between a mask that goes and an event", "")
{
	pthread_t t;

	start();
	rig_msix_on();
	rig_vector(1, 0xfee00000, 7);
	for (unsigned q = 0; q < 2; q++) {
		rig_common_put(VIRTIO_PCI_COMMON_QUEUE_SELECT, q, 2);
		rig_common_put(VIRTIO_PCI_COMMON_QUEUE_MSIX_VECTOR, 1, 2);
	}
	turn = answered = 0;
	CHECK_EQ(pthread_create(&t, NULL, one_by_one, NULL), 0);
	for (unsigned i = 1; i <= TURNS; i++) {
		mask(i & 2, true);
		__atomic_store_n(&turn, i, __ATOMIC_SEQ_CST);
		for (unsigned k = i % 64; k; k--)	/* a little later */
			__atomic_load_n(&turn, __ATOMIC_SEQ_CST);
		mask(i & 2, false);
		wait_for(&answered, i);
		CHECK_EQ(told, i);
	}
	pthread_join(t, NULL);
	CHECK_EQ(rig_mem(RIG_MSIX_BAR + 0x800, 4), 0);
}

static void take(struct vtest_rand *rnd)
{
	const uint32_t on = VIO_PCI_COMMAND_MEM | VIO_PCI_COMMAND_MASTER;

	switch (vtest_below(rnd, 4)) {
	case 0:
		rig_cfg_put(VIO_PCI_COMMAND, on | VIO_PCI_COMMAND_NO_INTX, 2);
		break;
	case 1:
		rig_cfg_put(VIO_PCI_COMMAND, on, 2);
		break;
	default:
		rig_mem(rig_at_isr(), 1);
	}
}

TEST("the line ends where the ISR status has it", "")
{
	start();
	race(take);
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MEM |
		    VIO_PCI_COMMAND_MASTER, 2);
	CHECK_EQ(level, rig.p.isr != 0);
	rig_mem(rig_at_isr(), 1);
	CHECK(!level);
	rig.dev->transport->queue_notify(rig.dev->transport_ctx, rig.queue);
	CHECK(level);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 1);
	CHECK(!level);
}
