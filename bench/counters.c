/* SPDX-License-Identifier: MIT */
#include "bench/counters.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	uint64_t event;
	const char *name;
} kind[COUNTERS] = {
	[COUNTER_CYCLES] = { PERF_COUNT_HW_CPU_CYCLES, "cycles" },
	[COUNTER_INSTRUCTIONS] = { PERF_COUNT_HW_INSTRUCTIONS,
				   "instructions" },
	[COUNTER_CACHE_MISSES] = { PERF_COUNT_HW_CACHE_MISSES,
				   "cache_misses" },
};

void counters_open(struct counters *c)
{
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct perf_event_attr attr = {
			.type = PERF_TYPE_HARDWARE, .size = sizeof(attr),
			.config = kind[i].event, .inherit = 1,
			.exclude_kernel = 1, .exclude_hv = 1,
			.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED |
				       PERF_FORMAT_TOTAL_TIME_RUNNING,
		};

		c->fd[i] = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1,
					PERF_FLAG_FD_CLOEXEC);
	}
}

void counters_print(struct counters *c, uint64_t each)
{
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct { uint64_t count, enabled, running; } v;

		printf(", \"%s\": ", kind[i].name);
		/* With more counters than there are, each runs a part of the
		 * time. */
		if (c->fd[i] >= 0 &&
		    read(c->fd[i], &v, sizeof(v)) == sizeof(v) && v.running)
			printf("%.2f", (double)v.count * (double)v.enabled /
			       (double)v.running / (double)each);
		else
			printf("null");
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	}
}
