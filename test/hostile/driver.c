/* SPDX-License-Identifier: MIT */
/*
 * Hostile drivers: each real device behind rings full of random and of
 * almost right words, and behind a thread that changes everything while the
 * device works. Nothing may be touched that is not guest memory (it has
 * unmapped pages around it), nothing may hang, and a reset must help.
 */
#include "test/loopback/disk.h"
#include "test/loopback/loop.h"

#include <vireo/console.h>
#include <vireo/rng.h>

#include <pthread.h>
#include <stdatomic.h>

#define SIZE		16u
#define DISK		(64u * 512u)
#define TABLES		0x4000u		/* offsets in the window */
#define BUFFERS		0x8000u

enum type { RNG, CONSOLE, BLK, TYPES };

struct fixture {
	struct loop loop;
	struct disk disk;
	union {
		struct vio_rng rng;
		struct vio_console con;
		struct vio_blk blk;
	} dev;
	struct vio_queue_layout layout[2];
	unsigned queues;
	bool packed;
};

static size_t fill(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	memset(dst, 0x77, len);
	return len;
}

static size_t swallow(void *ctx, const void *src, size_t len)
{
	const volatile unsigned char *p = src;
	unsigned char sum = 0;
	size_t i;

	(void)ctx;
	/* Touch it all: what lies outside of memory must show. */
	for (i = 0; i < len; i += 512)
		sum ^= p[i];
	(void)sum;
	return len;
}

static const struct vio_rng_source_ops source = { .fill = fill };
static const struct vio_console_backend_ops terminal = {
	.write = swallow, .read = fill,
};

static void init_device(struct fixture *f, enum type type)
{
	const struct vio_blk_conf blk = {
		.capacity_sectors = DISK / 512, .seg_max = 8,
		.max_discard_sectors = 8, .max_discard_seg = 2,
		.max_write_zeroes_sectors = 8, .max_write_zeroes_seg = 2,
		.in_order = true,
	};
	const struct vio_console_conf con = { .cols = 80, .rows = 25 };
	struct vio_queue *q = f->loop.queue;

	f->queues = type == CONSOLE ? 2 : 1;
	switch (type) {
	case RNG:
		CHECK_EQ(vio_rng_init(&f->dev.rng, q, &source, f), VIO_OK);
		loop_attach(&f->loop, &f->dev.rng.dev);
		break;
	case CONSOLE:
		CHECK_EQ(vio_console_init(&f->dev.con, &con, q, &terminal, f),
			 VIO_OK);
		loop_attach(&f->loop, &f->dev.con.dev);
		break;
	default:
		CHECK_EQ(vio_blk_init(&f->dev.blk, &blk, q, &disk_ops,
				      &f->disk, NULL), VIO_OK);
		loop_attach(&f->loop, &f->dev.blk.dev);
	}
}

static void setup(struct fixture *f, enum type type, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	disk_init(&f->disk, DISK, seed);
	loop_init(&f->loop, 2, vio_blk_ctx_size, seed);
	f->loop.backend_step = disk_step;
	f->loop.backend_ctx = &f->disk;
	init_device(f, type);
}

static void teardown(struct fixture *f)
{
	loop_fini(&f->loop);
	disk_fini(&f->disk);
}

/* Reset, negotiate, start the rings; as a driver that means no harm. */
static void start(struct fixture *f, unsigned set)
{
	struct vio_features wanted = loop_features(set), offered;
	const uint32_t base = VIRTIO_STATUS_ACKNOWLEDGE |
			      VIRTIO_STATUS_DRIVER;
	struct loop *l = &f->loop;
	uint32_t status;
	unsigned i;

	CHECK_EQ(loop_bus.set_status(l, 0), VIO_OK);
	CHECK_EQ(loop_bus.get_status(l, &status), VIO_OK);
	CHECK_EQ(status, 0);
	loop_bus.set_status(l, base);
	loop_bus.get_features(l, &offered);
	wanted.w[0] &= offered.w[0];
	f->packed = vio_has(&wanted, VIRTIO_F_RING_PACKED);
	CHECK_EQ(loop_bus.set_features(l, &wanted), VIO_OK);
	for (i = 0; i < f->queues; i++) {
		const uint64_t at = LOOP_GUEST_BASE + i * 0x1000;
		struct vio_queue_layout layout = {
			.size = SIZE,
			.desc = vio_addr_of(at),
			.driver = vio_addr_of(at + 0x400),
			.device = vio_addr_of(at + 0x800),
		};

		memset(l->window.host + i * 0x1000, 0, 0x1000);
		f->layout[i] = layout;
		loop_bus.queue_start(l, (uint16_t)i, &layout);
	}
	loop_bus.set_status(l, base | VIRTIO_STATUS_FEATURES_OK);
	loop_bus.set_status(l, base | VIRTIO_STATUS_FEATURES_OK |
			    VIRTIO_STATUS_DRIVER_OK);
}

static void *host(struct fixture *f, vio_addr a)
{
	return f->loop.window.host + (a.v - LOOP_GUEST_BASE);
}

/* An address: mostly in memory, sometimes at an edge, sometimes nowhere. */
static uint64_t some_addr(struct vtest_rand *r)
{
	const uint64_t end = LOOP_GUEST_BASE + 3 * 0x100000u;

	switch (vtest_below(r, 16)) {
	case 0: return vtest_u64(r);
	case 1: return end - vtest_below(r, 64);
	case 2: return LOOP_GUEST_BASE - vtest_below(r, 64);
	case 3: return UINT64_MAX - vtest_below(r, 64);
	case 4: return LOOP_GUEST_BASE + 0x100000 - vtest_below(r, 600);
	case 5: return LOOP_GUEST_BASE + TABLES + 16 * vtest_below(r, 64);
	default: return LOOP_GUEST_BASE + BUFFERS + vtest_below(r, 0x8000);
	}
}

static uint32_t some_len(struct vtest_rand *r)
{
	static const uint32_t usual[] = { 1, 16, 17, 512, 513, 1024, 32 };

	switch (vtest_below(r, 8)) {
	case 0: return (uint32_t)vtest_u64(r);
	case 1: return 0;
	case 2: return (uint32_t)vtest_below(r, 70000);
	default: return usual[vtest_below(r, VIO_ARRAY_LEN(usual))];
	}
}

static void some_desc(struct vtest_rand *r, struct virtq_desc *d)
{
	uint16_t flags = (uint16_t)vtest_below(r, 4);

	if (vtest_below(r, 6) == 0)
		flags |= VIRTQ_DESC_F_INDIRECT;
	if (vtest_below(r, 10) == 0)
		flags = (uint16_t)vtest_u64(r);
	d->addr = vio_to_le64(some_addr(r));
	d->len = vio_to_le32(some_len(r));
	d->flags = vio_to_le16(flags);
	d->next = vio_to_le16((uint16_t)vtest_below(r, SIZE +
						    !vtest_below(r, 8)));
}

/* Block request headers, so that the parser gets beyond its first line. */
static void some_headers(struct fixture *f, struct vtest_rand *r)
{
	unsigned char *at = f->loop.window.host + BUFFERS;
	unsigned i;

	for (i = 0; i < 0x8000; i += 16) {
		struct virtio_blk_req_hdr h = {
			.type = vio_to_le32((uint32_t)vtest_below(r, 15)),
			.sector = vio_to_le64(vtest_below(r, 80)),
		};

		memcpy(at + i, &h, sizeof(h));
	}
}

static void write_split(struct fixture *f, struct vtest_rand *r, unsigned q)
{
	struct virtq_desc *desc = host(f, f->layout[q].desc);
	struct virtq_desc *table = (void *)(f->loop.window.host + TABLES);
	struct virtq_avail *avail = host(f, f->layout[q].driver);
	vio_le16 *ring = (vio_le16 *)(void *)(avail + 1);
	unsigned i;

	for (i = 0; i < SIZE; i++) {
		some_desc(r, &desc[i]);
		ring[i] = vio_to_le16((uint16_t)vtest_below(
			r, SIZE + !vtest_below(r, 20)));
	}
	for (i = 0; i < 64; i++)
		some_desc(r, &table[i]);
	avail->flags = vio_to_le16((uint16_t)vtest_below(r, 3));
	ring[SIZE] = vio_to_le16((uint16_t)vtest_u64(r));
	avail->idx = vio_to_le16((uint16_t)(vio_from_le16(avail->idx) +
					    vtest_below(r, SIZE + 2)));
}

static void write_packed(struct fixture *f, struct vtest_rand *r, unsigned q)
{
	struct virtq_desc *ring = host(f, f->layout[q].desc);
	struct virtq_desc *table = (void *)(f->loop.window.host + TABLES);
	vio_le16 *event = host(f, f->layout[q].driver);
	unsigned i;

	/* Same size and place of address and length; then id and flags. */
	for (i = 0; i < SIZE; i++) {
		some_desc(r, &ring[i]);
		ring[i].next = vio_to_le16((uint16_t)(
			vtest_below(r, 8) | (vtest_below(r, 4) ? 0x80
							       : 0x8000)));
		ring[i].flags = vio_to_le16((uint16_t)vtest_below(
			r, SIZE + 1));
	}
	for (i = 0; i < 64; i++)
		some_desc(r, &table[i]);
	event[0] = vio_to_le16((uint16_t)vtest_u64(r));
	event[1] = vio_to_le16((uint16_t)vtest_below(r, 4));
}

static void write_ring(struct fixture *f, struct vtest_rand *r, unsigned q)
{
	if (f->packed)
		write_packed(f, r, q);
	else
		write_split(f, r, q);
}

/* Broken or not, the device stands as the standard says it must. */
static void check_state(struct fixture *f)
{
	bool broken = false;
	unsigned i;

	for (i = 0; i < f->queues; i++)
		broken |= f->loop.queue[i].state == VIO_QUEUE_BROKEN;
	CHECK_EQ(broken, !!(vio_dev_status(f->loop.dev) &
			    VIRTIO_STATUS_NEEDS_RESET));
	if (broken)
		CHECK_GT(f->loop.config_changes, 0);
}

/* How many rounds broke a queue; @served: requests that were answered. */
static unsigned random_rings(enum type type, unsigned rounds,
			     uint64_t *served)
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed() + type);
	unsigned i, q, broke = 0;
	struct fixture f;

	setup(&f, type, vtest_seed());
	for (i = 0; i < rounds; i++) {
		f.disk.late = f.disk.reorder = i & 1;
		start(&f, (unsigned)vtest_below(&rand, LOOP_SETS));
		some_headers(&f, &rand);
		f.loop.steps_left = 10000;
		for (q = 0; q < f.queues * 3; q++) {
			write_ring(&f, &rand, q % f.queues);
			f.loop.kicked[q % f.queues] = true;
			while (loop_step(&f.loop))
				;
		}
		check_state(&f);
		broke += !!(vio_dev_status(f.loop.dev) &
			    VIRTIO_STATUS_NEEDS_RESET);
	}
	start(&f, 0);
	CHECK_EQ(vio_dev_status(f.loop.dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
	*served = 0;
	for (q = 0; q < f.queues; q++)
		*served += f.loop.queue[q].stats.requests;
	teardown(&f);
	return broke;
}

TEST("driver: random rings break queues, not devices",
     "core.device.device-status-field.2 core.device.device-status-field.3 "
     "core.device.device-reset.1")
{
	const unsigned rounds = 4000;
	unsigned type, broke;
	uint64_t served;

	for (type = 0; type < TYPES; type++) {
		broke = random_rings(type, rounds, &served);
		/* Else the words are too tame, or too wild, to test much. */
		CHECK_GT(broke, rounds / 4);
		CHECK_GT(served, rounds / 4);
	}
}

/* Three reads of a sector each, at heads 0, 3 and 6, and then nonsense. */
static void write_three_reads(struct fixture *f)
{
	struct virtq_desc *d = host(f, f->layout[0].desc);
	struct virtq_avail *avail = host(f, f->layout[0].driver);
	vio_le16 *ring = (vio_le16 *)(void *)(avail + 1);
	unsigned i;

	memset(f->loop.window.host + BUFFERS, 0, 64);
	for (i = 0; i < 9; i++) {
		static const uint32_t len[] = { 16, 512, 1 };

		d[i].addr = vio_to_le64(LOOP_GUEST_BASE + BUFFERS +
					i * 0x400);
		d[i].len = vio_to_le32(len[i % 3]);
		d[i].flags = vio_to_le16((uint16_t)((i % 3 < 2 ? 1 : 0) |
						    (i % 3 ? 2 : 0)));
		d[i].next = vio_to_le16((uint16_t)(i + 1));
		ring[i % 3] = vio_to_le16((uint16_t)(i % 3 * 3));
	}
	avail->idx = vio_to_le16(3);
}

TEST("driver: a queue that breaks while later requests wait can be reset",
     "core.device.device-reset.1")
{
	struct fixture f;
	struct virtq_avail *avail;

	setup(&f, BLK, vtest_seed());
	f.disk.late = true;
	start(&f, LOOP_IN_ORDER);
	write_three_reads(&f);
	CHECK_EQ(vio_queue_service(&f.loop.queue[0], 8), VIO_SERVICE_IDLE);
	CHECK_EQ(f.disk.nr_pending, 3);
	/* The third is finished first, and waits; then the driver lies. */
	f.disk.pending[2]->done(f.disk.pending[2], VIO_OK);
	f.disk.nr_pending = 2;
	avail = host(&f, f.layout[0].driver);
	avail->idx = vio_to_le16(1000);
	vio_queue_service(&f.loop.queue[0], 8);
	CHECK_EQ(f.loop.queue[0].state, VIO_QUEUE_BROKEN);
	CHECK_EQ(vio_dev_reset(f.loop.dev), VIO_OK);
	CHECK_EQ(f.loop.queue[0].inflight, 0);
	CHECK_EQ(f.loop.mem.pins, 0);
	teardown(&f);
}

/* -- a thread that changes everything while the device works -------------- */

struct racer {
	struct fixture *f;
	struct vtest_rand rand;
	atomic_bool stop;
	atomic_uint laps;
};

/* Bytes of shared memory change at any time: a store of a byte each. */
static void scribble(struct racer *r, unsigned char *at, size_t len)
{
	volatile unsigned char *p = at;
	size_t i = (size_t)vtest_below(&r->rand, len);

	p[i] = (unsigned char)vtest_u64(&r->rand);
}

static void *race(void *arg)
{
	struct racer *r = arg;
	unsigned char *base = r->f->loop.window.host;
	unsigned i;

	while (!atomic_load(&r->stop)) {
		for (i = 0; i < 64; i++) {
			scribble(r, base, 0x400);	/* descriptors */
			scribble(r, base + 0x404, 2 * SIZE);	/* avail */
			scribble(r, base + TABLES, 0x400);
			scribble(r, base + BUFFERS, 0x8000);
		}
		atomic_fetch_add(&r->laps, 1);
	}
	return NULL;
}

TEST("driver: late changes by another thread do no harm", "")
{
	struct racer r = { .rand = vtest_rand_init(vtest_seed()) };
	struct vtest_rand rand = vtest_rand_init(vtest_seed() + 1);
	struct fixture f;
	pthread_t thread;
	unsigned i, lap;

	setup(&f, BLK, vtest_seed());
	r.f = &f;
	CHECK_EQ(pthread_create(&thread, NULL, race, &r), 0);
	for (i = 0; i < 3000; i++) {
		start(&f, (unsigned)vtest_below(&rand, LOOP_SETS));
		some_headers(&f, &rand);
		write_ring(&f, &rand, 0);
		f.loop.kicked[0] = true;
		f.loop.steps_left = 10000;
		while (loop_step(&f.loop))
			;
		check_state(&f);
	}
	lap = atomic_load(&r.laps);
	atomic_store(&r.stop, true);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_GT(lap, 10);
	teardown(&f);
}
