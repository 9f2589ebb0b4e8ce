/* SPDX-License-Identifier: MIT */
/*
 * vireo/vhu_client.h - the front end's side of vhost-user, as a bus that a
 * driver of this library finds its device on (hosted; Linux).
 *
 * The front end shares a window of memory with the back end, a file descriptor
 * that it has mapped, and more of them for a guest that has more. It connects
 * to any back end, or has one connect, whatever protocol features that has.
 *
 * Thread: notify and wait of a queue belong to the queue's thread; all else
 * to one control thread.
 */
#ifndef VIREO_VHU_CLIENT_H
#define VIREO_VHU_CLIENT_H

#include <vireo/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VHU_CLIENT_QUEUES	64

struct vhu_client;

/* What I/O addresses mean: @size bytes from @iova on are at @host. */
struct vhu_client_map {
	uint64_t iova;
	uint64_t size;
	void *host;		/* in memory that the back end sees */
	unsigned perm;		/* enum vio_perm */
};

/*
 * What the back end may ask of whoever uses the front end. Control thread;
 * also while that waits for an answer in one of the functions below, so that
 * a hook calls none of them. Descriptors stay whose they are. Return 0 or
 * negative errno; the back end learns of no more than that it went wrong.
 * What is absent is refused, and its protocol feature not agreed to.
 */
struct vhu_client_ops {
	/*
	 * Have the guest's notifications of @queue go to this page of @fd;
	 * -1: to the kick descriptor again. Absent: see map_notifiers.
	 */
	int (*host_notifier)(void *ctx, unsigned queue, int fd,
			     uint64_t offset, uint64_t size);
	/* A back end has a buffer for other devices; not any more; the one
	 * of another is wanted: its descriptor or negative errno. */
	int (*object_add)(void *ctx, const uint8_t uuid[16]);
	int (*object_remove)(void *ctx, const uint8_t uuid[16]);
	int (*object_lookup)(void *ctx, const uint8_t uuid[16]);
	/*
	 * The IOMMU before the device (vhu_client_conf.iommu): what is around
	 * @iova, for an access of @perm. Absent: guest addresses are what they
	 * are. Where nothing is, the back end waits.
	 */
	int (*translate)(void *ctx, uint64_t iova, unsigned perm,
			 struct vhu_client_map *map);
	/*
	 * @len bytes at @ptr show a file of the back end's from now on, which
	 * may be truncated under us (@add), or not any more. May be absent
	 * though the feature is in use.
	 */
	void (*map_guard)(void *ctx, void *ptr, size_t len, bool add);
};

struct vhu_client_conf {
	const char *socket_path;	/* NULL: use socket_fd; the caller's */
	int socket_fd;			/* connected; taken over */
	/* socket_fd listens instead, and stays the caller's: the back end
	 * connects, as its successor does. */
	bool listen;
	int mem_fd;			/* of the window; stays the caller's */
	uint64_t mem_offset;		/* of the window in it, page-aligned */
	struct vio_window window;
	uint16_t queue_size_max;	/* the protocol cannot ask: 1024 if 0 */
	int timeout_ms;			/* for an answer, or for a back end
					 * to connect; 5000 if 0 */
	bool queue_pairs;		/* the back end counts pairs of them,
					 * as those for networks do */
	uint64_t protocol_off;		/* protocol features not to use */
	/*
	 * If not 0, the bus's wait reconnects to a back end that went away,
	 * as vhu_client_reconnect() does. Needs all on one thread.
	 */
	int reconnect_ms;
	/*
	 * The bus's wait serves what the back end asks meanwhile. Needs all
	 * on one thread.
	 */
	bool serve_events;
	const struct vhu_client_ops *ops;	/* NULL: no hook at all */
	void *ops_ctx;
	/* Address space for the device's shared memory regions, at most, in
	 * bytes; 0: they are not used. */
	uint64_t shmem_max;
	/* Let the driver accept ACCESS_PLATFORM. The back end is told what it
	 * misses while its requests are served: see serve_events. */
	bool iommu;
	/* Map what a host notifier is, and notify there. */
	bool map_notifiers;
};

/*
 * vhu_client_open() - connect, and agree on protocol features.
 * @out: the client, to be given back by vhu_client_close()
 * Returns 0 or negative errno; *out is NULL then. Blocks.
 */
int vhu_client_open(struct vhu_client **out,
		    const struct vhu_client_conf *conf);

/* Hang up. The back end stops the rings. NULL is fine. */
void vhu_client_close(struct vhu_client *c);

/*
 * vhu_client_reconnect() - the back end died: try for @timeout_ms to connect
 * to its successor, and put it where the old one was. The driver's requests in
 * flight are done by the new one; nothing changes for the driver.
 *
 * Returns 0, or negative errno: -EOPNOTSUPP where nobody knows what was in
 * flight (the old one did not record it, and did not use a split ring in
 * order), -ENOTSUP where the new one lacks features that are in use, or what
 * the last attempt ended with. Control thread; no queue may be waited for.
 */
int vhu_client_reconnect(struct vhu_client *c, int timeout_ms);

/* Is the back end there, as far as the connection tells? */
bool vhu_client_connected(const struct vhu_client *c);

/*
 * The connection: poll() says POLLRDHUP when the back end is gone. Another one
 * after each vhu_client_reconnect(), whose one attempt, with a @timeout_ms of
 * 0, does not wait for a back end that is not there.
 */
int vhu_client_fd(const struct vhu_client *c);

/* The bus; its context is the client. */
extern const struct vio_bus_ops vhu_client_bus;

/* How many queues the back end has; 1 where it does not say. */
unsigned vhu_client_queues(const struct vhu_client *c);

/* The protocol features in force, bit by bit. */
uint64_t vhu_client_protocol_features(const struct vhu_client *c);

/*
 * vhu_client_use_kick() - have the back end wait for kicks at this eventfd
 * (duplicated), for whoever kicks without us: a hypervisor's ioeventfd. Before
 * the queue is started. 0 or negative errno.
 */
int vhu_client_use_kick(struct vhu_client *c, uint16_t index, int fd);

/* The eventfd that is signalled when a queue has used buffers. */
int vhu_client_call_fd(const struct vhu_client *c, uint16_t index);

/*
 * What the back end tells unasked: vhu_client_event_fd() is readable then (-1:
 * this one never tells anything). vhu_client_events() takes it all, without
 * waiting; returns how often the configuration changed, or negative errno
 * when the channel is dead. Control thread.
 */
int vhu_client_event_fd(const struct vhu_client *c);
int vhu_client_events(struct vhu_client *c);

/*
 * vhu_client_add_memory() - let the back end see more than the window, which
 * the driver's rings lie in: @w is @fd (duplicated) from @offset on, mapped at
 * w->host. While rings run, too. 0 or negative errno: -EEXIST where guest
 * addresses are in use, -ENOSPC where the back end takes no more, -EBUSY while
 * there is a log.
 */
int vhu_client_add_memory(struct vhu_client *c, const struct vio_window *w,
			  int fd, uint64_t offset);
/* Not any more. No ring may refer to it. -ENOENT: there is none. */
int vhu_client_remove_memory(struct vhu_client *c, vio_addr addr);

/*
 * vhu_client_log_start() - have the back end mark the pages, of 4 KiB, that it
 * writes to from now on. 0 or negative errno; -EOPNOTSUPP where it cannot.
 * It goes on with the back end that vhu_client_reconnect() finds.
 */
int vhu_client_log_start(struct vhu_client *c);
int vhu_client_log_stop(struct vhu_client *c);
/* Readable when pages may have been marked since they were last taken. */
int vhu_client_log_fd(const struct vhu_client *c);
/*
 * vhu_client_log_take() - have each marked page told, once, and unmarked; how
 * many there were. What the page holds is to be read in @fn or later. Nothing
 * is missed that was written before a vhu_client_stop_queue() of all rings.
 */
typedef void vhu_client_dirty_fn(void *ctx, vio_addr page);
uint64_t vhu_client_log_take(struct vhu_client *c, vhu_client_dirty_fn *fn,
			     void *ctx);

/*
 * vhu_client_shmem() - the shared memory region @id: where it is mapped here,
 * with @len bytes, for as long as the client lives. NULL: there is none. What
 * the back end does not show anything in cannot be touched.
 */
void *vhu_client_shmem(const struct vhu_client *c, uint8_t id, uint64_t *len);

/* How many parts of all regions show something. */
unsigned vhu_client_shmem_maps(const struct vhu_client *c);

/* Is this queue notified through a page of the back end's? */
bool vhu_client_host_notified(const struct vhu_client *c, uint16_t index);

/*
 * vhu_client_invalidate() - these I/O addresses mean nothing any more, or
 * something else: to be called after ops->translate says so, and before their
 * memory is used otherwise. 0, when the back end has forgotten them, or
 * negative errno.
 */
int vhu_client_invalidate(struct vhu_client *c, uint64_t iova, uint64_t size);

/*
 * What a network back end is told: the MTU that the guest is shown, before
 * rings start; that the guest with this address is here now, after a
 * migration. 0 or negative errno: -EOPNOTSUPP where it does not want to know.
 */
int vhu_client_set_mtu(struct vhu_client *c, uint16_t mtu);
int vhu_client_send_rarp(struct vhu_client *c, const uint8_t mac[6]);

/*
 * A device's own state, for another back end of its kind: all rings are
 * stopped (vhu_client_stop_queue()). vhu_client_save() gives it in @state, to
 * be given back by free(); a back end that has more than @max bytes is
 * refused. The process must ignore SIGPIPE. 0 or negative errno: -EOPNOTSUPP
 * where the back end cannot, -EBUSY while a ring runs, -EREMOTEIO where it
 * says that it went wrong.
 */
int vhu_client_save(struct vhu_client *c, void **state, size_t *len,
		    size_t max);
int vhu_client_load(struct vhu_client *c, const void *state, size_t len);

/*
 * vhu_client_object() - get the buffer that the back end announced by this
 * name. @fd: out, the caller's. 0 or negative errno.
 */
int vhu_client_object(struct vhu_client *c, const uint8_t uuid[16], int *fd);

/*
 * vhu_client_stop_queue() - stop one ring; requests in flight are finished
 * first. @avail: index of the first entry not taken. 0 or negative errno.
 */
int vhu_client_stop_queue(struct vhu_client *c, uint16_t index,
			  uint16_t *avail);

/*
 * vhu_client_leave_queue() - the same, but what the back end has not begun
 * stays undone, in the record, until vhu_client_reconnect() finds a successor.
 * -EOPNOTSUPP where the back end keeps no record, or always finishes first.
 */
int vhu_client_leave_queue(struct vhu_client *c, uint16_t index,
			   uint16_t *avail);

#ifdef __cplusplus
}
#endif
#endif
