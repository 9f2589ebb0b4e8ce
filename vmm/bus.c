/* SPDX-License-Identifier: MIT */
/* Who answers at an address: see bus.h. */
#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *bus, uint64_t base, uint64_t size,
	    const struct bus_ops *ops, void *ctx)
{
	if (bus->nr == BUS_RANGES)
		return -ENOSPC;
	bus->range[bus->nr++] = (struct bus_range){ base, size, ops, ctx };
	return 0;
}

/* An access lies in one range, or in none. */
static const struct bus_range *find(const struct bus *bus, uint64_t addr,
				    unsigned len)
{
	for (unsigned i = 0; i < bus->nr; i++) {
		const struct bus_range *r = &bus->range[i];

		if (addr >= r->base && addr - r->base < r->size)
			return len <= r->size - (addr - r->base) ? r : NULL;
	}
	return NULL;
}

uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned len)
{
	const struct bus_range *r = find(bus, addr, len);

	return r ? r->ops->read(r->ctx, addr - r->base, len) : UINT64_MAX;
}

void bus_write(const struct bus *bus, uint64_t addr, uint64_t value,
	       unsigned len)
{
	const struct bus_range *r = find(bus, addr, len);

	if (r)
		r->ops->write(r->ctx, addr - r->base, value, len);
}
