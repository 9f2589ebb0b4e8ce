/* SPDX-License-Identifier: MIT */
/*
 * vireo/blk.h - the block device (standard: 5.2) and the door to its storage.
 *
 * The device checks requests and answers them; a back end moves the bytes. A
 * back end never sees a ring, a guest address or a request type.
 */
#ifndef VIREO_BLK_H
#define VIREO_BLK_H

#include <vireo/dev.h>
#include <vireo/spec/blk.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vio_blk_op {
	VIO_BLK_READ,
	VIO_BLK_WRITE,
	VIO_BLK_FLUSH,		/* all completed writes become durable */
	VIO_BLK_DISCARD,	/* contents become undefined */
	VIO_BLK_WRITE_ZEROES,
	VIO_BLK_SECURE_ERASE,	/* nobody will read it again, ever */
	/*
	 * Zoned disks. Of one zone: offset is its start, len 0. Reset all: of
	 * none. Append: offset is the zone's start; when done, where the data
	 * lie.
	 */
	VIO_BLK_ZONE_OPEN,
	VIO_BLK_ZONE_CLOSE,
	VIO_BLK_ZONE_FINISH,
	VIO_BLK_ZONE_RESET,
	VIO_BLK_ZONE_RESET_ALL,
	VIO_BLK_ZONE_APPEND,
	VIO_BLK_OPS
};

enum vio_blk_io_flags {
	/* durable before done: write, write zeroes, append */
	VIO_BLK_FUA	= 1,
	VIO_BLK_UNMAP	= 2,	/* write zeroes may deallocate */
};

/*
 * One transfer. Made by the device, owned by the back end from submit until
 * it calls done() exactly once, on the queue's thread, perhaps before submit
 * returns.
 */
struct vio_blk_io {
	uint8_t op;		/* enum vio_blk_op */
	uint8_t flags;		/* enum vio_blk_io_flags */
	uint16_t nr_seg;
	uint16_t queue;		/* index of the queue it came from */
	/* of read, write, append: len bytes */
	const struct vio_seg *seg;
	uint64_t offset;	/* bytes, a multiple of 512 */
	uint64_t len;		/* bytes, a multiple of 512 */
	/* @result: VIO_OK, VIO_E_IO, VIO_E_UNSUPP, and of a zoned disk a
	 * VIRTIO_BLK_S_ZONE_*; VIO_E_AGAIN: see leave */
	void (*done)(struct vio_blk_io *io, int result);

	uint64_t scratch[4];	/* the back end's own */
};

/* A zone, in sectors of 512 bytes. */
struct vio_blk_zone {
	uint64_t start;
	uint64_t capacity;	/* that can be written, from the start on */
	uint64_t wp;		/* of states that have a write pointer */
	uint8_t type;		/* VIRTIO_BLK_ZT_* */
	uint8_t state;		/* VIRTIO_BLK_ZS_* */
};

/* How worn the storage is: the numbers of JESD84-B50, 0 for unknown. */
struct vio_blk_wear {
	uint8_t pre_eol;	/* VIRTIO_BLK_PRE_EOL_INFO_* */
	uint8_t slc, mlc;	/* tenths of the lifetime, begun; 11: over */
};

/* Storage. All methods are called on the thread of the queue given. */
struct vio_blk_backend_ops {
	/* Take over @io. Ranges are inside the capacity, and writes never
	 * come when the device is read-only; check both all the same. */
	void (*submit)(void *backend, struct vio_blk_io *io);
	/* A batch ends: whatever was submitted on @queue must start now. */
	void (*commit)(void *backend, unsigned queue);
	/* Wait until nothing submitted on @queue is left undone; done() is
	 * called from within. NULL: submit always finishes at once. */
	void (*drain)(void *backend, unsigned queue);
	/*
	 * Give back what was submitted on @queue and not begun, and will not
	 * be, each with VIO_E_AGAIN: another process does it. Nothing of it
	 * may reach the storage any more. The same goes for what drain, which
	 * follows, finds not begun. NULL: all is begun when it is submitted.
	 */
	void (*leave)(void *backend, unsigned queue);
	/*
	 * Tell of the zones from the one that holds @sector on, at most @max.
	 * Returns how many; 0 past the end, and when it cannot tell. Any
	 * queue's thread. NULL where the disk has no zones.
	 */
	unsigned (*zone_report)(void *backend, uint64_t sector,
				struct vio_blk_zone *zone, unsigned max);
	/* VIO_OK or VIO_E_IO. Any queue's thread. NULL: cannot tell. */
	int (*wear)(void *backend, struct vio_blk_wear *wear);
};

/* Zones, all alike but for the last, which may be smaller. */
struct vio_blk_zones {
	uint8_t model;			/* VIRTIO_BLK_Z_* */
	uint32_t zone_sectors;
	uint32_t max_open, max_active;	/* 0: no limit */
	uint32_t max_append_sectors;	/* 0: no append */
	uint32_t write_granularity;	/* bytes */
};

/* What the disk is like. Zero means: no limit, or not offered. */
struct vio_blk_conf {
	uint64_t capacity_sectors;	/* of 512 bytes */
	uint32_t blk_size;		/* bytes; 512 if 0 */
	uint32_t size_max;		/* bytes in one segment */
	uint32_t seg_max;		/* data segments in one request */
	uint16_t num_queues;		/* 1 if 0; MQ is offered above 1 */
	bool read_only;
	bool no_flush;			/* do not offer FLUSH, CONFIG_WCE */
	bool writethrough;		/* cache mode after reset */
	bool in_order;			/* offer IN_ORDER: a slow request holds
					 * up those behind it */
	struct virtio_blk_geometry geometry;	/* offered if cylinders */
	bool topology;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_blocks;
	uint32_t opt_io_blocks;
	uint32_t max_discard_sectors;	/* DISCARD is offered if not 0 */
	uint32_t max_discard_seg;	/* at most VIO_BLK_RANGES_MAX */
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;	/* WRITE_ZEROES likewise */
	uint32_t max_write_zeroes_seg;
	bool write_zeroes_may_unmap;
	uint32_t max_secure_erase_sectors;	/* SECURE_ERASE likewise */
	uint32_t max_secure_erase_seg;
	uint32_t secure_erase_sector_alignment;
	bool lifetime;			/* offered; needs ops->wear */
	/* Offer ZONED. Host-managed disks have neither DISCARD nor
	 * WRITE_ZEROES. */
	bool zoned;
	struct vio_blk_zones zones;
	char serial[VIRTIO_BLK_ID_BYTES];	/* NUL-padded, no terminator */
};

/* Ranges that one discard, secure erase or write zeroes may name. */
#define VIO_BLK_RANGES_MAX	16

struct vio_blk_stats {
	uint64_t reads, writes, flushes, others, errors;
	uint64_t bytes_read, bytes_written;
};

struct vio_blk {
	struct vio_dev dev;
	struct vio_blk_conf conf;
	struct virtio_blk_config config;
	const struct vio_blk_backend_ops *backend;
	void *backend_ctx;
	struct vio_blk_stats *stats;	/* one a queue, or NULL */
};

/* Context that each request of a block queue needs, for vio_queue_limits. */
extern const uint16_t vio_blk_ctx_size;

/*
 * vio_blk_init() - make a block device. @queue are conf->num_queues queues
 * that the caller has initialised with ctx_size = vio_blk_ctx_size. @stats is
 * an array of as many, cleared, or NULL. Returns VIO_OK or VIO_E_INVAL.
 */
int vio_blk_init(struct vio_blk *blk, const struct vio_blk_conf *conf,
		 struct vio_queue *queue,
		 const struct vio_blk_backend_ops *backend, void *backend_ctx,
		 struct vio_blk_stats *stats);

/*
 * vio_blk_resize() - the capacity changed; the driver is told. Requests past
 * the new end fail from now on. Control thread.
 */
void vio_blk_resize(struct vio_blk *blk, uint64_t capacity_sectors);

#ifdef __cplusplus
}
#endif
#endif
