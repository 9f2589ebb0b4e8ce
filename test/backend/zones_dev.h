/* SPDX-License-Identifier: MIT */
/*
 * A zoned device for tests, behind the file back end's system calls, and the
 * disk on it. It has a file's bytes, and refuses what a zoned disk refuses
 * without saying why.
 */
#ifndef TEST_BACKEND_ZONES_DEV_H
#define TEST_BACKEND_ZONES_DEV_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "backend/file.h"
#include "test/backend/util.h"

#define ZONE	128u			/* sectors */
#define CAP	96u
#define NR	8u
#define DISK	(NR * ZONE)
#define CONV	1u			/* zone 0 */
#define OPEN_MAX	3u
#define INVALID	VIRTIO_BLK_S_ZONE_INVALID_CMD
#define UNALIGNED	VIRTIO_BLK_S_ZONE_UNALIGNED_WP
#define NO_OPEN	VIRTIO_BLK_S_ZONE_OPEN_RESOURCE
#define NO_ACTIVE	VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE

/* -- the device ------------------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	struct blk_zone zone[NR];
	struct vio_blk_zones shape;
	unsigned inside[NR];		/* of those that change it */
	unsigned overlaps, refused, reports, whole, writes, syncs;
	bool fails_read;
	int fail_write, fail_manage, fail_report;	/* errno, once */
} dev = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void fill_zones(uint8_t type)
{
	for (unsigned i = 0; i < NR; i++) {
		struct blk_zone *z = &dev.zone[i];

		*z = (struct blk_zone){
			.start = i * ZONE, .len = ZONE, .wp = i * ZONE,
			.type = i < CONV ? BLK_ZONE_TYPE_CONVENTIONAL : type,
			.cond = i < CONV ? BLK_ZONE_COND_NOT_WP :
				BLK_ZONE_COND_EMPTY,
			.capacity = i < CONV ? ZONE : CAP,
		};
	}
}

static inline int fails(int *err)
{
	errno = *err;
	*err = 0;
	return errno;
}

/* One at a time in a zone, and others may come in the middle of it. */
static inline void enter(struct blk_zone *z)
{
	unsigned i = (unsigned)(z - dev.zone);

	pthread_mutex_lock(&dev.lock);
	if (++dev.inside[i] > 1)
		dev.overlaps++;
	pthread_mutex_unlock(&dev.lock);
	sched_yield();
	pthread_mutex_lock(&dev.lock);
}

static inline void leave(struct blk_zone *z)
{
	dev.inside[z - dev.zone]--;
	pthread_mutex_unlock(&dev.lock);
}

static inline bool takes(const struct blk_zone *z, uint64_t sector, uint64_t nr)
{
	if (z->cond == BLK_ZONE_COND_READONLY ||
	    z->cond == BLK_ZONE_COND_OFFLINE)
		return false;
	return z->type != BLK_ZONE_TYPE_SEQWRITE_REQ ||
	       (sector == z->wp && z->cond != BLK_ZONE_COND_FULL &&
		nr <= z->start + z->capacity - sector);
}

static inline void written(struct blk_zone *z, uint64_t end)
{
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL || end <= z->wp)
		return;
	z->wp = end;
	if (z->wp == z->start + z->capacity)
		z->cond = BLK_ZONE_COND_FULL;
	else if (z->cond != BLK_ZONE_COND_EXP_OPEN)
		z->cond = BLK_ZONE_COND_IMP_OPEN;
}

static inline ssize_t dev_writev(int fd, const struct iovec *iov, int n,
				 off_t off, int flags)
{
	struct blk_zone *z = &dev.zone[off / 512 / ZONE];
	uint64_t len = 0;
	ssize_t got = -1;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	enter(z);
	if (fails(&dev.fail_write)) {
		;
	} else if (!takes(z, (uint64_t)off / 512, len / 512)) {
		dev.refused++;
		errno = EIO;
	} else {
		dev.writes++;
		got = pwritev2(fd, iov, n, off, flags);
		if (got == (ssize_t)len)
			written(z, ((uint64_t)off + len) / 512);
	}
	leave(z);
	return got;
}

static inline ssize_t dev_readv(int fd, const struct iovec *iov, int n,
				off_t off)
{
	if (!dev.fails_read)
		return preadv(fd, iov, n, off);
	errno = EIO;
	return -1;
}

static inline int dev_datasync(int fd)
{
	(void)fd;
	pthread_mutex_lock(&dev.lock);
	dev.syncs++;
	pthread_mutex_unlock(&dev.lock);
	return 0;
}

static inline int dev_zones(int fd, struct vio_blk_zones *z)
{
	(void)fd;
	*z = dev.shape;
	return dev.shape.zone_sectors ? 0 : -1;
}

static inline int dev_report(int fd, struct blk_zone_report *r)
{
	unsigned n = 0;

	(void)fd;
	pthread_mutex_lock(&dev.lock);
	dev.reports++;
	if (fails(&dev.fail_report)) {
		pthread_mutex_unlock(&dev.lock);
		return -1;
	}
	for (uint64_t i = r->sector / ZONE; i < NR && n < r->nr_zones; i++)
		r->zones[n++] = dev.zone[i];
	r->nr_zones = n;
	r->flags = BLK_ZONE_REP_CAPACITY;
	pthread_mutex_unlock(&dev.lock);
	return 0;
}

static inline void change(struct blk_zone *z, unsigned long request)
{
	if (z->type == BLK_ZONE_TYPE_CONVENTIONAL)
		return;
	if (request == BLKRESETZONE) {
		z->wp = z->start;
		z->cond = BLK_ZONE_COND_EMPTY;
	} else if (request == BLKFINISHZONE) {
		z->cond = BLK_ZONE_COND_FULL;
	} else if (request == BLKOPENZONE) {
		z->cond = BLK_ZONE_COND_EXP_OPEN;
	} else {
		z->cond = z->wp == z->start ? BLK_ZONE_COND_EMPTY :
			BLK_ZONE_COND_CLOSED;
	}
}

static inline int dev_manage(int fd, unsigned long request,
		      const struct blk_zone_range *range)
{
	struct blk_zone *z = &dev.zone[range->sector / ZONE];
	int rc = 0;

	(void)fd;
	enter(z);
	if (fails(&dev.fail_manage)) {
		rc = -1;
	} else if (range->nr_sectors == DISK) {
		dev.whole++;
		for (unsigned i = 0; i < NR; i++) {
			if (i && dev.inside[i])
				dev.overlaps++;
			change(&dev.zone[i], request);
		}
	} else if (range->sector != z->start || range->nr_sectors != ZONE) {
		errno = EINVAL;
		rc = -1;
	} else {
		change(z, request);
	}
	leave(z);
	return rc;
}

/* -- the disk -------------------------------------------------------------- */

static struct file_sys sys;
static struct blkdev *disk;
static char path[64];
static unsigned char data[ZONE * 1024] __attribute__((aligned(4096)));

static inline int open_with(bool inherited, bool erase)
{
	const struct blkdev_file_conf file = {
		.path = path, .aio = BLKDEV_AIO_THREADS, .num_queues = 2,
		.queue_size = 64, .secure_erase = erase, .sys = &sys,
	};
	const struct blkdev_host_zones_conf zones = {
		.inherited = inherited, .num_queues = 2, .queue_size = 64,
	};
	struct blkdev *below;
	int rc = blkdev_file_open(&below, &file);

	if (rc)
		return rc;
	CHECK(below->conf.zoned);
	rc = blkdev_host_zones_open(&disk, below, &zones);
	if (rc)
		blkdev_close(below);
	return rc;
}

static inline void prepare(uint8_t type)
{
	memset((char *)&dev + sizeof(dev.lock), 0,
	       sizeof(dev) - sizeof(dev.lock));
	dev.shape = (struct vio_blk_zones){
		.zone_sectors = ZONE, .max_open = OPEN_MAX,
		.max_active = OPEN_MAX + 1, .write_granularity = 4096,
	};
	fill_zones(type);
	sys = file_sys_linux;
	sys.readv = dev_readv;
	sys.writev = dev_writev;
	sys.datasync = dev_datasync;
	sys.zones = dev_zones;
	sys.zone_report = dev_report;
	sys.zone_manage = dev_manage;
	make_image(path, "/dev/shm", DISK * 512);
}

static inline void begin(void)
{
	prepare(BLK_ZONE_TYPE_SEQWRITE_REQ);
	CHECK_EQ(open_with(false, false), 0);
}

static inline void end(void)
{
	CHECK_EQ(dev.overlaps, 0);
	blkdev_close(disk);
	unlink(path);
}

static inline int manage(enum vio_blk_op op, unsigned zone)
{
	return run(disk, op, (uint64_t)zone * ZONE * 512, 0, NULL);
}

static inline int zwrite(uint64_t sector, unsigned nr)
{
	return run(disk, VIO_BLK_WRITE, sector * 512, nr * 512, data);
}

static inline int zread(uint64_t sector, unsigned nr)
{
	return run(disk, VIO_BLK_READ, sector * 512, nr * 512, data);
}

#define MANY	24u

/* Submit all, then wait. */
static inline void go(struct request *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		disk->ops->io.submit(disk, &r[i].io);
	for (unsigned q = 0; q < 2; q++) {
		disk->ops->io.commit(disk, q);
		disk->ops->io.drain(disk, q);
	}
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(r[i].done, 1);
}

#endif
