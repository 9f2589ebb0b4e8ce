/* SPDX-License-Identifier: MIT */
/*
 * The insides of vireo-ring: main.c (options, what is shown), live.c (from a
 * daemon's control socket), record.c (from a record of vireo-tap).
 */
#ifndef RING_RING_H
#define RING_RING_H

#include <stdint.h>
#include <stdio.h>

#include "host/ringdiag.h"

#define HEADS_SHOWN	32u

struct head {
	uint32_t head;
	uint32_t age_ms;
	bool done, replayed;
};

/* A ring as both sources give it. */
struct shown {
	unsigned queue;
	struct ring_state state;
	char mode[16];			/* "running" */
	bool in_order;
	uint16_t avail_base, used_base;	/* where the device stands */
	uint64_t requests, kicks, calls;
	unsigned nr_heads;
	struct head head[HEADS_SHOWN];	/* the oldest first */
};

struct ring_options {
	const char *socket, *record;
	const char *device;		/* NULL: all there are */
	unsigned queue;			/* ALL_QUEUES */
	unsigned after_ms, interval_ms;
	unsigned at_ms;			/* of a record; ALL_TIME: its end */
};

#define ALL_QUEUES	UINT32_MAX
#define ALL_TIME	UINT32_MAX

/* Shows one ring; true if it is stuck. */
bool show(const struct ring_options *o, struct shown *s);

/* Show all: how many are stuck, or -errno after an error line. */
int show_live(const struct ring_options *o);
int show_record(const struct ring_options *o);

#endif
