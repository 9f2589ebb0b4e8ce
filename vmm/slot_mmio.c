/* SPDX-License-Identifier: MIT */
/* A device behind virtio-mmio registers: see slot_mmio.h. */
#include "vmm/slot_mmio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/spec/mmio.h>

#include "host/log.h"
#include "vmm/layout.h"

enum { VENDOR = 0x4f524956 };	/* "VIRO" */

struct slot_mmio {
	struct slot_mmio_conf conf;
	union {
		struct vio_mmio modern;
		struct vio_mmio_legacy legacy;
	} regs;
	void *queue;		/* of either version */
	struct irq_line line;
	unsigned kicks;		/* queues with an ioeventfd */
};

static void interrupt(void *ctx, bool level)
{
	struct slot_mmio *s = ctx;

	irq_set(s->conf.irq, &s->line, level);
}

static void wanted(void *ctx, struct vio_queue *q)
{
	struct slot_mmio *s = ctx;

	dev_kick(s->conf.dev, q->index);
}

static const struct vio_mmio_ops ops = {
	.interrupt = interrupt, .serve = wanted,
};

/* -- registers ----------------------------------------------------------- */

struct access {
	struct slot_mmio *slot;
	uint64_t off, value;
	unsigned len;
};

static void read_here(void *arg)
{
	struct access *a = arg;

	struct slot_mmio *s = a->slot;

	a->value = s->conf.legacy ?
		vio_mmio_legacy_read(&s->regs.legacy, a->off, a->len) :
		vio_mmio_read(&s->regs.modern, a->off, a->len);
}

static void write_here(void *arg)
{
	struct access *a = arg;

	struct slot_mmio *s = a->slot;

	if (s->conf.legacy)
		vio_mmio_legacy_write(&s->regs.legacy, a->off, a->value,
				      a->len);
	else
		vio_mmio_write(&s->regs.modern, a->off, a->value, a->len);
}

/*
 * What each interrupt needs, its cause and its acknowledgement, is answered
 * at once (mmio.h permits these two on any thread); all else waits for the
 * device's thread.
 */
static uint64_t bus_get(void *ctx, uint64_t off, unsigned len)
{
	struct slot_mmio *s = ctx;
	struct access a = { .slot = s, .off = off, .len = len };

	if (off == VIRTIO_MMIO_INTERRUPT_STATUS)
		read_here(&a);
	else
		dev_run(s->conf.dev, read_here, &a);
	return a.value;
}

static void bus_put(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	struct slot_mmio *s = ctx;
	struct access a = { s, off, value, len };

	if (off == VIRTIO_MMIO_INTERRUPT_ACK)
		write_here(&a);
	else
		dev_run(s->conf.dev, write_here, &a);
}

static const struct bus_ops mmio_bus = { .read = bus_get, .write = bus_put };

/* -- life cycle ---------------------------------------------------------- */

static struct vm_store kick_of(const struct slot_mmio *s, unsigned queue)
{
	return (struct vm_store){
		.addr = VMM_MMIO_BASE + s->conf.nr * VMM_MMIO_STRIDE +
			VIRTIO_MMIO_QUEUE_NOTIFY,
		.len = 4, .match = true, .value = queue,
	};
}

static int open_kicks(struct slot_mmio *s)
{
	const struct dev *d = s->conf.dev;

	for (; s->kicks < d->vio->nr_queues; s->kicks++) {
		const struct vm_store store = kick_of(s, s->kicks);
		int err = vm_ioeventfd(s->conf.vm, &store,
				       d->queue[s->kicks].kick, true);

		if (err) {
			log_err("KVM refuses an eventfd for queue %u: %s",
				s->kicks, strerror(-err));
			return err;
		}
	}
	return 0;
}

static int make(struct slot_mmio *s)
{
	const struct vio_log log = { log_core, NULL };
	struct vio_mem *mem = &s->conf.ram->mem;
	struct vio_dev *vio = s->conf.dev->vio;

	s->queue = calloc(vio->nr_queues, s->conf.legacy ?
			  sizeof(struct vio_mmio_legacy_queue) :
			  sizeof(struct vio_mmio_queue));
	if (!s->queue)
		return -ENOMEM;
	if (s->conf.legacy) {
		vio_mmio_legacy_init(&s->regs.legacy, vio, mem, s->queue,
				     &ops, s, &log);
		s->regs.legacy.vendor_id = VENDOR;
	} else {
		vio_mmio_init(&s->regs.modern, vio, mem, s->queue, &ops, s,
			      &log);
		s->regs.modern.vendor_id = VENDOR;
	}
	/* Eventfds go by the value written, which has to be the queue's. */
	vio_feature_clear(&vio->offered, VIRTIO_F_NOTIFICATION_DATA);
	dev_withhold(s->conf.dev);
	return 0;
}

int slot_mmio_open(struct slot_mmio **out, const struct slot_mmio_conf *conf)
{
	struct slot_mmio *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->line.gsi = irq_of_device(conf->nr);
	err = make(s);
	if (!err)
		err = bus_add(conf->bus,
			      VMM_MMIO_BASE + conf->nr * VMM_MMIO_STRIDE,
			      VMM_MMIO_SIZE, &mmio_bus, s);
	if (!err)
		err = open_kicks(s);
	if (err)
		slot_mmio_close(s);
	else
		*out = s;
	return err;
}

void slot_mmio_close(struct slot_mmio *s)
{
	if (!s)
		return;
	while (s->kicks) {
		const struct vm_store store = kick_of(s, --s->kicks);

		vm_ioeventfd(s->conf.vm, &store,
			     s->conf.dev->queue[s->kicks].kick, false);
	}
	free(s->queue);
	free(s);
}
