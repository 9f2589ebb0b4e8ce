/* SPDX-License-Identifier: MIT */
/*
 * bounce.c - a pool of shared memory that buffers are copied through. Blocks
 * in a row are given out, first fit from where the last search ended; who has
 * which is kept in private memory, and nothing is ever believed that stands in
 * the pool. It knows no ring and no device.
 */
#include <vireo/dma.h>

#include "core/mem/access.h"

#define BLOCK_MIN	64u
#define BLOCK_MAX	(1u << 20)

int vio_bounce_init(struct vio_bounce *b, const struct vio_window *pool,
		    uint32_t block, struct vio_arena *priv)
{
	uint64_t nr;

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
	b->busy = vio_arena_take(priv, (size_t)nr, 1);
	return b->busy ? VIO_OK : VIO_E_NOSPC;
}

/* @n free blocks in a row within [@from, @to); b->nr if there are none. */
static uint32_t find(const struct vio_bounce *b, uint32_t from, uint32_t to,
		     uint32_t n)
{
	uint32_t run = 0;

	for (uint32_t i = from; i < to; i++) {
		run = b->busy[i] ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return b->nr;
}

static uint32_t blocks(const struct vio_bounce *b, size_t len)
{
	return (uint32_t)(((uint64_t)len + b->block - 1) >> b->shift);
}

static int bounce_share(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
			vio_addr *addr)
{
	struct vio_bounce *b = ctx;
	uint32_t n, at;

	if (len > (uint64_t)b->nr * b->block)
		return VIO_E_RANGE;
	n = blocks(b, len);
	if (n > b->nr_free)
		return VIO_E_NOSPC;
	at = find(b, b->next, b->nr, n);
	if (at == b->nr)
		at = find(b, 0, b->nr, n);
	if (at == b->nr)
		return VIO_E_NOSPC;
	memset(b->busy + at, 1, n);
	b->nr_free -= n;
	b->next = at + n < b->nr ? at + n : 0;
	*addr = vio_addr_of(b->pool.addr.v + (uint64_t)at * b->block);
	if (dir == VIO_DMA_TO_DEVICE) {
		vio_copy_out(b->pool.host + (size_t)at * b->block, p, len);
		b->bytes_in += len;
	}
	return VIO_OK;
}

static void bounce_unshare(void *ctx, void *p, size_t len,
			   enum vio_dma_dir dir, vio_addr addr, size_t used)
{
	struct vio_bounce *b = ctx;
	uint64_t off = addr.v - b->pool.addr.v;

	(void)dir;
	if (used) {
		vio_copy_in(p, b->pool.host + off, used);
		b->bytes_out += used;
	}
	memset(b->busy + (off >> b->shift), 0, blocks(b, len));
	b->nr_free += blocks(b, len);
}

const struct vio_dma_ops vio_bounce_ops = {
	.share = bounce_share,
	.unshare = bounce_unshare,
};
