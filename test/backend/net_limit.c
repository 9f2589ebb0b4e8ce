/* SPDX-License-Identifier: MIT */
/* Limits of a network port: what comes for a guest, on several pairs. */
#include "backend/netdev.h"
#include "host/clock.h"
#include "vtest.h"

#include <string.h>

#define PAIRS 4u
#define WINDOW_MS 120

static struct loop loop;
static struct loop_timer stop;
static struct netdev dev;
static struct vio_net_packet packet[8];
static uint64_t passed[PAIRS];
static unsigned max[PAIRS];	/* packets at a time; 0: it has none */
static uint64_t left;		/* of all */
static uint64_t until_ns;	/* even where limits are never reached */

static void pump(unsigned pair)
{
	unsigned n = max[pair];

	while (n && left && clock_ns() < until_ns) {
		n = n < left ? n : (unsigned)left;
		n = net_limit_ask(dev.limit, NET_RX, pair, n);
		CHECK_LE(n, max[pair]);
		net_limit_take(dev.limit, NET_RX, pair, packet, n);
		passed[pair] += n;
		left -= n;
	}
	if (!left)
		loop_stop(&loop);
}

static void room(void *backend, unsigned pair)
{
	CHECK(backend == &dev);
	pump(pair);
}

static const struct netdev_ops ops = { .io = { .room = room } };

static struct net_limit_conf rx(uint64_t packets, uint64_t bytes)
{
	return (struct net_limit_conf){
		.way[NET_TX] = { 1, 1, 1 },
		.way[NET_RX] = { packets, bytes, NET_LIMIT_BURST_MS },
	};
}

static void start(uint64_t packets, uint64_t bytes, uint32_t len)
{
	const struct net_limit_conf conf = rx(packets, bytes);

	memset(max, 0, sizeof(max));
	for (unsigned i = 0; i < 8; i++)
		packet[i] = (struct vio_net_packet){ .len = len };
	dev = (struct netdev){ .ops = &ops };
	CHECK_EQ(net_limit_open(&dev.limit, &dev, PAIRS, &conf), 0);
	CHECK_EQ(loop_init(&loop), 0);
	for (unsigned i = 0; i < PAIRS; i++)
		net_limit_attach(dev.limit, i, &loop);
}

static void finish(void)
{
	for (unsigned i = 0; i < PAIRS; i++)
		net_limit_detach(dev.limit, i);
	CHECK(!loop.timers && !loop.calls && !loop.posted);
	net_limit_close(dev.limit);
	loop_fini(&loop);
}

static void on_stop(void *ctx)
{
	(void)ctx;
	loop_stop(&loop);
}

static void run(unsigned ms)
{
	stop = (struct loop_timer){ .fn = on_stop };
	until_ns = clock_ns() + ms * NS_PER_MS;
	loop_timer_set(&loop, &stop, ms * NS_PER_MS);
	for (unsigned i = 0; i < PAIRS; i++)
		pump(i);
	CHECK_EQ(loop_run(&loop), 0);
	loop_timer_cancel(&loop, &stop);
}

/* Packets a second; never more than @want, but for a burst. */
static double rate(unsigned ms, double want)
{
	uint64_t from = clock_ns(), sum = 0;
	double s;

	left = UINT64_MAX;
	memset(passed, 0, sizeof(passed));
	run(ms);
	for (unsigned i = 0; i < PAIRS; i++)
		sum += passed[i];
	s = (double)(clock_ns() - from) / 1e9;
	CHECK((double)sum < want * (s + NET_LIMIT_BURST_MS / 1e3) + 2);
	return (double)sum / s;
}

/* And as much, save where the machine is busy with others. */
static void check_rate(double want)
{
	double is = 0;

	for (unsigned tries = 0; tries < 50 && is < want * 0.95; tries++) {
		is = rate(WINDOW_MS, want);
		vtest_note("%.0f a second, %.0f wanted", is, want);
	}
	CHECK(is > want * 0.95);
}

/* Every pair had its part, and none much more than another. */
static bool fair(unsigned pairs)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < pairs; i++) {
		least = passed[i] < least ? passed[i] : least;
		most = passed[i] > most ? passed[i] : most;
	}
	vtest_note("between %llu and %llu", (unsigned long long)least,
		   (unsigned long long)most);
	return least * 2 > most;
}

/* The same: after a pause of the machine, a burst is whose turn comes first. */
static void check_fair(unsigned pairs, double want)
{
	for (unsigned tries = 0; tries < 20 && !fair(pairs); tries++)
		rate(WINDOW_MS, want);
	CHECK(fair(pairs));
}

TEST("net limit: packets and bytes a second hold, for one pair and for four",
     "")
{
	static const struct { uint64_t packets, bytes; double want; } t[] = {
		{ 10000, 0, 10000 }, { 0, 15140000, 10000 },
		{ 10000, 30000000, 10000 }, { 20000, 15140000, 10000 },
		{ 0, 1514000, 1000 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(t); i++) {
		start(t[i].packets, t[i].bytes, 1514);
		max[i % PAIRS] = 8;
		check_rate(t[i].want);
		for (unsigned k = 0; k < PAIRS; k++)
			max[k] = k % 2 ? 8 : 1;
		check_rate(t[i].want);
		check_fair(PAIRS, t[i].want);
		finish();
	}
}

TEST("net limit: a pair that was idle has no more than its part, and leaves the rest",
     "")
{
	start(0, 15140000, 1514);
	max[0] = 8;
	check_rate(10000);
	max[1] = 8;
	check_rate(10000);
	check_fair(2, 10000);
	/* It has nothing more: the others do not wait for it. */
	max[0] = 0;
	check_rate(10000);
	finish();
}

TEST("net limit: a large packet counts as what it will be cut into", "")
{
	start(10000, 0, 54 + 10 * 1448);
	packet[0].meta = (struct vio_net_meta){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448,
	};
	max[0] = 1;
	check_rate(10000. / 11);
	finish();
}

static struct net_limit_conf next;

static void on_change(void *ctx)
{
	(void)ctx;
	net_limit_set(dev.limit, &next);
	/* Twice: the first may not have been heard of yet. */
	net_limit_set(dev.limit, &next);
}

TEST("net limit: who waits hears at once that limits changed, or went", "")
{
	static const struct { uint64_t packets, passed; } t[] = {
		{ 0, 1000 }, { 1000000, 1000 }, { 1, 8 },
	};
	struct loop_timer change = { .fn = on_change };
	struct net_limit_stats s;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(t); i++) {
		uint64_t sum = 0;

		start(1, 0, 60);
		next = rx(t[i].packets, 0);
		for (unsigned k = 0; k < PAIRS; k++)
			max[k] = 8;
		left = 1000;
		memset(passed, 0, sizeof(passed));
		loop_timer_set(&loop, &change, 20 * NS_PER_MS);
		/* All that may pass, and nothing for which it would wait. */
		run(t[i].passed == 1000 ? 30000 : 200);
		for (unsigned k = 0; k < PAIRS; k++)
			sum += passed[k];
		if (t[i].passed == 1000)
			CHECK_EQ(sum, 1000);
		else
			CHECK_LE(sum, t[i].passed);
		net_limit_look(dev.limit, NET_RX, &s);
		CHECK_GE(s.holds, 3);
		CHECK_GE(s.held_ns, 3 * 19 * NS_PER_MS);
		finish();
	}
}

TEST("net limit: while it holds, nothing runs", "")
{
	struct net_limit_stats s;

	start(2, 0, 60);
	max[0] = 1;
	rate(400, 2);
	net_limit_look(dev.limit, NET_RX, &s);
	/* One packet now, and one each half second. */
	CHECK_LE(s.holds, 3);
	CHECK_GT(s.held_ns, 350 * NS_PER_MS);
	CHECK(net_limit_holds(dev.limit, NET_RX, 0));
	net_limit_look(dev.limit, NET_TX, &s);
	CHECK_EQ(s.holds, 0);
	finish();
}

TEST("net limit: without a loop, and without a limit, all passes", "")
{
	start(1, 0, 60);
	net_limit_detach(dev.limit, 2);
	net_limit_detach(dev.limit, 2);
	next = rx(1, 0);
	net_limit_set(dev.limit, &next);
	CHECK_EQ(net_limit_ask(dev.limit, NET_RX, 2, 64), 64);
	next = rx(0, 0);
	net_limit_set(dev.limit, &next);
	CHECK_EQ(net_limit_ask(dev.limit, NET_RX, 0, 64), 64);
	CHECK_EQ(net_limit_ask(dev.limit, NET_RX, 0, 0), 0);
	CHECK(!net_limit_holds(dev.limit, NET_RX, 0));
	finish();
}
