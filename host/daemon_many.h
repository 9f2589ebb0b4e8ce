/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: many devices in one process (--config). */
#ifndef HOST_DAEMON_MANY_H
#define HOST_DAEMON_MANY_H

#include "host/daemon.h"

/* All devices of the file. 0, or -errno after an error line. */
int daemon_many_open(struct daemon_process *p, const char *path);
/* What was opened and is not listed otherwise. */
void daemon_many_close(struct daemon_process *p);

struct daemon *daemon_many_find(struct daemon_process *p, const char *name);
/* For the control socket: context is the process. */
extern const struct control_command daemon_many_commands[];

#endif
