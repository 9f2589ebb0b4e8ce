/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - the ordering helpers. Every use of vio_mb() and vio_peer_mb(),
 * and every acquire or release on shared memory, names its partner in a
 * comment: "pairs with [X]: where". It knows no ring.
 *
 * The other side of a ring is a processor like ours, or a device of the
 * machine (ORDER_PLATFORM), which barriers among processors need not order.
 * @device says which: the same for the whole life of a ring, so that the
 * branch is always foreseen.
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
void vio_explore_mb(const char *file, int line, bool device);

#define vio_mb()	vio_explore_mb(__FILE__, __LINE__, false)
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

/*
 * Barriers between memory that we and a device of the machine both touch, as
 * coherent memory: accesses of the one kind before, of the other kind after.
 * The load barrier orders loads before with all after, the store barrier all
 * before with stores after; the full one, stores before with loads after too.
 */
#if defined(__x86_64__) || defined(__i386__)
/*
 * Write-back memory, which devices snoop: loads stay in order, and stores do.
 * A locked instruction does not wait for stores that went past the caches
 * (write-combining, non-temporal); mfence does.
 */
#define VIO_DEVICE_ORDERED	1
#if defined(__x86_64__) || defined(__SSE2__)
#define VIO_DEVICE_MB	"mfence"
#endif
#elif defined(__aarch64__)
/* Outer shareable: processors and the devices that see the same memory. */
#define VIO_DEVICE_RMB	"dmb oshld"
#define VIO_DEVICE_WMB	"dmb osh"
#define VIO_DEVICE_MB	"dmb osh"
#elif defined(__ARM_ARCH) && defined(__ARM_ARCH_PROFILE) && \
	__ARM_ARCH_PROFILE == 'M'
#define VIO_DEVICE_RMB	"dmb sy"
#define VIO_DEVICE_WMB	"dmb sy"
#define VIO_DEVICE_MB	"dmb sy"
#elif defined(__ARM_ARCH) && __ARM_ARCH >= 7
/* ARMv7 has no barrier of loads alone. */
#define VIO_DEVICE_RMB	"dmb osh"
#define VIO_DEVICE_WMB	"dmb osh"
#define VIO_DEVICE_MB	"dmb osh"
#elif defined(__riscv)
/* Devices' memory counts as input and output there. */
#define VIO_DEVICE_RMB	"fence ir, iorw"
#define VIO_DEVICE_WMB	"fence iorw, ow"
#define VIO_DEVICE_MB	"fence iorw, iorw"
#elif defined(__s390x__)
/* All stay in order but a load, which may pass an older store. */
#define VIO_DEVICE_ORDERED	1
#define VIO_DEVICE_MB	"bcr 15, 0"
#endif

/*
 * An acquire or a release is all that is needed where the machine keeps the
 * order anyway; elsewhere the strongest that the compiler knows ("sync" on
 * powerpc).
 */
#if defined(VIO_DEVICE_ORDERED)
#define vio_device_rmb()	((void)0)
#define vio_device_wmb()	((void)0)
#elif defined(VIO_DEVICE_RMB)
#define vio_device_rmb()	__asm__ volatile(VIO_DEVICE_RMB ::: "memory")
#define vio_device_wmb()	__asm__ volatile(VIO_DEVICE_WMB ::: "memory")
#else
#define vio_device_rmb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define vio_device_wmb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#if defined(VIO_TSAN)
#define vio_device_mb()		vio_mb()
#elif defined(VIO_DEVICE_MB)
#define vio_device_mb()		__asm__ volatile(VIO_DEVICE_MB ::: "memory")
#else
#define vio_device_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/* Nothing moves across it, for the other side to see. */
#ifdef VIO_EXPLORE
#define vio_peer_mb(device)	vio_explore_mb(__FILE__, __LINE__, (device))
#else
static inline void vio_peer_mb(bool device)
{
	if (vio_likely(!device))
		vio_mb();
	else
		vio_device_mb();
}
#endif

/* Read an index that the other side publishes; nothing later moves before. */
static inline uint16_t vio_load_acquire16(const vio_le16 *p, bool device)
{
#ifdef VIO_EXPLORE
	vio_le16 v = { vio_explore_load16(&p->raw) };
#else
	vio_le16 v = { __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE) };
#endif
	if (vio_unlikely(device))
		vio_device_rmb();
	return vio_from_le16(v);
}

/* Publish an index; nothing earlier moves after. */
static inline void vio_store_release16(vio_le16 *p, uint16_t v, bool device)
{
	if (vio_unlikely(device))
		vio_device_wmb();
#ifdef VIO_EXPLORE
	vio_explore_store(p, vio_to_le16(v).raw, sizeof(*p));
#else
	__atomic_store_n(&p->raw, vio_to_le16(v).raw, __ATOMIC_RELEASE);
#endif
}

#endif
