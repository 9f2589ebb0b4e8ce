/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a daemon that does its I/O inline (--aio=inline), it keeps a
 * record of what reached the image in which order, in the file that the
 * environment names: durability.py makes of it what a power failure may leave.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITTEN = 1, ZEROED, SYNCED };

static int record = -1;

struct entry {
	uint64_t what, at, len;		/* for WRITTEN the bytes follow */
};

static void __attribute__((constructor)) open_record(void)
{
	const char *path = getenv("VIREO_WRITES");

	if (path)
		record = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);
}

/* In one call: who is killed here leaves all of it or its beginning. */
static void add(uint64_t what, off_t at, uint64_t len, const struct iovec *v,
		int nr)
{
	struct entry e = { what, (uint64_t)at, len };
	struct iovec all[1025] = { { &e, sizeof(e) } };

	if (nr > 1024)
		abort();
	for (int i = 0; i < nr; i++)
		all[i + 1] = v[i];
	if (writev(record, all, nr + 1) < (ssize_t)sizeof(e))
		abort();
}

ssize_t pwritev2(int fd, const struct iovec *v, int nr, off_t at, int flags)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t, int);
	ssize_t n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwritev2");
	n = real(fd, v, nr, at, flags);
	if (n > 0)
		add(WRITTEN, at, (uint64_t)n, v, nr);
	return n;
}

ssize_t pwritev(int fd, const struct iovec *v, int nr, off_t at)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t);
	ssize_t n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwritev");
	n = real(fd, v, nr, at);
	if (n > 0)
		add(WRITTEN, at, (uint64_t)n, v, nr);
	return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	struct iovec v = { (void *)(uintptr_t)bytes, len };
	ssize_t n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	n = real(fd, bytes, len, at);
	if (n > 0)
		add(WRITTEN, at, (uint64_t)n, &v, 1);
	return n;
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	static int (*real)(int, int, off_t, off_t);
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fallocate");
	rc = real(fd, mode, at, len);
	if (!rc && mode)
		add(ZEROED, at, (uint64_t)len, NULL, 0);
	return rc;
}

int fdatasync(int fd)
{
	static int (*real)(int);
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	rc = real(fd);
	if (!rc)
		add(SYNCED, 0, 0, NULL, 0);
	return rc;
}
