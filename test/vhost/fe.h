/* SPDX-License-Identifier: MIT */
/*
 * A tiny front end with a tiny device behind the back end under test, in one
 * thread: it sends messages of any kind, right or wrong, and lets the back
 * end move when told. It shares no code with the front-end library, so that
 * neither can hide the other's mistakes.
 */
#ifndef TEST_VHOST_FE_H
#define TEST_VHOST_FE_H

#include <vireo/vhu.h>

#include <vireo/vhu_msg.h>
#include "vhost/sock.h"
#include "vtest.h"

#define FE_QUEUES	3
#define FE_RING		16
#define FE_MEM		(1u << 20)
/* Addresses that differ from each other and from ours. */
#define FE_GUEST	0x40000000ull
#define FE_USER		0x7f0000000000ull
/* What a request is answered with. */
#define FE_ANSWER	"vireo"

struct fe_queue {
	/* The back end's wishes. */
	int watched;		/* kick descriptor; -1: poll */
	bool is_watched;
	bool woken;
	/* The driver's side of the ring. */
	uint16_t avail_idx;
	uint16_t used_seen;
	int kick_fd;		/* ours, of an eventfd that both have */
	int call_fd;
};

struct fe {
	struct vhu_server *s;
	int sock;		/* our end */
	struct vhu_sock in;	/* replies */
	int ended;		/* what vhu_server_readable() ended with */
	char log[256];		/* the last line at level ERROR */
	unsigned logs;

	int memfd;
	unsigned char *mem;
	unsigned guarded;	/* mappings in force */
	unsigned told;		/* of them, memory of the guest's */

	struct vio_dev dev;
	struct vio_queue queue[FE_QUEUES];
	void *storage[FE_QUEUES];
	unsigned char config[60];
	bool fill;		/* answers fill the buffer, differently */
	unsigned char filling;
	bool hold;		/* the device keeps what it pops */
	struct vio_req *held[64];
	unsigned nr_held;
	unsigned resets;
	unsigned drains;
	unsigned config_laters;
	bool dispute;		/* the device refuses all features */
	bool threaded;		/* others let the back end move */
	bool busy;		/* the back end may never come to rest */

	struct fe_queue q[FE_QUEUES];
};

/* A back end with a connection, nothing negotiated. */
void fe_open(struct fe *f);
/* The same in an environment of the caller's; its context is @f. */
void fe_open_in(struct fe *f, const struct vhu_env_ops *env);
/* What fe_open() takes for it. */
const struct vhu_env_ops *fe_env(void);
/* And with what else @conf says; device, context and log are the test's. */
void fe_open_with(struct fe *f, const struct vhu_conf *conf);
/* Another connection after the first ended. */
void fe_reopen(struct fe *f);
void fe_close(struct fe *f);

/* Let the back end do all that it can do now. */
void fe_step(struct fe *f);

/* Send @size bytes of @payload with @nr descriptors, and step. */
void fe_send(struct fe *f, uint32_t request, uint32_t flags,
	     const void *payload, uint32_t size, const int *fd, unsigned nr);
void fe_send_u64(struct fe *f, uint32_t request, uint64_t v);
void fe_send_state(struct fe *f, uint32_t request, uint32_t index,
		   uint32_t num);
/* Same with a descriptor. */
void fe_send_fd(struct fe *f, uint32_t request, uint64_t v, int fd);

/* The reply to @request is there: in f->in.in. */
void fe_expect(struct fe *f, uint32_t request, uint32_t size);
/* Ask and get a number. */
uint64_t fe_get_u64(struct fe *f, uint32_t request);
/* Send with NEED_REPLY and give the answer: 0 is success. */
uint64_t fe_ask(struct fe *f, uint32_t request, const void *payload,
		uint32_t size, const int *fd, unsigned nr);
/* No reply is there. */
void fe_expect_silence(struct fe *f);

/* Protocol features and features, the usual way. */
void fe_negotiate(struct fe *f, uint64_t protocol, uint64_t features);
/* One region: all of f->mem. */
void fe_send_memory(struct fe *f);
/* The steps of setting a ring up, and all of them in QEMU's order. */
void fe_send_addr(struct fe *f, unsigned q);
void fe_send_kick_fd(struct fe *f, unsigned q);
void fe_send_call_fd(struct fe *f, unsigned q);
void fe_send_ring(struct fe *f, unsigned q);

/* Offer one buffer to write on, without a kick. */
void fe_offer(struct fe *f, unsigned q);
void fe_kick(struct fe *f, unsigned q);
/* How many buffers came back since last asked; checks each one's bytes. */
unsigned fe_used(struct fe *f, unsigned q);
/* How often it was called since last asked. */
unsigned fe_calls(struct fe *f, unsigned q);
/* The device gives back what it kept. */
void fe_release(struct fe *f);

/* Open descriptors of this process. */
int fe_open_fds(void);

#endif
