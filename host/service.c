/* SPDX-License-Identifier: MIT */
/*
 * The protocols are sd_listen_fds(3) and sd_notify(3): descriptors from 3 on
 * whose names stand in the environment, and lines by datagram.
 */
#include "host/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/log.h"

#define FIRST_FD	3
#define FDS_MAX		256u
#define NAME_SIZE	(SERVICE_NAME_MAX + 1)
#define WAIT_MS		5000

static struct {
	int notify;		/* datagrams to the manager; -1 */
	int barrier[2];		/* made while pipes can be made */
	unsigned nr;
	int fd[FDS_MAX];	/* -1: taken */
	char name[FDS_MAX][NAME_SIZE];
} sv = { .notify = -1, .barrier = { -1, -1 } };

static void open_notify(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(addr.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = 0;
	sv.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sv.notify >= 0 &&
	    !connect(sv.notify, (const struct sockaddr *)&addr,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				 len)) &&
	    !pipe2(sv.barrier, O_CLOEXEC))
		return;
	log_warn("NOTIFY_SOCKET=%s: %s; the service manager is told nothing",
		 path, strerror(errno));
	if (sv.notify >= 0)
		close(sv.notify);
	sv.notify = -1;
}

static void take_fds(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	unsigned long n = fds ? strtoul(fds, NULL, 10) : 0;

	if (!pid || strtol(pid, NULL, 10) != getpid())
		return;
	if (n > FDS_MAX) {
		log_warn("LISTEN_FDS=%s: only the first %u are looked at", fds,
			 FDS_MAX);
		n = FDS_MAX;
	}
	for (; sv.nr < n; sv.nr++) {
		size_t len = names ? strcspn(names, ":") : 0;

		sv.fd[sv.nr] = FIRST_FD + (int)sv.nr;
		if (fcntl(sv.fd[sv.nr], F_SETFD, FD_CLOEXEC))
			sv.fd[sv.nr] = -1;
		if (len < NAME_SIZE)
			snprintf(sv.name[sv.nr], NAME_SIZE, "%.*s", (int)len,
				 names ? names : "");
		if (names)
			names += len + (names[len] == ':');
	}
}

void service_init(void)
{
	open_notify();
	take_fds();
	/* Not for what we start. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	unsetenv("NOTIFY_SOCKET");
}

bool service_is_there(void)
{
	return sv.notify >= 0;
}

static bool listens_at(int fd, const char *path)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr), n = sizeof(int);
	size_t want = strlen(path);
	int listening = 0;

	memset(&addr, 0, sizeof(addr));
	return !getsockname(fd, (struct sockaddr *)&addr, &len) &&
		addr.sun_family == AF_UNIX && want < sizeof(addr.sun_path) &&
		!strncmp(addr.sun_path, path, sizeof(addr.sun_path)) &&
		!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) &&
		listening;
}

static int take(unsigned i)
{
	int fd = sv.fd[i];

	sv.fd[i] = -1;
	return fd;
}

int service_socket(const char *path)
{
	for (unsigned i = 0; i < sv.nr; i++)
		if (sv.fd[i] >= 0 && listens_at(sv.fd[i], path))
			return take(i);
	return -1;
}

int service_kept(const char *name)
{
	for (unsigned i = 0; i < sv.nr; i++)
		if (sv.fd[i] >= 0 && !strcmp(sv.name[i], name))
			return take(i);
	return -1;
}

static int tell(const char *text, int fd)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} c;
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (sv.notify < 0)
		return -ENOTCONN;
	if (fd >= 0) {
		memset(&c, 0, sizeof(c));
		msg.msg_control = c.space;
		msg.msg_controllen = sizeof(c.space);
		c.hdr.cmsg_level = SOL_SOCKET;
		c.hdr.cmsg_type = SCM_RIGHTS;
		c.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&c.hdr), &fd, sizeof(int));
	}
	do
		n = sendmsg(sv.notify, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	log_warn("the service manager is not told: %s", strerror(errno));
	return -errno;
}

int service_keep(const char *name, int fd)
{
	char text[NAME_SIZE + 64];

	/* It would let go of a socket whose other end is closed. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return tell(text, fd);
}

void service_forget(const char *name)
{
	char text[NAME_SIZE + 64];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	if (sv.notify >= 0)
		tell(text, -1);
}

void service_wait(void)
{
	struct pollfd p = { .fd = sv.barrier[0] };

	if (sv.notify < 0 || sv.barrier[1] < 0)
		return;
	/* It closes the other end when it comes to this datagram. */
	if (!tell("BARRIER=1", sv.barrier[1])) {
		close(sv.barrier[1]);
		sv.barrier[1] = -1;
		if (poll(&p, 1, WAIT_MS) == 0)
			log_warn("the service manager does not answer");
	}
}

void service_ready(void)
{
	for (unsigned i = 0; i < sv.nr; i++)
		if (sv.fd[i] >= 0)
			close(take(i));
	if (sv.notify >= 0)
		tell("READY=1", -1);
}

void service_stopping(void)
{
	if (sv.notify >= 0)
		tell("STOPPING=1", -1);
}

void service_fini(void)
{
	for (unsigned i = 0; i < 2; i++)
		if (sv.barrier[i] >= 0)
			close(sv.barrier[i]);
	if (sv.notify >= 0)
		close(sv.notify);
	sv.notify = sv.barrier[0] = sv.barrier[1] = -1;
}
