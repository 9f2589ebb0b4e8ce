/* SPDX-License-Identifier: MIT */
/* Ask a daemon over its control socket: see control_client.h, control.h. */
#include "host/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/control.h"
#include "host/log.h"
#include "vhost/sock.h"

#define ANSWER_MAX	(2u << 20)	/* more than any daemon gives */
/* One that opens many disks on a busy machine answers late, not never. */
#define TIMEOUT_MS	30000

static int open_socket(const char *path)
{
	int fd = vhu_sock_connect(path, TIMEOUT_MS);

	if (fd == -ENAMETOOLONG)
		log_err("%s: too long for a socket's path", path);
	else if (fd == -EAGAIN)
		log_err("%s: the daemon does not take the question; it hangs or is stopped",
			path);
	else if (fd < 0)
		log_err("%s: %s; is a daemon running with --control-path=%s?",
			path, strerror(-fd), path);
	return fd;
}

/* Is the answer whole? A line, or a text that says itself where it ends. */
static bool complete(const char *buf, size_t len)
{
	static const char eof[] = "# EOF\n";
	const size_t n = sizeof(eof) - 1;

	if (!len || buf[len - 1] != '\n')
		return false;
	return buf[0] == '{' || (len >= n && !memcmp(buf + len - n, eof, n));
}

static int read_answer(int fd, char *buf)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	while (!complete(buf, len)) {
		if (len == ANSWER_MAX)
			return -EMSGSIZE;
		if (poll(&p, 1, TIMEOUT_MS) != 1)
			return -ETIMEDOUT;
		n = recv(fd, buf + len, ANSWER_MAX - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		len += (size_t)n;
	}
	buf[len] = 0;
	return 0;
}

static int send_line(int fd, char *line, size_t len, const int *file,
		     unsigned nr_files)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CONTROL_FILES_MAX * sizeof(int))];
	} files = { .bytes = { 0 } };
	struct iovec iov = { line, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;

	if (nr_files > CONTROL_FILES_MAX)
		return -E2BIG;
	if (nr_files) {
		m.msg_control = &files;
		m.msg_controllen = CMSG_SPACE(nr_files * sizeof(int));
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nr_files * sizeof(int));
		memcpy(CMSG_DATA(h), file, nr_files * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}

int control_ask(const char *path, const char *line, char **answer)
{
	return control_ask_with(path, line, NULL, 0, answer);
}

int control_ask_with(const char *path, const char *line, const int *file,
		     unsigned nr_files, char **answer)
{
	char *buf, *question = NULL;
	int fd, n, rc = 0;

	*answer = NULL;
	fd = open_socket(path);
	if (fd < 0)
		return fd;
	buf = malloc(ANSWER_MAX + 1);
	n = asprintf(&question, "%s\n", line);
	if (!buf || n < 0)
		rc = -ENOMEM;
	else
		rc = send_line(fd, question, (size_t)n, file, nr_files);
	if (!rc)
		rc = read_answer(fd, buf);
	if (n >= 0)
		free(question);
	close(fd);
	if (rc) {
		log_err("%s: no answer: %s", path, strerror(-rc));
		free(buf);
		return rc;
	}
	*answer = buf;
	return 0;
}

/* What is between quotes after @key, without its escapes. */
static void say_error(const char *answer)
{
	static const char key[] = "\"error\":\"";
	const char *at = strstr(answer, key);
	char text[512];
	size_t n = 0;

	at = at ? at + sizeof(key) - 1 : "unknown error\"";
	for (; *at && *at != '"' && n < sizeof(text) - 1; at++) {
		if (*at == '\\' && at[1])
			at++;
		text[n++] = *at;
	}
	text[n] = 0;
	log_err("%s", text);
}

char *control_result(char *answer)
{
	static const char good[] = "{\"ok\":true,\"result\":";
	size_t len = strlen(answer);

	if (answer[0] != '{')
		return answer;
	if (strncmp(answer, good, sizeof(good) - 1) ||
	    len < sizeof(good) + 1) {
		say_error(answer);
		return NULL;
	}
	answer[len - 2] = '\n';		/* over "}\n" */
	answer[len - 1] = 0;
	return answer + sizeof(good) - 1;
}
