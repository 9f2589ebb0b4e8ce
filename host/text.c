/* SPDX-License-Identifier: MIT */
/* Text with a bound: see text.h. */
#include "host/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_init(struct text *t, size_t max)
{
	memset(t, 0, sizeof(*t));
	t->max = max;
}

void text_free(struct text *t)
{
	free(t->p);
	text_init(t, t->max);
}

void text_clear(struct text *t)
{
	t->len = 0;
	t->failed = false;
	if (t->p)
		t->p[0] = 0;
}

const char *text_str(const struct text *t)
{
	return t->p ? t->p : "";
}

/* Room for @len more bytes and the zero. */
static bool reserve(struct text *t, size_t len)
{
	size_t room;
	char *p;

	if (t->failed || len > t->max - t->len) {
		t->failed = true;
		return false;
	}
	if (len < t->room - t->len)
		return true;
	room = (t->len + len + 1) * 2;
	if (room > t->max + 1)
		room = t->max + 1;
	p = realloc(t->p, room);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *bytes, size_t len)
{
	if (!reserve(t, len))
		return;
	memcpy(t->p + t->len, bytes, len);
	t->len += len;
	t->p[t->len] = 0;
}

void text_fmt(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !reserve(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(t->p + t->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	t->len += (size_t)n;
}

void text_json(struct text *t, const char *s)
{
	text_add(t, "\"", 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			text_fmt(t, "\\%c", c);
		else if (c < 0x20)
			text_fmt(t, "\\u%04x", c);
		else if (c < 0x7f)
			text_add(t, s, 1);
		else
			text_add(t, "?", 1);
	}
	text_add(t, "\"", 1);
}

void text_comma(struct text *t)
{
	char last = t->len ? t->p[t->len - 1] : '{';

	if (last != '{' && last != '[')
		text_add(t, ",", 1);
}

void text_key(struct text *t, const char *name)
{
	text_comma(t);
	text_json(t, name);
	text_add(t, ":", 1);
}

void text_member_u64(struct text *t, const char *name, uint64_t v)
{
	text_key(t, name);
	text_fmt(t, "%" PRIu64, v);
}

void text_member_bool(struct text *t, const char *name, bool v)
{
	text_key(t, name);
	text_fmt(t, "%s", v ? "true" : "false");
}

void text_member_str(struct text *t, const char *name, const char *v)
{
	text_key(t, name);
	text_json(t, v);
}
