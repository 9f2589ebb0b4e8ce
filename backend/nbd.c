/* SPDX-License-Identifier: MIT */
/*
 * A disk that an NBD server has: a connection a queue, driven by the queue's
 * loop through libnbd's asynchronous calls. It does not know what the server
 * keeps the disk in; that is how formats such as qcow2 are reached.
 *
 * A request is as many commands as it has segments. When the connection
 * breaks, what was under way is done again over the next one: the guest was
 * not told of it yet. libnbd allocates its own record of each command.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/nbd.h"
#include "host/clock.h"

#define RETRY_FIRST_NS	(50 * NS_PER_MS)
#define RETRY_MAX_NS	(2 * NS_PER_S)
/* Of one command; servers take 32 MiB. */
#define CHUNK_MAX	(16u << 20)
/* Ranges that need no data. */
#define RANGE_MAX	(1u << 30)

/* -- commands ------------------------------------------------------------- */

/* What goes through the bounce buffer now. */
static uint64_t piece_of(const struct vio_blk_io *io, uint64_t pos)
{
	uint64_t left = io->len - pos;

	return left < NBD_BOUNCE_BYTES ? left : NBD_BOUNCE_BYTES;
}

/* A part is over; it may be within a call of libnbd, so only note it. */
static void part_over(struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);
	uint64_t all = io->len;

	if (--n->left)
		return;
	if (n->queue->bouncing == io)
		all = piece_of(io, n->pos);
	/* Answered in pieces, with some missing: libnbd does not mind. */
	if (io->op == VIO_BLK_READ && !n->err && n->seen != all)
		n->err = EIO;
	list_add(&n->queue->finished, io);
}

static int on_chunk(void *ctx, const void *data, size_t len, uint64_t at,
		    unsigned status, int *error)
{
	(void)data;
	(void)at;
	(void)error;
	if (status == LIBNBD_READ_DATA || status == LIBNBD_READ_HOLE)
		nbd_io(ctx)->seen += len;
	return 0;
}

static int on_complete(void *ctx, int *error)
{
	struct nbd_io *n = nbd_io(ctx);

	n->open--;
	if (*error && !n->err)
		n->err = (int16_t)*error;
	return 1;
}

/* Called after on_complete, or without it when the connection ends. */
static void on_free(void *ctx)
{
	part_over(ctx);
}

/* A command was handed to libnbd, or not: @rc. */
static bool sent(struct vio_blk_io *io, int64_t rc)
{
	if (rc >= 0) {
		nbd_io(io)->open++;
		return true;
	}
	if (!nbd_io(io)->err)
		nbd_io(io)->err = (int16_t)(nbd_get_errno() ? nbd_get_errno() :
					    EIO);
	return false;
}

static bool send_data(struct nbd_queue *q, struct vio_blk_io *io, void *p,
		      uint64_t len, uint64_t at)
{
	uint32_t fua = io->flags & VIO_BLK_FUA && q->nbd->can_fua ?
		LIBNBD_CMD_FLAG_FUA : 0;
	bool ok = true;

	while (len && ok) {
		const nbd_completion_callback cb = {
			.callback = on_complete, .user_data = io,
			.free = on_free,
		};
		const nbd_chunk_callback chunk = {
			.callback = on_chunk, .user_data = io,
		};
		size_t n = len < CHUNK_MAX ? (size_t)len : CHUNK_MAX;

		/* Before: libnbd may be through with it when it returns. */
		nbd_io(io)->left++;
		ok = sent(io, io->op == VIO_BLK_READ ?
			  nbd_aio_pread_structured(q->h, p, n, at, chunk, cb,
						   0) :
			  nbd_aio_pwrite(q->h, p, n, at, cb, fua));
		p = (char *)p + n;
		at += n;
		len -= n;
	}
	return ok;
}

static bool send_range(struct nbd_queue *q, struct vio_blk_io *io)
{
	uint32_t fua = io->flags & VIO_BLK_FUA && q->nbd->can_fua ?
		LIBNBD_CMD_FLAG_FUA : 0;
	uint64_t at = io->offset, end = io->offset + io->len;
	bool ok = true;

	if (io->op == VIO_BLK_WRITE_ZEROES && !(io->flags & VIO_BLK_UNMAP))
		fua |= LIBNBD_CMD_FLAG_NO_HOLE;
	while (at < end && ok) {
		const nbd_completion_callback cb = {
			.callback = on_complete, .user_data = io,
			.free = on_free,
		};
		uint64_t n = end - at < RANGE_MAX ? end - at : RANGE_MAX;

		nbd_io(io)->left++;
		ok = sent(io, io->op == VIO_BLK_DISCARD ?
			  nbd_aio_trim(q->h, n, at, cb, 0) :
			  nbd_aio_zero(q->h, n, at, cb, fua));
		at += n;
	}
	return ok;
}

static bool send_flush(struct nbd_queue *q, struct vio_blk_io *io)
{
	const nbd_completion_callback cb = {
		.callback = on_complete, .user_data = io, .free = on_free,
	};

	nbd_io(io)->left++;
	return sent(io, nbd_aio_flush(q->h, cb, 0));
}

static bool is_flush(const struct vio_blk_io *io)
{
	return io->op == VIO_BLK_FLUSH;
}

/* @len bytes from @pos on, between guest memory and the bounce buffer. */
static void copy(const struct vio_blk_io *io, uint64_t pos, uint64_t len,
		 unsigned char *at, bool in)
{
	for (unsigned i = 0; i < io->nr_seg && len; i++) {
		const struct vio_seg *s = &io->seg[i];
		unsigned char *guest = (unsigned char *)s->base + pos;
		size_t n;

		if (pos >= s->len) {
			pos -= s->len;
			continue;
		}
		n = s->len - pos < len ? s->len - pos : len;
		if (in)
			memcpy(at, guest, n);
		else
			memcpy(guest, at, n);
		at += n;
		len -= n;
		pos = 0;
	}
}

static bool send_segments(struct nbd_queue *q, struct vio_blk_io *io)
{
	uint64_t left = io->len, at = io->offset;
	bool ok = true;

	for (unsigned i = 0; i < io->nr_seg && left && ok; i++) {
		uint64_t n = io->seg[i].len < left ? io->seg[i].len : left;

		ok = send_data(q, io, io->seg[i].base, n, at);
		at += n;
		left -= n;
	}
	return ok;
}

/* Must its data go through a buffer of ours? */
static bool unaligned(const struct nbd *b, const struct vio_blk_io *io)
{
	uint64_t left = io->len;

	for (unsigned i = 0; i < io->nr_seg && left; i++) {
		uint64_t n = io->seg[i].len < left ? io->seg[i].len : left;

		if (n % b->align)
			return true;
		left -= n;
	}
	return false;
}

/* The next piece of the request that has the bounce buffer. */
static void send_piece(struct nbd_queue *q)
{
	struct vio_blk_io *io = q->bouncing;
	struct nbd_io *n = nbd_io(io);
	uint64_t pos = n->pos, len = piece_of(io, pos);

	*n = (struct nbd_io){ .queue = q, .left = 1, .pos = pos };
	if (io->op == VIO_BLK_WRITE)
		copy(io, pos, len, q->bounce, true);
	send_data(q, io, q->bounce, len, io->offset + pos);
	part_over(io);
}

/* It has its turn at the bounce buffer, now or later. */
static void start_bounced(struct nbd_queue *q, struct vio_blk_io *io)
{
	if (q->bouncing) {
		list_add(&q->for_bounce, io);
		return;
	}
	nbd_io(io)->pos = 0;
	q->bouncing = io;
	send_piece(q);
}

/* Hand it to libnbd. What comes of it, part_over() sees. */
static void start(struct nbd_queue *q, struct vio_blk_io *io)
{
	if (io->op <= VIO_BLK_WRITE && unaligned(q->nbd, io)) {
		start_bounced(q, io);
		return;
	}
	*nbd_io(io) = (struct nbd_io){ .queue = q, .left = 1 };
	if (is_flush(io))
		send_flush(q, io);
	else if (io->op >= VIO_BLK_DISCARD)
		send_range(q, io);
	else
		send_segments(q, io);
	part_over(io);
}

/* It was written; now it shall last. */
static void start_flush(struct nbd_queue *q, struct vio_blk_io *io)
{
	*nbd_io(io) = (struct nbd_io){
		.queue = q, .left = 1, .flushing = true,
	};
	send_flush(q, io);
	part_over(io);
}

/* -- answering ------------------------------------------------------------ */

static void answer(struct nbd_queue *q, struct vio_blk_io *io, int err)
{
	q->inflight--;
	if (!err) {
		io->done(io, VIO_OK);
		return;
	}
	if ((err == EOPNOTSUPP || err == ENOTSUP) &&
	    io->op >= VIO_BLK_DISCARD) {
		io->done(io, VIO_E_UNSUPP);
		return;
	}
	log_limited(&q->rate, LOG_LEVEL_WARN,
		    "nbd: request of %llu bytes at %llu failed: %s",
		    (unsigned long long)io->len,
		    (unsigned long long)io->offset, strerror(err));
	io->done(io, VIO_E_IO);
}

static bool gone(const struct nbd_queue *q)
{
	return !q->h || nbd_aio_is_dead(q->h) || nbd_aio_is_closed(q->h);
}

/*
 * A piece has come through the bounce buffer. True: the next one is under way.
 * Else the buffer is free, for whoever waits for it.
 */
static bool bounced(struct nbd_queue *q, struct vio_blk_io *io, bool ok)
{
	struct nbd_io *n = nbd_io(io);
	uint64_t len = piece_of(io, n->pos);

	if (ok && io->op == VIO_BLK_READ)
		copy(io, n->pos, len, q->bounce, false);
	n->pos += len;
	if (ok && n->pos < io->len) {
		send_piece(q);
		return true;
	}
	q->bouncing = NULL;
	if (!gone(q) && (io = list_take(&q->for_bounce)))
		start_bounced(q, io);
	return false;
}

/* All its commands are over. */
static void settle(struct nbd_queue *q, struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);
	bool lost = n->open > 0 || (n->err && gone(q));

	if (q->bouncing == io && bounced(q, io, !lost && !n->err))
		return;
	if (lost) {
		n->flushing = false;
		list_add(&q->waiting, io);
	} else if (!n->err && io->flags & VIO_BLK_FUA && !n->flushing &&
		   !q->nbd->can_fua && !q->nbd->dev.conf.no_flush) {
		start_flush(q, io);
	} else {
		answer(q, io, n->err);
	}
}

/* @loop: it comes from there, and not from within submit, commit, drain. */
static void finish_all(struct nbd_queue *q, bool loop)
{
	struct blkdev_batch *b = &q->nbd->dev.batch;
	struct vio_blk_io *io;

	/* done() may submit, and come here again. */
	if (!q->finished.first || q->finishing)
		return;
	q->finishing = true;
	if (loop && b->begin)
		b->begin(b->ctx, q->index);
	while ((io = list_take(&q->finished)))
		settle(q, io);
	q->finishing = false;
	if (loop && b->end)
		b->end(b->ctx, q->index);
}

/* -- the connection ------------------------------------------------------- */

static void watch(struct nbd_queue *q);

static void unwatch(struct nbd_queue *q)
{
	if (q->fd.fd >= 0 && q->loop)
		loop_fd_del(q->loop, &q->fd);
	q->fd.fd = -1;
	q->events = 0;
}

static void close_handle(struct nbd_queue *q)
{
	struct nbd_handle *h = q->h;
	struct vio_blk_io *io;

	unwatch(q);
	q->h = NULL;
	if (h)
		nbd_close(h);
	/* What was not begun waits with the others. */
	while ((io = list_take(&q->for_bounce)))
		list_add(&q->waiting, io);
}

/* Who waits for too long gets an error. */
static void give_up(struct nbd_queue *q)
{
	uint64_t limit = q->nbd->conf.reconnect_s * NS_PER_S;
	struct vio_blk_io *io;
	struct list list;

	if (!q->lost_ns || clock_ns() - q->lost_ns < limit)
		return;
	list = q->waiting;
	if (!list.first)
		return;
	list_init(&q->waiting);
	while ((io = list_take(&list)))
		answer(q, io, ENOTCONN);
}

static void lost(struct nbd_queue *q)
{
	if (!q->lost_ns) {
		q->lost_ns = clock_ns();
		q->retry_ns = RETRY_FIRST_NS;
		log_warn("nbd: %s: the connection of queue %u broke; trying again for %u s, requests wait",
			 q->nbd->conf.uri, q->index,
			 q->nbd->conf.reconnect_s);
	}
	close_handle(q);
	if (q->loop)
		loop_timer_set(q->loop, &q->timer, q->retry_ns);
	q->retry_ns = q->retry_ns * 2 < RETRY_MAX_NS ? q->retry_ns * 2 :
		RETRY_MAX_NS;
}

static void connected(struct nbd_queue *q)
{
	struct vio_blk_io *io;
	struct list list;

	if (nbd_get_size(q->h) < (int64_t)q->nbd->size ||
	    (!q->nbd->read_only && nbd_is_read_only(q->h) == 1)) {
		log_limited(&q->rate, LOG_LEVEL_ERROR,
			    "nbd: %s: the disk is smaller than it was, or read-only now; not going on with it",
			    q->nbd->conf.uri);
		lost(q);
		return;
	}
	log_info("nbd: %s: queue %u is connected again", q->nbd->conf.uri,
		 q->index);
	q->lost_ns = 0;
	atomic_store(&q->nbd->patience.lost, 0);
	list = q->waiting;
	list_init(&q->waiting);
	if (!list.first)
		return;
	/* A copy of an empty one would point into the old one. */
	while ((io = list_take(&list)))
		start(q, io);
}

/* Whatever has happened: look where we are, and what to wait for. */
static void look(struct nbd_queue *q, bool loop)
{
	if (q->h && gone(q)) {
		/* Lets go of all commands, which then wait. */
		lost(q);
	} else if (q->h && q->lost_ns && nbd_aio_is_ready(q->h)) {
		connected(q);
	}
	finish_all(q, loop);
	give_up(q);
	watch(q);
}

static void on_fd(void *ctx, uint32_t events)
{
	struct nbd_queue *q = ctx;

	/* The same bits as those of poll(2). */
	nbd_handle_notify(q->h, events);
	look(q, true);
}

/* Have the loop wait for what libnbd waits for. */
static void watch(struct nbd_queue *q)
{
	uint32_t events = 0;
	unsigned dir;
	int fd;

	if (!q->loop || !q->h || gone(q))
		return;
	dir = nbd_aio_get_direction(q->h);
	fd = nbd_aio_get_fd(q->h);
	if (dir & LIBNBD_AIO_DIRECTION_READ)
		events |= EPOLLIN;
	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		events |= EPOLLOUT;
	if (fd == q->fd.fd && events == q->events)
		return;
	if (fd == q->fd.fd) {
		loop_fd_mod(q->loop, &q->fd, events);
	} else {
		unwatch(q);
		q->fd = (struct loop_fd){ fd, on_fd, q };
		loop_fd_add(q->loop, &q->fd, events);
	}
	q->events = events;
}

static void try_again(struct nbd_queue *q)
{
	q->tried_ns = clock_ns();
	q->h = nbd_handle_make(&q->nbd->conf);
	if (!q->h || nbd_aio_connect_uri(q->h, q->nbd->conf.uri))
		lost(q);
}

static void on_timer(void *ctx)
{
	struct nbd_queue *q = ctx;

	if (!q->h)
		try_again(q);
	else if (q->lost_ns && clock_ns() - q->tried_ns >=
		 nbd_handle_patience_ns(&q->nbd->conf))
		lost(q);	/* it says nothing */
	look(q, true);
	/* An attempt without an answer brings no event. */
	if (q->lost_ns && q->h)
		loop_timer_set(q->loop, &q->timer, q->retry_ns);
}

/* -- the back end --------------------------------------------------------- */

static void on_call(void *ctx)
{
	look(ctx, true);
}

static void nbd_submit(void *backend, struct vio_blk_io *io)
{
	struct nbd *b = vio_container_of(backend, struct nbd, dev);
	struct nbd_queue *q = &b->queue[io->queue];

	q->inflight++;
	if (io->op != VIO_BLK_FLUSH &&
	    (io->offset > b->size || io->len > b->size - io->offset)) {
		answer(q, io, EINVAL);
		return;
	}
	if (b->read_only && io->op != VIO_BLK_READ && !is_flush(io)) {
		answer(q, io, EROFS);
		return;
	}
	if (io->op > VIO_BLK_WRITE_ZEROES) {
		answer(q, io, EOPNOTSUPP);
		return;
	}
	*nbd_io(io) = (struct nbd_io){ .queue = q };
	if (q->lost_ns || gone(q))
		list_add(&q->waiting, io);
	else
		start(q, io);
}

static void nbd_commit(void *backend, unsigned queue)
{
	struct nbd *b = vio_container_of(backend, struct nbd, dev);
	struct nbd_queue *q = &b->queue[queue];

	if (q->loop && (q->finished.first || (q->h && gone(q)) ||
			q->waiting.first))
		loop_defer(q->loop, &q->call);
	watch(q);
}

/* What still waits for an answer of a server that does not come. */
static void fail_all(struct nbd_queue *q)
{
	struct vio_blk_io *io;

	/* libnbd lets go of all buffers here. */
	close_handle(q);
	q->lost_ns = q->lost_ns ? q->lost_ns : clock_ns();
	finish_all(q, false);
	while ((io = list_take(&q->waiting)))
		answer(q, io, ETIMEDOUT);
	if (q->loop)
		loop_timer_set(q->loop, &q->timer, RETRY_FIRST_NS);
}

static void nbd_drain(void *backend, unsigned queue)
{
	struct nbd *b = vio_container_of(backend, struct nbd, dev);
	struct nbd_queue *q = &b->queue[queue];
	uint64_t end = blkdev_drain_end(&b->patience);

	for (;;) {
		look(q, false);
		if (!q->inflight)
			return;
		if (clock_ns() >= end)
			break;
		if (q->h)
			nbd_handle_poll(q->h, 50);
		else if (!poll(NULL, 0, 50))
			try_again(q);
	}
	blkdev_drain_failed(&b->patience, q->inflight);
	fail_all(q);
}

/* Under way when a connection broke, or never sent: on none in any case. */
static void nbd_leave(void *backend, unsigned queue)
{
	struct nbd *b = vio_container_of(backend, struct nbd, dev);
	struct nbd_queue *q = &b->queue[queue];
	struct vio_blk_io *io;

	look(q, false);
	while (q->lost_ns && (io = list_take(&q->waiting))) {
		q->inflight--;
		io->done(io, VIO_E_AGAIN);
	}
}

static int nbd_attach(struct blkdev *d, unsigned queue, struct loop *loop)
{
	struct nbd *b = vio_container_of(d, struct nbd, dev);
	struct nbd_queue *q = &b->queue[queue];

	q->loop = loop;
	q->timer = (struct loop_timer){ .fn = on_timer, .ctx = q };
	q->call = (struct loop_call){ .fn = on_call, .ctx = q };
	watch(q);
	return 0;
}

static void nbd_detach(struct blkdev *d, unsigned queue)
{
	struct nbd *b = vio_container_of(d, struct nbd, dev);
	struct nbd_queue *q = &b->queue[queue];

	unwatch(q);
	loop_timer_cancel(q->loop, &q->timer);
	loop_call_cancel(q->loop, &q->call);
	q->loop = NULL;
}

void nbd_close_all(struct blkdev *d)
{
	struct nbd *b = vio_container_of(d, struct nbd, dev);

	for (unsigned i = 0; i < b->nr_queues; i++) {
		if (b->queue[i].h) {
			nbd_aio_disconnect(b->queue[i].h, 0);
			nbd_close(b->queue[i].h);
		}
		free(b->queue[i].bounce);
	}
	free(b);
}

const struct blkdev_ops nbd_ops = {
	.io = { .submit = nbd_submit, .commit = nbd_commit,
		.drain = nbd_drain, .leave = nbd_leave },
	.attach = nbd_attach,
	.detach = nbd_detach,
	.close = nbd_close_all,
};
