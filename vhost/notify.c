/* SPDX-License-Identifier: MIT */
/*
 * vhost/notify.c - what goes from the device to the front end unasked: calls,
 * errors, changes of configuration; by descriptor or by message.
 */
#define _GNU_SOURCE	/* preadv2 */
#include "server.h"
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

/* A call would have to meet each of them. */
#define CONFIG_REPEATS 3
/* For lack of room; some seconds. */
#define CONFIG_TRIES 200

/*
 * The descriptor's flags are the front end's too, so that they stay as they
 * are; one that may block is asked for room first.
 */
bool vhu_fd_may_block(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || !(flags & O_NONBLOCK);
}

static bool ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && p.revents & events;
}

/* An eventfd, or the writing end of a pipe; full means signalled already. */
void vhu_signal_fd(int fd, bool may_block)
{
	uint64_t one = 1;
	ssize_t n;

	if (may_block && !ready(fd, POLLOUT))
		return;
	do {
		n = write(fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
}

/* -- by message ------------------------------------------------------------ */

/*
 * Under the lock. No answer is asked for: while the front end waits for ours
 * to a kick, it could not give one. Returns 0 if there is no channel, too;
 * -ETIMEDOUT leaves the channel as it is if @timeout_ms was 0.
 */
static int back_send_msg(struct vhu_server *s, const struct vhu_msg *msg,
			 int timeout_ms)
{
	int err = vhu_sock_send(s->back_fd, msg, timeout_ms);

	if (!err || (err == -ETIMEDOUT && !timeout_ms))
		return err;
	vhu_back_give_up(s, "front end does not take our requests any more",
			 msg->hdr.request, err);
	return err;
}

static int back_send(struct vhu_server *s, uint32_t request, uint32_t index,
		     int timeout_ms)
{
	uint16_t size = vhu_backend_rule(request)->min;
	struct vhu_msg msg;	/* s->out is the control thread's */

	if (s->back_fd < 0)
		return 0;
	vhu_msg_init(&msg, request, 0, size);
	if (size)
		msg.p.state.index = index;
	return back_send_msg(s, &msg, timeout_ms);
}

int vhu_back_tell(struct vhu_server *s, const struct vhu_msg *msg)
{
	int err = -ENOTCONN;

	pthread_mutex_lock(&s->back_lock);
	if (s->back_fd >= 0)
		err = back_send_msg(s, msg, 0);
	pthread_mutex_unlock(&s->back_lock);
	return err;
}

/* -- upcalls of the device ------------------------------------------------- */

/*
 * A call by message must not wait for room: the front end may be waiting for
 * an answer of the control thread, and that one for this queue. It is owed
 * then, and comes with the next service. Such a short message is sent whole
 * or not at all.
 */
static void call_by_message(struct vhu_ring *r)
{
	struct vhu_server *s = r->s;
	int err = 0;

	pthread_mutex_lock(&s->back_lock);
	if (s->back_call)
		err = back_send(s, VHOST_USER_BACKEND_VRING_CALL, r->index, 0);
	pthread_mutex_unlock(&s->back_lock);
	r->call_owed = err == -ETIMEDOUT;
	if (r->call_owed)
		vhu_wake_later(r);
}

void vhu_call(struct vhu_ring *r)
{
	VHU_TRACE1(notify, r->index);
	vhu_log_signal(r);
	if (r->call_fd < 0) {
		call_by_message(r);
		return;
	}
	if (__atomic_load_n(&r->call_dead, __ATOMIC_RELAXED))
		return;
	vhu_call_begins(r);
	vhu_signal_fd(r->call_fd, r->call_may_block);
	vhu_call_ends(r);
}

void vhu_notify_broken(struct vhu_ring *r)
{
	struct vhu_server *s = r->s;

	if (r->err_fd >= 0) {
		vhu_call_begins(r);
		vhu_signal_fd(r->err_fd, true);
		vhu_call_ends(r);
		return;
	}
	pthread_mutex_lock(&s->back_lock);
	if (s->back_call)
		back_send(s, VHOST_USER_BACKEND_VRING_ERR, r->index, 0);
	pthread_mutex_unlock(&s->back_lock);
}

static void queue_notify(void *ctx, struct vio_queue *q)
{
	struct vhu_server *s = ctx;

	vhu_call(&s->ring[q->index]);
}

static void queue_ready(void *ctx, struct vio_queue *q)
{
	struct vhu_server *s = ctx;

	if (s->conf.env->queue_wake)
		s->conf.env->queue_wake(s->conf.env_ctx, q->index);
}

/*
 * Under the lock. Where it can be said again, a front end without room for it
 * keeps nobody waiting: -ETIMEDOUT.
 */
static int tell_config(struct vhu_server *s)
{
	if (!s->back_config)
		return 0;
	return back_send(s, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0,
			 s->conf.env->config_later ? 0 : VHU_SEND_TIMEOUT_MS);
}

/*
 * User Mode Linux, where a call by message arrives together with this one,
 * handles the call and keeps this for an interrupt without a call. A repeated
 * message is one, and changes nothing where the first was heard.
 */
static void config_changed(void *ctx)
{
	struct vhu_server *s = ctx;
	bool later;

	pthread_mutex_lock(&s->back_lock);
	later = tell_config(s) == -ETIMEDOUT || s->back_call;
	later &= s->back_config && s->back_fd >= 0 &&
		 s->conf.env->config_later;
	s->back_again = later ? CONFIG_REPEATS : 0;
	s->back_tries = 0;
	pthread_mutex_unlock(&s->back_lock);
	if (later)
		s->conf.env->config_later(s->conf.env_ctx);
}

bool vhu_server_config_again(struct vhu_server *s)
{
	bool more;

	pthread_mutex_lock(&s->back_lock);
	if (s->back_again && tell_config(s) != -ETIMEDOUT) {
		s->back_again--;
	} else if (s->back_again && ++s->back_tries == CONFIG_TRIES) {
		vhu_back_give_up(s, "front end does not take our requests any more",
				 VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
				 -ETIMEDOUT);
		s->back_again = 0;
	}
	more = s->back_again > 0;
	pthread_mutex_unlock(&s->back_lock);
	return more;
}

const struct vio_transport_ops vhu_transport_ops = {
	.queue_notify = queue_notify,
	.queue_ready = queue_ready,
	.config_changed = config_changed,
};

/* -- the other way: kicks -------------------------------------------------- */

/*
 * What another reader took meanwhile must not be waited for, whether the
 * descriptor says O_NONBLOCK or not: its flags are the front end's, too. Old
 * kernels cannot say so of a pipe.
 */
static ssize_t take_kick(struct vhu_ring *r)
{
	uint64_t n;
	struct iovec iov = { &n, sizeof(n) };
	ssize_t got = preadv2(r->kick_fd, &iov, 1, -1, RWF_NOWAIT);

	if (got >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return got;
	if (r->kick_may_block && !ready(r->kick_fd, POLLIN | POLLHUP)) {
		errno = EAGAIN;
		return -1;
	}
	return read(r->kick_fd, &n, sizeof(n));
}

bool vhu_queue_kicked(struct vhu_server *s, unsigned queue)
{
	struct vhu_ring *r = &s->ring[queue];
	ssize_t got;

	if (r->kick_fd < 0)
		return false;
	do {
		got = take_kick(r);
	} while (got < 0 && errno == EINTR);
	vhu_iotlb_kicked(r);
	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
		return true;
	vhu_say(s, VIO_LOG_WARN, "kick descriptor is dead; polling instead",
		{ "queue", queue },
		{ "errno", got ? (uint64_t)errno : 0 });
	return false;
}

struct vio_queue *vhu_queue_live(struct vhu_server *s, unsigned queue)
{
	struct vhu_ring *r = &s->ring[queue];

	return r->live ? vhu_ring_queue(r) : NULL;
}

enum vio_service vhu_queue_service(struct vhu_server *s, unsigned queue,
				   unsigned budget)
{
	struct vhu_ring *r = &s->ring[queue];
	struct vio_queue *q = vhu_ring_queue(r);
	enum vio_service done;

	if (r->call_owed)
		vhu_call(r);
	if (!r->live)
		return VIO_SERVICE_IDLE;
	done = vio_queue_service(q, budget);
	vhu_log_signal(r);
	if (q->state == VIO_QUEUE_BROKEN && !r->break_told) {
		r->break_told = true;
		vhu_notify_broken(r);
	}
	return done;
}
