/* SPDX-License-Identifier: MIT */
/*
 * The insides of vireo-probe, shared by its parts: main.c (options), peer.c
 * (sessions with a back end), survey.c (what it is), smoke.c (does it work),
 * rules.c (does it keep to the rules), report.c (what is told).
 */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include <sys/types.h>
#include <vireo/vhu_client.h>
#include <vireo/vhu_msg.h>

#include "host/text.h"
#include "types.h"
#include "vhost/sock.h"

enum verdict {
	V_OK,
	V_BREACH,	/* contrary to a rule that must be kept */
	V_NOTE,		/* permitted, but worth to know */
	V_NONE,		/* does not apply: a feature is not offered */
	V_UNTRIED,	/* could not be tried; the text says why */
	V_VERDICTS
};

struct finding {
	const char *id;		/* a clause, or a rule of the protocol */
	enum verdict verdict;
	char text[160];
};

#define FINDINGS_MAX	96
#define CONFIG_BYTES	256u	/* of the configuration that are looked at */

struct probe {
	/* Options. */
	const char *path;
	const char *start;	/* command that starts a back end, or NULL */
	const struct type *type;
	bool type_given, destructive, json, rules;
	int timeout_ms;

	pid_t pid;		/* of what @start started; 0: none */
	int crash_signal;	/* that it died of; 0: none yet */

	/* The survey. */
	uint64_t features, protocol;
	unsigned queues;	/* 0: it does not say */
	unsigned mem_slots;	/* likewise */
	unsigned char config[CONFIG_BYTES];
	size_t config_len;

	unsigned nr_findings, nr[V_VERDICTS];
	struct finding finding[FINDINGS_MAX];
	bool smoke_tried, smoke_good;
	struct text smoke;	/* lines */
};

static inline bool has_pf(const struct probe *p, unsigned bit)
{
	return p->protocol >> bit & 1;
}

static inline bool has_f(const struct probe *p, unsigned bit)
{
	return p->features >> bit & 1;
}

/* -- report.c ------------------------------------------------------------- */

void found(struct probe *p, const char *id, enum verdict verdict,
	   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void report_text(const struct probe *p);
void report_json(const struct probe *p);
/* One line on standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* -- peer.c: raw sessions, in which anything can be said ------------------ */

struct peer {
	struct vhu_sock sock;
	struct vhu_msg out;
	int timeout_ms;
	bool ack;		/* REPLY_ACK is in force */
};

/* A connection to the back end, started where --start says how. -errno. */
int peer_connect(struct probe *p);
/* Take notice of its death, if it died of the session that has ended. */
void peer_settle(struct probe *p);
/* End what was started. */
void peer_finish(struct probe *p);

int peer_open(struct probe *p, struct peer *s);
void peer_close(struct peer *s);
/* As peer_open(), and REPLY_ACK, CONFIG and MQ are agreed on, where offered,
 * and all features but LOG_ALL and ACCESS_PLATFORM. */
int peer_open_ready(struct probe *p, struct peer *s);

/* Send s->out. 0 or -errno; -EPIPE and the like: it hung up. */
int peer_send(struct peer *s);
/* The next message in s->sock.in: 1, 0 for none in time, or -errno. */
int peer_receive(struct peer *s);
/* Send s->out, receive its own answer: 0 or -errno. */
int peer_ask(struct peer *s);
int peer_ask_u64(struct peer *s, uint32_t request, uint64_t *v);

/* How a request that has no answer of its own was taken. */
enum taken {
	TAKEN,			/* acknowledged with 0 */
	TAKEN_REFUSED,		/* acknowledged, but not with 0 */
	TAKEN_CLOSED,		/* it hung up */
	TAKEN_IGNORED,		/* no acknowledgement, but it goes on */
	TAKEN_SILENT,		/* says nothing any more */
};

/* Send s->out with NEED_REPLY where that is in force. */
enum taken peer_tell(struct peer *s);
const char *taken_text(enum taken t);

/* -- the three examinations ----------------------------------------------- */

/* 0 or -errno: it does not even talk. */
int survey(struct probe *p);
void smoke(struct probe *p);
void check_rules(struct probe *p);

#endif
