/* SPDX-License-Identifier: MIT */
/*
 * What the block driver may send (standard: 5.2.6.1): each request is held to
 * what was agreed and to what the disk is, before the device sees it.
 */
#include "core/driver/blk.h"

/* Do these sectors exist? */
static bool in_capacity(const struct vio_blkdrv *blk, uint64_t sector,
			uint64_t nr)
{
	return sector <= blk->capacity_sectors &&
	       nr <= blk->capacity_sectors - sector;
}

/* Data of IN and OUT: lengths, limits, capacity. */
static int check_data(const struct vio_blkdrv *blk,
		      const struct vio_blkdrv_req *req)
{
	uint64_t len = 0;
	unsigned i;

	if (!req->nr_seg || req->nr_seg > VIO_BLKDRV_SEGS ||
	    req->nr_seg > blk->seg_max)
		return VIO_E_INVAL;
	for (i = 0; i < req->nr_seg; i++) {
		if (req->seg[i].len > blk->size_max)
			return VIO_E_INVAL;
		len += req->seg[i].len;
	}
	/* blk.driver.device-operation.6 */
	if (len % VIRTIO_BLK_SECTOR_SIZE)
		return VIO_E_INVAL;
	/* blk.driver.device-operation.2 */
	if (!in_capacity(blk, req->sector, len / VIRTIO_BLK_SECTOR_SIZE))
		return VIO_E_RANGE;
	return VIO_OK;
}

static int check_range(const struct vio_blkdrv *blk,
		       const struct vio_blkdrv_req *req, uint32_t max_sectors)
{
	if (!req->num_sectors || req->num_sectors > max_sectors)
		return VIO_E_INVAL;
	if (!in_capacity(blk, req->sector, req->num_sectors))
		return VIO_E_RANGE;
	return VIO_OK;
}

/* One buffer's worth of bytes for the device to fill, @len of them. */
static int check_answer(const struct vio_blkdrv_req *req, size_t len)
{
	return req->nr_seg == 1 && req->seg[0].len == len ? VIO_OK
							  : VIO_E_INVAL;
}

/* Data of OUT and of an append: whole units, on zoned disks. */
static int check_write(const struct vio_blkdrv *blk,
		       const struct vio_blkdrv_req *req)
{
	uint32_t unit = blk->write_granularity;
	uint64_t len = 0;
	int err = check_data(blk, req);

	if (blk->read_only)
		return VIO_E_UNSUPP;
	if (err || !unit)
		return err;
	for (unsigned i = 0; i < req->nr_seg; i++)
		len += req->seg[i].len;
	/* blk.driver.device-operation.23 and .25 */
	if (vio_mod(len, unit) ||
	    vio_mod(req->sector * VIRTIO_BLK_SECTOR_SIZE, unit))
		return VIO_E_INVAL;
	if (req->type == VIRTIO_BLK_T_ZONE_APPEND &&
	    len > (uint64_t)blk->max_append_sectors * VIRTIO_BLK_SECTOR_SIZE)
		return VIO_E_INVAL;
	return VIO_OK;
}

static int check_plain(const struct vio_blkdrv *blk,
		       const struct vio_blkdrv_req *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_OUT:
		return check_write(blk, req);
	case VIRTIO_BLK_T_IN:
		return check_data(blk, req);
	case VIRTIO_BLK_T_FLUSH:
		/* blk.driver.device-operation.4 and .5 */
		return req->sector || req->nr_seg ? VIO_E_INVAL : VIO_OK;
	case VIRTIO_BLK_T_GET_ID:
		/* blk.driver.device-operation.8 */
		return check_answer(req, VIRTIO_BLK_ID_BYTES);
	default:
		return check_answer(req, sizeof(struct virtio_blk_lifetime));
	}
}

static int check_ranges(const struct vio_blkdrv *blk,
			const struct vio_blkdrv_req *req)
{
	/* One range a request: never more than max_..._seg. */
	if (req->nr_seg)
		return VIO_E_INVAL;
	/* blk.driver.device-operation.14 */
	if (req->unmap && req->type != VIRTIO_BLK_T_WRITE_ZEROES)
		return VIO_E_INVAL;
	if (req->type == VIRTIO_BLK_T_DISCARD)
		return check_range(blk, req, blk->max_discard_sectors);
	if (req->type == VIRTIO_BLK_T_WRITE_ZEROES)
		return check_range(blk, req, blk->max_write_zeroes_sectors);
	/* blk.device.device-operation.38 asks it of both sides. */
	if (blk->zone_sectors &&
	    (vio_mod(req->sector, blk->zone_sectors) ||
	     vio_mod(req->num_sectors, blk->zone_sectors)))
		return VIO_E_INVAL;
	return check_range(blk, req, blk->max_secure_erase_sectors);
}

static int check_report(const struct vio_blkdrv *blk,
			const struct vio_blkdrv_req *req)
{
	uint64_t len = 0;

	if (!req->nr_seg || req->nr_seg > VIO_BLKDRV_SEGS ||
	    req->nr_seg > blk->seg_max)
		return VIO_E_INVAL;
	for (unsigned i = 0; i < req->nr_seg; i++)
		len += req->seg[i].len;
	if (len < sizeof(struct virtio_blk_zone_report))
		return VIO_E_INVAL;
	/* blk.driver.device-operation.18 */
	return in_capacity(blk, req->sector, 1) ? VIO_OK : VIO_E_RANGE;
}

static int check_zone(const struct vio_blkdrv *blk,
		      const struct vio_blkdrv_req *req)
{
	if (blk->zone_model == VIRTIO_BLK_Z_NONE || !blk->zone_sectors)
		return VIO_E_UNSUPP;
	if (req->type == VIRTIO_BLK_T_ZONE_REPORT)
		return check_report(blk, req);
	if (blk->read_only)
		return VIO_E_UNSUPP;
	/* blk.driver.device-operation.20, .21 and .22 */
	if (!in_capacity(blk, req->sector, 1))
		return VIO_E_RANGE;
	if (vio_mod(req->sector, blk->zone_sectors))
		return VIO_E_INVAL;
	if (req->type == VIRTIO_BLK_T_ZONE_APPEND)
		return check_write(blk, req);
	if (req->type == VIRTIO_BLK_T_ZONE_RESET_ALL && req->sector)
		return VIO_E_INVAL;
	return req->nr_seg ? VIO_E_INVAL : VIO_OK;
}

/* What each type asks for, and who looks at it. */
static const struct kind {
	uint32_t type;
	uint8_t feature;	/* 0: none */
	int (*check)(const struct vio_blkdrv *blk,
		     const struct vio_blkdrv_req *req);
} kinds[] = {
	{ VIRTIO_BLK_T_IN, 0, check_plain },
	{ VIRTIO_BLK_T_OUT, 0, check_plain },
	{ VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_F_FLUSH, check_plain },
	{ VIRTIO_BLK_T_GET_ID, 0, check_plain },
	{ VIRTIO_BLK_T_GET_LIFETIME, VIRTIO_BLK_F_LIFETIME, check_plain },
	{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_F_DISCARD, check_ranges },
	{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, check_ranges },
	{ VIRTIO_BLK_T_SECURE_ERASE, VIRTIO_BLK_F_SECURE_ERASE, check_ranges },
	{ VIRTIO_BLK_T_ZONE_APPEND, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_REPORT, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_OPEN, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_CLOSE, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_FINISH, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_RESET, VIRTIO_BLK_F_ZONED, check_zone },
	{ VIRTIO_BLK_T_ZONE_RESET_ALL, VIRTIO_BLK_F_ZONED, check_zone },
};

int vio_blkdrv_check(const struct vio_blkdrv *blk,
		     const struct vio_blkdrv_req *req)
{
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(kinds); i++)
		if (kinds[i].type == req->type)
			break;
	if (i == VIO_ARRAY_LEN(kinds) ||
	    (kinds[i].feature && !vio_drv_has(&blk->drv, kinds[i].feature)))
		return VIO_E_UNSUPP;
	return kinds[i].check(blk, req);
}
