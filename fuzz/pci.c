/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport's device side against any sequence of accesses.
 *
 * The first byte: bits 0 and 1 choose the flavour, bit 2 the number of
 * vectors. Then moves, each a byte (modulo the number of moves) and its
 * arguments. A disk stands behind it that keeps its requests until a move
 * lets one go.
 */
#include <vireo/pci.h>
#include "fuzz/lazy.h"

#define VECTORS		3
#define MOVES_MOST	3000

struct pci {
	struct lazy z;
	struct vio_pci p;
	struct vio_pci_queue regs[LAZY_QUEUES];
	struct vio_pci_vector vectors[VECTORS];
	bool on[VIO_PCI_NR_BARS];
};

static struct pci *self(struct lazy *z)
{
	return (struct pci *)z;
}

/* -- the machine --------------------------------------------------------- */

static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	struct pci *f = ctx;
	uint64_t a;
	uint32_t d;

	must(vio_pci_vector(&f->p, vector, &a, &d) && a == addr && d == data,
	     "only what may be sent is sent");
}

static void on_bar(void *ctx, unsigned bar, uint64_t addr, bool on)
{
	struct pci *f = ctx;

	must(bar < VIO_PCI_NR_BARS && on != f->on[bar] && addr,
	     "regions come and go in turn");
	f->on[bar] = on;
}

static const struct vio_pci_ops ops = { .intx = lazy_on_line, .msi = on_msi,
					.serve = lazy_on_serve,
					.bar_changed = on_bar };

/* -- moves --------------------------------------------------------------- */

static void config(struct lazy *z)
{
	struct pci *f = self(z);
	uint16_t off = bytes_u16(&f->z.in);
	unsigned len = 1u << (off >> 14);

	if (off & 0x2000)
		vio_pci_config_write(&f->p, off & 0x1ff, bytes_u32(&f->z.in),
				     len);
	else
		vio_pci_config_read(&f->p, off & 0x1fff, len);
}

/* One of the regions, somewhere. */
static void region(struct lazy *z)
{
	struct pci *f = self(z);
	uint8_t how = bytes_u8(&f->z.in);
	uint64_t off = bytes_u16(&f->z.in);
	unsigned len = 1u << (how >> 3 & 3);

	if (how & 0x80)
		vio_pci_bar_write(&f->p, how & 7, off, bytes_u32(&f->z.in) *
				  0x100000001ull, len);
	else
		vio_pci_bar_read(&f->p, how & 7, off, len);
}

/* A field of the common configuration or a port, by its own width. */
static void field(struct lazy *z)
{
	struct pci *f = self(z);
	uint8_t off = bytes_u8(&f->z.in), how = bytes_u8(&f->z.in);

	vio_pci_bar_write(&f->p, how & 4, off & 0x3f, bytes_u32(&f->z.in),
			  1u << (how & 3));
}

static void put(struct pci *f, unsigned off, uint32_t v, unsigned len)
{
	vio_pci_bar_write(&f->p, 4, off, v, len);
}

/* A driver that begins as it should. */
static void begin(struct lazy *z)
{
	struct pci *f = self(z);
	uint32_t low = bytes_u32(&f->z.in), high = bytes_u32(&f->z.in);

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

static void enable(struct lazy *z)
{
	struct pci *f = self(z);
	uint8_t how = bytes_u8(&f->z.in);
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

static lazy_move *const moves[] = {
	config, region, field, lazy_memory, lazy_serve, lazy_finish,
	lazy_resize, begin, enable,
};

/* -- a life -------------------------------------------------------------- */

static void make(struct pci *f, uint8_t how)
{
	const struct vio_pci_conf conf = {
		.flavour = (enum vio_pci_flavour)((how & 3) % 3),
		.vectors = how & 4 ? VECTORS : 0,
		.notification_data = how & 8, .notif_config_data = how & 16,
	};

	lazy_make(&f->z);
	must(vio_pci_init(&f->p, &conf, &f->z.blk.dev, &f->z.mem, f->regs,
			  f->vectors, &ops, f, NULL) == VIO_OK,
	     "the function can be made");
}

static void end(struct pci *f)
{
	unsigned af = f->p.cap_af + VIO_PCI_AF_CONTROL;

	vio_pci_config_write(&f->p, af, 1, 1);
	while (f->z.nr_held)
		lazy_finish(&f->z);
	vio_pci_config_write(&f->p, VIO_PCI_COMMAND, 0, 2);
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		must(!f->on[i], "no region is left");
	lazy_end(&f->z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pci *f = calloc(1, sizeof(*f));

	must(f, "there is memory");
	f->z.in = (struct bytes){ data, size };
	make(f, bytes_u8(&f->z.in));
	for (unsigned i = 0; f->z.in.left && i < MOVES_MOST; i++)
		lazy_step(&f->z, moves, sizeof(moves) / sizeof(moves[0]));
	end(f);
	free(f);
	return 0;
}
