/* SPDX-License-Identifier: MIT */
/*
 * pci_machine.h - the rig's machine as a driver has it: all three ways to
 * configuration space, and a watchman over what a driver may not do.
 */
#ifndef TEST_TRANSPORT_PCI_MACHINE_H
#define TEST_TRANSPORT_PCI_MACHINE_H

#include <vireo/bus_pci.h>

#include "test/transport/pci_rig.h"

/* Where the rig's function is. */
#define MACHINE_AT	VIO_PCI_FUNCTION(1, 3, 2)
#define MACHINE_ECAM	0xb0000000ull

struct pci_watch {
	unsigned notifies[2];		/* by queue */
	uint32_t notified;		/* value written last */
	unsigned notify_len;		/* its width */
	unsigned isr_reads;
	unsigned config_writes;		/* of configuration space */
	uint64_t mapped;		/* added to mapped addresses */
	uint32_t power;			/* written to its register last */
	/* Waking resets the function, which says so unless it pretends. */
	bool forgets, pretends;
};

extern struct pci_watch watch;
extern struct vio_pci_machine machine;

/* A driver's memory: the rig's, all of it. */
struct vio_drv_mem machine_mem(void);
/* Ring features by the four lowest bits of @set. */
struct vio_features machine_features(unsigned set);
/* What is placed before the probe; NULL: nothing. */
void machine_reset(enum vio_pci_mechanism mechanism);

#endif
