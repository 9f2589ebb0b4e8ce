/* SPDX-License-Identifier: MIT */
/*
 * Limits of a network port: packets and bytes a second, for each direction
 * and for all its pairs together. What the guest sends beyond waits in its
 * ring, what comes for it waits where the wire keeps it. Knows no wire.
 *
 * Directions are the guest's.
 */
#ifndef BACKEND_NET_LIMIT_H
#define BACKEND_NET_LIMIT_H

#include <vireo/net.h>

#include "host/loop.h"

enum net_way { NET_TX, NET_RX, NET_WAYS };

struct net_limit_way {
	uint64_t packets, bytes;	/* a second; 0: no limit */
	unsigned burst_ms;	/* what so long a pause gives comes at once */
};

#define NET_LIMIT_BURST_MS	50u	/* unless somebody says otherwise */

struct net_limit_conf {
	struct net_limit_way way[NET_WAYS];
};

/* What the limits did since the beginning. */
struct net_limit_stats {
	uint64_t holds;		/* times that a pair had to wait */
	uint64_t held_ns;	/* and how long, of all pairs together */
};

struct netdev;
struct net_limit;

int net_limit_open(struct net_limit **l, struct netdev *d, unsigned pairs,
		   const struct net_limit_conf *conf);
/* All pairs are detached. NULL: nothing happens. */
void net_limit_close(struct net_limit *l);

/* Pair's thread. Without its loop, a pair is not limited. */
void net_limit_attach(struct net_limit *l, unsigned pair, struct loop *loop);
void net_limit_detach(struct net_limit *l, unsigned pair);

/* Any thread. Who waits is told. */
void net_limit_set(struct net_limit *l, const struct net_limit_conf *conf);
/* Any thread. */
void net_limit_look(struct net_limit *l, enum net_way way,
		    struct net_limit_stats *stats);

/*
 * How many of @max packets may pass now. 0: none; on the pair's thread,
 * vio_net_go_on() or the back end's room() will be called. Pair's thread.
 */
unsigned net_limit_ask(struct net_limit *l, enum net_way way, unsigned pair,
		       unsigned max);
/* These did. Pair's thread. */
void net_limit_take(struct net_limit *l, enum net_way way, unsigned pair,
		    const struct vio_net_packet *pkt, unsigned nr);
/* Is the pair waiting, so that it will be told? Pair's thread. */
bool net_limit_holds(const struct net_limit *l, enum net_way way,
		     unsigned pair);

#endif
