/* SPDX-License-Identifier: MIT */
/*
 * Memory that can disappear: whoever shares a file with us may truncate it,
 * and the next access raises SIGBUS. The guard replaces a registered region
 * by anonymous zero pages when that happens, sets the owner's flag and wakes
 * its event fd, so that the thread goes on and the owner ends the session.
 *
 * Works from any thread. Knows nothing of what lies in the memory. A fault
 * outside all regions is passed to the handler that was there before.
 */
#ifndef HOST_GUARD_H
#define HOST_GUARD_H

#include <stdatomic.h>
#include <stddef.h>

/* Of some thirty front ends that have as many regions as there can be. */
enum { GUARD_REGIONS = 16384 };

/* Install the handler, once for the process. Returns 0 or -errno. */
int guard_init(void);

/*
 * Watch @len bytes at @base, a whole mapping. *@lost becomes true and
 * @event_fd (an eventfd, -1: none) is written when its file shrinks.
 * Returns 0, or -ENOSPC: GUARD_REGIONS are watched already.
 */
int guard_add(void *base, size_t len, atomic_bool *lost, int event_fd);

/* Before munmap(). No thread may access the region any more. */
void guard_del(void *base);

#endif
