/* SPDX-License-Identifier: MIT */
/*
 * A configuration file: sections of lines.
 *
 *	# a comment
 *	[name]
 *	key = value
 *	key
 *
 * Blanks around names, keys and values do not count; what stands behind a
 * value does: there are no quotes and no comments at the end of a line. It
 * does not know what keys mean.
 */
#ifndef HOST_CONFIG_H
#define HOST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_NAME_MAX	63u

struct config_item {
	const char *section;	/* the same pointer for all of one section */
	const char *key;	/* NULL: the section itself begins */
	const char *value;	/* NULL: none */
	unsigned line;
};

struct config {
	char *text;		/* all of the above point into it */
	struct config_item *item;
	size_t nr;
};

/*
 * Read a file. 0, or -errno after an error line with file and line. After an
 * error there is nothing to give back.
 */
int config_load(struct config *c, const char *path);
/* The same of a text, which is cut in place and belongs to c afterwards, even
 * after an error. @path is for messages. */
int config_parse(struct config *c, const char *path, char *text);
void config_free(struct config *c);

/* Letters, digits, '-', '_', '.', at most CONFIG_NAME_MAX of them. */
bool config_name_ok(const char *name);

#endif
