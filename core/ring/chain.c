/* SPDX-License-Identifier: MIT */
/*
 * chain.c - descriptors, one by one and already copied, become the segments
 * of a request; what does not fit the rules breaks the queue, here and
 * nowhere else. It knows no ring layout.
 */
#include "core/ring/ring.h"
#include "core/mem/access.h"

struct vio_req *vio_ring_break(struct vio_queue *q, const char *text,
				const struct vio_named *v, unsigned nr)
{
	struct vio_named all[6] = { { "queue", q->index } };

	if (nr > VIO_ARRAY_LEN(all) - 1)
		nr = VIO_ARRAY_LEN(all) - 1;
	for (unsigned i = 0; i < nr; i++)
		all[i + 1] = v[i];
	/* What a stopped one finds, for its last request, ends no stop. */
	if (q->state != VIO_QUEUE_STOPPED)
		q->state = VIO_QUEUE_BROKEN;
	q->owner->log(q, VIO_LOG_ERROR, text, all, nr + 1);
	q->owner->broken(q);
	return NULL;
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
	more = q->overflow + req->head * vio_ring_overflow(&q->limits);
	if (req->seg != more)
		memcpy(more, req->seg, nr * sizeof(*more));
	req->seg = more;
	return true;
}

void vio_ring_drop_map(struct vio_queue *q, unsigned i)
{
	struct vio_mem *mem = q->maps[i].mem;

	q->maps[i].mem = NULL;
	if (mem)
		vio_mem_unpin(mem);
}

unsigned vio_ring_forget(struct vio_queue *q, struct vio_req *req)
{
	req->state = VIO_REQ_FREE;
	req->seg = vio_ring_inline(req);
	if (req->map == q->map)
		return 0;
	if (--q->maps[req->map].busy == 0)
		vio_ring_drop_map(q, req->map);
	return 1;
}

unsigned vio_ring_turn(struct vio_queue *q, struct vio_req **req,
		       unsigned max)
{
	uint16_t at = q->order_out;
	unsigned n;

	if (max > q->inflight)
		max = q->inflight;
	for (n = 0; n < max; n++) {
		req[n] = vio_ring_slot(q, q->order[at]);
		if (vio_req_state(req[n]) != VIO_REQ_DONE)
			break;
		at = (uint16_t)(at + 1 < q->size ? at + 1 : 0);
	}
	q->order_out = at;
	return n;
}

static bool add_fault(struct vio_req *req, const char *text,
		      const struct vio_ring_desc *d)
{
	VIO_RING_BREAK(req->queue, text, { "head", req->head },
			{ "address", d->addr }, { "length", d->len },
			{ "segments", req->nr_read + req->nr_write });
	return false;
}

bool vio_ring_req_add_slow(struct vio_queue *q, struct vio_req *req,
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
		return add_fault(req, "readable after writable buffer", d);
	*sum += d->len;
	while (left) {		/* one step a region; bounded by seg_max */
		nr = req->nr_read + req->nr_write;
		if (!seg_room(q, req, nr))
			return add_fault(req, "chain has too many segments", d);
		p = vio_mem_span(q->mem, &q->mem_hint, vio_addr_of(addr), left,
				 perm, &got);
		if (vio_unlikely(!p))
			return !vio_ring_waits(q) &&
			       add_fault(req, "buffer is not in guest memory",
					 d);
		req->seg[nr] = (struct vio_seg){ p, got };
		req->nr_write += d->writable;
		req->nr_read += !d->writable;
		addr += got;
		left -= got;
	}
	return true;
}

bool vio_ring_copy_in(struct vio_queue *q, vio_addr addr, void *dst,
		      size_t len)
{
	unsigned char *to = dst;
	uint64_t at = addr.v, got;

	while (len) {		/* one step a region, at least one byte each */
		const void *p = vio_mem_span(q->mem, &q->mem_hint,
					     vio_addr_of(at), len,
					     VIO_PERM_READ, &got);
		if (!p)
			return false;
		vio_copy_in(to, p, got);
		to += got;
		at += got;
		len -= got;
	}
	return true;
}
