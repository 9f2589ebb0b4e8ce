/* SPDX-License-Identifier: MIT */
/*
 * bounce.c - a pool of shared memory that buffers are copied through. Blocks
 * in a row are given out, first fit from where the last search ended; who has
 * which is kept in private memory, and nothing is ever believed that stands in
 * the pool. Any number of threads come at once, and none waits for another: an
 * interrupt may come amid. It knows no ring and no device.
 */
#include <vireo/dma.h>

#include "core/mem/access.h"

#define BLOCK_MIN	64u
#define BLOCK_MAX	(1u << 20)

int vio_bounce_init(struct vio_bounce *b, const struct vio_window *pool,
		    uint32_t block, struct vio_arena *priv)
{
	uint64_t nr;
	size_t words;

	if (block < BLOCK_MIN || block > BLOCK_MAX || block & (block - 1))
		return VIO_E_INVAL;
	memset(b, 0, sizeof(*b));
	while (block >> b->shift > 1)
		b->shift++;
	nr = pool->size >> b->shift;
	if (!nr || nr > INT32_MAX)
		return VIO_E_INVAL;
	b->pool = *pool;
	b->block = block;
	b->nr = b->nr_free = (uint32_t)nr;
	words = (size_t)(nr + 31) / 32;
	b->busy = vio_arena_take(priv, words * sizeof(*b->busy),
				 sizeof(*b->busy));
	return b->busy ? VIO_OK : VIO_E_NOSPC;
}

/* -- blocks, in words of 32 ---------------------------------------------- */

/* How many of @n blocks from @at on are in its word, and which bits there. */
static uint32_t piece(uint32_t at, uint32_t n, uint32_t *mask)
{
	uint32_t in = 32 - at % 32;

	if (in > n)
		in = n;
	*mask = UINT32_MAX >> (32 - in) << at % 32;
	return in;
}

/* pairs with [BLOCK]: take_word() */
static void give(struct vio_bounce *b, uint32_t at, uint32_t n)
{
	uint32_t mask, in;

	for (; n; at += in, n -= in) {
		in = piece(at, n, &mask);
		__atomic_fetch_and(&b->busy[at / 32], ~mask,
				   __ATOMIC_RELEASE);
	}
}

/*
 * All of @mask or nothing. What its last user read or wrote there comes before
 * what we do.
 * pairs with [BLOCK]: give()
 */
static bool take_word(uint32_t *word, uint32_t mask)
{
	uint32_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

	do
		if (old & mask)
			return false;
	while (!__atomic_compare_exchange_n(word, &old, old | mask, false,
					    __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED));
	return true;
}

static bool take(struct vio_bounce *b, uint32_t at, uint32_t n)
{
	uint32_t mask, in;

	for (uint32_t done = 0; done < n; done += in) {
		in = piece(at + done, n - done, &mask);
		if (take_word(&b->busy[(at + done) / 32], mask))
			continue;
		give(b, at, done);
		return false;
	}
	return true;
}

/* @n blocks in a row that look free, from @from on; b->nr: there are none. */
static uint32_t find(const struct vio_bounce *b, uint32_t from, uint32_t n)
{
	uint32_t run = 0, word = 0;

	for (uint32_t i = from; i < b->nr; i++) {
		if (i == from || i % 32 == 0)
			word = __atomic_load_n(&b->busy[i / 32],
					       __ATOMIC_RELAXED);
		run = word >> i % 32 & 1 ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return b->nr;
}

/* The same, and they are ours: others may have been quicker. */
static uint32_t find_and_take(struct vio_bounce *b, uint32_t from, uint32_t n)
{
	uint32_t at = find(b, from, n);

	while (at != b->nr && !take(b, at, n))
		at = find(b, at + 1, n);
	return at;
}

/* -- the hooks ----------------------------------------------------------- */

static uint32_t blocks(const struct vio_bounce *b, size_t len)
{
	return (uint32_t)(((uint64_t)len + b->block - 1) >> b->shift);
}

static void count(unsigned long *n, size_t len)
{
	__atomic_fetch_add(n, (unsigned long)len, __ATOMIC_RELAXED);
}

static int bounce_share(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
			vio_addr *addr)
{
	struct vio_bounce *b = ctx;
	uint32_t n, at;

	if (len > (uint64_t)b->nr * b->block)
		return VIO_E_RANGE;
	n = blocks(b, len);
	if (n > __atomic_load_n(&b->nr_free, __ATOMIC_RELAXED))
		return VIO_E_NOSPC;
	at = find_and_take(b, __atomic_load_n(&b->next, __ATOMIC_RELAXED), n);
	if (at == b->nr)
		at = find_and_take(b, 0, n);
	if (at == b->nr)
		return VIO_E_NOSPC;
	__atomic_fetch_sub(&b->nr_free, n, __ATOMIC_RELAXED);
	__atomic_store_n(&b->next, at + n < b->nr ? at + n : 0,
			 __ATOMIC_RELAXED);
	*addr = vio_addr_of(b->pool.addr.v + (uint64_t)at * b->block);
	if (dir == VIO_DMA_TO_DEVICE) {
		vio_copy_out(b->pool.host + (size_t)at * b->block, p, len);
		count(&b->bytes_in, len);
	}
	return VIO_OK;
}

static void bounce_unshare(void *ctx, void *p, size_t len,
			   enum vio_dma_dir dir, vio_addr addr, size_t used)
{
	struct vio_bounce *b = ctx;
	uint64_t off = addr.v - b->pool.addr.v;
	uint32_t n = blocks(b, len);

	(void)dir;
	if (used) {
		vio_copy_in(p, b->pool.host + off, used);
		count(&b->bytes_out, used);
	}
	/* The count is a hint, which may lag behind. */
	give(b, (uint32_t)(off >> b->shift), n);
	__atomic_fetch_add(&b->nr_free, n, __ATOMIC_RELAXED);
}

const struct vio_dma_ops vio_bounce_ops = {
	.share = bounce_share,
	.unshare = bounce_unshare,
};
