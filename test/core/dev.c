/* SPDX-License-Identifier: MIT */
/*
 * dev.c - the device core: status machine, features, configuration space,
 * reset, the budget of service.
 */
#include "test/core/rig.h"
#include "vtest.h"

static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[2];
static unsigned char config[6];
static unsigned served, resets, settled;
static struct vio_req *kept;
static bool keep;

static int check_features(struct vio_dev *d, const struct vio_features *f)
{
	(void)d;
	/* Bit 1 needs bit 0. */
	return vio_has(f, 1) && !vio_has(f, 0) ? VIO_E_PEER : VIO_OK;
}

static void features_ok(struct vio_dev *d)
{
	(void)d;
	settled++;
}

static enum vio_service service(struct vio_dev *d, struct vio_queue *q,
				unsigned budget)
{
	(void)d;
	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);

		if (!req)
			return VIO_SERVICE_IDLE;
		served++;
		if (keep)
			kept = req;
		else
			vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

static void reset(struct vio_dev *d)
{
	(void)d;
	resets++;
}

static int config_write(struct vio_dev *d, uint32_t off, const void *src,
			uint32_t len)
{
	memcpy(d->config + off, src, len);
	return VIO_OK;
}

static const struct vio_dev_ops ops = {
	.name = "t", .id = 4, .check_features = check_features,
	.features_ok = features_ok, .service = service, .reset = reset,
	.config_write = config_write,
};

static void setup(void)
{
	struct vio_features f = { { 3, 0 } };

	served = resets = settled = 0;
	keep = false;
	kept = NULL;
	memcpy(config, "config", 6);
	rig_init(&r, queue, 2, 0);
	vio_feature_set(&f, 100);	/* beyond 64 */
	vio_dev_init(&dev, &ops, &f, queue, 2, config, sizeof(config));
}

TEST("what is offered",
     "core.device.reserved-feature-bits.1 core.device.reserved-feature-bits.9")
{
	setup();
	CHECK(vio_has(vio_dev_offered(&dev), VIRTIO_F_VERSION_1));
	CHECK(vio_has(vio_dev_offered(&dev), 100));
	CHECK(vio_has(vio_dev_offered(&dev), VIRTIO_F_RING_PACKED));
	CHECK(!vio_has(vio_dev_offered(&dev), VIRTIO_F_SR_IOV));
	CHECK(!vio_has(vio_dev_offered(&dev), 128));
	CHECK(!vio_has(vio_dev_offered(&dev), UINT32_MAX));
}

TEST("ORDER_PLATFORM is offered, and decides on a queue's barriers",
     "core.device.reserved-feature-bits.6 core.device.reserved-feature-bits.7")
{
	for (int order = 0; order < 2; order++) {
		struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1 |
			(uint64_t)order << VIRTIO_F_ORDER_PLATFORM, 0 } };

		setup();
		CHECK(vio_has(vio_dev_offered(&dev), VIRTIO_F_ORDER_PLATFORM));
		rig_start_at(&r, &dev, &f, VIO_QUEUE_NEW_SPLIT);
		CHECK_EQ(queue[0].dma, order);
		/* Without it we go on all the same, and no slower. */
		rig_desc(&r, 0, RIG_DATA, 4, VIRTQ_DESC_F_WRITE, 0);
		rig_avail(&r, 0);
		rig_kick(&r);
		CHECK_EQ(served, 1);
	}
}

TEST("features: only what was offered, only before FEATURES_OK",
     "core.device.feature-bits.2")
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };

	setup();
	vio_feature_set(&f, 2);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_E_PEER);
	f.w[1] = 1;
	vio_feature_clear(&f, 2);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_E_PEER);
	f.w[1] = 0;
	vio_feature_set(&f, 100);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	CHECK_EQ(vio_dev_status(&dev), 11);
	CHECK_EQ(settled, 1);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_E_STATE);
	CHECK(vio_dev_has(&dev, 100));
}

TEST("FEATURES_OK stays clear for a set that is not legal",
     "core.device.feature-bits.2")
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1 | 2, 0 } };

	setup();
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	CHECK_EQ(vio_dev_status(&dev), 3);
	/* The driver may think again. */
	f.w[0] |= 1;
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	CHECK_EQ(vio_dev_status(&dev), 11);
}

TEST("FEATURES_OK needs VERSION_1", "core.device.reserved-feature-bits.2")
{
	struct vio_features f = { { 1, 0 } };

	setup();
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	CHECK_EQ(vio_dev_status(&dev), 3);
}

TEST("of a set that is refused nothing is left, DRIVER_OK or not", "")
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1 | 2, 0 } };

	setup();
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	vio_dev_set_status(&dev, 7);
	CHECK_EQ(vio_dev_status(&dev), 7);
	CHECK(!vio_dev_has(&dev, 1));
}

TEST("features do not change under a device that runs", "")
{
	struct vio_features f = { { 1, 0 } }, more = { { 3, 0 } };

	/* As a legacy driver has it: without FEATURES_OK. */
	setup();
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 7);
	CHECK_EQ(settled, 1);
	CHECK_EQ(vio_dev_set_features(&dev, &more), VIO_E_STATE);
	vio_dev_set_status(&dev, 15);
	CHECK_EQ(vio_dev_status(&dev), 7);
	CHECK_EQ(settled, 1);
	CHECK(vio_dev_has(&dev, 0) && !vio_dev_has(&dev, 1));
}

TEST("the same features are agreed on again after a reset",
     "core.device.feature-bits.4")
{
	struct vio_features f;

	setup();
	f = *vio_dev_offered(&dev);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
		vio_dev_set_status(&dev, 11);
		CHECK_EQ(vio_dev_status(&dev), 11);
		vio_dev_set_status(&dev, 0);
		CHECK_EQ(vio_dev_status(&dev), 0);
		CHECK(!vio_dev_has(&dev, VIRTIO_F_VERSION_1));
	}
	CHECK_EQ(resets, 3);
}

TEST("a driver cannot clear status bits, nor set those of the device", "")
{
	setup();
	vio_dev_set_status(&dev, 3);
	vio_dev_set_status(&dev, 1);
	CHECK_EQ(vio_dev_status(&dev), 3);
	vio_dev_set_status(&dev, 0x40 | 3);
	CHECK_EQ(vio_dev_status(&dev), 3);
	vio_dev_set_status(&dev, 0x10 | 3);	/* SUSPEND is not offered */
	CHECK_EQ(vio_dev_status(&dev), 3);
	vio_dev_set_status(&dev, 0x80 | 3);
	CHECK_EQ(vio_dev_status(&dev), 0x83);
}

TEST("nothing is consumed before DRIVER_OK, all of it at DRIVER_OK",
     "core.device.device-status-field.1")
{
	struct vio_features f;

	setup();
	f = *vio_dev_offered(&dev);
	vio_feature_clear(&f, VIRTIO_F_RING_PACKED);
	rig_start(&r, &dev, &f);
	vio_dev_set_status(&dev, 0);
	r.avail_idx = 0;
	vio_dev_set_features(&dev, &f);
	vio_dev_set_status(&dev, 11);
	memset(r.low, 0, 4096);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 0, 0), VIO_OK);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 0);
	r.ready = 0;
	vio_dev_set_status(&dev, 15);
	CHECK_EQ(r.ready, 2);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 1);
}

TEST("a reset waits for what is in flight, then is silent",
     "core.device.device-reset.1 core.device.device-reset.2")
{
	uint32_t id, len;

	setup();
	rig_start_plain(&r, &dev);
	keep = true;
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK(kept != NULL);
	vio_dev_set_status(&dev, 0);
	CHECK_EQ(vio_dev_status(&dev), 15);
	CHECK_EQ(resets, 0);
	vio_dev_set_status(&dev, 1);		/* too early: ignored */
	vio_req_done(kept);
	CHECK_EQ(vio_dev_status(&dev), 0);
	CHECK_EQ(resets, 1);
	CHECK_EQ(r.mem.pins, 0);
	CHECK(rig_used(&r, &id, &len));
	r.notifies = 0;
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(served, 1);
	CHECK_EQ(r.notifies, 0);
	vio_dev_config_changed(&dev);
	CHECK_EQ(r.config_changes, 0);
}

TEST("configuration reads: any part, at any time, zero past the end",
     "core.device.device-configuration-space.1")
{
	char got[8];

	setup();
	vio_dev_config_read(&dev, 0, got, 8);
	CHECK_MEMEQ(got, "config\0\0", 8);
	vio_dev_config_read(&dev, 4, got, 4);
	CHECK_MEMEQ(got, "ig\0\0", 4);
	vio_dev_config_read(&dev, UINT32_MAX, got, 4);
	CHECK_MEMEQ(got, "\0\0\0\0", 4);
}

TEST("configuration writes stay inside", "")
{
	setup();
	CHECK_EQ(vio_dev_config_write(&dev, 5, "X", 1), VIO_OK);
	CHECK_MEMEQ(config, "confiX", 6);
	CHECK_EQ(vio_dev_config_write(&dev, 5, "XX", 2), VIO_E_PEER);
	CHECK_EQ(vio_dev_config_write(&dev, UINT32_MAX, "XX", 2), VIO_E_PEER);
	CHECK_EQ(vio_dev_config_write(&dev, 1, "XX", UINT32_MAX), VIO_E_PEER);
}

TEST("a change of configuration is a new generation, told to a driver only",
     "")
{
	setup();
	rig_start_plain(&r, &dev);
	vio_dev_config_changed(&dev);
	CHECK_EQ(dev.generation, 1);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_set_status(&dev, 0);
	vio_dev_config_changed(&dev);
	CHECK_EQ(dev.generation, 2);
	CHECK_EQ(r.config_changes, 1);
}

TEST("NEEDS_RESET is told once, and cleared by the reset",
     "core.device.device-status-field.2 core.device.device-status-field.3")
{
	setup();
	rig_start_plain(&r, &dev);
	vio_dev_needs_reset(&dev);
	vio_dev_needs_reset(&dev);
	CHECK_EQ(vio_dev_status(&dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_set_status(&dev, 0);
	CHECK_EQ(vio_dev_status(&dev), 0);
}

TEST("a service is bounded by its budget", "")
{
	setup();
	rig_start_plain(&r, &dev);
	for (uint16_t i = 0; i < 10; i++) {
		rig_desc(&r, i, RIG_DATA, 1, 0, 0);
		rig_avail(&r, i);
	}
	CHECK_EQ(vio_queue_service(&queue[0], 4), VIO_SERVICE_MORE);
	CHECK_EQ(served, 4);
	CHECK_EQ(vio_queue_poll(&queue[0], 5), VIO_SERVICE_MORE);
	CHECK_EQ(vio_queue_service(&queue[0], 5), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 10);
}

/* A driver in league with the service: each request begets another. */
static enum vio_service endless(struct vio_dev *d, struct vio_queue *q,
				unsigned budget)
{
	(void)d;
	(void)budget;
	while (queue[0].inflight < 1) {
		struct vio_req *req = vio_queue_pop(q);

		if (!req)
			break;
		vio_req_done(req);
		rig_avail(&r, 0);
		served++;
		return VIO_SERVICE_IDLE;
	}
	return VIO_SERVICE_IDLE;
}

TEST("a driver that always adds one more cannot hold the thread", "")
{
	static const struct vio_dev_ops endless_ops = {
		.name = "t", .id = 4, .service = endless };
	const struct vio_features none = { { 0, 0 } };

	served = 0;
	rig_init(&r, queue, 1, 0);
	vio_dev_init(&dev, &endless_ops, &none, queue, 1, NULL, 0);
	rig_start_plain(&r, &dev);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_MORE);
	CHECK_LE(served, 8);
}

/* -- suspended ------------------------------------------------------------ */

#define ASLEEP	(VIRTIO_STATUS_SUSPEND | 11)

static void start_sleepy(void)
{
	struct vio_features f;

	setup();
	vio_dev_suspendable(&dev);
	f = *vio_dev_offered(&dev);
	vio_feature_clear(&f, VIRTIO_F_RING_PACKED);
	rig_start(&r, &dev, &f);
	vio_dev_set_status(&dev, ASLEEP);
	CHECK_EQ(vio_dev_status(&dev), ASLEEP);
}

TEST("a queue that slept when the device was reset is not woken later", "")
{
	struct vio_features f;

	start_sleepy();
	f = dev.driver;
	vio_dev_set_status(&dev, 0);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	vio_dev_set_status(&dev, 11);
	vio_dev_set_status(&dev, 15);
	vio_dev_set_status(&dev, ASLEEP);
	CHECK_EQ(vio_dev_status(&dev), ASLEEP);
	vio_dev_set_status(&dev, 15);
	CHECK_EQ(vio_dev_status(&dev), 15);
	CHECK_EQ(queue[0].state, VIO_QUEUE_STOPPED);
}

TEST("memory that changes while a device sleeps is what it wakes with", "")
{
	struct vio_mem other;

	start_sleepy();
	CHECK_EQ(r.mem.pins, 0);
	CHECK_EQ(vio_mem_init(&other, r.region, VIO_ARRAY_LEN(r.region)),
		 VIO_OK);
	CHECK_EQ(vio_queue_set_mem(&queue[0], &other), VIO_OK);
	vio_dev_set_status(&dev, 15);
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
	CHECK(queue[0].mem == &other);
	CHECK_EQ(r.mem.pins, 0);
	CHECK_EQ(other.pins, 1);
}
