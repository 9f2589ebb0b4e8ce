/* SPDX-License-Identifier: MIT */
/* vireo-net's card and wire: from the command line to a back end. */
#ifndef CMD_NET_OPTIONS_H
#define CMD_NET_OPTIONS_H

#include "backend/netdev.h"
#include "host/opt.h"

/* Of one card. */
struct net_opt {
	const char *backend, *mac, *hostfwd, *record, *filter;
	unsigned mtu, queue_size, speed, pairs;
	bool host_loopback, restricted, standby, fast, closed;
	struct net_limit_conf limits;
	bool may_change;	/* the limits, later */
};

extern struct net_opt net_opt;	/* what net_options write to */
extern const struct opt net_options[];

/* What they say of the device. 0, or -EINVAL after an error line. */
int net_check_options(const struct net_opt *o, struct vio_net_conf *conf);

/* Does its wire make connections to elsewhere, and not only to this host? */
bool net_connects(const struct net_opt *o);

/* 0, or -errno after an error line. @fd: see struct netdev_conf. */
int net_open_wire(const struct net_opt *o, int fd[NETDEV_FILES],
		  struct netdev **wire);

/* "tx-bytes=1M": into @limits. 0 or -errno. */
int net_limit_word(struct net_limit_conf *limits, const char *word);

#endif
