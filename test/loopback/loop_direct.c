/* SPDX-License-Identifier: MIT */
/* The bus that is no bus: it calls the verbs of the device. */
#include "loop.h"

const bool loop_legacy = false;
const bool loop_narrow = false;

static void up_notify(void *ctx, struct vio_queue *q)
{
	struct loop *l = ctx;

	l->notified[q->index] = true;
}

static void up_ready(void *ctx, struct vio_queue *q)
{
	struct loop *l = ctx;

	l->kicked[q->index] = true;
}

static void up_config(void *ctx)
{
	struct loop *l = ctx;

	l->config_changes++;
}

unsigned loop_config_changes(struct loop *l)
{
	return l->config_changes;
}

static const struct vio_transport_ops transport = {
	.queue_notify = up_notify,
	.queue_ready = up_ready,
	.config_changed = up_config,
};

void loop_attach(struct loop *l, struct vio_dev *dev)
{
	loop_adopt(l, dev);
	vio_dev_attach(dev, &transport, l, &l->log);
}

static int bus_get_status(void *bus, uint32_t *status)
{
	struct loop *l = bus;

	*status = vio_dev_status(l->dev);
	return VIO_OK;
}

static int bus_set_status(void *bus, uint32_t status)
{
	struct loop *l = bus;
	bool start = status & VIRTIO_STATUS_DRIVER_OK;
	uint16_t base = vio_dev_has(l->dev, VIRTIO_F_RING_PACKED) ?
			VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;
	unsigned i;

	if (!status) {
		memset(l->started, 0, sizeof(l->started));
		memset(l->kicked, 0, sizeof(l->kicked));
		memset(l->notified, 0, sizeof(l->notified));
		memset(l->layout, 0, sizeof(l->layout));
	}
	vio_dev_set_status(l->dev, status);
	for (i = 0; start && i < l->dev->nr_queues; i++) {
		if (!l->layout[i].size || l->started[i])
			continue;
		CHECK_EQ(vio_queue_start(&l->queue[i], &l->mem, &l->layout[i],
					 base, base), VIO_OK);
		l->started[i] = true;
		/* A ring may hold buffers before anyone kicks. */
		l->kicked[i] = true;
	}
	return VIO_OK;
}

static int bus_get_features(void *bus, struct vio_features *f)
{
	struct loop *l = bus;

	*f = *vio_dev_offered(l->dev);
	return VIO_OK;
}

static int bus_set_features(void *bus, const struct vio_features *f)
{
	struct loop *l = bus;

	return vio_dev_set_features(l->dev, f);
}

static int bus_generation(void *bus, uint32_t *generation)
{
	struct loop *l = bus;

	*generation = l->dev->generation;
	return VIO_OK;
}

static int bus_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct loop *l = bus;

	vio_dev_config_read(l->dev, off, dst, len);
	return VIO_OK;
}

static int bus_config_write(void *bus, uint32_t off, const void *src,
			    uint32_t len)
{
	struct loop *l = bus;

	return vio_dev_config_write(l->dev, off, src, len);
}

static int bus_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	struct loop *l = bus;

	*size = index < l->dev->nr_queues ? l->limits.size_max : 0;
	return VIO_OK;
}

static int bus_queue_start(void *bus, uint16_t index,
			   const struct vio_queue_layout *layout)
{
	struct loop *l = bus;

	l->layout[index] = *layout;
	return VIO_OK;
}

static void bus_notify(void *bus, uint16_t index, uint16_t next)
{
	struct loop *l = bus;

	(void)next;
	/* core.driver.device-initialization.6 */
	CHECK(l->early ||
	      vio_dev_status(l->dev) & VIRTIO_STATUS_DRIVER_OK);
	l->kicked[index] = true;
}

static int bus_wait(void *bus, uint16_t index)
{
	struct loop *l = bus;

	if (!(vio_dev_status(l->dev) & VIRTIO_STATUS_DRIVER_OK) ||
	    l->dev->resetting)
		return loop_step(l) ? VIO_OK : VIO_E_IO;
	while (!l->notified[index])
		if (!loop_step(l))
			return VIO_E_IO;
	l->notified[index] = false;
	return VIO_OK;
}

struct vio_bus_ops loop_bus = {
	.get_status = bus_get_status,
	.set_status = bus_set_status,
	.get_features = bus_get_features,
	.set_features = bus_set_features,
	.generation = bus_generation,
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.queue_max = bus_queue_max,
	.queue_start = bus_queue_start,
	.notify = bus_notify,
	.wait = bus_wait,
};
