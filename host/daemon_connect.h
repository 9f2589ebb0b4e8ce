/* SPDX-License-Identifier: MIT */
/*
 * A daemon that comes to its front end (--connect), which listens; and comes
 * again when the front end left. What is served there is daemon_serve.h's.
 */
#ifndef HOST_DAEMON_CONNECT_H
#define HOST_DAEMON_CONNECT_H

struct daemon;

/* Try until a front end is there. Main loop; 0 or -errno (logged). */
int daemon_connect_start(struct daemon *d);
/* The front end left: look for it, from a little later on. */
void daemon_connect_again(struct daemon *d);
/* Look no more. */
void daemon_connect_stop(struct daemon *d);

#endif
