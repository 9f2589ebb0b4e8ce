/* SPDX-License-Identifier: MIT */
/*
 * notify.c - no wake-up is lost and no buffer is lost or doubled: the real
 * driver half and the real device half of a small ring, explored through
 * every interleaving and every delay of a store, from publication through
 * suppression, re-check and notification to sleep.
 *
 * And the proof that the proof can fail: with any one barrier or re-check
 * taken away, the explorer must find what goes wrong.
 */
#include "test/model/explore.h"

#include <stdio.h>
#include <vireo/dev.h>
#include <vireo/vq.h>
#include "vtest.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum recheck { KEEP_ALL, NO_DEVICE_RECHECK, NO_DRIVER_RECHECK };

/* What is tried; stays as it is during an exploration. */
static struct {
	uint16_t size;
	unsigned buffers;
	unsigned budget;	/* of the device's service */
	bool packed, event_idx, in_order;
	bool dma;		/* the other side is no processor */
	bool order_platform;	/* and the driver was told so */
	enum recheck drop;
} p;

static struct {
	struct vio_vq vq;
	struct vio_vq_slot slot[4];
	struct vio_dev dev;
	struct vio_queue queue;
	struct vio_mem mem;
	struct vio_region region;
	unsigned added, got;
	unsigned got_mask;
	unsigned char bytes[1536] __attribute__((aligned(64)));
	unsigned char storage[4096] __attribute__((aligned(64)));
} s;

#define BUFFERS_AT	1024	/* in s.bytes, behind the ring */

static void on_notify(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	explore_wake(DRIVER);
}

static void ignore_queue(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static void ignore(void *ctx)
{
	(void)ctx;
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_notify, .queue_ready = ignore_queue,
	.config_changed = ignore };

static enum vio_service serve(struct vio_dev *dev, struct vio_queue *q,
			      unsigned budget)
{
	(void)dev;
	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);

		if (!req)
			return VIO_SERVICE_IDLE;
		vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops ops = { .name = "m", .id = 4,
					.service = serve };

static void device(void)
{
	struct vio_queue *q = &s.queue;

	for (;;) {
		enum vio_service r = vio_queue_poll(q, p.budget);

		if (q->state == VIO_QUEUE_BROKEN)
			explore_wrong("the device's half broke");
		if (r != VIO_SERVICE_IDLE)
			continue;
		if (vio_queue_kicks_on(q) && p.drop != NO_DEVICE_RECHECK)
			continue;
		explore_sleep();
	}
}

static void take_back(void *token)
{
	unsigned n = (unsigned)((unsigned char *)token - s.bytes - BUFFERS_AT);

	if (n >= p.buffers || s.got_mask >> n & 1)
		explore_wrong("a buffer came back that was not out");
	if (p.in_order && n != s.got)
		explore_wrong("buffers came back out of order");
	s.got_mask |= 1u << n;
	s.got++;
}

static void driver(void)
{
	uint32_t len;
	void *token;

	while (s.got < p.buffers) {
		while (s.added < p.buffers && s.vq.nr_free) {
			unsigned char *at = s.bytes + BUFFERS_AT + s.added;
			struct vio_seg seg = { at, 1 };

			vio_vq_add(&s.vq, &seg, 1, 0, at);
			s.added++;
			if (vio_vq_publish(&s.vq))
				explore_wake(DEVICE);
		}
		token = vio_vq_get(&s.vq, &len);
		if (s.vq.broken)
			explore_wrong("the driver's half broke");
		if (token) {
			take_back(token);
			continue;
		}
		if (vio_vq_listen(&s.vq) && p.drop != NO_DRIVER_RECHECK)
			continue;
		explore_sleep();
		vio_vq_quiet(&s.vq);
	}
}

static const char *check_end(void)
{
	return s.got == p.buffers ? NULL : "a wake-up was lost";
}

static struct vio_features features(void)
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };

	if (p.packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (p.event_idx)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (p.in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	if (p.order_platform)
		vio_feature_set(&f, VIRTIO_F_ORDER_PLATFORM);
	return f;
}

static void init_device(const struct vio_features *f)
{
	const struct vio_queue_limits limits = { 4, 8, 0 };
	uint16_t base = p.packed ? VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;

	CHECK_EQ(vio_queue_init(&s.queue, NULL, 0, &limits, s.storage,
				sizeof(s.storage)), VIO_OK);
	vio_dev_init(&s.dev, &ops, f, &s.queue, 1, NULL, 0);
	vio_dev_attach(&s.dev, &transport, NULL, NULL);
	CHECK_EQ(vio_dev_set_features(&s.dev, f), VIO_OK);
	s.region = (struct vio_region){ .addr = { 0x1000 },
		.size = sizeof(s.bytes), .host = s.bytes, .perm = VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&s.mem, &s.region, 1), VIO_OK);
	/* Before the model begins: its stores go straight to memory. */
	s.dev.status = 15;
	CHECK_EQ(vio_queue_start(&s.queue, &s.mem, &s.vq.layout, base, base),
		 VIO_OK);
}

static void init(void)
{
	const struct vio_vq_limits limits = { p.size, 0 };
	struct vio_drv_mem mem = {
		.window = { s.bytes, { 0x1000 }, sizeof(s.bytes) },
		.shared = { s.bytes, BUFFERS_AT },
		.priv = { (unsigned char *)s.slot, sizeof(s.slot) },
	};
	struct vio_features f = features();

	memset(&s, 0, sizeof(s));
	CHECK_EQ(vio_vq_init(&s.vq, &limits, &f, &mem), VIO_OK);
	init_device(&f);
}

static void settle(void)
{
	memset(&s.queue.stats, 0, sizeof(s.queue.stats));
	memset(&s.vq.stats, 0, sizeof(s.vq.stats));
}

static struct model model(void)
{
	struct model m = {
		.state = &s, .state_len = sizeof(s),
		.init = init, .settle = settle, .thread = { driver, device },
		.check_end = check_end, .dma = p.dma,
	};

	return m;
}

static unsigned long total_states;

static struct verdict try(const char *skip)
{
	struct model m = model();
	struct verdict v = explore(&m, skip);

	total_states += v.states;
	return v;
}

/* Every variant of a format, small enough to be explored whole. */
static bool next_variant(unsigned *i, bool packed)
{
	if (*i == 16)
		return false;
	p.packed = packed;
	p.event_idx = *i & 1;
	p.in_order = *i & 2;
	p.size = *i & 4 ? 2 : 1;
	p.budget = *i & 8 ? 1 : 4;
	p.buffers = 3;
	++*i;
	return true;
}

static void all_is_well(bool packed)
{
	p.drop = KEEP_ALL;
	total_states = 0;
	for (unsigned i = 0; next_variant(&i, packed);) {
		struct verdict v = try(NULL);

		if (v.wrong)
			FAIL("variant %u: %s", i - 1, v.wrong);
		CHECK(v.complete);
		CHECK_GT(v.ends, 0);
	}
	vtest_note("%lu states", total_states);
}

/* Some variant must go wrong. */
static bool goes_wrong(bool packed, const char *skip)
{
	for (unsigned i = 0; next_variant(&i, packed);)
		if (try(skip).wrong)
			return true;
	return false;
}

static void every_part_is_needed(bool packed)
{
	struct sites reached;

	p.drop = KEEP_ALL;
	explore_sites.nr = 0;
	for (unsigned i = 0; next_variant(&i, packed);)
		CHECK(!try(NULL).wrong);
	reached = explore_sites;
	/* Publish and re-enable, on either side. */
	CHECK_EQ(reached.nr, 4);
	for (unsigned i = 0; i < reached.nr; i++)
		if (!goes_wrong(packed, reached.at[i]))
			FAIL("nothing goes wrong without the barrier at %s",
			     reached.at[i]);
	p.drop = NO_DEVICE_RECHECK;
	CHECK(goes_wrong(packed, NULL));
	p.drop = NO_DRIVER_RECHECK;
	CHECK(goes_wrong(packed, NULL));
}

#ifdef SANITIZED
#define UNLESS_SANITIZED SKIP("coroutines are not for a sanitizer")
#else
#define UNLESS_SANITIZED do { } while (0)
#endif

TEST("split: no wake-up is lost, no buffer is lost or doubled",
     "split.device.used-buffer-notification-suppression.3 "
     "split.device.used-buffer-notification-suppression.5 "
     "split.driver.available-buffer-notification-suppression.4 "
     "split.driver.available-buffer-notification-suppression.6 "
     "split.driver.notifying-device.1 split.driver.updating-idx.1")
{
	UNLESS_SANITIZED;
	all_is_well(false);
}

TEST("packed: no wake-up is lost, no buffer is lost or doubled",
     "packed.driver.updating-flags.1 "
     "packed.driver.sending-available-buffer-notifications.1")
{
	UNLESS_SANITIZED;
	all_is_well(true);
}

TEST("ORDER_PLATFORM: all is well where only barriers for devices work",
     "core.driver.reserved-feature-bits.6 core.driver.reserved-feature-bits.7")
{
	UNLESS_SANITIZED;
	p.dma = p.order_platform = true;
	every_part_is_needed(false);
	every_part_is_needed(true);
	/* Any other barrier is as good as none. */
	p.order_platform = false;
	p.drop = KEEP_ALL;
	CHECK(goes_wrong(false, NULL));
	CHECK(goes_wrong(true, NULL));
	p.dma = false;
}

TEST("split: without any one barrier or re-check it goes wrong", "")
{
	UNLESS_SANITIZED;
	every_part_is_needed(false);
}

TEST("packed: without any one barrier or re-check it goes wrong", "")
{
	UNLESS_SANITIZED;
	every_part_is_needed(true);
}
