/* SPDX-License-Identifier: MIT */
/*
 * netrig.h - a network device of two pairs under test: a rig for each of its
 * five queues, and a wire that keeps what it is sent. Judges nothing.
 */
#ifndef TEST_CORE_NETRIG_H
#define TEST_CORE_NETRIG_H

#include <vireo/net.h>

#include "test/core/rig.h"

enum { RX0, TX0, RX1, TX1, CTRL, NETRIG_QUEUES };

#define NETRIG_BUFFER	0x800u	/* guest bytes of each receive buffer */

struct netrig {
	struct rig ring[NETRIG_QUEUES];	/* the first is the transport's */
	struct vio_queue queue[NETRIG_QUEUES];
	struct vio_net net;
	struct vio_net_conf conf;	/* may be changed before the start */
	unsigned offered[NETRIG_QUEUES];

	/* the wire */
	unsigned nr_sent, sent_pair;
	uint32_t sent_len;
	struct vio_net_meta sent_meta;
	unsigned char sent[VIO_NET_PACKET_MAX];
	/* of each packet sent, in order, the first so many */
	struct { uint32_t len; unsigned char byte[2048]; } log[64];

	unsigned char scratch[2 * VIO_NET_PACKET_MAX];
	unsigned char mail[2][VIO_NET_MAIL_MIN]
		__attribute__((aligned(8)));
};

/* Two pairs, software offloads, one thread. */
void netrig_init(struct netrig *n);
/* Negotiate all that is offered but the features @off; start all queues. */
void netrig_start(struct netrig *n, const unsigned *off, unsigned nr);

/* A command; the reply's @reply_len bytes follow the acknowledgement. */
unsigned netrig_command(struct netrig *n, uint8_t class_, uint8_t cmd,
			const void *data, uint32_t len, void *reply,
			uint32_t reply_len, uint32_t *used);
/* Give @nr receive buffers. */
void netrig_offer(struct netrig *n, unsigned q, unsigned nr);
/* The next packet of a receive queue, header included, or NULL. */
unsigned char *netrig_got(struct netrig *n, unsigned q, uint32_t *len);
/* Send @len bytes with a header that is there. */
void netrig_send(struct netrig *n, unsigned q, const struct virtio_net_hdr *h,
		 const void *bytes, uint32_t len);

#endif
