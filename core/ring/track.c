/* SPDX-License-Identifier: MIT */
/*
 * track.c - the life of a record of requests in flight, as far as it is the
 * same for both layouts. It knows no layout of a ring.
 */
#include "core/ring/track.h"
#include "core/base/string.h"
#include <vireo/spec/split.h>

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

size_t vio_track_size(bool packed, uint16_t nr)
{
	size_t head = packed ? sizeof(struct inflight_packed) :
			       sizeof(struct inflight_split);
	size_t each = packed ? sizeof(struct inflight_packed_desc) :
			       sizeof(struct inflight_split_desc);

	return round_up(head + nr * each, INFLIGHT_ALIGN);
}

size_t vio_track_private_size(uint16_t nr)
{
	return 5 * sizeof(uint16_t) * nr;
}

void vio_track_init(struct vio_track *t, void *region, uint16_t nr,
		    void *priv, void (*released)(struct vio_track *t))
{
	uint16_t *p = priv;

	*t = (struct vio_track){
		.region = region, .nr = nr, .released = released,
		.batch = p, .replay = p + nr, .link = p + 2 * nr,
		.last = p + 3 * nr, .entry = p + 4 * nr,
	};
}

void vio_track_clear(void *region)
{
	struct inflight_head *h = region;

	VIO_TRACK_PUT(&h->version, 0);
}

int vio_queue_track(struct vio_queue *q, struct vio_track *t)
{
	if (q->state != VIO_QUEUE_STOPPED || q->inflight)
		return VIO_E_STATE;
	t->active = false;
	t->nr_batch = 0;
	t->nr_replay = 0;
	t->counter = 0;
	q->track = t;
	return VIO_OK;
}

unsigned vio_queue_replays(const struct vio_queue *q)
{
	return q->track ? q->track->nr_replay : 0;
}

void vio_track_stale(struct vio_queue *q, const char *why)
{
	const struct vio_named v[] = { { "queue", q->index } };

	q->owner->log(q, VIO_LOG_WARN, why, v, 1);
}

/*
 * A heap: bounded whatever the counters are, and whoever changes them
 * meanwhile.
 */
static void sift(struct vio_track *t, unsigned at, unsigned nr,
		 uint64_t (*counter)(const struct vio_track *t,
				     uint16_t entry))
{
	uint16_t *a = t->replay;

	for (;;) {
		unsigned child = 2 * at + 1;
		uint16_t swap;

		if (child >= nr)
			return;
		if (child + 1 < nr &&
		    counter(t, a[child + 1]) > counter(t, a[child]))
			child++;
		if (counter(t, a[at]) >= counter(t, a[child]))
			return;
		swap = a[at];
		a[at] = a[child];
		a[child] = swap;
		at = child;
	}
}

void vio_track_sort(struct vio_track *t,
		    uint64_t (*counter)(const struct vio_track *t,
					uint16_t entry))
{
	unsigned nr = t->nr_replay;
	uint16_t *a = t->replay, swap;

	for (unsigned i = nr / 2; i-- > 0;)
		sift(t, i, nr, counter);
	if (nr)
		t->counter = counter(t, a[0]) + 1;
	while (nr > 1) {
		nr--;
		swap = a[0];
		a[0] = a[nr];
		a[nr] = swap;
		sift(t, 0, nr, counter);
	}
}
