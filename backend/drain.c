/* SPDX-License-Identifier: MIT */
/* How long to wait for storage that hangs. Knows no storage. */
#include "backend/drain.h"

#include "backend/blkdev.h"
#include "host/clock.h"
#include "host/log.h"

static atomic_uint limit_s = 30;
/* Which limit it is: who gave up under an earlier one may wait again. */
static atomic_uint limit_nr = 1;

void blkdev_drain_limit(unsigned seconds)
{
	if (atomic_exchange(&limit_s, seconds) != seconds)
		atomic_fetch_add(&limit_nr, 1);
}

uint64_t blkdev_drain_end(const struct blkdev_patience *p)
{
	bool over = atomic_load(&p->lost) == atomic_load(&limit_nr);

	return clock_ns() + (over ? 0 : atomic_load(&limit_s) * NS_PER_S);
}

void blkdev_drain_failed(struct blkdev_patience *p, unsigned left)
{
	unsigned nr = atomic_load(&limit_nr);

	if (atomic_exchange(&p->lost, nr) != nr)
		log_err("the storage does not finish %u requests within %u s: giving up waiting for it",
			left, atomic_load(&limit_s));
}
