/* SPDX-License-Identifier: MIT */
/*
 * Where random bytes come from: the kernel, or a file or device. Never
 * blocks. All calls come from the loop's thread.
 */
#ifndef BACKEND_ENTROPY_H
#define BACKEND_ENTROPY_H

#include <stdbool.h>
#include <stddef.h>

#include "host/loop.h"

struct entropy {
	int fd;			/* -1: getrandom() */
	bool ended;		/* the file has no more bytes */
	bool waiting;		/* a fill gave nothing */
	bool watched;
	struct loop *loop;
	struct loop_fd w;
	struct loop_timer timer;	/* for what cannot be watched */
	void (*ready)(void *ctx);
	void *ctx;
};

/* @path NULL: the kernel. 0, or -errno after an error line. */
int entropy_open(struct entropy *e, const char *path);
/* @ready is called when there are bytes after a fill that gave none. */
int entropy_start(struct entropy *e, struct loop *loop,
		  void (*ready)(void *ctx), void *ctx);
void entropy_stop(struct entropy *e);
void entropy_close(struct entropy *e);

/* At most @len bytes; 0: none now. */
size_t entropy_fill(struct entropy *e, void *dst, size_t len);

#endif
