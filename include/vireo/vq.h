/* SPDX-License-Identifier: MIT */
/*
 * vireo/vq.h - a virtqueue as a driver sees it: buffers are added, published
 * and taken back when they are used. Ring layouts stay behind it.
 *
 * A driver trusts its device no more than a device trusts its driver: it
 * keeps private records of what it offered, never reads back what it wrote
 * into shared memory, and checks whatever it reads there.
 *
 * Memory: the caller's, in two kinds. Shared memory is what the device may
 * see; private memory must be out of its reach. Nothing is allocated.
 * Thread: a queue belongs to one thread at a time.
 */
#ifndef VIREO_VQ_H
#define VIREO_VQ_H

#include <vireo/ring.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- memory -------------------------------------------------------------- */

/* Memory that is given out from the front and never taken back. */
struct vio_arena {
	unsigned char *at;
	size_t left;
};

/* Cleared memory, or NULL if it does not fit. @align: a power of two. */
void *vio_arena_take(struct vio_arena *a, size_t len, size_t align);

/*
 * The window of shared memory as both sides see it: a buffer at host + x has
 * the guest address addr + x.
 */
struct vio_window {
	unsigned char *host;
	vio_addr addr;
	uint64_t size;
};

struct vio_dma;

/* What a driver lives in. */
struct vio_drv_mem {
	struct vio_window window;	/* all that buffers may lie in */
	struct vio_arena shared;	/* a part of the window, for rings */
	struct vio_arena priv;		/* outside of the window */
	/* Hooks for buffers outside of the window (dma.h); NULL: there are
	 * none such. Outlives the queues. */
	const struct vio_dma *dma;
};

/* -- virtqueues ---------------------------------------------------------- */

struct vio_vq_limits {
	uint16_t size;		/* 1 to 32768; split: a power of two */
	uint16_t indirect_max;	/* longest indirect table; 0: use none */
};

/*
 * Private record of a buffer. Split: one for each descriptor, of the chain
 * where it is the chain's head. Packed: one for each buffer id.
 */
struct vio_vq_slot {
	void *token;
	uint64_t word;		/* the business of core/ring/driver.h */
};

struct vio_vq_stats {
	uint64_t added;
	uint64_t kicks;		/* publications the device wanted to hear of */
	uint64_t quiet;		/* publications it did not */
	uint64_t clamped;	/* used lengths beyond what was offered */
};

/* A buffer to offer; see vio_vq_add(). */
struct vio_buf {
	const struct vio_seg *seg;
	void *token;
	uint16_t nr_read;
	uint16_t nr_write;
};

/* A buffer of one segment; see vio_vq_add_singles(). */
struct vio_single {
	void *base;
	void *token;
	uint32_t len;
};

/* A used buffer; see vio_vq_get(). */
struct vio_used {
	void *token;
	uint32_t len;
};

struct vio_vq_ops;
struct vio_vq_hot;
struct vio_vq_buffer;
struct pvirtq_desc;
struct pvirtq_event_suppress;

/* A queue whose buffers go through hooks; the business of core/ring/. */
struct vio_vq_hooked {
	const struct vio_dma *dma;	/* NULL: it has none */
	const struct vio_vq_ops *ring;	/* the layout's */
	void *piece;
	struct vio_vq_buffer *buffer;
	struct vio_seg *seg;
	uint32_t free;
};

struct vio_vq {
	/* hot */
	const struct vio_vq_ops *ops;
	const struct vio_vq_hot *hot;
	struct virtq_desc *desc;	/* split */
	struct virtq_avail *avail;
	struct virtq_used *used;
	struct pvirtq_desc *ring;	/* packed */
	struct pvirtq_event_suppress *driver_event;
	struct pvirtq_event_suppress *device_event;
	void *table;		/* indirect_max entries for each slot */
	struct vio_vq_slot *slot;
	uint16_t *free;		/* a stack of free descriptors (packed: ids);
				 * all others that are free follow each other
				 * from next_id on */
	struct vio_window window;	/* rings lie in it */
	struct vio_window buffers;	/* buffers do: the same, or with hooks
					 * all that is an address */
	uint16_t size;
	uint16_t indirect_max;
	uint16_t next_id;	/* a descriptor (packed: id): see free */
	uint16_t nr_stack;	/* of them, on the stack */
	uint16_t nr_free;	/* ring entries */
	uint16_t nr_lists;	/* split: chains in flight */
	uint16_t inflight;	/* buffers added and not taken back */
	uint16_t shown;		/* of these, published */
	/* split: free-running indices; packed: positions (spec/packed.h) */
	uint16_t avail_next;	/* next entry to fill */
	uint16_t avail_shown;	/* up to here the device can see */
	uint16_t used_next;	/* next entry to take */
	uint16_t used_seen;	/* split: the device's index when read */
	uint16_t first_flags;	/* packed: of the first entry not shown */
	uint16_t oldest;	/* straight: head or id to be used next */
	uint16_t batch_last;	/* in order: head that ends the batch */
	uint32_t batch_len;	/* in order: used length of that one */
	bool in_batch;
	bool straight;		/* nothing came back out of its turn; what is
				 * in flight goes from oldest to next_id */
	bool event_idx;
	bool in_order;
	bool dma;		/* ORDER_PLATFORM: barriers for devices */
	bool broken;		/* the device broke the rules */
	bool big_endian;	/* a legacy ring in that byte order */

	/* cold */
	struct vio_queue_layout layout;
	struct vio_vq_stats stats;
	struct vio_vq_hooked hooked;
};

/* Bytes that a queue takes from either arena, alignment included. */
size_t vio_vq_shared_size(const struct vio_vq_limits *limits);
size_t vio_vq_private_size(const struct vio_vq_limits *limits);

/*
 * vio_vq_init() - lay out an empty queue.
 * @features: as negotiated; RING_PACKED, EVENT_IDX, IN_ORDER, INDIRECT_DESC
 * matter here
 *
 * vq->layout then says where it lies. Returns VIO_OK, VIO_E_INVAL,
 * VIO_E_NOSPC, VIO_E_RANGE if the shared arena leaves the window, or
 * VIO_E_UNSUPP where this build has no such layout.
 */
int vio_vq_init(struct vio_vq *vq, const struct vio_vq_limits *limits,
		const struct vio_features *features, struct vio_drv_mem *mem);

/*
 * vio_vq_init_legacy() - the same for the legacy interface: a split ring in
 * one piece at a multiple of @align, in this machine's byte order. Takes
 * vio_vq_legacy_extra() bytes of shared memory more. @align 0: not legacy.
 */
int vio_vq_init_legacy(struct vio_vq *vq, const struct vio_vq_limits *limits,
		       const struct vio_features *features,
		       struct vio_drv_mem *mem, uint32_t align);
size_t vio_vq_legacy_extra(uint32_t align);

/* Forget all buffers; the device has been reset or the queue never ran. */
void vio_vq_reset(struct vio_vq *vq);

/*
 * vio_vq_add() - offer a buffer: @nr_read segments for the device to read,
 * then @nr_write for it to write. @token, not NULL, names it to the caller.
 * The device sees it with the next vio_vq_publish().
 *
 * Returns VIO_OK, VIO_E_NOSPC when the ring is full, VIO_E_RANGE if a
 * segment lies outside of the window, VIO_E_INVAL for an empty buffer or one
 * of too many segments or bytes, VIO_E_PEER if the queue is broken.
 */
int vio_vq_add(struct vio_vq *vq, const struct vio_seg *seg,
	       unsigned nr_read, unsigned nr_write, void *token);

/*
 * vio_vq_add_many() - offer @nr buffers at once, which costs less. Returns how
 * many were taken, from the front; *@err is why the next was not, or VIO_OK.
 */
unsigned vio_vq_add_many(struct vio_vq *vq, const struct vio_buf *buf,
			 unsigned nr, int *err);

/*
 * vio_vq_add_singles() - the same for buffers of one segment each, all of them
 * for the device to write or all for it to read, which costs least.
 */
unsigned vio_vq_add_singles(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable, int *err);

/*
 * vio_vq_publish() - show the device what was added. Returns true if it
 * wants a notification: call the bus then.
 */
bool vio_vq_publish(struct vio_vq *vq);

/*
 * The upper half of a notification's value, where NOTIFICATION_DATA was
 * agreed on: where the next buffer will be entered (standard: 2.9).
 */
uint16_t vio_vq_next(const struct vio_vq *vq);

/*
 * vio_vq_get() - take back a used buffer. Returns its token, or NULL if
 * there is none (or the queue is broken). @len: bytes the device says it
 * wrote, never more than were offered; bytes past it are unknown.
 */
void *vio_vq_get(struct vio_vq *vq, uint32_t *len);

/*
 * vio_vq_get_many() - take back up to @max used buffers at once. Returns how
 * many; fewer where there are no more, or the queue broke behind the last.
 */
unsigned vio_vq_get_many(struct vio_vq *vq, struct vio_used *used,
			 unsigned max);

/* May more be used than vio_vq_get() gave? Reads the ring. */
bool vio_vq_pending(struct vio_vq *vq);

/* Ask the device not to notify; a hint, it may all the same. */
void vio_vq_quiet(struct vio_vq *vq);

/*
 * vio_vq_listen() - ask for a notification at the next used buffer. Returns
 * true if one came meanwhile: take it instead of waiting.
 */
bool vio_vq_listen(struct vio_vq *vq);

/*
 * vio_vq_detach() - take back a buffer that was never used, after the device
 * was reset. Returns its token, or NULL when there is none left.
 */
void *vio_vq_detach(struct vio_vq *vq);

/* Buffers added and not taken back. */
static inline uint16_t vio_vq_inflight(const struct vio_vq *vq)
{
	return vq->inflight;
}

#ifdef __cplusplus
}
#endif
#endif
