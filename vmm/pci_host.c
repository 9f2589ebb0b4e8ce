/* SPDX-License-Identifier: MIT */
/* The root of a PCI bus: see pci_host.h. */
#include "vmm/pci_host.h"

#include <errno.h>
#include <string.h>
#include <vireo/spec/pci.h>

#include "host/log.h"

enum {
	PORT_ADDRESS = 0,	/* from VMM_PORT_PCI */
	PORT_DATA = 4,
	PORTS = 8,
	CONFIG_SIZE = 256,

	/* A bridge that drivers know nothing special of. */
	BRIDGE_VENDOR = 0x1b36,
	BRIDGE_DEVICE = 0x0008,
	BRIDGE_CLASS = 0x060000,

	REG_CLASS = 0x08,
	REG_BAR = 0x10,
	REG_LINE = 0x3c,
	BAR_IO = 1,
	BAR_64 = 4,
};

#define SELECT_ENABLE	0x80000000u

/* -- configuration space ------------------------------------------------- */

static uint32_t bridge_read(unsigned off, unsigned len)
{
	uint32_t v = 0;

	if ((off & ~3u) == 0)
		v = (uint32_t)BRIDGE_DEVICE << 16 | BRIDGE_VENDOR;
	else if ((off & ~3u) == REG_CLASS)
		v = (uint32_t)BRIDGE_CLASS << 8;
	v >>= 8 * (off % 4);
	return len == 4 ? v : v & ((1u << 8 * len) - 1);
}

/* The function that is selected, and the offset; NULL: none. */
static const struct pci_slot *selected(struct pci_host *h, uint32_t address)
{
	unsigned bus = address >> 16 & 0xff, nr = address >> 11 & 0x1f,
		 fn = address >> 8 & 7;

	/* Slots are constant once the processors run. */
	if (bus || fn || !nr || nr > h->nr)
		return NULL;
	return &h->slot[nr - 1];
}

static uint32_t address(struct pci_host *h)
{
	return __atomic_load_n(&h->selected, __ATOMIC_ACQUIRE);
}

static uint64_t port_read(void *ctx, uint64_t off, unsigned len)
{
	struct pci_host *h = ctx;
	uint32_t a = address(h);
	const struct pci_slot *s;
	unsigned reg = (a & 0xfc) + (unsigned)(off - PORT_DATA);

	if (off < PORT_DATA)
		return off == PORT_ADDRESS && len == 4 ? a : UINT64_MAX;
	if (!(a & SELECT_ENABLE) || len > 4 || off % len)
		return UINT64_MAX;
	if (!(a & 0xffff00))
		return bridge_read(reg, len);
	s = selected(h, a);
	return s ? s->fn->config_read(s->ctx, reg, len) : UINT64_MAX;
}

static void port_write(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	struct pci_host *h = ctx;
	uint32_t a = address(h);
	const struct pci_slot *s = selected(h, a);

	if (off == PORT_ADDRESS && len == 4)
		__atomic_store_n(&h->selected, (uint32_t)value & ~3u,
				 __ATOMIC_RELEASE);
	else if (off >= PORT_DATA && a & SELECT_ENABLE && s && len <= 4 &&
		 !(off % len))
		s->fn->config_write(s->ctx,
				    (a & 0xfc) + (unsigned)(off - PORT_DATA),
				    (uint32_t)value, len);
}

static const struct bus_ops port_bus = { port_read, port_write };

/* -- regions ------------------------------------------------------------- */

struct hit {
	const struct pci_slot *slot;
	unsigned bar;
	uint64_t off;
};

static bool find(struct pci_host *h, bool port, uint64_t addr, unsigned len,
		 struct hit *hit)
{
	bool found = false;

	pthread_mutex_lock(&h->lock);
	for (unsigned i = 0; i < h->nr && !found; i++) {
		const struct pci_slot *s = &h->slot[i];

		for (unsigned b = 0; b < PCI_BARS && !found; b++) {
			found = s->bar[b].port == port &&
				addr >= s->bar[b].addr &&
				addr - s->bar[b].addr < s->bar[b].size &&
				len <= s->bar[b].size -
				       (addr - s->bar[b].addr);
			if (found)
				*hit = (struct hit){ s, b,
						     addr - s->bar[b].addr };
		}
	}
	pthread_mutex_unlock(&h->lock);
	return found;
}

static uint64_t read_at(struct pci_host *h, bool port, uint64_t addr,
			unsigned len)
{
	struct hit hit;

	if (!find(h, port, addr, len, &hit))
		return UINT64_MAX;
	return hit.slot->fn->bar_read(hit.slot->ctx, hit.bar, hit.off, len);
}

static void write_at(struct pci_host *h, bool port, uint64_t addr,
		     uint64_t value, unsigned len)
{
	struct hit hit;

	if (find(h, port, addr, len, &hit))
		hit.slot->fn->bar_write(hit.slot->ctx, hit.bar, hit.off,
					value, len);
}

static uint64_t mem_read(void *ctx, uint64_t off, unsigned len)
{
	return read_at(ctx, false, VMM_PCI_BARS + off, len);
}

static void mem_write(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	write_at(ctx, false, VMM_PCI_BARS + off, value, len);
}

static uint64_t io_read(void *ctx, uint64_t off, unsigned len)
{
	return read_at(ctx, true, VMM_PCI_PORTS + off, len);
}

static void io_write(void *ctx, uint64_t off, uint64_t value, unsigned len)
{
	write_at(ctx, true, VMM_PCI_PORTS + off, value, len);
}

static const struct bus_ops mem_bus = { mem_read, mem_write };
static const struct bus_ops io_bus = { io_read, io_write };

void pci_region(struct pci_host *h, unsigned slot, unsigned bar, bool port,
		uint64_t addr, uint64_t size)
{
	struct pci_slot *s = &h->slot[slot];

	pthread_mutex_lock(&h->lock);
	s->bar[bar].addr = addr;
	s->bar[bar].size = size;
	s->bar[bar].port = port;
	pthread_mutex_unlock(&h->lock);
}

/* -- what firmware does -------------------------------------------------- */

/* Where a region of @size bytes goes; 0: no room. */
static uint32_t place(uint32_t *next, uint32_t end, uint32_t size)
{
	uint32_t at = (*next + size - 1) & ~(size - 1);

	if (at < *next || at > end || size > end - at)
		return 0;
	*next = at + size;
	return at;
}

/*
 * PCI 3.0, 6.2.5.1: the bits that do not take a 1 are the size. Regions of
 * this machine are smaller than 4 GiB.
 */
static int place_bar(struct pci_host *h, struct pci_slot *s, unsigned bar,
		     unsigned *used)
{
	unsigned reg = REG_BAR + 4 * bar;
	uint32_t kind = s->fn->config_read(s->ctx, reg, 4), size, at;
	bool port = kind & BAR_IO;

	*used = !port && kind & BAR_64 ? 2 : 1;
	s->fn->config_write(s->ctx, reg, UINT32_MAX, 4);
	size = s->fn->config_read(s->ctx, reg, 4) & (port ? ~3u : ~15u);
	if (!size)
		return 0;
	/* Of the upper half of a port's address nothing needs to be kept. */
	size = port ? (~size & 0xffff) + 1 : ~size + 1;
	at = port ? place(&h->next_port, VMM_PCI_PORTS + VMM_PCI_PORTS_SIZE,
			  size) :
		    place(&h->next_mem, VMM_PCI_BARS + VMM_PCI_BARS_SIZE,
			  size);
	if (!at) {
		log_err("no room for a region of %u bytes of a PCI device: give the guest fewer devices",
			size);
		return -ENOSPC;
	}
	s->fn->config_write(s->ctx, reg, at, 4);
	if (*used == 2)
		s->fn->config_write(s->ctx, reg + 4, 0, 4);
	return 0;
}

int pci_host_add(struct pci_host *h, const struct pci_function *fn, void *ctx,
		 unsigned gsi, unsigned *slot)
{
	struct pci_slot *s = &h->slot[h->nr];
	unsigned used = 1;
	int err = 0;

	if (h->nr == VMM_DEVICES_MAX)
		return -ENOSPC;
	*slot = h->nr;
	memset(s, 0, sizeof(*s));
	s->fn = fn;
	s->ctx = ctx;
	for (unsigned bar = 0; bar < PCI_BARS && !err; bar += used)
		err = place_bar(h, s, bar, &used);
	if (err)
		return err;
	fn->config_write(ctx, REG_LINE, gsi, 1);
	h->nr++;
	return 0;
}

int pci_host_init(struct pci_host *h, struct bus *mmio, struct bus *ports)
{
	int err;

	memset(h, 0, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
	h->next_mem = VMM_PCI_BARS;
	h->next_port = VMM_PCI_PORTS;
	err = bus_add(ports, VMM_PORT_PCI, PORTS, &port_bus, h);
	if (!err)
		err = bus_add(ports, VMM_PCI_PORTS, VMM_PCI_PORTS_SIZE,
			      &io_bus, h);
	return err ? err : bus_add(mmio, VMM_PCI_BARS, VMM_PCI_BARS_SIZE,
				   &mem_bus, h);
}

void pci_host_fini(struct pci_host *h)
{
	pthread_mutex_destroy(&h->lock);
}
