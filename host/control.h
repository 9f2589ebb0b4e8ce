/* SPDX-License-Identifier: MIT */
/*
 * A control socket: lines of words come in, one answer a line goes out. It
 * knows neither devices nor rings: what it can be told is a table of commands,
 * to which each program adds its own.
 *
 * A line is a command and its words, separated by blanks, of at most
 * CONTROL_LINE_MAX bytes. The answer is one line of JSON,
 *	{"ok":true,"result":...}	or	{"ok":false,"error":"..."}
 * save that a raw command's text is sent as it is, and says itself where it
 * ends ("# EOF" of OpenMetrics).
 *
 * Clients are not trusted to be quick, few or polite: connections, the length
 * of lines and of answers, and the commands a second are bounded, and one
 * command is done at a time before everything else has its turn.
 */
#ifndef HOST_CONTROL_H
#define HOST_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "host/loop.h"
#include "host/sock.h"
#include "host/text.h"

#define CONTROL_LINE_MAX	4096u
#define CONTROL_WORDS_MAX	32u
#define CONTROL_ANSWER_MAX	(1u << 20)
#define CONTROL_CLIENTS_MAX	8u
#define CONTROL_TABLES		3u
#define CONTROL_FILES_MAX	4u	/* descriptors with one command */
/* Commands of one client, and new clients: so many a second, after a burst. */
#define CONTROL_RATE		100u
#define CONTROL_BURST		32u

struct control_command {
	const char *name;
	const char *args;	/* for help: "on|off"; "" takes none */
	const char *help;
	unsigned min_args, max_args;
	bool raw;		/* @out is no JSON, and ends by itself */
	/*
	 * Do it, on the control thread. Returns 0 with the result, a JSON
	 * value, in @out (nothing: null), or -errno with a sentence for
	 * people in @out.
	 */
	int (*run)(void *ctx, unsigned nr_args, char **args,
		   struct text *out);
};

/*
 * Each table ends with a NULL name; unused tables are NULL. Where there is a
 * @pick, the commands of the table are about one of several: their first
 * argument is its name, from which @pick makes their context; NULL: there is
 * none. A command may stand in several tables with as many arguments each.
 */
struct control_set {
	const struct control_command *table[CONTROL_TABLES];
	void *ctx[CONTROL_TABLES];
	void *(*pick[CONTROL_TABLES])(void *ctx, const char *name);
};

/*
 * One line, without its end, becomes an answer with its end in @out. @line is
 * cut into words in place. Bytes that are no printable ASCII are an error.
 */
void control_answer(const struct control_set *set, char *line,
		    struct text *out);

/*
 * Within a command: the next descriptor that came with it (SCM_RIGHTS), which
 * is the caller's from then on; -1: there is none. What is not taken is
 * closed.
 */
int control_take_file(void);

/* -- the socket ------------------------------------------------------------ */

struct control;

/* How many may still come, and since when that is so. */
struct control_bucket {
	uint64_t at_ns;
	unsigned tokens;
};

struct control_client {
	struct control *control;
	struct loop_fd fd;	/* fd -1: no client */
	struct loop_call again;	/* more lines are there */
	struct loop_timer timer;	/* until there are tokens */
	struct control_bucket bucket;
	uint64_t used_ns;	/* when it was last heard of */
	bool ended;		/* it sends no more */
	bool failed;		/* it broke the rules: answer, then close */
	char in[CONTROL_LINE_MAX + 1];
	unsigned in_len;
	int file[CONTROL_FILES_MAX];	/* that came with what is in @in */
	unsigned nr_files;
	struct text out;
	size_t out_sent;
};

struct control {
	struct loop *loop;
	struct control_set set;
	struct sock sock;
	struct loop_fd listen_fd;
	struct loop_timer timer;
	struct control_bucket bucket;
	struct control_client client[CONTROL_CLIENTS_MAX];
};

/*
 * Make the socket at @path, for its owner alone (mode 0600). The path is the
 * one after "--control-path=". 0, or -errno after an error line.
 */
int control_open(struct control *c, const char *path);
/* The same with a socket that listens there already, which is taken over. */
int control_adopt(struct control *c, const char *path, int fd);
/* Serve it on a loop, from which all commands are run. */
int control_start(struct control *c, struct loop *loop,
		  const struct control_set *set);
/* The opposite of both. Fine when neither was done, if *c was zeroed. */
void control_close(struct control *c);

#endif
