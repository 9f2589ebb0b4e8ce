/* SPDX-License-Identifier: MIT */
/*
 * blk_range.c - requests of the block device that name ranges of sectors:
 * discard, write zeroes, secure erase. All ranges are checked before the
 * first is carried out.
 */
#include "core/device/blk.h"

#define RANGE_LEN	\
	((uint32_t)sizeof(struct virtio_blk_discard_write_zeroes))

static void next_range(struct blk_req *r);

static void range_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result != VIO_OK || r->next_range == r->nr_ranges)
		blk_answer(r, blk_status_of(r, result));
	else
		next_range(r);
}

/* At most VIO_BLK_RANGES_MAX deep where a back end is done at once. */
static void next_range(struct blk_req *r)
{
	const struct blk_range *g = &r->range[r->next_range++];

	r->io.offset = g->sector * SECTOR;
	r->io.len = (uint64_t)g->num_sectors * SECTOR;
	r->io.flags &= ~VIO_BLK_UNMAP;
	if ((g->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) &&
	    r->blk->conf.write_zeroes_may_unmap)
		r->io.flags |= VIO_BLK_UNMAP;
	blk_submit(r);
}

/*
 * Copy the ranges out of guest memory and check them all before the first is
 * carried out. Returns a status.
 */
static uint8_t read_ranges(struct blk_req *r, uint32_t max_ranges,
			   uint32_t max_sectors, uint32_t flags_ok)
{
	const struct vio_dev *dev = &r->blk->dev;
	struct vio_cursor c = vio_req_reader(r->req);
	struct virtio_blk_discard_write_zeroes wire;
	uint32_t len = r->req->read_len - HDR_LEN, n = len / RANGE_LEN;
	bool bad = false;

	r->nr_ranges = 0;
	r->next_range = 0;
	if (!n || len % RANGE_LEN || n > max_ranges ||
	    !vio_cursor_skip(&c, HDR_LEN))
		return VIRTIO_BLK_S_IOERR;
	while (n-- && vio_cursor_read(&c, &wire, RANGE_LEN)) {
		uint64_t sector = vio_dev_from64(dev, wire.sector);
		uint32_t num = vio_dev_from32(dev, wire.num_sectors);
		uint32_t fl = vio_dev_from32(dev, wire.flags);

		/* blk.device.device-operation: unknown flags are UNSUPP. */
		if (fl & ~flags_ok)
			return VIRTIO_BLK_S_UNSUPP;
		bad |= num > max_sectors ||
		       !blk_in_disk(r->blk, sector, (uint64_t)num * SECTOR);
		if (num)
			r->range[r->nr_ranges++] =
				(struct blk_range){ sector, num, fl };
	}
	return bad ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static void start_ranges(struct blk_req *r, uint8_t status)
{
	/* blk.device.device-operation: nothing is written if read-only. */
	if (status == VIRTIO_BLK_S_OK && r->blk->conf.read_only)
		status = VIRTIO_BLK_S_IOERR;
	if (status != VIRTIO_BLK_S_OK || !r->nr_ranges)
		blk_answer(r, status);
	else
		next_range(r);
}

void blk_discard(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk_conf *conf = &r->blk->conf;

	(void)sector;
	BLK_COUNT(r, others, 1);
	if (!vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_DISCARD)) {
		blk_answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	blk_prepare(r, VIO_BLK_DISCARD, range_done);
	start_ranges(r, read_ranges(r, conf->max_discard_seg,
				    conf->max_discard_sectors, 0));
}

void blk_write_zeroes(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk_conf *conf = &r->blk->conf;

	(void)sector;
	BLK_COUNT(r, others, 1);
	if (!vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_WRITE_ZEROES)) {
		blk_answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	blk_prepare(r, VIO_BLK_WRITE_ZEROES, range_done);
	r->io.flags = blk_stable(r->blk);
	start_ranges(r, read_ranges(r, conf->max_write_zeroes_seg,
				    conf->max_write_zeroes_sectors,
				    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP));
}

/*
 * blk.device.device-operation.38: of a zoned disk whole zones are erased, and
 * anything else is as wrong as a reset of half a zone.
 */
static bool whole_zones(const struct blk_req *r)
{
	uint32_t zone = r->blk->conf.zones.zone_sectors;

	if (!zone || !vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_ZONED))
		return true;
	for (unsigned i = 0; i < r->nr_ranges; i++)
		if (vio_mod(r->range[i].sector, zone) ||
		    vio_mod(r->range[i].num_sectors, zone))
			return false;
	return true;
}

void blk_secure_erase(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk_conf *conf = &r->blk->conf;
	uint8_t status;

	(void)sector;
	BLK_COUNT(r, others, 1);
	if (!vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_SECURE_ERASE)) {
		blk_answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	blk_prepare(r, VIO_BLK_SECURE_ERASE, range_done);
	status = read_ranges(r, conf->max_secure_erase_seg,
			     conf->max_secure_erase_sectors, 0);
	if (status == VIRTIO_BLK_S_OK && !whole_zones(r))
		status = VIRTIO_BLK_S_ZONE_INVALID_CMD;
	start_ranges(r, status);
}
