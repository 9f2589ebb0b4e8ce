/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: its front ends and queues. */
#ifndef HOST_DAEMON_SERVE_H
#define HOST_DAEMON_SERVE_H

#include "host/daemon.h"

/* Before the sandbox: make the server. 0, or -errno after an error line. */
int daemon_serve_init(struct daemon *d);
/* Wait for front ends. */
int daemon_serve_start(struct daemon *d);
/* Give the front end, if there is one, to the successor behind @fd. */
int daemon_serve_hand_over(struct daemon *d, int fd);
/* The opposite of start: part from the front end, write the statistics. */
void daemon_serve_stop(struct daemon *d);
/* The opposite of init. */
void daemon_serve_fini(struct daemon *d);

/* The program's version. */
extern const char daemon_version[];

/* Names of the features in @bits, ended by NULL. */
void daemon_feature_names(const struct daemon *d, uint64_t bits,
			  const char *names[DAEMON_NAMES_MAX + 1]);

/* A ring as of now. Control thread. */
void daemon_serve_look(struct daemon *d, unsigned queue,
		       struct vhu_ring_info *info);

/* Serve the front end behind @fd, which is taken over. 0 or -errno (logged). */
int daemon_serve_attach(struct daemon *d, int fd);

#endif
