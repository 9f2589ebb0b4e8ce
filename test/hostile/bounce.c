/* SPDX-License-Identifier: MIT */
/*
 * Hostile devices against drivers that share nothing but a pool: between any
 * two steps all of shared memory may change, rings, headers and pool alike, at
 * random or nearly right. The driver may lose its queue, never its mind: its
 * private bytes stay as they are but for buffers that the device may write, and
 * those only when they come back, up to the length that the driver says.
 */
#include "test/loopback/disk.h"
#include "test/loopback/loop.h"

#include <vireo/console.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>
#include <vireo/rng.h>
#include <vireo/spec/packed.h>

#define SECTORS		256u
#define BUFS		12u
#define BUF		2048u
#define GUARD		64u
#define AREA		(BUFS * (BUF + GUARD) + GUARD)
#define RINGS		0x4000u		/* first bytes of the window: rings */

struct fixture {
	struct loop loop;
	struct disk disk;
	struct vtest_rand rand;
	struct vio_blk blk;
	struct vio_blkdrv drv;
	struct vio_drv_mem fresh;
	unsigned char *own;		/* AREA bytes, in private memory */
	unsigned char before[AREA];	/* as they should be */
	struct vio_blkdrv_req req[BUFS];
	struct vio_seg seg[BUFS];
	bool busy[BUFS];
	unsigned wild;			/* one step in so many is followed */
	unsigned done, lost, broken;
};

/* -- malice -------------------------------------------------------------- */

static void scatter(struct fixture *f)
{
	struct loop *l = &f->loop;
	unsigned n = 1 + (unsigned)vtest_below(&f->rand, 16);

	for (unsigned i = 0; i < n; i++) {
		size_t room = vtest_below(&f->rand, 2) ? RINGS : l->file_size;

		l->window.host[vtest_below(&f->rand, room)] =
			(unsigned char)vtest_u64(&f->rand);
	}
}

static unsigned char *at(struct fixture *f, vio_addr a)
{
	return f->loop.window.host + (a.v - LOOP_GUEST_BASE);
}

/* A used entry as a right device would write it, of anything. */
static void lie(struct fixture *f)
{
	const struct vio_vq *vq = &f->drv.queue[0].vq;
	uint32_t id = (uint32_t)vtest_below(&f->rand, vq->size + 1u);
	uint32_t len = vtest_below(&f->rand, 2) ? UINT32_MAX :
		       (uint32_t)vtest_below(&f->rand, 2 * BUF);
	uint16_t pos = vq->used_next;

	if (vio_drv_has(&f->drv.drv, VIRTIO_F_RING_PACKED)) {
		bool wrap = pvirtq_wrap(pos, vq->size);
		struct pvirtq_desc d = { { 0 }, vio_to_le32(len),
			vio_to_le16((uint16_t)id), vio_to_le16(wrap ?
			PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0) };

		memcpy(at(f, vq->layout.desc) + sizeof(d) *
		       pvirtq_off(pos, vq->size), &d, sizeof(d));
	} else {
		struct virtq_used_elem e = { vio_to_le32(id),
					     vio_to_le32(len) };
		vio_le16 idx = vio_to_le16((uint16_t)(pos + 1));

		memcpy(at(f, vq->layout.device) + 4 + sizeof(e) *
		       (pos & (vq->size - 1u)), &e, sizeof(e));
		memcpy(at(f, vq->layout.device) + 2, &idx, sizeof(idx));
	}
}

static void rewrite(struct fixture *f)
{
	struct loop *l = &f->loop;

	switch (vtest_below(&f->rand, 8)) {
	case 0:
		vtest_fill_much(&f->rand, l->window.host, l->file_size);
		return;
	case 1: case 2: case 3:
		scatter(f);
		return;
	case 4:		/* all of the pool, and nothing else */
		memset(l->bounce.pool.host, (int)vtest_below(&f->rand, 256),
		       l->bounce.pool.size);
		return;
	default:
		lie(f);
	}
}

/* -- the disk's driver --------------------------------------------------- */

static void start(struct fixture *f, unsigned set)
{
	struct vio_vq_limits limits = { .size = 32, .indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();

	wanted.w[0] &= 0xffffff;	/* the type's own */
	wanted.w[0] |= loop_features(set).w[0];
	f->loop.drv_mem = f->fresh;
	CHECK_EQ(vio_blkdrv_init(&f->drv, &loop_bus, &f->loop, &wanted,
				 &limits, 1, &f->loop.drv_mem), VIO_OK);
}

static void setup(struct fixture *f, unsigned set, uint64_t seed)
{
	const struct vio_blk_conf conf = { .capacity_sectors = SECTORS,
					   .seg_max = 8, .in_order = true };

	memset(f, 0, sizeof(*f));
	f->rand = vtest_rand_init(seed);
	disk_init(&f->disk, SECTORS * 512, seed);
	f->disk.late = seed & 1;
	loop_init(&f->loop, 1, vio_blk_ctx_size, seed);
	loop_bounce(&f->loop);
	CHECK_EQ(vio_blk_init(&f->blk, &conf, f->loop.queue, &disk_ops,
			      &f->disk, NULL), VIO_OK);
	loop_attach(&f->loop, &f->blk.dev);
	f->loop.backend_step = disk_step;
	f->loop.backend_ctx = &f->disk;
	f->fresh = f->loop.drv_mem;
	f->own = loop_buffer(&f->loop, AREA);
	vtest_fill_much(&f->rand, f->own, AREA);
	memcpy(f->before, f->own, AREA);
	start(f, set);
}

static unsigned char *buffer(struct fixture *f, unsigned i)
{
	return f->own + GUARD + i * (BUF + GUARD);
}

/* Nothing private was touched that is not written down. */
static void check_private(struct fixture *f)
{
	CHECK_MEMEQ(f->own, f->before, AREA);
}

static void submit(struct fixture *f, unsigned i)
{
	struct vio_blkdrv_req *r = &f->req[i];
	uint32_t sectors = 1 + (uint32_t)vtest_below(&f->rand, BUF / 512);

	f->seg[i] = (struct vio_seg){ buffer(f, i), sectors * 512 };
	*r = (struct vio_blkdrv_req){
		.type = vtest_below(&f->rand, 2) ? VIRTIO_BLK_T_IN :
						   VIRTIO_BLK_T_OUT,
		.sector = vtest_below(&f->rand, SECTORS - sectors),
		.seg = &f->seg[i], .nr_seg = 1, .user = f,
	};
	f->busy[i] = vio_blkdrv_submit(&f->drv, 0, r) == VIO_OK;
}

static void collect(struct fixture *f)
{
	struct vio_blkdrv_req *r;

	while ((r = vio_blkdrv_poll(&f->drv, 0))) {
		size_t i = (size_t)(r - f->req), off, len = 0;

		CHECK_LT(i, BUFS);
		CHECK(f->busy[i]);
		f->busy[i] = false;
		f->done++;
		CHECK_LE(r->status, VIRTIO_BLK_S_UNSUPP);
		if (r->type != VIRTIO_BLK_T_IN)
			continue;
		/* Up to here it may have changed: that is as it should be. */
		off = (size_t)(buffer(f, (unsigned)i) - f->own);
		len = r->used_len < f->seg[i].len ? r->used_len :
						    f->seg[i].len;
		memcpy(f->before + off, f->own + off, len);
	}
}

static void lost(void *ctx, struct vio_blkdrv_req *r)
{
	struct fixture *f = ctx;

	CHECK(f->busy[r - f->req]);
	f->busy[r - f->req] = false;
	f->lost++;
}

static void again(struct fixture *f, unsigned set)
{
	f->broken++;
	CHECK_EQ(vio_blkdrv_reset(&f->drv, lost, f), VIO_OK);
	for (unsigned i = 0; i < BUFS; i++)
		CHECK(!f->busy[i]);
	CHECK_EQ(f->loop.bounce.nr_free, f->loop.bounce.nr);
	check_private(f);
	start(f, set);
}

static void step(struct fixture *f, unsigned set)
{
	unsigned i = (unsigned)vtest_below(&f->rand, BUFS);

	switch (vtest_below(&f->rand, 4)) {
	case 0:
		if (!f->busy[i])
			submit(f, i);
		break;
	case 1:
		vio_blkdrv_commit(&f->drv, 0);
		break;
	case 2:
		loop_step(&f->loop);
		break;
	default:
		collect(f);
	}
	if (f->wild && vtest_below(&f->rand, f->wild) == 0)
		rewrite(f);
	check_private(f);
	if (f->drv.queue[0].vq.broken ||
	    f->loop.queue[0].state == VIO_QUEUE_BROKEN) {
		collect(f);
		again(f, set);
	}
}

static void run(unsigned wild, unsigned steps)
{
	unsigned done = 0, broken = 0;

	for (unsigned set = LOOP_BOUNCE; set < LOOP_ALL; set++) {
		struct fixture f;

		setup(&f, set, vtest_seed() + set);
		f.wild = wild;
		for (unsigned i = 0; i < steps; i++)
			step(&f, set);
		again(&f, set);
		done += f.done;
		broken += f.broken;
		loop_fini(&f.loop);
		disk_fini(&f.disk);
	}
	CHECK_GT(done, 100);
	CHECK(!wild || broken > 100);
}

TEST("bounce: shared memory changes between any two steps", "")
{
	run(8, 600);
}

TEST("bounce: shared memory changes now and then", "")
{
	run(60, 1000);
}

TEST("bounce: nothing private moves where the device means no harm", "")
{
	run(0, 300);
}

/* -- the others: malice strikes while the device works -------------------- */

struct other {
	struct fixture *f;
	bool strike;
};

static bool other_step(void *ctx)
{
	struct other *o = ctx;

	if (o->strike)
		scatter(o->f);
	return false;
}

static size_t other_fill(void *ctx, void *dst, size_t len)
{
	struct other *o = ctx;

	memset(dst, 0x77, len);
	if (o->strike)
		scatter(o->f);
	return len;
}

static size_t other_write(void *ctx, const void *src, size_t len)
{
	(void)src;
	other_step(ctx);
	return len;
}

static void other_setup(struct fixture *f, struct other *o, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	*o = (struct other){ f, false };
	f->rand = vtest_rand_init(seed);
	loop_init(&f->loop, 2, 64, seed);
	loop_bounce(&f->loop);
	f->own = loop_buffer(&f->loop, AREA);
	vtest_fill_much(&f->rand, f->own, AREA);
	memcpy(f->before, f->own, AREA);
	f->loop.backend_step = other_step;
	f->loop.backend_ctx = o;
}

TEST("bounce: the entropy driver under the same", "")
{
	static const struct vio_rng_source_ops source = { other_fill };
	const struct vio_vq_limits limits = { 16, 4 };
	unsigned good = 0, bad = 0;

	for (unsigned round = 0; round < 320; round++) {
		struct vio_features f16 =
			loop_features(LOOP_BOUNCE + round % LOOP_SETS);
		struct fixture f;
		struct other o;
		struct vio_rng dev;
		struct vio_rngdrv drv;

		other_setup(&f, &o, vtest_seed() + round);
		CHECK_EQ(vio_rng_init(&dev, f.loop.queue, &source, &o),
			 VIO_OK);
		loop_attach(&f.loop, &dev.dev);
		CHECK_EQ(vio_rngdrv_init(&drv, &loop_bus, &f.loop, &f16,
					 &limits, &f.loop.drv_mem), VIO_OK);
		o.strike = true;
		for (unsigned i = 0; i < 20; i++) {
			unsigned n = (unsigned)vtest_below(&f.rand, BUFS);
			size_t off = (size_t)(buffer(&f, n) - f.own);
			uint32_t got = 0;
			int err = vio_rngdrv_read(&drv, f.own + off, BUF, &got);

			good += err == VIO_OK;
			bad += err != VIO_OK;
			CHECK_LE(got, BUF);
			memcpy(f.before + off, f.own + off, got);
			check_private(&f);
			if (err)
				break;
		}
		o.strike = false;
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		vio_vq_reset(&drv.vq);
		CHECK_EQ(f.loop.bounce.nr_free, f.loop.bounce.nr);
		check_private(&f);
		loop_fini(&f.loop);
	}
	CHECK_GT(good, 100);
	CHECK_GT(bad, 10);
}

TEST("bounce: the console driver under the same", "")
{
	static const struct vio_console_backend_ops terminal = {
		.write = other_write, .read = other_fill };
	const struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	const struct vio_vq_limits limits = { 16, 4 };
	unsigned good = 0, bad = 0;

	for (unsigned round = 0; round < 320; round++) {
		struct vio_features f16 =
			loop_features(LOOP_BOUNCE + round % LOOP_SETS);
		struct fixture f;
		struct other o;
		struct vio_console dev;
		struct vio_condrv drv;

		other_setup(&f, &o, vtest_seed() + round);
		CHECK_EQ(vio_console_init(&dev, &conf, f.loop.queue, &terminal,
					  &o), VIO_OK);
		loop_attach(&f.loop, &dev.dev);
		CHECK_EQ(vio_condrv_init(&drv, &loop_bus, &f.loop, &f16,
					 &limits, &f.loop.drv_mem), VIO_OK);
		o.strike = true;
		for (unsigned i = 0; i < 20; i++) {
			unsigned n = (unsigned)vtest_below(&f.rand, BUFS);
			unsigned char *b = buffer(&f, n), in[300];
			int err = vio_condrv_print(&drv, b, BUF);

			good += err == VIO_OK;
			bad += err != VIO_OK;
			CHECK_LE(vio_condrv_read(&drv, in, sizeof(in)),
				 sizeof(in));
			check_private(&f);
			if (err)
				break;
		}
		o.strike = false;
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		vio_vq_reset(&drv.tx);
		vio_vq_reset(&drv.rx);
		CHECK_EQ(f.loop.bounce.nr_free, f.loop.bounce.nr);
		check_private(&f);
		loop_fini(&f.loop);
	}
	CHECK_GT(good, 100);
	CHECK_GT(bad, 10);
}
