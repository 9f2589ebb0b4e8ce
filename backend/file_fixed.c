/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as registered buffers of the rings: for direct I/O the
 * kernel then need not look up and pin the pages of each request. They stay
 * in memory for as long as they are registered.
 *
 * Regions come and go on any thread; a ring's own table is changed by the
 * queue's thread alone, at the first request after a change, and soon after
 * something went. Until then the kernel keeps the pages of what went, which
 * no request can name any more: its table is as of an older generation.
 * What the kernel does not take (RLIMIT_MEMLOCK, memory that it may not pin)
 * is used without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/file.h"

#define BUFFER_BYTES ((size_t)1 << FILE_BUFFER_SHIFT)

void file_memory(struct file *f, void *base, size_t len, bool huge, bool add)
{
	unsigned i;

	if (!f->direct || f->aio != BLKDEV_AIO_URING ||
	    f->fixed == BLKDEV_FIXED_OFF ||
	    (f->fixed == BLKDEV_FIXED_AUTO && !huge))
		return;
	pthread_mutex_lock(&f->memory_lock);
	if (add && f->nr_regions < FILE_REGIONS_MAX) {
		f->region[f->nr_regions++] = (struct file_region){
			++f->region_ids, (uintptr_t)base, len
		};
		atomic_fetch_add(&f->memory_gen, 1);
	}
	for (i = 0; !add && i < f->nr_regions; i++) {
		if (f->region[i].base != (uintptr_t)base)
			continue;
		f->region[i] = f->region[--f->nr_regions];
		atomic_fetch_add(&f->memory_gen, 1);
		break;
	}
	pthread_mutex_unlock(&f->memory_lock);
	for (i = 0; !add && i < f->queue_count; i++)
		file_queue_call(&f->queues[i]);
}

/* Put @n buffers of @iov into the table; of length 0: take them out. */
static int update(struct file_queue *q, unsigned first,
		  const struct iovec *iov, unsigned n)
{
	struct io_uring_rsrc_update2 up = {
		.offset = first, .data = (uintptr_t)iov, .nr = n,
	};
	int rc = file_uring_register(&q->ring, IORING_REGISTER_BUFFERS_UPDATE,
				     &up, sizeof(up));

	return rc < 0 ? rc : 0;
}

static void take_out(struct file_queue *q, const struct file_fixed *x)
{
	static const struct iovec none;
	unsigned i;

	for (i = x->first; i < x->first + x->buffers; i++) {
		update(q, i, &none, 1);
		q->buffer_used[i] = false;
	}
}

/* @n free places in a row: the first, or -1. */
static int find_room(const struct file_queue *q, unsigned n)
{
	unsigned i, run = 0;

	for (i = 0; i < FILE_BUFFERS_MAX; i++) {
		run = q->buffer_used[i] ? 0 : run + 1;
		if (run == n)
			return (int)(i + 1 - n);
	}
	return -1;
}

static void put_in(struct file_queue *q, struct file_fixed *x)
{
	size_t at = 0, len = x->region.len;
	unsigned n = (unsigned)((len - 1) >> FILE_BUFFER_SHIFT) + 1;
	int first = find_room(q, n), rc = first < 0 ? -ENOSPC : 0;

	x->first = (unsigned)first;
	for (x->buffers = 0; !rc && x->buffers < n; at += BUFFER_BYTES) {
		const struct iovec iov = {
			(void *)(x->region.base + at),
			len - at < BUFFER_BYTES ? len - at : BUFFER_BYTES
		};

		rc = update(q, x->first + x->buffers, &iov, 1);
		if (!rc)
			q->buffer_used[x->first + x->buffers++] = true;
	}
	if (!rc)
		return;
	log_limited(&q->rate, LOG_LEVEL_DEBUG,
		    "guest memory of %zu bytes is not registered: %s", len,
		    strerror(-rc));
	take_out(q, x);
	x->buffers = 0;
}

static bool has(const struct file_region *r, unsigned n, uint64_t id)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (r[i].id == id)
			return true;
	return false;
}

void file_fixed_sync(struct file_queue *q)
{
	struct file_region now[FILE_REGIONS_MAX];
	struct file *f = q->file;
	unsigned i, k, n;

	if (!q->fixed || !q->loop)
		return;
	pthread_mutex_lock(&f->memory_lock);
	n = f->nr_regions;
	memcpy(now, f->region, n * sizeof(now[0]));
	q->memory_gen = atomic_load(&f->memory_gen);
	pthread_mutex_unlock(&f->memory_lock);
	for (i = 0; i < q->nr_fixed;) {
		if (has(now, n, q->fixed[i].region.id)) {
			i++;
			continue;
		}
		take_out(q, &q->fixed[i]);
		q->fixed[i] = q->fixed[--q->nr_fixed];
	}
	for (i = 0; i < n; i++) {
		for (k = 0; k < q->nr_fixed; k++)
			if (q->fixed[k].region.id == now[i].id)
				break;
		if (k < q->nr_fixed)
			continue;
		q->fixed[q->nr_fixed] = (struct file_fixed){
			.region = now[i]
		};
		put_in(q, &q->fixed[q->nr_fixed++]);
	}
}

int file_fixed_find(const struct file_queue *q, const void *p, size_t len)
{
	unsigned i;

	for (i = 0; i < q->nr_fixed; i++) {
		const struct file_fixed *x = &q->fixed[i];
		size_t at = (uintptr_t)p - x->region.base;

		if (at >= x->region.len || len > x->region.len - at)
			continue;
		/* Across two buffers: without. */
		if (!x->buffers || !len ||
		    (at ^ (at + len - 1)) >> FILE_BUFFER_SHIFT)
			return -1;
		return (int)(x->first + (at >> FILE_BUFFER_SHIFT));
	}
	return -1;
}

int file_fixed_find_all(const struct file_queue *q, const struct vio_seg *seg,
			unsigned n)
{
	int first = file_fixed_find(q, seg[0].base, seg[0].len);
	unsigned i;

	if (!q->fixed_lists || first < 0)
		return -1;
	for (i = 1; i < n; i++)
		if (file_fixed_find(q, seg[i].base, seg[i].len) != first)
			return -1;
	return first;
}

/* Does the kernel take lists of pieces of a buffer? From 6.15 on. */
static bool takes_lists(struct file_queue *q)
{
	enum { OPS = FILE_OP_WRITEV_FIXED + 1 };
	uint64_t room[sizeof(struct io_uring_probe) / 8 +
		      OPS * sizeof(struct io_uring_probe_op) / 8];
	const struct io_uring_probe *probe = (const void *)room;

	memset(room, 0, sizeof(room));
	return !file_uring_register(&q->ring, IORING_REGISTER_PROBE, room,
				    OPS) &&
		probe->ops[FILE_OP_READV_FIXED].flags & IO_URING_OP_SUPPORTED &&
		probe->ops[FILE_OP_WRITEV_FIXED].flags & IO_URING_OP_SUPPORTED;
}

VIO_STATIC_ASSERT(sizeof(struct io_uring_probe) % 8 == 0 &&
		  sizeof(struct io_uring_probe_op) == 8, "as the kernel's");

int file_fixed_setup(struct file_queue *q)
{
	const struct io_uring_rsrc_register table = {
		.nr = FILE_BUFFERS_MAX, .flags = IORING_RSRC_REGISTER_SPARSE,
	};
	int rc;

	if (!q->file->direct || q->file->fixed == BLKDEV_FIXED_OFF)
		return 0;
	rc = file_uring_register(&q->ring, IORING_REGISTER_BUFFERS2, &table,
				 sizeof(table));
	if (rc == -EINVAL)
		return 0;	/* a kernel before 5.19 */
	if (rc)
		return rc;
	q->fixed_lists = takes_lists(q);
	q->fixed = calloc(FILE_REGIONS_MAX, sizeof(*q->fixed));
	return q->fixed ? 0 : -ENOMEM;
}

void file_fixed_close(struct file_queue *q)
{
	free(q->fixed);
	q->fixed = NULL;
	q->nr_fixed = 0;
}
