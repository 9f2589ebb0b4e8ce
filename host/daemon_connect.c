/* SPDX-License-Identifier: MIT */
/* Coming to a front end that listens: see daemon_connect.h. */
#include "host/daemon_connect.h"

#include <errno.h>
#include <string.h>

#include "host/clock.h"
#include "host/daemon.h"
#include "host/daemon_serve.h"
#include "host/log.h"
#include "vhost/sock.h"

/* Between attempts: at first, and at most. */
#define FIRST_NS	(10 * NS_PER_MS)
#define LONGEST_NS	(1000 * NS_PER_MS)

/* Is it worth to try again? A full backlog, and what a restart looks like. */
static bool passes(int err)
{
	return err == -ENOENT || err == -ECONNREFUSED || err == -EAGAIN ||
		err == -EINTR;
}

static int try_now(struct daemon *d)
{
	int fd = vhu_sock_connect(d->opt.socket_path, 0);

	if (fd >= 0) {
		d->connect_ns = FIRST_NS;
		return daemon_serve_attach(d, fd);
	}
	if (!passes(fd)) {
		log_err("%s: cannot connect: %s; is it the socket that the front end listens on?",
			d->opt.socket_path, strerror(-fd));
		return fd;
	}
	loop_timer_set(&d->main->loop, &d->connect_timer, d->connect_ns);
	d->connect_ns *= 2;
	if (d->connect_ns > LONGEST_NS)
		d->connect_ns = LONGEST_NS;
	return 0;
}

static void on_timer(void *ctx)
{
	struct daemon *d = ctx;
	const char *about = log_about(d->name);
	int rc = try_now(d);

	log_about(about);
	if (!rc)
		return;
	d->process->exit_code = 1;
	/* Others are served as before. */
	if (!d->process->many)
		loop_stop(&d->main->loop);
}

int daemon_connect_start(struct daemon *d)
{
	d->connect_timer = (struct loop_timer){ .fn = on_timer, .ctx = d };
	d->connect_ns = FIRST_NS;
	return try_now(d);
}

void daemon_connect_again(struct daemon *d)
{
	d->connect_ns = FIRST_NS;
	loop_timer_set(&d->main->loop, &d->connect_timer, FIRST_NS);
}

void daemon_connect_stop(struct daemon *d)
{
	if (d->connect_timer.fn)
		loop_timer_cancel(&d->main->loop, &d->connect_timer);
}
