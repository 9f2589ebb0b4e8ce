/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: one device from its opening to its end. */
#ifndef HOST_DAEMON_DEVICE_H
#define HOST_DAEMON_DEVICE_H

#include "host/daemon.h"

/* Before anything else. @name: see struct daemon. */
void daemon_device_init(struct daemon *d, struct daemon_process *p, void *ctx,
			const char *name);
/*
 * Open it and its socket. Where there is a sandbox, it closes after this.
 * 0, or -errno after an error line and without anything left open.
 */
int daemon_device_open(struct daemon *d);
/* The loops run: serve it. 0, or -errno after an error line. */
int daemon_device_start(struct daemon *d);
/* The opposites; stop is fine after a start that failed or never came. */
void daemon_device_stop(struct daemon *d);
/* If d->stuck something still refers to *d, which must stay. */
void daemon_device_close(struct daemon *d);

#endif
