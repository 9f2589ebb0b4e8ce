/* SPDX-License-Identifier: MIT */
/*
 * ring.h - what a ring layout does for a queue. Only files of this folder
 * know a layout; queue/ calls them through this table, chosen when the queue
 * starts. Nothing here knows a device.
 */
#ifndef CORE_RING_RING_H
#define CORE_RING_RING_H

#include <vireo/ring.h>
#include "core/mem/fast.h"
#include "core/ring/variant.h"

enum vio_req_state {
	VIO_REQ_FREE,
	VIO_REQ_POPPED,
	VIO_REQ_REPLAYED,	/* popped; a dead device had taken it */
	VIO_REQ_DONE,	/* in order: finished, but an older one is not */
};

/* Most requests that one call of a ring takes. */
#ifdef VIO_EXPLORE
#define VIO_RING_BATCH	4
#else
#define VIO_RING_BATCH	32
#endif

/*
 * What every request takes. A layout has several of these, from one body
 * each, for what is the same for all requests of a queue's life; it picks one
 * when the queue starts.
 */
struct vio_ring_hot {
	/*
	 * Pop up to @max requests, VIO_RING_BATCH at most. Returns how many:
	 * fewer where there are no more, or one that broke the queue.
	 */
	unsigned (*pop)(struct vio_queue *q, struct vio_req **req,
			unsigned max);
	/*
	 * Enter @n finished requests, which the driver does not see yet, and
	 * forget them; in order, those whose turn it is. Not of a broken
	 * queue.
	 */
	void (*done)(struct vio_queue *q, struct vio_req *const *req,
		     unsigned n);
};

/* The functions of a variant, from the bodies pop() and done(). */
#define VIO_RING_VARIANT(name, v)					\
	static unsigned pop_##name(struct vio_queue *q,			\
				   struct vio_req **req, unsigned max)	\
	{								\
		return pop(q, req, max, v);				\
	}								\
	static void done_##name(struct vio_queue *q,			\
				struct vio_req *const *req, unsigned n)	\
	{								\
		done(q, req, n, v);					\
	}								\
	static const struct vio_ring_hot hot_##name = {			\
		.pop = pop_##name, .done = done_##name,			\
	};

struct vio_ring_ops {
	/* Look the areas up in @mem; all or nothing. VIO_OK or VIO_E_*. */
	int (*map)(struct vio_queue *q, struct vio_mem *mem,
		   const struct vio_queue_layout *layout);
	/*
	 * Indices, and the device's own half of the ring, at a start.
	 * VIO_E_INVAL where the bases cannot be.
	 */
	int (*init)(struct vio_queue *q, uint16_t avail_base,
		    uint16_t used_base);
	/* What every request takes, for a queue like this one. */
	const struct vio_ring_hot *(*hot)(const struct vio_queue *q);
	/* Go by the record q->track; it may move the bases. */
	void (*recover)(struct vio_queue *q, uint16_t *avail_base,
			uint16_t *used_base);
	/* The request that the record keeps as @entry; NULL: it is broken. */
	struct vio_req *(*replay)(struct vio_queue *q, uint16_t entry);
	/* vio_queue_peek() and vio_queue_use() of a queue that keeps no
	 * books: see *_burst.c. use: @n is not 0. */
	unsigned (*peek)(struct vio_queue *q, struct vio_piece *p,
			 unsigned max, bool writable);
	void (*use)(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written);
	/* As if the request popped last had never been; it is forgotten. */
	void (*unpop)(struct vio_queue *q, struct vio_req *req);
	/* Its slot and its id are free again. NULL: nobody keeps count. */
	void (*forget)(struct vio_queue *q, struct vio_req *req);
	bool (*pending)(struct vio_queue *q);
	/* Show what was pushed. Returns whether the driver wants to know. */
	bool (*publish)(struct vio_queue *q);
	/* The same question again, without anything new to show. */
	bool (*wants)(struct vio_queue *q);
	void (*kicks_off)(struct vio_queue *q);
	/* Returns whether something is pending after all. */
	bool (*kicks_on)(struct vio_queue *q);
	/* Where to go on after a stop, as a start wants it. */
	uint16_t (*avail_base)(const struct vio_queue *q);
	uint16_t (*used_base)(const struct vio_queue *q);
	/*
	 * The used index that stands in the ring, from an earlier life.
	 * NULL: the ring does not tell.
	 */
	uint16_t (*used_idx)(const struct vio_queue *q);
};

extern const struct vio_ring_ops vio_ring_split, vio_ring_packed;

/* split_burst.c and packed_burst.c: the methods peek and use. */
unsigned vio_split_peek(struct vio_queue *q, struct vio_piece *p,
			unsigned max, bool writable);
void vio_split_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written);
unsigned vio_packed_peek(struct vio_queue *q, struct vio_piece *p,
			 unsigned max, bool writable);
void vio_packed_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written);

/* A buffer of one descriptor, in either direction, has none of the others. */
#define VIO_PEEK_FLAGS							\
	(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT)

/*
 * Where a buffer lies that is looked at; NULL where it takes more than one
 * region. The view may be another after.
 */
VIO_INLINE void *vio_peek_at(struct vio_queue *q, struct vio_view *view,
			     uint64_t addr, uint32_t len, bool writable)
{
	void *p = vio_view_at(view, addr, len);

	if (vio_unlikely(!p && len)) {
		p = vio_mem_at(q->mem, &q->mem_hint, vio_addr_of(addr), len,
			       writable ? VIO_PERM_WRITE : VIO_PERM_READ);
		*view = vio_view_of(q->mem, q->mem_hint);
	}
	return p;
}

/* A build may leave a layout out (doc/porting.md); it is NULL then. */
static inline const struct vio_ring_ops *vio_ring_layout(bool packed)
{
#if defined(VIO_NO_PACKED)
	return packed ? NULL : &vio_ring_split;
#elif defined(VIO_NO_SPLIT)
	return packed ? &vio_ring_packed : NULL;
#else
	return packed ? &vio_ring_packed : &vio_ring_split;
#endif
}

/* A descriptor as every layout means it, after copying. */
struct vio_ring_desc {
	uint64_t addr;
	uint32_t len;
	bool writable;
};

/*
 * A legacy driver's ring is in its own byte order; accessors read and write
 * little-endian, so a number of a big-endian ring is turned around once more,
 * in either direction.
 */
static inline uint16_t vio_ring16(const struct vio_queue *q, uint16_t v)
{
	return vio_unlikely(q->big_endian) ? __builtin_bswap16(v) : v;
}

static inline uint32_t vio_ring32(const struct vio_queue *q, uint32_t v)
{
	return vio_unlikely(q->big_endian) ? __builtin_bswap32(v) : v;
}

static inline uint64_t vio_ring64(const struct vio_queue *q, uint64_t v)
{
	return vio_unlikely(q->big_endian) ? __builtin_bswap64(v) : v;
}

/* Segments that each request has in the queue's overflow storage. */
static inline size_t vio_ring_overflow(const struct vio_queue_limits *l)
{
	return (size_t)l->seg_max + VIO_REQ_SPARE;
}

/* -- from a chain to a request (chain.c) --------------------------------- */

static inline struct vio_req *vio_ring_slot(const struct vio_queue *q,
					    uint16_t head)
{
	return (struct vio_req *)(void *)(q->slots +
					  (size_t)head * q->slot_stride);
}

/*
 * @len bytes of the ring at @p were written while there is a dirty log: mark
 * them where vio_queue_log_ring() said.
 */
void vio_ring_log(const struct vio_queue *q, const void *p, size_t len);

/* A private copy of control bytes that may lie across regions. */
bool vio_ring_copy_in(struct vio_queue *q, vio_addr addr, void *dst,
		      size_t len);

/*
 * After a translation gave nothing: does it come later? Then the pop gives
 * nothing, and nothing has happened.
 */
static inline bool vio_ring_waits(struct vio_queue *q)
{
	q->waits |= q->mem_hint == VIO_MEM_LATER;
	return q->mem_hint == VIO_MEM_LATER;
}

/* What vio_ring_ops.map says where an area was not found. */
static inline int vio_ring_lost(unsigned hint)
{
	return hint == VIO_MEM_LATER ? VIO_E_AGAIN : VIO_E_RANGE;
}

/* What stays the same in a slot while the ring runs. */
static inline void vio_ring_slot_init(struct vio_queue *q, uint16_t slot)
{
	struct vio_req *req = vio_ring_slot(q, slot);

	req->queue = q;
	req->slot = slot;
	req->head = slot;
	req->nr_desc = 1;
	req->state = VIO_REQ_FREE;
}

/* Start filling a request; then add descriptors. */
VIO_INLINE void vio_ring_req_begin(const struct vio_queue *q,
				   struct vio_req *req)
{
	req->written = 0;
	req->map = q->map;
	req->since_ms = q->now_ms;
}

/*
 * Append a descriptor's bytes, whatever it takes. False if it broke the rules;
 * the queue is broken then.
 */
bool vio_ring_req_add_slow(struct vio_queue *q, struct vio_req *req,
			   const struct vio_ring_desc *d);

/* -- requests in flight -------------------------------------------------- */

/* order[] index that is @n behind the oldest; n is at most size. */
static inline uint16_t vio_ring_order_at(const struct vio_queue *q, unsigned n)
{
	uint32_t i = q->order_out + n;

	return (uint16_t)(i < q->size ? i : i - q->size);
}

/* In order: @n requests more are in flight behind those that are. */
VIO_INLINE void vio_ring_order(struct vio_queue *q, struct vio_req *const *req,
			       unsigned n)
{
	uint16_t at = vio_ring_order_at(q, q->inflight);

	for (unsigned i = 0; i < n; i++) {
		q->order[at] = req[i]->slot;
		at = (uint16_t)(at + 1 < q->size ? at + 1 : 0);
	}
}

/*
 * In order: the oldest in flight, if it is finished; the next one's turn. @n
 * were taken so and are not yet counted.
 */
VIO_INLINE struct vio_req *vio_ring_next_in_order(struct vio_queue *q,
						  unsigned n)
{
	struct vio_req *req;

	if (n == q->inflight)
		return NULL;
	req = vio_ring_slot(q, q->order[q->order_out]);
	if (req->state != VIO_REQ_DONE)
		return NULL;
	q->order_out = vio_ring_order_at(q, 1);
	return req;
}

/* @n requests more are in flight. */
VIO_INLINE void vio_ring_popped(struct vio_queue *q, unsigned n)
{
	q->inflight = (uint16_t)(q->inflight + n);
	q->maps[q->map].busy = (uint16_t)(q->maps[q->map].busy + n);
}

void vio_ring_drop_map(struct vio_queue *q, unsigned i);

/*
 * A request leaves the queue's books; its slot may be taken again. Returns
 * whether it was popped with the map that is current: the caller counts these,
 * for vio_ring_forgotten().
 */
VIO_INLINE bool vio_ring_forget(struct vio_queue *q, struct vio_req *req)
{
	req->state = VIO_REQ_FREE;
	if (vio_likely(req->map == q->map))
		return true;
	if (--q->maps[req->map].busy == 0)
		vio_ring_drop_map(q, req->map);
	return false;
}

/* @n requests left the books, @current of them of the current map. */
VIO_INLINE void vio_ring_forgotten(struct vio_queue *q, unsigned n,
				   unsigned current)
{
	q->inflight = (uint16_t)(q->inflight - n);
	q->maps[q->map].busy = (uint16_t)(q->maps[q->map].busy - current);
}

/* The driver broke a rule. The one place where a queue breaks. NULL. */
struct vio_req *vio_ring_break(struct vio_queue *q, const char *text,
				const struct vio_named *v, unsigned nr);

#define VIO_RING_BREAK(q, text, ...)					\
	vio_ring_break((q), (text),					\
		(const struct vio_named[]){ __VA_ARGS__ },		\
		sizeof((const struct vio_named[]){ __VA_ARGS__ }) /	\
		sizeof(struct vio_named))

#endif
