/* SPDX-License-Identifier: MIT */
/* Ends calls that block: see calls.h. */
#include "host/calls.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include "host/clock.h"

#define PERIOD_NS	(100 * NS_PER_MS)

/* Under the lock. */
static void sleep_a_period(struct calls *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += PERIOD_NS;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	while (!c->stop &&
	       pthread_cond_timedwait(&c->cond, &c->lock, &t) != ETIMEDOUT)
		;
}

static void *look(void *arg)
{
	struct calls *c = arg;
	bool more;

	prctl(PR_SET_NAME, "calls");
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (!c->awake) {
			pthread_cond_wait(&c->cond, &c->lock);
			continue;
		}
		sleep_a_period(c);
		more = false;
		for (unsigned i = 0; i < c->nr; i++)
			more |= vhu_server_unblock(c->server[i]);
		/* Who begins after that waits for the lock to wake us. */
		c->awake = more;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int calls_start(struct calls *c)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	c->stop = c->awake = false;
	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&c->thread, NULL, look, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->started = !rc;
	return -rc;
}

void calls_stop(struct calls *c)
{
	if (!c->started)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	c->started = false;
}

int calls_add(struct calls *c, struct vhu_server *s)
{
	int rc = -ENOSPC;

	if (!c->started)
		return 0;
	pthread_mutex_lock(&c->lock);
	if (c->nr < CALLS_SERVERS) {
		c->server[c->nr++] = s;
		rc = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void calls_del(struct calls *c, struct vhu_server *s)
{
	if (!c->started)
		return;
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nr; i++) {
		if (c->server[i] == s)
			c->server[i--] = c->server[--c->nr];
	}
	pthread_mutex_unlock(&c->lock);
}

void calls_wake(struct calls *c)
{
	if (!c->started)
		return;
	pthread_mutex_lock(&c->lock);
	if (!c->awake) {
		c->awake = true;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
}
