/* SPDX-License-Identifier: MIT */
/* A serial port, 16550A: see serial.h. */
#include "vmm/serial.h"

#include <string.h>

enum {
	REG_DATA = 0,
	REG_IER = 1,
	REG_IIR = 2,	/* read; FCR when written */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCRATCH = 7,

	IER_DATA = 1,
	IER_THR = 2,
	IER_ALL = 0xf,
	IIR_NONE = 1,
	IIR_THR = 2,
	IIR_DATA = 4,
	IIR_FIFO = 0xc0,
	FCR_ENABLE = 1,
	FCR_CLEAR_IN = 2,
	LCR_DIVISOR = 0x80,
	MCR_RTS = 2,
	MCR_DTR = 1,
	MCR_OUT1 = 4,
	MCR_OUT2 = 8,
	MCR_LOOP = 0x10,
	LSR_DATA = 1,
	LSR_THR_EMPTY = 0x20,
	LSR_IDLE = 0x40,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RING = 0x40,
	MSR_CARRIER = 0x80,
};

static bool has_input(const struct serial *s)
{
	return s->in_head != s->in_tail;
}

static bool has_room(const struct serial *s)
{
	return s->out_tail - s->out_head < SERIAL_OUT;
}

static uint8_t cause(const struct serial *s)
{
	if (s->ier & IER_DATA && has_input(s))
		return IIR_DATA;
	if (s->ier & IER_THR && s->thr_pending)
		return IIR_THR;
	return IIR_NONE;
}

static void update(struct serial *s)
{
	irq_set(s->irq, &s->line, cause(s) != IIR_NONE);
}

static void push_in(struct serial *s, unsigned char c)
{
	if (s->in_tail - s->in_head < SERIAL_IN)
		s->in[s->in_tail++ % SERIAL_IN] = c;
}

/* -- registers ----------------------------------------------------------- */

static void write_data(struct serial *s, uint8_t v)
{
	if (s->mcr & MCR_LOOP)
		push_in(s, v);
	else if (has_room(s))
		s->out[s->out_tail++ % SERIAL_OUT] = v;
	s->thr_pending = has_room(s);
}

static uint8_t read_data(struct serial *s, bool *room)
{
	uint8_t v = 0;

	if (has_input(s))
		v = s->in[s->in_head++ % SERIAL_IN];
	*room = s->stalled && !has_input(s);
	if (*room)
		s->stalled = false;
	return v;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = cause(s);

	if (v == IIR_THR)
		s->thr_pending = false;
	return v | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

/* A loop-back connects the outputs with the inputs. */
static uint8_t read_msr(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_CARRIER;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) |
	       (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (s->mcr & MCR_OUT1 ? MSR_RING : 0) |
	       (s->mcr & MCR_OUT2 ? MSR_CARRIER : 0);
}

static uint8_t read_reg(struct serial *s, uint64_t reg, bool *room)
{
	bool divisor = s->lcr & LCR_DIVISOR;

	switch (reg) {
	case REG_DATA:
		return divisor ? s->divisor & 0xff : read_data(s, room);
	case REG_IER:
		return divisor ? s->divisor >> 8 : s->ier;
	case REG_IIR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return (has_input(s) ? LSR_DATA : 0) |
		       (has_room(s) ? LSR_THR_EMPTY | LSR_IDLE : 0);
	case REG_MSR:
		return read_msr(s);
	default:
		return s->scratch;
	}
}

static void write_ier(struct serial *s, uint8_t v)
{
	/* Whoever asks while it is empty is told so at once. */
	if (v & IER_THR && !(s->ier & IER_THR))
		s->thr_pending = has_room(s);
	s->ier = v & IER_ALL;
}

static void write_reg(struct serial *s, uint64_t reg, uint8_t v)
{
	bool divisor = s->lcr & LCR_DIVISOR;

	switch (reg) {
	case REG_DATA:
		if (divisor)
			s->divisor = (uint16_t)((s->divisor & 0xff00) | v);
		else
			write_data(s, v);
		return;
	case REG_IER:
		if (divisor)
			s->divisor = (uint16_t)((s->divisor & 0xff) | v << 8);
		else
			write_ier(s, v);
		return;
	case REG_IIR:
		s->fcr = v;
		if (v & FCR_CLEAR_IN)
			s->in_head = s->in_tail;
		return;
	case REG_LCR:
		s->lcr = v;
		return;
	case REG_MCR:
		s->mcr = v;
		return;
	case REG_SCRATCH:
		s->scratch = v;
		return;
	default:
		return;
	}
}

static uint64_t bus_get(void *ctx, uint64_t reg, unsigned len)
{
	struct serial *s = ctx;
	bool room = false;
	uint8_t v;

	if (len != 1)
		return UINT64_MAX;
	pthread_mutex_lock(&s->lock);
	v = read_reg(s, reg, &room);
	update(s);
	pthread_mutex_unlock(&s->lock);
	if (room && s->room)
		s->room(s->ctx);
	return v;
}

static void bus_put(void *ctx, uint64_t reg, uint64_t value, unsigned len)
{
	struct serial *s = ctx;
	bool first;

	if (len != 1)
		return;
	pthread_mutex_lock(&s->lock);
	first = s->out_head == s->out_tail;
	write_reg(s, reg, (uint8_t)value);
	first = first && s->out_head != s->out_tail;
	update(s);
	pthread_mutex_unlock(&s->lock);
	if (first && s->printed)
		s->printed(s->ctx);
}

const struct bus_ops serial_bus = { .read = bus_get, .write = bus_put };

/* -- the other side ------------------------------------------------------ */

size_t serial_take(struct serial *s, void *dst, size_t len)
{
	unsigned char *to = dst;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	if (!has_room(s))
		s->thr_pending = true;
	while (n < len && s->out_head != s->out_tail)
		to[n++] = s->out[s->out_head++ % SERIAL_OUT];
	update(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t serial_put(struct serial *s, const void *src, size_t len)
{
	const unsigned char *from = src;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < len && s->in_tail - s->in_head < SERIAL_IN)
		push_in(s, from[n++]);
	s->stalled = n < len;
	update(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

void serial_init(struct serial *s, struct irq *irq, unsigned gsi)
{
	memset(s, 0, sizeof(*s));
	s->irq = irq;
	s->line.gsi = gsi;
	pthread_mutex_init(&s->lock, NULL);
}

void serial_fini(struct serial *s)
{
	pthread_mutex_destroy(&s->lock);
}
