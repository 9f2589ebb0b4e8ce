/* SPDX-License-Identifier: MIT */
/*
 * Finds the lines that are meant for us in what a guest prints, and the
 * panic of its kernel. The guest is not trusted with more than text: lines
 * are cut, control bytes in what we may print again become dots.
 */
#include "output.h"

#include <stdio.h>
#include <string.h>

static const char panic_mark[] = "Kernel panic - not syncing: ";

void filter_init(struct filter *f, const char *token)
{
	snprintf(f->mark, sizeof(f->mark), "\036@%s ", token);
	f->matched = 0;
}

static void pass_matched(struct filter *f)
{
	if (f->matched)
		f->raw(f->arg, f->mark, f->matched);
	f->matched = 0;
}

static void take_line(struct filter *f, char c)
{
	if (c == '\n') {
		f->line[f->len] = '\0';
		f->in_line = false;
		f->len = 0;
		f->told(f->arg, f->line);
	} else if (f->len < sizeof(f->line) - 1) {
		f->line[f->len++] = c < ' ' || c > '~' ? '.' : c;
	}
}

/*
 * The mark has its first byte nowhere else in it, so a mismatch can only
 * start a match anew at the byte at hand.
 */
static bool take_mark(struct filter *f, char c)
{
	if (c != f->mark[f->matched])
		pass_matched(f);
	if (c != f->mark[f->matched])
		return false;
	f->matched++;
	if (!f->mark[f->matched]) {
		f->matched = 0;
		f->in_line = true;
	}
	return true;
}

void filter_feed(struct filter *f, const char *data, size_t len)
{
	size_t plain = 0;

	for (size_t i = 0; i < len; i++) {
		if (f->in_line) {
			take_line(f, data[i]);
			plain = i + 1;
			continue;
		}
		/* Bytes before must leave before the held ones do. */
		if (data[i] == f->mark[0] && i > plain) {
			pass_matched(f);
			f->raw(f->arg, data + plain, i - plain);
			plain = i;
		}
		if (take_mark(f, data[i]))
			plain = i + 1;
	}
	if (len > plain)
		f->raw(f->arg, data + plain, len - plain);
}

void filter_flush(struct filter *f)
{
	pass_matched(f);
}

static void end_line(struct tail *t)
{
	char *to = t->lines[t->n % OUTPUT_TAIL];
	const char *at;

	t->line[t->len] = '\0';
	if (!t->len)
		return;
	memcpy(to, t->line, t->len + 1);
	t->n++;
	at = strstr(t->line, panic_mark);
	if (at && !t->panic[0])
		snprintf(t->panic, sizeof(t->panic), "%s",
			 at + strlen(panic_mark));
	t->len = 0;
}

void tail_feed(struct tail *t, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (c == '\n')
			end_line(t);
		else if (c != '\r' && t->len < sizeof(t->line) - 1)
			t->line[t->len++] = c < ' ' || c > '~' ? '.' : c;
	}
}

const char *tail_last(const struct tail *t)
{
	return t->n ? t->lines[(t->n - 1) % OUTPUT_TAIL] : "";
}
