/* SPDX-License-Identifier: MIT */
/*
 * Puts a Linux kernel into the guest's memory, as its 64-bit boot protocol
 * wants it: the kernel, its initramfs and command line, the boot parameters
 * with the map of memory, and what a processor in long mode needs. Knows
 * nothing of KVM and of devices.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "vmm/ram.h"

struct boot_conf {
	const char *kernel;
	const char *initrd;	/* NULL: none */
	const char *cmdline;	/* NULL: empty */
};

/*
 * @entry: where the first processor starts. Returns 0, or -errno after an
 * error line with cause and cure.
 */
int boot_load(struct ram *ram, const struct boot_conf *conf, uint64_t *entry);

#endif
