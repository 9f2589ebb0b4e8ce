/* SPDX-License-Identifier: MIT */
/*
 * program.h - one of the daemons as users run it, in a process of its own,
 * and the front end's side of vhost-user in this one.
 */
#ifndef TEST_VHOST_PROGRAM_H
#define TEST_VHOST_PROGRAM_H

#include <vireo/vhu_client.h>

#include <sys/types.h>

#define PROGRAM_WINDOW	(4u << 20)	/* bytes of shared memory */
#define PROGRAM_RINGS	(1u << 20)	/* of them for rings */

struct program {
	pid_t pid;
	struct vhu_client *client;
	struct vhu_client_conf conf;
	struct vio_drv_mem mem;
	unsigned char *data;	/* shared, behind the rings */
	void *priv;
};

/*
 * Start build/bin/@name with @args (ended by NULL) on one end of a socket
 * pair, and connect. @io: its standard input and output; NULL: as here.
 */
void program_start(struct program *p, const char *name,
		   const char *const *args, const int io[2]);

/*
 * The same, but it connects (@args has --connect) and we listen at @path,
 * with p->conf.socket_fd, which stays open. program_again() starts another
 * one after the end of the first.
 */
void program_start_to(struct program *p, const char *name,
		      const char *const *args, const char *path);
void program_again(struct program *p, const char *name,
		   const char *const *args);

/*
 * Somebody else's program, @args its name and all else, which makes @socket:
 * wait for that, and connect.
 */
void program_start_peer(struct program *p, const char *const *args,
			const char *socket);
/* As far as the socket, for who connects with more in p->conf. */
void program_spawn_peer(struct program *p, const char *const *args,
			const char *socket);
/* Connect, by p->conf, to who is there or will be in a moment. */
void program_open(struct program *p);
/* Hang up, and end it, however it takes that. */
void program_stop_peer(struct program *p);

/*
 * Keep what was agreed on with @peer, ring features among @features, for
 * doc/interop.md.
 */
void program_report(struct program *p, const char *peer, uint64_t features);

/* Empty arenas, for a driver that starts. */
void program_arenas(struct program *p);

/* Hang up, end it, check that it ended well. */
void program_stop(struct program *p);

#endif
