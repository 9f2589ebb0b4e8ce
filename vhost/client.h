/* SPDX-License-Identifier: MIT */
/*
 * vhost/client.h - the insides of the front end's side, shared by its parts:
 * client.c (the bus), client_msg.c (questions and answers), client_events.c
 * (what the back end asks), client_shmem.c (what it shows us of its memory),
 * client_life.c (connecting, again and again).
 */
#ifndef VHOST_CLIENT_H
#define VHOST_CLIENT_H

#include <vireo/vhu_client.h>
#include <vireo/vhu_msg.h>

#include "vhost/sock.h"

struct vhu_client_ring {
	struct vio_queue_layout layout;
	uint32_t base;		/* packed: at its start, or its last stop */
	int kick;		/* eventfds, -1 where there is none */
	int call;
	bool wanted;		/* the driver set it up */
	bool running;
	/* A page of the back end's that takes notifications. The queue's
	 * thread may be about to write to it: it stays mapped to the end. */
	void *notifier_page;	/* NULL: never had one */
	bool notified;		/* in use; atomic */
};

struct vhu_client_shmem;

/* Regions of memory that we handle. */
#define VHU_CLIENT_SLOTS	64

struct vhu_client_slot {
	struct vhu_region region;
	int fd;
	bool sent;		/* the back end has it */
};

struct vhu_client_log {
	int fd;			/* -1: no log */
	int signal;		/* the back end signals that it marked */
	uint64_t *bits;
	uint64_t size;		/* bytes */
};

/* Misses of I/O addresses that wait for their turn. */
#define VHU_CLIENT_MISSES	64

struct vhu_client_miss {
	uint64_t iova;
	unsigned perm;
};

struct vhu_client {
	struct vhu_sock sock;
	struct vhu_msg out;
	struct vhu_sock events;	/* the back end's own requests */
	int changes;		/* of the configuration, not told yet */
	struct vhu_client_shmem *shmem;	/* NULL: no regions */
	struct vhu_client_slot slot[VHU_CLIENT_SLOTS];
	unsigned nr_slots;
	unsigned max_slots;	/* what the back end takes */
	struct vhu_client_log log;
	bool asking;		/* an answer is waited for */
	bool telling;		/* what was missed */
	struct vhu_client_miss missed[VHU_CLIENT_MISSES];
	unsigned nr_missed;
	struct vhu_client_conf conf;
	uint64_t pf;		/* protocol features in force */
	uint64_t offered;
	uint64_t features;	/* the driver's */
	struct vhu_inflight inflight;	/* what inflight_fd is */
	int inflight_fd;	/* record of requests; -1: none */
	uint32_t status;	/* where the back end keeps none */
	unsigned nr_queues;
	bool has_pf;		/* bit 30 was offered */
	struct vhu_client_ring ring[VHU_CLIENT_QUEUES];
};

static inline bool vhu_client_has(const struct vhu_client *c, unsigned pf)
{
	return c->pf >> pf & 1;
}

/* -- client_msg.c: 0 or -errno -------------------------------------------- */

int64_t vhu_client_now_ms(void);
/* Send c->out, which has an answer of its own of at least @min bytes. */
int vhu_ask(struct vhu_client *c, uint32_t min);
/* Send c->out, which has none; with REPLY_ACK it gets one. */
int vhu_tell(struct vhu_client *c);
int vhu_ask_u64(struct vhu_client *c, uint32_t request, uint64_t *v);
int vhu_tell_u64(struct vhu_client *c, uint32_t request, uint64_t v);
int vhu_tell_state(struct vhu_client *c, uint32_t request, uint32_t index,
		   uint32_t num);
int vhu_tell_fd(struct vhu_client *c, uint32_t request, uint32_t index,
		int fd);

/* -- client.c ------------------------------------------------------------- */

/* Begin or end to log, as c->log says. 0 or -errno. */
int vhu_client_tell_logging(struct vhu_client *c);
bool vhu_client_is_packed(const struct vhu_client *c);
void vhu_client_forget_inflight(struct vhu_client *c);
void vhu_client_notify(void *bus, uint16_t index, uint16_t next);
/* Tell a successor what the driver agreed on and set up. */
int vhu_client_again(struct vhu_client *c);

/* -- client_events.c ------------------------------------------------------ */

/* Give the back end a channel, where it can use one. */
int vhu_client_open_events(struct vhu_client *c);
/* Serve what is there; 0 or -errno. */
int vhu_client_serve(struct vhu_client *c);

/* -- client_mem.c: 0 or -errno -------------------------------------------- */

void vhu_client_init_memory(struct vhu_client *c);
/* How many slots it takes; a back end that has none of them yet. */
int vhu_client_ask_slots(struct vhu_client *c);
int vhu_client_send_memory(struct vhu_client *c);
/* The log, if there is one. */
int vhu_client_send_log(struct vhu_client *c);
void vhu_client_free_memory(struct vhu_client *c);

/* -- client_shmem.c ------------------------------------------------------- */

/* Protocol features for which there is a hook, or a wish. */
uint64_t vhu_client_wishes(const struct vhu_client_conf *conf);
/* Ask which regions there are, and make room. 0 or -errno. */
int vhu_client_ask_shmem(struct vhu_client *c);
/* Nothing of the back end's is shown any more: reset, or another back end. */
void vhu_client_unshow(struct vhu_client *c);
void vhu_client_free_shmem(struct vhu_client *c);
/* What the driver asks; see struct vio_bus_ops. */
int vhu_client_bus_shm(void *bus, uint8_t id, struct vio_shm *shm);

/* -- client_iotlb.c ------------------------------------------------------- */

/* Are the driver's addresses I/O addresses? */
bool vhu_client_has_iommu(const struct vhu_client *c);
/* Where an I/O address is here; NULL: nowhere. */
void *vhu_client_host_of(struct vhu_client *c, uint64_t iova);
/* The guest address of shared memory; 0 where it is none. */
uint64_t vhu_client_guest_of(const struct vhu_client *c, const void *host);
/* Tell where the parts of a ring are. 0 or -errno. */
int vhu_client_tell_ring(struct vhu_client *c,
			 const struct vio_queue_layout *l);
/* Tell what was missed, if this is the moment for it. 0 or -errno. */
int vhu_client_tell_missed(struct vhu_client *c);

/* Requests of the back end: 0 or -errno, which it learns if it asked. */
typedef int vhu_client_event(struct vhu_client *c, struct vhu_msg *msg);

vhu_client_event vhu_client_on_map, vhu_client_on_unmap;
vhu_client_event vhu_client_on_notifier, vhu_client_on_iotlb;

#endif
