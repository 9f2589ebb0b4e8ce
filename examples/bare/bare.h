/* SPDX-License-Identifier: MIT */
/*
 * bare.h - what the programs of this folder share: a machine without an
 * operating system on one side, work for each type of device on the other.
 */
#ifndef BARE_H
#define BARE_H

#include <vireo/bus_pci.h>

/* -- the machine (riscv64.c, aarch64.c, ...) ------------------------------- */

/* Show a character where QEMU shows it: on its standard output. */
void machine_put(char c);
/* Call exercise() for each device that is there; returns how many. */
unsigned machine_devices(void);
/* Stop the machine. Comes back where it does not stop. */
void machine_off(void);

/* -- the work (main.c) ----------------------------------------------------- */

/* Bring the device up, have it work, reset it. */
void exercise(uint32_t device_id, const struct vio_bus_ops *bus, void *ctx);
void say(const char *text);
void say_number(uint32_t n);
/* The entry code of each machine goes here. */
void bare_main(void);

/* Devices in a row of MMIO registers, each @step bytes from the one before. */
unsigned bare_mmio(uintptr_t base, uintptr_t step, unsigned nr);

/* A PCI bus. */
struct bare_pci {
	uintptr_t ecam;			/* 0: configuration by ports */
	uintptr_t ports;		/* where I/O space lies in memory */
	struct vio_pci_windows windows;	/* mem_end 0: firmware was here */
};

unsigned bare_pci(struct bare_pci *p);

#endif
