/* SPDX-License-Identifier: MIT */
/*
 * pci_config.c - configuration space of the PCI transport's device side: the
 * header, the base address registers, the list of capabilities, reset of the
 * function, power states, and the window through which a driver reaches the
 * registers without any mapping. It knows not what the registers mean.
 *
 * The space is bytes, and for each the bits that a driver may write. What a
 * write sets off is looked at after the bytes are in place.
 */
#include "core/transport/pci.h"
#include "core/base/string.h"

/* -- bytes --------------------------------------------------------------- */

static uint32_t get(const struct vio_pci *p, unsigned off, unsigned len)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (uint32_t)p->config[off + i] << 8 * i;
	return v;
}

static void put(unsigned char *at, uint32_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (unsigned char)(v >> 8 * i);
}

static void set(struct vio_pci *p, unsigned off, uint32_t v, unsigned len)
{
	put(p->config + off, v, len);
}

static void may_write(struct vio_pci *p, unsigned off, uint32_t bits,
		      unsigned len)
{
	put(p->writable + off, bits, len);
}

uint16_t vio_pci_config_16(const struct vio_pci *p, unsigned off)
{
	return (uint16_t)get(p, off, 2);
}

/* -- base address registers ---------------------------------------------- */

static bool power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

static void add_bar(struct vio_pci *p, unsigned bar, uint64_t size,
		    uint32_t flags)
{
	unsigned off = VIO_PCI_BAR + 4 * bar;

	p->bar[bar].size = size;
	set(p, off, flags, 4);
	may_write(p, off, (uint32_t)~(size - 1), 4);
	if (flags & VIO_PCI_BAR_64 && !(flags & VIO_PCI_BAR_IO))
		may_write(p, off + 4, (uint32_t)(~(size - 1) >> 32), 4);
}

static bool asleep(const struct vio_pci *p)
{
	return p->config[p->cap_pm + VIO_PCI_PM_CSR] & VIO_PCI_PM_STATE;
}

bool vio_pci_bar_decode(const struct vio_pci *p, unsigned bar, uint64_t *addr)
{
	uint32_t low = get(p, VIO_PCI_BAR + 4 * bar, 4);
	bool io = low & VIO_PCI_BAR_IO;
	uint64_t size = p->bar[bar].size, last = UINT32_MAX;

	*addr = low & ~(io ? VIO_PCI_BAR_IO_FLAGS : VIO_PCI_BAR_MEM_FLAGS);
	if (!io && low & VIO_PCI_BAR_64) {
		*addr |= (uint64_t)get(p, VIO_PCI_BAR + 4 * bar + 4, 4) << 32;
		last = UINT64_MAX;
	}
	if (!size || asleep(p) || !(vio_pci_config_16(p, VIO_PCI_COMMAND) &
				    (io ? VIO_PCI_COMMAND_IO :
					  VIO_PCI_COMMAND_MEM)))
		return false;
	/* Not set yet, or in the middle of asking for the size. */
	return *addr && *addr + (size - 1) != last;
}

static void bars_changed(struct vio_pci *p)
{
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++) {
		struct vio_pci_bar *b = &p->bar[i];
		uint64_t addr;
		bool on = vio_pci_bar_decode(p, i, &addr);

		if (!b->size || (on == b->on && (!on || addr == b->shown)))
			continue;
		/* Away from the old place first. */
		if (b->on && p->ops->bar_changed)
			p->ops->bar_changed(p->ctx, i, b->shown, false);
		b->on = on;
		b->shown = addr;
		if (on && p->ops->bar_changed)
			p->ops->bar_changed(p->ctx, i, addr, true);
	}
}

bool vio_pci_bar_where(const struct vio_pci *p, unsigned bar, uint64_t *addr,
		       uint64_t *size)
{
	if (bar >= VIO_PCI_NR_BARS || !vio_pci_bar_decode(p, bar, addr))
		return false;
	*size = p->bar[bar].size;
	return true;
}

/* -- the list of capabilities -------------------------------------------- */

#define CAPS_BEGIN	0x40u

struct caps {
	struct vio_pci *p;
	unsigned at;		/* next free byte */
	unsigned link;		/* where the next one's offset goes */
	int err;
};

/* Returns its offset; 0 if it does not fit. */
static uint8_t add_cap(struct caps *c, uint8_t id, unsigned len)
{
	unsigned at = c->at;

	if (c->err || len > sizeof(c->p->config) - at) {
		c->err = VIO_E_NOSPC;
		return 0;
	}
	c->p->config[c->link] = (unsigned char)at;
	c->p->config[at] = id;
	c->link = at + 1;
	c->at = at + (len + 3) / 4 * 4;
	return (uint8_t)at;
}

/* pci.device.virtio-structure-pci-capabilities.1: @len is all of it. */
static uint8_t add_virtio(struct caps *c, unsigned type, unsigned bar,
			  uint32_t off, uint32_t size, unsigned len)
{
	uint8_t at = add_cap(c, VIO_PCI_CAP_VENDOR, len);

	if (!at)
		return 0;
	c->p->config[at + VIRTIO_PCI_CAP_LEN] = (unsigned char)len;
	c->p->config[at + VIRTIO_PCI_CAP_CFG_TYPE] = (unsigned char)type;
	c->p->config[at + VIRTIO_PCI_CAP_BAR] = (unsigned char)bar;
	set(c->p, at + VIRTIO_PCI_CAP_OFFSET, off, 4);
	set(c->p, at + VIRTIO_PCI_CAP_LENGTH, size, 4);
	return at;
}

static void add_registers(struct caps *c)
{
	struct vio_pci *p = c->p;
	uint32_t config = (p->dev->config_len + 3) / 4 * 4;
	uint8_t at;

	add_virtio(c, VIRTIO_PCI_CAP_COMMON_CFG, VIO_PCI_BAR_REGS,
		   VIO_PCI_AT_COMMON, VIRTIO_PCI_COMMON_SIZE,
		   VIRTIO_PCI_CAP_SIZE);
	add_virtio(c, VIRTIO_PCI_CAP_ISR_CFG, VIO_PCI_BAR_REGS,
		   VIO_PCI_AT_ISR, 4, VIRTIO_PCI_CAP_SIZE);
	if (config)
		add_virtio(c, VIRTIO_PCI_CAP_DEVICE_CFG, VIO_PCI_BAR_REGS,
			   VIO_PCI_AT_DEVICE, config, VIRTIO_PCI_CAP_SIZE);
	at = add_virtio(c, VIRTIO_PCI_CAP_NOTIFY_CFG, VIO_PCI_BAR_REGS,
			VIO_PCI_AT_NOTIFY,
			p->dev->nr_queues * p->notify_multiplier,
			VIRTIO_PCI_NOTIFY_CAP_SIZE);
	if (at)
		set(p, at + VIRTIO_PCI_NOTIFY_CAP_MULT,
		    p->notify_multiplier, 4);
	at = add_virtio(c, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0,
			VIRTIO_PCI_CFG_CAP_SIZE);
	if (!at)
		return;
	p->cap_cfg = at;
	may_write(p, at + VIRTIO_PCI_CAP_BAR, 0xff, 1);
	may_write(p, at + VIRTIO_PCI_CAP_OFFSET, UINT32_MAX, 4);
	may_write(p, at + VIRTIO_PCI_CAP_LENGTH, UINT32_MAX, 4);
	may_write(p, at + VIRTIO_PCI_CFG_CAP_DATA, UINT32_MAX, 4);
}

static void add_msix(struct caps *c)
{
	uint8_t at = add_cap(c, VIO_PCI_CAP_MSIX, VIO_PCI_MSIX_SIZE);
	struct vio_pci *p = c->p;

	if (!at)
		return;
	p->cap_msix = at;
	/* pci.device.msi-x-vector-configuration.2 */
	set(p, at + VIO_PCI_MSIX_CONTROL, p->nr_vectors - 1u, 2);
	may_write(p, at + VIO_PCI_MSIX_CONTROL,
		  VIO_PCI_MSIX_ENABLE | VIO_PCI_MSIX_MASK_ALL, 2);
	set(p, at + VIO_PCI_MSIX_TABLE, VIO_PCI_BAR_MSIX, 4);
	set(p, at + VIO_PCI_MSIX_PBA, vio_pci_msix_pba(p) | VIO_PCI_BAR_MSIX,
	    4);
	add_bar(p, VIO_PCI_BAR_MSIX, vio_pci_msix_bar_size(p), 0);
}

/* Sleep keeps all state (D3hot without a reset), and a function's reset. */
static void add_power_and_reset(struct caps *c)
{
	uint8_t pm = add_cap(c, VIO_PCI_CAP_PM, VIO_PCI_PM_SIZE);
	uint8_t af = add_cap(c, VIO_PCI_CAP_AF, VIO_PCI_AF_SIZE);
	struct vio_pci *p = c->p;

	if (c->err)
		return;
	p->cap_pm = pm;
	set(p, pm + VIO_PCI_PM_CAPS, 3, 2);	/* version 3 */
	set(p, pm + VIO_PCI_PM_CSR, VIO_PCI_PM_NO_SOFT_RESET, 2);
	may_write(p, pm + VIO_PCI_PM_CSR, VIO_PCI_PM_STATE, 2);
	p->cap_af = af;
	p->config[af + VIO_PCI_AF_LENGTH] = 6;
	p->config[af + VIO_PCI_AF_CAPS] = 3;
}

static bool shm_ok(const struct vio_dev *dev, uint64_t room)
{
	if (dev->nr_shm && (!power_of_two(room) || room < 4096))
		return false;
	for (unsigned i = 0; i < dev->nr_shm; i++) {
		const struct vio_shm *s = &dev->shm[i];

		/* pci.device.shared-memory-capability.1 and .2 */
		if (!s->len || s->base > room || s->len > room - s->base ||
		    vio_dev_shm(dev, s->id) != s)
			return false;
	}
	return true;
}

static void add_shm(struct caps *c, uint64_t room)
{
	const struct vio_dev *dev = c->p->dev;

	for (unsigned i = 0; i < dev->nr_shm; i++) {
		const struct vio_shm *s = &dev->shm[i];
		uint8_t at = add_virtio(c, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
					VIO_PCI_BAR_SHM, (uint32_t)s->base,
					(uint32_t)s->len,
					VIRTIO_PCI_CAP64_SIZE);

		if (!at)
			return;
		c->p->config[at + VIRTIO_PCI_CAP_ID] = s->id;
		set(c->p, at + VIRTIO_PCI_CAP64_OFFSET_HI,
		    (uint32_t)(s->base >> 32), 4);
		set(c->p, at + VIRTIO_PCI_CAP64_LENGTH_HI,
		    (uint32_t)(s->len >> 32), 4);
	}
	if (dev->nr_shm)
		add_bar(c->p, VIO_PCI_BAR_SHM, room,
			VIO_PCI_BAR_64 | VIO_PCI_BAR_PREFETCH);
}

static void add_vendor(struct caps *c, const struct vio_pci_conf *conf)
{
	/* pci.device.vendor-data-capability.2 */
	unsigned len = (VIRTIO_PCI_VNDR_DATA + conf->vendor_len + 3u) & ~3u;
	uint8_t at = add_cap(c, VIO_PCI_CAP_VENDOR, len);

	if (!at)
		return;
	c->p->config[at + VIRTIO_PCI_CAP_LEN] = (unsigned char)len;
	c->p->config[at + VIRTIO_PCI_CAP_CFG_TYPE] =
		VIRTIO_PCI_CAP_VENDOR_CFG;
	set(c->p, at + VIRTIO_PCI_VNDR_VENDOR_ID, conf->vendor_id, 2);
	memcpy(c->p->config + at + VIRTIO_PCI_VNDR_DATA, conf->vendor_data,
	       conf->vendor_len);
}

/* -- the header ---------------------------------------------------------- */

static uint32_t class_of(uint32_t id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000;	/* network, Ethernet */
	case VIRTIO_ID_BLOCK:
		return 0x018000;	/* mass storage, other */
	case VIRTIO_ID_CONSOLE:
		return 0x078000;	/* communication, other */
	default:
		return 0xff0000;	/* none of the classes */
	}
}

static void make_header(struct vio_pci *p, const struct vio_pci_conf *conf)
{
	bool modern = conf->flavour == VIO_PCI_MODERN;
	uint32_t id = p->dev->ops->id;
	uint32_t subsystem = conf->subsystem ? conf->subsystem : 0x40;

	set(p, VIO_PCI_VENDOR, VIRTIO_PCI_VENDOR_ID, 2);
	set(p, VIO_PCI_DEVICE, modern ? VIRTIO_PCI_ID_BASE + id :
	    vio_pci_transitional_id(id), 2);
	may_write(p, VIO_PCI_COMMAND, VIO_PCI_COMMAND_IO |
		  VIO_PCI_COMMAND_MEM | VIO_PCI_COMMAND_MASTER |
		  VIO_PCI_COMMAND_NO_INTX, 2);
	set(p, VIO_PCI_STATUS, VIO_PCI_STATUS_CAPS, 2);
	/* pci.other.legacy-interfaces-pci-device-discovery.1 and .2 */
	p->config[VIO_PCI_REVISION] = modern;
	set(p, VIO_PCI_CLASS, conf->class_code ? conf->class_code :
	    class_of(id), 3);
	may_write(p, VIO_PCI_CACHE_LINE, 0xff, 1);
	set(p, VIO_PCI_SUBSYS_VENDOR, conf->subsystem_vendor ?
	    conf->subsystem_vendor : VIRTIO_PCI_VENDOR_ID, 2);
	set(p, VIO_PCI_SUBSYS, modern ? subsystem : id, 2);
	may_write(p, VIO_PCI_INT_LINE, 0xff, 1);
	p->config[VIO_PCI_INT_PIN] = 1;		/* INTA */
}

static uint64_t regs_size(const struct vio_pci *p)
{
	uint64_t need = VIO_PCI_AT_NOTIFY +
			(uint64_t)p->dev->nr_queues * p->notify_multiplier;
	uint64_t size = 0x4000;

	while (size < need)
		size *= 2;
	return size;
}

int vio_pci_config_init(struct vio_pci *p, const struct vio_pci_conf *conf)
{
	struct caps c = { p, CAPS_BEGIN, VIO_PCI_CAP_PTR, VIO_OK };

	if (!shm_ok(p->dev, conf->shm_bar_size) ||
	    conf->vendor_id == VIRTIO_PCI_VENDOR_ID || conf->vendor_len > 128)
		return VIO_E_INVAL;
	make_header(p, conf);
	if (conf->flavour != VIO_PCI_MODERN)
		add_bar(p, VIO_PCI_BAR_LEGACY, vio_pci_legacy_bar_size(p),
			VIO_PCI_BAR_IO);
	if (p->nr_vectors)
		add_msix(&c);
	if (conf->flavour != VIO_PCI_LEGACY) {
		add_bar(p, VIO_PCI_BAR_REGS, regs_size(p), VIO_PCI_BAR_64);
		add_registers(&c);
	}
	add_power_and_reset(&c);
	add_shm(&c, conf->shm_bar_size);
	if (conf->vendor_id)
		add_vendor(&c, conf);
	return c.err;
}

/* -- accesses ------------------------------------------------------------ */

/* What a driver wrote into the capability that is a window (4.1.4.9). */
static bool window(const struct vio_pci *p, uint32_t *off, uint32_t *len)
{
	*off = get(p, p->cap_cfg + VIRTIO_PCI_CAP_OFFSET, 4);
	*len = get(p, p->cap_cfg + VIRTIO_PCI_CAP_LENGTH, 4);
	/* Of our regions only that of the registers is in a capability. */
	return p->config[p->cap_cfg + VIRTIO_PCI_CAP_BAR] ==
	       VIO_PCI_BAR_REGS &&
	       (*len == 1 || *len == 2 || *len == 4) &&
	       !(*off & (*len - 1));
}

static bool in_window(const struct vio_pci *p, unsigned off, unsigned len)
{
	unsigned data = p->cap_cfg + VIRTIO_PCI_CFG_CAP_DATA;

	return p->cap_cfg && off + len > data && off < data + 4;
}

static void window_read(struct vio_pci *p)
{
	uint32_t off, len;

	if (window(p, &off, &len))
		set(p, p->cap_cfg + VIRTIO_PCI_CFG_CAP_DATA, (uint32_t)
		    vio_pci_bar_read(p, VIO_PCI_BAR_REGS, off, len), len);
}

static void window_write(struct vio_pci *p)
{
	uint32_t off, len;

	if (window(p, &off, &len))
		vio_pci_bar_write(p, VIO_PCI_BAR_REGS, off,
				  get(p, p->cap_cfg + VIRTIO_PCI_CFG_CAP_DATA,
				      len), len);
}

static bool access_ok(unsigned off, unsigned len)
{
	return (len == 1 || len == 2 || len == 4) && !(off & (len - 1)) &&
	       off < sizeof(((struct vio_pci *)0)->config);
}

uint32_t vio_pci_config_read(struct vio_pci *p, unsigned off, unsigned len)
{
	unsigned char *status = &p->config[VIO_PCI_STATUS];

	if (!access_ok(off, len))
		return 0;
	if (in_window(p, off, len))
		window_read(p);
	/* pci.device.isr-status-capability.4 */
	*status &= (unsigned char)~VIO_PCI_STATUS_INTX;
	if (__atomic_load_n(&p->isr, __ATOMIC_SEQ_CST) &&
	    !(__atomic_load_n(&p->irq_mode, __ATOMIC_SEQ_CST) &
	      VIO_PCI_IRQ_MSIX))
		*status |= VIO_PCI_STATUS_INTX;
	p->config[p->cap_af + VIO_PCI_AF_STATUS] = p->dev->resetting;
	return get(p, off, len);
}

/* All that a driver wrote is gone. */
static void function_reset(struct vio_pci *p)
{
	vio_pci_set_status(p, 0);
	for (unsigned i = 0; i < sizeof(p->config); i++)
		p->config[i] &= (unsigned char)~p->writable[i];
	vio_pci_irq_reset(p);
}

/* PCI: D1 and D2 are not ours; who asks for them is heard, and no more. */
static void settle_power(struct vio_pci *p, unsigned char before)
{
	unsigned char *csr = &p->config[p->cap_pm + VIO_PCI_PM_CSR];
	unsigned char now = *csr & VIO_PCI_PM_STATE;

	if (now && now != VIO_PCI_PM_D3HOT)
		*csr = (unsigned char)(*csr ^ now ^ before);
}

void vio_pci_config_write(struct vio_pci *p, unsigned off, uint32_t value,
			  unsigned len)
{
	unsigned char power = p->config[p->cap_pm + VIO_PCI_PM_CSR] &
			      VIO_PCI_PM_STATE;
	bool was_master = p->config[VIO_PCI_COMMAND] & VIO_PCI_COMMAND_MASTER;
	unsigned reset = p->cap_af + VIO_PCI_AF_CONTROL;

	if (!access_ok(off, len))
		return;
	for (unsigned i = 0; i < len; i++) {
		unsigned char may = p->writable[off + i];
		unsigned char v = (unsigned char)(value >> 8 * i);

		p->config[off + i] = (unsigned char)
			((p->config[off + i] & ~may) | (v & may));
	}
	if (in_window(p, off, len)) {
		window_write(p);
		return;
	}
	settle_power(p, power);
	if (off <= reset && off + len > reset &&
	    value >> 8 * (reset - off) & 1)
		function_reset(p);
	bars_changed(p);
	vio_pci_irq_update(p);
	if (was_master || !(p->config[VIO_PCI_COMMAND] &
			    VIO_PCI_COMMAND_MASTER))
		return;
	/* Kicks were not heard so far. */
	for (unsigned i = 0; i < p->dev->nr_queues; i++)
		p->ops->serve(p->ctx, &p->dev->queue[i]);
}
