/* SPDX-License-Identifier: MIT */
/*
 * vireo/queue.h - a virtqueue as a device sees it: requests that are popped,
 * read, written and done. Ring layouts stay behind it.
 *
 * Thread: a queue belongs to one thread at a time; all calls on it and on its
 * requests come from that thread. Different queues are independent.
 * Memory: all storage is the caller's, sized by vio_queue_storage_size().
 */
#ifndef VIREO_QUEUE_H
#define VIREO_QUEUE_H

#include <vireo/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- life cycle ---------------------------------------------------------- */

/* Bytes of storage that a queue needs; 0 if the limits make no sense. */
size_t vio_queue_storage_size(const struct vio_queue_limits *limits);

/*
 * vio_queue_init() - give a queue its storage (aligned to 64 bytes).
 * Returns VIO_OK, VIO_E_INVAL or VIO_E_NOSPC.
 */
int vio_queue_init(struct vio_queue *q, struct vio_dev *dev, uint16_t index,
		   const struct vio_queue_limits *limits,
		   void *storage, size_t storage_len);

/*
 * vio_queue_start() - start on a ring that lies in @mem.
 * The driver's features say which format it has.
 * @avail_base, @used_base: where it stopped (vio_queue_avail_base()), or on a
 * new ring VIO_QUEUE_NEW_SPLIT, VIO_QUEUE_NEW_PACKED
 *
 * Takes a pin on @mem. Returns VIO_OK, VIO_E_STATE if it runs, VIO_E_INVAL
 * for a bad size or alignment, VIO_E_RANGE where the ring is not in memory,
 * VIO_E_AGAIN where an IOMMU has yet to say where it is, VIO_E_UNSUPP where
 * this build has no such layout.
 */
#define VIO_QUEUE_NEW_SPLIT	0
#define VIO_QUEUE_NEW_PACKED	0x8000

int vio_queue_start(struct vio_queue *q, struct vio_mem *mem,
		    const struct vio_queue_layout *layout,
		    uint16_t avail_base, uint16_t used_base);

/*
 * vio_queue_set_endian() - the byte order of a legacy driver's ring, from the
 * next start on, where VERSION_1 was not accepted. Unless told, it is this
 * machine's own. For all queues of a device: vio_dev_set_guest_endian().
 */
void vio_queue_set_endian(struct vio_queue *q, bool big);

/*
 * vio_queue_used_in_ring() - the used index that stands in a ring not yet
 * started, for a front end that does not say where it left off. Returns
 * VIO_OK, what vio_queue_start() would say of the layout, or VIO_E_UNSUPP for
 * a packed ring, which does not tell.
 */
int vio_queue_used_in_ring(struct vio_queue *q, struct vio_mem *mem,
			   const struct vio_queue_layout *layout,
			   uint16_t *used_idx);

/*
 * vio_queue_stop() - pop no more. Requests in flight may still be done; the
 * queue holds its map until they are. Returns how many are in flight.
 */
unsigned vio_queue_stop(struct vio_queue *q);

/*
 * vio_queue_set_mem() - change to another map while the ring runs. The ring
 * must lie at the same guest addresses in it. Requests in flight keep the map
 * they have. Returns VIO_OK, VIO_E_RANGE (the queue stays as it was), or
 * VIO_E_AGAIN when VIO_QUEUE_MAPS maps are in use: drain first.
 */
int vio_queue_set_mem(struct vio_queue *q, struct vio_mem *mem);

/*
 * vio_queue_log_ring() - say where writes to the device area of the ring (used
 * ring, event suppression) stand in the dirty log of the queue's map, if that
 * has one. @at: where its first byte stands, for VIO_LOG_RING_AT. Stays until
 * told otherwise. All other writes are logged where they go.
 */
void vio_queue_log_ring(struct vio_queue *q, enum vio_log_ring how,
			vio_addr at);

/*
 * Where to go on after a stop: avail_base and used_base for a later start.
 * Split: free-running indices. Packed: offset in bits 0 to 14, wrap counter
 * in bit 15. Also of a queue that is stopped.
 */
uint16_t vio_queue_avail_base(const struct vio_queue *q);
uint16_t vio_queue_used_base(const struct vio_queue *q);

/* -- hot path ------------------------------------------------------------ */

/*
 * vio_queue_pop() - take the next request.
 * Returns NULL when there is none or the queue is not running. A chain that
 * breaks the rules breaks the queue (and the device needs a reset). Behind an
 * IOMMU also where a translation comes later (vio_translate_fn): the request
 * stays where it is, and a service of the queue is to follow.
 */
struct vio_req *vio_queue_pop(struct vio_queue *q);

/*
 * vio_queue_pop_many() - take up to @max requests at once, which costs less
 * and has what they are made of brought near together. Returns how many;
 * fewer than @max where there were no more when it looked, or the queue broke
 * behind the last of them. Each can be put back, the last one first.
 */
unsigned vio_queue_pop_many(struct vio_queue *q, struct vio_req **req,
			    unsigned max);

/*
 * vio_queue_unpop() - put back the request popped last, as if never seen.
 * Only the last one, and only before any other call on the queue.
 */
void vio_queue_unpop(struct vio_queue *q, struct vio_req *req);

/*
 * vio_queue_peek() - see up to @max of the next buffers without taking them:
 * those that are all @writable, or all to be read, and in one piece each. It
 * costs a third of a pop, because nothing is kept of what was seen. Returns
 * how many; 0 also where the next one is of another kind, where requests are
 * in flight, or where a record or a dirty log is kept: pop it then. Each
 * look reads the ring anew, so look for no more than is needed.
 */
unsigned vio_queue_peek(struct vio_queue *q, bool writable,
			struct vio_piece *p, unsigned max);

/*
 * vio_queue_use() - the first @n buffers of the last look are used. @written:
 * they are writable, and len says how many bytes each was given. Nothing else
 * was called on the queue since the look.
 */
void vio_queue_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written);

/* Is there something to pop? Reads the ring. */
bool vio_queue_pending(struct vio_queue *q);

/* The device's context of a request: limits.ctx_size bytes, not cleared. */
static inline void *vio_req_ctx(struct vio_req *req)
{
	return (unsigned char *)(req + 1) +
	       VIO_REQ_INLINE * sizeof(struct vio_seg);
}

/*
 * vio_req_prefetch() - have the first readable and the last writable byte
 * brought near: a header that will be read, a status that will be written.
 */
static inline void vio_req_prefetch(const struct vio_req *req)
{
	const struct vio_seg *last = req->seg + req->nr_read + req->nr_write;

	if (req->nr_read)
		vio_prefetch(req->seg[0].base);
	if (req->nr_write)
		vio_prefetch_write((unsigned char *)last[-1].base +
				   last[-1].len - 1);
}

/*
 * vio_req_done() - the request is finished: hand it back to the driver with
 * req->written as its used length. Consumes @req. The driver learns of it at
 * once, or, while the queue is held, when it is released.
 */
void vio_req_done(struct vio_req *req);

/* The same for @n requests of @q at once. */
void vio_queue_done(struct vio_queue *q, struct vio_req *const *req,
		    unsigned n);

/*
 * vio_req_leave() - the request is not begun, and will not be: it stays in the
 * record, for whoever starts the ring next. Consumes @req. Only of a queue that
 * is about to stop (queue_stop() of its device) and has q->leaves set.
 */
void vio_req_leave(struct vio_req *req);

/*
 * vio_queue_hold() / vio_queue_release() - bracket a batch: one publication
 * and one notification decision for all requests done in between. They nest.
 */
void vio_queue_hold(struct vio_queue *q);
void vio_queue_release(struct vio_queue *q);

/*
 * vio_queue_show() - show the driver all that is used. It needs to be called
 * by owners who set q->polled before vio_queue_poll(), and clear it behind:
 * where a device says that nobody waits for its buffers (q->lazy), and the
 * driver that it looks for them by itself, some of the last ones stay hidden
 * then until there are more. So an owner calls this when it found nothing for
 * a while, at the latest before it sleeps. Queue's thread.
 */
void vio_queue_show(struct vio_queue *q);

/* Is something used that the driver does not see yet? */
static inline bool vio_queue_hides(const struct vio_queue *q)
{
	return q->used_next != q->used_shown;
}

/*
 * vio_queue_notify_withheld() - the device type put a notification off
 * (vio_dev_ops.moderate); it is asked again, unless the driver does not want
 * it any more. Queue's thread.
 */
void vio_queue_notify_withheld(struct vio_queue *q);

/*
 * Ask the driver (not) to kick. vio_queue_kicks_on() returns true if entries
 * became available meanwhile: service the queue again instead of sleeping.
 */
void vio_queue_kicks_off(struct vio_queue *q);
bool vio_queue_kicks_on(struct vio_queue *q);

/* -- the bytes of a request ---------------------------------------------- */

/*
 * A cursor walks over the readable or the writable bytes of a request. It is
 * a value: copy it to look ahead.
 */
struct vio_cursor {
	struct vio_req *req;
	const struct vio_seg *seg;
	uint32_t seg_off;	/* bytes already taken from *seg */
	uint32_t pos;		/* bytes taken in all */
	uint32_t left;		/* bytes still to come */
};

struct vio_cursor vio_req_reader(struct vio_req *req);
struct vio_cursor vio_req_writer(struct vio_req *req);

/* Keep only the first @len bytes of what is left; false if there are fewer. */
bool vio_cursor_limit(struct vio_cursor *c, uint32_t len);

/* Move on; false, and nothing happens, if fewer than @len bytes are left. */
bool vio_cursor_skip(struct vio_cursor *c, uint32_t len);

/*
 * Copy exactly @len bytes and move on; false, and nothing happens, if there
 * are fewer. What was read is a private copy: check it, then use it.
 */
bool vio_cursor_read(struct vio_cursor *c, void *dst, uint32_t len);
bool vio_cursor_write(struct vio_cursor *c, const void *src, uint32_t len);

/* Write @len zero bytes. */
bool vio_cursor_zero(struct vio_cursor *c, uint32_t len);

/*
 * vio_cursor_spans() - the next bytes where they lie, for opaque payload only
 * (the driver may change them at any time). Takes up to @len bytes into at
 * most @max segments, moves on, returns how many segments; @taken: the bytes.
 * After writing to spans of a writer, call vio_req_wrote().
 */
unsigned vio_cursor_spans(struct vio_cursor *c, uint32_t len,
			  struct vio_seg *seg, unsigned max, uint32_t *taken);

/*
 * vio_req_fill() - let @fn(@ctx) fill the writable part in place, piece by
 * piece, up to @most bytes in all. It returns how many bytes it gave; fewer
 * than it was asked for end the matter. They are entered as written.
 * Returns the bytes.
 */
uint32_t vio_req_fill(struct vio_req *req, uint32_t most,
		      size_t (*fn)(void *ctx, void *dst, size_t len),
		      void *ctx);

/*
 * vio_req_payload() - bytes @off to @off + @len of the readable or writable
 * part as an exact list of segments, in place; splits segments where needed,
 * so make cursors of that part afterwards. At most one payload of each part.
 * @nr: out, how many. The list lives as long as the request.
 * Returns NULL if the part is shorter than that, or @len is 0.
 */
const struct vio_seg *vio_req_payload(struct vio_req *req, bool writable,
				      uint32_t off, uint32_t len,
				      unsigned *nr);

/*
 * vio_req_get() - copy the first @len bytes of the readable part, as a reader
 * at its beginning would. False if there are fewer.
 */
bool vio_req_get(struct vio_req *req, void *dst, uint32_t len);

/*
 * vio_req_put() - write @len bytes at @off of the writable part, at any
 * time, e.g. a status that ends it. False if there is no such room.
 */
bool vio_req_put(struct vio_req *req, uint32_t off, const void *src,
		 uint32_t len);

/*
 * vio_req_wrote() - @len bytes at @off of the writable part were written
 * through spans: counts them into the used length, marks the dirty log.
 */
void vio_req_wrote(struct vio_req *req, uint32_t off, uint32_t len);

#ifdef __cplusplus
}
#endif
#endif
