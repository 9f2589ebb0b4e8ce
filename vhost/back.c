/* SPDX-License-Identifier: MIT */
/*
 * vhost/back.c - the back end's own requests and their answers: shared memory
 * that the guest is to see, buffers shared between devices, pages that take
 * notifications. What a mapping is good for, it does not know; calls and
 * changes of configuration, which nobody answers, are notify.c's.
 *
 * An answer comes on the same channel. One thread at a time asks and waits;
 * the lock of the channel is not held meanwhile, so that calls go on.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The channel may be closed while we wait: look at that this often. */
#define SLICE_MS	50

/* Under the lock: the channel is of no use any more. */
void vhu_back_give_up(struct vhu_server *s, const char *text,
		      uint32_t request, int err)
{
	vhu_say(s, VIO_LOG_ERROR, text,
		{ vhu_backend_rule(request)->name, request },
		{ "errno", (uint64_t)-err });
	close(s->back_fd);
	s->back_fd = -1;
	s->back_life++;
}

void vhu_back_close(struct vhu_server *s)
{
	pthread_mutex_lock(&s->back_lock);
	if (s->back_fd >= 0)
		close(s->back_fd);
	s->back_fd = -1;
	s->back_again = 0;
	s->back_life++;
	pthread_mutex_unlock(&s->back_lock);
}

int vhu_on_set_back_fd(struct vhu_server *s, struct vhu_msg *msg)
{
	vhu_back_close(s);
	pthread_mutex_lock(&s->back_lock);
	s->back_fd = vhu_msg_take_fd(msg, 0);
	pthread_mutex_unlock(&s->back_lock);
	return 0;
}

/* -- a request and its answer ---------------------------------------------- */

struct talk {
	struct vhu_server *s;
	struct vhu_msg *msg;
	struct vhu_sock in;	/* a descriptor of our own for the channel */
	unsigned life;		/* of the channel */
	bool answered;		/* there will be an answer */
};

/* What the request belongs to must be agreed on. */
static int agreed(const struct vhu_server *s, const struct vhu_msg *msg)
{
	const struct vhu_rule *rule = vhu_backend_rule(msg->hdr.request);
	uint64_t fds = VHU_PF(BACKEND_SEND_FD);

	if (s->back_fd < 0)
		return -ENOTCONN;
	if (rule->pf >= 0 && !(s->back_protocol >> rule->pf & 1))
		return -EOPNOTSUPP;
	/* Shared memory is nothing without descriptors, and asks for none. */
	if (rule->pf == VHOST_USER_PROTOCOL_F_SHMEM)
		fds = 0;
	if (msg->nr_fds && (s->back_protocol & fds) != fds)
		return -EOPNOTSUPP;
	return 0;
}

static int begin(struct talk *t)
{
	struct vhu_server *s = t->s;
	int err, fd;

	pthread_mutex_lock(&s->back_lock);
	err = agreed(s, t->msg);
	t->answered = vhu_backend_rule(t->msg->hdr.request)->reply ||
		      s->back_protocol & VHU_PF(REPLY_ACK);
	if (t->answered)
		t->msg->hdr.flags |= VHU_NEED_REPLY;
	fd = err ? err : fcntl(s->back_fd, F_DUPFD_CLOEXEC, 0);
	if (!err && fd < 0)
		err = -errno;
	vhu_sock_init(&t->in, err ? -1 : fd);
	if (!err)
		err = vhu_sock_send(s->back_fd, t->msg, VHU_SEND_TIMEOUT_MS);
	if (err && t->in.fd >= 0)
		vhu_back_give_up(s,
			"front end does not take our requests any more",
			t->msg->hdr.request, err);
	t->life = s->back_life;
	pthread_mutex_unlock(&s->back_lock);
	return err;
}

static bool still_there(const struct talk *t)
{
	bool same;

	pthread_mutex_lock(&t->s->back_lock);
	same = t->s->back_life == t->life;
	pthread_mutex_unlock(&t->s->back_lock);
	return same;
}

static int wait_answer(struct talk *t)
{
	const struct vhu_msg *in = &t->in.in;
	int left, r;

	for (left = VHU_SEND_TIMEOUT_MS; ; left -= SLICE_MS) {
		r = vhu_sock_recv(&t->in);
		if (r)
			break;
		if (left <= 0)
			return -ETIMEDOUT;
		r = vhu_sock_wait(t->in.fd, SLICE_MS);
		if (r < 0)
			return r;
		if (!still_there(t))
			return -ENOTCONN;
	}
	if (r < 0)
		return r;
	return in->hdr.request == t->msg->hdr.request &&
		in->hdr.flags & VHU_REPLY &&
		in->hdr.size == sizeof(in->p.u64) ? 0 : -EPROTO;
}

/*
 * Send @msg and wait for word on it. @fd: out, what came along, which is the
 * caller's then; NULL: nothing may.
 */
static int ask(struct vhu_server *s, struct vhu_msg *msg, int *fd)
{
	struct talk t = { .s = s, .msg = msg };
	int err;

	pthread_mutex_lock(&s->back_ask);
	err = begin(&t);
	if (!err && t.answered) {
		err = wait_answer(&t);
		pthread_mutex_lock(&s->back_lock);
		if (err && s->back_life == t.life)
			vhu_back_give_up(s,
				"front end does not answer our request",
				msg->hdr.request, err);
		pthread_mutex_unlock(&s->back_lock);
		if (!err && t.in.in.p.u64)
			err = -EREMOTEIO;
	}
	if (!err && fd) {
		*fd = vhu_msg_take_fd(&t.in.in, 0);
		if (*fd < 0)
			err = -EREMOTEIO;
	}
	vhu_sock_fini(&t.in);
	pthread_mutex_unlock(&s->back_ask);
	return err;
}

/* -- shared memory regions ------------------------------------------------- */

int vhu_on_get_shmem(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_shmem *out = &s->out.p.shmem;

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < s->dev->nr_shm; i++) {
		const struct vio_shm *shm = &s->dev->shm[i];

		out->nr += shm->len != 0;
		out->size[shm->id] = shm->len;
	}
	return vhu_reply(s, msg, sizeof(*out));
}

static int check_area(const struct vhu_server *s,
		      const struct vhu_shared_area *a)
{
	const struct vio_shm *shm = vio_dev_shm(s->dev, a->shmid);

	if (!shm || !a->len || a->len > shm->len ||
	    a->offset > shm->len - a->len || a->fd_offset > INT64_MAX - a->len)
		return -EINVAL;
	return 0;
}

static void put_area(struct vhu_msg *msg, uint32_t request,
		     const struct vhu_shared_area *a)
{
	vhu_msg_init(msg, request, 0, sizeof(msg->p.mmap));
	msg->p.mmap.shmid = a->shmid;
	msg->p.mmap.fd_offset = a->fd_offset;
	msg->p.mmap.shm_offset = a->offset;
	msg->p.mmap.len = a->len;
	msg->p.mmap.flags = a->writable ? VHU_MMAP_WRITABLE : 0;
}

int vhu_server_shmem_map(struct vhu_server *s, const struct vhu_shared_area *a,
			 int fd)
{
	struct vhu_msg msg;
	int err = check_area(s, a);

	if (err)
		return err;
	put_area(&msg, VHOST_USER_BACKEND_SHMEM_MAP, a);
	msg.fd[0] = fd;
	msg.nr_fds = 1;
	return ask(s, &msg, NULL);
}

int vhu_server_shmem_unmap(struct vhu_server *s,
			   const struct vhu_shared_area *a)
{
	struct vhu_msg msg;
	int err = check_area(s, a);

	if (err)
		return err;
	put_area(&msg, VHOST_USER_BACKEND_SHMEM_UNMAP, a);
	return ask(s, &msg, NULL);
}

/* -- pages that take notifications ----------------------------------------- */

int vhu_server_host_notifier(struct vhu_server *s, unsigned queue, int fd,
			     uint64_t offset, uint64_t size)
{
	struct vhu_msg msg;

	if (queue >= s->nr_rings)
		return -EINVAL;
	vhu_msg_init(&msg, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, 0,
		     sizeof(msg.p.area));
	msg.p.area.index = queue | (fd < 0 ? VHU_VRING_NOFD : 0);
	if (fd >= 0) {
		msg.p.area.size = size;
		msg.p.area.offset = offset;
		msg.fd[0] = fd;
		msg.nr_fds = 1;
	}
	return ask(s, &msg, NULL);
}

/* -- buffers shared between devices ---------------------------------------- */

static int ask_object(struct vhu_server *s, uint32_t request,
		      const uint8_t uuid[16], int *fd)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, request, 0, sizeof(msg.p.uuid));
	memcpy(msg.p.uuid, uuid, sizeof(msg.p.uuid));
	return ask(s, &msg, fd);
}

int vhu_server_object_add(struct vhu_server *s, const uint8_t uuid[16])
{
	return ask_object(s, VHOST_USER_BACKEND_SHARED_OBJECT_ADD, uuid, NULL);
}

int vhu_server_object_remove(struct vhu_server *s, const uint8_t uuid[16])
{
	return ask_object(s, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, uuid,
			  NULL);
}

int vhu_server_object_lookup(struct vhu_server *s, const uint8_t uuid[16],
			     int *fd)
{
	*fd = -1;
	return ask_object(s, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, uuid, fd);
}

/* The front end asks for one of ours, for another device. */
int vhu_on_get_object(struct vhu_server *s, struct vhu_msg *msg)
{
	int fd = s->conf.env->shared_object(s->conf.env_ctx, msg->p.uuid);

	if (fd < 0)
		vhu_say(s, VIO_LOG_WARN,
			"front end asks for a shared buffer that is not here",
			{ "errno", (uint64_t)-fd });
	s->out.p.u64 = fd < 0;
	return vhu_reply_fd(s, msg, sizeof(s->out.p.u64), fd < 0 ? -1 : fd);
}
