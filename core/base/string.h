/* SPDX-License-Identifier: MIT */
/*
 * string.h - the four functions that a freestanding compiler may call anyway,
 * and the only ones that the core asks of its surroundings.
 */
#ifndef CORE_BASE_STRING_H
#define CORE_BASE_STRING_H

#include <stddef.h>

/*
 * Named so that a compiler told to assume no library (-ffreestanding) still
 * knows what they do, and copies a descriptor in two moves, not by a call.
 */
#define memcpy(dst, src, n)	__builtin_memcpy(dst, src, n)
#define memmove(dst, src, n)	__builtin_memmove(dst, src, n)
#define memset(dst, c, n)	__builtin_memset(dst, c, n)
#define memcmp(a, b, n)		__builtin_memcmp(a, b, n)

#endif
