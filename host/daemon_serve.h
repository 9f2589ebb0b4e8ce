/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: its front ends and queues. */
#ifndef HOST_DAEMON_SERVE_H
#define HOST_DAEMON_SERVE_H

#include "host/daemon.h"

/* Before the sandbox: make the server. 0, or -errno after an error line. */
int daemon_serve_init(struct daemon *d);
/* Wait for front ends. */
int daemon_serve_start(struct daemon *d);
/* Part from the front end, write the statistics. */
void daemon_serve_fini(struct daemon *d);

#endif
