/* SPDX-License-Identifier: MIT */
/* Opening and closing the kinds of chardev; moving bytes is in chardev.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/chardev_open.h"
#include "host/log.h"

/* Can the loop watch it? Regular files and the like are always ready. */
static bool pollable(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd);
}

/* The program's standard descriptors are shared with others: restored. */
static int make_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || flags & O_NONBLOCK)
		return -1;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -1 : flags;
}

static void make_raw(struct chardev *c)
{
	struct termios raw;

	if (tcgetattr(c->in_fd, &c->tty))
		return;
	raw = c->tty;
	cfmakeraw(&raw);
	c->saved_tty = !tcsetattr(c->in_fd, TCSANOW, &raw);
}

static int open_stdio(struct chardev *c)
{
	c->in_fd = STDIN_FILENO;
	c->out_fd = STDOUT_FILENO;
	c->in_pollable = pollable(c->in_fd);
	c->out_pollable = pollable(c->out_fd);
	if (isatty(c->in_fd))
		make_raw(c);
	if (c->in_pollable)
		c->in_flags = make_nonblocking(c->in_fd);
	if (c->out_pollable)
		c->out_flags = make_nonblocking(c->out_fd);
	return 0;
}

static int open_pty(struct chardev *c)
{
	struct termios raw;
	char name[64];
	int fd, slave;

	if (c->conf.peer_fd >= 0) {
		c->in_fd = c->out_fd = c->conf.peer_fd;
		c->in_pollable = c->out_pollable = c->own_fds = true;
		return 0;
	}
	fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || grantpt(fd) || unlockpt(fd) ||
	    ptsname_r(fd, name, sizeof(name))) {
		log_err("cannot make a pseudo-terminal: %s; is /dev/pts mounted?",
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return -EIO;
	}
	/* Opened and closed once, it reports whether somebody has it open. */
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave >= 0) {
		if (!tcgetattr(slave, &raw)) {
			cfmakeraw(&raw);
			tcsetattr(slave, TCSANOW, &raw);
		}
		close(slave);
	}
	c->in_fd = c->out_fd = fd;
	c->in_pollable = c->out_pollable = c->own_fds = true;
	printf("%s\n", name);
	fflush(stdout);
	return 0;
}

static int open_file(struct chardev *c)
{
	if (!c->conf.path) {
		log_err("--backend=file needs --path=FILE");
		return -EINVAL;
	}
	c->out_fd = open(c->conf.path, O_WRONLY | O_CREAT | O_APPEND |
			 O_CLOEXEC | O_NONBLOCK, 0644);
	if (c->out_fd < 0) {
		int err = errno;

		log_err("--path: %s: %s", c->conf.path, strerror(err));
		return -err;
	}
	c->out_pollable = pollable(c->out_fd);
	c->own_fds = true;
	return 0;
}

static int open_socket(struct chardev *c)
{
	const struct sock_perm perm = { .mode = 0600 };

	if (!c->conf.path) {
		log_err("--backend=socket needs --path=SOCKET");
		return -EINVAL;
	}
	c->in_pollable = c->out_pollable = c->own_fds = true;
	c->in_fd = c->out_fd = c->conf.peer_fd;
	if (c->conf.listen_fd >= 0)
		return sock_adopt(&c->listener, c->conf.listen_fd,
				  c->conf.path);
	return sock_listen(&c->listener, c->conf.path, &perm);
}

int chardev_open_kind(struct chardev *c)
{
	static int (*const open_as[])(struct chardev *) = {
		[CHARDEV_STDIO] = open_stdio, [CHARDEV_PTY] = open_pty,
		[CHARDEV_SOCKET] = open_socket, [CHARDEV_FILE] = open_file,
	};

	c->in_fd = c->out_fd = -1;
	c->in_flags = c->out_flags = -1;
	c->listener.fd = c->listener.dir_fd = -1;
	return open_as[c->conf.kind](c);
}

void chardev_close_kind(struct chardev *c)
{
	if (c->in_flags >= 0)
		fcntl(c->in_fd, F_SETFL, c->in_flags);
	if (c->out_flags >= 0)
		fcntl(c->out_fd, F_SETFL, c->out_flags);
	if (c->saved_tty)
		tcsetattr(c->in_fd, TCSANOW, &c->tty);
	if (c->own_fds && c->in_fd >= 0 && c->in_fd != c->out_fd)
		close(c->in_fd);
	if (c->own_fds && c->out_fd >= 0)
		close(c->out_fd);
	sock_close(&c->listener);
}
