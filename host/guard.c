/* SPDX-License-Identifier: MIT */
/*
 * The SIGBUS handler and its table. The handler runs on the faulting thread
 * at any point, so it takes no lock: entries are atomics, and an entry
 * counts once its base is set, which happens last.
 */
#include "host/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard_region {
	atomic_uintptr_t base;		/* 0: free */
	atomic_size_t len;
	_Atomic(atomic_bool *) lost;
	atomic_int event_fd;
};

static struct guard_region regions[GUARD_REGIONS];
static atomic_uint region_end;	/* entries at and above were never used */
static pthread_mutex_t region_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

static struct guard_region *find(uintptr_t addr)
{
	unsigned i, end = atomic_load(&region_end);

	for (i = 0; i < end; i++) {
		uintptr_t base = atomic_load(&regions[i].base);

		if (base && addr >= base &&
		    addr - base < atomic_load(&regions[i].len))
			return &regions[i];
	}
	return NULL;
}

static bool replace(struct guard_region *r)
{
	void *base = (void *)atomic_load(&r->base), *p;
	atomic_bool *lost = atomic_load(&r->lost);
	int fd = atomic_load(&r->event_fd);
	uint64_t one = 1;

	p = mmap(base, atomic_load(&r->len), PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return false;
	atomic_store(lost, true);
	/* The flag stands even if nobody can be woken. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return true;
	return true;
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	struct guard_region *r = find((uintptr_t)info->si_addr);
	int saved = errno;

	if (r && replace(r)) {
		errno = saved;
		return;
	}
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, context);
		return;
	}
	/* Not ours: the access faults again, now with the old action. */
	sigaction(SIGBUS, &previous, NULL);
}

int guard_init(void)
{
	struct sigaction sa = {
		.sa_sigaction = on_bus,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	int rc = 0;

	pthread_mutex_lock(&region_lock);
	if (!installed && sigaction(SIGBUS, &sa, &previous))
		rc = -errno;
	else
		installed = true;
	pthread_mutex_unlock(&region_lock);
	return rc;
}

int guard_add(void *base, size_t len, atomic_bool *lost, int event_fd)
{
	unsigned i, end;
	int rc = -ENOSPC;

	pthread_mutex_lock(&region_lock);
	end = atomic_load(&region_end);
	for (i = 0; i < GUARD_REGIONS; i++) {
		if (atomic_load(&regions[i].base))
			continue;
		atomic_store(&regions[i].len, len);
		atomic_store(&regions[i].lost, lost);
		atomic_store(&regions[i].event_fd, event_fd);
		atomic_store(&regions[i].base, (uintptr_t)base);
		if (i >= end)
			atomic_store(&region_end, i + 1);
		rc = 0;
		break;
	}
	pthread_mutex_unlock(&region_lock);
	return rc;
}

void guard_del(void *base)
{
	unsigned i;

	pthread_mutex_lock(&region_lock);
	for (i = 0; i < GUARD_REGIONS; i++)
		if (atomic_load(&regions[i].base) == (uintptr_t)base) {
			atomic_store(&regions[i].base, 0);
			break;
		}
	pthread_mutex_unlock(&region_lock);
}
