/* SPDX-License-Identifier: MIT */
/* vireo-blk's disk: from the command line to a back end. */
#ifndef CMD_BLK_DISK_H
#define CMD_BLK_DISK_H

#include "backend/blkdev.h"
#include "host/opt.h"

/* Of one disk. */
struct disk_opt {
	const char *file, *serial, *lifetime;
	const char *nbd, *tls_certificates, *tls_psk;
	unsigned reconnect_s;
	unsigned kind, aio, fixed, num_queues, queue_size, drain_s;
	unsigned zoned, conventional, max_open, max_active;
	uint64_t size, zone_size, zone_capacity;
	bool read_only, no_lock, direct, buffered, hugepages;
	bool sqpoll, iopoll;
	bool in_order, secure_erase, latency;
	struct blkdev_limits limits;
	bool live;	/* no option: others are served meanwhile */
};

extern struct disk_opt disk_opt;	/* what disk_options write to */
extern const struct opt disk_options[];

/*
 * Do the options go together? @inherits: the disk is taken over from a
 * program that uses it. 0, or -EINVAL after an error line.
 */
int disk_check_options(const struct disk_opt *o, bool inherits);

/* Does its back end, now and later, get on with local sockets, in the clear? */
bool disk_is_local(const struct disk_opt *o);

/* A disk, and what lies at its bottom; whoever is on top of it owns it. */
struct disk {
	struct blkdev *top, *bottom;
	struct blkdev *zoned;	/* makes zones; between them, or NULL */
	struct blkdev *latency;	/* likewise, above it */
};

/*
 * Open it; what was opened stands in disk->top even after an error.
 * @may_change: blkdev_throttle_set() shall work. @shared: without a lock, for
 * another program still has it; disk_lock() comes later. 0 or -errno.
 */
int disk_open(struct disk *disk, const struct disk_opt *o, bool may_change,
	      bool shared);
int disk_lock(const struct disk *disk, const struct disk_opt *o);

/* "ops=1000": into @limits. 0 or -errno. */
int disk_limit(struct blkdev_limits *limits, const char *word);

#endif
