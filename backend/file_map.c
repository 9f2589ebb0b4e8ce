/* SPDX-License-Identifier: MIT */
/*
 * Reading a file that lies in memory through a mapping: less than half the
 * cost of a system call for small requests. Only for files without holes,
 * for reading a hole through a mapping would fill it; the first discard ends
 * it. Writes do not come here: a mapping could not tell of a full disk.
 */
#include <string.h>
#include <sys/mman.h>

#include "backend/file.h"
#include "host/guard.h"

void file_map(struct file *f, const struct stat *st)
{
	void *p;

	if (f->aio != BLKDEV_AIO_INLINE || f->block_device ||
	    (uint64_t)st->st_blocks * 512 < f->size || f->size > SIZE_MAX)
		return;
	p = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED)
		return;
	if (guard_init() || guard_add(p, f->size, &f->map_lost, -1)) {
		munmap(p, f->size);
		return;
	}
	f->map = p;
}

void file_unmap(struct file *f)
{
	if (!f->map)
		return;
	guard_del((void *)(uintptr_t)f->map);
	munmap((void *)(uintptr_t)f->map, f->size);
}

bool file_map_read(struct file *f, const struct vio_blk_io *io)
{
	const unsigned char *at = f->map + io->offset;
	uint64_t left = io->len;
	unsigned i;

	if (atomic_load_explicit(&f->map_off, memory_order_relaxed))
		return false;
	for (i = 0; i < io->nr_seg && left; i++) {
		size_t n = io->seg[i].len < left ? io->seg[i].len : left;

		memcpy(io->seg[i].base, at, n);
		at += n;
		left -= n;
	}
	/* What was copied may be the guard's zeroes. */
	if (vio_unlikely(left || atomic_load(&f->map_lost))) {
		atomic_store(&f->map_off, true);
		return false;
	}
	return true;
}
