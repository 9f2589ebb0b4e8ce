/* SPDX-License-Identifier: MIT */
/*
 * bus_pci.c - the driver side of the PCI transport (standard: 4.1.4): what
 * drivers ask of a bus, as accesses to the common configuration and the other
 * structures. It knows no device type and no ring, and not how the structures
 * were found.
 */
#include "core/driver/bus_pci.h"
#include "core/base/string.h"

/* Polls of a queue's reset before the device counts as stuck. */
#define PATIENCE	100000

#define C(field)	VIRTIO_PCI_COMMON_##field

static uint32_t get(const struct vio_bus_pci *b, unsigned off, unsigned len)
{
	return vio_bus_pci_read(b, &b->common, off, len);
}

static void put(const struct vio_bus_pci *b, unsigned off, uint32_t v,
		unsigned len)
{
	vio_bus_pci_write(b, &b->common, off, v, len);
}

/* -- status and features ------------------------------------------------- */

static int get_status(void *bus, uint32_t *status)
{
	*status = get(bus, C(DEVICE_STATUS), 1);
	return VIO_OK;
}

static int set_status(void *bus, uint32_t status)
{
	put(bus, C(DEVICE_STATUS), status, 1);
	return VIO_OK;
}

static int get_features(void *bus, struct vio_features *f)
{
	const struct vio_bus_pci *b = bus;
	uint32_t w[4];

	for (uint32_t i = 0; i < 4; i++) {
		put(b, C(DEVICE_FEATURE_SELECT), i, 4);
		w[i] = get(b, C(DEVICE_FEATURE), 4);
	}
	f->w[0] = w[0] | (uint64_t)w[1] << 32;
	f->w[1] = w[2] | (uint64_t)w[3] << 32;
	/* A structure that ends before their registers does not have them. */
	if (b->common.len < C(QUEUE_NOTIF_CONFIG_DATA) + 2)
		vio_feature_clear(f, VIRTIO_F_NOTIF_CONFIG_DATA);
	if (b->common.len < C(QUEUE_RESET) + 2)
		vio_feature_clear(f, VIRTIO_F_RING_RESET);
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	struct vio_bus_pci *b = bus;

	for (uint32_t i = 0; i < 4; i++) {
		put(b, C(DRIVER_FEATURE_SELECT), i, 4);
		put(b, C(DRIVER_FEATURE),
		    (uint32_t)(f->w[i / 2] >> 32 * (i % 2)), 4);
	}
	b->wide = vio_has(f, VIRTIO_F_NOTIFICATION_DATA);
	b->config_data = vio_has(f, VIRTIO_F_NOTIF_CONFIG_DATA);
	/* The reset unmapped it. */
	return vio_bus_pci_map(b, C(CONFIG_MSIX_VECTOR), 0);
}

/* -- the device's own configuration -------------------------------------- */

static int generation(void *bus, uint32_t *g)
{
	*g = get(bus, C(CONFIG_GENERATION), 1);
	return VIO_OK;
}

/*
 * pci.driver.pci-device-layout.1: each field by its width, 64-bit ones by two
 * of 32. Fields lie at multiples of their width, so the widest access that
 * offset and length permit never cuts one.
 */
static unsigned width(uint32_t off, uint32_t len)
{
	if (!(off % 4) && len >= 4)
		return 4;
	return !(off % 2) && len >= 2 ? 2 : 1;
}

/* Fields that the device does not have read as 0: features say which count. */
static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	const struct vio_bus_pci *b = bus;
	unsigned char *to = dst;
	unsigned n;

	for (; len; off += n, len -= n) {
		uint32_t v = 0;

		n = width(off, len);
		if (off <= b->device.len && n <= b->device.len - off)
			v = vio_bus_pci_read(b, &b->device, off, n);
		for (unsigned i = 0; i < n; i++)
			*to++ = (unsigned char)(v >> 8 * i);
	}
	return VIO_OK;
}

static int config_write(void *bus, uint32_t off, const void *src, uint32_t len)
{
	const struct vio_bus_pci *b = bus;
	const unsigned char *from = src;
	unsigned n;

	if (off > b->device.len || len > b->device.len - off)
		return VIO_E_RANGE;
	for (; len; off += n, len -= n) {
		uint32_t v = 0;

		n = width(off, len);
		for (unsigned i = 0; i < n; i++)
			v |= (uint32_t)*from++ << 8 * i;
		vio_bus_pci_write(b, &b->device, off, v, n);
	}
	return VIO_OK;
}

/* -- queues -------------------------------------------------------------- */

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	uint32_t max = 0;

	if (index < VIO_BUS_PCI_QUEUES) {
		put(bus, C(QUEUE_SELECT), index, 2);
		max = get(bus, C(QUEUE_SIZE), 2);
	}
	*size = (uint16_t)(max < 32768 ? max : 32768);
	return VIO_OK;
}

static void put64(void *bus, unsigned off, uint64_t v)
{
	put(bus, off, (uint32_t)v, 4);
	put(bus, off + 4, (uint32_t)(v >> 32), 4);
}

/* Where and with what it is notified; false if that is not in its place. */
static bool find_notify(struct vio_bus_pci *b, uint16_t index)
{
	struct vio_bus_pci_queue *q = &b->queue[index];
	uint64_t off = (uint64_t)get(b, C(QUEUE_NOTIFY_OFF), 2) *
		       b->notify_multiplier;
	unsigned len = b->wide ? 4 : 2;

	if (len > b->notify.len || off > b->notify.len - len ||
	    (off + b->notify.addr) & (len - 1))
		return false;
	q->at = b->notify.addr + off;
	q->data = b->config_data ?
		  (uint16_t)get(b, C(QUEUE_NOTIF_CONFIG_DATA), 2) : index;
	return true;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *l)
{
	struct vio_bus_pci *b = bus;
	int err;

	if (index >= VIO_BUS_PCI_QUEUES)
		return VIO_E_UNSUPP;
	put(b, C(QUEUE_SELECT), index, 2);
	if (get(b, C(QUEUE_ENABLE), 2))
		return VIO_E_STATE;
	if (!find_notify(b, index))
		return VIO_E_PEER;
	err = vio_bus_pci_map(b, C(QUEUE_MSIX_VECTOR),
			 vio_bus_pci_vector(b, index));
	if (err)
		return err;
	put(b, C(QUEUE_SIZE), l->size, 2);
	put64(b, C(QUEUE_DESC), l->desc.v);
	put64(b, C(QUEUE_DRIVER), l->driver.v);
	put64(b, C(QUEUE_DEVICE), l->device.v);
	/* pci.driver.common-configuration-structure-layout.4: last */
	put(b, C(QUEUE_ENABLE), 1, 2);
	return get(b, C(QUEUE_ENABLE), 2) ? VIO_OK : VIO_E_PEER;
}

static int queue_reset(void *bus, uint16_t index)
{
	struct vio_bus_pci *b = bus;
	unsigned i;
	int err;

	put(b, C(QUEUE_SELECT), index, 2);
	put(b, C(QUEUE_RESET), 1, 2);
	/* pci.driver.common-configuration-structure-layout.7 */
	for (i = 0; i < PATIENCE; i++) {
		if (!get(b, C(QUEUE_RESET), 2))
			return get(b, C(QUEUE_ENABLE), 2) ? VIO_E_PEER :
							    VIO_OK;
		err = b->machine->wait(b->ctx);
		if (err)
			return err;
	}
	return VIO_E_IO;
}

/* pci.driver.available-buffer-notifications.1 to .6 */
static void notify(void *bus, uint16_t index, uint16_t next)
{
	const struct vio_bus_pci *b = bus;
	const struct vio_bus_pci_queue *q = &b->queue[index];
	uint32_t v = q->data;

	if (b->wide)
		v |= (uint32_t)next << 16;
	b->machine->write(b->ctx, b->notify.space, q->at, v, b->wide ? 4 : 2);
}

int vio_bus_pci_wait(void *bus, uint16_t index)
{
	struct vio_bus_pci *b = bus;
	int err = b->machine->wait(b->ctx);

	(void)index;
	if (!err && b->line)
		vio_bus_pci_interrupt(b);
	return err;
}

const struct vio_bus_ops vio_bus_pci_ops = {
	.get_status = get_status,
	.set_status = set_status,
	.get_features = get_features,
	.set_features = set_features,
	.generation = generation,
	.config_read = config_read,
	.config_write = config_write,
	.queue_max = queue_max,
	.queue_start = queue_start,
	.notify = notify,
	.wait = vio_bus_pci_wait,
	.queue_reset = queue_reset,
	.shm = vio_bus_pci_shm,
	.carries = { { 1ull << VIRTIO_F_NOTIFICATION_DATA |
		       1ull << VIRTIO_F_NOTIF_CONFIG_DATA |
		       1ull << VIRTIO_F_RING_RESET, 0 } },
};
