/* SPDX-License-Identifier: MIT */
/* The statistics file: sums, format, rewriting in place. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/stats.h"
#include "vtest.h"

static void slurp(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n;

	CHECK(f != NULL);
	n = fread(buf, 1, size - 1, f);
	buf[n] = 0;
	fclose(f);
}

TEST("the file holds the values, and is rewritten in place", "")
{
	static const char *const long_list[] = { "VIRTIO_BLK_F_FLUSH",
						 "VIRTIO_BLK_F_RO", NULL };
	static const char *const none[] = { NULL };
	char path[] = "/tmp/vireo-stats.XXXXXX", got[512], *tail;
	struct stats_values v = { .requests = 7, .bytes_read = 4096,
				  .bytes_written = 512, .errors = 1 };
	struct stats s;
	int fd = mkstemp(path);

	CHECK_GE(fd, 0);
	close(fd);
	CHECK_EQ(stats_open(&s, path, "block"), 0);
	stats_write(&s, &v, long_list);
	slurp(path, got, sizeof(got));
	tail = strstr(got, "\"seconds\":");
	CHECK(tail != NULL);
	*tail = 0;
	CHECK_STREQ(got, "{\"device\":\"block\",\"features\":["
		    "\"VIRTIO_BLK_F_FLUSH\",\"VIRTIO_BLK_F_RO\"],"
		    "\"requests\":7,\"bytes_read\":4096,"
		    "\"bytes_written\":512,\"errors\":1,");
	/* Shorter than before: nothing of the old text may remain. */
	stats_write(&s, &v, none);
	slurp(path, got, sizeof(got));
	CHECK(strstr(got, "\"features\":[],") != NULL);
	CHECK_EQ(strcspn(got, "\n") + 1, strlen(got));
	stats_close(&s);
	unlink(path);
}

TEST("a path that cannot be written is an error, no path is none", "")
{
	static const char *const none[] = { NULL };
	struct stats_values v = { 0 };
	struct stats s;

	CHECK_EQ(stats_open(&s, "/nonexistent/x", "block"), -ENOENT);
	CHECK_EQ(stats_open(&s, NULL, "block"), 0);
	stats_write(&s, &v, none);
	stats_close(&s);
}
