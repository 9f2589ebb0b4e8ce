/* SPDX-License-Identifier: MIT */
/*
 * A session outlives its program: where a service manager keeps descriptors,
 * a program that is told to end writes its session into a socket, as to a
 * successor, and leaves the other end with the manager. The next program
 * finds it there; the front end waits meanwhile.
 */
#include "host/daemon_keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/log.h"
#include "host/service.h"

#define NAME_SIZE	(SERVICE_NAME_MAX + 1)

/* Names of two devices may differ in their last letter only. */
VIO_STATIC_ASSERT(sizeof("vireo-session-") + CONFIG_NAME_MAX <= NAME_SIZE &&
		  sizeof("vireo--") + sizeof(((struct daemon_file *)0)->name) +
		  CONFIG_NAME_MAX <= NAME_SIZE, "no name is cut");

/* The name by which the manager knows it. */
static const char *keep_name(const struct daemon *d, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, d->name ? "vireo-session-%s" : "vireo-session",
		 d->name);
	return name;
}

int daemon_keep_open(struct daemon *d)
{
	if (!service_is_there() || !d->type->heritable)
		return 0;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  0, d->keep) ? -errno : 0;
}

bool daemon_keep_take(struct daemon *d)
{
	char name[NAME_SIZE];
	int fd, rc;

	fd = service_kept(keep_name(d, name));
	if (fd < 0)
		return false;
	rc = vhu_server_take_over(d->server, fd);
	/* It is read; the next one must not find it again. */
	service_forget(name);
	if (rc)
		log_warn("what the program before this one left is of no use: %s",
			 strerror(-rc));
	else
		log_info("took a session over");
	return !rc;
}

bool daemon_keep_leave(struct daemon *d)
{
	char name[NAME_SIZE];
	int rc;

	if (d->keep[0] < 0)
		return false;
	rc = vhu_server_deposit(d->server, d->keep[0]);
	if (rc) {
		log_warn("the session cannot be left to the next program: %s",
			 strerror(-rc));
		return false;
	}
	service_keep(keep_name(d, name), d->keep[1]);
	log_info("the session waits for the next program");
	return true;
}

static const char *file_name(const struct daemon *d, const char *what,
			     char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, d->name ? "vireo-%.15s-%s" :
		 "vireo-%.15s", what,
		 d->name);
	return name;
}

void daemon_keep_files(struct daemon *d)
{
	struct daemon_file file[DAEMON_FILES_MAX];
	unsigned n = d->type->files ? d->type->files(d, file) : 0;
	char name[NAME_SIZE];

	if (d->keep[0] < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		d->files_left |= !service_keep(file_name(d, file[i].name,
							 name), file[i].fd);
}

int daemon_file(struct daemon *d, const char *what)
{
	char name[NAME_SIZE];
	int fd;

	for (unsigned i = 0; i < d->nr_files; i++) {
		fd = d->file[i].fd;
		if (fd < 0 || strcmp(d->file[i].name, what))
			continue;
		d->file[i] = d->file[--d->nr_files];
		return fd;
	}
	fd = service_kept(file_name(d, what, name));
	if (fd >= 0)
		service_forget(name);
	return fd;
}

void daemon_keep_close(struct daemon *d)
{
	for (unsigned i = 0; i < 2; i++)
		if (d->keep[i] >= 0)
			close(d->keep[i]);
	d->keep[0] = d->keep[1] = -1;
}
