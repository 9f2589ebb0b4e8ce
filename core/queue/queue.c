/* SPDX-License-Identifier: MIT */
/*
 * queue.c - the life of a virtqueue on the device side: storage, start and
 * stop, requests in flight, order of completion, maps of guest memory. It
 * knows no ring layout (ring/ does) and no device.
 */
#include "core/ring/ring.h"
#include "core/base/string.h"
#include <vireo/dev.h>
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

static size_t overflow_segs(const struct vio_queue_limits *l)
{
	return (size_t)l->seg_max + VIO_REQ_SPARE;
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
	return l->size_max * (slot_stride(l) +
			      overflow_segs(l) * sizeof(struct vio_seg)) +
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
		.state = VIO_QUEUE_STOPPED,
	};
	p += (size_t)l->size_max * q->slot_stride;
	q->overflow = (struct vio_seg *)(void *)p;
	p += l->size_max * overflow_segs(l) * sizeof(struct vio_seg);
	q->order = (uint16_t *)(void *)p;
	for (unsigned i = 0; i < l->size_max; i++)
		vio_queue_slot(q, i)->state = VIO_REQ_FREE;
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

static void drop_map(struct vio_queue *q, unsigned i)
{
	struct vio_mem *mem = q->maps[i].mem;

	q->maps[i].mem = NULL;
	if (mem)
		vio_mem_unpin(mem);
}

/* Stopped, and the last request in flight is done: let go of memory. */
static void quiesced(struct vio_queue *q)
{
	for (unsigned i = 0; i < VIO_QUEUE_MAPS; i++)
		drop_map(q, i);
	q->mem = NULL;
	q->desc = NULL;
	q->driver_area = NULL;
	q->device_area = NULL;
}

int vio_queue_start(struct vio_queue *q, struct vio_mem *mem,
		    const struct vio_queue_layout *layout,
		    uint16_t avail_base, uint16_t used_base)
{
	int err;

	if (q->state != VIO_QUEUE_STOPPED || q->inflight)
		return VIO_E_STATE;
	q->ring = &vio_ring_split;
	err = q->ring->map(q, mem, layout);
	if (err)
		return err;
	if (!adopt_map(q, mem))
		return VIO_E_STATE;
	q->layout = *layout;
	q->avail_next = q->avail_seen = avail_base;
	q->used_next = q->used_shown = q->used_signalled = used_base;
	q->signalled_valid = false;
	q->order_next = avail_base;
	q->event_idx = vio_dev_has(q->dev, VIRTIO_F_EVENT_IDX);
	q->indirect = vio_dev_has(q->dev, VIRTIO_F_INDIRECT_DESC);
	q->in_order = vio_dev_has(q->dev, VIRTIO_F_IN_ORDER);
	q->state = VIO_QUEUE_RUNNING;
	q->ring->init(q);
	return VIO_OK;
}

int vio_queue_used_in_ring(struct vio_queue *q, struct vio_mem *mem,
			   const struct vio_queue_layout *layout,
			   uint16_t *used_idx)
{
	int err;

	if (q->state != VIO_QUEUE_STOPPED || q->inflight)
		return VIO_E_STATE;
	err = vio_ring_split.map(q, mem, layout);
	if (!err)
		*used_idx = vio_ring_split.used_idx(q);
	quiesced(q);
	return err;
}

unsigned vio_queue_stop(struct vio_queue *q)
{
	if (q->state != VIO_QUEUE_STOPPED && q->dev->ops->queue_stop)
		q->dev->ops->queue_stop(q->dev, q);
	q->state = VIO_QUEUE_STOPPED;
	if (!q->inflight)
		quiesced(q);
	return q->inflight;
}

int vio_queue_set_mem(struct vio_queue *q, struct vio_mem *mem)
{
	uint8_t old = q->map;
	bool room = false;
	int err;

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
		drop_map(q, old);
	return VIO_OK;
}

/* -- what ring/ calls ---------------------------------------------------- */

struct vio_req *vio_queue_break(struct vio_queue *q, const char *text,
				const struct vio_named *v, unsigned nr)
{
	struct vio_named all[6] = { { "queue", q->index } };

	if (nr > VIO_ARRAY_LEN(all) - 1)
		nr = VIO_ARRAY_LEN(all) - 1;
	for (unsigned i = 0; i < nr; i++)
		all[i + 1] = v[i];
	q->state = VIO_QUEUE_BROKEN;
	vio_dev_log(q->dev, VIO_LOG_ERROR, text, all, nr + 1);
	vio_dev_needs_reset(q->dev);
	return NULL;
}

void vio_queue_req_begin(struct vio_queue *q, struct vio_req *req,
			 uint16_t head)
{
	req->queue = q;
	req->seg = (struct vio_seg *)(void *)(req + 1);
	req->read_len = 0;
	req->write_len = 0;
	req->written = 0;
	req->nr_read = 0;
	req->nr_write = 0;
	req->head = head;
	req->map = q->map;
}

/* Make room for one more segment; moves to the overflow area when needed. */
static bool seg_room(struct vio_queue *q, struct vio_req *req, unsigned nr)
{
	struct vio_seg *more;

	if (vio_likely(nr < VIO_REQ_INLINE - VIO_REQ_SPARE))
		return true;
	if (nr >= q->limits.seg_max)
		return false;
	if (nr > VIO_REQ_INLINE - VIO_REQ_SPARE)
		return true;
	more = q->overflow + req->head * overflow_segs(&q->limits);
	if (req->seg != more)
		memcpy(more, req->seg, nr * sizeof(*more));
	req->seg = more;
	return true;
}

static bool add_fault(struct vio_req *req, const char *text,
		      const struct vio_ring_desc *d)
{
	VIO_QUEUE_BREAK(req->queue, text, { "head", req->head },
			{ "address", d->addr }, { "length", d->len },
			{ "segments", req->nr_read + req->nr_write });
	return false;
}

bool vio_queue_req_add(struct vio_queue *q, struct vio_req *req,
		       const struct vio_ring_desc *d)
{
	unsigned perm = d->writable ? VIO_PERM_WRITE : VIO_PERM_READ;
	uint32_t *sum = d->writable ? &req->write_len : &req->read_len;
	uint64_t addr = d->addr, left = d->len, got;
	unsigned nr;
	void *p;

	if (vio_unlikely(!left))
		return true;
	if (vio_unlikely(left - 1 > UINT64_MAX - addr))
		return add_fault(req, "buffer runs past the end of the address "
				 "space", d);
	if (vio_unlikely(left > UINT32_MAX - *sum))
		return add_fault(req, "chain is longer than 4 GiB", d);
	if (vio_unlikely(!d->writable && req->nr_write))
		return add_fault(req, "readable buffer after a writable one", d);
	*sum += d->len;
	while (left) {		/* one step a region; bounded by seg_max */
		nr = req->nr_read + req->nr_write;
		if (!seg_room(q, req, nr))
			return add_fault(req, "chain has too many segments", d);
		p = vio_mem_span(q->mem, &q->mem_hint, vio_addr_of(addr), left,
				 perm, &got);
		if (vio_unlikely(!p))
			return add_fault(req, "buffer is not in guest memory",
					 d);
		req->seg[nr] = (struct vio_seg){ p, got };
		req->nr_write += d->writable;
		req->nr_read += !d->writable;
		addr += got;
		left -= got;
	}
	return true;
}

/* -- hot path ------------------------------------------------------------ */

struct vio_req *vio_queue_pop(struct vio_queue *q)
{
	struct vio_req *req;

	if (vio_unlikely(q->state != VIO_QUEUE_RUNNING))
		return NULL;
	req = q->ring->pop(q);
	if (!req)
		return NULL;
	if (q->in_order)
		q->order[(uint16_t)(q->avail_next - 1) & (q->size - 1)] =
			req->head;
	req->state = VIO_REQ_POPPED;
	q->inflight++;
	q->maps[req->map].busy++;
	return req;
}

/* The request leaves the queue's books; its slot may be taken again. */
static void forget(struct vio_queue *q, struct vio_req *req)
{
	req->state = VIO_REQ_FREE;
	q->inflight--;
	if (--q->maps[req->map].busy == 0 && req->map != q->map)
		drop_map(q, req->map);
}

void vio_queue_unpop(struct vio_queue *q, struct vio_req *req)
{
	q->avail_next--;
	forget(q, req);
	if (!q->inflight && q->state != VIO_QUEUE_RUNNING)
		quiesced(q);
}

bool vio_queue_pending(struct vio_queue *q)
{
	return q->state == VIO_QUEUE_RUNNING && q->ring->pending(q);
}

static void flush(struct vio_queue *q)
{
	if (q->used_next == q->used_shown || q->state == VIO_QUEUE_BROKEN)
		return;
	if (q->ring->publish(q)) {
		q->stats.notifications++;
		q->dev->transport->queue_notify(q->dev->transport_ctx, q);
	} else {
		q->stats.suppressed++;
	}
}

/* split.device.in-order: use buffers in the order they were made available. */
static void push_in_order(struct vio_queue *q, struct vio_req *req)
{
	req->state = VIO_REQ_DONE;
	while (q->order_next != q->avail_next) {
		req = vio_queue_slot(q, q->order[q->order_next &
						 (q->size - 1)]);
		if (req->state != VIO_REQ_DONE)
			break;
		q->ring->push(q, req);
		q->order_next++;
		forget(q, req);
	}
}

void vio_req_done(struct vio_req *req)
{
	struct vio_queue *q = req->queue;

	q->stats.requests++;
	if (vio_unlikely(q->state == VIO_QUEUE_BROKEN)) {
		forget(q, req);
	} else if (vio_unlikely(q->in_order)) {
		push_in_order(q, req);
	} else {
		q->ring->push(q, req);
		forget(q, req);
	}
	if (!q->hold)
		flush(q);
	if (vio_unlikely(!q->inflight && q->state == VIO_QUEUE_STOPPED)) {
		flush(q);
		quiesced(q);
		if (q->dev->resetting)
			vio_dev_reset(q->dev);
	}
}

void vio_queue_hold(struct vio_queue *q)
{
	q->hold++;
}

void vio_queue_release(struct vio_queue *q)
{
	if (--q->hold == 0)
		flush(q);
}

void vio_queue_kicks_off(struct vio_queue *q)
{
	if (q->state == VIO_QUEUE_RUNNING)
		q->ring->kicks_off(q);
}

bool vio_queue_kicks_on(struct vio_queue *q)
{
	return q->state == VIO_QUEUE_RUNNING && q->ring->kicks_on(q);
}
