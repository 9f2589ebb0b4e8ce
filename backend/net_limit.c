/* SPDX-License-Identifier: MIT */
/*
 * Limits of a network port: see net_limit.h. A pair asks before packets pass
 * and says afterwards which did; one that gets nothing has a timer.
 *
 * Where several pairs want more than there is, they take turns: each counts
 * the time for which its packets used up the rate, and none is ahead of
 * another that waits by more than a turn.
 */
#include "backend/net_limit.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/netdev.h"
#include "host/bucket.h"

#define TURN_NS		(2 * NS_PER_MS)
/* A pair that used up what it got, and does not ask for so long, has left. */
#define AWAY_NS		(20 * NS_PER_MS)

/* Of a pair, in one direction. */
struct gate {
	struct lane *lane;
	struct loop_timer timer;	/* armed while it waits */
	/* Under the lock. */
	bool waits;
	uint64_t since_ns;		/* it waits */
	uint64_t used_ns, asked_ns;
	unsigned left;			/* of what it was given */
};

/* A pair. */
struct lane {
	struct net_limit *limit;
	unsigned pair;
	struct loop *loop;
	struct loop_call call;
	bool called;			/* under the lock */
	struct gate gate[NET_WAYS];
};

struct way {
	bool limited;			/* atomic */
	/* Under the lock. */
	struct bucket packets, bytes;
	struct net_limit_stats stats;
};

struct net_limit {
	struct netdev *dev;
	pthread_mutex_t lock;
	struct way way[NET_WAYS];
	unsigned nr;
	struct lane lane[];
};

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static enum net_way way_of(const struct gate *g)
{
	return g == &g->lane->gate[NET_TX] ? NET_TX : NET_RX;
}

static bool is_limited(const struct net_limit *l, enum net_way way)
{
	return __atomic_load_n(&l->way[way].limited, __ATOMIC_RELAXED);
}

/* -- turns; all under the lock ------------------------------------------- */

/* Would it take more than it got? */
static bool hungry(const struct gate *g, uint64_t now)
{
	return g->waits || (!g->left && now - g->asked_ns < AWAY_NS);
}

/* One that comes back begins where the others are. */
static void join(struct net_limit *l, struct gate *g, enum net_way way,
		 uint64_t now)
{
	for (unsigned i = 0; i < l->nr && !hungry(g, now); i++) {
		const struct gate *o = &l->lane[i].gate[way];

		if (hungry(o, now))
			g->used_ns = longer(g->used_ns, o->used_ns);
	}
}

/* Is it another one's turn? */
static bool must_yield(const struct net_limit *l, const struct gate *g,
		       enum net_way way, uint64_t now)
{
	for (unsigned i = 0; i < l->nr; i++) {
		const struct gate *o = &l->lane[i].gate[way];

		if (hungry(o, now) && o->used_ns + TURN_NS < g->used_ns)
			return true;
	}
	return false;
}

/* How many may pass: of packets whose length is not known, the longest. */
static unsigned share(const struct way *w, uint64_t now, unsigned max)
{
	uint64_t n = bucket_has(&w->packets, now);
	uint64_t longest = bucket_has(&w->bytes, now) / VIO_NET_PACKET_MAX;

	n = n < longest ? n : longest;
	/* One may cost more than there is. */
	n = n ? n : 1;
	return n < max ? (unsigned)n : max;
}

/* Returns for how long it waits from now on, or 0 if it already did. */
static uint64_t hold(struct way *w, struct gate *g, uint64_t now,
		     uint64_t wait)
{
	g->left = 0;
	if (g->waits)
		return 0;
	g->waits = true;
	g->since_ns = now;
	w->stats.holds++;
	return wait;
}

static void release(struct way *w, struct gate *g, uint64_t now)
{
	if (!g->waits)
		return;
	g->waits = false;
	w->stats.held_ns += now - g->since_ns;
}

/* -- packets ------------------------------------------------------------- */

unsigned net_limit_ask(struct net_limit *l, enum net_way way, unsigned pair,
		       unsigned max)
{
	struct lane *lane = &l->lane[pair];
	struct gate *g = &lane->gate[way];
	struct way *w = &l->way[way];
	uint64_t now, wait;

	if (vio_likely(!is_limited(l, way)) || !lane->loop || !max)
		return max;
	now = clock_ns();
	pthread_mutex_lock(&l->lock);
	wait = longer(bucket_wait(&w->packets, now),
		      bucket_wait(&w->bytes, now));
	join(l, g, way, now);
	if (!wait && must_yield(l, g, way, now))
		wait = TURN_NS / 2;
	g->asked_ns = now;
	if (wait) {
		wait = hold(w, g, now, wait);
		max = 0;
	} else {
		release(w, g, now);
		max = share(w, now, max);
		g->left = max;
	}
	pthread_mutex_unlock(&l->lock);
	if (!max && wait)
		loop_timer_set(lane->loop, &g->timer, wait);
	return max;
}

/* Packets on a wire: a large one is what it will be cut into. */
static uint64_t pieces(const struct vio_net_packet *pkt)
{
	const struct vio_net_meta *m = &pkt->meta;
	uint32_t len = pkt->len;

	if (!m->gso_type || !m->gso_size)
		return 1;
	len -= m->csum_start < len ? m->csum_start : 0;
	return (len + m->gso_size - 1u) / m->gso_size;
}

void net_limit_take(struct net_limit *l, enum net_way way, unsigned pair,
		    const struct vio_net_packet *pkt, unsigned nr)
{
	struct gate *g = &l->lane[pair].gate[way];
	struct way *w = &l->way[way];
	uint64_t packets = 0, bytes = 0, now;

	if (vio_likely(!is_limited(l, way)))
		return;
	for (unsigned i = 0; i < nr; i++) {
		packets += pieces(&pkt[i]);
		bytes += pkt[i].len;
	}
	now = clock_ns();
	pthread_mutex_lock(&l->lock);
	g->used_ns += longer(bucket_take(&w->packets, now, packets),
			     bucket_take(&w->bytes, now, bytes));
	g->left -= nr < g->left ? nr : g->left;
	pthread_mutex_unlock(&l->lock);
}

bool net_limit_holds(const struct net_limit *l, enum net_way way,
		     unsigned pair)
{
	return l->lane[pair].gate[way].timer.armed;
}

/* -- time ---------------------------------------------------------------- */

static void go_on(struct gate *g)
{
	struct netdev *d = g->lane->limit->dev;

	if (way_of(g) == NET_TX)
		vio_net_go_on(d->net, g->lane->pair);
	else if (d->ops->io.room)
		d->ops->io.room(d, g->lane->pair);
}

static void on_timer(void *ctx)
{
	struct gate *g = ctx;
	struct net_limit *l = g->lane->limit;

	pthread_mutex_lock(&l->lock);
	release(&l->way[way_of(g)], g, clock_ns());
	pthread_mutex_unlock(&l->lock);
	go_on(g);
}

/* The limits are others now: who waits asks again. */
static void on_call(void *ctx)
{
	struct lane *lane = ctx;

	pthread_mutex_lock(&lane->limit->lock);
	lane->called = false;
	pthread_mutex_unlock(&lane->limit->lock);
	for (unsigned i = 0; i < NET_WAYS; i++) {
		if (!lane->gate[i].timer.armed)
			continue;
		loop_timer_cancel(lane->loop, &lane->gate[i].timer);
		on_timer(&lane->gate[i]);
	}
}

void net_limit_attach(struct net_limit *l, unsigned pair, struct loop *loop)
{
	struct lane *lane = &l->lane[pair];

	for (unsigned i = 0; i < NET_WAYS; i++)
		lane->gate[i].timer = (struct loop_timer){
			.fn = on_timer, .ctx = &lane->gate[i]
		};
	lane->call = (struct loop_call){ .fn = on_call, .ctx = lane };
	pthread_mutex_lock(&l->lock);
	lane->loop = loop;
	pthread_mutex_unlock(&l->lock);
}

void net_limit_detach(struct net_limit *l, unsigned pair)
{
	struct lane *lane = &l->lane[pair];

	if (!lane->loop)
		return;
	for (unsigned i = 0; i < NET_WAYS; i++)
		loop_timer_cancel(lane->loop, &lane->gate[i].timer);
	/* Under the lock: nobody posts another one to this loop. */
	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < NET_WAYS; i++)
		release(&l->way[i], &lane->gate[i], clock_ns());
	loop_call_cancel(lane->loop, &lane->call);
	lane->called = false;
	lane->loop = NULL;
	pthread_mutex_unlock(&l->lock);
}

/* -- life ---------------------------------------------------------------- */

void net_limit_set(struct net_limit *l, const struct net_limit_conf *conf)
{
	uint64_t now = clock_ns();

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < NET_WAYS; i++) {
		const struct net_limit_way *c = &conf->way[i];
		uint64_t burst_ns = c->burst_ms * NS_PER_MS;
		struct way *w = &l->way[i];

		bucket_set(&w->packets, c->packets, burst_ns, now);
		bucket_set(&w->bytes, c->bytes, burst_ns, now);
		__atomic_store_n(&w->limited, c->packets || c->bytes,
				 __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < l->nr; i++) {
		struct lane *lane = &l->lane[i];

		if (!lane->loop || lane->called)
			continue;
		lane->called = true;
		loop_post(lane->loop, &lane->call);
	}
	pthread_mutex_unlock(&l->lock);
}

void net_limit_look(struct net_limit *l, enum net_way way,
		    struct net_limit_stats *stats)
{
	uint64_t now = clock_ns();

	pthread_mutex_lock(&l->lock);
	*stats = l->way[way].stats;
	/* Those who wait now, so far. */
	for (unsigned i = 0; i < l->nr; i++) {
		const struct gate *g = &l->lane[i].gate[way];

		if (g->waits)
			stats->held_ns += now - g->since_ns;
	}
	pthread_mutex_unlock(&l->lock);
}

int net_limit_open(struct net_limit **limit, struct netdev *d, unsigned pairs,
		   const struct net_limit_conf *conf)
{
	struct net_limit *l;

	pairs = pairs ? pairs : 1;
	l = calloc(1, sizeof(*l) + pairs * sizeof(l->lane[0]));
	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->dev = d;
	l->nr = pairs;
	for (unsigned i = 0; i < pairs; i++) {
		l->lane[i].limit = l;
		l->lane[i].pair = i;
		for (unsigned k = 0; k < NET_WAYS; k++)
			l->lane[i].gate[k].lane = &l->lane[i];
	}
	net_limit_set(l, conf);
	*limit = l;
	return 0;
}

void net_limit_close(struct net_limit *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}
