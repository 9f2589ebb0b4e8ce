/* SPDX-License-Identifier: MIT */
/*
 * vireo/ring.h - the data of a virtqueue on the device side: a request as its
 * bytes, a queue and where its ring lies. For the functions, see queue.h.
 *
 * Fields marked "ring:" are the business of core/ring/ alone.
 */
#ifndef VIREO_RING_H
#define VIREO_RING_H

#include <vireo/mem.h>
#include <vireo/spec/split.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vio_dev;
struct vio_queue;
struct vio_track;

/* Host memory of a request; the layout of a struct iovec. */
struct vio_seg {
	void *base;
	size_t len;
};

/*
 * One chain of descriptors, as bytes: a part to read, a part to write. How
 * the driver cut it into descriptors is deliberately not visible
 * (split.device.message-framing: no assumption about framing).
 */
struct vio_req {
	struct vio_queue *queue;
	struct vio_seg *seg;	/* nr_read to read, then nr_write to write */
	uint32_t read_len;	/* bytes to read */
	uint32_t write_len;	/* room to write */
	uint16_t nr_read;
	uint16_t nr_write;
	uint32_t written;	/* bytes written without a gap from the start */
	/* ring: from here to map in one store (struct vio_ring_book) */
	uint32_t since_ms;	/* the queue's now_ms at its pop */
	uint16_t nr_desc;	/* packed: entries of the ring it takes */
	uint8_t state;		/* ring: free, popped, done */
	uint8_t map;		/* ring: which map it was popped with */
	uint16_t head;		/* ring: id of the chain, and its slot */
} __attribute__((aligned(16)));

/*
 * Segments kept beside the request; longer chains use the queue's overflow
 * storage. VIO_REQ_SPARE of them, there and here, are left for splitting.
 */
#define VIO_REQ_INLINE	8
#define VIO_REQ_SPARE	4

/*
 * A buffer of one piece where it lies, for a device that is through with it
 * before it returns to its caller.
 */
struct vio_piece {
	unsigned char *base;
	uint32_t id;		/* ring */
	uint32_t len;		/* bytes of it; for vio_queue_use(): written */
};

/* Most of them that are seen at a time. */
#define VIO_PEEK_MAX	32u

/* What a queue's storage is made for. */
struct vio_queue_limits {
	uint16_t size_max;	/* largest ring size, 1 to 32768 */
	uint16_t seg_max;	/* most segments of one request, at least 8 */
	uint16_t ctx_size;	/* bytes of device context per request */
};

/* Where a ring lies; addresses are guest addresses. */
struct vio_queue_layout {
	uint16_t size;
	vio_addr desc;		/* descriptor area */
	vio_addr driver;	/* driver area: available ring */
	vio_addr device;	/* device area: used ring */
};

/*
 * A ring of the legacy interface lies in one piece: table, available ring,
 * and from the next multiple of Queue Align (@align, bytes, a power of two)
 * the used ring. Bytes of the whole, which begins at such a multiple too.
 */
static inline uint64_t vio_legacy_ring_bytes(uint16_t size, uint32_t align)
{
	uint64_t mask = (uint64_t)align - 1;
	uint64_t front = virtq_desc_bytes(size) + virtq_avail_bytes(size);

	return ((front + mask) & ~mask) +
	       ((virtq_used_bytes(size) + mask) & ~mask);
}

/*
 * vio_legacy_layout() - where the areas of such a ring are that begins at
 * @at: the page frame number that the driver wrote, times the size of a page.
 * False where @align is no alignment of a ring's, or where it would run past
 * the end of the address space.
 */
static inline bool vio_legacy_layout(struct vio_queue_layout *l, uint16_t size,
				     vio_addr at, uint32_t align)
{
	uint64_t mask = (uint64_t)align - 1;
	uint64_t front = virtq_desc_bytes(size) + virtq_avail_bytes(size);

	if (align < VIRTQ_USED_ALIGN || (align & mask) ||
	    vio_legacy_ring_bytes(size, align) > UINT64_MAX - at.v)
		return false;
	l->size = size;
	l->desc = at;
	l->driver.v = at.v + virtq_desc_bytes(size);
	l->device.v = at.v + ((front + mask) & ~mask);
	return true;
}

enum vio_queue_state {
	VIO_QUEUE_STOPPED,
	VIO_QUEUE_RUNNING,
	VIO_QUEUE_BROKEN,	/* the driver broke the rules; needs a reset */
};

/* Where writes to the device area stand in a dirty log. */
enum vio_log_ring {
	VIO_LOG_RING_HOME,	/* where it lies */
	VIO_LOG_RING_AT,	/* somewhere else, as the front end said */
	VIO_LOG_RING_OFF,	/* nowhere */
};

/* How many maps of guest memory may be in use by one queue at a time. */
#define VIO_QUEUE_MAPS	4

struct vio_queue_stats {
	uint64_t requests;	/* done */
	uint64_t notifications;	/* sent to the driver */
	uint64_t suppressed;	/* notifications the driver did not want */
	uint64_t kicks;		/* times the queue was serviced */
	uint64_t wakes;		/* and of these, not by polling */
};

/*
 * What a queue tells the device that owns it. Given at vio_dev_init(); all
 * but log come on the queue's thread.
 */
struct vio_queue_owner {
	/* Used buffer notification, please; or q->withheld, to call
	 * vio_queue_notify_withheld() in time. */
	void (*notify)(struct vio_queue *q);
	/* The driver broke the rules; the queue has stopped working. */
	void (*broken)(struct vio_queue *q);
	/* The queue is about to stop: give up what can be given up. */
	void (*stopping)(struct vio_queue *q);
	/* Stopped, and the last request in flight is done. */
	void (*quiesced)(struct vio_queue *q);
	void (*log)(struct vio_queue *q, enum vio_log_level level,
		    const char *text, const struct vio_named *v, unsigned nr);
};

struct vio_ring_ops;
struct vio_ring_hot;

/* Requests that a held queue enters in the ring at a time. */
#define VIO_QUEUE_ENDED	16u

struct vio_queue {
	/* hot */
	const struct vio_ring_hot *hot;
	const struct vio_ring_ops *ring;
	void *desc;			/* descriptor table, or ring */
	const void *driver_area;	/* available ring, or event structure */
	void *device_area;		/* used ring, or event structure */
	struct vio_mem *mem;		/* the map new requests get */
	unsigned char *slots;
	uint32_t slot_stride;
	unsigned mem_hint;
	uint16_t size;
	/* split: free-running indices; packed: positions (spec/packed.h) */
	uint16_t avail_next;	/* next entry to pop */
	uint16_t avail_seen;	/* split: the driver's index when read */
	uint16_t used_next;	/* next used entry to fill */
	uint16_t used_shown;	/* up to here the driver can see */
	uint16_t used_signalled;/* used_next at the last notify check */
	uint16_t first_flags;	/* packed: of the first entry not shown */
	uint16_t inflight;	/* popped and not done */
	uint32_t now_ms;	/* the owner's clock, for ages; 0: none */
	uint8_t state;		/* enum vio_queue_state */
	uint8_t map;		/* index of mem in maps[] */
	uint8_t hold;		/* depth of vio_queue_hold() */
	bool event_idx;
	bool indirect;
	bool in_order;
	bool dma;		/* ORDER_PLATFORM: barriers for devices */
	bool notify_empty;	/* NOTIFY_ON_EMPTY */
	bool big_endian;	/* a legacy ring in that byte order */
	bool signalled_valid;
	bool kicks_off;			/* the driver is asked for none */
	bool withheld;		/* the driver is to be notified, later */
	uint16_t withheld_since;/* used_signalled as it was before */
	bool paused;			/* by its transport: takes nothing, not
					 * even what a device has for it */
	bool waits;		/* for a translation; pop gave nothing */
	bool leaves;		/* by its transport: this stop may leave
				 * requests in the record; not in order */
	uint16_t replay_left;	/* requests to be done again, first */
	struct vio_track *track;	/* what outlives us; NULL: nothing */
	/* While held: done, and not entered in the ring yet. */
	uint16_t nr_ended;
	struct vio_req *ended[VIO_QUEUE_ENDED];

	/* cold */
	struct vio_dev *dev;
	const struct vio_queue_owner *owner;
	const struct vio_features *features;	/* the driver's */
	uint16_t index;
	bool guest_big;		/* byte order of a legacy guest */
	bool lazy;		/* its device says that nobody waits for what
				 * is used */
	uint16_t order_out;	/* in order: order[] index of the oldest */
	uint16_t used_mark;	/* split: between used_shown and used_next,
				 * where a batch ended */
	uint16_t *order;	/* in order: ids in flight, as popped */
	struct vio_seg *overflow;
	struct vio_queue_limits limits;
	struct vio_queue_layout layout;
	struct vio_mem *resume;	/* suspended on this map; NULL: it is not */
	bool polled;		/* see vio_queue_show() */
	uint8_t log_how;	/* enum vio_log_ring */
	vio_addr log_at;
	struct {
		struct vio_mem *mem;
		uint16_t busy;
	} maps[VIO_QUEUE_MAPS];
	struct vio_queue_stats stats;
};

#ifdef __cplusplus
}
#endif
#endif
