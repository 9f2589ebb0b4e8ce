/* SPDX-License-Identifier: MIT */
/* Private to the daemon frame: the options that all daemons have. */
#ifndef HOST_DAEMON_OPTIONS_H
#define HOST_DAEMON_OPTIONS_H

#include "host/daemon.h"

/*
 * Read the command line. Returns a negative number to go on, else the exit
 * code.
 */
int daemon_options_read(const struct daemon_type *type, int argc, char **argv,
			struct daemon_options *opt);

/* Options of one device are to be set; they begin as the command line said. */
void daemon_options_begin(const struct daemon_type *type);
/* One of them: 0, or -errno after an error line. */
int daemon_options_set(const struct daemon_type *type, const char *key,
		       const char *value);
/* As they stand now. */
void daemon_options_get(struct daemon_options *opt);

#endif
