/* SPDX-License-Identifier: MIT */
/* The guest's memory as the front end shares it, mapped to be read only. */
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/guard.h"

static void unmap(struct region *r)
{
	if (!r->map)
		return;
	guard_del(r->map);
	munmap(r->map, r->map_len);
	r->map = NULL;
}

static bool map(struct tap *t, struct region *r, const struct vhu_region *w,
		int fd)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t skip = w->mmap_offset % page;
	struct stat st;

	*r = (struct region){ .where = *w };
	if (fd < 0 || fstat(fd, &st) || !w->size ||
	    w->size > UINT64_MAX - w->guest_addr ||
	    w->size > UINT64_MAX - w->user_addr ||
	    w->mmap_offset > (uint64_t)st.st_size ||
	    w->size > (uint64_t)st.st_size - w->mmap_offset)
		return false;
	r->map_len = (size_t)(w->size + skip);
	r->map = mmap(NULL, r->map_len, PROT_READ, MAP_SHARED, fd,
		      (off_t)(w->mmap_offset - skip));
	if (r->map == MAP_FAILED) {
		r->map = NULL;
		return false;
	}
	r->bytes = (const unsigned char *)r->map + skip;
	if (!guard_add(r->map, r->map_len, &t->lost, t->lost_fd.fd))
		return true;
	munmap(r->map, r->map_len);
	r->map = NULL;
	return false;
}

static void add(struct tap *t, const struct vhu_region *w, int fd)
{
	if (t->nr_regions == TAP_REGIONS)
		tap_note(t, TAP_NO_QUEUE, "too many regions of memory: this one is not looked at");
	else if (map(t, &t->region[t->nr_regions], w, fd))
		t->nr_regions++;
	else
		tap_note(t, TAP_NO_QUEUE, "a region of memory cannot be mapped: rings in it are not looked at");
}

void memory_drop(struct tap *t)
{
	while (t->nr_regions)
		unmap(&t->region[--t->nr_regions]);
}

void memory_table(struct tap *t, const struct vhu_msg *msg)
{
	const struct vhu_mem_table *table = &msg->p.table;
	uint32_t has = msg->hdr.size < 8 ? 0 :
		(msg->hdr.size - 8) / (uint32_t)sizeof(table->region[0]);

	memory_drop(t);
	for (uint32_t i = 0; i < table->nr && i < has && i < msg->nr_fds; i++)
		add(t, &table->region[i], msg->fd[i]);
}

void memory_add(struct tap *t, const struct vhu_msg *msg)
{
	if (msg->hdr.size >= sizeof(msg->p.reg) && msg->nr_fds)
		add(t, &msg->p.reg.region, msg->fd[0]);
}

void memory_remove(struct tap *t, const struct vhu_msg *msg)
{
	const struct vhu_region *w = &msg->p.reg.region;

	if (msg->hdr.size < sizeof(msg->p.reg))
		return;
	for (unsigned i = 0; i < t->nr_regions; i++) {
		const struct vhu_region *r = &t->region[i].where;

		if (r->guest_addr != w->guest_addr || r->size != w->size)
			continue;
		unmap(&t->region[i]);
		t->region[i] = t->region[--t->nr_regions];
		return;
	}
}

static const void *at(const struct tap *t, uint64_t addr, uint64_t len,
		      bool user)
{
	for (unsigned i = 0; i < t->nr_regions; i++) {
		const struct region *r = &t->region[i];
		uint64_t off = addr - (user ? r->where.user_addr :
					      r->where.guest_addr);

		if (off < r->where.size && len <= r->where.size - off)
			return r->bytes + off;
	}
	return NULL;
}

const void *memory_at_user(const struct tap *t, uint64_t addr, uint64_t len)
{
	return at(t, addr, len, true);
}

const void *memory_at_guest(const struct tap *t, uint64_t addr, uint64_t len)
{
	return at(t, addr, len, false);
}
