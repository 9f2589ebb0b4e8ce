/* SPDX-License-Identifier: MIT */
/*
 * peek.c - buffers that a device sees and uses without taking them: our
 * driver half against it, in both layouts and either order; what is left to
 * an ordinary pop; what is shown late; drivers that lie.
 */
#include <vireo/dev.h>
#include <vireo/queue.h>
#include <vireo/spec/packed.h>
#include <vireo/vq.h>

#include "vtest.h"

#define SIZE	16u
#define BASE	0x100000u
#define HALF	0x8000u		/* of memory: a region each */
#define DATA	0x4000u		/* buffers, from here on, across the border */
#define ROOM	64u

static struct {
	struct vio_vq vq;
	struct vio_dev dev;
	struct vio_queue q;
	struct vio_mem mem;
	struct vio_region region[2];
	unsigned char memory[2 * HALF] __attribute__((aligned(4096)));
	unsigned char priv[4096] __attribute__((aligned(64)));
	unsigned char storage[65536] __attribute__((aligned(64)));
	unsigned notified, logged;
} t;

static void on_queue(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	t.notified++;
}

static void on_config(void *ctx)
{
	(void)ctx;
}

static enum vio_service idle(struct vio_dev *dev, struct vio_queue *q,
			     unsigned budget)
{
	(void)dev;
	(void)q;
	(void)budget;
	return VIO_SERVICE_IDLE;
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_queue, .queue_ready = on_queue,
	.config_changed = on_config,
};
static const struct vio_dev_ops ops = { .name = "peek", .id = 4,
					.service = idle };

static void set_up(bool packed, bool in_order)
{
	const struct vio_vq_limits limits = { SIZE, 0 };
	const struct vio_queue_limits room = { SIZE, 16, 0 };
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };
	uint16_t base = packed ? VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;
	struct vio_drv_mem mem;

	memset(&t, 0, sizeof(t));
	if (packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	mem = (struct vio_drv_mem){
		.window = { t.memory, { BASE }, sizeof(t.memory) },
		.shared = { t.memory, DATA },
		.priv = { t.priv, sizeof(t.priv) },
	};
	for (unsigned i = 0; i < 2; i++)
		t.region[i] = (struct vio_region){
			.addr = { BASE + i * HALF }, .size = HALF,
			.host = t.memory + i * HALF, .perm = VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&t.mem, t.region, 2), VIO_OK);
	CHECK_EQ(vio_vq_init(&t.vq, &limits, &f, &mem), VIO_OK);
	CHECK_EQ(vio_queue_init(&t.q, NULL, 0, &room, t.storage,
				sizeof(t.storage)), VIO_OK);
	vio_dev_init(&t.dev, &ops, &f, &t.q, 1, NULL, 0);
	vio_dev_attach(&t.dev, &transport, NULL, NULL);
	CHECK_EQ(vio_dev_set_features(&t.dev, &f), VIO_OK);
	vio_dev_set_status(&t.dev, 15);
	CHECK_EQ(vio_queue_start(&t.q, &t.mem, &t.vq.layout, base, base),
		 VIO_OK);
}

static unsigned char *buffer(unsigned i)
{
	return t.memory + DATA + (size_t)(i % SIZE) * ROOM;
}

/* Offer buffer @i, of a length of its own. */
static void offer(unsigned i, bool writable)
{
	struct vio_seg seg = { buffer(i), 1 + i % ROOM };

	CHECK_EQ(vio_vq_add(&t.vq, &seg, !writable, writable, buffer(i)),
		 VIO_OK);
}

/* Random numbers of buffers, offered and used, over many rounds of the ring. */
static void rounds(bool packed, bool in_order, bool writable)
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	unsigned offered = 0, used = 0, got = 0, n, k;
	struct vio_piece p[VIO_PEEK_MAX];
	struct vio_used u;

	set_up(packed, in_order);
	while (got < 1000) {
		for (n = vtest_below(&rand, SIZE + 1 - (offered - got)); n; n--)
			offer(offered++, writable);
		vio_vq_publish(&t.vq);
		n = vio_queue_peek(&t.q, writable, p,
				   1 + (unsigned)vtest_below(&rand, SIZE));
		CHECK_LE(n, offered - used);
		for (k = 0; k < n; k++) {
			CHECK(p[k].base == buffer(used + k));
			CHECK_EQ(p[k].len, 1 + (used + k) % ROOM);
			p[k].len = (used + k) % 3 % p[k].len;
		}
		k = (unsigned)vtest_below(&rand, n + 1);
		vio_queue_use(&t.q, p, k, writable);
		for (used += k; vio_vq_get_many(&t.vq, &u, 1); got++) {
			CHECK(u.token == buffer(got));
			CHECK_EQ(u.len, writable ?
				 got % 3 % (1 + got % ROOM) : 0);
		}
		CHECK_EQ(got, used);
	}
	CHECK(!t.vq.broken);
	CHECK_EQ(t.q.stats.requests, used);
}

TEST("what is seen can be used, any number of it, in both layouts", "")
{
	for (unsigned set = 0; set < 8; set++)
		rounds(set & 1, set & 2, set & 4);
}

TEST("in order: one entry uses all that was read", "")
{
	struct vio_piece p[VIO_PEEK_MAX];
	struct virtq_used_elem *e;
	struct pvirtq_desc *d;
	unsigned i;

	for (unsigned packed = 0; packed < 2; packed++) {
		set_up(packed, true);
		for (i = 0; i < 5; i++)
			offer(i, false);
		vio_vq_publish(&t.vq);
		CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 5);
		vio_queue_use(&t.q, p, 5, false);
		e = (struct virtq_used_elem *)((struct virtq_used *)
			t.q.device_area + 1);
		d = t.q.desc;
		if (packed) {
			CHECK_EQ(vio_from_le16(d[0].id), p[4].id);
			CHECK(vio_from_le16(d[0].flags) & PVIRTQ_DESC_F_USED);
			for (i = 1; i < 5; i++)
				CHECK(!(vio_from_le16(d[i].flags) &
					PVIRTQ_DESC_F_USED));
		} else {
			CHECK_EQ(vio_from_le32(e[0].id), p[4].id);
			for (i = 1; i < 5; i++)
				CHECK_EQ(vio_from_le32(e[i].id), 0);
		}
	}
}

TEST("what is not in one piece, or of the other kind, is left to pop", "")
{
	struct vio_seg two[2] = { { buffer(1), 8 }, { buffer(2), 8 } };
	struct vio_seg across = { t.memory + HALF - 4, 8 };
	struct vio_seg far = { t.memory + HALF, 8 };
	struct vio_piece p[VIO_PEEK_MAX];
	struct vio_req *req;

	for (unsigned packed = 0; packed < 2; packed++) {
		set_up(packed, false);
		offer(0, false);
		CHECK_EQ(vio_vq_add(&t.vq, two, 2, 0, &two), VIO_OK);
		CHECK_EQ(vio_vq_add(&t.vq, &across, 1, 0, &across), VIO_OK);
		CHECK_EQ(vio_vq_add(&t.vq, &far, 1, 0, &far), VIO_OK);
		offer(5, true);
		vio_vq_publish(&t.vq);
		CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 1);
		vio_queue_use(&t.q, p, 1, false);
		for (unsigned i = 0; i < 2; i++) {
			CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 0);
			req = vio_queue_pop(&t.q);
			CHECK(req);
			CHECK_EQ(req->nr_read, 2);
			/* There are books to be kept: it waits. */
			CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 0);
			vio_req_done(req);
		}
		CHECK_EQ(vio_queue_peek(&t.q, true, p, 8), 0);
		CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 1);
		CHECK(p[0].base == far.base);
		vio_queue_use(&t.q, p, 1, false);
		CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 0);
		CHECK_EQ(vio_queue_peek(&t.q, true, p, 8), 1);
		CHECK_EQ(t.q.state, VIO_QUEUE_RUNNING);
	}
}

static void on_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	(void)ctx;
	(void)addr;
	(void)len;
	t.logged++;
}

TEST("while writes are logged, requests are popped", "")
{
	struct vio_piece p[VIO_PEEK_MAX];

	set_up(false, false);
	offer(0, true);
	vio_vq_publish(&t.vq);
	vio_mem_set_dirty(&t.mem, on_dirty);
	CHECK_EQ(vio_queue_peek(&t.q, true, p, 8), 0);
	vio_mem_set_dirty(&t.mem, NULL);
	CHECK_EQ(vio_queue_peek(&t.q, true, p, 8), 1);
}

TEST("a held queue publishes once, and notifies once", "")
{
	struct vio_piece p[VIO_PEEK_MAX];
	struct vio_used u[4];

	for (unsigned packed = 0; packed < 2; packed++) {
		set_up(packed, false);
		for (unsigned i = 0; i < 4; i++)
			offer(i, true);
		vio_vq_publish(&t.vq);
		vio_queue_hold(&t.q);
		for (unsigned i = 0; i < 2; i++) {
			CHECK_EQ(vio_queue_peek(&t.q, true, p, 2), 2);
			vio_queue_use(&t.q, p, 2, true);
			CHECK_EQ(vio_vq_get_many(&t.vq, u, 4), 0);
		}
		t.notified = 0;
		vio_queue_release(&t.q);
		CHECK_EQ(t.notified, 1);
		CHECK_EQ(vio_vq_get_many(&t.vq, u, 4), 4);
	}
}

/* Both sides look by themselves, and the device says that it is no matter. */
static void set_up_polled(bool packed, bool in_order)
{
	set_up(packed, in_order);
	vio_vq_quiet(&t.vq);
	t.q.polled = t.q.lazy = true;
}

/* Each batch of @n, offered and used. */
static void use_batch(unsigned *offered, unsigned n)
{
	struct vio_piece p[VIO_PEEK_MAX];

	for (unsigned i = 0; i < n; i++)
		offer((*offered)++, false);
	vio_vq_publish(&t.vq);
	CHECK_EQ(vio_queue_peek(&t.q, false, p, n), n);
	vio_queue_use(&t.q, p, n, false);
}

/* All that the driver finds, which continues what it @got. */
static unsigned take_back(unsigned *got)
{
	struct vio_used u;
	unsigned n = 0;

	for (; vio_vq_get_many(&t.vq, &u, 1); n++)
		CHECK(u.token == buffer((*got)++));
	CHECK(!t.vq.broken);
	return n;
}

TEST("to a driver that polls, the last ones are shown when there are more",
     "")
{
	/* An eighth of the ring at least stays hidden, what came before that
	 * is shown, up to the end of a batch. */
	static const uint8_t batch[] = { 1, 1, 1, 3, 2, 1, 4, 1, 1 };
	static const uint8_t shown[] = { 0, 0, 0, 2, 4, 0, 2, 0, 5 };
	unsigned offered, got;

	for (unsigned in_order = 0; in_order < 2; in_order++) {
		set_up_polled(false, in_order);
		offered = got = 0;
		for (unsigned i = 0; i < 1000; i++) {
			unsigned k = i % sizeof(batch);

			use_batch(&offered, batch[k]);
			CHECK(vio_queue_hides(&t.q));
			if (i < sizeof(batch))
				CHECK_EQ(take_back(&got), shown[k]);
			else
				take_back(&got);
			CHECK_GE(offered - got, i ? SIZE / 8 : 1);
			CHECK_LE(offered - got, 2 * (SIZE / 8) + 4);
		}
		t.notified = 0;
		vio_queue_show(&t.q);
		take_back(&got);
		CHECK_EQ(got, offered);
		CHECK(!vio_queue_hides(&t.q));
		CHECK_EQ(t.notified, 0);
	}
}

TEST("a driver that asked amid is notified of what was hidden", "")
{
	unsigned offered = 0, got = 0;

	set_up_polled(false, false);
	use_batch(&offered, 4);
	t.notified = 0;
	CHECK(!vio_vq_listen(&t.vq));
	vio_queue_show(&t.q);
	CHECK_EQ(t.notified, 1);
	CHECK_EQ(take_back(&got), 4);
	/* And from now on at once. */
	use_batch(&offered, 4);
	CHECK_EQ(t.notified, 2);
	CHECK_EQ(take_back(&got), 4);
}

TEST("nothing is hidden where nobody looks again, and nothing by a stop", "")
{
	unsigned offered = 0, got = 0;

	set_up_polled(false, false);
	t.q.lazy = false;
	use_batch(&offered, 4);
	CHECK_EQ(take_back(&got), 4);
	t.q.lazy = true;
	t.q.polled = false;
	use_batch(&offered, 4);
	CHECK_EQ(take_back(&got), 4);
	set_up_polled(true, false);
	offered = got = 0;
	use_batch(&offered, 4);
	CHECK_EQ(take_back(&got), 4);
	set_up_polled(false, false);
	offered = got = 0;
	use_batch(&offered, 4);
	CHECK_EQ(take_back(&got), 0);
	vio_queue_stop(&t.q);
	CHECK_EQ(take_back(&got), 4);
}

/* What is wrong is not seen; the pop that follows breaks the queue. */
static void expect_break(void)
{
	struct vio_piece p[VIO_PEEK_MAX];

	CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 0);
	CHECK_EQ(t.q.state, VIO_QUEUE_RUNNING);
	CHECK(!vio_queue_pop(&t.q));
	CHECK_EQ(t.q.state, VIO_QUEUE_BROKEN);
	CHECK_EQ(vio_queue_peek(&t.q, false, p, 8), 0);
}

TEST("an index too far ahead, a head or an address out of range", "")
{
	set_up(false, false);
	t.vq.avail->idx = vio_to_le16(SIZE + 1);
	expect_break();

	set_up(false, false);
	offer(0, false);
	*(vio_le16 *)(void *)(t.vq.avail + 1) = vio_to_le16(SIZE);
	vio_vq_publish(&t.vq);
	expect_break();

	set_up(false, false);
	offer(0, false);
	t.vq.desc[0].addr = vio_to_le64(BASE + 2 * HALF);
	vio_vq_publish(&t.vq);
	expect_break();

	set_up(false, false);
	offer(0, false);
	t.vq.desc[0].addr = vio_to_le64(~0ull - 1);
	vio_vq_publish(&t.vq);
	expect_break();
}

TEST("packed: an id or an address out of range", "")
{
	struct pvirtq_desc *d;

	set_up(true, false);
	offer(0, false);
	d = t.q.desc;
	d->id = vio_to_le16(SIZE);
	vio_vq_publish(&t.vq);
	expect_break();

	set_up(true, false);
	offer(0, false);
	d->addr = vio_to_le64(BASE - 1);
	vio_vq_publish(&t.vq);
	expect_break();
}
