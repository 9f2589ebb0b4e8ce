/* SPDX-License-Identifier: MIT */
/*
 * riscv64.c - QEMU's machine "virt": a 16550 at 0x10000000, eight places for
 * MMIO devices from 0x10001000, PCI with its configuration at 0x30000000, a
 * register that ends QEMU at 0x100000. There is no firmware.
 */
#include "bare.h"

__asm__(".section .text.start, \"ax\"\n"
	".globl _start\n"
	"_start:	la	sp, stack_end\n"
	"	call	bare_main\n"
	"1:	wfi\n"
	"	j	1b\n"
	".bss\n"
	".balign 16\n"
	".space 16384\n"
	"stack_end:\n"
	".text\n");

void machine_put(char c)
{
	volatile uint8_t *uart = (volatile uint8_t *)(uintptr_t)0x10000000;

	while (!(uart[5] & 0x20))
		;
	uart[0] = (uint8_t)c;
}

unsigned machine_devices(void)
{
	struct bare_pci pci = {
		.ecam = 0x30000000, .ports = 0x3000000,
		.windows = { 0x40000000, 0x80000000, 0x1000, 0x10000 } };

	return bare_mmio(0x10001000, 0x1000, 8) + bare_pci(&pci);
}

void machine_off(void)
{
	*(volatile uint32_t *)(uintptr_t)0x100000 = 0x5555;
}
