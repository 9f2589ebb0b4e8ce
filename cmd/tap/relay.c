/* SPDX-License-Identifier: MIT */
/*
 * Messages and their descriptors pass through, on the main channel and on the
 * back end's own. What passes is what came, save that kick and call
 * descriptors and the back end's channel are replaced by our own.
 */
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/log.h"

#define MESSAGES_PER_TURN	32

enum { W_FRONT, W_BACK, W_OWN_BACK, W_OWN_FRONT };

static void name_fds(struct tap_event *e)
{
	for (unsigned i = 0; i < e->msg.nr_fds; i++) {
		char path[64], name[256] = "";
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d",
			 e->msg.fd[i]);
		n = readlink(path, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = 0;
		for (char *c = name; *c; c++)
			*c = *c < 0x20 || *c > 0x7e ? '?' : *c;
		memset(e->fd_name[i], 0, TAP_FD_NAME);
		memcpy(e->fd_name[i], name, strnlen(name, TAP_FD_NAME - 1));
	}
}

static void tell_message(struct tap *t, const struct vhu_msg *msg,
			 bool from_back, bool own)
{
	static struct tap_event e;

	e.kind = TAP_MESSAGE;
	e.queue = TAP_NO_QUEUE;
	e.from_back = from_back;
	e.back_channel = own;
	e.msg = *msg;
	name_fds(&e);
	tap_tell(t, &e);
}

static void on_readable(void *ctx, uint32_t events);

static int watch(struct tap *t, unsigned which, int fd)
{
	t->watch[which] = (struct loop_fd){ fd, on_readable, t };
	return loop_fd_add(&t->loop, &t->watch[which], EPOLLIN);
}

/* The back end gets an end of ours; the front end's stays with us. */
static int take_own_channel(struct tap *t, struct vhu_msg *msg, int *give)
{
	int pair[2], err;

	if (msg->nr_fds != 1 || t->own_front.fd >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	*give = pair[1];
	vhu_sock_init(&t->own_back, pair[0]);
	vhu_sock_init(&t->own_front, vhu_msg_take_fd(msg, 0));
	err = watch(t, W_OWN_BACK, t->own_back.fd);
	return err ? err : watch(t, W_OWN_FRONT, t->own_front.fd);
}

static int take_signal(struct tap *t, struct vhu_msg *msg, int *give)
{
	bool is_call = msg->hdr.request == VHOST_USER_SET_VRING_CALL;
	unsigned queue = msg->p.u64 & VHU_VRING_IDX_MASK;
	int fd, mine;

	if (msg->nr_fds != 1 || msg->hdr.size != sizeof(msg->p.u64)) {
		signal_drop(is_call ? &t->call[queue] : &t->kick[queue]);
		return 0;
	}
	fd = vhu_msg_take_fd(msg, 0);
	mine = signal_between(t, (uint16_t)queue, is_call, fd);
	if (mine < 0) {
		/* Not one that can be watched: pass it on as it is. */
		tap_note(t, (uint16_t)queue, "its %s descriptor cannot be watched",
			 is_call ? "call" : "kick");
		*give = fd;
		return 1;
	}
	*give = mine;
	return 0;
}

static int replace(struct tap *t, struct vhu_msg *msg, int *give,
		   bool *close_it)
{
	int r = 0;

	*give = -1;
	*close_it = false;
	switch (msg->hdr.request) {
	case VHOST_USER_SET_BACKEND_REQ_FD:
		*close_it = true;
		return take_own_channel(t, msg, give);
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
		r = take_signal(t, msg, give);
		*close_it = r > 0;
		return r < 0 ? r : 0;
	default:
		return 0;
	}
}

static void learn(struct tap *t, const struct vhu_msg *msg)
{
	switch (msg->hdr.request) {
	case VHOST_USER_SET_FEATURES:
		t->features = msg->p.u64;
		break;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		t->protocol = msg->p.u64;
		break;
	case VHOST_USER_SET_MEM_TABLE:
		memory_table(t, msg);
		rings_again(t);
		break;
	case VHOST_USER_ADD_MEM_REG:
		memory_add(t, msg);
		rings_again(t);
		break;
	case VHOST_USER_REM_MEM_REG:
		memory_remove(t, msg);
		rings_again(t);
		break;
	case VHOST_USER_IOTLB_MSG:
		iotlb_message(t, msg);
		break;
	default:
		rings_message(t, msg);
		break;
	}
}

static int from_front(struct tap *t, struct vhu_msg *msg)
{
	struct vhu_msg out;
	bool close_it;
	int give, r;

	tell_message(t, msg, false, false);
	/* Before the back end acts on it, or the first events are missed. */
	if (t->rings)
		learn(t, msg);
	r = replace(t, msg, &give, &close_it);
	if (r)
		return r;
	out = *msg;
	if (give >= 0) {
		out.fd[0] = give;
		out.nr_fds = 1;
	}
	r = vhu_sock_send(t->back.fd, &out, VHU_SEND_TIMEOUT_MS);
	if (close_it && give >= 0)
		close(give);
	return r;
}

static int from_back(struct tap *t, struct vhu_msg *msg)
{
	tell_message(t, msg, true, false);
	if (t->rings &&
	    (msg->hdr.request == VHOST_USER_GET_VRING_BASE ||
	     msg->hdr.request == VHOST_USER_GET_VRING_BASE_SKIP_DRAIN))
		rings_message(t, msg);
	return vhu_sock_send(t->front.fd, msg, VHU_SEND_TIMEOUT_MS);
}

static int own(struct tap *t, struct vhu_msg *msg, bool back)
{
	tell_message(t, msg, back, true);
	if (back && msg->hdr.request == VHOST_USER_BACKEND_VRING_CALL &&
	    msg->p.state.index < TAP_QUEUES)
		rings_call(t, (uint16_t)msg->p.state.index);
	return vhu_sock_send(back ? t->own_front.fd : t->own_back.fd, msg,
			     VHU_SEND_TIMEOUT_MS);
}

/* Pass on what is there. 0, or why it ends: -errno. */
static int pump(struct tap *t, struct vhu_sock *s)
{
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		int r = vhu_sock_recv(s);

		if (r <= 0)
			return r;
		if (s == &t->front)
			r = from_front(t, &s->in);
		else if (s == &t->back)
			r = from_back(t, &s->in);
		else
			r = own(t, &s->in, s == &t->own_back);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_readable(void *ctx, uint32_t events)
{
	static const char *const who[] = {
		"front end", "back end", "back end's own channel",
		"front end's end of the back end's own channel",
	};
	struct tap *t = ctx;
	struct vhu_sock *s[] = { &t->front, &t->back, &t->own_back,
				 &t->own_front };
	char why[128];

	(void)events;
	/* The callback does not say which descriptor it was: try them all;
	 * nothing is read where nothing is. */
	for (unsigned i = 0; i < VIO_ARRAY_LEN(s) && t->open; i++) {
		int r = s[i]->fd < 0 ? 0 : pump(t, s[i]);

		if (!r)
			continue;
		if (i >= W_OWN_BACK) {
			/* The session goes on without it. */
			loop_fd_del(&t->loop, &t->watch[i]);
			t->watch[i].fd = -1;
			continue;
		}
		if (r == -ENOTCONN)
			snprintf(why, sizeof(why), "the %s left", who[i]);
		else
			snprintf(why, sizeof(why), "at the %s: %s", who[i],
				 strerror(-r));
		relay_end(t, why);
	}
}

void relay_start(struct tap *t, int front_fd)
{
	struct tap_event e = { .kind = TAP_BEGIN, .queue = TAP_NO_QUEUE };
	int fd = vhu_sock_connect(t->back_path, VHU_SEND_TIMEOUT_MS);

	if (fd < 0) {
		log_err("%s: %s; is the back end running?", t->back_path,
			strerror(-fd));
		close(front_fd);
		return;
	}
	vhu_sock_init(&t->front, front_fd);
	vhu_sock_init(&t->back, fd);
	vhu_sock_init(&t->own_front, -1);
	vhu_sock_init(&t->own_back, -1);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(t->watch); i++)
		t->watch[i].fd = -1;
	t->features = t->protocol = 0;
	t->session++;
	t->open = true;
	tap_tell(t, &e);
	if (watch(t, W_FRONT, front_fd) || watch(t, W_BACK, fd))
		relay_end(t, "it cannot be watched");
	else
		loop_fd_mod(&t->loop, &t->listen_fd, 0);
}

void relay_end(struct tap *t, const char *why)
{
	struct tap_event e = { .kind = TAP_END, .queue = TAP_NO_QUEUE };

	if (!t->open)
		return;
	t->open = false;
	rings_drop(t);
	for (unsigned i = 0; i < TAP_QUEUES; i++) {
		signal_drop(&t->kick[i]);
		signal_drop(&t->call[i]);
	}
	iotlb_drop(t);
	memory_drop(t);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(t->watch); i++)
		if (t->watch[i].fd >= 0)
			loop_fd_del(&t->loop, &t->watch[i]);
	vhu_sock_fini(&t->front);
	vhu_sock_fini(&t->back);
	vhu_sock_fini(&t->own_front);
	vhu_sock_fini(&t->own_back);
	snprintf(e.text, sizeof(e.text), "%s", why);
	tap_tell(t, &e);
	if (t->out)
		fflush(t->out);
	if (t->once)
		loop_stop(&t->loop);
	else
		loop_fd_mod(&t->loop, &t->listen_fd, EPOLLIN);
}
