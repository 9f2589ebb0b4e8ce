/* SPDX-License-Identifier: MIT */
/*
 * A thread that ends calls which a front end has block: see watch_calls in
 * vireo/vhu.h. It sleeps while no server calls. Knows nothing of what the
 * servers serve.
 */
#ifndef HOST_CALLS_H
#define HOST_CALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <vireo/vhu.h>

enum { CALLS_SERVERS = 1024 };

struct calls {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_t thread;
	bool started, awake, stop;
	unsigned nr;
	struct vhu_server *server[CALLS_SERVERS];
};

/* Start the thread. 0 or -errno. */
int calls_start(struct calls *c);
/* End it; no server calls any more. Nothing where it was not started. */
void calls_stop(struct calls *c);

/* A server whose calls are looked at; -ENOSPC: they are too many. */
int calls_add(struct calls *c, struct vhu_server *s);
/* Before it is destroyed. */
void calls_del(struct calls *c, struct vhu_server *s);

/* A server calls. Any thread. */
void calls_wake(struct calls *c);

#endif
