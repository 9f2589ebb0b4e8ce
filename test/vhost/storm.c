/* SPDX-License-Identifier: MIT */
/*
 * Front ends that send more than anybody should: what one of them says in a
 * turn is bounded, and one that reads no answer is kept waiting, not the
 * others.
 */
#include "fe.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <vireo/spec/virtio.h>

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define STORM		5000u
#define TURN		64u	/* messages that one turn takes, at most */

static struct fe bad, good;
static unsigned asked, answered;

/* As many questions as the socket takes, and not one of them waits. */
static void ask_on(void)
{
	const struct vhu_hdr h = { VHOST_USER_GET_FEATURES, VHU_VERSION, 0 };

	while (asked < STORM &&
	       send(bad.sock, &h, sizeof(h), MSG_DONTWAIT) == sizeof(h))
		asked++;
}

static void read_answers(void)
{
	while (vhu_sock_recv(&bad.in) == 1) {
		CHECK_EQ(bad.in.in.hdr.request, VHOST_USER_GET_FEATURES);
		answered++;
	}
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void serve_good(void)
{
	unsigned before = fe_used(&good, 0);

	CHECK_EQ(before, 0);
	fe_offer(&good, 0);
	fe_kick(&good, 0);
	CHECK_EQ(fe_used(&good, 0), 1);
}

static void start(void)
{
	asked = answered = 0;
	fe_open(&bad);
	fe_open(&good);
	fe_negotiate(&good, 0, MODERN);
	fe_send_memory(&good);
	fe_send_ring(&good, 0);
	serve_good();
}

static void finish(void)
{
	serve_good();
	fe_close(&bad);
	fe_close(&good);
}

static bool readable(void)
{
	struct pollfd p = { .fd = vhu_server_fd(bad.s),
			    .events = (short)vhu_server_events(bad.s) };

	return poll(&p, 1, 0) == 1;
}

TEST("vhost storm: a turn takes so many messages, and another is served", "")
{
	unsigned turns = 0;

	start();
	while (answered < STORM) {
		unsigned before = answered;

		ask_on();
		CHECK(readable());
		CHECK_EQ(vhu_server_readable(bad.s), 0);
		CHECK_EQ(vhu_server_events(bad.s), POLLIN);
		read_answers();
		CHECK_GT(answered, before);
		CHECK_LE(answered - before, TURN);
		turns++;
		serve_good();
	}
	CHECK_GE(turns, STORM / TURN);
	finish();
}

TEST("vhost storm: one that reads no answer waits, and nobody else", "")
{
	double began = now_s();
	unsigned turns;

	start();
	for (turns = 0; turns < 1000; turns++) {
		ask_on();
		if (!readable())
			break;
		CHECK_EQ(vhu_server_readable(bad.s), 0);
		serve_good();
	}
	/* It is full in both directions, and nobody sat there. */
	CHECK_LT(turns, 1000);
	CHECK_EQ(vhu_server_events(bad.s), POLLOUT);
	CHECK_LT(asked, STORM);
	CHECK(now_s() - began < 30);
	CHECK_EQ(bad.logs, 0);
	/* Once it reads, all it asked is answered, in order. */
	for (turns = 0; answered < STORM && turns < 10 * STORM; turns++) {
		read_answers();
		ask_on();
		if (readable())
			CHECK_EQ(vhu_server_readable(bad.s), 0);
	}
	CHECK_EQ(answered, STORM);
	CHECK_EQ(vhu_server_events(bad.s), POLLIN);
	finish();
}

TEST("vhost storm: one that leaves while it is kept waiting", "")
{
	start();
	for (ask_on(); readable(); ask_on())
		CHECK_EQ(vhu_server_readable(bad.s), 0);
	CHECK_EQ(vhu_server_events(bad.s), POLLOUT);
	shutdown(bad.sock, SHUT_RDWR);
	CHECK(readable());
	CHECK_LT(vhu_server_readable(bad.s), 0);
	fe_reopen(&bad);
	CHECK_EQ(vhu_server_events(bad.s), POLLIN);
	fe_negotiate(&bad, 0, MODERN);
	finish();
}
