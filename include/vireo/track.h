/* SPDX-License-Identifier: MIT */
/*
 * vireo/track.h - a record of the requests in flight, in memory that outlives
 * the device. A device that starts on a ring with the record of one that died
 * does again what that one had taken and not finished, in the order in which
 * it had taken it.
 *
 * The record's layout is that of spec/inflight.h. Whoever else has the memory
 * may write anything into it: it decides what is done again, never where the
 * device reads or writes.
 *
 * Memory: the record and the private part are the caller's, until released().
 * Thread: the queue's.
 */
#ifndef VIREO_TRACK_H
#define VIREO_TRACK_H

#include <vireo/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vio_track {
	void *region;		/* shared: the record */
	uint16_t nr;		/* its entries, at least the ring's size */
	/* The queue let go of it; its memory may go. Queue's thread. */
	void (*released)(struct vio_track *t);

	/* ring: private */
	uint64_t counter;	/* of the next request */
	uint16_t nr_batch;	/* entries of batch[] */
	uint16_t nr_replay;	/* entries of replay[] */
	uint16_t free_head;	/* packed: first free entry */
	uint16_t fill;		/* packed: free entry to be filled next */
	uint16_t fill_last;	/* packed: the one filled last */
	uint16_t filled;	/* packed: how many */
	bool active;		/* the ring runs with it */
	uint16_t *batch;	/* pushed, not published */
	uint16_t *replay;	/* to be done again, the oldest first */
	uint16_t *link;		/* packed: what next says in the record */
	uint16_t *last;		/* packed: last entry of the list, by first */
	uint16_t *entry;	/* packed: first entry, by slot */
};

/* Bytes of a record of @nr entries; the next queue's may follow. */
size_t vio_track_size(bool packed, uint16_t nr);

/* Bytes of private memory, aligned to 2, that go with it. */
size_t vio_track_private_size(uint16_t nr);

/*
 * vio_track_init() - @region is vio_track_size() bytes, aligned to 8, zero or
 * as a device left it.
 */
void vio_track_init(struct vio_track *t, void *region, uint16_t nr,
		    void *priv, void (*released)(struct vio_track *t));

/*
 * vio_queue_track() - have the next start of the queue go by the record, and
 * keep it until the queue is stopped with nothing in flight. The start's base
 * counts only where the record knows nothing.
 * Returns VIO_OK, or VIO_E_STATE if the queue runs.
 */
int vio_queue_track(struct vio_queue *q, struct vio_track *t);

/* How many requests of a dead device this start found. */
unsigned vio_queue_replays(const struct vio_queue *q);

/* The ring of this record begins anew: it knows nothing any more. */
void vio_track_clear(void *region);

#ifdef __cplusplus
}
#endif
#endif
