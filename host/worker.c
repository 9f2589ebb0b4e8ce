/* SPDX-License-Identifier: MIT */
/*
 * Threads with loops. The synchronous call is a posted call plus a condition
 * variable on the caller's stack.
 */
#include "host/worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "host/log.h"

struct sync_call {
	struct loop_call call;
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void *worker_thread(void *arg)
{
	struct worker *w = arg;
	int rc;

	/* By itself: from outside it takes a path that a sandbox hides. */
	prctl(PR_SET_NAME, w->name);
	rc = loop_run(&w->loop);
	if (rc)
		log_err("event loop ended: %s", strerror(-rc));
	return NULL;
}

int worker_start(struct worker *w, const char *name)
{
	sigset_t all, old;
	int rc;

	memset(w, 0, sizeof(*w));
	snprintf(w->name, sizeof(w->name), "%s", name);
	rc = loop_init(&w->loop);
	if (rc)
		return rc;
	sigfillset(&all);
	/* A fault must reach its handler on the thread that faulted. */
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->own_thread = true;
	rc = pthread_create(&w->thread, NULL, worker_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		w->own_thread = false;
		loop_fini(&w->loop);
		return -rc;
	}
	return 0;
}

void worker_stop(struct worker *w)
{
	if (!w->own_thread)
		return;
	loop_stop(&w->loop);
	pthread_join(w->thread, NULL);
	loop_fini(&w->loop);
	w->own_thread = false;
}

bool worker_is_self(const struct worker *w)
{
	return !w->own_thread || pthread_equal(w->thread, pthread_self());
}

static void sync_run(void *ctx)
{
	struct sync_call *s = ctx;

	s->fn(s->arg);
	pthread_mutex_lock(&s->lock);
	s->done = true;
	/* Under the lock: the caller's stack lives until it gets the lock. */
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void worker_run(struct worker *w, void (*fn)(void *arg), void *arg)
{
	struct sync_call s = {
		.call = { .fn = sync_run, .ctx = &s },
		.fn = fn,
		.arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};

	if (worker_is_self(w)) {
		fn(arg);
		return;
	}
	loop_post(&w->loop, &s.call);
	pthread_mutex_lock(&s.lock);
	while (!s.done)
		pthread_cond_wait(&s.cond, &s.lock);
	pthread_mutex_unlock(&s.lock);
}

/* "4" or "4-6" at *@text; moves it behind. Returns whether it is one. */
static bool range(const char **text, unsigned *first, unsigned *last)
{
	unsigned long from, to;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	from = to = strtoul(*text, &end, 10);
	if (*end == '-') {
		if (end[1] < '0' || end[1] > '9')
			return false;
		to = strtoul(end + 1, &end, 10);
	}
	*text = *end == ',' ? end + 1 : end;
	*first = (unsigned)from;
	*last = (unsigned)to;
	return to >= from && to < CPU_SETSIZE &&
	       (!*end || (*end == ',' && end[1]));
}

int worker_cpu(const char *list, unsigned n)
{
	unsigned first, last, total = 0;
	const char *at;

	for (at = list; *at; total += last - first + 1)
		if (!range(&at, &first, &last))
			return -EINVAL;
	if (!total)
		return -EINVAL;
	n %= total;
	for (at = list; range(&at, &first, &last); n -= last - first + 1)
		if (n <= last - first)
			return (int)(first + n);
	return -EINVAL;
}

int worker_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}
