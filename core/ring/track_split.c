/* SPDX-License-Identifier: MIT */
/*
 * track_split.c - the record of a split ring's requests in flight. One flag
 * for each chain; a chain is finished when the used index passes it, so that
 * a process which dies between that and clearing the flags leaves a list of
 * the heads whose flags are wrong.
 */
#include "core/ring/track.h"
#include "core/mem/access.h"
#include <vireo/spec/split.h>

static struct inflight_split *record(const struct vio_track *t)
{
	return t->region;
}

void vio_track_split_publish(struct vio_queue *q)
{
	struct vio_track *t = q->track;
	uint16_t prev = 0;

	for (unsigned i = 0; i < t->nr_batch; i++) {
		VIO_TRACK_PUT(&vio_track_split_desc(t, t->batch[i])->next,
			      prev);
		prev = t->batch[i];
	}
	VIO_TRACK_PUT(&record(t)->last_batch_head, prev);
}

void vio_track_split_published(struct vio_queue *q)
{
	struct vio_track *t = q->track;

	for (unsigned i = 0; i < t->nr_batch; i++)
		VIO_TRACK_PUT(&vio_track_split_desc(t, t->batch[i])->inflight,
			      0);
	VIO_TRACK_PUT(&record(t)->used_idx, q->used_next);
	t->nr_batch = 0;
}

/* -- a start -------------------------------------------------------------- */

/* The id of the used element @back before @used. */
static uint32_t used_id(const struct vio_queue *q, uint16_t used,
			uint16_t back)
{
	const struct virtq_used_elem *ring = (const struct virtq_used_elem *)
		((const struct virtq_used *)q->device_area + 1);
	struct virtq_used_elem e;

	vio_copy_in(&e, &ring[(uint16_t)(used - back) & (q->size - 1)],
		    sizeof(e));
	return vio_ring32(q, vio_from_le32(e.id));
}

/*
 * Clear the flags of the batch that was published last. False if its list
 * and the used ring tell different stories.
 */
static bool settle(struct vio_queue *q, uint16_t used)
{
	struct vio_track *t = q->track;
	uint16_t missing = used - VIO_TRACK_GET(&record(t)->used_idx);
	uint16_t head = VIO_TRACK_GET(&record(t)->last_batch_head);

	if (missing > q->size)
		return false;
	for (uint16_t i = 1; i <= missing; i++) {
		struct inflight_split_desc *d;

		if (head >= q->size || used_id(q, used, i) != head)
			return false;
		d = vio_track_split_desc(t, head);
		VIO_TRACK_PUT(&d->inflight, 0);
		head = VIO_TRACK_GET(&d->next);
	}
	if (missing)
		VIO_TRACK_PUT(&record(t)->used_idx, used);
	return true;
}

static uint64_t counter(const struct vio_track *t, uint16_t head)
{
	return VIO_TRACK_GET64(&vio_track_split_desc(t, head)->counter);
}

/* What the dead one had taken. False if the driver never offered as much. */
static bool collect(struct vio_queue *q, uint16_t used, uint16_t avail)
{
	struct vio_track *t = q->track;

	for (uint16_t i = 0; i < t->nr; i++) {
		if (!VIO_TRACK_GET(&vio_track_split_desc(t, i)->inflight))
			continue;
		if (i >= q->size)
			return false;
		t->replay[t->nr_replay++] = i;
	}
	return t->nr_replay <= (uint16_t)(avail - used);
}

/* Nothing is known: a new record, of a ring that stands at @used. */
static void begin(struct vio_queue *q, uint16_t used)
{
	struct vio_track *t = q->track;
	struct inflight_split *r = record(t);

	t->nr_replay = 0;
	VIO_TRACK_PUT(&r->version, 0);
	for (uint16_t i = 0; i < t->nr; i++)
		VIO_TRACK_PUT(&vio_track_split_desc(t, i)->inflight, 0);
	VIO_TRACK_PUT64(&r->features, 0);
	VIO_TRACK_PUT(&r->desc_num, t->nr);
	VIO_TRACK_PUT(&r->last_batch_head, 0);
	VIO_TRACK_PUT(&r->used_idx, used);
	VIO_TRACK_PUT(&r->version, INFLIGHT_VERSION);
}

uint16_t vio_track_split_begin(struct vio_queue *q, uint16_t used,
			       uint16_t avail)
{
	struct vio_track *t = q->track;
	const struct inflight_split *r = record(t);

	if (VIO_TRACK_GET(&r->version) != INFLIGHT_VERSION) {
		begin(q, used);
	} else if (VIO_TRACK_GET(&r->desc_num) != t->nr ||
		   !settle(q, used) || !collect(q, used, avail)) {
		vio_track_stale(q, "record of requests in flight is not of this ring; not used");
		begin(q, used);
	}
	vio_track_sort(t, counter);
	return (uint16_t)(used + t->nr_replay);
}
