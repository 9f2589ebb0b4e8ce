/* SPDX-License-Identifier: MIT */
/* Framing: messages in pieces, with descriptors, cut off, too long. */
#include "vtest.h"

#include "vhost/sock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct vhu_sock s;
static struct vhu_msg msg;
static int peer;

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void open_pair(void)
{
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	vhu_sock_init(&s, sv[0]);
	peer = sv[1];
}

static void close_pair(void)
{
	vhu_sock_fini(&s);
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void send_raw(const void *p, size_t len)
{
	CHECK_EQ(send(peer, p, len, 0), len);
}

TEST("messages come whole, in order, with their descriptors", "")
{
	int before = open_fds();
	int fd = open("/dev/null", O_RDONLY);
	int got;

	open_pair();
	vhu_msg_init(&msg, 12, VHU_NEED_REPLY, 8);
	msg.p.u64 = 0x1122334455667788;
	msg.fd[0] = fd;
	msg.fd[1] = fd;
	msg.nr_fds = 2;
	CHECK_EQ(vhu_sock_send(peer, &msg, 1000), 0);
	vhu_msg_init(&msg, 1, 0, 0);
	CHECK_EQ(vhu_sock_send(peer, &msg, 1000), 0);

	CHECK_EQ(vhu_sock_recv(&s), 1);
	CHECK_EQ(s.in.hdr.request, 12);
	CHECK_EQ(s.in.hdr.flags, VHU_NEED_REPLY | VHU_VERSION);
	CHECK_EQ(s.in.p.u64, 0x1122334455667788);
	CHECK_EQ(s.in.nr_fds, 2);
	got = vhu_msg_take_fd(&s.in, 0);
	CHECK_EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(vhu_msg_take_fd(&s.in, 0), -1);
	CHECK_EQ(vhu_msg_take_fd(&s.in, 2), -1);

	/* The second one is not disturbed, and closes the one not taken. */
	CHECK_EQ(vhu_sock_recv(&s), 1);
	CHECK_EQ(s.in.hdr.request, 1);
	CHECK_EQ(s.in.nr_fds, 0);
	CHECK_EQ(vhu_sock_recv(&s), 0);
	close(got);
	close(fd);
	close_pair();
	CHECK_EQ(open_fds(), before);
}

TEST("a message may come byte by byte", "")
{
	unsigned char p[20];
	uint64_t n = 42;

	open_pair();
	vhu_msg_init(&msg, 2, 0, 8);
	memcpy(p, &msg.hdr, 12);
	memcpy(p + 12, &n, 8);
	for (size_t i = 0; i < 20; i++) {
		CHECK_EQ(vhu_sock_recv(&s), 0);
		send_raw(p + i, 1);
	}
	CHECK_EQ(vhu_sock_recv(&s), 1);
	CHECK_EQ(s.in.p.u64, 42);
	close_pair();
}

TEST("the end is told from the middle", "")
{
	open_pair();
	close(peer);
	peer = -1;
	CHECK_EQ(vhu_sock_recv(&s), -ENOTCONN);
	close_pair();

	for (size_t cut = 1; cut < 20; cut++) {
		open_pair();
		vhu_msg_init(&msg, 2, 0, 8);
		send_raw(&msg, cut);
		CHECK_EQ(vhu_sock_recv(&s), 0);
		close(peer);
		peer = -1;
		CHECK_EQ(vhu_sock_recv(&s), -EPIPE);
		close_pair();
	}
	CHECK_EQ(vhu_sock_recv(&s), -ENOTCONN);
}

TEST("a peer that left replies unread has left all the same", "")
{
	open_pair();
	vhu_msg_init(&msg, 1, 0, 0);
	CHECK_EQ(vhu_sock_send(s.fd, &msg, 1000), 0);
	close(peer);
	peer = -1;
	CHECK_EQ(vhu_sock_recv(&s), -ENOTCONN);
	close_pair();
}

TEST("headers that are not of the protocol are refused", "")
{
	struct vhu_hdr h = { .request = 1, .flags = 2, .size = 0 };

	open_pair();
	send_raw(&h, sizeof(h));
	CHECK_EQ(vhu_sock_recv(&s), -EBADMSG);
	close_pair();

	open_pair();
	h.flags = 1;
	h.size = VHU_PAYLOAD_MAX + 1;
	send_raw(&h, sizeof(h));
	CHECK_EQ(vhu_sock_recv(&s), -EMSGSIZE);
	close_pair();
}

TEST("too many descriptors are refused and none leaks", "")
{
	int before = open_fds();
	int fd = open("/dev/null", O_RDONLY);
	unsigned char room[CMSG_SPACE((VHU_FDS_MAX + 8) * sizeof(int))] = { 0 };
	struct vhu_hdr h = { .request = 5, .flags = 1, .size = 8 };
	struct iovec iov = { &h, sizeof(h) };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	open_pair();
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((VHU_FDS_MAX + 8) * sizeof(int));
	for (unsigned i = 0; i < VHU_FDS_MAX + 8; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	CHECK_EQ(sendmsg(peer, &mh, 0), sizeof(h));
	CHECK_EQ(vhu_sock_recv(&s), -E2BIG);
	close_pair();

	/* In two pieces, each of a legal number. */
	open_pair();
	mh.msg_controllen = CMSG_SPACE(20 * sizeof(int));
	c->cmsg_len = CMSG_LEN(20 * sizeof(int));
	iov.iov_len = 6;
	CHECK_EQ(sendmsg(peer, &mh, 0), 6);
	iov.iov_base = (char *)&h + 6;
	CHECK_EQ(sendmsg(peer, &mh, 0), 6);
	CHECK_EQ(vhu_sock_recv(&s), -E2BIG);
	close_pair();

	close(fd);
	CHECK_EQ(open_fds(), before);
}

TEST("a peer that does not read is waited for, but not for ever", "")
{
	int r = 0;

	open_pair();
	vhu_msg_init(&msg, 24, 0, VHU_PAYLOAD_MAX);
	for (int i = 0; i < 10000 && r == 0; i++)
		r = vhu_sock_send(peer, &msg, 20);
	CHECK_EQ(r, -ETIMEDOUT);
	close_pair();

	open_pair();
	vhu_sock_fini(&s);
	CHECK_EQ(vhu_sock_send(peer, &msg, 20), -EPIPE);
	close_pair();
}

static void *send_many(void *arg)
{
	struct vhu_msg *m = arg;

	for (uint32_t i = 0; i < 500; i++) {
		m->hdr.request = i;
		if (vhu_sock_send(peer, m, 5000) != 0)
			return arg;
	}
	return NULL;
}

TEST("a full backlog is waited for, but not for ever", "")
{
	char dir[] = "/tmp/vireo-vhost.XXXXXX", path[64], longer[200];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd[3], before;

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/s", dir);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	CHECK_EQ(vhu_sock_connect(longer, 0), -ENAMETOOLONG);
	CHECK_EQ(vhu_sock_connect(path, 1000), -ENOENT);
	strcpy(a.sun_path, path);
	CHECK_EQ(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(vhu_sock_connect(path, 1000), -ECONNREFUSED);
	CHECK_EQ(listen(listener, 0), 0);
	fd[0] = vhu_sock_connect(path, 0);
	CHECK_GE(fd[0], 0);
	before = open_fds();
	CHECK_EQ(vhu_sock_connect(path, 0), -EAGAIN);
	CHECK_EQ(vhu_sock_connect(path, 20), -EAGAIN);
	CHECK_EQ(open_fds(), before);
	fd[1] = accept(listener, NULL, NULL);
	CHECK_GE(fd[1], 0);
	fd[2] = vhu_sock_connect(path, 20);
	CHECK_GE(fd[2], 0);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	close(listener);
	unlink(path);
	CHECK_EQ(rmdir(dir), 0);
}

TEST("a slow reader gets long messages whole", "")
{
	pthread_t t;
	void *bad;
	int small = 4096;

	open_pair();
	setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	vhu_msg_init(&msg, 0, 0, VHU_PAYLOAD_MAX);
	memset(msg.p.bytes, 0x5a, VHU_PAYLOAD_MAX);
	CHECK_EQ(pthread_create(&t, NULL, send_many, &msg), 0);
	for (uint32_t i = 0; i < 500; i++) {
		int r;

		while ((r = vhu_sock_recv(&s)) == 0)
			vhu_sock_wait(s.fd, 1000);
		CHECK_EQ(r, 1);
		CHECK_EQ(s.in.hdr.request, i);
		CHECK_EQ(s.in.p.bytes[VHU_PAYLOAD_MAX - 1], 0x5a);
	}
	pthread_join(t, &bad);
	CHECK(bad == NULL);
	close_pair();
}
