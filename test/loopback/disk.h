/* SPDX-License-Identifier: MIT */
/*
 * A disk in memory that misbehaves on request: it finishes requests at once
 * or later, in any order, and fails some of them without touching anything.
 */
#ifndef TEST_LOOPBACK_DISK_H
#define TEST_LOOPBACK_DISK_H

#include <vireo/blk.h>

#include "vtest.h"

#define DISK_PENDING	1024

struct disk {
	unsigned char *data;
	uint64_t size;		/* bytes */
	struct vtest_rand rand;
	bool late;		/* finish when stepped, not when submitted */
	bool reorder;		/* in any order */
	unsigned fail_one_in;	/* 0: never */
	unsigned committed;	/* commits seen */
	unsigned flushes;
	struct vio_blk_io *pending[DISK_PENDING];
	unsigned nr_pending;
};

extern const struct vio_blk_backend_ops disk_ops;

void disk_init(struct disk *d, uint64_t size, uint64_t seed);
void disk_fini(struct disk *d);
/* Finish one request; false if there is none. */
bool disk_step(void *disk);

#endif
