/* SPDX-License-Identifier: MIT */
/*
 * Zones: what each request does to each state, the limits, what is read, and
 * what is left of it all when the program or the machine dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "backend/zones_store.h"
#include "test/backend/util.h"

#define ZONE	128u			/* sectors */
#define CAP	96u
#define NR	6u
#define DISK	(NR * ZONE - 32)	/* the last zone is smaller */
#define CONV	1u			/* zone 0 */
#define INVALID	VIRTIO_BLK_S_ZONE_INVALID_CMD
#define UNALIGNED	VIRTIO_BLK_S_ZONE_UNALIGNED_WP
#define NO_OPEN	VIRTIO_BLK_S_ZONE_OPEN_RESOURCE
#define NO_ACTIVE	VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE

static struct blkdev *disk;
static unsigned char data[ZONE * 512 * 2] __attribute__((aligned(4096)));
static char store[80];

static struct blkdev_zoned_conf conf;

static void reopen(void)
{
	struct blkdev *mem;

	CHECK_EQ(blkdev_mem_open(&mem, DISK * 512, false), 0);
	mem->conf.blk_size = 4096;
	CHECK_EQ(blkdev_zoned_open(&disk, mem, &conf), 0);
}

static void start(void)
{
	conf = (struct blkdev_zoned_conf){
		.zone_sectors = ZONE, .zone_capacity = CAP,
		.conventional = CONV, .max_open = 2, .max_active = 3,
		.num_queues = 1, .queue_size = 32,
	};
	reopen();
}

static int manage(enum vio_blk_op op, unsigned zone)
{
	return run(disk, op, (uint64_t)zone * ZONE * 512, 0, NULL);
}

static int zwrite(uint64_t sector, unsigned nr)
{
	return run(disk, VIO_BLK_WRITE, sector * 512, nr * 512, data);
}

static int zread(uint64_t sector, unsigned nr)
{
	return run(disk, VIO_BLK_READ, sector * 512, nr * 512, data);
}

static struct vio_blk_zone zone(unsigned i)
{
	struct vio_blk_zone z;

	CHECK_EQ(disk->ops->io.zone_report(disk, i * ZONE, &z, 1), 1);
	return z;
}

#define CHECK_ZONE(i, state_, written)					\
	do {								\
		struct vio_blk_zone z_ = zone(i);			\
		CHECK_EQ(z_.state, VIRTIO_BLK_ZS_ ## state_);		\
		CHECK_EQ(z_.wp, (i) * ZONE + (written));		\
	} while (0)

TEST("zones: all of them are reported", "")
{
	struct vio_blk_zone z[NR + 1];

	start();
	CHECK_EQ(disk->ops->io.zone_report(disk, 0, z, NR + 1), NR);
	CHECK_EQ(z[0].type, VIRTIO_BLK_ZT_CONV);
	CHECK_EQ(z[0].state, VIRTIO_BLK_ZS_NOT_WP);
	CHECK_EQ(z[0].capacity, ZONE);
	for (unsigned i = 1; i < NR; i++) {
		CHECK_EQ(z[i].type, VIRTIO_BLK_ZT_SWR);
		CHECK_EQ(z[i].state, VIRTIO_BLK_ZS_EMPTY);
		CHECK_EQ(z[i].start, i * ZONE);
		CHECK_EQ(z[i].wp, i * ZONE);
		CHECK_EQ(z[i].capacity, CAP);
	}
	CHECK_EQ(disk->ops->io.zone_report(disk, DISK - 1, z, NR), 1);
	CHECK_EQ(disk->ops->io.zone_report(disk, NR * ZONE, z, NR), 0);
	blkdev_close(disk);
}

TEST("zones: a conventional zone is a disk",
     "blk.device.device-operation.17 blk.device.device-operation.18")
{
	start();
	CHECK_EQ(zwrite(40, 8), VIO_OK);
	CHECK_EQ(zwrite(3, 1), VIO_OK);
	CHECK_EQ(zread(0, ZONE), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 0), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 0), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 0), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 0), INVALID);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, 0, 4096, data), INVALID);
	CHECK_ZONE(0, NOT_WP, 0);
	blkdev_close(disk);
}

TEST("zones: every state and every request",
     "blk.device.device-operation.19 blk.device.device-operation.21 "
     "blk.device.device-operation.22 blk.device.device-operation.23")
{
	start();
	/* Empty */
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 1), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 1), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), VIO_OK);
	CHECK_ZONE(1, EOPEN, 0);
	/* Explicitly open */
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 1), VIO_OK);
	CHECK_ZONE(1, EMPTY, 0);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), VIO_OK);
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_ZONE(1, EOPEN, 8);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 1), VIO_OK);
	CHECK_ZONE(1, CLOSED, 8);
	/* Closed */
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 1), VIO_OK);
	CHECK_EQ(zwrite(ZONE + 8, 8), VIO_OK);
	CHECK_ZONE(1, IOPEN, 16);
	/* Implicitly open */
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), VIO_OK);
	CHECK_ZONE(1, EOPEN, 16);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_ZONE(1, FULL, CAP);
	/* Full */
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_CLOSE, 1), INVALID);
	CHECK_EQ(zwrite(ZONE + 16, 8), INVALID);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 1), VIO_OK);
	CHECK_ZONE(1, EMPTY, 0);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_EQ(zwrite(2 * ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET_ALL, 0), VIO_OK);
	CHECK_ZONE(1, EMPTY, 0);
	CHECK_ZONE(2, EMPTY, 0);
	blkdev_close(disk);
}

TEST("zones: writes go to the write pointer and stay in their zone",
     "blk.device.device-operation.26 blk.device.device-operation.30 "
     "blk.device.device-operation.31 blk.device.device-operation.27 "
     "blk.device.device-operation.25")
{
	struct request r;

	start();
	CHECK_EQ(zwrite(ZONE + 8, 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE, 4), UNALIGNED);	/* granularity: 4096 */
	CHECK_ZONE(1, EMPTY, 0);
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(zwrite(ZONE, 8), UNALIGNED);
	CHECK_EQ(zwrite(ZONE + 8, CAP), INVALID);	/* past capacity */
	CHECK_EQ(zwrite(ZONE + 8, ZONE), INVALID);	/* two zones */
	CHECK_EQ(zwrite(ZONE - 8, 16), INVALID);	/* conv. and SWR */
	CHECK_EQ(zread(ZONE + 8, ZONE), INVALID);
	CHECK_EQ(zread(ZONE - 8, 16), INVALID);
	request_init(&r, VIO_BLK_ZONE_APPEND, ZONE * 512, 8192, data);
	CHECK_EQ(request_run(disk, &r), VIO_OK);
	CHECK_EQ(r.io.offset, (ZONE + 8) * 512);
	CHECK_ZONE(1, IOPEN, 24);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, (ZONE + 24) * 512, 4096,
		     data), INVALID);
	CHECK_EQ(zwrite(ZONE + 24, CAP - 24), VIO_OK);
	CHECK_ZONE(1, FULL, CAP);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, ZONE * 512, 4096, data),
		 INVALID);
	CHECK_EQ(zread(ZONE, ZONE), VIO_OK);
	blkdev_close(disk);
}

TEST("zones: open and active ones are limited",
     "blk.device.device-operation.20 blk.device.device-operation.24 "
     "blk.device.device-operation.32 blk.device.device-initialization.11 "
     "blk.device.device-initialization.12")
{
	start();
	CHECK_EQ(zwrite(1 * ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 2), VIO_OK);
	/* A third: the implicitly open one gives way. */
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 3), VIO_OK);
	CHECK_ZONE(1, CLOSED, 8);
	/* All that are open are so by request. */
	CHECK_EQ(zwrite(1 * ZONE + 8, 8), NO_OPEN);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 1), NO_OPEN);
	CHECK_ZONE(1, CLOSED, 8);
	/* Both limits at once are told as the active one. */
	CHECK_EQ(zwrite(4 * ZONE, 8), NO_ACTIVE);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 4), NO_ACTIVE);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 4), NO_ACTIVE);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, 4 * ZONE * 512, 4096, data),
		 NO_ACTIVE);
	CHECK_ZONE(4, EMPTY, 0);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 2), VIO_OK);
	CHECK_EQ(zwrite(4 * ZONE, 8), VIO_OK);
	CHECK_ZONE(4, IOPEN, 8);
	blkdev_close(disk);
}

TEST("zones: read-only and offline ones",
     "blk.device.device-operation.33 blk.device.device-operation.34")
{
	static const enum vio_blk_op ops[] = {
		VIO_BLK_ZONE_OPEN, VIO_BLK_ZONE_CLOSE, VIO_BLK_ZONE_FINISH,
		VIO_BLK_ZONE_RESET,
	};
	const struct zones_conf c = { .model = VIRTIO_BLK_Z_HM, .disk = DISK,
				      .zone_sectors = ZONE,
				      .granularity = 512 };
	struct zone_write w;
	struct zones z;

	CHECK_EQ(zones_init(&z, &c), 0);
	CHECK(zones_restore(&z, 1, VIRTIO_BLK_ZS_RDONLY, 8, 8));
	CHECK(zones_restore(&z, 2, VIRTIO_BLK_ZS_OFFLINE, 8, 8));
	for (unsigned i = 1; i < 3; i++) {
		for (unsigned k = 0; k < VIO_ARRAY_LEN(ops); k++)
			CHECK_EQ(zones_manage(&z, ops[k], i * ZONE), INVALID);
		CHECK_EQ(zones_begin(&z, i * ZONE + 8, 8, false, &w),
			 INVALID);
		CHECK_EQ(zones_begin(&z, i * ZONE, 8, true, &w), INVALID);
		CHECK_EQ(zones_check_read(&z, i * ZONE, 8),
			 i == 1 ? VIO_OK : INVALID);
	}
	zones_reset_all(&z);
	CHECK_EQ(z.zone[1].state, VIRTIO_BLK_ZS_RDONLY);
	CHECK_EQ(z.zone[2].state, VIRTIO_BLK_ZS_OFFLINE);
	zones_fini(&z);
}

static bool all_are(const unsigned char *p, size_t len, unsigned char v)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != v)
			return false;
	return true;
}

TEST("zones: what is not written reads as zeroes, whatever was there",
     "blk.device.device-operation.35 blk.device.device-operation.36")
{
	start();
	memset(data, 0xab, sizeof(data));
	CHECK_EQ(zwrite(ZONE, 64), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 1), VIO_OK);
	memset(data, 0xcd, sizeof(data));
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 1), VIO_OK);
	CHECK_EQ(zread(ZONE, ZONE), VIO_OK);
	CHECK(all_are(data, 8 * 512, 0xcd));
	CHECK(all_are(data + 8 * 512, (ZONE - 8) * 512, 0));
	memset(data, 0xab, sizeof(data));
	CHECK_EQ(zread(ZONE + 16, 8), VIO_OK);
	CHECK(all_are(data, 8 * 512, 0));
	blkdev_close(disk);
}

TEST("zones: secure erase is a reset",
     "blk.device.device-operation.39 blk.device.device-operation.37")
{
	struct blkdev *mem;

	start();
	blkdev_close(disk);
	CHECK_EQ(blkdev_mem_open(&mem, DISK * 512, false), 0);
	mem->conf.blk_size = 4096;
	CHECK_GT(mem->conf.max_secure_erase_sectors, 0);
	CHECK_EQ(blkdev_zoned_open(&disk, mem, &conf), 0);
	CHECK_EQ(disk->conf.secure_erase_sector_alignment % ZONE, 0);
	CHECK_EQ(disk->conf.max_secure_erase_sectors % ZONE, 0);
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(zwrite(2 * ZONE, 8), VIO_OK);
	CHECK_EQ(run(disk, VIO_BLK_SECURE_ERASE, ZONE * 512, 2 * ZONE * 512,
		     NULL), VIO_OK);
	CHECK_ZONE(1, EMPTY, 0);
	CHECK_ZONE(2, EMPTY, 0);
	blkdev_close(disk);
}

TEST("zones: host-aware ones take any write, and appends none",
     "blk.device.device-operation.18")
{
	start();
	blkdev_close(disk);
	conf.host_aware = true;
	reopen();
	CHECK_EQ(disk->conf.zones.model, VIRTIO_BLK_Z_HA);
	CHECK_GT(disk->conf.max_discard_sectors, 0);
	CHECK_EQ(zone(1).type, VIRTIO_BLK_ZT_SWP);
	memset(data, 0x11, sizeof(data));
	CHECK_EQ(zwrite(ZONE + 24, 1), VIO_OK);
	CHECK_ZONE(1, IOPEN, 25);
	CHECK_EQ(zwrite(ZONE + 3, 2), VIO_OK);
	CHECK_ZONE(1, IOPEN, 25);
	CHECK_EQ(zwrite(2 * ZONE - 8, ZONE), VIO_OK);	/* two zones */
	CHECK_ZONE(1, FULL, CAP);
	CHECK_ZONE(2, FULL, CAP);
	CHECK_EQ(zwrite(3 * ZONE, 8), VIO_OK);
	CHECK_EQ(zwrite(4 * ZONE, 8), VIO_OK);
	CHECK_EQ(zread(ZONE, 2 * ZONE), VIO_OK);
	CHECK_EQ(run(disk, VIO_BLK_ZONE_APPEND, ZONE * 512, 4096, data),
		 INVALID);
	blkdev_close(disk);
}

/* -- deaths ---------------------------------------------------------------- */

static void start_stored(void)
{
	start();
	blkdev_close(disk);
	snprintf(store, sizeof(store), "/tmp/vireo-zones.%d", getpid());
	unlink(store);
	conf.store_path = store;
	reopen();
}

/* Zones as they are found by another program, now. */
static void look(struct zones *z, struct zones_store **s, bool other_boot)
{
	const struct zones_conf c = {
		.model = VIRTIO_BLK_Z_HM, .disk = DISK, .zone_sectors = ZONE,
		.zone_capacity = CAP, .conventional = CONV, .max_open = 2,
		.max_active = 3, .granularity = 4096,
	};

	CHECK_EQ(zones_init(z, &c), 0);
	CHECK_EQ(zones_store_open(s, store, z, true, false), 0);
	if (!other_boot)
		return;
	zones_store_forget_boot(*s);
	zones_store_close(*s);
	zones_fini(z);
	CHECK_EQ(zones_init(z, &c), 0);
	CHECK_EQ(zones_store_open(s, store, z, true, false), 0);
}

static void unlook(struct zones *z, struct zones_store *s)
{
	zones_store_close(s);
	zones_fini(z);
}

TEST("zones: a program that is killed finds all as it was", "")
{
	struct zones_store *s;
	struct zone_write w;
	struct zones z;

	start_stored();
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_OPEN, 2), VIO_OK);
	CHECK_EQ(zwrite(ZONE + 8, 8), VIO_OK);
	/* The disk is not closed: this is what a killed program leaves. */
	look(&z, &s, false);
	CHECK_EQ(z.zone[1].state, VIRTIO_BLK_ZS_IOPEN);
	CHECK_EQ(z.zone[1].wp, ZONE + 16);
	CHECK_EQ(z.zone[2].state, VIRTIO_BLK_ZS_EOPEN);
	CHECK_EQ(z.nr_open, 2);
	/* The last write may not have been answered: it comes again. */
	CHECK_EQ(zones_begin(&z, ZONE + 8, 8, false, &w), VIO_OK);
	CHECK_EQ(z.zone[1].wp, ZONE + 16);
	zones_end(&z, &w, true);
	/* One that was answered before it cannot. */
	CHECK_EQ(zones_begin(&z, ZONE, 8, false, &w), UNALIGNED);
	/* And once it goes on, none. */
	CHECK_EQ(zones_begin(&z, ZONE + 16, 8, false, &w), VIO_OK);
	CHECK_EQ(zones_begin(&z, ZONE + 8, 8, false, &w), UNALIGNED);
	unlook(&z, s);
	blkdev_close(disk);
	unlink(store);
}

TEST("zones: after a power cut, all that was flushed is below its pointer",
     "blk.device.device-operation.11")
{
	struct zones_store *s;
	struct zones z;

	start_stored();
	CHECK_EQ(zwrite(ZONE, 8), VIO_OK);
	CHECK_EQ(run(disk, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	CHECK_EQ(zwrite(ZONE + 8, 8), VIO_OK);		/* not flushed */
	CHECK_EQ(zwrite(2 * ZONE, 8), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_FINISH, 3), VIO_OK);	/* at once */
	look(&z, &s, true);
	CHECK_EQ(z.zone[1].state, VIRTIO_BLK_ZS_CLOSED);
	CHECK_GE(z.zone[1].wp, ZONE + 8);
	CHECK_EQ(z.zone[3].state, VIRTIO_BLK_ZS_FULL);
	CHECK_EQ(z.nr_open, 0);
	unlook(&z, s);
	blkdev_close(disk);
	unlink(store);
}

TEST("zones: a stable write and a reset are stored before they are answered",
     "blk.device.device-operation.11")
{
	struct zones_store *s;
	struct request r;
	struct zones z;

	start_stored();
	request_init(&r, VIO_BLK_WRITE, ZONE * 512, 4096, data);
	r.io.flags = VIO_BLK_FUA;
	CHECK_EQ(request_run(disk, &r), VIO_OK);
	request_init(&r, VIO_BLK_WRITE, 2 * ZONE * 512, 4096, data);
	r.io.flags = VIO_BLK_FUA;
	CHECK_EQ(request_run(disk, &r), VIO_OK);
	CHECK_EQ(manage(VIO_BLK_ZONE_RESET, 2), VIO_OK);
	look(&z, &s, true);
	CHECK_EQ(z.zone[1].wp, ZONE + 8);
	CHECK_EQ(z.zone[2].state, VIRTIO_BLK_ZS_EMPTY);
	unlook(&z, s);
	blkdev_close(disk);
	unlink(store);
}

TEST("zones: a file that is damaged, or another disk's, is refused", "")
{
	struct blkdev *mem, *d;
	int fd;

	start_stored();
	blkdev_close(disk);
	CHECK_EQ(blkdev_mem_open(&mem, DISK * 512, false), 0);
	mem->conf.blk_size = 4096;
	conf.conventional = 2;
	CHECK_EQ(blkdev_zoned_open(&d, mem, &conf), -EINVAL);
	conf.conventional = CONV;
	fd = open(store, O_RDWR);
	CHECK_EQ(pwrite(fd, "x", 1, 60), 1);		/* another boot */
	CHECK_EQ(pwrite(fd, "x", 1, 8192 + 17), 1);	/* zone 1 */
	CHECK_EQ(blkdev_zoned_open(&d, mem, &conf), -EBADMSG);
	CHECK_EQ(ftruncate(fd, 4096), 0);
	CHECK_EQ(blkdev_zoned_open(&d, mem, &conf), -EINVAL);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(blkdev_zoned_open(&d, mem, &conf), -EINVAL);
	close(fd);
	blkdev_close(mem);
	unlink(store);
}

TEST("zones: a new file is made beside what lies in its place", "")
{
	char new[96], other[96];
	struct stat st;
	int fd;

	start();
	blkdev_close(disk);
	snprintf(store, sizeof(store), "/tmp/vireo-zones.%d", getpid());
	snprintf(new, sizeof(new), "%s.new", store);
	snprintf(other, sizeof(other), "%s.other", store);
	unlink(store);
	unlink(new);
	fd = open(other, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	CHECK_EQ(write(fd, "precious", 8), 8);
	close(fd);
	CHECK_EQ(symlink(other, new), 0);
	conf.store_path = store;
	reopen();
	blkdev_close(disk);
	CHECK_EQ(stat(other, &st), 0);
	CHECK_EQ(st.st_size, 8);
	CHECK_EQ(lstat(new, &st), -1);
	unlink(store);
	unlink(other);
}

TEST("zones: with a loop, requests wait for the keeper, not the queue", "")
{
	struct loop loop;
	struct request r[8];

	start_stored();
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(disk->ops->attach(disk, 0, &loop), 0);
	for (unsigned i = 0; i < 8; i++) {
		request_init(&r[i], VIO_BLK_ZONE_APPEND, ZONE * 512, 4096,
			     data);
		r[i].io.flags = VIO_BLK_FUA;
		disk->ops->io.submit(disk, &r[i].io);
	}
	disk->ops->io.commit(disk, 0);
	disk->ops->io.drain(disk, 0);
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(r[i].done, 1);
		CHECK_EQ(r[i].result, VIO_OK);
		CHECK_EQ(r[i].io.offset, (ZONE + 8 * i) * 512);
	}
	disk->ops->detach(disk, 0);
	loop_fini(&loop);
	blkdev_close(disk);
	unlink(store);
}

TEST("zones: a successor finds them as its predecessor leaves them", "")
{
	struct blkdev_zoned_conf conf = {
		.zone_sectors = ZONE, .zone_capacity = CAP,
		.conventional = CONV, .max_open = 2, .max_active = 3,
		.num_queues = 1, .queue_size = 64, .store_path = store,
		.inherited = true,
	};
	struct blkdev *mem, *next;
	struct vio_blk_zone zone;
	struct zones_store *s;
	struct zones z;

	start_stored();
	CHECK_EQ(run(disk, VIO_BLK_WRITE, ZONE * 512, 4096, data), VIO_OK);
	CHECK_EQ(blkdev_mem_open(&mem, DISK * 512, false), 0);
	CHECK_EQ(blkdev_zoned_open(&next, mem, &conf), 0);
	/* After the successor looked at its options, before it has a guest. */
	CHECK_EQ(run(disk, VIO_BLK_WRITE, ZONE * 512 + 4096, 4096, data),
		 VIO_OK);
	CHECK_EQ(next->ops->io.zone_report(next, ZONE, &zone, 1), 1);
	CHECK_EQ(zone.wp, ZONE + 16);
	CHECK_EQ(run(next, VIO_BLK_WRITE, ZONE * 512 + 8192, 4096, data),
		 VIO_OK);
	CHECK_EQ(run(next, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
	/* The old one ends later, and must not store what it knew. */
	blkdev_zoned_leave(disk);
	blkdev_close(disk);
	look(&z, &s, true);
	CHECK_EQ(z.zone[1].wp, ZONE + 24);
	unlook(&z, s);
	blkdev_close(next);
	unlink(store);
}

/* -- at random ------------------------------------------------------------- */

TEST("zones: random requests against a model of one zone's rules", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	uint64_t wp[NR];
	unsigned ok = 0;

	start();
	for (unsigned i = 0; i < NR; i++)
		wp[i] = 0;
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = 1 + (unsigned)vtest_below(&rnd, NR - 1);
		unsigned nr = 8 + 8 * (unsigned)vtest_below(&rnd, 4);
		struct vio_blk_zone z = zone(i);
		int rc;

		switch (vtest_below(&rnd, 8)) {
		case 0:
			CHECK_EQ(manage(VIO_BLK_ZONE_RESET, i), VIO_OK);
			wp[i] = 0;
			break;
		case 1:
			if (manage(VIO_BLK_ZONE_FINISH, i) == VIO_OK)
				wp[i] = CAP;
			break;
		case 2:
			manage(VIO_BLK_ZONE_OPEN, i);
			break;
		case 3:
			manage(VIO_BLK_ZONE_CLOSE, i);
			break;
		default:
			rc = zwrite(z.start + wp[i], nr);
			if (rc == VIO_OK) {
				wp[i] += nr;
				ok++;
			} else if (z.state != VIRTIO_BLK_ZS_FULL &&
				   wp[i] + nr <= z.capacity) {
				CHECK(rc == NO_OPEN || rc == NO_ACTIVE);
			}
		}
		CHECK_EQ(zone(i).wp, i * ZONE + wp[i]);
	}
	CHECK_GT(ok, 1000);
	blkdev_close(disk);
}
