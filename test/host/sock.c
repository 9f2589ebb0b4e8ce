/* SPDX-License-Identifier: MIT */
/* Listening sockets: paths that are free, stale, taken, wrong, too long. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/log.h"
#include "host/sock.h"
#include "vtest.h"

static const struct sock_perm plain = { .mode = -1 };
static char dir[64], path[96];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/vireo-sock.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/s", dir);
}

static int try_connect(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	close(fd);
	return rc;
}

TEST("a socket is made, served, and removed at the end", "")
{
	struct sock s;
	struct stat st;
	int fd;

	make_dir();
	CHECK_EQ(sock_listen(&s, path, &plain), 0);
	CHECK_EQ(sock_accept(&s), -EAGAIN);
	CHECK_EQ(try_connect(), 0);
	fd = sock_accept(&s);
	CHECK_GE(fd, 0);
	close(fd);
	sock_close(&s);
	CHECK_EQ(stat(path, &st), -1);
	CHECK_EQ(rmdir(dir), 0);
}

TEST("mode is as told", "")
{
	struct sock_perm perm = { .mode = 0620 };
	struct sock s;
	struct stat st;

	make_dir();
	CHECK_EQ(sock_listen(&s, path, &perm), 0);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0620);
	sock_close(&s);
	perm.owner = "no-such-user-here";
	CHECK_EQ(sock_listen(&s, path, &perm), -EINVAL);
	CHECK_EQ(stat(path, &st), -1);
	CHECK_EQ(rmdir(dir), 0);
}

TEST("a stale socket is replaced, a live one and other files are not", "")
{
	struct sock s, t;
	int fd;

	make_dir();
	CHECK_EQ(sock_listen(&s, path, &plain), 0);
	CHECK_EQ(sock_listen(&t, path, &plain), -EADDRINUSE);
	CHECK_EQ(try_connect(), 0);
	/* As if killed: the descriptor goes, the file stays. */
	close(s.fd);
	close(s.dir_fd);
	CHECK_EQ(try_connect(), -ECONNREFUSED);
	CHECK_EQ(sock_listen(&t, path, &plain), 0);
	CHECK_EQ(try_connect(), 0);
	sock_close(&t);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK_GE(fd, 0);
	close(fd);
	CHECK_EQ(sock_listen(&t, path, &plain), -EEXIST);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(dir), 0);
}

TEST("impossible paths are refused", "")
{
	char name[300];
	struct sock s;

	memset(name, 'x', sizeof(name));
	name[0] = '/';
	name[108] = 0;
	CHECK_EQ(sock_listen(&s, name, &plain), -ENAMETOOLONG);
	CHECK_EQ(sock_listen(&s, "/nonexistent-folder/s", &plain), -ENOENT);
	CHECK_EQ(sock_listen(&s, "", &plain), -EINVAL);
	CHECK_EQ(sock_listen(&s, "/tmp/", &plain), -EINVAL);
}

TEST("inherited descriptors are told apart", "")
{
	struct sock s;
	int sv[2], p[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	CHECK_EQ(sock_inherit(&s, sv[0]), 0);
	CHECK(s.connected);
	CHECK(fcntl(sv[0], F_GETFD) & FD_CLOEXEC);
	sock_close(&s);
	close(sv[1]);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(sock_inherit(&s, p[0]), -ENOTSOCK);
	close(p[0]);
	close(p[1]);
	CHECK_EQ(sock_inherit(&s, 987654), -EBADF);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	CHECK_EQ(sock_inherit(&s, sv[0]), -EINVAL);
	close(sv[0]);
	close(sv[1]);
	make_dir();
	CHECK_EQ(sock_listen(&s, path, &plain), 0);
	sv[0] = dup(s.fd);
	struct sock t;
	CHECK_EQ(sock_inherit(&t, sv[0]), 0);
	CHECK(!t.connected);
	sock_close(&t);
	sock_close(&s);
	CHECK_EQ(rmdir(dir), 0);
}

/* A descriptor, the lowest; all others below the limit are in use. */
static void take_all(struct rlimit *old)
{
	struct rlimit few;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, old), 0);
	few = *old;
	few.rlim_cur = (rlim_t)dup(0);
	close((int)few.rlim_cur);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
}

TEST("without a descriptor for it, a connection ends, and does not wake again",
     "")
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct rlimit old;
	struct sock s;
	int fd[2];
	char byte;

	make_dir();
	CHECK_EQ(sock_listen(&s, path, &plain), 0);
	strcpy(a.sun_path, path);
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK_EQ(connect(fd[i], (struct sockaddr *)&a, sizeof(a)), 0);
	}
	take_all(&old);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(sock_accept(&s), -EMFILE);
		/* An end, or a connection that was reset. */
		errno = 0;
		CHECK_LE(recv(fd[i], &byte, 1, MSG_DONTWAIT), 0);
		CHECK(errno != EAGAIN);
	}
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	CHECK_EQ(sock_accept(&s), -EAGAIN);
	CHECK_EQ(try_connect(), 0);
	close(fd[0]);
	fd[0] = sock_accept(&s);
	CHECK_GE(fd[0], 0);
	close(fd[0]);
	close(fd[1]);
	sock_close(&s);
	CHECK_EQ(rmdir(dir), 0);
}
