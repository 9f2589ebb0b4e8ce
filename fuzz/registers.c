/* SPDX-License-Identifier: MIT */
/*
 * The device sides of the MMIO transport, both versions, and of channel I/O
 * against any sequence of accesses and commands.
 *
 * The first byte chooses the transport, and whether a subchannel's device is
 * transitional. Then moves, each a byte (modulo the number of moves) and its
 * arguments. A disk stands behind it that keeps its requests until a move
 * lets one go.
 */
#include <vireo/ccw.h>
#include <vireo/mmio_legacy.h>
#include "fuzz/lazy.h"

#define MOVES_MOST	3000

enum kind { MMIO, LEGACY, CCW };

struct regs {
	struct lazy z;
	enum kind kind;
	struct vio_mmio mmio;
	struct vio_mmio_queue mmio_queue[LAZY_QUEUES];
	struct vio_mmio_legacy legacy;
	struct vio_mmio_legacy_queue legacy_queue[LAZY_QUEUES];
	struct vio_ccw ccw;
};

static struct regs *self(struct lazy *z)
{
	return (struct regs *)z;
}

/* -- the machine --------------------------------------------------------- */

static void on_interrupt(void *ctx)
{
	(void)ctx;
}

static void on_adapter_interrupt(void *ctx, unsigned isc)
{
	(void)ctx;
	must(isc < 8, "there are 8 subclasses");
}

static const struct vio_mmio_ops mmio_ops = { lazy_on_line,
					      lazy_on_serve };
static const struct vio_ccw_ops ccw_ops = { on_interrupt,
					    on_adapter_interrupt,
					    lazy_on_serve };

/* -- moves --------------------------------------------------------------- */

static void put(struct regs *f, uint64_t off, uint64_t v, unsigned len)
{
	if (f->kind == MMIO)
		vio_mmio_write(&f->mmio, off, v, len);
	else if (f->kind == LEGACY)
		vio_mmio_legacy_write(&f->legacy, off, v, len);
}

/* A register, or a command whose data the guest's memory has. */
static void access(struct lazy *z)
{
	struct regs *f = self(z);
	uint16_t off = bytes_u16(&f->z.in), how = bytes_u8(&f->z.in);
	uint32_t v = bytes_u32(&f->z.in);
	struct vio_ccw_command cmd = { (uint8_t)off, (uint8_t)how,
				       (uint16_t)(v & 0x7f), v >> 16 };
	struct vio_ccw_status st;

	if (f->kind == CCW)
		vio_ccw_cmd(&f->ccw, &cmd, &st);
	else if (how & 0x80)
		put(f, off & 0x1ff, v, 1u << (how & 3));
	else if (f->kind == MMIO)
		vio_mmio_read(&f->mmio, off & 0x1ff, 1u << (how & 3));
	else
		vio_mmio_legacy_read(&f->legacy, off & 0x1ff,
				     1u << (how & 3));
}

/* The same, with all that is not of interest as it should be. */
static void right(struct lazy *z)
{
	struct regs *f = self(z);
	static const uint8_t codes[] = { 0x13, 0x33, 0x43, 0x53, 0x73, 0x12,
		0x11, 0x22, 0x21, 0x31, 0x32, 0x83, 0x72, 0x03, 0x04, 0xe4 };
	uint8_t what = bytes_u8(&f->z.in);
	uint32_t v = bytes_u32(&f->z.in);
	struct vio_ccw_command cmd = { codes[what % sizeof(codes)],
				       CCW_FLAG_SLI, 64, 0x7000 };
	struct vio_ccw_status st;

	if (f->kind != CCW) {
		put(f, (what & 0x3f) * 4u, v, 4);
		return;
	}
	vio_be_put(f->z.ram + 0x7000 + (what >> 4) % 8 * 4, 4, v);
	vio_ccw_cmd(&f->ccw, &cmd, &st);
}

static void program(struct lazy *z)
{
	struct regs *f = self(z);
	uint64_t at = bytes_u16(&f->z.in);
	struct vio_ccw_status st;

	if (f->kind == CCW)
		vio_ccw_start(&f->ccw, &at, &st);
}

static void notify(struct lazy *z)
{
	struct regs *f = self(z);
	uint32_t v = bytes_u32(&f->z.in);

	if (f->kind == CCW)
		vio_ccw_notify(&f->ccw, v, 0);
	else
		put(f, 0x50, v, 4);
}

static void enabled(struct lazy *z)
{
	struct regs *f = self(z);

	if (f->kind == CCW)
		vio_ccw_enabled(&f->ccw);
}

static lazy_move *const moves[] = {
	access, right, program, lazy_memory, lazy_serve, notify, lazy_resize,
	lazy_finish, enabled,
};

/* -- a life -------------------------------------------------------------- */

static void make(struct regs *f, uint8_t how)
{
	f->kind = (enum kind)(how % 3);
	lazy_make(&f->z);
	if (f->kind == MMIO)
		vio_mmio_init(&f->mmio, &f->z.blk.dev, &f->z.mem, f->mmio_queue,
			      &mmio_ops, f, NULL);
	else if (f->kind == LEGACY)
		vio_mmio_legacy_init(&f->legacy, &f->z.blk.dev, &f->z.mem,
				     f->legacy_queue, &mmio_ops, f, NULL);
	else
		vio_ccw_init(&f->ccw, &f->z.blk.dev, &f->z.mem, how & 0x80,
			     &ccw_ops, f, NULL);
}

static void end(struct regs *f)
{
	const struct vio_ccw_command reset = { CCW_CMD_VDEV_RESET,
					       CCW_FLAG_SLI, 0, 0 };
	struct vio_ccw_status st;

	put(f, 0x70, 0, 4);
	/* Unset again: there is one revision that takes it. */
	f->ccw.revision = 2;
	while (f->kind == CCW && vio_ccw_cmd(&f->ccw, &reset, &st)) {
		must(f->z.nr_held, "a reset waits for nothing but requests");
		lazy_finish(&f->z);
	}
	lazy_end(&f->z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct regs *f = calloc(1, sizeof(*f));

	must(f, "there is memory");
	f->z.in = (struct bytes){ data, size };
	make(f, bytes_u8(&f->z.in));
	for (unsigned i = 0; f->z.in.left && i < MOVES_MOST; i++)
		lazy_step(&f->z, moves, sizeof(moves) / sizeof(moves[0]));
	end(f);
	free(f);
	return 0;
}
