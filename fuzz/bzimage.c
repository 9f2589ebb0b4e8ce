/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a kernel image's header. Whatever is taken has to be loadable:
 * inside the file, below the hole in memory, with an entry inside the code.
 *
 * Input: 3 bytes of the file's size beyond its head, then the head.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/bzimage.h"
#include "vmm/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char head[BZIMAGE_HEAD] = { 0 };
	struct bzimage b;
	uint64_t len;

	if (size < 3)
		return 0;
	len = BZIMAGE_HEAD + (data[0] | (unsigned)data[1] << 8 |
			      (unsigned)data[2] << 16);
	data += 3;
	size -= 3;
	memcpy(head, data, size < sizeof(head) ? size : sizeof(head));
	if (bzimage_parse(&b, head, len))
		return 0;
	if (b.code_off >= len || b.code_len > len - b.code_off ||
	    b.code_len > b.room || b.load < VMM_HIGH ||
	    b.load > VMM_HOLE || b.room > VMM_HOLE - b.load ||
	    b.entry - b.load >= b.code_len || b.hdr_len > BZIMAGE_HDR_MAX)
		abort();
	return 0;
}
