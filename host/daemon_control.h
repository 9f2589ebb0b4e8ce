/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: what its control socket can be told. */
#ifndef HOST_DAEMON_CONTROL_H
#define HOST_DAEMON_CONTROL_H

#include "host/daemon.h"

/* Make the socket of --control-path, if it was given; before the sandbox. */
int daemon_control_open(struct daemon_process *p,
			const struct daemon_options *o);
int daemon_control_start(struct daemon_process *p,
			 const struct daemon_options *o);
void daemon_control_close(struct daemon_process *p);

#endif
