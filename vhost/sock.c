/* SPDX-License-Identifier: MIT */
/* vhost/sock.c - framing of messages on a Unix stream socket. */
#define _GNU_SOURCE	/* preadv2 */
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A full backlog wakes nobody who does not wait for it. */
#define CONNECT_AGAIN_MS	5
#define CMSG_ROOM	CMSG_SPACE(VHU_FDS_MAX * sizeof(int))

union control {
	struct cmsghdr align;
	unsigned char room[CMSG_ROOM];
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int vhu_sock_connect(const char *path, int timeout_ms)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int64_t end = now_ms() + timeout_ms;
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		err = errno;
		if (err == EAGAIN && now_ms() < end) {
			poll(NULL, 0, CONNECT_AGAIN_MS);
			continue;
		}
		close(fd);
		return -err;
	}
	return fd;
}

void vhu_sock_init(struct vhu_sock *s, int fd)
{
	s->fd = fd;
	s->have = 0;
	s->in.nr_fds = 0;
}

void vhu_msg_drop_fds(struct vhu_msg *msg)
{
	for (unsigned i = 0; i < msg->nr_fds; i++) {
		if (msg->fd[i] >= 0)
			close(msg->fd[i]);
	}
	msg->nr_fds = 0;
}

int vhu_msg_take_fd(struct vhu_msg *msg, unsigned i)
{
	int fd;

	if (i >= msg->nr_fds)
		return -1;
	fd = msg->fd[i];
	msg->fd[i] = -1;
	return fd;
}

void vhu_sock_fini(struct vhu_sock *s)
{
	vhu_msg_drop_fds(&s->in);
	s->have = 0;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Move the descriptors of a received piece into the message. */
static int keep_fds(struct vhu_msg *in, struct msghdr *mh)
{
	int err = mh->msg_flags & MSG_CTRUNC ? -E2BIG : 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t nr;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < nr; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(fd));
			if (in->nr_fds < VHU_FDS_MAX) {
				in->fd[in->nr_fds++] = fd;
			} else {
				close(fd);
				err = -E2BIG;
			}
		}
	}
	return err;
}

/* One recvmsg(); bytes, 0 for "not now", or -errno. */
static ssize_t recv_piece(struct vhu_sock *s, void *to, size_t len)
{
	union control control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;
	int err;

	do {
		n = recvmsg(s->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	/* A peer that was killed before it read our reply has left, too. */
	if (n < 0 && errno != ECONNRESET)
		return -errno;
	if (n <= 0)
		return s->have ? -EPIPE : -ENOTCONN;
	err = keep_fds(&s->in, &mh);
	return err ? err : n;
}

static int recv_header(struct vhu_sock *s)
{
	unsigned char *at = (unsigned char *)&s->in.hdr + s->have;
	ssize_t n = recv_piece(s, at, sizeof(s->in.hdr) - s->have);

	if (n <= 0)
		return (int)n;
	s->have += (uint32_t)n;
	if (s->have < sizeof(s->in.hdr))
		return 1;
	switch (vhu_check_hdr(&s->in.hdr)) {
	case VHU_FINE:
		return 1;
	case VHU_TOO_LONG:
		return -EMSGSIZE;
	default:
		return -EBADMSG;
	}
}

static int recv_payload(struct vhu_sock *s)
{
	uint32_t done = s->have - (uint32_t)sizeof(s->in.hdr);
	ssize_t n = recv_piece(s, s->in.p.bytes + done, s->in.hdr.size - done);

	if (n <= 0)
		return (int)n;
	s->have += (uint32_t)n;
	return 1;
}

static bool whole(const struct vhu_sock *s)
{
	return s->have >= sizeof(s->in.hdr) &&
		s->have - sizeof(s->in.hdr) == s->in.hdr.size;
}

int vhu_sock_recv(struct vhu_sock *s)
{
	int r;

	if (s->fd < 0)
		return -ENOTCONN;
	if (whole(s)) {
		vhu_msg_drop_fds(&s->in);
		s->have = 0;
	}
	/* Bounded: each turn takes at least one of the message's bytes. */
	do {
		r = s->have < sizeof(s->in.hdr) ? recv_header(s)
						: recv_payload(s);
		if (r <= 0)
			return r;
	} while (!whole(s));
	return 1;
}

bool vhu_sock_in_message(const struct vhu_sock *s)
{
	return s->have && !whole(s);
}

int vhu_sock_wait(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* Wait for room until @deadline; 0 or -errno. */
static int wait_room(int fd, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int64_t left = deadline - now_ms();

	if (left <= 0)
		return -ETIMEDOUT;
	if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static void put_fds(struct msghdr *mh, union control *control,
		    const struct vhu_msg *msg)
{
	struct cmsghdr *c;

	memset(control, 0, sizeof(*control));
	mh->msg_control = control;
	mh->msg_controllen = CMSG_SPACE(msg->nr_fds * sizeof(int));
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(msg->nr_fds * sizeof(int));
	memcpy(CMSG_DATA(c), msg->fd, msg->nr_fds * sizeof(int));
}

int vhu_sock_send(int fd, const struct vhu_msg *msg, int timeout_ms)
{
	size_t total = sizeof(msg->hdr) + msg->hdr.size;
	int64_t deadline = now_ms() + timeout_ms;
	size_t sent = 0;

	if (msg->hdr.size > VHU_PAYLOAD_MAX || msg->nr_fds > VHU_FDS_MAX)
		return -EINVAL;
	while (sent < total) {
		size_t h = sent < sizeof(msg->hdr) ? sent : sizeof(msg->hdr);
		size_t p = sent - h;
		struct iovec iov[2] = {
			{ (char *)(uintptr_t)&msg->hdr + h,
			  sizeof(msg->hdr) - h },
			{ (char *)(uintptr_t)&msg->p + p,
			  msg->hdr.size - p },
		};
		struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
		union control control;
		ssize_t n;
		int err;

		/* Descriptors travel with the first byte, and only once. */
		if (!sent && msg->nr_fds)
			put_fds(&mh, &control, msg);
		n = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return -errno;
		err = wait_room(fd, deadline);
		if (err)
			return err;
	}
	return 0;
}

/* Of others the kernel cannot say so, or always has what is there. */
static bool can_say(int fd)
{
	struct stat st;

	return !fstat(fd, &st) &&
		(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static bool cannot(ssize_t n)
{
	return n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS);
}

ssize_t vhu_read_now(int fd, void *p, size_t len)
{
	struct iovec v = { p, len };
	ssize_t n;

	if (can_say(fd)) {
		n = preadv2(fd, &v, 1, -1, RWF_NOWAIT);
		if (!cannot(n))
			return n;
	}
	return read(fd, p, len);
}

ssize_t vhu_write_now(int fd, const void *p, size_t len)
{
	struct iovec v = { (void *)(uintptr_t)p, len };
	ssize_t n;

	if (can_say(fd)) {
		n = pwritev2(fd, &v, 1, -1, RWF_NOWAIT);
		if (!cannot(n))
			return n;
	}
	return write(fd, p, len);
}
