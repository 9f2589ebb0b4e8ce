/* SPDX-License-Identifier: MIT */
/*
 * What a guest says: lines meant for us among the rest, and the last words
 * of a kernel that panics. Pure text, no descriptors.
 */
#ifndef VIREO_OUTPUT_H
#define VIREO_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

enum {
	OUTPUT_LINE = 256,
	OUTPUT_TAIL = 12,
};

/*
 * Takes "<RS>@TOKEN text\n" out of a stream of bytes. The record separator
 * is rare in what people print, so next to nothing is held back.
 */
struct filter {
	char mark[32];		/* "<RS>@TOKEN " */
	size_t matched;
	bool in_line;
	char line[OUTPUT_LINE];
	size_t len;
	void (*told)(void *arg, char *line);
	void (*raw)(void *arg, const char *data, size_t len);
	void *arg;
};

void filter_init(struct filter *f, const char *token);
void filter_feed(struct filter *f, const char *data, size_t len);
void filter_flush(struct filter *f);

/* Remembers the last lines of a log, and a panic in it. */
struct tail {
	char lines[OUTPUT_TAIL][OUTPUT_LINE];
	unsigned int n;		/* lines so far, free-running */
	char line[OUTPUT_LINE];
	size_t len;
	char panic[OUTPUT_LINE];
};

void tail_feed(struct tail *t, const char *data, size_t len);

/* The last line that is not empty, "" when there is none. */
const char *tail_last(const struct tail *t);

#endif
