/* SPDX-License-Identifier: MIT */
/*
 * vhost/map.c - the front end's memory: regions mapped from descriptors, and
 * the tables made of them. It knows no ring's layout; it asks each started
 * ring whether it can live in a new table before anything changes.
 *
 * A table is immutable and dies when its last pin goes, on whatever thread
 * that is. A mapping may stand in several tables and dies with the last.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CURE "front end sent no shared memory: give the guest memory that is shared by descriptor; QEMU: -object memory-backend-memfd,id=mem,size=...,share=on -machine memory-backend=mem"

struct mapping {
	unsigned refs;			/* atomic */
	bool registered;		/* pages may be missing */
	struct vhu_span span;
	bool told;			/* env->memory() knows of it */
};

/* A region as the front end described it, and where it is here. */
struct slot {
	struct vhu_region wire;
	dev_t dev;			/* of the file that it comes from */
	ino_t ino;
	struct mapping *mapping;
	unsigned char *host;
	unsigned perm;
};

/* The same behind an IOMMU, for one ring: what it misses is its own. */
struct io_map {
	struct vio_mem mem;
	struct vhu_map *map;
	struct vhu_ring *r;
};

struct vhu_map {
	struct vio_mem mem;
	struct vhu_server *s;
	struct io_map *io;		/* [nr_rings]; NULL: no IOMMU */
	struct vhu_map *next, **prev;	/* of s->maps, under its lock */
	unsigned nr;
	struct vio_region *region;	/* [nr], for mem */
	struct slot slot[];		/* sorted by guest address */
};

/* -- mappings ------------------------------------------------------------- */

static void mapping_put(struct mapping *m)
{
	if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (m->told)
		m->span.env->memory(m->span.env_ctx, m->span.base,
				    m->span.len, m->span.huge, false);
	vhu_span_unmap(&m->span);
	free(m);
}

static int check_region(const struct vhu_server *s, struct slot *slot,
			const struct vhu_region *w, int fd)
{
	struct stat st;

	if (!w->size || w->size - 1 > UINT64_MAX - w->guest_addr ||
	    w->size - 1 > UINT64_MAX - w->user_addr ||
	    w->mmap_offset > INT64_MAX ||
	    w->size > (uint64_t)INT64_MAX - w->mmap_offset) {
		vhu_say(s, VIO_LOG_ERROR,
			"memory region is empty or runs past the end of an address space",
			{ "guest_addr", w->guest_addr }, { "size", w->size },
			{ "user_addr", w->user_addr },
			{ "mmap_offset", w->mmap_offset });
		return -EINVAL;
	}
	if (fstat(fd, &st) != 0)
		return -errno;
	if (S_ISREG(st.st_mode) && ((uint64_t)st.st_size < w->mmap_offset ||
	    (uint64_t)st.st_size - w->mmap_offset < w->size)) {
		vhu_say(s, VIO_LOG_ERROR,
			"memory region runs past the end of its file",
			{ "mmap_offset", w->mmap_offset },
			{ "size", w->size },
			{ "file_size", (uint64_t)st.st_size });
		return -EINVAL;
	}
	slot->dev = st.st_dev;
	slot->ino = st.st_ino;
	return 0;
}

/* Fill @slot from @w and @fd, which stays the caller's. */
static int map_region(const struct vhu_server *s, struct slot *slot,
		      const struct vhu_region *w, int fd)
{
	struct mapping *m;
	int err = check_region(s, slot, w, fd);

	if (err)
		return err;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->refs = 1;
	slot->perm = VIO_PERM_RW;
	err = vhu_span_map(s, &m->span, fd, w->mmap_offset, w->size,
			   PROT_READ | PROT_WRITE);
	if (err == -EACCES || err == -EPERM) {
		/* Read-only memory: the guest's ROM. */
		slot->perm = VIO_PERM_READ;
		err = vhu_span_map(s, &m->span, fd, w->mmap_offset, w->size,
				   PROT_READ);
	}
	if (err) {
		free(m);
		vhu_say(s, VIO_LOG_ERROR, "memory region cannot be mapped",
			{ "mmap_offset", w->mmap_offset },
			{ "size", w->size }, { "errno", (uint64_t)-err });
		return err;
	}
	slot->wire = *w;
	slot->mapping = m;
	slot->host = m->span.at;
	return 0;
}

/* -- tables --------------------------------------------------------------- */

static void map_free(struct vhu_map *map)
{
	for (unsigned i = 0; i < map->nr; i++)
		mapping_put(map->slot[i].mapping);
	free(map->io);
	free(map->region);
	free(map);
}

/* All ways in which queues use it. */
static void set_dirty(struct vhu_map *map, vio_dirty_fn *fn)
{
	vio_mem_set_dirty(&map->mem, fn);
	for (unsigned i = 0; map->io && i < map->s->nr_rings; i++)
		vio_mem_set_dirty(&map->io[i].mem, fn);
}

/* In the list are the maps that queues may use: from finish to unpinned. */
static void map_link(struct vhu_server *s, struct vhu_map *map)
{
	pthread_mutex_lock(&s->maps_lock);
	map->s = s;
	map->next = s->maps;
	map->prev = &s->maps;
	if (map->next)
		map->next->prev = &map->next;
	s->maps = map;
	if (vhu_log_is_on(s))
		set_dirty(map, vhu_log_dirty);
	pthread_mutex_unlock(&s->maps_lock);
}

static void map_unlink(struct vhu_map *map)
{
	pthread_mutex_lock(&map->s->maps_lock);
	*map->prev = map->next;
	if (map->next)
		map->next->prev = map->prev;
	pthread_mutex_unlock(&map->s->maps_lock);
}

void vhu_maps_set_dirty(struct vhu_server *s, vio_dirty_fn *fn)
{
	pthread_mutex_lock(&s->maps_lock);
	for (struct vhu_map *map = s->maps; map; map = map->next)
		set_dirty(map, fn);
	pthread_mutex_unlock(&s->maps_lock);
}

void vhu_maps_each(struct vhu_server *s,
		   void (*fn)(int a, int b, void *base, size_t len),
		   int a, int b)
{
	pthread_mutex_lock(&s->maps_lock);
	for (struct vhu_map *map = s->maps; map; map = map->next) {
		for (unsigned i = 0; i < map->nr; i++) {
			const struct mapping *m = map->slot[i].mapping;

			if (m->registered)
				fn(a, b, m->span.base, m->span.len);
		}
	}
	pthread_mutex_unlock(&s->maps_lock);
}

static void unpinned(struct vio_mem *mem)
{
	struct vhu_map *map = vio_container_of(mem, struct vhu_map, mem);

	map_unlink(map);
	map_free(map);
}

static void io_unpinned(struct vio_mem *mem)
{
	struct io_map *io = vio_container_of(mem, struct io_map, mem);

	vio_mem_unpin(&io->map->mem);
}

static void map_pin(struct vhu_map *map)
{
	vio_mem_pin(&map->mem);
	for (unsigned i = 0; map->io && i < map->s->nr_rings; i++) {
		vio_mem_pin(&map->mem);
		vio_mem_pin(&map->io[i].mem);
	}
}

/* The session lets go of it; queues may have it for a while. */
static void map_unpin(struct vhu_map *map)
{
	for (unsigned i = 0; map->io && i < map->s->nr_rings; i++)
		vio_mem_unpin(&map->io[i].mem);
	vio_mem_unpin(&map->mem);
}

/* vio_translate_fn: by way of the front end's addresses. */
static enum vio_translated io_translate(void *ctx, vio_addr io, uint64_t len,
					unsigned perm, vio_addr *phys,
					uint64_t *got)
{
	const struct io_map *m = ctx;
	enum vio_translated how;
	uint64_t user, room;

	(void)len;
	how = vhu_iotlb_translate(m->r, io, perm, &user, &room);
	if (how != VIO_TRANSLATED)
		return how;
	/* The end of the region is the end of what is together. */
	if (!vio_mem_from_user(&m->map->mem, user, 1, phys))
		return VIO_TRANSLATED_NOT;
	*got = room;
	return how;
}

static int make_io(struct vhu_server *s, struct vhu_map *map)
{
	if (!s->tlb)
		return 0;
	map->io = calloc(s->nr_rings, sizeof(*map->io));
	if (!map->io)
		return -ENOMEM;
	for (unsigned i = 0; i < s->nr_rings; i++) {
		struct io_map *io = &map->io[i];

		vio_mem_init_iommu(&io->mem, &map->mem, io_translate, io);
		io->mem.unpinned = io_unpinned;
		io->map = map;
		io->r = &s->ring[i];
	}
	return 0;
}

static struct vhu_map *map_new(unsigned room)
{
	struct vhu_map *map;

	map = calloc(1, sizeof(*map) + room * sizeof(map->slot[0]));
	if (!map)
		return NULL;
	map->region = calloc(room ? room : 1, sizeof(*map->region));
	if (!map->region) {
		free(map);
		return NULL;
	}
	return map;
}

/* Take over a slot, reference included, keeping the order. */
static void map_insert(struct vhu_map *map, const struct slot *slot)
{
	unsigned i = map->nr++;

	while (i && map->slot[i - 1].wire.guest_addr > slot->wire.guest_addr) {
		map->slot[i] = map->slot[i - 1];
		i--;
	}
	map->slot[i] = *slot;
}

static void map_share(struct vhu_map *map, const struct slot *slot)
{
	__atomic_add_fetch(&slot->mapping->refs, 1, __ATOMIC_RELAXED);
	map_insert(map, slot);
}

/* All slots are in: make it a map that queues can use. */
static int map_finish(struct vhu_server *s, struct vhu_map *map)
{
	for (unsigned i = 0; i < map->nr; i++) {
		const struct slot *slot = &map->slot[i];

		map->region[i] = (struct vio_region){
			.addr = vio_addr_of(slot->wire.guest_addr),
			.size = slot->wire.size,
			.host = slot->host,
			.user_addr = slot->wire.user_addr,
			.perm = slot->perm,
		};
	}
	if (vio_mem_init(&map->mem, map->region, map->nr) != VIO_OK) {
		vhu_say(s, VIO_LOG_ERROR, "memory regions overlap",
			{ "regions", map->nr });
		return -EINVAL;
	}
	map->mem.unpinned = unpinned;
	map->mem.dirty_ctx = s;
	return make_io(s, map);
}

struct vio_mem *vhu_map_mem(struct vhu_map *map, const struct vhu_ring *r)
{
	if (!map || !vhu_behind_iommu(r->s))
		return map ? &map->mem : NULL;
	return &map->io[r->index].mem;
}

/* The region in which a user address is, or NULL. */
static const struct slot *slot_of_user(const struct vhu_map *map, uint64_t user)
{
	for (unsigned i = 0; map && i < map->nr; i++) {
		const struct slot *slot = &map->slot[i];

		if (user >= slot->wire.user_addr &&
		    user - slot->wire.user_addr < slot->wire.size)
			return slot;
	}
	return NULL;
}

bool vhu_map_has_user(const struct vhu_map *map, uint64_t user, uint64_t len)
{
	/* Each turn leaves a region behind: no more than there are. */
	for (unsigned i = 0; i <= vhu_map_regions(map); i++) {
		const struct slot *slot = slot_of_user(map, user);
		uint64_t room;

		if (!slot)
			return false;
		room = slot->wire.size - (user - slot->wire.user_addr);
		if (len <= room)
			return true;
		len -= room;
		user += room;
	}
	return false;
}

struct vio_seg vhu_map_host(const struct vhu_map *map, uint64_t user,
			    uint64_t last)
{
	const struct slot *slot = slot_of_user(map, user);
	uint64_t off = slot ? user - slot->wire.user_addr : 0;

	if (!slot || last >= slot->wire.size - off)
		return (struct vio_seg){ NULL, SIZE_MAX };
	return (struct vio_seg){ slot->host + off, last + 1 };
}

unsigned vhu_map_regions(const struct vhu_map *map)
{
	return map ? map->nr : 0;
}

int vhu_map_region(const struct vhu_map *map, unsigned i,
		   struct vhu_region *region)
{
	*region = map->slot[i].wire;
	return map->slot[i].mapping->span.fd;
}

/* The next map is another, or none. */
static void replace_next(struct vhu_server *s, struct vhu_map *map)
{
	if (s->post_map)
		map_free(s->post_map);
	s->post_map = map;
}

void vhu_map_drop(struct vhu_server *s)
{
	replace_next(s, NULL);
	if (s->map)
		map_unpin(s->map);
	s->map = NULL;
}

void vhu_map_missing(struct vhu_server *s)
{
	if (!s->told_no_memory)
		vhu_log(s, VIO_LOG_ERROR, CURE, NULL, 0);
	s->told_no_memory = true;
}

/* -- putting a table into force ------------------------------------------- */

static int queue_set_mem(struct vhu_ring *r, void *arg)
{
	const struct vhu_server *s = r->s;
	int err = vio_queue_set_mem(vhu_ring_queue(r), arg);

	/* Too many maps with requests in flight: let them finish. */
	if (err == VIO_E_AGAIN && s->conf.env->drain) {
		err = s->conf.env->drain(s->conf.env_ctx, r->index);
		if (err)
			return err;
		err = vio_queue_set_mem(vhu_ring_queue(r), arg);
	}
	return err == VIO_OK ? 0 : -EFAULT;
}

/* Let a started ring live in @map. */
static int move_ring(struct vhu_ring *r, struct vhu_map *map)
{
	struct vio_queue_layout to;
	int err = vhu_ring_locate(r, map, &to);

	if (!err && r->layout.desc.v == to.desc.v &&
	    r->layout.driver.v == to.driver.v &&
	    r->layout.device.v == to.device.v)
		return vhu_on_queue(r, queue_set_mem, vhu_map_mem(map, r));
	/* Another guest address, or one yet to be known: s->map is the new
	 * one already. */
	err = vhu_ring_event(r, VHU_EV_STOP);
	return err ? err : vhu_ring_try_start(r);
}

static void tell_memory(struct vhu_map *map)
{
	for (unsigned i = 0; i < map->nr; i++) {
		struct mapping *m = map->slot[i].mapping;
		const struct vhu_span *sp = &m->span;

		if (!sp->env->memory || m->told || m->registered)
			continue;
		m->told = true;
		sp->env->memory(sp->env_ctx, sp->base, sp->len, sp->huge,
				true);
	}
}

/* Put a table into force; consumes it. All or nothing, up to the moves. */
static int map_use(struct vhu_server *s, struct vhu_map *map)
{
	struct vio_queue_layout to;
	struct vhu_map *old = s->map;
	int err = map_finish(s, map);

	for (unsigned i = 0; !err && i < s->nr_rings; i++) {
		if (!vhu_ring_started(&s->ring[i]) || vhu_behind_iommu(s) ||
		    !vhu_ring_locate(&s->ring[i], map, &to))
			continue;
		vhu_say(s, VIO_LOG_ERROR,
			"front end takes away the memory in which a started ring lies",
			{ "queue", i });
		err = -EBUSY;
	}
	if (err) {
		map_free(map);
		return err;
	}
	map_link(s, map);
	map_pin(map);
	tell_memory(map);
	s->map = map;
	for (unsigned i = 0; i < s->nr_rings; i++) {
		struct vhu_ring *r = &s->ring[i];
		int e;

		if (vhu_ring_started(r))
			e = move_ring(r, map);
		else
			e = vhu_ring_try_start(r);
		err = err ? err : e;
	}
	if (old)
		map_unpin(old);
	return err;
}

/* -- postcopy ------------------------------------------------------------- */

/*
 * Say where @nr regions, which are in s->out already, lie in @map, which
 * waits until the front end has taken note: no byte of it is touched before.
 */
static int tell_bases(struct vhu_server *s, const struct vhu_msg *msg,
		      struct vhu_map *map, struct vhu_region *region,
		      uint32_t nr)
{
	replace_next(s, map);
	for (uint32_t i = 0; i < nr; i++) {
		unsigned at = 0;

		while (map->slot[at].wire.guest_addr != region[i].guest_addr)
			at++;
		region[i].user_addr = (uintptr_t)map->slot[at].host;
	}
	return vhu_reply(s, msg, msg->hdr.size);
}

/* The front end knows. */
static int use_next(struct vhu_server *s, const struct vhu_msg *msg)
{
	struct vhu_map *map = s->post_map;
	int err = 0;

	/* It said so though there was nothing new. */
	if (!map)
		return 0;
	s->post_map = NULL;
	if (msg->p.u64) {
		vhu_say(s, VIO_LOG_ERROR,
			"front end cannot fill in the pages of its memory",
			{ "u64", msg->p.u64 });
		err = -EREMOTEIO;
	}
	for (unsigned i = 0; i < map->nr && !err; i++) {
		struct mapping *m = map->slot[i].mapping;

		if (m->registered)
			continue;
		err = vhu_post_register(s, m->span.base, m->span.len);
		m->registered = !err;
	}
	if (!err)
		return map_use(s, map);
	map_free(map);
	return err;
}

/* Instead of a region: 0 goes on, else what became of it. */
static bool no_region(struct vhu_server *s, const struct vhu_msg *msg,
		      int *err)
{
	if (msg->hdr.size >= sizeof(msg->p.reg))
		return false;
	if (s->post_listening && msg->hdr.size == sizeof(msg->p.u64)) {
		*err = use_next(s, msg);
		return true;
	}
	vhu_say(s, VIO_LOG_ERROR, "memory region does not fit its message",
		{ "bytes", msg->hdr.size });
	*err = -EPROTO;
	return true;
}

/* -- messages ------------------------------------------------------------- */

/* Map a region of a message and put it into @map. */
static int add_region(struct vhu_server *s, struct vhu_map *map,
		      const struct vhu_region *w, int fd)
{
	struct slot slot;
	int err;

	if (fd < 0) {
		vhu_say(s, VIO_LOG_ERROR, CURE,
			{ "guest_addr", w->guest_addr }, { "size", w->size });
		return -EBADF;
	}
	err = map_region(s, &slot, w, fd);
	if (!err)
		map_insert(map, &slot);
	return err;
}

int vhu_on_mem_table(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_mem_table *t = &msg->p.table;
	uint32_t nr = t->nr;
	struct vhu_map *map;

	if (s->post_map && msg->hdr.size == sizeof(msg->p.u64))
		return use_next(s, msg);
	if (nr > VHU_TABLE_REGIONS ||
	    8 + nr * sizeof(t->region[0]) > msg->hdr.size ||
	    (msg->nr_fds && msg->nr_fds != nr)) {
		vhu_say(s, VIO_LOG_ERROR,
			"memory table does not fit its message",
			{ "regions", nr },
			{ "regions_max", VHU_TABLE_REGIONS },
			{ "bytes", msg->hdr.size }, { "fds", msg->nr_fds });
		return -EPROTO;
	}
	map = map_new(nr);
	if (!map)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++) {
		int fd = i < msg->nr_fds ? msg->fd[i] : -1;
		int err = add_region(s, map, &t->region[i], fd);

		if (err) {
			map_free(map);
			return err;
		}
	}
	if (!s->post_listening)
		return map_use(s, map);
	memcpy(&s->out.p, &msg->p, msg->hdr.size);
	return tell_bases(s, msg, map, s->out.p.table.region, nr);
}

int vhu_on_mem_slots(struct vhu_server *s, struct vhu_msg *msg)
{
	return vhu_reply_u64(s, msg, VHU_MEM_SLOTS);
}

static bool same_region(const struct vhu_region *a, const struct vhu_region *b)
{
	return a->guest_addr == b->guest_addr && a->size == b->size &&
		a->user_addr == b->user_addr;
}

/* Is it in @map, from the same place of the same file? NULL: it is not. */
static const struct slot *find_same(const struct vhu_map *map,
				    const struct vhu_msg *msg)
{
	const struct vhu_region *w = &msg->p.reg.region;
	struct stat st;

	if (!msg->nr_fds || fstat(msg->fd[0], &st) != 0)
		return NULL;
	for (unsigned i = 0; i < vhu_map_regions(map); i++) {
		const struct slot *slot = &map->slot[i];

		if (same_region(&slot->wire, w) &&
		    slot->wire.mmap_offset == w->mmap_offset &&
		    slot->dev == st.st_dev && slot->ino == st.st_ino)
			return slot;
	}
	return NULL;
}

/*
 * QEMU before 8.0 has a device of its own for each pair of a network's queues
 * and adds all memory by each of them, on the one connection.
 */
static int add_again(struct vhu_server *s, const struct vhu_msg *msg,
		     const struct slot *slot)
{
	if (!s->post_listening)
		return 0;
	memcpy(&s->out.p, &msg->p, msg->hdr.size);
	s->out.p.reg.region.user_addr = (uintptr_t)slot->host;
	return vhu_reply(s, msg, msg->hdr.size);
}

int vhu_on_mem_add(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_map *now = s->post_map ? s->post_map : s->map;
	unsigned nr = vhu_map_regions(now);
	const struct slot *same;
	struct vhu_map *map;
	int err;

	if (no_region(s, msg, &err))
		return err;
	same = find_same(now, msg);
	if (same)
		return add_again(s, msg, same);
	if (nr >= VHU_MEM_SLOTS) {
		vhu_say(s, VIO_LOG_ERROR, "too many memory regions",
			{ "regions_max", VHU_MEM_SLOTS });
		return -ENOSPC;
	}
	map = map_new(nr + 1);
	if (!map)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++)
		map_share(map, &now->slot[i]);
	err = add_region(s, map, &msg->p.reg.region,
			 msg->nr_fds ? msg->fd[0] : -1);
	if (err) {
		map_free(map);
		return err;
	}
	if (!s->post_listening)
		return map_use(s, map);
	memcpy(&s->out.p, &msg->p, msg->hdr.size);
	return tell_bases(s, msg, map, &s->out.p.reg.region, 1);
}

/* A descriptor that comes along is closed, as the protocol permits. */
int vhu_on_mem_rem(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_region *w = &msg->p.reg.region;
	const struct vhu_map *now = s->post_map ? s->post_map : s->map;
	unsigned nr = vhu_map_regions(now);
	struct vhu_map *map;
	int err;

	if (no_region(s, msg, &err))
		return err;
	map = map_new(nr);
	if (!map)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		if (!same_region(&now->slot[i].wire, w))
			map_share(map, &now->slot[i]);
	}
	if (map->nr + 1 == nr && s->post_map) {
		replace_next(s, map);
		return 0;
	}
	if (map->nr + 1 == nr)
		return map_use(s, map);
	map_free(map);
	vhu_say(s, VIO_LOG_ERROR, "no such memory region to remove",
		{ "guest_addr", w->guest_addr }, { "size", w->size },
		{ "user_addr", w->user_addr });
	return -ENOENT;
}
