/* SPDX-License-Identifier: MIT */
/*
 * track.c - a device that dies. The device half of a ring runs until its n-th
 * store to shared memory, for every n, and is gone before that store; another
 * one starts from the ring and the record of requests in flight. The driver,
 * which notices nothing, must get every request back once, and nothing may
 * be done again that it got back.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <vireo/spec/inflight.h>
#include <vireo/spec/packed.h>
#include <vireo/queue.h>
#include <vireo/track.h>
#include <vireo/vq.h>
#include "core/base/barrier.h"
#include "core/ring/track.h"
#include "vtest.h"

#define SIZE		8
#define ROOM		11	/* entries of the record */
#define REQS		40	/* in a scenario */
#define GUEST		0x100000u

enum { SPLIT, SPLIT_IN_ORDER, PACKED, PACKED_IN_ORDER, LAYOUTS };

/* -- the driver's world, which lasts -------------------------------------- */

struct reqbuf {
	uint32_t question, answer;
};

static unsigned char mem[1 << 16] __attribute__((aligned(4096)));
static unsigned char priv[1 << 14] __attribute__((aligned(64)));
static uint64_t region[256];
static struct reqbuf *buf;		/* in mem */
static struct vio_features features;
static struct vio_vq vq;
static bool got_back[REQS];
static unsigned nr_added, nr_got;
static struct vtest_rand rnd;

/* -- the device, which does not ------------------------------------------- */

static struct {
	struct vio_queue q;
	struct vio_region region;
	struct vio_mem mem;
	struct vio_track track;
	struct vio_req *taken[SIZE];
	unsigned nr_taken;
	uint32_t last;		/* question popped last */
	unsigned broken, stale, released, left;
	unsigned char storage[1 << 14] __attribute__((aligned(64)));
	uint16_t track_priv[5 * ROOM];
} dev;

static jmp_buf death;
static bool mortal;
static unsigned stores_left;	/* until death */
static unsigned stores;

static void store(void)
{
	if (!mortal)
		return;
	stores++;
	if (!stores_left--)
		longjmp(death, 1);
}

uint16_t vio_explore_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

void vio_explore_copy(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

void vio_explore_store(void *p, uint32_t v, unsigned len)
{
	uint16_t v16 = (uint16_t)v;
	uint8_t v8 = (uint8_t)v;

	store();
	memcpy(p, len == 4 ? (void *)&v : len == 2 ? (void *)&v16 :
	       (void *)&v8, len);
}

void vio_explore_store64(uint64_t *p, uint64_t v)
{
	store();
	*p = v;
}

void vio_explore_mb(const char *file, int line, bool device)
{
	(void)file;
	(void)line;
	(void)device;
}

static void on_notify(struct vio_queue *q)
{
	(void)q;
}

static void on_broken(struct vio_queue *q)
{
	(void)q;
	dev.broken++;
}

static void on_log(struct vio_queue *q, enum vio_log_level level,
		   const char *text, const struct vio_named *v, unsigned nr)
{
	(void)q;
	(void)text;
	(void)v;
	(void)nr;
	dev.stale += level == VIO_LOG_WARN;
}

static void leave_some(void);

static void on_stopping(struct vio_queue *q)
{
	if (q->leaves)
		leave_some();
}

static const struct vio_queue_owner owner = {
	.notify = on_notify,
	.broken = on_broken,
	.stopping = on_stopping,
	.quiesced = on_notify,
	.log = on_log,
};

static void on_released(struct vio_track *t)
{
	CHECK(t == &dev.track);
	dev.released++;
}

static bool is_packed(void)
{
	return vio_has(&features, VIRTIO_F_RING_PACKED);
}

/* A new process: nothing but shared memory is as it was. */
static void device_start_at(uint16_t base, bool tracked)
{
	const struct vio_queue_limits limits = { SIZE, 8, 0 };

	memset(&dev, 0xa5, sizeof(dev));
	dev.nr_taken = dev.broken = dev.stale = dev.released = dev.left = 0;
	dev.last = 0;
	dev.region = (struct vio_region){ .addr = { GUEST },
		.size = sizeof(mem), .host = mem, .perm = VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&dev.mem, &dev.region, 1), VIO_OK);
	CHECK_EQ(vio_queue_init(&dev.q, NULL, 0, &limits, dev.storage,
				sizeof(dev.storage)), VIO_OK);
	dev.q.owner = &owner;
	dev.q.features = &features;
	if (tracked) {
		vio_track_init(&dev.track, region, ROOM, dev.track_priv,
			       on_released);
		CHECK_EQ(vio_queue_track(&dev.q, &dev.track), VIO_OK);
	}
	mortal = true;
	CHECK_EQ(vio_queue_start(&dev.q, &dev.mem, &vq.layout, base, base),
		 VIO_OK);
}

/* The front end knows where the ring began, and no more. */
static void device_start(bool tracked)
{
	device_start_at(is_packed() ? VIO_QUEUE_NEW_PACKED : 0, tracked);
}

static void device_pop(void)
{
	struct vio_req *req = vio_queue_pop(&dev.q);
	struct vio_cursor c;
	uint32_t question;

	if (!req)
		return;
	CHECK_LT(dev.nr_taken, SIZE);
	if (vtest_below(&rnd, 8) == 0) {
		vio_queue_unpop(&dev.q, req);
		return;
	}
	c = vio_req_reader(req);
	CHECK(vio_cursor_read(&c, &question, sizeof(question)));
	CHECK(question && question <= nr_added);
	/* Done again is done before what is new, and all in order. */
	CHECK_GT(question, dev.last);
	dev.last = question;
	/* Not this any more. */
	CHECK(!got_back[question - 1]);
	dev.taken[dev.nr_taken++] = req;
}

static void device_finish(void)
{
	unsigned i;
	struct vio_req *req;
	struct vio_cursor c;
	uint32_t question, answer;

	if (!dev.nr_taken)
		return;
	i = (unsigned)vtest_below(&rnd, dev.nr_taken);
	req = dev.taken[i];
	dev.taken[i] = dev.taken[--dev.nr_taken];
	c = vio_req_reader(req);
	CHECK(vio_cursor_read(&c, &question, sizeof(question)));
	answer = ~question;
	c = vio_req_writer(req);
	CHECK(vio_cursor_write(&c, &answer, sizeof(answer)));
	vio_req_done(req);
}

/* It stops: some are finished, some left, in any order. */
static void leave_some(void)
{
	unsigned i;

	while (dev.nr_taken) {
		if (vtest_below(&rnd, 2)) {
			device_finish();
			continue;
		}
		i = (unsigned)vtest_below(&rnd, dev.nr_taken);
		vio_req_leave(dev.taken[i]);
		dev.taken[i] = dev.taken[--dev.nr_taken];
		dev.left++;
	}
}

/* A batch: some popped, some finished, shown at the end. */
static void device_work(void)
{
	unsigned n = (unsigned)vtest_below(&rnd, 7);

	vio_queue_hold(&dev.q);
	while (n--) {
		if (vtest_below(&rnd, 2))
			device_pop();
		else
			device_finish();
	}
	vio_queue_release(&dev.q);
	CHECK_EQ(dev.q.state, VIO_QUEUE_RUNNING);
}

/* -- the driver ----------------------------------------------------------- */

static void driver_start(unsigned layout)
{
	const struct vio_vq_limits limits = { .size = SIZE,
					      .indirect_max = 4 };
	struct vio_drv_mem m = {
		.window = { mem, vio_addr_of(GUEST), sizeof(mem) },
		.shared = { mem, sizeof(mem) / 2 },
		.priv = { priv, sizeof(priv) },
	};

	memset(mem, 0, sizeof(mem));
	memset(got_back, 0, sizeof(got_back));
	nr_added = nr_got = 0;
	features = (struct vio_features){ { 0, 0 } };
	vio_feature_set(&features, VIRTIO_F_VERSION_1);
	if (layout == SPLIT_IN_ORDER || layout == PACKED_IN_ORDER)
		vio_feature_set(&features, VIRTIO_F_IN_ORDER);
	if (layout == PACKED || layout == PACKED_IN_ORDER)
		vio_feature_set(&features, VIRTIO_F_RING_PACKED);
	/* Tables or not: 3 descriptors a request, or 1. */
	if (vtest_below(&rnd, 2))
		vio_feature_set(&features, VIRTIO_F_INDIRECT_DESC);
	CHECK_EQ(vio_vq_init(&vq, &limits, &features, &m), VIO_OK);
	buf = (struct reqbuf *)(void *)(mem + sizeof(mem) / 2);
}

static void driver_offer(unsigned most)
{
	unsigned i = nr_added;
	struct vio_seg seg[3];
	unsigned parts = 1 + (unsigned)vtest_below(&rnd, 2);

	if (i == most)
		return;
	buf[i].question = i + 1;
	buf[i].answer = 0;
	seg[0] = (struct vio_seg){ &buf[i].question, parts == 1 ? 4 : 1 };
	seg[1] = (struct vio_seg){ (char *)&buf[i].question + 1, 3 };
	seg[parts] = (struct vio_seg){ &buf[i].answer, 4 };
	if (vio_vq_add(&vq, seg, parts, 1, &buf[i]) == VIO_OK)
		nr_added++;
	vio_vq_publish(&vq);
}

static void driver_collect(void)
{
	struct reqbuf *b;
	uint32_t len;

	while ((b = vio_vq_get(&vq, &len))) {
		CHECK_EQ(len, 4);
		CHECK_EQ(b->answer, ~b->question);
		CHECK(!got_back[b->question - 1]);
		got_back[b->question - 1] = true;
		nr_got++;
	}
	CHECK(!vq.broken);
}

/* -- scenarios ------------------------------------------------------------ */

/* Everyone moves until all is done; stops early where the device dies. */
static void play(unsigned most)
{
	for (unsigned i = 0; nr_got < most; i++) {
		CHECK_LT(i, 10000);
		mortal = false;
		if (vtest_below(&rnd, 2))
			driver_offer(most);
		else if (vtest_below(&rnd, 2))
			driver_collect();
		mortal = true;
		device_work();
		mortal = false;
		if (nr_added == most)
			driver_collect();
	}
}

/*
 * The device dies at store @n, its successor @n2 stores into its life, the
 * third one lives. False if the first did not come that far.
 */
static bool die_at(unsigned layout, uint64_t seed, unsigned n, unsigned n2)
{
	volatile unsigned deaths = 0;

	rnd = vtest_rand_init(seed);
	memset(region, 0, sizeof(region));
	mortal = false;
	driver_start(layout);
	stores_left = n;
	if (setjmp(death)) {
		mortal = false;
		deaths++;
		/* Whatever was shown has been seen. */
		driver_collect();
		stores_left = deaths == 1 ? n2 : ~0u;
	}
	device_start(true);
	if (deaths)
		CHECK_EQ(dev.stale, 0);
	play(REQS);
	CHECK_EQ(dev.broken, 0);
	CHECK_EQ(vio_queue_stop(&dev.q), 0);
	mortal = false;
	CHECK_EQ(dev.released, 1);
	return deaths > 0;
}

static void every_death(unsigned layout)
{
	unsigned most = 0;

	for (unsigned round = 0; round < 6; round++) {
		uint64_t seed = vtest_seed() + round;
		unsigned n = 0;

		while (die_at(layout, seed, n, n * 7919 % 101))
			n++;
		most = n > most ? n : most;
	}
	/* The scenario is what it is meant to be. */
	CHECK_GT(most, 300);
	vtest_note("%u stores in a scenario", most);
}

TEST("track: a split ring whose device dies at any store", "")
{
	every_death(SPLIT);
}

TEST("track: a split ring, in order, whose device dies at any store", "")
{
	every_death(SPLIT_IN_ORDER);
}

TEST("track: a packed ring whose device dies at any store", "")
{
	every_death(PACKED);
}

TEST("track: a packed ring, in order, whose device dies at any store", "")
{
	every_death(PACKED_IN_ORDER);
}

/* A device that has done 20 requests and has some in flight, dies. */
static void live_and_die(unsigned layout)
{
	rnd = vtest_rand_init(vtest_seed());
	memset(region, 0, sizeof(region));
	mortal = false;
	stores_left = ~0u;
	driver_start(layout);
	device_start(true);
	play(20);
	while (nr_added < 22)
		driver_offer(22);
	while (dev.nr_taken < 2)
		device_pop();
}

TEST("track: a record that is zero: the ring says where it stands", "")
{
	live_and_die(SPLIT);
	memset(region, 0, sizeof(region));
	device_start(true);
	CHECK_EQ(dev.stale, 0);
	CHECK_EQ(vio_queue_replays(&dev.q), 0);
	CHECK_EQ(dev.q.used_next, 20);
	play(REQS);
}

TEST("track: a record of another life of the ring is not used", "")
{
	for (unsigned layout = 0; layout < LAYOUTS; layout++) {
		live_and_die(layout);
		driver_start(layout);
		device_start(true);
		CHECK_EQ(dev.stale, 1);
		CHECK_EQ(vio_queue_replays(&dev.q), 0);
		play(REQS);
		CHECK_EQ(vq.broken, false);
	}
}

TEST("track: a ring that was stopped in peace leaves an empty record", "")
{
	for (unsigned layout = 0; layout < LAYOUTS; layout++) {
		live_and_die(layout);
		device_start(true);
		CHECK_EQ(vio_queue_replays(&dev.q), 2);
		play(22);
		CHECK_EQ(vio_queue_stop(&dev.q), 0);
		CHECK_EQ(dev.released, 1);
		driver_start(layout);
		device_start(true);
		CHECK_EQ(dev.stale, 0);
		play(REQS);
	}
}

TEST("track: stopped before it was done again, it is done by the next", "")
{
	for (unsigned layout = 0; layout < LAYOUTS; layout++) {
		live_and_die(layout);
		device_start(true);
		CHECK_EQ(vio_queue_stop(&dev.q), 0);
		device_start(true);
		CHECK_EQ(vio_queue_replays(&dev.q), 2);
		CHECK(vio_queue_pending(&dev.q));
		play(REQS);
	}
}

/* Each of many devices stops in the middle of its work. */
static unsigned stop_often(unsigned layout)
{
	unsigned left = 0, before;

	driver_start(layout);
	device_start(true);
	for (unsigned most = 1; most <= REQS; most++) {
		driver_offer(most);
		device_work();
		if (vtest_below(&rnd, 4))
			continue;
		before = vio_queue_replays(&dev.q) ? dev.q.replay_left : 0;
		dev.q.leaves = true;
		CHECK_EQ(vio_queue_stop(&dev.q), 0);
		CHECK_EQ(dev.released, 1);
		before += dev.left;
		left += dev.left;
		driver_collect();
		/* As the answer to the stop said. */
		device_start_at(vio_queue_used_base(&dev.q), true);
		CHECK_EQ(dev.stale, 0);
		CHECK_EQ(vio_queue_replays(&dev.q), before);
	}
	play(REQS);
	CHECK_EQ(dev.broken, 0);
	CHECK_EQ(vio_queue_stop(&dev.q), 0);
	return left;
}

TEST("track: what a stop leaves is done by the next, once and in order", "")
{
	unsigned left = 0;

	mortal = false;
	stores_left = ~0u;
	for (unsigned round = 0; round < 50; round++) {
		rnd = vtest_rand_init(vtest_seed() + round);
		memset(region, 0, sizeof(region));
		left += stop_often(round % 2 ? SPLIT : PACKED);
	}
	vtest_note("%u requests left", left);
	CHECK_GT(left, 100);
}

TEST("track: a record too short for the ring is left alone", "")
{
	live_and_die(SPLIT);
	memset(region, 0, sizeof(region));
	memset(&dev, 0, sizeof(dev));
	device_start(false);
	CHECK_EQ(vio_queue_stop(&dev.q), 0);
	vio_track_init(&dev.track, region, SIZE - 1, dev.track_priv,
		       on_released);
	CHECK_EQ(vio_queue_track(&dev.q, &dev.track), VIO_OK);
	CHECK_EQ(vio_queue_start(&dev.q, &dev.mem, &vq.layout, 20, 20),
		 VIO_OK);
	CHECK_EQ(dev.released, 1);
	CHECK_EQ(dev.stale, 1);
	CHECK_EQ(region[1], 0);
	play(REQS);
}

/* Any bytes in the record: nothing but the driver's own rings may suffer. */
static void spoil(struct vtest_rand *r)
{
	unsigned n = 1 + (unsigned)vtest_below(r, 6);
	uint16_t *word = (uint16_t *)(void *)region;

	if (vtest_below(r, 10) == 0)
		vtest_fill(r, region, sizeof(region));
	while (n--) {
		unsigned at = (unsigned)vtest_below(r, 200);

		if (at != 4)	/* the version */
			word[at] = (uint16_t)(vtest_below(r, 4) ?
				vtest_below(r, ROOM + 2) : vtest_u64(r));
	}
}

TEST("track: whatever stands in the record, no harm is done", "")
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());

	for (unsigned i = 0; i < 4000; i++) {
		live_and_die(i % LAYOUTS);
		spoil(&r);
		device_start(true);
		CHECK_LE(vio_queue_replays(&dev.q), SIZE);
		for (unsigned n = 0; n < 20; n++) {
			struct vio_req *req = vio_queue_pop(&dev.q);

			/* While it runs, too. */
			spoil(&r);
			if (req)
				vio_req_done(req);
		}
		vio_queue_stop(&dev.q);
		CHECK_EQ(dev.released, 1);
	}
}

/* -- a driver that lies --------------------------------------------------- */

/* Takes and finishes what there is, and shows nothing of it. */
static void device_gulp(void)
{
	struct vio_req *req;

	while ((req = vio_queue_pop(&dev.q)))
		vio_req_done(req);
}

/* All entries are available once more, though none was shown as used. */
static void lie(void)
{
	uint16_t pos = dev.q.avail_next, n;

	if (!is_packed()) {
		vq.avail->idx = vio_to_le16((uint16_t)(pos + SIZE));
		return;
	}
	for (n = 0; n < SIZE; n++, pos = pvirtq_add(pos, 1, SIZE)) {
		struct pvirtq_desc *d = &vq.ring[pvirtq_off(pos, SIZE)];

		d->addr = vio_to_le64(GUEST);
		d->len = vio_to_le32(4);
		d->id = vio_to_le16(n);
		d->flags = vio_to_le16(pvirtq_wrap(pos, SIZE) ?
				       PVIRTQ_DESC_F_AVAIL :
				       PVIRTQ_DESC_F_USED);
	}
}

TEST("track: what was not shown as used cannot be available again", "")
{
	for (unsigned layout = 0; layout < LAYOUTS; layout++) {
		rnd = vtest_rand_init(vtest_seed());
		memset(region, 0, sizeof(region));
		mortal = false;
		driver_start(layout);
		device_start(true);
		mortal = false;
		for (unsigned i = 0; i < SIZE; i++)
			driver_offer(REQS);
		vio_queue_hold(&dev.q);
		device_gulp();
		CHECK_EQ(dev.broken, 0);
		lie();
		device_gulp();
		CHECK_EQ(dev.broken, 1);
		CHECK_LE(dev.track.nr_batch, SIZE);
		vio_queue_release(&dev.q);
		CHECK_EQ(vio_queue_stop(&dev.q), 0);
	}
}
