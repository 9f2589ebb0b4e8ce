/* SPDX-License-Identifier: MIT */
/*
 * The bus of the channel I/O transport: our driver's side of it over our
 * device's side, program by program. Built twice, for revision 0 (legacy) and
 * for the others; which of these, and which indicators, the seed decides.
 */
#include "loop.h"

#define AREA	4096u

#ifdef LOOP_LEGACY
const bool loop_legacy = true;
#else
const bool loop_legacy = false;
#endif
const bool loop_narrow = false;

static void on_interrupt(void *ctx)
{
	struct loop *l = ctx;

	l->line = true;
}

static void on_adapter_interrupt(void *ctx, unsigned isc)
{
	struct loop *l = ctx;

	CHECK_EQ(isc, 5);
	l->line = true;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct loop *l = ctx;

	l->kicked[q->index] = true;
}

static const struct vio_ccw_ops device_ops = { on_interrupt,
					       on_adapter_interrupt,
					       on_serve };

static int access_start(void *ctx, uint32_t program, struct vio_ccw_end *end)
{
	struct loop *l = ctx;
	uint64_t at = program;
	struct vio_ccw_status st;

	/* A reset takes as long as the requests in flight. */
	while (vio_ccw_start(&l->side.ccw, &at, &st) == VIO_E_AGAIN)
		if (!loop_step(l))
			return VIO_E_IO;
	CHECK_EQ(at, program + 8);
	*end = (struct vio_ccw_end){ st.device, st.subchannel,
				     l->side.ccw.sense, st.residual };
	return VIO_OK;
}

static uint64_t access_notify(void *ctx, uint64_t data, uint64_t cookie)
{
	struct loop *l = ctx;

	/* core.driver.device-initialization.6 */
	CHECK(l->early ||
	      vio_dev_status(l->dev) & VIRTIO_STATUS_DRIVER_OK);
	/* ccw.driver.guest-host-notification.1: what we gave comes back */
	CHECK_EQ(cookie, l->cookie);
	CHECK_EQ(vio_ccw_notify(&l->side.ccw, data, cookie), cookie);
	return ++l->cookie;
}

/* No interrupt, and nothing left to happen: a wake-up was lost. */
static int access_wait(void *ctx)
{
	struct loop *l = ctx;

	if (!l->line && !loop_step(l))
		return VIO_E_IO;
	l->line = false;
	return VIO_OK;
}

static const struct vio_ccw_access access = { access_start, access_notify,
					      access_wait };

struct vio_bus_ops loop_bus;

static void __attribute__((constructor)) choose_bus(void)
{
	loop_bus = loop_legacy ? vio_bus_ccw_legacy_ops : vio_bus_ccw_ops;
	/* The tests want many sizes, and our device takes them. */
	loop_bus.size_fixed = false;
}

void loop_attach(struct loop *l, struct vio_dev *dev)
{
	uint64_t off = l->file_size - AREA;
	bool two_stage = l->rand.state & 1;
	uint8_t revision = l->rand.state & 2 ? 1 : 2;

	loop_adopt(l, dev);
	for (unsigned i = 0; i < LOOP_QUEUES; i++)
		l->started[i] = i < dev->nr_queues;
	vio_ccw_init(&l->side.ccw, dev, &l->mem, loop_legacy, &device_ops, l,
		     &l->log);
	l->side.ccw.max_revision = loop_legacy ? 0 : revision;
	CHECK_EQ(vio_bus_ccw_probe(&l->bus.ccw, &access, l,
				   (void *)(l->window.host + off),
				   vio_addr_of(LOOP_GUEST_BASE + off),
				   loop_legacy ? 0 : 1, two_stage ? 5 : -1),
		 VIO_OK);
	CHECK_EQ(l->bus.ccw.device_id, dev->ops->id);
	CHECK_EQ(l->bus.ccw.revision, loop_legacy ? 0 : revision);
	CHECK_EQ(l->bus.ccw.ops->legacy_align != 0, loop_legacy);
}

unsigned loop_config_changes(struct loop *l)
{
	l->config_changes += vio_bus_ccw_interrupt(&l->bus.ccw).config;
	return l->config_changes;
}
