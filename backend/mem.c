/* SPDX-License-Identifier: MIT */
/*
 * A disk in anonymous memory. Requests finish within submit; a discarded
 * range gives its pages back and reads as zeroes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/blkdev.h"
#include "host/log.h"

struct mem {
	struct blkdev dev;
	unsigned char *base;
	uint64_t size, mapped;
	uint64_t page;		/* what goes back to the system at a time */
};

static void copy(struct mem *m, const struct vio_blk_io *io)
{
	unsigned char *at = m->base + io->offset;
	uint64_t left = io->len;
	unsigned i;

	for (i = 0; i < io->nr_seg && left; i++) {
		size_t n = io->seg[i].len < left ? io->seg[i].len : left;

		if (io->op == VIO_BLK_READ)
			memcpy(io->seg[i].base, at, n);
		else
			memcpy(at, io->seg[i].base, n);
		at += n;
		left -= n;
	}
}

/* Whole pages go back to the system, the edges are cleared. */
static void clear(struct mem *m, const struct vio_blk_io *io)
{
	const uint64_t page = m->page;
	uint64_t first = (io->offset + page - 1) / page * page;
	uint64_t last = (io->offset + io->len) / page * page;
	/* Pages that go back keep what was in them for a while. */
	bool keep = io->op == VIO_BLK_SECURE_ERASE ||
		    (io->op == VIO_BLK_WRITE_ZEROES &&
		     !(io->flags & VIO_BLK_UNMAP));

	if (keep || first >= last ||
	    madvise(m->base + first, last - first, MADV_DONTNEED)) {
		memset(m->base + io->offset, 0, io->len);
		return;
	}
	memset(m->base + io->offset, 0, first - io->offset);
	memset(m->base + last, 0, io->offset + io->len - last);
}

static void mem_submit(void *backend, struct vio_blk_io *io)
{
	struct mem *m = backend;
	int result = VIO_OK;

	if (io->op != VIO_BLK_FLUSH &&
	    (io->offset > m->size || io->len > m->size - io->offset ||
	     (io->op != VIO_BLK_READ && m->dev.conf.read_only))) {
		io->done(io, VIO_E_IO);
		return;
	}
	if (io->op == VIO_BLK_READ || io->op == VIO_BLK_WRITE)
		copy(m, io);
	else if (io->op >= VIO_BLK_ZONE_OPEN)
		result = VIO_E_UNSUPP;
	else if (io->op != VIO_BLK_FLUSH)
		clear(m, io);
	io->done(io, result);
}

static void mem_commit(void *backend, unsigned queue)
{
	(void)backend;
	(void)queue;
}

static void mem_close(struct blkdev *d)
{
	struct mem *m = vio_container_of(d, struct mem, dev);

	munmap(m->base, m->mapped);
	free(m);
}

static const struct blkdev_ops mem_ops = {
	.io = { .submit = mem_submit, .commit = mem_commit },
	.close = mem_close,
};

/* The usual size of huge pages, 0 if there are none. */
static uint64_t huge_page(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %lu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024ull;
}

static int map(struct mem *m, bool huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	m->page = huge ? huge_page() : 4096;
	if (!m->page) {
		log_err("--hugepages: this kernel has none");
		return -EOPNOTSUPP;
	}
	m->mapped = (m->size + m->page - 1) / m->page * m->page;
	/* Huge pages are reserved now: a guest must not find out later that
	 * there are too few. */
	flags |= huge ? MAP_HUGETLB : MAP_NORESERVE;
	m->base = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (m->base != MAP_FAILED)
		return 0;
	if (huge)
		log_err("--hugepages: cannot have %llu pages of %llu KiB: %s; see /proc/sys/vm/nr_hugepages",
			(unsigned long long)(m->mapped / m->page),
			(unsigned long long)(m->page / 1024),
			strerror(errno));
	else
		log_err("--size: cannot map %llu bytes of memory: %s",
			(unsigned long long)m->size, strerror(errno));
	return -ENOMEM;
}

static void fill_conf(struct mem *m, bool read_only)
{
	struct vio_blk_conf *c = &m->dev.conf;

	c->capacity_sectors = m->size / 512;
	c->read_only = read_only;
	if (read_only)
		return;
	c->max_discard_sectors = 1u << 22;
	c->max_discard_seg = VIO_BLK_RANGES_MAX;
	c->discard_sector_alignment = (uint32_t)(m->page / 512);
	c->max_write_zeroes_sectors = 1u << 22;
	c->max_write_zeroes_seg = VIO_BLK_RANGES_MAX;
	c->write_zeroes_may_unmap = true;
	c->max_secure_erase_sectors = 1u << 22;
	c->max_secure_erase_seg = VIO_BLK_RANGES_MAX;
	c->secure_erase_sector_alignment = 1;
}

static int open_mem(struct blkdev **d, uint64_t size, bool read_only,
		    bool huge)
{
	struct mem *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	m->size = size / 512 * 512;
	rc = map(m, huge);
	if (rc) {
		free(m);
		return rc;
	}
	m->dev.ops = &mem_ops;
	m->dev.engine = huge ? "memory in huge pages" : "memory";
	fill_conf(m, read_only);
	*d = &m->dev;
	return 0;
}

int blkdev_mem_open(struct blkdev **d, uint64_t size, bool read_only)
{
	return open_mem(d, size, read_only, false);
}

int blkdev_mem_open_huge(struct blkdev **d, uint64_t size, bool read_only)
{
	return open_mem(d, size, read_only, true);
}
