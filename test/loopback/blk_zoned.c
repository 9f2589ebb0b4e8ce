/* SPDX-License-Identifier: MIT */
/*
 * The block driver against the block device: zones, secure erase, lifetime,
 * cache modes. The storage takes notes; what zones do is test/backend's.
 */
#include "loop.h"

#include <vireo/blk.h>
#include <vireo/driver_blk.h>

#define ZONE	64u
#define ZONES	4u
#define SECTOR	512u

struct fixture {
	struct loop loop;
	struct vio_blk dev;
	struct vio_blkdrv drv;
	struct vio_blk_conf conf;
	struct vio_features wanted;
	struct vio_bus_ops bus;		/* the loop's, watched */
	struct vio_blk_io seen;
	unsigned nr_seen;
	int answer;
	unsigned early_reads;	/* of writeback before FEATURES_OK */
	unsigned writeback_writes;
	unsigned features_oks;	/* times that the driver set the bit */
};

static struct fixture f;

static void submit(void *ctx, struct vio_blk_io *io)
{
	(void)ctx;
	f.seen = *io;
	f.nr_seen++;
	if (io->op == VIO_BLK_ZONE_APPEND)
		io->offset += 3 * 4096;
	io->done(io, f.answer);
}

static void commit(void *ctx, unsigned queue)
{
	(void)ctx;
	(void)queue;
}

static unsigned report(void *ctx, uint64_t sector, struct vio_blk_zone *z,
		       unsigned max)
{
	unsigned n;

	(void)ctx;
	for (n = 0; n < max && sector < ZONE * ZONES; n++) {
		z[n] = (struct vio_blk_zone){
			.start = sector / ZONE * ZONE, .capacity = ZONE,
			.type = VIRTIO_BLK_ZT_SWR,
			.state = VIRTIO_BLK_ZS_EMPTY,
		};
		z[n].wp = z[n].start;
		sector = z[n].start + ZONE;
	}
	return n;
}

static int wear(void *ctx, struct vio_blk_wear *w)
{
	(void)ctx;
	*w = (struct vio_blk_wear){ 2, 5, 6 };
	return VIO_OK;
}

static const struct vio_blk_backend_ops ops = {
	.submit = submit, .commit = commit,
	.zone_report = report, .wear = wear,
};

static bool holds_writeback(uint32_t off, uint32_t len)
{
	uint32_t at = offsetof(struct virtio_blk_config, writeback);

	return off <= at && at < off + len;
}

static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	if (holds_writeback(off, len) &&
	    !(vio_dev_status(&f.dev.dev) & VIRTIO_STATUS_FEATURES_OK))
		f.early_reads++;
	return loop_bus.config_read(bus, off, dst, len);
}

static int config_write(void *bus, uint32_t off, const void *src,
			uint32_t len)
{
	(void)bus;
	CHECK_EQ(off, offsetof(struct virtio_blk_config, writeback));
	CHECK_EQ(len, 1);
	f.writeback_writes++;
	return vio_dev_config_write(&f.dev.dev, off, src, len);
}

static int set_status(void *bus, uint32_t status)
{
	f.features_oks += !!(status & VIRTIO_STATUS_FEATURES_OK);
	return loop_bus.set_status(bus, status);
}

static void prepare(uint8_t model)
{
	memset(&f, 0, sizeof(f));
	f.conf = (struct vio_blk_conf){
		.capacity_sectors = ZONE * ZONES, .seg_max = 8,
		.max_secure_erase_sectors = 2 * ZONE,
		.max_secure_erase_seg = 1,
		.secure_erase_sector_alignment = ZONE,
		.lifetime = true, .zoned = true,
		.zones = { model, ZONE, 2, 3, 16, 4096 },
	};
	if (model != VIRTIO_BLK_Z_HM) {
		f.conf.max_discard_sectors = 8;
		f.conf.max_discard_seg = 1;
	}
	f.wanted = vio_blkdrv_features();
	f.bus = loop_bus;
	f.bus.config_read = config_read;
	f.bus.config_write = config_write;
	f.bus.set_status = set_status;
}

static int start(void)
{
	const struct vio_vq_limits limits = { .size = 16 };

	loop_init(&f.loop, 1, vio_blk_ctx_size, vtest_seed());
	CHECK_EQ(vio_blk_init(&f.dev, &f.conf, f.loop.queue, &ops, NULL,
			      NULL), VIO_OK);
	loop_attach(&f.loop, &f.dev.dev);
	return vio_blkdrv_init(&f.drv, &f.bus, &f.loop, &f.wanted, &limits, 1,
			       &f.loop.drv_mem);
}

static int go(struct vio_blkdrv_req *req)
{
	return vio_blkdrv_sync(&f.drv, 0, req);
}

static int submit_only(struct vio_blkdrv_req *req)
{
	return vio_blkdrv_submit(&f.drv, 0, req);
}

TEST("blk: the driver learns what the zones are, in the right order",
     "blk.driver.device-initialization.4 blk.driver.device-initialization.5 "
     "blk.driver.device-initialization.6 "
     "blk.driver.device-initialization.7")
{
	prepare(VIRTIO_BLK_Z_HM);
	CHECK_EQ(start(), VIO_OK);
	CHECK_EQ(f.drv.zone_model, VIRTIO_BLK_Z_HM);
	CHECK_EQ(f.drv.zone_sectors, ZONE);
	CHECK_EQ(f.drv.max_open_zones, 2);
	CHECK_EQ(f.drv.max_active_zones, 3);
	CHECK_EQ(f.drv.max_append_sectors, 16);
	CHECK_EQ(f.drv.write_granularity, 4096);
	CHECK_EQ(f.early_reads, 0);
	CHECK(f.drv.writeback);
	loop_fini(&f.loop);

	/* A device that offers both: the driver must not take DISCARD. */
	prepare(VIRTIO_BLK_Z_HM);
	loop_init(&f.loop, 1, vio_blk_ctx_size, vtest_seed());
	CHECK_EQ(vio_blk_init(&f.dev, &f.conf, f.loop.queue, &ops, NULL,
			      NULL), VIO_OK);
	vio_feature_set(&f.dev.dev.offered, VIRTIO_BLK_F_DISCARD);
	loop_attach(&f.loop, &f.dev.dev);
	CHECK_EQ(vio_blkdrv_init(&f.drv, &f.bus, &f.loop, &f.wanted,
				 &(struct vio_vq_limits){ .size = 16 }, 1,
				 &f.loop.drv_mem), VIO_OK);
	CHECK(!vio_dev_has(&f.dev.dev, VIRTIO_BLK_F_DISCARD));
	CHECK(vio_dev_has(&f.dev.dev, VIRTIO_BLK_F_ZONED));
	loop_fini(&f.loop);

	prepare(VIRTIO_BLK_Z_HA);	/* here it may */
	CHECK_EQ(start(), VIO_OK);
	CHECK(vio_dev_has(&f.dev.dev, VIRTIO_BLK_F_DISCARD));
	CHECK_EQ(f.drv.zone_model, VIRTIO_BLK_Z_HA);
	loop_fini(&f.loop);
}

TEST("blk: a driver that may not use zones",
     "blk.driver.device-initialization.8 blk.driver.device-initialization.9 "
     "blk.driver.device-initialization.10")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_ZONE_OPEN };
	uint32_t status;

	prepare(VIRTIO_BLK_Z_HM);
	vio_feature_clear(&f.wanted, VIRTIO_BLK_F_ZONED);
	CHECK_EQ(start(), VIO_E_UNSUPP);
	CHECK_EQ(loop_bus.get_status(&f.loop, &status), VIO_OK);
	CHECK(status & VIRTIO_STATUS_FAILED);
	CHECK(!(status & VIRTIO_STATUS_FEATURES_OK));
	CHECK_EQ(f.features_oks, 0);	/* not even asked for */
	loop_fini(&f.loop);
	prepare(VIRTIO_BLK_Z_HA);
	vio_feature_clear(&f.wanted, VIRTIO_BLK_F_ZONED);
	CHECK_EQ(start(), VIO_OK);
	CHECK_EQ(f.drv.zone_model, VIRTIO_BLK_Z_NONE);
	CHECK_EQ(f.drv.zone_sectors, 0);
	CHECK_EQ(submit_only(&req), VIO_E_UNSUPP);
	loop_fini(&f.loop);
}

TEST("blk: zone requests that the standard forbids are not sent",
     "blk.driver.device-operation.17 blk.driver.device-operation.18 "
     "blk.driver.device-operation.19 blk.driver.device-operation.20 "
     "blk.driver.device-operation.21 blk.driver.device-operation.22 "
     "blk.driver.device-operation.23 blk.driver.device-operation.25")
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_ZONE_OPEN, VIRTIO_BLK_T_ZONE_CLOSE,
		VIRTIO_BLK_T_ZONE_FINISH, VIRTIO_BLK_T_ZONE_RESET,
	};
	struct vio_blkdrv_req req;
	struct vio_seg seg;

	prepare(VIRTIO_BLK_Z_HM);
	CHECK_EQ(start(), VIO_OK);
	seg.base = loop_buffer(&f.loop, 16384);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(types); i++) {
		req = (struct vio_blkdrv_req){ .type = types[i],
					       .sector = ZONE };
		CHECK_EQ(go(&req), VIO_OK);
		CHECK_EQ(f.seen.offset, ZONE * SECTOR);
		req.sector = ZONE + 1;
		CHECK_EQ(submit_only(&req), VIO_E_INVAL);
		req.sector = ZONE * ZONES;
		CHECK_EQ(submit_only(&req), VIO_E_RANGE);
	}
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_ZONE_RESET_ALL };
	CHECK_EQ(go(&req), VIO_OK);
	CHECK_EQ(f.seen.op, VIO_BLK_ZONE_RESET_ALL);
	req.sector = ZONE;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	/* Any sector of the first zone to report. */
	seg.len = 64 + 2 * 64;
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_ZONE_REPORT,
				       .sector = ZONE + 9, .seg = &seg,
				       .nr_seg = 1 };
	CHECK_EQ(go(&req), VIO_OK);
	CHECK_EQ(req.used_len, seg.len + 1);
	CHECK_EQ(((unsigned char *)seg.base)[0], 2);
	req.sector = ZONE * ZONES;
	CHECK_EQ(submit_only(&req), VIO_E_RANGE);
	/* Writes in units of write_granularity; appends at a zone's start. */
	f.nr_seen = 0;
	seg.len = 512;
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_OUT, .seg = &seg,
				       .nr_seg = 1 };
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	seg.len = 4096;
	req.sector = 1;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	req.type = VIRTIO_BLK_T_ZONE_APPEND;
	req.sector = 8;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	req.sector = 0;
	seg.len = 512;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	seg.len = 3 * 4096;	/* max_append_sectors is 16 */
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	CHECK_EQ(f.nr_seen, 0);
	loop_fini(&f.loop);
}

TEST("blk: an append tells the driver where the data lie",
     "blk.driver.device-operation.24 blk.device.device-operation.27")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_ZONE_APPEND,
				      .sector = 2 * ZONE };
	struct vio_seg seg[2];

	prepare(VIRTIO_BLK_Z_HM);
	CHECK_EQ(start(), VIO_OK);
	seg[0] = (struct vio_seg){ loop_buffer(&f.loop, 1000), 1000 };
	seg[1] = (struct vio_seg){ loop_buffer(&f.loop, 3096), 3096 };
	req.seg = seg;
	req.nr_seg = 2;
	CHECK_EQ(go(&req), VIO_OK);
	CHECK_EQ(req.append_sector, 2 * ZONE + 3 * 8);
	CHECK_EQ(req.used_len, 9);
	for (f.answer = 3; f.answer < 8; f.answer++) {
		CHECK_EQ(go(&req), VIO_E_IO);
		CHECK_EQ(req.status, f.answer < 7 ? f.answer :
			 VIRTIO_BLK_S_IOERR);
	}
	loop_fini(&f.loop);
}

TEST("blk: secure erase and lifetime",
     "blk.driver.device-operation.7 blk.driver.device-operation.9 "
     "blk.driver.device-operation.10 blk.driver.device-operation.11 "
     "blk.device.device-operation.38")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_SECURE_ERASE,
				      .sector = ZONE, .num_sectors = ZONE };
	struct vio_seg seg;

	prepare(VIRTIO_BLK_Z_HM);
	CHECK_EQ(start(), VIO_OK);
	/* The device permits one range a request: what is sent has one. */
	CHECK_EQ(f.conf.max_secure_erase_seg, 1);
	CHECK_EQ(go(&req), VIO_OK);
	CHECK_EQ(f.seen.op, VIO_BLK_SECURE_ERASE);
	CHECK_EQ(f.seen.len, ZONE * SECTOR);
	req.num_sectors = ZONE / 2;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	req.num_sectors = 3 * ZONE;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	req.num_sectors = ZONE;
	req.unmap = true;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	seg = (struct vio_seg){ loop_buffer(&f.loop, 8), 6 };
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_GET_LIFETIME,
				       .seg = &seg, .nr_seg = 1 };
	CHECK_EQ(go(&req), VIO_OK);
	CHECK_MEMEQ(seg.base, "\2\0\5\0\6\0", 6);
	seg.len = 7;
	CHECK_EQ(submit_only(&req), VIO_E_INVAL);
	loop_fini(&f.loop);
}

static unsigned fua_of_write(void)
{
	struct vio_seg seg = { loop_buffer(&f.loop, 4096), 4096 };
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_OUT, .seg = &seg,
				      .nr_seg = 1 };

	CHECK_EQ(go(&req), VIO_OK);
	return f.seen.flags & VIO_BLK_FUA;
}

TEST("blk: the driver switches the cache, and knows what it is",
     "blk.driver.device-initialization.1 blk.driver.device-initialization.2 "
     "blk.driver.device-initialization.3 blk.driver.device-operation.12 "
     "blk.driver.device-operation.13")
{
	struct vio_blkdrv_req flush = { .type = VIRTIO_BLK_T_FLUSH };

	prepare(VIRTIO_BLK_Z_HM);
	CHECK_EQ(start(), VIO_OK);
	CHECK(f.drv.writeback);
	CHECK(!fua_of_write());
	CHECK_EQ(vio_blkdrv_set_writeback(&f.drv, false), VIO_OK);
	CHECK(!f.drv.writeback);
	CHECK(fua_of_write());
	CHECK_EQ(go(&flush), VIO_OK);	/* still there for what came before */
	CHECK_EQ(vio_blkdrv_set_writeback(&f.drv, true), VIO_OK);
	CHECK(!fua_of_write());
	CHECK_EQ(f.writeback_writes, 2);
	loop_fini(&f.loop);

	prepare(VIRTIO_BLK_Z_HM);
	f.conf.writethrough = true;	/* as the device has it at first */
	CHECK_EQ(start(), VIO_OK);
	CHECK(!f.drv.writeback);
	loop_fini(&f.loop);

	prepare(VIRTIO_BLK_Z_HM);
	vio_feature_clear(&f.wanted, VIRTIO_BLK_F_CONFIG_WCE);
	CHECK_EQ(start(), VIO_OK);
	CHECK(f.drv.writeback);		/* FLUSH alone: a cache is assumed */
	CHECK_EQ(vio_blkdrv_set_writeback(&f.drv, false), VIO_E_UNSUPP);
	loop_fini(&f.loop);

	prepare(VIRTIO_BLK_Z_HM);
	vio_feature_clear(&f.wanted, VIRTIO_BLK_F_CONFIG_WCE);
	vio_feature_clear(&f.wanted, VIRTIO_BLK_F_FLUSH);
	CHECK_EQ(start(), VIO_OK);
	CHECK(!f.drv.writeback);
	CHECK(fua_of_write());
	CHECK_EQ(submit_only(&flush), VIO_E_UNSUPP);
	loop_fini(&f.loop);
}
