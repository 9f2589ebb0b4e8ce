/* SPDX-License-Identifier: MIT */
/*
 * lazy.h - what stands behind a transport that is fuzzed: memory, queues, and
 * a disk that keeps its requests until a move lets one go. It knows no
 * transport; a target's own structure begins with it.
 */
#ifndef FUZZ_LAZY_H
#define FUZZ_LAZY_H

#include <vireo/blk.h>
#include "fuzz/guest.h"

#define LAZY_QUEUES	2
#define LAZY_SIZE	16
#define LAZY_RAM	0x8000u

struct lazy {
	struct bytes in;
	struct vio_queue queue[LAZY_QUEUES];
	void *storage[LAZY_QUEUES];
	struct vio_blk blk;
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *ram;
	struct vio_blk_io *held[LAZY_QUEUES * LAZY_SIZE];
	unsigned nr_held;
	bool line;		/* the interrupt's, where there is one */
};

typedef void lazy_move(struct lazy *z);

void lazy_make(struct lazy *z);
/* All that is held goes; the transport was reset, and nothing may be left. */
void lazy_end(struct lazy *z);
/* Upcalls of a transport whose context is the structure. */
void lazy_on_line(void *ctx, bool level);
void lazy_on_serve(void *ctx, struct vio_queue *q);
/* One move, a byte of the input says which of @nr. */
void lazy_step(struct lazy *z, lazy_move *const *moves, unsigned nr);

/* Moves that have nothing to do with the transport. */
lazy_move lazy_memory, lazy_serve, lazy_finish, lazy_resize;

#endif
