/* SPDX-License-Identifier: MIT */
/* Configuration files: see config.h. */
#include "host/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"

#define FILE_SIZE_MAX	(16u << 20)

struct parser {
	struct config *c;
	const char *path;
	const char *section;
	unsigned line;
	size_t room;		/* items that there is memory for */
};

static int wrong(const struct parser *p, const char *what, const char *text)
{
	log_err("%s:%u: %s: '%.80s'", p->path, p->line, what, text);
	return -EINVAL;
}

bool config_name_ok(const char *name)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t n = strlen(name);

	return n && n <= CONFIG_NAME_MAX && strspn(name, good) == n;
}

/* Without the blanks at both ends. */
static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r");
	n = strlen(s);
	while (n && strchr(" \t\r", s[n - 1]))
		n--;
	s[n] = 0;
	return s;
}

static int add(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;

	if (c->nr == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		struct config_item *more = realloc(c->item,
						   room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->item = more;
		p->room = room;
	}
	c->item[c->nr++] = (struct config_item){
		p->section, key, value, p->line
	};
	return 0;
}

static int section(struct parser *p, char *s)
{
	size_t n = strlen(s), i;

	if (s[n - 1] != ']')
		return wrong(p, "a section is a name in brackets", s);
	s[n - 1] = 0;
	s = trim(s + 1);
	if (!config_name_ok(s))
		return wrong(p, "a name is made of letters, digits, '-', '_' and '.', at most 63 of them",
			     s);
	for (i = 0; i < p->c->nr; i++)
		if (!p->c->item[i].key && !strcmp(p->c->item[i].section, s)) {
			log_err("%s:%u: there is a section '%s' already, in line %u",
				p->path, p->line, s, p->c->item[i].line);
			return -EEXIST;
		}
	p->section = s;
	return add(p, NULL, NULL);
}

static int line(struct parser *p, char *s)
{
	char *value;

	s = trim(s);
	if (!*s || *s == '#' || *s == ';')
		return 0;
	if (*s == '[')
		return section(p, s);
	if (!p->section)
		return wrong(p, "a section must come first, such as [disk0]",
			     s);
	value = strchr(s, '=');
	if (value)
		*value++ = 0;
	s = trim(s);
	if (!config_name_ok(s))
		return wrong(p, "this is no 'key = value'", s);
	return add(p, s, value ? trim(value) : NULL);
}

int config_parse(struct config *c, const char *path, char *text)
{
	struct parser p = { .c = c, .path = path };
	char *next;
	int rc = 0;

	*c = (struct config){ .text = text };
	for (; text && !rc; text = next) {
		next = strchr(text, '\n');
		if (next)
			*next++ = 0;
		p.line++;
		rc = line(&p, text);
	}
	if (rc)
		config_free(c);
	return rc;
}

static int slurp(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	if (len == size)
		return -EFBIG;
	text[len] = 0;
	return memchr(text, 0, len) ? -EILSEQ : 0;
}

int config_load(struct config *c, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	char *text;

	if (fd < 0) {
		rc = -errno;
		log_err("%s: %s", path, strerror(-rc));
		return rc;
	}
	text = malloc(FILE_SIZE_MAX + 1);
	rc = text ? slurp(fd, text, FILE_SIZE_MAX + 1) : -ENOMEM;
	close(fd);
	if (rc) {
		log_err("%s: %s", path, rc == -EILSEQ ?
			"this is no text: it has zero bytes" : strerror(-rc));
		free(text);
		return rc;
	}
	/* Most of it was never touched, and need not be kept. */
	c->text = realloc(text, strlen(text) + 1);
	return config_parse(c, path, c->text ? c->text : text);
}

void config_free(struct config *c)
{
	free(c->text);
	free(c->item);
	*c = (struct config){ .text = NULL };
}
