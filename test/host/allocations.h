/* SPDX-License-Identifier: MIT */
/* What allocations.c writes, and thrift.c reads. */
#ifndef TEST_HOST_ALLOCATIONS_H
#define TEST_HOST_ALLOCATIONS_H

#include <stdint.h>

#define ALLOCATIONS_LAST	32u

struct allocations {
	uint64_t count;
	uint64_t last[ALLOCATIONS_LAST];	/* who asked, by count */
};

#endif
