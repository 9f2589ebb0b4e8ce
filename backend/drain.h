/* SPDX-License-Identifier: MIT */
/* Private to back ends: waiting for what is in flight, but not for ever. */
#ifndef BACKEND_DRAIN_H
#define BACKEND_DRAIN_H

#include <stdatomic.h>
#include <stdint.h>

/* Of one disk; zeroed at first. */
struct blkdev_patience {
	atomic_uint lost;
};

/* Until when to wait, by clock_ns(); now, if this disk was given up. */
uint64_t blkdev_drain_end(const struct blkdev_patience *p);
/* It was not done by then; @left: requests. Says so, once. */
void blkdev_drain_failed(struct blkdev_patience *p, unsigned left);

#endif
