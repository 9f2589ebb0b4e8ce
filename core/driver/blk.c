/* SPDX-License-Identifier: MIT */
/*
 * The block driver: requests become buffers of a virtqueue. Each request in
 * flight has a slot in shared memory for its header and status; which slots
 * are free is kept privately. Knows no bus and no ring layout.
 */
#include <vireo/driver_blk.h>

#include "core/driver/blk.h"
#include "core/mem/access.h"

#define LINE		64	/* bytes */
#define NOT_WRITTEN	0xff	/* no status the standard defines */

struct vio_features vio_blkdrv_features(void)
{
	static const uint8_t bits[] = {
		VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_SEG_MAX,
		VIRTIO_BLK_F_GEOMETRY, VIRTIO_BLK_F_RO,
		VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH,
		VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_CONFIG_WCE,
		VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_DISCARD,
		VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_F_LIFETIME,
		VIRTIO_BLK_F_SECURE_ERASE, VIRTIO_BLK_F_ZONED,
		VIRTIO_F_INDIRECT_DESC,
		VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, VIRTIO_F_IN_ORDER,
	};
	struct vio_features f = { { 0, 0 } };
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(bits); i++)
		vio_feature_set(&f, bits[i]);
	return f;
}

size_t vio_blkdrv_shared_size(const struct vio_vq_limits *limits,
			      unsigned queues)
{
	return queues * (vio_vq_shared_size(limits) + LINE +
			 limits->size * sizeof(struct vio_blkdrv_slot));
}

size_t vio_blkdrv_private_size(const struct vio_vq_limits *limits,
			       unsigned queues)
{
	return queues * (vio_vq_private_size(limits) + LINE +
			 limits->size * sizeof(uint16_t));
}

static void read_zoned(struct vio_blkdrv *blk,
		       const struct virtio_blk_zoned_characteristics *z)
{
	blk->zone_model = z->model;
	if (blk->zone_model == VIRTIO_BLK_Z_NONE)
		return;
	blk->zone_sectors = vio_from_le32(z->zone_sectors);
	blk->max_open_zones = vio_from_le32(z->max_open_zones);
	blk->max_active_zones = vio_from_le32(z->max_active_zones);
	blk->max_append_sectors = vio_from_le32(z->max_append_sectors);
	blk->write_granularity = vio_from_le32(z->write_granularity);
}

/* Fields whose features are not there are 0. */
static void read_limits(struct vio_blkdrv *blk,
			const struct virtio_blk_config *c)
{
	const struct vio_drv *drv = &blk->drv;

	blk->blk_size = vio_drv_from32(drv, c->blk_size);
	blk->size_max = vio_drv_from32(drv, c->size_max);
	blk->seg_max = vio_drv_from32(drv, c->seg_max);
	/* There are devices that offer a limit and leave it 0: none. */
	if (!blk->blk_size)
		blk->blk_size = VIRTIO_BLK_SECTOR_SIZE;
	if (!blk->size_max)
		blk->size_max = UINT32_MAX;
	if (!blk->seg_max)
		blk->seg_max = 1;
	blk->max_discard_sectors = vio_drv_from32(drv, c->max_discard_sectors);
	blk->max_write_zeroes_sectors =
		vio_drv_from32(drv, c->max_write_zeroes_sectors);
	blk->max_secure_erase_sectors =
		vio_drv_from32(drv, c->max_secure_erase_sectors);
}

#define C(field)	offsetof(struct virtio_blk_config, field)

/* What this driver has a use for. */
static const struct vio_drv_field fields[] = {
	{ C(capacity), 8, VIO_DRV_ALWAYS, 0 },
	{ C(size_max), 4, VIRTIO_BLK_F_SIZE_MAX, 0 },
	{ C(seg_max), 4, VIRTIO_BLK_F_SEG_MAX, 0 },
	{ C(blk_size), 4, VIRTIO_BLK_F_BLK_SIZE, 0 },
	{ C(writeback), 1, VIRTIO_BLK_F_CONFIG_WCE, 0 },
	{ C(num_queues), 2, VIRTIO_BLK_F_MQ, 0 },
	{ C(max_discard_sectors), 4, VIRTIO_BLK_F_DISCARD, 0 },
	{ C(max_write_zeroes_sectors), 4, VIRTIO_BLK_F_WRITE_ZEROES, 0 },
	{ C(max_secure_erase_sectors), 4, VIRTIO_BLK_F_SECURE_ERASE, 0 },
	{ C(zoned.zone_sectors), 4, VIRTIO_BLK_F_ZONED, 0 },
	{ C(zoned.max_open_zones), 4, VIRTIO_BLK_F_ZONED, 0 },
	{ C(zoned.max_active_zones), 4, VIRTIO_BLK_F_ZONED, 0 },
	{ C(zoned.max_append_sectors), 4, VIRTIO_BLK_F_ZONED, 0 },
	{ C(zoned.write_granularity), 4, VIRTIO_BLK_F_ZONED, 0 },
	{ C(zoned.model), 1, VIRTIO_BLK_F_ZONED, 0 },
};

/* @queues: how many the device says it has. */
static int read_config(struct vio_blkdrv *blk, uint16_t *queues)
{
	struct vio_drv *drv = &blk->drv;
	struct virtio_blk_config c;
	int err;

	memset(&c, 0, sizeof(c));
	err = vio_drv_config_fields(drv, fields, VIO_ARRAY_LEN(fields), &c);
	if (err)
		return err;
	blk->capacity_sectors = vio_drv_from64(drv, c.capacity);
	read_limits(blk, &c);
	read_zoned(blk, &c.zoned);
	*queues = 1;
	if (vio_drv_has(drv, VIRTIO_BLK_F_MQ))
		*queues = vio_drv_from16(drv, c.num_queues);
	blk->read_only = vio_drv_has(drv, VIRTIO_BLK_F_RO);
	/* blk.driver.device-initialization.2 and .3 */
	blk->writeback = vio_drv_has(drv, VIRTIO_BLK_F_CONFIG_WCE) ?
			 c.writeback != 0 :
			 vio_drv_has(drv, VIRTIO_BLK_F_FLUSH);
	return VIO_OK;
}

int vio_blkdrv_set_writeback(struct vio_blkdrv *blk, bool on)
{
	uint8_t mode = on;
	int err;

	if (!vio_drv_has(&blk->drv, VIRTIO_BLK_F_CONFIG_WCE))
		return VIO_E_UNSUPP;
	err = vio_drv_config_write(&blk->drv,
				   offsetof(struct virtio_blk_config,
					    writeback), &mode, 1);
	if (!err)
		blk->writeback = on;
	return err;
}

int vio_blkdrv_refresh(struct vio_blkdrv *blk)
{
	uint16_t unused;	/* the queues we made are those there are */

	return read_config(blk, &unused);
}

static void all_slots_free(struct vio_blkdrv_queue *q)
{
	uint16_t i;

	for (i = 0; i < q->vq.size; i++)
		q->free[i] = (uint16_t)(q->vq.size - 1 - i);
	q->nr_free = q->vq.size;
}

static int init_queue(struct vio_blkdrv *blk, uint16_t index,
		      const struct vio_vq_limits *limits,
		      struct vio_drv_mem *mem)
{
	struct vio_blkdrv_queue *q = &blk->queue[index];
	int err;

	err = vio_drv_queue(&blk->drv, index, &q->vq, limits, mem);
	if (err)
		return err;
	q->slot = vio_arena_take(&mem->shared,
				 q->vq.size * sizeof(*q->slot), LINE);
	q->free = vio_arena_take(&mem->priv, q->vq.size * sizeof(*q->free),
				 sizeof(*q->free));
	if (!q->slot || !q->free)
		return VIO_E_NOSPC;
	all_slots_free(q);
	return VIO_OK;
}

/*
 * Features, by what the disk is: blk.driver.device-initialization.6, no
 * DISCARD with host-managed zones; .8, no such disk without ZONED.
 */
static int settle(struct vio_blkdrv *blk, const struct vio_features *wanted)
{
	struct vio_features f = *wanted;
	struct vio_drv *drv = &blk->drv;
	uint8_t model = VIRTIO_BLK_Z_NONE;
	int err = VIO_OK;

	if (vio_drv_has(drv, VIRTIO_BLK_F_ZONED))
		err = vio_drv_config_read(drv,
			offsetof(struct virtio_blk_config, zoned.model),
			&model, 1);
	if (err)
		return err;
	if (model == VIRTIO_BLK_Z_HM) {
		if (!vio_has(wanted, VIRTIO_BLK_F_ZONED)) {
			vio_drv_give_up(drv);
			return VIO_E_UNSUPP;
		}
		vio_feature_clear(&f, VIRTIO_BLK_F_DISCARD);
	}
	return vio_drv_agree(drv, &f);
}

int vio_blkdrv_init(struct vio_blkdrv *blk, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits, unsigned queues,
		    struct vio_drv_mem *mem)
{
	uint16_t i;
	int err;

	memset(blk, 0, sizeof(*blk));
	err = vio_drv_meet(&blk->drv, bus, bus_ctx);
	if (!err)
		err = settle(blk, wanted);
	if (!err)
		err = read_config(blk, &blk->nr_queues);
	if (err)
		return err;
	if (blk->nr_queues > queues)
		blk->nr_queues = (uint16_t)queues;
	if (blk->nr_queues > VIO_BLKDRV_QUEUES)
		blk->nr_queues = VIO_BLKDRV_QUEUES;
	if (!blk->nr_queues)
		return VIO_E_INVAL;
	for (i = 0; i < blk->nr_queues; i++) {
		err = init_queue(blk, i, limits, mem);
		if (err)
			return err;
	}
	return vio_drv_ready(&blk->drv);
}

/* The range of a discard or write zeroes; the header's sector stays 0. */
static void fill_range(const struct vio_drv *drv,
		       struct vio_blkdrv_slot *s,
		       const struct vio_blkdrv_req *req)
{
	struct virtio_blk_discard_write_zeroes range = {
		vio_drv_to64(drv, req->sector),
		vio_drv_to32(drv, req->num_sectors),
		vio_drv_to32(drv, req->unmap ?
			     VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0),
	};

	s->range = range;
}

static bool has_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD ||
	       type == VIRTIO_BLK_T_WRITE_ZEROES ||
	       type == VIRTIO_BLK_T_SECURE_ERASE;
}

/* Does the device read the data of such a request? */
static bool is_write(uint32_t type)
{
	return type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_ZONE_APPEND;
}

static int add(struct vio_blkdrv_queue *q, struct vio_blkdrv_slot *s,
	       struct vio_blkdrv_req *req)
{
	struct vio_seg seg[VIO_BLKDRV_SEGS + 2];
	bool range = has_range(req->type);
	unsigned nr = 0, nr_read, i;

	seg[nr].base = &s->hdr;
	seg[nr++].len = sizeof(s->hdr);
	if (range) {
		seg[nr].base = &s->range;
		seg[nr++].len = sizeof(s->range);
	}
	for (i = 0; i < req->nr_seg; i++)
		seg[nr++] = req->seg[i];
	nr_read = is_write(req->type) || range ? nr : 1;
	if (req->type == VIRTIO_BLK_T_ZONE_APPEND) {
		seg[nr].base = &s->tail;
		seg[nr++].len = sizeof(s->tail);
	} else {
		seg[nr].base = &s->tail.status;
		seg[nr++].len = sizeof(s->tail.status);
	}
	return vio_vq_add(&q->vq, seg, nr_read, nr - nr_read, req);
}

int vio_blkdrv_submit(struct vio_blkdrv *blk, unsigned queue,
		      struct vio_blkdrv_req *req)
{
	struct virtio_blk_req_hdr hdr = {
		.type = vio_drv_to32(&blk->drv, req->type) };
	struct vio_blkdrv_queue *q;
	struct vio_blkdrv_slot *s;
	int err;

	if (queue >= blk->nr_queues)
		return VIO_E_INVAL;
	err = vio_blkdrv_check(blk, req);
	if (err)
		return err;
	q = &blk->queue[queue];
	if (!q->nr_free)
		return VIO_E_NOSPC;
	req->slot = q->free[q->nr_free - 1];
	s = &q->slot[req->slot];
	if (has_range(req->type))
		fill_range(&blk->drv, s, req);
	else
		hdr.sector = vio_drv_to64(&blk->drv, req->sector);
	s->hdr = hdr;
	s->tail.status = NOT_WRITTEN;
	err = add(q, s, req);
	if (!err)
		q->nr_free--;
	return err;
}

void vio_blkdrv_commit(struct vio_blkdrv *blk, unsigned queue)
{
	if (queue < blk->nr_queues)
		vio_drv_kick(&blk->drv, (uint16_t)queue,
			     &blk->queue[queue].vq);
}

static void finish(const struct vio_blkdrv *blk, struct vio_blkdrv_queue *q,
		   struct vio_blkdrv_req *req)
{
	const struct vio_blkdrv_slot *s = &q->slot[req->slot];
	uint8_t max = blk->zone_model == VIRTIO_BLK_Z_NONE ?
		      VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE;
	vio_le64 at;

	vio_copy_in(&req->status, &s->tail.status, 1);
	/* What is no status at all cannot have gone well. */
	if (req->status > max)
		req->status = VIRTIO_BLK_S_IOERR;
	if (req->type == VIRTIO_BLK_T_ZONE_APPEND) {
		vio_copy_in(&at, &s->tail.append_sector, sizeof(at));
		req->append_sector = vio_from_le64(at);
	}
	q->free[q->nr_free++] = req->slot;
}

/*
 * Take several at a time, before those taken last are all given out: the
 * device wrote their status just now, and each line of it takes a while to
 * come.
 */
static void gather(struct vio_blkdrv_queue *q)
{
	struct vio_used used[VIO_BLKDRV_READY];
	unsigned at = q->ready_first + q->ready_nr;
	unsigned n = vio_vq_get_many(&q->vq, used,
				     VIO_BLKDRV_READY - q->ready_nr);

	for (unsigned i = 0; i < n; i++, at++) {
		struct vio_blkdrv_req *req = used[i].token;

		req->used_len = used[i].len;
		vio_prefetch_write(&q->slot[req->slot]);
		q->ready[at % VIO_BLKDRV_READY] = req;
	}
	q->ready_nr = (uint16_t)(q->ready_nr + n);
}

/* Of those whose status is on its way. */
static struct vio_blkdrv_req *take_ready(struct vio_blkdrv_queue *q)
{
	struct vio_blkdrv_req *req = q->ready[q->ready_first];

	q->ready_first = (q->ready_first + 1) % VIO_BLKDRV_READY;
	q->ready_nr--;
	return req;
}

struct vio_blkdrv_req *vio_blkdrv_poll(struct vio_blkdrv *blk, unsigned queue)
{
	struct vio_blkdrv_queue *q = &blk->queue[queue];
	struct vio_blkdrv_req *req;

	if (!q->ready_nr || q->ready_nr == VIO_BLKDRV_READY / 2)
		gather(q);
	if (!q->ready_nr)
		return NULL;
	req = take_ready(q);
	finish(blk, q, req);
	return req;
}

int vio_blkdrv_sync(struct vio_blkdrv *blk, unsigned queue,
		    struct vio_blkdrv_req *req)
{
	struct vio_blkdrv_queue *q;
	uint32_t len;
	int err;

	err = vio_blkdrv_submit(blk, queue, req);
	if (err)
		return err;
	q = &blk->queue[queue];
	if (vio_drv_wait_used(&blk->drv, (uint16_t)queue, &q->vq, &len) != req)
		return VIO_E_IO;
	req->used_len = len;
	finish(blk, q, req);
	if (req->status == VIRTIO_BLK_S_OK)
		return VIO_OK;
	return req->status == VIRTIO_BLK_S_UNSUPP ? VIO_E_UNSUPP : VIO_E_IO;
}

/* A request that the caller has not got back, or NULL. */
static struct vio_blkdrv_req *take_lost(struct vio_blkdrv_queue *q)
{
	if (!q->ready_nr)
		return vio_vq_detach(&q->vq);
	return take_ready(q);
}

int vio_blkdrv_reset(struct vio_blkdrv *blk,
		     void (*lost)(void *ctx, struct vio_blkdrv_req *req),
		     void *ctx)
{
	struct vio_blkdrv_req *req;
	unsigned i;
	int err;

	err = vio_drv_reset(&blk->drv);
	if (err)
		return err;
	for (i = 0; i < blk->nr_queues; i++) {
		struct vio_blkdrv_queue *q = &blk->queue[i];

		while ((req = take_lost(q)))
			if (lost)
				lost(ctx, req);
		vio_vq_reset(&q->vq);
		all_slots_free(q);
	}
	return VIO_OK;
}
