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
	uint64_t len = f->size;
	void *p;

	if (f->aio != BLKDEV_AIO_INLINE || f->block_device ||
	    (uint64_t)st->st_blocks * 512 < len || len > SIZE_MAX)
		return;
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED)
		return;
	if (guard_init() || guard_add(p, len, &f->map_lost, -1)) {
		munmap(p, len);
		return;
	}
	f->map = p;
	f->map_len = len;
}

void file_unmap(struct file *f)
{
	if (!f->map)
		return;
	guard_del((void *)(uintptr_t)f->map);
	munmap((void *)(uintptr_t)f->map, f->map_len);
}

bool file_map_read(struct file *f, const struct vio_blk_io *io)
{
	const unsigned char *at;
	uint64_t left = io->len;
	unsigned i;

	/* The file may have grown since. */
	if (atomic_load_explicit(&f->map_off, memory_order_relaxed) ||
	    io->offset > f->map_len || left > f->map_len - io->offset)
		return false;
	at = f->map + io->offset;
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
