/* SPDX-License-Identifier: MIT */
/*
 * Text that grows up to a bound, and strings and numbers in it as JSON has
 * them. A text that would grow past its bound, or for which there is no
 * memory, is `failed` and stays as it is: look once, at the end.
 */
#ifndef HOST_TEXT_H
#define HOST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *p;		/* ends with a zero byte; NULL while empty */
	size_t len, room;
	size_t max;		/* bytes, without the zero */
	bool failed;
};

void text_init(struct text *t, size_t max);
void text_free(struct text *t);
/* Empty again; the memory is kept. */
void text_clear(struct text *t);
/* What it holds, "" if nothing. */
const char *text_str(const struct text *t);

void text_add(struct text *t, const char *bytes, size_t len);
void text_fmt(struct text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes; what is not ASCII becomes '?'. */
void text_json(struct text *t, const char *s);
/* A comma, unless an array or object has just begun. */
void text_comma(struct text *t);
/* text_comma(), "name": */
void text_key(struct text *t, const char *name);
/* Members of an object. */
void text_member_u64(struct text *t, const char *name, uint64_t v);
void text_member_bool(struct text *t, const char *name, bool v);
void text_member_str(struct text *t, const char *name, const char *v);

#endif
