/* SPDX-License-Identifier: MIT */
/*
 * aarch64.c - QEMU's machine "virt": a PL011 at 0x09000000, 32 places for
 * MMIO devices from 0x0a000000, PCI with its configuration at 0x4010000000,
 * PSCI to end QEMU. The MMU stays off, and there is no firmware.
 */
#include "bare.h"

__asm__(".section .text.start, \"ax\"\n"
	".globl _start\n"
	"_start:	adrp	x0, stack_end\n"
	"	add	x0, x0, :lo12:stack_end\n"
	"	mov	sp, x0\n"
	"	bl	bare_main\n"
	"1:	wfi\n"
	"	b	1b\n"
	".bss\n"
	".balign 16\n"
	".space 16384\n"
	"stack_end:\n"
	".text\n");

void machine_put(char c)
{
	*(volatile uint32_t *)(uintptr_t)0x09000000 = (uint8_t)c;
}

unsigned machine_devices(void)
{
	struct bare_pci pci = {
		.ecam = 0x4010000000, .ports = 0x3eff0000,
		.windows = { 0x10000000, 0x3eff0000, 0x1000, 0x10000 } };

	return bare_mmio(0x0a000000, 0x200, 32) + bare_pci(&pci);
}

/* SYSTEM_OFF */
void machine_off(void)
{
	register uint64_t function __asm__("x0") = 0x84000008;

	__asm__ volatile("hvc #0" : "+r"(function) : : "memory");
}
