/* SPDX-License-Identifier: MIT */
/*
 * pci_legacy.c - the legacy interface of the PCI transport's device side
 * (standard: 4.1.4.10): a block of registers in I/O space, of a transitional
 * device beside the modern structures, of a legacy one alone. It knows no
 * device type and no ring layout.
 *
 * Its configuration space is in the guest's byte order, which the device core
 * sees to; the header is PCI's.
 */
#include "core/transport/pci.h"
#include <vireo/spec/pci_legacy.h>

#define QUEUE_ALIGN	4096u	/* and the unit of the Queue Address */

/* 0x1000 to 0x103f, by type (4.1.2.1); 0: it never had one. */
uint16_t vio_pci_transitional_id(uint32_t type)
{
	switch (type) {
	case VIRTIO_ID_NET:
		return 0x1000;
	case VIRTIO_ID_BLOCK:
		return 0x1001;
	case VIRTIO_ID_CONSOLE:
		return 0x1003;
	case VIRTIO_ID_ENTROPY:
		return 0x1005;
	case VIRTIO_PCI_TYPE_BALLOON:
		return 0x1002;
	case VIRTIO_PCI_TYPE_SCSI:
		return 0x1004;
	case VIRTIO_PCI_TYPE_9P:
		return 0x1009;
	default:
		return 0;
	}
}

uint64_t vio_pci_legacy_bar_size(const struct vio_pci *p)
{
	uint64_t size = 32;

	while (size < VIRTIO_PCI_LEGACY_CONFIG_MSIX + p->dev->config_len)
		size *= 2;
	return size;
}

static struct vio_pci_queue *selected(struct vio_pci *p)
{
	return p->queue_select < p->dev->nr_queues ?
	       &p->queue[p->queue_select] : NULL;
}

/*
 * Where the device's configuration begins: MSI-X, while it is enabled, has
 * two registers before it.
 */
static unsigned config_at(const struct vio_pci *p)
{
	return __atomic_load_n(&p->irq_mode, __ATOMIC_SEQ_CST) &
	       VIO_PCI_IRQ_MSIX ? VIRTIO_PCI_LEGACY_CONFIG_MSIX :
				  VIRTIO_PCI_LEGACY_CONFIG;
}

static unsigned width(unsigned off)
{
	switch (off) {
	case VIRTIO_PCI_LEGACY_DEVICE_FEATURES:
	case VIRTIO_PCI_LEGACY_DRIVER_FEATURES:
	case VIRTIO_PCI_LEGACY_QUEUE_ADDRESS:
		return 4;
	case VIRTIO_PCI_LEGACY_DEVICE_STATUS:
	case VIRTIO_PCI_LEGACY_ISR_STATUS:
		return 1;
	default:
		return off % 2 ? 0 : 2;
	}
}

/* -- accesses ------------------------------------------------------------ */

static uint32_t read_queue(struct vio_pci *p, unsigned off)
{
	struct vio_pci_queue *r = selected(p);

	if (!r)
		return off == VIRTIO_PCI_LEGACY_QUEUE_MSIX_VECTOR ?
		       VIRTIO_MSI_NO_VECTOR : 0;
	switch (off) {
	case VIRTIO_PCI_LEGACY_QUEUE_ADDRESS:
		return (uint32_t)(r->desc / QUEUE_ALIGN);
	case VIRTIO_PCI_LEGACY_QUEUE_SIZE:
		return p->dev->queue[p->queue_select].limits.size_max;
	case VIRTIO_PCI_LEGACY_QUEUE_MSIX_VECTOR:
		return vio_pci_queue_vector(p, p->queue_select);
	default:
		return 0;
	}
}

uint64_t vio_pci_legacy_read(struct vio_pci *p, uint64_t off, unsigned len)
{
	unsigned config = config_at(p);

	/* pci.other.legacy-interfaces-pci-device-layout.3: of any width */
	if (off >= config)
		return vio_pci_device_read(p, off - config, len, true);
	if (width((unsigned)off) != len)
		return 0;
	switch (off) {
	case VIRTIO_PCI_LEGACY_DEVICE_FEATURES:
		return (uint32_t)p->dev->offered.w[0];
	case VIRTIO_PCI_LEGACY_DRIVER_FEATURES:
		return (uint32_t)p->dev->driver.w[0];
	case VIRTIO_PCI_LEGACY_QUEUE_SELECT:
		return p->queue_select;
	case VIRTIO_PCI_LEGACY_DEVICE_STATUS:
		return vio_dev_status(p->dev) & 0xff;
	case VIRTIO_PCI_LEGACY_ISR_STATUS:
		return vio_pci_isr_read(p);
	case VIRTIO_PCI_LEGACY_CONFIG_MSIX_VECTOR:
		return __atomic_load_n(&p->config_vector, __ATOMIC_SEQ_CST);
	default:
		return read_queue(p, (unsigned)off);
	}
}

/*
 * They count from now on, for queues may be used before DRIVER_OK. A driver
 * that asks for what was not offered cannot be told so, and does not get it.
 * pci.other.legacy-interfaces-pci-device-layout.6: bits 0 to 31 alone.
 */
static void set_features(struct vio_pci *p, uint32_t v)
{
	struct vio_features f = { { v & p->dev->offered.w[0], 0 } };

	if (!(vio_dev_status(p->dev) & VIRTIO_STATUS_DRIVER_OK))
		vio_dev_set_features(p->dev, &f);
}

/* 0 takes the queue back, anything else gives it to us. */
static void set_address(struct vio_pci *p, struct vio_pci_queue *r,
			uint32_t pfn)
{
	uint16_t size = p->dev->queue[p->queue_select].limits.size_max;
	struct vio_queue_layout layout;

	if (!pfn && r->enabled) {
		vio_queue_stop(&p->dev->queue[p->queue_select]);
		r->enabled = false;
		r->desc = 0;
	}
	if (!pfn || r->enabled)
		return;
	/* 44 bits and a page: never past the end of the address space */
	vio_legacy_layout(&layout, size,
			  vio_addr_of((uint64_t)pfn * QUEUE_ALIGN),
			  QUEUE_ALIGN);
	if (vio_pci_queue_begin(p, p->queue_select, &layout))
		r->desc = layout.desc.v;
}

static void write_queue(struct vio_pci *p, unsigned off, uint32_t v)
{
	struct vio_pci_queue *r = selected(p);

	if (!r)
		return;
	if (off == VIRTIO_PCI_LEGACY_QUEUE_ADDRESS)
		set_address(p, r, v);
	else if (off == VIRTIO_PCI_LEGACY_QUEUE_MSIX_VECTOR)
		vio_pci_map_vector(p, &r->vector, v);
}

void vio_pci_legacy_write(struct vio_pci *p, uint64_t off, uint64_t v,
			  unsigned len)
{
	unsigned config = config_at(p);

	if (off >= config) {
		vio_pci_device_write(p, off - config, v, len, true);
		return;
	}
	if (width((unsigned)off) != len)
		return;
	switch (off) {
	case VIRTIO_PCI_LEGACY_DRIVER_FEATURES:
		set_features(p, (uint32_t)v);
		return;
	case VIRTIO_PCI_LEGACY_QUEUE_SELECT:
		p->queue_select = (uint16_t)v;
		return;
	case VIRTIO_PCI_LEGACY_QUEUE_NOTIFY:
		if (v < p->dev->nr_queues)
			p->ops->serve(p->ctx, &p->dev->queue[v]);
		return;
	case VIRTIO_PCI_LEGACY_DEVICE_STATUS:
		/* There is no FEATURES_OK in this interface. */
		vio_pci_set_status(p, (uint32_t)v &
				   ~(uint32_t)VIRTIO_STATUS_FEATURES_OK);
		return;
	case VIRTIO_PCI_LEGACY_CONFIG_MSIX_VECTOR:
		vio_pci_map_vector(p, &p->config_vector, (uint32_t)v);
		return;
	default:
		write_queue(p, (unsigned)off, (uint32_t)v);
	}
}
