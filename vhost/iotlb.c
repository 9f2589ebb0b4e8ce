/* SPDX-License-Identifier: MIT */
/*
 * vhost/iotlb.c - the device IOTLB (ACCESS_PLATFORM): which I/O address is
 * which of the front end's user addresses, as far as the front end told us,
 * and what to do where it did not. It knows no ring layout, and not what is
 * done at an address; where user addresses lie is map.c's.
 *
 * Threads: the control thread writes entries. Each queue's thread reads them,
 * and keeps what it misses in its ring. A miss is asked for once; the queue
 * waits, alone, until an update comes. The lock is held for no longer than it
 * takes to move the entries.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/spec/virtio.h>

/*
 * The front end may tell us as much as it likes; more than this is forgotten
 * again. What lies together is one entry.
 */
#define ENTRIES		4096u
/* A request that asks for more pages than this would never end. */
#define MISSES_MAX	(ENTRIES / 2)

struct entry {
	uint64_t first, last;	/* I/O addresses */
	uint64_t user;		/* of first */
	unsigned perm;		/* enum vio_perm */
};

struct vhu_tlb {
	pthread_rwlock_t lock;
	unsigned nr;
	unsigned victim;
	bool lost;		/* an entry that may still be in use */
	struct entry e[ENTRIES];	/* sorted, not overlapping */
};

/* -- the table; under the lock, but for the first two ---------------------- */

struct vhu_tlb *vhu_tlb_new(void)
{
	struct vhu_tlb *t = calloc(1, sizeof(*t));

	if (t)
		pthread_rwlock_init(&t->lock, NULL);
	return t;
}

void vhu_tlb_free(struct vhu_tlb *t)
{
	if (t)
		pthread_rwlock_destroy(&t->lock);
	free(t);
}

/* The first entry that does not end before @at. */
static unsigned find(const struct vhu_tlb *t, uint64_t at)
{
	unsigned lo = 0, hi = t->nr;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (t->e[mid].last < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void take_out(struct vhu_tlb *t, unsigned i, unsigned n)
{
	memmove(&t->e[i], &t->e[i + n], (t->nr - i - n) * sizeof(t->e[0]));
	t->nr -= n;
}

static void put_in(struct vhu_tlb *t, unsigned i, const struct entry *e)
{
	memmove(&t->e[i + 1], &t->e[i], (t->nr - i) * sizeof(t->e[0]));
	t->e[i] = *e;
	t->nr++;
}

/* No entry goes from before @at to behind it, after this. */
static void cut(struct vhu_tlb *t, uint64_t at)
{
	unsigned i = find(t, at);
	struct entry rest;

	if (i == t->nr || t->e[i].first >= at)
		return;
	rest = t->e[i];
	rest.user += at - rest.first;
	rest.first = at;
	t->e[i].last = at - 1;
	/* Where there is no room the rest is forgotten: it can be asked for. */
	if (t->nr < ENTRIES)
		put_in(t, i + 1, &rest);
	else
		t->lost = true;
}

static void forget(struct vhu_tlb *t, uint64_t first, uint64_t last)
{
	unsigned i, n = 0;

	cut(t, first);
	if (last != UINT64_MAX)
		cut(t, last + 1);
	i = find(t, first);
	while (i + n < t->nr && t->e[i + n].first <= last)
		n++;
	take_out(t, i, n);
}

/* Does @b follow @a in both address spaces, for the same use? */
static bool joins(const struct entry *a, const struct entry *b)
{
	return a->last + 1 == b->first && a->perm == b->perm &&
	       a->user + (b->first - a->first) == b->user;
}

static void learn(struct vhu_tlb *t, const struct entry *e)
{
	unsigned i;

	forget(t, e->first, e->last);
	if (t->nr == ENTRIES) {
		/* Any: which were used lately is not worth knowing. */
		t->victim = (t->victim + 1021) % ENTRIES;
		take_out(t, t->victim, 1);
		t->lost = true;
	}
	i = find(t, e->first);
	put_in(t, i, e);
	if (i + 1 < t->nr && joins(&t->e[i], &t->e[i + 1])) {
		t->e[i].last = t->e[i + 1].last;
		take_out(t, i + 1, 1);
	}
	if (i && joins(&t->e[i - 1], &t->e[i])) {
		t->e[i - 1].last = t->e[i].last;
		take_out(t, i, 1);
	}
}

static bool look_up(const struct vhu_tlb *t, uint64_t at, struct entry *e)
{
	unsigned i = find(t, at);

	if (i == t->nr || t->e[i].first > at)
		return false;
	*e = t->e[i];
	return true;
}

/* -- a queue's side -------------------------------------------------------- */

/*
 * Ask the front end, or tell it that it is not permitted. False: there is
 * nobody to ask. One that has no room is asked again.
 */
static bool tell(struct vhu_ring *r, uint8_t type, uint64_t io, unsigned perm)
{
	struct vhu_server *s = r->s;
	struct vhu_msg msg;
	int err;

	vhu_msg_init(&msg, VHOST_USER_BACKEND_IOTLB_MSG, 0,
		     sizeof(msg.p.iotlb));
	msg.p.iotlb.iova = io;
	msg.p.iotlb.perm = (uint8_t)perm;
	msg.p.iotlb.type = type;
	err = vhu_back_tell(s, &msg);
	r->miss.asked = !err;
	if (err == -ETIMEDOUT)
		vhu_wake_later(r);
	return !err || err == -ETIMEDOUT;
}

static enum vio_translated refuse(struct vhu_ring *r, const char *text,
				  uint64_t io, unsigned perm)
{
	vhu_say(r->s, VIO_LOG_ERROR, text,
		{ "queue", r->index }, { "iova", io }, { "perm", perm });
	return VIO_TRANSLATED_NOT;
}

/* A request that needs more than we can keep would ask for ever. */
static bool too_many(struct vhu_ring *r)
{
	const struct vio_queue *q = vhu_ring_queue(r);

	if (r->miss.avail_next != q->avail_next || r->miss.done != q->used_next)
		r->miss.count = 0;
	r->miss.avail_next = q->avail_next;
	r->miss.done = q->used_next;
	return ++r->miss.count > MISSES_MAX;
}

/* Not there, or for something else (@e). */
static enum vio_translated miss(struct vhu_ring *r, uint64_t io, unsigned perm,
				struct entry *e)
{
	struct vhu_tlb *t = r->s->tlb;
	bool again, denied, found;

	pthread_rwlock_wrlock(&t->lock);
	/* It may have come meanwhile; from now on, whoever brings it sees
	 * that we wait. */
	found = look_up(t, io, e);
	again = r->miss.waits && r->miss.io == io && r->miss.perm == perm;
	denied = again && r->miss.answered && found;
	/* Told and taken away before we looked: another question. */
	again &= !r->miss.answered;
	if (!found || (e->perm & perm) != perm) {
		r->miss.answered = false;
		r->miss.waits = true;
		r->miss.io = io;
		r->miss.perm = perm;
		found = false;
	}
	pthread_rwlock_unlock(&t->lock);
	if (found)
		return VIO_TRANSLATED;
	if (denied) {
		tell(r, VHU_IOTLB_ACCESS_FAIL, io, perm);
		return refuse(r, "the IOMMU does not permit what the ring asks for",
			      io, perm);
	}
	if (again && r->miss.asked)
		return VIO_TRANSLATED_LATER;
	if (too_many(r))
		return refuse(r, "a request needs more translations than are kept at a time",
			      io, perm);
	if (tell(r, VHU_IOTLB_MISS, io, perm))
		return VIO_TRANSLATED_LATER;
	return refuse(r, "a translation is missing, and the front end gave no channel to ask for it",
		      io, perm);
}

/* Found in the end: nobody need wake the queue for it. */
static void satisfied(struct vhu_ring *r)
{
	pthread_rwlock_wrlock(&r->s->tlb->lock);
	r->miss.waits = false;
	pthread_rwlock_unlock(&r->s->tlb->lock);
}

enum vio_translated vhu_iotlb_translate(struct vhu_ring *r, vio_addr io,
					unsigned perm, uint64_t *user,
					uint64_t *room)
{
	struct vhu_tlb *t = r->s->tlb;
	enum vio_translated how;
	struct entry e = { 0 };
	bool found;

	pthread_rwlock_rdlock(&t->lock);
	found = look_up(t, io.v, &e);
	pthread_rwlock_unlock(&t->lock);
	if (vio_unlikely(!found || (e.perm & perm) != perm)) {
		how = miss(r, io.v, perm, &e);
		if (how != VIO_TRANSLATED)
			return how;
	}
	if (vio_unlikely(r->miss.waits && r->miss.io == io.v))
		satisfied(r);
	*user = e.user + (io.v - e.first);
	/* All 2^64 bytes are one too many. */
	*room = e.last - io.v == UINT64_MAX ? UINT64_MAX : e.last - io.v + 1;
	return VIO_TRANSLATED;
}

void vhu_iotlb_kicked(struct vhu_ring *r)
{
	/* Who asked in vain may ask again when the driver comes back. */
	r->miss.asked = false;
}

/* -- messages -------------------------------------------------------------- */

/* Queues that waited look again, and rings whose place was not known. */
static int wake(struct vhu_server *s, uint64_t first, uint64_t last)
{
	struct vhu_tlb *t = s->tlb;
	int err = 0;

	for (unsigned i = 0; i < s->nr_rings; i++) {
		struct vhu_ring *r = &s->ring[i];
		bool waits;
		int e;

		pthread_rwlock_wrlock(&t->lock);
		waits = r->miss.waits;
		if (waits && r->miss.io >= first && r->miss.io <= last)
			r->miss.answered = true;
		pthread_rwlock_unlock(&t->lock);
		if (!vhu_ring_started(r)) {
			e = vhu_ring_try_start(r);
			err = err ? err : e;
		} else if (waits && s->conf.env->queue_wake) {
			s->conf.env->queue_wake(s->conf.env_ctx, i);
		}
	}
	return err;
}

static int update(struct vhu_server *s, const struct entry *e, uint64_t size)
{
	if (e->perm & ~(unsigned)VIO_PERM_RW ||
	    !vhu_map_has_user(s->map, e->user, size)) {
		vhu_say(s, VIO_LOG_ERROR,
			"a translation does not lead to memory that was shared",
			{ "iova", e->first }, { "size", size },
			{ "user_addr", e->user }, { "perm", e->perm });
		return -EINVAL;
	}
	pthread_rwlock_wrlock(&s->tlb->lock);
	learn(s->tlb, e);
	pthread_rwlock_unlock(&s->tlb->lock);
	return wake(s, e->first, e->last);
}

/*
 * What is about to be forgotten, in memory; all where it is in pieces, or where
 * what was forgotten for lack of room may have been a part of it.
 */
static struct vio_seg lost_memory(const struct vhu_server *s, uint64_t first,
				  uint64_t last)
{
	const struct vhu_tlb *t = s->tlb;
	struct vio_seg all = { NULL, SIZE_MAX };
	unsigned i = find(t, first);
	struct entry e;

	if (t->lost)
		return all;
	if (i == t->nr || t->e[i].first > last)
		return (struct vio_seg){ NULL, 0 };
	if (i + 1 < t->nr && t->e[i + 1].first <= last)
		return all;
	e = t->e[i];
	if (e.first < first) {
		e.user += first - e.first;
		e.first = first;
	}
	if (e.last > last)
		e.last = last;
	return vhu_map_host(s->map, e.user, e.last - e.first);
}

/* Queue's thread. A driver that is honest waits before it takes memory away. */
static int finish_with(struct vhu_ring *r, void *arg)
{
	const struct vhu_conf *c = &r->s->conf;
	const struct vio_seg *lost = arg;
	const struct vio_queue *q = vhu_ring_queue(r);

	if (!q->inflight || !c->env->drain ||
	    !vio_queue_uses(q, lost->base, lost->len))
		return 0;
	return c->env->drain(c->env_ctx, r->index);
}

static int let_go(struct vhu_ring *r, uint64_t first, uint64_t last,
		  struct vio_seg *lost)
{
	int err;

	if (!vhu_ring_started(r))
		return 0;
	if (!vhu_ring_touches(r, first, last))
		return vhu_on_queue(r, finish_with, lost);
	/* Its own place: it goes on where it was, once that is known. */
	err = vhu_ring_event(r, VHU_EV_STOP);
	return err ? err : vhu_ring_try_start(r);
}

/* When it is answered, nothing uses these addresses any more. */
static int invalidate(struct vhu_server *s, uint64_t first, uint64_t last)
{
	struct vhu_tlb *t = s->tlb;
	struct vio_seg lost;
	int err = 0;

	pthread_rwlock_wrlock(&t->lock);
	lost = lost_memory(s, first, last);
	/* No queue has anything in flight after that. */
	if (lost.len == SIZE_MAX)
		t->lost = false;
	forget(t, first, last);
	pthread_rwlock_unlock(&t->lock);
	for (unsigned i = 0; i < s->nr_rings; i++) {
		int e = let_go(&s->ring[i], first, last, &lost);

		err = err ? err : e;
	}
	if (err && lost.len == SIZE_MAX) {
		pthread_rwlock_wrlock(&t->lock);
		t->lost = true;
		pthread_rwlock_unlock(&t->lock);
	}
	return err;
}

void vhu_iotlb_flush(struct vhu_server *s)
{
	if (!s->tlb)
		return;
	for (unsigned i = 0; i < s->nr_rings; i++) {
		if (vhu_ring_started(&s->ring[i]))
			return;
	}
	pthread_rwlock_wrlock(&s->tlb->lock);
	s->tlb->nr = 0;
	s->tlb->lost = false;
	for (unsigned i = 0; i < s->nr_rings; i++)
		s->ring[i].miss = (struct vhu_miss){ 0 };
	pthread_rwlock_unlock(&s->tlb->lock);
}

int vhu_on_iotlb(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_iotlb in = msg->p.iotlb;
	struct entry e = { in.iova, in.iova + (in.size - 1), in.user_addr,
			   in.perm };
	/* All of it has a size of 2^64, which QEMU sends as 0. */
	bool all = !in.size && !in.iova && in.type == VHU_IOTLB_INVALIDATE;
	int err = -EINVAL;

	if ((!all && (!in.size || in.size - 1 > UINT64_MAX - in.iova)) ||
	    (in.type != VHU_IOTLB_UPDATE && in.type != VHU_IOTLB_INVALIDATE))
		vhu_say(s, VIO_LOG_ERROR,
			"IOTLB message is of no kind that we know, or for no addresses",
			{ "type", in.type }, { "iova", in.iova },
			{ "size", in.size });
	else if (in.type == VHU_IOTLB_UPDATE)
		err = update(s, &e, in.size);
	else
		err = invalidate(s, e.first, e.last);
	return vhu_reply_u64(s, msg, err ? 1 : 0);
}
