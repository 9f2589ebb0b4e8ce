/* SPDX-License-Identifier: MIT */
/*
 * vhost/post.c - postcopy: memory whose pages come as they are touched. The
 * front end gets a userfaultfd of ours and fills in what is missing; here the
 * ranges are registered with it. What the ranges are is map.c's to know.
 *
 * A thread that touches a missing page sleeps in the kernel until the front
 * end has brought it, and a front end that is gone brings none. So somebody
 * looks ten times a second, as for calls that block (unblock.c): when the
 * front end has left, its memory is replaced by a file without a byte. Then
 * the threads that sleep meet what they meet when a front end truncates its
 * memory: an error of the system call, or SIGBUS, which map_guard is for.
 * Never are zeroes taken for what the guest wrote.
 */
#define _GNU_SOURCE	/* POLLRDHUP, memfd_create */
#include "server.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int vhu_post_register(struct vhu_server *s, void *base, size_t len)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)base, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int err;

	if (ioctl(s->post_fd, UFFDIO_REGISTER, &reg) == 0)
		return 0;
	err = -errno;
	vhu_say(s, VIO_LOG_ERROR,
		"this memory cannot have missing pages: postcopy needs memory from memfd, tmpfs or hugetlbfs that may be written to",
		{ "bytes", len }, { "errno", (uint64_t)-err });
	return err;
}

/* Wakes who waits there, too. */
static void unregister(int fd, int unused, void *base, size_t len)
{
	struct uffdio_range range = { (uintptr_t)base, len };

	(void)unused;
	/* Fails where the memory is another meanwhile; that is as good. */
	ioctl(fd, UFFDIO_UNREGISTER, &range);
}

static void take_away(int fd, int empty, void *base, size_t len)
{
	struct uffdio_range range = { (uintptr_t)base, len };

	mmap(base, len, PROT_READ | PROT_WRITE,
	     MAP_FIXED | MAP_SHARED | MAP_NORESERVE, empty, 0);
	ioctl(fd, UFFDIO_WAKE, &range);
}

/* Under the lock: no page will come any more. */
static void give_up(struct vhu_server *s)
{
	int empty = memfd_create("gone", MFD_CLOEXEC);

	if (empty < 0)
		return;
	vhu_maps_each(s, take_away, s->post_fd, empty);
	close(empty);
}

bool vhu_post_watch(struct vhu_server *s)
{
	const short gone = POLLRDHUP | POLLHUP | POLLERR;
	bool watch;

	pthread_mutex_lock(&s->post_lock);
	watch = s->post_listening;
	if (watch) {
		struct pollfd p = { .fd = s->sock.fd, .events = POLLRDHUP };

		if (poll(&p, 1, 0) == 1 && p.revents & gone)
			give_up(s);
	}
	pthread_mutex_unlock(&s->post_lock);
	return watch;
}

static void end(struct vhu_server *s)
{
	if (s->post_fd >= 0)
		close(s->post_fd);
	s->post_fd = -1;
	s->post_listening = false;
}

void vhu_post_drop(struct vhu_server *s)
{
	pthread_mutex_lock(&s->post_lock);
	if (s->post_listening)
		give_up(s);
	end(s);
	pthread_mutex_unlock(&s->post_lock);
}

/* -- messages -------------------------------------------------------------- */

int vhu_on_post_advise(struct vhu_server *s, struct vhu_msg *msg)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd;

	if (s->post_fd >= 0) {
		vhu_say(s, VIO_LOG_ERROR,
			"front end asks for a second userfaultfd",
			{ "listening", s->post_listening });
		return -EBUSY;
	}
	fd = s->conf.env->userfaultfd(s->conf.env_ctx);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
		int err = -errno;

		close(fd);
		fd = err;
	}
	if (fd < 0) {
		vhu_say(s, VIO_LOG_ERROR,
			"the kernel gives no userfaultfd for postcopy",
			{ "errno", (uint64_t)-fd });
		return fd;
	}
	pthread_mutex_lock(&s->post_lock);
	s->post_fd = fd;
	pthread_mutex_unlock(&s->post_lock);
	return vhu_reply_fd(s, msg, 0, fd);
}

/*
 * What is mapped already the front end cannot fill in: it was not told where
 * that is here.
 */
int vhu_on_post_listen(struct vhu_server *s, struct vhu_msg *msg)
{
	unsigned nr = vhu_map_regions(s->map);

	(void)msg;
	if (nr || s->post_listening) {
		vhu_say(s, VIO_LOG_ERROR,
			"POSTCOPY_LISTEN comes once, and before any memory",
			{ "regions", nr }, { "listening", s->post_listening });
		return -EBUSY;
	}
	pthread_mutex_lock(&s->post_lock);
	s->post_listening = true;
	pthread_mutex_unlock(&s->post_lock);
	s->conf.env->watch_calls(s->conf.env_ctx);
	return 0;
}

int vhu_on_post_end(struct vhu_server *s, struct vhu_msg *msg)
{
	if (s->post_map) {
		vhu_say(s, VIO_LOG_ERROR,
			"postcopy ends before the front end took note of where its memory is",
			{ "regions", vhu_map_regions(s->post_map) });
		return -EPROTO;
	}
	pthread_mutex_lock(&s->post_lock);
	vhu_maps_each(s, unregister, s->post_fd, -1);
	end(s);
	pthread_mutex_unlock(&s->post_lock);
	return vhu_reply_u64(s, msg, 0);
}
