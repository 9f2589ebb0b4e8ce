/* SPDX-License-Identifier: MIT */
/*
 * shared64.h - 64-bit numbers with one writing thread and any reading ones,
 * on machines with and without a 64-bit load. Neither call locks.
 */
#ifndef CORE_BASE_SHARED64_H
#define CORE_BASE_SHARED64_H

#include <vireo/base.h>

#if __SIZEOF_POINTER__ >= 8
static inline uint64_t vio_shared64_get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void vio_shared64_set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}
#else
/*
 * Two halves: a reader may see a new one with an old one, for as long as the
 * writer is between its two stores. Counters and limits bear that.
 */
static inline uint64_t vio_shared64_get(const uint64_t *p)
{
	const volatile uint32_t *h = (const volatile uint32_t *)(const void *)p;
	union { uint32_t h[2]; uint64_t v; } u = { { h[0], h[1] } };

	return u.v;
}

static inline void vio_shared64_set(uint64_t *p, uint64_t v)
{
	volatile uint32_t *h = (volatile uint32_t *)(void *)p;
	union { uint64_t v; uint32_t h[2]; } u = { v };

	h[0] = u.h[0];
	h[1] = u.h[1];
}
#endif

/* Only the one writer may call this. */
static inline void vio_shared64_add(uint64_t *p, uint64_t add)
{
	vio_shared64_set(p, *p + add);
}

#endif
