/* SPDX-License-Identifier: MIT */
/* vireo ctl: say a command to a daemon's control socket, print the answer. */
#include "cmd.h"
#include "ctl_tap.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/control_client.h"
#include "host/log.h"

static const char usage[] =
"Usage: vireo ctl SOCKET COMMAND [ARGUMENT...]\n"
"\n"
"SOCKET is what a daemon was given as --control-path. Commands that every\n"
"daemon knows: help, status, ring [QUEUE], metrics. `vireo ctl SOCKET help`\n"
"lists those of one daemon. See vireo-ctl(1).\n";

static int ask(const char *socket, const char *line, int argc, char **argv,
	       char **answer)
{
	int fd[CTL_TAPS_MAX], rc;
	unsigned n = ctl_open_taps(argc, argv, fd);

	rc = control_ask_with(socket, line, fd, n, answer);
	while (n)
		close(fd[--n]);
	return rc;
}

int cmd_ctl(int argc, char **argv)
{
	char line[4096] = "", *answer, *result;
	size_t len = 0;
	int i, rc;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	log_init("vireo", LOG_LEVEL_INFO);
	if (argc < 3 || argv[1][0] == '-') {
		fputs(usage, stderr);
		return 2;
	}
	for (i = 2; i < argc; i++) {
		int n = snprintf(line + len, sizeof(line) - len, "%s%s",
				 len ? " " : "", argv[i]);

		if (n < 0 || (size_t)n >= sizeof(line) - len) {
			complain("the command is too long");
			return 2;
		}
		len += (size_t)n;
	}
	rc = ask(argv[1], line, argc - 2, argv + 2, &answer);
	if (rc)
		return 1;
	result = control_result(answer);
	if (result)
		fputs(result, stdout);
	free(answer);
	return result && !fflush(stdout) ? 0 : 1;
}
