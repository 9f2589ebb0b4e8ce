/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - the five ordering helpers. Every use of vio_mb(), vio_rmb() and
 * vio_wmb(), and every acquire or release on shared memory, names its partner
 * in a comment: "pairs with [X]: where". It knows no ring.
 */
#ifndef CORE_BASE_BARRIER_H
#define CORE_BASE_BARRIER_H

#include <vireo/base.h>

/* Keeps the compiler from moving or repeating memory accesses across it. */
static inline void vio_compiler_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

#if defined(__SANITIZE_THREAD__)
#define VIO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VIO_TSAN 1
#endif
#endif

#ifdef VIO_EXPLORE
/*
 * A test build supplies these: every access to shared memory and every full
 * barrier is a point where the other side may run (test/model).
 */
uint16_t vio_explore_load16(const uint16_t *p);
void vio_explore_store(void *p, uint32_t v, unsigned len);
void vio_explore_copy(void *dst, const void *src, size_t len);
void vio_explore_mb(const char *file, int line);

#define vio_mb()	vio_explore_mb(__FILE__, __LINE__)
#elif defined(VIO_TSAN)
/* The thread sanitizer does not model fences; a read-modify-write it does. */
static inline void vio_mb(void)
{
	static unsigned fence;

	__atomic_fetch_add(&fence, 1, __ATOMIC_SEQ_CST);
}
#elif defined(__x86_64__)
/* A locked add to the stack costs a tenth of mfence. */
static inline void vio_mb(void)
{
	__asm__ volatile("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
}
#else
static inline void vio_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif

/* Read an index that the other side publishes; nothing later moves before. */
static inline uint16_t vio_load_acquire16(const vio_le16 *p)
{
#ifdef VIO_EXPLORE
	vio_le16 v = { vio_explore_load16(&p->raw) };
#else
	vio_le16 v = { __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE) };
#endif
	return vio_from_le16(v);
}

/* Publish an index; nothing earlier moves after. */
static inline void vio_store_release16(vio_le16 *p, uint16_t v)
{
#ifdef VIO_EXPLORE
	vio_explore_store(p, vio_to_le16(v).raw, sizeof(*p));
#else
	__atomic_store_n(&p->raw, vio_to_le16(v).raw, __ATOMIC_RELEASE);
#endif
}

#endif
