/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: handing over to a successor. */
#ifndef HOST_DAEMON_UPGRADE_H
#define HOST_DAEMON_UPGRADE_H

#include "host/daemon.h"

/* Make the socket of --upgrade-path, or come to the predecessor of --inherit,
 * which gives its sockets; before the sandbox. */
int daemon_upgrade_open(struct daemon *d);
/* Wait for a successor. */
int daemon_upgrade_start(struct daemon *d);
/* Take the session over. 0, -ENOTCONN if there was none, or -errno. */
int daemon_upgrade_inherit(struct daemon *d);
void daemon_upgrade_close(struct daemon *d);

#endif
