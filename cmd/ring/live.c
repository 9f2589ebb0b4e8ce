/* SPDX-License-Identifier: MIT */
/* Rings of a running daemon, by two looks over its control socket. */
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/control_client.h"
#include "host/json.h"
#include "host/log.h"

static enum ring_way way(const char *ring, const char *name)
{
	static const char *const names[] = {
		[RING_WAY_NONE] = "none", [RING_WAY_FD] = "fd",
		[RING_WAY_MESSAGE] = "message", [RING_WAY_POLL] = "poll",
	};
	char is[16];
	unsigned i;

	json_str(ring, name, is, sizeof(is));
	for (i = 0; i < 4; i++)
		if (!strcmp(is, names[i]))
			return (enum ring_way)i;
	return RING_WAY_UNKNOWN;
}

static enum vio_want want(const char *ring, const char *name)
{
	char is[16];

	json_str(ring, name, is, sizeof(is));
	if (!strcmp(is, "none"))
		return VIO_WANT_NONE;
	return strcmp(is, "at") ? VIO_WANT_ALL : VIO_WANT_AT;
}

static void read_heads(const char *ring, struct shown *s)
{
	const char *h = json_first(json_member(ring, "heads"));

	for (; h && s->nr_heads < HEADS_SHOWN; h = json_next(h))
		s->head[s->nr_heads++] = (struct head){
			.head = (uint32_t)json_u64(h, "head", 0),
			.age_ms = (uint32_t)json_u64(h, "age_ms", 0),
			.done = json_bool(h, "done"),
			.replayed = json_bool(h, "replayed"),
		};
}

static void read_ring(const char *ring, bool connected, struct shown *s)
{
	struct ring_state *r = &s->state;
	char format[16];

	memset(s, 0, sizeof(*s));
	s->queue = (unsigned)json_u64(ring, "queue", 0);
	json_str(ring, "state", s->mode, sizeof(s->mode));
	json_str(ring, "format", format, sizeof(format));
	s->in_order = json_bool(ring, "in_order");
	s->avail_base = (uint16_t)json_u64(ring, "avail_base", 0);
	s->used_base = (uint16_t)json_u64(ring, "used_base", 0);
	s->requests = json_u64(ring, "requests", 0);
	s->kicks = json_u64(ring, "kicks", 0);
	s->calls = json_u64(ring, "notifications", 0);
	r->connected = connected;
	r->configured = strcmp(s->mode, "stopped");
	r->enabled = !strcmp(s->mode, "running");
	r->started = r->enabled || !strcmp(s->mode, "disabled");
	r->broken = !strcmp(s->mode, "broken");
	r->packed = !strcmp(format, "packed");
	r->event_idx = json_bool(ring, "event_idx");
	r->size = (uint16_t)json_u64(ring, "size", 0);
	r->kick = way(ring, "kick");
	r->call = way(ring, "call");
	r->want_kick = want(ring, "kicks_wanted");
	r->want_call = want(ring, "calls_wanted");
	r->kick_at = (uint16_t)json_u64(ring, "kick_at", 0);
	r->call_at = (uint16_t)json_u64(ring, "call_at", 0);
	r->untaken = (int32_t)json_u64(ring, "available", 0);
	r->avail_idx = (uint16_t)json_u64(ring, "avail_idx", 0);
	r->overrun = json_bool(ring, "overrun");
	r->pending = (uint32_t)json_u64(ring, "inflight", 0);
	read_heads(ring, s);
}

/* The ring of the first look; NULL: not there. */
static const char *same_queue(const char *rings, unsigned queue)
{
	const char *r = json_first(rings);

	while (r && json_u64(r, "queue", UINT64_MAX) != queue)
		r = json_next(r);
	return r;
}

/* Queues that were never set up say nothing. */
static bool of_interest(const struct ring_options *o, const struct shown *s)
{
	return o->queue != ALL_QUEUES || s->state.configured || s->requests;
}

static int show_all(const struct ring_options *o, const char *first,
		    const char *second)
{
	bool connected = json_bool(second, "connected");
	const char *before = json_member(first, "queues");
	const char *r = json_first(json_member(second, "queues"));
	int stuck = 0;
	bool any = false;

	for (; r; r = json_next(r)) {
		const char *old;
		struct shown s;

		read_ring(r, connected, &s);
		old = same_queue(before, s.queue);
		/* What moved in between does not rest. */
		if (old && json_u64(old, "avail_base", 0) != s.avail_base)
			s.state.untaken = 0;
		if (!of_interest(o, &s))
			continue;
		any = true;
		stuck += show(o, &s);
	}
	if (!any)
		printf(connected ? "no queue is set up\n" :
		       "no front end is connected\n");
	return stuck;
}

/* @device: of a daemon that serves several, or NULL. */
static int show_device(const struct ring_options *o, const char *device)
{
	char *first = NULL, *second = NULL, *a, *b, line[300];
	int rc;

	snprintf(line, sizeof(line), "status%s%s", device ? " " : "",
		 device ? device : "");
	rc = control_ask(o->socket, line, &first);
	if (!rc) {
		poll(NULL, 0, (int)o->interval_ms);
		rc = control_ask(o->socket, line, &second);
	}
	if (!rc) {
		a = control_result(first);
		b = a ? control_result(second) : NULL;
		rc = a && b ? show_all(o, a, b) : -EPROTO;
	}
	free(first);
	free(second);
	return rc;
}

/* One after the other; 0 or more, or the first error. */
static int show_each(const struct ring_options *o)
{
	char *answer = NULL, name[256];
	const char *d;
	int rc = control_ask(o->socket, "list", &answer), stuck = 0;

	d = rc ? NULL : control_result(answer);
	if (!rc && !d)
		rc = -EPROTO;
	for (d = json_first(d); d && rc >= 0; d = json_next(d)) {
		json_str(d, "name", name, sizeof(name));
		printf("%s:\n", name);
		rc = show_device(o, name);
		stuck += rc > 0 ? rc : 0;
	}
	free(answer);
	return rc < 0 ? rc : stuck;
}

/* Does the daemon serve several devices, by names? 0, 1, or -errno. */
static int has_names(const struct ring_options *o)
{
	char *answer = NULL, *status;
	int rc = control_ask(o->socket, "status", &answer);

	if (!rc) {
		status = control_result(answer);
		rc = status ? json_member(status, "devices") != NULL : -EPROTO;
	}
	free(answer);
	return rc;
}

int show_live(const struct ring_options *o)
{
	int names = o->device ? 0 : has_names(o);

	if (names < 0)
		return names;
	return names ? show_each(o) : show_device(o, o->device);
}
