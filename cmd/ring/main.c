/* SPDX-License-Identifier: MIT */
/*
 * vireo-ring: where rings stand, what is pending and for how long, and why
 * one is stuck. Of a running daemon, or of a record.
 */
#include "ring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"
#include "host/opt.h"

enum { EXIT_STUCK = 1, EXIT_USAGE = 2, EXIT_NOBODY = 3 };

static struct ring_options o = {
	.queue = ALL_QUEUES, .after_ms = 1000, .interval_ms = 200,
	.at_ms = ALL_TIME,
};

static const struct opt options[] = {
	{ .name = "control-path", .type = OPT_STRING, .to = &o.socket,
	  .arg = "PATH",
	  .help = "A daemon's control socket; its path may also stand first.",
	},
	{ .name = "read", .type = OPT_STRING, .to = &o.record, .arg = "FILE",
	  .help = "A record of vireo tap instead." },
	{ .name = "queue", .type = OPT_UINT, .to = &o.queue, .arg = "NUMBER",
	  .max = 65535, .help = "Only this queue." },
	{ .name = "after-ms", .type = OPT_UINT, .to = &o.after_ms,
	  .arg = "TIME", .max = 3600000,
	  .help = "What waits for less is no cause for concern. Default 1000.",
	},
	{ .name = "interval-ms", .type = OPT_UINT, .to = &o.interval_ms,
	  .arg = "TIME", .min = 1, .max = 60000,
	  .help = "Between the two looks at a daemon that tell rest from motion. Default 200.",
	},
	{ .name = "at-ms", .type = OPT_UINT, .to = &o.at_ms, .arg = "TIME",
	  .max = UINT32_MAX - 1,
	  .help = "How a record's rings stood so long after its beginning. By default at its end.",
	},
	{ 0 }
};

static int older_first(const void *a, const void *b)
{
	const struct head *x = a, *y = b;

	return (x->age_ms < y->age_ms) - (x->age_ms > y->age_ms);
}

static void print_want(const char *what, const char *by, enum vio_want want,
		       uint16_t at, bool packed)
{
	printf("%s by %s, ", what, by);
	if (want == VIO_WANT_ALL)
		printf("all wanted");
	else if (want == VIO_WANT_NONE)
		printf("none wanted");
	else if (packed)
		printf("wanted at %u (wrap %u)", at & 0x7fff, at >> 15);
	else
		printf("wanted at %u", at);
}

static void print_ring(const struct shown *s)
{
	static const char *const ways[] = {
		[RING_WAY_NONE] = "nothing", [RING_WAY_FD] = "descriptor",
		[RING_WAY_MESSAGE] = "message", [RING_WAY_POLL] = "polling",
		[RING_WAY_UNKNOWN] = "?",
	};
	const struct ring_state *r = &s->state;

	printf("queue %u: %s, %s, size %u%s%s\n", s->queue, s->mode,
	       r->packed ? "packed" : "split", r->size,
	       r->event_idx ? ", event index" : "",
	       s->in_order ? ", in order" : "");
	if (!r->started)
		return;
	printf("  device: avail %u, used %u", s->avail_base & 0x7fff,
	       s->used_base & 0x7fff);
	if (!r->packed)
		printf("; ring: avail %u", r->avail_idx);
	if (r->untaken >= 0)
		printf("; %" PRId32 " not taken", r->untaken);
	printf("\n  ");
	print_want("kicks", ways[r->kick], r->want_kick, r->kick_at,
		   r->packed);
	printf("; ");
	print_want("calls", ways[r->call], r->want_call, r->call_at,
		   r->packed);
	printf("\n  done %" PRIu64 ", kicks %" PRIu64 ", calls %" PRIu64
	       ", pending %" PRIu32 "\n", s->requests, s->kicks, s->calls,
	       r->pending);
	for (unsigned i = 0; i < s->nr_heads; i++)
		printf("    head %" PRIu32 " for %" PRIu32 " ms%s%s\n",
		       s->head[i].head, s->head[i].age_ms,
		       s->head[i].done ? ", done, waits for an older one" : "",
		       s->head[i].replayed ? ", from a back end that died" :
		       "");
	if (r->pending > s->nr_heads)
		printf("    and %" PRIu32 " more\n",
		       r->pending - s->nr_heads);
}

bool show(const struct ring_options *opt, struct shown *s)
{
	static const char *const grades[] = {
		[RING_FINE] = "fine", [RING_WAITS] = "waits",
		[RING_STUCK] = "STUCK",
	};
	enum ring_grade g;
	char why[256];

	if (opt->queue != ALL_QUEUES && opt->queue != s->queue)
		return false;
	qsort(s->head, s->nr_heads, sizeof(s->head[0]), older_first);
	if (s->nr_heads) {
		s->state.oldest_head = (uint16_t)s->head[0].head;
		s->state.oldest_ms = s->head[0].age_ms;
	}
	g = ring_diagnose(&s->state, opt->after_ms, why, sizeof(why));
	print_ring(s);
	printf("  %s: %s\n", grades[g], why);
	return g == RING_STUCK;
}

int main(int argc, char **argv)
{
	const struct opt_set set = {
		.program = "vireo-ring",
		.summary = "Say where rings stand, what is pending, and why one is stuck.",
		.usage = "CONTROL-SOCKET [DEVICE] [options] | -r FILE [options]",
		.tables = { options },
	};
	int rc, i;

	log_init("vireo-ring", LOG_LEVEL_INFO);
	if (argc > 1 && argv[1][0] != '-') {
		o.socket = *++argv;
		argc--;
	}
	if (o.socket && argc > 1 && argv[1][0] != '-') {
		o.device = *++argv;
		argc--;
	}
	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], "-r"))
			argv[i] = "--read";
	switch (opt_parse(&set, argc, argv)) {
	case OPT_OK:
		break;
	case OPT_HELP:
		opt_help(&set);
		return 0;
	case OPT_VERSION:
		printf("vireo-ring %s\n", VIREO_VERSION);
		return 0;
	default:
		return EXIT_USAGE;
	}
	if (!o.socket == !o.record) {
		log_err("give either the path of a daemon's control socket, or -r FILE");
		return EXIT_USAGE;
	}
	rc = o.record ? show_record(&o) : show_live(&o);
	if (rc < 0)
		return EXIT_NOBODY;
	return rc ? EXIT_STUCK : 0;
}
