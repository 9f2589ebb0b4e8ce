/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the vhost-user back end against any sequence of messages with
 * any descriptors, while a driver that is no better plays with the memory.
 *
 * Input: records of one leading byte each.
 *   0..249	a message: request = the byte, then 1 byte of flags (bit 0:
 *		NEED_REPLY, bit 1: cut the message short, bits 4-7: number of
 *		descriptors), 1 byte of what descriptors, 2 bytes of length,
 *		payload
 *   250..253	shared memory: 2 bytes where, 1 byte how many, bytes
 *   254	kick all queues
 *   255	the front end leaves, the next one comes
 */
#define _GNU_SOURCE
#include <vireo/spec/virtio.h>
#include <vireo/vhu.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vireo/vhu_msg.h>
#include "vhost/sock.h"

#define QUEUES	2
#define MEM	65536u

struct input {
	const uint8_t *p;
	size_t left;
};

static struct vio_dev dev;
static struct vio_queue queue[QUEUES];
static unsigned char config[60];
static struct vhu_server *server;
static struct vio_req *held;	/* one request that stays in flight */
static int watched[QUEUES];
static unsigned char *mem;
/* What the front end can hand over. */
static int memfd, event, pipes[2], channel[2];
static int front;
#define GUARDS	1024u

static struct vio_seg guard[GUARDS];
static unsigned guarded;
static const struct vio_shm shm[] = { { 255, 0, MEM } };

/* -- device and environment ------------------------------------------------ */

static enum vio_service service(struct vio_dev *d, struct vio_queue *q,
				unsigned budget)
{
	(void)d;
	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);
		struct vio_cursor r, w;
		unsigned char b[64];

		if (!req)
			return VIO_SERVICE_IDLE;
		r = vio_req_reader(req);
		w = vio_req_writer(req);
		if (vio_cursor_read(&r, b, 16))
			vio_cursor_write(&w, b, 16);
		else
			vio_cursor_write(&w, config, sizeof(config));
		if (!held)
			held = req;
		else
			vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

static int config_write(struct vio_dev *d, uint32_t off, const void *src,
			uint32_t len)
{
	memcpy(d->config + off, src, len);
	vio_dev_config_changed(d);
	return VIO_OK;
}

static const struct vio_dev_ops dev_ops = {
	.name = "fuzz",
	.id = 2,
	.service = service,
	.config_write = config_write,
};

static int env_watch(void *env, unsigned q, int fd)
{
	(void)env;
	watched[q] = fd;
	return 0;
}

static void env_unwatch(void *env, unsigned q)
{
	(void)env;
	watched[q] = -1;
}

static int env_drain(void *env, unsigned q)
{
	(void)env;
	if (held && held->queue->index == q) {
		vio_req_done(held);
		held = NULL;
	}
	if (queue[q].inflight)
		abort();
	return 0;
}

static void env_guard(void *env, void *ptr, size_t len, bool add)
{
	unsigned i;

	(void)env;
	for (i = 0; i < GUARDS && guard[i].base != (add ? NULL : ptr); i++)
		;
	if (i == GUARDS)
		abort();
	guard[i] = (struct vio_seg){ add ? ptr : NULL, len };
	guarded += add ? 1 : -1;
}

/* What a front end that left in mid-postcopy took along: nothing else is. */
static void on_bus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (unsigned i = 0; i < GUARDS; i++) {
		if (at - (uintptr_t)guard[i].base < guard[i].len &&
		    mmap(guard[i].base, guard[i].len, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		    MAP_FAILED)
			return;
	}
	signal(sig, SIG_DFL);
}

/* All pages of the file are there, so that none is ever missing. */
static int env_userfaultfd(void *env)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
			      UFFD_USER_MODE_ONLY);

	(void)env;
	return fd < 0 ? -errno : fd;
}

static void env_watch_calls(void *env)
{
	(void)env;
}

static int shared_object(void *env, const uint8_t uuid[16])
{
	(void)env;
	return uuid[0] & 1 ? memfd : -ENOENT;
}

static int64_t crypto_create(void *env, const void *what, uint32_t len)
{
	const unsigned char *p = what;

	(void)env;
	return p[len - 1] & 1 ? p[0] : -EINVAL;
}

static int crypto_close(void *env, uint64_t session)
{
	(void)env;
	return session & 1 ? 0 : -ENOENT;
}

static const struct vhu_env_ops env_ops = {
	.shared_object = shared_object,
	.crypto_create = crypto_create,
	.crypto_close = crypto_close,
	.watch_kick = env_watch,
	.unwatch_kick = env_unwatch,
	.drain = env_drain,
	.map_guard = env_guard,
	.watch_calls = env_watch_calls,
	.userfaultfd = env_userfaultfd,
};

/* -- the front end --------------------------------------------------------- */

static bool take(struct input *in, void *to, size_t len)
{
	if (in->left < len)
		return false;
	memcpy(to, in->p, len);
	in->p += len;
	in->left -= len;
	return true;
}

static void swallow(int fd)
{
	char b[8192];

	while (recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0)
		;
}

static void connect_front(void)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) ||
	    pipe2(pipes, O_CLOEXEC) || vhu_server_attach(server, sv[0]))
		abort();
	event = eventfd(0, EFD_CLOEXEC);
	front = sv[1];
}

static void disconnect_front(void)
{
	close(front);
	close(event);
	close(pipes[0]);
	close(pipes[1]);
	close(channel[0]);
	close(channel[1]);
	vhu_server_unblock(server);
	vhu_server_detach(server);
	if (guarded || held || vio_dev_status(&dev) || watched[0] != -1 ||
	    watched[1] != -1)
		abort();
}

static void send_message(struct input *in, uint8_t request)
{
	static struct vhu_msg msg;
	const int kinds[4] = { memfd, event, pipes[1], channel[1] };
	struct { uint8_t flags, what; uint8_t len[2]; } head;
	uint32_t size;

	if (!take(in, &head, sizeof(head)))
		return;
	size = head.len[0] | (uint32_t)head.len[1] << 8;
	if (size > VHU_PAYLOAD_MAX)
		size %= VHU_PAYLOAD_MAX + 1;
	vhu_msg_init(&msg, request, head.flags & 1 ? VHU_NEED_REPLY : 0, size);
	take(in, &msg.p, size < in->left ? size : in->left);
	msg.nr_fds = head.flags >> 4;
	/* What nobody writes to would be waited for. */
	if (request == VHOST_USER_SET_DEVICE_STATE_FD)
		head.what = 0;
	for (unsigned i = 0; i < msg.nr_fds; i++)
		msg.fd[i] = kinds[(head.what >> (i % 4 * 2)) & 3];
	if (head.flags & 2)
		send(front, &msg.hdr, head.what % 12, MSG_NOSIGNAL);
	else
		vhu_sock_send(front, &msg, 0);
}

/* Everyone moves; true while the session lasts. */
static bool step(void)
{
	struct pollfd p = { .fd = vhu_server_fd(server), .events = POLLIN };
	int err = 0;

	if (poll(&p, 1, 0) == 1)
		err = vhu_server_readable(server);
	swallow(front);
	swallow(channel[0]);
	for (unsigned q = 0; q < QUEUES; q++) {
		struct pollfd k = { .fd = watched[q], .events = POLLIN };

		if (watched[q] >= 0 && poll(&k, 1, 0) == 1)
			vhu_queue_kicked(server, q);
		vhu_queue_service(server, q, 4);
	}
	swallow(channel[0]);
	vhu_server_unblock(server);
	return !err;
}

static void run(struct input *in)
{
	uint8_t what;

	for (int i = 0; i < 200 && take(in, &what, 1); i++) {
		uint8_t at[3];
		uint64_t one = 1;

		if (what < 250) {
			send_message(in, what);
		} else if (what < 254) {
			if (!take(in, at, 3))
				break;
			take(in, mem + (at[0] | at[1] << 8),
			     in->left < at[2] ? in->left : at[2]);
		} else if (what == 254) {
			if (write(event, &one, sizeof(one)) != sizeof(one))
				break;
		}
		if (!step() || what == 255) {
			disconnect_front();
			connect_front();
		}
	}
}

static void set_up(void)
{
	static const struct vio_queue_limits limits = { 64, 8, 0 };
	static const struct sigaction bus = {
		.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO,
	};
	struct vio_features offered = { { 0, 0 } };
	struct vhu_conf conf = {
		.dev = &dev, .env = &env_ops, .host_notifiers = true,
		.iommu = true,
	};
	size_t len = vio_queue_storage_size(&limits);

	vio_feature_set(&offered, VIRTIO_F_RING_PACKED);
	vio_feature_set(&offered, VIRTIO_F_IN_ORDER);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGBUS, &bus, NULL);
	memfd = memfd_create("fuzz", MFD_CLOEXEC);
	if (ftruncate(memfd, MEM))
		abort();
	/* Room for a write of 255 bytes at the very end. */
	mem = mmap(NULL, MEM + 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmap(mem, MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd,
	     0);
	for (uint16_t i = 0; i < QUEUES; i++) {
		watched[i] = -1;
		vio_queue_init(&queue[i], &dev, i, &limits,
			       aligned_alloc(64, (len + 63) / 64 * 64), len);
	}
	vio_dev_init(&dev, &dev_ops, &offered, queue, QUEUES, config,
		     sizeof(config));
	dev.shm = shm;
	dev.nr_shm = 1;
	if (vhu_server_create(&server, &conf))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int before, after;

	if (!server)
		set_up();
	memset(mem, 0, MEM);
	memset(config, 1, sizeof(config));
	before = dup(memfd);
	close(before);
	connect_front();
	run(&in);
	disconnect_front();
	/* The lowest free descriptor is where it was: none leaked. */
	after = dup(memfd);
	close(after);
	if (after != before)
		abort();
	return 0;
}
