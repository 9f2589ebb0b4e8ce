/* SPDX-License-Identifier: MIT */
/*
 * Children: started each as the leader of its own session, so that a
 * terminal's Ctrl-C reaches only us and one kill reaches all that a child
 * has started. A hypervisor's helpers survive their parent; hence groups,
 * and hence the janitor for the day on which we are killed ourselves.
 */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	KEPT_FD = 3,
	JANITOR_GROUPS = 64,
};

static int high_fd(int fd, int null)
{
	return fcntl(fd < 0 ? null : fd, F_DUPFD_CLOEXEC, KEPT_FD + 1);
}

/* Descriptors first move out of the way of 0 to 3. */
static int place_fds(const struct proc_io *io)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int in = high_fd(io->in, null);
	int out = high_fd(io->out, null);
	int err = high_fd(io->err, null);
	int keep = high_fd(io->keep, null);

	if (in < 0 || out < 0 || err < 0 || keep < 0 ||
	    dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		return -1;
	if (io->keep >= 0 && dup2(keep, KEPT_FD) < 0)
		return -1;
	return 0;
}

/* Never returns. */
static void child(char **argv, const struct proc_io *io, pid_t parent)
{
	const struct rlimit no_core = { 0, 0 };
	sigset_t none;

	setsid();
	if (!io->whole_group)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setrlimit(RLIMIT_CORE, &no_core);
	if (place_fds(io) < 0)
		_exit(125);
	if (io->tty)
		ioctl(0, TIOCSCTTY, 0);
	execvp(argv[0], argv);
	dprintf(2, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int proc_start(struct proc *p, struct args *a, const struct proc_io *io)
{
	pid_t parent = getpid();
	pid_t pid;

	if (a->failed) {
		args_free(a);
		return -ENOMEM;
	}
	pid = fork();
	if (pid == 0)
		child(a->v, io, parent);
	args_free(a);
	if (pid < 0)
		return -errno;
	p->pid = pid;
	p->running = true;
	return 0;
}

/* Orphans of a group became our own children: we are their subreaper. */
static void bury_group(pid_t group)
{
	kill(-group, SIGKILL);
	while (waitpid(-group, NULL, 0) > 0 || errno == EINTR)
		;
}

bool proc_ended(struct proc *p)
{
	siginfo_t info = { 0 };

	if (!p->running)
		return true;
	if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT | WNOHANG) ||
	    info.si_pid != p->pid)
		return false;
	/* Its pid is ours until it is waited for: no one else gets it. */
	kill(-p->pid, SIGKILL);
	while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
		;
	bury_group(p->pid);
	p->running = false;
	return true;
}

void proc_kill(struct proc *p)
{
	if (!p->running)
		return;
	kill(-p->pid, SIGKILL);
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
		;
	bury_group(p->pid);
	p->running = false;
}

const char *proc_how(const struct proc *p, char *buf, size_t size)
{
	if (WIFSIGNALED(p->status))
		snprintf(buf, size, "signal %d", WTERMSIG(p->status));
	else
		snprintf(buf, size, "exit code %d", WEXITSTATUS(p->status));
	return buf;
}

/* The janitor's whole life. Group 0 dismisses it. */
static void janitor_main(int fd, const char *dir)
{
	pid_t groups[JANITOR_GROUPS], group;
	unsigned int n = 0;
	ssize_t got;

	setsid();
	for (;;) {
		got = read(fd, &group, sizeof(group));
		if (got < 0 && errno == EINTR)
			continue;
		if (got != (ssize_t)sizeof(group))
			break;
		if (!group)
			_exit(0);
		if (n < JANITOR_GROUPS)
			groups[n++] = group;
	}
	while (n)
		kill(-groups[--n], SIGKILL);
	if (dir)
		remove_tree(dir);
	_exit(0);
}

int janitor_start(struct janitor *j, const char *dir)
{
	int p[2];

	j->pipe = -1;
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	j->pid = fork();
	if (j->pid == 0) {
		close(p[1]);
		janitor_main(p[0], dir);
	}
	close(p[0]);
	if (j->pid < 0) {
		close(p[1]);
		return -EAGAIN;
	}
	j->pipe = p[1];
	return 0;
}

void janitor_tell(struct janitor *j, pid_t group)
{
	if (j->pipe >= 0)
		write_all(j->pipe, &group, sizeof(group));
}

void janitor_dismiss(struct janitor *j)
{
	if (j->pipe < 0)
		return;
	janitor_tell(j, 0);
	close(j->pipe);
	j->pipe = -1;
	while (waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
