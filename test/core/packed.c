/* SPDX-License-Identifier: MIT */
/*
 * packed.c - the device half of the packed ring, word by word: lists of every
 * legal shape, every rule that a driver can break, event suppression, wraps.
 */
#include "test/core/rig.h"
#include <vireo/queue.h>
#include <vireo/spec/packed.h>
#include "vtest.h"

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
		taken[nr_taken++ % 64] = req;
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops take_ops = { .name = "take", .id = 4,
					     .service = take };
static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];
static uint16_t size, avail_pos, used_pos;	/* the driver's positions */

static struct pvirtq_desc *ring(void)
{
	return rig_at(&r, RIG_LOW);
}

static struct pvirtq_event_suppress *driver_event(void)
{
	return rig_at(&r, r.layout.driver.v);
}

static struct pvirtq_event_suppress *device_event(void)
{
	return rig_at(&r, r.layout.device.v);
}

static void start_sized(uint16_t ring_size, bool event_idx, bool in_order)
{
	struct vio_features f = { { 0, 0 } };

	size = ring_size;
	avail_pos = used_pos = nr_taken = 0;
	rig_init(&r, queue, 1, 0);
	r.layout.size = size;
	vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	vio_dev_init(&dev, &take_ops, &f, queue, 1, NULL, 0);
	f = *vio_dev_offered(&dev);
	if (!event_idx)
		vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	if (!in_order)
		vio_feature_clear(&f, VIRTIO_F_IN_ORDER);
	rig_start_at(&r, &dev, &f, VIO_QUEUE_NEW_PACKED);
}

static void start(bool event_idx)
{
	start_sized(RIG_SIZE, event_idx, false);
}

/* A descriptor at the driver's position, available at once. */
static void put(uint64_t addr, uint32_t len, uint16_t flags, uint16_t id)
{
	bool wrap = pvirtq_wrap(avail_pos, size);
	struct pvirtq_desc d = { vio_to_le64(addr), vio_to_le32(len),
		vio_to_le16(id), vio_to_le16(flags |
		(wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED)) };

	ring()[pvirtq_off(avail_pos, size)] = d;
	avail_pos = pvirtq_add(avail_pos, 1, size);
}

/* The next used descriptor, of a list that had @nr; false if none. */
static bool used(uint16_t *id, uint32_t *len, uint16_t nr)
{
	struct pvirtq_desc d = ring()[pvirtq_off(used_pos, size)];
	bool wrap = pvirtq_wrap(used_pos, size);
	uint16_t flags = vio_from_le16(d.flags);

	if (!!(flags & PVIRTQ_DESC_F_AVAIL) != wrap ||
	    !!(flags & PVIRTQ_DESC_F_USED) != wrap)
		return false;
	*id = vio_from_le16(d.id);
	*len = flags & PVIRTQ_DESC_F_WRITE ? vio_from_le32(d.len) : 0;
	used_pos = pvirtq_add(used_pos, nr, size);
	return true;
}

static void expect_used(uint16_t id, uint32_t len, uint16_t nr)
{
	uint16_t got_id = 0xffff;
	uint32_t got_len = ~0u;

	CHECK(used(&got_id, &got_len, nr));
	CHECK_EQ(got_id, id);
	CHECK_EQ(got_len, len);
}

static void expect_no_used(void)
{
	uint32_t len;
	uint16_t id;

	CHECK(!used(&id, &len, 0));
}

static void expect_break(void)
{
	rig_kick(&r);
	CHECK_EQ(nr_taken, 0);
	CHECK(rig_broken(&r));
	CHECK_EQ(vio_dev_reset(&dev), VIO_OK);
	CHECK_EQ(r.mem.pins, 0);
}

TEST("positions: offset and wrap counter, there and back", "")
{
	for (uint16_t n = 1; n < 40; n++) {
		for (uint16_t p = 0; p < 2 * n; p++) {
			uint16_t q = 0xffff;

			CHECK(pvirtq_unpack(pvirtq_pack(p, n), n, &q));
			CHECK_EQ(p, q);
			CHECK_EQ(pvirtq_distance(p, pvirtq_add(p, n, n), n),
				 n);
		}
		CHECK(!pvirtq_unpack(n, n, &(uint16_t){ 0 }));
	}
	CHECK_EQ(pvirtq_add(65535, 32768, 32768), 32767);
}

TEST("the event rule against its definition, every position",
     "")
{
	for (uint16_t n = 1; n < 12; n++)
	for (uint16_t old = 0; old < 2 * n; old++)
	for (uint16_t step = 0; step <= n; step++)
	for (uint16_t ev = 0; ev < 2 * n; ev++) {
		bool crossed = false;

		for (uint16_t i = 0; i < step; i++)
			crossed |= pvirtq_add(old, i, n) == ev;
		CHECK_EQ(pvirtq_need_event(ev, pvirtq_add(old, step, n), old,
					   n), crossed);
	}
}

TEST("a list becomes a request, one used descriptor answers it",
     "packed.device.scatter-gather-support.1 "
     "packed.device.packed-virtqueues.1")
{
	struct vio_cursor c;
	char got[4];

	start(false);
	memcpy(rig_at(&r, RIG_DATA), "ab", 2);
	memcpy(rig_at(&r, RIG_HIGH), "cd", 2);
	put(RIG_DATA, 2, PVIRTQ_DESC_F_NEXT, 9);
	put(RIG_HIGH, 2, PVIRTQ_DESC_F_NEXT, 9);
	put(RIG_DATA + 64, 8, PVIRTQ_DESC_F_WRITE, 5);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 1);
	c = vio_req_reader(taken[0]);
	CHECK(vio_cursor_read(&c, got, 4));
	CHECK_MEMEQ(got, "abcd", 4);
	c = vio_req_writer(taken[0]);
	CHECK(vio_cursor_write(&c, "xyz", 3));
	expect_no_used();
	vio_req_done(taken[0]);
	expect_used(5, 3, 3);
	CHECK_EQ(r.notifies, 1);
	CHECK_EQ(queue[0].avail_next, queue[0].used_next);
}

TEST("an indirect table: WRITE is its only flag",
     "packed.device.scatter-gather-support.2")
{
	const uint64_t t = RIG_DATA + 0x800;

	start(false);
	/* NEXT, INDIRECT and next are reserved in the table: ignored. */
	rig_indirect(&r, t, 0, RIG_DATA, 4, 0, 77);
	rig_indirect(&r, t, 1, RIG_DATA, 8, 0, PVIRTQ_DESC_F_WRITE |
		     PVIRTQ_DESC_F_NEXT | PVIRTQ_DESC_F_INDIRECT);
	put(t, 32, PVIRTQ_DESC_F_INDIRECT | PVIRTQ_DESC_F_WRITE, 3);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK_EQ(taken[0]->read_len, 4);
	CHECK_EQ(taken[0]->write_len, 8);
	vio_req_done(taken[0]);
	expect_used(3, 0, 1);
}

TEST("nothing is taken that was not made available",
     "packed.device.virtqueue-descriptor-table.2")
{
	start(false);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	put(RIG_DATA, 1, 0, 0);
	ring()[0].flags = vio_to_le16(PVIRTQ_DESC_F_AVAIL |
				      PVIRTQ_DESC_F_USED);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 0);
	ring()[0].flags = vio_to_le16(PVIRTQ_DESC_F_USED);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_taken, 0);
}

/* Random lists, finished in random order, on rings of every small size. */
static void traffic(struct vtest_rand *rnd, bool in_order)
{
	struct { struct vio_req *req; uint16_t id, nr; } fly[64];
	unsigned ids = 0, flying = 0, room = size, list_of[64], steps = 400;

	while (steps--) {
		unsigned nr = 1 + vtest_below(rnd, 3), id = 0;

		while (ids >> id & 1)
			id++;
		if (vtest_below(rnd, 2) && nr <= room && id < size) {
			for (unsigned i = 0; i < nr; i++)
				put(RIG_DATA + i, 1, i + 1 < nr ?
				    PVIRTQ_DESC_F_NEXT : PVIRTQ_DESC_F_WRITE,
				    id);
			ids |= 1u << id;
			room -= nr;
			list_of[id] = nr;
			nr_taken = 0;
			rig_kick(&r);
			CHECK_EQ(nr_taken, 1);
			fly[flying].req = taken[0];
			fly[flying].id = id;
			fly[flying++].nr = nr;
		} else if (flying) {
			unsigned i = in_order ? 0 : vtest_below(rnd, flying);
			uint16_t got;
			uint32_t len;

			vio_req_wrote(fly[i].req, 0, 1);
			vio_req_done(fly[i].req);
			CHECK(used(&got, &len, fly[i].nr));
			CHECK_EQ(got, fly[i].id);
			CHECK_EQ(len, fly[i].req->write_len);
			ids &= ~(1u << got);
			room += list_of[got];
			memmove(&fly[i], &fly[i + 1],
				(--flying - i) * sizeof(fly[0]));
		}
		CHECK_EQ(pvirtq_distance(queue[0].used_next,
					 queue[0].avail_next, size),
			 size - room);
	}
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
}

TEST("rings of any size, used in any order, over many wraps",
     "packed.device.packed-virtqueues.2 "
     "packed.device.virtqueue-descriptor-table.3")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (uint16_t n = 1; n <= RIG_SIZE; n++) {
		for (unsigned v = 0; v < 4; v++) {
			start_sized(n, v & 1, v & 2);
			traffic(&rnd, v & 2);
		}
	}
}

TEST("a batch becomes visible with its first descriptor",
     "packed.device.packed-virtqueues.3")
{
	start(false);
	for (unsigned i = 0; i < 3; i++)
		put(RIG_DATA, 1, 0, i);
	rig_kick(&r);
	vio_queue_hold(&queue[0]);
	vio_req_done(taken[1]);
	vio_req_done(taken[0]);
	vio_req_done(taken[2]);
	expect_no_used();
	vio_queue_release(&queue[0]);
	expect_used(1, 0, 1);
	expect_used(0, 0, 1);
	expect_used(2, 0, 1);
	CHECK_EQ(r.notifies, 1);
}

TEST("in order: used in the order they came",
     "core.device.reserved-feature-bits.5")
{
	start_sized(RIG_SIZE, false, true);
	for (unsigned i = 0; i < 3; i++)
		put(RIG_DATA, 1, 0, 7 - i);
	rig_kick(&r);
	vio_req_done(taken[2]);
	vio_req_done(taken[1]);
	expect_no_used();
	vio_req_done(taken[0]);
	expect_used(7, 0, 1);
	expect_used(6, 0, 1);
	expect_used(5, 0, 1);
}

TEST("the driver's event suppression is obeyed",
     ""
     "")
{
	start(true);
	driver_event()->flags = vio_to_le16(RING_EVENT_FLAGS_DISABLE);
	put(RIG_DATA, 1, 0, 0);
	rig_kick(&r);
	vio_req_done(taken[0]);
	CHECK_EQ(r.notifies, 0);
	driver_event()->flags = vio_to_le16(RING_EVENT_FLAGS_ENABLE);
	put(RIG_DATA, 1, 0, 0);
	rig_kick(&r);
	vio_req_done(taken[1]);
	CHECK_EQ(r.notifies, 1);
	driver_event()->flags = vio_to_le16(RING_EVENT_FLAGS_DESC);
	driver_event()->desc = vio_to_le16(0x8000 | 4);
	for (unsigned i = 2; i < 8; i++) {
		static const unsigned want[] = { 2, 2, 3, 3, 3, 3 };

		/* The first is always sent: nothing is known before it. */
		put(RIG_DATA, 1, 0, 0);
		rig_kick(&r);
		vio_req_done(taken[i]);
		CHECK_EQ(r.notifies, want[i - 2]);
	}
}

TEST("our event suppression: off while working, then on for the next one",
     "")
{
	for (unsigned ev = 0; ev < 2; ev++) {
		start(ev);
		put(RIG_DATA, 1, 0, 0);
		vio_queue_poll(&queue[0], 8);
		CHECK_EQ(vio_from_le16(device_event()->flags),
			 RING_EVENT_FLAGS_DISABLE);
		CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
		CHECK_EQ(vio_from_le16(device_event()->flags),
			 ev ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE);
		CHECK_EQ(vio_from_le16(device_event()->desc), 0x8001);
		vio_queue_kicks_off(&queue[0]);
		put(RIG_DATA, 1, 0, 1);
		CHECK(vio_queue_kicks_on(&queue[0]));
	}
}

TEST("a list longer than the ring, or than what is free of it, breaks", "")
{
	start(false);
	for (unsigned i = 0; i < RIG_SIZE; i++)
		put(RIG_DATA, 1, PVIRTQ_DESC_F_NEXT, 0);
	expect_break();
}

TEST("entries offered again while they are lent break the queue", "")
{
	start_sized(2, false, false);
	put(RIG_DATA, 1, 0, 0);
	put(RIG_DATA, 1, 0, 1);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 2);
	put(RIG_DATA, 1, 0, 0);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 2);
	CHECK(rig_broken(&r));
	vio_req_done(taken[0]);
	vio_req_done(taken[1]);
	CHECK_EQ(vio_dev_reset(&dev), VIO_OK);
}

TEST("an id in use, or outside the ring's size, breaks the queue", "")
{
	start(false);
	put(RIG_DATA, 1, 0, RIG_SIZE);
	expect_break();
	start(false);
	put(RIG_DATA, 1, 0, 4);
	rig_kick(&r);
	put(RIG_DATA, 1, 0, 4);
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	CHECK(rig_broken(&r));
}

TEST("an indirect descriptor in a list, or an unsound table, breaks", "")
{
	const uint64_t t = RIG_DATA + 0x800;
	const struct { uint64_t addr; uint32_t len; uint16_t flags; } bad[] = {
		{ t, 0, 0 }, { t, 24, 0 }, { t, 16, PVIRTQ_DESC_F_NEXT },
		{ 0, 16, 0 }, { UINT64_MAX - 7, 16, 0 },
		{ RIG_LOW + RIG_LEN - 8, 16, 0 },
		{ t, (RIG_SEG_MAX + 1) * 16, 0 }, { t, 0xfffffff0, 0 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		start(false);
		put(bad[i].addr, bad[i].len,
		    PVIRTQ_DESC_F_INDIRECT | bad[i].flags, 0);
		expect_break();
	}
	start(false);
	put(RIG_DATA, 1, PVIRTQ_DESC_F_NEXT, 0);
	put(t, 16, PVIRTQ_DESC_F_INDIRECT, 0);
	expect_break();
}

TEST("buffers outside memory, and readable after writable, break", "")
{
	start(false);
	put(RIG_LOW + RIG_LEN - 1, 2, 0, 0);
	expect_break();
	start(false);
	put(UINT64_MAX, 0xffffffff, PVIRTQ_DESC_F_WRITE, 0);
	expect_break();
	start(false);
	put(RIG_DATA, 1, PVIRTQ_DESC_F_WRITE | PVIRTQ_DESC_F_NEXT, 0);
	put(RIG_DATA, 1, 0, 0);
	expect_break();
}

TEST("a request put back comes again, wraps included", "")
{
	start_sized(3, false, false);
	for (unsigned i = 0; i < 20; i++) {
		struct vio_req *req;
		uint16_t base;

		put(RIG_DATA, 1, PVIRTQ_DESC_F_NEXT, 0);
		put(RIG_DATA, 1, 0, 1);
		base = vio_queue_avail_base(&queue[0]);
		req = vio_queue_pop(&queue[0]);
		CHECK(req != NULL);
		vio_queue_unpop(&queue[0], req);
		CHECK_EQ(vio_queue_avail_base(&queue[0]), base);
		req = vio_queue_pop(&queue[0]);
		CHECK(req != NULL);
		vio_req_done(req);
		expect_used(1, 0, 2);
	}
}

TEST("a ring goes on where it stopped; impossible places are refused", "")
{
	uint16_t avail, used_base;

	start_sized(5, false, false);
	for (unsigned i = 0; i < 7; i++) {
		put(RIG_DATA, 1, 0, 0);
		rig_kick(&r);
		vio_req_done(taken[i]);
		expect_used(0, 0, 1);
	}
	vio_queue_stop(&queue[0]);
	avail = vio_queue_avail_base(&queue[0]);
	used_base = vio_queue_used_base(&queue[0]);
	CHECK_EQ(avail, 2);	/* second round: wrap counter 0 */
	CHECK_EQ(used_base, 2);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 5, 5),
		 VIO_E_INVAL);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 2, 0x8003),
		 VIO_OK);
	vio_queue_stop(&queue[0]);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 0x8003, 3),
		 VIO_OK);
	vio_queue_stop(&queue[0]);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, 2, 0x8001),
		 VIO_E_INVAL);
	CHECK_EQ(r.mem.pins, 0);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &r.layout, avail,
				 used_base), VIO_OK);
	put(RIG_DATA, 1, 0, 0);
	nr_taken = 0;
	rig_kick(&r);
	CHECK_EQ(nr_taken, 1);
	vio_req_done(taken[0]);
	expect_used(0, 0, 1);
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
	start(false);
	put(RIG_DATA, 16, PVIRTQ_DESC_F_WRITE, 0);
	rig_kick(&r);
	r.mem.dirty = on_dirty;
	dirty_bytes = 0;
	vio_req_wrote(taken[0], 0, 3);
	vio_req_done(taken[0]);
	CHECK_EQ(dirty_bytes, 3 + 16 + 2);	/* data, descriptor, flags */
}
