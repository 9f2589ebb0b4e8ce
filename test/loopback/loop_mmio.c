/* SPDX-License-Identifier: MIT */
/*
 * The bus of the MMIO transport: our driver's side of it over our device's
 * side, access by access. Built twice, once for each version.
 */
#include "loop.h"

#include <vireo/spec/mmio.h>

#include "test/transport/whole_field.h"

#ifdef LOOP_LEGACY
#define mmio_init	vio_mmio_legacy_init
#define mmio_read	vio_mmio_legacy_read
#define mmio_write	vio_mmio_legacy_write
#define mmio_probe	vio_bus_mmio_legacy_probe
#define mmio_ops	vio_bus_mmio_legacy_ops
#define DEVICE(l)	(&(l)->side.legacy)
#define QUEUES(l)	((l)->side.legacy_queue)
const bool loop_legacy = true;
#else
#define mmio_init	vio_mmio_init
#define mmio_read	vio_mmio_read
#define mmio_write	vio_mmio_write
#define mmio_probe	vio_bus_mmio_probe
#define mmio_ops	vio_bus_mmio_ops
#define DEVICE(l)	(&(l)->side.mmio)
#define QUEUES(l)	((l)->side.mmio_queue)
const bool loop_legacy = false;
#endif
const bool loop_narrow = false;

static void on_interrupt(void *ctx, bool level)
{
	struct loop *l = ctx;

	CHECK_NE(l->line, level);
	l->line = level;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct loop *l = ctx;

	l->kicked[q->index] = true;
}

static const struct vio_mmio_ops device_ops = { on_interrupt, on_serve };

static uint32_t access_read(void *ctx, uint32_t off, unsigned len)
{
	struct loop *l = ctx;

	if (off >= VIRTIO_MMIO_CONFIG)
		CHECK(whole_field(l->dev, off - VIRTIO_MMIO_CONFIG, len));
	return (uint32_t)mmio_read(DEVICE(l), off, len);
}

static void access_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	struct loop *l = ctx;

	if (off >= VIRTIO_MMIO_CONFIG)
		CHECK(whole_field(l->dev, off - VIRTIO_MMIO_CONFIG, len));
	mmio_write(DEVICE(l), off, v, len);
}

/* No interrupt, and nothing left to happen: a wake-up was lost. */
static int access_wait(void *ctx)
{
	struct loop *l = ctx;

	return l->line || loop_step(l) ? VIO_OK : VIO_E_IO;
}

static const struct vio_mmio_access access = { access_read, access_write,
					       access_wait };

struct vio_bus_ops loop_bus;

static void __attribute__((constructor)) choose_bus(void)
{
	loop_bus = mmio_ops;
}

void loop_attach(struct loop *l, struct vio_dev *dev)
{
	loop_adopt(l, dev);
	for (unsigned i = 0; i < LOOP_QUEUES; i++)
		l->started[i] = i < dev->nr_queues;
	mmio_init(DEVICE(l), dev, &l->mem, QUEUES(l), &device_ops, l, &l->log);
	CHECK_EQ(mmio_probe(&l->bus.mmio, &access, l), VIO_OK);
	CHECK_EQ(l->bus.mmio.device_id, dev->ops->id);
}

unsigned loop_config_changes(struct loop *l)
{
	if (vio_bus_mmio_interrupt(&l->bus.mmio) & VIRTIO_MMIO_INT_CONFIG)
		l->config_changes++;
	return l->config_changes;
}
