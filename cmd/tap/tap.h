/* SPDX-License-Identifier: MIT */
/*
 * The insides of vireo-tap: main.c (options, files), relay.c (messages and
 * descriptors pass through), signals.c (kicks and calls pass through),
 * memory.c (the guest's memory, to look at), iotlb.c (what I/O addresses mean),
 * rings.c (what happens in rings), dissector.c (for Wireshark).
 */
#ifndef TAP_TAP_H
#define TAP_TAP_H

#include <stdatomic.h>
#include <vireo/look.h>

#include "host/loop.h"
#include "host/sock.h"
#include "host/tapfile.h"
#include "vhost/sock.h"

#define TAP_QUEUES	256u
#define TAP_REGIONS	512u

struct tap;
struct tlb_entry;

/* A kick or call descriptor: what is read from one is written to another. */
struct signal_path {
	struct tap *tap;
	struct loop_fd from;	/* fd -1: none */
	int to;
	uint16_t queue;
	bool is_call;
};

struct region {
	struct vhu_region where;
	void *map;		/* read-only */
	size_t map_len;
	const unsigned char *bytes;	/* where.size of them */
};

struct ring_watch {
	/* As told by messages. */
	uint32_t num, base;
	bool have_addr, kicked_off, enabled;
	struct vhu_vring_addr addr;
	/* While it is looked at. */
	bool watched;
	bool blind;			/* its place is not known now */
	struct vio_ring_areas areas;
	uint16_t avail_pos, used_pos;	/* index, or packed position */
	uint64_t *since;		/* by head or id; 0: not pending */
	uint16_t *entries;		/* packed: of the ring, by id */
	uint16_t *order;		/* heads as they became available */
	uint32_t order_in, order_out;
	uint32_t pending;
	uint64_t missed;		/* came and went between two looks */
	bool kick_seen, call_seen;
	uint16_t avail_at_kick, used_at_call;
	struct ring_state told;		/* the last state recorded */
	enum ring_grade grade;
};

struct tap {
	/* Options. */
	const char *back_path;
	FILE *out, *lines;		/* either may be NULL */
	bool rings;
	uint64_t look_ns;
	uint32_t stuck_ms;
	bool once;

	struct loop loop;
	struct sock listen;
	struct loop_fd listen_fd, signal_fd, lost_fd;
	struct loop_timer look_timer;
	uint64_t state_ns;		/* when states were told last */
	atomic_bool lost;
	uint64_t start_ns;
	uint32_t session;
	bool failed;			/* the record cannot be written */

	/* The session. */
	bool open;
	struct vhu_sock front, back;	/* the main channel */
	struct vhu_sock own_front, own_back;	/* the back end's requests */
	struct loop_fd watch[4];
	uint64_t features, protocol;
	unsigned nr_regions;
	struct region region[TAP_REGIONS];
	struct tlb_entry *tlb;		/* by address; NULL: nothing told */
	unsigned nr_tlb;
	struct signal_path kick[TAP_QUEUES], call[TAP_QUEUES];
	struct ring_watch ring[TAP_QUEUES];
};

uint64_t tap_now(void);		/* ns since 1970 */
/* Print and write it; its time and session are filled in. */
void tap_tell(struct tap *t, struct tap_event *e);
/* A remark, on a queue or TAP_NO_QUEUE. */
void tap_note(struct tap *t, uint16_t queue, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* -- relay.c -------------------------------------------------------------- */

void relay_start(struct tap *t, int front_fd);
void relay_end(struct tap *t, const char *why);

/* -- signals.c ------------------------------------------------------------ */

/*
 * Put ourselves between: @fd is the front end's, from now on ours. Returns
 * what the back end gets instead, which stays ours; or -errno.
 */
int signal_between(struct tap *t, uint16_t queue, bool is_call, int fd);
void signal_drop(struct signal_path *s);

/* -- memory.c ------------------------------------------------------------- */

void memory_table(struct tap *t, const struct vhu_msg *msg);
void memory_add(struct tap *t, const struct vhu_msg *msg);
void memory_remove(struct tap *t, const struct vhu_msg *msg);
void memory_drop(struct tap *t);
/* NULL: not in one region. */
const void *memory_at_user(const struct tap *t, uint64_t addr, uint64_t len);
const void *memory_at_guest(const struct tap *t, uint64_t addr, uint64_t len);

/* -- iotlb.c -------------------------------------------------------------- */

/* The front end says this of I/O addresses. */
void iotlb_message(struct tap *t, const struct vhu_msg *msg);
/* NULL: not known, or not in one region. @len is not 0. */
const void *iotlb_at(const struct tap *t, uint64_t addr, uint64_t len);
void iotlb_drop(struct tap *t);

/* -- rings.c -------------------------------------------------------------- */

/* The front end said this, and the back end has it. */
void rings_message(struct tap *t, const struct vhu_msg *msg);
/* All rings anew: the memory changed, or what addresses mean. */
void rings_again(struct tap *t);
/* Does a part of any lie there? */
bool rings_lie_in(const struct tap *t, uint64_t first, uint64_t last);
void rings_look(struct tap *t, uint16_t queue);
void rings_kick(struct tap *t, uint16_t queue);
void rings_call(struct tap *t, uint16_t queue);
/* Look at all; tell states and what is stuck when it is time to. */
void rings_tick(struct tap *t);
void rings_drop(struct tap *t);

/* -- dissector.c ---------------------------------------------------------- */

void dissector_print(FILE *to);

#endif
