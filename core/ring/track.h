/* SPDX-License-Identifier: MIT */
/*
 * track.h - keeping the record of requests in flight (vireo/track.h), called
 * by the ring layouts at pop, push and publication.
 *
 * A process can die between any two stores, and the next one sees all stores
 * up to there, in the order of the program. So each change of the record is a
 * number of stores that mean nothing yet, and one that makes it count.
 *
 * The record is written; it is read at a start and for replays, and nothing
 * else: what it says is kept in private memory.
 */
#ifndef CORE_RING_TRACK_H
#define CORE_RING_TRACK_H

#include <vireo/spec/inflight.h>
#include <vireo/track.h>
#include "core/base/barrier.h"
#include "core/base/shared64.h"
#include "core/ring/ring.h"

struct pvirtq_desc;

#ifdef VIO_EXPLORE
/* As those of barrier.h. */
void vio_explore_store64(uint64_t *p, uint64_t v);
#define VIO_TRACK_PUT(p, v)	vio_explore_store((p), (v), sizeof(*(p)))
#define VIO_TRACK_PUT64(p, v)	vio_explore_store64((p), (v))
#else
/* Release: the partner is whoever starts after this process died. */
#define VIO_TRACK_PUT(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#if __SIZEOF_POINTER__ >= 8
#define VIO_TRACK_PUT64(p, v)	VIO_TRACK_PUT(p, v)
#else
/* In halves. */
#define VIO_TRACK_PUT64(p, v)	vio_track_halves((p), (v))
static inline void vio_track_halves(uint64_t *p, uint64_t v)
{
	union { uint64_t v; uint32_t h[2]; } u = { v };
	uint32_t *h = (uint32_t *)(void *)p;

	VIO_TRACK_PUT(&h[0], u.h[0]);
	VIO_TRACK_PUT(&h[1], u.h[1]);
}
#endif
#endif

/* One load of a number that anyone may change. */
#define VIO_TRACK_GET(p)	__atomic_load_n((p), __ATOMIC_RELAXED)
#define VIO_TRACK_GET64(p)	vio_shared64_get(p)

static inline struct inflight_split_desc *
vio_track_split_desc(const struct vio_track *t, uint16_t head)
{
	return (struct inflight_split_desc *)
		((struct inflight_split *)t->region + 1) + head;
}

/* -- split ---------------------------------------------------------------- */

/* These were popped, in that order. */
VIO_INLINE void vio_track_split_pop(struct vio_track *t,
				    struct vio_req *const *req, unsigned n)
{
	uint64_t counter = t->counter;

	for (unsigned i = 0; i < n; i++) {
		struct inflight_split_desc *d =
			vio_track_split_desc(t, req[i]->head);

		VIO_TRACK_PUT64(&d->counter, counter++);
		VIO_TRACK_PUT(&d->inflight, 1);
	}
	t->counter = counter;
}

/* Finished, to be shown by the next publication. */
VIO_INLINE void vio_track_split_push(struct vio_track *t,
				     struct vio_req *const *req, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t->batch[t->nr_batch + i] = req[i]->head;
	t->nr_batch = (uint16_t)(t->nr_batch + n);
}

static inline void vio_track_split_unpop(struct vio_track *t, uint16_t head)
{
	VIO_TRACK_PUT(&vio_track_split_desc(t, head)->inflight, 0);
}

/* Before and after the used index is published. */
void vio_track_split_publish(struct vio_queue *q);
void vio_track_split_published(struct vio_queue *q);

/*
 * Go by the record, or begin it. @used: the used index in the ring.
 * Returns how far the available ring was taken.
 */
uint16_t vio_track_split_begin(struct vio_queue *q, uint16_t used,
			       uint16_t avail);

/* -- packed --------------------------------------------------------------- */

/* A list begins; a descriptor joins it, as it was read, @flags apart. */
static inline void vio_track_packed_list(struct vio_track *t)
{
	t->fill = t->free_head;
	t->filled = 0;
}

void vio_track_packed_desc(struct vio_track *t, const struct pvirtq_desc *d,
			   uint16_t flags);
/* The list is whole and the request @slot. */
void vio_track_packed_pop(struct vio_track *t, uint16_t slot);
/* Finished, to be shown by the next publication. */
void vio_track_packed_push(struct vio_track *t, struct vio_req *const *req,
			   unsigned n);
/* The same of a list of one descriptor: @addr, and @tail as vio_get_tail. */
void vio_track_packed_single(struct vio_track *t, uint64_t addr,
			     uint64_t tail);
void vio_track_packed_unpop(struct vio_track *t, uint16_t slot);
/* A descriptor of the record, to the driver's layout; not to be trusted. */
uint16_t vio_track_packed_read(const struct vio_track *t, uint16_t entry,
			       struct pvirtq_desc *d);

/* Before and after the first descriptor of a batch is published. */
void vio_track_packed_publish(struct vio_queue *q);
void vio_track_packed_published(struct vio_queue *q);

/*
 * Go by the record, which then says where the ring stands, or begin it at
 * the positions that are given.
 */
void vio_track_packed_begin(struct vio_queue *q, uint16_t *avail,
			    uint16_t *used);

/* -- both (track.c) ------------------------------------------------------- */

/* The record does not fit the ring: it is one of another life. */
void vio_track_stale(struct vio_queue *q, const char *why);

/* Put t->replay[] in order, by the counters in the record. */
void vio_track_sort(struct vio_track *t,
		    uint64_t (*counter)(const struct vio_track *t,
					uint16_t entry));

#endif
