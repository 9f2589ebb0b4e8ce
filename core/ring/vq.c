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
	return l->size * sizeof(struct vio_vq_slot) + VIO_VQ_LINE;
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
	if (!vq->slot)
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

	for (i = 0; i < vq->size; i++) {
		vq->slot[i].token = NULL;
		vq->slot[i].nr = 0;
		vq->slot[i].next = (uint16_t)(i + 1 < vq->size ? i + 1 : 0);
	}
	vq->free_head = 0;
	vq->nr_free = vq->size;
	vq->inflight = 0;
	vq->oldest = 0;
	vq->in_batch = false;
	vq->broken = false;
	vq->ops->reset(vq);
}

/* Checks what the standard asks of a buffer; gives the bytes to write. */
static int check_segs(const struct vio_seg *seg, unsigned nr_read,
		      unsigned nr, uint32_t *room)
{
	uint64_t total = 0, writable = 0;
	unsigned i;

	for (i = 0; i < nr; i++) {
		if (!seg[i].len || seg[i].len > UINT32_MAX)
			return VIO_E_INVAL;
		total += seg[i].len;
		if (i >= nr_read)
			writable += seg[i].len;
	}
	/* split.driver.virtqueue-descriptor-table.1: below 2^32 in all */
	if (total > UINT32_MAX)
		return VIO_E_INVAL;
	*room = (uint32_t)writable;
	return VIO_OK;
}

int vio_vq_add(struct vio_vq *vq, const struct vio_seg *seg,
	       unsigned nr_read, unsigned nr_write, void *token)
{
	unsigned nr = nr_read + nr_write, entries;
	uint32_t room;
	int err;

	if (vio_unlikely(vq->broken))
		return VIO_E_PEER;
	/* Also keeps nr from wrapping. */
	if (!token || !nr || nr_read > vq->size || nr_write > vq->size ||
	    nr > vq->size)
		return VIO_E_INVAL;
	err = check_segs(seg, nr_read, nr, &room);
	if (err)
		return err;
	entries = nr > 1 && nr <= vq->indirect_max ? 1 : nr;
	if (entries > vq->nr_free)
		return VIO_E_NOSPC;
	err = vq->ops->add(vq, seg, nr_read, nr, entries, token, room);
	if (err)
		return err;
	vq->nr_free = (uint16_t)(vq->nr_free - entries);
	vq->inflight++;
	vq->stats.added++;
	return VIO_OK;
}

bool vio_vq_publish(struct vio_vq *vq)
{
	bool kick;

	if (vq->avail_shown == vq->avail_next)
		return false;
	kick = vq->ops->publish(vq);
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

bool vio_vq_pending(struct vio_vq *vq)
{
	return !vq->broken && vq->inflight && vq->ops->pending(vq);
}

void *vio_vq_get(struct vio_vq *vq, uint32_t *len)
{
	if (vio_unlikely(!vio_vq_pending(vq)))
		return NULL;
	return vq->ops->get(vq, len);
}

void *vio_vq_take(struct vio_vq *vq, struct vio_vq_slot *slot, uint32_t len,
		  uint32_t *out)
{
	void *token = slot->token;

	if (vio_unlikely(len > slot->room)) {
		len = slot->room;
		vq->stats.clamped++;
	}
	*out = len;
	vq->nr_free = (uint16_t)(vq->nr_free + slot->nr);
	vq->inflight--;
	slot->token = NULL;
	slot->nr = 0;
	return token;
}

void *vio_vq_broken(struct vio_vq *vq)
{
	vq->broken = true;
	return NULL;
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

		if (!token)
			continue;
		vq->slot[i].token = NULL;
		vq->inflight--;
		if (vio_vq_is_shared(vq))
			token = vio_vq_shared_token(vq, token, 0);
		return token;
	}
	return NULL;
}
