/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes through io_uring, one ring a queue. The ring is made
 * before the sandbox closes and can do nothing but reads and writes, and take
 * them back; it is enabled on the queue's thread, which is its only user.
 *
 * A read that comes alone tries the page cache first: that takes two thirds
 * of the time of a trip through the ring, which pays only for batches. The
 * more often the data is not there, the more seldom is it tried.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/file.h"
#include "core/base/barrier.h"
#include "host/clock.h"

/* Requests handed to the kernel at once, at most; more means more calls. */
#define URING_ENTRIES 256u
#define URING_RETRY_NS (1 * NS_PER_MS)
#define DRAIN_LOOK_MS 10
/* Segments in one call; more make a short transfer. */
#define IOV_MOST 1024
/* A cold cache is tried once in so many reads, at least. */
#define CACHE_SKIP_MOST 63u

/* The kernel's thread goes to sleep after this time without a request. */
#define SQPOLL_IDLE_MS 10u

static const uint8_t allowed_ops[] = {
	IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
	IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_ASYNC_CANCEL,
	/* Only where there are such: restrict_ring(). */
	FILE_OP_READV_FIXED, FILE_OP_WRITEV_FIXED,
};

/* One thread of the kernel for all queues of a disk. */
static int init_sqpoll(struct file_queue *q, unsigned cq)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SQPOLL | IORING_SETUP_R_DISABLED |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
			 (q->file->iopoll ? IORING_SETUP_IOPOLL : 0),
		.cq_entries = cq,
		.sq_thread_idle = SQPOLL_IDLE_MS,
	};

	if (q->index) {
		p.flags |= IORING_SETUP_ATTACH_WQ;
		p.wq_fd = (uint32_t)q->file->queues[0].ring.ring_fd;
	}
	return io_uring_queue_init_params(URING_ENTRIES, &q->ring, &p);
}

static int init_ring(struct file_queue *q, unsigned inflight)
{
	static const unsigned flags[] = {
		/* Completions are run by this thread, when it asks: 6.1 */
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	struct io_uring_params p;
	unsigned i, cq = URING_ENTRIES;
	int rc = -EINVAL;

	while (cq < inflight && cq < 32768)
		cq *= 2;
	if (q->file->sqpoll)
		return init_sqpoll(q, cq);
	for (i = 0; i < VIO_ARRAY_LEN(flags) && rc == -EINVAL; i++) {
		memset(&p, 0, sizeof(p));
		p.flags = flags[i] | IORING_SETUP_R_DISABLED |
			  IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
			  (q->file->iopoll ? IORING_SETUP_IOPOLL : 0);
		p.cq_entries = cq;
		rc = io_uring_queue_init_params(URING_ENTRIES, &q->ring, &p);
	}
	return rc;
}

/* Debian 12's liburing declares these two helpers but lacks them. */
int file_uring_register(struct io_uring *ring, unsigned op, const void *arg,
			unsigned n)
{
	long rc = syscall(__NR_io_uring_register, ring->ring_fd, op, arg, n);

	return rc < 0 ? -errno : (int)rc;
}

static int restrict_ring(struct io_uring *ring, bool lists)
{
	struct io_uring_restriction res[VIO_ARRAY_LEN(allowed_ops) + 3];
	unsigned i, n = 0;

	memset(res, 0, sizeof(res));
	for (i = 0; i < VIO_ARRAY_LEN(allowed_ops) - (lists ? 0 : 2); i++) {
		res[n].opcode = IORING_RESTRICTION_SQE_OP;
		res[n++].sqe_op = allowed_ops[i];
	}
	res[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	res[n++].sqe_flags = IOSQE_FIXED_FILE;
	res[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	res[n++].register_op = IORING_REGISTER_BUFFERS_UPDATE;
	res[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	res[n++].register_op = IORING_REGISTER_ENABLE_RINGS;
	return file_uring_register(ring, IORING_REGISTER_RESTRICTIONS, res, n);
}

/*
 * Not the files of a killed program: the kernel keeps those that are
 * registered, and our lock with them, for tens of milliseconds after its last
 * request has ended. One that is named is kept as long as a request is under
 * way, which is what the lock has to wait for. For a thread of the kernel's
 * that is always looking they are registered all the same.
 */
static int fix_files(struct file_queue *q)
{
	const int fds[2] = { q->file->fd, q->file->buffered_fd };
	int rc;

	if (!q->file->sqpoll)
		return 0;
	rc = file_uring_register(&q->ring, IORING_REGISTER_FILES, fds, 2);
	q->files_fixed = !rc;
	return rc;
}

int file_uring_setup(struct file_queue *q, unsigned inflight)
{
	int rc;

	q->ring_fd.fd = -1;
	/* Direct I/O has no page cache. */
	q->cache_off = q->file->fd != q->file->buffered_fd;
	rc = init_ring(q, inflight);
	if (rc)
		return rc;
	q->ring_fd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = q->ring_fd.fd < 0 ? -errno :
		io_uring_register_eventfd(&q->ring, q->ring_fd.fd);
	if (!rc)
		rc = io_uring_cq_eventfd_toggle(&q->ring, false);
	if (!rc)
		rc = fix_files(q);
	if (!rc)
		rc = file_fixed_setup(q);
	if (!rc)
		rc = restrict_ring(&q->ring, q->fixed_lists);
	/* Segments are read at submission only: 5.5. */
	if (!rc && !(q->ring.features & IORING_FEAT_SUBMIT_STABLE))
		rc = -ENOSYS;
	q->has_ring = true;
	if (rc)
		file_uring_close(q);
	return rc;
}

int file_uring_can_poll(struct file *f)
{
	static unsigned char block[4096] __attribute__((aligned(4096)));
	struct io_uring_params p = { .flags = IORING_SETUP_IOPOLL };
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int rc;

	if (f->off_align > sizeof(block))
		return 0;	/* each read will tell */
	rc = io_uring_queue_init_params(2, &ring, &p);
	if (rc)
		return rc;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, f->fd, block, f->off_align, 0);
	rc = io_uring_submit(&ring);
	if (rc > 0)
		rc = io_uring_wait_cqe(&ring, &cqe);
	if (!rc)
		rc = cqe->res < 0 ? cqe->res : 0;
	io_uring_queue_exit(&ring);
	return rc;
}

/* All of the data, or what is left of it in the segment where it stopped. */
static void prepare_one(struct file_queue *q, struct io_uring_sqe *sqe,
			struct vio_blk_io *io, int fd)
{
	const struct vio_seg *seg = io->seg;
	uint64_t pos = file_io(io)->pos, skip = pos, left = io->len - pos;
	bool read = io->op == VIO_BLK_READ;
	int buffer = -1;
	unsigned len;
	char *at;

	while (skip >= seg->len) {
		skip -= seg->len;
		seg++;
	}
	at = (char *)seg->base + skip;
	len = (unsigned)(seg->len - skip < left ? seg->len - skip : left);
	if (q->nr_fixed)
		buffer = file_fixed_find(q, at, len);
	if (buffer >= 0 && read)
		io_uring_prep_read_fixed(sqe, fd, at, len, io->offset + pos,
					 buffer);
	else if (buffer >= 0)
		io_uring_prep_write_fixed(sqe, fd, at, len, io->offset + pos,
					  buffer);
	else if (read)
		io_uring_prep_read(sqe, fd, at, len, io->offset + pos);
	else
		io_uring_prep_write(sqe, fd, at, len, io->offset + pos);
}

/* All of the data, which lie in several pieces. */
static void prepare_list(struct file_queue *q, struct io_uring_sqe *sqe,
			 struct vio_blk_io *io, int fd, unsigned n)
{
	bool read = io->op == VIO_BLK_READ;
	int buffer = q->nr_fixed ? file_fixed_find_all(q, io->seg, n) : -1;
	int op = read ? IORING_OP_READV : IORING_OP_WRITEV;

	if (buffer >= 0)
		op = read ? FILE_OP_READV_FIXED : FILE_OP_WRITEV_FIXED;
	io_uring_prep_rw(op, sqe, fd, io->seg, n, io->offset);
	if (buffer >= 0)
		sqe->buf_index = (uint16_t)buffer;
}

static void prepare(struct file_queue *q, struct io_uring_sqe *sqe,
		    struct vio_blk_io *io)
{
	/* What does not fit becomes a short transfer. */
	unsigned n = io->nr_seg < IOV_MOST ? io->nr_seg : IOV_MOST;
	bool cached = file_io(io)->way == FILE_BUFFERED;
	bool read = io->op == VIO_BLK_READ;
	int fd = cached ? q->file->buffered_fd : q->file->fd;

	if (q->files_fixed)
		fd = cached;
	if (file_io(io)->pos || n == 1)
		prepare_one(q, sqe, io, fd);
	else
		prepare_list(q, sqe, io, fd, n);
	if (q->files_fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	if (io->flags & VIO_BLK_FUA && !read)
		sqe->rw_flags = RWF_DSYNC;
	io_uring_sqe_set_data(sqe, io);
}

static void start(struct file_queue *q)
{
	/* With what is complete by then: one call for both. */
	int rc = io_uring_submit_and_get_events(&q->ring);

	/* Entries stay in the ring: out of memory or of completion space.
	 * Its thread takes them in its own time. */
	if (rc < 0 || (!q->file->sqpoll && io_uring_sq_ready(&q->ring)))
		loop_timer_set(q->loop, &q->retry, URING_RETRY_NS);
}

static void queue_sqe(struct file_queue *q, struct vio_blk_io *io)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	if (!sqe) {
		start(q);
		if (q->file->sqpoll)
			io_uring_sqring_wait(&q->ring);
		sqe = io_uring_get_sqe(&q->ring);
	}
	if (!sqe) {
		/* The kernel takes nothing now; threads do. */
		file_pool_submit(q, io);
		return;
	}
	prepare(q, sqe, io);
	q->ring_inflight++;
	if (!q->polled)
		loop_poller_add(q->loop, &q->poller);
	q->polled = true;
}

/*
 * Try the page cache. Returns true if the request is done and answered; a
 * part of it may be done in any case.
 */
static bool read_cached(struct file_queue *q, struct vio_blk_io *io)
{
	ssize_t n;

	if (q->cache_skip) {
		q->cache_skip--;
		return false;
	}
	n = preadv2(q->file->fd, (const struct iovec *)(const void *)io->seg,
		    io->nr_seg < IOV_MOST ? io->nr_seg : IOV_MOST,
		    (off_t)io->offset, RWF_NOWAIT);
	if (n > 0 && (uint64_t)n == io->len) {
		q->cache_skip_next = 0;
		io->done(io, VIO_OK);
		return true;
	}
	if (n > 0)
		file_io(io)->pos = (uint64_t)n;
	else if (n < 0 && errno == EOPNOTSUPP)
		q->cache_off = true;
	/* All else is the ring's to find out. */
	q->cache_skip = q->cache_skip_next;
	q->cache_skip_next = q->cache_skip_next * 2 + 1;
	if (q->cache_skip_next > CACHE_SKIP_MOST)
		q->cache_skip_next = CACHE_SKIP_MOST;
	return false;
}

void file_uring_submit(struct file_queue *q, struct vio_blk_io *io)
{
	bool alone = !q->batch++ && q->last_batch <= 1;

	if (q->memory_gen != atomic_load_explicit(&q->file->memory_gen,
						  memory_order_acquire))
		file_fixed_sync(q);
	if (alone && io->op == VIO_BLK_READ && !q->cache_off &&
	    read_cached(q, io))
		return;
	queue_sqe(q, io);
}

/* One answer of the kernel. */
static void complete(struct file_queue *q, struct vio_blk_io *io, int res)
{
	struct file_io *fi;
	int err = 0;

	/* Nobody's: how many file_uring_leave() got back. */
	if (vio_unlikely(!io))
		return;
	fi = file_io(io);
	q->ring_inflight--;
	if (vio_likely(res > 0 && (uint64_t)res == io->len)) {
		io->done(io, VIO_OK);
		return;
	}
	if (res == -ECANCELED && q->leaving) {
		io->done(io, VIO_E_AGAIN);
		return;
	}
	if (res > 0)
		file_moved(q->file, io, (uint64_t)res);
	else if (!res)
		err = io->op == VIO_BLK_READ ? ENODATA : ENOSPC;
	else if (-res != EINTR && -res != EAGAIN)
		err = -res;
	else if (++fi->tries >= FILE_TRIES_MAX)
		err = -res;
	if (err || fi->pos >= io->len)
		file_finish(q, io, err);
	else if (q->file->iopoll && fi->way == FILE_BUFFERED)
		file_pool_submit(q, io);
	else
		queue_sqe(q, io);
}

/* Returns true if anything was there. */
static bool reap(struct file_queue *q)
{
	struct io_uring_cqe *cqe[64];
	struct vio_blk_io *io[64];
	bool any = false;
	int res[64];
	unsigned i, n;

	if (q->file->iopoll && q->ring_inflight)
		io_uring_get_events(&q->ring);
	do {
		n = io_uring_peek_batch_cqe(&q->ring, cqe, 64);
		/* Copied out, for done() may submit and wait in here. */
		for (i = 0; i < n; i++) {
			io[i] = io_uring_cqe_get_data(cqe[i]);
			res[i] = cqe[i]->res;
		}
		io_uring_cq_advance(&q->ring, n);
		for (i = 0; i < n; i++)
			complete(q, io[i], res[i]);
		any |= n > 0;
	} while (n == 64);
	/* The rest of short transfers, or what done() submitted. */
	if (io_uring_sq_ready(&q->ring))
		start(q);
	return any;
}

void file_uring_commit(struct file_queue *q)
{
	q->last_batch = q->batch;
	q->batch = 0;
	if (!io_uring_sq_ready(&q->ring))
		return;
	start(q);
	/* What was in the page cache is there already. */
	reap(q);
}

/*
 * The ring itself can wait with a time limit only in a way that restricted
 * rings forbid; so its descriptor is waited for, with another look now and
 * then.
 */
void file_uring_drain(struct file_queue *q, uint64_t end)
{
	struct pollfd p = { .fd = q->ring_fd.fd, .events = POLLIN };
	uint64_t n;
	int rc;

	while (q->ring_inflight) {
		rc = io_uring_submit(&q->ring);
		if (rc >= 0)
			rc = io_uring_get_events(&q->ring);
		if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
			log_limited(&q->rate, LOG_LEVEL_ERROR,
				    "waiting for io_uring: %s", strerror(-rc));
		reap(q);
		if (!q->ring_inflight || clock_ns() >= end)
			return;
		/* Nothing will be announced. */
		if (q->file->iopoll)
			continue;
		if (poll(&p, 1, DRAIN_LOOK_MS) > 0 &&
		    read(p.fd, &n, sizeof(n)) < 0)
			continue;
	}
}

/*
 * Of what it runs on its own threads the kernel gives back what none of them
 * has begun, with ECANCELED; what a disk has it does not. One entry for all:
 * 5.19; older ones refuse it, and nothing comes back.
 */
void file_uring_leave(struct file_queue *q)
{
	struct io_uring_sqe *sqe;

	/* A ring that is polled takes reads and writes alone. */
	if (!q->ring_inflight || q->file->iopoll)
		return;
	sqe = io_uring_get_sqe(&q->ring);
	if (!sqe)
		return;
	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, NULL, 0, 0);
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
	io_uring_sqe_set_data(sqe, NULL);
	start(q);
}

static bool reap_batch(struct file_queue *q)
{
	bool any;

	file_batch_begin(q);
	any = reap(q);
	file_batch_end(q);
	return any;
}

static void on_ring(void *ctx, uint32_t events)
{
	struct file_queue *q = ctx;
	uint64_t n;

	(void)events;
	/* Only to make it quiet again. */
	if (read(q->ring_fd.fd, &n, sizeof(n)) < 0)
		return;
	reap_batch(q);
}

static void on_retry(void *ctx)
{
	struct file_queue *q = ctx;

	start(q);
	reap_batch(q);
}

static bool ring_poll(void *ctx)
{
	struct file_queue *q = ctx;

	return q->ring_inflight && reap_batch(q);
}

/* The kernel writes the event descriptor only while the loop sleeps. */
static bool ring_sleep(void *ctx)
{
	struct file_queue *q = ctx;

	/* Nothing to look for: back when there is. */
	if (!q->ring_inflight) {
		loop_poller_del(q->loop, &q->poller);
		q->polled = false;
		return false;
	}
	/* Nobody but us would look for answers. */
	if (q->file->iopoll)
		return true;
	io_uring_cq_eventfd_toggle(&q->ring, true);
	/* The kernel posts an answer and then looks whether to write; we
	 * permit it and then look for answers. */
	vio_mb();
	return reap_batch(q);
}

static void ring_wake(void *ctx)
{
	struct file_queue *q = ctx;

	io_uring_cq_eventfd_toggle(&q->ring, false);
}

static const struct loop_poller_ops ring_poller_ops = {
	.poll = ring_poll, .sleep = ring_sleep, .wake = ring_wake,
};

int file_uring_attach(struct file_queue *q)
{
	int rc = file_uring_register(&q->ring, IORING_REGISTER_ENABLE_RINGS,
				     NULL, 0);

	if (rc)
		return rc;
	q->ring_fd.fn = on_ring;
	q->ring_fd.ctx = q;
	q->retry = (struct loop_timer){ .fn = on_retry, .ctx = q };
	q->poller = (struct loop_poller){ .ops = &ring_poller_ops, .ctx = q };
	return loop_fd_add(q->loop, &q->ring_fd, EPOLLIN);
}

void file_uring_detach(struct file_queue *q)
{
	loop_timer_cancel(q->loop, &q->retry);
	if (q->polled)
		loop_poller_del(q->loop, &q->poller);
	q->polled = false;
	loop_fd_del(q->loop, &q->ring_fd);
}

void file_uring_close(struct file_queue *q)
{
	if (!q->has_ring)
		return;
	io_uring_queue_exit(&q->ring);
	file_fixed_close(q);
	if (q->ring_fd.fd >= 0)
		close(q->ring_fd.fd);
	q->has_ring = false;
}
