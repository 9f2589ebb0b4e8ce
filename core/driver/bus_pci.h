/* SPDX-License-Identifier: MIT */
/*
 * bus_pci.h - what the files of the PCI transport's driver side ask of each
 * other.
 */
#ifndef CORE_DRIVER_BUS_PCI_H
#define CORE_DRIVER_BUS_PCI_H

#include <vireo/bus_pci.h>

/* A region, as its register says. */
struct vio_pci_region {
	uint64_t addr;
	uint64_t size;		/* 0: there is none */
	bool io;
	bool wide;		/* its register takes two places */
};

/* Asks for the size: not while the region is in use. */
struct vio_pci_region vio_pci_region(const struct vio_pci_machine *m,
				     void *ctx, uint32_t function,
				     unsigned bar);

/* Method of either interface's bus. */
int vio_bus_pci_wait(void *bus, uint16_t index);

/* Method of the bus: shared memory region @id, at its bus address. */
int vio_bus_pci_shm(void *bus, uint8_t id, struct vio_shm *shm);

static inline uint32_t vio_bus_pci_read(const struct vio_bus_pci *b,
					const struct vio_pci_place *p,
					uint32_t off, unsigned len)
{
	return b->machine->read(b->ctx, p->space, p->addr + off, len);
}

static inline void vio_bus_pci_write(const struct vio_bus_pci *b,
				     const struct vio_pci_place *p,
				     uint32_t off, uint32_t v, unsigned len)
{
	b->machine->write(b->ctx, p->space, p->addr + off, v, len);
}

/*
 * pci.driver.msi-x-vector-configuration.4 and .5: only vectors that the
 * device has, and read back what became of it. @off: of an event's register
 * in the structure that either interface begins with.
 */
static inline int vio_bus_pci_map(const struct vio_bus_pci *b, unsigned off,
				  uint16_t vector)
{
	if (!b->vectors)
		return VIO_OK;
	vio_bus_pci_write(b, &b->common, off, vector, 2);
	return vio_bus_pci_read(b, &b->common, off, 2) == vector ? VIO_OK :
								   VIO_E_IO;
}

#endif
