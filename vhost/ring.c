/* SPDX-License-Identifier: MIT */
/*
 * vhost/ring.c - the states of rings, and the messages that change them. A
 * ring's queue is touched on the queue's own thread alone, through
 * vhu_on_queue(). It knows no ring layout beyond the sizes of its three areas
 * and one bit by which a new packed ring is told from one that went round.
 */
#include "server.h"

#include <errno.h>
#include <unistd.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/virtio.h>
#include <vireo/track.h>

/*
 * The protocol's ring states. It says that a ring is started by a kick; a
 * kick may have been lost, though (the back end was not there), and looking
 * into a ring costs nothing, so that a ring is started as soon as we know
 * where kicks will come from, and looked into at once.
 */
static const uint8_t next_state[4][4] = {
	[VHU_RING_STOPPED] = {
		[VHU_EV_START] = VHU_RING_DISABLED,
		[VHU_EV_STOP] = VHU_RING_STOPPED,
		[VHU_EV_ENABLE] = VHU_RING_STOPPED_ON,
		[VHU_EV_DISABLE] = VHU_RING_STOPPED,
	},
	[VHU_RING_STOPPED_ON] = {
		[VHU_EV_START] = VHU_RING_RUNNING,
		[VHU_EV_STOP] = VHU_RING_STOPPED_ON,
		[VHU_EV_ENABLE] = VHU_RING_STOPPED_ON,
		[VHU_EV_DISABLE] = VHU_RING_STOPPED,
	},
	[VHU_RING_DISABLED] = {
		[VHU_EV_START] = VHU_RING_DISABLED,
		[VHU_EV_STOP] = VHU_RING_STOPPED,
		[VHU_EV_ENABLE] = VHU_RING_RUNNING,
		[VHU_EV_DISABLE] = VHU_RING_DISABLED,
	},
	[VHU_RING_RUNNING] = {
		[VHU_EV_START] = VHU_RING_RUNNING,
		[VHU_EV_STOP] = VHU_RING_STOPPED_ON,
		[VHU_EV_ENABLE] = VHU_RING_RUNNING,
		[VHU_EV_DISABLE] = VHU_RING_DISABLED,
	},
};

enum vhu_ring_state vhu_ring_next(enum vhu_ring_state state,
				  enum vhu_ring_event ev)
{
	return next_state[state][ev];
}

static bool is_started(uint8_t state)
{
	return state == VHU_RING_DISABLED || state == VHU_RING_RUNNING;
}

bool vhu_ring_started(const struct vhu_ring *r)
{
	return is_started(r->state);
}

struct vio_queue *vhu_ring_queue(const struct vhu_ring *r)
{
	return &r->s->dev->queue[r->index];
}

void vhu_ring_init(struct vhu_server *s, uint16_t index)
{
	struct vhu_ring *r = &s->ring[index];

	r->s = s;
	r->index = index;
	r->state = VHU_RING_STOPPED;
	r->kick_fd = r->call_fd = r->err_fd = -1;
	r->watch_fd[VHU_WATCHED_CALL] = r->watch_fd[VHU_WATCHED_ERR] = -1;
}

/* -- on the queue's thread ------------------------------------------------ */

struct job {
	struct vhu_ring *r;
	int (*fn)(struct vhu_ring *r, void *arg);
	void *arg;
	int err;
};

static void run_job(void *arg)
{
	struct job *job = arg;

	job->err = job->fn(job->r, job->arg);
}

int vhu_on_queue(struct vhu_ring *r, int (*fn)(struct vhu_ring *, void *),
		 void *arg)
{
	const struct vhu_conf *c = &r->s->conf;
	struct job job = { r, fn, arg, 0 };

	if (c->env->run_on_queue)
		c->env->run_on_queue(c->env_ctx, r->index, run_job, &job);
	else
		run_job(&job);
	return job.err;
}

static bool is_packed(const struct vhu_ring *r)
{
	return r->s->features >> VIRTIO_F_RING_PACKED & 1;
}

/*
 * A packed ring starts with its wrap counters at 1, but some front ends (User
 * Mode Linux) give every new ring the base 0. A ring that really stands at
 * offset 0 with the counter at 0 has gone round: the driver or we have set
 * the USED bit of its first entry. In a new one it is clear.
 */
static uint16_t packed_base(const struct vhu_ring *r, const struct vio_mem *mem)
{
	uint16_t avail = r->base & 0xffff;
	uint16_t used = r->base >> 16;
	const struct pvirtq_desc *first;
	unsigned hint = 0;

	/* Some tell the available position alone. */
	if (used)
		return used;
	/* A misaligned one is refused when it starts. */
	first = vio_mem_at(mem, &hint, r->layout.desc, sizeof(*first),
			   VIO_PERM_READ);
	if (!avail && first && (uintptr_t)first % PVIRTQ_DESC_ALIGN == 0) {
		vio_le16 flags = { __atomic_load_n(&first->flags.raw,
						   __ATOMIC_ACQUIRE) };

		if (!(vio_from_le16(flags) & PVIRTQ_DESC_F_USED))
			return VIO_QUEUE_NEW_PACKED;
	}
	return avail;
}

/*
 * Where to go on. After a drained stop the available and the used position
 * are the same. Where they are not, a back end died with requests in flight,
 * or the front end forgot: all that is not used yet has to be served, so that
 * the used position counts. A split ring has it, of a packed one the front
 * end tells it. Where requests in flight were recorded, the record knows both.
 */
static int begin(struct vhu_ring *r, void *arg)
{
	struct vio_queue *q = vhu_ring_queue(r);
	struct vio_mem *mem = arg;
	uint16_t base = (uint16_t)r->base;
	bool died = false;
	int err = VIO_OK;

	if (is_packed(r))
		base = packed_base(r, mem);
	else
		err = vio_queue_used_in_ring(q, mem, &r->layout, &base);
	if (err == VIO_OK && base != (r->base & 0xffff) &&
	    base != VIO_QUEUE_NEW_PACKED)
		vhu_say(r->s, VIO_LOG_INFO,
			"ring goes on from where it was used, not from the base it was given",
			{ "queue", r->index }, { "base", r->base },
			{ "used", base });
	vhu_log_ring(r);
	if (err == VIO_OK)
		err = vhu_inflight_attach(r, &died);
	/* Started, but not yet served: see resume(). */
	q->paused = true;
	if (err == VIO_OK)
		err = vio_queue_start(q, mem, &r->layout, base, base);
	if (err == VIO_OK && vio_queue_replays(q))
		vhu_say(r->s, VIO_LOG_INFO,
			"requests that were in flight are done again",
			{ "queue", r->index },
			{ "requests", vio_queue_replays(q) });
	r->break_told = false;
	r->done = q->stats.requests;
	r->resumed = died || base != (is_packed(r) ? VIO_QUEUE_NEW_PACKED :
						     VIO_QUEUE_NEW_SPLIT);
	return err;
}

/*
 * The driver may wait for a call that was given while nobody listened: to the
 * descriptor before this one, or by the back end before us. One too many is
 * harmless.
 */
static void call_again(struct vhu_ring *r)
{
	if (r->resumed || vhu_ring_queue(r)->stats.requests != r->done)
		vhu_call(r);
}

/* Start to process a started ring. */
static int resume(struct vhu_ring *r, void *arg)
{
	const struct vhu_conf *c = &r->s->conf;
	int err = 0;

	(void)arg;
	r->live = true;
	vhu_ring_queue(r)->paused = false;
	if ((r->kick_fd >= 0 || r->poll) && c->env->watch_kick)
		err = c->env->watch_kick(c->env_ctx, r->index, r->kick_fd);
	if (err) {
		r->live = false;
		vhu_ring_queue(r)->paused = true;
	} else {
		call_again(r);
	}
	return err;
}

static int pause_ring(struct vhu_ring *r, void *arg)
{
	const struct vhu_conf *c = &r->s->conf;

	(void)arg;
	if (r->live && (r->kick_fd >= 0 || r->poll) && c->env->unwatch_kick)
		c->env->unwatch_kick(c->env_ctx, r->index);
	r->live = false;
	vhu_ring_queue(r)->paused = true;
	return 0;
}

/*
 * What is left in the record has to be what nobody begins any more: the next
 * one does it, elsewhere perhaps, and a write of ours that came after that
 * would undo what came after it there. In order, what is done behind a request
 * that is left could not be shown: there all is done.
 */
static unsigned stop_queue(const struct vhu_ring *r, struct vio_queue *q)
{
	uint64_t had = q->inflight + q->stats.requests;
	unsigned busy;

	q->leaves = r->leaves && q->track && q->track->active && !q->in_order;
	busy = vio_queue_stop(q);
	had -= busy + q->stats.requests;
	if (q->leaves && had)
		vhu_say(r->s, VIO_LOG_INFO,
			"requests that were not begun stay in the record",
			{ "queue", r->index }, { "requests", had });
	q->leaves = false;
	return busy;
}

static int end(struct vhu_ring *r, void *arg)
{
	const struct vhu_conf *c = &r->s->conf;
	struct vio_queue *q = vhu_ring_queue(r);
	int err = 0;

	(void)arg;
	pause_ring(r, NULL);
	if (stop_queue(r, q))
		err = c->env->drain ? c->env->drain(c->env_ctx, r->index) :
				      -EBUSY;
	r->base = vio_queue_avail_base(q);
	if (is_packed(r))
		r->base |= (uint32_t)vio_queue_used_base(q) << 16;
	return err;
}

/* The descriptors come first: the old ones must not be in use any more. */
struct new_kick {
	int fd;
	bool poll;
};

static int set_kick(struct vhu_ring *r, void *arg)
{
	const struct new_kick *to = arg;
	bool was_live = r->live;

	pause_ring(r, NULL);
	if (r->kick_fd >= 0)
		close(r->kick_fd);
	r->kick_fd = to->fd;
	r->poll = to->poll;
	r->kick_may_block = to->fd >= 0 && vhu_fd_may_block(to->fd);
	return was_live ? resume(r, NULL) : 0;
}

/*
 * A call descriptor stays open until it is replaced or the session ends: the
 * other end of a pipe sees its closing as an error (User Mode Linux dies).
 */
static int set_call(struct vhu_ring *r, void *arg)
{
	int fd = *(int *)arg;

	if (r->call_fd >= 0)
		close(r->call_fd);
	r->call_fd = fd;
	r->call_may_block = fd >= 0 && vhu_fd_may_block(fd);
	vhu_watch_fd(r, VHU_WATCHED_CALL, fd);
	if (fd >= 0 && r->live)
		call_again(r);
	return 0;
}

static int set_err(struct vhu_ring *r, void *arg)
{
	if (r->err_fd >= 0)
		close(r->err_fd);
	r->err_fd = *(int *)arg;
	vhu_watch_fd(r, VHU_WATCHED_ERR, r->err_fd);
	return 0;
}

static int forget(struct vhu_ring *r, void *arg)
{
	int none = -1;

	(void)arg;
	set_call(r, &none);
	set_err(r, &none);
	r->call_owed = false;
	vhu_wake_never(r);
	return 0;
}

/* -- states ---------------------------------------------------------------- */

/* Sizes of the three areas: 2.7, 2.8. */
struct sizes {
	uint64_t desc, avail, used;
};

static struct sizes sizes_of(const struct vhu_ring *r)
{
	uint64_t extra = r->s->features >> VIRTIO_F_EVENT_IDX & 1 ? 2 : 0;
	struct sizes n = {
		16ull * r->num, 4 + 2ull * r->num + extra,
		4 + 8ull * r->num + extra,
	};

	if (is_packed(r))
		n.avail = n.used = sizeof(struct pvirtq_event_suppress);
	return n;
}

/* The addresses are the ring's as it sees memory: guest-physical or I/O. */
static int locate_at(const struct vhu_ring *r, const struct vio_mem *mem,
		     struct vio_queue_layout *layout)
{
	unsigned perm = is_packed(r) ? VIO_PERM_RW : VIO_PERM_READ;
	struct sizes n = sizes_of(r);
	unsigned hint = 0;

	layout->desc.v = r->addr.desc;
	layout->driver.v = r->addr.avail;
	layout->device.v = r->addr.used;
	if (vio_mem_at(mem, &hint, layout->desc, n.desc, perm) &&
	    vio_mem_at(mem, &hint, layout->driver, n.avail, VIO_PERM_READ) &&
	    vio_mem_at(mem, &hint, layout->device, n.used, VIO_PERM_RW))
		return VIO_OK;
	return hint == VIO_MEM_LATER ? VIO_E_AGAIN : VIO_E_RANGE;
}

struct search {
	const struct vio_mem *mem;
	struct vio_queue_layout *layout;
};

/* Queue's thread, which keeps what it misses. */
static int search(struct vhu_ring *r, void *arg)
{
	const struct search *a = arg;

	return locate_at(r, a->mem, a->layout);
}

int vhu_ring_locate(struct vhu_ring *r, struct vhu_map *map,
		    struct vio_queue_layout *layout)
{
	const struct vio_mem *mem = vhu_map_mem(map, r);
	struct search a = { mem, layout };
	struct sizes n = sizes_of(r);

	layout->size = r->num;
	if (vhu_behind_iommu(r->s))
		return vhu_on_queue(r, search, &a);
	if (r->s->protocol & VHU_PF(GPA_ADDRESSES))
		return locate_at(r, mem, layout);
	return vio_mem_from_user(mem, r->addr.desc, n.desc, &layout->desc) &&
	       vio_mem_from_user(mem, r->addr.avail, n.avail,
				 &layout->driver) &&
	       vio_mem_from_user(mem, r->addr.used, n.used, &layout->device) ?
	       VIO_OK : VIO_E_RANGE;
}

bool vhu_ring_touches(const struct vhu_ring *r, uint64_t first, uint64_t last)
{
	const struct sizes n = sizes_of(r);
	const uint64_t area[][2] = {
		{ r->addr.desc, n.desc }, { r->addr.avail, n.avail },
		{ r->addr.used, n.used },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(area); i++) {
		uint64_t at = area[i][0];

		if (first - at < area[i][1] || (at >= first && at <= last))
			return true;
	}
	return false;
}

static int start_ring(struct vhu_ring *r)
{
	struct vhu_server *s = r->s;
	struct vio_mem *mem = vhu_map_mem(s->map, r);
	int err = vhu_device_negotiate(s);

	if (!err)
		err = vhu_state_apply(s);
	vhu_state_forget(s);
	if (err)
		return err;
	/* The front end that sends no status started its driver by this. */
	vio_dev_set_status(s->dev, vio_dev_status(s->dev) |
			   VIRTIO_STATUS_DRIVER_OK);
	err = vhu_ring_locate(r, s->map, &r->layout);
	if (!err)
		err = vhu_on_queue(r, begin, mem);
	if (err == VIO_OK)
		return 0;
	vhu_say(s, VIO_LOG_ERROR, err == VIO_E_RANGE ?
		"ring does not lie in the memory that was shared" :
		"ring cannot be started: bad size, alignment or state",
		{ "queue", r->index }, { "size", r->num },
		{ "desc", r->addr.desc }, { "avail", r->addr.avail },
		{ "used", r->addr.used }, { "error", (uint64_t)-err });
	return -EINVAL;
}

int vhu_ring_event(struct vhu_ring *r, enum vhu_ring_event ev)
{
	const struct vhu_conf *c = &r->s->conf;
	uint8_t from = r->state;
	uint8_t to = next_state[from][ev];
	int err = 0;

	if (!is_started(from) && is_started(to)) {
		err = start_ring(r);
		if (err)
			return err;
	}
	r->state = to;
	if (is_started(from) && !is_started(to))
		err = vhu_on_queue(r, end, NULL);
	else if (from == VHU_RING_RUNNING && to != from)
		vhu_on_queue(r, pause_ring, NULL);
	else if (to == VHU_RING_RUNNING && to != from)
		err = vhu_on_queue(r, resume, NULL);
	else
		return err;
	/* Look into the ring at once: a kick may be lost. */
	if (to == VHU_RING_RUNNING && !err && c->env->queue_wake)
		c->env->queue_wake(c->env_ctx, r->index);
	if (err)
		vhu_say(r->s, VIO_LOG_ERROR,
			"queue cannot be started or stopped",
			{ "queue", r->index }, { "event", ev },
			{ "errno", (uint64_t)-err });
	return err;
}

bool vhu_ring_waits_for_memory(const struct vhu_ring *r)
{
	return r->kicked && r->num && r->have_addr &&
		!vhu_map_regions(r->s->map);
}

/* Behind an IOMMU where it lies may have to be asked for. */
static bool waits_for_place(struct vhu_ring *r)
{
	struct vio_queue_layout l;

	return vhu_behind_iommu(r->s) &&
	       vhu_ring_locate(r, r->s->map, &l) == VIO_E_AGAIN;
}

int vhu_ring_try_start(struct vhu_ring *r)
{
	if (vhu_ring_started(r) || !r->kicked || !r->num || !r->have_addr ||
	    vhu_ring_waits_for_memory(r) || waits_for_place(r))
		return 0;
	return vhu_ring_event(r, VHU_EV_START);
}

int vhu_ring_stop(struct vhu_ring *r)
{
	struct new_kick none = { -1, false };
	int err = vhu_ring_event(r, VHU_EV_STOP);

	vhu_on_queue(r, set_kick, &none);
	r->kicked = false;
	return err;
}

int vhu_ring_forget(struct vhu_ring *r)
{
	int err = vhu_ring_stop(r);

	vhu_on_queue(r, forget, NULL);
	r->state = VHU_RING_STOPPED;
	r->num = 0;
	r->have_addr = false;
	r->base = 0;
	return err;
}

/* -- messages -------------------------------------------------------------- */

static struct vhu_ring *ring_of(struct vhu_server *s,
				const struct vhu_msg *msg, uint32_t index)
{
	if (index < s->nr_rings)
		return &s->ring[index];
	vhu_say(s, VIO_LOG_ERROR, "front end names a queue that is not there",
		{ vhu_rule(msg->hdr.request)->name, msg->hdr.request },
		{ "queue", index }, { "queues", s->nr_rings });
	return NULL;
}

int vhu_on_vring_num(struct vhu_server *s, struct vhu_msg *msg)
{
	uint32_t num = msg->p.state.num;
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	uint32_t most;
	int err;

	if (!r)
		return -EINVAL;
	most = vhu_ring_queue(r)->limits.size_max;
	if (!num || num > most || (num & (num - 1) && !is_packed(r))) {
		vhu_say(s, VIO_LOG_ERROR,
			"size of a ring must be a power of two (unless packed), not above the queue's limit",
			{ "queue", r->index }, { "size", num },
			{ "size_max", most });
		return -EINVAL;
	}
	if (num == r->num)
		return 0;
	err = vhu_ring_event(r, VHU_EV_STOP);
	if (err)
		return err;
	r->num = (uint16_t)num;
	return vhu_ring_try_start(r);
}

/* Only how its own words are logged changes: no stop for that. */
static int relog(struct vhu_ring *r, void *arg)
{
	r->addr = *(const struct vhu_vring_addr *)arg;
	vhu_log_ring(r);
	return 0;
}

int vhu_on_vring_addr(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_vring_addr *a = &msg->p.addr;
	struct vhu_ring *r = ring_of(s, msg, a->index);
	bool same;
	int err;

	if (!r)
		return -EINVAL;
	if (a->flags & VHU_VRING_F_LOG &&
	    !(vhu_offered_features(s) & VHU_F_LOG)) {
		vhu_say(s, VIO_LOG_ERROR,
			"front end wants writes to a ring logged, which was not offered",
			{ "queue", r->index }, { "flags", a->flags });
		return -EINVAL;
	}
	same = r->have_addr && r->addr.desc == a->desc &&
		r->addr.avail == a->avail && r->addr.used == a->used;
	if (same)
		return vhu_on_queue(r, relog, &msg->p.addr);
	err = vhu_ring_event(r, VHU_EV_STOP);
	if (err)
		return err;
	r->addr = *a;
	r->have_addr = true;
	return vhu_ring_try_start(r);
}

int vhu_on_vring_set_base(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	uint32_t base = msg->p.state.num;
	int err;

	if (!r)
		return -EINVAL;
	if (base > UINT16_MAX && !is_packed(r)) {
		vhu_say(s, VIO_LOG_ERROR,
			"base is not an index of a split ring",
			{ "queue", r->index }, { "base", base });
		return -EINVAL;
	}
	err = vhu_ring_event(r, VHU_EV_STOP);
	if (err)
		return err;
	r->base = base;
	return vhu_ring_try_start(r);
}

static int get_base(struct vhu_server *s, struct vhu_msg *msg, bool leave)
{
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	int err;

	if (!r)
		return -EINVAL;
	r->leaves = leave;
	err = vhu_ring_stop(r);
	r->leaves = false;
	if (err)
		return err;
	s->out.p.state.index = r->index;
	s->out.p.state.num = r->base;
	return vhu_reply(s, msg, sizeof(s->out.p.state));
}

/* Who can say it by a request of its own means the usual stop here. */
int vhu_on_vring_get_base(struct vhu_server *s, struct vhu_msg *msg)
{
	return get_base(s, msg, (s->protocol & VHU_PF_LEAVE) ==
			VHU_PF(GET_VRING_BASE_INFLIGHT));
}

int vhu_on_vring_skip_drain(struct vhu_server *s, struct vhu_msg *msg)
{
	return get_base(s, msg, true);
}

int vhu_on_vring_enable(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	uint32_t on = msg->p.state.num;

	if (!r)
		return -EINVAL;
	if (on > 1) {
		vhu_say(s, VIO_LOG_ERROR,
			"a ring is enabled by 1 and disabled by 0",
			{ "queue", r->index }, { "value", on });
		return -EINVAL;
	}
	if (on && vhu_ring_waits_for_memory(r))
		vhu_map_missing(s);
	return vhu_ring_event(r, on ? VHU_EV_ENABLE : VHU_EV_DISABLE);
}

/*
 * The guest has one byte order, and each ring is told of it; others may run
 * already when it is told again.
 */
int vhu_on_vring_endian(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	uint32_t big = msg->p.state.num;
	bool started = false;

	if (!r)
		return -EINVAL;
	if (big == s->dev->guest_big)
		return 0;
	for (unsigned i = 0; i < s->nr_rings; i++)
		started |= vhu_ring_started(&s->ring[i]);
	if (big > 1 || started) {
		vhu_say(s, VIO_LOG_ERROR,
			"byte order is 0 (little) or 1 (big), and told before rings start",
			{ "queue", r->index }, { "value", big },
			{ "started", started });
		return -EINVAL;
	}
	vio_dev_set_guest_endian(s->dev, big);
	return 0;
}

/*
 * The three messages that hand over a descriptor, or say by a flag that there
 * is none. Gives the ring and the descriptor, -1 for none; NULL if refused.
 */
static struct vhu_ring *take_fd(struct vhu_server *s, struct vhu_msg *msg,
				int *fd)
{
	const struct vhu_rule *rule = vhu_rule(msg->hdr.request);
	uint64_t v = msg->p.u64;
	struct vhu_ring *r;

	if (v & ~(uint64_t)(VHU_VRING_IDX_MASK | VHU_VRING_NOFD) ||
	    msg->nr_fds != (v & VHU_VRING_NOFD ? 0 : 1)) {
		vhu_say(s, VIO_LOG_ERROR,
			"a descriptor must come with this message, or bit 8 say that there is none",
			{ rule->name, msg->hdr.request }, { "value", v },
			{ "fds", msg->nr_fds });
		return NULL;
	}
	r = ring_of(s, msg, v & VHU_VRING_IDX_MASK);
	if (r)
		*fd = vhu_msg_take_fd(msg, 0);
	return r;
}

int vhu_on_vring_kick_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	struct new_kick to;
	struct vhu_ring *r = take_fd(s, msg, &to.fd);
	int err;

	if (!r)
		return -EINVAL;
	to.poll = to.fd < 0;
	err = vhu_on_queue(r, set_kick, &to);
	if (err)
		return err;
	r->kicked = true;
	return vhu_ring_try_start(r);
}

int vhu_on_vring_call_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	int fd;
	struct vhu_ring *r = take_fd(s, msg, &fd);

	return r ? vhu_on_queue(r, set_call, &fd) : -EINVAL;
}

int vhu_on_vring_err_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	int fd;
	struct vhu_ring *r = take_fd(s, msg, &fd);

	return r ? vhu_on_queue(r, set_err, &fd) : -EINVAL;
}

/* A kick by message. It may come before the ring is set up; it counts then. */
int vhu_on_vring_kick(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_ring *r = ring_of(s, msg, msg->p.state.index);
	bool was_started;
	int err;

	if (!r)
		return -EINVAL;
	r->kicked = true;
	was_started = vhu_ring_started(r);
	err = vhu_ring_try_start(r);
	if (!err && was_started && s->conf.env->queue_wake)
		s->conf.env->queue_wake(s->conf.env_ctx, r->index);
	return err;
}
