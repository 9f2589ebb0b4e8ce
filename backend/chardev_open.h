/* SPDX-License-Identifier: MIT */
/* Private to the chardev: its state, and how each kind is opened. */
#ifndef BACKEND_CHARDEV_OPEN_H
#define BACKEND_CHARDEV_OPEN_H

#include <termios.h>

#include "backend/chardev.h"
#include "host/sock.h"

/* A ring of bytes; head and tail run freely. */
struct chardev_ring {
	unsigned char data[CHARDEV_BUFFER];
	uint32_t head, tail;	/* next to take, next to fill */
};

struct chardev {
	struct chardev_conf conf;
	struct chardev_events events;
	struct loop *loop;

	int in_fd, out_fd;	/* -1: nobody there */
	bool in_pollable, out_pollable;
	bool own_fds;		/* to be closed */
	bool saved_tty;
	struct termios tty;
	int in_flags, out_flags;	/* to be restored; -1: not changed */
	struct sock listener;
	uint32_t in_watch, out_watch;	/* events asked for now */

	struct loop_fd in_w, out_w, listen_w;
	struct loop_timer timer;	/* pty: has somebody come? */

	struct chardev_ring out;
	unsigned char in[CHARDEV_INPUT];
	uint32_t in_pos, in_len;
	bool in_ended;
	bool stalled;		/* a write came short */
	uint64_t lost;		/* bytes, while nobody was there */
	bool lost_told;		/* a file that refuses bytes */
};

/* Opens as c->conf says. 0, or -errno after an error line. */
int chardev_open_kind(struct chardev *c);
/* Undoes it. */
void chardev_close_kind(struct chardev *c);

#endif
