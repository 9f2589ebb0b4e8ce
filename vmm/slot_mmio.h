/* SPDX-License-Identifier: MIT */
/*
 * A device behind virtio-mmio registers at an address of the machine. Kicks
 * arrive by ioeventfd, interrupts leave by a line of the interrupt
 * controller. Knows no type of device.
 */
#ifndef VMM_SLOT_MMIO_H
#define VMM_SLOT_MMIO_H

#include <vireo/mmio_legacy.h>

#include "vmm/bus.h"
#include "vmm/dev.h"
#include "vmm/irq.h"
#include "vmm/ram.h"

struct slot_mmio;

struct slot_mmio_conf {
	struct dev *dev;
	unsigned nr;		/* which of the machine's places */
	struct vm *vm;
	struct bus *bus;
	struct irq *irq;
	struct ram *ram;
	bool legacy;		/* version 1 of the registers */
};

/* 0, or -errno after an error line. Before the processors run. */
int slot_mmio_open(struct slot_mmio **s, const struct slot_mmio_conf *conf);
/* The device has stopped. NULL is fine. */
void slot_mmio_close(struct slot_mmio *s);

#endif
