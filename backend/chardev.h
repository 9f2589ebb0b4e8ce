/* SPDX-License-Identifier: MIT */
/*
 * The host's end of a console: the program's own standard input and output, a
 * pseudo-terminal, a Unix socket, a file. It knows bytes and whether somebody
 * is there; it does not know what a console device is.
 *
 * What becomes of the guest's output, always bounded by CHARDEV_BUFFER:
 *   somebody is there  the guest waits for a slow reader; nothing is lost
 *   nobody is there    the newest bytes are kept and given to whoever comes;
 *                      the guest never waits; the log says how much was lost
 *   a file             written at once; what a full disk refuses is lost, and
 *                      the log says so
 *
 * All calls come from the loop's thread.
 */
#ifndef BACKEND_CHARDEV_H
#define BACKEND_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/loop.h"

#define CHARDEV_BUFFER 65536u
#define CHARDEV_INPUT 4096u

enum chardev_kind {
	CHARDEV_STDIO,
	CHARDEV_PTY,
	CHARDEV_SOCKET,
	CHARDEV_FILE,
};

struct chardev_conf {
	enum chardev_kind kind;
	const char *path;	/* of the socket or file */
	bool escape;		/* stdio: Ctrl-] calls escaped() */
	/* What the program before this one had, or -1: the listening socket,
	 * and whoever came there or the pseudo-terminal. Taken over. */
	int listen_fd, peer_fd;
};

/* What the chardev tells its user. */
struct chardev_events {
	void (*readable)(void *ctx);	/* input came */
	void (*writable)(void *ctx);	/* there is room after a short write */
	void (*escaped)(void *ctx);
	void *ctx;
};

struct chardev;
struct vio_state_out;
struct vio_state_record;

/*
 * Open what there is to open. Returns 0, or -errno after an error line. A
 * pseudo-terminal's path is printed on standard output.
 */
int chardev_open(struct chardev **c, const struct chardev_conf *conf);
/* Start to work on a loop. 0 or -errno. Before that it takes no output, and
 * gives no input. */
int chardev_start(struct chardev *c, struct loop *loop,
		  const struct chardev_events *events);
/* Leave the loop; what is still buffered gets a second to be written. */
void chardev_stop(struct chardev *c);
void chardev_close(struct chardev *c);

/* Take output, 0 to @len bytes; after a short answer writable() follows. */
size_t chardev_write(struct chardev *c, const void *src, size_t len);
/* Give input, at most @len bytes; after 0 readable() follows. */
size_t chardev_read(struct chardev *c, void *dst, size_t len);

/*
 * For a successor: the descriptors of chardev_conf, -1 where there is none;
 * bytes that neither side has got yet (vireo/state.h); and, when it has them,
 * no more of that is ours.
 */
int chardev_listen_fd(const struct chardev *c);
int chardev_peer_fd(const struct chardev *c);
void chardev_save(const struct chardev *c, struct vio_state_out *out);
int chardev_load(struct chardev *c, const struct vio_state_record *r);
void chardev_given(struct chardev *c);

/* The size of the terminal, if there is one. */
bool chardev_size(const struct chardev *c, uint16_t *cols, uint16_t *rows);
/* Folder that holds a name to remove at exit, or -1: for the sandbox. */
int chardev_unlink_dir(const struct chardev *c);

#endif
