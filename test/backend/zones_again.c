/* SPDX-License-Identifier: MIT */
/*
 * Zones of a device, passed on: a write that the program died over comes again,
 * and the device holds all of it, some, none, or something else.
 */
#include <fcntl.h>

#include "test/backend/zones_dev.h"

#define N_OF(a)	(sizeof(a) / sizeof((a)[0]))
#define AGAIN	(CAP - 16)	/* more than is compared at a time */

static void fill(unsigned seed)
{
	for (unsigned i = 0; i < AGAIN * 512; i++)
		data[i] = (unsigned char)(i / 512 * 7 + i + seed);
}

/*
 * Zone 1 was written, and the program died: @wp sectors had reached the
 * device.
 */
static void begin_again(unsigned wp)
{
	static const char nothing[AGAIN * 512];
	int fd;

	begin();
	fill(1);
	CHECK_EQ(zwrite(ZONE, AGAIN), VIO_OK);
	blkdev_close(disk);
	dev.zone[1].wp = ZONE + wp;
	if (!wp)
		dev.zone[1].cond = BLK_ZONE_COND_EMPTY;
	fd = open(path, O_WRONLY);
	CHECK_EQ(pwrite(fd, nothing, (AGAIN - wp) * 512, (ZONE + wp) * 512),
		 (AGAIN - wp) * 512);
	close(fd);
	dev.writes = dev.syncs = 0;
	CHECK_EQ(open_with(false, false), 0);
}

/* The write once more, in pieces of no particular size. */
static int again(uint8_t flags)
{
	static const unsigned piece[] = { 512, 1024, 4608, 20480 };
	unsigned char *p = data;
	struct request r;
	unsigned i;

	request_init(&r, VIO_BLK_WRITE, ZONE * 512, AGAIN * 512, NULL);
	r.io.flags = flags;
	for (i = 0; i < N_OF(piece); p += piece[i++])
		r.seg[i] = (struct vio_seg){ p, piece[i] };
	r.seg[i] = (struct vio_seg){ p,
		(size_t)(data + AGAIN * 512 - p) };
	r.io.nr_seg = (uint16_t)(i + 1);
	return request_run(disk, &r);
}

/* All of it is there, once. */
static void check_again(unsigned wp)
{
	static unsigned char got[AGAIN * 512];

	fill(1);
	CHECK_EQ(run(disk, VIO_BLK_READ, ZONE * 512, AGAIN * 512, got),
		 VIO_OK);
	CHECK_MEMEQ(got, data, AGAIN * 512);
	CHECK_EQ(dev.zone[1].wp, ZONE + wp);
	CHECK_EQ(dev.refused, 0);
}

TEST("zones of a device: a write that died done is done when it comes again",
     "")
{
	begin_again(AGAIN);
	CHECK_EQ(again(0), VIO_OK);
	CHECK_EQ(dev.syncs, 0);
	CHECK_EQ(dev.writes, 0);
	/* What lies before it, as well; durable, if that is wanted. */
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(again(VIO_BLK_FUA), VIO_OK);
	CHECK_EQ(dev.syncs, 1);
	/* So it is where another had the disk while we opened it. */
	blkdev_close(disk);
	CHECK_EQ(open_with(true, false), 0);
	CHECK_EQ(again(0), VIO_OK);
	CHECK_EQ(dev.writes, 0);
	check_again(AGAIN);
	end();
}

TEST("zones of a device: of a write that died on its way the rest is done", "")
{
	static const unsigned at[] = { 0, 8, 16, 40, 56, 64, 72 };

	for (unsigned i = 0; i < N_OF(at); i++) {
		begin_again(at[i]);
		CHECK_EQ(again(0), VIO_OK);
		CHECK_EQ(dev.writes, 1);
		CHECK_EQ(dev.syncs, 0);
		check_again(AGAIN);
		/* That was the last one that can have died. */
		CHECK_EQ(again(0), UNALIGNED);
		end();
	}
	begin_again(16);
	CHECK_EQ(again(VIO_BLK_FUA), VIO_OK);
	CHECK_EQ(dev.syncs, 1);
	check_again(AGAIN);
	end();
}

TEST("zones of a device: another write below the write pointer is none that "
     "comes again", "blk.device.device-operation.31")
{
	static const unsigned at[] = { 0, 15 * 512, AGAIN * 512 - 1 };

	for (unsigned i = 0; i < N_OF(at); i++) {
		begin_again(AGAIN);
		data[at[i]] ^= 1;
		CHECK_EQ(again(0), UNALIGNED);
		CHECK_EQ(dev.writes, 0);
		check_again(AGAIN);
		end();
	}
	begin_again(40);
	data[0] ^= 1;
	CHECK_EQ(again(VIO_BLK_FUA), UNALIGNED);
	CHECK_EQ(dev.writes + dev.syncs, 0);
	fill(1);
	/* It would not have fitted, nor ended at a block. */
	CHECK_EQ(zwrite(ZONE, CAP + 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE, 44), UNALIGNED);
	dev.fails_read = true;
	CHECK_EQ(again(0), VIO_E_IO);
	dev.fails_read = false;
	CHECK_EQ(again(0), VIO_OK);
	check_again(AGAIN);
	end();
}

TEST("zones of a device: a write that filled its zone may come again", "")
{
	begin();
	fill(1);
	CHECK_EQ(zwrite(ZONE, AGAIN), VIO_OK);
	CHECK_EQ(zwrite(ZONE + AGAIN, CAP - AGAIN), VIO_OK);
	CHECK_EQ(dev.zone[1].cond, BLK_ZONE_COND_FULL);
	blkdev_close(disk);
	dev.zone[1].wp = ZONE;		/* it has none */
	CHECK_EQ(open_with(false, false), 0);
	CHECK_EQ(zwrite(ZONE + AGAIN, CAP - AGAIN), VIO_OK);
	data[0] ^= 1;
	CHECK_EQ(zwrite(ZONE + AGAIN, CAP - AGAIN), INVALID);
	CHECK_EQ(dev.refused, 0);
	end();
}

TEST("zones of a device: no write comes again once another thing was done",
     "blk.device.device-operation.31")
{
	begin_again(AGAIN);
	CHECK_EQ(zwrite(ZONE + AGAIN, 8), VIO_OK);
	fill(1);
	CHECK_EQ(again(0), UNALIGNED);
	end();
	begin_again(AGAIN);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, ZONE * 512, 4096, data),
		 VIO_OK);
	CHECK_EQ(again(0), UNALIGNED);
	end();
	begin_again(AGAIN);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_EQ(again(0), INVALID);
	end();
	begin_again(AGAIN);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 1), VIO_OK);
	CHECK_EQ(again(0), VIO_OK);
	CHECK_EQ(dev.writes, 1);
	CHECK_EQ(again(0), UNALIGNED);
	end();
}

TEST("zones of a device: writes of two queues come again, others behind them",
     "")
{
	static struct request r[MANY];
	unsigned n = 0;

	begin();
	fill(1);
	for (unsigned i = 1; i < 4; i++)
		CHECK_EQ(zwrite(i * ZONE, 40), VIO_OK);
	blkdev_close(disk);
	for (unsigned i = 1; i < 4; i++)	/* two pieces had arrived */
		dev.zone[i].wp = i * ZONE + 16;
	CHECK_EQ(open_with(false, false), 0);
	for (unsigned k = 0; k < 40; k += 8)
		for (unsigned i = 1; i < 4; i++)
			request_init(&r[n++], VIO_BLK_WRITE,
				     (i * ZONE + k) * 512, 4096,
				     data + k * 512);
	for (unsigned i = 0; i < n; i++)
		r[i].io.queue = i % 2;
	dev.writes = 0;
	go(r, n);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(r[i].result, VIO_OK);
	CHECK_EQ(dev.writes, 9);
	for (unsigned i = 1; i < 4; i++) {
		static unsigned char got[40 * 512];

		CHECK_EQ(run(disk, VIO_BLK_READ, i * ZONE * 512, sizeof(got),
			     got), VIO_OK);
		CHECK_MEMEQ(got, data, sizeof(got));
		CHECK_EQ(dev.zone[i].wp, i * ZONE + 40);
	}
	CHECK_EQ(dev.refused, 0);
	end();
}
