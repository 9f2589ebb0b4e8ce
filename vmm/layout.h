/* SPDX-License-Identifier: MIT */
/*
 * Where things are in this machine: guest-physical addresses, I/O ports,
 * interrupt numbers. The tables that tell the guest (ACPI, e820) and the
 * code that answers there both take them from here.
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/* -- memory that is filled before the guest starts ----------------------- */
#define VMM_GDT			0x500u
#define VMM_BOOT_PARAMS		0x7000u
#define VMM_PAGE_TABLES		0x9000u	/* 6 pages: 4 GiB, one to one */
#define VMM_CMDLINE		0x20000u
#define VMM_LOW_END		0x9fc00u	/* of memory below 1 MiB */
#define VMM_ACPI		0xe0000u	/* up to 1 MiB */
#define VMM_ACPI_END		0x100000u
#define VMM_HIGH		0x100000u

/* -- the address space --------------------------------------------------- */
#define VMM_HOLE		0xc0000000u	/* memory ends here ... */
#define VMM_4G			0x100000000ull	/* ... and goes on here */
#define VMM_PCI_BARS		0xc0000000u
#define VMM_PCI_BARS_SIZE	0x10000000u
#define VMM_MMIO_BASE		0xd0000000u	/* virtio-mmio devices */
#define VMM_MMIO_STRIDE		0x1000u
#define VMM_MMIO_SIZE		0x200u
#define VMM_IOAPIC		0xfec00000u
#define VMM_LAPIC		0xfee00000u
#define VMM_IDENTITY_MAP	0xfffbc000u	/* Intel: one page */
#define VMM_TSS			0xfffbd000u	/* Intel: three pages */

/* -- I/O ports ----------------------------------------------------------- */
#define VMM_PORT_RESET		0x64u	/* of a keyboard controller */
#define VMM_RESET_VALUE		0xfeu
#define VMM_PORT_SERIAL		0x3f8u
#define VMM_PORT_PM		0x600u	/* ACPI: events, control, timer */
#define VMM_PM_EVENT		0x0u
#define VMM_PM_CONTROL		0x4u
#define VMM_PM_TIMER		0x8u
#define VMM_PM_SIZE		0xcu
#define VMM_PORT_PCI		0xcf8u
#define VMM_PCI_PORTS		0xc000u	/* I/O BARs */
#define VMM_PCI_PORTS_SIZE	0x2000u

/* What \_S5 says, and the power control register takes for off. */
#define VMM_SLEEP_OFF		5u

/* -- interrupts ---------------------------------------------------------- */
#define VMM_IRQ_SERIAL		4u
#define VMM_IRQ_SCI		9u
#define VMM_IRQ_DEVICES		16u	/* lines of devices, shared */
#define VMM_IRQ_DEVICES_NR	8u
#define VMM_IOAPIC_PINS		24u

#define VMM_CPUS_MAX		64u
#define VMM_DEVICES_MAX		24u

#endif
