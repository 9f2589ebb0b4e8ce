/* SPDX-License-Identifier: MIT */
/* Requests are timed by queue, and are otherwise what they were. */
#include <string.h>
#include <time.h>

#include "test/backend/util.h"

#define QUEUES	2u
#define SLOTS	4u

/* A disk that does nothing before it is told to. */
static struct vio_blk_io *kept[16];
static unsigned nr_kept, commits, closed;

static void keep(void *backend, struct vio_blk_io *io)
{
	(void)backend;
	kept[nr_kept++] = io;
}

static void count(void *backend, unsigned queue)
{
	(void)backend;
	(void)queue;
	commits++;
}

static void answer_all(void *backend, unsigned queue)
{
	(void)backend;
	(void)queue;
	while (nr_kept) {
		struct vio_blk_io *io = kept[--nr_kept];

		io->offset += 512;
		io->done(io, VIO_OK);
	}
}

static void gone(struct blkdev *d)
{
	(void)d;
	closed++;
}

static const struct blkdev_ops ops = {
	.io = { .submit = keep, .commit = count, .drain = answer_all },
	.close = gone,
};

static struct blkdev below = { .ops = &ops, .engine = "slow" }, *disk;
static char said[8192];

static const char *tell(void)
{
	struct text out;

	text_init(&out, sizeof(said));
	blkdev_latency_tell(disk, &out);
	CHECK_LT(out.len, sizeof(said));
	memcpy(said, out.p, out.len);
	said[out.len] = 0;
	text_free(&out);
	return said;
}

static uint64_t number(const char *name)
{
	const char *at = strstr(tell(), name);

	CHECK(at != NULL);
	return strtoull(at + strlen(name), NULL, 10);
}

TEST("latency: each queue's requests, by the time they took", "")
{
	struct request r[SLOTS + 2];
	const char *at;

	CHECK_EQ(blkdev_latency_open(&disk, &below, QUEUES, SLOTS), 0);
	CHECK(!strcmp(disk->engine, "slow"));
	/* At once. */
	for (unsigned i = 0; i < 3; i++) {
		request_init(&r[0], VIO_BLK_READ, 4096, 512, said);
		CHECK_EQ(request_run(disk, &r[0]), VIO_OK);
		/* What the disk says in it comes up. */
		CHECK_EQ(r[0].io.offset, 4096 + 512);
	}
	CHECK_EQ(commits, 3);
	CHECK_EQ(number("_count{queue=\"0\"} "), 3);
	CHECK_EQ(number("_count{queue=\"1\"} "), 0);
	CHECK_EQ(number("_bucket{queue=\"0\",le=\"+Inf\"} "), 3);
	CHECK_EQ(number("_bucket{queue=\"0\",le=\"8.388608\"} "), 3);
	/* Late; and more than there are places, which are not timed. */
	for (unsigned i = 0; i < SLOTS + 2; i++) {
		request_init(&r[i], VIO_BLK_WRITE, 0, 512, said);
		r[i].io.queue = 1;
		disk->ops->io.submit(disk, &r[i].io);
	}
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	disk->ops->io.drain(disk, 1);
	for (unsigned i = 0; i < SLOTS + 2; i++)
		CHECK_EQ(r[i].done, 1);
	CHECK_EQ(number("_count{queue=\"1\"} "), SLOTS);
	CHECK_EQ(number("_bucket{queue=\"1\",le=\"0.016384\"} "), 0);
	CHECK_EQ(number("_bucket{queue=\"1\",le=\"+Inf\"} "), SLOTS);
	/* Each waited for 20 ms, at least. */
	at = strstr(tell(), "_sum{queue=\"1\"} ");
	CHECK(at && strtod(strchr(at, ' '), NULL) >= 0.02 * SLOTS);
	CHECK_EQ(number("_count{queue=\"0\"} "), 3);
	CHECK(strstr(said, "# TYPE vireo_storage_seconds histogram\n"));
	/* The places are free again. */
	request_init(&r[0], VIO_BLK_READ, 0, 512, said);
	r[0].io.queue = 1;
	CHECK_EQ(request_run(disk, &r[0]), VIO_OK);
	CHECK_EQ(number("_count{queue=\"1\"} "), SLOTS + 1);
	blkdev_close(disk);
	CHECK_EQ(closed, 1);
}
