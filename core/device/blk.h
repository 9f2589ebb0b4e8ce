/* SPDX-License-Identifier: MIT */
/*
 * Private to the block device: a request under way, and what its parts
 * (blk.c dispatches and moves data, blk_range.c, blk_zoned.c, blk_config.c)
 * need of each other.
 */
#ifndef CORE_DEVICE_BLK_H
#define CORE_DEVICE_BLK_H

#include <vireo/blk.h>
#include <vireo/spec/virtio.h>
#include "core/base/mod.h"
#include "core/base/shared64.h"

#define SECTOR		VIRTIO_BLK_SECTOR_SIZE
#define HDR_LEN		((uint32_t)sizeof(struct virtio_blk_req_hdr))

/* A range of a discard, secure erase or write zeroes request, checked. */
struct blk_range {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

/* What a request needs while the back end has it. */
struct blk_req {
	struct vio_blk_io io;
	struct vio_blk *blk;
	struct vio_req *req;
	uint32_t status_off;	/* of the status byte, in the writable part */
	uint8_t next_range;
	uint8_t nr_ranges;
	struct blk_range range[VIO_BLK_RANGES_MAX];
};

typedef void blk_handler(struct blk_req *r, uint64_t sector);

static inline uint64_t blk_capacity(const struct vio_blk *blk)
{
	return vio_shared64_get(&blk->conf.capacity_sectors);
}

/* Counters have one writer, the queue's thread, and readers in any. */
#define BLK_COUNT(r, field, add)					\
	do {								\
		struct vio_blk_stats *st_ = (r)->blk->stats;		\
									\
		if (st_) {						\
			st_ += (r)->req->queue->index;			\
			vio_shared64_add(&st_->field, (add));		\
		}							\
	} while (0)

/*
 * Is [sector, sector + len) a piece of the disk? By subtraction: the sum may
 * wrap.
 */
static inline bool blk_in_disk(const struct vio_blk *blk, uint64_t sector,
			       uint64_t len)
{
	uint64_t cap = blk_capacity(blk);

	return len % SECTOR == 0 && sector <= cap &&
	       len / SECTOR <= cap - sector;
}

/*
 * blk.device.device-operation: a write is stable when it completes, unless
 * the cache is in writeback mode.
 */
static inline uint8_t blk_stable(const struct vio_blk *blk)
{
	return __atomic_load_n(&blk->config.writeback, __ATOMIC_RELAXED) ?
		       0 : VIO_BLK_FUA;
}

static inline void blk_submit(struct blk_req *r)
{
	r->blk->backend->submit(r->blk->backend_ctx, &r->io);
}

/* Among statuses: not begun, and not ours any more. */
#define BLK_LEFT	0xff

/* Finish the request with a VIRTIO_BLK_S_*, or leave it. */
void blk_answer(struct blk_req *r, uint8_t status);
/* The status that a back end's result means. */
uint8_t blk_status_of(const struct blk_req *r, int result);
void blk_prepare(struct blk_req *r, enum vio_blk_op op,
		 void (*done)(struct vio_blk_io *, int));
/* A done() that has nothing to add but the status. */
void blk_plain_done(struct vio_blk_io *io, int result);

/* blk_range.c */
blk_handler blk_discard, blk_write_zeroes, blk_secure_erase;

/* blk_zoned.c */
blk_handler blk_zone_report, blk_zone_open, blk_zone_close, blk_zone_finish,
	    blk_zone_reset, blk_zone_reset_all, blk_zone_append;

/* blk_config.c */
void blk_reset(struct vio_dev *dev);
int blk_check_features(struct vio_dev *dev, const struct vio_features *f);
void blk_features_ok(struct vio_dev *dev);
int blk_config_write(struct vio_dev *dev, uint32_t off, const void *src,
		     uint32_t len);
/* Does what the disk is said to be make sense? */
bool blk_conf_ok(const struct vio_blk_conf *conf,
		 const struct vio_blk_backend_ops *backend);
struct vio_features blk_features_of(const struct vio_blk_conf *conf);
void blk_fill_config(struct virtio_blk_config *c,
		     const struct vio_blk_conf *conf);

#endif
