/* SPDX-License-Identifier: MIT */
/*
 * Unix stream sockets that a daemon listens on: made at a path, or inherited
 * as a file descriptor. Knows nothing of what is spoken over them.
 */
#ifndef HOST_SOCK_H
#define HOST_SOCK_H

#include <stdbool.h>

/* How the path of a new socket is to look; -1 and NULL leave as is. */
struct sock_perm {
	int mode;		/* octal bits, -1: by umask */
	const char *owner;	/* user, by name or number */
	const char *group;
	const char *option;	/* for messages; NULL: "--socket-path" */
};

struct sock {
	int fd;			/* -1: closed */
	bool connected;		/* inherited with a peer at the other end */
	int spare_fd;		/* of a listening one: see sock_accept_at() */
	int dir_fd;		/* where the path lies, -1: nothing to remove */
	char name[108];		/* within dir_fd */
};

/*
 * Listen at @path. A socket file that nobody serves is replaced; one that is
 * served is not touched. All descriptors are non-blocking, close-on-exec.
 * Returns 0, or -errno after an error line with cause and cure.
 */
int sock_listen(struct sock *s, const char *path,
		const struct sock_perm *perm);

/* Take over @fd, a Unix stream socket, listening or connected. As above. */
int sock_inherit(struct sock *s, int fd);

/*
 * Take over @fd, a listening socket that another program made at @path. The
 * path is removed in the end, as if it had been made here.
 */
int sock_adopt(struct sock *s, int fd, const char *path);

/* A new connection, or -errno (-EAGAIN: none waits). */
int sock_accept(struct sock *s);

/*
 * The same of any listening socket. Where the program has no descriptor left,
 * who comes is told so by an end, for which one is kept back in *@spare_fd:
 * at first what sock_spare() gives. It is the caller's to close.
 */
int sock_accept_at(int fd, int *spare_fd);
int sock_spare(void);

/* The path is another program's from now on. */
void sock_leave(struct sock *s);

/* Close, and remove the path if it is still ours. */
void sock_close(struct sock *s);

#endif
