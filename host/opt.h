/* SPDX-License-Identifier: MIT */
/*
 * Command lines from a table: long options, "--name value" or
 * "--name=value". Knows how to read numbers and sizes, to print the help and
 * to guess what a mistyped option meant; does not know what options mean.
 */
#ifndef HOST_OPT_H
#define HOST_OPT_H

#include <stdbool.h>
#include <stdint.h>

enum opt_type {
	OPT_FLAG,	/* bool *: true when given */
	OPT_STRING,	/* const char ** */
	OPT_UINT,	/* unsigned *, between min and max */
	OPT_SIZE,	/* uint64_t *, bytes, suffix K M G T (powers of 1024) */
	OPT_OCTAL,	/* unsigned *: a file mode */
	OPT_CHOICE,	/* unsigned *: index into choices */
	OPT_LIST,	/* struct opt_list *: each time it is given */
};

enum { OPT_LIST_MAX = 24 };

struct opt_list {
	const char *v[OPT_LIST_MAX];
	unsigned n;
};

/* A table ends with a zeroed entry. */
struct opt {
	const char *name;	/* without the dashes */
	enum opt_type type;
	void *to;
	const char *arg;	/* name of the value in the help text */
	const char *help;	/* one sentence */
	uint64_t min, max;	/* OPT_UINT, OPT_SIZE; max 0: no limit */
	const char *const *choices;	/* OPT_CHOICE, ends with NULL */
};

enum { OPT_TABLES = 5 };

/* What a program takes: several tables, so that programs share options. */
struct opt_set {
	const char *program;
	const char *summary;	/* one line: what the program does */
	const char *usage;	/* after "usage: program", may be NULL */
	const struct opt *tables[OPT_TABLES];	/* unused ones NULL */
};

enum {
	OPT_OK = 0,
	OPT_HELP = 1,		/* --help: the caller prints it and leaves */
	OPT_VERSION = 2,
};

/*
 * Read @argv[1..] into the tables' targets. Returns OPT_*, or -EINVAL after
 * one line on standard error that names the argument and the cure.
 */
int opt_parse(const struct opt_set *set, int argc, char **argv);

/*
 * One option by its name; @value NULL: without one. A flag takes "yes" and
 * "no", too. Returns 0, or -errno after a line as above.
 */
int opt_set(const struct opt_set *set, const char *name, const char *value);

/* The help text, on standard output. */
void opt_help(const struct opt_set *set);

/* "256M" -> 268435456; -EINVAL or -ERANGE. */
int opt_size(const char *text, uint64_t *bytes);

#endif
