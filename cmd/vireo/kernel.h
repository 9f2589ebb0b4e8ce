/* SPDX-License-Identifier: MIT */
/*
 * Guest kernels and busybox: found where a package has installed them, else
 * unpacked from the package into the user's cache, never installed.
 */
#ifndef VIREO_KERNEL_H
#define VIREO_KERNEL_H

#include <limits.h>
#include <stdbool.h>

enum guest_kind {
	GUEST_UML,	/* a program for the host */
	GUEST_PC,	/* a bzImage for QEMU */
};

struct guest_kernel {
	char image[PATH_MAX];
	char modules[PATH_MAX];	/* folder of *.ko; "" when there is none */
};

/*
 * What is installed or cached already. Blocks on the disk only.
 * Return 0 or -ENOENT.
 */
int kernel_find(enum guest_kind kind, struct guest_kernel *out);
int kernel_find_busybox(char *out);

/*
 * The same, and fetches the package when it is not here: a download that
 * takes seconds, announced in one line. Says itself what went wrong.
 * Return 0 or a negative errno.
 */
int kernel_get(enum guest_kind kind, struct guest_kernel *out);
int kernel_get_busybox(char *out);

/* The modules beside an image the user named, "" when none are found. */
void kernel_modules_of(struct guest_kernel *k);

/* Are apt-get and dpkg-deb here? */
bool kernel_can_fetch(void);

#endif
