/* SPDX-License-Identifier: MIT */
/* The little guests of guest.S, each a whole kernel image. */
#ifndef TEST_VMM_GUEST_H
#define TEST_VMM_GUEST_H

/* Says its command line, a device's magic, and 0; kicks; switches off. */
extern const unsigned char guest_image[], guest_image_end[];
/* Says "." and never ends. */
extern const unsigned char guest_slow[], guest_slow_end[];

enum { GUEST_KICKS = 1000 };

#endif
