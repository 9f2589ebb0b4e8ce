/* SPDX-License-Identifier: MIT */
/*
 * A stream of packets from a wire: any bytes, cut anywhere. Each packet found
 * lies within what was received, and an end is always come to.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/net_frames.h"
#include "backend/net_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size + 1);
	struct vio_net_packet pkt;
	struct vio_seg seg;
	size_t at = 0;
	int n;

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	while ((n = frame_len(copy + at, size - at)) > 0) {
		if ((size_t)n > size - at - FRAME_HDR)
			abort();
		if (wire_packet(copy + at + FRAME_HDR, (size_t)n, &seg, &pkt) &&
		    seg.len + WIRE_HDR != (size_t)n)
			abort();
		at += FRAME_HDR + (size_t)n;
	}
	free(copy);
	return 0;
}
