/* SPDX-License-Identifier: MIT */
/*
 * What a zoned device is asked: how its zones stand, and whether it holds
 * already what a write brings that is sent again. What follows from the
 * answer is up to who asks; no zone changes here.
 */
#ifndef BACKEND_ZONES_ASK_H
#define BACKEND_ZONES_ASK_H

#include "backend/blkdev.h"
#include "backend/zones.h"

/*
 * Take over all states. @opened: who had the disk before may have died over
 * writes, so they are expected again. 0 or -EIO.
 */
int zones_ask_all(struct zones *z, struct blkdev *below, bool opened);

/* One write. */
struct zone_check {
	const struct vio_blk_io *write;
	uint64_t len;		/* bytes of it to compare, the first ones */
	int otherwise;		/* the result if the device holds others */
	/*
	 * @result: VIO_OK: they are there, and durable if the write asks for
	 * that; @otherwise; or an error of the device. On the queue's thread,
	 * perhaps before zones_check() returns.
	 */
	void (*done)(struct zone_check *c, int result);
	struct zone_check *next;
};

/*
 * Is this a write that may have been sent before? Then fill @c but for done,
 * for zones_check(). If not, it is one like others, for zones_begin().
 */
bool zones_check_wanted(struct zones *z, const struct vio_blk_io *write,
			struct zone_check *c);

/* A queue's, for one write after another; all the queue's thread's. */
struct zone_checker {
	struct blkdev *below;
	struct vio_blk_io io;
	struct vio_seg seg;
	unsigned char *data;	/* there since the first check */
	struct zone_check *first, *last;
	uint64_t pos;		/* bytes of the first that were compared */
	int result;
	bool waits;		/* for the device */
	bool flushed;
	bool running;
};

void zones_checker_init(struct zone_checker *k, struct blkdev *below,
			unsigned queue);
/* Nothing is being checked. */
void zones_checker_fini(struct zone_checker *k);
/* The caller commits the queue below. */
void zones_check(struct zone_checker *k, struct zone_check *c);

/*
 * Make @io, a copy of a write, the same without its first @skip bytes; fewer
 * than it has. Returns memory to free once it is done, or NULL.
 */
void *zones_cut(struct vio_blk_io *io, uint64_t skip);

#endif
