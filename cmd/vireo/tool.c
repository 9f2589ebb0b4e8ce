/* SPDX-License-Identifier: MIT */
/*
 * Finding programs and running helpers (mke2fs, apt-get ...) to their end.
 * Long-lived children are proc.c's.
 */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where mke2fs and friends live, which a user's PATH often lacks. */
#define SBIN ":/usr/local/sbin:/usr/sbin:/sbin"

struct sink {
	int fd;
	char *buf;
	size_t size;
	size_t got;
};

static void set_tool_path(void)
{
	const char *path = getenv("PATH");
	char *both;

	if (asprintf(&both, "%s" SBIN, path ? path : "/usr/bin:/bin") < 0)
		return;
	setenv("PATH", both, 1);
	free(both);
}

/* In the child: never returns. */
static void exec_tool(char *const argv[], int out, int err)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(err, 2);
	set_tool_path();
	setenv("LC_ALL", "C", 1);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Take what a helper wrote; what does not fit is read and dropped. */
static bool drain(struct sink *s)
{
	char waste[4096];
	size_t room = s->buf ? s->size - 1 - s->got : 0;
	ssize_t n;

	if (room)
		n = read(s->fd, s->buf + s->got, room);
	else
		n = read(s->fd, waste, sizeof(waste));
	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		close(s->fd);
		s->fd = -1;
		return false;
	}
	if (room)
		s->got += (size_t)n;
	return true;
}

static void collect(struct sink *out, struct sink *err)
{
	while (out->fd >= 0 || err->fd >= 0) {
		struct pollfd p[2] = {
			{ .fd = out->fd, .events = POLLIN },
			{ .fd = err->fd, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			drain(out);
		if (p[1].revents)
			drain(err);
	}
	if (out->buf)
		out->buf[out->got] = '\0';
	if (err->buf)
		err->buf[err->got] = '\0';
}

int run_tool(char *const argv[], char *out, size_t out_size, char *err,
	     size_t err_size)
{
	struct sink so = { .buf = out, .size = out_size };
	struct sink se = { .buf = err, .size = err_size };
	int po[2], pe[2], status;
	pid_t pid;

	if (pipe2(po, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(pe, O_CLOEXEC) < 0) {
		close(po[0]);
		close(po[1]);
		return -EMFILE;
	}
	pid = fork();
	if (pid == 0)
		exec_tool(argv, po[1], pe[1]);
	close(po[1]);
	close(pe[1]);
	so.fd = po[0];
	se.fd = pe[0];
	if (pid < 0) {
		close(po[0]);
		close(pe[0]);
		return -EAGAIN;
	}
	collect(&so, &se);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status) == 127 ? -ENOENT : WEXITSTATUS(status);
}

int run_args(struct args *a, char *out, size_t out_size, char *err,
	     size_t err_size)
{
	int rc = a->failed ? -ENOMEM
			   : run_tool(a->v, out, out_size, err, err_size);

	args_free(a);
	return rc;
}

/* Look for @name in a colon-separated list of folders. */
static int find_in(const char *dirs, const char *name, char *out)
{
	while (*dirs) {
		size_t n = strcspn(dirs, ":");

		if (n && !path_fmt(out, "%.*s/%s", (int)n, dirs, name) &&
		    access(out, X_OK) == 0)
			return 0;
		dirs += n;
		dirs += *dirs == ':';
	}
	return -ENOENT;
}

bool have_tool(const char *name)
{
	const char *path = getenv("PATH");
	char found[PATH_MAX];

	return !find_in(path ? path : "/usr/bin:/bin", name, found) ||
	       !find_in(SBIN, name, found);
}

int find_program(const char *name, char *out)
{
	const char *path = getenv("PATH");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		if (!find_in(self, name, out))
			return 0;
	}
	if (!find_in(VIREO_LIBEXECDIR, name, out))
		return 0;
	return find_in(path ? path : "/usr/bin:/bin", name, out);
}
