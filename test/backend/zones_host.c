/* SPDX-License-Identifier: MIT */
/*
 * Zones of a device, passed on: what is asked of the device and in which
 * order, and what is answered when it does otherwise. The device is that of
 * zones_dev.h.
 */
#include <pthread.h>

#include "test/backend/zones_dev.h"

TEST("zones of a device: what it is like is found out",
     "blk.device.device-initialization.9 blk.device.device-initialization.11 "
     "blk.device.device-initialization.12 blk.device.device-initialization.13 "
     "blk.device.device-initialization.16")
{
	const struct vio_blk_conf *c;
	struct vio_blk_zone z[NR + 1];

	begin();
	c = &disk->conf;
	CHECK(c->zoned);
	CHECK_EQ(c->zones.model, VIRTIO_BLK_Z_HM);
	CHECK_EQ(c->zones.zone_sectors, ZONE);
	CHECK_EQ(c->zones.max_open, OPEN_MAX);
	CHECK_EQ(c->zones.max_active, OPEN_MAX + 1);
	CHECK_EQ(c->zones.max_append_sectors, CAP);
	CHECK_EQ(c->zones.write_granularity, 4096);
	CHECK_EQ(c->max_discard_sectors, 0);
	CHECK_EQ(c->max_write_zeroes_sectors, 0);
	CHECK_EQ(disk->ops->io.zone_report(disk, 0, z, NR + 1), NR);
	CHECK_EQ(z[0].type, VIRTIO_BLK_ZT_CONV);
	CHECK_EQ(z[0].capacity, ZONE);
	CHECK_EQ(z[NR - 1].type, VIRTIO_BLK_ZT_SWR);
	CHECK_EQ(z[NR - 1].state, VIRTIO_BLK_ZS_EMPTY);
	CHECK_EQ(z[NR - 1].start, (NR - 1) * ZONE);
	CHECK_EQ(z[NR - 1].capacity, CAP);
	CHECK_EQ(disk->ops->io.zone_report(disk, DISK, z, 1), 0);
	end();
}

TEST("zones of a device: each state and each request reach it",
     "blk.device.device-operation.19 blk.device.device-operation.21 "
     "blk.device.device-operation.22 blk.device.device-operation.23")
{
	const struct blk_zone *z = &dev.zone[2];

	begin();
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 2), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 2), VIO_OK);
	CHECK_EQ(z->cond, BLK_ZONE_COND_EXP_OPEN);
	CHECK_EQ(zwrite(2 * ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 2), VIO_OK);
	CHECK_EQ(z->cond, BLK_ZONE_COND_CLOSED);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 2), VIO_OK);
	CHECK_EQ(z->cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 2), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 2), VIO_OK);
	CHECK_EQ(z->cond, BLK_ZONE_COND_EMPTY);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 0), INVALID);
	CHECK_EQ(zwrite(5, 3), VIO_OK);
	CHECK_EQ(run(disk, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: what it would refuse without a reason has one",
     "blk.device.device-operation.26 blk.device.device-operation.30 "
     "blk.device.device-operation.31 blk.device.device-operation.18 "
     "blk.device.device-operation.20 blk.device.device-operation.24")
{
	begin();
	CHECK_EQ(zwrite(ZONE + 8, 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE, 4), UNALIGNED);
	CHECK_EQ(zwrite(ZONE, CAP + 8), INVALID);
	CHECK_EQ(zwrite(2 * ZONE - 8, 16), INVALID);
	CHECK_EQ(zread(2 * ZONE - 8, 16), INVALID);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, 0, 4096, data), INVALID);
	for (unsigned i = 1; i <= OPEN_MAX; i++)
		CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, i), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 5), NO_OPEN);
	CHECK_EQ(zwrite(5 * ZONE, 8), NO_OPEN);
	CHECK_EQ(zwrite(3 * ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 3), VIO_OK);
	CHECK_EQ(zwrite(5 * ZONE, 8), VIO_OK);
	CHECK_EQ(zwrite(6 * ZONE, 8), NO_ACTIVE);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: appends of two queues find a place each",
     "blk.device.device-operation.27")
{
	static struct request r[MANY];
	unsigned char *p = data;
	bool seen[CAP / 4] = { false };

	begin();
	dev.shape.write_granularity = 512;
	for (unsigned i = 0; i < MANY; i++, p += 2048) {
		memset(p, (int)i + 1, 2048);
		request_init(&r[i], VIO_BLK_ZONE_APPEND, ZONE * 512, 2048, p);
		r[i].io.queue = i % 2;
	}
	blkdev_close(disk);
	CHECK_EQ(open_with(false, false), 0);
	go(r, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t at = r[i].io.offset / 512 - ZONE;

		CHECK_EQ(r[i].result, VIO_OK);
		CHECK(at < CAP && at % 4 == 0 && !seen[at / 4]);
		seen[at / 4] = true;
		CHECK_EQ(run(disk, VIO_BLK_READ, r[i].io.offset, 2048, data),
			 VIO_OK);
		CHECK_EQ(data[0], i + 1);
		CHECK_EQ(data[2047], i + 1);
	}
	CHECK_EQ(dev.zone[1].cond, BLK_ZONE_COND_FULL);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: requests of a zone are done as they came", "")
{
	static struct request r[MANY];
	unsigned n = 0;

	begin();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4; i++)
			request_init(&r[n++], VIO_BLK_WRITE,
				     (ZONE + i * 8) * 512, 4096, data);
		request_init(&r[n++], VIO_BLK_ZONE_FINISH, ZONE * 512, 0,
			     NULL);
		request_init(&r[n++], VIO_BLK_ZONE_RESET, ZONE * 512, 0,
			     NULL);
	}
	request_init(&r[n++], VIO_BLK_WRITE, ZONE * 512, 4096, data);
	for (unsigned i = 0; i < n; i++)
		r[i].io.queue = i % 2;
	go(r, n);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(r[i].result, VIO_OK);
	CHECK_EQ(dev.zone[1].wp, ZONE + 8);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: resetting all waits, and others wait for it",
     "")
{
	static struct request r[2 * NR + 2];
	unsigned n = 0;

	begin();
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 1; i < 4; i++)
			request_init(&r[n++], VIO_BLK_WRITE, i * ZONE * 512,
				     4096, data);
		request_init(&r[n++], VIO_BLK_ZONE_RESET_ALL, 0, 0, NULL);
	}
	request_init(&r[n++], VIO_BLK_WRITE, ZONE * 512, 4096, data);
	for (unsigned i = 0; i < n; i++)
		r[i].io.queue = i % 2;
	go(r, n);
	/* Lines are not ordered among each other: the second round's writes
	 * may come before the first reset, and are told so. */
	for (unsigned i = 0; i < n; i++)
		CHECK(r[i].result == VIO_OK || r[i].result == UNALIGNED);
	CHECK_EQ(r[3].result, VIO_OK);
	CHECK_EQ(r[7].result, VIO_OK);
	CHECK_EQ(dev.whole, 2);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: a write that failed leaves it where the device is",
     "")
{
	begin();
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	dev.fail_write = EIO;
	CHECK_EQ(zwrite(ZONE + 8, 8), VIO_E_IO);
	CHECK_EQ(zwrite(ZONE + 8, 8), VIO_OK);
	/* Half of it was done. */
	dev.fail_write = EIO;
	dev.zone[1].wp += 8;
	CHECK_EQ(zwrite(ZONE + 16, 16), VIO_E_IO);
	CHECK_EQ(zwrite(ZONE + 16, 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE + 24, 8), VIO_OK);
	/* Somebody else wrote. */
	dev.zone[1].wp += 24;
	CHECK_EQ(zwrite(ZONE + 32, 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE + 56, 8), VIO_OK);
	end();
}

TEST("zones of a device: its own limits, where it has some it does not tell",
     "blk.device.device-operation.20 blk.device.device-operation.24")
{
	begin();
	dev.fail_manage = ETOOMANYREFS;
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), NO_OPEN);
	dev.fail_manage = EOVERFLOW;
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), NO_ACTIVE);
	dev.fail_write = EOVERFLOW;
	CHECK_EQ(zwrite(ZONE, 8), NO_ACTIVE);
	dev.fail_manage = EIO;
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET_ALL, 0), VIO_E_IO);
	dev.fail_manage = EOPNOTSUPP;
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_E_UNSUPP);
	/* None of it was done, nor is it taken for done. */
	for (unsigned i = 1; i <= OPEN_MAX; i++)
		CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, i), VIO_OK);
	end();
}

TEST("zones of a device: one that wears out is read-only, then gone",
     "blk.device.device-operation.33 blk.device.device-operation.34")
{
	struct vio_blk_zone z;

	begin();
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	dev.zone[1].cond = BLK_ZONE_COND_READONLY;
	CHECK_EQ(zwrite(ZONE + 8, 8), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 1), INVALID);
	CHECK_EQ(zread(ZONE, 8), VIO_OK);
	CHECK_EQ(disk->ops->io.zone_report(disk, ZONE, &z, 1), 1);
	CHECK_EQ(z.state, VIRTIO_BLK_ZS_RDONLY);
	dev.zone[2].cond = BLK_ZONE_COND_OFFLINE;
	dev.fail_manage = EIO;
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 2), INVALID);
	CHECK_EQ(zread(2 * ZONE, 8), INVALID);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, 2 * ZONE * 512, 4096, data),
		 INVALID);
	CHECK_EQ(dev.refused, 1);
	end();
}

TEST("zones of a device: they are read again when another had them", "")
{
	prepare(BLK_ZONE_TYPE_SEQWRITE_REQ);
	CHECK_EQ(open_with(true, false), 0);
	dev.zone[1].wp += 16;
	dev.zone[1].cond = BLK_ZONE_COND_CLOSED;
	CHECK_EQ(zwrite(ZONE + 16, 8), VIO_OK);
	CHECK_EQ(zwrite(ZONE + 16, 8), UNALIGNED);
	end();
	prepare(BLK_ZONE_TYPE_SEQWRITE_REQ);
	CHECK_EQ(open_with(true, false), 0);
	dev.fail_report = EIO;
	CHECK_EQ(zwrite(ZONE, 8), VIO_E_IO);
	end();
}

TEST("zones of a device: host-aware ones take any write", "")
{
	prepare(BLK_ZONE_TYPE_SEQWRITE_PREF);
	CHECK_EQ(open_with(false, false), 0);
	CHECK_EQ(disk->conf.zones.model, VIRTIO_BLK_Z_HA);
	CHECK_EQ(disk->conf.zones.max_append_sectors, 0);
	CHECK_GT(disk->conf.max_write_zeroes_sectors, 0);
	CHECK_EQ(zwrite(ZONE + 40, 8), VIO_OK);
	CHECK_EQ(zwrite(2 * ZONE - 8, 16), VIO_OK);
	CHECK_EQ(zread(2 * ZONE - 8, 16), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_EQ(dev.zone[1].cond, BLK_ZONE_COND_FULL);
	end();
}

TEST("zones of a device: what cannot be had is refused when it is opened", "")
{
	prepare(BLK_ZONE_TYPE_SEQWRITE_REQ);
	CHECK_EQ(open_with(false, true), -EINVAL);
	dev.fail_report = EIO;
	CHECK_EQ(open_with(false, false), -EIO);
	/* Zones that are not where their size says. */
	dev.zone[3].start += 8;
	CHECK_EQ(open_with(false, false), -EIO);
	unlink(path);
}

/* -- threads --------------------------------------------------------------- */

#define APPENDS	200u

struct writer {
	pthread_t thread;
	struct loop loop;
	struct request r;
	unsigned queue, ok, left;
};

static void append_next(struct vio_blk_io *io, int result);

static void append_one(struct writer *w)
{
	request_init(&w->r, VIO_BLK_ZONE_APPEND, ZONE * 512, 512, data);
	w->r.io.queue = (uint16_t)w->queue;
	w->r.io.done = append_next;
	disk->ops->io.submit(disk, &w->r.io);
	disk->ops->io.commit(disk, w->queue);
}

static void append_next(struct vio_blk_io *io, int result)
{
	struct request *r = vio_container_of(io, struct request, io);
	struct writer *w = vio_container_of(r, struct writer, r);

	w->ok += result == VIO_OK;
	if (result == INVALID) {	/* full: whoever sees it first */
		request_init(&w->r, VIO_BLK_ZONE_RESET, ZONE * 512, 0, NULL);
		w->r.io.queue = (uint16_t)w->queue;
		w->r.io.done = append_next;
		disk->ops->io.submit(disk, &w->r.io);
	} else if (w->left) {
		w->left--;
		append_one(w);
	} else {
		loop_stop(&w->loop);
	}
}

static void *writer(void *arg)
{
	struct writer *w = arg;

	append_one(w);
	CHECK_EQ(loop_run(&w->loop), 0);
	disk->ops->io.drain(disk, w->queue);
	disk->ops->detach(disk, w->queue);
	return NULL;
}

TEST("zones of a device: two threads append to one zone", "")
{
	static struct writer w[2];

	prepare(BLK_ZONE_TYPE_SEQWRITE_REQ);
	dev.shape.write_granularity = 512;
	CHECK_EQ(open_with(false, false), 0);
	for (unsigned i = 0; i < 2; i++) {
		w[i].queue = i;
		w[i].left = APPENDS;
		CHECK_EQ(loop_init(&w[i].loop), 0);
		CHECK_EQ(disk->ops->attach(disk, i, &w[i].loop), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&w[i].thread, NULL, writer, &w[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
	for (unsigned i = 0; i < 2; i++) {
		loop_fini(&w[i].loop);
		CHECK_GE(w[i].ok, APPENDS);
	}
	CHECK_EQ(dev.refused, 0);
	end();
}
