/* SPDX-License-Identifier: MIT */
/* Parts of the machine that need no KVM: tables, serial port, buses, PCI. */
#include <errno.h>
#include <stdlib.h>
#include <vireo/spec/pci.h>

#include "vmm/acpi.h"
#include "vmm/aml.h"
#include "vmm/bus.h"
#include "vmm/pci_host.h"
#include "vmm/power.h"
#include "vmm/serial.h"
#include "vtest.h"

/* -- tables -------------------------------------------------------------- */

static uint8_t sum(const unsigned char *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t num(const unsigned char *p, unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

/* Each table that the root names is whole, and in its place. */
static void check_tables(unsigned cpus, unsigned devices)
{
	static unsigned char low[1 << 20];
	struct ram ram = { .host = low, .low = sizeof(low) };
	const struct acpi_conf conf = {
		.cpus = cpus, .nr_mmio = devices, .pci = true,
	};
	const unsigned char *rsdp = low + VMM_ACPI, *xsdt, *t;
	bool apic = false, facp = false;

	memset(low, 0xee, sizeof(low));
	CHECK_EQ(acpi_write(&ram, &conf), 0);
	CHECK_MEMEQ(rsdp, "RSD PTR ", 8);
	CHECK_EQ(sum(rsdp, 20), 0);
	CHECK_EQ(sum(rsdp, 36), 0);
	xsdt = low + num(rsdp + 24, 8);
	CHECK_MEMEQ(xsdt, "XSDT", 4);
	CHECK_EQ(sum(xsdt, num(xsdt + 4, 4)), 0);
	for (size_t at = 36; at < num(xsdt + 4, 4); at += 8) {
		t = low + num(xsdt + at, 8);
		CHECK_EQ(sum(t, num(t + 4, 4)), 0);
		apic |= !memcmp(t, "APIC", 4);
		facp |= !memcmp(t, "FACP", 4);
		if (!memcmp(t, "APIC", 4))
			CHECK_EQ(num(t + 4, 4),
				 36 + 8 + 8 * cpus + 12 + 10 + 6);
		if (memcmp(t, "FACP", 4))
			continue;
		t = low + num(t + 140, 8);
		CHECK_MEMEQ(t, "DSDT", 4);
		CHECK_EQ(sum(t, num(t + 4, 4)), 0);
		CHECK_LT(t + num(t + 4, 4) - low, VMM_ACPI_END);
	}
	CHECK(apic && facp);
}

TEST("the tables are whole, for one processor and for all", "")
{
	check_tables(1, 0);
	check_tables(VMM_CPUS_MAX, VMM_DEVICES_MAX);
}

TEST("AML has its lengths, and does not write past its end", "")
{
	unsigned char buf[64] = { 0 };
	struct aml a = { .buf = buf, .size = sizeof(buf) - 1 };
	unsigned at = aml_device(&a, "VR00");

	aml_name(&a, "_UID");
	aml_number(&a, 0x1234);
	aml_close(&a, at);
	CHECK(!a.full);
	CHECK_EQ(a.len, 2 + 3 + 4 + 1 + 4 + 3);
	/* length counts itself: 15 bytes, low four bits first */
	CHECK_EQ(buf[2], 2 << 6 | 15);
	CHECK_EQ(buf[3], 0);
	for (unsigned i = 0; i < 20; i++)
		aml_string(&a, "a string");
	CHECK(a.full);
	CHECK_LT(a.len, sizeof(buf));
	CHECK_EQ(buf[sizeof(buf) - 1], 0);
}

/* -- serial port --------------------------------------------------------- */

static struct irq irq;
static struct serial port;
static unsigned events;

static void count(void *ctx)
{
	(void)ctx;
	events++;
}

static void open_port(void)
{
	irq_init(&irq, NULL);
	serial_init(&port, &irq, VMM_IRQ_SERIAL);
	port.printed = count;
	events = 0;
}

static void close_port(void)
{
	serial_fini(&port);
	irq_fini(&irq);
}

static uint8_t get(unsigned reg)
{
	return (uint8_t)serial_bus.read(&port, reg, 1);
}

static void put(unsigned reg, unsigned v)
{
	serial_bus.write(&port, reg, v, 1);
}

TEST("a serial port passes bytes, both ways", "")
{
	char buf[8] = "";

	open_port();
	CHECK_EQ(get(5), 0x60);
	put(0, 'o');
	put(0, 'k');
	CHECK_EQ(events, 1);
	CHECK_EQ(serial_take(&port, buf, sizeof(buf)), 2);
	CHECK_STREQ(buf, "ok");
	CHECK_EQ(serial_put(&port, "in", 2), 2);
	CHECK_EQ(get(5), 0x61);
	CHECK_EQ(get(0), 'i');
	CHECK_EQ(get(0), 'n');
	CHECK_EQ(get(5), 0x60);
	close_port();
}

TEST("a full serial port says so, and loses nothing that it took", "")
{
	static char buf[SERIAL_OUT];
	unsigned n = 0;

	open_port();
	while (get(5) & 0x20 && n <= SERIAL_OUT) {
		put(0, 'x');
		n++;
	}
	CHECK_EQ(n, SERIAL_OUT);
	CHECK_EQ(serial_take(&port, buf, sizeof(buf)), SERIAL_OUT);
	CHECK_EQ(get(5), 0x60);
	while (serial_put(&port, "y", 1))
		CHECK_LE(++n, SERIAL_OUT + SERIAL_IN);
	CHECK_EQ(n, SERIAL_OUT + SERIAL_IN);
	close_port();
}

TEST("a serial port's interrupts have their causes", "")
{
	open_port();
	CHECK_EQ(get(2), 1);
	put(1, 2);		/* transmitter empty, and it is */
	CHECK(port.line.up);
	CHECK_EQ(get(2), 2);	/* told once */
	CHECK_EQ(get(2), 1);
	CHECK(!port.line.up);
	put(1, 1);
	serial_put(&port, "a", 1);
	CHECK(port.line.up);
	CHECK_EQ(get(2), 4);
	get(0);
	CHECK(!port.line.up);
	put(4, 0x10 | 0xb);	/* the loop that drivers look for it by */
	CHECK_EQ(get(6), 0xb0);
	put(3, 0x80);		/* the divisor's registers */
	put(0, 0x34);
	put(1, 0x12);
	CHECK_EQ(get(0), 0x34);
	CHECK_EQ(get(1), 0x12);
	put(3, 0);
	CHECK_EQ(get(1), 1);
	close_port();
}

/* -- power --------------------------------------------------------------- */

static int told;

static void on_power(void *ctx, enum power_event e)
{
	(void)ctx;
	told = (int)e;
}

TEST("only what means off and reset is taken for it", "")
{
	struct bus ports = { .nr = 0 };
	struct power p;
	uint64_t t;

	CHECK_EQ(power_init(&p, &ports, on_power, NULL), 0);
	told = -1;
	bus_write(&ports, VMM_PORT_PM + VMM_PM_CONTROL, 5 << 10, 2);
	bus_write(&ports, VMM_PORT_PM + VMM_PM_CONTROL, 1 << 13, 2);
	bus_write(&ports, VMM_PORT_RESET, 0xf0, 1);
	CHECK_EQ(told, -1);
	bus_write(&ports, VMM_PORT_PM + VMM_PM_CONTROL, 5 << 10 | 1 << 13, 2);
	CHECK_EQ(told, POWER_OFF);
	bus_write(&ports, VMM_PORT_RESET, 0xfe, 1);
	CHECK_EQ(told, POWER_RESET);
	t = bus_read(&ports, VMM_PORT_PM + VMM_PM_TIMER, 4);
	while (bus_read(&ports, VMM_PORT_PM + VMM_PM_TIMER, 4) == t)
		;
	CHECK_LT(t, 1 << 24);
	/* Nobody there, and across an end. */
	CHECK_EQ(bus_read(&ports, 0x80, 1), UINT64_MAX);
	CHECK_EQ(bus_read(&ports, VMM_PORT_PM + VMM_PM_SIZE - 2, 4),
		 UINT64_MAX);
}

/* -- PCI ----------------------------------------------------------------- */

static uint32_t bars[PCI_BARS], line_reg;
static uint64_t hit_off, hit_value;
static unsigned hit_bar;

/* A function with a small region, a port and a 64-bit region. */
static const uint32_t sizes[PCI_BARS] = { 0x1000, 0x20, 0x4000, 0, 0, 0 };
static const uint32_t kinds[PCI_BARS] = { 0, 1, 4, 0, 0, 0 };

static uint32_t fn_read(void *ctx, unsigned off, unsigned len)
{
	unsigned bar = (off - 0x10) / 4;

	(void)ctx;
	(void)len;
	return off >= 0x10 && bar < PCI_BARS ? bars[bar] | kinds[bar] :
	       0x10421af4;
}

static void fn_write(void *ctx, unsigned off, uint32_t v, unsigned len)
{
	unsigned bar = (off - 0x10) / 4;

	(void)ctx;
	(void)len;
	if (off == 0x3c)
		line_reg = v;
	else if (off >= 0x10 && bar < PCI_BARS && sizes[bar])
		bars[bar] = v & ~(sizes[bar] - 1);
}

static uint64_t fn_bar_read(void *ctx, unsigned bar, uint64_t off,
			    unsigned len)
{
	(void)ctx;
	(void)len;
	hit_bar = bar;
	hit_off = off;
	return 0x55;
}

static void fn_bar_write(void *ctx, unsigned bar, uint64_t off, uint64_t v,
			 unsigned len)
{
	fn_bar_read(ctx, bar, off, len);
	hit_value = v;
}

static const struct pci_function fn = {
	fn_read, fn_write, fn_bar_read, fn_bar_write,
};

static uint64_t config(struct bus *ports, uint32_t address, unsigned len)
{
	bus_write(ports, VMM_PORT_PCI, address, 4);
	return bus_read(ports, VMM_PORT_PCI + 4, len);
}

TEST("a PCI bus has a bridge and its functions, and nobody else", "")
{
	struct bus mmio = { .nr = 0 }, ports = { .nr = 0 };
	struct pci_host h;
	unsigned slot;

	CHECK_EQ(pci_host_init(&h, &mmio, &ports), 0);
	CHECK_EQ(pci_host_add(&h, &fn, NULL, 17, &slot), 0);
	CHECK_EQ(line_reg, 17);
	CHECK_EQ(config(&ports, 0x80000008, 4) >> 8, 0x060000);
	CHECK_EQ(config(&ports, 0x80000800, 4), 0x10421af4);
	CHECK_EQ(config(&ports, 0x80001000, 4), UINT64_MAX);	/* slot 2 */
	CHECK_EQ(config(&ports, 0x80000900, 4), UINT64_MAX);	/* function 1 */
	CHECK_EQ(config(&ports, 0x80010800, 4), UINT64_MAX);	/* bus 1 */
	CHECK_EQ(config(&ports, 0x00000800, 4), UINT64_MAX);	/* not on */
	CHECK_EQ(bus_read(&ports, VMM_PORT_PCI, 4), 0x800);
	/* As firmware would have placed them: aligned, in their windows. */
	CHECK_EQ(bars[0] % 0x1000, 0);
	CHECK_GE(bars[0], VMM_PCI_BARS);
	CHECK_GE(bars[1], VMM_PCI_PORTS);
	CHECK_EQ(bars[2] % 0x4000, 0);
	CHECK_NE(bars[2], bars[0]);
	pci_host_fini(&h);
}

TEST("regions of PCI are found where they are now", "")
{
	struct bus mmio = { .nr = 0 }, ports = { .nr = 0 };
	struct pci_host h;
	unsigned slot;

	CHECK_EQ(pci_host_init(&h, &mmio, &ports), 0);
	CHECK_EQ(pci_host_add(&h, &fn, NULL, 17, &slot), 0);
	CHECK_EQ(bus_read(&mmio, VMM_PCI_BARS + 0x8000, 4), UINT64_MAX);
	pci_region(&h, slot, 2, false, VMM_PCI_BARS + 0x8000, 0x4000);
	CHECK_EQ(bus_read(&mmio, VMM_PCI_BARS + 0x8004, 4), 0x55);
	CHECK_EQ(hit_bar, 2);
	CHECK_EQ(hit_off, 4);
	bus_write(&mmio, VMM_PCI_BARS + 0xbffc, 7, 4);
	CHECK_EQ(hit_off, 0x3ffc);
	CHECK_EQ(hit_value, 7);
	CHECK_EQ(bus_read(&mmio, VMM_PCI_BARS + 0xbffe, 4), UINT64_MAX);
	CHECK_EQ(bus_read(&ports, VMM_PCI_PORTS, 1), UINT64_MAX);
	pci_region(&h, slot, 1, true, VMM_PCI_PORTS, 0x20);
	CHECK_EQ(bus_read(&ports, VMM_PCI_PORTS + 16, 2), 0x55);
	CHECK_EQ(hit_bar, 1);
	pci_region(&h, slot, 2, false, VMM_PCI_BARS + 0x8000, 0);
	CHECK_EQ(bus_read(&mmio, VMM_PCI_BARS + 0x8004, 4), UINT64_MAX);
	pci_host_fini(&h);
}
