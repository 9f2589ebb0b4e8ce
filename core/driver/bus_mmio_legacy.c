/* SPDX-License-Identifier: MIT */
/*
 * bus_mmio_legacy.c - the driver side of the MMIO transport, version 1
 * (standard: 4.2.4), as far as it differs from version 2. It knows no device
 * type and no ring.
 */
#include <vireo/spec/mmio.h>
#include "core/driver/bus_mmio.h"

#define get	vio_bus_mmio_get
#define put	vio_bus_mmio_put

#define PAGE	4096u	/* what we say a page is: any would do */

int vio_bus_mmio_legacy_probe(struct vio_bus_mmio *b,
			      const struct vio_mmio_access *access, void *ctx)
{
	return vio_bus_mmio_find(b, access, ctx, VIRTIO_MMIO_VERSION_LEGACY);
}

static int get_features(void *bus, struct vio_features *f)
{
	put(bus, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	f->w[0] = get(bus, VIRTIO_MMIO_DEVICE_FEATURES);
	f->w[1] = 0;
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	put(bus, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(bus, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)f->w[0]);
	/* Before any queue is used. */
	put(bus, VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE);
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *l)
{
	uint64_t pfn = l->desc.v / PAGE;

	put(bus, VIRTIO_MMIO_QUEUE_SEL, index);
	if (get(bus, VIRTIO_MMIO_QUEUE_PFN))
		return VIO_E_STATE;
	/* Page 0 means no queue; pages are numbers of 32 bits. */
	if (l->desc.v % PAGE || !pfn || pfn > UINT32_MAX)
		return VIO_E_RANGE;
	put(bus, VIRTIO_MMIO_QUEUE_SIZE, l->size);
	put(bus, VIRTIO_MMIO_QUEUE_ALIGN, PAGE);
	put(bus, VIRTIO_MMIO_QUEUE_PFN, (uint32_t)pfn);
	return get(bus, VIRTIO_MMIO_QUEUE_PFN) == pfn ? VIO_OK : VIO_E_PEER;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	(void)next;
	put(bus, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

const struct vio_bus_ops vio_bus_mmio_legacy_ops = {
	.get_status = vio_bus_mmio_get_status,
	.set_status = vio_bus_mmio_set_status,
	.get_features = get_features,
	.set_features = set_features,
	.config_read = vio_bus_mmio_config_read,
	.config_write = vio_bus_mmio_config_write,
	.queue_max = vio_bus_mmio_queue_max,
	.queue_start = queue_start,
	.notify = notify,
	.wait = vio_bus_mmio_wait,
	.legacy_align = PAGE,
};
