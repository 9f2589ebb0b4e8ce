/* SPDX-License-Identifier: MIT */
/*
 * mmio_legacy.c - register accesses of the MMIO transport, version 1, become
 * verbs of the device core (standard: 4.2.4). The twin of mmio.c: pages
 * instead of addresses, no FEATURES_OK, features as soon as they are written.
 * It knows no device type and no ring layout.
 */
#include <vireo/mmio_legacy.h>
#include <vireo/spec/mmio.h>
#include <vireo/spec/virtio.h>
#include "core/base/string.h"
#include "core/transport/common_mmio.h"

static struct vio_mmio_legacy_queue *selected(struct vio_mmio_legacy *m)
{
	return m->queue_sel < m->dev->nr_queues ? &m->queue[m->queue_sel] :
						  NULL;
}

static struct vio_queue *selected_queue(struct vio_mmio_legacy *m)
{
	return &m->dev->queue[m->queue_sel];
}

/* -- upcalls ------------------------------------------------------------- */

static void on_notify(void *ctx, struct vio_queue *q)
{
	struct vio_mmio_legacy *m = ctx;

	(void)q;
	vio_mmio_raise(&m->interrupt_status, VIRTIO_MMIO_INT_VRING, &m->line,
		       m->ops, m->ctx);
}

static void on_config_changed(void *ctx)
{
	struct vio_mmio_legacy *m = ctx;

	vio_mmio_raise(&m->interrupt_status, VIRTIO_MMIO_INT_CONFIG, &m->line,
		       m->ops, m->ctx);
}

static void on_ready(void *ctx, struct vio_queue *q)
{
	struct vio_mmio_legacy *m = ctx;

	m->ops->serve(m->ctx, q);
}

static const struct vio_transport_ops transport_ops = {
	.queue_notify = on_notify,
	.queue_ready = on_ready,
	.config_changed = on_config_changed,
};

/* -- queues -------------------------------------------------------------- */

/* split.other.legacy-interfaces-virtqueue-layout.2 */
static int start_at(struct vio_mmio_legacy *m,
		    const struct vio_mmio_legacy_queue *r, uint32_t pfn)
{
	uint64_t at = (uint64_t)pfn * m->page_size;
	struct vio_queue_layout layout;

	if (!m->page_size || m->page_size & (m->page_size - 1) ||
	    r->size > UINT16_MAX ||
	    !vio_legacy_layout(&layout, (uint16_t)r->size, vio_addr_of(at),
			       r->align))
		return VIO_E_INVAL;
	return vio_queue_start(selected_queue(m), m->mem, &layout,
			       VIO_QUEUE_NEW_SPLIT, VIO_QUEUE_NEW_SPLIT);
}

static void queue_start(struct vio_mmio_legacy *m,
			struct vio_mmio_legacy_queue *r, uint32_t pfn)
{
	if (r->pfn)
		return;
	if (start_at(m, r, pfn) != VIO_OK) {
		vio_dev_log(m->dev, VIO_LOG_ERROR, "driver sets up a queue "
			    "that cannot be: size, alignment, page or its "
			    "size",
			    (const struct vio_named[]){
				{ "queue", m->queue_sel }, { "size", r->size },
				{ "align", r->align }, { "pfn", pfn },
				{ "page_size", m->page_size } }, 5);
		vio_dev_needs_reset(m->dev);
		return;
	}
	r->pfn = pfn;
	/* Buffers may be there already, and the kick have come too early. */
	m->ops->serve(m->ctx, selected_queue(m));
}

static void queue_stop(struct vio_mmio_legacy *m,
		       struct vio_mmio_legacy_queue *r)
{
	if (r->pfn)
		vio_queue_stop(selected_queue(m));
	r->pfn = 0;
}

/* -- status and features ------------------------------------------------- */

static void reset_registers(struct vio_mmio_legacy *m)
{
	memset(m->queue, 0, m->dev->nr_queues * sizeof(*m->queue));
	m->host_features_sel = 0;
	m->guest_features_sel = 0;
	m->queue_sel = 0;
}

static void set_status(struct vio_mmio_legacy *m, uint32_t status)
{
	if (!status) {
		reset_registers(m);
		vio_dev_set_status(m->dev, 0);
		vio_mmio_ack(&m->interrupt_status, ~(uint32_t)0, &m->line,
			     m->ops, m->ctx);
		return;
	}
	/* There is no such bit in this interface. */
	vio_dev_set_status(m->dev, status &
			   ~(uint32_t)VIRTIO_STATUS_FEATURES_OK);
}

/*
 * They count from now on: queues may be used before DRIVER_OK. A driver that
 * asks for what was not offered cannot be told so, and does not get it.
 */
static void set_features(struct vio_mmio_legacy *m, uint32_t v)
{
	struct vio_features f = { { v & m->dev->offered.w[0], 0 } };

	if (m->guest_features_sel)
		return;
	if (vio_dev_status(m->dev) & VIRTIO_STATUS_DRIVER_OK)
		return;
	vio_dev_set_features(m->dev, &f);
}

/* -- accesses ------------------------------------------------------------ */

static uint32_t read_queue(struct vio_mmio_legacy *m, uint64_t off)
{
	struct vio_mmio_legacy_queue *r = selected(m);

	if (!r)
		return 0;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_SIZE_MAX:
		return selected_queue(m)->limits.size_max;
	case VIRTIO_MMIO_QUEUE_PFN:
		return r->pfn;
	default:
		return 0;
	}
}

static uint32_t read_register(struct vio_mmio_legacy *m, uint64_t off)
{
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION_REG:
		return VIRTIO_MMIO_VERSION_LEGACY;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return m->vendor_id;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return m->host_features_sel ? 0 :
		       (uint32_t)m->dev->offered.w[0];
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&m->interrupt_status,
				       __ATOMIC_ACQUIRE);
	case VIRTIO_MMIO_STATUS:
		return vio_dev_status(m->dev);
	default:
		return read_queue(m, off);
	}
}

uint64_t vio_mmio_legacy_read(struct vio_mmio_legacy *m, uint64_t off,
			      unsigned len)
{
	if (!vio_mmio_width_ok(len) || off > UINT32_MAX)
		return 0;
	if (off >= VIRTIO_MMIO_CONFIG)
		return vio_mmio_config_read(m->dev, off - VIRTIO_MMIO_CONFIG,
					    len);
	return len == 4 && !(off % 4) ? read_register(m, off) : 0;
}

static void write_queue(struct vio_mmio_legacy *m, uint64_t off, uint32_t v)
{
	struct vio_mmio_legacy_queue *r = selected(m);

	if (!r)
		return;
	if (off == VIRTIO_MMIO_QUEUE_PFN && v)
		queue_start(m, r, v);
	else if (off == VIRTIO_MMIO_QUEUE_PFN)
		queue_stop(m, r);
	else if (off == VIRTIO_MMIO_QUEUE_SIZE && !r->pfn)
		r->size = v;
	else if (off == VIRTIO_MMIO_QUEUE_ALIGN && !r->pfn)
		r->align = v;
}

static void write_register(struct vio_mmio_legacy *m, uint64_t off,
			   uint32_t v)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->host_features_sel = v;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		set_features(m, v);
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->guest_features_sel = v;
		return;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		m->page_size = v;
		return;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = v;
		return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (v < m->dev->nr_queues)
			m->ops->serve(m->ctx, &m->dev->queue[v]);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		vio_mmio_ack(&m->interrupt_status, v, &m->line, m->ops,
			     m->ctx);
		return;
	case VIRTIO_MMIO_STATUS:
		set_status(m, v);
		return;
	default:
		write_queue(m, off, v);
	}
}

void vio_mmio_legacy_write(struct vio_mmio_legacy *m, uint64_t off,
			   uint64_t value, unsigned len)
{
	if (!vio_mmio_width_ok(len) || off > UINT32_MAX)
		return;
	if (off >= VIRTIO_MMIO_CONFIG)
		vio_mmio_config_write(m->dev, off - VIRTIO_MMIO_CONFIG, value,
				      len);
	else if (len == 4 && !(off % 4))
		write_register(m, off, (uint32_t)value);
}

void vio_mmio_legacy_init(struct vio_mmio_legacy *m, struct vio_dev *dev,
			  struct vio_mem *mem,
			  struct vio_mmio_legacy_queue *queue,
			  const struct vio_mmio_ops *ops, void *ctx,
			  const struct vio_log *log)
{
	*m = (struct vio_mmio_legacy){
		.dev = dev, .mem = mem, .ops = ops, .ctx = ctx,
		.queue = queue,
	};
	reset_registers(m);
	vio_dev_transitional(dev);
	vio_dev_attach(dev, &transport_ops, m, log);
}
