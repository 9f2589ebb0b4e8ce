/* SPDX-License-Identifier: MIT */
/*
 * The block driver: requests become buffers of a virtqueue. Each request in
 * flight has a slot in shared memory for its header and status; which slots
 * are free is kept privately. Knows no bus and no ring layout.
 */
#include <vireo/driver_blk.h>

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
		VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_F_INDIRECT_DESC,
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

/* @queues: how many the device says it has. */
static int read_config(struct vio_blkdrv *blk, uint16_t *queues)
{
	struct vio_drv *drv = &blk->drv;
	struct virtio_blk_config c;
	int err;

	err = vio_drv_config_read(drv, 0, &c, offsetof(struct
				  virtio_blk_config,
				  max_secure_erase_sectors));
	if (err)
		return err;
	blk->capacity_sectors = vio_from_le64(c.capacity);
	blk->blk_size = VIRTIO_BLK_SECTOR_SIZE;
	blk->size_max = UINT32_MAX;
	blk->seg_max = 1;
	*queues = 1;
	/* core.driver.device-configuration-space.2: ask the feature first */
	if (vio_drv_has(drv, VIRTIO_BLK_F_BLK_SIZE))
		blk->blk_size = vio_from_le32(c.blk_size);
	if (vio_drv_has(drv, VIRTIO_BLK_F_SIZE_MAX))
		blk->size_max = vio_from_le32(c.size_max);
	if (vio_drv_has(drv, VIRTIO_BLK_F_SEG_MAX))
		blk->seg_max = vio_from_le32(c.seg_max);
	/* There are devices that offer a limit and leave it 0: none. */
	if (!blk->size_max)
		blk->size_max = UINT32_MAX;
	if (!blk->seg_max)
		blk->seg_max = 1;
	if (vio_drv_has(drv, VIRTIO_BLK_F_MQ))
		*queues = vio_from_le16(c.num_queues);
	if (vio_drv_has(drv, VIRTIO_BLK_F_DISCARD))
		blk->max_discard_sectors =
			vio_from_le32(c.max_discard_sectors);
	if (vio_drv_has(drv, VIRTIO_BLK_F_WRITE_ZEROES))
		blk->max_write_zeroes_sectors =
			vio_from_le32(c.max_write_zeroes_sectors);
	blk->read_only = vio_drv_has(drv, VIRTIO_BLK_F_RO);
	return VIO_OK;
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

int vio_blkdrv_init(struct vio_blkdrv *blk, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits, unsigned queues,
		    struct vio_drv_mem *mem)
{
	uint16_t i;
	int err;

	memset(blk, 0, sizeof(*blk));
	err = vio_drv_begin(&blk->drv, bus, bus_ctx, wanted);
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

/* May this request be sent, by what was agreed and what the disk is? */
static int check(const struct vio_blkdrv *blk,
		 const struct vio_blkdrv_req *req)
{
	const struct vio_drv *drv = &blk->drv;

	switch (req->type) {
	case VIRTIO_BLK_T_OUT:
		if (blk->read_only)
			return VIO_E_UNSUPP;
		return check_data(blk, req);
	case VIRTIO_BLK_T_IN:
		return check_data(blk, req);
	case VIRTIO_BLK_T_FLUSH:
		/* blk.driver.device-operation.4 and .5 */
		if (req->sector || req->nr_seg)
			return VIO_E_INVAL;
		return vio_drv_has(drv, VIRTIO_BLK_F_FLUSH) ? VIO_OK
							    : VIO_E_UNSUPP;
	case VIRTIO_BLK_T_DISCARD:
		/* blk.driver.device-operation.14 */
		if (!vio_drv_has(drv, VIRTIO_BLK_F_DISCARD))
			return VIO_E_UNSUPP;
		if (req->nr_seg || req->unmap)
			return VIO_E_INVAL;
		return check_range(blk, req, blk->max_discard_sectors);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!vio_drv_has(drv, VIRTIO_BLK_F_WRITE_ZEROES))
			return VIO_E_UNSUPP;
		if (req->nr_seg)
			return VIO_E_INVAL;
		return check_range(blk, req, blk->max_write_zeroes_sectors);
	case VIRTIO_BLK_T_GET_ID:
		/* blk.driver.device-operation.8 */
		if (req->nr_seg != 1 ||
		    req->seg[0].len != VIRTIO_BLK_ID_BYTES)
			return VIO_E_INVAL;
		return VIO_OK;
	default:
		return VIO_E_UNSUPP;
	}
}

/* The range of a discard or write zeroes; the header's sector stays 0. */
static void fill_range(struct vio_blkdrv_slot *s,
		       const struct vio_blkdrv_req *req)
{
	struct virtio_blk_discard_write_zeroes range = {
		vio_to_le64(req->sector), vio_to_le32(req->num_sectors),
		vio_to_le32(req->unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
				       : 0),
	};

	s->range = range;
}

static bool has_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD ||
	       type == VIRTIO_BLK_T_WRITE_ZEROES;
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
	nr_read = req->type == VIRTIO_BLK_T_OUT || range ? nr : 1;
	seg[nr].base = &s->status;
	seg[nr++].len = sizeof(s->status);
	return vio_vq_add(&q->vq, seg, nr_read, nr - nr_read, req);
}

int vio_blkdrv_submit(struct vio_blkdrv *blk, unsigned queue,
		      struct vio_blkdrv_req *req)
{
	struct virtio_blk_req_hdr hdr = { .type = vio_to_le32(req->type) };
	struct vio_blkdrv_queue *q;
	struct vio_blkdrv_slot *s;
	int err;

	if (queue >= blk->nr_queues)
		return VIO_E_INVAL;
	err = check(blk, req);
	if (err)
		return err;
	q = &blk->queue[queue];
	if (!q->nr_free)
		return VIO_E_NOSPC;
	req->slot = q->free[q->nr_free - 1];
	s = &q->slot[req->slot];
	if (has_range(req->type))
		fill_range(s, req);
	else
		hdr.sector = vio_to_le64(req->sector);
	s->hdr = hdr;
	s->status = NOT_WRITTEN;
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

static void finish(struct vio_blkdrv_queue *q, struct vio_blkdrv_req *req)
{
	vio_copy_in(&req->status, &q->slot[req->slot].status, 1);
	/* What is no status at all cannot have gone well. */
	if (req->status > VIRTIO_BLK_S_UNSUPP)
		req->status = VIRTIO_BLK_S_IOERR;
	q->free[q->nr_free++] = req->slot;
}

/*
 * Take several at a time: the device wrote their status just now, and each
 * line of it takes a while to come.
 */
static void gather(struct vio_blkdrv_queue *q)
{
	struct vio_blkdrv_req *req;
	uint32_t len;

	q->ready_first = 0;
	while (q->ready_nr < VIO_BLKDRV_READY) {
		req = vio_vq_get(&q->vq, &len);
		if (!req)
			return;
		req->used_len = len;
		vio_prefetch_write(&q->slot[req->slot]);
		q->ready[q->ready_nr++] = req;
	}
}

struct vio_blkdrv_req *vio_blkdrv_poll(struct vio_blkdrv *blk, unsigned queue)
{
	struct vio_blkdrv_queue *q = &blk->queue[queue];
	struct vio_blkdrv_req *req;

	if (!q->ready_nr)
		gather(q);
	if (!q->ready_nr)
		return NULL;
	req = q->ready[q->ready_first++];
	q->ready_nr--;
	finish(q, req);
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
	finish(q, req);
	if (req->status == VIRTIO_BLK_S_OK)
		return VIO_OK;
	return req->status == VIRTIO_BLK_S_UNSUPP ? VIO_E_UNSUPP : VIO_E_IO;
}

/* A request that the caller has not got back, or NULL. */
static struct vio_blkdrv_req *take_lost(struct vio_blkdrv_queue *q)
{
	if (!q->ready_nr)
		return vio_vq_detach(&q->vq);
	q->ready_nr--;
	return q->ready[q->ready_first++];
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
