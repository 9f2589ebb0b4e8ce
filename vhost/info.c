/* SPDX-License-Identifier: MIT */
/*
 * vhost/info.c - what a back end can say about its session and its rings, for
 * people and their tools. It changes nothing.
 */
#include "server.h"

#include <string.h>

void vhu_server_info(const struct vhu_server *s, struct vhu_info *info)
{
	info->connected = s->sock.fd >= 0;
	info->features = s->features;
	info->protocol_features = s->protocol;
	info->mem_regions = vhu_map_regions(s->map);
	info->rings_started = 0;
	for (unsigned i = 0; i < s->nr_rings; i++)
		info->rings_started += vhu_ring_started(&s->ring[i]);
}

static enum vhu_signal kick_of(const struct vhu_ring *r)
{
	if (r->kick_fd >= 0)
		return VHU_SIGNAL_FD;
	if (r->poll)
		return VHU_SIGNAL_POLL;
	if (r->s->protocol & VHU_PF(INBAND_NOTIFICATIONS))
		return VHU_SIGNAL_MESSAGE;
	return VHU_SIGNAL_NONE;
}

static enum vhu_signal call_of(const struct vhu_ring *r)
{
	if (r->call_fd >= 0)
		return VHU_SIGNAL_FD;
	return r->s->back_call ? VHU_SIGNAL_MESSAGE : VHU_SIGNAL_NONE;
}

/* Control thread waits meanwhile, so its own fields may be read as well. */
static int look(struct vhu_ring *r, void *arg)
{
	const struct vio_queue *q = vhu_ring_queue(r);
	struct vhu_ring_info *to = arg;

	to->size = r->num;
	to->kick = kick_of(r);
	to->call = call_of(r);
	to->started = vhu_ring_started(r);
	to->enabled = r->state == VHU_RING_RUNNING ||
		      r->state == VHU_RING_STOPPED_ON;
	to->configured = r->num && r->have_addr;
	to->broken = q->state == VIO_QUEUE_BROKEN;
	to->event_idx = q->event_idx;
	to->in_order = q->in_order;
	to->avail_base = vio_queue_avail_base(q);
	to->used_base = vio_queue_used_base(q);
	to->now_ms = q->now_ms;
	to->stats = q->stats;
	to->inflight = q->inflight;
	to->visible = vio_queue_look(q, &to->view);
	to->nr_flights = vio_queue_flights(q, to->flight,
					   VIO_ARRAY_LEN(to->flight));
	return 0;
}

bool vhu_queue_info(struct vhu_server *s, unsigned queue,
		    struct vhu_ring_info *info)
{
	memset(info, 0, sizeof(*info));
	if (queue >= s->nr_rings)
		return false;
	vhu_on_queue(&s->ring[queue], look, info);
	return true;
}
