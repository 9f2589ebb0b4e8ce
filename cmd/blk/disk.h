/* SPDX-License-Identifier: MIT */
/* vireo-blk's disk: from the command line to a back end. */
#ifndef CMD_BLK_DISK_H
#define CMD_BLK_DISK_H

#include "backend/blkdev.h"
#include "host/opt.h"

struct disk_opt {
	const char *file, *serial, *lifetime;
	unsigned kind, aio, num_queues, queue_size, threads, drain_s;
	unsigned zoned, conventional, max_open, max_active;
	uint64_t size, zone_size, zone_capacity;
	bool read_only, no_lock, direct, in_order, secure_erase;
	struct blkdev_limits limits;
};

extern struct disk_opt disk_opt;
extern const struct opt disk_options[];

/*
 * Do the options go together? @inherits: the disk is taken over from a
 * program that uses it. 0, or -EINVAL after an error line.
 */
int disk_check_options(bool inherits);

/*
 * Open the disk; what was opened of it stands in *disk even after an error.
 * @may_change: blkdev_throttle_set() shall work. @shared: without a lock, for
 * another program still has it; disk_lock() comes later. 0 or -errno.
 */
int disk_open(struct blkdev **disk, bool may_change, bool shared);
int disk_lock(void);

/* "ops=1000": into disk_opt.limits. 0 or -errno. */
int disk_limit(const char *word);

#endif
