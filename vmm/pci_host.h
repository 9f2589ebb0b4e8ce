/* SPDX-License-Identifier: MIT */
/*
 * The root of a PCI bus: a host bridge, configuration mechanism #1, and the
 * windows in which functions have their regions. A function is a table of
 * methods; what it is, and on which thread it works, is its own business.
 *
 * Regions may move at any time, told by pci_region(), and are looked up at
 * each access.
 */
#ifndef VMM_PCI_HOST_H
#define VMM_PCI_HOST_H

#include <pthread.h>

#include "vmm/bus.h"
#include "vmm/layout.h"

enum { PCI_BARS = 6 };

/* All on any processor's thread, several at a time. */
struct pci_function {
	uint32_t (*config_read)(void *ctx, unsigned off, unsigned len);
	void (*config_write)(void *ctx, unsigned off, uint32_t value,
			     unsigned len);
	uint64_t (*bar_read)(void *ctx, unsigned bar, uint64_t off,
			     unsigned len);
	void (*bar_write)(void *ctx, unsigned bar, uint64_t off,
			  uint64_t value, unsigned len);
};

struct pci_slot {
	const struct pci_function *fn;
	void *ctx;
	struct {
		uint64_t addr, size;	/* size 0: not to be seen */
		bool port;
	} bar[PCI_BARS];
};

struct pci_host {
	pthread_mutex_t lock;		/* of all below */
	struct pci_slot slot[VMM_DEVICES_MAX];	/* device numbers 1 to ... */
	unsigned nr;
	uint32_t selected;		/* what port 0xcf8 was told */
	uint32_t next_mem, next_port;	/* for firmware's part */
};

/* 0, or -ENOSPC. */
int pci_host_init(struct pci_host *h, struct bus *mmio, struct bus *ports);
void pci_host_fini(struct pci_host *h);

/*
 * Put a function into the next slot, and do what firmware does: give each
 * region an address and the function its interrupt line @gsi. Before the
 * processors run. @slot: which it is, for pci_region(). 0 or -errno, said.
 */
int pci_host_add(struct pci_host *h, const struct pci_function *fn, void *ctx,
		 unsigned gsi, unsigned *slot);

/* A region appeared at @addr, or with @size 0 went away. Any thread. */
void pci_region(struct pci_host *h, unsigned slot, unsigned bar, bool port,
		uint64_t addr, uint64_t size);

#endif
