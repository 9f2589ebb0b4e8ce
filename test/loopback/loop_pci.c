/* SPDX-License-Identifier: MIT */
/*
 * The bus of the PCI transport: our driver's side of it over our device's
 * side, access by access. Built twice: modern with messages, and the ports of
 * a transitional function with the interrupt line.
 */
#include "loop.h"
#include "test/transport/whole_field.h"

#define VECTORS		(LOOP_QUEUES + 1)

#ifdef LOOP_LEGACY
#define FLAVOUR		VIO_PCI_TRANSITIONAL
#define probe		vio_bus_pci_probe_legacy
#define pci_ops		vio_bus_pci_legacy_ops
const bool loop_legacy = true;
#else
#define FLAVOUR		VIO_PCI_MODERN
#define probe		vio_bus_pci_probe
#define pci_ops		vio_bus_pci_ops
const bool loop_legacy = false;
#endif
const bool loop_narrow = false;

static void on_intx(void *ctx, bool level)
{
	struct loop *l = ctx;

	CHECK_NE(l->line, level);
	l->line = level;
}

/* Vector 0 tells of the configuration, the others of queues. */
static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	struct loop *l = ctx;

	CHECK_EQ(addr, 0xfee00000);
	CHECK_EQ(data, vector);
	l->line = true;
	l->config_changes += !vector;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct loop *l = ctx;

	l->kicked[q->index] = true;
}

static const struct vio_pci_ops device_ops = { .intx = on_intx,
					       .msi = on_msi,
					       .serve = on_serve };

/* Modern ones: over ports any width will do. */
static void check_width(const struct loop *l, enum vio_pci_space space,
			uint64_t addr, unsigned len)
{
	const struct vio_pci_place *d = &l->bus.pci.device;

	if (d->len && space == d->space && addr - d->addr < d->len)
		CHECK(whole_field(l->dev, addr - d->addr, len));
}

static uint32_t machine_read(void *ctx, enum vio_pci_space space,
			     uint64_t addr, unsigned len)
{
	struct loop *l = ctx;
	uint64_t v = UINT32_MAX;

	check_width(l, space, addr, len);
	CHECK(vio_pci_access(&l->side.pci, space, addr, &v, len, false));
	return (uint32_t)v;
}

static void machine_write(void *ctx, enum vio_pci_space space, uint64_t addr,
			  uint32_t value, unsigned len)
{
	struct loop *l = ctx;
	uint64_t v = value;

	check_width(l, space, addr, len);
	CHECK(vio_pci_access(&l->side.pci, space, addr, &v, len, true));
}

/* No interrupt, and nothing left to happen: a wake-up was lost. */
static int machine_wait(void *ctx)
{
	struct loop *l = ctx;

	if (!l->line)
		return loop_step(l) ? VIO_OK : VIO_E_IO;
	/* The bus reads the status that lowers a line; a message is over. */
	if (!loop_legacy)
		l->line = false;
	return VIO_OK;
}

static const struct vio_pci_machine machine = {
	.read = machine_read, .write = machine_write, .wait = machine_wait,
};

struct vio_bus_ops loop_bus;

/*
 * The legacy interface cannot agree on a size, and the tests want many: the
 * device is made to measure.
 */
static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *layout)
{
	struct loop *l = bus;

	l->queue[index].limits.size_max = layout->size;
	return pci_ops.queue_start(bus, index, layout);
}

static void __attribute__((constructor)) choose_bus(void)
{
	loop_bus = pci_ops;
	if (!loop_legacy)
		return;
	loop_bus.size_fixed = false;
	loop_bus.queue_start = queue_start;
}

static void interrupts(struct loop *l)
{
	struct vio_pci_message msg[VECTORS];

	if (loop_legacy) {
		vio_bus_pci_intx(&l->bus.pci);
		return;
	}
	for (uint32_t i = 0; i < VECTORS; i++)
		msg[i] = (struct vio_pci_message){ 0xfee00000, i };
	CHECK_EQ(vio_bus_pci_msix(&l->bus.pci, msg, VECTORS), VIO_OK);
}

void loop_attach(struct loop *l, struct vio_dev *dev)
{
	const struct vio_pci_conf conf = { .flavour = FLAVOUR,
					   .vectors = VECTORS };
	struct vio_pci_windows w = { 0xe0000000, 0xf0000000, 0xc000, 0xd000 };

	loop_adopt(l, dev);
	for (unsigned i = 0; i < LOOP_QUEUES; i++)
		l->started[i] = i < dev->nr_queues;
	CHECK_EQ(vio_pci_init(&l->side.pci, &conf, dev, &l->mem,
			      l->side.pci_queue, l->side.pci_vector,
			      &device_ops, l, &l->log), VIO_OK);
	CHECK_EQ(vio_pci_assign(&machine, l, 0, &w), VIO_OK);
	CHECK_EQ(probe(&l->bus.pci, &machine, l, 0), VIO_OK);
	CHECK_EQ(l->bus.pci.device_id, dev->ops->id);
	interrupts(l);
}

unsigned loop_config_changes(struct loop *l)
{
	if (loop_legacy && vio_bus_pci_interrupt(&l->bus.pci) &
			   VIRTIO_PCI_ISR_CONFIG)
		l->config_changes++;
	return l->config_changes;
}
