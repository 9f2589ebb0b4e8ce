/* SPDX-License-Identifier: MIT */
/* Sessions with a back end in which anything can be said: see probe.h. */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define START_TRIES	500	/* of 10 ms */

static bool runs(struct probe *p)
{
	int status;

	if (!p->pid || waitpid(p->pid, &status, WNOHANG) != p->pid)
		return p->pid;
	p->pid = 0;
	/* A shell in between says 128 and the signal. */
	if (WIFSIGNALED(status))
		p->crash_signal = WTERMSIG(status);
	else if (WEXITSTATUS(status) > 128)
		p->crash_signal = WEXITSTATUS(status) - 128;
	return false;
}

static void start(struct probe *p)
{
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", p->start, (char *)NULL);
		_exit(127);
	}
	p->pid = pid > 0 ? pid : 0;
}

int peer_connect(struct probe *p)
{
	int fd = vhu_sock_connect(p->path, VHU_SEND_TIMEOUT_MS), i;

	if (!p->start)
		return fd;
	for (i = 0; fd < 0 && i < START_TRIES; i++) {
		if (!runs(p)) {
			if (i > START_TRIES / 2)
				return fd;
			/* What a dead one left behind may be in the way. */
			unlink(p->path);
			start(p);
		}
		poll(NULL, 0, 10);
		fd = vhu_sock_connect(p->path, VHU_SEND_TIMEOUT_MS);
	}
	return fd;
}

void peer_settle(struct probe *p)
{
	for (int i = 0; i < 5 && runs(p) && !p->crash_signal; i++)
		poll(NULL, 0, 2);
}

void peer_finish(struct probe *p)
{
	int i;

	if (!p->start || !runs(p))
		return;
	kill(-p->pid, SIGTERM);
	for (i = 0; runs(p) && i < 200; i++)
		poll(NULL, 0, 10);
	if (!p->pid)
		return;
	kill(-p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
}

int peer_open(struct probe *p, struct peer *s)
{
	int fd = peer_connect(p);

	memset(s, 0, sizeof(*s));
	vhu_sock_init(&s->sock, fd < 0 ? -1 : fd);
	s->timeout_ms = p->timeout_ms;
	return fd < 0 ? fd : 0;
}

void peer_close(struct peer *s)
{
	vhu_sock_fini(&s->sock);
}

int peer_send(struct peer *s)
{
	return vhu_sock_send(s->sock.fd, &s->out, s->timeout_ms);
}

int peer_receive(struct peer *s)
{
	int r;

	for (;;) {
		r = vhu_sock_recv(&s->sock);
		if (r)
			return r;
		r = vhu_sock_wait(s->sock.fd, s->timeout_ms);
		if (r <= 0)
			return r;
	}
}

int peer_ask(struct peer *s)
{
	int r = peer_send(s);

	if (!r)
		r = peer_receive(s);
	if (r <= 0)
		return r ? r : -ETIMEDOUT;
	if (s->sock.in.hdr.request != s->out.hdr.request ||
	    !(s->sock.in.hdr.flags & VHU_REPLY))
		return -EPROTO;
	return 0;
}

int peer_ask_u64(struct peer *s, uint32_t request, uint64_t *v)
{
	int r;

	vhu_msg_init(&s->out, request, 0, 0);
	r = peer_ask(s);
	if (!r && s->sock.in.hdr.size != sizeof(*v))
		r = -EPROTO;
	if (!r)
		*v = s->sock.in.p.u64;
	return r;
}

/* Does it still answer a question? */
static enum taken alive(struct peer *s)
{
	int r;

	vhu_msg_init(&s->out, VHOST_USER_GET_FEATURES, 0, 0);
	r = peer_ask(s);
	if (!r)
		return TAKEN_IGNORED;
	return r == -ETIMEDOUT || r == -EPROTO ? TAKEN_SILENT : TAKEN_CLOSED;
}

enum taken peer_tell(struct peer *s)
{
	int r;

	if (!s->ack)
		return peer_send(s) ? TAKEN_CLOSED : alive(s);
	s->out.hdr.flags |= VHU_NEED_REPLY;
	r = peer_ask(s);
	if (r == -ETIMEDOUT)
		return alive(s);
	if (r)
		return r == -EPROTO ? TAKEN_SILENT : TAKEN_CLOSED;
	return s->sock.in.p.u64 ? TAKEN_REFUSED : TAKEN;
}

const char *taken_text(enum taken t)
{
	static const char *const text[] = {
		[TAKEN] = "accepted", [TAKEN_REFUSED] = "refused",
		[TAKEN_CLOSED] = "the connection was closed",
		[TAKEN_IGNORED] = "nothing was said, and the session goes on",
		[TAKEN_SILENT] = "no answer to anything any more",
	};

	return text[t];
}

int peer_open_ready(struct probe *p, struct peer *s)
{
	uint64_t pf = p->protocol & (VHU_PF(REPLY_ACK) | VHU_PF(CONFIG) |
				     VHU_PF(MQ) | VHU_PF(STATUS) |
				     VHU_PF(CONFIGURE_MEM_SLOTS));
	int r = peer_open(p, s);

	if (r)
		return r;
	if (has_f(p, VHOST_USER_F_PROTOCOL_FEATURES)) {
		vhu_msg_init(&s->out, VHOST_USER_SET_PROTOCOL_FEATURES, 0, 8);
		s->out.p.u64 = pf;
		r = peer_send(s);
		s->ack = !r && has_pf(p, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	}
	vhu_msg_init(&s->out, VHOST_USER_SET_OWNER, 0, 0);
	if (!r && peer_tell(s) > TAKEN_IGNORED)
		r = -EPROTO;
	vhu_msg_init(&s->out, VHOST_USER_SET_FEATURES, 0, 8);
	s->out.p.u64 = p->features & ~(1ull << VHOST_F_LOG_ALL |
				       1ull << VIRTIO_F_ACCESS_PLATFORM |
				       1ull << VIRTIO_F_RING_PACKED);
	if (!r && peer_tell(s) > TAKEN_IGNORED)
		r = -EPROTO;
	if (r)
		peer_close(s);
	return r;
}
