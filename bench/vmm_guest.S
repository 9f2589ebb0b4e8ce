/* SPDX-License-Identifier: MIT */
/*
 * A guest that does one thing many times, between two stores to MARK. Its
 * beginning is a Linux kernel's header, as the machine wants it; see
 * test/vmm/guest.S.
 */
	.section .rodata
	.globl bench_guest, bench_guest_end
	.set	MARK, 0x500
	.set	PM_CONTROL, 0x604
	.set	OFF, 5 << 10 | 1 << 13
	.set	DEVICE, 0xd0000000
	.set	STATUS, 0x60		/* InterruptStatus */
	.set	FEATURES, 0x10		/* DeviceFeatures */
	.set	NOTIFY, 0x50

	.macro	many times, what:vararg
	mov	$MARK, %edx
	out	%al, (%dx)
	mov	$\times, %ecx
1:	\what
	loop	1b
	out	%al, (%dx)
	.endm

	.code64
bench_guest:
	.fill	0x1f1, 1, 0
	.byte	1
	.fill	0x1fe - 0x1f2, 1, 0
	.word	0xaa55
	.byte	0xeb, 0x66
	.ascii	"HdrS"
	.word	0x20f
	.fill	0x211 - 0x208, 1, 0
	.byte	1
	.fill	0x22c - 0x212, 1, 0
	.long	0x7fffffff
	.fill	0x236 - 0x230, 1, 0
	.word	1
	.long	255
	.fill	0x258 - 0x23c, 1, 0
	.quad	0x200000
	.long	0x100000
	.fill	0x400 - 0x264, 1, 0
	.fill	0x200, 1, 0xf4
	mov	$DEVICE, %ebx
	xor	%eax, %eax
	many	10000, mov STATUS(%rbx), %esi
	many	10000, mov FEATURES(%rbx), %esi
	many	10000, mov %eax, NOTIFY(%rbx)
	mov	$PM_CONTROL, %edx
	mov	$OFF, %eax
	out	%ax, (%dx)
2:	hlt
	jmp	2b
bench_guest_end:
	.section .note.GNU-stack, "", @progbits
