/* SPDX-License-Identifier: MIT */
/*
 * The loop that stands between the user and the guest. One thread, one
 * poll: signals, the guest's console, the hypervisor's log, our input.
 * Decides when it is over, not what to say about it: that is run.c's.
 */
#include "session.h"
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ESCAPE = 0x1d,		/* Ctrl-] */
	END_OF_INPUT = 0x04,	/* Ctrl-D, for a script's end */
	STATS_WAIT_MS = 1000,	/* for the numbers at disconnect */
	DEVICE_WAIT_MS = 5000,	/* from SIGTERM to SIGKILL */
	TICK_MS = 20,
};

static void copy_field(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

/* "step NAME VERDICT DETAIL" */
static void told_step(struct session *s, char *text)
{
	struct step *step = &s->steps[s->n_steps];
	char *save, *name = strtok_r(text, " ", &save);
	char *verdict = name ? strtok_r(NULL, " ", &save) : NULL;

	if (!verdict || s->n_steps == STEPS_MAX)
		return;
	copy_field(step->name, sizeof(step->name), name);
	copy_field(step->verdict, sizeof(step->verdict), verdict);
	copy_field(step->detail, sizeof(step->detail), save ? save : "");
	s->n_steps++;
	printf("  %-10s %-4s  %s\n", step->name, step->verdict, step->detail);
	fflush(stdout);
}

static void told(void *arg, char *line)
{
	struct session *s = arg;

	if (!strncmp(line, "step ", 5))
		told_step(s, line + 5);
	else if (!strncmp(line, "exit ", 5))
		s->exit_code = atoi(line + 5) & 0xff;
	else if (!strcmp(line, "ready"))
		s->ready = true;
}

/* What comes before or after the work itself is the kernel's chatter. */
static void show(void *arg, const char *data, size_t len)
{
	struct session *s = arg;
	bool work = s->ready && s->exit_code < 0;

	if (work && s->run->opt.mode != MODE_CHECK)
		write_all(1, data, len);
	else if (s->run->opt.verbose)
		write_all(2, data, len);
}

int session_init(struct session *s, struct run *r)
{
	sigset_t set;

	s->run = r;
	s->console = -1;
	s->log = -1;
	s->dev_log = -1;
	s->exit_code = -1;
	s->filtered = r->opt.mode == MODE_CHECK ||
		      r->opt.mode == MODE_COMMAND ||
		      r->opt.mode == MODE_SCRIPT;
	s->filter.told = told;
	s->filter.raw = show;
	s->filter.arg = s;
	filter_init(&s->filter, r->token);
	s->input_open = r->opt.mode == MODE_SCRIPT ||
			r->opt.mode == MODE_SHELL ||
			r->opt.mode == MODE_FOREIGN;
	s->ready = !s->filtered;
	s->input_last = '\n';
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGWINCH);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? -errno : 0;
}

static void read_console(struct session *s)
{
	char buf[4096];
	ssize_t n = read(s->console, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* EIO: the other end was closed. */
		close(s->console);
		s->console = -1;
		return;
	}
	if (!s->sized) {
		/* Its first word: now it listens. */
		s->sized = true;
		term_resize(s->console);
	}
	if (s->run->serial)
		tail_feed(&s->tail, buf, (size_t)n);
	if (s->filtered)
		filter_feed(&s->filter, buf, (size_t)n);
	else
		write_all(1, buf, (size_t)n);
}

static void read_log(struct session *s, int *fd, struct tail *tail)
{
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(*fd);
		*fd = -1;
		return;
	}
	tail_feed(tail, buf, (size_t)n);
	if (s->run->opt.verbose)
		write_all(2, buf, (size_t)n);
}

static void check_children(struct session *s)
{
	struct run *r = s->run;

	for (unsigned int i = 0; i < r->n_devs; i++)
		if (!device_is_inside(r, &r->dev[i]) &&
		    proc_ended(&r->dev[i].proc) && !s->dead)
			s->dead = &r->dev[i];
	if (proc_ended(&r->guest))
		s->end = WIFEXITED(r->guest.status) &&
			 !WEXITSTATUS(r->guest.status) ?
			 END_POWER_OFF : END_VMM;
	/* The hypervisor may fall with its back end: that one is the cause. */
	if (s->dead)
		s->end = END_DEVICE;
}

static void read_signals(struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) ==
	       (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			break;
		case SIGWINCH:
			if (s->console >= 0)
				term_resize(s->console);
			break;
		default:
			s->end = END_SIGNAL;
			s->signal = (int)info.ssi_signo;
			return;
		}
	}
	if (s->end == END_NOT_YET)
		check_children(s);
}

/* A script's last line may lack its end; then comes the end of file. */
static void end_input(struct session *s)
{
	s->input_open = false;
	if (s->run->opt.mode != MODE_SCRIPT)
		return;
	if (s->input_last != '\n')
		s->input[s->input_len++] = '\n';
	s->input[s->input_len++] = END_OF_INPUT;
}

static void read_input(struct session *s)
{
	ssize_t n = read(0, s->input, sizeof(s->input) - 2);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_input(s);
		return;
	}
	if (s->raw_input && memchr(s->input, ESCAPE, (size_t)n)) {
		s->end = END_ESCAPE;
		return;
	}
	s->input_len = (size_t)n;
	s->input_last = s->input[n - 1];
}

static void write_input(struct session *s)
{
	ssize_t n = write(s->console, s->input, s->input_len);

	if (n <= 0)
		return;
	s->input_len -= (size_t)n;
	memmove(s->input, s->input + n, s->input_len);
}

static void poll_once(struct session *s, int wait_ms)
{
	bool want = s->input_open && s->ready && !s->input_len &&
		    s->console >= 0;
	short console = s->input_len ? POLLIN | POLLOUT : POLLIN;
	struct pollfd p[] = {
		{ .fd = s->signals, .events = POLLIN },
		{ .fd = s->console, .events = console },
		{ .fd = s->log, .events = POLLIN },
		{ .fd = want ? 0 : -1, .events = POLLIN },
		{ .fd = s->dev_log, .events = POLLIN },
	};

	if (poll(p, ARRAY_LEN(p), wait_ms) < 0)
		return;
	if (p[2].revents)
		read_log(s, &s->log, &s->tail);
	if (p[4].revents)
		read_log(s, &s->dev_log, &s->dev_tail);
	if (p[1].revents & (POLLIN | POLLHUP | POLLERR))
		read_console(s);
	if (p[1].revents & POLLOUT && s->console >= 0)
		write_input(s);
	if (p[3].revents)
		read_input(s);
	if (p[0].revents)
		read_signals(s);
}

void session_loop(struct session *s)
{
	unsigned int limit_s = s->run->opt.limit_s;
	double limit = now_seconds() + limit_s;
	int wait_ms = limit_s ? 250 : -1;

	while (s->end == END_NOT_YET) {
		poll_once(s, wait_ms);
		if (s->tail.panic[0] && s->end == END_NOT_YET)
			s->end = END_PANIC;
		if (limit_s && now_seconds() > limit && s->end == END_NOT_YET)
			s->end = END_TIMEOUT;
	}
}

/* The file is there from the start; its text comes at the disconnect. */
static bool stats_missing(struct run *r)
{
	char one[2];

	for (unsigned int i = 0; i < r->n_devs; i++)
		if (!proc_ended(&r->dev[i].proc) &&
		    read_small(r->dev[i].stats, one, sizeof(one)) <= 0)
			return true;
	return false;
}

static bool devices_running(struct run *r)
{
	bool any = false;

	for (unsigned int i = 0; i < r->n_devs; i++)
		any |= !proc_ended(&r->dev[i].proc);
	return any;
}

static void drain_while(struct session *s, bool (*go)(struct run *r),
			int limit_ms)
{
	double limit = now_seconds() + limit_ms / 1000.0;

	while (go(s->run) && now_seconds() < limit)
		poll_once(s, TICK_MS);
}

void session_close(struct session *s)
{
	struct run *r = s->run;
	enum session_end end = s->end;

	s->input_open = false;
	proc_kill(&r->guest);
	if (end != END_DEVICE)
		drain_while(s, stats_missing, STATS_WAIT_MS);
	for (unsigned int i = 0; i < r->n_devs; i++)
		if (r->dev[i].proc.running)
			kill(r->dev[i].proc.pid, SIGTERM);
	drain_while(s, devices_running, DEVICE_WAIT_MS);
	for (unsigned int i = 0; i < r->n_devs; i++)
		proc_kill(&r->dev[i].proc);
	for (int i = 0; i < 256 && (s->console >= 0 || s->log >= 0 ||
				    s->dev_log >= 0); i++)
		poll_once(s, 0);
	if (s->filtered)
		filter_flush(&s->filter);
	/* The last words may come in after the news of the death. */
	if (s->tail.panic[0] && (end == END_VMM || end == END_POWER_OFF))
		end = END_PANIC;
	s->end = end;
}
