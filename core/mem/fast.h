/* SPDX-License-Identifier: MIT */
/*
 * fast.h - the translation that nearly always does: the whole range lies in
 * the region that was hit last. For all else, vio_mem_span().
 */
#ifndef CORE_MEM_FAST_H
#define CORE_MEM_FAST_H

#include <vireo/mem.h>

/* NULL where it takes more than a look at region @hint. @len is not 0. */
static inline void *vio_mem_fast(const struct vio_mem *mem, unsigned hint,
				 uint64_t addr, uint64_t len, unsigned perm)
{
	const struct vio_region *r = &mem->region[hint];
	uint64_t off;

	if (vio_unlikely(hint >= mem->nr || addr < r->addr.v))
		return NULL;
	off = addr - r->addr.v;
	if (vio_unlikely(off >= r->size || len > r->size - off ||
			 (r->perm & perm) != perm))
		return NULL;
	return r->host + off;
}

#endif
