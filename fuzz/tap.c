/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a record of vireo tap. Input: a file. What can be read can be
 * printed, and written and read again with the same result.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/tapfile.h"

static void check_event(FILE *null, const struct tap_event *e)
{
	static unsigned char one[TAP_BYTES_MAX], two[TAP_BYTES_MAX];
	static struct tap_event again;
	size_t len = tap_encode(e, one);

	tap_print(null, e, 0);
	if (len > TAP_BYTES_MAX || !tap_decode(&again, one, len) ||
	    tap_encode(&again, two) != len || memcmp(one, two, len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tap_event e;
	static FILE *null;
	struct tap_reader r;
	char path[64];
	int fd = memfd_create("tap", MFD_CLOEXEC);

	if (!null)
		null = fopen("/dev/null", "w");
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!tap_reader_open(&r, path)) {
		while (tap_reader_next(&r, &e) > 0)
			check_event(null, &e);
		tap_reader_close(&r);
	}
	close(fd);
	return 0;
}
