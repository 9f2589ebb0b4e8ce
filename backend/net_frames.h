/* SPDX-License-Identifier: MIT */
/*
 * Packets in a stream of bytes: each behind its length, 32 bits, most
 * significant first. Where one ends is found here; whoever is at the other
 * end is not trusted.
 */
#ifndef BACKEND_NET_FRAMES_H
#define BACKEND_NET_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vireo/net.h>

enum { FRAME_HDR = 4 };

/*
 * Is there a whole packet at the start of @len bytes? Returns its length
 * without the header; 0: not yet; -1: there can never be one.
 */
static inline int frame_len(const unsigned char *bytes, size_t len)
{
	uint32_t n;

	if (len < FRAME_HDR)
		return 0;
	n = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
	    (uint32_t)bytes[2] << 8 | bytes[3];
	if (n < VIO_NET_PACKET_MIN || n > VIO_NET_PACKET_MAX)
		return -1;
	return len - FRAME_HDR >= n ? (int)n : 0;
}

static inline void frame_put(unsigned char hdr[FRAME_HDR], uint32_t len)
{
	for (unsigned i = 0; i < FRAME_HDR; i++)
		hdr[i] = (unsigned char)(len >> (24 - 8 * i));
}

#endif
