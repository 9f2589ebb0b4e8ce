/* SPDX-License-Identifier: MIT */
/* A look at a Linux kernel's header: see bzimage.h. */
#include "vmm/bzimage.h"

#include <string.h>

#include "vmm/layout.h"

/* Fields that we look at: offsets in the file. */
enum {
	OFF_SETUP_SECTS = 0x1f1,
	OFF_BOOT_FLAG = 0x1fe,
	OFF_JUMP_LEN = 0x201,
	OFF_MAGIC = 0x202,
	OFF_VERSION = 0x206,
	OFF_LOADFLAGS = 0x211,
	OFF_INITRD_MAX = 0x22c,
	OFF_RELOCATABLE = 0x234,
	OFF_XLOADFLAGS = 0x236,
	OFF_CMDLINE_SIZE = 0x238,
	OFF_PREF_ADDRESS = 0x258,
	OFF_INIT_SIZE = 0x260,
	BOOT_FLAG = 0xaa55,
	MAGIC = 0x53726448,	/* "HdrS" */
	VERSION_64BIT = 0x20c,	/* 2.12: the 64-bit entry */
	LOADED_HIGH = 1,
	KERNEL_64 = 1,
	ENTRY_64 = 0x200,
	SETUP_SECTS_OLD = 4,	/* where the field is 0 */
	SECTOR = 512,
	ALIGN = 0x200000,
	ROOM_MAX = 0x40000000,	/* 1 GiB: more is no kernel */
};

static uint64_t get(const unsigned char *p, unsigned off, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)p[off + i] << 8 * i;
	return v;
}

static const char *what_is_it(const unsigned char *p)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b };

	if (!memcmp(p, "\177ELF", 4))
		return "it is an ELF file (vmlinux, or a program); the bzImage (vmlinuz) is needed";
	if (!memcmp(p, gzip, sizeof(gzip)))
		return "it is a gzip file; unpack it, or take the bzImage (vmlinuz)";
	return "it is no bzImage (no \"HdrS\" where a Linux kernel for PCs has it)";
}

static const char *check(const unsigned char *p)
{
	if (get(p, OFF_BOOT_FLAG, 2) != BOOT_FLAG ||
	    get(p, OFF_MAGIC, 4) != MAGIC)
		return what_is_it(p);
	if (get(p, OFF_VERSION, 2) < VERSION_64BIT ||
	    !(get(p, OFF_XLOADFLAGS, 2) & KERNEL_64))
		return "it has no 64-bit entry: a kernel for x86-64 from Linux 3.8 on is needed";
	if (!(get(p, OFF_LOADFLAGS, 1) & LOADED_HIGH))
		return "it is a zImage, which is loaded below 1 MiB; a bzImage is needed";
	return NULL;
}

const char *bzimage_parse(struct bzimage *b, const unsigned char *p,
			  uint64_t size)
{
	uint64_t sects;
	const char *why;

	*b = (struct bzimage){ 0 };
	if (size < BZIMAGE_HEAD)
		return "it is too short for a kernel";
	why = check(p);
	if (why)
		return why;
	b->hdr_len = (uint32_t)(OFF_MAGIC + get(p, OFF_JUMP_LEN, 1)) -
		     BZIMAGE_HDR;
	if (b->hdr_len > BZIMAGE_HDR_MAX)
		b->hdr_len = BZIMAGE_HDR_MAX;
	sects = get(p, OFF_SETUP_SECTS, 1);
	b->code_off = (1 + (sects ? sects : SETUP_SECTS_OLD)) * SECTOR;
	if (b->code_off >= size || size - b->code_off <= ENTRY_64)
		return "it is cut short: no code after its header";
	b->code_len = size - b->code_off;
	b->load = get(p, OFF_PREF_ADDRESS, 8);
	b->room = get(p, OFF_INIT_SIZE, 4);
	if (b->room > ROOM_MAX || b->code_len > b->room)
		return "its header is damaged, or it is cut: the room that it asks for does not fit its size";
	/* Whoever can lie anywhere may be asked to lie where memory is. */
	if (b->load < VMM_HIGH || b->load % ALIGN ||
	    b->load > VMM_HOLE - b->room)
		return "its header is damaged: it wants to lie where no memory can be";
	b->entry = b->load + ENTRY_64;
	b->initrd_max = get(p, OFF_INITRD_MAX, 4);
	b->cmdline_max = (uint32_t)get(p, OFF_CMDLINE_SIZE, 4);
	return NULL;
}
