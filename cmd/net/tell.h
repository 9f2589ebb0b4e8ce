/* SPDX-License-Identifier: MIT */
/* What a card says of itself over the control socket. */
#ifndef CMD_NET_TELL_H
#define CMD_NET_TELL_H

#include "backend/netdev.h"
#include "host/text.h"

/* As a JSON object. */
void net_tell_limits(struct text *out, const struct net_limit_conf *l);
/* Members of the status. */
void net_tell_status(struct text *out, const struct vio_net *net,
		     const struct netdev *wire,
		     const struct net_limit_conf *l);
/* As OpenMetrics text. */
void net_tell_metrics(struct text *out, const struct vio_net *net,
		      const struct netdev *wire,
		      const struct net_limit_conf *l);

#endif
