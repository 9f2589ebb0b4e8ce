/* SPDX-License-Identifier: MIT */
/*
 * bounce.c - several threads with one bounce pool: no block is ever two
 * buffers', what is copied in and out is each one's own, and at the end all
 * blocks are back. With queues: test/loopback; with peers that lie:
 * test/hostile/bounce.c.
 */
#include <vireo/dma.h>

#include <pthread.h>

#include "vtest.h"

#define THREADS	4u
#define HELD	8u		/* buffers of a thread at once */
#define LEN_MAX	3000u
#define BLOCK	64u
#define BLOCKS	211u		/* too few even for one; not whole words */
#define GUEST	0x5000000000ull

static unsigned char pool[BLOCKS * BLOCK];
static uint32_t busy[(BLOCKS + 31) / 32];
static struct vio_bounce bounce;

struct buffer {
	unsigned char own[LEN_MAX];
	size_t len;		/* 0: not shared */
	enum vio_dma_dir dir;
	vio_addr addr;
};

struct worker {
	pthread_t thread;
	struct vtest_rand rand;
	unsigned char mark;	/* never that of another */
	unsigned rounds, full, errors;
	uint64_t in, out;
	struct buffer buffer[HELD];
};

static unsigned char *seen_by_device(const struct buffer *b)
{
	return pool + (b->addr.v - GUEST);
}

static bool all_are(const unsigned char *p, size_t len, unsigned char v)
{
	while (len && p[len - 1] == v)
		len--;
	return !len;
}

static void share(struct worker *w, struct buffer *b)
{
	size_t len = 1 + (size_t)vtest_below(&w->rand, LEN_MAX);
	int err;

	b->dir = vtest_below(&w->rand, 2) ? VIO_DMA_TO_DEVICE :
					    VIO_DMA_FROM_DEVICE;
	memset(b->own, w->mark, len);
	err = vio_bounce_ops.share(&bounce, b->own, len, b->dir, &b->addr);
	w->full += err == VIO_E_NOSPC;
	w->errors += err && err != VIO_E_NOSPC;
	if (err)
		return;
	b->len = len;
	w->errors += b->addr.v < GUEST ||
		     b->addr.v - GUEST > sizeof(pool) - len;
	/* The device writes what it may, all of it. */
	if (b->dir == VIO_DMA_FROM_DEVICE)
		memset(seen_by_device(b), w->mark ^ 0xff, len);
	else
		w->in += len;
}

static void unshare(struct worker *w, struct buffer *b)
{
	bool out = b->dir == VIO_DMA_FROM_DEVICE;
	size_t used = out ? (size_t)vtest_below(&w->rand, b->len + 1) : 0;

	w->errors += !all_are(seen_by_device(b), b->len,
			      out ? w->mark ^ 0xff : w->mark);
	vio_bounce_ops.unshare(&bounce, b->own, b->len, b->dir, b->addr, used);
	w->errors += !all_are(b->own, used, w->mark ^ 0xff) ||
		     !all_are(b->own + used, b->len - used, w->mark);
	w->out += used;
	b->len = 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < w->rounds; i++) {
		struct buffer *b = &w->buffer[vtest_below(&w->rand, HELD)];

		if (b->len)
			unshare(w, b);
		else
			share(w, b);
	}
	for (unsigned i = 0; i < HELD; i++)
		if (w->buffer[i].len)
			unshare(w, &w->buffer[i]);
	return NULL;
}

static void make_pool(void)
{
	const struct vio_window window = { pool, { GUEST }, sizeof(pool) };
	struct vio_arena priv = { (unsigned char *)busy, sizeof(busy) };

	memset(busy, 0xff, sizeof(busy));
	CHECK_EQ(vio_bounce_init(&bounce, &window, BLOCK, &priv), VIO_OK);
	CHECK_EQ(bounce.nr, BLOCKS);
	CHECK_EQ(priv.left, 0);
}

TEST("bounce pool: threads share it, and no byte is another's", "")
{
	static struct worker worker[THREADS];
	unsigned long in = 0, out = 0;
	unsigned full = 0;

	make_pool();
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){
			.rand = vtest_rand_init(vtest_seed() + i),
			.mark = (unsigned char)(i + 1), .rounds = 5000,
		};
		CHECK_EQ(pthread_create(&worker[i].thread, NULL, work,
					&worker[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(worker[i].thread, NULL), 0);
		CHECK_EQ(worker[i].errors, 0);
		full += worker[i].full;
		in += (unsigned long)worker[i].in;
		out += (unsigned long)worker[i].out;
	}
	CHECK_GT(full, 0);
	CHECK_EQ(bounce.nr_free, BLOCKS);
	CHECK(all_are((unsigned char *)busy, sizeof(busy), 0));
	CHECK_EQ(bounce.bytes_in, in);
	CHECK_EQ(bounce.bytes_out, out);
}

TEST("bounce pool: every run of blocks, to the last; none is too many", "")
{
	unsigned char own[BLOCK] = { 0 };
	vio_addr addr[BLOCKS], all;

	make_pool();
	for (unsigned i = 0; i < BLOCKS; i++)
		CHECK_EQ(vio_bounce_ops.share(&bounce, own, BLOCK,
			 VIO_DMA_TO_DEVICE, &addr[i]), VIO_OK);
	CHECK_EQ(vio_bounce_ops.share(&bounce, own, 1, VIO_DMA_TO_DEVICE,
				      &all), VIO_E_NOSPC);
	/* Room for two that do not touch each other is not room for both. */
	for (unsigned i = 0; i < BLOCKS; i += 2)
		vio_bounce_ops.unshare(&bounce, own, BLOCK, VIO_DMA_TO_DEVICE,
				       addr[i], 0);
	CHECK_EQ(vio_bounce_ops.share(&bounce, pool, 2 * BLOCK,
		 VIO_DMA_FROM_DEVICE, &all), VIO_E_NOSPC);
	for (unsigned i = 1; i < BLOCKS; i += 2)
		vio_bounce_ops.unshare(&bounce, own, BLOCK, VIO_DMA_TO_DEVICE,
				       addr[i], 0);
	CHECK_EQ(bounce.nr_free, BLOCKS);
	/* All of it at once, from wherever the last search ended. */
	CHECK_EQ(vio_bounce_ops.share(&bounce, pool, sizeof(pool),
		 VIO_DMA_FROM_DEVICE, &all), VIO_OK);
	CHECK_EQ(all.v, GUEST);
	CHECK_EQ(bounce.nr_free, 0);
	CHECK_EQ(vio_bounce_ops.share(&bounce, pool, sizeof(pool) + 1,
		 VIO_DMA_FROM_DEVICE, &all), VIO_E_RANGE);
	vio_bounce_ops.unshare(&bounce, pool, sizeof(pool),
			       VIO_DMA_FROM_DEVICE, vio_addr_of(GUEST), 0);
	CHECK_EQ(bounce.nr_free, BLOCKS);
}
