/* SPDX-License-Identifier: MIT */
/*
 * Who answers at an address: ranges of memory or I/O ports, and the functions
 * behind them. Filled before the processors run, constant from then on; a
 * range whose devices move (PCI) sorts them out itself.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

/* Any processor's thread, several at a time. @len: 1, 2, 4 or 8 bytes. */
struct bus_ops {
	uint64_t (*read)(void *ctx, uint64_t off, unsigned len);
	void (*write)(void *ctx, uint64_t off, uint64_t value, unsigned len);
};

struct bus_range {
	uint64_t base, size;
	const struct bus_ops *ops;
	void *ctx;
};

enum { BUS_RANGES = 40 };

struct bus {
	struct bus_range range[BUS_RANGES];
	unsigned nr;
};

/* 0, or -ENOSPC. Ranges must not overlap. */
int bus_add(struct bus *bus, uint64_t base, uint64_t size,
	    const struct bus_ops *ops, void *ctx);

/*
 * An access of the guest. Where nobody is, all bits read as 1 and writes are
 * lost, as on a PC.
 */
uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned len);
void bus_write(const struct bus *bus, uint64_t addr, uint64_t value,
	       unsigned len);

#endif
