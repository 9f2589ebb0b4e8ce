/* SPDX-License-Identifier: MIT */
/* Off and reset: see power.h. */
#include "vmm/power.h"

#include "host/clock.h"
#include "vmm/layout.h"

enum {
	PM_ENABLE = VMM_PM_EVENT + 2,
	SCI_ENABLED = 1,
	SLEEP_ENABLE = 1 << 13,
	SLEEP_TYPE_SHIFT = 10,
	SLEEP_TYPE_MASK = 7,
	TIMER_HZ = 3579545,
	TIMER_BITS = 0xffffff,
};

static uint64_t timer(void)
{
	uint64_t ns = clock_ns();

	/* In two steps: in one it would overflow within weeks. */
	return (ns / NS_PER_S * TIMER_HZ +
		ns % NS_PER_S * TIMER_HZ / NS_PER_S) & TIMER_BITS;
}

static uint64_t pm_read(void *ctx, uint64_t off, unsigned len)
{
	struct power *p = ctx;

	(void)len;
	if (off == PM_ENABLE)
		return p->enable;
	if (off == VMM_PM_CONTROL)
		return SCI_ENABLED;
	return off == VMM_PM_TIMER ? timer() : 0;
}

static void pm_write(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	struct power *p = ctx;

	(void)len;
	if (off == PM_ENABLE)
		p->enable = (uint16_t)value;
	if (off == VMM_PM_CONTROL && value & SLEEP_ENABLE &&
	    (value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == VMM_SLEEP_OFF)
		p->event(p->ctx, POWER_OFF);
}

static uint64_t reset_read(void *ctx, uint64_t off, unsigned len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return 0;	/* neither input nor output is pending */
}

static void reset_write(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	struct power *p = ctx;

	(void)off;
	if (len == 1 && value == VMM_RESET_VALUE)
		p->event(p->ctx, POWER_RESET);
}

static const struct bus_ops pm_bus = { pm_read, pm_write };
static const struct bus_ops reset_bus = { reset_read, reset_write };

int power_init(struct power *p, struct bus *ports,
	       void (*event)(void *ctx, enum power_event event), void *ctx)
{
	int err;

	*p = (struct power){ .event = event, .ctx = ctx };
	err = bus_add(ports, VMM_PORT_PM, VMM_PM_SIZE, &pm_bus, p);
	return err ? err : bus_add(ports, VMM_PORT_RESET, 1, &reset_bus, p);
}
