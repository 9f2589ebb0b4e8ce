/* SPDX-License-Identifier: MIT */
/*
 * vhost/inflight.c - the memory in which requests in flight are recorded: made
 * for a front end, taken back from it, given to the rings queue by queue. What
 * stands in it is the core's business (vireo/track.h); the front end may write
 * into it and cut it short at any time.
 *
 * A mapping lives as long as the session or any ring keeps it.
 */
#define _GNU_SOURCE	/* memfd_create */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vireo/spec/inflight.h>
#include <vireo/spec/virtio.h>
#include <vireo/track.h>

#define QUEUE_SIZE_MAX	32768

struct vhu_inflight_map {
	unsigned refs;			/* atomic */
	struct vhu_span span;		/* begins with the records */
	size_t len;
	struct vhu_inflight wire;	/* as it was told */
	uint16_t nr_queues;
	uint16_t queue_size;
};

/* A ring's record while the ring runs. */
struct ring_track {
	struct vio_track track;
	struct vhu_inflight_map *map;
	uint16_t priv[];
};

static void map_put(struct vhu_inflight_map *m)
{
	if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhu_span_unmap(&m->span);
	free(m);
}

int vhu_inflight_fd(const struct vhu_server *s, struct vhu_inflight *in)
{
	if (!s->inflight)
		return -1;
	*in = s->inflight->wire;
	return s->inflight->span.fd;
}

void vhu_inflight_drop(struct vhu_server *s)
{
	if (s->inflight)
		map_put(s->inflight);
	s->inflight = NULL;
}

/*
 * A queue's record; NULL if there is none. Its place depends on the layout,
 * which is known when rings start and not before.
 */
static void *record(const struct vhu_server *s, uint16_t queue)
{
	const struct vhu_inflight_map *m = s->inflight;
	bool packed = s->features >> VIRTIO_F_RING_PACKED & 1;
	size_t each;

	if (!m || queue >= m->nr_queues)
		return NULL;
	each = vio_track_size(packed, m->queue_size);
	if (m->len / each <= queue)
		return NULL;
	return m->span.at + queue * each;
}

void vhu_inflight_clear(struct vhu_server *s)
{
	for (unsigned i = 0; i < s->nr_rings; i++) {
		void *at = record(s, (uint16_t)i);

		if (at)
			vio_track_clear(at);
	}
}

static void released(struct vio_track *t)
{
	struct ring_track *rt = vio_container_of(t, struct ring_track, track);

	map_put(rt->map);
	free(rt);
}

int vhu_inflight_attach(struct vhu_ring *r, bool *known)
{
	struct vhu_inflight_map *m = r->s->inflight;
	struct inflight_head *head = record(r->s, r->index);
	struct ring_track *rt;
	int err;

	*known = false;
	if (!head)
		return VIO_OK;
	rt = malloc(sizeof(*rt) + vio_track_private_size(m->queue_size));
	if (!rt)
		return VIO_E_NOSPC;
	*known = __atomic_load_n(&head->version, __ATOMIC_RELAXED);
	vio_track_init(&rt->track, head, m->queue_size, rt->priv, released);
	rt->map = m;
	__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
	err = vio_queue_track(vhu_ring_queue(r), &rt->track);
	if (err != VIO_OK)
		released(&rt->track);
	return err;
}

/* -- messages -------------------------------------------------------------- */

static bool sizes_ok(const struct vhu_server *s, const struct vhu_inflight *in)
{
	if (in->nr_queues && in->nr_queues <= s->nr_rings &&
	    in->queue_size && in->queue_size <= QUEUE_SIZE_MAX)
		return true;
	vhu_say(s, VIO_LOG_ERROR,
		"record of requests in flight: no such number or size of queues",
		{ "queues", in->nr_queues }, { "queues_max", s->nr_rings },
		{ "size", in->queue_size }, { "size_max", QUEUE_SIZE_MAX });
	return false;
}

/* A file of zeroes that nobody can cut short. */
static int make_file(size_t len)
{
	int fd = memfd_create("vireo-inflight",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, (off_t)len) &&
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) >= 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/*
 * The layout may not be agreed upon yet: there is room for the longer one.
 * Without a size and a descriptor, the answer says that there is no record.
 */
int vhu_on_get_inflight(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_inflight *out = &s->out.p.inflight;
	struct vhu_inflight in = msg->p.inflight;
	int fd = -1, sent;

	*out = (struct vhu_inflight){ .nr_queues = in.nr_queues,
				      .queue_size = in.queue_size };
	if (sizes_ok(s, &in)) {
		out->mmap_size = in.nr_queues *
				 (uint64_t)vio_track_size(true, in.queue_size);
		fd = make_file(out->mmap_size);
		if (fd < 0)
			vhu_say(s, VIO_LOG_ERROR,
				"no memory for the record of requests in flight",
				{ "bytes", out->mmap_size },
				{ "errno", (uint64_t)-fd });
	}
	if (fd < 0)
		out->mmap_size = 0;
	sent = vhu_reply_fd(s, msg, msg->hdr.size, fd);
	if (fd >= 0)
		close(fd);
	return sent;
}

static int check_file(const struct vhu_server *s,
		      const struct vhu_inflight *in, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (S_ISREG(st.st_mode) && in->mmap_size &&
	    in->mmap_offset <= (uint64_t)st.st_size &&
	    in->mmap_size <= (uint64_t)st.st_size - in->mmap_offset &&
	    in->mmap_offset % sizeof(uint64_t) == 0)
		return 0;
	vhu_say(s, VIO_LOG_ERROR,
		"record of requests in flight does not lie in its file",
		{ "mmap_size", in->mmap_size },
		{ "mmap_offset", in->mmap_offset },
		{ "file_size", (uint64_t)st.st_size });
	return -EINVAL;
}

static int map_file(struct vhu_server *s, const struct vhu_inflight *in,
		    int fd)
{
	struct vhu_inflight_map *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->refs = 1;
	m->len = in->mmap_size;
	m->wire = *in;
	m->nr_queues = in->nr_queues;
	m->queue_size = in->queue_size;
	err = vhu_span_map(s, &m->span, fd, in->mmap_offset, in->mmap_size,
			   PROT_READ | PROT_WRITE);
	if (err) {
		free(m);
		vhu_say(s, VIO_LOG_ERROR,
			"record of requests in flight cannot be mapped",
			{ "mmap_size", in->mmap_size },
			{ "errno", (uint64_t)-err });
		return err;
	}
	vhu_inflight_drop(s);
	s->inflight = m;
	return 0;
}

/* It counts for rings that start from now on. */
int vhu_on_set_inflight(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_inflight in = msg->p.inflight;
	int err;

	if (!sizes_ok(s, &in))
		return -EINVAL;
	err = check_file(s, &in, msg->fd[0]);
	return err ? err : map_file(s, &in, msg->fd[0]);
}
