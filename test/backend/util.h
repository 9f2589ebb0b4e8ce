/* SPDX-License-Identifier: MIT */
/* Help for the tests of storage: one request after another, or many. */
#ifndef TEST_BACKEND_UTIL_H
#define TEST_BACKEND_UTIL_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/blkdev.h"
#include "vtest.h"

struct request {
	struct vio_blk_io io;
	struct vio_seg seg[16];
	int result;
	unsigned done;
};

static void request_done(struct vio_blk_io *io, int result)
{
	struct request *r = vio_container_of(io, struct request, io);

	r->result = result;
	r->done++;
}

static inline void request_init(struct request *r, int op, uint64_t offset,
				uint64_t len, void *data)
{
	memset(r, 0, sizeof(*r));
	r->io.op = (uint8_t)op;
	r->io.offset = offset;
	r->io.len = len;
	r->io.seg = r->seg;
	r->io.done = request_done;
	if (data) {
		r->io.nr_seg = 1;
		r->seg[0] = (struct vio_seg){ data, len };
	}
}

/* Submit, wait, give the result. */
static inline int request_run(struct blkdev *d, struct request *r)
{
	d->ops->io.submit(d, &r->io);
	d->ops->io.commit(d, r->io.queue);
	if (d->ops->io.drain)
		d->ops->io.drain(d, r->io.queue);
	CHECK_EQ(r->done, 1);
	return r->result;
}

static inline int run(struct blkdev *d, int op, uint64_t offset, uint64_t len,
		      void *data)
{
	struct request r;

	request_init(&r, op, offset, len, data);
	return request_run(d, &r);
}

/* An unlinked name would not do: the device opens it by path. */
static inline void make_image(char path[64], const char *dir, uint64_t size)
{
	int fd;

	snprintf(path, 64, "%s/vireo-image.XXXXXX", dir);
	fd = mkstemp(path);
	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

#endif
