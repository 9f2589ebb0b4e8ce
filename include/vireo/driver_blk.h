/* SPDX-License-Identifier: MIT */
/*
 * vireo/driver_blk.h - the block device's driver (standard: 5.2).
 *
 * Requests are submitted and polled for, queue by queue; vio_blkdrv_sync()
 * does one and waits. A status that the device did not write is an error.
 *
 * Zoned disks: the driver holds requests to what the configuration says of
 * all zones. It keeps no table of them: write_granularity is asked of every
 * write, and where the write pointers are is the caller's to know.
 */
#ifndef VIREO_DRIVER_BLK_H
#define VIREO_DRIVER_BLK_H

#include <vireo/driver.h>
#include <vireo/spec/blk.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIO_BLKDRV_SEGS		126	/* data segments of one request */
#define VIO_BLKDRV_QUEUES	16

/* One request: the caller's, in private memory, kept until it is polled. */
struct vio_blkdrv_req {
	uint32_t type;			/* VIRTIO_BLK_T_* */
	uint32_t nr_seg;
	uint64_t sector;
	/*
	 * Data, in the window: of IN, OUT, GET_ID, GET_LIFETIME, ZONE_REPORT,
	 * ZONE_APPEND.
	 */
	const struct vio_seg *seg;
	uint32_t num_sectors;	/* DISCARD, WRITE_ZEROES, SECURE_ERASE */
	bool unmap;			/* WRITE_ZEROES */
	uint8_t status;			/* out: VIRTIO_BLK_S_* */
	uint32_t used_len;		/* out: as the device says */
	uint64_t append_sector;		/* out: where an append went */
	uint16_t slot;			/* the driver's */
	void *user;			/* the caller's */
};

/* What the device sees of a request beside its data: one cache line. */
struct vio_blkdrv_slot {
	struct virtio_blk_req_hdr hdr;
	struct virtio_blk_discard_write_zeroes range;
	struct virtio_blk_za_tail tail;	/* only an append has all of it */
	uint8_t pad[23];
};

VIO_STATIC_ASSERT(sizeof(struct vio_blkdrv_slot) == 64, "one cache line");

#define VIO_BLKDRV_READY	16	/* a power of two */

struct vio_blkdrv_queue {
	struct vio_vq vq;
	struct vio_blkdrv_slot *slot;
	uint16_t *free;			/* stack of free slots */
	uint16_t nr_free;
	/* Used, their status on the way, not given to the caller yet. */
	uint16_t ready_first;
	uint16_t ready_nr;
	struct vio_blkdrv_req *ready[VIO_BLKDRV_READY];
};

struct vio_blkdrv {
	struct vio_drv drv;
	uint64_t capacity_sectors;
	uint32_t blk_size;		/* bytes */
	uint32_t size_max;		/* bytes in a segment */
	uint32_t seg_max;		/* data segments in a request */
	uint32_t max_discard_sectors;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_secure_erase_sectors;
	/* All 0, model VIRTIO_BLK_Z_NONE, where ZONED was not agreed on. */
	uint8_t zone_model;
	uint32_t zone_sectors;
	uint32_t max_open_zones, max_active_zones;	/* 0: no limit */
	uint32_t max_append_sectors;
	uint32_t write_granularity;	/* bytes */
	uint16_t nr_queues;
	bool read_only;
	bool writeback;		/* a completed write waits for a flush */
	struct vio_blkdrv_queue queue[VIO_BLKDRV_QUEUES];
};

/* The features this driver can use, ring features included. */
struct vio_features vio_blkdrv_features(void);

/* Bytes that a driver of @queues queues takes from either arena. */
size_t vio_blkdrv_shared_size(const struct vio_vq_limits *limits,
			      unsigned queues);
size_t vio_blkdrv_private_size(const struct vio_vq_limits *limits,
			       unsigned queues);

/*
 * vio_blkdrv_init() - bring a device up.
 * @wanted: at most vio_blkdrv_features()
 * @queues: how many are wanted; drv->nr_queues says how many there are
 */
int vio_blkdrv_init(struct vio_blkdrv *blk, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits, unsigned queues,
		    struct vio_drv_mem *mem);

/*
 * Switch the cache: off, each write is stable when it completes; those that
 * completed before still need a flush. VIO_E_UNSUPP without CONFIG_WCE.
 */
int vio_blkdrv_set_writeback(struct vio_blkdrv *blk, bool on);

/* Read what the configuration says, after it changed. */
int vio_blkdrv_refresh(struct vio_blkdrv *blk);

/*
 * vio_blkdrv_submit() - add a request to a queue; the device sees it after
 * vio_blkdrv_commit(). Returns VIO_OK; VIO_E_NOSPC when the queue is full;
 * VIO_E_UNSUPP for a type whose feature was not agreed on; VIO_E_RANGE for
 * sectors past the end or memory out of the window; VIO_E_INVAL.
 */
int vio_blkdrv_submit(struct vio_blkdrv *blk, unsigned queue,
		      struct vio_blkdrv_req *req);
void vio_blkdrv_commit(struct vio_blkdrv *blk, unsigned queue);

/*
 * vio_blkdrv_poll() - a request that is finished, with its status, or NULL.
 * NULL for ever once blk->queue[queue].vq.broken.
 */
struct vio_blkdrv_req *vio_blkdrv_poll(struct vio_blkdrv *blk,
				       unsigned queue);

/*
 * vio_blkdrv_sync() - submit, wait, done. Only on a queue that has nothing
 * else in flight. Returns VIO_OK, VIO_E_UNSUPP, VIO_E_IO by the status, or
 * as vio_blkdrv_submit().
 */
int vio_blkdrv_sync(struct vio_blkdrv *blk, unsigned queue,
		    struct vio_blkdrv_req *req);

/*
 * vio_blkdrv_reset() - reset the device. The requests in flight are given to
 * @lost, if any, once each; their data may have been transferred or not.
 */
int vio_blkdrv_reset(struct vio_blkdrv *blk,
		     void (*lost)(void *ctx, struct vio_blkdrv_req *req),
		     void *ctx);

#ifdef __cplusplus
}
#endif
#endif
