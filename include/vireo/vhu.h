/* SPDX-License-Identifier: MIT */
/*
 * vireo/vhu.h - the vhost-user back end: a transport that carries any device
 * over a Unix socket to a front end (QEMU, User Mode Linux, ...).
 *
 * It owns no event loop and no thread. Whoever embeds it hands down a table
 * of operations (struct vhu_env_ops) and calls in when something is readable.
 *
 * Threads: one control thread calls all vhu_server_*(). Each queue has a
 * thread, which may be the same; it calls vhu_queue_*() for its queue alone.
 * A server has one front end at a time and can serve the next one after it.
 *
 * The process must ignore SIGPIPE: a front end may hand over a pipe as its
 * call descriptor and die.
 */
#ifndef VIREO_VHU_H
#define VIREO_VHU_H

#include <vireo/dev.h>
#include <vireo/look.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_server;

/*
 * What the server asks of the program around it. Unless said otherwise they
 * are called by the control thread.
 */
struct vhu_env_ops {
	/*
	 * Run @fn(@arg) on the queue's thread; come back when it is done.
	 * NULL: all queues are on the control thread.
	 */
	void (*run_on_queue)(void *env, unsigned queue, void (*fn)(void *arg),
			     void *arg);

	/*
	 * Start to serve a queue: when @kick_fd is readable, call
	 * vhu_queue_kicked(), then vhu_queue_service(). With -1 no kick will
	 * come: service the queue again and again. Queue's thread. The server
	 * has asked for one service by queue_wake(). Returns 0 or -errno.
	 */
	int (*watch_kick)(void *env, unsigned queue, int kick_fd);

	/* The opposite; the descriptor is closed after it. Queue's thread. */
	void (*unwatch_kick)(void *env, unsigned queue);

	/*
	 * Wait until nothing of the queue is in flight (queue->inflight is 0),
	 * letting the back end complete. Queue's thread. Returns 0 or -errno.
	 * NULL: the device never has anything in flight after a stop.
	 */
	int (*drain)(void *env, unsigned queue);

	/* Call vhu_queue_service() soon. Any thread; may come when the queue
	 * is not being served, and is harmless then. */
	void (*queue_wake)(void *env, unsigned queue);

	/*
	 * A net device's: the guest's MTU is to be @mtu; 0 or -errno if that
	 * cannot be. Tell the network that the address @mac is here now.
	 * NULL: no net device, and the protocol feature is not offered.
	 */
	int (*set_mtu)(void *env, uint16_t mtu);
	int (*send_rarp)(void *env, const uint8_t mac[6]);

	/*
	 * A crypto device's sessions. @what: how the front end describes one,
	 * @len bytes of at least eight, the first eight without a meaning.
	 * Returns its number, or -errno. NULL: no crypto device, and the
	 * protocol feature is not offered.
	 */
	int64_t (*crypto_create)(void *env, const void *what, uint32_t len);
	int (*crypto_close)(void *env, uint64_t session);

	/*
	 * The front end asks for the buffer that the program announced by
	 * vhu_server_object_add(): a descriptor, which stays the program's,
	 * or -errno. NULL: it never announces any, and the protocol feature
	 * is not offered.
	 */
	int (*shared_object)(void *env, const uint8_t uuid[16]);

	/*
	 * @len bytes at @ptr were mapped, and may disappear under us if the
	 * front end truncates the file (@add), or are about to be unmapped.
	 * Any thread. NULL: nobody cares.
	 */
	void (*map_guard)(void *env, void *ptr, size_t len, bool add);

	/*
	 * @len bytes of the guest's memory at @ptr came, before any request
	 * in them, or go, after the last and before they are unmapped. Not
	 * told of what may lack pages that the front end has yet to fill in.
	 * @huge: they lie in huge pages. Any thread. NULL: nobody cares.
	 */
	void (*memory)(void *env, void *ptr, size_t len, bool huge, bool add);

	/*
	 * Calls are made or owed, or pages may be missing: call
	 * vhu_server_unblock() ten times a second, on a thread that serves no
	 * queue and no front end, until it says false. Any thread. NULL: a
	 * front end can have its queue's thread wait for it, and whatever else
	 * runs there.
	 */
	void (*watch_calls)(void *env);

	/*
	 * A new userfaultfd that sees faults of the kernel, too, O_CLOEXEC
	 * and O_NONBLOCK; the server's. Or -errno. NULL: no postcopy; nor is
	 * there any without map_guard and watch_calls.
	 */
	int (*userfaultfd)(void *env);

	/*
	 * The front end was told of a changed configuration in a way in which
	 * it may miss it (doc/vhost-user.md: User Mode Linux): call
	 * vhu_server_config_again() some ten milliseconds from now. Any
	 * thread. NULL: it is told once.
	 */
	void (*config_later)(void *env);
};

struct vhu_conf {
	struct vio_dev *dev;
	const struct vhu_env_ops *env;
	void *env_ctx;
	struct vio_log log;		/* any thread */
	/*
	 * Offer ACCESS_PLATFORM: addresses are I/O addresses then, which the
	 * front end translates by IOTLB messages. For those that have an
	 * IOMMU: a driver takes any that offer it for one.
	 */
	bool iommu;
	/*
	 * What GET_QUEUE_NUM answers; all queues if 0. Front ends of networks
	 * mean pairs by it.
	 */
	unsigned queue_num;
	uint64_t features_off;		/* device features not to offer */
	uint64_t protocol_off;		/* protocol features not to offer */
	bool host_notifiers;		/* vhu_server_host_notifier() is used */
};

/* -- life cycle (control thread) ----------------------------------------- */

/*
 * vhu_server_create() - make a server for a device, and become the device's
 * transport. Returns 0, -ENOMEM, or -EINVAL for more than 256 queues.
 */
int vhu_server_create(struct vhu_server **server, const struct vhu_conf *conf);

/* Detaches first. */
void vhu_server_destroy(struct vhu_server *s);

/*
 * vhu_server_attach() - serve the front end behind a connected socket, which
 * the server owns from now on, whatever it returns. -EBUSY: there is one.
 */
int vhu_server_attach(struct vhu_server *s, int conn_fd);

/* The descriptor to watch for readability; -1 if there is no front end. */
int vhu_server_fd(const struct vhu_server *s);

/*
 * vhu_server_events() - what to watch that descriptor for, as poll() names it;
 * to be asked again after each vhu_server_readable(). POLLIN; or POLLOUT while
 * the front end leaves our answers unread, and is not listened to for it.
 */
int vhu_server_events(const struct vhu_server *s);

/*
 * vhu_server_readable() - handle the messages that are there, a bounded number
 * of them. Never blocks on the socket; may wait for requests in flight.
 * Returns
 *   0		go on
 *   -ENOTCONN	the front end left: detach
 *   -errno	it broke the protocol, and a log line says how: detach
 */
int vhu_server_readable(struct vhu_server *s);

/*
 * vhu_server_detach() - part from the front end: stop all rings, wait for what
 * is in flight, unmap its memory, close its descriptors, reset the device.
 */
void vhu_server_detach(struct vhu_server *s);

/*
 * vhu_server_config_again() - tell the front end once more. Returns whether
 * to call it yet again, some time later.
 */
bool vhu_server_config_again(struct vhu_server *s);

/*
 * vhu_server_hand_over() - give the session to another process, which calls
 * vhu_server_take_over() at the other end of @fd, a connected Unix stream
 * socket that stays the caller's and is to be closed then. The rings stop
 * for that long, what is in flight completes first, and the front end does not
 * notice. Blocks. Returns
 *   0		it is theirs; no front end is attached here any more
 *   -ENOTCONN	there is no front end
 *   -EAGAIN	in the middle of a message of the front end, or of postcopy:
 *		try again
 *   -errno	they refused or died: the session goes on here
 */
int vhu_server_hand_over(struct vhu_server *s, int fd);

/*
 * vhu_server_deposit() - the same while the other process is not there yet:
 * all is written to @fd, whose other end somebody keeps for it. The front
 * end's requests and kicks wait meanwhile. If the other process refuses what it
 * finds, the front end is lost.
 */
int vhu_server_deposit(struct vhu_server *s, int fd);

/*
 * The opposite; owns @fd. 0: a front end is attached as by
 * vhu_server_attach(). -ENOTCONN: there was none. Blocks.
 */
int vhu_server_take_over(struct vhu_server *s, int fd);

/*
 * vhu_server_unblock() - end calls that hang since the last time: see
 * watch_calls. Returns whether to look again. Any thread.
 */
bool vhu_server_unblock(struct vhu_server *s);

/* What was agreed upon with the present front end, for reports. */
struct vhu_info {
	bool connected;
	uint64_t features;
	uint64_t protocol_features;
	unsigned mem_regions;
	unsigned rings_started;
};

void vhu_server_info(const struct vhu_server *s, struct vhu_info *info);

/* How a side of a ring is told of news. */
enum vhu_signal {
	VHU_SIGNAL_NONE,	/* not at all */
	VHU_SIGNAL_FD,
	VHU_SIGNAL_MESSAGE,	/* INBAND_NOTIFICATIONS */
	VHU_SIGNAL_POLL,	/* it has to look by itself */
};

/* Requests in flight that are told one by one. */
#define VHU_INFO_FLIGHTS	32

/* One ring, at one moment. */
struct vhu_ring_info {
	bool configured;	/* has a size and addresses */
	bool started, enabled;
	bool broken;
	bool event_idx, in_order;
	bool visible;		/* view is filled in */
	enum vhu_signal kick, call;
	uint16_t size;
	uint16_t avail_base, used_base;	/* as vio_queue_avail_base() */
	uint16_t inflight;
	unsigned nr_flights;
	uint32_t now_ms;	/* the queue's clock */
	struct vio_ring_view view;
	struct vio_queue_stats stats;
	struct vio_flight flight[VHU_INFO_FLIGHTS];
};

/* False if there is no such queue. Waits for the queue's thread. */
bool vhu_queue_info(struct vhu_server *s, unsigned queue,
		    struct vhu_ring_info *info);

/*
 * -- what the back end asks of the front end ---------------------------------
 *
 * Any thread but a queue's whose front end may be waiting for that queue to
 * stop: these wait for the answer, five seconds at most. Where the front end
 * does not acknowledge (REPLY_ACK), 0 means that it was told. Return
 *   0			done
 *   -ENOTCONN		there is no front end, or it gave us no channel
 *   -EOPNOTSUPP	it did not agree to the protocol feature
 *   -EREMOTEIO		it refuses
 *   -EINVAL		no such region, range, or queue
 *   -errno		it does not answer, or nonsense: the channel is closed
 */

/*
 * A part of a shared memory region of the device (dev->shm), and what is to
 * be seen there. All of it in whole pages of the front end.
 */
struct vhu_shared_area {
	uint8_t shmid;
	bool writable;
	uint64_t offset;	/* in the region */
	uint64_t len;
	uint64_t fd_offset;
};

/*
 * vhu_server_shmem_map() - show a file to the guest; @fd stays the caller's.
 * A range where something is shown already is refused. Unmapping takes the
 * ranges that were mapped, and no other. A reset of the device, and the end
 * of a session, unmaps all. Protocol feature: SHMEM, offered where the device
 * has such regions.
 */
int vhu_server_shmem_map(struct vhu_server *s, const struct vhu_shared_area *a,
			 int fd);
int vhu_server_shmem_unmap(struct vhu_server *s,
			   const struct vhu_shared_area *a);

/*
 * vhu_server_host_notifier() - have the guest's notifications of @queue go to
 * this page of @fd, a device's doorbell, and not to us any more. @fd -1: as
 * before. Protocol feature: HOST_NOTIFIER (vhu_conf.host_notifiers).
 */
int vhu_server_host_notifier(struct vhu_server *s, unsigned queue, int fd,
			     uint64_t offset, uint64_t size);

/*
 * Buffers that several devices of a guest use. Say that one of ours has this
 * name, or has it no more; get the one that another device's back end has:
 * @fd: out, the caller's. Protocol feature: SHARED_OBJECT.
 */
int vhu_server_object_add(struct vhu_server *s, const uint8_t uuid[16]);
int vhu_server_object_remove(struct vhu_server *s, const uint8_t uuid[16]);
int vhu_server_object_lookup(struct vhu_server *s, const uint8_t uuid[16],
			     int *fd);

/* -- queues (each on its own thread) ------------------------------------- */

/*
 * vhu_queue_kicked() - the kick descriptor is readable: take the kick. False
 * if the descriptor will never give another one: stop watching it, poll.
 */
bool vhu_queue_kicked(struct vhu_server *s, unsigned queue);

/* vio_queue_service() if the ring is started and enabled, else IDLE. */
enum vio_service vhu_queue_service(struct vhu_server *s, unsigned queue,
				   unsigned budget);

/* The queue while its ring is started and enabled, else NULL. */
struct vio_queue *vhu_queue_live(struct vhu_server *s, unsigned queue);

#ifdef __cplusplus
}
#endif
#endif
