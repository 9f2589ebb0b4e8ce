/* SPDX-License-Identifier: MIT */
/*
 * counters.h - what the processor counts of this program outside of the
 * kernel, in all its threads: cycles, instructions, misses of the last cache.
 * Many virtual machines have no such counters.
 */
#ifndef BENCH_COUNTERS_H
#define BENCH_COUNTERS_H

#include <stdint.h>

enum { COUNTER_CYCLES, COUNTER_INSTRUCTIONS, COUNTER_CACHE_MISSES,
       COUNTERS };

struct counters {
	int fd[COUNTERS];	/* -1: not counted here */
};

/* Before the threads begin that are to be counted. */
void counters_open(struct counters *c);
/*
 * After they were joined: what stands in a line of JSON for each counter,
 * @each of a count; null for what is not counted here.
 */
void counters_print(struct counters *c, uint64_t each);

#endif
