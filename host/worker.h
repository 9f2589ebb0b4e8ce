/* SPDX-License-Identifier: MIT */
/*
 * A thread with an event loop, and a way to run a function on it. Knows
 * nothing of what the thread works at.
 */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "host/loop.h"

struct worker {
	struct loop loop;
	pthread_t thread;
	char name[16];
	bool own_thread;	/* false: runs on the thread that made it */
};

/*
 * Start a thread called @name (15 characters are shown by ps). All signals
 * are blocked on it. Returns 0 or -errno.
 */
int worker_start(struct worker *w, const char *name);

/* Stop the loop, wait for the thread. Not from the worker itself. */
void worker_stop(struct worker *w);

/*
 * Run @fn on the worker's thread and wait until it has returned. Called on
 * that thread, it is a plain call. Two workers must not call each other at
 * the same time.
 */
void worker_run(struct worker *w, void (*fn)(void *arg), void *arg);

/* The processor for worker @n by a list such as "2,4-6", used in turn and again
 * from its start; -EINVAL if it is no such list. */
int worker_cpu(const char *list, unsigned n);
/* Keep the calling thread on a processor. 0 or -errno. */
int worker_pin(int cpu);

/* True on the worker's own thread. */
bool worker_is_self(const struct worker *w);

#endif
