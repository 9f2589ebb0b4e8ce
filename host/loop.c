/* SPDX-License-Identifier: MIT */
/*
 * The event loop: see loop.h for the contract. Here lies the order in which
 * sources are served and the policy of adaptive polling; what the sources
 * mean is not known.
 */
#include "host/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/clock.h"

/* The first polling window after idleness; it doubles up to the limit. */
#define POLL_BASE_NS 4000u
/* While polling finds work without end, look at descriptors this often. */
#define POLL_SLICE_NS 100000u
/* Reading the clock costs as much as some polls: do it every so many. */
#define POLL_PER_CLOCK 16u

static void wake_event(void *ctx, uint32_t events)
{
	struct loop *l = ctx;
	uint64_t n;

	(void)events;
	if (read(l->wake_fd, &n, sizeof(n)) < 0)
		return;	/* EAGAIN: another event took it */
}

static void loop_wake(struct loop *l)
{
	uint64_t one = 1;
	int saved = errno;

	atomic_store(&l->woken, true);
	/* A full counter (EAGAIN) is a wake-up that is already on its way. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		errno = saved;
	errno = saved;
}

int loop_init(struct loop *l)
{
	int rc;

	memset(l, 0, sizeof(*l));
	l->poll = (struct vio_poll){ .limit = LOOP_POLL_DEFAULT_NS,
				     .base = POLL_BASE_NS };
	l->calls_tail = &l->calls;
	l->posted_tail = &l->posted;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		return -errno;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0) {
		rc = -errno;
		close(l->epfd);
		return rc;
	}
	pthread_mutex_init(&l->lock, NULL);
	l->wake.fd = l->wake_fd;
	l->wake.fn = wake_event;
	l->wake.ctx = l;
	rc = loop_fd_add(l, &l->wake, EPOLLIN);
	if (rc)
		loop_fini(l);
	return rc;
}

void loop_fini(struct loop *l)
{
	pthread_mutex_destroy(&l->lock);
	close(l->wake_fd);
	close(l->epfd);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	loop_wake(l);
}

static int fd_ctl(struct loop *l, int op, struct loop_fd *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(l->epfd, op, w->fd, &ev) ? -errno : 0;
}

int loop_fd_add(struct loop *l, struct loop_fd *w, uint32_t events)
{
	return fd_ctl(l, EPOLL_CTL_ADD, w, events);
}

int loop_fd_mod(struct loop *l, struct loop_fd *w, uint32_t events)
{
	return fd_ctl(l, EPOLL_CTL_MOD, w, events);
}

void loop_fd_del(struct loop *l, struct loop_fd *w)
{
	int i;

	fd_ctl(l, EPOLL_CTL_DEL, w, 0);
	for (i = 0; i < l->event_count; i++)
		if (l->events[i].data.ptr == w)
			l->events[i].data.ptr = NULL;
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer **p;

	if (!t->armed)
		return;
	for (p = &l->timers; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	t->armed = false;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t after_ns)
{
	struct loop_timer **p;

	loop_timer_cancel(l, t);
	t->at_ns = clock_ns() + after_ns;
	for (p = &l->timers; *p && (*p)->at_ns <= t->at_ns; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
	t->armed = true;
}

void loop_defer(struct loop *l, struct loop_call *c)
{
	if (c->queued)
		return;
	c->queued = true;
	c->next = NULL;
	*l->calls_tail = c;
	l->calls_tail = &c->next;
}

void loop_post(struct loop *l, struct loop_call *c)
{
	pthread_mutex_lock(&l->lock);
	c->queued = true;
	c->next = NULL;
	*l->posted_tail = c;
	l->posted_tail = &c->next;
	pthread_mutex_unlock(&l->lock);
	loop_wake(l);
}

/* Returns whether it was there. @tail: of a list that is added to. */
static bool take_out(struct loop_call **list, struct loop_call *c,
		     struct loop_call ***tail)
{
	for (; *list; list = &(*list)->next) {
		if (*list != c)
			continue;
		*list = c->next;
		if (tail && !c->next)
			*tail = list;
		c->queued = false;
		return true;
	}
	return false;
}

void loop_call_cancel(struct loop *l, struct loop_call *c)
{
	pthread_mutex_lock(&l->lock);
	if (!take_out(&l->running, c, NULL) &&
	    !take_out(&l->calls, c, &l->calls_tail))
		take_out(&l->posted, c, &l->posted_tail);
	pthread_mutex_unlock(&l->lock);
}

void loop_poller_add(struct loop *l, struct loop_poller *p)
{
	p->next = l->pollers;
	l->pollers = p;
}

void loop_poller_del(struct loop *l, struct loop_poller *p)
{
	struct loop_poller **q;

	for (q = &l->pollers; *q; q = &(*q)->next)
		if (*q == p) {
			*q = p->next;
			return;
		}
}

void loop_poll_limit(struct loop *l, uint64_t max_ns)
{
	vio_poll_limit(&l->poll, max_ns);
}

void loop_poll_always(struct loop *l, bool on)
{
	l->sleepless += on ? 1u : -1u;
}

/* Move what other threads posted behind this thread's own calls. */
static void take_posted(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->posted) {
		*l->calls_tail = l->posted;
		l->calls_tail = l->posted_tail;
		l->posted = NULL;
		l->posted_tail = &l->posted;
	}
	pthread_mutex_unlock(&l->lock);
}

/* Run the calls queued so far; those they queue wait for the next round. */
static void run_calls(struct loop *l)
{
	struct loop_call *c;

	if (atomic_exchange(&l->woken, false))
		take_posted(l);
	l->running = l->calls;
	l->calls = NULL;
	l->calls_tail = &l->calls;
	while ((c = l->running)) {
		l->running = c->next;
		c->queued = false;
		c->fn(c->ctx);
	}
}

static void run_timers(struct loop *l)
{
	uint64_t now = l->timers ? clock_ns() : 0;
	struct loop_timer *t;

	while ((t = l->timers) && t->at_ns <= now) {
		l->timers = t->next;
		t->armed = false;
		t->fn(t->ctx);
	}
}

/* Milliseconds until the first timer, rounded up; -1: none. */
static int timeout_ms(struct loop *l)
{
	uint64_t now, ms;

	if (!l->timers)
		return -1;
	now = clock_ns();
	if (l->timers->at_ns <= now)
		return 0;
	ms = (l->timers->at_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return ms > 1000000 ? 1000000 : (int)ms;
}

/* Wait for events. Returns 0 or -errno. */
static int wait_events(struct loop *l, int timeout)
{
	int n = epoll_wait(l->epfd, l->events, LOOP_EVENTS, timeout);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->event_count = n;
	/* An event is work too: the window begins anew. */
	if (n)
		l->worked_ns = 0;
	return 0;
}

static void serve_events(struct loop *l)
{
	struct loop_fd *w;
	int i;

	/* A callback may clear entries that come later, see loop_fd_del(). */
	for (i = 0; i < l->event_count; i++) {
		w = l->events[i].data.ptr;
		if (w)
			w->fn(w->ctx, l->events[i].events);
	}
	l->event_count = 0;
}

static bool has_duty(struct loop *l)
{
	return l->calls || atomic_load_explicit(&l->woken,
						memory_order_relaxed) ||
	       atomic_load_explicit(&l->stop, memory_order_relaxed);
}

static bool poll_once(struct loop *l)
{
	struct loop_poller *p, *next;
	bool work = false;

	for (p = l->pollers; p; p = next) {
		next = p->next;
		work |= p->ops->poll(p->ctx);
	}
	return work;
}

static bool pollers_sleep(struct loop *l)
{
	struct loop_poller *p, *next;
	bool work = false;

	for (p = l->pollers; p; p = next) {
		next = p->next;
		if (p->ops->sleep)
			work |= p->ops->sleep(p->ctx);
	}
	return work;
}

static void pollers_wake(struct loop *l)
{
	struct loop_poller *p;

	for (p = l->pollers; p; p = p->next)
		if (p->ops->wake)
			p->ops->wake(p->ctx);
}

/*
 * Poll until nothing was found for the current window, something else is to
 * be done, or the slice is over: a window may span many slices. Returns when
 * polling found its last work, as a time: the beginning of the idle period.
 */
static uint64_t poll_busily(struct loop *l, bool *idle)
{
	uint64_t start = clock_ns(), last, now;
	unsigned i;

	last = l->worked_ns ? l->worked_ns : start;
	*idle = false;
	for (;;) {
		bool work = poll_once(l);

		for (i = 1; i < POLL_PER_CLOCK && !has_duty(l); i++)
			work |= poll_once(l);
		now = clock_ns();
		if (work)
			last = now;
		l->worked_ns = last;
		if (has_duty(l))
			return last;
		if (!l->sleepless && !vio_poll_more(&l->poll, now - last)) {
			l->worked_ns = 0;
			*idle = true;
			return last;
		}
		if (now - start >= POLL_SLICE_NS)
			return last;
	}
}

/* One round with pollers: poll, then sleep if all agree. */
static int round_polled(struct loop *l)
{
	uint64_t idle_from, now;
	bool idle;
	int rc;

	idle_from = poll_busily(l, &idle);
	if (!idle)
		return wait_events(l, 0);
	if (pollers_sleep(l) || has_duty(l)) {
		pollers_wake(l);
		return wait_events(l, 0);
	}
	rc = wait_events(l, timeout_ms(l));
	pollers_wake(l);
	now = clock_ns();
	l->slept_ns += now - idle_from;
	vio_poll_woken(&l->poll, now - idle_from);
	return rc;
}

int loop_run(struct loop *l)
{
	int rc;

	while (!atomic_load(&l->stop)) {
		if (l->pollers)
			rc = round_polled(l);
		else
			rc = wait_events(l, has_duty(l) ? 0 : timeout_ms(l));
		if (rc)
			return rc;
		serve_events(l);
		run_timers(l);
		run_calls(l);
	}
	atomic_store(&l->stop, false);
	return 0;
}
