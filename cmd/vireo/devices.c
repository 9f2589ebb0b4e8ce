/* SPDX-License-Identifier: MIT */
/*
 * Starts the back ends. The sockets are made here and handed down, so that
 * they listen before any front end can call, and lie in a folder that only
 * the user can enter. Knows nothing of hypervisors.
 */
#include "devices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int add_device(struct run *r, enum device_kind kind,
		      const char *program, const char *name)
{
	struct device *d = &r->dev[r->n_devs];
	int n;

	d->kind = kind;
	d->program = program;
	d->queues = 1;
	snprintf(d->name, sizeof(d->name), "%s", name);
	n = snprintf(d->socket, sizeof(d->socket), "%s/%u.sock", r->dir,
		     r->n_devs);
	if (n >= (int)sizeof(d->socket)) {
		complain("the folder %s is too deep for a socket's path; set "
			 "TMPDIR to a shorter one", r->dir);
		return -ENAMETOOLONG;
	}
	if (path_fmt(d->stats, "%s/%u.json", r->dir, r->n_devs))
		return -ENAMETOOLONG;
	r->n_devs++;
	return 0;
}

static int plan_disk(struct run *r, const struct run_disk *disk)
{
	char name[32];
	int err;

	snprintf(name, sizeof(name), "disk vd%c", 'a' + (int)r->n_devs);
	err = add_device(r, DEVICE_BLOCK, "vireo-blk", name);
	if (err)
		return err;
	r->dev[r->n_devs - 1].disk = disk;
	/* One queue for each processor; User Mode Linux takes one anyway. */
	r->dev[r->n_devs - 1].queues = r->opt.cpus;
	return 0;
}

int devices_plan(struct run *r)
{
	int err = 0;

	for (unsigned int i = 0; i < r->opt.n_disks && !err; i++)
		err = plan_disk(r, &r->opt.disks[i]);
	if (!r->opt.n_disks)
		err = plan_disk(r, &r->default_disk);
	if (!err && !r->serial)
		err = add_device(r, DEVICE_CONSOLE, "vireo-console",
				 "console");
	if (!err)
		err = add_device(r, DEVICE_ENTROPY, "vireo-rng", "entropy");
	if (!err && r->opt.net)
		err = add_device(r, DEVICE_NET, "vireo-net", "network");
	return err;
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    listen(fd, 1) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static void console_words(const struct run *r, struct args *a)
{
	static const char *const words[] = {
		[CONSOLE_STDIO] = "stdio", [CONSOLE_PTY] = "pty",
		[CONSOLE_FILE] = "file", [CONSOLE_SOCKET] = "socket",
	};

	args_add(a, "--backend=%s", words[r->opt.console]);
	if (r->opt.console_path)
		args_add(a, "--path=%s", r->opt.console_path);
}

bool net_option(const struct run *r, const char *name,
		char value[NET_OPTION_MAX])
{
	const char *at = r->opt.net_more;
	size_t len = strlen(name);
	unsigned int pid = (unsigned int)getpid();

	value[0] = 0;
	for (; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (!strncmp(at, name, len) && at[len] == '=') {
			snprintf(value, NET_OPTION_MAX, "%.*s",
				 (int)strcspn(at + len + 1, ","),
				 at + len + 1);
			return true;
		}
	if (strcmp(name, "mac"))
		return false;
	/* Locally administered; another run has another. */
	snprintf(value, NET_OPTION_MAX, "52:56:%02x:%02x:%02x:%02x",
		 pid >> 24 & 255, pid >> 16 & 255, pid >> 8 & 255, pid & 255);
	return true;
}

static void net_words(const struct run *r, struct args *a)
{
	char mac[NET_OPTION_MAX];
	char *more = r->opt.net_more;

	/* Given twice, the user's counts. */
	net_option(r, "mac", mac);
	args_add(a, "--mac=%s", mac);
	args_add(a, "--backend=%s", r->opt.net);
	if (r->opt.hostfwd)
		args_add(a, "--hostfwd=%s", r->opt.hostfwd);
	if (r->opt.host_loopback)
		args_add(a, "--host-loopback");
	if (r->opt.record)
		args_add(a, "--record=%s", r->opt.record);
	while (more) {
		size_t len = strcspn(more, ",");

		args_add(a, "--%.*s", (int)len, more);
		more = more[len] ? more + len + 1 : NULL;
	}
}

static void device_words(const struct run *r, const struct device *d,
			 struct args *a)
{
	args_add(a, "--fd=3");
	args_add(a, "--stats-file=%s", d->stats);
	if (d->kind == DEVICE_CONSOLE)
		console_words(r, a);
	if (d->kind == DEVICE_NET)
		net_words(r, a);
	if (d->kind != DEVICE_BLOCK)
		return;
	args_add(a, "--blk-file=%s", d->disk->path);
	args_add(a, "--num-queues=%u", d->queues);
	if (d->disk->read_only)
		args_add(a, "--read-only");
}

static int start_one(struct run *r, struct device *d, int console_fd,
		     int log_fd)
{
	struct proc_io io = { .in = -1, .out = -1, .err = log_fd, .keep = -1 };
	struct args a = { 0 };
	char path[PATH_MAX];
	int err;

	if (find_program(d->program, path)) {
		complain("%s is not beside this program, nor in PATH; build "
			 "or install Vireo as a whole", d->program);
		return -ENOENT;
	}
	io.keep = listen_at(d->socket);
	if (io.keep < 0) {
		complain("cannot listen at %s: %s", d->socket,
			 strerror(-io.keep));
		return io.keep;
	}
	if (d->kind == DEVICE_CONSOLE && r->opt.console == CONSOLE_STDIO) {
		io.in = io.out = console_fd;
		io.tty = true;
	} else if (d->kind == DEVICE_CONSOLE) {
		/* Where to find the pty is what it prints. */
		io.out = io.err = 2;
	}
	args_add(&a, "%s", path);
	device_words(r, d, &a);
	if (r->opt.verbose)
		args_print(&a);
	err = proc_start(&d->proc, &a, &io);
	close(io.keep);
	if (err)
		complain("cannot start %s: %s", d->program, strerror(-err));
	else
		janitor_tell(&r->janitor, d->proc.pid);
	return err;
}

int devices_start(struct run *r, int console_fd, int log_fd)
{
	int err = 0;

	for (unsigned int i = 0; i < r->n_devs && !err; i++)
		if (!device_is_inside(r, &r->dev[i]))
			err = start_one(r, &r->dev[i], console_fd, log_fd);
	return err;
}
