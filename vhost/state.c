/* SPDX-License-Identifier: MIT */
/*
 * vhost/state.c - a device's own state as a stream (DEVICE_STATE): out to the
 * front end, and in again elsewhere, in the form of vireo/state.h. It knows
 * when to do that, and that the bytes are whole; what they mean is the device
 * type's. Features, configuration and rings are the front end's.
 *
 * A thread moves the bytes, since the front end may be slow to; it touches
 * nothing but its buffer. The control thread makes the state before and reads
 * it after. Both are bounded in length, and what the front end says to have
 * moved already is there or is not: nobody waits for it.
 *
 * The channel's flags are the front end's, too. Where a channel can be had to
 * block all the same, the thread that hangs there is left behind, one at most.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <vireo/state.h>

#define STATE_MAX	VIO_STATE_MAX	/* bytes */
/* A thread that waits for nobody has come to its end by then. */
#define END_MS		500

struct vhu_state {
	pthread_t thread;
	int fd, stop;		/* the channel; what ends us early */
	bool save;
	bool last;		/* all was said to be there; atomic */
	bool told;		/* to come to its end; control thread's */
	size_t len;
	unsigned char *buf;	/* STATE_MAX */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;		/* under the lock, like all below */
	bool orphan;		/* the thread's own */
	int err;
};

static void state_free(struct vhu_state *st)
{
	pthread_cond_destroy(&st->ended);
	pthread_mutex_destroy(&st->lock);
	if (st->stop >= 0)
		close(st->stop);
	free(st->buf);
	free(st);
}

/* -- the thread ------------------------------------------------------------ */

/* Until something can be moved: 0, 1 if that is not waited for, or -errno. */
static int ready(const struct vhu_state *st)
{
	struct pollfd p[2] = {
		{ .fd = st->fd, .events = st->save ? POLLOUT : POLLIN },
		{ .fd = st->stop, .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (!p[1].revents)
		return 0;
	return __atomic_load_n(&st->last, __ATOMIC_RELAXED) && !st->save ?
		1 : -ECANCELED;
}

/* A piece: 1 there is more, 0 that was it, or -errno. */
static int move(struct vhu_state *st, size_t *at)
{
	ssize_t n;

	if (st->save) {
		n = vhu_write_now(st->fd, st->buf + *at, st->len - *at);
	} else {
		/* One byte more than there may be is one too many. */
		if (*at == STATE_MAX)
			return -EFBIG;
		n = vhu_read_now(st->fd, st->buf + *at, STATE_MAX - *at);
	}
	if (n < 0)
		return -errno;
	*at += (size_t)n;
	if (st->save)
		return *at < st->len;
	st->len = *at;
	return n > 0;
}

static void *run(void *arg)
{
	struct vhu_state *st = arg;
	int fd, r, how;
	size_t at = 0;
	bool orphan;

	do {
		r = how = ready(st);
		if (r >= 0)
			r = move(st, &at);
		if (r == -EINTR || (r == -EAGAIN && !how))
			r = 1;
	} while (r > 0);
	pthread_mutex_lock(&st->lock);
	fd = st->fd;
	orphan = st->orphan;
	st->err = r;
	st->done = true;
	pthread_cond_signal(&st->ended);
	pthread_mutex_unlock(&st->lock);
	/* What the front end waits for before it asks how it went. */
	close(fd);
	if (orphan)
		state_free(st);
	return NULL;
}

/* -- its life -------------------------------------------------------------- */

static int wait_done(struct vhu_state *st)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += END_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&st->lock);
	while (!st->done && !err)
		err = pthread_cond_timedwait(&st->ended, &st->lock, &until);
	err = st->done ? st->err : -ETIMEDOUT;
	pthread_mutex_unlock(&st->lock);
	return err;
}

/* Nothing is waited for any more. How it went. */
static int end(struct vhu_state *st)
{
	uint64_t one = 1;

	if (st->told)
		return 0;
	st->told = true;
	/* An eventfd that nobody reads has room. */
	if (write(st->stop, &one, sizeof(one)) != sizeof(one))
		return -errno;
	return wait_done(st);
}

/* If it came to its end: one that hangs cannot be waited for. */
static bool bury(struct vhu_state *st)
{
	bool done;

	pthread_mutex_lock(&st->lock);
	done = st->done;
	pthread_mutex_unlock(&st->lock);
	if (!done)
		return false;
	pthread_join(st->thread, NULL);
	state_free(st);
	return true;
}

/* Does one of an earlier transfer still hang? */
static bool hangs(struct vhu_server *s)
{
	if (s->state_hangs && bury(s->state_hangs))
		s->state_hangs = NULL;
	return s->state_hangs;
}

void vhu_state_drop(struct vhu_server *s)
{
	struct vhu_state *st = s->state;

	s->state = NULL;
	if (st)
		end(st);
	if (!st || bury(st))
		return;
	vhu_say(s, VIO_LOG_ERROR,
		"front end had the transfer of a device's state hang in its descriptor: there is no other until that has ended",
		{ "save", st->save });
	s->state_hangs = st;
}

void vhu_state_leave(struct vhu_server *s)
{
	struct vhu_state *st = s->state_hangs;
	bool done;

	if (!st)
		return;
	pthread_mutex_lock(&st->lock);
	done = st->done;
	st->orphan = !done;
	if (!done)
		pthread_detach(st->thread);
	pthread_mutex_unlock(&st->lock);
	if (done)
		bury(st);
	s->state_hangs = NULL;
}

static struct vhu_state *state_new(bool save)
{
	struct vhu_state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->ended, NULL);
	st->save = save;
	st->stop = eventfd(0, EFD_CLOEXEC);
	st->buf = malloc(STATE_MAX);
	if (st->stop >= 0 && st->buf)
		return st;
	state_free(st);
	return NULL;
}

/* Owns @fd if it succeeds. */
static int state_start(struct vhu_state *st, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	st->fd = fd;
	return -pthread_create(&st->thread, NULL, run, st);
}

/* -- what is in it --------------------------------------------------------- */

static int write_all(struct vhu_state *st, struct vio_dev *dev)
{
	uint32_t len = vio_dev_save(dev, st->buf, STATE_MAX);

	st->len = len;
	return len > STATE_MAX ? -EFBIG : 0;
}

/* Is it whole, and of such a device? What it says is the type's to judge. */
static bool is_whole(const struct vhu_server *s, const struct vhu_state *st)
{
	struct vio_state_record r;
	uint32_t pos = 0;
	int err;

	do		/* a record's header each, at least */
		err = vio_state_next(st->buf, (uint32_t)st->len,
				     s->dev->ops->id, &pos, &r);
	while (err == VIO_OK);
	return err == VIO_E_AGAIN;
}

int vhu_state_apply(struct vhu_server *s)
{
	if (!s->arrived || vio_dev_load(s->dev, s->arrived,
					s->arrived_len) == VIO_OK)
		return 0;
	vhu_say(s, VIO_LOG_ERROR,
		"device state makes no sense to this device, or needs a newer version",
		{ "bytes", s->arrived_len });
	return -EINVAL;
}

void vhu_state_forget(struct vhu_server *s)
{
	free(s->arrived);
	s->arrived = NULL;
	s->arrived_len = 0;
}

/*
 * It goes in when the first ring starts: features come before that, and may
 * come after this. Where they are there, it is tried at once.
 */
static int keep(struct vhu_server *s, struct vhu_state *st)
{
	int err;

	if (!is_whole(s, st)) {
		vhu_say(s, VIO_LOG_ERROR,
			"what came is no whole state of such a device",
			{ "bytes", st->len });
		return -EINVAL;
	}
	vhu_state_forget(s);
	s->arrived = st->buf;
	s->arrived_len = (uint32_t)st->len;
	st->buf = NULL;
	if (!vhu_device_settled(s))
		return 0;
	err = vhu_state_apply(s);
	if (err)
		vhu_state_forget(s);
	return err;
}

/* -- messages -------------------------------------------------------------- */

bool vhu_state_moves(const struct vhu_server *s)
{
	return s->state;
}

/* The channel is the front end's: ours would be no better. */
int vhu_on_state_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	uint32_t direction = msg->p.transfer.direction;
	bool save = direction == VHU_TRANSFER_SAVE;
	struct vhu_state *st;
	int err = 0;

	vhu_state_drop(s);
	if (direction > VHU_TRANSFER_LOAD ||
	    msg->p.transfer.phase != VHU_PHASE_STOPPED) {
		vhu_say(s, VIO_LOG_ERROR,
			"device state can be moved out or in, while all rings are stopped",
			{ "direction", direction },
			{ "phase", msg->p.transfer.phase });
		return vhu_reply_u64(s, msg, VHU_TRANSFER_NOFD | EINVAL);
	}
	st = hangs(s) ? NULL : state_new(save);
	if (!st)
		err = s->state_hangs ? -EBUSY : -ENOMEM;
	if (!err && save)
		err = write_all(st, s->dev);
	if (!err)
		err = state_start(st, msg->fd[0]);
	if (!err) {
		s->state = st;
		vhu_msg_take_fd(msg, 0);
		return vhu_reply_u64(s, msg, VHU_TRANSFER_NOFD);
	}
	if (st)
		state_free(st);
	vhu_say(s, VIO_LOG_ERROR, "device state cannot be moved",
		{ "save", save }, { "errno", (uint64_t)-err });
	return vhu_reply_u64(s, msg, VHU_TRANSFER_NOFD |
			     (unsigned char)-err);
}

int vhu_on_state_check(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_state *st = s->state;
	int err;

	__atomic_store_n(&st->last, true, __ATOMIC_RELAXED);
	err = end(st);
	if (err)
		vhu_say(s, VIO_LOG_ERROR, "device state was not moved whole",
			{ "save", st->save }, { "errno", (uint64_t)-err });
	else if (!st->save)
		err = keep(s, st);
	vhu_state_drop(s);
	return vhu_reply_u64(s, msg, err ? 1 : 0);
}
