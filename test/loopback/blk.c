/* SPDX-License-Identifier: MIT */
/*
 * The block driver against the block device, in memory: random requests in
 * every set of ring features, checked against a model of the disk, with a
 * back end that is late, unordered and failing.
 */
#include "disk.h"
#include "loop.h"

#include <vireo/driver_blk.h>

#include <stdlib.h>

#define SECTORS		256u
#define SECTOR		512u
#define REQS		24u
#define REQ_SECTORS	8u	/* data of one request, at most */
#define REQ_SEGS	6u

struct fixture {
	struct loop loop;
	struct disk disk;
	struct vio_blk dev;
	struct vio_blk_stats stats[LOOP_QUEUES];
	struct vio_blkdrv drv;
	unsigned queues;
};

struct setup {
	unsigned set;		/* of ring features */
	uint16_t ring;
	uint16_t indirect_max;
	unsigned queues;
	bool late, reorder;
	unsigned fail_one_in;
	bool read_only;
};

static struct vio_blk_conf conf_of(const struct setup *s)
{
	struct vio_blk_conf conf = {
		.capacity_sectors = SECTORS,
		.seg_max = 32,
		.num_queues = (uint16_t)s->queues,
		.read_only = s->read_only,
		.in_order = true,
		.max_discard_sectors = 64,
		.max_discard_seg = 4,
		.max_write_zeroes_sectors = 64,
		.max_write_zeroes_seg = 4,
		.write_zeroes_may_unmap = true,
	};

	memcpy(conf.serial, "loopback-serial-0001", VIRTIO_BLK_ID_BYTES);
	return conf;
}

static int start_driver(struct fixture *f, const struct setup *s)
{
	struct vio_vq_limits limits = { .size = s->ring,
					.indirect_max = s->indirect_max };
	struct vio_features wanted = vio_blkdrv_features();
	struct vio_features ring = loop_features(s->set);
	static const uint8_t bits[] = {
		VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER,
	};
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(bits); i++)
		if (!vio_has(&ring, bits[i]))
			vio_feature_clear(&wanted, bits[i]);
	wanted.w[0] |= ring.w[0];
	return vio_blkdrv_init(&f->drv, &loop_bus, &f->loop, &wanted, &limits,
			       s->queues, &f->loop.drv_mem);
}

static void setup(struct fixture *f, const struct setup *s, uint64_t seed)
{
	struct vio_blk_conf conf = conf_of(s);

	memset(f, 0, sizeof(*f));
	loop_init(&f->loop, s->queues, vio_blk_ctx_size, seed);
	if (s->set & LOOP_BOUNCE)
		loop_bounce(&f->loop);
	disk_init(&f->disk, SECTORS * SECTOR, seed + 1);
	f->disk.late = s->late;
	f->disk.reorder = s->reorder;
	f->disk.fail_one_in = s->fail_one_in;
	CHECK_EQ(vio_blk_init(&f->dev, &conf, f->loop.queue, &disk_ops,
			      &f->disk, f->stats), VIO_OK);
	loop_attach(&f->loop, &f->dev.dev);
	f->loop.backend_step = disk_step;
	f->loop.backend_ctx = &f->disk;
	CHECK_EQ(start_driver(f, s), VIO_OK);
	f->queues = f->drv.nr_queues;
	CHECK_EQ(f->queues, s->queues);
}

static void teardown(struct fixture *f)
{
	loop_fini(&f->loop);
	disk_fini(&f->disk);
}

/* -- random requests against a model ------------------------------------- */

struct work {
	struct vio_blkdrv_req req;
	struct vio_seg seg[REQ_SEGS];
	unsigned char *buf;
	unsigned char copy[REQ_SECTORS * SECTOR];	/* what was written */
	uint32_t sectors;
	unsigned queue;
	bool busy;
};

struct model {
	struct fixture *f;
	struct vtest_rand rand;
	unsigned char data[SECTORS * SECTOR];
	bool locked[SECTORS];	/* a request in flight covers it */
	struct work work[REQS];
	unsigned inflight;
	unsigned ok, failed;
};

static void lock(struct model *m, const struct work *w, bool on)
{
	uint32_t i;

	for (i = 0; i < w->sectors; i++) {
		CHECK_NE(m->locked[w->req.sector + i], on);
		m->locked[w->req.sector + i] = on;
	}
}

static bool is_free(const struct model *m, uint64_t sector, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		if (m->locked[sector + i])
			return false;
	return true;
}

/* Cut the data at random places, as drivers may. */
static void cut(struct model *m, struct work *w)
{
	size_t left = w->sectors * SECTOR, at = 0;
	uint32_t n = 0;

	while (left) {
		size_t len = 1 + (size_t)vtest_below(&m->rand, left);

		if (n == REQ_SEGS - 1 || vtest_below(&m->rand, 3) == 0)
			len = left;
		w->seg[n].base = w->buf + at;
		w->seg[n++].len = len;
		at += len;
		left -= len;
	}
	w->req.seg = w->seg;
	w->req.nr_seg = n;
}

static const uint32_t types[] = {
	VIRTIO_BLK_T_IN, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT,
	VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD,
};

static bool has_data(const struct work *w)
{
	return w->req.type == VIRTIO_BLK_T_IN ||
	       w->req.type == VIRTIO_BLK_T_OUT;
}

/* Think of a request; false if its sectors are taken. */
static bool invent(struct model *m, struct work *w)
{
	memset(&w->req, 0, sizeof(w->req));
	w->req.type = types[vtest_below(&m->rand, VIO_ARRAY_LEN(types))];
	w->sectors = 0;
	if (w->req.type == VIRTIO_BLK_T_FLUSH)
		return true;
	w->sectors = 1 + (uint32_t)vtest_below(&m->rand, REQ_SECTORS);
	w->req.sector = vtest_below(&m->rand, SECTORS - w->sectors + 1);
	if (!is_free(m, w->req.sector, w->sectors))
		return false;
	if (!has_data(w)) {
		w->req.num_sectors = w->sectors;
		w->req.unmap = w->req.type == VIRTIO_BLK_T_WRITE_ZEROES &&
			       vtest_below(&m->rand, 2);
		return true;
	}
	vtest_fill_much(&m->rand, w->copy, w->sectors * SECTOR);
	memcpy(w->buf, w->copy, w->sectors * SECTOR);
	cut(m, w);
	return true;
}

/* Submit one request. False when the ring is full or nothing fits. */
static bool issue(struct model *m)
{
	struct work *w = &m->work[vtest_below(&m->rand, REQS)];
	int err;

	if (w->busy || !invent(m, w))
		return false;
	w->queue = (unsigned)vtest_below(&m->rand, m->f->queues);
	err = vio_blkdrv_submit(&m->f->drv, w->queue, &w->req);
	if (err == VIO_E_NOSPC)
		return false;
	CHECK_EQ(err, VIO_OK);
	w->busy = true;
	m->inflight++;
	lock(m, w, true);
	return true;
}

static void finish(struct model *m, struct vio_blkdrv_req *req)
{
	struct work *w = vio_container_of(req, struct work, req);
	unsigned char *now = m->data + w->req.sector * SECTOR;
	size_t len = w->sectors * SECTOR;

	CHECK(w->busy);
	w->busy = false;
	m->inflight--;
	lock(m, w, false);
	if (req->status != VIRTIO_BLK_S_OK) {
		m->failed++;
		return;
	}
	m->ok++;
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		CHECK_EQ(req->used_len, len + 1);
		CHECK_MEMEQ(w->buf, now, len);
		break;
	case VIRTIO_BLK_T_OUT:
		CHECK_MEMEQ(w->buf, w->copy, len);
		memcpy(now, w->copy, len);
		break;
	case VIRTIO_BLK_T_FLUSH:
		break;
	default:
		memset(now, 0, len);
	}
	if (req->type != VIRTIO_BLK_T_IN)
		CHECK_EQ(req->used_len, 1);
}

static void collect(struct model *m, unsigned queue)
{
	struct vio_blkdrv_req *req;

	while ((req = vio_blkdrv_poll(&m->f->drv, queue))) {
		CHECK_EQ(vio_container_of(req, struct work, req)->queue,
			 queue);
		finish(m, req);
	}
	CHECK(!m->f->drv.queue[queue].vq.broken);
}

/* Sleep until the queue's oldest wake-up comes; a lost one is an error. */
static void wait_queue(struct model *m, unsigned queue)
{
	struct vio_vq *vq = &m->f->drv.queue[queue].vq;

	vio_blkdrv_commit(&m->f->drv, queue);
	while (vio_vq_inflight(vq)) {
		collect(m, queue);
		if (!vio_vq_inflight(vq) || vio_vq_listen(vq))
			continue;
		CHECK_EQ(loop_bus.wait(&m->f->loop, (uint16_t)queue), VIO_OK);
	}
}

static void random_round(struct model *m)
{
	unsigned q = (unsigned)vtest_below(&m->rand, m->f->queues);

	switch (vtest_below(&m->rand, 8)) {
	case 0: case 1: case 2:
		issue(m);
		break;
	case 3: case 4:
		vio_blkdrv_commit(&m->f->drv, q);
		break;
	case 5:
		loop_step(&m->f->loop);
		break;
	case 6:
		collect(m, q);
		break;
	default:
		if (vtest_below(&m->rand, 8) == 0)
			wait_queue(m, q);
		else
			vio_vq_quiet(&m->f->drv.queue[q].vq);
	}
}

static void finish_all(struct model *m)
{
	unsigned q;

	for (q = 0; q < m->f->queues; q++)
		wait_queue(m, q);
	CHECK_EQ(m->inflight, 0);
	CHECK_MEMEQ(m->f->disk.data, m->data, sizeof(m->data));
}

static struct model *model_new(struct fixture *f, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned i;

	CHECK(m);
	m->f = f;
	m->rand = vtest_rand_init(seed);
	memcpy(m->data, f->disk.data, sizeof(m->data));
	for (i = 0; i < REQS; i++)
		m->work[i].buf = loop_buffer(&f->loop,
					     REQ_SECTORS * SECTOR + i);
	return m;
}

static void random_run(const struct setup *s, unsigned rounds, uint64_t seed)
{
	struct fixture f;
	struct model *m;
	const unsigned all = rounds;
	unsigned i;

	rounds = vtest_rounds(all);
	setup(&f, s, seed);
	m = model_new(&f, seed + 2);
	for (i = 0; i < rounds; i++)
		random_round(m);
	finish_all(m);
	CHECK_GT(m->ok, rounds / 20);
	/* Too few of them may all go well. */
	if (s->fail_one_in)
		CHECK(m->failed > 0 || rounds < all);
	else
		CHECK_EQ(m->failed, 0);
	free(m);
	teardown(&f);
}

TEST("blk: random requests on a prompt disk, every feature set and ring size",
     "split.device.message-framing.1 split.device.virtqueue-used-ring.1 "
     "split.device.virtqueue-used-ring.2 split.driver.virtqueue-used-ring.1 "
     "split.driver.virtqueue-descriptor-table.2 "
     "split.driver.updating-idx.1 split.driver.notifying-device.1 "
     "blk.device.device-operation.8")
{
	static const uint16_t rings[] = { 8, 16, 64, 256 };
	unsigned set, i;

	for (set = 0; set < LOOP_ALL; set++) {
		for (i = 0; i < VIO_ARRAY_LEN(rings); i++) {
			struct setup s = { .set = set, .ring = rings[i],
					   .indirect_max = 8, .queues = 1 };

			random_run(&s, 2000, vtest_seed() + set * 16 + i);
		}
	}
}

TEST("blk: random requests on a late, unordered, failing disk",
     "split.device.used-buffer-notification-suppression.3 "
     "split.device.used-buffer-notification-suppression.5 "
     "split.driver.available-buffer-notification-suppression.4 "
     "split.driver.available-buffer-notification-suppression.6")
{
	static const uint16_t rings[] = { 8, 32, 128 };
	unsigned set, i;

	for (set = 0; set < LOOP_ALL; set++) {
		for (i = 0; i < VIO_ARRAY_LEN(rings); i++) {
			struct setup s = { .set = set, .ring = rings[i],
					   .indirect_max = 8, .queues = 1,
					   .late = true, .reorder = true,
					   .fail_one_in = 10 };

			random_run(&s, 2000, vtest_seed() + set * 16 + i);
		}
	}
}

TEST("blk: four queues share one disk", "")
{
	unsigned set;

	for (set = 0; set < LOOP_ALL; set++) {
		struct setup s = { .set = set, .ring = 32, .indirect_max = 8,
				   .queues = 4, .late = true,
				   .reorder = set & 1 };

		random_run(&s, 6000, vtest_seed() + set);
	}
}

TEST("blk: indices wrap around", "")
{
	unsigned set;

	for (set = 0; set < LOOP_ALL; set += LOOP_IN_ORDER) {
		struct setup s = { .set = set | LOOP_EVENT_IDX |
					  LOOP_INDIRECT,
				   .ring = 256, .indirect_max = 8,
				   .queues = 1 };
		struct fixture f;
		struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_FLUSH };
		unsigned i;

		setup(&f, &s, vtest_seed());
		for (i = 0; i < 70000; i++)
			CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_OK);
		CHECK_EQ(f.disk.flushes, 70000);
		CHECK_EQ(f.stats[0].flushes, 70000);
		teardown(&f);
	}
}

/* -- resets -------------------------------------------------------------- */

static void lost(void *ctx, struct vio_blkdrv_req *req)
{
	struct model *m = ctx;
	struct work *w = vio_container_of(req, struct work, req);

	CHECK(w->busy);
	w->busy = false;
	m->inflight--;
	lock(m, w, false);
}

TEST("blk: a reset in mid-flight ends all, loses nothing, and all goes on",
     "core.device.device-reset.1 core.device.device-reset.2 "
     "core.driver.device-reset.1 core.driver.device-cleanup.2 "
     "core.device.feature-bits.4")
{
	unsigned set, round, i;

	for (set = 0; set < LOOP_ALL; set++) {
		struct setup s = { .set = set, .ring = 32, .indirect_max = 8,
				   .queues = 2, .late = true,
				   .reorder = true };
		struct fixture f;
		struct vio_drv_mem fresh;
		struct model *m;

		setup(&f, &s, vtest_seed() + set);
		m = model_new(&f, vtest_seed() + set);
		fresh = f.loop.drv_mem;
		fresh.shared.at = f.loop.window.host;
		fresh.shared.left = f.loop.region[0].size;
		fresh.priv.at = f.loop.priv;
		fresh.priv.left = 1u << 20;
		for (round = 0; round < 20; round++) {
			for (i = 0; i < 200; i++)
				random_round(m);
			CHECK_EQ(vio_blkdrv_reset(&f.drv, lost, m), VIO_OK);
			CHECK_EQ(m->inflight, 0);
			CHECK_EQ(f.disk.nr_pending, 0);
			CHECK_EQ(f.loop.queue[0].inflight, 0);
			CHECK_EQ(f.loop.mem.pins, 0);
			CHECK_EQ(f.loop.bounce.nr_free, f.loop.bounce.nr);
			/* What was in flight is done or not: ask the disk. */
			memcpy(m->data, f.disk.data, sizeof(m->data));
			f.loop.drv_mem = fresh;
			CHECK_EQ(start_driver(&f, &s), VIO_OK);
		}
		finish_all(m);
		free(m);
		teardown(&f);
	}
}

/* -- single requests ----------------------------------------------------- */

TEST("blk: the serial number, flush, sizes and limits as configured",
     "blk.driver.device-operation.8 blk.driver.device-operation.4 "
     "blk.driver.device-operation.5 "
     "core.device.device-configuration-space.1")
{
	struct setup s = { .ring = 16, .queues = 2 };
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_GET_ID };
	struct vio_seg seg = { NULL, VIRTIO_BLK_ID_BYTES };
	struct fixture f;

	setup(&f, &s, vtest_seed());
	CHECK_EQ(f.drv.capacity_sectors, SECTORS);
	CHECK_EQ(f.drv.seg_max, 32);
	CHECK_EQ(f.drv.nr_queues, 2);
	CHECK_EQ(f.drv.max_discard_sectors, 64);
	seg.base = loop_buffer(&f.loop, seg.len);
	req.seg = &seg;
	req.nr_seg = 1;
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 1, &req), VIO_OK);
	CHECK_MEMEQ(seg.base, "loopback-serial-0001", VIRTIO_BLK_ID_BYTES);
	CHECK_EQ(req.used_len, VIRTIO_BLK_ID_BYTES + 1);
	seg.len = 19;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 1, &req), VIO_E_INVAL);
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_FLUSH };
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_OK);
	CHECK_EQ(f.disk.flushes, 1);
	req.sector = 1;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_INVAL);
	req.sector = 0;
	req.seg = &seg;
	req.nr_seg = 1;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_INVAL);
	teardown(&f);
}

TEST("blk: the driver refuses what the standard forbids it to send",
     "blk.driver.device-operation.2 blk.driver.device-operation.3 "
     "blk.driver.device-operation.6 blk.driver.device-operation.14")
{
	struct setup s = { .ring = 16, .queues = 1 };
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_IN };
	struct vio_seg seg = { NULL, SECTOR };
	struct fixture f;

	setup(&f, &s, vtest_seed());
	seg.base = loop_buffer(&f.loop, SECTOR);
	req.seg = &seg;
	req.nr_seg = 1;
	req.sector = SECTORS;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_RANGE);
	req.sector = UINT64_MAX;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_RANGE);
	req.sector = SECTORS - 1;
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_OK);
	seg.len = SECTOR - 1;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_INVAL);
	seg.len = SECTOR;
	seg.base = &req;	/* not in shared memory */
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_RANGE);
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_DISCARD,
				       .num_sectors = 1, .unmap = true };
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_INVAL);
	req.unmap = false;
	req.num_sectors = 65;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_INVAL);
	req.type = VIRTIO_BLK_T_SECURE_ERASE;
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_UNSUPP);
	CHECK_EQ(vio_vq_inflight(&f.drv.queue[0].vq), 0);
	teardown(&f);
}

TEST("blk: nothing is written to a read-only disk",
     "blk.device.device-operation.3 blk.driver.device-operation.3")
{
	struct setup s = { .ring = 16, .queues = 1, .read_only = true };
	static unsigned char before[SECTORS * SECTOR];
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_OUT };
	struct vio_seg seg = { NULL, SECTOR };
	struct fixture f;

	setup(&f, &s, vtest_seed());
	memcpy(before, f.disk.data, sizeof(before));
	seg.base = loop_buffer(&f.loop, SECTOR);
	req.seg = &seg;
	req.nr_seg = 1;
	CHECK(f.drv.read_only);
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_UNSUPP);
	/* A driver that does not look gets an error from the device. */
	f.drv.read_only = false;
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_E_IO);
	CHECK_EQ(req.status, VIRTIO_BLK_S_IOERR);
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_WRITE_ZEROES,
				       .num_sectors = 8 };
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_E_IO);
	CHECK_MEMEQ(f.disk.data, before, sizeof(before));
	teardown(&f);
}

TEST("blk: a new capacity reaches the driver, and holds in the device",
     "blk.device.device-operation.2 blk.driver.device-operation.1 "
     "core.driver.device-configuration-space.1")
{
	struct setup s = { .ring = 16, .queues = 1 };
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_IN };
	struct vio_seg seg = { NULL, SECTOR };
	struct fixture f;

	setup(&f, &s, vtest_seed());
	seg.base = loop_buffer(&f.loop, SECTOR);
	req.seg = &seg;
	req.nr_seg = 1;
	req.sector = SECTORS - 1;
	vio_blk_resize(&f.dev, SECTORS / 2);
	CHECK_EQ(loop_config_changes(&f.loop), 1);
	CHECK_EQ(vio_blkdrv_sync(&f.drv, 0, &req), VIO_E_IO);
	CHECK_EQ(vio_blkdrv_refresh(&f.drv), VIO_OK);
	CHECK_EQ(f.drv.capacity_sectors, SECTORS / 2);
	CHECK_EQ(vio_blkdrv_submit(&f.drv, 0, &req), VIO_E_RANGE);
	teardown(&f);
}
