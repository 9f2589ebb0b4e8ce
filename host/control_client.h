/* SPDX-License-Identifier: MIT */
/* The client's side of a daemon's control socket: one question, one answer. */
#ifndef HOST_CONTROL_CLIENT_H
#define HOST_CONTROL_CLIENT_H

#include <stddef.h>

/*
 * Send @line (without its end) to the control socket at @path and read the
 * answer, a line of JSON or an OpenMetrics text, into *@answer, which the
 * caller frees. 0, or -errno after an error line.
 */
int control_ask(const char *path, const char *line, char **answer);
/* The same, and descriptors with it, which stay the caller's. */
int control_ask_with(const char *path, const char *line, const int *file,
		     unsigned nr_files, char **answer);

/*
 * Cut an answer down to its result, in place; NULL if it says that the
 * command failed, after an error line with its reason.
 */
char *control_result(char *answer);

#endif
