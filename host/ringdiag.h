/* SPDX-License-Identifier: MIT */
/*
 * Why does a ring not get on? Rules over what an onlooker knows of it, be it
 * the back end itself or somebody in between. What the onlooker cannot know
 * is left out of its state, and no rule guesses.
 */
#ifndef HOST_RINGDIAG_H
#define HOST_RINGDIAG_H

#include <stdbool.h>
#include <stdint.h>
#include <vireo/look.h>

enum ring_way {
	RING_WAY_NONE,
	RING_WAY_FD,
	RING_WAY_MESSAGE,
	RING_WAY_POLL,
	RING_WAY_UNKNOWN,
};

struct ring_state {
	bool connected;
	bool configured;	/* has a size and addresses */
	bool started;
	bool enabled;
	bool broken;
	bool packed, event_idx;
	uint16_t size;
	enum ring_way kick, call;

	enum vio_want want_kick, want_call;
	uint16_t kick_at, call_at;	/* of VIO_WANT_AT */

	/*
	 * Entries that the driver made available and the device has not
	 * taken: only the device knows. -1: unknown.
	 */
	int32_t untaken;
	uint16_t avail_idx;	/* split: as it stands in the ring */
	bool overrun;

	/* Buffers available or taken, and not used; the oldest one's age. */
	uint32_t pending;
	uint32_t oldest_ms;
	uint16_t oldest_head;

	/*
	 * What only one who sees the kicks and calls knows: how far the ring
	 * was when the last of them passed, and whether one did.
	 */
	bool sees_signals;
	bool kicked, called;
	uint16_t avail_at_kick;	/* as avail_idx; packed: packed position */
	uint16_t used_at_call;
	uint16_t avail_now, used_now;
	bool used_more;		/* used entries since the last call */
};

enum ring_grade {
	RING_FINE,		/* nothing waits */
	RING_WAITS,		/* something waits, which may be right */
	RING_STUCK,		/* it cannot or does not get on */
};

/*
 * Say why, in one sentence in @out. @after_ms: younger waiting is no cause
 * for concern.
 */
enum ring_grade ring_diagnose(const struct ring_state *r, uint32_t after_ms,
			      char *out, size_t len);

#endif
