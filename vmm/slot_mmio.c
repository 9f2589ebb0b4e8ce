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
	struct vio_mmio mmio;
	struct vio_mmio_queue *queue;
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

	a->value = vio_mmio_read(&a->slot->mmio, a->off, a->len);
}

static void write_here(void *arg)
{
	struct access *a = arg;

	vio_mmio_write(&a->slot->mmio, a->off, a->value, a->len);
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

int slot_mmio_open(struct slot_mmio **out, const struct slot_mmio_conf *conf)
{
	const struct vio_log log = { log_core, NULL };
	struct slot_mmio *s = calloc(1, sizeof(*s));
	struct vio_dev *vio = conf->dev->vio;
	int err = -ENOMEM;

	*out = s;
	if (s)
		s->queue = calloc(vio->nr_queues, sizeof(*s->queue));
	if (!s || !s->queue)
		goto failed;
	s->conf = *conf;
	s->line.gsi = irq_of_device(conf->nr);
	vio_mmio_init(&s->mmio, vio, &conf->ram->mem, s->queue, &ops, s,
		      &log);
	s->mmio.vendor_id = VENDOR;
	dev_withhold(conf->dev);
	err = bus_add(conf->bus,
		      VMM_MMIO_BASE + conf->nr * VMM_MMIO_STRIDE,
		      VMM_MMIO_SIZE, &mmio_bus, s);
	if (!err)
		err = open_kicks(s);
	if (!err)
		return 0;
failed:
	slot_mmio_close(s);
	*out = NULL;
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
