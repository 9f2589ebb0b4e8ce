/* SPDX-License-Identifier: MIT */
/* The guest's memory: see ram.h. */
#include "vmm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/log.h"
#include "vmm/layout.h"

static int map(struct ram *ram)
{
	int err;

	ram->fd = memfd_create("guest-memory",
			       MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Pages come into being when they are touched; those of the hole,
	 * which has addresses in the file too, never are by the guest. */
	if (ram->fd < 0 || ftruncate(ram->fd, (off_t)ram->span) < 0)
		return -errno;
	/* Back ends have it too: cut short, we would die of touching it. */
	if (fcntl(ram->fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	ram->host = mmap(NULL, ram->span, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
	if (ram->host != MAP_FAILED)
		return 0;
	err = -errno;
	ram->host = NULL;
	return err;
}

static int give(struct ram *ram, struct vm *vm)
{
	const uint64_t addr[] = { 0, VMM_4G }, size[] = { ram->low,
							   ram->high };
	unsigned n = ram->high ? 2 : 1, i;
	int err;

	for (i = 0; i < n; i++) {
		ram->region[i] = (struct vio_region){
			.addr = { addr[i] }, .size = size[i],
			.host = ram->host + addr[i],
			.user_addr = (uintptr_t)(ram->host + addr[i]),
			.perm = VIO_PERM_RW,
		};
		err = vm_add_ram(vm, i, addr[i], size[i], ram->host + addr[i]);
		if (err)
			return err;
	}
	return vio_mem_init(&ram->mem, ram->region, n) ? -EINVAL : 0;
}

int ram_open(struct ram *ram, struct vm *vm, uint64_t size)
{
	int err;

	*ram = (struct ram){ .fd = -1 };
	if (size < RAM_MIN || size > RAM_MAX || size % (1 << 20)) {
		log_err("%llu bytes of memory: it has to be a multiple of 1M, from %llu MiB to %llu GiB",
			(unsigned long long)size, RAM_MIN >> 20,
			RAM_MAX >> 30);
		return -EINVAL;
	}
	ram->low = size < VMM_HOLE ? size : VMM_HOLE;
	ram->high = size - ram->low;
	ram->span = ram->high ? VMM_4G + ram->high : ram->low;
	err = map(ram);
	if (err)
		log_err("cannot have %llu MiB of memory: %s; give the guest less, or raise the limit (ulimit -v, cgroup)",
			(unsigned long long)size >> 20, strerror(-err));
	else
		err = give(ram, vm);
	if (err)
		ram_close(ram);
	return err;
}

void ram_close(struct ram *ram)
{
	if (ram->host)
		munmap(ram->host, ram->span);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct ram){ .fd = -1 };
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	if (gpa < ram->low)
		return len <= ram->low - gpa ? ram->host + gpa : NULL;
	if (gpa >= VMM_4G && gpa - VMM_4G < ram->high &&
	    len <= ram->high - (gpa - VMM_4G))
		return ram->host + gpa;
	return NULL;
}
