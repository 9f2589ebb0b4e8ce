/* SPDX-License-Identifier: MIT */
/* Options that all daemons have, and which of them go together. */
#include "host/daemon_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"

#ifndef VIREO_VERSION
#error "the build gives VIREO_VERSION"
#endif

#define NOT_GIVEN DAEMON_NOT_GIVEN

enum { EXIT_USAGE = 2 };

static const char *const sandbox_choices[] = { "on", "none", NULL };

static struct daemon_options o;	/* the table below needs addresses */

/* Of each device. */
static const struct opt device_options[] = {
	{ .name = "socket-path", .type = OPT_STRING, .to = &o.socket_path,
	  .arg = "PATH",
	  .help = "Listen for front ends on this Unix socket." },
	{ .name = "connect", .type = OPT_FLAG, .to = &o.connect,
	  .help = "Connect to the front end, which listens on --socket-path, and again whenever it left.",
	},
	{ .name = "socket-mode", .type = OPT_OCTAL, .to = &o.socket_mode,
	  .arg = "MODE", .max = 0777,
	  .help = "File mode of the socket, octal; by default as the umask says.",
	},
	{ .name = "socket-owner", .type = OPT_STRING, .to = &o.socket_owner,
	  .arg = "USER", .help = "Owner of the socket." },
	{ .name = "socket-group", .type = OPT_STRING, .to = &o.socket_group,
	  .arg = "GROUP", .help = "Group of the socket." },
	{ .name = "poll-us", .type = OPT_UINT, .to = &o.poll_us,
	  .arg = "TIME", .max = 1000000,
	  .help = "Look for requests at most so many microseconds before sleeping; 0 never does. Default 32. An idle device sleeps whatever it is set to, but for --poll-always.",
	},
	{ .name = "poll-always", .type = OPT_FLAG, .to = &o.poll_always,
	  .help = "Never sleep while a driver uses the device: a processor for each thread, for the shortest answers.",
	},
	{ .name = "iommu", .type = OPT_FLAG, .to = &o.iommu,
	  .help = "Offer ACCESS_PLATFORM: the guest has an IOMMU before the device, and the front end translates.",
	},
	{ .name = "stats-file", .type = OPT_STRING, .to = &o.stats_file,
	  .arg = "PATH",
	  .help = "Write statistics there as JSON whenever a front end leaves, and at exit.",
	},
	{ 0 }
};

/* Of the process, whatever the number of its devices. */
static const struct opt options[] = {
	{ .name = "fd", .type = OPT_UINT, .to = &o.fd, .arg = "NUMBER",
	  .max = INT32_MAX,
	  .help = "Use this inherited Unix socket, listening or connected." },
	{ .name = "print-capabilities", .type = OPT_FLAG,
	  .to = &o.print_capabilities,
	  .help = "Print what the program can do, as JSON." },
	{ .name = "exit-on-disconnect", .type = OPT_FLAG,
	  .to = &o.exit_on_disconnect,
	  .help = "Leave with the first front end, instead of waiting for the next.",
	},
	{ .name = "postcopy", .type = OPT_FLAG, .to = &o.postcopy,
	  .help = "Let a guest move here before its memory does. Needs /dev/userfaultfd; only for front ends that are trusted to send every page.",
	},
	{ .name = "control-path", .type = OPT_STRING, .to = &o.control_path,
	  .arg = "PATH",
	  .help = "Answer questions about the device on this Unix socket; see vireo-ctl(1).",
	},
	{ .name = "upgrade-path", .type = OPT_STRING, .to = &o.upgrade_path,
	  .arg = "PATH",
	  .help = "Hand over to a successor that comes to this Unix socket; see --inherit.",
	},
	{ .name = "inherit", .type = OPT_STRING, .to = &o.inherit,
	  .arg = "PATH",
	  .help = "Take the front end over from the program that has PATH as its --upgrade-path, and be the next to hand over there.",
	},
	{ .name = "sandbox", .type = OPT_CHOICE, .to = &o.sandbox,
	  .arg = "on|none", .choices = sandbox_choices,
	  .help = "Whether to give up all rights that are not needed. Default on.",
	},
	{ .name = "i-know-this-is-unsafe", .type = OPT_FLAG,
	  .to = &o.unsafe, .help = "Needed for --sandbox=none." },
	{ .name = "verbose", .type = OPT_FLAG, .to = &o.verbose,
	  .help = "Say more." },
	{ 0 }
};

static const struct opt thread_options[] = {
	{ .name = "threads", .type = OPT_UINT, .to = &o.threads,
	  .arg = "NUMBER", .min = 1, .max = DAEMON_THREADS_MAX,
	  .help = "Threads that serve the queues. By default as many as there are queues or processors, whichever is less.",
	},
	{ .name = "cpus", .type = OPT_STRING, .to = &o.cpus,
	  .arg = "LIST",
	  .help = "Processors that the threads stay on, one after the other, such as 2,4-6. By default they go where the kernel sends them.",
	},
	{ 0 }
};

static const struct opt many_options[] = {
	{ .name = "config", .type = OPT_STRING, .to = &o.config,
	  .arg = "FILE",
	  .help = "Serve as many devices as the file has sections; options of the command line hold for all whose section does not say otherwise.",
	},
	{ .name = "live", .type = OPT_LIST, .to = &o.live,
	  .arg = "FOLDER",
	  .help = "With --config: devices may be added while the program runs, with files and sockets in this folder, which the sandbox leaves open. May be given again.",
	},
	{ 0 }
};

static void print_capabilities(const struct daemon_type *type)
{
	unsigned i;

	printf("{\"type\":\"%s\",\"features\":[", type->device);
	for (i = 0; type->capabilities[i]; i++)
		printf("%s\"%s\"", i ? "," : "", type->capabilities[i]);
	printf("]}\n");
}

static int refuse(const char *why)
{
	log_err("%s", why);
	return EXIT_USAGE;
}

static int check_many(void)
{
	if (o.live.n && !o.config)
		return refuse("--live is for --config: a program with one device takes no others");
	if (!o.config)
		return -1;
	if (o.fd_given || o.socket_path)
		return refuse("--config: each section says its own socket-path, and --fd is for one device");
	if (o.exit_on_disconnect)
		return refuse("--config, --exit-on-disconnect: there are several front ends; leave one out");
	return -1;
}

static int check(const struct daemon_type *type)
{
	if (o.poll_always && !o.poll_us)
		return refuse("--poll-always, --poll-us=0: leave one out");
	o.fd_given = o.fd != NOT_GIVEN;
	if (o.fd_given == (o.socket_path != NULL) && !o.inherit && !o.config) {
		log_err("give either --socket-path=PATH or --fd=NUMBER; see %s --help",
			type->program);
		return EXIT_USAGE;
	}
	if (o.connect && (o.fd_given || o.inherit || o.upgrade_path))
		return refuse("--connect takes --socket-path, and neither --fd nor --inherit nor --upgrade-path");
	if ((o.inherit || o.upgrade_path) && !type->heritable)
		return refuse("--inherit, --upgrade-path: this device has a state of its own, which cannot be handed over");
	if (o.sandbox == DAEMON_SANDBOX_NONE && !o.unsafe)
		return refuse("--sandbox=none leaves the host open to a guest that breaks out; add --i-know-this-is-unsafe if that is meant");
	if (o.cpus && worker_cpu(o.cpus, 0) < 0) {
		log_err("--cpus: '%s' is no list of processors; example: 2,4-6",
			o.cpus);
		return EXIT_USAGE;
	}
	return check_many();
}

static void tables(struct opt_set *set, const struct daemon_type *type,
		   bool process)
{
	unsigned n = 0;

	*set = (struct opt_set){
		.program = type->program,
		.summary = type->summary,
		.usage = "--socket-path=PATH | --fd=NUMBER [options]",
	};
	if (type->opts)
		set->tables[n++] = type->opts;
	if (process && type->threaded)
		set->tables[n++] = thread_options;
	set->tables[n++] = device_options;
	if (process && type->ctx_size)
		set->tables[n++] = many_options;
	if (process)
		set->tables[n++] = options;
}

/* As the command line left them: where each device's begin. */
static struct daemon_options given;
static void *given_of_type;

static int keep(const struct daemon_type *type)
{
	given = o;
	if (!type->opt_size)
		return -1;
	free(given_of_type);
	given_of_type = malloc(type->opt_size);
	if (!given_of_type)
		return EXIT_FAILURE;
	memcpy(given_of_type, type->opt_data, type->opt_size);
	return -1;
}

int daemon_options_read(const struct daemon_type *type, int argc, char **argv,
			struct daemon_options *opt)
{
	struct opt_set set;
	int rc;

	o = (struct daemon_options){
		.fd = NOT_GIVEN, .socket_mode = NOT_GIVEN, .poll_us = 32,
	};
	tables(&set, type, true);
	switch (opt_parse(&set, argc, argv)) {
	case OPT_OK:
		break;
	case OPT_HELP:
		opt_help(&set);
		return 0;
	case OPT_VERSION:
		printf("%s %s\n", type->program, VIREO_VERSION);
		return 0;
	default:
		return EXIT_USAGE;
	}
	if (o.print_capabilities) {
		print_capabilities(type);
		return 0;
	}
	rc = check(type);
	if (rc < 0)
		rc = keep(type);
	*opt = o;
	return rc;
}

void daemon_options_begin(const struct daemon_type *type)
{
	o = given;
	if (type->opt_size)
		memcpy(type->opt_data, given_of_type, type->opt_size);
}

int daemon_options_set(const struct daemon_type *type, const char *key,
		       const char *value)
{
	struct opt_set set;

	tables(&set, type, false);
	return opt_set(&set, key, value);
}

void daemon_options_get(struct daemon_options *opt)
{
	*opt = o;
}
