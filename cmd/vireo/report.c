/* SPDX-License-Identifier: MIT */
/*
 * The table at the end of a run, from the numbers that each back end wrote
 * about itself: a JSON object with the keys device, features, requests,
 * bytes_read, bytes_written, errors and seconds. Reads no other JSON.
 */
#include "report.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

enum { STATS_MAX = 8192, WIDTH = 78, INDENT = 10 };

/* The text behind "key":, or NULL. */
static const char *value_of(const char *json, const char *key)
{
	char quoted[40];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	at = strstr(json, quoted);
	if (!at)
		return NULL;
	at += strlen(quoted);
	at += strspn(at, " \t\n:");
	return at;
}

static double number_of(const char *json, const char *key)
{
	const char *at = value_of(json, key);

	return at ? strtod(at, NULL) : 0;
}

static void print_bytes(FILE *f, double bytes, const char *after)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	size_t u = 0;

	while (bytes >= 1024 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1024;
		u++;
	}
	fprintf(f, u ? " %8.1f %s%s%*s" : " %8.0f %s%s%*s", bytes, units[u],
		after, *after ? 0 : 3 - (int)strlen(units[u]), "");
}

/* The names in the array "features", without what all of them share. */
static void print_features(FILE *f, const char *json)
{
	const char *at = value_of(json, "features");
	const char *end = at ? strchr(at, ']') : NULL;
	int column = 0;

	while (at && end && (at = memchr(at, '"', (size_t)(end - at)))) {
		const char *name = at + 1;
		size_t n = strcspn(name, "\"");
		const char *cut = memmem(name, n, "_F_", 3);

		at = name + n + 1;
		if (at > end)
			break;
		if (cut) {
			n -= (size_t)(cut + 3 - name);
			name = cut + 3;
		}
		if (!column || column + 1 + (int)n > WIDTH)
			column = fprintf(f, "%s%*s", column ? "\n" : "",
					 INDENT, "") - (column ? 1 : 0);
		column += fprintf(f, " %.*s", (int)n, name);
	}
	if (column)
		fputc('\n', f);
}

static void print_device(FILE *f, const struct device *d)
{
	char json[STATS_MAX];
	double read, written, seconds;

	fprintf(f, "%-10s", d->name);
	if (read_small(d->stats, json, sizeof(json)) <= 0) {
		fprintf(f, " %s left no numbers\n", d->program);
		return;
	}
	if (!number_of(json, "requests")) {
		fprintf(f, "        0  the guest did not use it\n");
		return;
	}
	read = number_of(json, "bytes_read");
	written = number_of(json, "bytes_written");
	seconds = number_of(json, "seconds");
	fprintf(f, " %8.0f", number_of(json, "requests"));
	print_bytes(f, read, "");
	print_bytes(f, written, "");
	fprintf(f, " %6.0f ", number_of(json, "errors"));
	if (seconds > 0)
		print_bytes(f, (read + written) / seconds, "/s");
	fputc('\n', f);
	print_features(f, json);
}

void report_print(FILE *f, const struct run *r)
{
	fprintf(f, "\n%-10s %8s %12s %12s %6s  %14s\n", "device", "requests",
		"read", "written", "errors", "on average");
	for (unsigned int i = 0; i < r->n_devs; i++)
		print_device(f, &r->dev[i]);
	if (r->serial)
		fprintf(f, "%-10s        -  the serial port of %s\n",
			"console", r->vmm->name);
	fprintf(f, "\n%s, %.1f s from start to power-off.\n", r->vmm->name,
		r->boot_s);
}
