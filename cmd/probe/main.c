/* SPDX-License-Identifier: MIT */
/*
 * vireo-probe: what is behind a vhost-user socket, does it work, and does it
 * keep to the rules. Anybody's back end.
 */
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/log.h"
#include "host/opt.h"

enum { EXIT_BAD = 1, EXIT_USAGE = 2, EXIT_NOBODY = 3 };

static struct {
	const char *socket, *type, *start;
	unsigned timeout_ms;
	bool destructive, json, no_smoke, rules;
} o = { .timeout_ms = 2000 };

static const struct opt options[] = {
	{ .name = "socket-path", .type = OPT_STRING, .to = &o.socket,
	  .arg = "PATH",
	  .help = "The back end's socket; its path may also stand first." },
	{ .name = "type", .type = OPT_STRING, .to = &o.type, .arg = "NAME",
	  .help = "What the device is: rng, blk, net, ... By default it is guessed.",
	},
	{ .name = "start", .type = OPT_STRING, .to = &o.start,
	  .arg = "COMMAND",
	  .help = "Start the back end by this, whenever nobody listens: for those that end with their front end.",
	},
	{ .name = "destructive", .type = OPT_FLAG, .to = &o.destructive,
	  .help = "Write as well: to the disk's last block (and restore it), a line to the console, a frame to the network.",
	},
	{ .name = "no-smoke", .type = OPT_FLAG, .to = &o.no_smoke,
	  .help = "Do not drive the device." },
	{ .name = "rules", .type = OPT_FLAG, .to = &o.rules,
	  .help = "Try wrong messages too. Some back ends do not survive that.",
	},
	{ .name = "timeout-ms", .type = OPT_UINT, .to = &o.timeout_ms,
	  .arg = "TIME", .min = 1, .max = 600000,
	  .help = "How long to wait for an answer. Default 2000." },
	{ .name = "json", .type = OPT_FLAG, .to = &o.json,
	  .help = "Report as one JSON object." },
	{ 0 }
};

/* Returns a negative number to go on, else the exit code. */
static int read_options(int argc, char **argv)
{
	const struct opt_set set = {
		.program = "vireo-probe",
		.summary = "Say what device is behind a vhost-user socket, whether it works, and whether it keeps to the rules.",
		.usage = "PATH [options]",
		.tables = { options },
	};

	/* The socket's path may stand first, without its name. */
	if (argc > 1 && argv[1][0] != '-') {
		o.socket = *++argv;
		argc--;
	}
	switch (opt_parse(&set, argc, argv)) {
	case OPT_OK:
		break;
	case OPT_HELP:
		opt_help(&set);
		return 0;
	case OPT_VERSION:
		printf("vireo-probe %s\n", VIREO_VERSION);
		return 0;
	default:
		return EXIT_USAGE;
	}
	if (!o.socket) {
		complain("which back end? Give the path of its socket");
		return EXIT_USAGE;
	}
	return -1;
}

static int set_type(struct probe *p)
{
	char names[256];

	if (!o.type)
		return 0;
	p->type = type_by_name(o.type);
	p->type_given = true;
	if (p->type)
		return 0;
	type_list(names, sizeof(names));
	complain("--type: no type '%s'; there are%s", o.type, names);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static struct probe p;
	int rc;

	log_init("vireo-probe", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	rc = read_options(argc, argv);
	if (rc >= 0)
		return rc;
	p.path = o.socket;
	p.start = o.start;
	p.destructive = o.destructive;
	p.rules = o.rules;
	p.timeout_ms = (int)o.timeout_ms;
	text_init(&p.smoke, 65536);
	if (set_type(&p))
		return EXIT_USAGE;
	rc = survey(&p);
	if (rc) {
		complain("%s: %s; does a vhost-user back end listen there, and has it no other front end?",
			 p.path, strerror(-rc));
		peer_finish(&p);
		return EXIT_NOBODY;
	}
	if (!o.no_smoke)
		smoke(&p);
	check_rules(&p);
	peer_finish(&p);
	if (o.json)
		report_json(&p);
	else
		report_text(&p);
	text_free(&p.smoke);
	return p.nr[V_BREACH] || (p.smoke_tried && !p.smoke_good) ?
		EXIT_BAD : 0;
}
