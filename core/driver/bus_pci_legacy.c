/* SPDX-License-Identifier: MIT */
/*
 * bus_pci_legacy.c - the driver side of the PCI transport's legacy interface
 * (standard: 4.1.4.10): a block of ports. It knows no device type and no
 * ring. Values of registers are PCI's; the device's configuration is handed
 * on as the bytes that stand there, in this machine's order.
 */
#include <vireo/spec/pci_legacy.h>
#include "core/driver/bus_pci.h"

#define PAGE	4096u	/* alignment of rings, unit of their address */

#define L(field)	VIRTIO_PCI_LEGACY_##field

static uint32_t get(const struct vio_bus_pci *b, unsigned off, unsigned len)
{
	return vio_bus_pci_read(b, &b->common, off, len);
}

static void put(const struct vio_bus_pci *b, unsigned off, uint32_t v,
		unsigned len)
{
	vio_bus_pci_write(b, &b->common, off, v, len);
}

static int get_status(void *bus, uint32_t *status)
{
	*status = get(bus, L(DEVICE_STATUS), 1);
	return VIO_OK;
}

static int set_status(void *bus, uint32_t status)
{
	put(bus, L(DEVICE_STATUS), status, 1);
	return VIO_OK;
}

static int get_features(void *bus, struct vio_features *f)
{
	f->w[0] = get(bus, L(DEVICE_FEATURES), 4);
	f->w[1] = 0;
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	put(bus, L(DRIVER_FEATURES), (uint32_t)f->w[0], 4);
	return vio_bus_pci_map(bus, L(CONFIG_MSIX_VECTOR), 0);
}

/*
 * pci.other.legacy-interfaces-pci-device-layout.4: right behind the header,
 * which MSI-X makes longer. Byte by byte, as any width may be used.
 */
static unsigned config_at(const struct vio_bus_pci *b)
{
	return b->vectors ? L(CONFIG_MSIX) : L(CONFIG);
}

static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	const struct vio_bus_pci *b = bus;
	uint64_t at = (uint64_t)config_at(b) + off;
	unsigned char *to = dst;

	/* What the device does not have reads as 0. */
	for (; len; len--, at++)
		*to++ = at < b->common.len ?
			(unsigned char)get(b, (unsigned)at, 1) : 0;
	return VIO_OK;
}

static int config_write(void *bus, uint32_t off, const void *src, uint32_t len)
{
	const struct vio_bus_pci *b = bus;
	uint64_t at = (uint64_t)config_at(b) + off;
	const unsigned char *from = src;

	if (at > b->common.len || len > b->common.len - at)
		return VIO_E_RANGE;
	for (; len; len--)
		put(b, (unsigned)at++, *from++, 1);
	return VIO_OK;
}

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	uint32_t max;

	put(bus, L(QUEUE_SELECT), index, 2);
	max = get(bus, L(QUEUE_SIZE), 2);
	/* There is no way to agree on another: one that cannot be is none. */
	*size = (uint16_t)(max > 32768 || max & (max - 1) ? 0 : max);
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *l)
{
	uint64_t pfn = l->desc.v / PAGE;
	int err;

	put(bus, L(QUEUE_SELECT), index, 2);
	if (get(bus, L(QUEUE_ADDRESS), 4))
		return VIO_E_STATE;
	/* Page 0 means no queue; pages are numbers of 32 bits. */
	if (l->desc.v % PAGE || !pfn || pfn > UINT32_MAX)
		return VIO_E_RANGE;
	err = vio_bus_pci_map(bus, L(QUEUE_MSIX_VECTOR),
			 vio_bus_pci_vector(bus, index));
	if (err)
		return err;
	put(bus, L(QUEUE_ADDRESS), (uint32_t)pfn, 4);
	return get(bus, L(QUEUE_ADDRESS), 4) == pfn ? VIO_OK : VIO_E_PEER;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	(void)next;
	put(bus, L(QUEUE_NOTIFY), index, 2);
}

const struct vio_bus_ops vio_bus_pci_legacy_ops = {
	.get_status = get_status,
	.set_status = set_status,
	.get_features = get_features,
	.set_features = set_features,
	.config_read = config_read,
	.config_write = config_write,
	.queue_max = queue_max,
	.queue_start = queue_start,
	.notify = notify,
	.wait = vio_bus_pci_wait,
	.legacy_align = PAGE,
	.size_fixed = true,
};
