/* SPDX-License-Identifier: MIT */
/*
 * One event loop a thread: file descriptors, timers, calls from other
 * threads, and pollers that are called busily for a bounded time before the
 * loop sleeps.
 *
 * All objects live in the caller's storage and belong to the loop's thread,
 * except loop_post() and loop_stop(), which any thread may call. The loop
 * deliberately does not know devices, queues or sockets.
 */
#ifndef HOST_LOOP_H
#define HOST_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <vireo/poll.h>

#define LOOP_EVENTS 64
#define LOOP_POLL_DEFAULT_NS 32000u

/* A watched file descriptor; fill fd, fn and ctx, then loop_fd_add(). */
struct loop_fd {
	int fd;
	void (*fn)(void *ctx, uint32_t events);
	void *ctx;
};

/* A one-shot timer; zero it, fill fn and ctx, then loop_timer_set(). */
struct loop_timer {
	void (*fn)(void *ctx);
	void *ctx;
	uint64_t at_ns;
	struct loop_timer *next;
	bool armed;
};

/*
 * A call to be made on the loop's thread. The loop forgets the object before
 * it calls fn, which may post or free it again.
 */
struct loop_call {
	void (*fn)(void *ctx);
	void *ctx;
	struct loop_call *next;
	bool queued;
};

/*
 * Work that can be found by looking, without a file descriptor.
 *
 * poll:  look once, do what is there; true if there was anything.
 * sleep: the loop is about to block: turn notifications on, THEN look; true
 *        if there is work, and the loop does not block. NULL: nothing to do.
 * wake:  the loop polls again: notifications may be turned off. NULL: no-op.
 *
 * Because sleep looks after it has turned notifications on, and the loop
 * blocks only when every sleep said no, no wake-up is lost.
 */
struct loop_poller_ops {
	bool (*poll)(void *ctx);
	bool (*sleep)(void *ctx);
	void (*wake)(void *ctx);
};

struct loop_poller {
	const struct loop_poller_ops *ops;
	void *ctx;
	struct loop_poller *next;
};

struct loop {
	int epfd;
	int wake_fd;
	struct loop_fd wake;
	atomic_bool stop;
	atomic_bool woken;

	struct loop_timer *timers;	/* sorted by at_ns */
	struct loop_call *calls;	/* of this thread, first to run first */
	struct loop_call **calls_tail;
	struct loop_call *running;	/* what is left of this round's */
	struct loop_poller *pollers;

	pthread_mutex_t lock;		/* of posted */
	struct loop_call *posted;
	struct loop_call **posted_tail;

	struct vio_poll poll;		/* in nanoseconds */
	unsigned sleepless;		/* as loop_poll_always() was called */
	uint64_t worked_ns;		/* a window under way: last work */
	uint64_t slept_ns;		/* time in epoll with pollers, total */

	struct epoll_event events[LOOP_EVENTS];
	int event_count;		/* fetched and not yet all served */
};

int loop_init(struct loop *l);
/* The caller has removed its descriptors; pending calls are dropped. */
void loop_fini(struct loop *l);

/*
 * Run until loop_stop(). Returns 0, or -errno if waiting itself failed.
 * Context: becomes the loop's thread.
 */
int loop_run(struct loop *l);
/* Any thread, and signal handlers. A stop before loop_run() is kept. */
void loop_stop(struct loop *l);

/* @events as of epoll_ctl(2). The object stays the caller's until del. */
int loop_fd_add(struct loop *l, struct loop_fd *w, uint32_t events);
int loop_fd_mod(struct loop *l, struct loop_fd *w, uint32_t events);
/* Never called back after this, not even for an event already fetched. */
void loop_fd_del(struct loop *l, struct loop_fd *w);

/* (Re)arm for @after_ns from now. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t after_ns);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

/* Call soon, from the loop's own thread; a queued call stays queued once. */
void loop_defer(struct loop *l, struct loop_call *c);
/* The same from any thread; @c must not be queued already. */
void loop_post(struct loop *l, struct loop_call *c);
/* Not called any more, if it was to be. From the loop's own thread; nobody
 * posts it meanwhile. */
void loop_call_cancel(struct loop *l, struct loop_call *c);

/* A poller may remove itself from within poll and sleep. */
void loop_poller_add(struct loop *l, struct loop_poller *p);
void loop_poller_del(struct loop *l, struct loop_poller *p);
/* The longest time to poll before sleeping; 0 turns polling off. */
void loop_poll_limit(struct loop *l, uint64_t max_ns);
/* Somebody wants it never to sleep while there are pollers; or no more. */
void loop_poll_always(struct loop *l, bool on);

#endif
