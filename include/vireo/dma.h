/* SPDX-License-Identifier: MIT */
/*
 * vireo/dma.h - buffers of a driver that lie outside of what its device sees:
 * hooks that make them reachable one by one (an IOMMU), keep caches in step
 * on machines that do not, or copy them through memory that is shared on
 * purpose (a bounce pool, for guests that distrust their host).
 *
 * Without hooks (struct vio_drv_mem, dma = NULL) all buffers lie in the
 * window, and nothing of this costs anything. With them, the window is what
 * device and driver see alike at all times: rings and the headers of the
 * types' drivers lie there, on machines with incoherent caches uncached; and
 * buffers that lie in it are handed on as they are.
 *
 * Thread: the hooks of a queue are called by the queue's thread, those of
 * different queues at the same time. The bounce pool is made for that; other
 * hooks have to be.
 */
#ifndef VIREO_DMA_H
#define VIREO_DMA_H

#include <vireo/vq.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vio_dma_dir {
	VIO_DMA_TO_DEVICE,	/* the device reads */
	VIO_DMA_FROM_DEVICE,	/* the device writes */
};

/* All optional. */
struct vio_dma_ops {
	/*
	 * Make @len bytes at @p reachable, and say where. Returns VIO_OK;
	 * VIO_E_NOSPC when there is no room until buffers come back, which
	 * the caller of vio_vq_add() sees as a full ring; VIO_E_RANGE if it
	 * can never be. NULL: the bytes lie in struct vio_dma's own window.
	 * Where a pointer has 32 bits, an address beyond them is refused.
	 */
	int (*share)(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
		     vio_addr *addr);
	/*
	 * The device is done with them; all arguments as they were. @used: it
	 * wrote that many of them, from the start (FROM_DEVICE, else 0).
	 */
	void (*unshare)(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
			vio_addr addr, size_t used);
	/*
	 * Caches: write back what the device will read, or write over; and
	 * forget what it wrote. A line that a buffer to be written shares
	 * with other bytes cannot be kept in step: such buffers begin and end
	 * at a line's border. invalidate() comes before the device gets the
	 * buffer, for the sake of lines that would be written back later, and
	 * after it is done.
	 */
	void (*clean)(void *ctx, const void *p, size_t len);
	void (*invalidate)(void *ctx, void *p, size_t len);
};

struct vio_dma {
	const struct vio_dma_ops *ops;
	void *ctx;
	/* Where ops->share is NULL: what buffers may lie in. */
	struct vio_window window;
	/*
	 * The addresses are no physical ones: a device that does not accept
	 * ACCESS_PLATFORM is refused (vio_drv_queue(): VIO_E_UNSUPP).
	 */
	bool translated;
};

/*
 * Private bytes that a queue takes with hooks, beyond vio_vq_private_size().
 */
size_t vio_dma_private_size(const struct vio_vq_limits *limits);

/* -- a bounce pool -------------------------------------------------------- */

/*
 * Shared memory through which buffers are copied: in before the device sees
 * them, out of it after, no more than it says it wrote and never more than
 * was offered. Which of its blocks are in use is kept in private memory.
 *
 * Queues on several threads, and devices, may have one pool together: it takes
 * no lock, so that an interrupt handler may use it too. Who finds it full is
 * not told when another gives back (VIO_E_NOSPC: try again later); where no
 * queue may starve another, each device gets a pool of its own. The fields
 * below may be looked at while nobody uses it.
 */
struct vio_bounce {
	struct vio_window pool;
	uint32_t block;		/* bytes: 1 << shift */
	uint32_t shift;
	uint32_t nr;		/* blocks */
	uint32_t next;		/* where the search begins */
	uint32_t nr_free;
	uint32_t *busy;		/* private: a bit for each block */
	unsigned long bytes_in;	/* copied into the pool; goes round */
	unsigned long bytes_out;
};

/*
 * vio_bounce_init() - @pool: shared memory, a piece of its own; @block: the
 * grain of it, 64 to 2^20 and a power of two. Takes a bit a block of @priv, in
 * words of 32.
 * VIO_OK, VIO_E_INVAL or VIO_E_NOSPC.
 */
int vio_bounce_init(struct vio_bounce *b, const struct vio_window *pool,
		    uint32_t block, struct vio_arena *priv);

/* Give this with the pool: { &vio_bounce_ops, &pool, .translated = true }. */
extern const struct vio_dma_ops vio_bounce_ops;

#ifdef __cplusplus
}
#endif
#endif
