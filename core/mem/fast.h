/* SPDX-License-Identifier: MIT */
/*
 * fast.h - the translation that nearly always does: the whole range lies in
 * the region that was hit last, which is looked up once for many ranges. For
 * all else, vio_mem_span().
 */
#ifndef CORE_MEM_FAST_H
#define CORE_MEM_FAST_H

#include <vireo/mem.h>

/*
 * The region that nearly every buffer lies in; size 0 where there is none, or
 * one that may not be both read and written.
 */
struct vio_view {
	uint64_t addr;
	uint64_t size;
	unsigned char *host;
};

VIO_INLINE struct vio_view vio_view_of(const struct vio_mem *mem,
				       unsigned hint)
{
	struct vio_view v = { 0, 0, NULL };
	const struct vio_region *r;

	/* Behind an IOMMU there may be none at all. */
	if (vio_unlikely(hint >= mem->nr))
		return v;
	r = &mem->region[hint];
	if (vio_likely((r->perm & VIO_PERM_RW) == VIO_PERM_RW))
		v = (struct vio_view){ r->addr.v, r->size, r->host };
	return v;
}

/*
 * Where @len bytes at @addr are; false where it takes more than a look at the
 * view, and for a @len of 0.
 */
VIO_INLINE bool vio_view_has(const struct vio_view *v, uint64_t addr,
			     uint64_t len, void **p)
{
	uint64_t off = addr - v->addr;

#if defined(__x86_64__)
	/* Or the compiler finds other ways to say this, with more numbers to
	 * keep in registers that it does not have. */
	__asm__("" : "+r"(off));
#endif
	if (vio_unlikely(off >= v->size || len - 1 >= v->size - off))
		return false;
	*p = v->host + off;
	return true;
}

/* The same; NULL for false. */
VIO_INLINE void *vio_view_at(const struct vio_view *v, uint64_t addr,
			     uint64_t len)
{
	void *p;

	return vio_view_has(v, addr, len, &p) ? p : NULL;
}

#endif
