/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_shmem.c - what the back end shows us of files of its own: parts
 * of the device's shared memory regions, and pages that take notifications.
 * It does not know what is in them.
 *
 * The back end says what goes where; it cannot reach beyond the room that was
 * reserved for a region, nor take away a mapping of ours. A file that it
 * truncates afterwards is the business of ops->map_guard.
 */
#define _GNU_SOURCE	/* MAP_ANONYMOUS */
#include "vhost/client.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Parts that may be shown at a time: each costs the kernel a mapping. */
#define PARTS_MAX	1024

struct part {
	uint64_t offset, len;
	uint8_t id;
};

struct vhu_client_shmem {
	unsigned char *host[VHU_SHMEM_REGIONS];
	uint64_t size[VHU_SHMEM_REGIONS];
	unsigned nr_parts;
	struct part part[PARTS_MAX];
};

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t vhu_client_wishes(const struct vhu_client_conf *conf)
{
	const struct vhu_client_ops *ops = conf->ops;
	uint64_t pf = 0;

	if (conf->shmem_max)
		pf |= VHU_PF(SHMEM);
	if (conf->map_notifiers || (ops && ops->host_notifier))
		pf |= VHU_PF(HOST_NOTIFIER) | VHU_PF(BACKEND_SEND_FD);
	if (ops && ops->object_add && ops->object_remove && ops->object_lookup)
		pf |= VHU_PF(SHARED_OBJECT);
	return pf;
}

static void guard(struct vhu_client *c, void *ptr, uint64_t len, bool add)
{
	const struct vhu_client_ops *ops = c->conf.ops;

	if (ops && ops->map_guard)
		ops->map_guard(c->conf.ops_ctx, ptr, (size_t)len, add);
}

/* Nothing is here, and nobody may touch it. */
static void *reserve(void *at, uint64_t len)
{
	return mmap(at, (size_t)len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
}

/*
 * Does the file have these bytes now? What is no file (a device's page) knows
 * itself what can be mapped. A huge page is mapped whole, however little of it
 * is asked for: what is behind the place for it would be gone.
 */
static int check_file(int fd, uint64_t offset, uint64_t len)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type == HUGETLBFS_MAGIC && (offset % (uint64_t)fs.f_bsize ||
					     len % (uint64_t)fs.f_bsize))
		return -EINVAL;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	if (S_ISREG(st.st_mode) && offset + len > (uint64_t)st.st_size)
		return -EINVAL;
	return 0;
}

/* -- regions -------------------------------------------------------------- */

static int make_region(struct vhu_client *c, unsigned id, uint64_t size,
		       uint64_t *room)
{
	struct vhu_client_shmem *m = c->shmem;

	/* The driver knows where it is: another back end has the same. */
	if (m->host[id] || c->status)
		return size == m->size[id] ? 0 : -ENOTSUP;
	if (!size)
		return 0;
	if (size % page_size() || size > *room)
		return -EFBIG;
	m->host[id] = reserve(NULL, size);
	if (m->host[id] == MAP_FAILED) {
		m->host[id] = NULL;
		return -ENOMEM;
	}
	m->size[id] = size;
	*room -= size;
	return 0;
}

/* What another back end had reserved is kept, and counts. */
static uint64_t room_left(const struct vhu_client *c)
{
	uint64_t room = c->conf.shmem_max;

	for (unsigned id = 0; id < VHU_SHMEM_REGIONS; id++)
		room -= c->shmem->size[id];
	return room;
}

int vhu_client_ask_shmem(struct vhu_client *c)
{
	struct vhu_shmem *a = &c->sock.in.p.shmem;
	uint64_t room;
	uint32_t have, nr = 0;
	int err;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_SHMEM))
		return c->shmem ? -ENOTSUP : 0;
	vhu_msg_init(&c->out, VHOST_USER_GET_SHMEM_CONFIG, 0, 0);
	err = vhu_ask(c, offsetof(struct vhu_shmem, size));
	if (err)
		return err;
	if (!c->shmem)
		c->shmem = calloc(1, sizeof(*c->shmem));
	if (!c->shmem)
		return -ENOMEM;
	room = room_left(c);
	/* What is not said is not there. */
	have = c->sock.in.hdr.size;
	if (have > sizeof(*a))
		return -EPROTO;
	memset((unsigned char *)a + have, 0, sizeof(*a) - have);
	for (unsigned id = 0; id < VHU_SHMEM_REGIONS && !err; id++) {
		nr += a->size[id] != 0;
		err = make_region(c, id, a->size[id], &room);
	}
	return !err && nr != a->nr ? -EPROTO : err;
}

static struct part *find(struct vhu_client_shmem *m, const struct vhu_mmap *q)
{
	for (unsigned i = 0; i < m->nr_parts; i++) {
		struct part *p = &m->part[i];

		if (p->id == q->shmid && p->offset < q->shm_offset + q->len &&
		    q->shm_offset < p->offset + p->len)
			return p;
	}
	return NULL;
}

/* Is it a range of whole pages in a region? */
static int check_range(const struct vhu_client_shmem *m,
		       const struct vhu_mmap *q)
{
	uint64_t page = page_size(), size = m->size[q->shmid];

	if (!q->len || q->len % page || q->shm_offset % page)
		return -EINVAL;
	if (q->len > size || q->shm_offset > size - q->len)
		return -EINVAL;
	return 0;
}

int vhu_client_on_map(struct vhu_client *c, struct vhu_msg *msg)
{
	const struct vhu_mmap *q = &msg->p.mmap;
	struct vhu_client_shmem *m = c->shmem;
	int prot = q->flags & VHU_MMAP_WRITABLE ? PROT_READ | PROT_WRITE :
						  PROT_READ;
	unsigned char *at;
	int err;

	if (!m || q->flags & ~(uint64_t)VHU_MMAP_WRITABLE)
		return -EINVAL;
	err = check_range(m, q);
	if (!err)
		err = check_file(msg->fd[0], q->fd_offset, q->len);
	if (err)
		return err;
	if (q->fd_offset % page_size() || find(m, q))
		return -EINVAL;
	if (m->nr_parts == PARTS_MAX)
		return -ENOSPC;
	at = m->host[q->shmid] + q->shm_offset;
	if (mmap(at, (size_t)q->len, prot, MAP_SHARED | MAP_FIXED, msg->fd[0],
		 (off_t)q->fd_offset) == MAP_FAILED) {
		err = -errno;
		reserve(at, q->len);
		return err;
	}
	m->part[m->nr_parts++] = (struct part){
		q->shm_offset, q->len, q->shmid,
	};
	guard(c, at, q->len, true);
	return 0;
}

static int hide(struct vhu_client *c, struct part *p)
{
	struct vhu_client_shmem *m = c->shmem;
	unsigned char *at = m->host[p->id] + p->offset;

	guard(c, at, p->len, false);
	if (reserve(at, p->len) == MAP_FAILED)
		return -errno;
	*p = m->part[--m->nr_parts];
	return 0;
}

/* What was mapped, as it was mapped. */
int vhu_client_on_unmap(struct vhu_client *c, struct vhu_msg *msg)
{
	const struct vhu_mmap *q = &msg->p.mmap;
	struct part *p;

	if (!c->shmem || check_range(c->shmem, q))
		return -EINVAL;
	p = find(c->shmem, q);
	if (!p || p->offset != q->shm_offset || p->len != q->len)
		return -EINVAL;
	return hide(c, p);
}

void *vhu_client_shmem(const struct vhu_client *c, uint8_t id, uint64_t *len)
{
	*len = c->shmem ? c->shmem->size[id] : 0;
	return c->shmem ? c->shmem->host[id] : NULL;
}

unsigned vhu_client_shmem_maps(const struct vhu_client *c)
{
	return c->shmem ? c->shmem->nr_parts : 0;
}

int vhu_client_bus_shm(void *bus, uint8_t id, struct vio_shm *shm)
{
	struct vhu_client *c = bus;

	if (!c->shmem || !c->shmem->size[id])
		return VIO_E_UNSUPP;
	shm->id = id;
	shm->base = (uintptr_t)c->shmem->host[id];
	shm->len = c->shmem->size[id];
	return VIO_OK;
}

/* -- notifications -------------------------------------------------------- */

/* A page that takes what is written, and does nothing by it. */
static int put_nothing(void *at, uint64_t page)
{
	return mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ?
		-errno : 0;
}

/* The page stays where it is, since the queue's thread may be writing. */
static int map_notifier(struct vhu_client *c, struct vhu_client_ring *r, int fd,
			uint64_t offset)
{
	uint64_t page = page_size();
	int fixed = r->notifier_page ? MAP_FIXED : 0;
	void *p;
	int err;

	p = mmap(r->notifier_page, page, PROT_READ | PROT_WRITE,
		 MAP_SHARED | fixed, fd, (off_t)offset);
	if (p == MAP_FAILED) {
		err = -errno;
		/* Before Linux 6.12 what was there is gone even so. */
		if (fixed)
			put_nothing(r->notifier_page, page);
		return err;
	}
	if (!fixed)
		r->notifier_page = p;
	guard(c, p, page, true);
	__atomic_store_n(&r->notified, true, __ATOMIC_RELEASE);
	return 0;
}

static int unmap_notifier(struct vhu_client *c, struct vhu_client_ring *r)
{
	uint64_t page = page_size();

	if (!r->notified)
		return 0;
	__atomic_store_n(&r->notified, false, __ATOMIC_RELEASE);
	guard(c, r->notifier_page, page, false);
	return put_nothing(r->notifier_page, page);
}

int vhu_client_on_notifier(struct vhu_client *c, struct vhu_msg *msg)
{
	const struct vhu_area *q = &msg->p.area;
	const struct vhu_client_ops *ops = c->conf.ops;
	unsigned index = (unsigned)(q->index & VHU_VRING_IDX_MASK);
	bool none = q->index & VHU_VRING_NOFD;
	int fd = none ? -1 : msg->fd[0];
	uint64_t page = page_size();
	int err;

	if (q->index & ~(uint64_t)(VHU_VRING_IDX_MASK | VHU_VRING_NOFD) ||
	    index >= c->nr_queues || msg->nr_fds != !none)
		return -EINVAL;
	if (!none && (q->size != page || q->offset % page))
		return -EINVAL;
	err = none ? 0 : check_file(fd, q->offset, page);
	if (err)
		return err;
	if (ops && ops->host_notifier)
		return ops->host_notifier(c->conf.ops_ctx, index, fd,
					  q->offset, q->size);
	err = unmap_notifier(c, &c->ring[index]);
	if (!err && !none)
		err = map_notifier(c, &c->ring[index], fd, q->offset);
	return err;
}

bool vhu_client_host_notified(const struct vhu_client *c, uint16_t index)
{
	return index < VHU_CLIENT_QUEUES && c->ring[index].notified;
}

/* -- the end of it -------------------------------------------------------- */

void vhu_client_unshow(struct vhu_client *c)
{
	while (c->shmem && c->shmem->nr_parts && !hide(c, c->shmem->part))
		;
	for (unsigned i = 0; i < VHU_CLIENT_QUEUES; i++)
		unmap_notifier(c, &c->ring[i]);
}

void vhu_client_free_shmem(struct vhu_client *c)
{
	struct vhu_client_shmem *m = c->shmem;

	vhu_client_unshow(c);
	for (unsigned i = 0; m && i < VHU_SHMEM_REGIONS; i++) {
		if (m->host[i])
			munmap(m->host[i], (size_t)m->size[i]);
	}
	free(m);
	c->shmem = NULL;
	for (unsigned i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (c->ring[i].notifier_page)
			munmap(c->ring[i].notifier_page, page_size());
	}
}

/* -- a buffer of the back end's ------------------------------------------- */

int vhu_client_object(struct vhu_client *c, const uint8_t uuid[16], int *fd)
{
	int err;

	*fd = -1;
	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		return -EOPNOTSUPP;
	vhu_msg_init(&c->out, VHOST_USER_GET_SHARED_OBJECT, 0,
		     sizeof(c->out.p.uuid));
	memcpy(c->out.p.uuid, uuid, sizeof(c->out.p.uuid));
	/* Some answer with a number, some with the question. */
	err = vhu_ask(c, 0);
	if (err)
		return err;
	*fd = vhu_msg_take_fd(&c->sock.in, 0);
	return *fd < 0 ? -ENOENT : 0;
}
