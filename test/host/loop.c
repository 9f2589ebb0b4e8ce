/* SPDX-License-Identifier: MIT */
/* The event loop and workers: order, removal, timers, no lost wake-up. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/loop.h"
#include "host/worker.h"
#include "vtest.h"

struct seen {
	struct loop *l;
	struct loop_fd a, b;
	int calls;
};

static void stop_cb(void *ctx)
{
	loop_stop(ctx);
}

/* Whichever of a and b comes first removes the other. */
static void remove_other(void *ctx, uint32_t events)
{
	struct seen *s = ctx;

	CHECK(events & EPOLLIN);
	s->calls++;
	loop_fd_del(s->l, &s->a);
	loop_fd_del(s->l, &s->b);
	loop_stop(s->l);
}

TEST("a descriptor removed by another's callback is not called", "")
{
	struct loop l;
	struct seen s = { .l = &l };

	CHECK_EQ(loop_init(&l), 0);
	s.a = (struct loop_fd){ eventfd(1, 0), remove_other, &s };
	s.b = (struct loop_fd){ eventfd(1, 0), remove_other, &s };
	CHECK_EQ(loop_fd_add(&l, &s.a, EPOLLIN), 0);
	CHECK_EQ(loop_fd_add(&l, &s.b, EPOLLIN), 0);
	CHECK_EQ(loop_run(&l), 0);
	CHECK_EQ(s.calls, 1);
	close(s.a.fd);
	close(s.b.fd);
	loop_fini(&l);
}

struct order {
	char text[8];
	int n;
	struct loop *l;
};

static struct order order;

static void add_b(void *ctx)
{
	(void)ctx;
	order.text[order.n++] = 'b';
}

static void add_a(void *ctx)
{
	(void)ctx;
	order.text[order.n++] = 'a';
}

TEST("timers fire in the order of their times, cancelled ones never", "")
{
	struct loop l;
	struct loop_timer a = { .fn = add_a }, b = { .fn = add_b };
	struct loop_timer c = { .fn = add_b }, end = { .fn = stop_cb };
	uint64_t start = clock_ns();

	memset(&order, 0, sizeof(order));
	CHECK_EQ(loop_init(&l), 0);
	end.ctx = &l;
	loop_timer_set(&l, &end, 30 * NS_PER_MS);
	loop_timer_set(&l, &b, 10 * NS_PER_MS);
	loop_timer_set(&l, &c, 5 * NS_PER_MS);
	loop_timer_set(&l, &a, 5 * NS_PER_MS);
	loop_timer_cancel(&l, &c);
	loop_timer_set(&l, &b, 20 * NS_PER_MS);
	CHECK_EQ(loop_run(&l), 0);
	CHECK_STREQ(order.text, "ab");
	CHECK_GE(clock_ns() - start, 30 * NS_PER_MS);
	loop_fini(&l);
}

struct again {
	struct loop *l;
	struct loop_call call;
	int n;
};

static void defer_again(void *ctx)
{
	struct again *a = ctx;

	if (++a->n < 1000)
		loop_defer(a->l, &a->call);
	else
		loop_stop(a->l);
}

static bool poll_count(void *ctx)
{
	++*(int *)ctx;
	return false;
}

TEST("calls that repeat themselves starve no poller", "")
{
	static const struct loop_poller_ops ops = { .poll = poll_count };
	struct loop l;
	int polls = 0;
	struct loop_poller p = { .ops = &ops, .ctx = &polls };
	struct again a = { .l = &l };

	CHECK_EQ(loop_init(&l), 0);
	a.call = (struct loop_call){ .fn = defer_again, .ctx = &a };
	loop_poller_add(&l, &p);
	loop_defer(&l, &a.call);
	loop_defer(&l, &a.call);
	CHECK_EQ(loop_run(&l), 0);
	CHECK_EQ(a.n, 1000);
	CHECK_GE(polls, 999);
	loop_fini(&l);
}

/*
 * A mailbox as a queue would be: the producer fills it, and kicks only if
 * the consumer asked for kicks. Both orders are sequentially consistent.
 */
struct mailbox {
	atomic_uint produced;
	atomic_uint consumed;
	atomic_bool want_kick;
	int kick;
	struct worker w;
	struct loop_fd fd;
	struct loop_poller poller;
	atomic_uint kicks;
};

static bool mail_poll(void *ctx)
{
	struct mailbox *m = ctx;
	unsigned p = atomic_load(&m->produced);

	if (p == atomic_load(&m->consumed))
		return false;
	atomic_store(&m->consumed, p);
	return true;
}

static bool mail_sleep(void *ctx)
{
	struct mailbox *m = ctx;

	atomic_store(&m->want_kick, true);
	return mail_poll(m);
}

static void mail_wake(void *ctx)
{
	struct mailbox *m = ctx;

	atomic_store(&m->want_kick, false);
}

static void mail_kick(void *ctx, uint32_t events)
{
	struct mailbox *m = ctx;
	uint64_t n;

	(void)events;
	CHECK_EQ(read(m->kick, &n, sizeof(n)), 8);
	atomic_fetch_add(&m->kicks, 1);
	mail_poll(m);
}

static void mail_setup(void *ctx)
{
	static const struct loop_poller_ops ops = {
		.poll = mail_poll, .sleep = mail_sleep, .wake = mail_wake,
	};
	struct mailbox *m = ctx;

	m->fd = (struct loop_fd){ m->kick, mail_kick, m };
	m->poller = (struct loop_poller){ .ops = &ops, .ctx = m };
	CHECK_EQ(loop_fd_add(&m->w.loop, &m->fd, EPOLLIN), 0);
	loop_poller_add(&m->w.loop, &m->poller);
}

static void mail_teardown(void *ctx)
{
	struct mailbox *m = ctx;

	loop_fd_del(&m->w.loop, &m->fd);
	loop_poller_del(&m->w.loop, &m->poller);
}

TEST("adaptive polling loses no wake-up", "")
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());
	struct mailbox m = { .want_kick = true };
	uint64_t one = 1, until, give_up;
	unsigned i;

	m.kick = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(worker_start(&m.w, "mail"), 0);
	worker_run(&m.w, mail_setup, &m);
	for (i = 1; i <= 3000; i++) {
		/* Pauses around the polling window hit all its edges. */
		until = clock_ns() + vtest_below(&r, 60 * NS_PER_US);
		while (clock_ns() < until)
			;
		atomic_store(&m.produced, i);
		if (atomic_load(&m.want_kick))
			CHECK_EQ(write(m.kick, &one, 8), 8);
		give_up = clock_ns() + 60 * NS_PER_S;
		while (atomic_load(&m.consumed) != i && clock_ns() < give_up)
			;
		CHECK_EQ(atomic_load(&m.consumed), i);
	}
	worker_run(&m.w, mail_teardown, &m);
	worker_stop(&m.w);
	close(m.kick);
}

TEST("an idle loop that polled before uses no CPU", "")
{
	struct mailbox m = { .want_kick = true };
	struct timespec cpu;
	clockid_t clock;
	uint64_t before, used;

	m.kick = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(worker_start(&m.w, "mail"), 0);
	worker_run(&m.w, mail_setup, &m);
	CHECK_EQ(pthread_getcpuclockid(m.w.thread, &clock), 0);
	clock_gettime(clock, &cpu);
	before = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec;
	usleep(200000);
	clock_gettime(clock, &cpu);
	used = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec -
	       before;
	CHECK_LT(used, 5 * NS_PER_MS);
	worker_run(&m.w, mail_teardown, &m);
	worker_stop(&m.w);
	close(m.kick);
}

static void note_self(void *arg)
{
	struct worker *w = arg;

	CHECK(worker_is_self(w));
	/* A call from the thread itself must not wait for itself. */
	worker_run(w, add_a, NULL);
}

struct idler {
	struct loop *l;
	uint64_t give_up;
	bool slept;
};

static bool idle_poll(void *ctx)
{
	struct idler *p = ctx;

	if (clock_ns() > p->give_up)
		loop_stop(p->l);
	return false;
}

static bool idle_sleep(void *ctx)
{
	struct idler *p = ctx;

	p->slept = true;
	loop_stop(p->l);
	return false;
}

TEST("a window of polling that is longer than a slice ends", "")
{
	static const struct loop_poller_ops ops = {
		.poll = idle_poll, .sleep = idle_sleep,
	};
	struct loop l;
	struct idler idler = { .l = &l };
	struct loop_poller p = { .ops = &ops, .ctx = &idler };

	CHECK_EQ(loop_init(&l), 0);
	loop_poll_limit(&l, NS_PER_MS);
	/* As after wake-ups that came soon. */
	l.poll.window = NS_PER_MS;
	idler.give_up = clock_ns() + 30 * NS_PER_S;
	loop_poller_add(&l, &p);
	CHECK_EQ(loop_run(&l), 0);
	CHECK(idler.slept);
	loop_fini(&l);
}

TEST("worker_run runs on the worker and returns when it is done", "")
{
	struct worker w;
	int i;

	memset(&order, 0, sizeof(order));
	CHECK_EQ(worker_start(&w, "w"), 0);
	CHECK(!worker_is_self(&w));
	for (i = 0; i < 5; i++) {
		worker_run(&w, note_self, &w);
		CHECK_EQ(order.n, i + 1);
	}
	worker_stop(&w);
	CHECK_STREQ(order.text, "aaaaa");
}
