/* SPDX-License-Identifier: MIT */
/*
 * vireo/look.h - look into a ring without touching it: what stands in it, as
 * seen from positions that the onlooker keeps. For people and their tools;
 * nothing on the way of a request needs it.
 *
 * What is read may change the next moment. Nothing here follows an address,
 * and every loop ends after one round of the ring.
 */
#ifndef VIREO_LOOK_H
#define VIREO_LOOK_H

#include <vireo/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A ring as mapped by the onlooker; sizes of the areas as in 2.7 and 2.8. */
struct vio_ring_areas {
	const void *desc;
	const void *driver;
	const void *device;
	uint16_t size;		/* not 0 */
	bool packed;
	bool event_idx;
};

/* Whether a side wants to be notified. */
enum vio_want {
	VIO_WANT_ALL,
	VIO_WANT_NONE,
	VIO_WANT_AT,		/* when the other side passes an entry */
};

struct vio_ring_view {
	/*
	 * Entries past the position that are available, and not more than the
	 * ring has; more in a split ring: the driver broke it.
	 */
	uint16_t available;
	bool overrun;
	/* Split: the indices as they stand. Packed: 0. */
	uint16_t avail_idx, used_idx;
	/* Does the device want kicks, the driver used buffer notifications? */
	enum vio_want kick, call;
	/* Of VIO_WANT_AT: an index, or packed offset and wrap counter. */
	uint16_t kick_at, call_at;
};

/*
 * vio_ring_look() - look from @avail_next, the first entry that the device
 * has not taken: an index, or in a packed ring a position (spec/packed.h).
 */
void vio_ring_look(const struct vio_ring_areas *a, uint16_t avail_next,
		   struct vio_ring_view *view);

/*
 * vio_queue_look() - the same of a queue that runs, from where it stands.
 * False if it does not run. Queue's thread.
 */
bool vio_queue_look(const struct vio_queue *q, struct vio_ring_view *view);

/* A request in flight. */
struct vio_flight {
	uint16_t head;		/* packed: the buffer's id */
	uint32_t since_ms;	/* queue->now_ms when it was popped */
	bool done;		/* in order: waits for an older one */
	bool replayed;
};

/*
 * vio_queue_flights() - requests in flight, in no special order. Returns how
 * many were put into @list, at most @max. Queue's thread.
 */
unsigned vio_queue_flights(const struct vio_queue *q, struct vio_flight *list,
			   unsigned max);

/*
 * vio_queue_uses() - has a request in flight a buffer among @len bytes at
 * @base? True also where that is not known: it was popped with another map.
 * Queue's thread.
 */
bool vio_queue_uses(const struct vio_queue *q, const void *base, size_t len);

#ifdef __cplusplus
}
#endif
#endif
