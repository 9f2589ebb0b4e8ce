/* SPDX-License-Identifier: MIT */
/*
 * net_steer.h - which receive queue a packet goes to, and how it gets there
 * when another thread has that queue. Knows no command of the driver's.
 */
#ifndef CORE_DEVICE_NET_STEER_H
#define CORE_DEVICE_NET_STEER_H

#include <vireo/net.h>

/*
 * What the driver says by its commands is read by all pairs' threads. They
 * are between enter and leave (which nest) while they use it; it is changed
 * while none is: between lock and unlock. Without threads these do nothing.
 */
void vio_net_enter(struct vio_net *net, unsigned pair);
void vio_net_leave(struct vio_net *net, unsigned pair);
void vio_net_lock(struct vio_net *net);
void vio_net_unlock(struct vio_net *net);

/* As vio_net_receive(), where there are pairs to choose from. */
unsigned vio_net_steer(struct vio_net *net, unsigned pair,
		       const struct vio_net_packet *pkt, unsigned nr);

/* The pair's own queue. net_rx.c */
unsigned vio_net_receive_here(struct vio_net *net, unsigned pair,
			      const struct vio_net_packet *pkt, unsigned nr);

/* What other threads left for this pair. Pair's thread. */
void vio_net_mail_take(struct vio_net *net, unsigned pair);
/* Forget it. */
void vio_net_mail_drop(struct vio_net *net, unsigned pair);

/* The driver sent these on this pair: what answers them comes there. */
void vio_net_learn(struct vio_net *net, unsigned pair,
		   const struct vio_net_packet *pkt, unsigned nr);

static inline bool vio_net_learns(const struct vio_net *net)
{
	return __atomic_load_n(&net->learns, __ATOMIC_RELAXED);
}

/* The hash for the packet's header, by what the driver enabled. */
void vio_net_hash(const struct vio_net *net, const struct vio_net_packet *pkt,
		  struct vio_net_meta *meta);

#endif
