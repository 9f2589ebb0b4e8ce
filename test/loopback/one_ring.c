/* SPDX-License-Identifier: MIT */
/*
 * one_ring.c - builds of the core that know one ring layout only: the other
 * is neither offered nor accepted, and nothing else changes. Built once with
 * VIO_NO_SPLIT and once with VIO_NO_PACKED.
 */
#include "loop.h"

#include <vireo/driver_rng.h>
#include <vireo/rng.h>

#ifdef VIO_NO_SPLIT
#define KNOWN	LOOP_PACKED
#else
#define KNOWN	0
#endif
#define OTHER	(LOOP_PACKED - KNOWN)

static struct loop loop;
static struct vio_rng dev;
static struct vio_rngdrv drv;

static size_t fill(void *source, void *dst, size_t len)
{
	(void)source;
	memset(dst, 0x5a, len);
	return len;
}

/* What the driver's init says, wanting ring features @set. */
static int setup(unsigned set)
{
	static const struct vio_rng_source_ops ops = { .fill = fill };
	struct vio_vq_limits limits = { .size = 8, .indirect_max = 4 };
	struct vio_features wanted = loop_features(set);

	loop_init(&loop, 1, vio_rng_ctx_size, vtest_seed());
	CHECK_EQ(vio_rng_init(&dev, loop.queue, &ops, NULL), VIO_OK);
	/* Of the layouts, split needs no offer. */
	CHECK_EQ(vio_has(vio_dev_offered(&dev.dev), VIRTIO_F_RING_PACKED),
		 KNOWN == LOOP_PACKED);
	loop_attach(&loop, &dev.dev);
	return vio_rngdrv_init(&drv, &loop_bus, &loop, &wanted, &limits,
			       &loop.drv_mem);
}

static void read_some(void)
{
	unsigned char *buf = loop_buffer(&loop, 16);
	uint32_t got;

	for (unsigned i = 0; i < 50; i++) {
		buf[15] = 0;
		CHECK_EQ(vio_rngdrv_read(&drv, buf, 16, &got), VIO_OK);
		CHECK_EQ(got, 16);
		CHECK_EQ(buf[15], 0x5a);
	}
}

TEST("one layout: the one that was built works", "")
{
	CHECK_EQ(setup(KNOWN | LOOP_EVENT_IDX | LOOP_INDIRECT), VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED),
		 KNOWN == LOOP_PACKED);
	read_some();
	loop_fini(&loop);
}

TEST("one layout: the other is not agreed on", "")
{
	int err = setup(OTHER);

#ifdef VIO_NO_PACKED
	/* The driver knows better than its caller. */
	CHECK_EQ(err, VIO_OK);
	CHECK(!vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED));
	read_some();
#else
	/* There is no bit to leave out: the device refuses. */
	CHECK_EQ(err, VIO_E_UNSUPP);
	CHECK(vio_dev_status(&dev.dev) & VIRTIO_STATUS_FAILED);
#endif
	loop_fini(&loop);
}

TEST("one layout: a queue of the other cannot be made", "")
{
	const struct vio_vq_limits limits = { .size = 8 };
	const struct vio_queue_layout where = { .size = 8 };
	struct vio_features f = loop_features(OTHER);
	struct vio_vq vq;

	CHECK_EQ(setup(KNOWN), VIO_OK);
	CHECK_EQ(vio_vq_init(&vq, &limits, &f, &loop.drv_mem), VIO_E_UNSUPP);
	CHECK_EQ(vio_dev_reset(&dev.dev), VIO_OK);
	dev.dev.driver = f;
	CHECK_EQ(vio_queue_start(&loop.queue[0], &loop.mem, &where, 0, 0),
		 VIO_E_UNSUPP);
	loop_fini(&loop);
}
