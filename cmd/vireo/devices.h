/* SPDX-License-Identifier: MIT */
/* The back ends of a run: which there are, and their start. */
#ifndef VIREO_DEVICES_H
#define VIREO_DEVICES_H

#include "run.h"

#define NET_OPTION_MAX	64
/*
 * The value of an option of vireo-net's ("mac", "mtu"), as the user gave it
 * or as we choose. False, and "": neither.
 */
bool net_option(const struct run *r, const char *name,
		char value[NET_OPTION_MAX]);

/* Fill r->dev from the options. Return 0 or a negative errno. */
int devices_plan(struct run *r);

/*
 * Start them all, each listening already when this returns. @console_fd is
 * the guest's end of the terminal, for a console on stdio; what they have to
 * say goes to @log_fd.
 */
int devices_start(struct run *r, int console_fd, int log_fd);

#endif
