/* SPDX-License-Identifier: MIT */
/*
 * A daemon and its successor: the old one listens at --upgrade-path; the new
 * one, started with --inherit, comes there, hears which devices there are and
 * gets the sockets that the old one listens on, opens its devices, and asks
 * for one session after the other when it is ready. It does not know what a
 * session is: see vhost/hand_over.c.
 *
 * Whoever can connect there gets the guest's memory, so that the socket is
 * its owner's alone.
 */
#include "host/daemon_upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/daemon_serve.h"
#include "host/log.h"
#include "vhost/sock.h"

/* Messages between the two, framed as vhost-user's. */
#define SOCKETS		0x76696f10u	/* old: what I listen on myself */
#define DEVICE		0x76696f11u	/* old: a device, with its socket */
#define END		0x76696f12u	/* old: that was all */
#define READY		0x76696f13u	/* new: this session over that socket */
#define DONE		0x76696f14u	/* old: what came of it */
#define TIMEOUT_MS	5000

/* DEVICE: a socket comes with it, and so many files. */
#define HAS_SOCKET	1u
#define FILES_SHIFT	8
/* The upgrade socket comes first, the control socket behind it. */
#define HAS_CONTROL	1u

/* SOCKETS, DEVICE, READY, and of DONE the number: 0 or an errno. */
struct word {
	uint64_t number;
	char name[CONFIG_NAME_MAX + 1];		/* "": it has none */
	/* Of DEVICE: what the back end goes on with, behind the socket. */
	char file[DAEMON_FILES_MAX][sizeof(((struct daemon_file *)0)->name)];
};

VIO_STATIC_ASSERT(sizeof(struct word) <= VHU_PAYLOAD_MAX,
		  "it is the payload of a message");

/* What the predecessor has. */
struct heirloom {
	struct heirloom *next;
	char name[CONFIG_NAME_MAX + 1];
	int fd;			/* that it listens on; -1: none, or taken */
	int pair[2];		/* for the session: mine and its */
	struct daemon_file file[DAEMON_FILES_MAX];
	unsigned nr_files;
};

static int say_word(int fd, uint32_t request, const struct word *w,
		    const int *fds, unsigned nr_fds)
{
	struct vhu_msg *msg = calloc(1, sizeof(*msg));
	int rc;

	if (!msg)
		return -ENOMEM;
	vhu_msg_init(msg, request, 0, sizeof(*w));
	memcpy(&msg->p, w, sizeof(*w));
	for (; nr_fds; nr_fds--)
		msg->fd[msg->nr_fds++] = *fds++;
	rc = vhu_sock_send(fd, msg, TIMEOUT_MS);
	free(msg);
	return rc;
}

static int say(int fd, uint32_t request, uint64_t number, const char *name,
	       const int *fds, unsigned nr_fds)
{
	struct word w = { .number = number };

	snprintf(w.name, sizeof(w.name), "%s", name ? name : "");
	return say_word(fd, request, &w, fds, nr_fds);
}

/* What a message of the other says. False: it is none of these. */
static bool understand(struct vhu_sock *s, struct word *w)
{
	if (s->in.hdr.size != sizeof(*w))
		return false;
	memcpy(w, &s->in.p, sizeof(*w));
	w->name[CONFIG_NAME_MAX] = 0;
	return true;
}

/* -- the old one --------------------------------------------------------- */

static void heir_close(struct daemon_process *p)
{
	if (p->heir.fd < 0)
		return;
	loop_fd_del(&p->main.loop, &p->heir_fd);
	vhu_sock_fini(&p->heir);
}

static struct daemon *find(struct daemon_process *p, const char *name)
{
	struct daemon *d;

	for (d = p->devices; d; d = d->next)
		if (!strcmp(d->name ? d->name : "", name))
			return d;
	return NULL;
}

static bool all_gone(const struct daemon_process *p, bool *some)
{
	const struct daemon *d;
	bool all = true;

	*some = false;
	for (d = p->devices; d; d = d->next) {
		all &= d->handed_over;
		*some |= d->handed_over;
	}
	return all;
}

/* Give one device away. */
static int part_with(struct daemon_process *p, const struct word *w)
{
	struct daemon *d = find(p, w->name);
	int fd = vhu_msg_take_fd(&p->heir.in, 0), rc = -ENODEV;
	const char *about;

	if (d && fd >= 0 && !d->handed_over) {
		about = log_about(d->name);
		rc = daemon_serve_hand_over(d, fd);
		log_about(about);
	}
	if (fd >= 0)
		close(fd);
	if (rc)
		return rc;
	d->handed_over = d->files_left = true;
	if (d->listen_fd.fd >= 0)
		loop_fd_del(&p->main.loop, &d->listen_fd);
	d->listen_fd.fd = -1;
	return 0;
}

/* It went. With some devices it is the one to be asked from now on. */
static void heir_left(struct daemon_process *p)
{
	bool some;

	heir_close(p);
	all_gone(p, &some);
	if (!some) {
		log_warn("a successor came and went without the session");
		return;
	}
	log_warn("a successor did not take all devices; going on with the rest, without control and upgrade sockets");
	p->handed_over = true;
	loop_fd_del(&p->main.loop, &p->upgrade_fd);
	sock_leave(&p->upgrade);
	sock_close(&p->upgrade);
	sock_leave(&p->control.sock);
	control_close(&p->control);
}

static void on_heir(void *ctx, uint32_t events)
{
	struct daemon_process *p = ctx;
	int r = vhu_sock_recv(&p->heir);
	struct word w;
	bool some;

	(void)events;
	if (!r)
		return;
	if (r < 0 || p->heir.in.hdr.request != READY ||
	    !understand(&p->heir, &w)) {
		heir_left(p);
		return;
	}
	r = part_with(p, &w);
	if (say(p->heir.fd, DONE, (uint64_t)-r, w.name, NULL, 0)) {
		heir_left(p);
		return;
	}
	if (!all_gone(p, &some))
		return;
	log_info("handed over to a successor");
	p->handed_over = true;
	loop_stop(&p->main.loop);
}

static int tell_device(struct daemon_process *p, struct daemon *d)
{
	struct daemon_file file[DAEMON_FILES_MAX];
	unsigned n = d->type->files ? d->type->files(d, file) : 0, nr = 0;
	struct word w = { .number = (uint64_t)n << FILES_SHIFT };
	int fds[1 + DAEMON_FILES_MAX];

	snprintf(w.name, sizeof(w.name), "%s", d->name ? d->name : "");
	if (d->sock.fd >= 0) {
		w.number |= HAS_SOCKET;
		fds[nr++] = d->sock.fd;
	}
	for (unsigned i = 0; i < n; i++) {
		memcpy(w.file[i], file[i].name, sizeof(w.file[i]));
		fds[nr++] = file[i].fd;
	}
	return say_word(p->heir.fd, DEVICE, &w, fds, nr);
}

static int tell_all(struct daemon_process *p)
{
	const int fds[] = { p->upgrade.fd, p->control.sock.fd };
	bool control = p->control.sock.name[0];
	struct daemon *d;
	int rc;

	rc = say(p->heir.fd, SOCKETS, control ? HAS_CONTROL : 0, NULL, fds,
		 control ? 2 : 1);
	for (d = p->devices; d && !rc; d = d->next)
		if (!d->handed_over)
			rc = tell_device(p, d);
	return rc ? rc : say(p->heir.fd, END, 0, NULL, NULL, 0);
}

static void on_upgrade(void *ctx, uint32_t events)
{
	struct daemon_process *p = ctx;
	int fd = sock_accept(&p->upgrade);

	(void)events;
	if (fd < 0)
		return;
	if (p->heir.fd >= 0) {
		log_warn("two successors at a time: the second one is sent away");
		close(fd);
		return;
	}
	vhu_sock_init(&p->heir, fd);
	p->heir_fd = (struct loop_fd){ fd, on_heir, p };
	if (tell_all(p) ||
	    loop_fd_add(&p->main.loop, &p->heir_fd, EPOLLIN))
		vhu_sock_fini(&p->heir);
}

int daemon_upgrade_start(struct daemon_process *p)
{
	if (p->heir.fd >= 0)
		vhu_sock_fini(&p->heir);
	if (p->upgrade.fd < 0)
		return 0;
	p->upgrade_fd = (struct loop_fd){ p->upgrade.fd, on_upgrade, p };
	return loop_fd_add(&p->main.loop, &p->upgrade_fd, EPOLLIN);
}

/* -- the new one --------------------------------------------------------- */

/* The next message, whole. 0 or -errno. */
static int hear(struct vhu_sock *s, struct word *w)
{
	int r;

	for (;;) {
		r = vhu_sock_recv(s);
		if (r)
			break;
		r = vhu_sock_wait(s->fd, TIMEOUT_MS);
		if (r != 1)
			return r ? r : -ETIMEDOUT;
	}
	if (r < 0)
		return r;
	return understand(s, w) ? 0 : -EPROTO;
}

static int take_sockets(struct daemon_process *p,
			const struct daemon_options *o, const struct word *w)
{
	int rc = sock_adopt(&p->upgrade, vhu_msg_take_fd(&p->heir.in, 0),
			    o->inherit);

	/* Without a path it is closed, and there is none any more. */
	if (rc || !(w->number & HAS_CONTROL) || !o->control_path)
		return rc;
	rc = control_adopt(&p->control, o->control_path,
			   vhu_msg_take_fd(&p->heir.in, 1));
	p->control_adopted = !rc;
	return rc;
}

/* Names are in the word, descriptors behind the socket. */
static int take_files(struct vhu_msg *in, struct heirloom *h,
		      const struct word *w)
{
	unsigned next = w->number & HAS_SOCKET ? 1 : 0;
	uint64_t n = w->number >> FILES_SHIFT;

	if (n > DAEMON_FILES_MAX || in->nr_fds < next + n)
		return -EPROTO;
	while (h->nr_files < n) {
		struct daemon_file *f = &h->file[h->nr_files];

		memcpy(f->name, w->file[h->nr_files++], sizeof(f->name));
		f->name[sizeof(f->name) - 1] = 0;
		f->fd = vhu_msg_take_fd(in, next++);
	}
	return 0;
}

static int add_heirloom(struct daemon_process *p, const struct word *w)
{
	struct heirloom *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->next = p->heirlooms;
	p->heirlooms = h;
	memcpy(h->name, w->name, sizeof(h->name));
	h->fd = w->number & HAS_SOCKET ? vhu_msg_take_fd(&p->heir.in, 0) : -1;
	/* Now: the sandbox does not make any. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, h->pair)) {
		h->pair[0] = h->pair[1] = -1;
		return -errno;
	}
	return take_files(&p->heir.in, h, w);
}

static int receive(struct daemon_process *p, const struct daemon_options *o)
{
	struct word w;
	int rc = hear(&p->heir, &w);

	if (rc)
		return rc;
	if (p->heir.in.hdr.request != SOCKETS)
		return -EPROTO;
	rc = take_sockets(p, o, &w);
	while (!rc) {
		rc = hear(&p->heir, &w);
		if (rc || p->heir.in.hdr.request == END)
			break;
		rc = p->heir.in.hdr.request == DEVICE ? add_heirloom(p, &w) :
			-EPROTO;
	}
	return rc;
}

int daemon_upgrade_open(struct daemon_process *p,
			const struct daemon_options *o)
{
	const struct sock_perm perm = {
		.mode = 0600, .option = "--upgrade-path",
	};
	int rc;

	if (o->upgrade_path && !o->inherit)
		return sock_listen(&p->upgrade, o->upgrade_path, &perm);
	if (!o->inherit)
		return 0;
	rc = vhu_sock_connect(o->inherit, TIMEOUT_MS);
	if (rc >= 0) {
		vhu_sock_init(&p->heir, rc);
		rc = receive(p, o);
	}
	if (rc)
		log_err("--inherit=%s: %s; is the predecessor running with that --upgrade-path, in a version not much older?",
			o->inherit, strerror(-rc));
	return rc;
}

static struct heirloom *heirloom_of(const struct daemon *d)
{
	struct heirloom *h;

	for (h = d->process->heirlooms; h; h = h->next)
		if (!strcmp(h->name, d->name ? d->name : ""))
			return h;
	return NULL;
}

void daemon_upgrade_find(struct daemon *d)
{
	struct heirloom *h;

	if (!d->opt.inherit || d->live)
		return;
	h = heirloom_of(d);
	d->inherits = h;
	/* Their descriptors are the device's now. */
	for (; h && h->nr_files; d->nr_files++)
		d->file[d->nr_files] = h->file[--h->nr_files];
}

int daemon_upgrade_adopt(struct daemon *d)
{
	struct heirloom *h = heirloom_of(d);
	int fd = h->fd;

	d->sock.connected = fd < 0;
	if (fd < 0)
		return 0;
	if (!d->opt.socket_path) {
		log_err("--inherit=%s: give the predecessor's --socket-path, too",
			d->opt.inherit);
		return -EDESTADDRREQ;
	}
	h->fd = -1;
	return sock_adopt(&d->sock, fd, d->opt.socket_path);
}

int daemon_upgrade_inherit(struct daemon *d)
{
	struct daemon_process *p = d->process;
	struct heirloom *h = heirloom_of(d);
	int rc, fd = h->pair[0];
	struct word w;

	rc = say(p->heir.fd, READY, 0, d->name, &h->pair[1], 1);
	close(h->pair[1]);
	h->pair[0] = h->pair[1] = -1;
	if (rc) {
		close(fd);
		return rc;
	}
	rc = vhu_server_take_over(d->server, fd);
	/* Its end looks like no session: what does the other say? */
	if (rc == -ENOTCONN && !hear(&p->heir, &w) && w.number)
		rc = -EREMOTEIO;
	else if (!rc)
		hear(&p->heir, &w);
	if (rc && rc != -ENOTCONN)
		log_err("the predecessor keeps the session: %s",
			strerror(-rc));
	d->inherited = !rc || rc == -ENOTCONN;
	p->inherited |= d->inherited;
	if (!rc)
		log_info("took a session over");
	return rc;
}

void daemon_upgrade_leave(struct daemon *d)
{
	if (d->handed_over || (d->inherits && !d->inherited))
		sock_leave(&d->sock);
	while (d->nr_files)
		close(d->file[--d->nr_files].fd);
}

void daemon_upgrade_close(struct daemon_process *p)
{
	struct heirloom *h;

	heir_close(p);
	if (p->handed_over || (p->heirlooms && !p->inherited))
		sock_leave(&p->upgrade);
	sock_close(&p->upgrade);
	while ((h = p->heirlooms)) {
		p->heirlooms = h->next;
		while (h->nr_files)
			close(h->file[--h->nr_files].fd);
		if (h->fd >= 0)
			close(h->fd);
		if (h->pair[0] >= 0)
			close(h->pair[0]);
		if (h->pair[1] >= 0)
			close(h->pair[1]);
		free(h);
	}
}
