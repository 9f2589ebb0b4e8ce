/* SPDX-License-Identifier: MIT */
/*
 * vhost/server.h - the insides of the vhost-user back end, shared by its
 * parts: server.c (session, dispatch), device.c (features, status,
 * configuration), ring.c (ring states), map.c (memory), log.c (what was
 * written to), span.c (files of the front end's, mapped), notify.c (calls),
 * unblock.c (calls that block), back.c (what we ask of the front end),
 * post.c (memory whose pages are yet to come).
 */
#ifndef VHOST_SERVER_H
#define VHOST_SERVER_H

#include <pthread.h>
#include <vireo/spec/virtio.h>
#include <vireo/vhu.h>

#include <vireo/vhu_msg.h>
#include "sock.h"

/*
 * A ring is started or not, and enabled or not; the two are independent,
 * as front ends send them in any order. See next_state[] in ring.c.
 */
enum vhu_ring_state {
	VHU_RING_STOPPED,	/* disabled; will be started as disabled */
	VHU_RING_STOPPED_ON,	/* enabled; will run once it is started */
	VHU_RING_DISABLED,	/* started but disabled: not processed */
	VHU_RING_RUNNING,	/* started and enabled */
};

enum vhu_ring_event {
	VHU_EV_START,		/* configured, and told where kicks come from */
	VHU_EV_STOP,		/* GET_VRING_BASE, reset, the end */
	VHU_EV_ENABLE,
	VHU_EV_DISABLE,
};

/* What a queue waits for behind an IOMMU (iotlb.c). */
struct vhu_miss {
	uint64_t io;		/* under the table's lock, like all up to */
	unsigned perm;
	bool waits;
	bool answered;		/* something came for io since: here */
	bool asked;		/* queue's thread's, like all below */
	unsigned count;		/* without a request in between */
	uint16_t avail_next, done;
};

/* What a queue's thread signals, and somebody watches (unblock.c). */
enum vhu_watched { VHU_WATCHED_CALL, VHU_WATCHED_ERR, VHU_WATCHED };

struct vhu_ring {
	struct vhu_server *s;
	uint16_t index;

	/* Control thread's. */
	uint8_t state;			/* enum vhu_ring_state */
	bool kicked;			/* where kicks come from is known */
	uint16_t num;			/* 0: not told yet */
	bool have_addr;
	bool leaves;			/* its stop need not wait */
	uint32_t base;			/* as on the wire, while stopped */
	struct vhu_vring_addr addr;
	struct vio_queue_layout layout;	/* while started */

	/* Changed by the queue's thread while it is not watched. */
	int kick_fd;
	bool poll;			/* no kicks will come */
	bool kick_may_block;

	/* Queue's thread's. */
	bool live;			/* state is VHU_RING_RUNNING */
	bool break_told;
	bool call_may_block;
	bool call_owed;			/* by message, for lack of room */
	bool resumed;			/* started where another left off */
	uint64_t done;			/* requests done before this start */
	int call_fd;
	int err_fd;
	struct vhu_miss miss;
	uint32_t calls;			/* odd: in one; atomic */
	bool call_dead;			/* it blocked; atomic */
	bool wake_later;		/* atomic */

	/* Under calls_lock. */
	uint32_t calls_seen;
	int watch_fd[VHU_WATCHED];	/* -1: none, or no eventfd */
};

struct vhu_map;
struct vhu_tlb;
struct vhu_state;
struct vhu_inflight_map;
struct vhu_log;

struct vhu_server {
	struct vhu_conf conf;
	struct vio_dev *dev;
	struct vhu_sock sock;
	struct vhu_msg out;

	uint64_t features;		/* as the front end set them */
	uint64_t protocol;		/* likewise */
	bool protocol_set;		/* it said so in this session */
	uint8_t status;			/* as the front end wrote it */

	bool inheriting;		/* vhu_server_take_over() runs */
	int inherited;			/* what it got; -1: nothing yet */

	struct vhu_map *map;		/* pinned; NULL: none */
	struct vhu_tlb *tlb;		/* NULL: no IOMMU is offered */
	struct vhu_state *state;	/* on its way; NULL: none */
	struct vhu_state *state_hangs;	/* could not be stopped; or NULL */
	void *arrived;			/* for the first start, or NULL */
	uint32_t arrived_len;
	struct vhu_inflight_map *inflight;	/* NULL: none */
	bool told_no_memory;
	bool clogged;			/* a message waits for room to answer */

	pthread_mutex_t maps_lock;
	struct vhu_map *maps;		/* all that live, in use or not */

	struct vhu_log *log;		/* read by queues' threads; atomic */
	int log_fd;			/* likewise; -1: none */
	bool log_marked;		/* since the last signal; atomic */
	bool log_short;			/* said so; atomic */
	bool log_may_block;		/* log_fd; atomic */
	bool log_dead;			/* it blocked; atomic */

	/* The channel for our own requests. Under the lock, any thread. */
	pthread_mutex_t back_lock;
	int back_fd;
	unsigned back_life;		/* grows when back_fd is closed */
	uint64_t back_protocol;		/* features in force */
	bool back_config;		/* CONFIG_CHANGE_MSG may be sent */
	bool back_call;			/* VRING_CALL may be sent */
	unsigned back_again;		/* CONFIG_CHANGE_MSG to be repeated */
	unsigned back_tries;		/* for which there was no room */
	pthread_mutex_t back_ask;	/* one at a time waits for an answer */

	pthread_mutex_t calls_lock;
	bool calls_watched;		/* atomic */
	int log_watch;		/* as vhu_ring.watch_fd; under the lock */

	/*
	 * Postcopy. The control thread's; another one that looks takes the
	 * lock, and so does who changes the first two.
	 */
	pthread_mutex_t post_lock;
	int post_fd;			/* userfaultfd; -1: not advised */
	bool post_listening;		/* pages may be missing */
	struct vhu_map *post_map;	/* next one, until acknowledged */

	unsigned nr_rings;
	struct vhu_ring ring[];
};

/* Of no meaning without a record of requests in flight. */
#define VHU_PF_LEAVE \
	(VHU_PF(GET_VRING_BASE_INFLIGHT) | VHU_PF(GET_VRING_BASE_SKIP_DRAIN))

/* The protocol features that we have; all else is refused. */
#define VHU_PROTOCOL_OFFERED \
	(VHU_PF(MQ) | VHU_PF(LOG_SHMFD) | VHU_PF(RARP) | \
	 VHU_PF(REPLY_ACK) | VHU_PF(MTU) | VHU_PF(CROSS_ENDIAN) | \
	 VHU_PF(GPA_ADDRESSES) | VHU_PF(DEVICE_STATE) | \
	 VHU_PF(BACKEND_REQ) | VHU_PF(CONFIG) | VHU_PF(INFLIGHT_SHMFD) | \
	 VHU_PF(RESET_DEVICE) | VHU_PF(INBAND_NOTIFICATIONS) | \
	 VHU_PF(CONFIGURE_MEM_SLOTS) | VHU_PF(STATUS) | \
	 VHU_PF(BACKEND_SEND_FD) | VHU_PF(HOST_NOTIFIER) | \
	 VHU_PF(CRYPTO_SESSION) | VHU_PF(SHARED_OBJECT) | VHU_PF(SHMEM) | \
	 VHU_PF(PAGEFAULT) | VHU_PF_LEAVE)

#define VHU_F_PROTOCOL	((uint64_t)1 << VHOST_USER_F_PROTOCOL_FEATURES)
#define VHU_F_LOG	((uint64_t)1 << VHOST_F_LOG_ALL)

/* QEMU warns of CONFIG where it knows that the device type has none. */
static inline uint64_t vhu_offered_protocol(const struct vhu_server *s)
{
	uint64_t off = s->conf.protocol_off;

	if (!s->dev->config_len)
		off |= VHU_PF(CONFIG);
	if (off & VHU_PF(INFLIGHT_SHMFD))
		off |= VHU_PF_LEAVE;
	if (!s->conf.env->set_mtu)
		off |= VHU_PF(MTU);
	if (!s->conf.env->send_rarp)
		off |= VHU_PF(RARP);
	if (!s->conf.env->crypto_create || !s->conf.env->crypto_close)
		off |= VHU_PF(CRYPTO_SESSION);
	if (!s->conf.env->shared_object)
		off |= VHU_PF(SHARED_OBJECT);
	if (!s->conf.env->userfaultfd || !s->conf.env->map_guard ||
	    !s->conf.env->watch_calls)
		off |= VHU_PF(PAGEFAULT);
	if (!s->conf.host_notifiers)
		off |= VHU_PF(HOST_NOTIFIER);
	if (!s->dev->nr_shm)
		off |= VHU_PF(SHMEM);
	return VHU_PROTOCOL_OFFERED & ~off;
}

/* -- handlers: 0 done, VHU_REPLIED, or -errno (logged): refused ----------- */

#define VHU_REPLIED	1

typedef int vhu_handler(struct vhu_server *s, struct vhu_msg *msg);

vhu_handler vhu_on_get_features, vhu_on_set_features, vhu_on_nothing;
vhu_handler vhu_on_get_protocol, vhu_on_set_protocol, vhu_on_get_queue_num;
vhu_handler vhu_on_get_config, vhu_on_set_config;
vhu_handler vhu_on_get_status, vhu_on_set_status, vhu_on_reset_device;
vhu_handler vhu_on_set_back_fd;
vhu_handler vhu_on_mem_table, vhu_on_mem_slots, vhu_on_mem_add, vhu_on_mem_rem;
vhu_handler vhu_on_vring_num, vhu_on_vring_addr, vhu_on_vring_set_base;
vhu_handler vhu_on_vring_get_base, vhu_on_vring_enable;
vhu_handler vhu_on_vring_skip_drain;
vhu_handler vhu_on_vring_kick_fd, vhu_on_vring_call_fd, vhu_on_vring_err_fd;
vhu_handler vhu_on_vring_kick, vhu_on_vring_endian;
vhu_handler vhu_on_mtu, vhu_on_rarp;
vhu_handler vhu_on_get_inflight, vhu_on_set_inflight;
vhu_handler vhu_on_predecessor, vhu_on_iotlb;
vhu_handler vhu_on_state_fd, vhu_on_state_check;
vhu_handler vhu_on_log_base, vhu_on_log_fd;
vhu_handler vhu_on_get_shmem, vhu_on_get_object;
vhu_handler vhu_on_crypto_create, vhu_on_crypto_close;
vhu_handler vhu_on_post_advise, vhu_on_post_listen, vhu_on_post_end;

/* Answer with the first @size bytes of s->out.p. */
int vhu_reply(struct vhu_server *s, const struct vhu_msg *msg, uint32_t size);
/* With a descriptor, unless it is -1; it stays the caller's. */
int vhu_reply_fd(struct vhu_server *s, const struct vhu_msg *msg,
		 uint32_t size, int fd);
int vhu_reply_u64(struct vhu_server *s, const struct vhu_msg *msg,
		  uint64_t v);

/* -- device.c ------------------------------------------------------------- */

uint64_t vhu_offered_features(const struct vhu_server *s);
/* Bring the device to FEATURES_OK with what the front end set. */
int vhu_device_negotiate(struct vhu_server *s);
/* Is it there? */
bool vhu_device_settled(const struct vhu_server *s);
/* Stop all rings and put the device back to its beginning. */
int vhu_device_reset(struct vhu_server *s);

/* -- ring.c --------------------------------------------------------------- */

void vhu_ring_init(struct vhu_server *s, uint16_t index);
enum vhu_ring_state vhu_ring_next(enum vhu_ring_state state,
				  enum vhu_ring_event ev);
bool vhu_ring_started(const struct vhu_ring *r);
/* Change state. Only VHU_EV_START can be refused, STOP can time out. */
int vhu_ring_event(struct vhu_ring *r, enum vhu_ring_event ev);
/* Start it if all that it takes is known; 0 if not yet. */
int vhu_ring_try_start(struct vhu_ring *r);
/* Does it lack nothing but memory? */
bool vhu_ring_waits_for_memory(const struct vhu_ring *r);
/* Stop it and forget where kicks come from. */
int vhu_ring_stop(struct vhu_ring *r);
/* Stop it and forget everything; closes its descriptors. */
int vhu_ring_forget(struct vhu_ring *r);
/*
 * Where the ring lies under a map. VIO_OK; VIO_E_RANGE if it does not, or
 * VIO_E_AGAIN if that is yet to be known.
 */
int vhu_ring_locate(struct vhu_ring *r, struct vhu_map *map,
		    struct vio_queue_layout *layout);
/* Behind an IOMMU: does it have a part of these I/O addresses? */
bool vhu_ring_touches(const struct vhu_ring *r, uint64_t first, uint64_t last);
/* Run a function on the queue's thread; comes back with its result. */
int vhu_on_queue(struct vhu_ring *r, int (*fn)(struct vhu_ring *, void *),
		 void *arg);
struct vio_queue *vhu_ring_queue(const struct vhu_ring *r);

/* -- span.c --------------------------------------------------------------- */

struct vhu_span {
	unsigned char *at;		/* where the bytes begin */
	int fd;				/* for a successor */
	void *base;			/* as mapped */
	size_t len;
	bool huge;			/* pages */
	const struct vhu_env_ops *env;	/* outlives the session */
	void *env_ctx;
};

/*
 * Map @size bytes at @offset, which together are no more than INT64_MAX. 0, or
 * -errno with nothing changed. @fd stays the caller's.
 */
int vhu_span_map(const struct vhu_server *s, struct vhu_span *span, int fd,
		 uint64_t offset, uint64_t size, int prot);
void vhu_span_unmap(struct vhu_span *span);

/* -- map.c ---------------------------------------------------------------- */

/* As the ring's addresses are meant: physical ones, or I/O addresses. */
struct vio_mem *vhu_map_mem(struct vhu_map *map, const struct vhu_ring *r);
/* Do all these user addresses lie in it? NULL is a map, too. */
bool vhu_map_has_user(const struct vhu_map *map, uint64_t user, uint64_t len);
/*
 * Where @last + 1 of the front end's bytes at @user are here; all there is
 * where they do not lie together.
 */
struct vio_seg vhu_map_host(const struct vhu_map *map, uint64_t user,
			    uint64_t last);
unsigned vhu_map_regions(const struct vhu_map *map);
void vhu_map_drop(struct vhu_server *s);
/* Region @i as it was told; gives its descriptor, which stays the map's. */
int vhu_map_region(const struct vhu_map *map, unsigned i,
		   struct vhu_region *region);
/* Have all maps of the session log what is written, or not (NULL). */
void vhu_maps_set_dirty(struct vhu_server *s, vio_dirty_fn *fn);
/* Of all maps that live, each mapping that is registered for postcopy. */
void vhu_maps_each(struct vhu_server *s,
		   void (*fn)(int a, int b, void *base, size_t len),
		   int a, int b);
/* Rings are to run and there is no memory: say why, once a session. */
void vhu_map_missing(struct vhu_server *s);

/* -- inflight.c ----------------------------------------------------------- */

/*
 * Have the ring's queue start with its record, if there is one. @known: out,
 * a device died that kept it. VIO_OK or VIO_E_*. Queue's thread.
 */
int vhu_inflight_attach(struct vhu_ring *r, bool *known);
/* The device was reset: no ring goes on from where it was. */
void vhu_inflight_clear(struct vhu_server *s);
/* As it was told, and its descriptor, which stays here; -1: none. */
int vhu_inflight_fd(const struct vhu_server *s, struct vhu_inflight *in);
/* The session lets go of the memory. */
void vhu_inflight_drop(struct vhu_server *s);

/* -- iotlb.c --------------------------------------------------------------- */

/* Is there an IOMMU between the rings and memory? */
static inline bool vhu_behind_iommu(const struct vhu_server *s)
{
	return s->features >> VIRTIO_F_ACCESS_PLATFORM & 1;
}

struct vhu_tlb *vhu_tlb_new(void);
void vhu_tlb_free(struct vhu_tlb *t);
/* As vio_translate_fn, into user addresses. Queue's thread. */
enum vio_translated vhu_iotlb_translate(struct vhu_ring *r, vio_addr io,
					unsigned perm, uint64_t *user,
					uint64_t *room);
/* The driver kicked. Queue's thread. */
void vhu_iotlb_kicked(struct vhu_ring *r);
/*
 * Forget all if no ring is started: what is taken away from now on the front
 * end need not say.
 */
void vhu_iotlb_flush(struct vhu_server *s);

/* -- state.c -------------------------------------------------------------- */

/* Is a device state on its way? */
bool vhu_state_moves(const struct vhu_server *s);
/* Stop that. */
void vhu_state_drop(struct vhu_server *s);
/* The server goes: what hangs is nobody's. */
void vhu_state_leave(struct vhu_server *s);
/* Give the device what arrived, if anything did. 0 or -EINVAL (logged). */
int vhu_state_apply(struct vhu_server *s);
/* It is the device's, or nobody's. */
void vhu_state_forget(struct vhu_server *s);

/* -- log.c ---------------------------------------------------------------- */

vio_dirty_fn vhu_log_dirty;
bool vhu_log_is_on(const struct vhu_server *s);
/* The features changed: begin or end to log. */
void vhu_log_update(struct vhu_server *s);
/* Say how the ring's own words are logged. Queue's thread. */
void vhu_log_ring(struct vhu_ring *r);
/* As it was told, and its descriptor, which stays here; -1: none. */
int vhu_log_file(const struct vhu_server *s, struct vhu_log_area *area);
void vhu_log_signal(struct vhu_ring *r);
void vhu_log_drop(struct vhu_server *s);

/* -- notify.c ------------------------------------------------------------- */

extern const struct vio_transport_ops vhu_transport_ops;

/* Does writing to or reading from this descriptor possibly block? */
bool vhu_fd_may_block(int fd);
/* Signal one; between vhu_call_begins() and vhu_call_ends(). */
void vhu_signal_fd(int fd, bool may_block);
void vhu_notify_broken(struct vhu_ring *r);
void vhu_call(struct vhu_ring *r);

/* -- unblock.c ------------------------------------------------------------ */

/* Around whatever may block in a descriptor of the front end's. */
void vhu_call_begins(struct vhu_ring *r);
void vhu_call_ends(struct vhu_ring *r);
/* The ring has another descriptor, or none. Queue's thread. */
void vhu_watch_fd(struct vhu_ring *r, enum vhu_watched what, int fd);
/* The same of the log. Control thread. */
void vhu_watch_log(struct vhu_server *s, int fd);
/* Have it served again, a while from now; not any more. Queue's thread. */
void vhu_wake_later(struct vhu_ring *r);
void vhu_wake_never(struct vhu_ring *r);

/* -- post.c --------------------------------------------------------------- */

/* From now on pages may be missing there. 0 or -errno (logged). */
int vhu_post_register(struct vhu_server *s, void *base, size_t len);
/* Any thread: did the front end leave us waiting? Whether to look again. */
bool vhu_post_watch(struct vhu_server *s);
/* The session ends: nobody waits for a page after that. */
void vhu_post_drop(struct vhu_server *s);

/* -- back.c --------------------------------------------------------------- */

/*
 * Send a request that has no answer, if that needs no waiting. 0, -ENOTCONN,
 * or -ETIMEDOUT: not now. Any thread.
 */
int vhu_back_tell(struct vhu_server *s, const struct vhu_msg *msg);
/* Close the channel for our own requests. */
void vhu_back_close(struct vhu_server *s);
/* Under the lock: it is dead; say so and close it. */
void vhu_back_give_up(struct vhu_server *s, const char *text,
		      uint32_t request, int err);

/* -- log ------------------------------------------------------------------ */

void vhu_log(const struct vhu_server *s, enum vio_log_level level,
	     const char *text, const struct vio_named *v, unsigned nr);

/* vhu_say(s, VIO_LOG_WARN, "sentence", {"name", number}, ...) */
#define vhu_say(s, level, text, ...)					\
	do {								\
		const struct vio_named say_[] = { __VA_ARGS__ };	\
		vhu_log(s, level, text, say_, VIO_ARRAY_LEN(say_));	\
	} while (0)

#endif
