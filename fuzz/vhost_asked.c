/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a back end asks of our front end, on the channel that it
 * was given. The input is a list of messages, each with the number of
 * descriptors that come along:
 *
 *	request, descriptors and flags, length, payload ...
 *
 * Afterwards no descriptor is left over, and each part of shared memory that
 * is said to be shown can be read.
 */
#define _GNU_SOURCE
#include <vireo/vhu_client.h>
#include <vireo/vhu_msg.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/sock.h"

#define WINDOW		65536u
#define REGION		(16u * 4096u)
#define MESSAGES	64
/* Of the second byte. */
#define FDS		0x3u
#define NEED_REPLY	0x4u
#define OTHER_FLAGS	0x8u

#define PROTOCOL	(VHU_PF(BACKEND_REQ) | VHU_PF(CONFIG) | \
			 VHU_PF(SHMEM) | VHU_PF(HOST_NOTIFIER) | \
			 VHU_PF(BACKEND_SEND_FD) | VHU_PF(SHARED_OBJECT))

static int file = -1;

static int make_file(const char *name, off_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, len) < 0)
		abort();
	return fd;
}

static int object(void *ctx, const uint8_t uuid[16])
{
	(void)ctx;
	return uuid[0] & 1 ? -ENOENT : 0;
}

static int lookup(void *ctx, const uint8_t uuid[16])
{
	(void)ctx;
	return uuid[0] & 1 ? -ENOENT : file;
}

/* All that is shown is whole pages of a file that is long enough. */
static void guard(void *ctx, void *ptr, size_t len, bool add)
{
	volatile unsigned char *p = ptr;

	(void)ctx;
	for (size_t i = 0; add && i < len; i += 4096)
		(void)p[i];
}

static const struct vhu_client_ops ops = {
	.object_add = object,
	.object_remove = object,
	.object_lookup = lookup,
	.map_guard = guard,
};

static void answer(int fd, uint32_t request, const void *p, uint32_t size)
{
	struct vhu_msg m;

	vhu_msg_init(&m, request, VHU_REPLY, size);
	memcpy(&m.p, p, size);
	if (vhu_sock_send(fd, &m, 1000))
		abort();
}

/* The answers to all that vhu_client_open() asks, before it asks. */
static void agree(int fd)
{
	struct vhu_shmem regions = { .nr = 2 };
	uint64_t features = 1ull << 32 |
			    1ull << VHOST_USER_F_PROTOCOL_FEATURES;
	uint64_t protocol = PROTOCOL;

	regions.size[0] = REGION;
	regions.size[255] = 4096;
	answer(fd, VHOST_USER_GET_FEATURES, &features, 8);
	answer(fd, VHOST_USER_GET_PROTOCOL_FEATURES, &protocol, 8);
	answer(fd, VHOST_USER_GET_SHMEM_CONFIG, &regions, sizeof(regions));
}

/* The channel that the front end gave. */
static int channel_of(int fd)
{
	struct vhu_sock s;
	int channel = -1;

	vhu_sock_init(&s, fd);
	while (vhu_sock_recv(&s) > 0) {
		if (s.in.hdr.request == VHOST_USER_SET_BACKEND_REQ_FD)
			channel = vhu_msg_take_fd(&s.in, 0);
	}
	vhu_msg_drop_fds(&s.in);
	return channel;
}

static size_t send_one(int channel, const uint8_t *data, size_t size)
{
	size_t len = data[2] < size - 3 ? data[2] : size - 3;
	struct vhu_msg m;

	vhu_msg_init(&m, data[0], 0, (uint32_t)len);
	if (data[1] & NEED_REPLY)
		m.hdr.flags |= VHU_NEED_REPLY;
	if (data[1] & OTHER_FLAGS)
		m.hdr.flags ^= data[1] >> 4;
	memcpy(&m.p, data + 3, len);
	for (unsigned i = 0; i < (data[1] & FDS); i++)
		m.fd[m.nr_fds++] = file;
	(void)vhu_sock_send(channel, &m, 0);
	return 3 + len;
}

static void drain(int channel)
{
	char answers[4096];

	while (recv(channel, answers, sizeof(answers), MSG_DONTWAIT) > 0)
		;
}

static void play(struct vhu_client *c, int channel, const uint8_t *data,
		 size_t size)
{
	for (unsigned i = 0; i < MESSAGES && size >= 3; i++) {
		size_t used = send_one(channel, data, size);

		data += used;
		size -= used;
		if (vhu_client_events(c) < 0)
			break;
		drain(channel);
	}
	for (uint16_t q = 0; q < vhu_client_queues(c); q++) {
		if (vhu_client_host_notified(c, q))
			vhu_client_bus.notify(c, q, 0);
	}
}

static int lowest_free(void)
{
	int fd = dup(file);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhu_client_conf conf = {
		.timeout_ms = 1000, .ops = &ops, .shmem_max = 1u << 20,
		.map_notifiers = true,
	};
	static int memory = -1;
	struct vhu_client *c;
	int pair[2], channel, before;

	if (memory < 0) {
		memory = make_file("memory", WINDOW);
		file = make_file("file", REGION);
	}
	before = lowest_free();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	agree(pair[1]);
	conf.mem_fd = memory;
	conf.socket_fd = pair[0];
	if (vhu_client_open(&c, &conf))
		abort();
	channel = channel_of(pair[1]);
	play(c, channel, data, size);
	vhu_client_close(c);
	close(channel);
	close(pair[1]);
	if (lowest_free() != before)
		abort();
	return 0;
}
