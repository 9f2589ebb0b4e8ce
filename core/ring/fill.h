/* SPDX-License-Identifier: MIT */
/*
 * fill.h - the hot part of turning descriptors into a request: what it
 * collects while its chain is walked is kept in locals, which stay in
 * registers. All that is out of the ordinary goes to chain.c. It knows no ring
 * layout.
 */
#ifndef CORE_RING_FILL_H
#define CORE_RING_FILL_H

#include "core/base/barrier.h"
#include "core/mem/fast.h"
#include "core/ring/ring.h"

/* A request in the making. */
struct vio_fill {
	struct vio_seg *seg;
	uint32_t read_len, write_len;
	unsigned nr_read, nr_write;
};

VIO_INLINE struct vio_fill vio_fill_begin(struct vio_req *req)
{
	struct vio_fill f = { vio_ring_inline(req), 0, 0, 0, 0 };

	return f;
}

VIO_INLINE void vio_fill_end(struct vio_req *req, const struct vio_fill *f)
{
	req->seg = f->seg;
	req->written = 0;
	req->read_len = f->read_len;
	req->write_len = f->write_len;
	req->nr_read = (uint16_t)f->nr_read;
	req->nr_write = (uint16_t)f->nr_write;
}

/* A request of one buffer in one piece, which most are. */
VIO_INLINE void vio_fill_single(struct vio_req *req, void *p, uint32_t len,
				bool writable)
{
	struct vio_seg *seg = vio_ring_inline(req);

	seg->base = p;
	seg->len = len;
	/* The barriers keep the compiler from mixing the two up again. */
	if (writable) {
		req->read_len = 0;
		req->write_len = len;
		req->nr_read = 0;
		req->nr_write = 1;
		req->written = 0;
		vio_compiler_barrier();
	} else {
		req->read_len = len;
		req->write_len = 0;
		req->nr_read = 1;
		req->nr_write = 0;
		req->written = 0;
		vio_compiler_barrier();
	}
}

/* Everything but one buffer in one piece; the view may be another after. */
VIO_INLINE bool vio_fill_slow(struct vio_queue *q, struct vio_req *req,
			      struct vio_fill *f, struct vio_view *view,
			      uint64_t addr, uint32_t len, bool writable)
{
	const struct vio_ring_desc d = { addr, len, writable };

	vio_fill_end(req, f);
	if (!vio_ring_req_add_slow(q, req, &d))
		return false;
	*f = (struct vio_fill){ req->seg, req->read_len, req->write_len,
				req->nr_read, req->nr_write };
	*view = vio_view_of(q->mem, q->mem_hint);
	return true;
}

/*
 * Append a descriptor's bytes. False if it broke the rules; the queue is
 * broken then.
 */
VIO_INLINE bool vio_fill_add(struct vio_queue *q, struct vio_req *req,
			     struct vio_fill *f, struct vio_view *view,
			     uint64_t addr, uint32_t len, bool writable)
{
	unsigned nr = f->nr_read + f->nr_write;
	/* Built for size, all go the way that can everything. */
	void *p = VIO_RUNS ? vio_view_at(view, addr, len) : NULL;

	if (vio_unlikely(!p || nr >= VIO_REQ_INLINE - VIO_REQ_SPARE))
		return vio_fill_slow(q, req, f, view, addr, len, writable);
	if (writable) {
		if (vio_unlikely(len > UINT32_MAX - f->write_len))
			return vio_fill_slow(q, req, f, view, addr, len, true);
		f->write_len += len;
		f->nr_write++;
	} else {
		if (vio_unlikely(f->nr_write ||
				 len > UINT32_MAX - f->read_len))
			return vio_fill_slow(q, req, f, view, addr, len,
					     false);
		f->read_len += len;
		f->nr_read++;
	}
	f->seg[nr].base = p;
	f->seg[nr].len = len;
	return true;
}

#endif
