/* SPDX-License-Identifier: MIT */
/*
 * string.h - the four functions that a freestanding compiler may call anyway,
 * and the only ones that the core asks of its surroundings.
 */
#ifndef CORE_BASE_STRING_H
#define CORE_BASE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
