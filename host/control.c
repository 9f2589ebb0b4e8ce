/* SPDX-License-Identifier: MIT */
/* The control socket and its clients: see control.h. */
#include "host/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/log.h"

#define TOKEN_NS	(NS_PER_S / CONTROL_RATE)

/* Take a token; false: there is none, wait TOKEN_NS. */
static bool take_token(struct control_bucket *b)
{
	uint64_t now = clock_ns(), fresh = (now - b->at_ns) / TOKEN_NS;

	if (fresh) {
		b->at_ns = now;
		b->tokens = fresh > CONTROL_BURST - b->tokens ?
			CONTROL_BURST : b->tokens + (unsigned)fresh;
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

static void fill_bucket(struct control_bucket *b)
{
	b->at_ns = clock_ns();
	b->tokens = CONTROL_BURST;
}

/* -- descriptors --------------------------------------------------------- */

/* Of whose command runs: there is one control thread. */
static struct control_client *answered;

int control_take_file(void)
{
	struct control_client *c = answered;
	int fd;

	if (!c || !c->nr_files)
		return -1;
	fd = c->file[0];
	c->nr_files--;
	memmove(c->file, c->file + 1, c->nr_files * sizeof(c->file[0]));
	return fd;
}

static void close_files(struct control_client *c)
{
	while (c->nr_files)
		close(c->file[--c->nr_files]);
}

/* As many as there is room for; the kernel closes those beyond a message's. */
static void keep_files(struct control_client *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		unsigned n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) /
					sizeof(int));

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd),
			       sizeof(fd));
			if (c->nr_files < CONTROL_FILES_MAX)
				c->file[c->nr_files++] = fd;
			else
				close(fd);
		}
	}
}

/* -- one client ------------------------------------------------------------ */

static void client_close(struct control_client *c)
{
	loop_fd_del(c->control->loop, &c->fd);
	loop_timer_cancel(c->control->loop, &c->timer);
	close(c->fd.fd);
	c->fd.fd = -1;
	close_files(c);
	text_free(&c->out);
}

static void want(struct control_client *c, uint32_t events)
{
	if (loop_fd_mod(c->control->loop, &c->fd, events))
		client_close(c);
}

/* 1: all is sent; 0: it takes no more for now; -1: it is gone. */
static int flush(struct control_client *c)
{
	ssize_t n;

	while (c->out_sent < c->out.len) {
		n = send(c->fd.fd, c->out.p + c->out_sent,
			 c->out.len - c->out_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->out_sent += (size_t)n;
	}
	/* A long answer's memory is not kept. */
	text_free(&c->out);
	c->out_sent = 0;
	return 1;
}

static void answer_line(struct control_client *c, char *end)
{
	size_t used = (size_t)(end - c->in) + 1;

	/* A zero byte would hide what follows it: no printable line then. */
	if (memchr(c->in, 0, used))
		c->in[0] = '\1';
	*end = 0;
	if (end > c->in && end[-1] == '\r')
		end[-1] = 0;
	answered = c;
	control_answer(&c->control->set, c->in, &c->out);
	answered = NULL;
	close_files(c);
	c->in_len -= (unsigned)used;
	memmove(c->in, c->in + used, c->in_len);
}

/*
 * Do one thing: send, answer one line, or find out what to wait for. What
 * remains is done when all others had their turn.
 */
static void client_step(void *ctx)
{
	struct control_client *c = ctx;
	char *end;
	int sent;

	if (c->fd.fd < 0)
		return;
	sent = flush(c);
	end = memchr(c->in, '\n', c->in_len);
	if (sent < 0 || (sent && (c->failed || (c->ended && !end)))) {
		client_close(c);
	} else if (!sent) {
		want(c, EPOLLOUT);
	} else if (end && !take_token(&c->bucket)) {
		want(c, 0);
		if (c->fd.fd >= 0)
			loop_timer_set(c->control->loop, &c->timer, TOKEN_NS);
	} else if (end) {
		answer_line(c, end);
		loop_defer(c->control->loop, &c->again);
	} else if (c->in_len == CONTROL_LINE_MAX) {
		c->failed = true;
		text_fmt(&c->out, "{\"ok\":false,\"error\":"
			 "\"the line is too long\"}\n");
		loop_defer(c->control->loop, &c->again);
	} else {
		want(c, EPOLLIN);
	}
}

static void client_read(struct control_client *c)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CONTROL_FILES_MAX * sizeof(int))];
	} files;
	struct iovec iov = { c->in + c->in_len,
			     CONTROL_LINE_MAX - c->in_len };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &files, .msg_controllen = sizeof(files),
	};
	ssize_t n;

	if (c->in_len == CONTROL_LINE_MAX)
		return;
	n = recvmsg(c->fd.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n >= 0)
		keep_files(c, &m);
	if (n > 0)
		c->in_len += (unsigned)n;
	else if (n == 0)
		c->ended = true;
}

static void on_client(void *ctx, uint32_t events)
{
	struct control_client *c = ctx;

	c->used_ns = clock_ns();
	/* Gone altogether: nobody reads an answer. */
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) {
		client_close(c);
		return;
	}
	if (events & EPOLLIN)
		client_read(c);
	client_step(c);
}

/* -- the socket ------------------------------------------------------------ */

/* A free place, or that of the client who has been silent the longest. */
static struct control_client *place(struct control *c)
{
	struct control_client *oldest = &c->client[0];
	unsigned i;

	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (c->client[i].fd.fd < 0)
			return &c->client[i];
		if (c->client[i].used_ns < oldest->used_ns)
			oldest = &c->client[i];
	}
	client_close(oldest);
	return oldest;
}

static void on_listen(void *ctx, uint32_t events)
{
	struct control *c = ctx;
	struct control_client *cl;
	int fd;

	(void)events;
	if (!take_token(&c->bucket)) {
		if (!loop_fd_mod(c->loop, &c->listen_fd, 0))
			loop_timer_set(c->loop, &c->timer, TOKEN_NS);
		return;
	}
	fd = sock_accept(&c->sock);
	if (fd < 0)
		return;
	cl = place(c);
	cl->fd.fd = fd;
	cl->used_ns = clock_ns();
	cl->ended = cl->failed = false;
	cl->in_len = 0;
	cl->nr_files = 0;
	cl->out_sent = 0;
	text_init(&cl->out, CONTROL_ANSWER_MAX);
	fill_bucket(&cl->bucket);
	if (!loop_fd_add(c->loop, &cl->fd, EPOLLIN))
		return;
	close(fd);
	cl->fd.fd = -1;
}

static void listen_again(void *ctx)
{
	struct control *c = ctx;

	if (loop_fd_mod(c->loop, &c->listen_fd, EPOLLIN))
		log_err("the control socket takes no more clients");
}

static void init(struct control *c)
{
	unsigned i;

	memset(c, 0, sizeof(*c));
	c->listen_fd.fd = -1;
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++)
		c->client[i].fd.fd = -1;
}

int control_open(struct control *c, const char *path)
{
	const struct sock_perm perm = { .mode = 0600,
					.option = "--control-path" };

	init(c);
	return sock_listen(&c->sock, path, &perm);
}

int control_adopt(struct control *c, const char *path, int fd)
{
	init(c);
	return sock_adopt(&c->sock, fd, path);
}

int control_start(struct control *c, struct loop *loop,
		  const struct control_set *set)
{
	unsigned i;
	int rc;

	c->loop = loop;
	c->set = *set;
	c->timer = (struct loop_timer){ .fn = listen_again, .ctx = c };
	fill_bucket(&c->bucket);
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *cl = &c->client[i];

		cl->control = c;
		cl->fd = (struct loop_fd){ -1, on_client, cl };
		cl->again = (struct loop_call){ .fn = client_step, .ctx = cl };
		cl->timer = (struct loop_timer){ .fn = client_step,
						 .ctx = cl };
	}
	c->listen_fd = (struct loop_fd){ c->sock.fd, on_listen, c };
	rc = loop_fd_add(loop, &c->listen_fd, EPOLLIN);
	if (rc)
		c->listen_fd.fd = -1;
	return rc;
}

void control_close(struct control *c)
{
	unsigned i;

	if (!c->sock.name[0])
		return;
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->client[i].fd.fd >= 0)
			client_close(&c->client[i]);
	if (c->listen_fd.fd >= 0) {
		loop_fd_del(c->loop, &c->listen_fd);
		loop_timer_cancel(c->loop, &c->timer);
	}
	sock_close(&c->sock);
	c->sock.name[0] = 0;
}
