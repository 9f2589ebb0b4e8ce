/* SPDX-License-Identifier: MIT */
/*
 * pci.c - the PCI transport's device side (standard: 4.1): which structure
 * an access to a region belongs to, the device's own configuration, and
 * notifications. It knows no device type and no ring layout.
 */
#include "core/transport/pci.h"
#include "core/base/string.h"

/* -- the device's own configuration -------------------------------------- */

/* It has fields of every width, and is little-endian. */
uint64_t vio_pci_device_read(struct vio_pci *p, uint64_t off, unsigned len,
			     bool legacy)
{
	uint32_t now = __atomic_load_n(&p->dev->generation, __ATOMIC_ACQUIRE);
	unsigned char b[8] = { 0 };
	uint64_t v = 0;

	/*
	 * pci.device.common-configuration-structure-layout.6: 8 bits counted
	 * on each change might come round to where they were; counted when a
	 * change is seen they do not between two reads.
	 */
	if (now != p->generation_read) {
		p->generation_read = now;
		p->generation++;
	}
	if (legacy)
		vio_dev_config_read(p->dev, (uint32_t)off, b, len);
	else
		vio_dev_config_read_le(p->dev, (uint32_t)off, b, len);
	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)b[i] << 8 * i;
	return v;
}

void vio_pci_device_write(struct vio_pci *p, uint64_t off, uint64_t v,
			  unsigned len, bool legacy)
{
	unsigned char b[8];

	for (unsigned i = 0; i < len; i++)
		b[i] = (unsigned char)(v >> 8 * i);
	if (legacy)
		vio_dev_config_write(p->dev, (uint32_t)off, b, len);
	else
		vio_dev_config_write_le(p->dev, (uint32_t)off, b, len);
}

/* -- notifications ------------------------------------------------------- */

void vio_pci_notify_where(const struct vio_pci *p, uint16_t index,
			  unsigned *bar, uint64_t *off)
{
	*bar = VIO_PCI_BAR_REGS;
	*off = VIO_PCI_AT_NOTIFY + (uint64_t)index * p->notify_multiplier;
}

/*
 * The address says which queue; what is written is its index, or what we gave
 * for it, and maybe how far the driver is, which the ring says too.
 */
static void notify(struct vio_pci *p, uint64_t off, uint32_t v, unsigned len)
{
	uint64_t index = off >> __builtin_ctz(p->notify_multiplier);

	if (off & (p->notify_multiplier - 1) || (len != 2 && len != 4) ||
	    index >= p->dev->nr_queues)
		return;
	if (len == 4 && vio_dev_has(p->dev, VIRTIO_F_NOTIFICATION_DATA))
		vio_dev_notified(p->dev, (uint32_t)index | (v & 0xffff0000),
				 &p->queue[index].next);
	if (vio_pci_is_master(p))
		p->ops->serve(p->ctx, &p->dev->queue[index]);
}

/* -- regions ------------------------------------------------------------- */

static uint64_t read_regs(struct vio_pci *p, uint64_t off, unsigned len)
{
	if (off >= VIO_PCI_AT_NOTIFY)
		return 0;
	if (off >= VIO_PCI_AT_DEVICE)
		return vio_pci_device_read(p, off - VIO_PCI_AT_DEVICE, len,
					   false);
	if (off >= VIO_PCI_AT_ISR)
		return off == VIO_PCI_AT_ISR ? vio_pci_isr_read(p) : 0;
	return vio_pci_common_read(p, (unsigned)off, len);
}

static void write_regs(struct vio_pci *p, uint64_t off, uint64_t v,
		       unsigned len)
{
	if (off >= VIO_PCI_AT_NOTIFY)
		notify(p, off - VIO_PCI_AT_NOTIFY, (uint32_t)v, len);
	else if (off >= VIO_PCI_AT_DEVICE)
		vio_pci_device_write(p, off - VIO_PCI_AT_DEVICE, v, len,
				     false);
	else if (off < VIO_PCI_AT_ISR)
		vio_pci_common_write(p, (unsigned)off, (uint32_t)v, len);
}

/* Whole and within the region. */
static bool access_ok(const struct vio_pci *p, unsigned bar, uint64_t off,
		      unsigned len)
{
	return bar < VIO_PCI_NR_BARS &&
	       (len == 1 || len == 2 || len == 4 || len == 8) &&
	       p->bar[bar].size >= len && off <= p->bar[bar].size - len;
}

uint64_t vio_pci_bar_read(struct vio_pci *p, unsigned bar, uint64_t off,
			  unsigned len)
{
	if (!access_ok(p, bar, off, len))
		return 0;
	if (bar == VIO_PCI_BAR_REGS)
		return read_regs(p, off, len);
	if (bar == VIO_PCI_BAR_LEGACY)
		return vio_pci_legacy_read(p, off, len);
	if (bar != VIO_PCI_BAR_MSIX)
		return 0;
	/* PCI permits 64 bits at a multiple of that */
	if (len == 8 && !(off % 8))
		return vio_pci_msix_read(p, off, 4) |
		       (uint64_t)vio_pci_msix_read(p, off + 4, 4) << 32;
	return vio_pci_msix_read(p, off, len);
}

void vio_pci_bar_write(struct vio_pci *p, unsigned bar, uint64_t off,
		       uint64_t value, unsigned len)
{
	if (!access_ok(p, bar, off, len))
		return;
	if (len < 8)
		value &= ((uint64_t)1 << 8 * len) - 1;
	if (bar == VIO_PCI_BAR_REGS) {
		write_regs(p, off, value, len);
	} else if (bar == VIO_PCI_BAR_LEGACY) {
		vio_pci_legacy_write(p, off, value, len);
	} else if (bar == VIO_PCI_BAR_MSIX && len == 8 && !(off % 8)) {
		vio_pci_msix_write(p, off, (uint32_t)value, 4);
		vio_pci_msix_write(p, off + 4, (uint32_t)(value >> 32), 4);
	} else if (bar == VIO_PCI_BAR_MSIX) {
		vio_pci_msix_write(p, off, (uint32_t)value, len);
	}
}

bool vio_pci_access(struct vio_pci *p, enum vio_pci_space space,
		    uint64_t addr, uint64_t *value, unsigned len, bool write)
{
	if (space == VIO_PCI_CONFIG) {
		if (addr >= 4096)
			return false;
		if (write)
			vio_pci_config_write(p, (unsigned)addr,
					     (uint32_t)*value, len);
		else
			*value = vio_pci_config_read(p, (unsigned)addr, len);
		return true;
	}
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++) {
		uint64_t at;

		if (vio_pci_bar_is_io(p, i) != (space == VIO_PCI_IO) ||
		    !vio_pci_bar_decode(p, i, &at) || addr < at ||
		    addr - at >= p->bar[i].size)
			continue;
		if (write)
			vio_pci_bar_write(p, i, addr - at, *value, len);
		else
			*value = vio_pci_bar_read(p, i, addr - at, len);
		return true;
	}
	return false;
}

/* -- set-up -------------------------------------------------------------- */

int vio_pci_init(struct vio_pci *p, const struct vio_pci_conf *conf,
		 struct vio_dev *dev, struct vio_mem *mem,
		 struct vio_pci_queue *queue, struct vio_pci_vector *vector,
		 const struct vio_pci_ops *ops, void *ctx,
		 const struct vio_log *log)
{
	uint32_t mult = conf->notify_multiplier ? conf->notify_multiplier : 4;
	int err;

	if (conf->vectors > VIO_PCI_MSIX_VECTORS_MAX || mult < 4 ||
	    mult > 4096 || mult & (mult - 1) ||
	    dev->config_len > VIO_PCI_DEVICE_MAX ||
	    (conf->flavour != VIO_PCI_MODERN &&
	     !vio_pci_transitional_id(dev->ops->id)))
		return VIO_E_INVAL;
	memset(p, 0, sizeof(*p));
	p->dev = dev;
	p->mem = mem;
	p->ops = ops;
	p->ctx = ctx;
	p->queue = queue;
	p->vector = vector;
	p->nr_vectors = conf->vectors;
	p->notify_multiplier = mult;
	if (conf->flavour != VIO_PCI_MODERN)
		vio_dev_transitional(dev);
	err = vio_pci_config_init(p, conf);
	if (err)
		return err;
	for (unsigned i = 0; i < dev->nr_queues; i++)
		queue[i].notify_data = (uint16_t)i;
	vio_pci_irq_reset(p);
	vio_pci_irq_update(p);
	vio_pci_registers_reset(p);
	vio_feature_set(&dev->offered, VIRTIO_F_RING_RESET);
	vio_dev_suspendable(dev);
	if (conf->notification_data)
		vio_feature_set(&dev->offered, VIRTIO_F_NOTIFICATION_DATA);
	if (conf->notif_config_data)
		vio_feature_set(&dev->offered, VIRTIO_F_NOTIF_CONFIG_DATA);
	vio_dev_attach(dev, &vio_pci_transport_ops, p, log);
	return VIO_OK;
}
