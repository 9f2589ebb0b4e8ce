/* SPDX-License-Identifier: MIT */
/*
 * vhost/unblock.c - calls that block. An eventfd's flags are the front end's as
 * much as ours: it can fill the counter, take O_NONBLOCK away, and have the
 * queue's thread wait for ever in the write that should wake a guest. Nothing
 * that comes before the write prevents that, and all of it costs a system call
 * a time. So the write is made as always, and somebody else looks ten times a
 * second, while there are calls, whether one hangs: where the counter is full,
 * it reads it, which ends the write, and the descriptor is not signalled any
 * more. Where it has room, the thread waits for a processor. It also wakes
 * queues that have something to tell for which there was no room.
 */
#define _GNU_SOURCE	/* preadv2 */
#include "server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * All in one order: who sees that nobody watches has been seen to call, or
 * tells.
 */
static void be_watched(struct vhu_server *s)
{
	if (!__atomic_load_n(&s->calls_watched, __ATOMIC_SEQ_CST) &&
	    !__atomic_exchange_n(&s->calls_watched, true, __ATOMIC_SEQ_CST))
		s->conf.env->watch_calls(s->conf.env_ctx);
}

void vhu_call_begins(struct vhu_ring *r)
{
	if (!r->s->conf.env->watch_calls)
		return;
	__atomic_store_n(&r->calls, r->calls + 1, __ATOMIC_SEQ_CST);
	be_watched(r->s);
}

void vhu_call_ends(struct vhu_ring *r)
{
	if (r->s->conf.env->watch_calls)
		__atomic_store_n(&r->calls, r->calls + 1, __ATOMIC_RELEASE);
}

/*
 * For what the front end has no room now: asking at once would be asking on and
 * on, for as long as it likes.
 */
void vhu_wake_later(struct vhu_ring *r)
{
	const struct vhu_conf *c = &r->s->conf;

	if (c->env->watch_calls) {
		__atomic_store_n(&r->wake_later, true, __ATOMIC_SEQ_CST);
		be_watched(r->s);
	} else if (c->env->queue_wake) {
		c->env->queue_wake(c->env_ctx, r->index);
	}
}

void vhu_wake_never(struct vhu_ring *r)
{
	/* Nobody is about to, after that. */
	pthread_mutex_lock(&r->s->calls_lock);
	__atomic_store_n(&r->wake_later, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&r->s->calls_lock);
}

/* Pipes and sockets cannot be emptied from this end. */
static bool is_eventfd(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && !S_ISFIFO(st.st_mode) &&
		!S_ISSOCK(st.st_mode) && !S_ISCHR(st.st_mode);
}

/* A descriptor of its own, so that it is the same file while we read. */
static void watch(struct vhu_server *s, int *watched, int fd, bool *dead)
{
	int own = -1;

	if (!s->conf.env->watch_calls)
		return;
	if (fd >= 0 && is_eventfd(fd))
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_lock(&s->calls_lock);
	if (*watched >= 0)
		close(*watched);
	*watched = own;
	__atomic_store_n(dead, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->calls_lock);
}

void vhu_watch_fd(struct vhu_ring *r, enum vhu_watched what, int fd)
{
	watch(r->s, &r->watch_fd[what], fd, &r->call_dead);
}

void vhu_watch_log(struct vhu_server *s, int fd)
{
	watch(s, &s->log_watch, fd, &s->log_dead);
}

/*
 * Is a write waiting for room there? Not any more, then. Never waits, whatever
 * the descriptor's flags are.
 */
static bool freed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t n;
	struct iovec iov = { &n, sizeof(n) };

	if (fd < 0 || poll(&p, 1, 0) < 0 || p.revents & POLLOUT)
		return false;
	(void)!preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	return true;
}

/* Under the lock: has it called since the last time, or does it hang? */
static bool look(struct vhu_ring *r)
{
	struct vhu_server *s = r->s;
	uint32_t now = __atomic_load_n(&r->calls, __ATOMIC_SEQ_CST);
	bool call = false, log;

	if (now != r->calls_seen) {
		r->calls_seen = now;
		return true;
	}
	if (!(now & 1))
		return false;
	for (unsigned i = 0; i < VHU_WATCHED; i++)
		call |= freed(r->watch_fd[i]);
	log = freed(s->log_watch);
	if ((call && !r->call_dead) || (log && !s->log_dead))
		vhu_say(s, VIO_LOG_ERROR,
			"front end had a call block: its descriptor is full and not O_NONBLOCK, and is not signalled any more",
			{ "queue", r->index });
	if (call)
		__atomic_store_n(&r->call_dead, true, __ATOMIC_RELAXED);
	if (log)
		__atomic_store_n(&s->log_dead, true, __ATOMIC_RELAXED);
	return true;
}

/* The same. */
static bool wake(struct vhu_ring *r)
{
	const struct vhu_conf *c = &r->s->conf;

	if (!__atomic_exchange_n(&r->wake_later, false, __ATOMIC_SEQ_CST))
		return false;
	if (c->env->queue_wake)
		c->env->queue_wake(c->env_ctx, r->index);
	return true;
}

static bool look_at_all(struct vhu_server *s)
{
	bool some = false;

	for (unsigned i = 0; i < s->nr_rings; i++) {
		some |= look(&s->ring[i]);
		some |= wake(&s->ring[i]);
	}
	return some;
}

bool vhu_server_unblock(struct vhu_server *s)
{
	bool some;

	pthread_mutex_lock(&s->calls_lock);
	some = look_at_all(s);
	if (!some) {
		__atomic_store_n(&s->calls_watched, false, __ATOMIC_SEQ_CST);
		/* One that began meanwhile did not tell. */
		some = look_at_all(s);
		if (some)
			__atomic_store_n(&s->calls_watched, true,
					 __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&s->calls_lock);
	return vhu_post_watch(s) || some;
}
