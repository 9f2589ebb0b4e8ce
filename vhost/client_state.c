/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_state.c - a device's own state, out of one back end and into
 * another (DEVICE_STATE). What it means is the back end's alone.
 */
#define _GNU_SOURCE	/* pipe2 */
#include "vhost/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE	65536u

/* The errors of the first answer; bit 8 says that no descriptor came. */
#define ERRORS	0xffu

/*
 * Begin a transfer over a pipe of ours, or whatever the back end gives instead.
 * Returns our end, or -errno.
 */
static int begin(struct vhu_client *c, uint32_t direction)
{
	bool save = direction == VHU_TRANSFER_SAVE;
	int ends[2], ours, theirs, err;

	if (!vhu_client_has(c, VHOST_USER_PROTOCOL_F_DEVICE_STATE))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < VHU_CLIENT_QUEUES; i++) {
		if (c->ring[i].running)
			return -EBUSY;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ours = ends[save ? 0 : 1];
	theirs = ends[save ? 1 : 0];
	vhu_msg_init(&c->out, VHOST_USER_SET_DEVICE_STATE_FD, 0,
		     sizeof(c->out.p.transfer));
	c->out.p.transfer.direction = direction;
	c->out.p.transfer.phase = VHU_PHASE_STOPPED;
	c->out.fd[0] = theirs;
	c->out.nr_fds = 1;
	err = vhu_ask(c, sizeof(uint64_t));
	close(theirs);
	if (!err && c->sock.in.p.u64 & ERRORS)
		err = -EREMOTEIO;
	if (!err && !(c->sock.in.p.u64 & VHU_TRANSFER_NOFD)) {
		close(ours);
		ours = vhu_msg_take_fd(&c->sock.in, 0);
		err = ours < 0 ? -EPROTO : 0;
	}
	if (!err && fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		err = -errno;
	if (!err)
		return ours;
	if (ours >= 0)
		close(ours);
	return err;
}

/* Both sides closed their ends: did all of it arrive? */
static int check(struct vhu_client *c)
{
	uint64_t v = 1;
	int err = vhu_ask_u64(c, VHOST_USER_CHECK_DEVICE_STATE, &v);

	return !err && v ? -EREMOTEIO : err;
}

/* Until something can be done, or the back end takes too long. 0 or -errno. */
static int wait_for(struct vhu_client *c, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r = poll(&p, 1, c->conf.timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r ? 0 : -ETIMEDOUT;
}

/* Room for more, never more than @max bytes. 0 or -errno. */
static int grow(unsigned char **buf, size_t len, size_t *room, size_t max)
{
	unsigned char *p;
	size_t more;

	if (len < *room)
		return 0;
	if (len >= max)
		return -EFBIG;
	more = *room ? *room : PIECE;
	if (more > max - *room)
		more = max - *room;
	p = realloc(*buf, *room + more);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*room += more;
	return 0;
}

/* To the end of the stream. One byte beyond @max would be too many. */
static int read_all(struct vhu_client *c, int fd, unsigned char **buf,
		    size_t *len, size_t max)
{
	size_t room = 0;
	unsigned char extra;
	ssize_t n;
	int err = 0;

	while (!err) {
		bool full = *len == max;

		if (!full)
			err = grow(buf, *len, &room, max);
		if (err)
			break;
		n = full ? vhu_read_now(fd, &extra, 1) :
			   vhu_read_now(fd, *buf + *len, room - *len);
		if (n == 0)
			return 0;
		if (n > 0 && full)
			err = -EFBIG;
		else if (n > 0)
			*len += (size_t)n;
		else if (errno == EAGAIN)
			err = wait_for(c, fd, POLLIN);
		else if (errno != EINTR)
			err = -errno;
	}
	return err;
}

int vhu_client_save(struct vhu_client *c, void **state, size_t *len,
		    size_t max)
{
	unsigned char *buf = NULL;
	int fd = begin(c, VHU_TRANSFER_SAVE);
	int err;

	*state = NULL;
	*len = 0;
	if (fd < 0)
		return fd;
	err = read_all(c, fd, &buf, len, max);
	close(fd);
	if (!err)
		err = check(c);
	if (err) {
		free(buf);
		*len = 0;
		return err;
	}
	*state = buf;
	return 0;
}

static int write_all(struct vhu_client *c, int fd, const unsigned char *buf,
		     size_t len)
{
	ssize_t n;
	int err = 0;

	while (len && !err) {
		n = vhu_write_now(fd, buf, len);
		if (n >= 0) {
			buf += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			err = wait_for(c, fd, POLLOUT);
		} else if (errno != EINTR) {
			err = -errno;
		}
	}
	return err;
}

int vhu_client_load(struct vhu_client *c, const void *state, size_t len)
{
	int fd = begin(c, VHU_TRANSFER_LOAD);
	int err;

	if (fd < 0)
		return fd;
	err = write_all(c, fd, state, len);
	close(fd);
	return err ? err : check(c);
}
