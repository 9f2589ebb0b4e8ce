/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: a session outlives its program. */
#ifndef HOST_DAEMON_KEEP_H
#define HOST_DAEMON_KEEP_H

#include "host/daemon.h"

/* Before the sandbox: make ready for the day when we end. 0 or -errno. */
int daemon_keep_open(struct daemon *d);
/* Take over what the program before us left. False: nothing. */
bool daemon_keep_take(struct daemon *d);
/* The program ends: leave the session to the next one. False: not done, the
 * front end is still here. */
bool daemon_keep_leave(struct daemon *d);
/* The program ends: leave the back end's descriptors, too. */
void daemon_keep_files(struct daemon *d);
void daemon_keep_close(struct daemon *d);

#endif
