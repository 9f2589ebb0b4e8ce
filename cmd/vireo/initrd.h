/* SPDX-License-Identifier: MIT */
/* The initramfs of the default guest. */
#ifndef VIREO_INITRD_H
#define VIREO_INITRD_H

#include "run.h"

/* Write it to r->initrd. Says itself what went wrong. */
int initrd_make(const struct run *r);

/*
 * Modules in load order, as paths: those named, and before each what it
 * depends on. What the folder does not have is taken to be built in.
 */
int modules_resolve(const char *folder, const char *const *names, size_t n,
		    struct args *out);

#endif
