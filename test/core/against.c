/* SPDX-License-Identifier: MIT */
/*
 * against.c - random operations on both halves of a ring, against a model of
 * it that is as simple as can be: lists of buffers. Every set of features, in
 * rings of sizes small enough to be full and empty all the time.
 */
#include <vireo/dev.h>
#include <vireo/queue.h>
#include <vireo/track.h>
#include <vireo/vq.h>

#include "vtest.h"

#define BASE	0x100000u
#define RINGS	0x4000u		/* bytes of memory for the ring */
#define NR	16u		/* buffers, and entries at most */
#define ROOM	256u		/* bytes of a buffer */
#define SEGS	4u
#define STEPS	600u

/* A set of features: bits of these, and of the ring. */
enum { RECORD = 64, LOGGED = 128, SETS = 256 };
static const unsigned ring_bits[] = {
	VIRTIO_F_RING_PACKED, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
	VIRTIO_F_IN_ORDER, VIRTIO_F_ORDER_PLATFORM, VIRTIO_F_VERSION_1,
};

struct buffer {
	struct vio_seg seg[SEGS];
	unsigned nr_read, nr_write;
	uint32_t room, written;
	bool busy, done;
};

/* Buffers in a row. */
struct list {
	struct buffer *at[NR];
	unsigned nr;
};

static struct {
	struct vio_vq vq;
	struct vio_dev dev;
	struct vio_queue q;
	struct vio_mem mem;
	struct vio_region region[2];
	struct vio_track track;
	unsigned char memory[RINGS + NR * ROOM] __attribute__((aligned(4096)));
	unsigned char priv[4096] __attribute__((aligned(64)));
	unsigned char storage[65536] __attribute__((aligned(64)));
	unsigned char record[4096] __attribute__((aligned(64)));
	unsigned char books[4096] __attribute__((aligned(64)));

	/* the model */
	struct vtest_rand rand;
	struct buffer buffer[NR];
	struct list added, shown, popped, done, used;
	unsigned entries;	/* of the ring, in use */
	bool device_sleeps, driver_sleeps, notified, packed;
	unsigned logged;
} t;

static void push(struct list *l, struct buffer *b)
{
	l->at[l->nr++] = b;
}

static struct buffer *take(struct list *l, unsigned i)
{
	struct buffer *b = l->at[i];

	l->nr--;
	memmove(&l->at[i], &l->at[i + 1], (l->nr - i) * sizeof(l->at[0]));
	return b;
}

static void move_all(struct list *to, struct list *from)
{
	while (from->nr)
		push(to, take(from, 0));
}

static unsigned below(unsigned n)
{
	return (unsigned)vtest_below(&t.rand, n);
}

static void on_notify(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	t.notified = true;
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

static void on_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	(void)ctx;
	(void)addr;
	t.logged += len != 0;
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_notify, .queue_ready = on_notify,
	.config_changed = on_config,
};
static const struct vio_dev_ops ops = { .name = "against", .id = 4,
					.service = idle };

static void start(uint16_t avail, uint16_t used)
{
	CHECK_EQ(vio_queue_start(&t.q, &t.mem, &t.vq.layout, avail, used),
		 VIO_OK);
	t.device_sleeps = false;
}

static void start_anew(unsigned set)
{
	uint16_t base = t.packed ? VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;

	if (set & RECORD) {
		memset(t.record, 0, sizeof(t.record));
		vio_track_init(&t.track, t.record, NR, t.books, NULL);
		CHECK_EQ(vio_queue_track(&t.q, &t.track), VIO_OK);
	}
	start(base, base);
}

static void set_up(unsigned set)
{
	static const uint16_t odd[] = { 1, 3, 5, 8, 13, 16 };
	const struct vio_queue_limits room = { NR, 16, 0 };
	struct vio_features f = { { 0, 0 } };
	struct vio_vq_limits limits = { 0, 3 };
	struct vtest_rand rand = t.rand;
	struct vio_drv_mem mem;

	memset(&t, 0, sizeof(t));
	t.rand = rand;
	for (unsigned i = 0; i < VIO_ARRAY_LEN(ring_bits); i++)
		if (set & 1u << i)
			vio_feature_set(&f, ring_bits[i]);
	t.packed = vio_has(&f, VIRTIO_F_RING_PACKED);
	/* Of the legacy interface, there are split rings only. */
	if (t.packed)
		vio_feature_set(&f, VIRTIO_F_VERSION_1);
	limits.size = t.packed ? odd[below(6)] : (uint16_t)(1u << below(5));
	if (limits.indirect_max > limits.size)
		limits.indirect_max = limits.size;
	mem = (struct vio_drv_mem){
		.window = { t.memory, { BASE }, sizeof(t.memory) },
		.shared = { t.memory, RINGS },
		.priv = { t.priv, sizeof(t.priv) },
	};
	/* The border of two regions runs through the buffers. */
	t.region[0] = (struct vio_region){ { BASE }, RINGS + 5 * ROOM,
		t.memory, 0, VIO_PERM_RW };
	t.region[1] = (struct vio_region){ { BASE + RINGS + 5 * ROOM },
		sizeof(t.memory) - RINGS - 5 * ROOM,
		t.memory + RINGS + 5 * ROOM, 0, VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&t.mem, t.region, 2), VIO_OK);
	CHECK_EQ(vio_vq_init_legacy(&t.vq, &limits, &f, &mem,
			vio_has(&f, VIRTIO_F_VERSION_1) ? 0 : 4096), VIO_OK);
	CHECK_EQ(vio_queue_init(&t.q, NULL, 0, &room, t.storage,
				sizeof(t.storage)), VIO_OK);
	vio_dev_init(&t.dev, &ops, &f, &t.q, 1, NULL, 0);
	t.dev.driver = f;
	vio_dev_attach(&t.dev, &transport, NULL, NULL);
	if (set & LOGGED)
		vio_mem_set_dirty(&t.mem, on_dirty);
	start_anew(set);
}

/* -- the driver's half ----------------------------------------------------- */

static unsigned entries_of(const struct buffer *b)
{
	unsigned nr = b->nr_read + b->nr_write;

	return nr > 1 && nr <= t.vq.indirect_max ? 1 : nr;
}

/* A buffer that is not busy, cut at random; NULL: all are. */
static struct buffer *cut(unsigned segs, bool writable)
{
	unsigned i = below(NR), n = 0;
	unsigned char *at;
	struct buffer *b;

	while (n < NR && t.buffer[(i + n) % NR].busy)
		n++;
	if (n == NR)
		return NULL;
	b = &t.buffer[(i + n) % NR];
	memset(b, 0, sizeof(*b));
	at = t.memory + RINGS + (size_t)(b - t.buffer) * ROOM;
	b->nr_write = segs == 1 ? writable : below(segs + 1);
	b->nr_read = segs - b->nr_write;
	for (i = 0; i < segs; i++) {
		b->seg[i] = (struct vio_seg){ at, 1 + below(ROOM / SEGS) };
		at += b->seg[i].len;
		if (i >= b->nr_read)
			b->room += (uint32_t)b->seg[i].len;
	}
	b->busy = true;
	return b;
}

static void was_added(struct buffer *b)
{
	push(&t.added, b);
	t.entries += entries_of(b);
}

/* Some at once, of one call or the other; as many as the model says. */
static void add(void)
{
	unsigned want = 1 + below(NR), n, i, fit = 0, taken = t.entries, got;
	bool singles = below(2), writable = below(2);
	struct vio_single one[NR];
	struct buffer *b[NR];
	struct vio_buf buf[NR];
	int err;

	for (n = 0; n < want; n++) {
		b[n] = cut(singles ? 1 : 1 + below(SEGS), writable);
		if (!b[n])
			break;
		one[n] = (struct vio_single){ b[n]->seg[0].base, b[n],
			(uint32_t)b[n]->seg[0].len };
		buf[n] = (struct vio_buf){ b[n]->seg, b[n],
			(uint16_t)b[n]->nr_read, (uint16_t)b[n]->nr_write };
	}
	while (fit < n && entries_of(b[fit]) <= t.vq.size - taken)
		taken += entries_of(b[fit++]);
	got = singles ? vio_vq_add_singles(&t.vq, one, n, writable, &err) :
			vio_vq_add_many(&t.vq, buf, n, &err);
	CHECK_EQ(got, fit);
	if (fit == n)
		CHECK_EQ(err, VIO_OK);
	else
		CHECK_EQ(err, b[fit]->nr_read + b[fit]->nr_write > t.vq.size ?
			      VIO_E_INVAL : VIO_E_NOSPC);
	for (i = 0; i < n; i++)
		if (i < fit)
			was_added(b[i]);
		else
			b[i]->busy = false;
}

static void publish(void)
{
	bool kick = vio_vq_publish(&t.vq);

	if (t.added.nr && t.device_sleeps) {
		CHECK(kick);
		t.device_sleeps = false;
	}
	if (!t.added.nr)
		CHECK(!kick);
	move_all(&t.shown, &t.added);
}

static void get(void)
{
	unsigned max = 1 + below(NR), n, i;
	struct vio_used u[NR];

	CHECK_EQ(vio_vq_pending(&t.vq), t.used.nr > 0);
	n = vio_vq_get_many(&t.vq, u, max);
	CHECK_EQ(n, max < t.used.nr ? max : t.used.nr);
	for (i = 0; i < n; i++) {
		struct buffer *b = take(&t.used, 0);

		CHECK(u[i].token == b);
		CHECK_EQ(u[i].len, b->written);
		t.entries -= entries_of(b);
		b->busy = false;
	}
	CHECK(!t.vq.broken);
}

static void listen(void)
{
	if (below(3) == 0) {
		vio_vq_quiet(&t.vq);
		t.driver_sleeps = false;
		return;
	}
	t.driver_sleeps = !vio_vq_listen(&t.vq);
	CHECK_EQ(t.driver_sleeps, !t.used.nr);
}

/* -- the device's half ----------------------------------------------------- */

/* What stands in the ring behind what was done, as the driver sees it now. */
static void show(void)
{
	if (t.driver_sleeps && t.done.nr) {
		CHECK(t.notified);
		t.driver_sleeps = false;
	}
	t.notified = false;
	move_all(&t.used, &t.done);
}

static void same_bytes(struct vio_req *req, const struct buffer *b)
{
	unsigned want = 0, at = 0, k = 0, i, n = req->nr_read + req->nr_write;

	CHECK_EQ(req->write_len, b->room);
	for (i = 0; i < b->nr_read + b->nr_write; i++)
		want += (unsigned)b->seg[i].len;
	CHECK_EQ(req->read_len + req->write_len, want);
	/* A segment may be cut, at the border of memory's regions. */
	for (i = 0; i < n; i++) {
		CHECK(req->seg[i].base ==
		      (unsigned char *)b->seg[k].base + at);
		at += (unsigned)req->seg[i].len;
		CHECK_LE(at, b->seg[k].len);
		if (at == b->seg[k].len)
			k++, at = 0;
	}
}

static struct vio_req *req_of[NR];	/* by buffer */

static void pop(void)
{
	unsigned max = 1 + below(NR), n, i;
	struct vio_req *req[NR];

	CHECK_EQ(vio_queue_pending(&t.q), t.shown.nr > 0);
	n = vio_queue_pop_many(&t.q, req, max);
	CHECK_EQ(n, max < t.shown.nr ? max : t.shown.nr);
	for (i = 0; i < n; i++)
		same_bytes(req[i], t.shown.at[i]);
	while (n && below(4) == 0)
		vio_queue_unpop(&t.q, req[--n]);
	for (i = 0; i < n; i++) {
		struct buffer *b = take(&t.shown, 0);

		req_of[b - t.buffer] = req[i];
		push(&t.popped, b);
	}
}

/* Some of those popped, in any order; in order, their turn comes in theirs. */
static void done(void)
{
	unsigned want = 1 + below(NR), n;
	bool in_order = t.q.in_order;
	struct vio_req *req[NR];

	for (n = 0; n < want && t.popped.nr; n++) {
		unsigned i = below(t.popped.nr);
		struct buffer *b = t.popped.at[i];

		if (b->done)
			break;
		b->done = true;
		b->written = below(b->room + 1);
		req[n] = req_of[b - t.buffer];
		req[n]->written = b->written;
		if (!in_order)
			push(&t.done, take(&t.popped, i));
	}
	while (in_order && t.popped.nr && t.popped.at[0]->done)
		push(&t.done, take(&t.popped, 0));
	vio_queue_done(&t.q, req, n);
	if (!t.q.hold)
		show();
}

static bool is_single(const struct buffer *b, bool writable)
{
	return b->nr_read + b->nr_write == 1 && b->nr_write == writable;
}

/* Where they lie; how many are seen is left to the ring, but not which. */
static void use(void)
{
	bool writable = below(2);
	struct vio_piece p[NR];
	unsigned n = vio_queue_peek(&t.q, writable, p, NR), i, k;

	if (t.popped.nr || t.track.active || t.mem.dirty)
		CHECK_EQ(n, 0);
	CHECK_LE(n, t.shown.nr);
	k = n ? below(n + 1) : 0;
	for (i = 0; i < n; i++) {
		const struct buffer *b = t.shown.at[i];

		CHECK(is_single(b, writable));
		CHECK(p[i].base == b->seg[0].base);
		CHECK_EQ(p[i].len, b->seg[0].len);
		p[i].len = below(p[i].len + 1);
	}
	vio_queue_use(&t.q, p, k, writable);
	for (i = 0; i < k; i++) {
		struct buffer *b = take(&t.shown, 0);

		b->written = writable ? p[i].len : 0;
		push(&t.done, b);
	}
	if (!t.q.hold)
		show();
}

static void hold(void)
{
	if (!t.q.hold) {
		vio_queue_hold(&t.q);
		return;
	}
	vio_queue_release(&t.q);
	show();
}

static void kicks(void)
{
	if (below(3) == 0) {
		vio_queue_kicks_off(&t.q);
		t.device_sleeps = false;
		return;
	}
	t.device_sleeps = !vio_queue_kicks_on(&t.q);
	CHECK_EQ(t.device_sleeps, !t.shown.nr);
}

/* Stopped where nothing is in flight, and started there. */
static void restart(unsigned set)
{
	uint16_t avail, used;

	if (t.popped.nr || t.q.hold)
		return;
	CHECK_EQ(vio_queue_stop(&t.q), 0);
	avail = vio_queue_avail_base(&t.q);
	used = vio_queue_used_base(&t.q);
	if (set & RECORD) {
		vio_track_init(&t.track, t.record, NR, t.books, NULL);
		CHECK_EQ(vio_queue_track(&t.q, &t.track), VIO_OK);
	}
	start(avail, used);
}

/* All buffers come back, each once, and the ring begins anew. */
static void reset(unsigned set)
{
	struct buffer *b;

	if (t.popped.nr || t.q.hold || below(4))
		return;
	CHECK_EQ(vio_queue_stop(&t.q), 0);
	while ((b = vio_vq_detach(&t.vq))) {
		CHECK(b->busy);
		b->busy = false;
	}
	for (unsigned i = 0; i < NR; i++)
		CHECK(!t.buffer[i].busy);
	t.added.nr = t.shown.nr = t.used.nr = t.entries = 0;
	t.driver_sleeps = false;
	vio_vq_reset(&t.vq);
	start_anew(set);
}

static void step(unsigned set)
{
	switch (below(12)) {
	case 0:
	case 1: add(); break;
	case 2: publish(); break;
	case 3: get(); break;
	case 4: listen(); break;
	case 5:
	case 6: pop(); break;
	case 7: done(); break;
	case 8: use(); break;
	case 9: hold(); break;
	case 10: kicks(); break;
	default: below(2) ? restart(set) : reset(set);
	}
	CHECK_EQ(t.q.state, VIO_QUEUE_RUNNING);
	CHECK_EQ(t.q.inflight, t.popped.nr);
	CHECK_EQ(t.vq.nr_free, t.vq.size - t.entries);
}

TEST("both halves do as lists of buffers do, with every set of features", "")
{
	t.rand = vtest_rand_init(vtest_seed());
	for (unsigned set = 0; set < SETS; set++)
		for (unsigned round = 0; round < 16; round++) {
			set_up(set);
			for (unsigned i = 0; i < STEPS; i++)
				step(set);
			if (set & LOGGED)
				CHECK(t.logged);
		}
}
