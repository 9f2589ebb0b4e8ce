/* SPDX-License-Identifier: MIT */
/* The rules: see ringdiag.h. The first that fits says why. */
#include "host/ringdiag.h"

#include <stdio.h>
#include <vireo/spec/packed.h>

/* 2.7.10: has the index passed @event on its way from @old to @now? */
static bool split_passed(uint16_t event, uint16_t old, uint16_t now)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* The same for positions; @event is as it stands in the ring. */
static bool packed_passed(uint16_t event, uint16_t old, uint16_t now,
			  uint16_t size)
{
	uint16_t pos;

	return size && pvirtq_unpack(event, size, &pos) &&
		pvirtq_need_event(pos, now, old, size);
}

static bool passed(const struct ring_state *r, uint16_t event, uint16_t old,
		   uint16_t now)
{
	return r->packed ? packed_passed(event, old, now, r->size) :
			   split_passed(event, old, now);
}

static enum ring_grade not_running(const struct ring_state *r, char *out,
				   size_t len)
{
	if (r->broken) {
		snprintf(out, len, "broken: the driver broke a rule of the ring; the device needs a reset");
		return RING_STUCK;
	}
	if (!r->connected) {
		snprintf(out, len, "no front end is connected");
		return RING_FINE;
	}
	if (!r->configured) {
		snprintf(out, len, "not set up: size or addresses were not told");
		return RING_FINE;
	}
	if (!r->started) {
		snprintf(out, len, "not started: %s",
			 r->kick == RING_WAY_NONE ?
			 "set up, but SET_VRING_KICK did not come" :
			 "set up, or stopped again");
		return r->pending ? RING_STUCK : RING_FINE;
	}
	snprintf(out, len, "disabled: started, but SET_VRING_ENABLE did not come or took it back");
	return r->pending || r->untaken > 0 ? RING_STUCK : RING_FINE;
}

/* Entries that the device has not taken, or may not have. */
static enum ring_grade untaken(const struct ring_state *r, char *out,
			       size_t len)
{
	bool more = r->sees_signals &&
		(!r->kicked || r->avail_now != r->avail_at_kick);
	bool due = r->want_kick == VIO_WANT_ALL ||
		(r->want_kick == VIO_WANT_AT &&
		 passed(r, r->kick_at, r->avail_at_kick, r->avail_now));

	if (r->overrun)
		snprintf(out, len, "the driver's index %u is further ahead than the ring is long",
			 r->avail_idx);
	else if (r->kick == RING_WAY_NONE)
		snprintf(out, len, "kick missing: there is no way to kick");
	else if (more && due && r->want_kick == VIO_WANT_AT)
		snprintf(out, len, "kick missing: the driver passed entry %u, at which the device wants a kick, and did not kick",
			 r->kick_at);
	else if (more && due)
		snprintf(out, len, "kick missing: entries were made available after the last kick, the device wants every kick");
	else if (more && r->want_kick == VIO_WANT_NONE)
		snprintf(out, len, "the device turned kicks off and does not look by itself: the back end is stuck or dead");
	else if (more)
		snprintf(out, len, "suppressed by event index: the device wants no kick before entry %u and does not look by itself",
			 r->kick_at);
	else if (r->sees_signals)
		return RING_FINE;
	else if (r->want_kick == VIO_WANT_NONE)
		snprintf(out, len, "%d entries not taken, kicks are off: the queue's thread does not get to it",
			 r->untaken);
	else
		snprintf(out, len, "%d entries not taken though kicks are on: a kick is missing, or the queue's thread does not get to it",
			 r->untaken);
	return RING_STUCK;
}

/* The driver may wait for a call. */
static enum ring_grade uncalled(const struct ring_state *r, char *out,
				size_t len)
{
	bool due = r->want_call == VIO_WANT_ALL ||
		(r->want_call == VIO_WANT_AT &&
		 passed(r, r->call_at, r->used_at_call, r->used_now));

	if (!r->used_more || !due)
		return RING_FINE;
	if (r->call == RING_WAY_NONE)
		snprintf(out, len, "call missing: the driver wants to be told of used buffers, and SET_VRING_CALL did not come");
	else
		snprintf(out, len, "call missing: buffers were used since the last call, the driver wants one, the device did not call");
	return RING_STUCK;
}

enum ring_grade ring_diagnose(const struct ring_state *r, uint32_t after_ms,
			      char *out, size_t len)
{
	bool old = r->pending && r->oldest_ms >= after_ms;
	enum ring_grade g;

	if (r->broken || !r->connected || !r->configured || !r->started ||
	    !r->enabled)
		return not_running(r, out, len);
	g = r->untaken > 0 || (r->untaken < 0 && old) || r->overrun ?
		untaken(r, out, len) : RING_FINE;
	if (g == RING_FINE && r->sees_signals)
		g = uncalled(r, out, len);
	if (g != RING_FINE)
		return g;
	if (old && r->sees_signals)
		snprintf(out, len, "%u buffers were kicked for and not used, head %u for %u ms: the back end is slow or stuck, or waits for input",
			 r->pending, r->oldest_head, r->oldest_ms);
	else if (old)
		snprintf(out, len, "%u requests in flight, head %u for %u ms: the back end has not completed them",
			 r->pending, r->oldest_head, r->oldest_ms);
	else
		snprintf(out, len, r->pending ? "working" : "idle");
	return old ? RING_WAITS : RING_FINE;
}
