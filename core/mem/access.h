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

/* Aligned to 8; in parts where the machine has no such load. */
static inline uint64_t vio_get64(const vio_le64 *p)
{
	vio_le64 v;

	vio_mem_record(p, sizeof(*p));
#ifdef VIO_EXPLORE
	vio_explore_copy(&v, p, sizeof(v));
#elif __SIZEOF_POINTER__ >= 8
	v.raw = __atomic_load_n(&p->raw, __ATOMIC_RELAXED);
#else
	memcpy(&v, p, sizeof(v));
	vio_compiler_barrier();
#endif
	return vio_from_le64(v);
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

/* The same of what nobody makes use of yet: no step of the model's. */
static inline void vio_hide16(vio_le16 *p, uint16_t v)
{
	__atomic_store_n(&p->raw, vio_to_le16(v).raw, __ATOMIC_RELAXED);
}

static inline void vio_hide32(vio_le32 *p, uint32_t v)
{
	__atomic_store_n(&p->raw, vio_to_le32(v).raw, __ATOMIC_RELAXED);
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

/* Two numbers that lie side by side, copied. */
static inline void vio_get32x2(const vio_le32 *p0, const vio_le32 *p1,
			       uint32_t n[2])
{
	vio_le64 both;
	uint64_t v;

	(void)p1;
	vio_mem_record(p0, sizeof(both));
#ifdef VIO_EXPLORE
	vio_explore_copy(&both, p0, sizeof(both));
#else
	memcpy(&both, p0, sizeof(both));
#endif
	v = vio_from_le64(both);
	n[0] = (uint32_t)v;
	n[1] = (uint32_t)(v >> 32);
	vio_compiler_barrier();
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

/*
 * A private copy of a descriptor of a split ring, as two numbers: the address,
 * and what stands behind it.
 */
static inline void vio_get_desc(const void *p, uint64_t *addr, uint64_t *rest)
{
	vio_le64 at[2];

	vio_mem_record(p, sizeof(at));
#ifdef VIO_EXPLORE
	vio_explore_copy(at, p, sizeof(at));
#else
	memcpy(&at[0], p, 8);
	/* Or the compiler makes one load of sixteen, and takes it apart. */
	vio_compiler_barrier();
	memcpy(&at[1], (const char *)p + 8, 8);
#endif
	*addr = vio_from_le64(at[0]);
	*rest = vio_from_le64(at[1]);
	vio_compiler_barrier();
}

/* Write one, in two moves; the other side does not look yet. */
static inline void vio_put_desc(void *p, uint64_t addr, uint64_t rest)
{
	const vio_le64 first = vio_to_le64(addr), second = vio_to_le64(rest);

	memcpy(p, &first, 8);
	memcpy((char *)p + 8, &second, 8);
}

/*
 * The last eight bytes, aligned to eight, of a packed ring's descriptor: a
 * length, an id, and the flags that say whose it is. Where the machine has a
 * load of that size it is one, so that length and id are those that came with
 * the flags. They count as read only by vio_tail_is_ours().
 */
static inline uint64_t vio_get_tail_acquire(const void *p, bool device)
{
/* The thread sanitizer knows no acquire that is wider than the release. */
#if __SIZEOF_POINTER__ >= 8 && !defined(VIO_TSAN)
	vio_le64 v;

	vio_mem_record((const char *)p + 6, 2);
#ifdef VIO_EXPLORE
	vio_explore_copy(&v, p, sizeof(v));
#else
	v.raw = __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE);
#endif
	if (vio_unlikely(device))
		vio_device_rmb();
	return vio_from_le64(v);
#else
	const vio_le16 *flags = (const vio_le16 *)p + 3;
	uint64_t v = vio_get16_acquire(flags, device);
	vio_le32 len;
	vio_le16 id;

	len.raw = __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	id.raw = __atomic_load_n((const uint16_t *)p + 2, __ATOMIC_RELAXED);
	return v << 48 | (uint64_t)vio_from_le16(id) << 32 |
	       vio_from_le32(len);
#endif
}

/* Flags said that the tail at @p is for us: now length and id are looked at. */
static inline void vio_tail_is_ours(const void *p)
{
	vio_mem_record(p, 6);
}

/*
 * Write such a tail, behind one that the other side must see first: nobody
 * looks at it yet, so that its parts may arrive in any order.
 */
static inline void vio_put_tail(void *p, uint64_t v)
{
#if __SIZEOF_POINTER__ >= 8 && !defined(VIO_EXPLORE)
	__atomic_store_n((uint64_t *)p, vio_to_le64(v).raw, __ATOMIC_RELAXED);
#else
	vio_put32((vio_le32 *)p, (uint32_t)v);
	vio_put16((vio_le16 *)p + 2, (uint16_t)(v >> 32));
	vio_put16((vio_le16 *)p + 3, (uint16_t)(v >> 48));
#endif
}

static inline void vio_copy_out(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

#endif
