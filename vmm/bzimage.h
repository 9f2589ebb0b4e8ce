/* SPDX-License-Identifier: MIT */
/*
 * The header of a Linux kernel image (bzImage): is it one, can the 64-bit boot
 * protocol start it, and where does it want to lie? Looks at bytes only; the
 * file may be anything. Standard: Documentation/x86/boot.rst of Linux.
 */
#ifndef VMM_BZIMAGE_H
#define VMM_BZIMAGE_H

#include <stddef.h>
#include <stdint.h>

/* The part of the file that has the header; fewer bytes are too few. */
#define BZIMAGE_HEAD	1024u
/* The header goes into the guest's boot parameters at the same offset. */
#define BZIMAGE_HDR	0x1f1u
#define BZIMAGE_HDR_MAX	(0x290u - BZIMAGE_HDR)

struct bzimage {
	uint32_t hdr_len;	/* bytes from BZIMAGE_HDR on */
	uint64_t code_off;	/* in the file */
	uint64_t code_len;
	uint64_t load;		/* guest address of the code */
	uint64_t room;		/* bytes that it needs there */
	uint64_t entry;		/* where a 64-bit processor starts */
	uint64_t initrd_max;	/* highest address of the initramfs */
	uint32_t cmdline_max;	/* without the NUL */
};

/*
 * @head: the first BZIMAGE_HEAD bytes of a file of @size bytes. Returns NULL,
 * or why it cannot be started: one clause, with the cure where there is one.
 */
const char *bzimage_parse(struct bzimage *b, const unsigned char *head,
			  uint64_t size);

#endif
