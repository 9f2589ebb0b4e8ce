/* SPDX-License-Identifier: MIT */
/*
 * Power cuts. The storage remembers for each sector what a crash might leave
 * there: what is durable, and every value written since that is not. The
 * guest's side remembers what it was told: what a completed flush, or a
 * completed write without a cache, made stable. Whenever the power goes, each
 * value that may be left must be one the guest can expect. Sectors do not
 * depend on each other, so that all states of a disk are checked by checking
 * all values of each sector.
 */
#include "loop.h"

#include <vireo/blk.h>
#include <vireo/driver_blk.h>

#include <stdlib.h>

#define SECTORS		48u
#define HISTORY		4096u	/* writes of one sector in a run */
#define REQS		12u
#define REQ_SECTORS	4u
#define PENDING		64u

/* -- storage --------------------------------------------------------------- */

/* Values that a sector of the disk may have: those of its history from
 * @durable on. */
struct sector {
	uint64_t value[HISTORY];
	unsigned nr, durable;
	unsigned done;		/* newest that was answered */
};

struct power {
	struct sector sector[SECTORS];
	struct vtest_rand rand;
	struct {
		struct vio_blk_io *io;
		unsigned done[SECTORS];	/* of a flush: when it came */
	} pending[PENDING];
	unsigned nr;
	bool ignores_flush, ignores_fua;	/* storage that lies */
};

static uint64_t value_of(const struct vio_blk_io *io, unsigned i)
{
	uint64_t at = (uint64_t)i * 512, v = 0;

	if (io->op == VIO_BLK_WRITE_ZEROES)
		return 0;
	for (unsigned s = 0; s < io->nr_seg; s++) {
		if (at < io->seg[s].len) {
			memcpy(&v, (char *)io->seg[s].base + at, sizeof(v));
			return v;
		}
		at -= io->seg[s].len;
	}
	FAIL("a write without data");
	return 0;
}

static void submit(void *ctx, struct vio_blk_io *io)
{
	struct power *p = ctx;
	uint64_t first = io->offset / 512;

	CHECK_LT(p->nr, PENDING);
	p->pending[p->nr].io = io;
	for (unsigned i = 0; i < SECTORS; i++)
		p->pending[p->nr].done[i] = p->sector[i].done;
	p->nr++;
	/* From now on any part of it may be on the disk. */
	for (unsigned i = 0; i < io->len / 512; i++) {
		struct sector *s = &p->sector[first + i];

		CHECK_LT(s->nr, HISTORY);
		s->value[s->nr++] = value_of(io, i);
	}
}

static void advance(struct sector *s, unsigned to)
{
	if (to > s->durable)
		s->durable = to;
}

/* Only what was answered before the flush came is sure to be in it. */
static void execute(struct power *p, unsigned n)
{
	struct vio_blk_io *io = p->pending[n].io;
	uint64_t first = io->offset / 512;

	if (io->op == VIO_BLK_FLUSH && !p->ignores_flush)
		for (unsigned i = 0; i < SECTORS; i++)
			advance(&p->sector[i], p->pending[n].done[i]);
	for (unsigned i = 0; i < io->len / 512; i++) {
		struct sector *s = &p->sector[first + i];

		s->done = s->nr - 1;
		if (io->flags & VIO_BLK_FUA && !p->ignores_fua)
			advance(s, s->nr - 1);
	}
	p->pending[n] = p->pending[--p->nr];
	io->done(io, VIO_OK);
}

static bool step(void *ctx)
{
	struct power *p = ctx;

	if (!p->nr)
		return false;
	execute(p, (unsigned)vtest_below(&p->rand, p->nr));
	return true;
}

static void commit(void *ctx, unsigned queue)
{
	(void)ctx;
	(void)queue;
}

static void drain(void *ctx, unsigned queue)
{
	(void)queue;
	while (step(ctx))
		;
}

static const struct vio_blk_backend_ops ops = {
	.submit = submit, .commit = commit, .drain = drain,
};

/* -- the guest ------------------------------------------------------------- */

struct work {
	struct vio_blkdrv_req req;
	struct vio_seg seg;
	unsigned queue, nr;
	bool busy, stable;	/* no cache when it was sent */
	unsigned before[SECTORS];	/* flush: what it must cover */
};

struct guest {
	struct loop loop;
	struct power power;
	struct vio_blk dev;
	struct vio_blkdrv drv;
	struct vtest_rand rand;
	struct work work[REQS];
	/* Indices into the sector's history, which grows in the same order
	 * here and there: one write at a time has a sector. */
	unsigned done[SECTORS], stable[SECTORS], sent[SECTORS];
	bool locked[SECTORS];
	uint64_t next_value;
	unsigned cuts, bad, flushes, writes, switches;
};

static bool lock(struct guest *g, const struct work *w, bool on)
{
	for (unsigned i = 0; on && i < w->nr; i++)
		if (g->locked[w->req.sector + i])
			return false;
	for (unsigned i = 0; i < w->nr; i++)
		g->locked[w->req.sector + i] = on;
	return true;
}

static void fill(struct guest *g, struct work *w)
{
	for (unsigned i = 0; i < w->nr; i++) {
		uint64_t v = ++g->next_value;

		memcpy((char *)w->seg.base + i * 512, &v, sizeof(v));
	}
}

static bool invent(struct guest *g, struct work *w)
{
	w->req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_OUT };
	w->stable = !g->drv.writeback;
	w->nr = 0;
	if (vtest_below(&g->rand, 5) == 0 &&
	    vio_drv_has(&g->drv.drv, VIRTIO_BLK_F_FLUSH)) {
		w->req.type = VIRTIO_BLK_T_FLUSH;
		memcpy(w->before, g->done, sizeof(w->before));
		return true;
	}
	w->nr = 1 + (unsigned)vtest_below(&g->rand, REQ_SECTORS);
	w->req.sector = vtest_below(&g->rand, SECTORS - w->nr + 1);
	if (!lock(g, w, true))
		return false;
	if (vtest_below(&g->rand, 4) == 0) {
		w->req.type = VIRTIO_BLK_T_WRITE_ZEROES;
		w->req.num_sectors = w->nr;
		return true;
	}
	fill(g, w);
	w->seg.len = w->nr * 512;
	w->req.seg = &w->seg;
	w->req.nr_seg = 1;
	return true;
}

static void issue(struct guest *g)
{
	struct work *w = &g->work[vtest_below(&g->rand, REQS)];

	if (w->busy || !invent(g, w))
		return;
	w->queue = (unsigned)vtest_below(&g->rand, g->drv.nr_queues);
	if (vio_blkdrv_submit(&g->drv, w->queue, &w->req) != VIO_OK) {
		lock(g, w, false);
		return;
	}
	w->busy = true;
	for (unsigned i = 0; i < w->nr; i++)
		g->sent[w->req.sector + i]++;
}

static void raise_to(unsigned *v, unsigned to)
{
	if (to > *v)
		*v = to;
}

static void finish(struct guest *g, struct work *w)
{
	CHECK_EQ(w->req.status, VIRTIO_BLK_S_OK);
	w->busy = false;
	lock(g, w, false);
	if (w->req.type == VIRTIO_BLK_T_FLUSH) {
		g->flushes++;
		for (unsigned i = 0; i < SECTORS; i++)
			raise_to(&g->stable[i], w->before[i]);
		return;
	}
	g->writes++;
	for (unsigned i = 0; i < w->nr; i++) {
		unsigned s = (unsigned)w->req.sector + i;

		g->done[s] = g->sent[s];
		/* blk.device.device-operation: stable if there was no cache
		 * all the time in between */
		if (w->stable && !g->drv.writeback)
			raise_to(&g->stable[s], g->done[s]);
	}
}

static void collect(struct guest *g, unsigned queue)
{
	struct vio_blkdrv_req *req;

	while ((req = vio_blkdrv_poll(&g->drv, queue)))
		finish(g, vio_container_of(req, struct work, req));
}

/* The power goes: what may be left that the guest cannot expect? */
static void cut(struct guest *g)
{
	g->cuts++;
	for (unsigned i = 0; i < SECTORS; i++)
		if (g->power.sector[i].durable < g->stable[i])
			g->bad++;
}

static void toggle(struct guest *g)
{
	if (vio_blkdrv_set_writeback(&g->drv, !g->drv.writeback) != VIO_OK)
		return;
	g->switches++;
	/* What is under way may be either. */
	for (unsigned i = 0; i < REQS; i++)
		g->work[i].stable = false;
}

static void round_of(struct guest *g)
{
	unsigned q = (unsigned)vtest_below(&g->rand, g->drv.nr_queues);

	switch (vtest_below(&g->rand, 8)) {
	case 0: case 1: case 2:
		issue(g);
		break;
	case 3:
		vio_blkdrv_commit(&g->drv, q);
		break;
	case 4: case 5:
		loop_step(&g->loop);
		break;
	case 6:
		collect(g, q);
		break;
	default:
		if (vtest_below(&g->rand, 64) == 0)
			toggle(g);
	}
	cut(g);
}

enum mode { CACHE_SWITCHED, CACHE_FLUSHED, NO_CACHE, MODES };

static struct guest *start(enum mode mode, uint64_t seed)
{
	const struct vio_vq_limits limits = { .size = 32 };
	struct vio_features wanted = vio_blkdrv_features();
	const struct vio_blk_conf conf = {
		.capacity_sectors = SECTORS, .seg_max = 8, .num_queues = 2,
		.max_write_zeroes_sectors = 8, .max_write_zeroes_seg = 1,
	};
	struct guest *g = calloc(1, sizeof(*g));

	CHECK(g);
	if (mode != CACHE_SWITCHED)
		vio_feature_clear(&wanted, VIRTIO_BLK_F_CONFIG_WCE);
	if (mode == NO_CACHE)
		vio_feature_clear(&wanted, VIRTIO_BLK_F_FLUSH);
	g->rand = vtest_rand_init(seed);
	g->power.rand = vtest_rand_init(seed + 1);
	for (unsigned i = 0; i < SECTORS; i++)
		g->power.sector[i].nr = 1;	/* as it came */
	loop_init(&g->loop, 2, vio_blk_ctx_size, seed + 2);
	CHECK_EQ(vio_blk_init(&g->dev, &conf, g->loop.queue, &ops, &g->power,
			      NULL), VIO_OK);
	loop_attach(&g->loop, &g->dev.dev);
	g->loop.backend_step = step;
	g->loop.backend_ctx = &g->power;
	CHECK_EQ(vio_blkdrv_init(&g->drv, &loop_bus, &g->loop, &wanted,
				 &limits, 2, &g->loop.drv_mem), VIO_OK);
	for (unsigned i = 0; i < REQS; i++)
		g->work[i].seg.base = loop_buffer(&g->loop,
						  REQ_SECTORS * 512);
	return g;
}

static void end(struct guest *g)
{
	loop_fini(&g->loop);
	free(g);
}

#define ROUNDS	20000u

TEST("blk: whenever the power goes, what was said to be durable is there",
     "blk.device.device-operation.11 blk.driver.device-operation.13")
{
	for (unsigned mode = 0; mode < MODES; mode++) {
		struct guest *g = start((enum mode)mode, vtest_seed() + mode);

		for (unsigned i = 0; i < ROUNDS; i++)
			round_of(g);
		CHECK_EQ(g->bad, 0);
		CHECK_EQ(g->cuts, ROUNDS);
		CHECK_GT(g->writes, 500);
		if (mode != NO_CACHE)
			CHECK_GT(g->flushes, 100);
		if (mode == CACHE_SWITCHED)
			CHECK_GT(g->switches, 10);
		end(g);
	}
}

TEST("blk: storage that lies about flushes or stable writes is found out", "")
{
	for (unsigned mode = 0; mode < MODES; mode++) {
		struct guest *g = start((enum mode)mode, vtest_seed() + mode);

		g->power.ignores_flush = mode != NO_CACHE;
		g->power.ignores_fua = mode == NO_CACHE;
		for (unsigned i = 0; i < ROUNDS; i++)
			round_of(g);
		CHECK_GT(g->bad, 0);
		end(g);
	}
}
