/* SPDX-License-Identifier: MIT */
/*
 * vireo-tap: sits between a front end and a back end and shows, or records,
 * what passes: messages, descriptors, and what happens in the rings.
 */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/guard.h"
#include "host/log.h"
#include "host/opt.h"

enum { EXIT_BAD = 1, EXIT_USAGE = 2 };

static struct {
	const char *front, *back, *write, *read;
	bool dissector, print, no_rings, once;
	unsigned look_us, stuck_ms;
} o = { .look_us = 1000, .stuck_ms = 1000 };

static const struct opt options[] = {
	{ .name = "socket-path", .type = OPT_STRING, .to = &o.front,
	  .arg = "PATH",
	  .help = "FRONT, where it does not stand first: listen for front ends there.",
	},
	{ .name = "back-path", .type = OPT_STRING, .to = &o.back,
	  .arg = "PATH",
	  .help = "BACK, where it does not stand second: the back end's socket.",
	},
	{ .name = "write", .type = OPT_STRING, .to = &o.write, .arg = "FILE",
	  .help = "Record into this file (pcapng); nothing is printed then.",
	},
	{ .name = "read", .type = OPT_STRING, .to = &o.read, .arg = "FILE",
	  .help = "Print a record instead." },
	{ .name = "print", .type = OPT_FLAG, .to = &o.print,
	  .help = "Print while recording." },
	{ .name = "no-rings", .type = OPT_FLAG, .to = &o.no_rings,
	  .help = "Messages only; no memory is mapped." },
	{ .name = "look-us", .type = OPT_UINT, .to = &o.look_us, .arg = "TIME",
	  .min = 50, .max = 1000000,
	  .help = "Look into the rings this often, beside each kick and call. Default 1000.",
	},
	{ .name = "stuck-ms", .type = OPT_UINT, .to = &o.stuck_ms,
	  .arg = "TIME", .min = 100, .max = 3600000,
	  .help = "A ring that does not get on for so long gets a remark. Default 1000.",
	},
	{ .name = "once", .type = OPT_FLAG, .to = &o.once,
	  .help = "End with the first front end." },
	{ .name = "dissector", .type = OPT_FLAG, .to = &o.dissector,
	  .help = "Print a dissector for Wireshark, in Lua." },
	{ 0 }
};

uint64_t tap_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void tap_tell(struct tap *t, struct tap_event *e)
{
	e->ns = tap_now();
	e->session = t->session;
	if (t->lines && e->kind != TAP_STATE) {
		tap_print(t->lines, e, t->start_ns);
		fflush(t->lines);
	}
	if (t->out && !t->failed && !tap_file_put(t->out, e)) {
		t->failed = true;
		log_err("the record cannot be written: %s; the session goes on without",
			strerror(errno));
	}
}

void tap_note(struct tap *t, uint16_t queue, const char *fmt, ...)
{
	static struct tap_event e;
	va_list ap;

	e.kind = TAP_NOTE;
	e.queue = queue;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	tap_tell(t, &e);
}

/* -- offline -------------------------------------------------------------- */

static int print_record(const char *path)
{
	static struct tap_event e;
	struct tap_reader r;
	uint64_t start = 0;
	int rc;

	rc = tap_reader_open(&r, path);
	if (rc) {
		log_err("%s: %s", path, rc == -EILSEQ ?
			"no record of vireo tap" : strerror(-rc));
		return EXIT_BAD;
	}
	while ((rc = tap_reader_next(&r, &e)) > 0) {
		if (!start)
			start = e.ns;
		tap_print(stdout, &e, start);
	}
	if (rc)
		log_err("%s: the record is cut off or spoilt here", path);
	if (r.skipped)
		log_warn("%s: %llu packets are no events of ours", path,
			 (unsigned long long)r.skipped);
	tap_reader_close(&r);
	return rc || fflush(stdout) ? EXIT_BAD : 0;
}

/* -- live ----------------------------------------------------------------- */

static void on_listen(void *ctx, uint32_t events)
{
	struct tap *t = ctx;
	int fd = sock_accept(&t->listen);

	(void)events;
	if (fd < 0)
		return;
	relay_start(t, fd);
	if (t->open && t->rings)
		loop_timer_set(&t->loop, &t->look_timer, t->look_ns);
}

static void on_look(void *ctx)
{
	struct tap *t = ctx;

	if (!t->open)
		return;
	rings_tick(t);
	loop_timer_set(&t->loop, &t->look_timer, t->look_ns);
}

static void on_end(void *ctx, uint32_t events)
{
	struct tap *t = ctx;

	(void)events;
	relay_end(t, "the tap was told to end");
	loop_stop(&t->loop);
}

static void on_lost(void *ctx, uint32_t events)
{
	struct tap *t = ctx;
	uint64_t n;

	(void)events;
	if (read(t->lost_fd.fd, &n, sizeof(n)) == sizeof(n))
		relay_end(t, "guest memory disappeared: its file was cut");
	atomic_store(&t->lost, false);
}

static int watch_ends(struct tap *t)
{
	sigset_t set;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	t->signal_fd = (struct loop_fd){
		signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), on_end, t,
	};
	t->lost_fd = (struct loop_fd){
		eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on_lost, t,
	};
	if (t->signal_fd.fd < 0 || t->lost_fd.fd < 0)
		return -errno;
	rc = loop_fd_add(&t->loop, &t->signal_fd, EPOLLIN);
	if (!rc)
		rc = loop_fd_add(&t->loop, &t->lost_fd, EPOLLIN);
	return rc ? rc : guard_init();
}

static int open_record(struct tap *t)
{
	if (!o.write)
		return 0;
	t->out = fopen(o.write, "wbe");
	if (t->out && tap_file_begin(t->out))
		return 0;
	log_err("--write: %s: %s", o.write, strerror(errno));
	return -errno;
}

static int serve(struct tap *t)
{
	const struct sock_perm perm = { .mode = 0600 };
	int rc;

	rc = open_record(t);
	if (rc)
		return rc;
	rc = sock_listen(&t->listen, o.front, &perm);
	if (rc)
		return rc;
	rc = loop_init(&t->loop);
	if (!rc)
		rc = watch_ends(t);
	t->listen_fd = (struct loop_fd){ t->listen.fd, on_listen, t };
	if (!rc)
		rc = loop_fd_add(&t->loop, &t->listen_fd, EPOLLIN);
	if (!rc)
		rc = loop_run(&t->loop);
	if (rc)
		log_err("cannot set up: %s", strerror(-rc));
	loop_fini(&t->loop);
	sock_close(&t->listen);
	return rc;
}

static int tap(void)
{
	static struct tap t;
	unsigned i;
	int rc;

	t.back_path = o.back;
	t.rings = !o.no_rings;
	t.look_ns = o.look_us * NS_PER_US;
	t.stuck_ms = o.stuck_ms;
	t.once = o.once;
	t.lines = !o.write || o.print ? stdout : NULL;
	t.start_ns = tap_now();
	t.look_timer = (struct loop_timer){ .fn = on_look, .ctx = &t };
	for (i = 0; i < TAP_QUEUES; i++)
		t.kick[i].from.fd = t.call[i].from.fd = -1;
	rc = serve(&t);
	if (t.out && fclose(t.out))
		t.failed = true;
	return rc || t.failed ? EXIT_BAD : 0;
}

/* Two words in front are the sockets. Short names, as tcpdump has them. */
static void take_words(int *argc, char ***argv)
{
	int i;

	if (*argc > 2 && (*argv)[1][0] != '-' && (*argv)[2][0] != '-') {
		o.front = (*argv)[1];
		o.back = (*argv)[2];
		*argv += 2;
		*argc -= 2;
	}
	for (i = 1; i < *argc; i++) {
		if (!strcmp((*argv)[i], "-w"))
			(*argv)[i] = "--write";
		else if (!strcmp((*argv)[i], "-r"))
			(*argv)[i] = "--read";
	}
}

int main(int argc, char **argv)
{
	const struct opt_set set = {
		.program = "vireo-tap",
		.summary = "Show or record what passes between a vhost-user front end and a back end.",
		.usage = "FRONT BACK [options] | -r FILE",
		.tables = { options },
	};

	log_init("vireo-tap", LOG_LEVEL_INFO);
	take_words(&argc, &argv);
	switch (opt_parse(&set, argc, argv)) {
	case OPT_OK:
		break;
	case OPT_HELP:
		opt_help(&set);
		return 0;
	case OPT_VERSION:
		printf("vireo-tap %s\n", VIREO_VERSION);
		return 0;
	default:
		return EXIT_USAGE;
	}
	if (o.dissector) {
		dissector_print(stdout);
		return fflush(stdout) ? EXIT_BAD : 0;
	}
	if (o.read)
		return print_record(o.read);
	if (!o.front || !o.back) {
		log_err("between whom? Give the paths FRONT, to listen at, and BACK, to connect to, before the options");
		return EXIT_USAGE;
	}
	return tap();
}
