/* SPDX-License-Identifier: MIT */
/* A line for the control socket becomes an answer: see control.h. */
#include "host/control.h"

#include <errno.h>
#include <string.h>

/* Cut at blanks. Returns how many words, or negative errno. */
static int split(char *line, char **word)
{
	int n = 0;
	char *at = line;

	for (; *at; at++)
		if (*at != '\t' && (*at < 0x20 || *at > 0x7e))
			return -EILSEQ;
	for (at = line; *at;) {
		size_t blanks = strspn(at, " \t");

		memset(at, 0, blanks);
		at += blanks;
		if (!*at)
			break;
		if (n == (int)CONTROL_WORDS_MAX)
			return -E2BIG;
		word[n++] = at;
		at += strcspn(at, " \t");
	}
	return n;
}

/* A command by its name and how many words follow it. */
struct found {
	const struct control_command *c;	/* NULL: no such name */
	unsigned table;
	unsigned names;		/* words before its own arguments */
	bool fits;		/* it takes so many arguments */
};

static struct found find(const struct control_set *set, const char *name,
			 unsigned args)
{
	struct found f = { .c = NULL };
	const struct control_command *c;
	unsigned i, names;

	for (i = 0; i < CONTROL_TABLES && !f.fits; i++)
		for (c = set->table[i]; c && c->name; c++) {
			if (strcmp(c->name, name))
				continue;
			names = set->pick[i] ? 1 : 0;
			f = (struct found){
				.c = c, .table = i, .names = names,
				.fits = args >= names &&
					args - names >= c->min_args &&
					args - names <= c->max_args,
			};
			break;
		}
	return f;
}

static void refuse(struct text *out, const char *why)
{
	text_clear(out);
	text_fmt(out, "{\"ok\":false");
	text_member_str(out, "error", why);
	text_fmt(out, "}\n");
}

static void add_help(const struct control_set *set, struct text *out)
{
	const struct control_command *c;
	unsigned i;

	text_add(out, "[", 1);
	for (i = 0; i < CONTROL_TABLES; i++)
		for (c = set->table[i]; c && c->name; c++) {
			text_comma(out);
			text_add(out, "{", 1);
			text_member_str(out, "command", c->name);
			text_key(out, "arguments");
			text_fmt(out, "\"%s%s%s\"",
				 set->pick[i] ? "NAME" : "",
				 set->pick[i] && *c->args ? " " : "", c->args);
			text_member_str(out, "help", c->help);
			text_add(out, "}", 1);
		}
	text_add(out, "]", 1);
}

static int run(const struct control_set *set, unsigned n, char **word,
	       struct text *out, bool *raw)
{
	struct found f;
	void *ctx;

	*raw = false;
	if (!n) {
		text_fmt(out, "an empty line; 'help' lists the commands");
		return -EINVAL;
	}
	if (!strcmp(word[0], "help")) {
		add_help(set, out);
		return 0;
	}
	f = find(set, word[0], n - 1);
	if (!f.c) {
		text_fmt(out, "no command '%s'; 'help' lists them", word[0]);
		return -EINVAL;
	}
	if (!f.fits) {
		text_fmt(out, "'%s' takes %s%s%s", f.c->name,
			 f.names ? "NAME" : "",
			 f.names && *f.c->args ? " " : "",
			 *f.c->args || f.names ? f.c->args : "no arguments");
		return -EINVAL;
	}
	ctx = set->ctx[f.table];
	if (f.names)
		ctx = set->pick[f.table](ctx, word[1]);
	if (!ctx && f.names) {
		text_fmt(out, "there is no '%s'; 'list' tells what there is",
			 word[1]);
		return -ENOENT;
	}
	*raw = f.c->raw;
	return f.c->run(ctx, n - 1 - f.names, word + 1 + f.names, out);
}

void control_answer(const struct control_set *set, char *line,
		    struct text *out)
{
	char *word[CONTROL_WORDS_MAX];
	struct text result;
	bool raw = false;
	int rc;

	text_init(&result, CONTROL_ANSWER_MAX - 64);
	text_clear(out);
	rc = split(line, word);
	if (rc == -EILSEQ)
		text_fmt(&result, "the line has bytes that are not printable");
	else if (rc == -E2BIG)
		text_fmt(&result, "the line has too many words");
	else
		rc = run(set, (unsigned)rc, word, &result, &raw);
	if (result.failed)
		refuse(out, "the answer is too long, or there is no memory");
	else if (rc < 0)
		refuse(out, result.len ? text_str(&result) : strerror(-rc));
	else if (raw)
		text_add(out, text_str(&result), result.len);
	else
		text_fmt(out, "{\"ok\":true,\"result\":%s}\n",
			 result.len ? text_str(&result) : "null");
	text_free(&result);
}
