/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory: one file without a name, mapped, given to KVM in at most
 * two slots around the hole below 4 GiB, and described as a map for devices
 * (vireo/mem.h). An address of the guest is an offset in the file, so that
 * another process can be given all of it as one window.
 */
#ifndef VMM_RAM_H
#define VMM_RAM_H

#include <vireo/mem.h>

#include "vmm/vm.h"

struct ram {
	int fd;
	unsigned char *host;	/* of guest address 0 */
	uint64_t span;		/* bytes mapped, the hole included */
	uint64_t low;		/* bytes at 0 */
	uint64_t high;		/* bytes at 4 GiB; 0: none */
	struct vio_region region[2];
	struct vio_mem mem;
};

#define RAM_MIN	(16ull << 20)
#define RAM_MAX	(1ull << 40)

/*
 * @size is a multiple of 1 MiB from RAM_MIN to RAM_MAX. Returns 0, or -errno
 * after an error line.
 */
int ram_open(struct ram *ram, struct vm *vm, uint64_t size);
/* The machine is closed; no device uses it. */
void ram_close(struct ram *ram);

/* @len bytes at @gpa, or NULL where they do not lie in one piece. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len);

#endif
