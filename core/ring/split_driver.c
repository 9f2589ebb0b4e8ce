/* SPDX-License-Identifier: MIT */
/*
 * The driver's half of the split virtqueue (standard: 2.7). Everything that
 * decides anything is kept in private memory: descriptors are written and
 * never read back, free descriptors and chains are linked by the slots. Knows
 * no bus and no device type.
 */
#include <vireo/vq.h>

#include "core/mem/access.h"

#define LINE	64	/* bytes; areas of the ring share no cache line */

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
	return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

static bool limits_ok(const struct vio_vq_limits *l)
{
	return l->size && l->size <= VIRTQ_SIZE_MAX &&
	       !(l->size & (l->size - 1)) && l->indirect_max <= l->size;
}

static size_t table_bytes(const struct vio_vq_limits *l)
{
	return (size_t)l->size * l->indirect_max * sizeof(struct virtq_desc);
}

size_t vio_vq_shared_size(const struct vio_vq_limits *l)
{
	return round_line(virtq_desc_bytes(l->size)) +
	       round_line(virtq_avail_bytes(l->size)) +
	       round_line(virtq_used_bytes(l->size)) +
	       round_line(table_bytes(l)) + LINE;
}

size_t vio_vq_private_size(const struct vio_vq_limits *l)
{
	return l->size * sizeof(struct vio_vq_slot) + LINE;
}

/* The event words lie behind the rings. */
static vio_le16 *used_event(struct vio_vq *vq)
{
	return (vio_le16 *)(void *)(vq->avail + 1) + vq->size;
}

static vio_le16 *avail_event(struct vio_vq *vq)
{
	struct virtq_used_elem *ring = (void *)(vq->used + 1);

	return (vio_le16 *)(void *)(ring + vq->size);
}

static struct virtq_used_elem *used_elem(struct vio_vq *vq, uint16_t idx)
{
	struct virtq_used_elem *ring = (void *)(vq->used + 1);

	return &ring[idx & (vq->size - 1)];
}

static void avail_set(struct vio_vq *vq, uint16_t idx, uint16_t head)
{
	vio_le16 *ring = (void *)(vq->avail + 1);

	vio_put16(&ring[idx & (vq->size - 1)], head);
}

/* False where the bytes are not all in the window. */
static bool to_guest(const struct vio_window *w, const void *p, size_t len,
		     uint64_t *addr)
{
	uint64_t off = (uint64_t)((uintptr_t)p - (uintptr_t)w->host);

	if (off >= w->size || len > w->size - off)
		return false;
	*addr = w->addr.v + off;
	return true;
}

int vio_vq_init(struct vio_vq *vq, const struct vio_vq_limits *limits,
		const struct vio_features *features, struct vio_drv_mem *mem)
{
	struct vio_vq_limits l = *limits;
	struct vio_arena *s = &mem->shared;
	uint64_t desc, avail, used;

	if (!vio_has(features, VIRTIO_F_INDIRECT_DESC))
		l.indirect_max = 0;
	if (!limits_ok(&l))
		return VIO_E_INVAL;
	memset(vq, 0, sizeof(*vq));
	vq->desc = vio_arena_take(s, virtq_desc_bytes(l.size), LINE);
	vq->avail = vio_arena_take(s, virtq_avail_bytes(l.size), LINE);
	vq->used = vio_arena_take(s, virtq_used_bytes(l.size), LINE);
	vq->slot = vio_arena_take(&mem->priv, l.size * sizeof(*vq->slot),
				  _Alignof(struct vio_vq_slot));
	if (l.indirect_max)
		vq->table = vio_arena_take(s, table_bytes(&l), LINE);
	if (!vq->desc || !vq->avail || !vq->used || !vq->slot ||
	    (l.indirect_max && !vq->table))
		return VIO_E_NOSPC;
	vq->window = mem->window;
	if (!to_guest(&vq->window, vq->desc, virtq_desc_bytes(l.size),
		      &desc) ||
	    !to_guest(&vq->window, vq->avail, virtq_avail_bytes(l.size),
		      &avail) ||
	    !to_guest(&vq->window, vq->used, virtq_used_bytes(l.size), &used))
		return VIO_E_RANGE;
	vq->layout.size = l.size;
	vq->layout.desc = vio_addr_of(desc);
	vq->layout.driver = vio_addr_of(avail);
	vq->layout.device = vio_addr_of(used);
	vq->size = l.size;
	vq->indirect_max = l.indirect_max;
	vq->event_idx = vio_has(features, VIRTIO_F_EVENT_IDX);
	vq->in_order = vio_has(features, VIRTIO_F_IN_ORDER);
	vio_vq_reset(vq);
	return VIO_OK;
}

void vio_vq_reset(struct vio_vq *vq)
{
	unsigned i;

	memset(vq->desc, 0, virtq_desc_bytes(vq->size));
	memset(vq->avail, 0, virtq_avail_bytes(vq->size));
	memset(vq->used, 0, virtq_used_bytes(vq->size));
	for (i = 0; i < vq->size; i++) {
		vq->slot[i].token = NULL;
		vq->slot[i].nr = 0;
		vq->slot[i].next = (i + 1) & (vq->size - 1);
	}
	vq->free_head = 0;
	vq->nr_free = vq->size;
	vq->avail_next = vq->avail_shown = 0;
	vq->used_next = vq->used_seen = 0;
	vq->oldest = 0;
	vq->in_batch = false;
	vq->broken = false;
}

static void put_desc(struct virtq_desc *d, uint64_t addr, size_t len,
		     uint16_t flags, uint16_t next)
{
	struct virtq_desc v = {
		vio_to_le64(addr), vio_to_le32((uint32_t)len),
		vio_to_le16(flags), vio_to_le16(next),
	};

	*d = v;
}

/*
 * The segments as an indirect table, entry after entry
 * (split.driver.indirect-descriptors.5: in order, sequential indices).
 */
static int fill_table(struct vio_vq *vq, struct virtq_desc *table,
		      const struct vio_seg *seg, unsigned nr_read, unsigned nr)
{
	uint64_t addr;
	unsigned i;

	for (i = 0; i < nr; i++) {
		uint16_t flags = i >= nr_read ? VIRTQ_DESC_F_WRITE : 0;

		if (!to_guest(&vq->window, seg[i].base, seg[i].len, &addr))
			return VIO_E_RANGE;
		if (i + 1 < nr)
			flags |= VIRTQ_DESC_F_NEXT;
		put_desc(&table[i], addr, seg[i].len, flags,
			 flags & VIRTQ_DESC_F_NEXT ? (uint16_t)(i + 1) : 0);
	}
	return VIO_OK;
}

static int add_indirect(struct vio_vq *vq, const struct vio_seg *seg,
			unsigned nr_read, unsigned nr)
{
	uint16_t head = vq->free_head;
	struct virtq_desc *table = vq->table + (size_t)head * vq->indirect_max;
	size_t len = nr * sizeof(*table);
	uint64_t addr;
	int err;

	err = fill_table(vq, table, seg, nr_read, nr);
	if (err)
		return err;
	if (!to_guest(&vq->window, table, len, &addr))
		return VIO_E_RANGE;
	put_desc(&vq->desc[head], addr, len, VIRTQ_DESC_F_INDIRECT, 0);
	return VIO_OK;
}

/*
 * The segments as a chain of free descriptors. In order, these follow each
 * other around the table, because they are freed in the order of their use.
 */
static int add_direct(struct vio_vq *vq, const struct vio_seg *seg,
		      unsigned nr_read, unsigned nr)
{
	uint16_t at = vq->free_head;
	uint64_t addr;
	unsigned i;

	for (i = 0; i < nr; i++) {
		uint16_t next = vq->slot[at].next;
		uint16_t flags = i >= nr_read ? VIRTQ_DESC_F_WRITE : 0;

		if (!to_guest(&vq->window, seg[i].base, seg[i].len, &addr))
			return VIO_E_RANGE;
		if (i + 1 < nr)
			flags |= VIRTQ_DESC_F_NEXT;
		put_desc(&vq->desc[at], addr, seg[i].len, flags,
			 flags & VIRTQ_DESC_F_NEXT ? next : 0);
		at = next;
	}
	return VIO_OK;
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

/* @nr descriptors from free_head on now belong to a chain. */
static void take_free(struct vio_vq *vq, unsigned nr)
{
	uint16_t at = vq->free_head;
	unsigned i;

	for (i = 0; i < nr; i++)
		at = vq->slot[at].next;
	vq->free_head = at;
	vq->nr_free = (uint16_t)(vq->nr_free - nr);
}

int vio_vq_add(struct vio_vq *vq, const struct vio_seg *seg,
	       unsigned nr_read, unsigned nr_write, void *token)
{
	unsigned nr = nr_read + nr_write, used;
	struct vio_vq_slot *slot;
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
	used = nr > 1 && nr <= vq->indirect_max ? 1 : nr;
	if (used > vq->nr_free)
		return VIO_E_NOSPC;
	if (used == nr)
		err = add_direct(vq, seg, nr_read, nr);
	else
		err = add_indirect(vq, seg, nr_read, nr);
	if (err)
		return err;
	slot = &vq->slot[vq->free_head];
	slot->token = token;
	slot->room = room;
	slot->nr = (uint16_t)used;
	avail_set(vq, vq->avail_next, vq->free_head);
	vq->avail_next++;
	take_free(vq, used);
	vq->stats.added++;
	return VIO_OK;
}

bool vio_vq_publish(struct vio_vq *vq)
{
	uint16_t old = vq->avail_shown, new_idx = vq->avail_next;
	bool kick;

	if (old == new_idx)
		return false;
	vq->avail_shown = new_idx;
	/* pairs with [A]: the device reads idx, then the entries */
	vio_store_release16(&vq->avail->idx, new_idx);
	/* pairs with [D]: idx is out before we look for a kick */
	vio_mb();
	if (vq->event_idx)
		kick = virtq_need_event(vio_get16(avail_event(vq)), new_idx,
					old);
	else
		kick = !(vio_get16(&vq->used->flags) & VIRTQ_USED_F_NO_NOTIFY);
	if (kick)
		vq->stats.kicks++;
	else
		vq->stats.quiet++;
	return kick;
}

/*
 * Look how far the device is. It cannot have used more than it was shown:
 * anything else is a lie, and the queue cannot be believed any more.
 */
static bool refresh(struct vio_vq *vq)
{
	/* pairs with [B]: the device fills entries, then idx */
	uint16_t idx = vio_get16_acquire(&vq->used->idx);

	if (vio_unlikely((uint16_t)(idx - vq->used_next) >
			 (uint16_t)(vq->avail_shown - vq->used_next))) {
		vq->broken = true;
		return false;
	}
	vq->used_seen = idx;
	return idx != vq->used_next;
}

bool vio_vq_pending(struct vio_vq *vq)
{
	if (vq->broken)
		return false;
	return vq->used_seen != vq->used_next || refresh(vq);
}

/* The chain's descriptors are free again. */
static void release(struct vio_vq *vq, uint16_t head)
{
	struct vio_vq_slot *slot = &vq->slot[head];
	uint16_t last = head;
	unsigned i;

	vq->nr_free = (uint16_t)(vq->nr_free + slot->nr);
	if (!vq->in_order) {
		for (i = 1; i < slot->nr; i++)
			last = vq->slot[last].next;
		vq->slot[last].next = vq->free_head;
		vq->free_head = head;
	}
	slot->nr = 0;
}

static void *take(struct vio_vq *vq, uint16_t head, uint32_t len,
		  uint32_t *out)
{
	struct vio_vq_slot *slot = &vq->slot[head];
	void *token = slot->token;

	if (vio_unlikely(len > slot->room)) {
		len = slot->room;
		vq->stats.clamped++;
	}
	*out = len;
	slot->token = NULL;
	release(vq, head);
	vq->used_next++;
	return token;
}

static void *broken(struct vio_vq *vq)
{
	vq->broken = true;
	return NULL;
}

/* The next used entry, copied; false if it names no chain of ours. */
static bool read_used(struct vio_vq *vq, uint16_t *head, uint32_t *len)
{
	struct virtq_used_elem e;
	uint32_t id;

	vio_copy_in(&e, used_elem(vq, vq->used_next), sizeof(e));
	id = vio_from_le32(e.id);
	*len = vio_from_le32(e.len);
	*head = (uint16_t)id;
	return id < vq->size && vq->slot[id].nr;
}

/*
 * In order, one entry may end a batch: its id is the batch's last, and those
 * before it are taken as used completely (standard: 2.7.9).
 */
static void *get_in_order(struct vio_vq *vq, uint32_t *len)
{
	uint16_t head = vq->oldest;
	bool last;

	if (!vq->in_batch) {
		if (!read_used(vq, &vq->batch_last, &vq->batch_len))
			return broken(vq);
		vq->in_batch = true;
	}
	/* Either the id was no head in use, or lies beyond the index. */
	if (!vq->slot[head].nr)
		return broken(vq);
	last = head == vq->batch_last;
	if (!last && (uint16_t)(vq->used_seen - vq->used_next) == 1)
		return broken(vq);
	vq->oldest = (uint16_t)(head + vq->slot[head].nr) & (vq->size - 1);
	vq->in_batch = !last;
	return take(vq, head, last ? vq->batch_len : vq->slot[head].room, len);
}

void *vio_vq_get(struct vio_vq *vq, uint32_t *len)
{
	uint16_t head;

	if (vio_unlikely(!vio_vq_pending(vq)))
		return NULL;
	if (vq->in_order)
		return get_in_order(vq, len);
	if (vio_unlikely(!read_used(vq, &head, len)))
		return broken(vq);
	return take(vq, head, *len, len);
}

void vio_vq_quiet(struct vio_vq *vq)
{
	/* With event indices the flag must stay 0; a passed event is quiet
	 * (split.driver.used-buffer-notification-suppression.3). */
	if (vq->event_idx)
		vio_put16(used_event(vq), (uint16_t)(vq->used_next - 1));
	else
		vio_put16(&vq->avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
}

bool vio_vq_listen(struct vio_vq *vq)
{
	if (vq->broken)
		return false;
	if (vq->event_idx)
		vio_put16(used_event(vq), vq->used_next);
	else
		vio_put16(&vq->avail->flags, 0);
	/* pairs with [C]: the wish is out before we look again */
	vio_mb();
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
		return token;
	}
	return NULL;
}
