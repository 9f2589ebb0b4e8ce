/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_mem.c - the memory that the back end sees, and the log of what
 * it wrote to. It knows no ring; where a ring's own log entries go, client.c
 * says with the ring's addresses.
 *
 * The window of the driver is slot 0 and lives as long as the client. Back
 * ends with CONFIGURE_MEM_SLOTS get memory slot by slot, others all of it
 * each time.
 */
#define _GNU_SOURCE	/* memfd_create */
#include "vhost/client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SHIFT	12	/* of the log; VHOST_LOG_PAGE */
/* What every back end takes in one table. */
#define TABLE_SLOTS	8

/* -- memory --------------------------------------------------------------- */

void vhu_client_init_memory(struct vhu_client *c)
{
	const struct vio_window *w = &c->conf.window;

	c->slot[0] = (struct vhu_client_slot){
		.region = { w->addr.v, w->size, (uintptr_t)w->host,
			    c->conf.mem_offset },
		.fd = c->conf.mem_fd,
	};
	c->nr_slots = 1;
	c->log.fd = c->log.signal = -1;
}

int vhu_client_ask_slots(struct vhu_client *c)
{
	uint64_t max = TABLE_SLOTS;
	int err = 0;

	for (unsigned i = 0; i < c->nr_slots; i++)
		c->slot[i].sent = false;
	if (vhu_client_has(c, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		err = vhu_ask_u64(c, VHOST_USER_GET_MAX_MEM_SLOTS, &max);
	c->max_slots = max < VHU_CLIENT_SLOTS ? (unsigned)max :
						VHU_CLIENT_SLOTS;
	return err ? err : c->nr_slots > c->max_slots ? -ENOSPC : 0;
}

static int send_table(struct vhu_client *c)
{
	struct vhu_mem_table *t = &c->out.p.table;
	int err;

	vhu_msg_init(&c->out, VHOST_USER_SET_MEM_TABLE, 0,
		     (uint32_t)(offsetof(struct vhu_mem_table, region) +
				c->nr_slots * sizeof(t->region[0])));
	t->nr = c->nr_slots;
	for (unsigned i = 0; i < c->nr_slots; i++) {
		t->region[i] = c->slot[i].region;
		c->out.fd[i] = c->slot[i].fd;
	}
	c->out.nr_fds = c->nr_slots;
	err = vhu_tell(c);
	for (unsigned i = 0; i < c->nr_slots && !err; i++)
		c->slot[i].sent = true;
	return err;
}

static int send_slot(struct vhu_client *c, struct vhu_client_slot *s,
		     uint32_t request)
{
	bool add = request == VHOST_USER_ADD_MEM_REG;
	int err;

	vhu_msg_init(&c->out, request, 0, sizeof(c->out.p.reg));
	c->out.p.reg.region = s->region;
	c->out.fd[0] = s->fd;
	c->out.nr_fds = add;
	err = vhu_tell(c);
	if (!err)
		s->sent = add;
	return err;
}

int vhu_client_send_memory(struct vhu_client *c)
{
	int err = 0;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return send_table(c);
	for (unsigned i = 0; i < c->nr_slots && !err; i++) {
		if (!c->slot[i].sent)
			err = send_slot(c, &c->slot[i],
					VHOST_USER_ADD_MEM_REG);
	}
	return err;
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

/* Memory is told as soon as rings may use it, and before with the rest. */
static bool told(const struct vhu_client *c)
{
	return c->slot[0].sent;
}

int vhu_client_add_memory(struct vhu_client *c, const struct vio_window *w,
			  int fd, uint64_t offset)
{
	struct vhu_client_slot s = {
		.region = { w->addr.v, w->size, (uintptr_t)w->host, offset },
	};
	int err = 0;

	if (!w->size || w->size - 1 > UINT64_MAX - w->addr.v)
		return -EINVAL;
	for (unsigned i = 0; i < c->nr_slots; i++) {
		if (overlaps(s.region.guest_addr, s.region.size,
			     c->slot[i].region.guest_addr,
			     c->slot[i].region.size))
			return -EEXIST;
	}
	if (c->nr_slots >= c->max_slots)
		return -ENOSPC;
	/* A log has a place for all pages from its beginning on. */
	if (c->log.fd >= 0)
		return -EBUSY;
	s.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (s.fd < 0)
		return -errno;
	c->slot[c->nr_slots++] = s;
	if (told(c))
		err = vhu_client_send_memory(c);
	if (err)
		close(c->slot[--c->nr_slots].fd);
	return err;
}

int vhu_client_remove_memory(struct vhu_client *c, vio_addr addr)
{
	struct vhu_client_slot gone;
	unsigned i;

	for (i = 1; i < c->nr_slots; i++) {
		if (c->slot[i].region.guest_addr == addr.v)
			break;
	}
	if (i >= c->nr_slots)
		return -ENOENT;
	gone = c->slot[i];
	c->slot[i] = c->slot[--c->nr_slots];
	close(gone.fd);
	if (!gone.sent)
		return 0;
	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return send_table(c);
	return send_slot(c, &gone, VHOST_USER_REM_MEM_REG);
}

void vhu_client_free_memory(struct vhu_client *c)
{
	for (unsigned i = 1; i < c->nr_slots; i++)
		close(c->slot[i].fd);
	if (c->log.bits)
		munmap(c->log.bits, (size_t)c->log.size);
	if (c->log.fd >= 0)
		close(c->log.fd);
	if (c->log.signal >= 0)
		close(c->log.signal);
	c->log = (struct vhu_client_log){ .fd = -1, .signal = -1 };
}

/* -- the log -------------------------------------------------------------- */

/* Bytes for all addresses up to the highest, in whole words. */
static uint64_t log_size(const struct vhu_client *c)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < c->nr_slots; i++) {
		uint64_t end = c->slot[i].region.guest_addr +
			       (c->slot[i].region.size - 1);

		if (end > last)
			last = end;
	}
	return ((last >> PAGE_SHIFT) / 64 + 1) * sizeof(uint64_t);
}

static int make_log(struct vhu_client *c)
{
	struct vhu_client_log *log = &c->log;
	uint64_t size = log_size(c);
	void *p;

	log->fd = memfd_create("vhost-user-log",
			       MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (log->fd < 0)
		return -errno;
	if (size > INT64_MAX || ftruncate(log->fd, (off_t)size) < 0)
		return -EFBIG;
	/* The back end has it too: cut short, we would die of reading it. */
	if (fcntl(log->fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 log->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	log->bits = p;
	log->size = size;
	log->signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return log->signal < 0 ? -errno : 0;
}

int vhu_client_send_log(struct vhu_client *c)
{
	int err;

	if (c->log.fd < 0)
		return 0;
	vhu_msg_init(&c->out, VHOST_USER_SET_LOG_BASE, 0,
		     sizeof(c->out.p.log));
	c->out.p.log.size = c->log.size;
	c->out.fd[0] = c->log.fd;
	c->out.nr_fds = 1;
	/* Some say in it how it went, some say nothing by it. */
	err = vhu_ask(c, 0);
	if (err)
		return err;
	vhu_msg_init(&c->out, VHOST_USER_SET_LOG_FD, 0, 0);
	c->out.fd[0] = c->log.signal;
	c->out.nr_fds = 1;
	return vhu_tell(c);
}

int vhu_client_log_start(struct vhu_client *c)
{
	int err;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_LOG_SHMFD) ||
	    !(c->offered >> VHOST_F_LOG_ALL & 1))
		return -EOPNOTSUPP;
	if (c->log.fd >= 0)
		return -EALREADY;
	err = make_log(c);
	if (!err)
		err = vhu_client_send_log(c);
	if (!err)
		err = vhu_client_tell_logging(c);
	if (err)
		vhu_client_log_stop(c);
	return err;
}

/*
 * The log is the back end's until it says that it writes there no more; the
 * pages marked up to then are lost with it, so that they are taken after
 * vhu_client_stop_queue() and before this.
 */
int vhu_client_log_stop(struct vhu_client *c)
{
	struct vhu_client_log log = c->log;
	int err;

	if (log.fd < 0)
		return 0;
	c->log.fd = -1;
	err = vhu_client_tell_logging(c);
	c->log = log;
	if (c->log.bits)
		munmap(c->log.bits, (size_t)c->log.size);
	close(c->log.fd);
	if (c->log.signal >= 0)
		close(c->log.signal);
	c->log = (struct vhu_client_log){ .fd = -1, .signal = -1 };
	return err;
}

int vhu_client_log_fd(const struct vhu_client *c)
{
	return c->log.signal;
}

/* The marked pages of one word, those from @first to @last alone. */
static uint64_t take_word(uint64_t *word, uint64_t base, uint64_t first,
			  uint64_t last)
{
	uint64_t mask = UINT64_MAX;

	if (first > base)
		mask &= UINT64_MAX << (first - base);
	if (last - base < 63)
		mask &= UINT64_MAX >> (63 - (last - base));
	if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & mask))
		return 0;
	/* Before the page is read: what is marked later is taken later. */
	return __atomic_fetch_and(word, ~mask, __ATOMIC_ACQ_REL) & mask;
}

static uint64_t take_slot(struct vhu_client *c, const struct vhu_region *r,
			  vhu_client_dirty_fn *fn, void *ctx)
{
	uint64_t first = r->guest_addr >> PAGE_SHIFT;
	uint64_t last = (r->guest_addr + (r->size - 1)) >> PAGE_SHIFT;
	uint64_t base, word, nr = 0;

	for (base = first & ~(uint64_t)63; base <= last; base += 64) {
		word = take_word(&c->log.bits[base / 64], base, first, last);
		nr += (uint64_t)__builtin_popcountll(word);
		for (; word; word &= word - 1)
			fn(ctx, vio_addr_of((base + (unsigned)
				__builtin_ctzll(word)) << PAGE_SHIFT));
	}
	return nr;
}

uint64_t vhu_client_log_take(struct vhu_client *c, vhu_client_dirty_fn *fn,
			     void *ctx)
{
	uint64_t count, nr = 0;

	if (!c->log.bits)
		return 0;
	/* First: what is marked from now on is signalled again. */
	while (read(c->log.signal, &count, sizeof(count)) < 0 &&
	       errno == EINTR)
		;
	for (unsigned i = 0; i < c->nr_slots; i++)
		nr += take_slot(c, &c->slot[i].region, fn, ctx);
	return nr;
}
