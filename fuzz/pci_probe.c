/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport's driver side against a function that says anything of
 * itself. Whatever it says, the driver may touch only the function's own
 * regions, within the sizes that its registers have.
 *
 * The input: a byte that chooses, 6 bytes that are the sizes of the regions
 * (logarithms), then 256 bytes of configuration space, then what registers
 * answer.
 */
#include <string.h>
#include <vireo/bus_pci.h>
#include <vireo/driver_rng.h>
#include "fuzz/guest.h"

#define PATIENCE	200u

struct function {
	struct bytes in;
	uint32_t mask[VIO_PCI_NR_BARS];	/* bits of a register that are 0 */
	uint32_t bar[VIO_PCI_NR_BARS];	/* as last written */
	bool upper[VIO_PCI_NR_BARS];	/* the upper half of the one before */
	unsigned char config[256];
	unsigned patience;
};

static uint32_t config_read(struct function *f, unsigned off, unsigned len)
{
	unsigned bar = (off - VIO_PCI_BAR) / 4;
	uint32_t v = 0;

	must(off + len <= 256, "within the space");
	if (off >= VIO_PCI_BAR && bar < VIO_PCI_NR_BARS)
		return f->bar[bar];
	for (unsigned i = 0; i < len; i++)
		v |= (uint32_t)f->config[off + i] << 8 * i;
	return v;
}

static void config_write(struct function *f, unsigned off, uint32_t v)
{
	unsigned bar = (off - VIO_PCI_BAR) / 4;
	uint32_t flags;

	if (off < VIO_PCI_BAR || bar >= VIO_PCI_NR_BARS)
		return;
	flags = f->upper[bar] ? 0 : f->config[off] & 0xf;
	f->bar[bar] = (v & ~f->mask[bar]) | flags;
}

/* Does some register say that it has these bytes? */
static bool is_ours(const struct function *f, bool io, uint64_t addr,
		    unsigned len)
{
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++) {
		uint32_t keep = io ? 3 : 15;
		uint64_t at = f->bar[i] & ~keep, size = f->mask[i] + 1ull;

		if (f->upper[i])
			continue;
		if (i + 1 < VIO_PCI_NR_BARS && f->upper[i + 1]) {
			at |= (uint64_t)f->bar[i + 1] << 32;
			/* its size is that of both registers together */
			if (f->mask[i] == UINT32_MAX)
				size = (f->mask[i + 1] + 1ull) << 32;
		}
		if ((f->bar[i] & 1) == io && addr >= at &&
		    addr - at <= UINT64_MAX - len && addr - at + len <= size)
			return true;
	}
	return false;
}

static uint32_t machine_read(void *ctx, enum vio_pci_space space,
			     uint64_t addr, unsigned len)
{
	struct function *f = ctx;

	if (space == VIO_PCI_CONFIG)
		return config_read(f, addr & 0xfff, len);
	must(is_ours(f, space == VIO_PCI_IO, addr, len),
	     "only the function's own registers are read");
	return bytes_u32(&f->in) & (UINT32_MAX >> (32 - 8 * len));
}

static void machine_write(void *ctx, enum vio_pci_space space, uint64_t addr,
			  uint32_t v, unsigned len)
{
	struct function *f = ctx;

	if (space == VIO_PCI_CONFIG)
		config_write(f, addr & 0xfff, v);
	else
		must(is_ours(f, space == VIO_PCI_IO, addr, len),
		     "only the function's own registers are written");
}

static int machine_wait(void *ctx)
{
	struct function *f = ctx;

	return f->patience-- ? VIO_OK : VIO_E_IO;
}

static const struct vio_pci_machine machine = {
	.read = machine_read, .write = machine_write, .wait = machine_wait,
};

static void drive(struct function *f, struct vio_bus_pci *bus)
{
	static unsigned char shared[1 << 16] __attribute__((aligned(4096)));
	static unsigned char priv[1 << 16] __attribute__((aligned(64)));
	const struct vio_pci_message msg[2] = { { 0xfee00000, 1 },
						{ 0xfee00000, 2 } };
	const struct vio_vq_limits limits = { 64, 0 };
	const struct vio_features want = { { ~0ull, 0 } };
	struct vio_drv_mem mem = {
		.window = { shared, { 0x10000 }, sizeof(shared) },
		.shared = { shared, sizeof(shared) },
		.priv = { priv, sizeof(priv) },
	};
	struct vio_rngdrv drv;
	struct vio_shm shm;
	uint32_t got;

	memset(shared, 0, sizeof(shared));
	if (bus->ops->shm)
		bus->ops->shm(bus, bytes_u8(&f->in), &shm);
	vio_bus_pci_msix(bus, msg, bytes_u8(&f->in) % 3);
	if (vio_rngdrv_init(&drv, bus->ops, bus, &want, &limits, &mem) !=
	    VIO_OK)
		return;
	vio_rngdrv_read(&drv, shared + sizeof(shared) - 64, 64, &got);
}

static void make_register(struct function *f, unsigned i)
{
	const unsigned char *at = f->config + VIO_PCI_BAR + 4 * i;

	f->upper[i] = i && !f->upper[i - 1] && !(f->bar[i - 1] & 1) &&
		      f->bar[i - 1] & VIO_PCI_BAR_64;
	if (!f->upper[i])
		f->mask[i] |= 0xf;
	config_write(f, VIO_PCI_BAR + 4 * i, at[0] | (uint32_t)at[1] << 8 |
		     (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct function f = { .in = { data, size }, .patience = PATIENCE };
	struct vio_pci_windows w = { 0x10000000, 0xf0000000, 0x1000, 0xf000 };
	struct vio_bus_pci bus;
	const uint8_t *at;
	size_t n;
	uint8_t how = bytes_u8(&f.in);

	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		f.mask[i] = (uint32_t)((1ull << bytes_u8(&f.in) % 33) - 1);
	n = bytes_take(&f.in, sizeof(f.config), &at);
	memcpy(f.config, at, n);
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		make_register(&f, i);
	if (how & 1 && vio_pci_assign(&machine, &f, 0, &w) != VIO_OK)
		return 0;
	if ((how & 2 ? vio_bus_pci_probe_legacy : vio_bus_pci_probe)
	    (&bus, &machine, &f, 0) == VIO_OK)
		drive(&f, &bus);
	return 0;
}
