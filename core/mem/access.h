/* SPDX-License-Identifier: MIT */
/*
 * access.h - the layer through which every control byte in shared memory is
 * read or written, exactly once. A test build defines VIO_MEM_RECORD and sees
 * each read; so a value that is read twice is found by a test, not by a guest.
 */
#ifndef CORE_MEM_ACCESS_H
#define CORE_MEM_ACCESS_H

#include <vireo/base.h>
#include "core/base/barrier.h"
#include "core/base/string.h"

#ifdef VIO_MEM_RECORD
/* Supplied by the test: @len control bytes at @p are about to be read. */
void vio_mem_record(const volatile void *p, size_t len);
#else
static inline void vio_mem_record(const volatile void *p, size_t len)
{
	(void)p;
	(void)len;
}
#endif

/* One load of a word that the peer may change at any time. */
static inline uint16_t vio_get16(const vio_le16 *p)
{
	vio_le16 v;

	vio_mem_record(p, sizeof(*p));
#ifdef VIO_EXPLORE
	v.raw = vio_explore_load16(&p->raw);
#else
	v.raw = __atomic_load_n(&p->raw, __ATOMIC_RELAXED);
#endif
	return vio_from_le16(v);
}

static inline uint16_t vio_get16_acquire(const vio_le16 *p, bool device)
{
	vio_mem_record(p, sizeof(*p));
	return vio_load_acquire16(p, device);
}

static inline void vio_put16(vio_le16 *p, uint16_t v)
{
#ifdef VIO_EXPLORE
	vio_explore_store(p, vio_to_le16(v).raw, sizeof(*p));
#else
	__atomic_store_n(&p->raw, vio_to_le16(v).raw, __ATOMIC_RELAXED);
#endif
}

static inline void vio_put32(vio_le32 *p, uint32_t v)
{
#ifdef VIO_EXPLORE
	vio_explore_store(p, vio_to_le32(v).raw, sizeof(*p));
#else
	__atomic_store_n(&p->raw, vio_to_le32(v).raw, __ATOMIC_RELAXED);
#endif
}

/* Two numbers that lie side by side, 8 bytes aligned to 4; in any order. */
static inline void vio_put32x2(vio_le32 *p0, vio_le32 *p1, uint32_t v0,
			       uint32_t v1)
{
#ifdef VIO_EXPLORE
	vio_put32(p0, v0);
	vio_put32(p1, v1);
#else
	const vio_le32 v[2] = { vio_to_le32(v0), vio_to_le32(v1) };

	(void)p1;
	memcpy(p0, v, sizeof(v));
#endif
}

/*
 * A private copy of control bytes. The barrier makes it a copy for good: the
 * compiler may not go back to the source once the copy was looked at.
 */
static inline void vio_copy_in(void *dst, const void *src, size_t len)
{
	vio_mem_record(src, len);
#ifdef VIO_EXPLORE
	vio_explore_copy(dst, src, len);
#else
	memcpy(dst, src, len);
#endif
	vio_compiler_barrier();
}

static inline void vio_copy_out(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

#endif
