/* SPDX-License-Identifier: MIT */
/*
 * look.c - an onlooker's view of a ring, of either layout. It changes nothing
 * and checks nothing for anybody; rings are worked at elsewhere.
 */
#include <vireo/look.h>
#include <vireo/spec/packed.h>

#include "core/mem/access.h"
#include "core/ring/ring.h"

static const struct pvirtq_desc *entry(const struct vio_ring_areas *a,
				       uint16_t pos)
{
	const struct pvirtq_desc *ring = a->desc;

	return &ring[pvirtq_off(pos, a->size)];
}

static bool is_available(const struct vio_ring_areas *a, uint16_t pos)
{
	uint16_t flags = vio_get16(&entry(a, pos)->flags);
	bool wrap = pvirtq_wrap(pos, a->size);

	return !!(flags & PVIRTQ_DESC_F_AVAIL) == wrap &&
	       !!(flags & PVIRTQ_DESC_F_USED) != wrap;
}

static enum vio_want event_want(const struct pvirtq_event_suppress *e,
				bool event_idx, uint16_t *at)
{
	uint16_t flags = vio_get16(&e->flags) & 3;

	*at = vio_get16(&e->desc);
	if (flags == RING_EVENT_FLAGS_DISABLE)
		return VIO_WANT_NONE;
	return flags == RING_EVENT_FLAGS_DESC && event_idx ? VIO_WANT_AT :
							     VIO_WANT_ALL;
}

static void look_packed(const struct vio_ring_areas *a, uint16_t pos,
			struct vio_ring_view *v)
{
	if (pos >= 2u * a->size)
		pos = 0;
	while (v->available < a->size && is_available(a, pos)) {
		v->available++;
		pos = pvirtq_add(pos, 1, a->size);
	}
	v->call = event_want(a->driver, a->event_idx, &v->call_at);
	v->kick = event_want(a->device, a->event_idx, &v->kick_at);
}

static void look_split(const struct vio_ring_areas *a, uint16_t avail_next,
		       struct vio_ring_view *v)
{
	const struct virtq_avail *avail = a->driver;
	const struct virtq_used *used = a->device;
	const vio_le16 *avail_ring = (const void *)(avail + 1);
	const struct virtq_used_elem *used_ring = (const void *)(used + 1);

	v->avail_idx = vio_get16(&avail->idx);
	v->used_idx = vio_get16(&used->idx);
	v->available = (uint16_t)(v->avail_idx - avail_next);
	v->overrun = v->available > a->size;
	if (a->event_idx) {
		v->call = v->kick = VIO_WANT_AT;
		v->call_at = vio_get16(&avail_ring[a->size]);
		v->kick_at = vio_get16((const void *)&used_ring[a->size]);
		return;
	}
	if (vio_get16(&avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT)
		v->call = VIO_WANT_NONE;
	if (vio_get16(&used->flags) & VIRTQ_USED_F_NO_NOTIFY)
		v->kick = VIO_WANT_NONE;
}

void vio_ring_look(const struct vio_ring_areas *a, uint16_t avail_next,
		   struct vio_ring_view *view)
{
	*view = (struct vio_ring_view){ 0 };
	if (a->packed)
		look_packed(a, avail_next, view);
	else
		look_split(a, avail_next, view);
}

bool vio_queue_look(const struct vio_queue *q, struct vio_ring_view *view)
{
	const struct vio_ring_areas a = {
		.desc = q->desc,
		.driver = q->driver_area,
		.device = q->device_area,
		.size = q->size,
		.packed = q->ring == vio_ring_layout(true),
		.event_idx = q->event_idx,
	};

	if (q->state == VIO_QUEUE_STOPPED)
		return false;
	vio_ring_look(&a, q->avail_next, view);
	return true;
}

bool vio_queue_uses(const struct vio_queue *q, const void *base, size_t len)
{
	uintptr_t at = (uintptr_t)base;
	unsigned left = q->inflight;

	for (uint32_t i = 0; i < q->size && left; i++) {
		const struct vio_req *req = vio_ring_slot(q, (uint16_t)i);

		if (req->state == VIO_REQ_FREE)
			continue;
		left--;
		if (vio_req_state(req) == VIO_REQ_DONE)
			continue;
		if (req->map != q->map)
			return true;
		for (unsigned j = 0; j < req->nr_read + req->nr_write; j++) {
			uintptr_t seg = (uintptr_t)req->seg[j].base;

			if (seg - at < len || at - seg < req->seg[j].len)
				return true;
		}
	}
	return false;
}

unsigned vio_queue_flights(const struct vio_queue *q, struct vio_flight *list,
			   unsigned max)
{
	unsigned n = 0, left = q->inflight;
	uint32_t i;

	for (i = 0; i < q->size && left && n < max; i++) {
		const struct vio_req *req = vio_ring_slot(q, (uint16_t)i);

		if (req->state == VIO_REQ_FREE)
			continue;
		left--;
		list[n++] = (struct vio_flight){
			.head = req->head,
			.since_ms = req->since_ms,
			.done = vio_req_state(req) == VIO_REQ_DONE,
			.replayed = vio_req_state(req) == VIO_REQ_REPLAYED,
		};
	}
	return n;
}
