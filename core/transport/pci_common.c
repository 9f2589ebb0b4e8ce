/* SPDX-License-Identifier: MIT */
/*
 * pci_common.c - the common configuration structure of the PCI transport's
 * device side (standard: 4.1.4.3): its fields become verbs of the device
 * core. It knows no device type and no ring layout, and not where the
 * structure is mapped.
 */
#include "core/transport/pci.h"
#include "core/base/string.h"

static struct vio_pci_queue *selected(struct vio_pci *p)
{
	return p->queue_select < p->dev->nr_queues ?
	       &p->queue[p->queue_select] : NULL;
}

static struct vio_queue *selected_queue(struct vio_pci *p)
{
	return &p->dev->queue[p->queue_select];
}

/* -- queues -------------------------------------------------------------- */

/*
 * pci.device.msi-x-vector-configuration.6 and .9: what reads back is the
 * vector, or that there is none.
 */
void vio_pci_map_vector(struct vio_pci *p, uint16_t *where, uint32_t vector)
{
	uint16_t v = vector < p->nr_vectors ? (uint16_t)vector :
					      VIRTIO_MSI_NO_VECTOR;

	__atomic_store_n(where, v, __ATOMIC_SEQ_CST);
}

static void queue_defaults(struct vio_pci *p, unsigned i)
{
	struct vio_pci_queue *r = &p->queue[i];

	r->desc = r->driver = r->device = 0;
	r->size = p->dev->queue[i].limits.size_max;
	r->enabled = r->resetting = false;
	vio_pci_map_vector(p, &r->vector, VIRTIO_MSI_NO_VECTOR);
}

bool vio_pci_queue_begin(struct vio_pci *p, uint16_t index,
			 const struct vio_queue_layout *l)
{
	uint16_t base = vio_dev_has(p->dev, VIRTIO_F_RING_PACKED) ?
			VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;
	struct vio_queue *q = &p->dev->queue[index];

	if (vio_queue_start(q, p->mem, l, base, base) != VIO_OK) {
		vio_dev_log(p->dev, VIO_LOG_ERROR, "driver enables a queue "
			    "that cannot be: size, alignment or address",
			    (const struct vio_named[]){
				{ "queue", index }, { "size", l->size },
				{ "desc", l->desc.v },
				{ "driver", l->driver.v },
				{ "device", l->device.v } }, 5);
		vio_dev_needs_reset(p->dev);
		return false;
	}
	p->queue[index].enabled = true;
	p->queue[index].resetting = false;
	/* Buffers may be there already, and the kick have come too early. */
	p->ops->serve(p->ctx, q);
	return true;
}

static void queue_enable(struct vio_pci *p, struct vio_pci_queue *r)
{
	const struct vio_queue_layout layout = {
		r->size, { r->desc }, { r->driver }, { r->device } };

	if (!r->enabled)
		vio_pci_queue_begin(p, p->queue_select, &layout);
}

/* pci.device.common-configuration-structure-layout.11: 2.6.1 for one queue */
static void queue_reset(struct vio_pci *p, struct vio_pci_queue *r)
{
	if (!vio_dev_has(p->dev, VIRTIO_F_RING_RESET) || !r->enabled)
		return;
	vio_queue_stop(selected_queue(p));
	queue_defaults(p, p->queue_select);
	r->resetting = true;
}

/* 1 as long as requests in flight hold the ring, then 0 for good. */
static bool queue_resetting(struct vio_pci *p, struct vio_pci_queue *r)
{
	r->resetting = r->resetting && selected_queue(p)->inflight != 0;
	return r->resetting;
}

/* -- status and features ------------------------------------------------- */

void vio_pci_registers_reset(struct vio_pci *p)
{
	for (unsigned i = 0; i < p->dev->nr_queues; i++)
		queue_defaults(p, i);
	/* pci.device.msi-x-vector-configuration.7 */
	vio_pci_map_vector(p, &p->config_vector, VIRTIO_MSI_NO_VECTOR);
	p->driver = (struct vio_features){ { 0, 0 } };
	p->device_feature_select = 0;
	p->driver_feature_select = 0;
	p->queue_select = 0;
}

void vio_pci_set_status(struct vio_pci *p, uint32_t status)
{
	uint32_t fresh = status & ~vio_dev_status(p->dev);

	if (!status) {
		vio_pci_registers_reset(p);
		vio_dev_set_status(p->dev, 0);
		vio_pci_isr_read(p);
		return;
	}
	/* A set that was not offered is refused by leaving the bit clear. */
	if ((fresh & VIRTIO_STATUS_FEATURES_OK) &&
	    vio_dev_set_features(p->dev, &p->driver) != VIO_OK)
		status &= ~(uint32_t)VIRTIO_STATUS_FEATURES_OK;
	vio_dev_set_status(p->dev, status);
}

/* 32 bits of a feature set; those beyond it read as 0. */
static uint32_t features_word(const struct vio_features *f, uint32_t sel)
{
	return sel < 4 ? (uint32_t)(f->w[sel / 2] >> 32 * (sel % 2)) : 0;
}

/* What belongs to the legacy interface is offered there alone. */
static uint32_t offered(const struct vio_pci *p)
{
	struct vio_features f = p->dev->offered;

	vio_feature_clear(&f, VIRTIO_F_NOTIFY_ON_EMPTY);
	vio_feature_clear(&f, VIRTIO_F_ANY_LAYOUT);
	return features_word(&f, p->device_feature_select);
}

static void set_features_word(struct vio_features *f, uint32_t sel, uint32_t v)
{
	unsigned shift = 32 * (sel % 2);

	if (sel >= 4)
		return;
	f->w[sel / 2] &= ~((uint64_t)UINT32_MAX << shift);
	f->w[sel / 2] |= (uint64_t)v << shift;
}

/* -- fields -------------------------------------------------------------- */

/* The width of the field that begins at @off; 0: none does. */
static unsigned width(unsigned off)
{
	if (off >= VIRTIO_PCI_COMMON_SIZE)
		return 0;
	if (off == VIRTIO_PCI_COMMON_DEVICE_STATUS ||
	    off == VIRTIO_PCI_COMMON_CONFIG_GENERATION)
		return 1;
	/* 64-bit fields are two of 32 each */
	if (off < VIRTIO_PCI_COMMON_CONFIG_MSIX_VECTOR ||
	    (off >= VIRTIO_PCI_COMMON_QUEUE_DESC &&
	     off < VIRTIO_PCI_COMMON_QUEUE_NOTIF_CONFIG_DATA))
		return off % 4 ? 0 : 4;
	return off % 2 ? 0 : 2;
}

/* The address that a 64-bit field has; @high: the half that @off is. */
static uint64_t *address(struct vio_pci_queue *r, unsigned off, bool *high)
{
	*high = off % 8 != 0;
	switch (off & ~7u) {
	case VIRTIO_PCI_COMMON_QUEUE_DESC:
		return &r->desc;
	case VIRTIO_PCI_COMMON_QUEUE_DRIVER:
		return &r->driver;
	case VIRTIO_PCI_COMMON_QUEUE_DEVICE:
		return &r->device;
	default:
		return NULL;
	}
}

static uint32_t read_queue(struct vio_pci *p, unsigned off)
{
	struct vio_pci_queue *r = selected(p);
	uint64_t *addr;
	bool high;

	if (!r)		/* size 0: no such queue */
		return off == VIRTIO_PCI_COMMON_QUEUE_MSIX_VECTOR ?
		       VIRTIO_MSI_NO_VECTOR : 0;
	switch (off) {
	case VIRTIO_PCI_COMMON_QUEUE_SIZE:
		return r->size;
	case VIRTIO_PCI_COMMON_QUEUE_MSIX_VECTOR:
		return vio_pci_queue_vector(p, p->queue_select);
	case VIRTIO_PCI_COMMON_QUEUE_ENABLE:
		return r->enabled;
	case VIRTIO_PCI_COMMON_QUEUE_NOTIFY_OFF:
		return p->queue_select;
	case VIRTIO_PCI_COMMON_QUEUE_NOTIF_CONFIG_DATA:
		return vio_dev_has(p->dev, VIRTIO_F_NOTIF_CONFIG_DATA) ?
		       r->notify_data : 0;
	case VIRTIO_PCI_COMMON_QUEUE_RESET:
		return queue_resetting(p, r);
	default:
		addr = address(r, off, &high);
		return addr ? (uint32_t)(*addr >> 32 * high) : 0;
	}
}

uint32_t vio_pci_common_read(struct vio_pci *p, unsigned off, unsigned len)
{
	if (width(off) != len)
		return 0;
	switch (off) {
	case VIRTIO_PCI_COMMON_DEVICE_FEATURE_SELECT:
		return p->device_feature_select;
	case VIRTIO_PCI_COMMON_DEVICE_FEATURE:
		return offered(p);
	case VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT:
		return p->driver_feature_select;
	case VIRTIO_PCI_COMMON_DRIVER_FEATURE:
		return features_word(&p->driver, p->driver_feature_select);
	case VIRTIO_PCI_COMMON_CONFIG_MSIX_VECTOR:
		return __atomic_load_n(&p->config_vector, __ATOMIC_SEQ_CST);
	case VIRTIO_PCI_COMMON_NUM_QUEUES:
		return p->dev->nr_queues;
	case VIRTIO_PCI_COMMON_DEVICE_STATUS:
		return vio_dev_status(p->dev) & 0xff;
	case VIRTIO_PCI_COMMON_CONFIG_GENERATION:
		return p->generation;
	case VIRTIO_PCI_COMMON_QUEUE_SELECT:
		return p->queue_select;
	case VIRTIO_PCI_COMMON_ADMIN_QUEUE_INDEX:
	case VIRTIO_PCI_COMMON_ADMIN_QUEUE_NUM:
		return 0;	/* ADMIN_VQ is not offered: none */
	default:
		return read_queue(p, off);
	}
}

/* Where and how long the ring is: fixed while it is enabled. */
static void write_layout(struct vio_pci_queue *r, unsigned off, uint32_t v)
{
	uint64_t *addr, keep;
	bool high;

	if (r->enabled)
		return;
	if (off == VIRTIO_PCI_COMMON_QUEUE_SIZE) {
		/* One that does not fit is refused when it is enabled. */
		r->size = (uint16_t)v;
		return;
	}
	addr = address(r, off, &high);
	if (!addr)
		return;
	keep = high ? UINT32_MAX : ~(uint64_t)UINT32_MAX;
	*addr = (*addr & keep) | (uint64_t)v << 32 * high;
}

static void write_queue(struct vio_pci *p, unsigned off, uint32_t v)
{
	struct vio_pci_queue *r = selected(p);

	if (!r)
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_QUEUE_MSIX_VECTOR:
		vio_pci_map_vector(p, &r->vector, v);
		return;
	case VIRTIO_PCI_COMMON_QUEUE_ENABLE:
		/* A driver must not write 0; a queue is stopped by reset. */
		if (v == 1)
			queue_enable(p, r);
		return;
	case VIRTIO_PCI_COMMON_QUEUE_RESET:
		if (v == 1)
			queue_reset(p, r);
		return;
	default:
		write_layout(r, off, v);
	}
}

void vio_pci_common_write(struct vio_pci *p, unsigned off, uint32_t v,
			  unsigned len)
{
	if (width(off) != len)
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_DEVICE_FEATURE_SELECT:
		p->device_feature_select = v;
		return;
	case VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT:
		p->driver_feature_select = v;
		return;
	case VIRTIO_PCI_COMMON_DRIVER_FEATURE:
		set_features_word(&p->driver, p->driver_feature_select, v);
		return;
	case VIRTIO_PCI_COMMON_CONFIG_MSIX_VECTOR:
		vio_pci_map_vector(p, &p->config_vector, v);
		return;
	case VIRTIO_PCI_COMMON_DEVICE_STATUS:
		vio_pci_set_status(p, v & 0xff);
		return;
	case VIRTIO_PCI_COMMON_QUEUE_SELECT:
		p->queue_select = (uint16_t)v;
		return;
	default:
		write_queue(p, off, v);
	}
}
