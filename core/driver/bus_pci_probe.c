/* SPDX-License-Identifier: MIT */
/*
 * bus_pci_probe.c - the PCI transport's driver side before a driver starts:
 * which function this is, where its structures lie, which interrupts it uses.
 * What a device says of itself is checked against its own regions: a wrong
 * offset must not reach a neighbour.
 */
#include <vireo/spec/pci_legacy.h>
#include "core/driver/bus_pci.h"
#include "core/base/string.h"

#define CAPS_MAX	48	/* as many as fit into 192 bytes */

static uint32_t cfg(const struct vio_bus_pci *b, unsigned off, unsigned len)
{
	return vio_pci_get(b->machine, b->ctx, b->function, off, len);
}

static void cfg_put(const struct vio_bus_pci *b, unsigned off, uint32_t v,
		    unsigned len)
{
	vio_pci_put(b->machine, b->ctx, b->function, off, v, len);
}

/* -- who it is ----------------------------------------------------------- */

/* pci.driver.pci-device-discovery.2 */
static uint32_t type_of(const struct vio_bus_pci *b)
{
	uint32_t id = cfg(b, VIO_PCI_DEVICE, 2);

	if (cfg(b, VIO_PCI_VENDOR, 2) != VIRTIO_PCI_VENDOR_ID ||
	    id < VIRTIO_PCI_ID_FIRST || id > VIRTIO_PCI_ID_LAST)
		return 0;
	/* A transitional device says its type there. */
	return id >= VIRTIO_PCI_ID_MODERN ? id - VIRTIO_PCI_ID_BASE :
					    cfg(b, VIO_PCI_SUBSYS, 2);
}

/* -- regions and structures ---------------------------------------------- */

static int find_regions(struct vio_bus_pci *b)
{
	uint32_t command = cfg(b, VIO_PCI_COMMAND, 2);

	/* While sizes are asked for, nothing may be decoded. */
	cfg_put(b, VIO_PCI_COMMAND, command &
		~(uint32_t)(VIO_PCI_COMMAND_IO | VIO_PCI_COMMAND_MEM), 2);
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++) {
		struct vio_pci_region r = vio_pci_region(b->machine, b->ctx,
							 b->function, i);

		if (r.size & (r.size - 1) || r.size > UINT64_MAX - r.addr)
			return VIO_E_PEER;
		/* Without an address it is of no use to us. */
		if (r.size && r.addr)
			b->bar[i] = (struct vio_pci_place){
				r.io ? VIO_PCI_IO : VIO_PCI_MEM, r.addr,
				r.size };
		i += r.wide;
	}
	return VIO_OK;
}

/*
 * Take @need bytes (at least) of a structure that lies at @off in a region,
 * and of what it says of its length at most @most.
 * False if that is not within the region.
 */
static bool place(struct vio_bus_pci *b, struct vio_pci_place *at,
		  unsigned bar, uint64_t off, uint64_t len, uint64_t need,
		  uint64_t most)
{
	const struct vio_pci_place *region;

	/* pci.driver.virtio-structure-pci-capabilities.4 */
	if (bar > VIRTIO_PCI_CAP_BAR_MAX)
		return false;
	region = &b->bar[bar];
	if (len > most)
		len = most;
	if (len < need || off > region->len || len > region->len - off)
		return false;
	at->space = region->space;
	at->addr = region->addr + off;
	if (b->machine->map)
		at->addr = b->machine->map(b->ctx, at->space, at->addr, len);
	if (at->addr == UINT64_MAX)
		return false;
	at->len = len;
	return true;
}

static void take_structure(struct vio_bus_pci *b, unsigned cap)
{
	unsigned type = cfg(b, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1);
	unsigned bar = cfg(b, cap + VIRTIO_PCI_CAP_BAR, 1);
	uint32_t off = cfg(b, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t len = cfg(b, cap + VIRTIO_PCI_CAP_LENGTH, 4);

	/* pci.driver.virtio-structure-pci-capabilities.1, .2 and .3: the
	 * first of each type; others are not known; of any length */
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		if (!b->common.len && !(off % 4))
			place(b, &b->common, bar, off, len,
			      VIRTIO_PCI_COMMON_QUEUE_NOTIF_CONFIG_DATA,
			      VIRTIO_PCI_COMMON_SIZE);
		return;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		if (!b->notify.len && !(off % 2) &&
		    cap <= 256 - VIRTIO_PCI_NOTIFY_CAP_SIZE &&
		    cfg(b, cap + VIRTIO_PCI_CAP_LEN, 1) >=
		    VIRTIO_PCI_NOTIFY_CAP_SIZE &&
		    place(b, &b->notify, bar, off, len, 2, UINT32_MAX))
			b->notify_multiplier = cfg(b, cap +
						   VIRTIO_PCI_NOTIFY_CAP_MULT,
						   4);
		return;
	case VIRTIO_PCI_CAP_ISR_CFG:
		if (!b->isr.len)
			place(b, &b->isr, bar, off, len, 1, 1);
		return;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		if (!b->device.len && !(off % 4))
			place(b, &b->device, bar, off, len, 1, 4096);
		return;
	default:
		return;
	}
}

/* The next capability behind offset @link, or 0; *@left bounds the walk. */
static unsigned next_cap(const struct vio_bus_pci *b, unsigned link,
			 unsigned *left)
{
	unsigned at = cfg(b, link, 1) & 0xfc;

	if (at < 0x40 || !(*left)--)
		return 0;
	return at;
}

static void find_structures(struct vio_bus_pci *b)
{
	unsigned left = CAPS_MAX, at;

	if (!(cfg(b, VIO_PCI_STATUS, 2) & VIO_PCI_STATUS_CAPS))
		return;
	for (at = next_cap(b, VIO_PCI_CAP_PTR, &left); at;
	     at = next_cap(b, at + 1, &left)) {
		unsigned id = cfg(b, at, 1);

		if (id == VIO_PCI_CAP_VENDOR &&
		    at <= 256 - VIRTIO_PCI_CAP_SIZE)
			take_structure(b, at);
		if (id == VIO_PCI_CAP_MSIX && !b->cap_msix &&
		    at <= 256 - VIO_PCI_MSIX_SIZE) {
			b->cap_msix = (uint8_t)at;
			b->vectors_max = (uint16_t)
				((cfg(b, at + VIO_PCI_MSIX_CONTROL, 2) &
				  VIO_PCI_MSIX_SIZE_MASK) + 1);
		}
		if (id == VIO_PCI_CAP_PM && !b->cap_pm &&
		    at <= 256 - VIO_PCI_PM_SIZE)
			b->cap_pm = (uint8_t)at;
	}
}

static uint64_t cfg64(const struct vio_bus_pci *b, unsigned low, unsigned high)
{
	return cfg(b, low, 4) | (uint64_t)cfg(b, high, 4) << 32;
}

int vio_bus_pci_shm(void *bus, uint8_t id, struct vio_shm *shm)
{
	const struct vio_bus_pci *b = bus;
	unsigned left = CAPS_MAX, at, bar;
	uint64_t off, len;

	for (at = next_cap(b, VIO_PCI_CAP_PTR, &left); at;
	     at = next_cap(b, at + 1, &left))
		if (cfg(b, at, 1) == VIO_PCI_CAP_VENDOR &&
		    at <= 256 - VIRTIO_PCI_CAP64_SIZE &&
		    cfg(b, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) ==
		    VIRTIO_PCI_CAP_SHARED_MEMORY_CFG &&
		    cfg(b, at + VIRTIO_PCI_CAP_ID, 1) == id)
			break;
	if (!at)
		return VIO_E_UNSUPP;
	bar = cfg(b, at + VIRTIO_PCI_CAP_BAR, 1);
	off = cfg64(b, at + VIRTIO_PCI_CAP_OFFSET,
		    at + VIRTIO_PCI_CAP64_OFFSET_HI);
	len = cfg64(b, at + VIRTIO_PCI_CAP_LENGTH,
		    at + VIRTIO_PCI_CAP64_LENGTH_HI);
	if (bar > VIRTIO_PCI_CAP_BAR_MAX || !len || off > b->bar[bar].len ||
	    len > b->bar[bar].len - off)
		return VIO_E_PEER;
	*shm = (struct vio_shm){ id, b->bar[bar].addr + off, len };
	return VIO_OK;
}

/* pci.other.legacy-interface-device-layout-detection.2 and .3 */
static int use_legacy(struct vio_bus_pci *b)
{
	struct vio_pci_place none = { 0 };

	if (cfg(b, VIO_PCI_DEVICE, 2) >= VIRTIO_PCI_ID_MODERN ||
	    b->bar[0].space != VIO_PCI_IO)
		return VIO_E_UNSUPP;
	b->common = b->isr = b->notify = b->device = none;
	if (!place(b, &b->common, 0, 0, b->bar[0].len,
		   VIRTIO_PCI_LEGACY_CONFIG, 4096) ||
	    !place(b, &b->isr, 0, VIRTIO_PCI_LEGACY_ISR_STATUS, 1, 1, 1))
		return VIO_E_UNSUPP;
	b->ops = &vio_bus_pci_legacy_ops;
	return VIO_OK;
}

static int probe(struct vio_bus_pci *b, const struct vio_pci_machine *m,
		 void *ctx, uint32_t function)
{
	int err;

	memset(b, 0, sizeof(*b));
	b->machine = m;
	b->ctx = ctx;
	b->function = function;
	b->device_id = type_of(b);
	if (!b->device_id)
		return VIO_E_UNSUPP;
	err = find_regions(b);
	if (err)
		return err;
	find_structures(b);
	if (b->cap_msix)
		cfg_put(b, b->cap_msix + VIO_PCI_MSIX_CONTROL, 0, 2);
	/* Whoever wants the line asks for it. */
	cfg_put(b, VIO_PCI_COMMAND, VIO_PCI_COMMAND_IO | VIO_PCI_COMMAND_MEM |
		VIO_PCI_COMMAND_MASTER | VIO_PCI_COMMAND_NO_INTX, 2);
	return VIO_OK;
}

int vio_bus_pci_probe(struct vio_bus_pci *b, const struct vio_pci_machine *m,
		      void *ctx, uint32_t function)
{
	int err = probe(b, m, ctx, function);

	/* pci.other.legacy-interface-device-layout-detection.4 and .5 */
	if (!err && (!b->common.len || !b->notify.len || !b->isr.len))
		return VIO_E_UNSUPP;
	b->ops = &vio_bus_pci_ops;
	return err;
}

int vio_bus_pci_probe_legacy(struct vio_bus_pci *b,
			     const struct vio_pci_machine *m, void *ctx,
			     uint32_t function)
{
	int err = probe(b, m, ctx, function);

	return err ? err : use_legacy(b);
}

/* -- interrupts ---------------------------------------------------------- */

static bool find_table(struct vio_bus_pci *b, struct vio_pci_place *table,
		       uint16_t nr)
{
	uint32_t where = cfg(b, b->cap_msix + VIO_PCI_MSIX_TABLE, 4);
	uint32_t bytes = nr * (uint32_t)VIO_PCI_MSIX_ENTRY;

	return place(b, table, where & VIO_PCI_MSIX_BAR,
		     where & ~VIO_PCI_MSIX_BAR, bytes, bytes, bytes);
}

int vio_bus_pci_msix(struct vio_bus_pci *b,
		     const struct vio_pci_message *msg, uint16_t nr)
{
	unsigned control = b->cap_msix + VIO_PCI_MSIX_CONTROL;
	struct vio_pci_place table;

	if (!nr || !b->cap_msix || nr > b->vectors_max ||
	    !find_table(b, &table, nr))
		return VIO_E_UNSUPP;
	cfg_put(b, control, VIO_PCI_MSIX_ENABLE | VIO_PCI_MSIX_MASK_ALL, 2);
	for (unsigned i = 0; i < nr; i++) {
		uint32_t at = i * (uint32_t)VIO_PCI_MSIX_ENTRY;

		vio_bus_pci_write(b, &table, at, (uint32_t)msg[i].addr, 4);
		vio_bus_pci_write(b, &table, at + 4,
				  (uint32_t)(msg[i].addr >> 32), 4);
		vio_bus_pci_write(b, &table, at + 8, msg[i].data, 4);
		vio_bus_pci_write(b, &table, at + 12, 0, 4);
	}
	cfg_put(b, control, VIO_PCI_MSIX_ENABLE, 2);
	b->vectors = nr;
	return VIO_OK;
}

uint16_t vio_bus_pci_vector(const struct vio_bus_pci *b, uint16_t index)
{
	if (b->vectors < 2)
		return 0;
	/* Not by division: some machines have none. */
	while (index >= b->vectors - 1)
		index = (uint16_t)(index - (b->vectors - 1));
	return (uint16_t)(1 + index);
}

void vio_bus_pci_intx(struct vio_bus_pci *b)
{
	b->line = true;
	cfg_put(b, VIO_PCI_COMMAND, VIO_PCI_COMMAND_IO | VIO_PCI_COMMAND_MEM |
		VIO_PCI_COMMAND_MASTER, 2);
}

uint32_t vio_bus_pci_interrupt(struct vio_bus_pci *b)
{
	/* Reading acknowledges: before the rings are looked at. */
	return vio_bus_pci_read(b, &b->isr, 0, 1) &
	       (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG);
}
