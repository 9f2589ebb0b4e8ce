/* SPDX-License-Identifier: MIT */
/*
 * poll.c - adaptive polling: its window, and every interleaving of a waiting
 * thread with one that brings work: a wake-up that is lost shows as a sleep
 * that nothing will end.
 */
#include <vireo/poll.h>
#include "vtest.h"

TEST("poll: the window doubles up to its limit, and halves down to none", "")
{
	struct vio_poll p = { .base = 4 };

	vio_poll_limit(&p, 100);
	CHECK(!vio_poll_more(&p, 0));		/* idleness costs nothing */
	vio_poll_woken(&p, 100);
	CHECK_EQ(p.window, 4);
	for (unsigned want = 8; want <= 64; want *= 2) {
		vio_poll_woken(&p, 3);
		CHECK_EQ(p.window, want);
	}
	vio_poll_woken(&p, 3);
	CHECK_EQ(p.window, 100);
	vio_poll_woken(&p, 3);
	CHECK_EQ(p.window, 100);
	CHECK(vio_poll_more(&p, 99));
	CHECK(!vio_poll_more(&p, 100));
	vio_poll_woken(&p, 101);
	CHECK_EQ(p.window, 50);
	for (unsigned i = 0; i < 4; i++)
		vio_poll_woken(&p, UINT64_MAX);
	CHECK_EQ(p.window, 0);
	vio_poll_woken(&p, 1);
	vio_poll_limit(&p, 2);
	CHECK_EQ(p.window, 2);
	vio_poll_limit(&p, 0);
	vio_poll_woken(&p, 0);
	CHECK_EQ(p.window, 0);
}

/*
 * The other side brings work in two steps: the work, then, if it was asked to
 * notify, the notification. Between any two of our first eleven steps it may
 * take none, one or two of its own: all choices are enumerated, by counting.
 */
static struct world {
	unsigned work;		/* brought and not taken */
	unsigned left;		/* to be brought yet */
	bool armed, pending;	/* notifications: wanted, under way */
	bool halfway;		/* work is there, the notification is not */
	uint64_t clock;
	unsigned long choices, nr_choices;
	bool broken_order;	/* a mutant: it arms after its last look */
	bool lost;
} w;

static void other_step(void)
{
	if (w.halfway) {
		w.halfway = false;
		w.pending |= w.armed;
	} else if (w.left) {
		w.left--;
		w.work++;
		w.halfway = true;
	}
}

/* A point where the other side may run: not, one step, or two. */
static void point(void)
{
	unsigned long c = w.choices % 3;

	w.choices /= 3;
	w.nr_choices++;
	while (c--)
		other_step();
}

static bool look(void *ctx)
{
	(void)ctx;
	point();
	return w.work > 0;
}

static bool arm(void *ctx)
{
	bool found;

	(void)ctx;
	if (w.broken_order) {
		found = look(NULL);
		point();
		w.armed = true;
		return found;
	}
	point();
	w.armed = true;
	return look(NULL);
}

static void disarm(void *ctx)
{
	(void)ctx;
	point();
	w.armed = false;
}

static int sleep_until_notified(void *ctx)
{
	(void)ctx;
	point();
	/* We sleep: the other side goes on for as long as it can. */
	while (!w.pending && (w.left || w.halfway))
		other_step();
	if (!w.pending) {
		w.lost = w.work > 0;
		return VIO_E_IO;
	}
	w.pending = false;
	return VIO_OK;
}

static uint64_t now(void *ctx)
{
	(void)ctx;
	return w.clock++;
}

static const struct vio_poll_ops ops = { look, arm, disarm,
					 sleep_until_notified, now };

/* Take three pieces of work with this schedule; was any lost? */
static bool loses(unsigned long choices, uint64_t window, bool broken_order)
{
	struct vio_poll p = { .limit = 3, .base = 1, .window = window };
	unsigned taken = 0;

	w = (struct world){ .left = 3, .choices = choices,
			    .broken_order = broken_order };
	while (taken < 3) {
		int err = vio_poll_wait(&p, &ops, NULL);

		if (err)
			break;
		/* All that is there is taken; it says so by itself. */
		CHECK_GT(w.work, 0);
		taken += w.work;
		w.work = 0;
	}
	CHECK(w.lost || taken == 3);
	return w.lost;
}

TEST("poll: no wake-up is lost, in any interleaving of eleven steps", "")
{
	unsigned long all = 1, mutants = 0;

	for (unsigned i = 0; i < 11; i++)
		all *= 3;
	for (unsigned long c = 0; c < all; c++)
		for (uint64_t window = 0; window < 3; window++) {
			CHECK(!loses(c, window, false));
			mutants += loses(c, window, true);
		}
	/* The order of arm and look is what it rests on. */
	CHECK_GT(mutants, 0);
}
