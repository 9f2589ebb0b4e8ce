/* SPDX-License-Identifier: MIT */
/* The default guest's own programs, as embed.py puts them in. */
#ifndef VIREO_GUEST_H
#define VIREO_GUEST_H

#include <stddef.h>

extern const char guest_init[];
extern const size_t guest_init_size;
extern const char guest_check[];
extern const size_t guest_check_size;

#endif
