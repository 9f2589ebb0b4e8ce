/* SPDX-License-Identifier: MIT */
/*
 * ccw_ind.c - indicators of the channel I/O transport: bits in guest memory
 * that say what happened, and the interrupts that say to look at them
 * (standard: 4.3.2.6, 4.3.3.1). It knows no command but those that set them.
 */
#include "core/transport/ccw.h"
#include "core/base/shared64.h"

/*
 * Set on the control thread, looked at by those of the queues, which learn of
 * a queue's start, and so of all before it, in an orderly way.
 */
#define load	vio_shared64_get
#define store	vio_shared64_set

/* Set bits of a byte that the guest may change meanwhile. */
static bool set_bits(struct vio_ccw *c, uint64_t addr, uint8_t bits)
{
	uint8_t *p = vio_ccw_at(c, addr, 1);

	if (!p)
		return false;
	__atomic_fetch_or(p, bits, __ATOMIC_SEQ_CST);
	vio_mem_wrote(c->mem, p, 1);
	return true;
}

/* Bit @nr, from the right, of a big-endian number of 64 bits. */
static bool set_bit_of_64(struct vio_ccw *c, uint64_t addr, unsigned nr)
{
	return set_bits(c, addr + 7 - nr / 8, (uint8_t)(1u << nr % 8));
}

static void lost(struct vio_ccw *c, uint64_t addr)
{
	vio_dev_log(c->dev, VIO_LOG_ERROR,
		    "driver's indicators are no memory of the guest's",
		    (const struct vio_named[]){ { "addr", addr } }, 1);
}

/*
 * ccw.device.notification-via-adapter-i-o-interrupts.1: no interrupt where
 * the summary says that one is on its way.
 */
static void notify_adapter(struct vio_ccw *c, uint64_t summary, unsigned index)
{
	uint64_t nr = load(&c->bit_nr) + index, area = load(&c->adapter);
	uint8_t *p;

	if (!set_bits(c, area + nr / 8, (uint8_t)(0x80u >> nr % 8))) {
		lost(c, area + nr / 8);
		return;
	}
	p = vio_ccw_at(c, summary, 1);
	if (!p) {
		lost(c, summary);
		return;
	}
	if (!__atomic_exchange_n(p, 1, __ATOMIC_SEQ_CST))
		c->ops->adapter_interrupt(c->ctx, __atomic_load_n(&c->isc,
						__ATOMIC_RELAXED));
	vio_mem_wrote(c->mem, p, 1);
}

static void on_notify(void *ctx, struct vio_queue *q)
{
	struct vio_ccw *c = ctx;
	uint64_t summary = load(&c->summary), classic = load(&c->indicators);

	if (summary) {
		notify_adapter(c, summary, q->index);
	} else if (classic && q->index < 64) {
		if (set_bit_of_64(c, classic, q->index))
			c->ops->interrupt(c->ctx);
		else
			lost(c, classic);
	}
}

static void on_config_changed(void *ctx)
{
	struct vio_ccw *c = ctx;
	uint64_t at = load(&c->config_indicators);

	if (!at)
		return;
	if (set_bit_of_64(c, at, 0))
		c->ops->interrupt(c->ctx);
	else
		lost(c, at);
}

static void on_ready(void *ctx, struct vio_queue *q)
{
	struct vio_ccw *c = ctx;

	c->ops->serve(c->ctx, q);
}

const struct vio_transport_ops vio_ccw_transport_ops = {
	.queue_notify = on_notify,
	.queue_ready = on_ready,
	.config_changed = on_config_changed,
};

void vio_ccw_no_indicators(struct vio_ccw *c)
{
	store(&c->indicators, 0);
	store(&c->config_indicators, 0);
	store(&c->summary, 0);
	store(&c->adapter, 0);
}

int vio_ccw_set_ind(struct vio_ccw_job *j, bool config)
{
	struct vio_ccw *c = j->c;
	uint8_t at[8];

	if (!vio_ccw_length(j, sizeof(at)) || !vio_ccw_get(j, at, sizeof(at)))
		return VIO_OK;
	/* ccw.other.setting-up-classic-queue-indicators.1 */
	if (!config && load(&c->summary))
		return vio_ccw_reject(j);
	store(config ? &c->config_indicators : &c->indicators,
	      vio_be_get(at, 8));
	return VIO_OK;
}

int vio_ccw_set_ind_adapter(struct vio_ccw_job *j)
{
	struct vio_ccw *c = j->c;
	struct vio_ccw_thinint t;

	if (!vio_ccw_length(j, sizeof(t)) || !vio_ccw_get(j, &t, sizeof(t)))
		return VIO_OK;
	/* ccw.device.setting-up-two-stage-queue-indicators.1 */
	if (load(&c->indicators) || t.isc > 7)
		return vio_ccw_reject(j);
	/* A driver may set them anew while queues' threads look. */
	store(&c->bit_nr, vio_be_get(t.bit_nr, 8));
	__atomic_store_n(&c->isc, t.isc, __ATOMIC_RELAXED);
	store(&c->adapter, vio_be_get(t.indicator, 8));
	store(&c->summary, vio_be_get(t.summary_indicator, 8));
	return VIO_OK;
}
