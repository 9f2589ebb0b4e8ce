/* SPDX-License-Identifier: MIT */
/*
 * What lies behind a network device: what every kind has in common, and how
 * each is opened. Above it lies the device's ops table (vireo/net.h); it
 * knows no guest and no ring.
 *
 * Order: open, then perhaps enter a sandbox (nothing is opened later), then
 * on each pair's own thread attach, traffic and detach, then close.
 */
#ifndef BACKEND_NETDEV_H
#define BACKEND_NETDEV_H

#include <vireo/net.h>

#include "backend/net_limit.h"
#include "backend/net_record.h"
#include "host/loop.h"

struct netdev;

struct netdev_ops {
	struct vio_net_backend_ops io;	/* backend is the struct netdev */
	/* Pair's thread, before its first packet. 0 or -errno. NULL: none. */
	int (*attach)(struct netdev *d, unsigned pair, struct loop *loop);
	/* Pair's thread; the opposite. NULL: none. */
	void (*detach)(struct netdev *d, unsigned pair);
	/*
	 * The descriptor of a pair, by which a successor goes on (see fd of
	 * struct netdev_conf): it is to be attached when this program reads
	 * no more. -1: it opens its own. NULL: never.
	 */
	int (*file)(const struct netdev *d, unsigned pair);
	/* All pairs are detached. Frees the device. */
	void (*close)(struct netdev *d);
};

struct netdev {
	const struct netdev_ops *ops;
	struct vio_net_backend_ops io;	/* for vio_net_init() */
	struct vio_net *net;	/* whoever opened it sets this */
	struct net_record *record;	/* NULL: none */
	struct net_limit *limit;	/* NULL: none, and never. Whoever
					 * opened it attaches it to loops */
	const char *engine;	/* "slirp": for the log */
	uint16_t mtu;		/* that it carries; 0: it does not care */
	uint64_t offloads;	/* as of struct vio_net_conf */
	/* Packets that found no room at one of several ends, though others
	 * had them: written on one thread, read by any. */
	uint64_t lost;
	bool threads;		/* each pair may have its own; else all are
				 * served, and attached, on one */

	/* What the sandbox must leave it; lists end with NULL and 0. */
	const char *const *syscalls;
	const unsigned long *ioctls;
	bool network;		/* sockets of its own */
	const char *read_replaced;	/* a file, as of host/sandbox.h */
	int unlink_dir_fd;	/* a folder to tidy at the end; 0: none */
};

/* All that a driver may leave to be done. */
#define NETDEV_OFFLOADS						\
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 |	\
	 1ull << VIRTIO_NET_F_HOST_TSO6 |				\
	 1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_HOST_USO)

#define NETDEV_FILES 4u

struct netdev_conf {
	const char *kind;	/* "user", "tap=NAME" */
	const char *argument;	/* netdev_open() sets this: NAME */
	unsigned pairs;
	/* NETDEV_FILES descriptors for the first pairs, or NULL: what a
	 * predecessor had, or -1. What is taken is -1 then, and closed with
	 * the device; the rest stays the caller's. */
	int *fd;
	unsigned mtu;		/* 0: its own */
	bool closed;		/* the sandbox is: no system calls beyond it */
	const struct net_limit_conf *limits;	/* NULL: never any */
	const char *record;	/* a file for all packets; or NULL */
	const char *filter;	/* of what is recorded, or replayed; or NULL */
	/* of pcap */
	bool fast;		/* as fast as the guest takes them */
	/* of user */
	const char *hostfwd;	/* rules with commas between; or NULL */
	bool host_loopback;	/* the guest reaches 127.0.0.1 as 10.0.2.2 */
	bool restricted;	/* it reaches nothing but forwarded ports */
};

/* Open a back end. 0, or -errno after an error line. */
int netdev_open(struct netdev **d, const struct netdev_conf *conf);
void netdev_close(struct netdev *d);

/* For back ends: vio_net_receive(), as far as limits permit, and recorded. */
static inline unsigned netdev_receive(struct netdev *d, unsigned pair,
				      const struct vio_net_packet *pkt,
				      unsigned nr)
{
	unsigned done;

	if (d->limit)
		nr = net_limit_ask(d->limit, NET_RX, pair, nr);
	done = nr ? vio_net_receive(d->net, pair, pkt, nr) : 0;
	if (!done)
		return 0;
	if (d->limit)
		net_limit_take(d->limit, NET_RX, pair, pkt, done);
	if (d->record)
		net_record_add(d->record, pkt, done);
	return done;
}

/* For back ends: vio_net_want_room(), where it is room that is wanting. */
static inline void netdev_want_room(struct netdev *d, unsigned pair)
{
	if (!d->limit || !net_limit_holds(d->limit, NET_RX, pair))
		vio_net_want_room(d->net, pair);
}

#endif
