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

#include "backend/blkdev.h"
#include "backend/drain.h"
#include "backend/nbd_handle.h"
#include "host/clock.h"
#include "host/log.h"

#define RETRY_FIRST_NS	(50 * NS_PER_MS)
#define RETRY_MAX_NS	(2 * NS_PER_S)
/* Of one command; servers take 32 MiB. */
#define CHUNK_MAX	(16u << 20)
/* Ranges that need no data. */
#define RANGE_MAX	(1u << 30)

struct nbd_queue;

/* What this back end keeps in vio_blk_io.scratch. */
struct nbd_io {
	union {
		struct vio_blk_io *next;	/* in a list of the queue's */
		uint64_t seen;			/* bytes read, under way */
	};
	struct nbd_queue *queue;
	unsigned char *bounce;		/* or NULL */
	uint16_t left;			/* commands not let go of, and us */
	int16_t open;			/* without an answer */
	int16_t err;			/* errno of the first that failed */
	bool flushing;			/* the server has no FUA */
} __attribute__((may_alias));

VIO_STATIC_ASSERT(sizeof(struct nbd_io) <=
		  sizeof(((struct vio_blk_io *)0)->scratch),
		  "nbd_io fits into the scratch space");

struct list {
	struct vio_blk_io *first, **tail;
};

struct nbd;

struct nbd_queue {
	struct nbd *nbd;
	unsigned index;
	struct nbd_handle *h;		/* NULL: between connections */
	struct loop *loop;		/* NULL: not attached */
	struct loop_fd fd;		/* fd -1: not watched */
	uint32_t events;
	struct loop_timer timer;	/* the next attempt */
	struct loop_call call;		/* something finished in submit */
	uint64_t retry_ns, lost_ns;	/* since when; 0: connected */
	uint64_t tried_ns;		/* when the attempt began */
	struct list waiting;		/* for a connection */
	struct list finished;
	unsigned inflight;		/* requests taken and not done */
	bool finishing;
	struct log_rate rate;
};

struct nbd {
	struct blkdev dev;
	struct blkdev_nbd_conf conf;
	uint64_t size;
	uint32_t align;			/* what the server asks for, bytes */
	bool read_only, can_fua;
	struct blkdev_patience patience;
	unsigned nr_queues;
	struct nbd_queue queue[];
};

static struct nbd_io *nbd_io(struct vio_blk_io *io)
{
	return (struct nbd_io *)io->scratch;
}

static void list_init(struct list *l)
{
	l->first = NULL;
	l->tail = &l->first;
}

static void list_add(struct list *l, struct vio_blk_io *io)
{
	nbd_io(io)->next = NULL;
	*l->tail = io;
	l->tail = &nbd_io(io)->next;
}

static struct vio_blk_io *list_take(struct list *l)
{
	struct vio_blk_io *io = l->first;

	if (!io)
		return NULL;
	l->first = nbd_io(io)->next;
	if (!l->first)
		l->tail = &l->first;
	return io;
}

/* -- commands ------------------------------------------------------------- */

/* A part is over; it may be within a call of libnbd, so only note it. */
static void part_over(struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);

	if (--n->left)
		return;
	/* Answered in pieces, with some missing: libnbd does not mind. */
	if (io->op == VIO_BLK_READ && !n->err && n->seen != io->len)
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

/* Between the guest's memory and the bounce buffer. */
static void copy(const struct vio_blk_io *io, unsigned char *at, bool in)
{
	uint64_t left = io->len;

	for (unsigned i = 0; i < io->nr_seg && left; i++) {
		size_t n = io->seg[i].len < left ? io->seg[i].len : left;

		if (in)
			memcpy(at, io->seg[i].base, n);
		else
			memcpy(io->seg[i].base, at, n);
		at += n;
		left -= n;
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

static bool send_bounced(struct nbd_queue *q, struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);

	n->bounce = malloc(io->len);
	if (!n->bounce) {
		n->err = ENOMEM;
		return false;
	}
	if (io->op == VIO_BLK_WRITE)
		copy(io, n->bounce, true);
	return send_data(q, io, n->bounce, io->len, io->offset);
}

/* Hand it to libnbd. What comes of it, part_over() sees. */
static void start(struct nbd_queue *q, struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);

	*n = (struct nbd_io){ .queue = q, .left = 1 };
	if (is_flush(io))
		send_flush(q, io);
	else if (io->op >= VIO_BLK_DISCARD)
		send_range(q, io);
	else if (unaligned(q->nbd, io))
		send_bounced(q, io);
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

/* All its commands are over. */
static void settle(struct nbd_queue *q, struct vio_blk_io *io)
{
	struct nbd_io *n = nbd_io(io);
	bool lost = n->open > 0 || (n->err && gone(q));

	if (!lost && !n->err && io->op == VIO_BLK_READ && n->bounce)
		copy(io, n->bounce, false);
	free(n->bounce);
	n->bounce = NULL;
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

	unwatch(q);
	q->h = NULL;
	if (h)
		nbd_close(h);
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

static void nbd_close_all(struct blkdev *d)
{
	struct nbd *b = vio_container_of(d, struct nbd, dev);

	for (unsigned i = 0; i < b->nr_queues; i++)
		if (b->queue[i].h) {
			nbd_aio_disconnect(b->queue[i].h, 0);
			nbd_close(b->queue[i].h);
		}
	free(b);
}

static const struct blkdev_ops nbd_ops = {
	.io = { .submit = nbd_submit, .commit = nbd_commit,
		.drain = nbd_drain, .leave = nbd_leave },
	.attach = nbd_attach,
	.detach = nbd_detach,
	.close = nbd_close_all,
};

/* -- opening -------------------------------------------------------------- */

static void fill_conf(struct nbd *b, struct nbd_handle *h)
{
	struct vio_blk_conf *c = &b->dev.conf;
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t pref = nbd_get_block_size(h, LIBNBD_SIZE_PREFERRED);

	b->size = (uint64_t)nbd_get_size(h) / 512 * 512;
	b->align = min > 1 ? (uint32_t)min : 1;
	b->can_fua = nbd_can_fua(h) == 1;
	b->read_only = b->conf.read_only || nbd_is_read_only(h) == 1;
	c->capacity_sectors = b->size / 512;
	c->read_only = b->read_only;
	c->no_flush = nbd_can_flush(h) != 1;
	c->blk_size = b->align > 512 ? b->align : 512;
	if (pref > (int64_t)c->blk_size && pref <= 65536 &&
	    !(pref & (pref - 1))) {
		c->topology = true;
		while ((int64_t)c->blk_size << c->physical_block_exp < pref)
			c->physical_block_exp++;
		c->min_io_blocks = (uint16_t)(1u << c->physical_block_exp);
	}
	if (!b->read_only && nbd_can_trim(h) == 1) {
		c->max_discard_sectors = 1u << 22;
		c->max_discard_seg = VIO_BLK_RANGES_MAX;
		c->discard_sector_alignment = c->blk_size / 512;
	}
	if (!b->read_only && nbd_can_zero(h) == 1) {
		c->max_write_zeroes_sectors = 1u << 22;
		c->max_write_zeroes_seg = VIO_BLK_RANGES_MAX;
		c->write_zeroes_may_unmap = true;
	}
}

static int refuse(const struct nbd *b, int rc)
{
	if (rc == -ETIMEDOUT) {
		log_err("--nbd=%s: the server does not answer; is it an NBD server, and not stopped?",
			b->conf.uri);
		return rc;
	}
	log_err("--nbd=%s: %s; is the server running, and the address as nbdinfo takes it?",
		b->conf.uri, nbd_get_error());
	return nbd_get_errno() ? -nbd_get_errno() : -EIO;
}

static int open_queue(struct nbd *b, unsigned i)
{
	struct nbd_queue *q = &b->queue[i];
	int rc = -EIO;

	q->nbd = b;
	q->index = i;
	q->fd.fd = -1;
	list_init(&q->waiting);
	list_init(&q->finished);
	q->h = nbd_handle_make(&b->conf);
	if (q->h)
		rc = nbd_handle_connect(q->h, &b->conf);
	if (rc)
		return refuse(b, rc);
	b->nr_queues = i + 1;
	if (i)
		return 0;
	fill_conf(b, q->h);
	if (b->conf.num_queues > 1 && nbd_can_multi_conn(q->h) != 1 &&
	    !b->read_only) {
		log_err("--nbd=%s: this server does not keep several connections consistent; add --num-queues=1",
			b->conf.uri);
		return -EINVAL;
	}
	return 0;
}

int blkdev_nbd_open(struct blkdev **d, const struct blkdev_nbd_conf *conf)
{
	struct nbd *b = calloc(1, sizeof(*b) + conf->num_queues *
			       sizeof(b->queue[0]));
	int rc = 0;

	if (!b)
		return -ENOMEM;
	b->conf = *conf;
	b->dev.ops = &nbd_ops;
	b->dev.engine = "libnbd";
	for (unsigned i = 0; i < conf->num_queues && !rc; i++)
		rc = open_queue(b, i);
	if (!rc && b->size < 512) {
		log_err("--nbd=%s: this disk is empty", conf->uri);
		rc = -EINVAL;
	}
	if (rc) {
		if (b->nr_queues < conf->num_queues &&
		    b->queue[b->nr_queues].h)
			b->nr_queues++;
		nbd_close_all(&b->dev);
		return rc;
	}
	*d = &b->dev;
	return 0;
}

const char *const *blkdev_nbd_syscalls(void)
{
	/* To connect again. */
	static const char *const calls[] = {
		"socket", "connect", "getpeername", "getsockname",
		"setsockopt", "sendmmsg", "uname", "getrusage", "bind",
		"fchmod", NULL
	};

	return calls;
}
