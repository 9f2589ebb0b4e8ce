/* SPDX-License-Identifier: MIT */
/*
 * So much a second, with a burst after a pause: a bucket, as one number, the
 * time at which all it gave out will have been earned. It may lie a burst
 * behind, no further. Knows no clock and no lock, and not what it counts.
 *
 * What is taken may cost more than there is: the next one waits the longer.
 * So nothing is too large, and the rate holds over time.
 */
#ifndef HOST_BUCKET_H
#define HOST_BUCKET_H

#include "host/clock.h"

struct bucket {
	uint64_t rate;		/* a second; 0: no limit */
	uint64_t burst_ns;	/* what so long a pause gives comes at once */
	uint64_t at_ns;
	uint64_t rest;		/* of the last division */
};

/* Empty from @now on. */
static inline void bucket_set(struct bucket *b, uint64_t rate,
			      uint64_t burst_ns, uint64_t now)
{
	*b = (struct bucket){ .rate = rate, .burst_ns = burst_ns,
			      .at_ns = now };
}

/* Nanoseconds until it has something to give; 0: now. */
static inline uint64_t bucket_wait(const struct bucket *b, uint64_t now)
{
	return b->rate && b->at_ns > now ? b->at_ns - now : 0;
}

/* How much it has to give; a bucket without a limit never ends. */
static inline uint64_t bucket_has(const struct bucket *b, uint64_t now)
{
	uint64_t ns = now > b->at_ns ? now - b->at_ns : 0;
	__uint128_t n;

	if (!b->rate)
		return UINT64_MAX;
	n = (__uint128_t)(ns < b->burst_ns ? ns : b->burst_ns) * b->rate /
	    NS_PER_S;
	return n < UINT64_MAX ? (uint64_t)n : UINT64_MAX;
}

/*
 * Returns for how many nanoseconds that was. What does not divide is kept, or
 * small costs would be rounded away.
 */
static inline uint64_t bucket_take(struct bucket *b, uint64_t now,
				   uint64_t cost)
{
	__uint128_t all;
	uint64_t ns;

	if (!b->rate)
		return 0;
	if (b->at_ns + b->burst_ns < now)
		b->at_ns = now - b->burst_ns;
	all = (__uint128_t)cost * NS_PER_S + b->rest;
	ns = (uint64_t)(all / b->rate);
	b->at_ns += ns;
	b->rest = (uint64_t)(all % b->rate);
	return ns;
}

#endif
