/* SPDX-License-Identifier: MIT */
/*
 * pci_rig.c - see pci_rig.h. It knows where things lie, but tests nothing.
 */
#include "test/transport/pci_rig.h"

struct pci_rig rig;
const struct vio_pci_conf rig_conf = { .vectors = RIG_VECTORS };

/* -- back ends ----------------------------------------------------------- */

static size_t fill(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	memset(dst, 0x5a, len);
	return len;
}

static void finish(struct vio_blk_io *io)
{
	uint64_t at = io->offset;

	for (unsigned i = 0; i < io->nr_seg; i++) {
		const struct vio_seg *s = &io->seg[i];

		if (io->op == VIO_BLK_READ)
			memcpy(s->base, rig.disk + at, s->len);
		else
			memcpy(rig.disk + at, s->base, s->len);
		at += s->len;
	}
	io->done(io, VIO_OK);
}

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	(void)ctx;
	if (rig.hold_back)
		rig.held = io;
	else
		finish(io);
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

void rig_finish(void)
{
	struct vio_blk_io *io = rig.held;

	rig.held = NULL;
	if (io)
		finish(io);
}

/* A terminal that says back what it is told. */
static unsigned char said[64];
static size_t nr_said;

static size_t terminal_write(void *ctx, const void *src, size_t len)
{
	size_t n = len < sizeof(said) ? len : sizeof(said);

	(void)ctx;
	memcpy(said, src, n);
	nr_said = n;
	vio_console_readable(&rig.console);
	return len;
}

static size_t terminal_read(void *ctx, void *dst, size_t len)
{
	size_t n = len < nr_said ? len : nr_said;

	(void)ctx;
	memcpy(dst, said, n);
	nr_said = 0;
	return n;
}

/* -- the machine --------------------------------------------------------- */

static void on_intx(void *ctx, bool level)
{
	(void)ctx;
	CHECK_NE(level, rig.line);
	rig.line = level;
	rig.edges++;
}

static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	uint64_t a;
	uint32_t d;

	(void)ctx;
	CHECK_LT(vector, RIG_VECTORS);
	CHECK(vio_pci_vector(&rig.p, vector, &a, &d));
	CHECK_EQ(a, addr);
	CHECK_EQ(d, data);
	rig.msi[vector]++;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	rig.asked[q->index] = true;
}

static void on_vector(void *ctx, unsigned vector)
{
	(void)ctx;
	CHECK_LT(vector, RIG_VECTORS);
	rig.changed++;
}

static void on_bar(void *ctx, unsigned bar, uint64_t addr, bool on)
{
	(void)ctx;
	CHECK_LT(bar, VIO_PCI_NR_BARS);
	if (on)
		CHECK_EQ(rig.where[bar], 0);
	else
		CHECK_EQ(rig.where[bar], addr);
	rig.where[bar] = on ? addr : 0;
	rig.moves++;
}

static const struct vio_pci_ops ops = { on_intx, on_msi, on_serve, on_vector,
					on_bar };

static void prepare(unsigned nr, uint16_t ctx_size)
{
	const struct vio_queue_limits limits = { RIG_SIZE, 16, ctx_size };

	memset(&rig, 0, sizeof(rig));
	nr_said = 0;
	rig.region = (struct vio_region){ { RIG_GUEST }, RIG_MEM, rig.ram, 0,
					  VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&rig.mem, &rig.region, 1), VIO_OK);
	for (unsigned i = 0; i < nr; i++)
		CHECK_EQ(vio_queue_init(&rig.queue[i], NULL, (uint16_t)i,
					&limits, rig.storage[i],
					sizeof(rig.storage[i])), VIO_OK);
}

static void attach(struct vio_dev *dev, const struct vio_pci_conf *conf)
{
	rig.dev = dev;
	CHECK_EQ(vio_pci_init(&rig.p, conf, dev, &rig.mem, rig.regs,
			      rig.vectors, &ops, NULL, NULL), VIO_OK);
}

void rig_rng(const struct vio_pci_conf *conf)
{
	static const struct vio_rng_source_ops source = { fill };

	prepare(1, vio_rng_ctx_size);
	CHECK_EQ(vio_rng_init(&rig.rng, rig.queue, &source, NULL), VIO_OK);
	attach(&rig.rng.dev, conf);
}

void rig_blk(const struct vio_pci_conf *conf)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_blk_conf blk = { .capacity_sectors = RIG_SECTORS,
		.seg_max = 8, .serial = "pci" };

	prepare(1, vio_blk_ctx_size);
	CHECK_EQ(vio_blk_init(&rig.blk, &blk, rig.queue, &be, NULL, NULL),
		 VIO_OK);
	attach(&rig.blk.dev, conf);
}

void rig_console(const struct vio_pci_conf *conf)
{
	static const struct vio_console_backend_ops be = {
		.write = terminal_write, .read = terminal_read };
	const struct vio_console_conf con = { 80, 25 };

	prepare(2, vio_console_ctx_size);
	CHECK_EQ(vio_console_init(&rig.console, &con, rig.queue, &be, NULL),
		 VIO_OK);
	attach(&rig.console.dev, conf);
}

void rig_place(void)
{
	rig_cfg_put(VIO_PCI_BAR, RIG_PORTS, 4);
	rig_cfg_put(VIO_PCI_BAR + 4, RIG_MSIX_BAR, 4);
	rig_cfg_put(VIO_PCI_BAR + 8, (uint32_t)RIG_SHM_BAR, 4);
	rig_cfg_put(VIO_PCI_BAR + 12, RIG_SHM_BAR >> 32, 4);
	rig_cfg_put(VIO_PCI_BAR + 16, (uint32_t)RIG_REGS_BAR, 4);
	rig_cfg_put(VIO_PCI_BAR + 20, RIG_REGS_BAR >> 32, 4);
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_IO | VIO_PCI_COMMAND_MEM |
		    VIO_PCI_COMMAND_MASTER, 2);
}

/* -- accesses ------------------------------------------------------------ */

uint32_t rig_cfg(unsigned off, unsigned len)
{
	uint64_t v = 0;

	CHECK(vio_pci_access(&rig.p, VIO_PCI_CONFIG, off, &v, len, false));
	return (uint32_t)v;
}

void rig_cfg_put(unsigned off, uint32_t v, unsigned len)
{
	uint64_t value = v;

	CHECK(vio_pci_access(&rig.p, VIO_PCI_CONFIG, off, &value, len, true));
}

unsigned rig_cap(unsigned id, unsigned type, unsigned nth)
{
	unsigned at = rig_cfg(VIO_PCI_CAP_PTR, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		CHECK_EQ(at % 4, 0);
		CHECK_GE(at, 0x40);
		if (rig_cfg(at, 1) == id &&
		    (id != VIO_PCI_CAP_VENDOR || rig_cfg(at + 3, 1) == type) &&
		    !nth--)
			return at;
		at = rig_cfg(at + 1, 1);
	}
	return 0;
}

uint64_t rig_mem(uint64_t addr, unsigned len)
{
	uint64_t v = 0;

	CHECK(vio_pci_access(&rig.p, VIO_PCI_MEM, addr, &v, len, false));
	return v;
}

void rig_mem_put(uint64_t addr, uint64_t v, unsigned len)
{
	CHECK(vio_pci_access(&rig.p, VIO_PCI_MEM, addr, &v, len, true));
}

/* Where a structure is, by its capability. */
static uint64_t at(unsigned type)
{
	unsigned cap = rig_cap(VIO_PCI_CAP_VENDOR, type, 0);

	CHECK_NE(cap, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_BAR, 1), 4);
	return RIG_REGS_BAR + rig_cfg(cap + VIRTIO_PCI_CAP_OFFSET, 4);
}

uint32_t rig_common(unsigned off, unsigned len)
{
	return (uint32_t)rig_mem(at(VIRTIO_PCI_CAP_COMMON_CFG) + off, len);
}

void rig_common_put(unsigned off, uint32_t v, unsigned len)
{
	rig_mem_put(at(VIRTIO_PCI_CAP_COMMON_CFG) + off, v, len);
}

uint64_t rig_at_device(void)
{
	return at(VIRTIO_PCI_CAP_DEVICE_CFG);
}

uint64_t rig_at_isr(void)
{
	return at(VIRTIO_PCI_CAP_ISR_CFG);
}

uint64_t rig_at_notify(unsigned q)
{
	unsigned cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_NOTIFY_CFG,
			       0);

	rig_common_put(VIRTIO_PCI_COMMON_QUEUE_SELECT, q, 2);
	return at(VIRTIO_PCI_CAP_NOTIFY_CFG) +
	       (uint64_t)rig_cfg(cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4) *
	       rig_common(VIRTIO_PCI_COMMON_QUEUE_NOTIFY_OFF, 2);
}

/* -- a driver by hand ---------------------------------------------------- */

void rig_negotiate(uint32_t low, uint32_t high)
{
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 0, 1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 1, 1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 3, 1);
	rig_common_put(VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT, 0, 4);
	rig_common_put(VIRTIO_PCI_COMMON_DRIVER_FEATURE, low, 4);
	rig_common_put(VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT, 1, 4);
	rig_common_put(VIRTIO_PCI_COMMON_DRIVER_FEATURE, high, 4);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 11, 1);
}

static void put64(unsigned off, uint64_t v)
{
	rig_common_put(off, (uint32_t)v, 4);
	rig_common_put(off + 4, (uint32_t)(v >> 32), 4);
}

void rig_enable(unsigned q, uint32_t size, uint64_t at)
{
	rig_common_put(VIRTIO_PCI_COMMON_QUEUE_SELECT, q, 2);
	rig_common_put(VIRTIO_PCI_COMMON_QUEUE_SIZE, size, 2);
	put64(VIRTIO_PCI_COMMON_QUEUE_DESC, at);
	put64(VIRTIO_PCI_COMMON_QUEUE_DRIVER, at + 0x400);
	put64(VIRTIO_PCI_COMMON_QUEUE_DEVICE, at + 0x800);
	rig_common_put(VIRTIO_PCI_COMMON_QUEUE_ENABLE, 1, 2);
}

void rig_vector(unsigned vector, uint64_t addr, uint32_t data)
{
	uint64_t entry = RIG_MSIX_BAR + vector * VIO_PCI_MSIX_ENTRY;

	rig_mem_put(entry, (uint32_t)addr, 4);
	rig_mem_put(entry + 4, addr >> 32, 4);
	rig_mem_put(entry + 8, data, 4);
	rig_mem_put(entry + 12, 0, 4);
}

void rig_msix_on(void)
{
	unsigned cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);

	CHECK_NE(cap, 0);
	rig_cfg_put(cap + VIO_PCI_MSIX_CONTROL, VIO_PCI_MSIX_ENABLE, 2);
}
