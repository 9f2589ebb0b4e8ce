/* SPDX-License-Identifier: MIT */
/*
 * vhost/span.c - bytes of a file of the front end's, mapped: whole units, since
 * of huge pages less can be neither mapped nor unmapped; guarded, since the
 * file may be cut short; with a descriptor of its own, for a successor. What
 * the bytes are for it does not know.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The unit in which a descriptor can be mapped: huge pages are larger. */
static uint64_t map_unit(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

int vhu_span_map(const struct vhu_server *s, struct vhu_span *span, int fd,
		 uint64_t offset, uint64_t size, int prot)
{
	uint64_t unit = map_unit(fd), skip = offset % unit;
	uint64_t len = (skip + size + unit - 1) / unit * unit;
	int keep = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	void *base;
	int err;

	if (keep < 0)
		return -errno;
	base = mmap(NULL, len, prot, MAP_SHARED | MAP_NORESERVE, keep,
		    (off_t)(offset - skip));
	if (base == MAP_FAILED) {
		err = -errno;
		close(keep);
		return err;
	}
	*span = (struct vhu_span){
		.fd = keep, .base = base, .len = len,
		.at = (unsigned char *)base + skip,
		.huge = unit > (uint64_t)sysconf(_SC_PAGESIZE),
		.env = s->conf.env, .env_ctx = s->conf.env_ctx,
	};
	/* A guest's memory has no place in our core dump. */
	madvise(base, len, MADV_DONTDUMP);
	if (span->env->map_guard)
		span->env->map_guard(span->env_ctx, base, len, true);
	return 0;
}

void vhu_span_unmap(struct vhu_span *span)
{
	if (span->env->map_guard)
		span->env->map_guard(span->env_ctx, span->base, span->len,
				     false);
	munmap(span->base, span->len);
	close(span->fd);
}
