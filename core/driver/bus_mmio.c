/* SPDX-License-Identifier: MIT */
/*
 * bus_mmio.c - the driver side of the MMIO transport, version 2: what drivers
 * ask of a bus, as register accesses. It knows no device type and no ring.
 */
#include <vireo/spec/mmio.h>
#include "core/base/string.h"
#include "core/driver/bus_mmio.h"

/* Polls of a queue's reset before the device counts as stuck. */
#define PATIENCE	100000

#define get	vio_bus_mmio_get
#define put	vio_bus_mmio_put

int vio_bus_mmio_find(struct vio_bus_mmio *b,
		      const struct vio_mmio_access *access, void *ctx,
		      uint32_t version)
{
	b->access = access;
	b->ctx = ctx;
	b->device_id = 0;
	/* mmio.driver.device-initialization.1 and .2: in this order */
	if (get(b, VIRTIO_MMIO_MAGIC_VALUE) != VIRTIO_MMIO_MAGIC ||
	    get(b, VIRTIO_MMIO_VERSION_REG) != version)
		return VIO_E_UNSUPP;
	b->device_id = get(b, VIRTIO_MMIO_DEVICE_ID);
	return b->device_id ? VIO_OK : VIO_E_AGAIN;
}

int vio_bus_mmio_probe(struct vio_bus_mmio *b,
		       const struct vio_mmio_access *access, void *ctx)
{
	return vio_bus_mmio_find(b, access, ctx, VIRTIO_MMIO_VERSION);
}

uint32_t vio_bus_mmio_interrupt(struct vio_bus_mmio *b)
{
	const uint32_t known = VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG;
	uint32_t what = get(b, VIRTIO_MMIO_INTERRUPT_STATUS) & known;

	/* Before the rings are looked at: what comes later interrupts anew. */
	if (what)
		put(b, VIRTIO_MMIO_INTERRUPT_ACK, what);
	return what;
}

int vio_bus_mmio_get_status(void *bus, uint32_t *status)
{
	*status = get(bus, VIRTIO_MMIO_STATUS);
	return VIO_OK;
}

int vio_bus_mmio_set_status(void *bus, uint32_t status)
{
	put(bus, VIRTIO_MMIO_STATUS, status);
	return VIO_OK;
}

/*
 * QEMU (seen: 7.2) takes every select above 0 for 1. Read, its second word
 * then comes three times; written, the last word written counts.
 */
static int get_features(void *bus, struct vio_features *f)
{
	uint32_t w[4];

	for (uint32_t i = 0; i < 4; i++) {
		put(bus, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		w[i] = get(bus, VIRTIO_MMIO_DEVICE_FEATURES);
	}
	if (w[2] == w[1] && w[3] == w[1])
		w[2] = w[3] = 0;
	f->w[0] = w[0] | (uint64_t)w[1] << 32;
	f->w[1] = w[2] | (uint64_t)w[3] << 32;
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	for (uint32_t i = 4; i-- > 0;) {
		put(bus, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		put(bus, VIRTIO_MMIO_DRIVER_FEATURES,
		    (uint32_t)(f->w[i / 2] >> 32 * (i % 2)));
	}
	return VIO_OK;
}

static int generation(void *bus, uint32_t *g)
{
	*g = get(bus, VIRTIO_MMIO_CONFIG_GENERATION);
	return VIO_OK;
}

/*
 * mmio.driver.mmio-device-register-layout.3: each field by its width, 64-bit
 * ones by two of 32. Fields lie at multiples of their width, so the widest
 * access that offset and length permit never cuts one.
 */
static unsigned width(uint32_t off, uint32_t len)
{
	if (!(off % 4) && len >= 4)
		return 4;
	return !(off % 2) && len >= 2 ? 2 : 1;
}

int vio_bus_mmio_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	const struct vio_bus_mmio *b = bus;
	unsigned char *to = dst;
	unsigned n;

	for (; len; off += n, len -= n) {
		uint32_t v;

		n = width(off, len);
		v = b->access->read(b->ctx, VIRTIO_MMIO_CONFIG + off, n);
		for (unsigned i = 0; i < n; i++)
			*to++ = (unsigned char)(v >> 8 * i);
	}
	return VIO_OK;
}

int vio_bus_mmio_config_write(void *bus, uint32_t off, const void *src,
			      uint32_t len)
{
	const struct vio_bus_mmio *b = bus;
	const unsigned char *from = src;
	unsigned n;

	for (; len; off += n, len -= n) {
		uint32_t v = 0;

		n = width(off, len);
		for (unsigned i = 0; i < n; i++)
			v |= (uint32_t)*from++ << 8 * i;
		b->access->write(b->ctx, VIRTIO_MMIO_CONFIG + off, v, n);
	}
	return VIO_OK;
}

int vio_bus_mmio_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	uint32_t max;

	put(bus, VIRTIO_MMIO_QUEUE_SEL, index);
	max = get(bus, VIRTIO_MMIO_QUEUE_SIZE_MAX);
	*size = (uint16_t)(max < 32768 ? max : 32768);
	return VIO_OK;
}

static void put64(void *bus, uint32_t low, uint64_t v)
{
	put(bus, low, (uint32_t)v);
	put(bus, low + 4, (uint32_t)(v >> 32));
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *l)
{
	put(bus, VIRTIO_MMIO_QUEUE_SEL, index);
	if (get(bus, VIRTIO_MMIO_QUEUE_READY))
		return VIO_E_STATE;
	put(bus, VIRTIO_MMIO_QUEUE_SIZE, l->size);
	put64(bus, VIRTIO_MMIO_QUEUE_DESC_LOW, l->desc.v);
	put64(bus, VIRTIO_MMIO_QUEUE_DRIVER_LOW, l->driver.v);
	put64(bus, VIRTIO_MMIO_QUEUE_DEVICE_LOW, l->device.v);
	put(bus, VIRTIO_MMIO_QUEUE_READY, 1);
	return get(bus, VIRTIO_MMIO_QUEUE_READY) ? VIO_OK : VIO_E_PEER;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	put(bus, VIRTIO_MMIO_QUEUE_NOTIFY, index | (uint32_t)next << 16);
}

static int queue_reset(void *bus, uint16_t index)
{
	struct vio_bus_mmio *b = bus;
	unsigned i;
	int err;

	put(bus, VIRTIO_MMIO_QUEUE_SEL, index);
	/* mmio.driver.mmio-device-register-layout.14 and .15 */
	put(bus, VIRTIO_MMIO_QUEUE_RESET, 1);
	for (i = 0; i < PATIENCE; i++) {
		if (!get(bus, VIRTIO_MMIO_QUEUE_RESET))
			return get(bus, VIRTIO_MMIO_QUEUE_READY) ?
			       VIO_E_PEER : VIO_OK;
		err = b->access->wait(b->ctx);
		if (err)
			return err;
	}
	return VIO_E_IO;
}

static uint64_t get64(void *bus, uint32_t low)
{
	return get(bus, low) | (uint64_t)get(bus, low + 4) << 32;
}

/* 4.2.2: a length of all ones says that there is no such region. */
static int shm(void *bus, uint8_t id, struct vio_shm *shm)
{
	put(bus, VIRTIO_MMIO_SHM_SEL, id);
	shm->id = id;
	shm->len = get64(bus, VIRTIO_MMIO_SHM_LEN_LOW);
	shm->base = get64(bus, VIRTIO_MMIO_SHM_BASE_LOW);
	if (shm->len == UINT64_MAX)
		return VIO_E_UNSUPP;
	return shm->len && shm->len - 1 <= UINT64_MAX - shm->base ?
	       VIO_OK : VIO_E_PEER;
}

int vio_bus_mmio_wait(void *bus, uint16_t index)
{
	struct vio_bus_mmio *b = bus;
	int err = b->access->wait(b->ctx);

	(void)index;
	if (!err)
		vio_bus_mmio_interrupt(b);
	return err;
}

const struct vio_bus_ops vio_bus_mmio_ops = {
	.get_status = vio_bus_mmio_get_status,
	.set_status = vio_bus_mmio_set_status,
	.get_features = get_features,
	.set_features = set_features,
	.generation = generation,
	.config_read = vio_bus_mmio_config_read,
	.config_write = vio_bus_mmio_config_write,
	.queue_max = vio_bus_mmio_queue_max,
	.queue_start = queue_start,
	.notify = notify,
	.wait = vio_bus_mmio_wait,
	.queue_reset = queue_reset,
	.shm = shm,
	.carries = { { 1ull << VIRTIO_F_NOTIFICATION_DATA |
		       1ull << VIRTIO_F_RING_RESET, 0 } },
};
