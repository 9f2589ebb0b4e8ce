/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a daemon, it makes writing slow, as on a disk that is far
 * away: whoever dies at any moment dies with writes under way.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_MS	15
#define FLUSH_MS	40

static void later(int ms)
{
	poll(NULL, 0, ms);
}

ssize_t pwritev2(int fd, const struct iovec *v, int nr, off_t at, int flags)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t, int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwritev2");
	later(WRITE_MS);
	return real(fd, v, nr, at, flags);
}

ssize_t pwritev(int fd, const struct iovec *v, int nr, off_t at)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwritev");
	later(WRITE_MS);
	return real(fd, v, nr, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	later(WRITE_MS);
	return real(fd, bytes, len, at);
}

int fdatasync(int fd)
{
	static int (*real)(int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	later(FLUSH_MS);
	return real(fd);
}
