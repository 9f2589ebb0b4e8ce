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

enum vio_req_state {
	VIO_REQ_FREE,
	VIO_REQ_POPPED,
	VIO_REQ_DONE,	/* in order: finished, but an older one is not */
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
	struct vio_req *(*pop)(struct vio_queue *q);
	/* Go by the record q->track; it may move the bases. */
	void (*recover)(struct vio_queue *q, uint16_t *avail_base,
			uint16_t *used_base);
	/* The request that the record keeps as @entry; NULL: it is broken. */
	struct vio_req *(*replay)(struct vio_queue *q, uint16_t entry);
	/* As if the request popped last had never been; it is forgotten. */
	void (*unpop)(struct vio_queue *q, struct vio_req *req);
	/* Its slot and its id are free again. NULL: nobody keeps count. */
	void (*forget)(struct vio_queue *q, struct vio_req *req);
	bool (*pending)(struct vio_queue *q);
	/* Enter a finished request; the driver does not see it yet. */
	void (*push)(struct vio_queue *q, struct vio_req *req);
	/* Show what was pushed. Returns whether the driver wants to know. */
	bool (*publish)(struct vio_queue *q);
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
 * Start filling the request of slot @slot; then add descriptors. All lengths
 * start at 0.
 */
static inline void vio_ring_req_begin(struct vio_queue *q, struct vio_req *req,
				      uint16_t slot)
{
	req->queue = q;
	req->seg = (struct vio_seg *)(void *)(req + 1);
	req->read_len = 0;
	req->write_len = 0;
	req->written = 0;
	req->nr_read = 0;
	req->nr_write = 0;
	req->slot = slot;
	req->head = slot;
	req->nr_desc = 1;
	req->map = q->map;
	req->replayed = false;
}

bool vio_ring_req_add_slow(struct vio_queue *q, struct vio_req *req,
			   const struct vio_ring_desc *d);

/*
 * Append a descriptor's bytes. False if it broke the rules; the queue is
 * broken then.
 */
static inline bool vio_ring_req_add(struct vio_queue *q, struct vio_req *req,
				    const struct vio_ring_desc *d)
{
	unsigned perm = d->writable ? VIO_PERM_WRITE : VIO_PERM_READ;
	uint32_t *sum = d->writable ? &req->write_len : &req->read_len;
	unsigned nr = req->nr_read + req->nr_write;
	void *p;

	if (vio_unlikely(nr >= VIO_REQ_INLINE - VIO_REQ_SPARE || !d->len ||
			 d->len > UINT32_MAX - *sum ||
			 (!d->writable && req->nr_write)))
		return vio_ring_req_add_slow(q, req, d);
	p = vio_mem_fast(q->mem, q->mem_hint, d->addr, d->len, perm);
	if (vio_unlikely(!p))
		return vio_ring_req_add_slow(q, req, d);
	*sum += d->len;
	req->seg[nr] = (struct vio_seg){ p, d->len };
	req->nr_write += d->writable;
	req->nr_read += !d->writable;
	return true;
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
