/* SPDX-License-Identifier: MIT */
/*
 * A guest of a few instructions in the clothes of a Linux kernel (bzImage),
 * for the machine's tests: what it does is between its labels. Runs in long
 * mode, wherever it lies; %rsi are the boot parameters.
 */
	.section .rodata
	.globl guest_image, guest_image_end, guest_slow, guest_slow_end
	.set	SERIAL, 0x3f8
	.set	PM_CONTROL, 0x604
	.set	OFF, 5 << 10 | 1 << 13
	.set	DEVICE, 0xd0000000	/* the first virtio-mmio device */
	.set	MAGIC, 0x00
	.set	NOTIFY, 0x50
	.set	KICKS, 1000

	.macro	header
	.fill	0x1f1, 1, 0
	.byte	1			/* setup_sects */
	.fill	0x1fe - 0x1f2, 1, 0
	.word	0xaa55
	.byte	0xeb, 0x66		/* the header ends at 0x268 */
	.ascii	"HdrS"
	.word	0x20f			/* version */
	.fill	0x211 - 0x208, 1, 0
	.byte	1			/* loaded high */
	.fill	0x22c - 0x212, 1, 0
	.long	0x7fffffff		/* initrd_addr_max */
	.fill	0x234 - 0x230, 1, 0
	.byte	1, 21
	.word	1			/* xloadflags: 64-bit entry */
	.long	255			/* cmdline_size */
	.fill	0x258 - 0x23c, 1, 0
	.quad	0x200000		/* pref_address */
	.long	0x100000		/* init_size */
	.fill	0x400 - 0x264, 1, 0	/* the rest of two sectors */
	.fill	0x200, 1, 0xf4		/* a 32-bit entry would halt */
	.endm

	.macro	say
	mov	$SERIAL, %edx
	out	%al, (%dx)
	.endm

	.macro	power_off
	mov	$PM_CONTROL, %edx
	mov	$OFF, %eax
	out	%ax, (%dx)
1:	hlt
	jmp	1b
	.endm

	.code64
guest_image:
	header
	/* the first word of the command line, to its NUL */
	mov	0x228(%rsi), %ebx
2:	mov	(%rbx), %al
	inc	%rbx
	test	%al, %al
	jz	3f
	say
	jmp	2b
3:	/* the device's magic: "virt" */
	mov	$DEVICE, %ebx
	mov	MAGIC(%rbx), %eax
	mov	$4, %ecx
4:	say
	shr	$8, %eax
	loop	4b
	/* kicks that nobody waits for */
	mov	$KICKS, %ecx
	xor	%eax, %eax
5:	mov	%eax, NOTIFY(%rbx)
	loop	5b
	/* where nobody is, all bits are ones */
	mov	$0xd8000000, %ebx
	mov	(%rbx), %eax
	not	%eax
	add	$'0', %eax
	say
	power_off
guest_image_end:

	/* For ever busy: it has to be stopped from outside. */
guest_slow:
	header
	mov	$'.', %al
	say
6:	pause
	jmp	6b
guest_slow_end:
	.section .note.GNU-stack, "", @progbits
