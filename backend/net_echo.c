/* SPDX-License-Identifier: MIT */
/*
 * The wire that is a mirror: each packet comes back on its pair, copied once,
 * from buffer to buffer. What finds no buffer is lost, as on any wire.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/netdev_kinds.h"

static unsigned echo_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	struct netdev *d = backend;
	unsigned done = netdev_receive(d, pair, pkt, nr);

	if (done < nr)
		vio_net_gave_up(d->net, pair, nr - done);
	return nr;
}

static void echo_close(struct netdev *d)
{
	free(d);
}

static const struct netdev_ops echo_ops = {
	.io = { .send = echo_send },
	.close = echo_close,
};

int netdev_echo_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct netdev *n = calloc(1, sizeof(*n));

	(void)conf;
	if (!n)
		return -ENOMEM;
	n->ops = &echo_ops;
	n->engine = "echo";
	n->threads = true;
	/* It comes back as it went: the driver is asked what it asked. */
	n->offloads = NETDEV_OFFLOADS;
	*d = n;
	return 0;
}
