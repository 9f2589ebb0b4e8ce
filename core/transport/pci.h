/* SPDX-License-Identifier: MIT */
/*
 * pci.h - what the files of the PCI transport's device side ask of each
 * other. It knows no device type.
 */
#ifndef CORE_TRANSPORT_PCI_H
#define CORE_TRANSPORT_PCI_H

#include <vireo/pci.h>

/* Which region is where. */
#define VIO_PCI_BAR_LEGACY	0	/* ports */
#define VIO_PCI_BAR_MSIX	1	/* 32 bits */
#define VIO_PCI_BAR_SHM		2	/* 64 bits, prefetchable */
#define VIO_PCI_BAR_REGS	4	/* 64 bits */

/* Structures within the region of registers. */
#define VIO_PCI_AT_COMMON	0x0000u
#define VIO_PCI_AT_ISR		0x1000u
#define VIO_PCI_AT_DEVICE	0x2000u
#define VIO_PCI_AT_NOTIFY	0x3000u
#define VIO_PCI_DEVICE_MAX	0x1000u

/* vio_pci.irq_mode */
#define VIO_PCI_IRQ_MSIX	1u	/* MSI-X is enabled */
#define VIO_PCI_IRQ_SEND	2u	/* and messages may be sent */
#define VIO_PCI_IRQ_LINE	4u	/* the INTx line may be up */

/* -- pci_config.c -------------------------------------------------------- */

int vio_pci_config_init(struct vio_pci *p, const struct vio_pci_conf *conf);
uint16_t vio_pci_config_16(const struct vio_pci *p, unsigned off);
/* Where a region would be if its register counts; does not look at @on. */
bool vio_pci_bar_decode(const struct vio_pci *p, unsigned bar, uint64_t *addr);
static inline bool vio_pci_bar_is_io(const struct vio_pci *p, unsigned bar)
{
	return p->config[VIO_PCI_BAR + 4 * bar] & VIO_PCI_BAR_IO;
}

/* -- pci_common.c -------------------------------------------------------- */

uint32_t vio_pci_common_read(struct vio_pci *p, unsigned off, unsigned len);
void vio_pci_common_write(struct vio_pci *p, unsigned off, uint32_t v,
			  unsigned len);
void vio_pci_set_status(struct vio_pci *p, uint32_t status);
/* All registers of virtio as they are at the beginning. */
void vio_pci_registers_reset(struct vio_pci *p);
/* Start a queue's ring; false, and the device needs a reset, if it cannot. */
bool vio_pci_queue_begin(struct vio_pci *p, uint16_t index,
			 const struct vio_queue_layout *layout);
void vio_pci_map_vector(struct vio_pci *p, uint16_t *where, uint32_t vector);

/* -- pci.c --------------------------------------------------------------- */

/* The device's own configuration; @legacy: in that interface's byte order. */
uint64_t vio_pci_device_read(struct vio_pci *p, uint64_t off, unsigned len,
			     bool legacy);
void vio_pci_device_write(struct vio_pci *p, uint64_t off, uint64_t v,
			  unsigned len, bool legacy);

/* -- pci_legacy.c -------------------------------------------------------- */

uint16_t vio_pci_transitional_id(uint32_t type);
uint64_t vio_pci_legacy_bar_size(const struct vio_pci *p);
uint64_t vio_pci_legacy_read(struct vio_pci *p, uint64_t off, unsigned len);
void vio_pci_legacy_write(struct vio_pci *p, uint64_t off, uint64_t v,
			  unsigned len);

/*
 * May it write to memory? Legacy drivers do not all know of that bit, and
 * those of old could do without.
 */
static inline bool vio_pci_is_master(const struct vio_pci *p)
{
	return p->dev->transitional ||
	       p->config[VIO_PCI_COMMAND] & VIO_PCI_COMMAND_MASTER;
}

/* -- pci_irq.c ----------------------------------------------------------- */

extern const struct vio_transport_ops vio_pci_transport_ops;
/* Reading it acknowledges. */
uint32_t vio_pci_isr_read(struct vio_pci *p);
void vio_pci_irq_reset(struct vio_pci *p);
/* Command register, MSI-X control or power state changed. */
void vio_pci_irq_update(struct vio_pci *p);
uint32_t vio_pci_msix_read(struct vio_pci *p, uint64_t off, unsigned len);
void vio_pci_msix_write(struct vio_pci *p, uint64_t off, uint32_t v,
			unsigned len);
/* Bytes of the table, and of the region that has it and the pending bits. */
uint32_t vio_pci_msix_pba(const struct vio_pci *p);
uint64_t vio_pci_msix_bar_size(const struct vio_pci *p);

#endif
