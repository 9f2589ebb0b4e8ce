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
#include <vireo/blk.h>
#include <vireo/ccw.h>
#include <vireo/mmio_legacy.h>
#include "fuzz/guest.h"

#define QUEUES		2
#define SIZE		16
#define RAM		0x8000u
#define MOVES_MOST	3000

enum kind { MMIO, LEGACY, CCW };

struct regs {
	struct bytes in;
	enum kind kind;
	struct vio_mmio mmio;
	struct vio_mmio_queue mmio_queue[QUEUES];
	struct vio_mmio_legacy legacy;
	struct vio_mmio_legacy_queue legacy_queue[QUEUES];
	struct vio_ccw ccw;
	struct vio_queue queue[QUEUES];
	void *storage[QUEUES];
	struct vio_blk blk;
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *ram;
	struct vio_blk_io *held[QUEUES * SIZE];
	unsigned nr_held;
	bool line;
};

/* -- the disk ------------------------------------------------------------ */

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	struct regs *f = ctx;

	must(f->nr_held < QUEUES * SIZE, "no more than the rings have");
	f->held[f->nr_held++] = io;
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

static void finish(struct regs *f)
{
	struct vio_blk_io *io;

	if (!f->nr_held)
		return;
	io = f->held[--f->nr_held];
	for (unsigned i = 0; io->op == VIO_BLK_READ && i < io->nr_seg; i++)
		memset(io->seg[i].base, 0x5a, io->seg[i].len);
	io->done(io, VIO_OK);
}

/* -- the machine --------------------------------------------------------- */

static void on_line(void *ctx, bool level)
{
	struct regs *f = ctx;

	must(level != f->line, "the line changes when it is said to");
	f->line = level;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct regs *f = ctx;

	must(q == &f->queue[q->index], "it is one of our queues");
}

static void on_interrupt(void *ctx)
{
	(void)ctx;
}

static void on_adapter_interrupt(void *ctx, unsigned isc)
{
	(void)ctx;
	must(isc < 8, "there are 8 subclasses");
}

static const struct vio_mmio_ops mmio_ops = { on_line, on_serve };
static const struct vio_ccw_ops ccw_ops = { on_interrupt,
					    on_adapter_interrupt, on_serve };

/* -- moves --------------------------------------------------------------- */

static void put(struct regs *f, uint64_t off, uint64_t v, unsigned len)
{
	if (f->kind == MMIO)
		vio_mmio_write(&f->mmio, off, v, len);
	else if (f->kind == LEGACY)
		vio_mmio_legacy_write(&f->legacy, off, v, len);
}

/* A register, or a command whose data the guest's memory has. */
static void access(struct regs *f)
{
	uint16_t off = bytes_u16(&f->in), how = bytes_u8(&f->in);
	uint32_t v = bytes_u32(&f->in);
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
static void right(struct regs *f)
{
	static const uint8_t codes[] = { 0x13, 0x33, 0x43, 0x53, 0x73, 0x12,
		0x11, 0x22, 0x21, 0x31, 0x32, 0x83, 0x72, 0x03, 0x04, 0xe4 };
	uint8_t what = bytes_u8(&f->in);
	uint32_t v = bytes_u32(&f->in);
	struct vio_ccw_command cmd = { codes[what % sizeof(codes)],
				       CCW_FLAG_SLI, 64, 0x7000 };
	struct vio_ccw_status st;

	if (f->kind != CCW) {
		put(f, (what & 0x3f) * 4u, v, 4);
		return;
	}
	vio_be_put(f->ram + 0x7000 + (what >> 4) % 8 * 4, 4, v);
	vio_ccw_cmd(&f->ccw, &cmd, &st);
}

static void program(struct regs *f)
{
	uint64_t at = bytes_u16(&f->in);
	struct vio_ccw_status st;

	if (f->kind == CCW)
		vio_ccw_start(&f->ccw, &at, &st);
}

static void memory(struct regs *f)
{
	uint16_t at = bytes_u16(&f->in) % RAM;
	uint8_t want = bytes_u8(&f->in);
	const uint8_t *from;
	size_t len = bytes_take(&f->in, want, &from);

	if (len > RAM - at)
		len = RAM - at;
	if (len)
		memcpy(f->ram + at, from, len);
}

static void serve(struct regs *f)
{
	vio_queue_service(&f->queue[bytes_u8(&f->in) % QUEUES], 8);
}

static void notify(struct regs *f)
{
	uint32_t v = bytes_u32(&f->in);

	if (f->kind == CCW)
		vio_ccw_notify(&f->ccw, v, 0);
	else
		put(f, 0x50, v, 4);
}

static void resize(struct regs *f)
{
	vio_blk_resize(&f->blk, bytes_u8(&f->in));
}

static void enabled(struct regs *f)
{
	if (f->kind == CCW)
		vio_ccw_enabled(&f->ccw);
}

static void (*const moves[])(struct regs *f) = {
	access, right, program, memory, serve, notify, resize, finish,
	enabled,
};

/* -- a life -------------------------------------------------------------- */

static void make(struct regs *f, uint8_t how)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_queue_limits limits = { SIZE, 16, vio_blk_ctx_size };
	const struct vio_blk_conf disk = { .capacity_sectors = 64,
		.seg_max = 8, .num_queues = QUEUES };

	f->kind = (enum kind)(how % 3);
	f->ram = calloc(1, RAM);
	f->region = (struct vio_region){ { 0 }, RAM, f->ram, 0, VIO_PERM_RW };
	must(f->ram && vio_mem_init(&f->mem, &f->region, 1) == VIO_OK,
	     "there is memory");
	for (unsigned i = 0; i < QUEUES; i++) {
		size_t len = vio_queue_storage_size(&limits);

		f->storage[i] = aligned_alloc(64, (len + 63) / 64 * 64);
		must(f->storage[i] && vio_queue_init(&f->queue[i], NULL,
			(uint16_t)i, &limits, f->storage[i], len) == VIO_OK,
		     "a queue can be made");
	}
	must(vio_blk_init(&f->blk, &disk, f->queue, &be, f, NULL) == VIO_OK,
	     "the disk can be made");
	if (f->kind == MMIO)
		vio_mmio_init(&f->mmio, &f->blk.dev, &f->mem, f->mmio_queue,
			      &mmio_ops, f, NULL);
	else if (f->kind == LEGACY)
		vio_mmio_legacy_init(&f->legacy, &f->blk.dev, &f->mem,
				     f->legacy_queue, &mmio_ops, f, NULL);
	else
		vio_ccw_init(&f->ccw, &f->blk.dev, &f->mem, how & 0x80,
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
		must(f->nr_held, "a reset waits for nothing but requests");
		finish(f);
	}
	while (f->nr_held)
		finish(f);
	must(vio_dev_status(&f->blk.dev) == 0, "a reset ends");
	must(!f->line && !f->mem.pins, "nothing is left");
	for (unsigned i = 0; i < QUEUES; i++)
		free(f->storage[i]);
	free(f->ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct regs *f = calloc(1, sizeof(*f));

	must(f, "there is memory");
	f->in = (struct bytes){ data, size };
	make(f, bytes_u8(&f->in));
	for (unsigned i = 0; f->in.left && i < MOVES_MOST; i++)
		moves[bytes_u8(&f->in) % (sizeof(moves) / sizeof(moves[0]))](f);
	end(f);
	free(f);
	return 0;
}
