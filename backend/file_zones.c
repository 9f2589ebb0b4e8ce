/* SPDX-License-Identifier: MIT */
/*
 * The file back end on a zoned block device: what the kernel says of its zones
 * and does to them. It keeps nothing of them and judges no request; who may do
 * what, and in which order, is zones_host.c's.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "backend/file.h"

/* Zones in one call of the kernel; 64 bytes each, on the stack. */
#define REPORT_MAX 128u

/* Linux numbers types and states as the standard does: both took T10's. */
VIO_STATIC_ASSERT((int)BLK_ZONE_TYPE_CONVENTIONAL == VIRTIO_BLK_ZT_CONV &&
		  (int)BLK_ZONE_TYPE_SEQWRITE_REQ == VIRTIO_BLK_ZT_SWR &&
		  (int)BLK_ZONE_TYPE_SEQWRITE_PREF == VIRTIO_BLK_ZT_SWP,
		  "types of zones");
VIO_STATIC_ASSERT((int)BLK_ZONE_COND_NOT_WP == VIRTIO_BLK_ZS_NOT_WP &&
		  (int)BLK_ZONE_COND_EMPTY == VIRTIO_BLK_ZS_EMPTY &&
		  (int)BLK_ZONE_COND_IMP_OPEN == VIRTIO_BLK_ZS_IOPEN &&
		  (int)BLK_ZONE_COND_EXP_OPEN == VIRTIO_BLK_ZS_EOPEN &&
		  (int)BLK_ZONE_COND_CLOSED == VIRTIO_BLK_ZS_CLOSED &&
		  (int)BLK_ZONE_COND_READONLY == VIRTIO_BLK_ZS_RDONLY &&
		  (int)BLK_ZONE_COND_FULL == VIRTIO_BLK_ZS_FULL &&
		  (int)BLK_ZONE_COND_OFFLINE == VIRTIO_BLK_ZS_OFFLINE,
		  "states of zones");

int file_sys_zones(int fd, struct vio_blk_zones *z)
{
	unsigned granularity = 0;
	uint32_t sectors = 0;
	struct stat st;

	/* 0 of a disk without zones, ENOTTY of a kernel without them. */
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode) ||
	    ioctl(fd, BLKGETZONESZ, &sectors) || !sectors)
		return -1;
	*z = (struct vio_blk_zones){ .zone_sectors = sectors };
	/* A limit that cannot be read is found when the device refuses. */
	z->max_open = (uint32_t)file_disk_attribute(st.st_rdev,
						    "max_open_zones");
	z->max_active = (uint32_t)file_disk_attribute(st.st_rdev,
						      "max_active_zones");
	z->write_granularity = (uint32_t)
		file_disk_attribute(st.st_rdev, "zone_write_granularity");
	if (!z->write_granularity && !ioctl(fd, BLKPBSZGET, &granularity))
		z->write_granularity = granularity;
	return 0;
}

int file_sys_zone_report(int fd, struct blk_zone_report *r)
{
	return ioctl(fd, BLKREPORTZONE, r);
}

int file_sys_zone_manage(int fd, unsigned long request,
			 const struct blk_zone_range *range)
{
	return ioctl(fd, request, range);
}

int file_zone_status(int err)
{
	switch (err) {
	case ETOOMANYREFS:
		return VIRTIO_BLK_S_ZONE_OPEN_RESOURCE;
	case EOVERFLOW:
		return VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE;
	default:
		return VIO_E_IO;
	}
}

static struct vio_blk_zone convert(const struct blk_zone *k, bool capacity)
{
	struct vio_blk_zone z = {
		.start = k->start, .wp = k->wp,
		.capacity = capacity ? k->capacity : k->len,
		.type = k->type, .state = k->cond,
	};

	switch (k->cond) {
	case BLK_ZONE_COND_NOT_WP:
	case BLK_ZONE_COND_EMPTY:
	case BLK_ZONE_COND_IMP_OPEN:
	case BLK_ZONE_COND_EXP_OPEN:
	case BLK_ZONE_COND_CLOSED:
		break;
	case BLK_ZONE_COND_FULL:
		z.wp = z.start + z.capacity;
		break;
	case BLK_ZONE_COND_READONLY:
		z.wp = z.start;
		break;
	default:	/* offline, or a state that nobody knows: hands off */
		z.state = VIRTIO_BLK_ZS_OFFLINE;
		z.wp = z.start;
	}
	return z;
}

unsigned file_zone_report(void *backend, uint64_t sector,
			  struct vio_blk_zone *out, unsigned max)
{
	struct file *f = vio_container_of(backend, struct file, dev);
	union {
		struct blk_zone_report head;
		unsigned char room[sizeof(struct blk_zone_report) +
				   REPORT_MAX * sizeof(struct blk_zone)];
	} r;
	unsigned n = 0, tries = 0;

	if (sector >= atomic_load(&f->size) / 512)
		return 0;
	if (max > REPORT_MAX)
		max = REPORT_MAX;
	memset(&r, 0, sizeof(r));
	r.head.sector = sector;
	r.head.nr_zones = max;
	while (f->sys->zone_report(f->fd, &r.head))
		if ((errno != EINTR && errno != EAGAIN) ||
		    ++tries >= FILE_TRIES_MAX) {
			log_err("the disk's zones cannot be read: %s",
				strerror(errno));
			return 0;
		}
	for (; n < max && n < r.head.nr_zones; n++)
		out[n] = convert(&r.head.zones[n],
				 r.head.flags & BLK_ZONE_REP_CAPACITY);
	return n;
}

int file_zone_manage(struct file *f, const struct vio_blk_io *io)
{
	static const unsigned long requests[] = {
		[VIO_BLK_ZONE_OPEN] = BLKOPENZONE,
		[VIO_BLK_ZONE_CLOSE] = BLKCLOSEZONE,
		[VIO_BLK_ZONE_FINISH] = BLKFINISHZONE,
		[VIO_BLK_ZONE_RESET] = BLKRESETZONE,
		/* Of a range that is all of the disk, conventional zones are
		 * left out. */
		[VIO_BLK_ZONE_RESET_ALL] = BLKRESETZONE,
	};
	const struct blk_zone_range range = {
		.sector = io->offset / 512, .nr_sectors = io->len / 512,
	};
	unsigned tries = 0;

	if (!f->dev.conf.zoned)
		return EOPNOTSUPP;
	while (f->sys->zone_manage(f->fd, requests[io->op], &range))
		if ((errno != EINTR && errno != EAGAIN) ||
		    ++tries >= FILE_TRIES_MAX)
			return errno;
	return 0;
}

static int refuse(const char *path, const char *why)
{
	log_err("--blk-file: %s is a zoned block device: %s", path, why);
	return -EINVAL;
}

int file_zones_find(struct file *f, const struct blkdev_file_conf *conf)
{
	struct vio_blk_conf *c = &f->dev.conf;

	if (!f->sys->zones || f->sys->zones(f->fd, &c->zones))
		return 0;
	/* The page cache writes back in an order of its own. */
	if (f->block_device && !f->direct && !f->read_only)
		return refuse(conf->path,
			      "it cannot be written through the page cache; leave --buffered out");
	if (conf->secure_erase)
		return refuse(conf->path,
			      "what becomes of the bytes of a zone that was reset is its own affair; leave --secure-erase out");
	c->zoned = true;
	if (c->zones.write_granularity < c->blk_size)
		c->zones.write_granularity = c->blk_size;
	return 0;
}
