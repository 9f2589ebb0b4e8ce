/* SPDX-License-Identifier: MIT */
/* Tables of ACPI: see acpi.h. What stands in them is in layout.h. */
#include "vmm/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/log.h"
#include "vmm/aml.h"
#include "vmm/irq.h"
#include "vmm/layout.h"

/* All fields are little-endian, as the only machine that this runs on. */
struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum_all;
	uint8_t reserved[3];
} __attribute__((packed));

struct facs {
	char signature[4];
	uint32_t length;
	uint32_t rest[6];
	uint8_t version;
	uint8_t zero[31];
} __attribute__((packed));

/* A register: where, and how wide. */
struct gas {
	uint8_t space;		/* 1: I/O ports */
	uint8_t bits;
	uint8_t offset;
	uint8_t access;
	uint64_t addr;
} __attribute__((packed));

struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t model, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t enable, disable, s4_request, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint32_t pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_len, pm_timer_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cstate;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control;
	struct gas x_pm1b_control, x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));

VIO_STATIC_ASSERT(sizeof(struct fadt) == 276, "FADT of ACPI 6");

enum {
	SPACE_PORTS = 1,
	FADT_WBINVD = 1 << 0,
	FADT_C1 = 1 << 2,
	FADT_NO_POWER_BUTTON = 1 << 4,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_RESET = 1 << 10,
	ARCH_NO_VGA = 1 << 2,
	ARCH_NO_CLOCK = 1 << 5,
	NO_CSTATE = 0xfff,	/* latencies above which there is none */
	MADT_PIC_TOO = 1,
	LEVEL_HIGH = 0xd,
	CHECKSUM_RSDP_OLD = 20,
};

/* Where the next table goes. */
struct place {
	struct ram *ram;
	uint64_t at;
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static void *start(struct place *p)
{
	p->at = (p->at + 63) & ~(uint64_t)63;
	return p->ram->host + p->at;
}

/* @len: of the whole table, whose body stands there. Returns its address. */
static uint64_t finish(struct place *p, const char *signature,
		       uint8_t revision, uint32_t len)
{
	struct header *h = (struct header *)(void *)(p->ram->host + p->at);
	uint64_t at = p->at;

	memset(h, 0, sizeof(*h));
	memcpy(h->signature, signature, 4);
	h->length = len;
	h->revision = revision;
	memcpy(h->oem, "VIREO ", 6);
	memcpy(h->oem_table, "VIREOVMM", 8);
	h->oem_revision = 1;
	memcpy(h->creator, "VIRE", 4);
	h->creator_revision = 1;
	h->checksum = checksum(h, len);
	p->at += len;
	return at;
}

/* -- the devices --------------------------------------------------------- */

static void put_mmio_device(struct aml *a, unsigned nr)
{
	struct aml_template t;
	char name[8];
	unsigned dev;

	snprintf(name, sizeof(name), "VR%02u", nr % 100);
	dev = aml_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name(a, "_UID");
	aml_number(a, nr);
	aml_name(a, "_CRS");
	t = aml_template(a);
	aml_memory(a, VMM_MMIO_BASE + nr * VMM_MMIO_STRIDE, VMM_MMIO_SIZE);
	aml_interrupt(a, irq_of_device(nr));
	aml_template_end(a, t);
	aml_close(a, dev);
}

/* Which interrupt each slot's first pin is wired to. */
static void put_pci_routing(struct aml *a)
{
	unsigned all, one;

	aml_name(a, "_PRT");
	all = aml_package(a, VMM_DEVICES_MAX);
	for (unsigned i = 0; i < VMM_DEVICES_MAX; i++) {
		one = aml_package(a, 4);
		aml_number(a, (uint64_t)(i + 1) << 16 | 0xffff);
		aml_number(a, 0);
		aml_number(a, 0);
		aml_number(a, irq_of_device(i));
		aml_close(a, one);
	}
	aml_close(a, all);
}

static void put_pci(struct aml *a)
{
	unsigned dev = aml_device(a, "PCI0");
	struct aml_template t;

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0A03");
	aml_name(a, "_UID");
	aml_number(a, 0);
	aml_name(a, "_CRS");
	t = aml_template(a);
	aml_bus_window(a, 0, 0);
	aml_ports(a, VMM_PORT_PCI, 8);
	aml_port_window(a, VMM_PCI_PORTS,
			VMM_PCI_PORTS + VMM_PCI_PORTS_SIZE - 1);
	aml_memory_window(a, VMM_PCI_BARS,
			  VMM_PCI_BARS + VMM_PCI_BARS_SIZE - 1);
	aml_template_end(a, t);
	put_pci_routing(a);
	aml_close(a, dev);
}

static uint64_t put_dsdt(struct place *p, const struct acpi_conf *conf)
{
	unsigned char *to = start(p);
	struct aml a = {
		.buf = to + sizeof(struct header),
		.size = (unsigned)(VMM_ACPI_END - p->at) / 2,
	};
	unsigned scope, pkg;

	aml_name(&a, "_S5_");
	pkg = aml_package(&a, 4);
	aml_number(&a, VMM_SLEEP_OFF);
	for (unsigned i = 0; i < 3; i++)
		aml_number(&a, 0);
	aml_close(&a, pkg);
	scope = aml_scope(&a, "_SB_");
	for (unsigned i = 0; i < conf->nr_mmio; i++)
		put_mmio_device(&a, i);
	if (conf->pci)
		put_pci(&a);
	aml_close(&a, scope);
	if (a.full)
		return 0;
	return finish(p, "DSDT", 2, (uint32_t)sizeof(struct header) + a.len);
}

/* -- processors and interrupt controllers -------------------------------- */

static uint64_t put_madt(struct place *p, const struct acpi_conf *conf)
{
	unsigned char *to = start(p), *b = to + sizeof(struct header);
	const uint32_t head[] = { VMM_LAPIC, MADT_PIC_TOO };
	const uint32_t ioapic[] = { VMM_IOAPIC, 0 };

	memcpy(b, head, 8);
	b += 8;
	for (unsigned i = 0; i < conf->cpus; i++) {
		const uint8_t cpu[8] = { 0, 8, (uint8_t)i, (uint8_t)i, 1 };

		memcpy(b, cpu, 8);
		b += 8;
	}
	memcpy(b, (const uint8_t[]){ 1, 12, 0, 0 }, 4);
	memcpy(b + 4, ioapic, 8);
	b += 12;
	memcpy(b, (const uint8_t[]){ 2, 10, 0, VMM_IRQ_SCI, VMM_IRQ_SCI, 0, 0,
				     0, LEVEL_HIGH, 0 }, 10);
	b += 10;
	/* The line of non-maskable interrupts, on all processors. */
	memcpy(b, (const uint8_t[]){ 4, 6, 0xff, 0, 0, 1 }, 6);
	b += 6;
	return finish(p, "APIC", 4, (uint32_t)(b - to));
}

/* -- power management ---------------------------------------------------- */

static uint64_t put_facs(struct place *p)
{
	struct facs *f = start(p);
	uint64_t at = p->at;

	memset(f, 0, sizeof(*f));
	memcpy(f->signature, "FACS", 4);
	f->length = sizeof(*f);
	f->version = 2;
	p->at += sizeof(*f);
	return at;
}

static struct gas ports(unsigned off, unsigned bytes)
{
	return (struct gas){
		.space = SPACE_PORTS, .bits = (uint8_t)(8 * bytes),
		.access = bytes == 4 ? 3 : (uint8_t)bytes,
		.addr = VMM_PORT_PM + off,
	};
}

static uint64_t put_fadt(struct place *p, uint64_t facs, uint64_t dsdt)
{
	struct fadt *f = start(p);

	memset(f, 0, sizeof(*f));
	f->facs = (uint32_t)facs;
	f->dsdt = (uint32_t)dsdt;
	f->x_dsdt = dsdt;
	f->sci = VMM_IRQ_SCI;
	f->pm1a_event = VMM_PORT_PM + VMM_PM_EVENT;
	f->pm1a_control = VMM_PORT_PM + VMM_PM_CONTROL;
	f->pm_timer = VMM_PORT_PM + VMM_PM_TIMER;
	f->pm1_event_len = 4;
	f->pm1_control_len = 2;
	f->pm_timer_len = 4;
	f->x_pm1a_event = ports(VMM_PM_EVENT, 4);
	f->x_pm1a_event.access = 2;
	f->x_pm1a_control = ports(VMM_PM_CONTROL, 2);
	f->x_pm_timer = ports(VMM_PM_TIMER, 4);
	f->c2_latency = f->c3_latency = NO_CSTATE;
	f->boot_arch = ARCH_NO_VGA | ARCH_NO_CLOCK;
	f->flags = FADT_WBINVD | FADT_C1 | FADT_NO_POWER_BUTTON |
		   FADT_NO_SLEEP_BUTTON | FADT_RESET;
	f->reset = (struct gas){
		.space = SPACE_PORTS, .bits = 8, .access = 1,
		.addr = VMM_PORT_RESET,
	};
	f->reset_value = VMM_RESET_VALUE;
	return finish(p, "FACP", 6, sizeof(*f));
}

static uint64_t put_xsdt(struct place *p, const uint64_t *tables, unsigned n)
{
	unsigned char *to = start(p);

	memcpy(to + sizeof(struct header), tables, n * sizeof(*tables));
	return finish(p, "XSDT", 1,
		      (uint32_t)(sizeof(struct header) + n * sizeof(*tables)));
}

static void put_rsdp(struct ram *ram, uint64_t xsdt)
{
	struct rsdp r = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem = { 'V', 'I', 'R', 'E', 'O', ' ' },
		.revision = 2, .length = sizeof(r), .xsdt = xsdt,
	};

	r.checksum = checksum(&r, CHECKSUM_RSDP_OLD);
	r.checksum_all = checksum(&r, sizeof(r));
	memcpy(ram->host + VMM_ACPI, &r, sizeof(r));
}

int acpi_write(struct ram *ram, const struct acpi_conf *conf)
{
	struct place p = { ram, VMM_ACPI + sizeof(struct rsdp) };
	uint64_t tables[2], dsdt = put_dsdt(&p, conf);

	if (!dsdt) {
		log_err("too many devices for the ACPI tables: give the guest fewer");
		return -E2BIG;
	}
	tables[0] = put_fadt(&p, put_facs(&p), dsdt);
	tables[1] = put_madt(&p, conf);
	put_rsdp(ram, put_xsdt(&p, tables, 2));
	return 0;
}
