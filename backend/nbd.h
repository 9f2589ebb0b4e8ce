/* SPDX-License-Identifier: MIT */
/*
 * Private to the NBD back end: a disk, its queues, and what a request has in
 * its scratch space. nbd_open.c fills it in, nbd.c works with it.
 */
#ifndef BACKEND_NBD_H
#define BACKEND_NBD_H

#include "backend/blkdev.h"
#include "backend/drain.h"
#include "backend/nbd_handle.h"
#include "host/log.h"

/* A multiple of all block sizes that a server may ask for. */
#define NBD_BOUNCE_BYTES	(128u << 10)

struct nbd_queue;

/* What this back end keeps in vio_blk_io.scratch. */
struct nbd_io {
	union {
		struct vio_blk_io *next;	/* in a list of the queue's */
		uint64_t seen;			/* bytes read, under way */
	};
	struct nbd_queue *queue;
	uint64_t pos;			/* bounced bytes that are done */
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
	/* Through the bounce buffer goes one at a time, piece by piece. */
	unsigned char *bounce;		/* NULL: the server takes any piece */
	struct vio_blk_io *bouncing;
	struct list for_bounce;		/* whose turn is later */
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

extern const struct blkdev_ops nbd_ops;
/* All connections too. */
void nbd_close_all(struct blkdev *d);

static inline struct nbd_io *nbd_io(struct vio_blk_io *io)
{
	return (struct nbd_io *)io->scratch;
}

static inline void list_init(struct list *l)
{
	l->first = NULL;
	l->tail = &l->first;
}

static inline void list_add(struct list *l, struct vio_blk_io *io)
{
	nbd_io(io)->next = NULL;
	*l->tail = io;
	l->tail = &nbd_io(io)->next;
}

static inline struct vio_blk_io *list_take(struct list *l)
{
	struct vio_blk_io *io = l->first;

	if (!io)
		return NULL;
	l->first = nbd_io(io)->next;
	if (!l->first)
		l->tail = &l->first;
	return io;
}

#endif
