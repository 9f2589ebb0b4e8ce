/* SPDX-License-Identifier: MIT */
/* Listening Unix sockets: see sock.h. */
#include "host/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/log.h"
#include "host/service.h"

/* sun_path ends with a zero byte, for portability of the name. */
#define SOCK_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static int number_id(const char *text, unsigned *id)
{
	char *end;
	unsigned long v;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || *end || v >= UINT32_MAX)
		return -EINVAL;
	*id = (unsigned)v;
	return 0;
}

static int set_owner(const char *path, const struct sock_perm *perm)
{
	unsigned uid = (unsigned)-1, gid = (unsigned)-1;
	struct passwd *pw;
	struct group *gr;

	if (perm->owner && number_id(perm->owner, &uid)) {
		pw = getpwnam(perm->owner);
		if (!pw) {
			log_err("--socket-owner: no user '%s' can be found; a number will do, and in a sandbox nothing else",
				perm->owner);
			return -EINVAL;
		}
		uid = pw->pw_uid;
	}
	if (perm->group && number_id(perm->group, &gid)) {
		gr = getgrnam(perm->group);
		if (!gr) {
			log_err("--socket-group: no group '%s' can be found; a number will do, and in a sandbox nothing else",
				perm->group);
			return -EINVAL;
		}
		gid = gr->gr_gid;
	}
	if ((perm->owner || perm->group) && lchown(path, uid, gid)) {
		log_err("%s: cannot change owner: %s; run as root, or give a group that you are in",
			path, strerror(errno));
		return -errno;
	}
	return 0;
}

/* 0: the path is free now; else an error was printed. */
static int clear_path(const struct sockaddr_un *addr, const char *option)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st))
		return 0;	/* bind() says what is wrong, if anything */
	if (!S_ISSOCK(st.st_mode)) {
		log_err("%s exists and is no socket; give another %s",
			path, option);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ?
		errno : 0;
	close(fd);
	/* EAGAIN: a live server whose backlog is full. */
	if (rc != ECONNREFUSED && rc != ENOENT) {
		log_err("%s is in use%s%s; stop the program that serves it or give another %s",
			path, rc ? ": " : "", rc ? strerror(rc) : "", option);
		return -EADDRINUSE;
	}
	if (unlink(path) && errno != ENOENT) {
		log_err("%s: cannot remove the stale socket: %s", path,
			strerror(errno));
		return -errno;
	}
	return 0;
}

/* Keep the folder open: the sandbox may hide all paths later. */
static int keep_folder(struct sock *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[SOCK_PATH_MAX + 1];

	snprintf(s->name, sizeof(s->name), "%s", slash ? slash + 1 : path);
	if (!slash)
		snprintf(dir, sizeof(dir), ".");
	else if (slash == path)
		snprintf(dir, sizeof(dir), "/");
	else
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	s->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0) {
		log_err("%s: %s", dir, strerror(errno));
		return -errno;
	}
	return 0;
}

static int bind_listen(struct sock *s, const struct sockaddr_un *addr,
		       const struct sock_perm *perm)
{
	const char *path = addr->sun_path;
	mode_t mask = umask(0);
	int rc;

	/* Owner only until owner and mode are set: no window for others. */
	umask(perm->mode >= 0 || perm->owner || perm->group ? 0177 : mask);
	rc = bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr)) ?
		-errno : 0;
	umask(mask);
	if (rc) {
		log_err("%s: cannot create the socket: %s", path,
			strerror(-rc));
		return rc;
	}
	rc = keep_folder(s, path);
	if (rc)
		goto out;
	rc = set_owner(path, perm);
	if (rc)
		goto out;
	if ((perm->owner || perm->group || perm->mode >= 0) &&
	    chmod(path, perm->mode >= 0 ? (mode_t)perm->mode :
		  0777 & ~mask)) {
		rc = -errno;
		log_err("%s: cannot set the mode: %s", path, strerror(-rc));
		goto out;
	}
	if (!listen(s->fd, 8))
		return 0;
	rc = -errno;
	log_err("%s: cannot listen: %s", path, strerror(-rc));
out:
	unlink(path);
	return rc;
}

int sock_listen(struct sock *s, const char *path,
		const struct sock_perm *perm)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *option = perm->option ? perm->option : "--socket-path";
	size_t len = strlen(path);
	int rc;

	rc = service_socket(path);
	if (rc >= 0)	/* a service manager made it */
		return sock_inherit(s, rc);
	memset(s, 0, sizeof(*s));
	s->fd = s->dir_fd = s->spare_fd = -1;
	if (!len || path[len - 1] == '/') {
		log_err("%s: '%s' names no file", option, path);
		return -EINVAL;
	}
	if (len > SOCK_PATH_MAX) {
		log_err("%s is too long: %zu bytes, a Unix socket takes %zu; use a shorter path or one relative to the working directory",
			option, len, SOCK_PATH_MAX);
		return -ENAMETOOLONG;
	}
	memcpy(addr.sun_path, path, len + 1);
	rc = clear_path(&addr, option);
	if (rc)
		return rc;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0) {
		log_err("cannot make a socket: %s", strerror(errno));
		return -errno;
	}
	rc = bind_listen(s, &addr, perm);
	if (!rc) {
		s->spare_fd = sock_spare();
		return 0;
	}
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	close(s->fd);
	s->fd = s->dir_fd = -1;
	return rc;
}

int sock_inherit(struct sock *s, int fd)
{
	int domain = 0, type = 0, listening = 0, flags;
	socklen_t n = sizeof(int);

	memset(s, 0, sizeof(*s));
	s->fd = s->dir_fd = s->spare_fd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n)) {
		log_err("--fd=%d is no socket: %s; pass a Unix socket to the program",
			fd, strerror(errno));
		return -errno;
	}
	if (domain != AF_UNIX || type != SOCK_STREAM) {
		log_err("--fd=%d is no Unix stream socket", fd);
		return -EINVAL;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		log_err("--fd=%d: %s", fd, strerror(errno));
		return -errno;
	}
	s->fd = fd;
	s->connected = !listening;
	if (listening)
		s->spare_fd = sock_spare();
	return 0;
}

int sock_adopt(struct sock *s, int fd, const char *path)
{
	int rc = sock_inherit(s, fd);

	if (!rc && s->connected)
		rc = -EINVAL;
	if (!rc)
		rc = keep_folder(s, path);
	if (!rc)
		return 0;
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	if (fd >= 0)
		close(fd);
	s->fd = s->spare_fd = -1;
	return rc;
}

static int accept_one(int fd)
{
	int new;

	do
		new = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (new < 0 && errno == EINTR);
	return new < 0 ? -errno : new;
}

int sock_spare(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

int sock_accept_at(int fd, int *spare_fd)
{
	static _Thread_local struct log_rate rate;
	int new = accept_one(fd), rc = new;

	if ((new != -EMFILE && new != -ENFILE) || *spare_fd < 0)
		return new;
	log_limited(&rate, LOG_LEVEL_ERROR,
		    "a connection is closed at once, for there is no file descriptor left: %s; raise the limit of open files (ulimit -n)",
		    strerror(-rc));
	close(*spare_fd);
	new = accept_one(fd);
	if (new >= 0)
		close(new);
	*spare_fd = sock_spare();
	return rc;
}

int sock_accept(struct sock *s)
{
	return sock_accept_at(s->fd, &s->spare_fd);
}

void sock_leave(struct sock *s)
{
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	s->dir_fd = -1;
}

void sock_close(struct sock *s)
{
	if (s->dir_fd >= 0) {
		/* Gone already is as good; nobody waits for the answer. */
		if (unlinkat(s->dir_fd, s->name, 0) && errno != ENOENT)
			log_warn("%s: cannot remove the socket: %s", s->name,
				 strerror(errno));
		close(s->dir_fd);
	}
	if (s->fd >= 0) {
		close(s->fd);
		if (s->spare_fd >= 0)
			close(s->spare_fd);
	}
	s->fd = s->dir_fd = s->spare_fd = -1;
}
