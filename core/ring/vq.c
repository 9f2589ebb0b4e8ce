/* SPDX-License-Identifier: MIT */
/*
 * vq.c - the driver's half of a virtqueue as far as both layouts share it:
 * memory, what a buffer may be, what a device may claim. It knows no layout,
 * no bus and no device type.
 */
#include "core/ring/driver.h"
#include "core/ring/shared.h"
#include "core/base/string.h"
#include <vireo/spec/packed.h>

void *vio_arena_take(struct vio_arena *a, size_t len, size_t align)
{
	size_t skip = -(uintptr_t)a->at & (align - 1);
	unsigned char *p;

	if (skip > a->left || len > a->left - skip)
		return NULL;
	p = a->at + skip;
	memset(p, 0, len);
	a->at = p + len;
	a->left -= skip + len;
	return p;
}

static size_t round_line(size_t n)
{
	return (n + VIO_VQ_LINE - 1) & ~(size_t)(VIO_VQ_LINE - 1);
}

static bool limits_ok(const struct vio_vq_limits *l, bool packed)
{
	return l->size && l->size <= VIRTQ_SIZE_MAX &&
	       (packed || !(l->size & (l->size - 1))) &&
	       l->indirect_max <= l->size;
}

static size_t table_bytes(const struct vio_vq_limits *l)
{
	return (size_t)l->size * l->indirect_max * sizeof(struct virtq_desc);
}

/* Enough for either layout; the packed one is the smaller. */
size_t vio_vq_shared_size(const struct vio_vq_limits *l)
{
	return round_line(virtq_desc_bytes(l->size)) +
	       round_line(virtq_avail_bytes(l->size)) +
	       round_line(virtq_used_bytes(l->size)) +
	       round_line(table_bytes(l)) + VIO_VQ_LINE;
}

size_t vio_vq_private_size(const struct vio_vq_limits *l)
{
	return l->size * (sizeof(struct vio_vq_slot) + sizeof(uint16_t)) +
	       VIO_VQ_LINE;
}

int vio_vq_init(struct vio_vq *vq, const struct vio_vq_limits *limits,
		const struct vio_features *features, struct vio_drv_mem *mem)
{
	return vio_vq_init_legacy(vq, limits, features, mem, 0);
}

int vio_vq_init_legacy(struct vio_vq *vq, const struct vio_vq_limits *limits,
		       const struct vio_features *features,
		       struct vio_drv_mem *mem, uint32_t align)
{
	bool packed = vio_has(features, VIRTIO_F_RING_PACKED);
	struct vio_vq_limits l = *limits;
	int err;

	if (!vio_has(features, VIRTIO_F_INDIRECT_DESC))
		l.indirect_max = 0;
	if (!limits_ok(&l, packed))
		return VIO_E_INVAL;
	memset(vq, 0, sizeof(*vq));
	vq->ops = vio_vq_layout(packed);
	if (!vq->ops)
		return VIO_E_UNSUPP;
	vq->size = l.size;
	vq->indirect_max = l.indirect_max;
	vq->window = vq->buffers = mem->window;
	vq->event_idx = vio_has(features, VIRTIO_F_EVENT_IDX);
	vq->in_order = vio_has(features, VIRTIO_F_IN_ORDER);
	vq->dma = vio_has(features, VIRTIO_F_ORDER_PLATFORM);
	/* split.other.legacy-interfaces-virtqueue-endianness.1 */
	vq->big_endian = align && VIO_MACHINE_BIG;
	vq->slot = vio_arena_take(&mem->priv, l.size * sizeof(*vq->slot),
				  _Alignof(struct vio_vq_slot));
	vq->free = vio_arena_take(&mem->priv, l.size * sizeof(*vq->free),
				  _Alignof(uint16_t));
	if (!vq->slot || !vq->free)
		return VIO_E_NOSPC;
	if (align && packed)
		return VIO_E_INVAL;
	err = align ? vio_vq_legacy_layout(vq, &mem->shared, align) :
		      vq->ops->layout(vq, &mem->shared);
	if (err)
		return err;
	if (l.indirect_max) {
		vq->table = vio_arena_take(&mem->shared, table_bytes(&l),
					   VIO_VQ_LINE);
		if (!vq->table)
			return VIO_E_NOSPC;
	}
	vq->layout.size = l.size;
	if (mem->dma) {
		err = vio_vq_shared_init(vq, mem, &mem->priv);
		if (err)
			return err;
	}
	vio_vq_reset(vq);
	return VIO_OK;
}

void vio_vq_reset(struct vio_vq *vq)
{
	unsigned i;

	for (i = 0; i < vq->size; i++)
		vq->slot[i].word = UINT64_MAX;
	vq->next_id = 0;
	vq->nr_stack = 0;
	vq->nr_lists = 0;
	vq->straight = true;
	vq->nr_free = vq->size;
	vq->inflight = vq->shown = 0;
	vq->oldest = 0;
	vq->in_batch = false;
	vq->broken = false;
	vq->hot = vq->ops->hot(vq);
	vq->ops->reset(vq);
}

uint16_t vio_vq_free_id(const struct vio_vq *vq, unsigned i)
{
	if (i < vq->nr_stack)
		return vq->free[vq->nr_stack - 1 - i];
	return (uint16_t)vio_vq_id_after(vq, vq->next_id, i - vq->nr_stack);
}

void vio_vq_take_ids(struct vio_vq *vq, unsigned n)
{
	unsigned top = n < vq->nr_stack ? n : vq->nr_stack;

	vq->nr_stack = (uint16_t)(vq->nr_stack - top);
	vq->next_id = (uint16_t)vio_vq_id_after(vq, vq->next_id, n - top);
}

unsigned vio_vq_add_many(struct vio_vq *vq, const struct vio_buf *buf,
			 unsigned nr, int *err)
{
	unsigned n;

	*err = VIO_E_PEER;
	if (vio_unlikely(vq->broken))
		return 0;
	n = vq->hot->add(vq, buf, nr, err);
	vq->stats.added += n;
	return n;
}

#ifndef VIO_SMALL
unsigned vio_vq_fit(const struct vio_vq *vq, const struct vio_single *one,
		    unsigned nr)
{
	const uintptr_t host = (uintptr_t)vq->buffers.host;
	const uint64_t size = vq->buffers.size;
	uint64_t farthest = 0, longest = 0, off;
	const struct vio_single *o = one;
	unsigned i;

	/* Nearly always all together do. */
	for (i = nr; i >= 4; i -= 4, o += 4) {
		VIO_UNROLL
		for (unsigned k = 0; k < 4; k++) {
			off = (uintptr_t)o[k].base - host;
			farthest = off > farthest ? off : farthest;
			longest |= (uint64_t)o[k].len - 1;
		}
	}
	for (; i; i--, o++) {
		off = (uintptr_t)o->base - host;
		farthest = off > farthest ? off : farthest;
		longest |= (uint64_t)o->len - 1;
	}
	if (vio_likely(farthest < size && longest < size - farthest))
		return nr;
	for (i = 0; i < nr; i++) {
		off = (uintptr_t)one[i].base - host;
		if ((uint64_t)one[i].len - 1 >= size ||
		    off > size - one[i].len)
			break;
	}
	return i;
}

#define LISTED	8u	/* singles that become buffers at a time */

/* What is not a run of them: buffers as any others. */
static unsigned add_listed(struct vio_vq *vq, const struct vio_single *one,
			   unsigned nr, bool writable, int *err)
{
	struct vio_seg seg[LISTED];
	struct vio_buf buf[LISTED];
	unsigned i;

	for (i = 0; i < LISTED && i < nr; i++) {
		seg[i].base = one[i].base;
		seg[i].len = one[i].len;
		buf[i] = (struct vio_buf){ &seg[i], one[i].token,
					   !writable, writable };
	}
	return vio_vq_add_many(vq, buf, i, err);
}

unsigned vio_vq_add_singles(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable, int *err)
{
	unsigned n = 0, got;

	for (*err = VIO_OK; n < nr && *err == VIO_OK;) {
		if (vio_likely(vq->hot->singles && !vq->broken)) {
			got = vq->hot->singles(vq, one + n, nr - n, writable);
			vq->stats.added += got;
			n += got;
		}
		if (vio_unlikely(n < nr))
			n += add_listed(vq, one + n, nr - n, writable, err);
	}
	return n;
}
#endif

int vio_vq_add(struct vio_vq *vq, const struct vio_seg *seg,
	       unsigned nr_read, unsigned nr_write, void *token)
{
	struct vio_buf b = { seg, token, (uint16_t)nr_read,
			     (uint16_t)nr_write };
	int err;

	if (vio_unlikely(nr_read > vq->size || nr_write > vq->size))
		return vq->broken ? VIO_E_PEER : VIO_E_INVAL;
	vio_vq_add_many(vq, &b, 1, &err);
	return err;
}

#ifdef VIO_SMALL
unsigned vio_vq_add_singles(struct vio_vq *vq, const struct vio_single *one,
			    unsigned nr, bool writable, int *err)
{
	struct vio_seg seg;
	unsigned n;

	for (*err = VIO_OK, n = 0; n < nr; n++) {
		seg = (struct vio_seg){ one[n].base, one[n].len };
		*err = vio_vq_add(vq, &seg, !writable, writable, one[n].token);
		if (*err)
			break;
	}
	return n;
}
#endif

bool vio_vq_publish(struct vio_vq *vq)
{
	bool kick;

	if (vq->avail_shown == vq->avail_next)
		return false;
	kick = vq->ops->publish(vq);
	vq->shown = vq->inflight;
	if (kick)
		vq->stats.kicks++;
	else
		vq->stats.quiet++;
	return kick;
}

uint16_t vio_vq_next(const struct vio_vq *vq)
{
	/*
	 * split: the available index, 16 bits of it; packed: offset and wrap
	 * counter (packed.driver.virtqueue-descriptor-table.3)
	 */
	return vq->ring ? pvirtq_pack(vq->avail_shown, vq->size) :
			  vq->avail_shown;
}

/*
 * Buffers that can have been used: not more than the device was shown, or a
 * caller that gives back what it takes could be kept at it for ever. A split
 * ring's index is held to that when it is read, and a lie is seen as one.
 */
static unsigned most_used(const struct vio_vq *vq)
{
	return vq->ring ? vq->shown : vq->inflight;
}

bool vio_vq_pending(struct vio_vq *vq)
{
	return !vq->broken && most_used(vq) && vq->ops->pending(vq);
}

unsigned vio_vq_get_many(struct vio_vq *vq, struct vio_used *used,
			 unsigned max)
{
	unsigned n;

	if (vio_unlikely(vq->broken))
		return 0;
	/* None out: then there is nothing that could be used. */
	if (max > most_used(vq))
		max = most_used(vq);
	n = max ? vq->hot->get(vq, used, max) : 0;
	vq->shown = (uint16_t)(vq->shown - n);
	return n;
}

void *vio_vq_get(struct vio_vq *vq, uint32_t *len)
{
	struct vio_used u;

	if (!vio_vq_get_many(vq, &u, 1))
		return NULL;
	*len = u.len;
	return u.token;
}

void vio_vq_quiet(struct vio_vq *vq)
{
	vq->ops->quiet(vq);
}

bool vio_vq_listen(struct vio_vq *vq)
{
	if (vq->broken)
		return false;
	vq->ops->listen(vq);
	return vio_vq_pending(vq);
}

void *vio_vq_detach(struct vio_vq *vq)
{
	unsigned i;

	for (i = 0; i < vq->size; i++) {
		void *token = vq->slot[i].token;

		if (vio_slot_more(&vq->slot[i]) == VIO_SLOT_FREE)
			continue;
		vq->slot[i].word = UINT64_MAX;
		vq->inflight--;
		if (vq->shown > vq->inflight)
			vq->shown = vq->inflight;
		if (vio_vq_is_shared(vq))
			token = vio_vq_shared_token(vq, token, 0);
		return token;
	}
	return NULL;
}
