/* SPDX-License-Identifier: MIT */
/*
 * A serial port as PCs have it (16550A), for the kernel's early words. It
 * knows bytes, not where they come from or go to.
 *
 * Registers are read and written by any processor's thread; the other side
 * by one thread of the host's.
 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <pthread.h>
#include <stddef.h>

#include "vmm/bus.h"
#include "vmm/irq.h"

enum { SERIAL_IN = 1024, SERIAL_OUT = 16384, SERIAL_PORTS = 8 };

struct serial {
	struct irq *irq;
	struct irq_line line;
	pthread_mutex_t lock;
	/* There are bytes to take. A processor's thread. */
	void (*printed)(void *ctx);
	/* There is room again after serial_put() took less than all. */
	void (*room)(void *ctx);
	void *ctx;

	uint8_t ier, lcr, mcr, fcr, scratch;
	uint16_t divisor;
	bool thr_pending;	/* interrupt: the transmitter is empty */
	bool stalled;		/* serial_put() took less than all */

	unsigned char in[SERIAL_IN], out[SERIAL_OUT];
	unsigned in_head, in_tail;	/* run freely */
	unsigned out_head, out_tail;
};

extern const struct bus_ops serial_bus;	/* ctx: the port */

void serial_init(struct serial *s, struct irq *irq, unsigned gsi);
void serial_fini(struct serial *s);

/* Take what the guest printed, at most @len bytes. */
size_t serial_take(struct serial *s, void *dst, size_t len);
/* Give it input. Returns how many bytes found room. */
size_t serial_put(struct serial *s, const void *src, size_t len);

#endif
