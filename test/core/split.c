/* SPDX-License-Identifier: MIT */
/*
 * split.c - the device half of the split ring, word by word: chains of every
 * legal shape, every rule that a driver can break, notifications, order.
 */
#include "test/core/rig.h"
#include <vireo/queue.h>
#include "vtest.h"

/* A device that takes requests and lets the test finish them. */
static struct vio_req *taken[64];
static unsigned nr_taken;

static enum vio_service take(struct vio_dev *dev, struct vio_queue *q,
			     unsigned budget)
{
	(void)dev;
	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);

		if (!req)
			return VIO_SERVICE_IDLE;
		taken[nr_taken++] = req;
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops take_ops = { .name = "take", .id = 4,
					     .service = take };
static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];

static void setup(void)
{
	struct vio_features f = { { 0, 0 } };

	nr_taken = 0;
	rig_init(&r, queue, 1, 0);
	vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	vio_dev_init(&dev, &take_ops, &f, queue, 1, NULL, 0);
}

/* Start without in-order use; with the event index if asked. */
static void start(bool event_idx)
{
	struct vio_features f;

	setup();
	f = *vio_dev_offered(&dev);
	vio_feature_clear(&f, VIRTIO_F_IN_ORDER);
	if (!event_idx)
		vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	rig_start(&r, &dev, &f);
}

static void expect_used(uint32_t id, uint32_t len)
{
	uint32_t got_id = ~0u, got_len = ~0u;

	CHECK(rig_used(&r, &got_id, &got_len));
	CHECK_EQ(got_id, id);
	CHECK_EQ(got_len, len);
}

static void expect_no_used(void)
{
	uint32_t id, len;

	CHECK(!rig_used(&r, &id, &len));
}

TEST("a chain becomes a request of bytes", "split.device.message-framing.1")
{
	struct vio_cursor c;
	char got[10];

	start(false);
	memcpy(rig_at(&r, RIG_DATA), "abcd", 4);
	memcpy(rig_at(&r, RIG_HIGH), "efghij", 6);
	rig_desc(&r, 3, RIG_DATA, 4, VIRTQ_DESC_F_NEXT, 5);
	rig_desc(&r, 5, RIG_HIGH, 6, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, RIG_DATA + 64, 8, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 3);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->read_len, 10);
	CHECK_EQ(taken[0]->write_len, 8);
	c = vio_req_reader(taken[0]);
	CHECK(vio_cursor_read(&c, got, 10));
	CHECK_MEMEQ(got, "abcdefghij", 10);
	c = vio_req_writer(taken[0]);
	CHECK(vio_cursor_write(&c, "xyz", 3));
	vio_req_done(taken[0]);
	CHECK_MEMEQ(rig_at(&r, RIG_DATA + 64), "xyz", 3);
	expect_used(3, 3);
	CHECK_EQ(r.notifies, 1);
}

TEST("the descriptor table is never written",
     "split.device.virtqueue-descriptor-table.2")
{
	unsigned char before[RIG_SIZE * sizeof(struct virtq_desc)];

	start(true);
	for (unsigned i = 0; i < RIG_SIZE; i++)
		rig_desc(&r, i, RIG_DATA, 1 + i, VIRTQ_DESC_F_WRITE, i + 1);
	memcpy(before, r.low, sizeof(before));
	for (unsigned i = 0; i < 4 * RIG_SIZE; i++) {
		nr_taken = 0;
		rig_avail(&r, i % RIG_SIZE);
		rig_kick(&r);
		vio_req_wrote(taken[0], 0, 1);
		vio_req_done(taken[0]);
	}
	CHECK_MEMEQ(r.low, before, sizeof(before));
}

TEST("a buffer may lie across two regions that touch", "")
{
	struct vio_region apart[2];

	start(false);
	memcpy(apart, r.region, sizeof(apart));
	r.region[1].addr.v = RIG_LOW + RIG_LEN;	/* now they touch */
	rig_desc(&r, 0, RIG_LOW + RIG_LEN - 8, 16, 0, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->nr_read, 2);
	CHECK_EQ(taken[0]->read_len, 16);
}

TEST("empty descriptors carry nothing and harm nothing",
     "split.device.message-framing.1")
{
	start(false);
	rig_desc(&r, 0, RIG_DATA, 0, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, 0xdead0000, 0, VIRTQ_DESC_F_NEXT, 2);
	rig_desc(&r, 2, RIG_DATA, 4, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->read_len, 0);
	CHECK_EQ(taken[0]->write_len, 4);
}

TEST("direct descriptors, then an indirect table, its WRITE flag ignored",
     "split.device.indirect-descriptors.1 split.device.indirect-descriptors.2")
{
	const uint64_t table = RIG_DATA + 0x800;

	start(false);
	rig_desc(&r, 0, RIG_DATA, 4, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, table, 48, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE,
		 0);
	rig_indirect(&r, table, 0, RIG_DATA, 8, VIRTQ_DESC_F_NEXT, 2);
	rig_indirect(&r, table, 2, RIG_DATA, 16, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->read_len, 12);
	CHECK_EQ(taken[0]->write_len, 16);
	vio_req_done(taken[0]);
	expect_used(0, 0);
}

TEST("a long indirect chain moves to the overflow segments and is whole",
     "split.device.message-framing.2")
{
	const uint64_t table = RIG_DATA + 0x800;
	struct vio_cursor c;
	unsigned char got[40];

	start(false);
	for (unsigned i = 0; i < 40; i++) {
		*(unsigned char *)rig_at(&r, RIG_HIGH + i * 2) = i;
		rig_indirect(&r, table, i, RIG_HIGH + i * 2, 1,
			     i < 39 ? VIRTQ_DESC_F_NEXT : 0, i + 1);
	}
	rig_desc(&r, 7, table, 40 * 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 7);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	c = vio_req_reader(taken[0]);
	CHECK(vio_cursor_read(&c, got, 40));
	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(got[i], i);
	CHECK(!vio_cursor_read(&c, got, 1));
}

/* One broken rule each: what the driver wrote, and nothing was taken. */
static void expect_break(void)
{
	rig_kick(&r);
	CHECK_EQ(nr_taken, 0);
	CHECK(rig_broken(&r));
	expect_no_used();
	/* Broken is a state: nothing wakes it but a reset. */
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(r.logs, 1);
	CHECK_EQ(vio_dev_reset(&dev), VIO_OK);
	CHECK_EQ(vio_dev_status(&dev), 0);
	CHECK_EQ(r.mem.pins, 0);
}

TEST("a chain that loops breaks the queue",
     "core.device.device-status-field.2 core.device.device-status-field.3")
{
	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, RIG_DATA, 1, VIRTQ_DESC_F_NEXT, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("a head outside the table breaks the queue", "")
{
	start(false);
	rig_avail(&r, RIG_SIZE);
	expect_break();
}

TEST("a next outside the table breaks the queue", "")
{
	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, VIRTQ_DESC_F_NEXT, RIG_SIZE);
	rig_avail(&r, 0);
	expect_break();
}

TEST("an available index too far ahead breaks the queue", "")
{
	start(false);
	r.avail_idx = RIG_SIZE;
	rig_avail(&r, 0);
	expect_break();
}

TEST("a buffer outside memory breaks the queue", "")
{
	const struct { uint64_t addr; uint32_t len; } bad[] = {
		{ RIG_LOW - 1, 1 }, { RIG_LOW - 1, 2 },
		{ RIG_LOW + RIG_LEN, 1 }, { RIG_LOW + RIG_LEN - 1, 2 },
		{ RIG_HIGH, 0xffffffff }, { UINT64_MAX, 1 },
		{ UINT64_MAX, 0xffffffff }, { 0, 1 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		start(false);
		rig_desc(&r, 0, bad[i].addr, bad[i].len, 0, 0);
		rig_avail(&r, 0);
		expect_break();
	}
}

TEST("a readable descriptor after a writable one breaks the queue", "")
{
	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE,
		 1);
	rig_desc(&r, 1, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("a read-only region takes no writable buffer",
     "split.device.virtqueue-descriptor-table.1")
{
	start(false);
	r.region[1].perm = VIO_PERM_READ;
	rig_desc(&r, 0, RIG_HIGH, 1, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("an indirect table must be sound", "")
{
	const uint64_t t = RIG_DATA + 0x800;
	const struct { uint64_t addr; uint32_t len; uint16_t flags; } bad[] = {
		{ t, 0, 0 }, { t, 15, 0 }, { t, 17, 0 },
		{ t, 16, VIRTQ_DESC_F_NEXT }, { 0, 16, 0 },
		{ RIG_LOW + RIG_LEN - 8, 16, 0 }, { UINT64_MAX - 7, 16, 0 },
		{ RIG_HIGH + RIG_LEN - 16, 0xfffffff0, 0 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		start(false);
		rig_indirect(&r, t, 0, RIG_DATA, 1, 0, 0);
		rig_desc(&r, 0, bad[i].addr, bad[i].len,
			 VIRTQ_DESC_F_INDIRECT | bad[i].flags, 1);
		if (i == 7)	/* the table's first entry leads out of it */
			rig_indirect(&r, RIG_HIGH + RIG_LEN - 16, 0, RIG_DATA,
				     1, VIRTQ_DESC_F_NEXT, 1);
		rig_avail(&r, 0);
		expect_break();
	}
}

TEST("an indirect table may not nest, loop or lead outside", "")
{
	const uint64_t t = RIG_DATA + 0x800;
	const struct { uint16_t flags, next; } bad[] = {
		{ VIRTQ_DESC_F_INDIRECT, 0 }, { VIRTQ_DESC_F_NEXT, 0 },
		{ VIRTQ_DESC_F_NEXT, 2 }, { VIRTQ_DESC_F_NEXT, 0xffff },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		start(false);
		rig_desc(&r, 0, t, 32, VIRTQ_DESC_F_INDIRECT, 0);
		rig_indirect(&r, t, 0, RIG_DATA, 16, bad[i].flags,
			     bad[i].next);
		rig_avail(&r, 0);
		expect_break();
	}
}

TEST("without INDIRECT_DESC the flag breaks the queue", "")
{
	struct vio_features f = { { 0, 0 } };

	setup();
	vio_feature_set(&f, VIRTIO_F_VERSION_1);
	rig_start(&r, &dev, &f);
	rig_desc(&r, 0, RIG_DATA, 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("more segments than the storage holds break the queue",
     "split.device.message-framing.2")
{
	const uint64_t t = RIG_DATA + 0x800;

	start(false);
	for (unsigned i = 0; i <= RIG_SEG_MAX; i++)
		rig_indirect(&r, t, i, RIG_DATA, 1,
			     i < RIG_SEG_MAX ? VIRTQ_DESC_F_NEXT : 0, i + 1);
	rig_desc(&r, 0, t, (RIG_SEG_MAX + 1) * 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("a chain longer than 4 GiB breaks the queue", "")
{
	static unsigned char some[4096];
	struct vio_region big = { { 0x100000000ull }, 0x200000000ull, some, 0,
				  VIO_PERM_RW };
	struct vio_region both[2];
	struct vio_mem mem;

	start(false);
	both[0] = r.region[0];
	both[1] = big;		/* never touched: only its size matters */
	CHECK_EQ(vio_mem_init(&mem, both, 2), VIO_OK);
	CHECK_EQ(vio_queue_set_mem(&queue[0], &mem), VIO_OK);
	rig_desc(&r, 0, big.addr.v, 0xffffffff, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, big.addr.v, 1, 0, 0);
	rig_avail(&r, 0);
	expect_break();
}

TEST("a chain offered again before it is used breaks the queue", "")
{
	start(false);
	rig_desc(&r, 2, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 2);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	rig_avail(&r, 2);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK(rig_broken(&r));
	/* What is in flight still ends, and only then is the reset over. */
	CHECK_EQ(vio_dev_reset(&dev), VIO_E_AGAIN);
	CHECK_NE(vio_dev_status(&dev), 0);
	vio_req_done(taken[0]);
	CHECK_EQ(vio_dev_status(&dev), 0);
	CHECK_EQ(r.mem.pins, 0);
}

TEST("without the event index, flags decide on notifications",
     "split.device.used-buffer-notification-suppression.1 "
     "split.device.used-buffer-notification-suppression.2 "
     "split.device.used-buffer-notification-suppression.3")
{
	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	*rig_used_event(&r) = vio_to_le16(40);	/* means nothing here */
	rig_avail(&r, 0);
	rig_kick(&r);
	vio_req_done(taken[0]);
	CHECK_EQ(r.notifies, 1);
	*rig_avail_flags(&r) = vio_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	rig_avail(&r, 0);
	rig_kick(&r);
	vio_req_done(taken[1]);
	CHECK_EQ(r.notifies, 1);
	CHECK_EQ(queue[0].stats.suppressed, 1);
}

TEST("with the event index, crossing used_event decides, flags do not",
     "split.device.used-buffer-notification-suppression.4 "
     "split.device.used-buffer-notification-suppression.5 "
     "split.device.used-buffer-notification-suppression.6")
{
	start(true);
	*rig_avail_flags(&r) = vio_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	*rig_used_event(&r) = vio_to_le16(2);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	for (unsigned i = 0; i < 6; i++) {
		static const unsigned want[] = { 1, 1, 2, 2, 2, 2 };

		/* The first is always sent: nothing is known before it. */
		rig_avail(&r, 0);
		rig_kick(&r);
		vio_req_done(taken[i]);
		CHECK_EQ(r.notifies, want[i]);
	}
}

TEST("a batch is published and notified once",
     "split.device.virtqueue-used-ring.1")
{
	start(false);
	for (unsigned i = 0; i < 4; i++) {
		rig_desc(&r, i, RIG_DATA, 1, 0, 0);
		rig_avail(&r, i);
	}
	rig_kick(&r);
	CHECK_EQ(nr_taken, 4);
	vio_queue_hold(&queue[0]);
	for (unsigned i = 4; i--;)
		vio_req_done(taken[i]);
	expect_no_used();
	vio_queue_release(&queue[0]);
	CHECK_EQ(r.notifies, 1);
	for (unsigned i = 4; i--;)
		expect_used(i, 0);
}

TEST("what is done while the queue is held is used even if it stops meanwhile",
     "")
{
	start(false);
	for (unsigned i = 0; i < RIG_SIZE; i++) {
		rig_desc(&r, i, RIG_DATA, 1, 0, 0);
		rig_avail(&r, i);
	}
	rig_kick(&r);
	CHECK_EQ(nr_taken, RIG_SIZE);
	vio_queue_hold(&queue[0]);
	for (unsigned i = 0; i < 3; i++)
		vio_req_done(taken[i]);
	expect_no_used();
	CHECK_EQ(vio_queue_stop(&queue[0]), RIG_SIZE - 3);
	for (unsigned i = 3; i < RIG_SIZE; i++)
		vio_req_done(taken[i]);
	vio_queue_release(&queue[0]);
	CHECK_EQ(queue[0].inflight, 0);
	for (unsigned i = 0; i < RIG_SIZE; i++)
		expect_used(i, 0);
}

TEST("kicks are off while it works, on when it is idle",
     "split.device.available-buffer-notification-suppression.1 "
     "split.device.available-buffer-notification-suppression.2 "
     "split.device.available-buffer-notification-suppression.5")
{
	start(false);
	vio_queue_kicks_off(&queue[0]);
	CHECK_EQ(vio_from_le16(*rig_used_flags(&r)), VIRTQ_USED_F_NO_NOTIFY);
	CHECK(!vio_queue_kicks_on(&queue[0]));
	CHECK_EQ(vio_from_le16(*rig_used_flags(&r)), 0);
	vio_queue_kicks_off(&queue[0]);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	CHECK(vio_queue_kicks_on(&queue[0]));	/* no lost wake-up */
	rig_kick(&r);
	rig_kick(&r);				/* spurious */
	CHECK_EQ(nr_taken, 1);
}

TEST("with the event index, avail_event follows and flags stay 0",
     "split.device.available-buffer-notification-suppression.3 "
     "split.device.available-buffer-notification-suppression.4")
{
	start(true);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(vio_from_le16(*rig_avail_event(&r)), i);
		rig_avail(&r, 0);
		rig_kick(&r);
		CHECK_EQ(vio_from_le16(*rig_used_flags(&r)), 0);
		vio_req_done(taken[i]);
	}
}

TEST("in order: buffers are used in the order they came",
     "core.device.reserved-feature-bits.5")
{
	setup();
	rig_start_plain(&r, &dev);
	for (unsigned i = 0; i < 4; i++) {
		rig_desc(&r, i, RIG_DATA, 1, 0, 0);
		rig_avail(&r, i);
	}
	rig_kick(&r);
	vio_req_done(taken[2]);
	vio_req_done(taken[1]);
	expect_no_used();
	vio_req_done(taken[0]);
	expect_used(0, 0);
	expect_used(1, 0);
	expect_used(2, 0);
	expect_no_used();
	vio_req_done(taken[3]);
	expect_used(3, 0);
}

/* Of three requests one is done, the queue breaks, two more are done. */
static void break_in_order(unsigned first, bool before_reset)
{
	setup();
	rig_start_plain(&r, &dev);
	for (uint16_t i = 0; i < 3; i++) {
		rig_desc(&r, i, RIG_DATA, 4, VIRTQ_DESC_F_WRITE, 0);
		rig_avail(&r, i);
	}
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 3);
	vio_req_done(taken[first]);
	rig_avail(&r, first == 2 ? 1 : 2);	/* offered twice */
	rig_kick(&r);
	CHECK(rig_broken(&r));
	vio_req_done(taken[(first + 1) % 3]);
	if (before_reset)
		vio_req_done(taken[(first + 2) % 3]);
	CHECK_EQ(vio_dev_reset(&dev), before_reset ? VIO_OK : VIO_E_AGAIN);
	if (!before_reset)
		vio_req_done(taken[(first + 2) % 3]);
	CHECK_EQ(queue[0].inflight, 0);
	CHECK_EQ(vio_dev_status(&dev), 0);
	CHECK_EQ(r.mem.pins, 0);
}

TEST("in order: a broken queue lets go of what waits for its turn",
     "core.device.device-reset.1")
{
	for (unsigned first = 0; first < 3; first++) {
		break_in_order(first, false);
		break_in_order(first, true);
	}
}

TEST("indices run past 65535 without a stumble", "")
{
	start(true);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		nr_taken = 0;
		*rig_used_event(&r) = vio_to_le16(i);
		rig_avail(&r, 0);
		rig_kick(&r);
		CHECK_EQ(nr_taken, 1);
		vio_req_done(taken[0]);
		expect_used(0, 0);
	}
	CHECK_EQ(r.notifies, 70000);
}

TEST("a request put back comes again", "")
{
	struct vio_req *req;

	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	req = vio_queue_pop(&queue[0]);
	CHECK(req != NULL);
	vio_queue_unpop(&queue[0], req);
	CHECK_EQ(queue[0].inflight, 0);
	CHECK_EQ(vio_queue_avail_base(&queue[0]), 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
}

TEST("a ring goes on where it stopped", "")
{
	uint16_t used_idx = 0;

	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 0);
	taken[0] = vio_queue_pop(&queue[0]);
	CHECK_EQ(vio_queue_stop(&queue[0]), 1);
	CHECK(!vio_queue_pop(&queue[0]));
	CHECK_EQ(r.mem.pins, 1);		/* still in flight */
	vio_req_done(taken[0]);
	expect_used(0, 0);
	CHECK_EQ(r.mem.pins, 0);
	CHECK_EQ(vio_queue_avail_base(&queue[0]), 1);
	CHECK_EQ(vio_queue_used_in_ring(&queue[0], &r.mem, &r.layout,
					&used_idx), VIO_OK);
	CHECK_EQ(used_idx, 1);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 1, used_idx),
		 VIO_OK);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	vio_req_done(taken[0]);
	expect_used(0, 0);
}

TEST("a ring that does not fit is refused", "")
{
	struct vio_queue_layout l;

	setup();
	for (unsigned i = 0; i < 9; i++) {
		l = r.layout;
		switch (i) {
		case 0: l.size = 0; break;
		case 1: l.size = 3; break;
		case 2: l.size = 32; break;	/* above the storage */
		case 3: l.desc.v += 8; break;
		case 4: l.driver.v += 1; break;
		case 5: l.device.v += 2; break;
		case 6: l.desc.v = RIG_LOW + RIG_LEN - 16; break;
		case 7: l.driver.v = RIG_LOW + RIG_LEN; break;
		case 8: l.device.v = UINT64_MAX - 3; break;
		}
		CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &l, 0, 0),
			 i < 6 ? VIO_E_INVAL : VIO_E_RANGE);
	}
	CHECK_EQ(r.mem.pins, 0);
}

TEST("memory changes under a running ring; old requests keep theirs", "")
{
	static struct vio_mem maps[VIO_QUEUE_MAPS];
	struct vio_req *old;

	start(false);
	rig_desc(&r, 0, RIG_DATA, 1, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	old = taken[0];
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++) {
		maps[i] = r.mem;
		maps[i].pins = 0;
	}
	CHECK_EQ(vio_queue_set_mem(&queue[0], &maps[0]), VIO_OK);
	CHECK_EQ(r.mem.pins, 1);		/* old has it */
	CHECK_EQ(vio_queue_set_mem(&queue[0], &maps[1]), VIO_OK);
	CHECK_EQ(maps[0].pins, 0);		/* nobody had it */
	vio_req_done(old);
	CHECK_EQ(r.mem.pins, 0);
	expect_used(0, 0);
	vio_queue_stop(&queue[0]);
	CHECK_EQ(maps[1].pins, 0);
}

TEST("too many maps at a time: drain first", "")
{
	static struct vio_mem maps[VIO_QUEUE_MAPS];

	start(false);
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++) {
		maps[i] = r.mem;
		maps[i].pins = 0;
		rig_desc(&r, i, RIG_DATA, 1, 0, 0);
		rig_avail(&r, i);
		rig_kick(&r);
		CHECK_EQ(vio_queue_set_mem(&queue[0], &maps[i]),
			 i < VIO_QUEUE_MAPS - 1 ? VIO_OK : VIO_E_AGAIN);
	}
	vio_req_done(taken[0]);
	CHECK_EQ(vio_queue_set_mem(&queue[0], &maps[VIO_QUEUE_MAPS - 1]),
		 VIO_OK);
}

TEST("a new map without the ring is refused, the old one stays", "")
{
	struct vio_mem other;

	start(false);
	CHECK_EQ(vio_mem_init(&other, &r.region[1], 1), VIO_OK);
	CHECK_EQ(vio_queue_set_mem(&queue[0], &other), VIO_E_RANGE);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
}

TEST("one queue is reset: silence, then a new ring of another size",
     "core.device.virtqueue-reset.1 core.device.virtqueue-reset.2 "
     "core.device.virtqueue-re-enable.1")
{
	struct vio_queue_layout smaller;

	start(true);
	rig_desc(&r, 0, RIG_DATA, 1, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		rig_avail(&r, 0);
		rig_kick(&r);
		vio_req_done(taken[i]);
	}
	CHECK_EQ(vio_queue_stop(&queue[0]), 0);
	r.notifies = nr_taken = 0;
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 0);
	CHECK_EQ(r.notifies, 0);
	/* As after the first start: indices at 0, at another place. */
	memset(r.high, 0, sizeof(r.high));
	smaller = (struct vio_queue_layout){ 2, { RIG_HIGH },
		{ RIG_HIGH + 64 }, { RIG_HIGH + 128 } };
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &smaller, 0, 0), VIO_OK);
	CHECK_EQ(vio_queue_avail_base(&queue[0]), 0);
	CHECK_EQ(vio_queue_used_base(&queue[0]), 0);
	rig_indirect(&r, RIG_HIGH, 1, RIG_DATA, 4, 0, 0);
	((vio_le16 *)(r.high + 64))[2] = vio_to_le16(1);
	((vio_le16 *)(r.high + 64))[1] = vio_to_le16(1);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 1);
	vio_req_done(taken[0]);
	CHECK_EQ(vio_from_le16(((vio_le16 *)(r.high + 128))[1]), 1);
	CHECK_EQ(r.notifies, 1);
}

static uint64_t dirty_bytes;

static void on_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	(void)ctx;
	(void)addr;
	dirty_bytes += len;
}

TEST("what the device writes is marked in the dirty log", "")
{
	struct vio_cursor c;

	start(false);
	rig_desc(&r, 0, RIG_DATA, 16, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	r.mem.dirty = on_dirty;
	dirty_bytes = 0;
	c = vio_req_writer(taken[0]);
	CHECK(vio_cursor_write(&c, "12345", 5));
	CHECK_EQ(dirty_bytes, 5);
	vio_req_wrote(taken[0], 5, 3);
	CHECK_EQ(dirty_bytes, 8);
	vio_req_done(taken[0]);
	CHECK_EQ(dirty_bytes, 8 + 8 + 2);	/* used element, used index */
	expect_used(0, 8);
}

TEST("storage that is too small or crooked is refused", "")
{
	struct vio_queue_limits l = { RIG_SIZE, RIG_SEG_MAX, 0 };
	size_t need = vio_queue_storage_size(&l);
	struct vio_queue q;

	CHECK_GT(need, 0);
	CHECK_EQ(vio_queue_init(&q, NULL, 0, &l, r.storage[0], need - 1),
		 VIO_E_NOSPC);
	CHECK_EQ(vio_queue_init(&q, NULL, 0, &l, r.storage[0] + 8, need),
		 VIO_E_INVAL);
	l.size_max = 0;
	CHECK_EQ(vio_queue_storage_size(&l), 0);
	l.size_max = 32768;
	l.seg_max = 7;
	CHECK_EQ(vio_queue_storage_size(&l), 0);
}
