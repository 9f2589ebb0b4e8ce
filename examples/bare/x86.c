/* SPDX-License-Identifier: MIT */
/*
 * x86.c - a PC in 32-bit mode, as a multiboot loader leaves it: a 16550 at
 * port 0x3f8, PCI by ports 0xcf8 and 0xcfc or, on a Q35, by memory, its
 * devices' addresses given by the firmware, and isa-debug-exit at 0xf4 to end
 * QEMU.
 */
#include "bare.h"

__asm__(".section .text.start, \"ax\"\n"
	".balign 4\n"
	".long	0x1badb002, 0, -0x1badb002\n"
	".globl _start\n"
	"_start:	mov	$stack_end, %esp\n"
	"	xor	%ebp, %ebp\n"
	"	call	bare_main\n"
	"1:	hlt\n"
	"	jmp	1b\n"
	".bss\n"
	".balign 16\n"
	".space 16384\n"
	"stack_end:\n"
	".text\n");

static void outb(uint16_t at, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(at));
}

static void outl(uint16_t at, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(at));
}

static uint32_t inl(uint16_t at)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(at));
	return value;
}

static uint8_t inb(uint16_t at)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(at));
	return value;
}

void machine_put(char c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, (uint8_t)c);
}

/*
 * Where the firmware laid PCI's configuration in memory; 0: nowhere. A host
 * bridge of type Q35 says so.
 */
static uintptr_t ecam(void)
{
	uint32_t at;

	outl(0xcf8, 0x80000000);
	if (inl(0xcfc) != 0x29c08086)
		return 0;
	outl(0xcf8, 0x80000060);
	at = inl(0xcfc);
	if (!(at & 1))
		return 0;
	say("configuration in memory\n");
	return at & 0xf0000000;
}

unsigned machine_devices(void)
{
	struct bare_pci pci = { .ecam = ecam() };

	return bare_pci(&pci);
}

/* QEMU ends with exit code 2 * 0 + 1. */
void machine_off(void)
{
	outb(0xf4, 0);
}
