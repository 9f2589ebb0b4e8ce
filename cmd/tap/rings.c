/* SPDX-License-Identifier: MIT */
/*
 * What happens in rings, by looking at them: at each kick, each call, and now
 * and then. Nothing is written; what the guest writes is read once, checked
 * against the ring's size, and believed no further.
 */
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#include "host/clock.h"

#define STATE_NS	(100 * NS_PER_MS)
#define CHAIN_MAX	4096u	/* descriptors of a chain that are counted */

static uint16_t load16(const vio_le16 *p)
{
	vio_le16 v = { __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE) };

	return vio_from_le16(v);
}

static bool has(const struct tap *t, unsigned bit)
{
	return t->features >> bit & 1;
}

/* -- what is pending ------------------------------------------------------ */

static struct tap_event *ring_event(uint8_t kind, uint16_t queue)
{
	static struct tap_event e;

	e.kind = kind;
	e.queue = queue;
	e.from_back = kind == TAP_USED || kind == TAP_CALL;
	e.back_channel = false;
	return &e;
}

static void now_available(struct tap *t, uint16_t queue,
			  struct tap_event *e)
{
	struct ring_watch *w = &t->ring[queue];
	uint32_t head = e->head;

	e->position = w->avail_pos;
	if (head < w->areas.size) {
		if (!w->since[head])
			w->pending++;
		w->since[head] = tap_now();
		w->order[w->order_in++ % w->areas.size] = (uint16_t)head;
	}
	tap_tell(t, e);
}

static void now_used(struct tap *t, uint16_t queue, uint32_t head,
		     uint32_t len)
{
	struct ring_watch *w = &t->ring[queue];
	struct tap_event *e = ring_event(TAP_USED, queue);

	e->head = head;
	e->used_len = len;
	e->position = w->used_pos;
	e->age_ns = 0;
	if (head < w->areas.size && w->since[head]) {
		e->age_ns = tap_now() - w->since[head];
		w->since[head] = 0;
		w->pending--;
	} else {
		w->missed++;
	}
	tap_tell(t, e);
}

/* -- split ---------------------------------------------------------------- */

static void add_desc(struct tap_event *e, uint32_t len, bool writable)
{
	if (writable)
		e->write_len += len;
	else
		e->read_len += len;
	e->descriptors++;
}

/* The table of an indirect descriptor, either layout: 16 bytes an entry. */
static const void *indirect(const struct tap *t, uint64_t addr, uint32_t len,
			    uint32_t *nr)
{
	*nr = len / 16 < CHAIN_MAX ? len / 16 : CHAIN_MAX;
	if (has(t, VIRTIO_F_ACCESS_PLATFORM))
		return *nr ? iotlb_at(t, addr, *nr * 16ull) : NULL;
	return memory_at_guest(t, addr, *nr * 16ull);
}

static void walk_split(const struct tap *t, const struct ring_watch *w,
		       struct tap_event *e)
{
	const struct virtq_desc *table = w->areas.desc;
	uint32_t entries = w->areas.size, left = CHAIN_MAX, i = e->head;

	e->descriptors = e->read_len = e->write_len = 0;
	while (i < entries && left--) {
		struct virtq_desc d = table[i];
		uint16_t flags = vio_from_le16(d.flags);

		if (flags & VIRTQ_DESC_F_INDIRECT) {
			table = indirect(t, vio_from_le64(d.addr),
					 vio_from_le32(d.len), &entries);
			i = 0;
			if (!table)
				return;
			continue;
		}
		add_desc(e, vio_from_le32(d.len),
			 flags & VIRTQ_DESC_F_WRITE);
		if (!(flags & VIRTQ_DESC_F_NEXT))
			return;
		i = vio_from_le16(d.next);
	}
}

static void look_split_avail(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];
	const struct virtq_avail *a = w->areas.driver;
	const vio_le16 *ring = (const void *)(a + 1);
	uint16_t idx = load16(&a->idx);

	if ((uint16_t)(idx - w->avail_pos) > w->areas.size) {
		tap_note(t, queue, "the available index jumped from %u to %u",
			 w->avail_pos, idx);
		w->avail_pos = idx;
	}
	for (; w->avail_pos != idx; w->avail_pos++) {
		struct tap_event *e = ring_event(TAP_AVAIL, queue);

		e->head = load16(&ring[w->avail_pos % w->areas.size]);
		walk_split(t, w, e);
		now_available(t, queue, e);
	}
}

/* In order, the last one of a batch stands for those before it. */
static void used_in_order(struct tap *t, uint16_t queue, uint32_t len)
{
	struct ring_watch *w = &t->ring[queue];
	uint16_t head = w->order[w->order_out % w->areas.size];

	if (w->order_out == w->order_in)
		return;
	w->order_out++;
	now_used(t, queue, head, len);
}

static void look_split_used(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];
	const struct virtq_used *u = w->areas.device;
	const struct virtq_used_elem *ring = (const void *)(u + 1);
	uint16_t idx = load16(&u->idx);

	if ((uint16_t)(idx - w->used_pos) > w->areas.size) {
		tap_note(t, queue, "the used index jumped from %u to %u",
			 w->used_pos, idx);
		w->used_pos = idx;
	}
	for (; w->used_pos != idx; w->used_pos++) {
		struct virtq_used_elem e =
			ring[w->used_pos % w->areas.size];

		if (has(t, VIRTIO_F_IN_ORDER))
			used_in_order(t, queue, vio_from_le32(e.len));
		else
			now_used(t, queue, vio_from_le32(e.id),
				 vio_from_le32(e.len));
	}
}

/* -- packed --------------------------------------------------------------- */

enum { ENTRY_OTHER, ENTRY_AVAILABLE, ENTRY_USED };

static int packed_entry(const struct ring_watch *w, uint16_t pos,
			struct pvirtq_desc *d)
{
	const struct pvirtq_desc *ring = w->areas.desc;
	const struct pvirtq_desc *at = &ring[pvirtq_off(pos, w->areas.size)];
	bool wrap = pvirtq_wrap(pos, w->areas.size);
	uint16_t flags = load16(&at->flags);
	bool avail = flags & PVIRTQ_DESC_F_AVAIL;
	bool used = flags & PVIRTQ_DESC_F_USED;

	*d = *at;
	d->flags = vio_to_le16(flags);
	if (avail != wrap)
		return ENTRY_OTHER;
	return used == wrap ? ENTRY_USED : ENTRY_AVAILABLE;
}

/* Entries of the list that begins at @pos; 0: it is not all there. */
static uint16_t walk_packed(const struct tap *t, const struct ring_watch *w,
			    uint16_t pos, struct tap_event *e)
{
	struct pvirtq_desc d;
	uint16_t n = 0;

	e->descriptors = e->read_len = e->write_len = 0;
	do {
		const struct pvirtq_desc *table;
		uint32_t nr, i;

		if (n == w->areas.size ||
		    packed_entry(w, pos, &d) != ENTRY_AVAILABLE)
			return 0;
		n++;
		pos = pvirtq_add(pos, 1, w->areas.size);
		if (!(vio_from_le16(d.flags) & PVIRTQ_DESC_F_INDIRECT)) {
			add_desc(e, vio_from_le32(d.len),
				 vio_from_le16(d.flags) &
				 PVIRTQ_DESC_F_WRITE);
			continue;
		}
		table = indirect(t, vio_from_le64(d.addr),
				 vio_from_le32(d.len), &nr);
		for (i = 0; table && i < nr; i++)
			add_desc(e, vio_from_le32(table[i].len),
				 vio_from_le16(table[i].flags) &
				 PVIRTQ_DESC_F_WRITE);
	} while (vio_from_le16(d.flags) & PVIRTQ_DESC_F_NEXT);
	e->head = vio_from_le16(d.id);
	return n;
}

static void look_packed_avail(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];
	unsigned bound = w->areas.size;
	uint16_t n;

	while (bound--) {
		struct tap_event *e = ring_event(TAP_AVAIL, queue);

		n = walk_packed(t, w, w->avail_pos, e);
		if (!n)
			return;
		if (e->head < w->areas.size)
			w->entries[e->head] = n;
		now_available(t, queue, e);
		w->avail_pos = pvirtq_add(w->avail_pos, n, w->areas.size);
	}
}

/* A buffer that came and went unseen: how many entries did it take? */
static uint16_t unseen_entries(const struct tap *t, const struct ring_watch *w,
			       uint32_t id)
{
	struct tap_event e;
	uint16_t next = pvirtq_add(w->used_pos, 1, w->areas.size), n;

	/* Of a list, all but the first entry are left as they were. */
	n = walk_packed(t, w, next, &e);
	return n && e.head == id ? (uint16_t)(n + 1) : 1;
}

static uint16_t packed_used_one(struct tap *t, uint16_t queue, uint32_t id,
				uint32_t len)
{
	struct ring_watch *w = &t->ring[queue];
	uint16_t n;

	if (id < w->areas.size && w->since[id])
		n = w->entries[id];
	else
		n = unseen_entries(t, w, id);
	now_used(t, queue, id, len);
	w->used_pos = pvirtq_add(w->used_pos, n, w->areas.size);
	return n;
}

static void look_packed_used(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];
	unsigned bound = w->areas.size;
	bool in_order = has(t, VIRTIO_F_IN_ORDER);
	struct pvirtq_desc d;

	while (bound-- && packed_entry(w, w->used_pos, &d) == ENTRY_USED) {
		uint32_t id = vio_from_le16(d.id), len = vio_from_le32(d.len);

		/* Unseen before: the driver's position is behind as well. */
		bool behind = w->avail_pos == w->used_pos;

		while (in_order && w->order_out != w->order_in) {
			uint16_t old = w->order[w->order_out++ %
						w->areas.size];

			if (old == id)
				break;
			packed_used_one(t, queue, old, 0);
		}
		packed_used_one(t, queue, id, len);
		if (behind)
			w->avail_pos = w->used_pos;
	}
}

/* -- watching ------------------------------------------------------------- */

void rings_look(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];

	if (!w->watched || w->blind)
		return;
	if (w->areas.packed) {
		look_packed_avail(t, queue);
		look_packed_used(t, queue);
	} else {
		look_split_avail(t, queue);
		look_split_used(t, queue);
	}
}

static void stop(struct ring_watch *w)
{
	if (!w->watched)
		return;
	w->watched = w->blind = false;
	free(w->since);
	free(w->entries);
	free(w->order);
	w->since = NULL;
	w->entries = w->order = NULL;
}

struct sizes {
	uint64_t desc, driver, device;
};

static struct sizes sizes_of(const struct tap *t, const struct ring_watch *w)
{
	uint64_t extra = has(t, VIRTIO_F_EVENT_IDX) ? 2 : 0;
	struct sizes n = { 16ull * w->num, 4 + 2ull * w->num + extra,
			   4 + 8ull * w->num + extra };

	if (has(t, VIRTIO_F_RING_PACKED))
		n.driver = n.device = sizeof(struct pvirtq_event_suppress);
	return n;
}

static bool overlap(uint64_t at, uint64_t len, uint64_t first, uint64_t last)
{
	return first - at < len || (at >= first && at <= last);
}

bool rings_lie_in(const struct tap *t, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < TAP_QUEUES; i++) {
		const struct ring_watch *w = &t->ring[i];
		struct sizes n = sizes_of(t, w);

		if (w->have_addr && w->num &&
		    (overlap(w->addr.desc, n.desc, first, last) ||
		     overlap(w->addr.avail, n.driver, first, last) ||
		     overlap(w->addr.used, n.device, first, last)))
			return true;
	}
	return false;
}

static bool find_areas(const struct tap *t, const struct ring_watch *w,
		       struct vio_ring_areas *a)
{
	struct sizes n = sizes_of(t, w);
	const void *(*at)(const struct tap *, uint64_t, uint64_t) =
		memory_at_user;

	if (has(t, VIRTIO_F_ACCESS_PLATFORM))
		at = iotlb_at;
	else if (t->protocol & VHU_PF(GPA_ADDRESSES))
		at = memory_at_guest;
	a->size = (uint16_t)w->num;
	a->packed = has(t, VIRTIO_F_RING_PACKED);
	a->event_idx = has(t, VIRTIO_F_EVENT_IDX);
	a->desc = at(t, w->addr.desc, n.desc);
	a->driver = at(t, w->addr.avail, n.driver);
	a->device = at(t, w->addr.used, n.device);
	return a->desc && a->driver && a->device &&
		(uintptr_t)a->desc % 16 == 0 && (uintptr_t)a->driver % 2 == 0 &&
		(uintptr_t)a->device % 4 == 0;
}

static void begin_at(struct ring_watch *w)
{
	const struct virtq_used *used = w->areas.device;
	const struct pvirtq_desc *first = w->areas.desc;

	if (!w->areas.packed) {
		/* What is not used yet is pending, taken or not. */
		w->avail_pos = w->used_pos = load16(&used->idx);
		return;
	}
	/* Some front ends give a new packed ring the base 0. */
	if (!pvirtq_unpack((uint16_t)w->base, w->areas.size, &w->avail_pos) ||
	    (!(w->base & 0xffff) &&
	     !(load16(&first->flags) & PVIRTQ_DESC_F_USED)))
		w->avail_pos = 0;
	w->used_pos = w->avail_pos;
	if (w->base >> 16)
		pvirtq_unpack((uint16_t)(w->base >> 16), w->areas.size,
			      &w->used_pos);
	w->avail_pos = w->used_pos;
}

static void try_watch(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];

	if (w->watched || !w->kicked_off || !w->have_addr || !w->num ||
	    w->num > VIRTQ_SIZE_MAX || !find_areas(t, w, &w->areas))
		return;
	w->since = calloc(w->num, sizeof(*w->since));
	w->entries = calloc(w->num, sizeof(*w->entries));
	w->order = calloc(w->num, sizeof(*w->order));
	w->watched = true;
	if (!w->since || !w->entries || !w->order) {
		stop(w);
		return;
	}
	w->order_in = w->order_out = 0;
	w->pending = 0;
	w->missed = 0;
	w->kick_seen = w->call_seen = false;
	w->grade = RING_FINE;
	begin_at(w);
	w->avail_at_kick = w->avail_pos;
	w->used_at_call = w->used_pos;
	rings_look(t, queue);
}

void rings_again(struct tap *t)
{
	for (unsigned i = 0; i < TAP_QUEUES; i++) {
		struct ring_watch *w = &t->ring[i];

		/* The same ring in other places, or none at all. An IOMMU
		 * takes it away for a while. */
		if (w->watched)
			w->blind = !find_areas(t, w, &w->areas);
		if (w->blind && !has(t, VIRTIO_F_ACCESS_PLATFORM))
			stop(w);
		try_watch(t, (uint16_t)i);
	}
}

void rings_drop(struct tap *t)
{
	for (unsigned i = 0; i < TAP_QUEUES; i++) {
		/* What was used last: the front end may have seen it before
		 * its call came here. Of lost memory nothing is left. */
		if (!atomic_load(&t->lost))
			rings_look(t, (uint16_t)i);
		if (t->ring[i].missed)
			tap_note(t, (uint16_t)i, "%llu buffers came and went between two looks",
				 (unsigned long long)t->ring[i].missed);
		stop(&t->ring[i]);
		memset(&t->ring[i], 0, sizeof(t->ring[i]));
	}
}

static void on_kick_told(struct tap *t, const struct vhu_msg *msg)
{
	unsigned queue = msg->p.u64 & VHU_VRING_IDX_MASK;

	t->ring[queue].kicked_off = true;
	/* Without protocol features a ring is enabled as it starts. */
	if (!has(t, VHOST_USER_F_PROTOCOL_FEATURES))
		t->ring[queue].enabled = true;
	try_watch(t, (uint16_t)queue);
}

/* When all rings are stopped, QEMU tells of no change. */
static void forget_addresses(struct tap *t)
{
	for (unsigned i = 0; i < TAP_QUEUES; i++)
		if (t->ring[i].kicked_off)
			return;
	iotlb_drop(t);
}

static void on_state(struct tap *t, const struct vhu_msg *msg)
{
	uint32_t queue = msg->p.state.index, num = msg->p.state.num;
	struct ring_watch *w = &t->ring[queue % TAP_QUEUES];

	if (queue >= TAP_QUEUES)
		return;
	switch (msg->hdr.request) {
	case VHOST_USER_SET_VRING_NUM:
		w->num = num;
		break;
	case VHOST_USER_SET_VRING_BASE:
		w->base = num;
		break;
	case VHOST_USER_SET_VRING_ENABLE:
		w->enabled = num;
		break;
	case VHOST_USER_VRING_KICK:
		w->kicked_off = true;
		try_watch(t, (uint16_t)queue);
		rings_kick(t, (uint16_t)queue);
		break;
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE_SKIP_DRAIN:
		/* With the answer it has stopped. */
		if (!(msg->hdr.flags & VHU_REPLY))
			break;
		rings_look(t, (uint16_t)queue);
		stop(w);
		w->base = num;
		w->kicked_off = false;
		forget_addresses(t);
		break;
	default:
		break;
	}
}

void rings_message(struct tap *t, const struct vhu_msg *msg)
{
	const struct vhu_vring_addr *a = &msg->p.addr;

	if (msg->hdr.request == VHOST_USER_SET_VRING_KICK) {
		if (msg->hdr.size == sizeof(msg->p.u64))
			on_kick_told(t, msg);
	} else if (msg->hdr.request == VHOST_USER_SET_VRING_ADDR) {
		if (msg->hdr.size < sizeof(*a) || a->index >= TAP_QUEUES)
			return;
		t->ring[a->index].addr = *a;
		t->ring[a->index].have_addr = true;
	} else if (msg->hdr.size == sizeof(msg->p.state)) {
		on_state(t, msg);
	}
}

void rings_kick(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];

	rings_look(t, queue);
	w->kick_seen = true;
	w->avail_at_kick = w->avail_pos;
	tap_tell(t, ring_event(TAP_KICK, queue));
}

void rings_call(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];

	rings_look(t, queue);
	w->call_seen = true;
	w->used_at_call = w->used_pos;
	tap_tell(t, ring_event(TAP_CALL, queue));
}

/* -- states --------------------------------------------------------------- */

static enum ring_way way(const struct tap *t, const struct signal_path *s)
{
	if (s->from.fd >= 0)
		return RING_WAY_FD;
	return t->protocol & VHU_PF(INBAND_NOTIFICATIONS) ?
		RING_WAY_MESSAGE : RING_WAY_NONE;
}

static void oldest(const struct ring_watch *w, struct ring_state *s)
{
	uint64_t now = tap_now(), first = UINT64_MAX;

	for (uint32_t i = 0; i < w->areas.size; i++)
		if (w->since[i] && w->since[i] < first) {
			first = w->since[i];
			s->oldest_head = (uint16_t)i;
		}
	if (first != UINT64_MAX && now > first)
		s->oldest_ms = (uint32_t)((now - first) / NS_PER_MS);
}

static void state_of(const struct tap *t, uint16_t queue, struct ring_state *s)
{
	const struct ring_watch *w = &t->ring[queue];
	struct vio_ring_view v;

	memset(s, 0, sizeof(*s));
	vio_ring_look(&w->areas, w->avail_pos, &v);
	s->connected = s->configured = s->started = true;
	s->enabled = w->enabled;
	s->packed = w->areas.packed;
	s->event_idx = w->areas.event_idx;
	s->size = w->areas.size;
	s->kick = way(t, &t->kick[queue]);
	s->call = way(t, &t->call[queue]);
	s->want_kick = v.kick;
	s->want_call = v.call;
	s->kick_at = v.kick_at;
	s->call_at = v.call_at;
	s->avail_idx = v.avail_idx;
	s->overrun = v.overrun;
	s->untaken = -1;
	s->pending = w->pending;
	oldest(w, s);
	s->sees_signals = true;
	s->kicked = w->kick_seen;
	s->called = w->call_seen;
	s->avail_at_kick = w->avail_at_kick;
	s->used_at_call = w->used_at_call;
	s->avail_now = w->avail_pos;
	s->used_now = w->used_pos;
	s->used_more = w->used_pos != w->used_at_call;
}

static bool differs(const struct ring_state *a, const struct ring_state *b)
{
	struct ring_state x = *a, y = *b;

	/* That time goes on is no news. */
	x.oldest_ms = y.oldest_ms = 0;
	return memcmp(&x, &y, sizeof(x));
}

static void tell_state(struct tap *t, uint16_t queue)
{
	struct ring_watch *w = &t->ring[queue];
	struct tap_event *e = ring_event(TAP_STATE, queue);
	enum ring_grade grade;
	char why[200];

	state_of(t, queue, &e->state);
	grade = ring_diagnose(&e->state, t->stuck_ms, why, sizeof(why));
	/* A call on its way is not a missing one. */
	if (grade == RING_STUCK && differs(&e->state, &w->told))
		grade = w->grade;
	if (differs(&e->state, &w->told) || grade != w->grade) {
		w->told = e->state;
		tap_tell(t, e);
	}
	if (grade != w->grade)
		tap_note(t, queue, "%s%s", grade == RING_STUCK ? "STUCK: " :
			 grade == RING_WAITS ? "waits: " : "gets on: ", why);
	w->grade = grade;
}

void rings_tick(struct tap *t)
{
	uint64_t now = tap_now();
	bool states = now - t->state_ns >= STATE_NS;

	for (unsigned i = 0; i < TAP_QUEUES; i++) {
		if (!t->ring[i].watched || t->ring[i].blind)
			continue;
		rings_look(t, (uint16_t)i);
		if (states)
			tell_state(t, (uint16_t)i);
	}
	if (states) {
		t->state_ns = now;
		if (t->out)
			fflush(t->out);
	}
}
