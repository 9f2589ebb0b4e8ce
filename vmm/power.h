/* SPDX-License-Identifier: MIT */
/*
 * How a guest switches itself off or starts anew: ACPI's power management
 * registers, and the reset line of a keyboard controller. Also the timer that
 * stands beside them.
 */
#ifndef VMM_POWER_H
#define VMM_POWER_H

#include "vmm/bus.h"

enum power_event { POWER_OFF, POWER_RESET };

struct power {
	/* A processor's thread. */
	void (*event)(void *ctx, enum power_event event);
	void *ctx;
	uint16_t enable;	/* written, never used: no event is wired */
};

/* 0 or -ENOSPC. */
int power_init(struct power *p, struct bus *ports,
	       void (*event)(void *ctx, enum power_event event), void *ctx);

#endif
