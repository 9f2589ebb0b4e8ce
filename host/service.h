/* SPDX-License-Identifier: MIT */
/*
 * A service manager such as systemd, by its plain protocol: sockets that it
 * made for us, descriptors that it keeps for the next program, and what we
 * tell it. Without one all of this does nothing. It knows neither devices nor
 * sessions.
 */
#ifndef HOST_SERVICE_H
#define HOST_SERVICE_H

#include <stdbool.h>

/* Of a kept descriptor; systemd takes 255. */
#define SERVICE_NAME_MAX	127u

/*
 * Look into the environment, once, while threads and sandbox are yet to come;
 * connects to NOTIFY_SOCKET.
 */
void service_init(void);
/* Is there a manager that can be told something? */
bool service_is_there(void);

/* The listening Unix socket that it made at @path, or -1. The caller's. */
int service_socket(const char *path);
/* A descriptor that was kept under this name, or -1. The caller's. */
int service_kept(const char *name);
/*
 * Have @fd kept under a name for the next program; 0 or -errno. It stays
 * open here, too. A name may be forgotten again.
 */
int service_keep(const char *name, int fd);
void service_forget(const char *name);
/* Wait until it has read all that it was told, five seconds at most. */
void service_wait(void);
/* All is set up: others that waited for us may start. What was not asked for
 * is closed. */
void service_ready(void);
void service_stopping(void);
/* Let go of the manager. */
void service_fini(void);

#endif
