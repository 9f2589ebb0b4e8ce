/* SPDX-License-Identifier: MIT */
/* Rings of a record of vireo-tap, as they stood at a moment of it. */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "host/log.h"
#include "host/tapfile.h"

#define QUEUES	256u
#define HEADS	65536u		/* of a queue */

struct past {
	bool known;
	uint64_t *since;	/* by head; 0: not pending */
	uint32_t pending;
	uint16_t avail, used;	/* positions after the last event */
	uint64_t done, kicks, calls;
	struct ring_state state;
};

static struct past past[QUEUES];

static void forget(void)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		free(past[i].since);
		memset(&past[i], 0, sizeof(past[i]));
	}
}

static bool know(struct past *p)
{
	if (!p->since)
		p->since = calloc(HEADS, sizeof(*p->since));
	p->known = true;
	return p->since;
}

static bool take(const struct tap_event *e)
{
	struct past *p = &past[e->queue % QUEUES];

	if (e->kind == TAP_BEGIN)
		forget();
	if (e->queue >= QUEUES)
		return true;
	if (!know(p))
		return false;
	switch (e->kind) {
	case TAP_AVAIL:
		p->pending += !p->since[e->head % HEADS];
		p->since[e->head % HEADS] = e->ns;
		p->avail = (uint16_t)e->position;
		break;
	case TAP_USED:
		p->done++;
		p->pending -= !!p->since[e->head % HEADS];
		p->since[e->head % HEADS] = 0;
		p->used = (uint16_t)e->position;
		break;
	case TAP_KICK:
		p->kicks++;
		break;
	case TAP_CALL:
		p->calls++;
		break;
	case TAP_STATE:
		p->state = e->state;
		break;
	default:
		break;
	}
	return true;
}

static void heads(const struct past *p, uint64_t now, struct shown *s)
{
	for (uint32_t i = 0; i < HEADS && s->nr_heads < HEADS_SHOWN; i++)
		if (p->since[i])
			s->head[s->nr_heads++] = (struct head){
				.head = i,
				.age_ms = (uint32_t)((now - p->since[i]) /
						     NS_PER_MS),
			};
}

static int show_past(const struct ring_options *o, uint64_t now)
{
	int stuck = 0;
	bool any = false;

	for (unsigned i = 0; i < QUEUES; i++) {
		const struct past *p = &past[i];
		struct shown s = { .queue = i, .state = p->state };

		if (!p->known)
			continue;
		any = true;
		snprintf(s.mode, sizeof(s.mode), "%s",
			 p->state.enabled ? "running" :
			 p->state.started ? "disabled" : "unknown");
		s.avail_base = p->state.avail_now;
		s.used_base = p->state.used_now;
		s.requests = p->done;
		s.kicks = p->kicks;
		s.calls = p->calls;
		s.state.pending = p->pending;
		heads(p, now, &s);
		stuck += show(o, &s);
	}
	if (!any)
		printf("no ring was in use\n");
	return stuck;
}

int show_record(const struct ring_options *o)
{
	static struct tap_event e;
	uint64_t start = 0, now = 0, end = UINT64_MAX;
	struct tap_reader r;
	int rc, stuck;

	rc = tap_reader_open(&r, o->record);
	if (rc) {
		log_err("%s: %s", o->record, rc == -EILSEQ ?
			"no record of vireo tap" : strerror(-rc));
		return rc;
	}
	while ((rc = tap_reader_next(&r, &e)) > 0) {
		if (!start) {
			start = e.ns;
			if (o->at_ms != ALL_TIME)
				end = start + o->at_ms * NS_PER_MS;
		}
		if (e.ns > end)
			break;
		now = e.ns;
		if (!take(&e)) {
			rc = -ENOMEM;
			break;
		}
	}
	if (end != UINT64_MAX && now < end && rc > 0)
		now = end;
	tap_reader_close(&r);
	if (rc < 0 && rc != -EILSEQ) {
		log_err("%s: %s", o->record, strerror(-rc));
		forget();
		return rc;
	}
	if (rc < 0)
		log_warn("%s: cut off; this is how far it goes", o->record);
	stuck = show_past(o, now);
	forget();
	return stuck;
}
