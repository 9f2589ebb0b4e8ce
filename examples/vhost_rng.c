/* SPDX-License-Identifier: MIT */
/*
 * vhost_rng.c - a vhost-user back end of one's own: an entropy device for
 * QEMU, User Mode Linux and the like, in one thread around poll().
 *
 *	cc examples/vhost_rng.c -o vhost_rng \
 *		$(pkg-config --cflags --libs --static vireo-vhost)
 *	./vhost_rng /tmp/rng.sock
 *
 * The library has neither a loop nor threads: what it wants watched it says
 * through struct vhu_env_ops. Any other device goes the same way; what
 * vireo-rng adds are options, a sandbox and hot upgrade.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/rng.h>
#include <vireo/vhu.h>

#define QUEUE_MAX	256	/* entries that a front end may choose */
#define BUDGET		64	/* requests, before we look at the socket */

static struct vio_rng rng;
static struct vio_queue queue;
static struct vhu_server *server;
static int kick_fd = -1;	/* the front end rings; -1: it does not */
static bool serving, wake;

/* -- the device -----------------------------------------------------------  */

static size_t fill(void *source, void *dst, size_t len)
{
	ssize_t n = getrandom(dst, len, 0);

	(void)source;
	return n < 0 ? 0 : (size_t)n;
}

static const struct vio_rng_source_ops source = { .fill = fill };

static int make_device(void)
{
	const struct vio_queue_limits limits = {
		.size_max = QUEUE_MAX, .seg_max = 8,
		.ctx_size = vio_rng_ctx_size,
	};
	size_t len = vio_queue_storage_size(&limits);
	void *storage = aligned_alloc(64, (len + 63) / 64 * 64);

	if (!storage ||
	    vio_queue_init(&queue, &rng.dev, 0, &limits, storage, len))
		return -1;
	return vio_rng_init(&rng, &queue, &source, NULL);
}

/* -- what the library asks of us ------------------------------------------  */

static int watch_kick(void *env, unsigned q, int fd)
{
	(void)env;
	(void)q;
	kick_fd = fd;
	serving = true;
	return 0;
}

static void unwatch_kick(void *env, unsigned q)
{
	(void)env;
	(void)q;
	kick_fd = -1;
	serving = false;
}

static void queue_wake(void *env, unsigned q)
{
	(void)env;
	(void)q;
	wake = true;
}

static const struct vhu_env_ops env = {
	.watch_kick = watch_kick, .unwatch_kick = unwatch_kick,
	.queue_wake = queue_wake,
};

static void say(void *ctx, enum vio_log_level level, const char *text,
		const struct vio_named *v, unsigned nr)
{
	(void)ctx;
	if (level == VIO_LOG_DEBUG)
		return;
	fprintf(stderr, "vhost_rng: %s", text);
	for (unsigned i = 0; i < nr; i++)
		fprintf(stderr, ", %s %llu", v[i].name,
			(unsigned long long)v[i].value);
	fprintf(stderr, "\n");
}

/* -- the loop -------------------------------------------------------------  */

static void serve_queue(void)
{
	wake = false;
	/* More than a budget: again, after a look at the socket. */
	if (vhu_queue_service(server, 0, BUDGET) == VIO_SERVICE_MORE)
		wake = true;
}

/* Until the front end leaves. */
static void serve_front_end(void)
{
	int rc = 0;

	while (!rc) {
		struct pollfd fds[2] = {
			{ .fd = vhu_server_fd(server),
			  .events = (short)vhu_server_events(server) },
			{ .fd = kick_fd, .events = POLLIN },
		};
		/* A ring without a kick is looked at all the time. */
		int wait = wake || (serving && kick_fd < 0) ? 0 : -1;

		if (poll(fds, 2, wait) < 0 && errno != EINTR)
			return;
		if (fds[1].revents && !vhu_queue_kicked(server, 0))
			kick_fd = -1;
		if (fds[1].revents || !wait)
			serve_queue();
		if (fds[0].revents)
			rc = vhu_server_readable(server);
	}
	vhu_server_detach(server);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		return -1;
	strcpy(a.sun_path, path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	const struct vhu_conf conf = {
		.dev = &rng.dev, .env = &env, .log = { .fn = say },
	};
	int listener, fd;

	if (argc != 2) {
		fprintf(stderr, "usage: vhost_rng SOCKET\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (make_device() || vhu_server_create(&server, &conf)) {
		fprintf(stderr, "vhost_rng: no memory\n");
		return 1;
	}
	listener = listen_at(argv[1]);
	if (listener < 0) {
		perror(argv[1]);
		return 1;
	}
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (!vhu_server_attach(server, fd))
			serve_front_end();
	return 1;
}
