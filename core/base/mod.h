/* SPDX-License-Identifier: MIT */
/* Remainders by numbers known only at run time, without a compiler's library:
 * small machines have no instruction for them. */
#ifndef CORE_BASE_MOD_H
#define CORE_BASE_MOD_H

#include <vireo/base.h>

/* @n modulo @by, which is not 0. Quick where @by is a power of two. */
static inline uint64_t vio_mod(uint64_t n, uint32_t by)
{
	uint64_t rest = 0;

	if (!(by & (by - 1)))
		return n & (by - 1);
	for (int bit = 63; bit >= 0; bit--) {
		rest = rest << 1 | (n >> bit & 1);
		if (rest >= by)
			rest -= by;
	}
	return rest;
}

#endif
