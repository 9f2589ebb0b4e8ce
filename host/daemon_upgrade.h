/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: handing over to a successor. */
#ifndef HOST_DAEMON_UPGRADE_H
#define HOST_DAEMON_UPGRADE_H

#include "host/daemon.h"

/* Make the socket of --upgrade-path, or come to the predecessor of --inherit,
 * which says what it has; before any device is opened. */
int daemon_upgrade_open(struct daemon_process *p,
			const struct daemon_options *o);
/* Wait for a successor. */
int daemon_upgrade_start(struct daemon_process *p);
void daemon_upgrade_close(struct daemon_process *p);

/* Does the predecessor have this device? Sets d->inherits. */
void daemon_upgrade_find(struct daemon *d);
/* Take over the socket that it listens on, before the sandbox. 0 or -errno. */
int daemon_upgrade_adopt(struct daemon *d);
/* Take the session over. 0, -ENOTCONN if there was none, or -errno. */
int daemon_upgrade_inherit(struct daemon *d);
/* The device is to be closed: the file of its socket may be another's. */
void daemon_upgrade_leave(struct daemon *d);

#endif
