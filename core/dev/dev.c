/* SPDX-License-Identifier: MIT */
/*
 * dev.c - what every device does alike: feature negotiation, the status
 * machine, configuration space, servicing of queues. It knows no device type,
 * no ring layout and no transport.
 */
#include <vireo/dev.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/virtio.h>
#include "core/base/shared64.h"
#include "core/base/string.h"

/* -- what the queues tell ------------------------------------------------ */

static void queue_notify(struct vio_queue *q)
{
	/* A reset that waits for requests in flight cleared interrupts when
	 * it began; nobody would take these back. */
	if (vio_unlikely(q->dev->resetting))
		return;
	if (q->dev->ops->moderate && q->dev->ops->moderate(q->dev, q)) {
		q->withheld = true;
		return;
	}
	q->dev->transport->queue_notify(q->dev->transport_ctx, q);
}

static void queue_broken(struct vio_queue *q)
{
	vio_dev_needs_reset(q->dev);
}

static void queue_stopping(struct vio_queue *q)
{
	if (q->dev->ops->queue_stop)
		q->dev->ops->queue_stop(q->dev, q);
}

static void suspend_when_idle(struct vio_dev *dev);

static void queue_quiesced(struct vio_queue *q)
{
	if (q->dev->resetting)
		vio_dev_reset(q->dev);
	else if (q->dev->suspending)
		suspend_when_idle(q->dev);
}

static void queue_log(struct vio_queue *q, enum vio_log_level level,
		      const char *text, const struct vio_named *v, unsigned nr)
{
	vio_dev_log(q->dev, level, text, v, nr);
}

static const struct vio_queue_owner queue_owner = {
	.notify = queue_notify,
	.broken = queue_broken,
	.stopping = queue_stopping,
	.quiesced = queue_quiesced,
	.log = queue_log,
};

/* -- life cycle ---------------------------------------------------------- */

void vio_dev_init(struct vio_dev *dev, const struct vio_dev_ops *ops,
		  const struct vio_features *offered,
		  struct vio_queue *queue, uint16_t nr_queues,
		  void *config, uint32_t config_len)
{
	*dev = (struct vio_dev){
		.ops = ops, .offered = *offered,
		.queue = queue, .nr_queues = nr_queues,
		.config = config, .config_len = config_len,
	};
	dev->guest_big = VIO_MACHINE_BIG;
	vio_feature_set(&dev->offered, VIRTIO_F_VERSION_1);
	vio_feature_set(&dev->offered, VIRTIO_F_INDIRECT_DESC);
	vio_feature_set(&dev->offered, VIRTIO_F_EVENT_IDX);
	vio_feature_set(&dev->offered, VIRTIO_F_ORDER_PLATFORM);
#ifndef VIO_NO_PACKED
	vio_feature_set(&dev->offered, VIRTIO_F_RING_PACKED);
#endif
	for (unsigned i = 0; i < nr_queues; i++) {
		queue[i].dev = dev;
		queue[i].owner = &queue_owner;
		queue[i].features = &dev->driver;
	}
}

void vio_dev_attach(struct vio_dev *dev, const struct vio_transport_ops *ops,
		    void *ctx, const struct vio_log *log)
{
	dev->transport = ops;
	dev->transport_ctx = ctx;
	dev->log = log ? *log : (struct vio_log){ 0 };
}

void vio_dev_set_guest_endian(struct vio_dev *dev, bool big)
{
	dev->guest_big = big;
	for (unsigned i = 0; i < dev->nr_queues; i++)
		vio_queue_set_endian(&dev->queue[i], big);
}

void vio_dev_log(const struct vio_dev *dev, enum vio_log_level level,
		 const char *text, const struct vio_named *v, unsigned nr)
{
	if (dev->log.fn)
		dev->log.fn(dev->log.ctx, level, text, v, nr);
}

/* -- status -------------------------------------------------------------- */

uint32_t vio_dev_status(const struct vio_dev *dev)
{
	return __atomic_load_n(&dev->status, __ATOMIC_ACQUIRE);
}

static void status_or(struct vio_dev *dev, uint32_t bits)
{
	__atomic_fetch_or(&dev->status, bits, __ATOMIC_ACQ_REL);
}

int vio_dev_reset(struct vio_dev *dev)
{
	unsigned inflight = 0;

	/* core.device.device-reset: no interaction with queues afterwards. */
	dev->resetting = true;
	dev->suspending = false;
	for (unsigned i = 0; i < dev->nr_queues; i++) {
		struct vio_queue *q = &dev->queue[i];

		/* One that sleeps is not to be woken in another life. */
		q->resume = NULL;
		inflight += q->state == VIO_QUEUE_STOPPED ? q->inflight :
							    vio_queue_stop(q);
	}
	if (inflight)
		return VIO_E_AGAIN;
	dev->resetting = false;
	dev->changed_meanwhile = false;
	dev->driver = (struct vio_features){ { 0, 0 } };
	if (dev->ops->reset)
		dev->ops->reset(dev);
	/* core.device.device-status-field: reads 0 once the reset is done. */
	__atomic_store_n(&dev->status, 0, __ATOMIC_RELEASE);
	return VIO_OK;
}

/* -- suspended (3.5) ----------------------------------------------------- */

static bool is_suspended(const struct vio_dev *dev)
{
	return dev->suspending ||
	       (vio_dev_status(dev) & VIRTIO_STATUS_SUSPEND);
}

/* Both at once: nobody sees a device that neither runs nor is suspended. */
static void status_swap(struct vio_dev *dev, uint32_t clear, uint32_t set)
{
	uint32_t old = vio_dev_status(dev);

	while (!__atomic_compare_exchange_n(&dev->status, &old,
					    (old & ~clear) | set, false,
					    __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
}

/* core.device.device-suspend.8: when all that is in flight has been used */
static void suspend_when_idle(struct vio_dev *dev)
{
	for (unsigned i = 0; i < dev->nr_queues; i++)
		if (dev->queue[i].inflight)
			return;
	dev->suspending = false;
	status_swap(dev, VIRTIO_STATUS_DRIVER_OK, VIRTIO_STATUS_SUSPEND);
}

/* Queues stop, as for a reset, but their places are kept. */
static void suspend(struct vio_dev *dev)
{
	dev->suspending = true;
	for (unsigned i = 0; i < dev->nr_queues; i++) {
		struct vio_queue *q = &dev->queue[i];
		struct vio_mem *mem = q->mem;

		if (q->state != VIO_QUEUE_RUNNING)
			continue;
		vio_queue_stop(q);
		q->resume = mem;
	}
	suspend_when_idle(dev);
}

static bool resume_queue(struct vio_queue *q)
{
	struct vio_mem *mem = q->resume;
	const struct vio_queue_layout layout = q->layout;

	q->resume = NULL;
	/* It was reset, or given anew, while it slept. */
	if (!mem || q->state != VIO_QUEUE_STOPPED)
		return true;
	return vio_queue_start(q, mem, &layout, vio_queue_avail_base(q),
			       vio_queue_used_base(q)) == VIO_OK;
}

/* core.device.device-suspend.7 */
static void resume(struct vio_dev *dev)
{
	bool ok = true;

	for (unsigned i = 0; i < dev->nr_queues; i++)
		ok &= resume_queue(&dev->queue[i]);
	status_swap(dev, VIRTIO_STATUS_SUSPEND, VIRTIO_STATUS_DRIVER_OK);
	if (!ok)
		vio_dev_needs_reset(dev);
	for (unsigned i = 0; i < dev->nr_queues; i++)
		vio_dev_queue_ready(dev, &dev->queue[i]);
	/* core.device.device-suspend.5 */
	if (dev->changed_meanwhile && dev->transport)
		dev->transport->config_changed(dev->transport_ctx);
	dev->changed_meanwhile = false;
}

/* Did the driver write anything that suspends, resumes, or comes amid? */
static bool suspend_status(struct vio_dev *dev, uint32_t old, uint32_t status)
{
	if (old & VIRTIO_STATUS_SUSPEND) {
		if (status & VIRTIO_STATUS_DRIVER_OK)
			resume(dev);
		return true;
	}
	if (dev->suspending)
		return true;
	/* core.device.device-suspend.1: not before DRIVER_OK; .6: a device
	 * that needs a reset says so already */
	if (!(status & VIRTIO_STATUS_SUSPEND) ||
	    !(old & VIRTIO_STATUS_DRIVER_OK) ||
	    old & VIRTIO_STATUS_NEEDS_RESET ||
	    !vio_dev_has(dev, VIRTIO_F_SUSPEND))
		return false;
	suspend(dev);
	return true;
}

/* -- the driver's writes ------------------------------------------------- */

/*
 * core.device.feature-bits: FEATURES_OK only for a set that we can honour.
 * Without VERSION_1 it cannot be one: a legacy driver has no FEATURES_OK.
 */
static bool features_agree(struct vio_dev *dev)
{
	if (!vio_dev_has(dev, VIRTIO_F_VERSION_1))
		return false;
#ifdef VIO_NO_SPLIT
	if (!vio_dev_has(dev, VIRTIO_F_RING_PACKED))
		return false;
#endif
	return !dev->ops->check_features ||
	       dev->ops->check_features(dev, &dev->driver) == VIO_OK;
}

/*
 * FEATURES_OK is written. Returns that bit where it stays clear: for a set
 * that we cannot honour, of which nothing is left, for a driver may go on to
 * DRIVER_OK as if there were no such bit; and under a device that runs.
 */
static uint32_t settle(struct vio_dev *dev, uint32_t status)
{
	if (status & VIRTIO_STATUS_DRIVER_OK)
		return VIRTIO_STATUS_FEATURES_OK;
	if (!features_agree(dev)) {
		dev->driver = (struct vio_features){ { 0, 0 } };
		return VIRTIO_STATUS_FEATURES_OK;
	}
	if (dev->ops->features_ok)
		dev->ops->features_ok(dev);
	return 0;
}

void vio_dev_set_status(struct vio_dev *dev, uint32_t status)
{
	uint32_t old = vio_dev_status(dev), add;

	if (!status) {
		vio_dev_reset(dev);
		return;
	}
	if (dev->resetting || suspend_status(dev, old, status))
		return;
	/* A driver may not clear bits, nor set those that are ours. */
	add = status & ~old & (VIRTIO_STATUS_ACKNOWLEDGE |
			       VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
			       VIRTIO_STATUS_FEATURES_OK |
			       VIRTIO_STATUS_FAILED);
	if (add & VIRTIO_STATUS_FEATURES_OK)
		add &= ~settle(dev, old);
	/* A legacy driver comes without FEATURES_OK: settle it here. */
	if ((add & VIRTIO_STATUS_DRIVER_OK) &&
	    !((old | add) & VIRTIO_STATUS_FEATURES_OK) &&
	    dev->ops->features_ok)
		dev->ops->features_ok(dev);
	status_or(dev, add);
	/* A driver may have kicked before; such a kick is not repeated. */
	if (add & VIRTIO_STATUS_DRIVER_OK)
		for (unsigned i = 0; i < dev->nr_queues; i++)
			vio_dev_queue_ready(dev, &dev->queue[i]);
}

void vio_dev_needs_reset(struct vio_dev *dev)
{
	uint32_t old = vio_dev_status(dev);

	status_or(dev, VIRTIO_STATUS_NEEDS_RESET);
	/* core.device.device-status-field: tell a driver that is running. */
	if ((old & VIRTIO_STATUS_DRIVER_OK) && !dev->resetting &&
	    !(old & VIRTIO_STATUS_NEEDS_RESET) && dev->transport)
		dev->transport->config_changed(dev->transport_ctx);
}

/* -- features ------------------------------------------------------------ */

int vio_dev_set_features(struct vio_dev *dev, const struct vio_features *f)
{
	/* A legacy driver runs without FEATURES_OK. */
	if (vio_dev_status(dev) & (VIRTIO_STATUS_FEATURES_OK |
				   VIRTIO_STATUS_DRIVER_OK))
		return VIO_E_STATE;
	if (!vio_features_within(f, &dev->offered))
		return VIO_E_PEER;
	dev->driver = *f;
	return VIO_OK;
}

/* -- configuration space ------------------------------------------------- */

/*
 * A legacy guest in the other byte order: where byte @at of its sight is in
 * the little-endian one, which is the same place in the mirrored field.
 * @first, @width: of that field.
 */
static uint32_t mirrored(const struct vio_dev *dev, uint32_t at,
			 uint32_t *first, uint32_t *width)
{
	const char *f = dev->ops->config_fields;

	*first = 0;
	*width = 1;
	if (!f)
		return at;
	for (; *f; f++) {
		*width = (uint32_t)(*f - '0');
		if (at - *first < *width)
			return *first + *width - 1 - (at - *first);
		*first += *width;
	}
	*first = at;
	*width = 1;
	return at;
}

/*
 * Is it to be seen in the other byte order? Before a driver said anything, it
 * is a legacy one only where the transport has that interface.
 */
static bool is_mirrored(const struct vio_dev *dev)
{
	return vio_unlikely(vio_dev_big_endian(dev)) &&
	       (dev->transitional || dev->driver.w[0]);
}

/* A device may change it meanwhile, on a queue's thread. */
static unsigned char config_byte(const struct vio_dev *dev, uint32_t at)
{
	return __atomic_load_n(&dev->config[at], __ATOMIC_RELAXED);
}

void vio_dev_config_read_le(const struct vio_dev *dev, uint32_t off,
			    void *dst, uint32_t len)
{
	uint32_t have = off < dev->config_len ? dev->config_len - off : 0;
	unsigned char *out = dst;

	if (have > len)
		have = len;
	for (uint32_t i = 0; i < have; i++)
		out[i] = config_byte(dev, off + i);
	memset(out + have, 0, len - have);
}

void vio_dev_config_read(const struct vio_dev *dev, uint32_t off,
			 void *dst, uint32_t len)
{
	unsigned char *out = dst;
	uint32_t first, width;

	vio_dev_config_read_le(dev, off, dst, len);
	if (!is_mirrored(dev))
		return;
	for (uint32_t i = 0; i < len && off + i < dev->config_len; i++)
		out[i] = config_byte(dev, mirrored(dev, off + i, &first,
						   &width));
}

/*
 * Field by field, each turned around; a piece of a field byte by byte, each
 * where it belongs: legacy drivers write that way.
 */
static int config_write_big(struct vio_dev *dev, uint32_t off,
			    const unsigned char *src, uint32_t len)
{
	int err = VIO_OK;

	while (len && !err) {
		uint32_t first, width, at;
		unsigned char b[8];

		at = mirrored(dev, off, &first, &width);
		if (off != first || width > len || width > sizeof(b))
			width = 1;
		else
			at = off;
		for (uint32_t i = 0; i < width; i++)
			b[i] = src[width - 1 - i];
		err = dev->ops->config_write(dev, at, b, width);
		off += width;
		src += width;
		len -= width;
	}
	return err;
}

static bool may_write(const struct vio_dev *dev, uint32_t off, uint32_t len)
{
	return off <= dev->config_len && len <= dev->config_len - off &&
	       dev->ops->config_write && !is_suspended(dev);
}

int vio_dev_config_write_le(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len)
{
	if (!may_write(dev, off, len))
		return VIO_E_PEER;
	return dev->ops->config_write(dev, off, src, len);
}

int vio_dev_config_write(struct vio_dev *dev, uint32_t off,
			 const void *src, uint32_t len)
{
	if (!may_write(dev, off, len))
		return VIO_E_PEER;
	if (is_mirrored(dev))
		return config_write_big(dev, off, src, len);
	return dev->ops->config_write(dev, off, src, len);
}

void vio_dev_config_changed(struct vio_dev *dev)
{
	__atomic_fetch_add(&dev->generation, 1, __ATOMIC_ACQ_REL);
	/* core.device.device-suspend.4 */
	if (is_suspended(dev)) {
		dev->changed_meanwhile = true;
		return;
	}
	/* core.device.notifications: none before DRIVER_OK. */
	if ((vio_dev_status(dev) & VIRTIO_STATUS_DRIVER_OK) &&
	    !dev->resetting && dev->transport)
		dev->transport->config_changed(dev->transport_ctx);
}

/* -- queues -------------------------------------------------------------- */

void vio_dev_queue_ready(struct vio_dev *dev, struct vio_queue *q)
{
	if (dev->transport)
		dev->transport->queue_ready(dev->transport_ctx, q);
}

/*
 * core.device.device-status-field.1: nothing before DRIVER_OK; a legacy
 * driver may use its queues before (core.other.legacy-interface-
 * device-initialization.3).
 */
static bool live(const struct vio_queue *q)
{
	return q->state == VIO_QUEUE_RUNNING &&
	       ((vio_dev_status(q->dev) & VIRTIO_STATUS_DRIVER_OK) ||
		vio_unlikely(q->dev->transitional && vio_dev_legacy(q->dev)));
}

enum vio_service vio_queue_poll(struct vio_queue *q, unsigned budget)
{
	enum vio_service r;

	if (!live(q))
		return VIO_SERVICE_IDLE;
	vio_shared64_add(&q->stats.kicks, 1);
	q->waits = false;
	vio_queue_hold(q);
	vio_queue_kicks_off(q);
	r = q->dev->ops->service(q->dev, q, budget);
	vio_queue_release(q);
	return vio_unlikely(q->waits) && r == VIO_SERVICE_IDLE ?
	       VIO_SERVICE_WAIT : r;
}

enum vio_service vio_queue_service(struct vio_queue *q, unsigned budget)
{
	vio_shared64_add(&q->stats.wakes, 1);
	/* Each round is bounded by the budget, and so are the rounds: a
	 * driver that always adds one more cannot keep us from others. */
	for (unsigned round = 0; round < 4; round++) {
		enum vio_service r = vio_queue_poll(q, budget);

		if (r != VIO_SERVICE_IDLE || !live(q) ||
		    !vio_queue_kicks_on(q))
			return r;
	}
	return VIO_SERVICE_MORE;
}

struct vio_queue *vio_dev_notified(struct vio_dev *dev, uint32_t value,
				   uint16_t *next)
{
	uint32_t index = value & 0xffff;
	struct vio_queue *q;
	uint16_t pos;

	if (index >= dev->nr_queues)
		return NULL;
	q = &dev->queue[index];
	/* Any index of a split ring can be one. */
	if (!vio_dev_has(dev, VIRTIO_F_RING_PACKED) ||
	    pvirtq_unpack((uint16_t)(value >> 16), q->size, &pos))
		*next = (uint16_t)(value >> 16);
	return q;
}

const struct vio_shm *vio_dev_shm(const struct vio_dev *dev, uint32_t id)
{
	for (unsigned i = 0; i < dev->nr_shm; i++)
		if (dev->shm[i].id == id)
			return &dev->shm[i];
	return NULL;
}
