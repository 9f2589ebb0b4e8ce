/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport's device side against any sequence of accesses.
 *
 * The first byte: bits 0 and 1 choose the flavour, bit 2 the number of
 * vectors. Then moves, each a byte (modulo the number of moves) and its
 * arguments. A disk stands behind it that keeps its requests until a move
 * lets one go.
 */
#include <stdlib.h>
#include <string.h>
#include <vireo/blk.h>
#include <vireo/pci.h>
#include "fuzz/guest.h"

#define QUEUES		2
#define VECTORS		3
#define SIZE		16
#define RAM		0x8000u
#define MOVES_MOST	3000

struct pci {
	struct bytes in;
	struct vio_pci p;
	struct vio_pci_queue regs[QUEUES];
	struct vio_pci_vector vectors[VECTORS];
	struct vio_queue queue[QUEUES];
	void *storage[QUEUES];
	struct vio_blk blk;
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *ram;
	struct vio_blk_io *held[QUEUES * SIZE];
	unsigned nr_held;
	bool line;
	bool on[VIO_PCI_NR_BARS];
};

/* -- the disk ------------------------------------------------------------ */

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	struct pci *f = ctx;

	must(f->nr_held < QUEUES * SIZE, "no more requests than the rings have");
	f->held[f->nr_held++] = io;
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

static void finish_one(struct pci *f)
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

static void on_intx(void *ctx, bool level)
{
	struct pci *f = ctx;

	must(level != f->line, "the line changes when it is said to");
	f->line = level;
}

static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	struct pci *f = ctx;
	uint64_t a;
	uint32_t d;

	must(vio_pci_vector(&f->p, vector, &a, &d) && a == addr && d == data,
	     "only what may be sent is sent");
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct pci *f = ctx;

	must(q == &f->queue[q->index], "it is one of our queues");
}

static void on_bar(void *ctx, unsigned bar, uint64_t addr, bool on)
{
	struct pci *f = ctx;

	must(bar < VIO_PCI_NR_BARS && on != f->on[bar] && addr,
	     "regions come and go in turn");
	f->on[bar] = on;
}

static const struct vio_pci_ops ops = { .intx = on_intx, .msi = on_msi,
					.serve = on_serve,
					.bar_changed = on_bar };

/* -- moves --------------------------------------------------------------- */

static void config(struct pci *f)
{
	uint16_t off = bytes_u16(&f->in);
	unsigned len = 1u << (off >> 14);

	if (off & 0x2000)
		vio_pci_config_write(&f->p, off & 0x1ff, bytes_u32(&f->in),
				     len);
	else
		vio_pci_config_read(&f->p, off & 0x1fff, len);
}

/* One of the regions, somewhere. */
static void region(struct pci *f)
{
	uint8_t how = bytes_u8(&f->in);
	uint64_t off = bytes_u16(&f->in);
	unsigned len = 1u << (how >> 3 & 3);

	if (how & 0x80)
		vio_pci_bar_write(&f->p, how & 7, off, bytes_u32(&f->in) *
				  0x100000001ull, len);
	else
		vio_pci_bar_read(&f->p, how & 7, off, len);
}

/* A field of the common configuration or a port, by its own width. */
static void field(struct pci *f)
{
	uint8_t off = bytes_u8(&f->in), how = bytes_u8(&f->in);

	vio_pci_bar_write(&f->p, how & 4, off & 0x3f, bytes_u32(&f->in),
			  1u << (how & 3));
}

static void memory(struct pci *f)
{
	uint16_t at = bytes_u16(&f->in) % RAM;
	uint8_t want = bytes_u8(&f->in);
	const uint8_t *from;
	size_t len = bytes_take(&f->in, want, &from);

	if (len > RAM - at)
		len = RAM - at;
	memcpy(f->ram + at, from, len);
}

static void serve(struct pci *f)
{
	vio_queue_service(&f->queue[bytes_u8(&f->in) % QUEUES], 8);
}

static void finish(struct pci *f)
{
	finish_one(f);
}

static void resize(struct pci *f)
{
	vio_blk_resize(&f->blk, bytes_u8(&f->in));
}

static void put(struct pci *f, unsigned off, uint32_t v, unsigned len)
{
	vio_pci_bar_write(&f->p, 4, off, v, len);
}

/* A driver that begins as it should. */
static void begin(struct pci *f)
{
	uint32_t low = bytes_u32(&f->in), high = bytes_u32(&f->in);

	vio_pci_config_write(&f->p, VIO_PCI_COMMAND, 7, 2);
	put(f, VIRTIO_PCI_COMMON_DEVICE_STATUS, 0, 1);
	put(f, VIRTIO_PCI_COMMON_DEVICE_STATUS, 3, 1);
	put(f, VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT, 0, 4);
	put(f, VIRTIO_PCI_COMMON_DRIVER_FEATURE,
	    low & (uint32_t)f->p.dev->offered.w[0], 4);
	put(f, VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT, 1, 4);
	put(f, VIRTIO_PCI_COMMON_DRIVER_FEATURE, (high | 1) &
	    (uint32_t)(f->p.dev->offered.w[0] >> 32), 4);
	put(f, VIRTIO_PCI_COMMON_DEVICE_STATUS, 11, 1);
}

static void enable(struct pci *f)
{
	uint8_t how = bytes_u8(&f->in);
	uint32_t at = (how & 1) * 0x1000u;

	put(f, VIRTIO_PCI_COMMON_QUEUE_SELECT, how & 1, 2);
	put(f, VIRTIO_PCI_COMMON_QUEUE_SIZE, 1u << (how >> 1 & 7), 2);
	put(f, VIRTIO_PCI_COMMON_QUEUE_DESC, at, 4);
	put(f, VIRTIO_PCI_COMMON_QUEUE_DRIVER, at + 0x400, 4);
	put(f, VIRTIO_PCI_COMMON_QUEUE_DEVICE, at + 0x800, 4);
	put(f, VIRTIO_PCI_COMMON_QUEUE_ENABLE, 1, 2);
	if (how & 0x80)
		put(f, VIRTIO_PCI_COMMON_DEVICE_STATUS, 15, 1);
}

static void (*const moves[])(struct pci *f) = {
	config, region, field, memory, serve, finish, resize, begin, enable,
};

/* -- a life -------------------------------------------------------------- */

static void make(struct pci *f, uint8_t how)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_queue_limits limits = { SIZE, 16, vio_blk_ctx_size };
	const struct vio_blk_conf disk = { .capacity_sectors = 64,
		.seg_max = 8, .serial = "fuzz", .num_queues = QUEUES };
	const struct vio_pci_conf conf = {
		.flavour = (enum vio_pci_flavour)((how & 3) % 3),
		.vectors = how & 4 ? VECTORS : 0,
		.notification_data = how & 8, .notif_config_data = how & 16,
	};

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
	must(vio_blk_init(&f->blk, &disk, f->queue, &be, f, NULL) == VIO_OK &&
	     vio_pci_init(&f->p, &conf, &f->blk.dev, &f->mem, f->regs,
			  f->vectors, &ops, f, NULL) == VIO_OK,
	     "the function can be made");
}

static void end(struct pci *f)
{
	unsigned af = f->p.cap_af + VIO_PCI_AF_CONTROL;

	vio_pci_config_write(&f->p, af, 1, 1);
	while (f->nr_held)
		finish_one(f);
	must(vio_dev_status(f->p.dev) == 0, "a reset ends");
	vio_pci_config_write(&f->p, VIO_PCI_COMMAND, 0, 2);
	must(!f->line && !f->mem.pins, "nothing is left");
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		must(!f->on[i], "no region is left");
	for (unsigned i = 0; i < QUEUES; i++)
		free(f->storage[i]);
	free(f->ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pci *f = calloc(1, sizeof(*f));

	must(f, "there is memory");
	f->in = (struct bytes){ data, size };
	make(f, bytes_u8(&f->in));
	for (unsigned i = 0; f->in.left && i < MOVES_MOST; i++)
		moves[bytes_u8(&f->in) % (sizeof(moves) / sizeof(moves[0]))](f);
	end(f);
	free(f);
	return 0;
}
