/* SPDX-License-Identifier: MIT */
/*
 * vhost/log.c - the dirty log: a bitmap of the front end's in which each page
 * of guest memory that the device wrote to is marked. It knows when to mark
 * and where; what was written is told by the core, in the same call as the
 * write.
 *
 * Queues mark on their own threads while the control thread replaces the log.
 * A log that was replaced dies after each queue's thread has been visited.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define PAGE_SHIFT	12	/* the protocol's, whatever the machine's */

struct vhu_log {
	struct vhu_log_area wire;	/* as it was told */
	struct vhu_span span;		/* page 0 is marked where it begins */
	uint64_t len;
};

/* Any queue's thread: vio_mem.dirty. */
void vhu_log_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	struct vhu_server *s = ctx;
	struct vhu_log *log = __atomic_load_n(&s->log, __ATOMIC_ACQUIRE);
	uint64_t page = addr.v >> PAGE_SHIFT, last;

	if (!log)
		return;
	last = len - 1 > UINT64_MAX - addr.v ? UINT64_MAX : addr.v + len - 1;
	last >>= PAGE_SHIFT;
	if (last / 8 >= log->len) {
		if (!__atomic_exchange_n(&s->log_short, true,
					 __ATOMIC_RELAXED))
			vhu_say(s, VIO_LOG_ERROR,
				"the dirty log is too short for what the device wrote: the migration may lose it",
				{ "addr", addr.v }, { "bytes", len },
				{ "log_bytes", log->len });
		if (page / 8 >= log->len)
			return;
		last = log->len * 8 - 1;
	}
	/*
	 * Always a read-modify-write, even of a bit that seems to be set: the
	 * front end takes bits away, and reads the page after that.
	 */
	for (; page <= last; page++)
		__atomic_fetch_or(&log->span.at[page / 8],
				  (unsigned char)(1u << page % 8),
				  __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->log_fd, __ATOMIC_RELAXED) >= 0)
		__atomic_store_n(&s->log_marked, true, __ATOMIC_RELAXED);
}

/* Tell the front end, if it wants to know, that pages were marked. */
void vhu_log_signal(struct vhu_ring *r)
{
	struct vhu_server *s = r->s;
	int fd;

	if (vio_likely(!__atomic_load_n(&s->log_marked, __ATOMIC_RELAXED)))
		return;
	if (!__atomic_exchange_n(&s->log_marked, false, __ATOMIC_RELAXED))
		return;
	fd = __atomic_load_n(&s->log_fd, __ATOMIC_ACQUIRE);
	if (fd < 0 || __atomic_load_n(&s->log_dead, __ATOMIC_RELAXED))
		return;
	vhu_call_begins(r);
	vhu_signal_fd(fd, __atomic_load_n(&s->log_may_block,
					  __ATOMIC_RELAXED));
	vhu_call_ends(r);
}

bool vhu_log_is_on(const struct vhu_server *s)
{
	return s->log && s->features & VHU_F_LOG;
}

static int visit(struct vhu_ring *r, void *arg)
{
	(void)r;
	(void)arg;
	return 0;
}

/* When it comes back, no queue is in the middle of anything. */
static void visit_queues(struct vhu_server *s)
{
	for (unsigned i = 0; i < s->nr_rings; i++)
		vhu_on_queue(&s->ring[i], visit, NULL);
}

int vhu_log_file(const struct vhu_server *s, struct vhu_log_area *area)
{
	if (!s->log)
		return -1;
	*area = s->log->wire;
	return s->log->span.fd;
}

void vhu_log_update(struct vhu_server *s)
{
	vhu_maps_set_dirty(s, vhu_log_is_on(s) ? vhu_log_dirty : NULL);
	visit_queues(s);
}

static void use(struct vhu_server *s, struct vhu_log *log)
{
	struct vhu_log *old = s->log;

	__atomic_store_n(&s->log, log, __ATOMIC_RELEASE);
	__atomic_store_n(&s->log_short, false, __ATOMIC_RELAXED);
	vhu_log_update(s);
	if (!old)
		return;
	vhu_span_unmap(&old->span);
	free(old);
}

static void set_fd(struct vhu_server *s, int fd)
{
	int old = __atomic_exchange_n(&s->log_fd, -1, __ATOMIC_RELAXED);

	if (old >= 0) {
		visit_queues(s);
		close(old);
	}
	vhu_watch_log(s, fd);
	__atomic_store_n(&s->log_may_block, fd >= 0 && vhu_fd_may_block(fd),
			 __ATOMIC_RELAXED);
	/* After all that is said of it. */
	__atomic_store_n(&s->log_fd, fd, __ATOMIC_RELEASE);
}

void vhu_log_drop(struct vhu_server *s)
{
	use(s, NULL);
	set_fd(s, -1);
	s->log_marked = false;
}

/* -- a ring's own -------------------------------------------------------- */

/*
 * Queue's thread. Behind an IOMMU the address that the front end gives is not
 * a guest-physical one; where the ring lies is known to us.
 */
void vhu_log_ring(struct vhu_ring *r)
{
	bool iommu = vhu_behind_iommu(r->s);
	enum vio_log_ring how = VIO_LOG_RING_OFF;

	if (r->addr.flags & VHU_VRING_F_LOG)
		how = iommu ? VIO_LOG_RING_HOME : VIO_LOG_RING_AT;
	vio_queue_log_ring(vhu_ring_queue(r), how, vio_addr_of(r->addr.log));
}

/* -- messages -------------------------------------------------------------- */

static int check_file(const struct vhu_server *s, const struct vhu_log_area *in,
		      int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (S_ISREG(st.st_mode) && in->size &&
	    in->offset <= (uint64_t)st.st_size &&
	    in->size <= (uint64_t)st.st_size - in->offset)
		return 0;
	vhu_say(s, VIO_LOG_ERROR, "dirty log does not lie in its file",
		{ "size", in->size }, { "offset", in->offset },
		{ "file_size", (uint64_t)st.st_size });
	return -EINVAL;
}

static int map_log(struct vhu_server *s, const struct vhu_log_area *in, int fd)
{
	struct vhu_log *log = calloc(1, sizeof(*log));
	int err;

	if (!log)
		return -ENOMEM;
	log->len = in->size;
	log->wire = *in;
	err = vhu_span_map(s, &log->span, fd, in->offset, in->size,
			   PROT_READ | PROT_WRITE);
	if (err) {
		free(log);
		vhu_say(s, VIO_LOG_ERROR, "dirty log cannot be mapped",
			{ "size", in->size }, { "errno", (uint64_t)-err });
		return err;
	}
	use(s, log);
	return 0;
}

/* The front end waits for the answer, whatever it says. */
int vhu_on_log_base(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_log_area in = msg->p.log;
	int err;

	if (!msg->nr_fds || msg->hdr.size < sizeof(in)) {
		vhu_say(s, VIO_LOG_ERROR,
			"SET_LOG_BASE must carry a descriptor, a size and an offset",
			{ "bytes", msg->hdr.size }, { "fds", msg->nr_fds });
		return -EINVAL;
	}
	err = check_file(s, &in, msg->fd[0]);
	if (!err)
		err = map_log(s, &in, msg->fd[0]);
	return err ? err : vhu_reply_u64(s, msg, 0);
}

int vhu_on_log_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	set_fd(s, vhu_msg_take_fd(msg, 0));
	return 0;
}
