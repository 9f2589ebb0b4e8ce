/* SPDX-License-Identifier: MIT */
/*
 * queue.c - the life of a virtqueue on the device side: storage, start and
 * stop, requests in flight, order of completion, maps of guest memory. It
 * knows no ring layout (ring/ does) and no device.
 */
#include "core/ring/ring.h"
#include "core/base/shared64.h"
#include "core/base/string.h"
#include <vireo/queue.h>
#include <vireo/track.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define LINE	64	/* bytes; storage and slots are aligned to it */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t slot_stride(const struct vio_queue_limits *l)
{
	return round_up(sizeof(struct vio_req) +
			VIO_REQ_INLINE * sizeof(struct vio_seg) + l->ctx_size,
			LINE);
}

static bool limits_ok(const struct vio_queue_limits *l)
{
	return l->size_max && l->size_max <= VIRTQ_SIZE_MAX &&
	       l->seg_max >= VIO_REQ_INLINE &&
	       l->seg_max <= UINT16_MAX - VIO_REQ_SPARE;
}

size_t vio_queue_storage_size(const struct vio_queue_limits *l)
{
	if (!limits_ok(l))
		return 0;
	return (l->size_max + 1u) *
	       (slot_stride(l) +
		vio_ring_overflow(l) * sizeof(struct vio_seg)) +
	       round_up(l->size_max * sizeof(uint16_t), LINE);
}

int vio_queue_init(struct vio_queue *q, struct vio_dev *dev, uint16_t index,
		   const struct vio_queue_limits *l,
		   void *storage, size_t storage_len)
{
	unsigned char *p = storage;

	if (!limits_ok(l) || !p || (uintptr_t)p % LINE)
		return VIO_E_INVAL;
	if (storage_len < vio_queue_storage_size(l))
		return VIO_E_NOSPC;
	*q = (struct vio_queue){
		.dev = dev, .index = index, .limits = *l,
		.slots = p, .slot_stride = slot_stride(l),
		.state = VIO_QUEUE_STOPPED, .guest_big = VIO_MACHINE_BIG,
	};
	/* One slot more, for a list whose id is not known yet (packed.c). */
	p += (l->size_max + (size_t)1) * q->slot_stride;
	q->overflow = (struct vio_seg *)(void *)p;
	p += (l->size_max + 1u) * vio_ring_overflow(l) * sizeof(struct vio_seg);
	q->order = (uint16_t *)(void *)p;
	return VIO_OK;
}

/* Take a free entry of maps[] for @mem and make it current. */
static bool adopt_map(struct vio_queue *q, struct vio_mem *mem)
{
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++) {
		if (q->maps[i].mem)
			continue;
		vio_mem_pin(mem);
		q->maps[i].mem = mem;
		q->maps[i].busy = 0;
		q->map = i;
		q->mem = mem;
		q->mem_hint = 0;
		return true;
	}
	return false;
}

/*
 * Let go of the record. A ring that stops with nothing in flight needs none:
 * whoever starts it next is told where it stands.
 */
static void untrack(struct vio_queue *q)
{
	struct vio_track *t = q->track;

	if (!t)
		return;
	if (t->active && !q->replay_left)
		vio_track_clear(t->region);
	q->replay_left = 0;
	q->track = NULL;
	if (t->released)
		t->released(t);
}

/* Stopped, and the last request in flight is done: let go of memory. */
static void quiesced(struct vio_queue *q)
{
	untrack(q);
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++)
		vio_ring_drop_map(q, i);
	q->mem = NULL;
	q->desc = NULL;
	q->driver_area = NULL;
	q->device_area = NULL;
}

static const struct vio_ring_ops *format(const struct vio_queue *q)
{
	return vio_ring_layout(vio_has(q->features, VIRTIO_F_RING_PACKED));
}

/* Begin with the record, if there is one and it is large enough. */
static void recover(struct vio_queue *q, uint16_t *avail_base,
		    uint16_t *used_base)
{
	const struct vio_named v[] = { { "queue", q->index },
				       { "size", q->size } };

	q->replay_left = 0;
	if (!q->track)
		return;
	if (q->track->nr < q->size) {
		q->owner->log(q, VIO_LOG_WARN, "record of requests in flight is shorter than the ring; not kept",
			      v, VIO_ARRAY_LEN(v));
		untrack(q);
		return;
	}
	q->ring->recover(q, avail_base, used_base);
	q->replay_left = q->track->nr_replay;
}

int vio_queue_start(struct vio_queue *q, struct vio_mem *mem,
		    const struct vio_queue_layout *layout,
		    uint16_t avail_base, uint16_t used_base)
{
	int err;

	if (q->state != VIO_QUEUE_STOPPED || q->inflight)
		return VIO_E_STATE;
	q->ring = format(q);
	if (!q->ring)
		return VIO_E_UNSUPP;
	err = q->ring->map(q, mem, layout);
	if (!err && !adopt_map(q, mem))
		err = VIO_E_STATE;
	if (err) {
		untrack(q);
		return err;
	}
	q->layout = *layout;
	q->signalled_valid = false;
	q->kicks_off = false;
	q->withheld = false;
	if (VIO_RUNS)
		q->lazy = false;
	q->order_out = 0;
	/* Only now, and as many as the ring has: what is never used need
	 * never be memory. */
	for (unsigned i = 0; i < q->size; i++)
		vio_ring_slot_init(q, (uint16_t)i);
	vio_ring_slot_init(q, q->limits.size_max);
	q->big_endian = q->guest_big &&
			!vio_has(q->features, VIRTIO_F_VERSION_1);
	q->event_idx = vio_has(q->features, VIRTIO_F_EVENT_IDX);
	q->indirect = vio_has(q->features, VIRTIO_F_INDIRECT_DESC);
	q->in_order = vio_has(q->features, VIRTIO_F_IN_ORDER);
	q->dma = vio_has(q->features, VIRTIO_F_ORDER_PLATFORM);
	q->notify_empty = vio_has(q->features, VIRTIO_F_NOTIFY_ON_EMPTY);
	recover(q, &avail_base, &used_base);
	err = q->ring->init(q, avail_base, used_base);
	if (err) {
		quiesced(q);
		return err;
	}
	if (q->track)
		q->track->active = true;
	q->hot = q->ring->hot(q);
	q->state = VIO_QUEUE_RUNNING;
	return VIO_OK;
}

uint16_t vio_queue_avail_base(const struct vio_queue *q)
{
	return q->ring ? q->ring->avail_base(q) : 0;
}

uint16_t vio_queue_used_base(const struct vio_queue *q)
{
	return q->ring ? q->ring->used_base(q) : 0;
}

void vio_queue_set_endian(struct vio_queue *q, bool big)
{
	q->guest_big = big;
}

int vio_queue_used_in_ring(struct vio_queue *q, struct vio_mem *mem,
			   const struct vio_queue_layout *layout,
			   uint16_t *used_idx)
{
	int err;

	if (q->state != VIO_QUEUE_STOPPED || q->inflight)
		return VIO_E_STATE;
	if (!format(q) || !format(q)->used_idx)
		return VIO_E_UNSUPP;
	q->big_endian = q->guest_big &&
			!vio_has(q->features, VIRTIO_F_VERSION_1);
	err = format(q)->map(q, mem, layout);
	if (!err)
		*used_idx = format(q)->used_idx(q);
	quiesced(q);
	return err;
}

/*
 * One by one, half of what it costs to enter a request in the ring is the way
 * there. So a held queue gathers them; they count as in flight until then.
 */
static void enter_ended(struct vio_queue *q)
{
	unsigned n = q->nr_ended;

	if (!VIO_RUNS || !n)
		return;
	q->nr_ended = 0;
	vio_queue_done(q, q->ended, n);
}

unsigned vio_queue_stop(struct vio_queue *q)
{
	enter_ended(q);
	if (VIO_RUNS)
		vio_queue_show(q);
	if (q->state != VIO_QUEUE_STOPPED)
		q->owner->stopping(q);
	q->state = VIO_QUEUE_STOPPED;
	q->resume = NULL;
	if (!q->inflight)
		quiesced(q);
	return q->inflight;
}

int vio_queue_set_mem(struct vio_queue *q, struct vio_mem *mem)
{
	uint8_t old = q->map;
	bool room = false;
	int err;

	/* Of one that sleeps, nothing holds the old one. */
	if (q->resume)
		q->resume = mem;
	if (q->state != VIO_QUEUE_RUNNING)
		return VIO_OK;
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++)
		room |= !q->maps[i].mem;
	if (!room)
		return VIO_E_AGAIN;
	err = q->ring->map(q, mem, &q->layout);
	if (err)
		return err;
	adopt_map(q, mem);
	if (!q->maps[old].busy)
		vio_ring_drop_map(q, old);
	return VIO_OK;
}

void vio_queue_log_ring(struct vio_queue *q, enum vio_log_ring how,
			vio_addr at)
{
	q->log_how = (uint8_t)how;
	q->log_at = at;
}

void vio_ring_log(const struct vio_queue *q, const void *p, size_t len)
{
	/* Of the packed ring, entries are written too: not in that area. */
	uintptr_t off = (uintptr_t)p - (uintptr_t)q->device_area;
	uintptr_t area = 6 + 8 * (uintptr_t)q->size;

	if (vio_has(q->features, VIRTIO_F_RING_PACKED))
		area = 4;
	if (off >= area || q->log_how == VIO_LOG_RING_HOME)
		vio_mem_wrote(q->mem, p, len);
	else if (q->log_how == VIO_LOG_RING_AT)
		vio_mem_wrote_at(q->mem, vio_addr_of(q->log_at.v + off), len);
}

/* -- hot path ------------------------------------------------------------ */

/* What a dead device had taken comes before what is new. */
static struct vio_req *replay(struct vio_queue *q)
{
	struct vio_track *t = q->track;
	struct vio_req *req;

	req = q->ring->replay(q, t->replay[t->nr_replay - q->replay_left]);
	if (req) {
		vio_req_set_state(req, VIO_REQ_REPLAYED);
		q->replay_left--;
	}
	return req;
}

/* One that is done again, as pop does it. */
static unsigned pop_replay(struct vio_queue *q, struct vio_req **req)
{
	*req = replay(q);
	if (!*req)
		return 0;
	if (q->in_order)
		vio_ring_order(q, req, 1);
	vio_ring_popped(q, 1);
	return 1;
}

unsigned vio_queue_pop_many(struct vio_queue *q, struct vio_req **req,
			    unsigned max)
{
	unsigned n = 0, want, got;

	/* Each round but the last takes as many as it asked for. */
	while (n < max && vio_likely(q->state == VIO_QUEUE_RUNNING)) {
		want = max - n < VIO_RING_BATCH ? max - n : VIO_RING_BATCH;
		if (vio_unlikely(q->replay_left))
			got = pop_replay(q, req + n), want = 1;
		else
			got = q->hot->pop(q, req + n, want);
		n += got;
		if (got < want)
			break;
	}
	return n;
}

unsigned vio_queue_peek(struct vio_queue *q, bool writable,
			struct vio_piece *p, unsigned max)
{
	if (!VIO_RUNS)
		return 0;
	enter_ended(q);
	if (vio_unlikely(q->state != VIO_QUEUE_RUNNING || q->inflight ||
			 q->track || q->big_endian ||
			 vio_mem_is_logged(q->mem)))
		return 0;
	return q->ring->peek(q, p, max < VIO_PEEK_MAX ? max : VIO_PEEK_MAX,
			     writable);
}

struct vio_req *vio_queue_pop(struct vio_queue *q)
{
	struct vio_req *req;

	return vio_queue_pop_many(q, &req, 1) ? req : NULL;
}

/* The request leaves the books without an entry in the ring. */
static void forget(struct vio_queue *q, struct vio_req *req)
{
	vio_ring_forgotten(q, 1, vio_ring_forget(q, req));
}

void vio_queue_unpop(struct vio_queue *q, struct vio_req *req)
{
	if (vio_unlikely(vio_req_state(req) == VIO_REQ_REPLAYED))
		q->replay_left++;
	else
		q->ring->unpop(q, req);
	forget(q, req);
	if (!q->inflight && q->state == VIO_QUEUE_STOPPED)
		quiesced(q);
}

/* The record is kept as long as it has something to be done again. */
void vio_req_leave(struct vio_req *req)
{
	req->queue->replay_left++;
	forget(req->queue, req);
}

bool vio_queue_pending(struct vio_queue *q)
{
	return q->state == VIO_QUEUE_RUNNING &&
	       (q->replay_left || q->ring->pending(q));
}

/* Its owner may put it off. */
static void notify(struct vio_queue *q, uint16_t since)
{
	q->withheld = false;
	q->owner->notify(q);
	q->withheld_since = since;
	if (vio_likely(!q->withheld))
		vio_shared64_add(&q->stats.notifications, 1);
}

static void show(struct vio_queue *q)
{
	uint16_t since = q->withheld ? q->withheld_since : q->used_signalled;

	if (q->ring->publish(q) || vio_unlikely(q->withheld))
		notify(q, since);
	else
		vio_shared64_add(&q->stats.suppressed, 1);
}

static void flush(struct vio_queue *q)
{
	if (!vio_queue_hides(q) || q->state == VIO_QUEUE_BROKEN)
		return;
#ifndef VIO_SMALL
	if (q->polled && q->lazy && q->ring->put_off && q->ring->put_off(q))
		return;
#endif
	show(q);
}

void vio_queue_show(struct vio_queue *q)
{
	if (VIO_RUNS && q->state == VIO_QUEUE_RUNNING && !q->hold &&
	    vio_queue_hides(q))
		show(q);
}

void vio_queue_notify_withheld(struct vio_queue *q)
{
	if (!q->withheld || q->state != VIO_QUEUE_RUNNING)
		return;
	q->used_signalled = q->withheld_since;
	if (q->ring->wants(q)) {
		notify(q, q->withheld_since);
		return;
	}
	q->withheld = false;
	vio_shared64_add(&q->stats.suppressed, 1);
}

void vio_queue_use(struct vio_queue *q, const struct vio_piece *p, unsigned n,
		   bool written)
{
	if (!n)
		return;
	vio_shared64_add(&q->stats.requests, n);
	q->ring->use(q, p, n, written);
	if (!q->hold)
		flush(q);
}

/* A broken queue forgets requests, in order if need be, and tells nobody. */
static void drop(struct vio_queue *q, struct vio_req *req)
{
	if (!q->in_order) {
		forget(q, req);
		return;
	}
	vio_req_set_state(req, VIO_REQ_DONE);
	while (vio_ring_turn(q, &req, 1))
		forget(q, req);
}

static void done_when_stopped(struct vio_queue *q)
{
	if (q->inflight)
		return;
	flush(q);
	quiesced(q);
	q->owner->quiesced(q);
}

void vio_queue_done(struct vio_queue *q, struct vio_req *const *req,
		    unsigned n)
{
	vio_shared64_add(&q->stats.requests, n);
	if (vio_likely(q->state != VIO_QUEUE_BROKEN))
		q->hot->done(q, req, n);
	else
		for (unsigned i = 0; i < n; i++)
			drop(q, req[i]);
	if (!q->hold)
		flush(q);
	if (vio_unlikely(q->state == VIO_QUEUE_STOPPED))
		done_when_stopped(q);
}

void vio_req_done(struct vio_req *req)
{
	struct vio_queue *q = req->queue;

	if (!VIO_RUNS || !q->hold) {
		vio_queue_done(q, &req, 1);
		return;
	}
	q->ended[q->nr_ended++] = req;
	if (q->nr_ended == VIO_QUEUE_ENDED)
		enter_ended(q);
}

void vio_queue_hold(struct vio_queue *q)
{
	q->hold++;
}

void vio_queue_release(struct vio_queue *q)
{
	if (q->hold == 1)
		enter_ended(q);
	if (--q->hold == 0)
		flush(q);
}

/*
 * What is off stays off: the driver has the line of that word in its cache,
 * and each store takes it away.
 */
void vio_queue_kicks_off(struct vio_queue *q)
{
	if (q->state != VIO_QUEUE_RUNNING || q->kicks_off)
		return;
	q->kicks_off = true;
	q->ring->kicks_off(q);
}

bool vio_queue_kicks_on(struct vio_queue *q)
{
	q->kicks_off = false;
	return q->state == VIO_QUEUE_RUNNING && q->ring->kicks_on(q);
}
