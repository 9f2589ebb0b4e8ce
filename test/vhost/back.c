/* SPDX-License-Identifier: MIT */
/*
 * What the back end asks of the front end, and waits for: the message that
 * goes out, the answers that are good, and those that are not. The one who
 * asks is a thread of its own, as a device's would be.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

static struct fe f;
static int channel;		/* our end */
static struct vhu_sock asked;	/* what came there */

#define BIT(n)		(1ull << (n))
#define ALL	(VHU_PF(BACKEND_REQ) | VHU_PF(BACKEND_SEND_FD) | \
		 VHU_PF(HOST_NOTIFIER) | VHU_PF(SHARED_OBJECT) | \
		 VHU_PF(SHMEM))

static const struct vio_shm shm[] = { { 1, 0, 65536 }, { 7, 0, 4096 } };
static const uint8_t uuid[16] = "0123456789abcde";
static int object = -ENOENT;

static int shared_object(void *env, const uint8_t of[16])
{
	(void)env;
	return memcmp(of, uuid, 16) ? -ENOENT : object;
}

static const struct vhu_env_ops env = { .shared_object = shared_object };

static void open_it(void)
{
	fe_open_with(&f, &(struct vhu_conf){
		.env = &env, .host_notifiers = true,
	});
	f.dev.shm = shm;
	f.dev.nr_shm = 2;
}

static void give_channel(uint64_t protocol)
{
	int sv[2];

	fe_negotiate(&f, protocol, BIT(VIRTIO_F_VERSION_1) |
		     BIT(VHOST_USER_F_PROTOCOL_FEATURES));
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &sv[1], 1);
	close(sv[1]);
	channel = sv[0];
	vhu_sock_init(&asked, channel);
}

/* -- the one who asks ------------------------------------------------------ */

enum what { MAP, UNMAP, NOTIFIER, NO_NOTIFIER, ADD, REMOVE, LOOKUP, WHATS };

static const uint32_t request_of[WHATS] = {
	[MAP] = VHOST_USER_BACKEND_SHMEM_MAP,
	[UNMAP] = VHOST_USER_BACKEND_SHMEM_UNMAP,
	[NOTIFIER] = VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG,
	[NO_NOTIFIER] = VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG,
	[ADD] = VHOST_USER_BACKEND_SHARED_OBJECT_ADD,
	[REMOVE] = VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE,
	[LOOKUP] = VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP,
};

struct asker {
	pthread_t thread;
	enum what what;
	int err;
	int fd;			/* what it got */
};

static const struct vhu_shared_area area = { 1, true, 8192, 4096, 12288 };

static int ask(enum what what, int *fd)
{
	switch (what) {
	case MAP:
		return vhu_server_shmem_map(f.s, &area, f.memfd);
	case UNMAP:
		return vhu_server_shmem_unmap(f.s, &area);
	case NOTIFIER:
		return vhu_server_host_notifier(f.s, 2, f.memfd, 4096, 8192);
	case NO_NOTIFIER:
		return vhu_server_host_notifier(f.s, 2, -1, 4096, 8192);
	case ADD:
		return vhu_server_object_add(f.s, uuid);
	case REMOVE:
		return vhu_server_object_remove(f.s, uuid);
	default:
		return vhu_server_object_lookup(f.s, uuid, fd);
	}
}

static void *run(void *arg)
{
	struct asker *a = arg;

	a->fd = -1;
	a->err = ask(a->what, &a->fd);
	return NULL;
}

static void begin(struct asker *a, enum what what)
{
	a->what = what;
	CHECK_EQ(pthread_create(&a->thread, NULL, run, a), 0);
}

static int end(struct asker *a)
{
	CHECK_EQ(pthread_join(a->thread, NULL), 0);
	return a->err;
}

/* -- the front end --------------------------------------------------------- */

static void expect(enum what what, bool ack)
{
	struct vhu_session now = { ALL, 0, 0 };
	const struct vhu_msg *in = &asked.in;

	CHECK_EQ(vhu_sock_wait(channel, 5000), 1);
	CHECK_EQ(vhu_sock_recv(&asked), 1);
	CHECK_EQ(in->hdr.request, request_of[what]);
	CHECK_EQ(vhu_check_msg(vhu_backend_rule(in->hdr.request), in, &now),
		 VHU_FINE);
	CHECK_EQ(!!(in->hdr.flags & VHU_NEED_REPLY), ack);
	CHECK_EQ(in->nr_fds, what == MAP || what == NOTIFIER);
}

static void answer(enum what what, uint64_t v, int fd)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, request_of[what], VHU_REPLY, 8);
	msg.p.u64 = v;
	msg.fd[0] = fd;
	msg.nr_fds = fd >= 0;
	CHECK_EQ(vhu_sock_send(channel, &msg, 1000), 0);
}

static void check_fields(enum what what)
{
	const union vhu_payload *p = &asked.in.p;

	if (what == MAP || what == UNMAP) {
		CHECK_EQ(p->mmap.shmid, 1);
		CHECK_EQ(p->mmap.shm_offset, 8192);
		CHECK_EQ(p->mmap.len, 4096);
		CHECK_EQ(p->mmap.fd_offset, 12288);
		CHECK_EQ(p->mmap.flags, VHU_MMAP_WRITABLE);
	} else if (what == NOTIFIER) {
		CHECK_EQ(p->area.index, 2);
		CHECK_EQ(p->area.offset, 4096);
		CHECK_EQ(p->area.size, 8192);
	} else if (what == NO_NOTIFIER) {
		CHECK_EQ(p->area.index, 2 | VHU_VRING_NOFD);
	} else {
		CHECK_MEMEQ(p->uuid, uuid, 16);
	}
}

TEST("vhost back: each request, done and refused", "")
{
	struct asker a;

	open_it();
	give_channel(ALL | VHU_PF(REPLY_ACK));
	for (unsigned what = 0; what < WHATS; what++) {
		bool get = what == LOOKUP;

		begin(&a, what);
		expect(what, true);
		check_fields(what);
		answer(what, 0, get ? f.memfd : -1);
		CHECK_EQ(end(&a), 0);
		CHECK_EQ(a.fd >= 0, get);
		if (get)
			close(a.fd);
		begin(&a, what);
		expect(what, true);
		answer(what, 1, -1);
		CHECK_EQ(end(&a), -EREMOTEIO);
		CHECK_EQ(a.fd, -1);
	}
	/* Found, it says, and gives nothing. */
	begin(&a, LOOKUP);
	expect(LOOKUP, true);
	answer(LOOKUP, 0, -1);
	CHECK_EQ(end(&a), -EREMOTEIO);
	vhu_sock_fini(&asked);
	fe_close(&f);
}

TEST("vhost back: without REPLY_ACK only a question is waited for", "")
{
	struct asker a;
	int fd;

	open_it();
	give_channel(ALL);
	for (unsigned what = 0; what < LOOKUP; what++) {
		CHECK_EQ(ask(what, &fd), 0);
		expect(what, false);
		check_fields(what);
	}
	begin(&a, LOOKUP);
	expect(LOOKUP, true);
	answer(LOOKUP, 0, f.memfd);
	CHECK_EQ(end(&a), 0);
	close(a.fd);
	vhu_sock_fini(&asked);
	fe_close(&f);
}

TEST("vhost back: what was not agreed on is not sent", "")
{
	static const struct vhu_shared_area wrong[] = {
		{ 2, false, 0, 4096, 0 }, { 1, false, 0, 0, 0 },
		{ 1, false, 65536, 4096, 0 }, { 1, false, 4096, 65536, 0 },
		{ 1, false, UINT64_MAX - 4095, 4096, 0 },
		{ 1, false, 0, 4096, INT64_MAX },
	};
	uint64_t lacks;
	int fd;

	open_it();
	CHECK_EQ(ask(MAP, &fd), -ENOTCONN);
	for (unsigned what = 0; what < WHATS; what++) {
		const struct vhu_rule *rule =
			vhu_backend_rule(request_of[what]);

		lacks = BIT(rule->pf);
		if (what == NOTIFIER)
			lacks = VHU_PF(BACKEND_SEND_FD);
		give_channel(ALL & ~lacks);
		CHECK_EQ(ask(what, &fd), -EOPNOTSUPP);
		CHECK_EQ(vhu_sock_wait(channel, 0), 0);
		vhu_sock_fini(&asked);
		fe_reopen(&f);
	}
	give_channel(ALL);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(wrong); i++) {
		CHECK_EQ(vhu_server_shmem_map(f.s, &wrong[i], f.memfd),
			 -EINVAL);
		CHECK_EQ(vhu_server_shmem_unmap(f.s, &wrong[i]), -EINVAL);
	}
	CHECK_EQ(vhu_server_host_notifier(f.s, FE_QUEUES, -1, 0, 0), -EINVAL);
	CHECK_EQ(vhu_sock_wait(channel, 0), 0);
	vhu_sock_fini(&asked);
	fe_close(&f);
}

static void nonsense(unsigned manner)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, request_of[ADD], VHU_REPLY, 8);
	if (manner == 0)
		msg.hdr.request = request_of[REMOVE];
	else if (manner == 1)
		msg.hdr.flags &= ~VHU_REPLY;
	else if (manner == 2)
		msg.hdr.size = 4;
	else if (manner == 3)
		msg.hdr.flags = UINT32_MAX;
	else
		shutdown(channel, SHUT_RDWR);
	if (manner < 4)
		CHECK_EQ(vhu_sock_send(channel, &msg, 1000), 0);
}

TEST("vhost back: a nonsensical answer, or the end, closes the channel", "")
{
	int fds = 0, fd;
	struct asker a;

	open_it();
	for (unsigned manner = 0; manner < 6; manner++) {
		give_channel(ALL | VHU_PF(REPLY_ACK));
		if (!manner)
			fds = fe_open_fds();
		begin(&a, ADD);
		expect(ADD, true);
		if (manner < 5)
			nonsense(manner);
		else
			vhu_server_detach(f.s);
		CHECK_LT(end(&a), 0);
		CHECK_EQ(ask(ADD, &fd), -ENOTCONN);
		CHECK_EQ(f.ended, 0);
		/* Its end of the channel, and of the connection. */
		CHECK_EQ(fe_open_fds(), fds - (manner < 5 ? 1 : 2));
		vhu_sock_fini(&asked);
		fe_reopen(&f);
	}
	fe_close(&f);
}

TEST("vhost back: regions and buffers that the front end asks about", "")
{
	const struct vhu_shmem *r = &f.in.in.p.shmem;
	uint8_t other[16] = { 0 };

	open_it();
	fe_negotiate(&f, ALL, BIT(VIRTIO_F_VERSION_1) |
		     BIT(VHOST_USER_F_PROTOCOL_FEATURES));
	fe_send(&f, VHOST_USER_GET_SHMEM_CONFIG, 0, NULL, 0, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_SHMEM_CONFIG, sizeof(*r));
	CHECK_EQ(r->nr, 2);
	for (unsigned i = 0; i < VHU_SHMEM_REGIONS; i++)
		CHECK_EQ(r->size[i], i == 1 ? 65536 : i == 7 ? 4096 : 0);
	object = f.memfd;
	fe_send(&f, VHOST_USER_GET_SHARED_OBJECT, 0, uuid, 16, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_SHARED_OBJECT, 8);
	CHECK_EQ(f.in.in.p.u64, 0);
	CHECK_EQ(f.in.in.nr_fds, 1);
	fe_send(&f, VHOST_USER_GET_SHARED_OBJECT, 0, other, 16, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_SHARED_OBJECT, 8);
	CHECK_EQ(f.in.in.p.u64, 1);
	CHECK_EQ(f.in.in.nr_fds, 0);
	/* A device without any offers none of it. */
	fe_close(&f);
	fe_open(&f);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES) &
		 (VHU_PF(HOST_NOTIFIER) | VHU_PF(SHARED_OBJECT) |
		  VHU_PF(SHMEM)), 0);
	fe_close(&f);
}
