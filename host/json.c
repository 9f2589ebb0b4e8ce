/* SPDX-License-Identifier: MIT */
/* Reading JSON in place: see json.h. */
#include "host/json.h"

#include <stdlib.h>
#include <string.h>

static const char *blanks(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* Behind a string; NULL if it has no end. */
static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : NULL;
}

/* Behind a value; NULL if it has no end. Depth costs no stack. */
static const char *skip(const char *p)
{
	unsigned depth = 0;

	p = blanks(p);
	do {
		if (*p == '"') {
			p = skip_string(p);
			if (!p)
				return NULL;
		} else if (*p == '{' || *p == '[') {
			depth++;
			p++;
		} else if (*p == '}' || *p == ']') {
			if (!depth--)
				return NULL;
			p++;
		} else if (*p == ',' || *p == ':') {
			if (!depth)
				return NULL;
			p++;
		} else {
			size_t n = strcspn(p, ",:{}[]\" \t\r\n");

			if (!n)
				return NULL;
			p += n;
		}
		p = blanks(p);
	} while (depth);
	return p;
}

const char *json_member(const char *object, const char *name)
{
	size_t len = strlen(name);
	const char *p, *key, *end;

	if (!object)
		return NULL;
	p = blanks(object);
	if (*p != '{')
		return NULL;
	for (p = blanks(p + 1); *p == '"'; p = blanks(p + 1)) {
		key = p + 1;
		end = skip_string(p);
		if (!end)
			return NULL;
		p = blanks(end);
		if (*p != ':')
			return NULL;
		p = blanks(p + 1);
		if ((size_t)(end - 1 - key) == len && !memcmp(key, name, len))
			return p;
		p = skip(p);
		if (!p || *p != ',')
			return NULL;
	}
	return NULL;
}

const char *json_first(const char *array)
{
	const char *p = array ? blanks(array) : "";

	if (*p != '[')
		return NULL;
	p = blanks(p + 1);
	return *p && *p != ']' ? p : NULL;
}

const char *json_next(const char *element)
{
	const char *p = skip(element);

	return p && *p == ',' ? blanks(p + 1) : NULL;
}

uint64_t json_u64(const char *object, const char *name, uint64_t other)
{
	const char *p = json_member(object, name);

	return p && *p >= '0' && *p <= '9' ? strtoull(p, NULL, 10) : other;
}

bool json_bool(const char *object, const char *name)
{
	const char *p = json_member(object, name);

	return p && !strncmp(p, "true", 4);
}

void json_str(const char *object, const char *name, char *out, size_t len)
{
	const char *p = json_member(object, name), *end;
	size_t n;

	*out = 0;
	if (!p || *p != '"')
		return;
	end = skip_string(p);
	if (!end)
		return;
	n = (size_t)(end - p) - 2;
	n = n < len - 1 ? n : len - 1;
	memcpy(out, p + 1, n);
	out[n] = 0;
}
