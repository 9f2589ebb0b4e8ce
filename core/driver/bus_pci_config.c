/* SPDX-License-Identifier: MIT */
/*
 * bus_pci_config.c - configuration space from the driver's side: the ways to
 * reach it, looking for virtio functions, and giving regions their addresses
 * where no firmware did. It knows PCI, but no virtio structure.
 */
#include <vireo/bus_pci.h>
#include "core/driver/bus_pci.h"

/* Configuration mechanism #1 */
#define PORT_ADDRESS	0xcf8u
#define PORT_DATA	0xcfcu
#define PORT_ENABLE	0x80000000u

static uint64_t reach(const struct vio_pci_machine *m, void *ctx,
		      uint32_t function, unsigned off,
		      enum vio_pci_space *space)
{
	uint64_t at = (uint64_t)function << 12 | off;

	switch (m->mechanism) {
	case VIO_PCI_BY_PORTS:
		*space = VIO_PCI_IO;
		m->write(ctx, VIO_PCI_IO, PORT_ADDRESS, PORT_ENABLE |
			 function << 8 | (off & 0xfc), 4);
		return PORT_DATA + (off & 3);
	case VIO_PCI_BY_ECAM:
		*space = VIO_PCI_MEM;
		return m->ecam_base + at;
	default:
		*space = VIO_PCI_CONFIG;
		return at;
	}
}

uint32_t vio_pci_get(const struct vio_pci_machine *m, void *ctx,
		     uint32_t function, unsigned off, unsigned len)
{
	enum vio_pci_space space;
	uint64_t at = reach(m, ctx, function, off, &space);

	return m->read(ctx, space, at, len);
}

void vio_pci_put(const struct vio_pci_machine *m, void *ctx,
		 uint32_t function, unsigned off, uint32_t value,
		 unsigned len)
{
	enum vio_pci_space space;
	uint64_t at = reach(m, ctx, function, off, &space);

	m->write(ctx, space, at, value, len);
}

/* -- finding ------------------------------------------------------------- */

/* pci.driver.pci-device-discovery.1 to .3: whatever revision it has */
static bool is_virtio(const struct vio_pci_machine *m, void *ctx,
		      uint32_t function)
{
	uint32_t id = vio_pci_get(m, ctx, function, VIO_PCI_VENDOR, 4);

	return (id & 0xffff) == VIRTIO_PCI_VENDOR_ID &&
	       id >> 16 >= VIRTIO_PCI_ID_FIRST &&
	       id >> 16 <= VIRTIO_PCI_ID_LAST;
}

/* Does the device have functions beside its first? */
static bool has_more(const struct vio_pci_machine *m, void *ctx,
		     uint32_t function)
{
	return vio_pci_get(m, ctx, function & ~7u, VIO_PCI_HEADER, 1) & 0x80;
}

int vio_pci_next(const struct vio_pci_machine *m, void *ctx,
		 uint32_t *function)
{
	uint32_t end = (m->nr_buses ? m->nr_buses : 1u) << 8;

	for (uint32_t f = *function; f < end && f < 0x10000; f++) {
		if (f & 7 && !has_more(m, ctx, f)) {
			f |= 7;
			continue;
		}
		if (!is_virtio(m, ctx, f))
			continue;
		*function = f;
		return VIO_OK;
	}
	return VIO_E_UNSUPP;
}

/* -- regions ------------------------------------------------------------- */

struct vio_pci_region vio_pci_region(const struct vio_pci_machine *m,
				     void *ctx, uint32_t function,
				     unsigned bar)
{
	unsigned off = VIO_PCI_BAR + 4 * bar;
	uint32_t low = vio_pci_get(m, ctx, function, off, 4), high = 0;
	struct vio_pci_region r = { 0 };
	uint64_t mask, keep;

	r.io = low & VIO_PCI_BAR_IO;
	r.wide = !r.io && bar + 1 < VIO_PCI_NR_BARS && low & VIO_PCI_BAR_64;
	keep = r.io ? VIO_PCI_BAR_IO_FLAGS : VIO_PCI_BAR_MEM_FLAGS;
	vio_pci_put(m, ctx, function, off, UINT32_MAX, 4);
	mask = vio_pci_get(m, ctx, function, off, 4) & ~keep;
	if (r.wide) {
		high = vio_pci_get(m, ctx, function, off + 4, 4);
		vio_pci_put(m, ctx, function, off + 4, UINT32_MAX, 4);
		mask |= (uint64_t)vio_pci_get(m, ctx, function, off + 4, 4)
			<< 32;
		vio_pci_put(m, ctx, function, off + 4, high, 4);
	} else if (mask) {
		/* A port's upper 16 bits may be wired to 0. */
		mask |= ~(uint64_t)(r.io ? UINT16_MAX : UINT32_MAX);
	}
	vio_pci_put(m, ctx, function, off, low, 4);
	r.addr = (low & ~keep) | (uint64_t)high << 32;
	r.size = ~mask + 1;
	return r;
}

/* The next multiple of @size that is in [*at, @end). */
static bool take(uint64_t *at, uint64_t end, uint64_t size, uint64_t *addr)
{
	uint64_t from = (*at + (size - 1)) & ~(size - 1);

	if (from < *at || from > end || size > end - from)
		return false;
	*addr = from;
	*at = from + size;
	return true;
}

int vio_pci_assign(const struct vio_pci_machine *m, void *ctx,
		   uint32_t function, struct vio_pci_windows *w)
{
	uint32_t command = vio_pci_get(m, ctx, function, VIO_PCI_COMMAND, 2);

	vio_pci_put(m, ctx, function, VIO_PCI_COMMAND, command &
		    ~(uint32_t)(VIO_PCI_COMMAND_IO | VIO_PCI_COMMAND_MEM), 2);
	for (unsigned bar = 0; bar < VIO_PCI_NR_BARS; bar++) {
		struct vio_pci_region r = vio_pci_region(m, ctx, function,
							 bar);
		uint64_t addr = 0;

		if (!r.size)
			continue;
		if (r.size & (r.size - 1))
			return VIO_E_PEER;
		if (r.io ? !take(&w->io, w->io_end, r.size, &addr) :
			   !take(&w->mem, w->mem_end, r.size, &addr))
			return VIO_E_NOSPC;
		if (!r.wide && addr > UINT32_MAX)
			return VIO_E_NOSPC;
		vio_pci_put(m, ctx, function, VIO_PCI_BAR + 4 * bar,
			    (uint32_t)addr, 4);
		if (r.wide)
			vio_pci_put(m, ctx, function,
				    VIO_PCI_BAR + 4 * ++bar,
				    (uint32_t)(addr >> 32), 4);
	}
	vio_pci_put(m, ctx, function, VIO_PCI_COMMAND, command, 2);
	return VIO_OK;
}
