/* SPDX-License-Identifier: MIT */
/* Shared interrupt lines: see irq.h. */
#include "vmm/irq.h"

#include <string.h>

void irq_init(struct irq *irq, struct vm *vm)
{
	memset(irq->held, 0, sizeof(irq->held));
	irq->vm = vm;
	pthread_mutex_init(&irq->lock, NULL);
}

void irq_fini(struct irq *irq)
{
	pthread_mutex_destroy(&irq->lock);
}

void irq_set(struct irq *irq, struct irq_line *line, bool up)
{
	unsigned *held = &irq->held[line->gsi];

	pthread_mutex_lock(&irq->lock);
	if (line->up != up) {
		line->up = up;
		*held += up ? 1u : ~0u;
		/* Under the lock: two changes reach KVM in their order. */
		if (irq->vm && *held == (up ? 1u : 0u))
			vm_irq_line(irq->vm, line->gsi, up);
	}
	pthread_mutex_unlock(&irq->lock);
}
