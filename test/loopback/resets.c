/* SPDX-License-Identifier: MIT */
/*
 * A driver that stops anywhere on its way: after each step of its
 * initialisation it kicks, goes away and resets; then another one comes, for
 * which nothing of that must have been. Over every transport.
 */
#include "loop.h"

#include <vireo/driver_rng.h>
#include <vireo/rng.h>

#define STEPS_MAX	200u

static struct loop loop;
static struct vio_rng dev;
static struct vio_rngdrv drv;
static struct vio_bus_ops stopping;	/* loop_bus, until steps_left is 0 */
static unsigned steps_left;
static bool stopped;
static unsigned nr_filled;

static size_t fill(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	nr_filled++;
	memset(dst, 0x5a, len);
	return len;
}

static const struct vio_rng_source_ops source_ops = { .fill = fill };

/* -- the bus that ends ---------------------------------------------------- */

/* What the driver asked for was done; is it allowed to go on? */
static int step(int err)
{
	if (!steps_left)
		stopped = true;
	else
		steps_left--;
	return stopped ? VIO_E_IO : err;
}

static int get_status(void *bus, uint32_t *status)
{
	return step(loop_bus.get_status(bus, status));
}

static int set_status(void *bus, uint32_t status)
{
	return step(loop_bus.set_status(bus, status));
}

static int get_features(void *bus, struct vio_features *f)
{
	return step(loop_bus.get_features(bus, f));
}

static int set_features(void *bus, const struct vio_features *f)
{
	return step(loop_bus.set_features(bus, f));
}

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	return step(loop_bus.queue_max(bus, index, size));
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *layout)
{
	return step(loop_bus.queue_start(bus, index, layout));
}

static void make_stopping(void)
{
	stopping = loop_bus;
	stopping.get_status = get_status;
	stopping.set_status = set_status;
	stopping.get_features = get_features;
	stopping.set_features = set_features;
	stopping.queue_max = queue_max;
	stopping.queue_start = queue_start;
}

/* -- the cases ------------------------------------------------------------ */

static int init(const struct vio_bus_ops *ops, unsigned set)
{
	const struct vio_vq_limits limits = { .size = 8, .indirect_max = 4 };
	struct vio_features wanted = loop_features(set);
	struct vio_drv_mem mem = loop.drv_mem;

	return vio_rngdrv_init(&drv, ops, &loop, &wanted, &limits, &mem);
}

static void settle(void)
{
	while (loop_step(&loop))
		;
}

/* False once the driver came through. */
static bool stop_after(unsigned steps, unsigned set)
{
	unsigned char *buf = loop_buffer(&loop, 64);
	struct vio_seg seg = { buf, 64 };
	uint32_t got;
	int err;

	memset(&drv, 0, sizeof(drv));
	loop.early = true;
	steps_left = steps;
	stopped = false;
	err = init(&stopping, set);
	CHECK_EQ(err != VIO_OK, stopped);
	/* Also a buffer lies there, where it came to a ring. */
	if (stopped && drv.vq.size)
		vio_vq_add(&drv.vq, &seg, 0, 1, &seg);
	if (stopped && drv.vq.size && vio_vq_publish(&drv.vq))
		loop_bus.notify(&loop, 0, 0);
	nr_filled = 0;
	settle();
	/* Not before DRIVER_OK; legacy drivers may be early. */
	if (stopped && !loop_legacy &&
	    !(vio_dev_status(&dev.dev) & VIRTIO_STATUS_DRIVER_OK))
		CHECK_EQ(nr_filled, 0);
	CHECK(!(vio_dev_status(&dev.dev) & VIRTIO_STATUS_NEEDS_RESET));
	/* The next one. */
	loop.early = false;
	CHECK_EQ(init(&loop_bus, set), VIO_OK);
	CHECK_EQ(vio_dev_status(&dev.dev) & ~VIRTIO_STATUS_FEATURES_OK, 7);
	memset(buf, 0, 64);
	CHECK_EQ(vio_rngdrv_read(&drv, buf, 64, &got), VIO_OK);
	CHECK_EQ(got, 64);
	CHECK_EQ(buf[63], 0x5a);
	return stopped;
}

TEST("a driver may stop and start anew at every step of its initialisation",
     "core.device.device-status-field.1")
{
	static const unsigned sets[] = { 0, LOOP_PACKED | LOOP_EVENT_IDX };

	make_stopping();
	for (unsigned s = 0; s < VIO_ARRAY_LEN(sets); s++) {
		unsigned steps;

		memset(&loop, 0, sizeof(loop));
		loop_init(&loop, 1, vio_rng_ctx_size, vtest_seed());
		CHECK_EQ(vio_rng_init(&dev, loop.queue, &source_ops, NULL),
			 VIO_OK);
		loop_attach(&loop, &dev.dev);
		for (steps = 0; stop_after(steps, sets[s]); steps++)
			CHECK_LT(steps, STEPS_MAX);
		CHECK_GT(steps, 8);
		loop_fini(&loop);
	}
}
