/* SPDX-License-Identifier: MIT */
/*
 * Small things that every part of the front needs: messages, paths, growing
 * argument lists, and running a helper program to its end. Knows nothing of
 * guests or devices.
 */
#ifndef VIREO_UTIL_H
#define VIREO_UTIL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* One line on stderr, "vireo: " in front of it. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Format into a path buffer of PATH_MAX bytes.
 * Return 0, or -ENAMETOOLONG.
 */
int path_fmt(char *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

bool file_exists(const char *path);

/* Read a whole small file; at most @size - 1 bytes, always terminated. */
int read_small(const char *path, char *buf, size_t size);

int write_small(const char *path, const char *text);

int write_all(int fd, const void *data, size_t len);

/* mkdir with its parents. */
int make_dirs(const char *path);

/* Remove a folder and all below it; links are not followed. */
int remove_tree(const char *path);

/* A NULL-terminated argument list that owns its strings. */
struct args {
	char **v;
	size_t n;
	size_t room;
	bool failed;	/* an allocation failed; checked once, at the end */
};

void args_add(struct args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void args_print(const struct args *a);	/* on stderr, in one line */
void args_free(struct args *a);

/*
 * Run a helper to its end, its standard input empty.
 * @out receives its standard output (may be NULL: thrown away);
 * @err receives its standard error, cut to size (may be NULL).
 * Return its exit code, or a negative errno; -ENOENT: no such program.
 */
int run_tool(char *const argv[], char *out, size_t out_size, char *err,
	     size_t err_size);

/* The same for a list; frees it. */
int run_args(struct args *a, char *out, size_t out_size, char *err,
	     size_t err_size);

/* Is there such a program in PATH (with the sbin folders)? */
bool have_tool(const char *name);

/*
 * Find another program of ours: beside this one, then in libexec, then in
 * PATH. Return 0 or -ENOENT.
 */
int find_program(const char *name, char *out);

double now_seconds(void);

#endif
