/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - register accesses of the MMIO transport, version 2, become verbs
 * of the device core (standard: 4.2.2). It knows no device type and no ring
 * layout.
 */
#include <vireo/spec/mmio.h>
#include <vireo/spec/virtio.h>
#include "core/base/string.h"
#include "core/transport/common_mmio.h"

static struct vio_mmio_queue *selected(struct vio_mmio *m)
{
	return m->queue_sel < m->dev->nr_queues ? &m->queue[m->queue_sel] :
						  NULL;
}

static struct vio_queue *selected_queue(struct vio_mmio *m)
{
	return &m->dev->queue[m->queue_sel];
}

/* -- interrupts ---------------------------------------------------------- */

static void raise_event(struct vio_mmio *m, uint32_t bit)
{
	vio_mmio_raise(&m->interrupt_status, bit, &m->line, m->ops, m->ctx);
}

static void acknowledge(struct vio_mmio *m, uint32_t bits)
{
	vio_mmio_ack(&m->interrupt_status, bits, &m->line, m->ops, m->ctx);
}

static void on_notify(void *ctx, struct vio_queue *q)
{
	(void)q;
	raise_event(ctx, VIRTIO_MMIO_INT_VRING);
}

static void on_config_changed(void *ctx)
{
	raise_event(ctx, VIRTIO_MMIO_INT_CONFIG);
}

static void on_ready(void *ctx, struct vio_queue *q)
{
	struct vio_mmio *m = ctx;

	m->ops->serve(m->ctx, q);
}

static const struct vio_transport_ops transport_ops = {
	.queue_notify = on_notify,
	.queue_ready = on_ready,
	.config_changed = on_config_changed,
};

/* -- queues -------------------------------------------------------------- */

static void queue_start(struct vio_mmio *m, struct vio_mmio_queue *r)
{
	uint16_t base = vio_dev_has(m->dev, VIRTIO_F_RING_PACKED) ?
			VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;
	const struct vio_queue_layout layout = {
		r->size, { r->desc }, { r->driver }, { r->device } };
	int err;

	if (r->ready)
		return;
	err = vio_queue_start(selected_queue(m), m->mem, &layout, base, base);
	if (err) {
		vio_dev_log(m->dev, VIO_LOG_ERROR, "driver enables a queue "
			    "that cannot be: size, alignment or address",
			    (const struct vio_named[]){
				{ "queue", m->queue_sel }, { "size", r->size },
				{ "desc", r->desc }, { "driver", r->driver },
				{ "device", r->device } }, 5);
		vio_dev_needs_reset(m->dev);
		return;
	}
	r->ready = true;
	r->resetting = false;
	/* Buffers may be there already, and the kick have come too early. */
	m->ops->serve(m->ctx, selected_queue(m));
}

static void queue_stop(struct vio_mmio *m, struct vio_mmio_queue *r)
{
	if (!r->ready)
		return;
	vio_queue_stop(selected_queue(m));
	r->ready = false;
}

/* Requests in flight still hold the ring: it is ready until they are done. */
static bool queue_busy(struct vio_mmio *m)
{
	return selected_queue(m)->inflight != 0;
}

/* mmio.device.mmio-device-register-layout.10: 2.6.1 for one queue. */
static void queue_reset(struct vio_mmio *m, struct vio_mmio_queue *r)
{
	if (!vio_dev_has(m->dev, VIRTIO_F_RING_RESET) || !r->ready)
		return;
	queue_stop(m, r);
	r->resetting = true;
}

static void notify(struct vio_mmio *m, uint32_t value)
{
	bool data = vio_dev_has(m->dev, VIRTIO_F_NOTIFICATION_DATA);
	uint32_t index = data ? value & 0xffff : value;

	if (index >= m->dev->nr_queues)
		return;
	if (data)
		vio_dev_notified(m->dev, value, &m->queue[index].next);
	m->ops->serve(m->ctx, &m->dev->queue[index]);
}

/* -- status and features ------------------------------------------------- */

static void reset_registers(struct vio_mmio *m)
{
	memset(m->queue, 0, m->dev->nr_queues * sizeof(*m->queue));
	m->driver = (struct vio_features){ { 0, 0 } };
	m->device_features_sel = 0;
	m->driver_features_sel = 0;
	m->queue_sel = 0;
	m->shm_sel = 0;
}

static void set_status(struct vio_mmio *m, uint32_t status)
{
	uint32_t fresh = status & ~vio_dev_status(m->dev);

	if (!status) {
		reset_registers(m);
		vio_dev_set_status(m->dev, 0);
		/* mmio.device.mmio-device-register-layout.5 */
		acknowledge(m, ~(uint32_t)0);
		return;
	}
	/* A set that was not offered is refused by leaving the bit clear. */
	if ((fresh & VIRTIO_STATUS_FEATURES_OK) &&
	    vio_dev_set_features(m->dev, &m->driver) != VIO_OK)
		status &= ~(uint32_t)VIRTIO_STATUS_FEATURES_OK;
	vio_dev_set_status(m->dev, status);
}

/* 32 bits of a feature set; those beyond it read as 0. */
static uint32_t features_word(const struct vio_features *f, uint32_t sel)
{
	return sel < 4 ? (uint32_t)(f->w[sel / 2] >> 32 * (sel % 2)) : 0;
}

static void set_features_word(struct vio_features *f, uint32_t sel, uint32_t v)
{
	unsigned shift = 32 * (sel % 2);

	if (sel >= 4)
		return;
	f->w[sel / 2] &= ~((uint64_t)UINT32_MAX << shift);
	f->w[sel / 2] |= (uint64_t)v << shift;
}

/* -- accesses ------------------------------------------------------------ */

static uint32_t read_queue(struct vio_mmio *m, uint64_t off)
{
	struct vio_mmio_queue *r = selected(m);

	if (!r)
		return 0;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_SIZE_MAX:
		return selected_queue(m)->limits.size_max;
	case VIRTIO_MMIO_QUEUE_READY:
		return r->ready || (!r->resetting && queue_busy(m));
	case VIRTIO_MMIO_QUEUE_RESET:
		/* 1 as long as it takes, then 0 for good */
		r->resetting = r->resetting && queue_busy(m);
		return r->resetting;
	default:
		return 0;
	}
}

/* 4.2.2: all ones where there is no such region. */
static uint32_t read_shm(const struct vio_mmio *m, uint64_t off)
{
	const struct vio_shm *shm = vio_dev_shm(m->dev, m->shm_sel);

	if (!shm)
		return UINT32_MAX;
	switch (off) {
	case VIRTIO_MMIO_SHM_LEN_LOW:
		return (uint32_t)shm->len;
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return (uint32_t)(shm->len >> 32);
	case VIRTIO_MMIO_SHM_BASE_LOW:
		return (uint32_t)shm->base;
	default:
		return (uint32_t)(shm->base >> 32);
	}
}

static uint32_t read_register(struct vio_mmio *m, uint64_t off)
{
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION_REG:
		return VIRTIO_MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return m->vendor_id;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return features_word(&m->dev->offered,
				     m->device_features_sel);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&m->interrupt_status,
				       __ATOMIC_ACQUIRE);
	case VIRTIO_MMIO_STATUS:
		return vio_dev_status(m->dev);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return read_shm(m, off);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return __atomic_load_n(&m->dev->generation, __ATOMIC_ACQUIRE);
	default:
		return read_queue(m, off);
	}
}

uint64_t vio_mmio_read(struct vio_mmio *m, uint64_t off, unsigned len)
{
	if (!vio_mmio_width_ok(len) || off > UINT32_MAX)
		return 0;
	if (off >= VIRTIO_MMIO_CONFIG)
		return vio_mmio_config_read(m->dev, off - VIRTIO_MMIO_CONFIG,
					    len);
	return len == 4 && !(off % 4) ? read_register(m, off) : 0;
}

static void set_half(uint64_t *v, uint32_t half, bool high)
{
	*v = high ? (*v & UINT32_MAX) | (uint64_t)half << 32 :
		    (*v & ~(uint64_t)UINT32_MAX) | half;
}

/* Where and how long the ring is: fixed while it is ready. */
static void write_layout(struct vio_mmio_queue *r, uint64_t off, uint32_t v)
{
	if (r->ready)
		return;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_SIZE:
		/* One that does not fit is refused when it is enabled. */
		r->size = v <= UINT16_MAX ? (uint16_t)v : 0;
		return;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&r->desc, v, off == VIRTIO_MMIO_QUEUE_DESC_HIGH);
		return;
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		set_half(&r->driver, v, off == VIRTIO_MMIO_QUEUE_DRIVER_HIGH);
		return;
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		set_half(&r->device, v, off == VIRTIO_MMIO_QUEUE_DEVICE_HIGH);
		return;
	default:
		return;
	}
}

static void write_queue(struct vio_mmio *m, uint64_t off, uint32_t v)
{
	struct vio_mmio_queue *r = selected(m);

	if (!r)
		return;
	if (off == VIRTIO_MMIO_QUEUE_READY && v)
		queue_start(m, r);
	else if (off == VIRTIO_MMIO_QUEUE_READY)
		queue_stop(m, r);
	else if (off == VIRTIO_MMIO_QUEUE_RESET && v == 1)
		queue_reset(m, r);
	else
		write_layout(r, off, v);
}

static void write_register(struct vio_mmio *m, uint64_t off, uint32_t v)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_features_sel = v;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		set_features_word(&m->driver, m->driver_features_sel, v);
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_features_sel = v;
		return;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = v;
		return;
	case VIRTIO_MMIO_SHM_SEL:
		m->shm_sel = v;
		return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify(m, v);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		acknowledge(m, v);
		return;
	case VIRTIO_MMIO_STATUS:
		set_status(m, v);
		return;
	default:
		write_queue(m, off, v);
	}
}

void vio_mmio_write(struct vio_mmio *m, uint64_t off, uint64_t value,
		    unsigned len)
{
	if (!vio_mmio_width_ok(len) || off > UINT32_MAX)
		return;
	if (off >= VIRTIO_MMIO_CONFIG)
		vio_mmio_config_write(m->dev, off - VIRTIO_MMIO_CONFIG, value,
				      len);
	else if (len == 4 && !(off % 4))
		write_register(m, off, (uint32_t)value);
}

void vio_mmio_init(struct vio_mmio *m, struct vio_dev *dev,
		   struct vio_mem *mem, struct vio_mmio_queue *queue,
		   const struct vio_mmio_ops *ops, void *ctx,
		   const struct vio_log *log)
{
	*m = (struct vio_mmio){
		.dev = dev, .mem = mem, .ops = ops, .ctx = ctx,
		.queue = queue,
	};
	reset_registers(m);
	vio_feature_set(&dev->offered, VIRTIO_F_RING_RESET);
	vio_feature_set(&dev->offered, VIRTIO_F_NOTIFICATION_DATA);
	vio_dev_suspendable(dev);
	vio_dev_attach(dev, &transport_ops, m, log);
}
