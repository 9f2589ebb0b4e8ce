/* SPDX-License-Identifier: MIT */
/* The statistics file: see stats.h. */
#include "host/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/log.h"

int stats_open(struct stats *s, const char *path, const char *device)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	s->device = device;
	s->start_ns = clock_ns();
	if (!path)
		return 0;
	s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (s->fd < 0) {
		log_err("--stats-file: %s: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

static void sum(const struct stats *s, struct stats_queue *total)
{
	unsigned i;

	memset(total, 0, sizeof(*total));
	for (i = 0; i < s->queue_count; i++) {
		const struct stats_queue *q = &s->queues[i];

		stats_add(&total->requests, q->requests);
		stats_add(&total->bytes_read, q->bytes_read);
		stats_add(&total->bytes_written, q->bytes_written);
		stats_add(&total->errors, q->errors);
	}
}

static size_t format(const struct stats *s, char *buf, size_t size)
{
	uint64_t ns = clock_ns() - s->start_ns;
	struct stats_queue t;
	size_t n;
	unsigned i;

	sum(s, &t);
	n = (size_t)snprintf(buf, size, "{\"device\":\"%s\",\"features\":[",
			     s->device);
	for (i = 0; s->features && s->features[i] && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s\"%s\"",
				      i ? "," : "", s->features[i]);
	if (n < size)
		n += (size_t)snprintf(buf + n, size - n,
			"],\"requests\":%" PRIu64 ",\"bytes_read\":%" PRIu64
			",\"bytes_written\":%" PRIu64 ",\"errors\":%" PRIu64
			",\"seconds\":%" PRIu64 ".%03" PRIu64 "}\n",
			t.requests, t.bytes_read, t.bytes_written, t.errors,
			(uint64_t)(ns / NS_PER_S),
			(uint64_t)(ns % NS_PER_S / NS_PER_MS));
	return n < size ? n : 0;
}

void stats_write(struct stats *s)
{
	char buf[8192];
	size_t n;

	if (s->fd < 0)
		return;
	n = format(s, buf, sizeof(buf));
	if (!n || pwrite(s->fd, buf, n, 0) != (ssize_t)n ||
	    ftruncate(s->fd, (off_t)n))
		log_warn("cannot write the statistics file: %s",
			 n ? strerror(errno) : "too many features");
}

void stats_close(struct stats *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
