/* SPDX-License-Identifier: MIT */
/*
 * The tables by which the guest learns what there is: processors, interrupt
 * controllers, power management, and devices that no bus announces
 * (virtio-mmio as "LNRO0005", or the root of a PCI bus). ACPI 6.4.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include "vmm/ram.h"

struct acpi_conf {
	unsigned cpus;
	unsigned nr_mmio;	/* virtio-mmio devices */
	bool pci;
};

/* Write them at VMM_ACPI. 0, or -errno after an error line. */
int acpi_write(struct ram *ram, const struct acpi_conf *conf);

#endif
