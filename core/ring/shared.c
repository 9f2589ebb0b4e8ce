/* SPDX-License-Identifier: MIT */
/*
 * shared.c - a virtqueue whose buffers go through hooks (vireo/dma.h): a table
 * of methods around that of the ring's layout. Each buffer is entered with the
 * addresses that the hooks gave, and a record of its own as its token; what
 * the caller gave stands in that record. It knows no layout, and no hook but
 * by its table; a queue without hooks never comes here.
 */
#include "core/ring/shared.h"
#include "core/base/string.h"

#define NONE	UINT32_MAX

/* A piece of a buffer, as it was offered. */
struct piece {
	void *p;
	size_t len;
	vio_addr addr;
	uint32_t next;
	bool writable;
	bool hooked;		/* outside of the window */
};

/* A buffer; as many as the queue has slots, by the same number. */
struct vio_vq_buffer {
	void *token;		/* the caller's */
	uint32_t first, last;	/* pieces, in the device's order */
};

static uint32_t nr_pieces(uint16_t size, uint16_t indirect_max)
{
	return (uint32_t)size * (indirect_max ? indirect_max : 1);
}

size_t vio_dma_private_size(const struct vio_vq_limits *l)
{
	return nr_pieces(l->size, l->indirect_max) * sizeof(struct piece) +
	       l->size * (sizeof(struct vio_vq_buffer) +
			  sizeof(struct vio_seg)) +
	       4 * _Alignof(struct piece);
}

static struct piece *piece_at(struct vio_vq *vq, uint32_t i)
{
	return (struct piece *)vq->hooked.piece + i;
}

int vio_vq_shared_init(struct vio_vq *vq, const struct vio_drv_mem *mem,
		       struct vio_arena *priv)
{
	uint32_t nr = nr_pieces(vq->size, vq->indirect_max);
	struct vio_vq_hooked *h = &vq->hooked;

	h->dma = mem->dma;
	h->ring = vq->ops;
	h->piece = vio_arena_take(priv, nr * sizeof(struct piece),
				  _Alignof(struct piece));
	h->buffer = vio_arena_take(priv, vq->size * sizeof(*h->buffer),
				   _Alignof(struct vio_vq_buffer));
	h->seg = vio_arena_take(priv, vq->size * sizeof(*h->seg),
				_Alignof(struct vio_seg));
	if (!h->piece || !h->buffer || !h->seg)
		return VIO_E_NOSPC;
	/* From here on, what is in a segment is an address (see offer()). */
	vq->buffers = (struct vio_window){ NULL, { 0 }, UINT64_MAX };
	vq->ops = &vio_vq_shared;
	for (uint32_t i = 0; i < nr; i++)
		piece_at(vq, i)->next = i + 1 < nr ? i + 1 : NONE;
	h->free = 0;
	for (unsigned i = 0; i < vq->size; i++)
		h->buffer[i].first = h->buffer[i].last = NONE;
	return VIO_OK;
}

/* -- one piece ----------------------------------------------------------- */

static int share(const struct vio_dma *d, struct piece *p)
{
	enum vio_dma_dir dir = p->writable ? VIO_DMA_FROM_DEVICE :
					     VIO_DMA_TO_DEVICE;
	int err = VIO_OK;

	if (d->ops->share)
		err = d->ops->share(d->ctx, p->p, p->len, dir, &p->addr);
	else if (!vio_vq_to_guest(&d->window, p->p, p->len, &p->addr.v))
		err = VIO_E_RANGE;
	if (err)
		return err;
	if (!p->writable && d->ops->clean)
		d->ops->clean(d->ctx, p->p, p->len);
	if (p->writable && d->ops->invalidate)
		d->ops->invalidate(d->ctx, p->p, p->len);
	return VIO_OK;
}

static void unshare(const struct vio_dma *d, const struct piece *p,
		    size_t used)
{
	if (p->writable && d->ops->invalidate)
		d->ops->invalidate(d->ctx, p->p, p->len);
	if (d->ops->unshare)
		d->ops->unshare(d->ctx, p->p, p->len,
				p->writable ? VIO_DMA_FROM_DEVICE :
					      VIO_DMA_TO_DEVICE,
				p->addr, p->writable ? used : 0);
}

/*
 * All pieces of a buffer back: the device wrote @used bytes, from the first
 * writable one on.
 */
static void release(struct vio_vq *vq, struct vio_vq_buffer *b, uint64_t used)
{
	uint32_t at = b->first;

	while (at != NONE) {
		struct piece *p = piece_at(vq, at);
		uint32_t next = p->next;
		size_t n = 0;

		if (p->writable) {
			n = used < p->len ? (size_t)used : p->len;
			used -= n;
		}
		if (p->hooked)
			unshare(vq->hooked.dma, p, n);
		p->next = vq->hooked.free;
		vq->hooked.free = at;
		at = next;
	}
	b->first = b->last = NONE;
	b->token = NULL;
}

/*
 * One more piece of @b, shared; its address goes into @out, as a number where
 * a pointer was: a machine's addresses fit its pointers, or are refused.
 */
static int offer(struct vio_vq *vq, struct vio_vq_buffer *b,
		 const struct vio_seg *seg, bool writable, struct vio_seg *out)
{
	struct vio_vq_hooked *h = &vq->hooked;
	uint32_t at = h->free;
	struct piece *p;
	int err = VIO_OK;

	if (at == NONE)
		return VIO_E_NOSPC;
	p = piece_at(vq, at);
	p->p = seg->base;
	p->len = seg->len;
	p->writable = writable;
	p->hooked = !vio_vq_to_guest(&vq->window, p->p, p->len, &p->addr.v);
	if (p->hooked)
		err = share(h->dma, p);
	if (err)
		return err;
	h->free = p->next;
	p->next = NONE;
	if (b->last == NONE)
		b->first = at;
	else
		piece_at(vq, b->last)->next = at;
	b->last = at;
	out->base = (void *)(uintptr_t)p->addr.v;
	out->len = p->len;
	return (uintptr_t)p->addr.v == p->addr.v ? VIO_OK : VIO_E_RANGE;
}

/* -- the methods --------------------------------------------------------- */

static int shared_layout(struct vio_vq *vq, struct vio_arena *shared)
{
	return vq->hooked.ring->layout(vq, shared);
}

static void shared_reset(struct vio_vq *vq)
{
	for (unsigned i = 0; i < vq->size; i++)
		release(vq, &vq->hooked.buffer[i], 0);
	vq->hooked.ring->reset(vq);
}

static int add_one(struct vio_vq *vq, const struct vio_buf *buf)
{
	struct vio_vq_hooked *h = &vq->hooked;
	struct vio_vq_buffer *b;
	struct vio_buf mine;
	struct vio_vq_entry e;
	int err = vio_vq_check(vq, buf, vq->nr_free, &e);

	if (err)
		return err;
	b = &h->buffer[vio_vq_free_id(vq, 0)];
	mine = (struct vio_buf){ h->seg, b, buf->nr_read, buf->nr_write };
	for (unsigned i = 0; i < e.nr && !err; i++)
		err = offer(vq, b, &buf->seg[i], i >= buf->nr_read,
			    &h->seg[i]);
	if (!err)
		h->ring->hot(vq)->add(vq, &mine, 1, &err);
	if (err)
		release(vq, b, 0);
	else
		b->token = buf->token;
	return err;
}

static unsigned shared_add(struct vio_vq *vq, const struct vio_buf *buf,
			   unsigned nr, int *err)
{
	unsigned n = 0;

	*err = VIO_OK;
	while (n < nr) {
		*err = add_one(vq, &buf[n]);
		if (*err)
			break;
		n++;
	}
	return n;
}

static bool shared_publish(struct vio_vq *vq)
{
	return vq->hooked.ring->publish(vq);
}

void *vio_vq_shared_token(struct vio_vq *vq, void *buffer, uint32_t len)
{
	struct vio_vq_buffer *b = buffer;
	void *token = b->token;

	release(vq, b, len);
	return token;
}

static unsigned shared_get(struct vio_vq *vq, struct vio_used *used,
			   unsigned max)
{
	unsigned n = vq->hooked.ring->hot(vq)->get(vq, used, max);

	/* Lengths are clamped to what was offered: vio_vq_take(). */
	for (unsigned i = 0; i < n; i++)
		used[i].token = vio_vq_shared_token(vq, used[i].token,
						    used[i].len);
	return n;
}

static const struct vio_vq_hot *shared_hot(const struct vio_vq *vq)
{
	static const struct vio_vq_hot hot = {
		.add = shared_add, .get = shared_get,
	};

	(void)vq;
	return &hot;
}

static bool shared_pending(struct vio_vq *vq)
{
	return vq->hooked.ring->pending(vq);
}

static void shared_quiet(struct vio_vq *vq)
{
	vq->hooked.ring->quiet(vq);
}

static void shared_listen(struct vio_vq *vq)
{
	vq->hooked.ring->listen(vq);
}

const struct vio_vq_ops vio_vq_shared = {
	.layout = shared_layout,
	.reset = shared_reset,
	.hot = shared_hot,
	.publish = shared_publish,
	.pending = shared_pending,
	.quiet = shared_quiet,
	.listen = shared_listen,
};
