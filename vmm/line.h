/* SPDX-License-Identifier: MIT */
/*
 * The host's end of the serial port: between the port, which processors'
 * threads work at, and a chardev or a descriptor on the loop.
 */
#ifndef VMM_LINE_H
#define VMM_LINE_H

#include <stdatomic.h>

#include "backend/chardev.h"
#include "host/loop.h"
#include "vmm/serial.h"

struct line {
	struct serial *serial;
	struct loop *loop;
	struct chardev *chr;	/* the caller's; NULL: none */
	int fd;			/* without one: output only; -1: nowhere */
	void (*escaped)(void *ctx);	/* the user typed the escape key */
	void *ctx;
	struct loop_call out, in;
	atomic_bool out_posted, in_posted;
	/* Taken from one side, not yet taken by the other. */
	unsigned char out_buf[512], in_buf[512];
	size_t out_pos, out_len, in_pos, in_len;
	bool started;
};

/* No host end as yet: fill chr or fd, escaped, ctx. */
void line_init(struct line *l, struct serial *serial, struct loop *loop);
/* On the loop's thread. 0, or -errno after an error line. */
int line_start(struct line *l);
/* No processor runs. What the port printed is passed on. */
void line_stop(struct line *l);

#endif
