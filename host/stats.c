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

static size_t format(const struct stats *s, const struct stats_values *v,
		     const char *const *features, char *buf, size_t size)
{
	uint64_t ns = clock_ns() - s->start_ns;
	size_t n;
	unsigned i;

	n = (size_t)snprintf(buf, size, "{\"device\":\"%s\",\"features\":[",
			     s->device);
	for (i = 0; features[i] && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s\"%s\"",
				      i ? "," : "", features[i]);
	if (n < size)
		n += (size_t)snprintf(buf + n, size - n,
			"],\"requests\":%" PRIu64 ",\"bytes_read\":%" PRIu64
			",\"bytes_written\":%" PRIu64 ",\"errors\":%" PRIu64
			",\"seconds\":%" PRIu64 ".%03" PRIu64 "}\n",
			v->requests, v->bytes_read, v->bytes_written,
			v->errors, (uint64_t)(ns / NS_PER_S),
			(uint64_t)(ns % NS_PER_S / NS_PER_MS));
	return n < size ? n : 0;
}

void stats_write(struct stats *s, const struct stats_values *v,
		 const char *const *features)
{
	char buf[8192];
	size_t n;

	if (s->fd < 0)
		return;
	n = format(s, v, features, buf, sizeof(buf));
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
