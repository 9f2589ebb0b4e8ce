/* SPDX-License-Identifier: MIT */
/*
 * track_packed.c - the record of a packed ring's requests in flight. Used
 * descriptors overwrite those of other requests, so the record keeps each
 * descriptor that was fetched, in lists of entries taken from a free list.
 *
 * What counts are the old_* fields: a list that begins at old_free_head is
 * free, whatever the entries say. A pop counts when old_free_head moves past
 * it; a publication when the first used descriptor is in the ring, and what
 * free_head and used_idx then say is what old_* will be.
 */
#include "core/ring/track.h"
#include "core/mem/access.h"
#include <vireo/spec/packed.h>

static struct inflight_packed *record(const struct vio_track *t)
{
	return t->region;
}

static struct inflight_packed_desc *desc(const struct vio_track *t, uint16_t i)
{
	return (struct inflight_packed_desc *)(record(t) + 1) + i;
}

/*
 * used_idx, old_used_idx and their wrap counters lie in one word, and are
 * stored as one: between two stores there would be a position that never was.
 */
union where {
	uint64_t word;
	struct {
		uint16_t used, old_used;
		uint8_t wrap, old_wrap;
		uint8_t padding[2];
	} at;
};

static void put_where(const struct vio_queue *q, uint16_t used, uint16_t old)
{
	union where w = { .at = {
		.used = pvirtq_off(used, q->size),
		.old_used = pvirtq_off(old, q->size),
		.wrap = pvirtq_wrap(used, q->size),
		.old_wrap = pvirtq_wrap(old, q->size),
	} };

	VIO_TRACK_PUT64((uint64_t *)(void *)&record(q->track)->used_idx,
			w.word);
}

/* -- pop ------------------------------------------------------------------ */

void vio_track_packed_desc(struct vio_track *t, const struct pvirtq_desc *d,
			   uint16_t flags)
{
	uint16_t i = t->fill;

	/* There are as many as the ring has, which bounds the lists. */
	if (vio_unlikely(i >= t->nr))
		return;
	VIO_TRACK_PUT64(&desc(t, i)->addr, vio_from_le64(d->addr));
	VIO_TRACK_PUT(&desc(t, i)->len, vio_from_le32(d->len));
	VIO_TRACK_PUT(&desc(t, i)->id, vio_from_le16(d->id));
	VIO_TRACK_PUT(&desc(t, i)->flags, flags);
	t->fill_last = i;
	t->fill = t->link[i];
	t->filled++;
}

static void set_free_head(struct vio_track *t, uint16_t to)
{
	t->free_head = to;
	VIO_TRACK_PUT(&record(t)->free_head, to);
	VIO_TRACK_PUT(&record(t)->old_free_head, to);
}

void vio_track_packed_pop(struct vio_track *t, uint16_t slot)
{
	uint16_t first = t->free_head;
	struct inflight_packed_desc *d = desc(t, first);

	t->entry[slot] = first;
	t->last[first] = t->fill_last;
	VIO_TRACK_PUT(&d->num, t->filled);
	VIO_TRACK_PUT(&d->last, t->fill_last);
	VIO_TRACK_PUT64(&d->counter, t->counter);
	t->counter++;
	VIO_TRACK_PUT(&d->inflight, 1);
	set_free_head(t, t->fill);
}

/*
 * What stands in an entry's first word: all that concerns the list that it
 * begins, in one store.
 */
union head {
	uint64_t word;
	struct {
		uint8_t inflight, padding;
		uint16_t next, last, num;
	} at;
};

void vio_track_packed_single(struct vio_track *t, uint64_t addr, uint64_t tail)
{
	uint16_t i = t->free_head, id = (uint16_t)(tail >> 32);
	struct inflight_packed_desc *d = desc(t, i);
	union head head;

	/* There are as many as the ring has, which bounds the lists. */
	if (vio_unlikely(i >= t->nr))
		return;
	head = (union head){ .at = { 1, 0, t->link[i], i, 1 } };
	VIO_TRACK_PUT64(&d->addr, addr);
	VIO_TRACK_PUT(&d->len, (uint32_t)tail);
	VIO_TRACK_PUT(&d->id, id);
	VIO_TRACK_PUT(&d->flags, (uint16_t)(tail >> 48));
	VIO_TRACK_PUT64(&d->counter, t->counter);
	t->counter++;
	VIO_TRACK_PUT64((uint64_t *)(void *)d, head.word);
	t->entry[id] = t->last[i] = i;
	set_free_head(t, head.at.next);
}

void vio_track_packed_push(struct vio_track *t, struct vio_req *const *req,
			   unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t->batch[t->nr_batch + i] = t->entry[req[i]->head];
	t->nr_batch = (uint16_t)(t->nr_batch + n);
}

void vio_track_packed_unpop(struct vio_track *t, uint16_t slot)
{
	uint16_t first = t->entry[slot];

	set_free_head(t, first);
	VIO_TRACK_PUT(&desc(t, first)->inflight, 0);
}

uint16_t vio_track_packed_read(const struct vio_track *t, uint16_t entry,
			       struct pvirtq_desc *d)
{
	const struct inflight_packed_desc *e = desc(t, entry);

	d->addr = vio_to_le64(VIO_TRACK_GET64(&e->addr));
	d->len = vio_to_le32(VIO_TRACK_GET(&e->len));
	d->id = vio_to_le16(VIO_TRACK_GET(&e->id));
	return VIO_TRACK_GET(&e->flags);
}

/* -- publication ---------------------------------------------------------- */

void vio_track_packed_publish(struct vio_queue *q)
{
	struct vio_track *t = q->track;
	uint16_t head = t->free_head;

	for (unsigned i = 0; i < t->nr_batch; i++) {
		uint16_t first = t->batch[i], last = t->last[first];

		t->link[last] = head;
		VIO_TRACK_PUT(&desc(t, last)->next, head);
		head = first;
	}
	t->free_head = head;
	VIO_TRACK_PUT(&record(t)->free_head, head);
	put_where(q, q->used_next, q->used_shown);
}

void vio_track_packed_published(struct vio_queue *q)
{
	struct vio_track *t = q->track;

	for (unsigned i = 0; i < t->nr_batch; i++)
		VIO_TRACK_PUT(&desc(t, t->batch[i])->inflight, 0);
	VIO_TRACK_PUT(&record(t)->old_free_head, t->free_head);
	put_where(q, q->used_next, q->used_next);
	t->nr_batch = 0;
}

/* -- a start -------------------------------------------------------------- */

enum { UNKNOWN, FREE, TAKEN };	/* an entry; kept in t->entry meanwhile */

static uint16_t flags_at(const struct vio_queue *q, uint16_t pos)
{
	const struct pvirtq_desc *ring = q->desc;

	return vio_get16(&ring[pvirtq_off(pos, q->size)].flags);
}

static bool used_bit(const struct vio_queue *q, uint16_t pos)
{
	return flags_at(q, pos) & PVIRTQ_DESC_F_USED;
}

/* The position and the free list that count. */
static bool settle(const struct vio_queue *q, uint16_t *used, uint16_t *head)
{
	const struct inflight_packed *r = record(q->track);
	uint16_t free_head = VIO_TRACK_GET(&r->free_head);
	uint16_t old_free = VIO_TRACK_GET(&r->old_free_head), size = q->size;
	union where w = {
		.word = VIO_TRACK_GET64((const uint64_t *)(const void *)
					&r->used_idx),
	};
	uint16_t now, old;

	if (w.at.used >= size || w.at.old_used >= size || w.at.wrap > 1 ||
	    w.at.old_wrap > 1)
		return false;
	now = (uint16_t)(w.at.used + (w.at.wrap ? 0 : size));
	old = (uint16_t)(w.at.old_used + (w.at.old_wrap ? 0 : size));
	/* Did the driver see the batch, or did it all but happen? */
	if (now != old && used_bit(q, old) == pvirtq_wrap(old, size)) {
		*used = now;
		*head = free_head;
	} else {
		*used = old;
		*head = old_free;
	}
	return true;
}

/* Mark what is free. False for a loop. */
static bool mark_free(struct vio_track *t, uint16_t head, unsigned *nr)
{
	for (*nr = 0; head < t->nr; head = t->link[head], ++*nr) {
		if (t->entry[head] != UNKNOWN)
			return false;
		t->entry[head] = FREE;
		VIO_TRACK_PUT(&desc(t, head)->inflight, 0);
	}
	return true;
}

/* Mark the list that begins at @first. False if there is no such list. */
static bool mark_list(struct vio_track *t, uint16_t first, unsigned *total)
{
	uint16_t num = VIO_TRACK_GET(&desc(t, first)->num);
	uint16_t last = VIO_TRACK_GET(&desc(t, first)->last), i = first;

	if (!num || num > t->nr - *total)
		return false;
	*total += num;
	for (;; i = t->link[i]) {
		if (i >= t->nr || t->entry[i] != UNKNOWN)
			return false;
		t->entry[i] = TAKEN;
		if (!--num)
			break;
	}
	t->last[first] = i;
	return i == last;
}

/* All lists; each entry is in one or free. */
static bool collect(struct vio_queue *q, uint16_t head, unsigned *total)
{
	struct vio_track *t = q->track;
	unsigned nr_free;

	for (uint16_t i = 0; i < t->nr; i++) {
		t->link[i] = VIO_TRACK_GET(&desc(t, i)->next);
		t->entry[i] = UNKNOWN;
	}
	if (!mark_free(t, head, &nr_free))
		return false;
	*total = 0;
	for (uint16_t i = 0; i < t->nr; i++) {
		if (t->entry[i] != UNKNOWN ||
		    !VIO_TRACK_GET(&desc(t, i)->inflight))
			continue;
		if (!mark_list(t, i, total))
			return false;
		t->replay[t->nr_replay++] = i;
	}
	return *total <= q->size && *total + nr_free == t->nr;
}

/*
 * The driver waits for the descriptor at @used, so that it cannot look used;
 * lent to us it looks available. Those behind may have been written for a
 * batch that was never shown. They must not be seen when the one before them
 * is used: make them available again, which they are.
 */
static bool repair(struct vio_queue *q, uint16_t used, unsigned total)
{
	struct pvirtq_desc *ring = q->desc;
	bool wrap = pvirtq_wrap(used, q->size);
	uint16_t flags = flags_at(q, used);
	bool avail = flags & PVIRTQ_DESC_F_AVAIL;

	if (used_bit(q, used) == wrap && (total || avail == wrap))
		return false;
	if (total && avail != wrap)
		return false;
	for (unsigned i = 1; i < total; i++) {
		uint16_t pos = pvirtq_add(used, (uint16_t)i, q->size);
		vio_le16 *at = &ring[pvirtq_off(pos, q->size)].flags;

		wrap = pvirtq_wrap(pos, q->size);
		if (used_bit(q, pos) != wrap)
			continue;
		vio_put16(at, wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
		vio_mem_wrote(q->mem, at, sizeof(*at));
	}
	return true;
}

static uint64_t counter(const struct vio_track *t, uint16_t i)
{
	return VIO_TRACK_GET64(&desc(t, i)->counter);
}

/* Nothing is known: a new record, of a ring that stands at @used. */
static void begin(struct vio_queue *q, uint16_t used)
{
	struct vio_track *t = q->track;
	struct inflight_packed *r = record(t);

	t->nr_replay = 0;
	VIO_TRACK_PUT(&r->version, 0);
	for (uint16_t i = 0; i < t->nr; i++) {
		t->link[i] = (uint16_t)(i + 1);
		VIO_TRACK_PUT(&desc(t, i)->inflight, 0);
		VIO_TRACK_PUT(&desc(t, i)->next, t->link[i]);
	}
	VIO_TRACK_PUT64(&r->features, 0);
	VIO_TRACK_PUT(&r->desc_num, t->nr);
	set_free_head(t, 0);
	put_where(q, used, used);
	VIO_TRACK_PUT(&r->version, INFLIGHT_VERSION);
}

void vio_track_packed_begin(struct vio_queue *q, uint16_t *avail,
			    uint16_t *used)
{
	struct vio_track *t = q->track;
	const struct inflight_packed *r = record(t);
	uint16_t at, head;
	unsigned total;

	if (VIO_TRACK_GET(&r->version) != INFLIGHT_VERSION) {
		begin(q, *used);
		return;
	}
	if (VIO_TRACK_GET(&r->desc_num) != t->nr || !settle(q, &at, &head) ||
	    !collect(q, head, &total) || !repair(q, at, total)) {
		vio_track_stale(q, "record of requests in flight is not of this ring; not used");
		begin(q, *used);
		return;
	}
	*used = at;
	*avail = pvirtq_add(at, (uint16_t)total, q->size);
	set_free_head(t, head);
	put_where(q, at, at);
	vio_track_sort(t, counter);
}
