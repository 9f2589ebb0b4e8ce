/* SPDX-License-Identifier: MIT */
/*
 * blk_zoned.c - the zone requests of the block device. It checks what a
 * request says of itself; the zones, their states and write pointers, are the
 * back end's.
 */
#include "core/device/blk.h"

#define REPORT_BATCH	16	/* zones asked for at a time */
#define DESC_LEN	\
	((uint32_t)sizeof(struct virtio_blk_zone_descriptor))
#define TAIL_LEN	((uint32_t)sizeof(struct virtio_blk_za_tail))

/* blk.device.device-operation.16 */
static bool refused(struct blk_req *r)
{
	if (vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_ZONED) &&
	    r->blk->conf.zones.model != VIRTIO_BLK_Z_NONE)
		return false;
	blk_answer(r, VIRTIO_BLK_S_UNSUPP);
	return true;
}

/* -- report -------------------------------------------------------------- */

static bool put_zone(struct vio_cursor *c, const struct vio_blk_zone *z)
{
	struct virtio_blk_zone_descriptor d = {
		.z_cap = vio_to_le64(z->capacity),
		.z_start = vio_to_le64(z->start),
		.z_wp = vio_to_le64(z->wp),
		.z_type = z->type,
		.z_state = z->state,
	};

	return vio_cursor_write(c, &d, sizeof(d));
}

/*
 * Descriptors for as many zones as there are and as fit before the status.
 * Returns how many.
 */
static uint64_t put_zones(struct blk_req *r, struct vio_cursor *c,
			  uint64_t sector)
{
	struct vio_blk_zone z[REPORT_BATCH];
	uint64_t nr = 0;

	while (c->left >= DESC_LEN) {
		uint32_t fit = c->left / DESC_LEN;
		unsigned got;

		if (fit > REPORT_BATCH)
			fit = REPORT_BATCH;
		got = r->blk->backend->zone_report(r->blk->backend_ctx,
						   sector, z, fit);
		if (!got || got > fit)
			break;
		for (unsigned i = 0; i < got; i++, nr++)
			if (!put_zone(c, &z[i]))
				return nr;
		sector = z[got - 1].start + r->blk->conf.zones.zone_sectors;
	}
	return nr;
}

void blk_zone_report(struct blk_req *r, uint64_t sector)
{
	struct virtio_blk_zone_report head = { { 0 }, { 0 } };
	struct vio_cursor c = vio_req_writer(r->req);
	uint64_t nr;

	BLK_COUNT(r, others, 1);
	if (refused(r))
		return;
	/* The header's room first: the count is known when all is written. */
	if (sector >= blk_capacity(r->blk) ||
	    !vio_cursor_limit(&c, r->status_off) ||
	    !vio_cursor_write(&c, &head, sizeof(head))) {
		blk_answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	nr = put_zones(r, &c, sector);
	/* There is one, and room for it, but storage cannot tell. */
	if (!nr && c.left >= DESC_LEN) {
		blk_answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	head.nr_zones = vio_to_le64(nr);
	vio_req_put(r->req, 0, &head.nr_zones, sizeof(head.nr_zones));
	blk_answer(r, VIRTIO_BLK_S_OK);
}

/* -- states -------------------------------------------------------------- */

/* May a zone of this disk be changed, and does one begin at @sector? */
static uint8_t check_zone(const struct blk_req *r, uint64_t sector)
{
	if (r->blk->conf.read_only)
		return VIRTIO_BLK_S_IOERR;
	if (sector >= blk_capacity(r->blk) ||
	    vio_mod(sector, r->blk->conf.zones.zone_sectors))
		return VIRTIO_BLK_S_ZONE_INVALID_CMD;
	return VIRTIO_BLK_S_OK;
}

static void manage(struct blk_req *r, enum vio_blk_op op, uint64_t sector)
{
	uint8_t status;

	BLK_COUNT(r, others, 1);
	if (refused(r))
		return;
	status = check_zone(r, sector);
	if (status != VIRTIO_BLK_S_OK) {
		blk_answer(r, status);
		return;
	}
	blk_prepare(r, op, blk_plain_done);
	r->io.offset = sector * SECTOR;
	blk_submit(r);
}

void blk_zone_open(struct blk_req *r, uint64_t sector)
{
	manage(r, VIO_BLK_ZONE_OPEN, sector);
}

void blk_zone_close(struct blk_req *r, uint64_t sector)
{
	manage(r, VIO_BLK_ZONE_CLOSE, sector);
}

void blk_zone_finish(struct blk_req *r, uint64_t sector)
{
	manage(r, VIO_BLK_ZONE_FINISH, sector);
}

void blk_zone_reset(struct blk_req *r, uint64_t sector)
{
	manage(r, VIO_BLK_ZONE_RESET, sector);
}

/* The sector is not used. */
void blk_zone_reset_all(struct blk_req *r, uint64_t sector)
{
	(void)sector;
	manage(r, VIO_BLK_ZONE_RESET_ALL, 0);
}

/* -- append -------------------------------------------------------------- */

static void append_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);
	vio_le64 at = vio_to_le64(io->offset / SECTOR);

	if (result == VIO_OK) {
		BLK_COUNT(r, bytes_written, io->len);
		/* Linux's struct has padding between this and the status. */
		vio_req_put(r->req, 0, &at, sizeof(at));
	}
	blk_answer(r, blk_status_of(r, result));
}

static uint8_t check_append(const struct blk_req *r, uint64_t sector,
			    uint32_t len)
{
	uint64_t max = r->blk->conf.zones.max_append_sectors;
	uint8_t status;

	if (r->req->write_len < TAIL_LEN || len % SECTOR)
		return VIRTIO_BLK_S_IOERR;
	/* blk.device.device-operation.28 and .29 */
	if (len > max * SECTOR)
		return max ? VIRTIO_BLK_S_ZONE_INVALID_CMD :
			     VIRTIO_BLK_S_UNSUPP;
	/* .25; and nothing cannot be appended. */
	status = check_zone(r, sector);
	if (status == VIRTIO_BLK_S_OK && !len)
		status = VIRTIO_BLK_S_ZONE_INVALID_CMD;
	return status;
}

void blk_zone_append(struct blk_req *r, uint64_t sector)
{
	uint32_t len = r->req->read_len - HDR_LEN;
	uint8_t status;
	unsigned nr;

	BLK_COUNT(r, writes, 1);
	if (refused(r))
		return;
	status = check_append(r, sector, len);
	if (status != VIRTIO_BLK_S_OK) {
		blk_answer(r, status);
		return;
	}
	blk_prepare(r, VIO_BLK_ZONE_APPEND, append_done);
	r->io.seg = vio_req_payload(r->req, false, HDR_LEN, len, &nr);
	r->io.nr_seg = (uint16_t)nr;
	r->io.offset = sector * SECTOR;
	r->io.len = len;
	r->io.flags = blk_stable(r->blk);
	blk_submit(r);
}
