/* SPDX-License-Identifier: MIT */
/*
 * A session goes to another back end, here in the same process on a thread:
 * the front end's messages, rings and memory are gone on with, and where the
 * other refuses, all stays as it was.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

static struct fe f, g;		/* the old one and its successor */
static int taken;		/* what vhu_server_take_over() gave */
static int pair[2];

#define BIT(n)		(1ull << (n))
#define MODERN		BIT(VIRTIO_F_VERSION_1)
#define PROTOCOL	BIT(VHOST_USER_F_PROTOCOL_FEATURES)

static void *take_over(void *arg)
{
	(void)arg;
	taken = vhu_server_take_over(g.s, pair[1]);
	return NULL;
}

/* A successor without a front end. */
static void successor(void)
{
	fe_open(&g);
	vhu_server_detach(g.s);
}

static int hand_over(void)
{
	pthread_t thread;
	int err;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(pthread_create(&thread, NULL, take_over, NULL), 0);
	err = vhu_server_hand_over(f.s, pair[0]);
	close(pair[0]);
	pthread_join(thread, NULL);
	return err;
}

/* What is the front end's goes from one struct to the other. */
static void swap_front(void)
{
	struct vhu_sock in = f.in;
	unsigned char *mem = f.mem;
	int sock = f.sock, memfd = f.memfd;

	f.in = g.in;
	f.sock = g.sock;
	f.mem = g.mem;
	f.memfd = g.memfd;
	g.in = in;
	g.sock = sock;
	g.mem = mem;
	g.memfd = memfd;
	for (unsigned q = 0; q < FE_QUEUES; q++) {
		struct fe_queue *a = &f.q[q], *b = &g.q[q];
		int kick = a->kick_fd, call = a->call_fd;

		b->avail_idx = a->avail_idx;
		b->used_seen = a->used_seen;
		a->kick_fd = b->kick_fd;
		a->call_fd = b->call_fd;
		b->kick_fd = kick;
		b->call_fd = call;
	}
}

static void start(uint64_t protocol, uint64_t features)
{
	fe_open(&f);
	fe_negotiate(&f, protocol, features);
	fe_send_memory(&f);
	for (unsigned q = 0; q < 2; q++) {
		fe_send_ring(&f, q);
		if (features & PROTOCOL)
			fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, q, 1);
	}
	CHECK_EQ(f.ended, 0);
}

static void run_one(struct fe *it, unsigned q)
{
	fe_offer(it, q);
	fe_kick(it, q);
	CHECK_EQ(it->ended, 0);
	CHECK_EQ(fe_used(it, q), 1);
	CHECK_GE(fe_calls(it, q), 1);
}

TEST("vhost hand over: rings, memory and what is in flight", "")
{
	static const uint64_t with[] = { MODERN | PROTOCOL, MODERN };
	int before = fe_open_fds();

	for (unsigned i = 0; i < 2; i++) {
		start(VHU_PF(MQ) | VHU_PF(REPLY_ACK), with[i]);
		for (unsigned n = 0; n < 21; n++)
			run_one(&f, n % 2);
		f.hold = true;
		fe_offer(&f, 0);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 1);
		successor();
		CHECK_EQ(hand_over(), 0);
		CHECK_EQ(taken, 0);
		/* The old one finished what it had, and is empty. */
		CHECK_EQ(f.nr_held, 0);
		CHECK_EQ(f.guarded, 0);
		CHECK_EQ(vhu_server_fd(f.s), -1);
		swap_front();
		CHECK_EQ(fe_used(&g, 0), 1);
		for (unsigned n = 0; n < 21; n++)
			run_one(&g, n % 2);
		/* The third ring is set up with the new one. */
		fe_send_ring(&g, 2);
		if (with[i] & PROTOCOL)
			fe_send_state(&g, VHOST_USER_SET_VRING_ENABLE, 2, 1);
		run_one(&g, 2);
		CHECK_EQ(fe_get_u64(&g, VHOST_USER_GET_QUEUE_NUM), FE_QUEUES);
		fe_close(&g);
		fe_close(&f);
	}
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost hand over: a kick that came meanwhile, a disabled ring", "")
{
	uint64_t one = 1;

	start(VHU_PF(MQ), MODERN | PROTOCOL);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 1, 0);
	fe_offer(&f, 0);
	CHECK_EQ(write(f.q[0].kick_fd, &one, 8), 8);
	successor();
	CHECK_EQ(hand_over(), 0);
	swap_front();
	fe_step(&g);
	CHECK_EQ(fe_used(&g, 0), 1);
	fe_offer(&g, 1);
	fe_kick(&g, 1);
	CHECK_EQ(fe_used(&g, 1), 0);
	fe_send_state(&g, VHOST_USER_SET_VRING_ENABLE, 1, 1);
	CHECK_EQ(fe_used(&g, 1), 1);
	fe_close(&g);
	fe_close(&f);
}

/* The old process is gone before the new one comes. */
TEST("vhost hand over: by way of a deposit", "")
{
	struct vhu_log_area area = { FE_GUEST / 4096 / 8 + 64, 0 };
	int before = fe_open_fds(), log_fd;

	log_fd = memfd_create("log", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(log_fd, (off_t)area.size), 0);
	start(VHU_PF(MQ) | VHU_PF(LOG_SHMFD), MODERN | PROTOCOL);
	/* Its answer is nobody's in the deposit. */
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &area, sizeof(area), &log_fd,
		1);
	fe_expect(&f, VHOST_USER_SET_LOG_BASE, 8);
	for (unsigned n = 0; n < 5; n++)
		run_one(&f, n % 2);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(vhu_server_deposit(f.s, pair[0]), 0);
	close(pair[0]);
	CHECK_EQ(vhu_server_fd(f.s), -1);
	successor();
	swap_front();
	fe_offer(&g, 0);
	take_over(NULL);
	CHECK_EQ(taken, 0);
	fe_step(&g);
	CHECK_EQ(fe_used(&g, 0), 1);
	for (unsigned n = 0; n < 5; n++)
		run_one(&g, n % 2);
	CHECK_EQ(fe_get_u64(&g, VHOST_USER_GET_QUEUE_NUM), FE_QUEUES);
	close(log_fd);
	fe_close(&g);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
	/* Nothing to deposit, and an end before anything was said. */
	successor();
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(vhu_server_deposit(g.s, pair[0]), -ENOTCONN);
	close(pair[0]);
	take_over(NULL);
	CHECK_EQ(taken, -ENOTCONN);
	fe_close(&g);
}

TEST("vhost hand over: configuration, status, record, log, channel", "")
{
	const uint64_t pf = VHU_PF(CONFIG) | VHU_PF(STATUS) |
		VHU_PF(REPLY_ACK) | VHU_PF(BACKEND_REQ) | VHU_PF(LOG_SHMFD) |
		VHU_PF(INFLIGHT_SHMFD);
	struct vhu_inflight in = { 16384, FE_MEM - 16384, 1, FE_RING };
	struct vhu_log_area area = { FE_GUEST / 4096 / 8 + 64, 0 };
	struct vhu_config c = { 2, 1, 0, { 99 } };
	int before = fe_open_fds(), log_fd, sv[2];
	struct vhu_sock back;
	unsigned char bit;

	log_fd = memfd_create("log", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(log_fd, (off_t)area.size), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	vhu_sock_init(&back, sv[0]);
	fe_open(&f);
	fe_negotiate(&f, pf, MODERN | PROTOCOL | BIT(VHOST_F_LOG_ALL));
	fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &sv[1], 1);
	close(sv[1]);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, VHU_CONFIG_HDR + 1,
			NULL, 0), 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_INFLIGHT_FD, &in, 20, &f.memfd, 1),
		 0);
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &area, sizeof(area), &log_fd,
		1);
	fe_expect(&f, VHOST_USER_SET_LOG_BASE, 8);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 15);
	successor();
	CHECK_EQ(hand_over(), 0);
	swap_front();
	CHECK_EQ(g.config[2], 99);
	CHECK_EQ(g.config[3], 4);
	CHECK_EQ(fe_get_u64(&g, VHOST_USER_GET_STATUS), 15);
	run_one(&g, 0);
	/* The page of the first buffer. */
	CHECK_EQ(pread(log_fd, &bit, 1, FE_GUEST / 4096 / 8), 1);
	CHECK(bit & 8);
	/* It is kept in the record: of version 1 once a ring started. */
	CHECK_EQ(*(uint16_t *)(void *)(g.mem + FE_MEM - 16384 + 8), 1);
	vio_dev_config_changed(&g.dev);
	CHECK_EQ(vhu_sock_recv(&back), 1);
	CHECK_EQ(back.in.hdr.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	vhu_sock_fini(&back);
	close(log_fd);
	fe_close(&g);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost hand over: refused, or nobody there: the session goes on", "")
{
	start(VHU_PF(MQ) | VHU_PF(REPLY_ACK), MODERN | PROTOCOL);
	run_one(&f, 0);
	successor();
	g.dispute = true;
	CHECK_EQ(hand_over(), -EPROTO);
	CHECK_LT(taken, 0);
	CHECK_EQ(g.guarded, 0);
	CHECK_EQ(vhu_server_fd(g.s), -1);
	for (unsigned n = 0; n < 8; n++)
		run_one(&f, n % 2);
	/* It dies before it says anything. */
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	CHECK_LT(vhu_server_hand_over(f.s, pair[0]), 0);
	close(pair[0]);
	for (unsigned n = 0; n < 8; n++)
		run_one(&f, n % 2);
	CHECK_EQ(f.resets, 0);
	/* In the middle of a message, it is no time for it. */
	CHECK_EQ(write(f.sock, "\1\0\0\0", 4), 4);
	fe_step(&f);
	CHECK_EQ(vhu_server_hand_over(f.s, -1), -EAGAIN);
	vhu_server_detach(f.s);
	CHECK_EQ(vhu_server_hand_over(f.s, -1), -ENOTCONN);
	fe_close(&g);
	fe_close(&f);
}

TEST("vhost hand over: a front end cannot pretend to be a predecessor", "")
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(REPLY_ACK), MODERN | PROTOCOL);
	fe_send_fd(&f, 0x76696f01, 0, f.sock);
	CHECK_EQ(f.ended, -EPROTO);
	fe_close(&f);
}
