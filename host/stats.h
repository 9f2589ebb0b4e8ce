/* SPDX-License-Identifier: MIT */
/*
 * What a device did, as one JSON object in a file that is opened before the
 * sandbox closes and rewritten in place. Counters belong to one thread each
 * and are summed when they are written.
 */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * Counters of one queue. Only its thread writes; others may read at any
 * time, hence relaxed atomics. A cache line of its own.
 */
struct stats_queue {
	_Atomic uint64_t requests;
	_Atomic uint64_t bytes_read;
	_Atomic uint64_t bytes_written;
	_Atomic uint64_t errors;
} __attribute__((aligned(64)));

/* Add as the counter's only writer: no locked instruction is needed. */
static inline void stats_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed)
			      + n, memory_order_relaxed);
}

struct stats {
	int fd;				/* -1: nobody asked */
	const char *device;		/* "block" */
	const struct stats_queue *queues;
	unsigned queue_count;
	/* Names of negotiated features, ends with NULL; may change. */
	const char *const *features;
	uint64_t start_ns;
};

/* Open @path (NULL: keep quiet). 0, or -errno after an error line. */
int stats_open(struct stats *s, const char *path, const char *device);

/* Rewrite the file with the present sums. */
void stats_write(struct stats *s);

void stats_close(struct stats *s);

#endif
