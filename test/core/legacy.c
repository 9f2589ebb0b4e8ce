/* SPDX-License-Identifier: MIT */
/*
 * legacy.c - what a transport needs for drivers without VERSION_1: where the
 * parts of a ring lie, rings in the guest's byte order, NOTIFY_ON_EMPTY.
 */
#include "test/core/rig.h"
#include <vireo/queue.h>
#include "vtest.h"

static struct vio_req *taken[RIG_SIZE];
static unsigned nr_taken;

static enum vio_service take(struct vio_dev *dev, struct vio_queue *q,
			     unsigned budget)
{
	(void)dev;
	while (budget-- && nr_taken < RIG_SIZE) {
		taken[nr_taken] = vio_queue_pop(q);
		if (!taken[nr_taken])
			return VIO_SERVICE_IDLE;
		nr_taken++;
	}
	return VIO_SERVICE_MORE;
}

static void ignore_queue(void *ctx, struct vio_queue *q)
{
	(void)q;
	++*(unsigned *)ctx;
}

static void ignore(void *ctx)
{
	(void)ctx;
}

static const struct vio_dev_ops ops = { .name = "take", .id = 4,
					.service = take };
static unsigned notifies;
static const struct vio_transport_ops transport = {
	.queue_notify = ignore_queue, .queue_ready = ignore_queue,
	.config_changed = ignore };
static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];

/*
 * A ring of RIG_SIZE in one piece at RIG_LOW, as a legacy driver has it: no
 * FEATURES_OK; the device is in use without DRIVER_OK too.
 */
static void start(bool big, struct vio_features f)
{
	struct vio_features none = { { 0, 0 } };

	nr_taken = 0;
	rig_init(&r, queue, 1, 0);
	vio_dev_init(&dev, &ops, &none, queue, 1, NULL, 0);
	vio_dev_transitional(&dev);
	vio_dev_set_guest_endian(&dev, big);
	vio_dev_attach(&dev, &transport, &notifies, NULL);
	r.dev = &dev;
	vio_dev_set_status(&dev, VIRTIO_STATUS_ACKNOWLEDGE |
			   VIRTIO_STATUS_DRIVER);
	CHECK_EQ(vio_dev_set_features(&dev, &f), VIO_OK);
	CHECK(vio_legacy_layout(&r.layout, RIG_SIZE, vio_addr_of(RIG_LOW),
				1024));
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 0, 0), VIO_OK);
	notifies = 0;
}

/* -- a driver's pencil, in either byte order ------------------------------ */

static void put(uint64_t at, uint64_t v, unsigned len, bool big)
{
	unsigned char *p = rig_at(&r, at);

	for (unsigned i = 0; i < len; i++)
		p[big ? len - 1 - i : i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get(uint64_t at, unsigned len, bool big)
{
	const unsigned char *p = rig_at(&r, at);
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)p[big ? len - 1 - i : i] << 8 * i;
	return v;
}

static void desc(unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next, bool big)
{
	uint64_t at = r.layout.desc.v + 16 * i;

	put(at, addr, 8, big);
	put(at + 8, len, 4, big);
	put(at + 12, flags, 2, big);
	put(at + 14, next, 2, big);
}

static void avail(uint16_t head, bool big)
{
	put(r.layout.driver.v + 4 + 2 * (r.avail_idx % RIG_SIZE), head, 2,
	    big);
	put(r.layout.driver.v + 2, ++r.avail_idx, 2, big);
}

static void serve(void)
{
	vio_queue_service(&queue[0], RIG_SIZE);
}

TEST("where the parts of a ring lie that is in one piece",
     "split.other.legacy-interfaces-virtqueue-layout.1 "
     "split.other.legacy-interfaces-virtqueue-layout.2")
{
	struct vio_queue_layout l;

	/* 256 descriptors: 4096 bytes; 518 of the available ring; the used
	 * ring's 2054 begin with the next page. */
	CHECK_EQ(vio_legacy_ring_bytes(256, 4096), 3 * 4096);
	CHECK(vio_legacy_layout(&l, 256, vio_addr_of(0x10000), 4096));
	CHECK_EQ(l.size, 256);
	CHECK_EQ(l.desc.v, 0x10000);
	CHECK_EQ(l.driver.v, 0x11000);
	CHECK_EQ(l.device.v, 0x12000);
	/* An alignment of one's own, and a ring that fills it just so. */
	CHECK(vio_legacy_layout(&l, 8, vio_addr_of(0x10000), 64));
	CHECK_EQ(l.driver.v, 0x10000 + 128);
	CHECK_EQ(l.device.v, 0x10000 + 192);
	CHECK_EQ(vio_legacy_ring_bytes(8, 64), 192 + 128);
	CHECK(vio_legacy_layout(&l, 32768, vio_addr_of(0), 4096));
	CHECK_EQ(l.device.v, (16 + 2) * 32768 + 4096);
	/* What is no alignment, and what is no place. */
	CHECK(!vio_legacy_layout(&l, 8, vio_addr_of(0x10000), 0));
	CHECK(!vio_legacy_layout(&l, 8, vio_addr_of(0x10000), 2));
	CHECK(!vio_legacy_layout(&l, 8, vio_addr_of(0x10000), 4095));
	CHECK(!vio_legacy_layout(&l, 256, vio_addr_of(UINT64_MAX - 8191),
				 4096));
}

static void a_chain_goes_round(bool big)
{
	struct vio_features f = { { 1ull << VIRTIO_F_INDIRECT_DESC |
				    1ull << VIRTIO_F_ANY_LAYOUT, 0 } };
	const uint64_t used = RIG_LOW + 1024, table = RIG_DATA + 0x800;

	start(big, f);
	desc(3, RIG_DATA, 5, VIRTQ_DESC_F_NEXT, 258 % RIG_SIZE, big);
	desc(2, RIG_HIGH, 0x102, VIRTQ_DESC_F_WRITE, 0, big);
	avail(3, big);
	/* And one whose table is in the guest's order too. */
	put(table, RIG_DATA, 8, big);
	put(table + 8, 7, 4, big);
	put(table + 12, VIRTQ_DESC_F_WRITE, 2, big);
	desc(5, table, 16, VIRTQ_DESC_F_INDIRECT, 0, big);
	avail(5, big);
	serve();
	CHECK_EQ(nr_taken, 2);
	CHECK_EQ(taken[0]->read_len, 5);
	CHECK_EQ(taken[0]->write_len, 0x102);
	CHECK(taken[0]->seg[1].base == rig_at(&r, RIG_HIGH));
	CHECK_EQ(taken[1]->write_len, 7);
	vio_req_wrote(taken[0], 0, 0x101);
	vio_req_done(taken[0]);
	CHECK_EQ(get(used + 2, 2, big), 1);
	CHECK_EQ(get(used + 4, 4, big), 3);
	CHECK_EQ(get(used + 8, 4, big), 0x101);
	CHECK_EQ(notifies, 1);
	/* The driver's wish is read in its order, and ours written in it. */
	put(r.layout.driver.v, VIRTQ_AVAIL_F_NO_INTERRUPT, 2, big);
	vio_req_done(taken[1]);
	CHECK_EQ(get(used + 2, 2, big), 2);
	CHECK_EQ(notifies, 1);
	vio_queue_kicks_off(&queue[0]);
	CHECK_EQ(get(used, 2, big), VIRTQ_USED_F_NO_NOTIFY);
}

TEST("a legacy ring is in the guest's byte order, whichever that is",
     "split.other.legacy-interfaces-virtqueue-endianness.1 "
     "core.other.legacy-interface-feature-bits.2")
{
	a_chain_goes_round(false);
	a_chain_goes_round(true);
}

TEST("with VERSION_1 the guest's byte order plays no part", "")
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };

	start(true, f);
	CHECK(!vio_dev_legacy(&dev));
	desc(0, RIG_DATA, 5, 0, 0, false);
	avail(0, false);
	/* Nor is the device in use before DRIVER_OK. */
	serve();
	CHECK_EQ(nr_taken, 0);
	vio_dev_set_status(&dev, 15);
	serve();
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->read_len, 5);
}

TEST("a legacy driver may use the device before DRIVER_OK",
     "core.other.legacy-interface-device-initialization.3")
{
	struct vio_features f = { { 0, 0 } };

	start(VIO_MACHINE_BIG, f);
	desc(0, RIG_DATA, 5, 0, 0, VIO_MACHINE_BIG);
	avail(0, VIO_MACHINE_BIG);
	serve();
	CHECK_EQ(nr_taken, 1);
	CHECK(!(vio_dev_status(&dev) & VIRTIO_STATUS_DRIVER_OK));
}

static void notified_when_empty(bool event_idx)
{
	struct vio_features f = { { 1ull << VIRTIO_F_NOTIFY_ON_EMPTY, 0 } };

	if (event_idx)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	start(false, f);
	for (unsigned i = 0; i < 4; i++) {
		desc(i, RIG_DATA, 5, 0, 0, false);
		avail((uint16_t)i, false);
	}
	/* No notification, please: by flag, or an event long gone. */
	put(r.layout.driver.v, VIRTQ_AVAIL_F_NO_INTERRUPT, 2, false);
	put(r.layout.driver.v + 4 + 2 * RIG_SIZE, 0x8000, 2, false);
	serve();
	CHECK_EQ(nr_taken, 4);
	vio_req_done(taken[0]);
	if (event_idx)		/* the first of all is always told */
		notifies = 0;
	vio_req_done(taken[1]);
	vio_req_done(taken[2]);
	CHECK_EQ(notifies, 0);
	/* One more came: not empty yet. */
	desc(0, RIG_DATA, 5, 0, 0, false);
	avail(0, false);
	vio_req_done(taken[3]);
	CHECK_EQ(notifies, 0);
	nr_taken = 0;
	serve();
	CHECK_EQ(nr_taken, 1);
	vio_req_done(taken[0]);
	CHECK_EQ(notifies, 1);
}

TEST("NOTIFY_ON_EMPTY: the last one is told, wanted or not",
     "core.other.legacy-interface-reserved-feature-bits.1 "
     "core.other.legacy-interface-reserved-feature-bits.2 "
     "core.other.legacy-interface-reserved-feature-bits.3")
{
	notified_when_empty(false);
	notified_when_empty(true);
}

TEST("NOTIFY_ON_EMPTY: a nonsensical index does not keep a reset from ending",
     "")
{
	struct vio_features f = { { 1ull << VIRTIO_F_NOTIFY_ON_EMPTY, 0 } };

	start(false, f);
	desc(0, RIG_DATA, 5, 0, 0, false);
	avail(0, false);
	serve();
	CHECK_EQ(nr_taken, 1);
	vio_dev_set_status(&dev, VIRTIO_STATUS_ACKNOWLEDGE);
	vio_dev_set_status(&dev, 0);
	CHECK(vio_dev_status(&dev) != 0);
	/* Looked at when the last request is told of. */
	put(r.layout.driver.v + 2, 0x7000, 2, false);
	vio_req_done(taken[0]);
	CHECK_EQ(vio_dev_status(&dev), 0);
	CHECK_EQ(dev.queue[0].inflight, 0);
}
