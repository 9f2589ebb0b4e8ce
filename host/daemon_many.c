/* SPDX-License-Identifier: MIT */
/*
 * Many devices in one process: from the sections of a file, and added and
 * removed over the control socket. A section's lines are options as on the
 * command line; what they mean is the device type's business.
 */
#include "host/daemon_many.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/daemon_device.h"
#include "host/daemon_options.h"
#include "host/daemon_serve.h"
#include "host/daemon_upgrade.h"
#include "host/log.h"

struct daemon *daemon_many_find(struct daemon_process *p, const char *name)
{
	struct daemon *d;

	for (d = p->devices; d; d = d->next)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

static void append(struct daemon_process *p, struct daemon *d)
{
	struct daemon **at = &p->devices;

	while (*at)
		at = &(*at)->next;
	*at = d;
}

static void release(struct daemon *d)
{
	config_free(&d->own);
	free(d->ctx);
	free(d);
}

static struct daemon *make(struct daemon_process *p, const char *name)
{
	struct daemon *d = malloc(sizeof(*d));
	void *ctx = calloc(1, p->type->ctx_size);

	if (!d || !ctx) {
		free(d);
		free(ctx);
		return NULL;
	}
	daemon_device_init(d, p, ctx, name);
	return d;
}

/* Options from d->item; @path: the file, NULL: a command. */
static int set_options(struct daemon *d, const char *path)
{
	char where[256];
	size_t i;
	int rc = 0;

	daemon_options_begin(d->type);
	for (i = 0; i < d->nr_items && !rc; i++) {
		const struct config_item *it = &d->item[i];

		if (path)
			snprintf(where, sizeof(where), "%s:%u", path,
				 it->line);
		log_about(path ? where : d->name);
		rc = daemon_options_set(d->type, it->key, it->value);
	}
	log_about(d->name);
	daemon_options_get(&d->opt);
	return rc;
}

/* -- from a file ---------------------------------------------------------- */

/* The section that begins at @item. */
static int open_section(struct daemon_process *p, const char *path,
			const struct config_item *item)
{
	const struct config_item *end = p->config.item + p->config.nr;
	struct daemon *d = make(p, item->section);
	int rc;

	if (!d)
		return -ENOMEM;
	d->item = item + 1;
	while (d->item + d->nr_items < end && d->item[d->nr_items].key)
		d->nr_items++;
	rc = set_options(d, path);
	if (!rc)
		rc = daemon_device_open(d);
	if (rc)
		release(d);
	else
		append(p, d);
	return rc;
}

int daemon_many_open(struct daemon_process *p, const char *path)
{
	int rc = config_load(&p->config, path);
	size_t i;

	for (i = 0; i < p->config.nr && !rc; i++)
		if (!p->config.item[i].key)
			rc = open_section(p, path, &p->config.item[i]);
	log_about(NULL);
	return rc;
}

void daemon_many_close(struct daemon_process *p)
{
	struct daemon *d;

	while ((d = p->devices)) {
		p->devices = d->next;
		release(d);
	}
	config_free(&p->config);
}

/* -- by command ----------------------------------------------------------- */

/* OPTION or OPTION=VALUE, and not what opens a section or a comment. */
static bool is_option(char *word)
{
	char *end = strchr(word, '=');
	bool ok;

	if (end)
		*end = 0;
	ok = config_name_ok(word);
	if (end)
		*end = '=';
	return ok;
}

/* The words of a command become the text of a section. */
static int section_of(struct config *c, unsigned nr_args, char **args)
{
	char *text = NULL, *end;
	size_t size, len = 0;
	unsigned i;
	FILE *f;

	for (i = 1; i < nr_args; i++) {
		if (is_option(args[i]))
			continue;
		log_err("'%.80s' is not OPTION or OPTION=VALUE", args[i]);
		return -EINVAL;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	fprintf(f, "[%s]\n", args[0]);
	for (i = 1; i < nr_args; i++) {
		end = strchr(args[i], '=');
		len = end ? (size_t)(end - args[i]) : strlen(args[i]);
		fprintf(f, "%.*s%s%s\n", (int)len, args[i], end ? " = " : "",
			end ? end + 1 : "");
	}
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	return config_parse(c, "add", text);
}

/* Descriptors that came with the command, as if of a predecessor. */
static int take_files(struct daemon *d)
{
	const char *const *names = d->type->live_files;
	int fd;

	while (d->nr_files < DAEMON_FILES_MAX && names && *names &&
	       (fd = control_take_file()) >= 0) {
		struct daemon_file *f = &d->file[d->nr_files++];

		f->fd = fd;
		snprintf(f->name, sizeof(f->name), "%s", *names++);
	}
	fd = control_take_file();
	if (fd < 0)
		return 0;
	close(fd);
	log_err("with this command came more files than it can use");
	return -EINVAL;
}

static int add(struct daemon_process *p, struct config *c)
{
	struct daemon *d = make(p, c->item[0].section);
	int rc;

	if (!d) {
		config_free(c);
		return -ENOMEM;
	}
	d->live = true;
	d->own = *c;
	d->item = c->item + 1;
	d->nr_items = c->nr - 1;
	rc = take_files(d);
	if (!rc)
		rc = set_options(d, NULL);
	if (!rc)
		rc = daemon_device_open(d);
	if (rc) {
		daemon_upgrade_leave(d);
		release(d);
		return rc;
	}
	rc = daemon_device_start(d);
	if (!rc) {
		append(p, d);
		return 0;
	}
	daemon_device_stop(d);
	daemon_device_close(d);
	/* What hangs already refers to it for good. */
	if (!atomic_load(&d->stuck))
		release(d);
	return rc;
}

static int cmd_add(void *ctx, unsigned nr_args, char **args,
		   struct text *out)
{
	struct daemon_process *p = ctx;
	const char *about;
	char errors[1024];
	struct config c;
	int rc;

	if (daemon_many_find(p, args[0])) {
		text_fmt(out, "there is a '%s' already", args[0]);
		return -EEXIST;
	}
	log_catch(errors, sizeof(errors));
	about = log_about(args[0]);
	rc = section_of(&c, nr_args, args);
	if (!rc)
		rc = add(p, &c);
	log_about(about);
	log_catch(NULL, 0);
	if (!rc) {
		log_info("%s: added", args[0]);
		return 0;
	}
	text_fmt(out, "%s", *errors ? errors : strerror(-rc));
	if ((rc == -EACCES || rc == -EPERM) && p->sandboxed)
		text_fmt(out, "; the sandbox is open for what lies in a --live=FOLDER of the program");
	return rc;
}

static int cmd_remove(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon_process *p = ctx;
	struct daemon *d = daemon_many_find(p, args[0]), **at;
	const char *about;

	(void)nr_args;
	if (!d) {
		text_fmt(out, "there is no '%s'", args[0]);
		return -ENOENT;
	}
	about = log_about(d->name);
	daemon_device_stop(d);
	daemon_device_close(d);
	log_about(about);
	if (atomic_load(&d->stuck)) {
		text_fmt(out, "its storage hangs, so that it stays until the program ends; it is served no more");
		return -EBUSY;
	}
	for (at = &p->devices; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	release(d);
	log_info("%s: removed", args[0]);
	return 0;
}

static void list_one(struct daemon *d, struct text *out)
{
	struct stats_values v = { 0 };
	struct vhu_info info;

	vhu_server_info(d->server, &info);
	d->type->stats(d, &v);
	text_comma(out);
	text_add(out, "{", 1);
	text_member_str(out, "name", d->name);
	if (d->opt.socket_path)
		text_member_str(out, "socket", d->opt.socket_path);
	text_member_u64(out, "queues", d->dev->nr_queues);
	text_member_bool(out, "connected", info.connected);
	text_member_bool(out, "stuck", atomic_load(&d->stuck));
	text_member_u64(out, "requests", v.requests);
	text_member_u64(out, "bytes_read", v.bytes_read);
	text_member_u64(out, "bytes_written", v.bytes_written);
	text_member_u64(out, "errors", v.errors);
	text_add(out, "}", 1);
}

static int cmd_list(void *ctx, unsigned nr_args, char **args,
		    struct text *out)
{
	struct daemon_process *p = ctx;
	struct daemon *d;

	(void)nr_args;
	(void)args;
	text_add(out, "[", 1);
	for (d = p->devices; d; d = d->next)
		list_one(d, out);
	text_add(out, "]", 1);
	return 0;
}

static int cmd_config(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon_process *p = ctx;
	struct daemon *d;
	size_t i;

	(void)nr_args;
	(void)args;
	for (d = p->devices; d; d = d->next) {
		text_fmt(out, "[%s]\n", d->name);
		for (i = 0; i < d->nr_items; i++)
			text_fmt(out, "%s%s%s\n", d->item[i].key,
				 d->item[i].value ? " = " : "",
				 d->item[i].value ? d->item[i].value : "");
		text_fmt(out, "\n");
	}
	text_fmt(out, "# EOF\n");
	return 0;
}

static int cmd_status(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon_process *p = ctx;
	unsigned n = 0;
	struct daemon *d;

	(void)nr_args;
	(void)args;
	for (d = p->devices; d; d = d->next)
		n++;
	text_add(out, "{", 1);
	text_member_str(out, "program", p->type->program);
	text_member_str(out, "version", daemon_version);
	text_member_str(out, "device", p->type->device);
	text_member_u64(out, "pid", (uint64_t)getpid());
	text_member_u64(out, "devices", n);
	text_member_u64(out, "threads", p->num_workers);
	text_add(out, "}", 1);
	return 0;
}

const struct control_command daemon_many_commands[] = {
	{ .name = "list", .args = "", .help = "all devices",
	  .run = cmd_list },
	{ .name = "add", .args = "NAME OPTION[=VALUE]...",
	  .min_args = 2, .max_args = CONTROL_WORDS_MAX - 1,
	  .help = "serve one more, with the options of a section",
	  .run = cmd_add },
	{ .name = "remove", .args = "NAME", .min_args = 1, .max_args = 1,
	  .help = "part from its front end and close it",
	  .run = cmd_remove },
	{ .name = "config", .args = "", .raw = true,
	  .help = "all devices, as a file for --config",
	  .run = cmd_config },
	{ .name = "status", .args = "", .help = "the program as a whole",
	  .run = cmd_status },
	{ 0 }
};
