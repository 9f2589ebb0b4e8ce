/* SPDX-License-Identifier: MIT */
/*
 * The frame of a daemon from its command line to its exit code: see
 * daemon.h. Front ends and queues are served in daemon_serve.c.
 */
#include "host/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/daemon_control.h"
#include "host/daemon_serve.h"
#include "host/daemon_upgrade.h"
#include "host/guard.h"
#include "host/log.h"

#ifndef VIREO_VERSION
#error "the build gives VIREO_VERSION"
#endif

#define NOT_GIVEN UINT32_MAX

enum { EXIT_USAGE = 2 };
enum { SANDBOX_ON, SANDBOX_NONE };

static const char *const sandbox_choices[] = { "on", "none", NULL };

const char daemon_version[] = VIREO_VERSION;

static struct daemon_options o;	/* the table below needs addresses */

static const struct opt options[] = {
	{ .name = "socket-path", .type = OPT_STRING, .to = &o.socket_path,
	  .arg = "PATH",
	  .help = "Listen for front ends on this Unix socket." },
	{ .name = "fd", .type = OPT_UINT, .to = &o.fd, .arg = "NUMBER",
	  .max = INT32_MAX,
	  .help = "Use this inherited Unix socket, listening or connected." },
	{ .name = "connect", .type = OPT_FLAG, .to = &o.connect,
	  .help = "Connect to the front end, which listens on --socket-path, and again whenever it left.",
	},
	{ .name = "print-capabilities", .type = OPT_FLAG,
	  .to = &o.print_capabilities,
	  .help = "Print what the program can do, as JSON." },
	{ .name = "socket-mode", .type = OPT_OCTAL, .to = &o.socket_mode,
	  .arg = "MODE", .max = 0777,
	  .help = "File mode of the socket, octal; by default as the umask says.",
	},
	{ .name = "socket-owner", .type = OPT_STRING, .to = &o.socket_owner,
	  .arg = "USER", .help = "Owner of the socket." },
	{ .name = "socket-group", .type = OPT_STRING, .to = &o.socket_group,
	  .arg = "GROUP", .help = "Group of the socket." },
	{ .name = "exit-on-disconnect", .type = OPT_FLAG,
	  .to = &o.exit_on_disconnect,
	  .help = "Leave with the first front end, instead of waiting for the next.",
	},
	{ .name = "poll-us", .type = OPT_UINT, .to = &o.poll_us,
	  .arg = "TIME", .max = 1000000,
	  .help = "Look for requests at most so many microseconds before sleeping; 0 never does. Default 32. An idle device sleeps whatever it is set to.",
	},
	{ .name = "stats-file", .type = OPT_STRING, .to = &o.stats_file,
	  .arg = "PATH",
	  .help = "Write statistics there as JSON whenever a front end leaves, and at exit.",
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

static void print_capabilities(const struct daemon_type *type)
{
	unsigned i;

	printf("{\"type\":\"%s\",\"features\":[", type->device);
	for (i = 0; type->capabilities[i]; i++)
		printf("%s\"%s\"", i ? "," : "", type->capabilities[i]);
	printf("]}\n");
}

/* Returns a negative number to go on, else the exit code. */
static int read_options(const struct daemon_type *type, int argc, char **argv)
{
	const struct opt_set set = {
		.program = type->program,
		.summary = type->summary,
		.usage = "--socket-path=PATH | --fd=NUMBER [options]",
		.tables = { type->opts, options },
	};

	o = (struct daemon_options){
		.fd = NOT_GIVEN, .socket_mode = NOT_GIVEN, .poll_us = 32,
	};
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
	o.fd_given = o.fd != NOT_GIVEN;
	if (o.fd_given == (o.socket_path != NULL) && !o.inherit) {
		log_err("give either --socket-path=PATH or --fd=NUMBER; see %s --help",
			type->program);
		return EXIT_USAGE;
	}
	if (o.connect && (o.fd_given || o.inherit || o.upgrade_path)) {
		log_err("--connect takes --socket-path, and neither --fd nor --inherit nor --upgrade-path");
		return EXIT_USAGE;
	}
	if ((o.inherit || o.upgrade_path) && !type->heritable) {
		log_err("--inherit, --upgrade-path: this device has a state of its own, which cannot be handed over");
		return EXIT_USAGE;
	}
	if (o.sandbox == SANDBOX_NONE && !o.unsafe) {
		log_err("--sandbox=none leaves the host open to a guest that breaks out; add --i-know-this-is-unsafe if that is meant");
		return EXIT_USAGE;
	}
	return -1;
}

static int open_socket(struct daemon *d)
{
	struct sock_perm perm = {
		.mode = o.socket_mode == NOT_GIVEN ? -1 : (int)o.socket_mode,
		.owner = o.socket_owner,
		.group = o.socket_group,
	};

	if (o.inherit || o.connect)
		return 0;
	if (o.fd_given)
		return sock_inherit(&d->sock, (int)o.fd);
	return sock_listen(&d->sock, o.socket_path, &perm);
}

static int enter_sandbox(struct daemon *d)
{
	const int dirs[] = {
		d->sock.dir_fd, d->unlink_dir_fd,
		o.control_path ? d->control.sock.dir_fd : -1,
		d->upgrade.dir_fd,
	};
	const struct sandbox sb = {
		.syscalls = d->type->syscalls,
		.ioctls = d->type->ioctls,
		.unlink_dir_fd = dirs,
		.nr_unlink_dirs = sizeof(dirs) / sizeof(dirs[0]),
		.more_syscalls = d->more_syscalls,
		.more_ioctls = d->more_ioctls,
		.network = d->network,
		.connect = o.connect,
		.read_file = d->read_file,
		.trace = o.verbose,
	};

	if (o.sandbox == SANDBOX_ON)
		return sandbox_enter(&sb);
	log_warn("running without a sandbox, as --sandbox=none told");
	return 0;
}

static void limit_polling(void *arg)
{
	loop_poll_limit(arg, o.poll_us * NS_PER_US);
}

static int start_workers(struct daemon *d)
{
	unsigned i;
	int rc = 0;

	d->workers = calloc(d->num_workers + 1, sizeof(*d->workers));
	if (!d->workers)
		return -ENOMEM;
	for (i = 0; i < d->num_workers && !rc; i++) {
		char name[16];

		snprintf(name, sizeof(name), "queues-%u", i % 1000);
		rc = worker_start(&d->workers[i], name);
		if (!rc)
			worker_run(&d->workers[i], limit_polling,
				   &d->workers[i].loop);
	}
	if (rc)
		log_err("cannot start a thread: %s", strerror(-rc));
	return rc;
}

static void stop_workers(struct daemon *d)
{
	unsigned i;

	for (i = 0; d->workers && i < d->num_workers; i++)
		worker_stop(&d->workers[i]);
	free(d->workers);
}

static void on_signal(void *ctx, uint32_t events)
{
	struct signalfd_siginfo info;
	struct daemon *d = ctx;

	(void)events;
	if (read(d->signal_fd.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH || info.ssi_signo == SIGUSR1) {
		d->type->resized(d);
		return;
	}
	log_debug("ends by signal %u", info.ssi_signo);
	loop_stop(&d->main.loop);
}

static int watch_signals(struct daemon *d)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (d->type->resized) {
		sigaddset(&set, SIGWINCH);
		sigaddset(&set, SIGUSR1);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	d->signal_fd = (struct loop_fd){ fd, on_signal, d };
	return loop_fd_add(&d->main.loop, &d->signal_fd, EPOLLIN);
}

/* From an open device to the end of the loop. */
static int serve(struct daemon *d)
{
	int rc;

	rc = daemon_serve_init(d);
	if (!rc)
		rc = enter_sandbox(d);
	if (!rc)
		rc = start_workers(d);
	if (!rc && d->type->start)
		rc = d->type->start(d);
	if (rc) {
		daemon_serve_fini(d);
		return rc;
	}
	rc = daemon_serve_start(d);
	if (!rc)
		rc = daemon_control_start(d);
	if (!rc)
		rc = daemon_upgrade_start(d);
	if (!rc)
		rc = loop_run(&d->main.loop);
	daemon_serve_fini(d);
	if (d->type->stop && !atomic_load(&d->stuck))
		d->type->stop(d);
	return rc;
}

static int run(struct daemon *d)
{
	int rc;

	rc = d->type->open(d);
	if (rc)
		return rc;
	rc = stats_open(&d->stats, o.stats_file, d->type->device);
	if (!rc) {
		rc = daemon_upgrade_open(d);
		if (!rc)
			rc = open_socket(d);
		if (!rc)
			rc = daemon_control_open(d);
		if (!rc)
			rc = serve(d);
		daemon_control_close(d);
		if (!atomic_load(&d->stuck))
			stop_workers(d);
		daemon_upgrade_close(d);
		sock_close(&d->sock);
		stats_close(&d->stats);
	}
	/* Storage that hangs would have us wait here for ever. */
	if (!atomic_load(&d->stuck))
		d->type->close(d);
	return rc;
}

int daemon_main(const struct daemon_type *type, void *ctx, int argc,
		char **argv)
{
	struct daemon d = { .type = type, .ctx = ctx,
			    .unlink_dir_fd = -1 };
	int rc;

	log_init(type->program, LOG_LEVEL_INFO);
	rc = read_options(type, argc, argv);
	if (rc >= 0)
		return rc;
	if (o.verbose)
		log_init(type->program, LOG_LEVEL_DEBUG);
	d.opt = o;
	d.sock.fd = d.sock.dir_fd = -1;
	d.signal_fd.fd = -1;
	rc = loop_init(&d.main.loop);
	if (!rc) {
		limit_polling(&d.main.loop);
		rc = watch_signals(&d);
		if (!rc)
			rc = guard_init();
		if (rc)
			log_err("cannot set up: %s", strerror(-rc));
		else
			rc = run(&d);
		if (d.signal_fd.fd >= 0)
			close(d.signal_fd.fd);
		loop_fini(&d.main.loop);
	}
	return rc || d.exit_code ? EXIT_FAILURE : EXIT_SUCCESS;
}
