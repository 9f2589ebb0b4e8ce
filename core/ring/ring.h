/* SPDX-License-Identifier: MIT */
/*
 * ring.h - what a ring layout does for a queue. Only files of this folder
 * know a layout; queue/ calls them through this table, chosen when the queue
 * starts. Nothing here knows a device.
 */
#ifndef CORE_RING_RING_H
#define CORE_RING_RING_H

#include <vireo/ring.h>
#include "core/base/string.h"
#include "core/mem/fast.h"
#include "core/ring/variant.h"

enum vio_req_state {
	VIO_REQ_FREE,
	VIO_REQ_POPPED,
	VIO_REQ_REPLAYED,	/* popped; a dead device had taken it */
	VIO_REQ_DONE,	/* in order: finished, but an older one is not */
	/* And: its segments are in the overflow storage. */
	VIO_REQ_FAR = 0x80,
};

static inline enum vio_req_state vio_req_state(const struct vio_req *req)
{
	return (enum vio_req_state)(req->state & ~VIO_REQ_FAR);
}

static inline void vio_req_set_state(struct vio_req *req,
				     enum vio_req_state state)
{
	req->state = (uint8_t)((req->state & VIO_REQ_FAR) | state);
}

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
	bool (*pending)(struct vio_queue *q);
#ifndef VIO_SMALL
	/* Leave some of what was pushed for later, where that is allowed.
	 * NULL, or false: it is not, publish. */
	bool (*put_off)(struct vio_queue *q);
#endif
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

/* split_burst.c and packed_burst.c: the methods peek, use, put_off. */
unsigned vio_split_peek(struct vio_queue *q, struct vio_piece *p,
			unsigned max, bool writable);
void vio_split_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written);
bool vio_split_put_off(struct vio_queue *q);
unsigned vio_packed_peek(struct vio_queue *q, struct vio_piece *p,
			 unsigned max, bool writable);
void vio_packed_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		    bool written);

/* A buffer of one descriptor, in either direction, has none of the others. */
#define VIO_PEEK_FLAGS							\
	(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT)

/*
 * Where a buffer lies that is looked at; NULL where it takes more than one
 * region. The region that is hit first may be another after.
 */
VIO_INLINE void *vio_peek_far(struct vio_queue *q, uint64_t addr,
			      uint64_t len, bool writable)
{
	return len ? vio_mem_at(q->mem, &q->mem_hint, vio_addr_of(addr), len,
				writable ? VIO_PERM_WRITE : VIO_PERM_READ) :
		     NULL;
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

/* Where the segments of a request are, unless there are too many. */
static inline struct vio_seg *vio_ring_inline(struct vio_req *req)
{
	return (struct vio_seg *)(void *)(req + 1);
}

/* What stays the same in a slot while the ring runs. */
static inline void vio_ring_slot_init(struct vio_queue *q, uint16_t slot)
{
	struct vio_req *req = vio_ring_slot(q, slot);

	req->queue = q;
	req->seg = vio_ring_inline(req);
	req->head = slot;
	req->state = VIO_REQ_FREE;
}

/*
 * What is entered in a request at its pop beside its bytes: the same for all
 * of a batch but lists, so that one store does it. The last four bytes, in one
 * load, tell that it leaves as it came.
 */
struct vio_ring_book {
	uint32_t since_ms;
	uint16_t nr_desc;
	uint8_t state;
	uint8_t map;
};

#define VIO_BOOK_AT	offsetof(struct vio_req, since_ms)
#define VIO_BOOK_KEY	4	/* bytes of the book before its key */

VIO_STATIC_ASSERT(VIO_BOOK_AT % 8 == 0, "one store");
VIO_STATIC_ASSERT(offsetof(struct vio_req, nr_desc) == VIO_BOOK_AT + 4 &&
		  offsetof(struct vio_req, state) == VIO_BOOK_AT + 6 &&
		  offsetof(struct vio_req, map) == VIO_BOOK_AT + 7,
		  "as struct vio_ring_book");

VIO_INLINE uint64_t vio_ring_book(const struct vio_queue *q, unsigned nr_desc,
				  enum vio_req_state state)
{
	const struct vio_ring_book b = { q->now_ms, (uint16_t)nr_desc,
					 (uint8_t)state, q->map };
	uint64_t book;

	memcpy(&book, &b, sizeof(book));
	return book;
}

VIO_INLINE void vio_ring_book_put(struct vio_req *req, uint64_t book)
{
	memcpy((char *)req + VIO_BOOK_AT, &book, sizeof(book));
}

/* The key of a book, and of the one in a request. */
VIO_INLINE uint32_t vio_ring_key(const uint64_t *book)
{
	uint32_t key;

	memcpy(&key, (const char *)book + VIO_BOOK_KEY, sizeof(key));
	return key;
}

VIO_INLINE uint32_t vio_ring_key_of(const struct vio_req *req)
{
	uint32_t key;

	memcpy(&key, (const char *)req + VIO_BOOK_AT + VIO_BOOK_KEY,
	       sizeof(key));
	return key;
}

/* Popped: a chain that is whole, whatever it looks like. */
static inline void vio_ring_req_take(const struct vio_queue *q,
				     struct vio_req *req, unsigned nr_desc)
{
	enum vio_req_state state = VIO_REQ_POPPED;

	if (req->seg != vio_ring_inline(req))
		state |= VIO_REQ_FAR;
	vio_ring_book_put(req, vio_ring_book(q, nr_desc, state));
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
		q->order[at] = req[i]->head;
		at = (uint16_t)(at + 1 < q->size ? at + 1 : 0);
	}
}

/* In order: these are finished, in whatever order. */
VIO_INLINE void vio_ring_finish(const struct vio_queue *q,
				struct vio_req *const *req, unsigned n)
{
	uint64_t now = vio_ring_book(q, 1, VIO_REQ_POPPED);
	uint64_t then = vio_ring_book(q, 1, VIO_REQ_DONE);
	uint32_t popped = vio_ring_key(&now), done = vio_ring_key(&then);

	/* A word and not a byte: a word is what will be read. */
	for (unsigned i = 0; i < n; i++)
		if (VIO_RUNS && vio_ring_key_of(req[i]) == popped)
			memcpy((char *)req[i] + VIO_BOOK_AT + VIO_BOOK_KEY,
			       &done, sizeof(done));
		else
			vio_req_set_state(req[i], VIO_REQ_DONE);
}

/*
 * In order: the oldest in flight as far as they are finished, @max at most.
 * Their turn has come; they are still counted.
 */
unsigned vio_ring_turn(struct vio_queue *q, struct vio_req **req,
		       unsigned max);

/* @n requests more are in flight. */
VIO_INLINE void vio_ring_popped(struct vio_queue *q, unsigned n)
{
	q->inflight = (uint16_t)(q->inflight + n);
	q->maps[q->map].busy = (uint16_t)(q->maps[q->map].busy + n);
}

void vio_ring_drop_map(struct vio_queue *q, unsigned i);

/*
 * A request leaves the queue's books that did not come as all do, or does not
 * leave as they do; its slot is as it was. Returns 1 if it was popped with a
 * map that is no longer current, else 0: the caller adds these up, for
 * vio_ring_forgotten().
 */
unsigned vio_ring_forget(struct vio_queue *q, struct vio_req *req);

/* @n requests left the books, @old of them of older maps. */
VIO_INLINE void vio_ring_forgotten(struct vio_queue *q, unsigned n,
				   unsigned old)
{
	q->inflight = (uint16_t)(q->inflight - n);
	q->maps[q->map].busy = (uint16_t)(q->maps[q->map].busy - (n - old));
}

/*
 * What the key of a request says that leaves as most do: one entry of the
 * ring, the current map. Nothing is to be done for it but freeing its slot.
 */
VIO_INLINE uint32_t vio_ring_usual(const struct vio_queue *q)
{
	uint64_t book = vio_ring_book(q, 1, q->in_order ? VIO_REQ_DONE :
						      VIO_REQ_POPPED);

	return vio_ring_key(&book);
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
