/* SPDX-License-Identifier: MIT */
/* Options from a table: see opt.h. */
#include "host/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"

/* Options that every program has; only for the hint and the help. */
static const struct opt common[] = {
	{ .name = "help", .type = OPT_FLAG, .help = "Print this help." },
	{ .name = "version", .type = OPT_FLAG,
	  .help = "Print the version." },
	{ 0 },
};

static int number(const char *text, int base, const char **end, uint64_t *v)
{
	char *e;

	/* strtoull() would take "-1" and leading blanks. */
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, &e, base);
	*end = e;
	return errno ? -ERANGE : 0;
}

int opt_size(const char *text, uint64_t *bytes)
{
	static const char suffix[] = "KMGT";
	const char *end, *s;
	unsigned shift = 0;
	uint64_t v;
	int rc;

	rc = number(text, 10, &end, &v);
	if (rc)
		return rc;
	if (*end) {
		s = strchr(suffix, *end >= 'a' ? *end - 32 : *end);
		if (!s || !*s || end[1])
			return -EINVAL;
		shift = 10 * (unsigned)(s - suffix + 1);
	}
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = v << shift;
	return 0;
}

/* Edits that lead from @a to @b; long names are cut. */
static unsigned distance(const char *a, const char *b)
{
	enum { MAX = 32 };
	unsigned row[MAX + 1], i, j, diag, up, best;
	size_t la = strnlen(a, MAX), lb = strnlen(b, MAX);

	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		diag = row[0];
		row[0] = i;
		for (j = 1; j <= lb; j++) {
			up = row[j];
			best = diag + (a[i - 1] != b[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diag = up;
		}
	}
	return row[lb];
}

static const struct opt *find_in(const struct opt *t, const char *name,
				 size_t len)
{
	for (; t && t->name; t++)
		if (strlen(t->name) == len && !memcmp(t->name, name, len))
			return t;
	return NULL;
}

static void nearest_in(const struct opt *t, const char *name,
		       const char **best, unsigned *d)
{
	for (; t && t->name; t++) {
		unsigned n = distance(name, t->name);

		/* A mere beginning of the name is a good guess as well. */
		if (!strncmp(name, t->name, strlen(name)) && n > 1)
			n = 1;
		if (n < *d) {
			*d = n;
			*best = t->name;
		}
	}
}

static int unknown(const struct opt_set *set, const char *arg)
{
	const char *best = NULL;
	unsigned d = 4, i;
	char name[64];
	size_t len;

	if (strncmp(arg, "--", 2)) {
		log_err("unexpected argument '%s'; see %s --help", arg,
			set->program);
		return -EINVAL;
	}
	len = strcspn(arg + 2, "=");
	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, arg + 2, len);
	name[len] = 0;
	for (i = 0; i < OPT_TABLES; i++)
		nearest_in(set->tables[i], name, &best, &d);
	nearest_in(common, name, &best, &d);
	if (best)
		log_err("unknown option '--%s'; did you mean '--%s'?", name,
			best);
	else
		log_err("unknown option '--%s'; see %s --help", name,
			set->program);
	return -EINVAL;
}

static int bad_choice(const struct opt *o, const char *value)
{
	char list[256] = "";
	size_t n = 0;
	unsigned i;

	for (i = 0; o->choices[i] && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      i ? ", " : "", o->choices[i]);
	log_err("--%s: '%s' is none of: %s", o->name, value, list);
	return -EINVAL;
}

static int bad_range(const struct opt *o, const char *value)
{
	uint64_t most = o->type == OPT_SIZE ? UINT64_MAX : UINT32_MAX;

	log_err("--%s: %s is outside %llu..%llu", o->name, value,
		(unsigned long long)o->min,
		(unsigned long long)(o->max ? o->max : most));
	return -EINVAL;
}

static int store_number(const struct opt *o, const char *value)
{
	const char *end;
	uint64_t v;
	int rc;

	if (o->type == OPT_SIZE) {
		rc = opt_size(value, &v);
	} else {
		rc = number(value, o->type == OPT_OCTAL ? 8 : 10, &end, &v);
		if (!rc && *end)
			rc = -EINVAL;
	}
	if (rc == -EINVAL) {
		log_err("--%s: '%s' is no %s", o->name, value,
			o->type == OPT_SIZE ? "size; examples: 512K 256M 1G" :
			o->type == OPT_OCTAL ? "octal mode; example: 0660" :
			"number");
		return rc;
	}
	if (rc || v < o->min || (o->max && v > o->max) ||
	    (o->type != OPT_SIZE && v > UINT32_MAX))
		return bad_range(o, value);
	if (o->type == OPT_SIZE)
		*(uint64_t *)o->to = v;
	else
		*(unsigned *)o->to = (unsigned)v;
	return 0;
}

static int store_item(const struct opt *o, const char *value)
{
	struct opt_list *list = o->to;

	if (list->n == OPT_LIST_MAX) {
		log_err("--%s: at most %d of them", o->name, OPT_LIST_MAX);
		return -E2BIG;
	}
	list->v[list->n++] = value;
	return 0;
}

static int store(const struct opt *o, const char *value)
{
	unsigned i;

	switch (o->type) {
	case OPT_STRING:
		*(const char **)o->to = value;
		return 0;
	case OPT_CHOICE:
		for (i = 0; o->choices[i]; i++)
			if (!strcmp(o->choices[i], value)) {
				*(unsigned *)o->to = i;
				return 0;
			}
		return bad_choice(o, value);
	case OPT_LIST:
		return store_item(o, value);
	default:
		return store_number(o, value);
	}
}

/* What it is in all tables, or NULL. */
static const struct opt *find(const struct opt_set *set, const char *name,
			      size_t len)
{
	const struct opt *o = NULL;
	unsigned t;

	for (t = 0; t < OPT_TABLES && !o; t++)
		o = find_in(set->tables[t], name, len);
	return o;
}

/* One option at argv[*i]; moves *i past a separate value. */
static int parse_one(const struct opt_set *set, int argc, char **argv, int *i)
{
	const char *arg = argv[*i], *value;
	const struct opt *o;
	size_t len;

	if (strncmp(arg, "--", 2) || !arg[2])
		return unknown(set, arg);
	len = strcspn(arg + 2, "=");
	o = find(set, arg + 2, len);
	if (!o)
		return unknown(set, arg);
	value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
	if (o->type == OPT_FLAG) {
		if (value) {
			log_err("--%s takes no value", o->name);
			return -EINVAL;
		}
		*(bool *)o->to = true;
		return 0;
	}
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value) {
		log_err("--%s needs a value: --%s=%s", o->name, o->name,
			o->arg ? o->arg : "VALUE");
		return -EINVAL;
	}
	return store(o, value);
}

int opt_set(const struct opt_set *set, const char *name, const char *value)
{
	const struct opt *o = find(set, name, strlen(name));
	char arg[64];

	if (!o) {
		snprintf(arg, sizeof(arg), "--%s", name);
		return unknown(set, arg);
	}
	if (o->type == OPT_FLAG) {
		*(bool *)o->to = !value || !strcmp(value, "yes");
		if (!value || !strcmp(value, "yes") || !strcmp(value, "no"))
			return 0;
		log_err("--%s: '%s' is neither 'yes' nor 'no'", name, value);
		return -EINVAL;
	}
	if (value && *value)
		return store(o, value);
	log_err("--%s needs a value, such as %s", name,
		o->arg ? o->arg : "VALUE");
	return -EINVAL;
}

int opt_parse(const struct opt_set *set, int argc, char **argv)
{
	int i, rc;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return OPT_HELP;
		if (!strcmp(argv[i], "--version"))
			return OPT_VERSION;
		rc = parse_one(set, argc, argv, &i);
		if (rc)
			return rc;
	}
	return OPT_OK;
}

/* The sentence, folded behind the column of names. */
static void help_text(const char *text, int indent)
{
	enum { WIDTH = 78 };
	int col = indent;
	size_t word;

	while (*text) {
		word = strcspn(text, " ");
		if (col > indent && col + 1 + (int)word > WIDTH) {
			printf("\n%*s", indent, "");
			col = indent;
		} else if (col > indent) {
			putchar(' ');
			col++;
		}
		printf("%.*s", (int)word, text);
		col += (int)word;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void help_table(const struct opt *t)
{
	enum { COLUMN = 30 };
	char left[80];

	for (; t && t->name; t++) {
		if (t->type == OPT_FLAG)
			snprintf(left, sizeof(left), "  --%s", t->name);
		else
			snprintf(left, sizeof(left), "  --%s=%s", t->name,
				 t->arg ? t->arg : "VALUE");
		if (strlen(left) >= COLUMN)
			printf("%s\n%*s", left, COLUMN, "");
		else
			printf("%-*s", COLUMN, left);
		help_text(t->help, COLUMN);
	}
}

void opt_help(const struct opt_set *set)
{
	unsigned i;

	printf("usage: %s %s\n\n%s\n\n", set->program,
	       set->usage ? set->usage : "[options]", set->summary);
	for (i = 0; i < OPT_TABLES; i++)
		help_table(set->tables[i]);
	help_table(common);
}
