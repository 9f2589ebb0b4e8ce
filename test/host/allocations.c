/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a daemon, it counts how often memory is asked for, in the
 * file that the environment names, and notes who asked last. What the C
 * library asks itself for does not come by here, save for a new thread.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test/host/allocations.h"

static struct allocations none;
static struct allocations *all = &none;

static void __attribute__((constructor)) open_count(void)
{
	const char *path = getenv("VIREO_ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	void *map = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sizeof(*all)))
		map = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
			   MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		all = map;
}

static void counted(void *caller)
{
	uint64_t n = __atomic_fetch_add(&all->count, 1, __ATOMIC_RELAXED);

	all->last[n % ALLOCATIONS_LAST] = (uintptr_t)caller;
}

/* The C library has these under a second name, for who replaces the first. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *old, size_t len);
void *__libc_memalign(size_t align, size_t len);

void *malloc(size_t len)
{
	counted(__builtin_return_address(0));
	return __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
	counted(__builtin_return_address(0));
	return __libc_calloc(n, len);
}

void *realloc(void *old, size_t len)
{
	counted(__builtin_return_address(0));
	return __libc_realloc(old, len);
}

void *aligned_alloc(size_t align, size_t len)
{
	counted(__builtin_return_address(0));
	return __libc_memalign(align, len);
}
