/* SPDX-License-Identifier: MIT */
/*
 * variant.h - what a ring's functions can be made for. The body is written
 * once, always in line, with @v, a set of these flags: the compiler makes
 * functions of it in which @v is a constant, and a general one that asks at
 * run time. A queue picks its own when it starts. Nothing here knows a ring.
 */
#ifndef CORE_RING_VARIANT_H
#define CORE_RING_VARIANT_H

#include <vireo/base.h>

#define VIO_V_IN_ORDER	1u	/* driver: what is used comes back in order */
#define VIO_V_BIG	2u	/* legacy: a ring in big-endian order */

/*
 * Functions for what is usual beside those that do everything; a build for
 * size (doc/porting.md) has only these, and one variant of them.
 */
#ifdef VIO_SMALL
#define VIO_RUNS	false
#else
#define VIO_RUNS	true
#endif

/* Of a loop of a few rounds: one after the other, without counting. */
#if defined(__clang__)
#define VIO_UNROLL	_Pragma("unroll")
#elif defined(__GNUC__)
#define VIO_UNROLL	_Pragma("GCC unroll 4")
#else
#define VIO_UNROLL
#endif

/* A number of the ring as it stands there in little-endian, or back. */
VIO_INLINE uint16_t vio_turn16(unsigned v, uint16_t x)
{
	return v & VIO_V_BIG ? __builtin_bswap16(x) : x;
}

VIO_INLINE uint32_t vio_turn32(unsigned v, uint32_t x)
{
	return v & VIO_V_BIG ? __builtin_bswap32(x) : x;
}

VIO_INLINE uint64_t vio_turn64(unsigned v, uint64_t x)
{
	return v & VIO_V_BIG ? __builtin_bswap64(x) : x;
}

#endif
