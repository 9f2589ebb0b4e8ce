/* SPDX-License-Identifier: MIT */
/*
 * pci.c - devices on PCI, found by walking over the bus. Each gets addresses
 * where the machine has no firmware that gave them any.
 */
#include "bare.h"

static void poke(uintptr_t at, uint32_t value, unsigned len)
{
	if (len == 1)
		*(volatile uint8_t *)at = (uint8_t)value;
	else if (len == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

static uint32_t peek(uintptr_t at, unsigned len)
{
	if (len == 1)
		return *(volatile uint8_t *)at;
	if (len == 2)
		return *(volatile uint16_t *)at;
	return *(volatile uint32_t *)at;
}

/* Ports: instructions on x86, memory elsewhere. */
#if defined(__i386__)
static void port_out(uint16_t at, uint32_t value, unsigned len)
{
	if (len == 1)
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(at));
	else if (len == 2)
		__asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(at));
	else
		__asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(at));
}

static uint32_t port_in(uint16_t at, unsigned len)
{
	uint32_t value = 0;

	if (len == 1)
		__asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(at));
	else if (len == 2)
		__asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(at));
	else
		__asm__ volatile("inl %w1, %0" : "+a"(value) : "Nd"(at));
	return value;
}
#endif

static uint32_t pci_read(void *ctx, enum vio_pci_space space, uint64_t addr,
			 unsigned len)
{
	const struct bare_pci *p = ctx;

	if (space != VIO_PCI_IO)
		return peek((uintptr_t)addr, len);
#if defined(__i386__)
	(void)p;
	return port_in((uint16_t)addr, len);
#else
	return peek(p->ports + (uintptr_t)addr, len);
#endif
}

static void pci_write(void *ctx, enum vio_pci_space space, uint64_t addr,
		      uint32_t value, unsigned len)
{
	const struct bare_pci *p = ctx;

	/* What was written to memory comes before. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (space != VIO_PCI_IO) {
		poke((uintptr_t)addr, value, len);
		return;
	}
#if defined(__i386__)
	(void)p;
	port_out((uint16_t)addr, value, len);
#else
	poke(p->ports + (uintptr_t)addr, value, len);
#endif
}

/*
 * An interrupt message is a write to memory. Where no interrupt controller
 * takes it, it may as well go here: looking at a word costs less than looking
 * at a device.
 */
static volatile uint32_t came[2];

/* No interrupts here: look again. */
static int poll(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

/* False where the device has no vectors. */
static bool use_messages(struct vio_bus_pci *bus)
{
	const struct vio_pci_message msg[2] = {
		{ (uintptr_t)&came[0], 1 }, { (uintptr_t)&came[1], 1 } };

	came[0] = came[1] = 0;
	return vio_bus_pci_msix(bus, msg, 2) == VIO_OK;
}

/* The modern way if there is one, else the old one. */
static int probe(struct vio_bus_pci *bus, const struct vio_pci_machine *m,
		 struct bare_pci *p, uint32_t fn)
{
	if (!vio_bus_pci_probe(bus, m, p, fn))
		return VIO_OK;
	if (vio_bus_pci_probe_legacy(bus, m, p, fn))
		return VIO_E_UNSUPP;
	say("legacy ");
	return VIO_OK;
}

unsigned bare_pci(struct bare_pci *p)
{
	const struct vio_pci_machine m = {
		.read = pci_read, .write = pci_write, .wait = poll,
		.mechanism = p->ecam ? VIO_PCI_BY_ECAM : VIO_PCI_BY_PORTS,
		.ecam_base = p->ecam };
	static struct vio_bus_pci bus;
	unsigned found = 0;

	for (uint32_t fn = 0; !vio_pci_next(&m, p, &fn); fn++) {
		if (p->windows.mem_end &&
		    vio_pci_assign(&m, p, fn, &p->windows)) {
			say("there is no room for a device's registers\n");
			continue;
		}
		if (probe(&bus, &m, p, fn))
			continue;
		found++;
		if (!use_messages(&bus)) {
			exercise(bus.device_id, bus.ops, &bus);
			continue;
		}
		exercise(bus.device_id, bus.ops, &bus);
		say(came[1] ? "messages came\n" : "no message came\n");
	}
	return found;
}
