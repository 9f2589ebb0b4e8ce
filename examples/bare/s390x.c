/* SPDX-License-Identifier: MIT */
/*
 * s390x.c - QEMU's machine "s390-ccw-virtio": a console behind SCLP, devices
 * behind subchannels, a disabled wait to end QEMU. The processor is
 * big-endian, addresses are real ones, and interrupts do come: each device
 * works twice, told by adapter interrupts and by classic ones.
 */
#include "bare.h"
#include <vireo/bus_ccw.h>

__asm__(".section .text.start, \"ax\"\n"
	".globl _start\n"
	"_start:	larl	%r15, stack_end\n"
	"	aghi	%r15, -160\n"
	"	brasl	%r14, bare_main\n"
	"1:	j	1b\n"
	".bss\n"
	".balign 16\n"
	".space 16384\n"
	"stack_end:\n"
	".text\n");

enum {
	NEW_PSW = 0x1f0,	/* where an I/O interrupt goes on, */
	CHECK_PSW = 0x1d0,	/* where a program check does */
	INTERRUPT = 0xb8,	/* what it was: subchannel, parameter, kind */
	SUBCLASS = 3,
	SUBCHANNELS = 16,	/* looked at */
	MASK_IO_WAIT = 0x02020001,	/* upper half of a PSW: 64 bits, */
	MASK_OFF = 0x00020001,		/* waiting with interrupts, without */
	MASK_RUN = 0x00000001,
};

#define BASIC_MODE	0x80000000u	/* lower half: with the bit above */
#define SHUT_DOWN	0xfffu		/* the address that QEMU understands */
#define ADAPTER		0x80000000u	/* an interrupt of no subchannel */

struct psw {
	uint32_t mask[2];
	uint64_t at;
};

/* -- the console: service call "write event data", of ASCII text ----------- */

static _Alignas(4096) struct {
	uint16_t len;
	uint8_t head[6];
	union {
		struct {
			uint16_t len;
			uint8_t type, flags;
			uint16_t reserved;
			char c;
		} text;
		struct {
			uint16_t reserved, mask_len;
			uint32_t receive, send;
			uint32_t can[2];
		} mask;
	} u;
} sccb;

enum {
	SCLP_WRITE = 0x00760005, SCLP_MASK = 0x00780005,
	EVENT_ASCII = 0x1a, SENDS_ASCII = 1u << (32 - EVENT_ASCII),
};

static void service_call(uint32_t command)
{
	int cc;

	do
		__asm__ volatile(".insn rre,0xb2200000,%1,%2\n"
				 "	ipm	%0\n"
				 "	srl	%0,28"
				 : "=d"(cc) : "d"(command), "a"(&sccb)
				 : "cc", "memory");
	while (cc == 2);	/* busy */
}

static void console_open(void)
{
	sccb.len = 8 + 20;
	sccb.u.mask.mask_len = 4;
	sccb.u.mask.send = SENDS_ASCII;
	service_call(SCLP_MASK);
}

void machine_put(char c)
{
	sccb.len = 8 + 7;
	for (unsigned i = 0; i < sizeof(sccb.head); i++)
		sccb.head[i] = 0;
	sccb.u.text.len = 7;
	sccb.u.text.type = EVENT_ASCII;
	sccb.u.text.flags = 0;
	sccb.u.text.reserved = 0;
	sccb.u.text.c = c;
	service_call(SCLP_WRITE);
}

/* -- interrupts ------------------------------------------------------------ */

/*
 * Stop until an I/O interrupt. It goes on behind the wait, with nothing in
 * between that could change a register; so what it interrupted needs no
 * saving.
 */
static void wait_for_interrupt(void)
{
	static const struct psw wait = { { MASK_IO_WAIT, BASIC_MODE }, 0 };
	struct psw next = { { MASK_RUN, BASIC_MODE }, 0 };

	__asm__ volatile("	larl	%%r1,1f\n"
			 "	stg	%%r1,%0\n"
			 "	mvc	0(16,%2),%1\n"
			 "	lpswe	%3\n"
			 "1:"
			 : "=Q"(next.at), "+Q"(next)
			 : "a"((uintptr_t)NEW_PSW), "Q"(wait)
			 : "r1", "cc", "memory");
}

/* Of all subclasses. A fault of ours stops the machine, as a failure. */
static void prepare_interrupts(void)
{
	static const uint64_t subclasses = 0xff000000;
	volatile struct psw *check = (struct psw *)(uintptr_t)CHECK_PSW;

	check->mask[0] = MASK_OFF;
	check->mask[1] = BASIC_MODE;
	check->at = 0;
	__asm__ volatile("lctlg %%c6,%%c6,%0" : : "Q"(subclasses));
}

/* -- subchannels ----------------------------------------------------------- */

struct schib {
	uint32_t parameter;
	uint16_t flags;		/* subclass << 11, 0x80: enabled, 1: valid */
	uint16_t device;
	uint32_t rest[11];
};

struct orb {
	uint32_t parameter, control, program, rest[5];
};

struct irb {
	uint8_t key, flags, function, pending;
	uint32_t address;
	uint8_t device, subchannel;
	uint16_t residual;
	uint32_t rest[21];
};

enum { STATUS_PENDING = 1, START_FUNCTION = 0x40, CC_GONE = 3 };

static struct orb orb;
static struct irb irb;
static struct schib schib;
static _Alignas(8) struct vio_ccw_area area;
static _Alignas(8) struct vio_ccw1 sense_ccw;
static uint8_t sense[32];

static struct subchannel {
	uint32_t id;
	bool came;		/* an interrupt that nobody waited for yet */
	unsigned classic, adapter;
} sch;

#define IO(op, id, at) ({						\
	register uint32_t r1 __asm__("1") = (id);			\
	int cc;								\
									\
	__asm__ volatile(op "	0(%2)\n	ipm	%0\n	srl	%0,28"	\
			 : "=&d"(cc) : "d"(r1), "a"(at)			\
			 : "cc", "memory");				\
	cc;								\
})

/*
 * What interrupted? True: the end of the channel program; else a device tells
 * of a queue or of its configuration.
 */
static bool interrupted(void)
{
	volatile uint32_t *why = (uint32_t *)(uintptr_t)INTERRUPT;

	if (why[2] & ADAPTER) {
		sch.adapter++;
		return false;
	}
	if (IO("tsch", why[0], &irb))
		return false;
	if (irb.function & START_FUNCTION)
		return true;
	sch.classic++;
	return false;
}

static bool next_interrupt(void)
{
	wait_for_interrupt();
	return interrupted();
}

/* Those that came while nobody waited any more. */
static void clear_interrupts(void)
{
	while (IO("tpi", 0, NULL))
		interrupted();
}

static int run_program(uint32_t program)
{
	int cc;

	orb = (struct orb){ .control = 0x00c0ff00, .program = program };
	/* 1: an interrupt of before, 2: still busy */
	while ((cc = IO("ssch", sch.id, &orb)) != 0) {
		if (cc == CC_GONE)
			return VIO_E_IO;
		if (cc == 1 && next_interrupt())
			continue;
		sch.came = true;
	}
	while (!next_interrupt())
		sch.came = true;
	return VIO_OK;
}

static int start(void *ctx, uint32_t program, struct vio_ccw_end *end)
{
	int err = run_program(program);

	(void)ctx;
	end->device = irb.device;
	end->subchannel = irb.subchannel;
	end->residual = irb.residual;
	if (err || !(irb.device & CCW_DSTAT_UNIT_CHECK))
		return err;
	sense_ccw = (struct vio_ccw1){ .code = CCW_CMD_BASIC_SENSE,
				       .flags = CCW_FLAG_SLI };
	vio_be_put(sense_ccw.count, 2, sizeof(sense));
	vio_be_put(sense_ccw.addr, 4, (uintptr_t)sense);
	err = run_program((uint32_t)(uintptr_t)&sense_ccw);
	end->sense = sense[0];
	return err;
}

static uint64_t notify(void *ctx, uint64_t data, uint64_t cookie)
{
	register uint64_t r1 __asm__("1") = 3;
	register uint64_t r2 __asm__("2") = sch.id;
	register uint64_t r3 __asm__("3") = data;
	register uint64_t r4 __asm__("4") = cookie;

	(void)ctx;
	__asm__ volatile("diag	%%r2,%%r4,0x500"
			 : "+d"(r2) : "d"(r1), "d"(r3), "d"(r4)
			 : "cc", "memory");
	return r2;
}

/* One interrupt, no more: where none comes, this is the end. */
static int wait(void *ctx)
{
	(void)ctx;
	if (!sch.came)
		next_interrupt();
	sch.came = false;
	return VIO_OK;
}

static const struct vio_ccw_access access = {
	.start = start, .notify = notify, .wait = wait };

/* A subchannel that is switched off forgets its revision. */
static int switch_to(bool on)
{
	if (IO("stsch", sch.id, &schib) || !(schib.flags & 1))
		return VIO_E_UNSUPP;
	schib.flags = (uint16_t)((schib.flags & 1) | (on ? 0x80 : 0) |
				 SUBCLASS << 11);
	return IO("msch", sch.id, &schib) ? VIO_E_IO : VIO_OK;
}

/* Told by adapter interrupts of subclass @isc, or below 0 by classic ones. */
static int use(int isc)
{
	const vio_addr at = { (uintptr_t)&area };
	struct vio_bus_ccw bus;
	int err = switch_to(true);

	if (err)
		return err;
	sch.came = false;
	sch.classic = sch.adapter = 0;
	area = (struct vio_ccw_area){ .summary = 0 };
	err = vio_bus_ccw_probe(&bus, &access, NULL, &area, at, 0, isc);
	if (!err) {
		say("revision ");
		say_number(bus.revision);
		say(" ");
		exercise(bus.device_id, bus.ops, &bus);
		clear_interrupts();
		say(sch.adapter ? "adapter interrupts came\n" :
		    sch.classic ? "classic interrupts came\n" :
				  "no interrupt came\n");
	}
	switch_to(false);
	return err;
}

unsigned machine_devices(void)
{
	unsigned found = 0;

	console_open();
	prepare_interrupts();
	for (uint32_t n = 0; n < SUBCHANNELS; n++) {
		sch = (struct subchannel){ .id = 0x00010000 | n };
		if (use(SUBCLASS))
			continue;
		found++;
		use(-1);
	}
	return found;
}

void machine_off(void)
{
	static const struct psw off = { { MASK_OFF, BASIC_MODE }, SHUT_DOWN };

	__asm__ volatile("lpswe %0" : : "Q"(off));
}
