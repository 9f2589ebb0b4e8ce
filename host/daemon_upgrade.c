/* SPDX-License-Identifier: MIT */
/*
 * A daemon and its successor: the old one listens at --upgrade-path; the new
 * one, started with --inherit, comes there, gets the sockets that the old one
 * listens on, opens its device, and asks for the session when it is ready. It
 * does not know what a session is: see vhost/hand_over.c.
 *
 * Whoever can connect there gets the guest's memory, so that the socket is
 * its owner's alone.
 */
#include "host/daemon_upgrade.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/daemon_serve.h"
#include "host/log.h"
#include "vhost/sock.h"

/* Messages between the two, framed as vhost-user's. */
#define SOCKETS		0x76696f10u	/* old: here is what I listen on */
#define READY		0x76696f11u	/* new: now the session, please */
/* What SOCKETS brings beside the upgrade socket, in this order. */
#define HAS_SOCKET	1u
#define HAS_CONTROL	2u
/* And then the files of the back end, whose names follow the number. */
#define FILES_SHIFT	8
#define TIMEOUT_MS	5000

/* -- the old one --------------------------------------------------------- */

static void heir_close(struct daemon *d)
{
	if (d->heir.fd < 0)
		return;
	loop_fd_del(&d->main->loop, &d->heir_fd);
	vhu_sock_fini(&d->heir);
}

static void on_heir(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	int r = vhu_sock_recv(&d->heir);

	(void)events;
	if (!r)
		return;
	if (r < 0 || d->heir.in.hdr.request != READY) {
		log_warn("a successor came and went without the session");
		heir_close(d);
		return;
	}
	r = daemon_serve_hand_over(d, d->heir.fd);
	if (r) {
		heir_close(d);
		return;
	}
	log_info("handed over to a successor");
	d->handed_over = d->files_left = true;
	loop_stop(&d->main->loop);
}

static void add_files(struct daemon *d, struct vhu_msg *msg)
{
	struct daemon_file file[DAEMON_FILES_MAX];
	unsigned n = d->type->files ? d->type->files(d, file) : 0;
	char *at = (char *)&msg->p + sizeof(msg->p.u64);

	for (unsigned i = 0; i < n; i++, at += sizeof(file->name)) {
		memcpy(at, file[i].name, sizeof(file->name));
		msg->fd[msg->nr_fds++] = file[i].fd;
	}
	msg->p.u64 |= (uint64_t)n << FILES_SHIFT;
	msg->hdr.size += n * (uint32_t)sizeof(file->name);
}

static int send_sockets(struct daemon *d)
{
	struct vhu_msg *msg = calloc(1, sizeof(*msg));
	int rc;

	if (!msg)
		return -ENOMEM;
	vhu_msg_init(msg, SOCKETS, 0, sizeof(msg->p.u64));
	msg->fd[msg->nr_fds++] = d->upgrade.fd;
	if (d->sock.fd >= 0) {
		msg->p.u64 |= HAS_SOCKET;
		msg->fd[msg->nr_fds++] = d->sock.fd;
	}
	if (d->opt.control_path) {
		msg->p.u64 |= HAS_CONTROL;
		msg->fd[msg->nr_fds++] = d->process->control.sock.fd;
	}
	add_files(d, msg);
	rc = vhu_sock_send(d->heir.fd, msg, TIMEOUT_MS);
	free(msg);
	return rc;
}

static void on_upgrade(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	int fd = sock_accept(&d->upgrade);

	(void)events;
	if (fd < 0)
		return;
	if (d->heir.fd >= 0) {
		log_warn("two successors at a time: the second one is sent away");
		close(fd);
		return;
	}
	vhu_sock_init(&d->heir, fd);
	d->heir_fd = (struct loop_fd){ fd, on_heir, d };
	if (send_sockets(d) ||
	    loop_fd_add(&d->main->loop, &d->heir_fd, EPOLLIN))
		vhu_sock_fini(&d->heir);
}

int daemon_upgrade_start(struct daemon *d)
{
	if (d->upgrade.fd < 0)
		return 0;
	d->upgrade_fd = (struct loop_fd){ d->upgrade.fd, on_upgrade, d };
	return loop_fd_add(&d->main->loop, &d->upgrade_fd, EPOLLIN);
}

void daemon_upgrade_close(struct daemon *d)
{
	heir_close(d);
	/* The files of sockets that a successor listens on are not ours. */
	if (d->handed_over || (d->opt.inherit && !d->inherited)) {
		sock_leave(&d->sock);
		sock_leave(&d->upgrade);
	}
	sock_close(&d->upgrade);
	while (d->nr_files)
		close(d->file[--d->nr_files].fd);
}

/* -- the new one --------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* What is named behind the number, from descriptor @next on. */
static int take_files(struct daemon *d, struct vhu_msg *in, unsigned next)
{
	uint64_t n = in->p.u64 >> FILES_SHIFT;
	const char *at = (const char *)&in->p + sizeof(in->p.u64);

	if (n > DAEMON_FILES_MAX ||
	    in->hdr.size != sizeof(in->p.u64) + n * sizeof(d->file->name) ||
	    in->nr_fds < next + n)
		return -EPROTO;
	for (; d->nr_files < n; at += sizeof(d->file->name)) {
		struct daemon_file *f = &d->file[d->nr_files++];

		memcpy(f->name, at, sizeof(f->name));
		f->name[sizeof(f->name) - 1] = 0;
		f->fd = vhu_msg_take_fd(in, next++);
	}
	return 0;
}

static int receive_sockets(struct daemon *d)
{
	struct vhu_sock *s = &d->heir;
	unsigned next = 1;
	uint64_t has;
	int r;

	do {
		r = vhu_sock_recv(s);
		if (!r)
			r = vhu_sock_wait(s->fd, TIMEOUT_MS) == 1 ? 0 :
				-ETIMEDOUT;
	} while (!r && !(s->in.nr_fds && s->in.hdr.request));
	if (r < 0)
		return r;
	if (s->in.hdr.request != SOCKETS || !s->in.nr_fds ||
	    s->in.hdr.size < sizeof(s->in.p.u64))
		return -EPROTO;
	r = sock_adopt(&d->upgrade, vhu_msg_take_fd(&s->in, 0),
		       d->opt.inherit);
	has = s->in.p.u64;
	d->sock.connected = !(has & HAS_SOCKET);
	if (!r && has & HAS_SOCKET && !d->opt.socket_path)
		r = -EDESTADDRREQ;
	if (!r && has & HAS_SOCKET)
		r = sock_adopt(&d->sock, vhu_msg_take_fd(&s->in, next++),
			       d->opt.socket_path);
	/* Without a path it is closed, and there is none any more. */
	if (!r && has & HAS_CONTROL && d->opt.control_path) {
		r = control_adopt(&d->process->control, d->opt.control_path,
				  vhu_msg_take_fd(&s->in, next));
		d->process->control_adopted = !r;
	}
	next += !!(has & HAS_CONTROL);
	if (!r)
		r = take_files(d, &s->in, next);
	vhu_msg_drop_fds(&s->in);
	return r;
}

int daemon_upgrade_open(struct daemon *d)
{
	const struct sock_perm perm = {
		.mode = 0600, .option = "--upgrade-path",
	};
	int rc;

	d->heir.fd = d->upgrade.fd = d->upgrade.dir_fd = -1;
	if (d->opt.upgrade_path && !d->opt.inherit)
		return sock_listen(&d->upgrade, d->opt.upgrade_path, &perm);
	if (!d->opt.inherit)
		return 0;
	rc = connect_to(d->opt.inherit);
	if (rc >= 0) {
		vhu_sock_init(&d->heir, rc);
		rc = receive_sockets(d);
	}
	if (rc)
		log_err("--inherit=%s: %s; %s", d->opt.inherit, strerror(-rc),
			rc == -EDESTADDRREQ ?
			"give the predecessor's --socket-path, too" :
			"is the predecessor running with that --upgrade-path?");
	return rc;
}

int daemon_upgrade_inherit(struct daemon *d)
{
	struct vhu_msg *msg;
	int rc, fd = d->heir.fd;

	msg = calloc(1, sizeof(*msg));
	if (!msg)
		return -ENOMEM;
	vhu_msg_init(msg, READY, 0, 0);
	rc = vhu_sock_send(fd, msg, TIMEOUT_MS);
	free(msg);
	d->heir.fd = -1;
	if (!rc)
		rc = vhu_server_take_over(d->server, fd);
	else
		close(fd);
	if (rc && rc != -ENOTCONN)
		log_err("the predecessor keeps the session: %s",
			strerror(-rc));
	d->inherited = !rc || rc == -ENOTCONN;
	if (!rc)
		log_info("took a session over");
	return rc;
}
