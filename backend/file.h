/* SPDX-License-Identifier: MIT */
/*
 * Private to the file back end: one open image, its queues, its ways of
 * doing I/O.
 *
 * Reads and writes go through io_uring where that is possible and sensible.
 * Everything else (flush, discard, write zeroes, direct I/O from memory that
 * is misaligned for it), and
 * all where io_uring is not permitted, is done by plain system calls on a
 * pool of threads (file_pool.c), all in one place (file_sync.c).
 */
#ifndef BACKEND_FILE_H
#define BACKEND_FILE_H

#include <liburing.h>
#include <linux/blkzoned.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "backend/blkdev.h"
#include "backend/drain.h"
#include "host/log.h"

/* The system calls of the synchronous paths; tests put their own here. */
struct file_sys {
	ssize_t (*readv)(int fd, const struct iovec *iov, int n, off_t off);
	ssize_t (*writev)(int fd, const struct iovec *iov, int n, off_t off,
			  int flags);
	int (*allocate)(int fd, int mode, off_t off, off_t len);
	int (*datasync)(int fd);
	/* BLKDISCARD of a block device: range is { offset, length }; BLKSEC-
	 * DISCARD if @secure */
	int (*discard)(int fd, const uint64_t range[2], bool secure);
	/*
	 * Zones of a block device: what is said of all but the model; 0, or
	 * -1 where there are none. NULL: there are none, ever. Then the
	 * ioctls BLKREPORTZONE, and BLKOPENZONE to BLKRESETZONE.
	 */
	int (*zones)(int fd, struct vio_blk_zones *z);
	int (*zone_report)(int fd, struct blk_zone_report *r);
	int (*zone_manage)(int fd, unsigned long request,
			   const struct blk_zone_range *range);
};

extern const struct file_sys file_sys_linux;

/* A request that keeps returning EAGAIN or EINTR is given up. */
#define FILE_TRIES_MAX 100u

enum file_way {
	FILE_AS_IS,
	FILE_BOUNCED,	/* through memory that is aligned */
	FILE_BUFFERED,	/* through the page cache: not whole blocks */
};

/* What this back end keeps in vio_blk_io.scratch. */
struct file_io {
	struct vio_blk_io *next;	/* pool or finished list */
	uint64_t pos;			/* bytes done so far */
	int32_t err;			/* of the pool: 0 or an errno */
	uint32_t tries;
	enum file_way way;		/* where a transfer goes on */
} __attribute__((may_alias));

VIO_STATIC_ASSERT(sizeof(struct file_io) <=
		  sizeof(((struct vio_blk_io *)0)->scratch),
		  "file_io fits into the scratch space");

static inline struct file_io *file_io(struct vio_blk_io *io)
{
	return (struct file_io *)io->scratch;
}

struct file;

/* Reads and writes of several pieces of one registered buffer: later than the
 * headers of Debian 12 (IORING_OP_READV_FIXED, IORING_OP_WRITEV_FIXED). */
#define FILE_OP_READV_FIXED	60
#define FILE_OP_WRITEV_FIXED	61

/* Guest memory; the kernel takes a gigabyte of it as one buffer. */
#define FILE_REGIONS_MAX	32u
#define FILE_BUFFER_SHIFT	30
#define FILE_BUFFERS_MAX	256u

struct file_region {
	uint64_t id;		/* never given twice */
	uintptr_t base;
	size_t len;
};

/* One that a ring may use without asking for it with each request. */
struct file_fixed {
	struct file_region region;
	unsigned first, buffers;	/* of the ring's table; 0: refused */
};

struct file_queue {
	struct file *file;
	unsigned index;
	struct loop *loop;

	/* io_uring: the queue's thread only. */
	struct io_uring ring;
	bool has_ring;
	unsigned ring_inflight;
	bool leaving;			/* until drained: give back */
	struct loop_fd ring_fd;		/* an eventfd of the ring */
	struct loop_poller poller;
	bool polled;			/* poller is on the loop's list */
	struct loop_timer retry;	/* the kernel was out of resources */
	bool files_fixed;		/* 0 is fd, 1 is buffered_fd */
	/* The guest's memory, as far as the ring knows it: file_fixed.c. */
	unsigned memory_gen;
	unsigned nr_fixed;
	struct file_fixed *fixed;	/* [FILE_REGIONS_MAX], or NULL */
	bool buffer_used[FILE_BUFFERS_MAX];
	bool fixed_lists;		/* of several pieces, too */
	/* Reads from the page cache, see file_uring.c: how many not to try
	 * now, and after the next that is not there. */
	unsigned cache_skip, cache_skip_next;
	bool cache_off;			/* the file system cannot tell */
	unsigned batch, last_batch;	/* reads and writes: this one's, and
					 * those of the one before */

	/* Pool: inflight is the queue's thread's, finished is locked. */
	unsigned pool_inflight;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct vio_blk_io *finished;
	struct vio_blk_io **finished_tail;
	struct loop_call call;
	bool called;			/* call is on its way */

	struct log_rate rate;
};

/* Threads that do system calls; grows up to its limit on demand. */
struct file_pool {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct vio_blk_io *jobs;
	struct vio_blk_io **jobs_tail;
	unsigned job_count;
	unsigned threads, idle;
	bool stop;
	pthread_t thread[16];
};

struct file {
	struct blkdev dev;
	const struct file_sys *sys;
	int fd;			/* O_DIRECT if asked for; has the lock */
	int buffered_fd;	/* the same file through the page cache */
	int life_fd, eol_fd;	/* how worn it is, or -1 */
	/* Bytes, as last looked at; queues read it. */
	_Atomic uint64_t size;
	bool block_device;
	bool direct;		/* fd is */
	bool read_only;
	enum blkdev_aio aio;	/* never AUTO */
	unsigned mem_align;	/* direct: of memory; else 1 */
	unsigned off_align;	/* direct: of offset and length; else 1 */
	/* A file in memory whose pages are all there is read through a
	 * mapping: no system call, and no page appears by reading it. */
	const unsigned char *map;	/* or NULL */
	uint64_t map_len;
	atomic_bool map_off;		/* it may have holes now */
	atomic_bool map_lost;		/* it was truncated: see guard.h */
	atomic_bool no_zero_range;	/* the kernel said: not supported */
	atomic_bool no_punch;
	atomic_int unsynced;	/* errno of a sync that failed, or 0 */
	bool sqpoll, iopoll;
	enum blkdev_fixed fixed;
	/* The guest's memory, as far as it is fit to be registered. */
	pthread_mutex_t memory_lock;
	struct file_region region[FILE_REGIONS_MAX];
	unsigned nr_regions;
	uint64_t region_ids;
	_Atomic unsigned memory_gen;	/* changes with it */
	struct blkdev_patience patience;
	unsigned queue_count;
	struct file_queue *queues;
	struct file_pool pool;
};

/* Does the file system or device lack the operation? @err: an errno. */
bool file_unsupported(int err);
/* Answer @io: 0 or an errno. Queue's thread. */
void file_finish(struct file_queue *q, struct vio_blk_io *io, int err);

/* file_sync.c: do all of @io now. Any thread. Returns 0 or an errno. */
int file_sync(struct file *f, struct vio_blk_io *io);

/* How may the data of @io, a read or write, reach the file? */
enum file_way file_way(const struct file *f, const struct vio_blk_io *io);
/* @n bytes of it were moved, fewer than it has. */
void file_moved(const struct file *f, struct vio_blk_io *io, uint64_t n);

/* file_map.c: make the mapping if the file is fit for it. */
void file_map(struct file *f, const struct stat *st);
void file_unmap(struct file *f);
/* True if @io, a read, was done from the mapping. */
bool file_map_read(struct file *f, const struct vio_blk_io *io);

/* A number from the block layer's folder of a disk or its partition, or 0. */
uint64_t file_disk_attribute(dev_t dev, const char *name);

/*
 * file_zones.c: look for zones and say so in the disk's conf, but for the
 * model. 0, or -errno after an error line.
 */
int file_zones_find(struct file *f, const struct blkdev_file_conf *conf);
unsigned file_zone_report(void *backend, uint64_t sector,
			  struct vio_blk_zone *out, unsigned max);
/* Returns 0 or an errno. Any thread. */
int file_zone_manage(struct file *f, const struct vio_blk_io *io);
/* What a zoned disk answers for an errno. */
int file_zone_status(int err);
int file_sys_zones(int fd, struct vio_blk_zones *z);
int file_sys_zone_report(int fd, struct blk_zone_report *r);
int file_sys_zone_manage(int fd, unsigned long request,
			 const struct blk_zone_range *range);

/* file_wear.c: find who tells how worn the storage is. 0 or -errno. */
int file_wear_open(struct file *f, const char *folder);
void file_wear_close(struct file *f);
int file_wear(void *backend, struct vio_blk_wear *wear);

/* file_pool.c */
int file_pool_init(struct file_pool *p);
void file_pool_fini(struct file_pool *p);
void file_pool_submit(struct file_queue *q, struct vio_blk_io *io);
/* Call done() of all finished jobs. Queue's thread. */
void file_pool_reap(struct file_queue *q);
/* Until nothing is in flight, or @end by clock_ns(). */
void file_pool_drain(struct file_queue *q, uint64_t end);
/* Give back what no thread has begun. */
void file_pool_leave(struct file_queue *q);

/* Have on_call() of the queue run on its thread. */
void file_queue_call(struct file_queue *q);

/* file_fixed.c. Any thread. */
void file_memory(struct file *f, void *base, size_t len, bool huge, bool add);
/* Queue's thread: make the ring's table what the guest's memory is now. */
void file_fixed_sync(struct file_queue *q);
/* Before the ring is restricted. 0 or -errno. */
int file_fixed_setup(struct file_queue *q);
void file_fixed_close(struct file_queue *q);
/* The buffer that has all of it, or -1. */
int file_fixed_find(const struct file_queue *q, const void *p, size_t len);
/* The buffer that has all of these, where the kernel takes such lists; or -1 */
int file_fixed_find_all(const struct file_queue *q, const struct vio_seg *seg,
			unsigned n);

/* A call of io_uring_register(2). */
int file_uring_register(struct io_uring *ring, unsigned op, const void *arg,
			unsigned n);
/* Can completions be looked for? Reads a block. 0 or -errno. */
int file_uring_can_poll(struct file *f);
/* file_uring.c: 0, or -errno: not permitted or too old. */
int file_uring_setup(struct file_queue *q, unsigned entries);
int file_uring_attach(struct file_queue *q);
void file_uring_detach(struct file_queue *q);
void file_uring_close(struct file_queue *q);
void file_uring_submit(struct file_queue *q, struct vio_blk_io *io);
void file_uring_commit(struct file_queue *q);
void file_uring_drain(struct file_queue *q, uint64_t end);
/* Have the kernel give back what it has not begun; drain finds it. */
void file_uring_leave(struct file_queue *q);

static inline void file_batch_begin(struct file_queue *q)
{
	struct blkdev_batch *b = &q->file->dev.batch;

	if (b->begin)
		b->begin(b->ctx, q->index);
}

static inline void file_batch_end(struct file_queue *q)
{
	struct blkdev_batch *b = &q->file->dev.batch;

	if (b->end)
		b->end(b->ctx, q->index);
}

#endif
