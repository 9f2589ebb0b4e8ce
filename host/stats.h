/* SPDX-License-Identifier: MIT */
/*
 * What a device did, as one JSON object in a file that is opened before the
 * sandbox closes and rewritten in place. Does not know who counts.
 */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <stdint.h>

struct stats_values {
	uint64_t requests;
	uint64_t bytes_read;		/* by the guest */
	uint64_t bytes_written;
	uint64_t errors;
};

struct stats {
	int fd;				/* -1: nobody asked */
	const char *device;		/* "block" */
	uint64_t start_ns;
};

/* Open @path (NULL: keep quiet). 0, or -errno after an error line. */
int stats_open(struct stats *s, const char *path, const char *device);

/*
 * Rewrite the file. @features: names of the negotiated features, ends with
 * NULL.
 */
void stats_write(struct stats *s, const struct stats_values *v,
		 const char *const *features);

void stats_close(struct stats *s);

#endif
