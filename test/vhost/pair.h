/* SPDX-License-Identifier: MIT */
/*
 * pair.h - both ends of vhost-user in one process: the back end of fe.h on a
 * thread of its own, our front end and a driver on the test's.
 */
#ifndef TEST_VHOST_PAIR_H
#define TEST_VHOST_PAIR_H

#include <pthread.h>
#include <vireo/vhu_client.h>

#include "fe.h"

#define PAIR_WINDOW	(1u << 20)
#define PAIR_RINGS	(1u << 18)
#define PAIR_GUEST	0x200000ull

struct pair {
	struct fe f;
	pthread_t thread;
	int stop;		/* an eventfd */

	struct vhu_client *c;
	struct vhu_client_conf conf;
	struct vio_drv_mem mem;
	struct vio_drv drv;
	struct vio_vq vq;
	unsigned char *data;	/* shared, behind the rings */
	void *priv;
};

/* The back end; its thread starts with pair_connect(). */
void pair_open(struct pair *p, const struct vhu_conf *wishes);
/* The front end; p->conf may have been changed before. */
int pair_connect(struct pair *p);
/* Run @fn(@arg) on a thread of its own while the front end serves what is
 * asked; gives what it returned. */
int pair_ask(struct pair *p, int (*fn)(void *arg), void *arg);
/* A driver with one queue and these features too. */
void pair_drive(struct pair *p, uint64_t features);
/* One buffer there and back; checks the answer. */
void pair_exchange(struct pair *p);
void pair_close(struct pair *p);

#endif
