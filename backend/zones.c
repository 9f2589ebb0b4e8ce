/* SPDX-License-Identifier: MIT */
/* The rules of zones, see zones.h. */
#include <errno.h>
#include <stdlib.h>

#include "backend/zones.h"

#define INVALID		VIRTIO_BLK_S_ZONE_INVALID_CMD
#define UNALIGNED	VIRTIO_BLK_S_ZONE_UNALIGNED_WP
#define NO_OPEN		VIRTIO_BLK_S_ZONE_OPEN_RESOURCE
#define NO_ACTIVE	VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE

static bool is_open(uint8_t state)
{
	return state == VIRTIO_BLK_ZS_IOPEN || state == VIRTIO_BLK_ZS_EOPEN;
}

static bool is_active(uint8_t state)
{
	return is_open(state) || state == VIRTIO_BLK_ZS_CLOSED;
}

static void touch(struct zones *z, struct zone *g)
{
	uint32_t index = (uint32_t)(g - z->zone);

	if (!g->dirty)
		z->dirty[z->nr_dirty++] = index;
	g->dirty = true;
	if (z->changed)
		z->changed(z->changed_ctx, index);
}

/* The counters follow the states, here and nowhere else. */
static void set_state(struct zones *z, struct zone *g, uint8_t state)
{
	z->nr_open += (uint32_t)is_open(state) - (uint32_t)is_open(g->state);
	z->nr_active += (uint32_t)is_active(state) -
			(uint32_t)is_active(g->state);
	g->state = state;
	touch(z, g);
}

static bool sequential(const struct zone *g)
{
	return g->type != VIRTIO_BLK_ZT_CONV;
}

static void set_empty(struct zones *z, struct zone *g)
{
	g->wp = g->low = g->start;
	g->resets++;
	g->inflight = 0;
	g->replay = false;
	set_state(z, g, VIRTIO_BLK_ZS_EMPTY);
}

int zones_init(struct zones *z, const struct zones_conf *conf)
{
	uint64_t nr, i;

	*z = (struct zones){ .conf = *conf };
	if (!conf->zone_sectors || conf->zone_capacity > conf->zone_sectors ||
	    conf->granularity < 512 || conf->granularity % 512)
		return -EINVAL;
	nr = (conf->disk + conf->zone_sectors - 1) / conf->zone_sectors;
	if (!nr || nr > UINT32_MAX / 2)
		return -EINVAL;
	z->nr = (uint32_t)nr;
	z->zone = calloc(nr, sizeof(*z->zone));
	z->dirty = calloc(nr, sizeof(*z->dirty));
	if (!z->zone || !z->dirty) {
		zones_fini(z);
		return -ENOMEM;
	}
	for (i = 0; i < nr; i++) {
		struct zone *g = &z->zone[i];
		bool conv = i < conf->conventional;

		g->start = g->wp = g->low = i * conf->zone_sectors;
		g->size = conf->disk - g->start < conf->zone_sectors ?
			conf->disk - g->start : conf->zone_sectors;
		g->capacity = !conv && conf->zone_capacity &&
			conf->zone_capacity < g->size ?
			conf->zone_capacity : g->size;
		g->type = conv ? VIRTIO_BLK_ZT_CONV :
			conf->model == VIRTIO_BLK_Z_HM ? VIRTIO_BLK_ZT_SWR :
			VIRTIO_BLK_ZT_SWP;
		g->state = conv ? VIRTIO_BLK_ZS_NOT_WP : VIRTIO_BLK_ZS_EMPTY;
	}
	return 0;
}

void zones_fini(struct zones *z)
{
	free(z->zone);
	free(z->dirty);
	z->zone = NULL;
	z->dirty = NULL;
}

struct zone *zones_at(struct zones *z, uint64_t sector)
{
	return &z->zone[sector / z->conf.zone_sectors];
}

/* -- resources ------------------------------------------------------------ */

/* An implicitly open zone gives way; false if there is none. */
static bool close_another(struct zones *z)
{
	for (uint32_t i = 0; i < z->nr; i++) {
		struct zone *g = &z->zone[i];

		if (g->state == VIRTIO_BLK_ZS_IOPEN) {
			set_state(z, g, VIRTIO_BLK_ZS_CLOSED);
			return true;
		}
	}
	return false;
}

/* Both limits broken are told as the limit of active zones. */
static int make_room(struct zones *z, const struct zone *g)
{
	if (!is_active(g->state) && z->conf.max_active &&
	    z->nr_active >= z->conf.max_active)
		return NO_ACTIVE;
	if (!is_open(g->state) && z->conf.max_open &&
	    z->nr_open >= z->conf.max_open && !close_another(z))
		return NO_OPEN;
	return VIO_OK;
}

/* -- requests that name a zone -------------------------------------------- */

static bool dead(const struct zone *g)
{
	return g->state == VIRTIO_BLK_ZS_RDONLY ||
	       g->state == VIRTIO_BLK_ZS_OFFLINE;
}

static int zone_open(struct zones *z, struct zone *g)
{
	int rc;

	if (g->state == VIRTIO_BLK_ZS_FULL)
		return INVALID;
	if (g->state == VIRTIO_BLK_ZS_EOPEN)
		return VIO_OK;
	rc = make_room(z, g);
	if (rc == VIO_OK)
		set_state(z, g, VIRTIO_BLK_ZS_EOPEN);
	return rc;
}

static int zone_close(struct zones *z, struct zone *g)
{
	if (g->state == VIRTIO_BLK_ZS_CLOSED)
		return VIO_OK;
	if (!is_open(g->state))
		return INVALID;
	set_state(z, g, g->wp == g->start ? VIRTIO_BLK_ZS_EMPTY :
					    VIRTIO_BLK_ZS_CLOSED);
	return VIO_OK;
}

/*
 * From Empty and Closed a zone is finished by way of being open, which the
 * limits may forbid.
 */
static int zone_finish(struct zones *z, struct zone *g)
{
	int rc;

	if (g->state == VIRTIO_BLK_ZS_FULL)
		return VIO_OK;
	rc = make_room(z, g);
	if (rc != VIO_OK)
		return rc;
	g->replay = false;
	set_state(z, g, VIRTIO_BLK_ZS_FULL);
	return VIO_OK;
}

int zones_manage(struct zones *z, enum vio_blk_op op, uint64_t sector)
{
	struct zone *g = zones_at(z, sector);

	if (sector != g->start || !sequential(g) || dead(g))
		return INVALID;
	switch (op) {
	case VIO_BLK_ZONE_OPEN:
		return zone_open(z, g);
	case VIO_BLK_ZONE_CLOSE:
		return zone_close(z, g);
	case VIO_BLK_ZONE_FINISH:
		return zone_finish(z, g);
	default:
		set_empty(z, g);
		return VIO_OK;
	}
}

void zones_reset_all(struct zones *z)
{
	for (uint32_t i = 0; i < z->nr; i++) {
		struct zone *g = &z->zone[i];

		if (sequential(g) && !dead(g) &&
		    g->state != VIRTIO_BLK_ZS_EMPTY)
			set_empty(z, g);
	}
}

/* -- reads and writes ----------------------------------------------------- */

/* Does [sector, sector + nr) stay within the zone that holds its start? */
static bool inside(const struct zone *g, uint64_t sector, uint64_t nr)
{
	return nr <= g->start + g->size - sector;
}

static bool any(struct zones *z, uint64_t sector, uint64_t nr,
		bool (*is)(const struct zone *g))
{
	struct zone *g = zones_at(z, sector);
	struct zone *last = zones_at(z, sector + nr - 1);

	for (; g <= last; g++)
		if (is(g))
			return true;
	return false;
}

static bool is_swr(const struct zone *g)
{
	return g->type == VIRTIO_BLK_ZT_SWR;
}

static bool is_offline(const struct zone *g)
{
	return g->state == VIRTIO_BLK_ZS_OFFLINE;
}

int zones_check_read(struct zones *z, uint64_t sector, uint64_t nr)
{
	if (!inside(zones_at(z, sector), sector, nr) &&
	    any(z, sector, nr, is_swr))
		return INVALID;
	return any(z, sector, nr, is_offline) ? INVALID : VIO_OK;
}

static void advance(struct zones *z, struct zone *g, uint64_t to)
{
	if (!g->inflight)
		g->low = g->wp;
	g->wp = to;
	touch(z, g);
	if (g->wp == g->start + g->capacity)
		set_state(z, g, VIRTIO_BLK_ZS_FULL);
}

static bool is_replay(const struct zone *g, uint64_t sector, uint64_t nr)
{
	return g->replay && sector >= g->low && sector + nr <= g->wp;
}

/* A zone that must be written in sequence. */
static int begin_swr(struct zones *z, struct zone *g, struct zone_write *w,
		     bool append)
{
	int rc;

	if (dead(g))
		return INVALID;
	if (!append && is_replay(g, w->sector, w->nr))
		return VIO_OK;
	if (g->state == VIRTIO_BLK_ZS_FULL)
		return INVALID;
	if (append)
		w->sector = g->wp;
	if (w->sector != g->wp ||
	    (w->sector + w->nr) * 512 % z->conf.granularity)
		return UNALIGNED;
	if (w->nr > g->start + g->capacity - w->sector)
		return INVALID;
	rc = make_room(z, g);
	if (rc != VIO_OK)
		return rc;
	if (!is_open(g->state))
		set_state(z, g, VIRTIO_BLK_ZS_IOPEN);
	g->replay = false;
	advance(z, g, w->sector + w->nr);
	return VIO_OK;
}

/*
 * Zones that prefer sequence take any write; one past the write pointer moves
 * it. Limits do not hold them up: where nothing can be opened, the zone is
 * written closed.
 */
static void begin_swp(struct zones *z, struct zone *g, uint64_t end)
{
	if (end > g->start + g->capacity)
		end = g->start + g->capacity;
	if (g->state == VIRTIO_BLK_ZS_FULL)
		return;
	if (!is_open(g->state))
		set_state(z, g, make_room(z, g) == VIO_OK ?
			  VIRTIO_BLK_ZS_IOPEN : VIRTIO_BLK_ZS_CLOSED);
	if (end > g->wp)
		advance(z, g, end);
}

static bool is_dead(const struct zone *g)
{
	return dead(g);
}

int zones_begin(struct zones *z, uint64_t sector, uint64_t nr, bool append,
		struct zone_write *w)
{
	struct zone *g = zones_at(z, sector), *last;
	int rc = VIO_OK;

	*w = (struct zone_write){ (uint32_t)(g - z->zone), g->resets, sector,
				  nr };
	if (append && (g->type != VIRTIO_BLK_ZT_SWR || sector != g->start))
		return INVALID;
	if (!inside(g, sector, nr) && any(z, sector, nr, is_swr))
		return INVALID;
	if (any(z, sector, nr, is_dead))
		return INVALID;
	if (is_swr(g)) {
		rc = begin_swr(z, g, w, append);
	} else {
		last = zones_at(z, sector + nr - 1);
		for (struct zone *i = g; i <= last; i++)
			if (sequential(i))
				begin_swp(z, i, sector + nr);
	}
	if (rc == VIO_OK)
		g->inflight++;
	return rc;
}

void zones_end(struct zones *z, const struct zone_write *w, bool good)
{
	struct zone *g = &z->zone[w->zone];

	if (g->resets != w->resets)
		return;
	if (g->inflight)
		g->inflight--;
	/* A write that failed, and none came after it: it never was. */
	if (good || !is_swr(g) || g->wp != w->sector + w->nr ||
	    w->sector < g->low)
		return;
	g->wp = w->sector;
	touch(z, g);
	if (g->state == VIRTIO_BLK_ZS_FULL)
		set_state(z, g, VIRTIO_BLK_ZS_CLOSED);
}

unsigned zones_report(struct zones *z, uint64_t sector,
		      struct vio_blk_zone *out, unsigned max)
{
	uint64_t i = sector / z->conf.zone_sectors;
	unsigned n;

	for (n = 0; n < max && i < z->nr; n++, i++) {
		const struct zone *g = &z->zone[i];

		out[n] = (struct vio_blk_zone){
			.start = g->start, .capacity = g->capacity,
			.wp = g->state == VIRTIO_BLK_ZS_FULL ?
				g->start + g->capacity : g->wp,
			.type = g->type, .state = g->state,
		};
	}
	return n;
}

bool zones_restore(struct zones *z, uint32_t index, uint8_t state,
		   uint64_t written, uint64_t low)
{
	struct zone *g = &z->zone[index];

	if (!sequential(g))
		return state == VIRTIO_BLK_ZS_NOT_WP;
	if (written > g->capacity || low > written ||
	    (!is_active(state) && !dead(g) && state != VIRTIO_BLK_ZS_EMPTY &&
	     state != VIRTIO_BLK_ZS_FULL && state != VIRTIO_BLK_ZS_RDONLY &&
	     state != VIRTIO_BLK_ZS_OFFLINE))
		return false;
	if (state == VIRTIO_BLK_ZS_EMPTY && written)
		return false;
	g->wp = g->start + written;
	g->low = g->start + low;
	g->replay = low < written;
	set_state(z, g, state);
	return true;
}

void zones_adopt(struct zones *z, uint32_t index,
		 const struct vio_blk_zone *told)
{
	struct zone *g = &z->zone[index];

	if (g->type != told->type)	/* once; it is read without a lock */
		g->type = told->type;
	g->capacity = told->capacity < g->size ? told->capacity : g->size;
	g->wp = g->start;
	if (sequential(g) && told->wp > g->start)
		g->wp = told->wp - g->start < g->capacity ? told->wp :
			g->start + g->capacity;
	g->low = g->wp;
	g->replay = false;
	g->inflight = 0;
	set_state(z, g, told->state);
}

void zones_expect(struct zones *z, uint32_t index)
{
	struct zone *g = &z->zone[index];

	if (!is_swr(g) || dead(g))
		return;
	/* A full zone has no write pointer, whatever was told of it. */
	if (g->state == VIRTIO_BLK_ZS_FULL)
		g->wp = g->start + g->capacity;
	g->low = g->start;
	g->replay = g->wp > g->start;
}

uint64_t zones_replayed(struct zones *z, uint64_t sector, uint64_t nr)
{
	const struct zone *g = zones_at(z, sector);

	if (!g->replay || sector < g->low || sector >= g->wp ||
	    nr > g->start + g->capacity - sector)
		return 0;
	return nr < g->wp - sector ? nr : g->wp - sector;
}

void zones_power_on(struct zones *z)
{
	for (uint32_t i = 0; i < z->nr; i++) {
		struct zone *g = &z->zone[i];

		g->replay = false;
		g->low = g->wp;
		if (is_open(g->state))
			set_state(z, g, g->wp == g->start ?
				  VIRTIO_BLK_ZS_EMPTY : VIRTIO_BLK_ZS_CLOSED);
	}
}
