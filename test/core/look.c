/* SPDX-License-Identifier: MIT */
/* An onlooker's view of a ring: what it sees, and that it moves nothing. */
#include "test/core/rig.h"
#include <vireo/look.h>
#include <vireo/queue.h>
#include <vireo/spec/packed.h>
#include "vtest.h"

static struct vio_req *taken[16];
static unsigned nr_taken;

static enum vio_service take(struct vio_dev *dev, struct vio_queue *q,
			     unsigned budget)
{
	(void)dev;
	(void)budget;
	taken[nr_taken] = vio_queue_pop(q);
	return taken[nr_taken++] ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

static const struct vio_dev_ops take_ops = { .name = "take", .id = 4,
					     .service = take };
static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];

static void start(bool packed, bool event_idx)
{
	struct vio_features f = { { 0, 0 } };

	nr_taken = 0;
	rig_init(&r, queue, 1, 0);
	if (packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	vio_dev_init(&dev, &take_ops, &f, queue, 1, NULL, 0);
	f = *vio_dev_offered(&dev);
	if (!event_idx)
		vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	rig_start_at(&r, &dev, &f, packed ? VIO_QUEUE_NEW_PACKED :
					    VIO_QUEUE_NEW_SPLIT);
}

static struct vio_ring_view look(void)
{
	struct vio_ring_view v;

	CHECK(vio_queue_look(queue, &v));
	return v;
}

TEST("split: what is available, in flight since when, and who wants news", "")
{
	struct vio_flight flight[4];
	unsigned i;

	start(false, false);
	for (i = 0; i < 3; i++) {
		rig_desc(&r, i, RIG_DATA + i * 64, 64, 0, 0);
		rig_avail(&r, (uint16_t)i);
	}
	CHECK_EQ(look().available, 3);
	CHECK_EQ(look().avail_idx, 3);
	CHECK_EQ(look().kick, VIO_WANT_ALL);
	queue->now_ms = 70;
	rig_kick(&r);
	queue->now_ms = 95;
	rig_kick(&r);
	CHECK_EQ(look().available, 1);
	CHECK_EQ(vio_queue_flights(queue, flight, 1), 1);
	CHECK_EQ(vio_queue_flights(queue, flight, 4), 2);
	for (i = 0; i < 2; i++)
		CHECK_EQ(flight[i].since_ms, flight[i].head ? 95 : 70);
	vio_queue_kicks_off(queue);
	*rig_avail_flags(&r) = vio_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	CHECK_EQ(look().kick, VIO_WANT_NONE);
	CHECK_EQ(look().call, VIO_WANT_NONE);
	vio_req_done(taken[1]);
	CHECK_EQ(vio_queue_flights(queue, flight, 4), 1);
	CHECK_EQ(flight[0].head, 0);
	CHECK_EQ(look().used_idx, 1);
}

TEST("split: events, and a driver that runs away", "")
{
	start(false, true);
	*rig_used_event(&r) = vio_to_le16(7);
	CHECK_EQ(look().call, VIO_WANT_AT);
	CHECK_EQ(look().call_at, 7);
	CHECK_EQ(look().kick, VIO_WANT_AT);
	CHECK_EQ(look().kick_at, 0);
	CHECK(!look().overrun);
	((struct virtq_avail *)rig_at(&r, r.layout.driver.v))->idx =
		vio_to_le16(RIG_SIZE + 1);
	CHECK(look().overrun);
	/* Only looked at: the queue finds out by itself. */
	CHECK_EQ(queue->state, VIO_QUEUE_RUNNING);
}

TEST("packed: entries are counted over the end of the ring", "")
{
	struct pvirtq_event_suppress *e;
	struct pvirtq_desc *ring;
	unsigned i;

	start(true, true);
	ring = rig_at(&r, RIG_LOW);
	for (i = 0; i < RIG_SIZE; i++)
		ring[i] = (struct pvirtq_desc){
			vio_to_le64(RIG_DATA), vio_to_le32(8), vio_to_le16(0),
			vio_to_le16(PVIRTQ_DESC_F_AVAIL),
		};
	CHECK_EQ(look().available, RIG_SIZE);
	ring[5].flags = vio_to_le16(0);
	CHECK_EQ(look().available, 5);
	/* From the second last on, the next round's wrap counter is 0. */
	ring[0].flags = vio_to_le16(PVIRTQ_DESC_F_USED);
	queue->avail_next = RIG_SIZE - 2;
	CHECK_EQ(look().available, 3);
	e = rig_at(&r, r.layout.driver.v);
	e->flags = vio_to_le16(RING_EVENT_FLAGS_DESC);
	e->desc = vio_to_le16(0x8003);
	CHECK_EQ(look().call, VIO_WANT_AT);
	CHECK_EQ(look().call_at, 0x8003);
	e->flags = vio_to_le16(RING_EVENT_FLAGS_DISABLE);
	CHECK_EQ(look().call, VIO_WANT_NONE);
	queue->avail_next = 0;
}

TEST("a queue that does not run shows nothing", "")
{
	struct vio_ring_view v;

	start(false, false);
	vio_queue_stop(queue);
	CHECK(!vio_queue_look(queue, &v));
}
