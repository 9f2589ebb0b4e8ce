/* SPDX-License-Identifier: MIT */
/*
 * Storage behind a block device: what every kind has in common, and how each
 * is opened. Above it lies the block device's ops table (vireo/blk.h); it
 * knows no guest, no ring and no request type.
 *
 * Order: open, then perhaps enter a sandbox (nothing is opened later), then
 * on each queue's own thread attach, the I/O methods and detach, then close.
 */
#ifndef BACKEND_BLKDEV_H
#define BACKEND_BLKDEV_H

#include <vireo/blk.h>

#include "host/loop.h"
#include "host/text.h"

#define BLKDEV_QUEUES_MAX 64u

struct blkdev;

struct blkdev_ops {
	struct vio_blk_backend_ops io;	/* backend is the struct blkdev */
	/* Queue's thread, before the first submit. 0 or -errno. NULL: none. */
	int (*attach)(struct blkdev *d, unsigned queue, struct loop *loop);
	/* Queue's thread, nothing in flight. NULL: none. */
	void (*detach)(struct blkdev *d, unsigned queue);
	/*
	 * Look at the size again. @sectors: of 512 bytes. Control thread.
	 * 0, or -errno after an error line. NULL: it never changes.
	 */
	int (*resize)(struct blkdev *d, uint64_t *sectors);
	/*
	 * A piece of the guest's memory comes, before any request in it, or
	 * goes, after the last and before it is unmapped. @huge: it lies in
	 * huge pages. Any thread. NULL: of no interest.
	 */
	void (*memory)(struct blkdev *d, void *base, size_t len, bool huge,
		       bool add);
	/* All queues are detached, their loops ended. Frees the device. */
	void (*close)(struct blkdev *d);
};

/*
 * Called around a batch of done() that comes from the loop and not from
 * within submit, commit or drain, so that the ring is published once.
 */
struct blkdev_batch {
	void (*begin)(void *ctx, unsigned queue);
	void (*end)(void *ctx, unsigned queue);
	void *ctx;
};

struct blkdev {
	const struct blkdev_ops *ops;
	struct blkdev_batch batch;	/* may be all NULL */
	const char *engine;		/* "io_uring": for the log */
	/* What it found out: capacity, read_only, topology, discard ... */
	struct vio_blk_conf conf;
};

enum blkdev_aio {
	BLKDEV_AIO_AUTO,	/* inline on memory, io_uring, threads */
	BLKDEV_AIO_URING,
	BLKDEV_AIO_THREADS,
	BLKDEV_AIO_INLINE,	/* on the queue's thread: it may block */
};

/* Is the guest's memory registered with the kernel, once, for direct I/O? */
enum blkdev_fixed {
	BLKDEV_FIXED_AUTO,	/* what lies in huge pages: it stays anyway */
	BLKDEV_FIXED_ON,	/* all of it; it stays in memory then */
	BLKDEV_FIXED_OFF,
};

struct file_sys;

struct blkdev_file_conf {
	const char *path;
	bool read_only;
	bool secure_erase;	/* offer it: overwrite, or tell the device */
	const char *lifetime;	/* folder with life_time, pre_eol_info */
	bool no_lock;		/* others may write to the file, too */
	bool impatient;		/* do not wait for another to let go of it */
	bool direct;		/* bypass the page cache */
	bool buffered;		/* do not, even of a block device */
	enum blkdev_aio aio;
	enum blkdev_fixed fixed;
	bool sqpoll;		/* a thread of the kernel takes requests */
	bool iopoll;		/* completions are looked for, not announced */
	unsigned num_queues;
	unsigned queue_size;	/* requests in flight on one queue, at most */
	const struct file_sys *sys;	/* tests: instead of the kernel */
};

/*
 * Open a raw image or a block device. Its contents are never looked at: no
 * format is probed. Returns 0, or -errno after an error line with cause and
 * cure.
 */
int blkdev_file_open(struct blkdev **d, const struct blkdev_file_conf *conf);

/*
 * A disk without storage, as fast as requests can be answered. Reads leave
 * the guest's memory as it is, writes go nowhere. -ENOMEM.
 */
int blkdev_null_open(struct blkdev **d, uint64_t size);

/*
 * The longest that a drain waits, for all disks of the process. Storage that
 * hangs must not keep a program for ever; what is in flight after that, stays
 * so. Once a drain of a disk gave up, none of that disk waits any more, until
 * there is another limit. 30 s if never set.
 */
void blkdev_drain_limit(unsigned seconds);

/*
 * Lock a file that was opened with no_lock, now that nobody else has it; waits
 * a little for that. 0 or -errno after an error line.
 */
int blkdev_file_lock(struct blkdev *d, const char *path);

/* A disk in memory, zeroes at first, gone with the process. */
int blkdev_mem_open(struct blkdev **d, uint64_t size, bool read_only);
/* The same in huge pages of the system's usual size, all of them now. */
int blkdev_mem_open_huge(struct blkdev **d, uint64_t size, bool read_only);

struct blkdev_nbd_conf {
	/* Strings must outlive the disk. */
	const char *uri;		/* nbd:, nbds:, nbd+unix: ... */
	const char *tls_certificates;	/* folder; NULL: none */
	const char *tls_psk;		/* file; likewise */
	bool read_only;
	unsigned num_queues;		/* as many connections */
	unsigned reconnect_s;		/* how long requests wait for one */
};

/*
 * A disk that an NBD server has. 0, -EOPNOTSUPP in a build without libnbd, or
 * -errno after an error line.
 */
int blkdev_nbd_open(struct blkdev **d, const struct blkdev_nbd_conf *conf);
/* What it needs of a sandbox, ended by NULL. */
const char *const *blkdev_nbd_syscalls(void);

struct blkdev_zoned_conf {
	bool host_aware;	/* else host-managed */
	uint32_t zone_sectors;	/* of 512 bytes */
	uint32_t zone_capacity;	/* sectors; 0: all of the zone */
	uint32_t conventional;	/* the first so many zones */
	uint32_t max_open, max_active;	/* 0: no limit */
	const char *store_path;	/* where the states are; NULL: nowhere */
	/* Another program still changes the states, but will not when the
	 * first request comes: they are read then. */
	bool inherited;
	unsigned num_queues;
	unsigned queue_size;	/* requests in flight on one queue, at most */
};

/*
 * Make a zoned disk of @below, which belongs to it if that goes well.
 * Returns 0, or -errno after an error line.
 */
int blkdev_zoned_open(struct blkdev **d, struct blkdev *below,
		      const struct blkdev_zoned_conf *conf);

struct blkdev_host_zones_conf {
	bool inherited;		/* as above */
	unsigned num_queues;
	unsigned queue_size;	/* requests in flight on one queue, at most */
};

/*
 * Pass the zones of @below on, a disk whose conf says that it has some; it
 * belongs to the new one if that goes well. Returns 0, or -errno after an
 * error line.
 */
int blkdev_host_zones_open(struct blkdev **d, struct blkdev *below,
			   const struct blkdev_host_zones_conf *conf);

/* Another program has the zones now: close shall not store their states. */
void blkdev_zoned_leave(struct blkdev *d);

/* A second; 0: no limit. */
struct blkdev_limits {
	uint64_t ops, bytes;			/* of the whole disk */
	uint64_t queue_ops, queue_bytes;	/* of each queue */
};

/* Hold @below, which belongs to it then, to limits. 0 or -ENOMEM. */
int blkdev_throttle_open(struct blkdev **d, struct blkdev *below,
			 unsigned num_queues, const struct blkdev_limits *l);
/* Others from now on. Only of a disk of blkdev_throttle_open(). Any thread. */
void blkdev_throttle_set(struct blkdev *d, const struct blkdev_limits *l);

/*
 * Time the requests of @below, which belongs to it then: of each queue so many
 * as it has entries. 0 or -ENOMEM.
 */
int blkdev_latency_open(struct blkdev **d, struct blkdev *below,
			unsigned num_queues, unsigned queue_size);
/* What it found, as OpenMetrics text. Only of such a disk. Any thread. */
void blkdev_latency_tell(struct blkdev *d, struct text *out);

static inline void blkdev_close(struct blkdev *d)
{
	d->ops->close(d);
}

#endif
