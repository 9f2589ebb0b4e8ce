/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines that several devices share: the line is up while any of
 * them holds it up. Any thread.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <pthread.h>

#include "vmm/layout.h"
#include "vmm/vm.h"

struct irq {
	struct vm *vm;
	pthread_mutex_t lock;
	unsigned held[VMM_IOAPIC_PINS];	/* by how many devices */
};

/* One device's hold on a line; zero it, and set its gsi. */
struct irq_line {
	unsigned gsi;
	bool up;
};

/* @vm NULL: there are no controllers, and lines lead nowhere. */
void irq_init(struct irq *irq, struct vm *vm);
void irq_fini(struct irq *irq);

void irq_set(struct irq *irq, struct irq_line *line, bool up);

/* The line of the @nr-th device: they are spread over those there are. */
static inline unsigned irq_of_device(unsigned nr)
{
	return VMM_IRQ_DEVICES + nr % VMM_IRQ_DEVICES_NR;
}

#endif
