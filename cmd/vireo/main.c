/* SPDX-License-Identifier: MIT */
/*
 * The front of the house: finds out which command is meant and hands over.
 * Some commands live in this program; any other command X is the program
 * vireo-X.
 */
#include "cmd.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} own[] = {
	{ "run", cmd_run },
	{ "doctor", cmd_doctor },
	{ "ctl", cmd_ctl },
	{ "help", cmd_help },
	{ "--help", cmd_help },
	{ "-h", cmd_help },
	{ "version", cmd_version },
	{ "--version", cmd_version },
};

static const char usage[] =
"Usage: vireo COMMAND [OPTION...]\n"
"\n"
"  run       boot a Linux guest that lives on our devices\n"
"  doctor    say what this machine can and cannot do, and the cure\n"
"  probe     examine the device behind a vhost-user socket (vireo-probe)\n"
"  ring      where rings stand, and why one is stuck (vireo-ring)\n"
"  tap       show what passes between front end and back end (vireo-tap)\n"
"  ctl       ask a running daemon over its control socket\n"
"  blk       serve a disk over vhost-user        (runs vireo-blk)\n"
"  console   serve a console over vhost-user     (runs vireo-console)\n"
"  net       serve a network over vhost-user     (runs vireo-net)\n"
"  rng       serve entropy over vhost-user       (runs vireo-rng)\n"
"  vmm       a small machine on KVM              (runs vireo-vmm)\n"
"  help      print this text\n"
"  version   print the version\n"
"\n"
"`vireo COMMAND --help` tells the options of a command; the manual pages\n"
"are vireo(1), and vireo-COMMAND(1) for each of them.\n";

static int cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(usage, stdout);
	return 0;
}

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("vireo %s\n", VIREO_VERSION);
	return 0;
}

/* `vireo blk ...` becomes `vireo-blk ...`. */
static int exec_program(char **argv)
{
	char name[64], path[PATH_MAX];
	int n = snprintf(name, sizeof(name), "vireo-%s", argv[0]);

	if (n >= (int)sizeof(name) || strchr(name, '/') ||
	    find_program(name, path)) {
		complain("no command '%s'; `vireo help` lists them", argv[0]);
		return 2;
	}
	argv[0] = name;
	execv(path, argv);
	complain("cannot start %s: %s", path, strerror(errno));
	return 126;
}

/* What we open must not become somebody's standard output. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	fill_standard_fds();
	if (argc < 2) {
		fputs(usage, stderr);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (!strcmp(argv[1], own[i].name))
			return own[i].run(argc - 1, argv + 1);
	return exec_program(argv + 1);
}
