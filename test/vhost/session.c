/* SPDX-License-Identifier: MIT */
/*
 * Sessions as real front ends lead them: their order of messages, their ways
 * to leave and come back, their questions.
 */
#include "fe.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

static struct fe f;

#define BIT(n)		(1ull << (n))
#define MODERN		BIT(VIRTIO_F_VERSION_1)
#define PROTOCOL	BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define QEMU_PF		(VHU_PF(MQ) | VHU_PF(REPLY_ACK) | \
			 VHU_PF(BACKEND_REQ) | VHU_PF(CONFIG) | \
			 VHU_PF(CONFIGURE_MEM_SLOTS) | VHU_PF(STATUS))

static void run_one(unsigned q)
{
	fe_offer(&f, q);
	fe_kick(&f, q);
	CHECK_EQ(f.ended, 0);
	CHECK_EQ(fe_used(&f, q), 1);
	CHECK_EQ(fe_calls(&f, q), 1);
}

TEST("vhost: QEMU 7.2's order: enable after the rings, then the status", "")
{
	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_QUEUE_NUM), FE_QUEUES);
	CHECK_GE(fe_get_u64(&f, VHOST_USER_GET_MAX_MEM_SLOTS), 509);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 8);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_STATUS), 8);
	fe_send_memory(&f);
	for (unsigned q = 0; q < FE_QUEUES; q++)
		fe_send_ring(&f, q);
	for (unsigned q = 0; q < FE_QUEUES; q++)
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, q, 1);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 15);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_STATUS), 15);
	for (unsigned q = 0; q < FE_QUEUES; q++)
		run_one(q);
	fe_close(&f);
}

TEST("vhost: older QEMU's order: enable before the ring is there", "")
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(MQ) | VHU_PF(REPLY_ACK), MODERN | PROTOCOL);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	run_one(0);
	fe_close(&f);
}

TEST("vhost: a front end without protocol features: rings start enabled", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 1);
	run_one(1);
	fe_close(&f);
}

TEST("vhost: a legacy driver, which has no FEATURES_OK", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, BIT(VIRTIO_F_EVENT_IDX));
	fe_send_memory(&f);
	fe_send_ring(&f, 1);
	run_one(1);
	CHECK(vio_dev_status(&f.dev) & VIRTIO_STATUS_DRIVER_OK);
	fe_close(&f);
}

TEST("vhost: User Mode Linux's last SET_FEATURES takes bit 30 back", "")
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(REPLY_ACK) | VHU_PF(CONFIG),
		     MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN);
	fe_send_ring(&f, 0);
	run_one(0);
	fe_close(&f);
}

TEST("vhost: SET_FEATURES again does not disable a running ring", "")
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(MQ), MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	run_one(0);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL);
	run_one(0);
	/* Other features under a running ring are refused. */
	fe_send_u64(&f, VHOST_USER_SET_FEATURES,
		    MODERN | PROTOCOL | BIT(VIRTIO_F_EVENT_IDX));
	CHECK_EQ(f.ended, -EBUSY);
	fe_close(&f);
}

TEST("vhost: buffers that nobody kicked for are found at the start", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_offer(&f, 0);
	fe_offer(&f, 0);
	fe_send_ring(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 2);
	fe_close(&f);
}

TEST("vhost: no kick descriptor means polling", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_addr(&f, 0);
	fe_send_u64(&f, VHOST_USER_SET_VRING_KICK, VHU_VRING_NOFD);
	fe_send_u64(&f, VHOST_USER_SET_VRING_CALL, VHU_VRING_NOFD);
	CHECK(f.q[0].is_watched);
	CHECK_EQ(f.q[0].watched, -1);
	fe_offer(&f, 0);
	fe_step(&f);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

TEST("vhost: kicks and calls by message", "")
{
	uint64_t pf = VHU_PF(REPLY_ACK) | VHU_PF(BACKEND_REQ) |
		VHU_PF(INBAND_NOTIFICATIONS);
	struct vhu_vring_state st = { 0, 0 };
	struct vhu_sock back;
	int sv[2];

	fe_open(&f);
	fe_negotiate(&f, pf, MODERN | PROTOCOL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	vhu_sock_init(&back, sv[0]);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &sv[1],
			1), 0);
	close(sv[1]);
	/* A kick before anything is set up is no mistake. */
	CHECK_EQ(fe_ask(&f, VHOST_USER_VRING_KICK, &st, 8, NULL, 0), 0);
	fe_send_memory(&f);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0);
	fe_send_addr(&f, 0);
	for (int i = 0; i < 3; i++) {
		fe_offer(&f, 0);
		CHECK_EQ(fe_ask(&f, VHOST_USER_VRING_KICK, &st, 8, NULL, 0),
			 0);
		CHECK_EQ(fe_used(&f, 0), 1);
		CHECK_EQ(vhu_sock_recv(&back), 1);
		CHECK_EQ(back.in.hdr.request, VHOST_USER_BACKEND_VRING_CALL);
		CHECK_EQ(back.in.hdr.flags, VHU_VERSION);
		CHECK_EQ(back.in.hdr.size, 8);
		CHECK_EQ(back.in.p.state.index, 0);
		CHECK_EQ(back.in.p.state.num, 0);
	}
	vhu_sock_fini(&back);
	/* A front end that closes the channel loses it, no more. */
	fe_offer(&f, 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_VRING_KICK, &st, 8, NULL, 0), 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

/* Calls go by message, and there is little room for them. */
static void open_narrow(const struct vhu_env_ops *env, struct vhu_sock *back)
{
	uint64_t pf = VHU_PF(REPLY_ACK) | VHU_PF(BACKEND_REQ) |
		VHU_PF(INBAND_NOTIFICATIONS) | VHU_PF(CONFIG);
	int small = 1;
	int sv[2];

	fe_open_in(&f, env);
	fe_negotiate(&f, pf, MODERN | PROTOCOL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	vhu_sock_init(back, sv[0]);
	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &sv[1], 1);
	close(sv[1]);
	fe_send_memory(&f);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_addr(&f, 0);
}

/* A front end that does not read its calls is answered all the same. */
static void kick_often(void)
{
	struct vhu_vring_state st = { 0, 0 };

	for (int i = 0; i < 50; i++) {
		fe_offer(&f, 0);
		CHECK_EQ(fe_ask(&f, VHOST_USER_VRING_KICK, &st, 8, NULL, 0),
			 0);
		CHECK_EQ(fe_used(&f, 0), 1);
	}
}

static void expect_call(struct vhu_sock *back)
{
	CHECK_EQ(vhu_sock_recv(back), 1);
	CHECK_EQ(back->in.hdr.request, VHOST_USER_BACKEND_VRING_CALL);
	CHECK_EQ(vhu_sock_recv(back), 0);
	CHECK_EQ(f.logs, 0);
	vhu_sock_fini(back);
	fe_close(&f);
}

TEST("vhost: calls by message for which there is no room are owed", "")
{
	struct vhu_sock back;

	open_narrow(fe_env(), &back);
	f.busy = true;
	kick_often();
	CHECK(f.q[0].woken);
	while (vhu_sock_recv(&back) == 1)
		;
	f.busy = false;
	fe_step(&f);
	expect_call(&back);
}

static unsigned watches;

static void watch(void *ctx)
{
	(void)ctx;
	watches++;
}

TEST("vhost: and are not tried without a pause, where somebody watches", "")
{
	struct vhu_env_ops env = *fe_env();
	struct vhu_sock back;

	env.watch_calls = watch;
	watches = 0;
	open_narrow(&env, &back);
	/* It comes to rest after each: fe_step() sees to that. */
	kick_often();
	CHECK_EQ(watches, 1);
	CHECK(!f.q[0].woken);
	/* Ten times a second, a try. */
	for (unsigned i = 0; i < 3; i++) {
		CHECK(vhu_server_unblock(f.s));
		CHECK(f.q[0].woken);
		fe_step(&f);
		CHECK(!f.q[0].woken);
	}
	while (vhu_sock_recv(&back) == 1)
		;
	CHECK(vhu_server_unblock(f.s));
	fe_step(&f);
	CHECK(!vhu_server_unblock(f.s));
	expect_call(&back);
}

/* The control thread serves others. */
TEST("vhost: a changed configuration waits for room, and nobody for that", "")
{
	struct timespec began, now;
	struct vhu_sock back;
	unsigned told = 0;

	for (unsigned reads = 0; reads < 2; reads++) {
		open_narrow(fe_env(), &back);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		f.busy = true;
		kick_often();
		clock_gettime(CLOCK_MONOTONIC, &began);
		vio_dev_config_changed(&f.dev);
		CHECK_EQ(f.config_laters, 1);
		for (unsigned i = 0; i < 100; i++)
			CHECK(vhu_server_config_again(f.s));
		clock_gettime(CLOCK_MONOTONIC, &now);
		CHECK_LT(now.tv_sec - began.tv_sec, 30);
		while (reads && vhu_sock_recv(&back) == 1)
			;
		for (unsigned i = 0; vhu_server_config_again(f.s); i++)
			CHECK_LT(i, 1000);
		CHECK_EQ(f.logs, !reads);
		while (reads && vhu_sock_recv(&back) == 1)
			told += back.in.hdr.request ==
				VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
		f.busy = false;
		vhu_sock_fini(&back);
		fe_close(&f);
	}
	CHECK_GE(told, 1);
}

TEST("vhost: in-band notifications need their two companions", "")
{
	fe_open(&f);
	fe_send_u64(&f, VHOST_USER_SET_PROTOCOL_FEATURES,
		    VHU_PF(INBAND_NOTIFICATIONS) | VHU_PF(REPLY_ACK));
	CHECK_EQ(f.ended, -EINVAL);
	fe_close(&f);
}

TEST("vhost: pause and go on: QEMU's reset, disable, GET_VRING_BASE", "")
{
	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 15);
	for (int i = 0; i < 20; i++)
		run_one(0);
	for (int round = 0; round < 3; round++) {
		fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
		CHECK(!f.q[0].is_watched);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 0);
		fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
		fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
		CHECK_EQ(f.in.in.p.state.index, 0);
		CHECK_EQ(f.in.in.p.state.num, f.q[0].used_seen);
		/* What the guest does meanwhile waits. */
		fe_offer(&f, 0);
		fe_kick(&f, 0);
		CHECK_EQ(fe_used(&f, 0), 0);

		fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL);
		fe_send_u64(&f, VHOST_USER_SET_STATUS, 8);
		fe_send_memory(&f);
		fe_send_ring(&f, 0);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		fe_send_u64(&f, VHOST_USER_SET_STATUS, 15);
		CHECK_EQ(fe_used(&f, 0), 1);
		fe_calls(&f, 0);
		run_one(0);
	}
	fe_close(&f);
}

TEST("vhost: a pause does not undo what the driver configured", "")
{
	struct { uint32_t off, size, flags; unsigned char d[4]; } c = {
		.off = 2, .size = 1, .flags = 0, .d = { 99 },
	};
	unsigned resets;

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF | VHU_PF(RESET_DEVICE), MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 13, NULL, 0), 0);
	resets = f.resets;
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_STATUS), 0);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 8);
	CHECK_EQ(f.resets, resets);
	/* Another driver, and the message that can mean nothing else. */
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES,
		    MODERN | PROTOCOL | BIT(VIRTIO_F_EVENT_IDX));
	CHECK_EQ(f.resets, resets + 1);
	CHECK_EQ(fe_ask(&f, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK_EQ(f.resets, resets + 2);
	fe_close(&f);
}

TEST("vhost: GET_VRING_BASE waits for what is in flight", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	f.hold = true;
	fe_offer(&f, 0);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(f.nr_held, 2);
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	CHECK_EQ(f.drains, 1);
	CHECK_EQ(f.in.in.p.state.num, 2);
	CHECK_EQ(fe_used(&f, 0), 2);
	fe_close(&f);
}

TEST("vhost: a front end that is killed in mid-flight leaves nothing", "")
{
	int before = fe_open_fds();

	fe_open(&f);
	for (int i = 0; i < 5; i++) {
		fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
		fe_send_memory(&f);
		for (unsigned q = 0; q < FE_QUEUES; q++)
			fe_send_ring(&f, q);
		fe_send_fd(&f, VHOST_USER_SET_VRING_ERR, 2, f.memfd);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		f.hold = true;
		fe_offer(&f, 0);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 1);
		shutdown(f.sock, SHUT_RDWR);
		fe_step(&f);
		CHECK_EQ(f.ended, -ENOTCONN);
		fe_reopen(&f);
		CHECK_EQ(f.nr_held, 0);
		CHECK_EQ(vio_dev_status(&f.dev), 0);
	}
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost: what a dead back end had in flight is served again", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	/* Two were taken and never used; QEMU then says base 0, others 2. */
	fe_offer(&f, 0);
	fe_offer(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 2);
	fe_send_addr(&f, 0);
	fe_send_kick_fd(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 2);
	fe_close(&f);
}

TEST("vhost: a back end that ends: answers first, then the connection", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	f.hold = true;
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	vhu_server_detach(f.s);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_EQ(fe_calls(&f, 0), 1);
	CHECK_EQ(vhu_sock_recv(&f.in), -ENOTCONN);
	fe_close(&f);
}

TEST("vhost: who takes over a ring gives the call that may have been lost", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	CHECK_EQ(fe_calls(&f, 0), 0);
	run_one(0);
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	fe_send_ring(&f, 0);
	CHECK_GE(fe_calls(&f, 0), 1);
	CHECK_EQ(fe_used(&f, 0), 0);
	fe_close(&f);
}

TEST("vhost: configuration: as long as asked for, zero past the end", "")
{
	static struct vhu_config c;
	const struct vhu_config *got = &f.in.in.p.config;

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	c.offset = 4;
	c.size = 256;
	fe_send(&f, VHOST_USER_GET_CONFIG, 0, &c, 12 + 256, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_CONFIG, 12 + 256);
	CHECK_EQ(got->offset, 4);
	CHECK_EQ(got->size, 256);
	CHECK_MEMEQ(got->data, f.config + 4, 56);
	for (int i = 56; i < 256; i++)
		CHECK_EQ(got->data[i], 0);
	/* Some send the question without room for the answer. */
	fe_send(&f, VHOST_USER_GET_CONFIG, 0, &c, 12, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_CONFIG, 12 + 256);
	/* Nonsense gets the protocol's error: an empty answer. */
	c.size = UINT32_MAX;
	fe_send(&f, VHOST_USER_GET_CONFIG, 0, &c, 12, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_CONFIG, 0);
	CHECK_EQ(f.ended, 0);
	fe_close(&f);
}

TEST("vhost: writes to the configuration", "")
{
	struct { uint32_t off, size, flags; unsigned char d[60]; } c = {
		.off = 2, .size = 3, .flags = 0, .d = { 7, 8, 9 },
	};

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 15, NULL, 0), 0);
	CHECK_EQ(f.config[2], 7);
	CHECK_EQ(f.config[4], 9);
	c.size = 4;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 15, NULL, 0), 0);
	c.size = UINT32_MAX;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 15, NULL, 0), 0);
	/* Zeroes past the end are equal; what comes after is no offset. */
	c.off = UINT32_MAX - 3;
	c.size = 16;
	c.flags = VHU_CONFIG_MIGRATION;
	memset(c.d, 0, 6);
	memset(c.d + 6, 0xaa, 3);
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 28, NULL, 0), 0);
	CHECK_EQ(f.config[2], 7);
	c.flags = 0;
	/* Read-only; but equal bytes after a migration are no write. */
	c.off = 0;
	c.size = 60;
	memcpy(c.d, f.config, 60);
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 72, NULL, 0), 0);
	c.flags = VHU_CONFIG_MIGRATION;
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 72, NULL, 0), 0);
	/* What the driver had written at its old place comes along. */
	c.d[1] ^= 0x55;
	c.d[6] ^= 0x55;
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 72, NULL, 0), 0);
	CHECK_MEMEQ(f.config, c.d, 60);
	c.d[59] ^= 1;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_CONFIG, &c, 72, NULL, 0), 0);
	fe_close(&f);
}

TEST("vhost: a changed configuration is told, where that was agreed", "")
{
	struct vhu_sock back;
	int sv[2];

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	vhu_sock_init(&back, sv[0]);
	fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &sv[1], 1);
	close(sv[1]);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	vio_dev_config_changed(&f.dev);
	CHECK_EQ(vhu_sock_recv(&back), 1);
	CHECK_EQ(back.in.hdr.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	CHECK_EQ(back.in.hdr.size, 0);
	CHECK_EQ(vhu_sock_recv(&back), 0);
	fe_reopen(&f);
	CHECK_EQ(vhu_sock_recv(&back), -ENOTCONN);
	vhu_sock_fini(&back);
	vio_dev_config_changed(&f.dev);
	fe_close(&f);
}

static unsigned config_messages(struct vhu_sock *back)
{
	unsigned n = 0;

	while (vhu_sock_recv(back) == 1)
		n += back->in.hdr.request ==
		     VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
	return n;
}

TEST("vhost: with calls by message, a changed configuration is repeated", "")
{
	struct vhu_sock back;
	int sv[2];

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF | VHU_PF(INBAND_NOTIFICATIONS),
		     MODERN | PROTOCOL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	vhu_sock_init(&back, sv[0]);
	fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &sv[1], 1);
	close(sv[1]);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	CHECK_EQ(f.config_laters, 0);
	vio_dev_config_changed(&f.dev);
	CHECK_EQ(f.config_laters, 1);
	CHECK_EQ(config_messages(&back), 1);
	CHECK(vhu_server_config_again(f.s));
	CHECK_EQ(config_messages(&back), 1);
	CHECK(vhu_server_config_again(f.s));
	CHECK(!vhu_server_config_again(f.s));
	CHECK_EQ(config_messages(&back), 2);
	CHECK(!vhu_server_config_again(f.s));
	/* Nothing is left over for the next front end. */
	vio_dev_config_changed(&f.dev);
	CHECK_EQ(config_messages(&back), 1);
	fe_reopen(&f);
	CHECK(!vhu_server_config_again(f.s));
	vhu_sock_fini(&back);
	fe_close(&f);
}

TEST("vhost: RESET_DEVICE: rings off, the device at its beginning", "")
{
	unsigned resets;

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF | VHU_PF(RESET_DEVICE), MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	run_one(0);
	resets = f.resets;
	CHECK_EQ(fe_ask(&f, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK_EQ(f.resets, resets + 1);
	CHECK_EQ(vio_dev_status(&f.dev), 0);
	CHECK(!f.q[0].is_watched);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	/* Set up again, but not enabled: not processed. */
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL);
	fe_send_ring(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

TEST("vhost: NEED_REPLY is answered even before REPLY_ACK is settled", "")
{
	uint64_t pf = VHU_PF(REPLY_ACK);

	fe_open(&f);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_PROTOCOL_FEATURES, &pf, 8, NULL,
			0), 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_RESET_OWNER, NULL, 0, NULL, 0), 0);
	/* A request with an answer of its own gets that alone. */
	fe_send(&f, VHOST_USER_GET_FEATURES, VHU_NEED_REPLY, NULL, 0, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_FEATURES, 8);
	fe_expect_silence(&f);
	/* Turned off, it is nothing that we know. */
	fe_send_u64(&f, VHOST_USER_SET_PROTOCOL_FEATURES, 0);
	fe_send(&f, VHOST_USER_SET_OWNER, VHU_NEED_REPLY, NULL, 0, NULL, 0);
	fe_expect_silence(&f);
	fe_close(&f);
}

TEST("vhost: a device that refuses features says so in its status", "")
{
	uint64_t feat = MODERN | PROTOCOL | BIT(VIRTIO_F_EVENT_IDX);

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
	f.dispute = true;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_FEATURES, &feat, 8, NULL, 0), 0);
	feat = 8;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_STATUS, &feat, 8, NULL, 0), 0);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_STATUS), 0);
	fe_close(&f);
}

TEST("vhost: a broken ring: error descriptor, NEEDS_RESET, reset, again", "")
{
	uint64_t n;

	fe_open(&f);
	fe_negotiate(&f, QEMU_PF, MODERN | PROTOCOL);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_fd(&f, VHOST_USER_SET_VRING_ERR, 0, f.q[2].call_fd);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_offer(&f, 0);
	/* Its address is in no memory. */
	memset(f.mem, 0xee, 8);
	fe_kick(&f, 0);
	CHECK_EQ(f.ended, 0);
	CHECK_EQ(read(f.q[2].call_fd, &n, 8), 8);
	CHECK(fe_get_u64(&f, VHOST_USER_GET_STATUS) &
	      VIRTIO_STATUS_NEEDS_RESET);
	fe_kick(&f, 0);
	CHECK_EQ(read(f.q[2].call_fd, &n, 8), -1);

	fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_STATUS), 0);
	memset(f.mem, 0, FE_MEM);
	f.q[0].avail_idx = f.q[0].used_seen = 0;
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

TEST("vhost: a second front end at the same time is turned away", "")
{
	int before;
	int sv[2];

	fe_open(&f);
	before = fe_open_fds();
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	CHECK_EQ(vhu_server_attach(f.s, sv[0]), -EBUSY);
	close(sv[1]);
	CHECK_EQ(fe_open_fds(), before);
	fe_close(&f);
}
