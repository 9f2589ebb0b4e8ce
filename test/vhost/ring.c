/* SPDX-License-Identifier: MIT */
/*
 * Ring states: the table against a model of two bits, and every short
 * sequence of messages against the same model.
 */
#include "fe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#include "vhost/server.h"

static struct fe f;

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)

/* What the protocol says, as two bits that do not know of each other. */
struct model {
	bool started;
	bool enabled;
};

static const struct {
	enum vhu_ring_state state;
	struct model m;
} states[] = {
	{ VHU_RING_STOPPED, { false, false } },
	{ VHU_RING_STOPPED_ON, { false, true } },
	{ VHU_RING_DISABLED, { true, false } },
	{ VHU_RING_RUNNING, { true, true } },
};

static void apply(struct model *m, enum vhu_ring_event ev)
{
	switch (ev) {
	case VHU_EV_START:
		m->started = true;
		break;
	case VHU_EV_STOP:
		m->started = false;
		break;
	case VHU_EV_ENABLE:
		m->enabled = true;
		break;
	case VHU_EV_DISABLE:
		m->enabled = false;
		break;
	}
}

TEST("vhost ring: the table of states, all of it", "")
{
	for (unsigned i = 0; i < VIO_ARRAY_LEN(states); i++) {
		for (int ev = VHU_EV_START; ev <= VHU_EV_DISABLE; ev++) {
			struct model m = states[i].m;
			enum vhu_ring_state to;

			apply(&m, ev);
			to = vhu_ring_next(states[i].state, ev);
			CHECK_EQ(states[to].state, to);
			CHECK_EQ(states[to].m.started, m.started);
			CHECK_EQ(states[to].m.enabled, m.enabled);
		}
	}
}

/* One message or pair of them that makes the event happen. */
static void make_happen(enum vhu_ring_event ev)
{
	switch (ev) {
	case VHU_EV_START:
		fe_send_ring(&f, 0);
		break;
	case VHU_EV_STOP:
		fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
		fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
		CHECK_EQ(f.in.in.p.state.num, f.q[0].used_seen);
		break;
	case VHU_EV_ENABLE:
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		break;
	case VHU_EV_DISABLE:
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 0);
		break;
	}
}

/* A buffer is answered if the ring runs, else when it does again. */
static void probe(struct model *m, unsigned *waiting)
{
	bool runs = m->started && m->enabled;

	CHECK_EQ(f.q[0].is_watched, runs);
	if (*waiting < FE_RING) {
		fe_offer(&f, 0);
		(*waiting)++;
	}
	fe_kick(&f, 0);
	CHECK_EQ(f.ended, 0);
	CHECK_EQ(fe_used(&f, 0), runs ? *waiting : 0);
	if (runs)
		*waiting = 0;
}

TEST("vhost ring: every sequence of five messages", "")
{
	for (unsigned n = 0; n < 4 * 4 * 4 * 4 * 4; n++) {
		struct model m = { false, false };
		unsigned waiting = 0;

		if (n == 0)
			fe_open(&f);
		else
			fe_reopen(&f);
		fe_negotiate(&f, VHU_PF(MQ), MODERN | PROTOCOL);
		fe_send_memory(&f);
		for (unsigned i = 0, left = n; i < 5; i++, left /= 4) {
			make_happen(left % 4);
			apply(&m, left % 4);
			/* What waited is served by the change itself. */
			if (m.started && m.enabled) {
				CHECK_EQ(fe_used(&f, 0), waiting);
				waiting = 0;
			}
			probe(&m, &waiting);
		}
	}
	fe_close(&f);
}

/* All orders of the five messages that make up a ring, with or without
 * memory and enabling among them. */
#define STEPS	7

static void step(unsigned which)
{
	switch (which) {
	case 0:
		fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
		break;
	case 1:
		fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0);
		break;
	case 2:
		fe_send_addr(&f, 0);
		break;
	case 3:
		fe_send_kick_fd(&f, 0);
		break;
	case 4:
		fe_send_call_fd(&f, 0);
		break;
	case 5:
		fe_send_memory(&f);
		break;
	case 6:
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		break;
	}
}

/* The n-th permutation of the steps. */
static void permutation(unsigned n, unsigned *order)
{
	unsigned left[STEPS];

	for (unsigned i = 0; i < STEPS; i++)
		left[i] = i;
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned k = n % (STEPS - i);

		n /= STEPS - i;
		order[i] = left[k];
		for (unsigned j = k; j + 1 < STEPS - i; j++)
			left[j] = left[j + 1];
	}
}

TEST("vhost ring: set up in all 5040 orders", "")
{
	for (unsigned n = 0; n < 5040; n++) {
		unsigned order[STEPS];

		if (n == 0)
			fe_open(&f);
		else
			fe_reopen(&f);
		fe_negotiate(&f, 0, MODERN | PROTOCOL);
		permutation(n, order);
		for (unsigned i = 0; i < STEPS; i++)
			step(order[i]);
		CHECK_EQ(f.ended, 0);
		fe_offer(&f, 0);
		fe_kick(&f, 0);
		CHECK_EQ(fe_used(&f, 0), 1);
		CHECK_GE(fe_calls(&f, 0), 1);
	}
	fe_close(&f);
}

TEST("vhost ring: another size or place under way starts it anew", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	for (int i = 0; i < 3; i++) {
		fe_offer(&f, 0);
		fe_kick(&f, 0);
	}
	CHECK_EQ(fe_used(&f, 0), 3);
	/* A driver that was bound again: a new ring at the same place. */
	memset(f.mem, 0, FE_MEM);
	f.q[0].avail_idx = f.q[0].used_seen = 0;
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0);
	fe_send_addr(&f, 0);
	for (int i = 0; i < 3; i++) {
		fe_offer(&f, 0);
		fe_kick(&f, 0);
	}
	CHECK_EQ(f.ended, 0);
	CHECK_EQ(fe_used(&f, 0), 3);
	fe_close(&f);
}

TEST("vhost ring: another kick descriptor while it runs", "")
{
	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_fd(&f, VHOST_USER_SET_VRING_KICK, 0, f.q[1].kick_fd);
	CHECK(f.q[0].is_watched);
	fe_offer(&f, 0);
	fe_kick(&f, 1);
	CHECK_EQ(fe_used(&f, 0), 1);
	/* A kick that was given before the exchange is looked for, too. */
	fe_offer(&f, 0);
	fe_send_kick_fd(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

TEST("vhost ring: a call descriptor that is a pipe, full, then closed", "")
{
	int p[2];
	char c[4096];

	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	CHECK_EQ(pipe(p), 0);
	fe_send_fd(&f, VHOST_USER_SET_VRING_CALL, 0, p[1]);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(read(p[0], c, sizeof(c)), 8);
	/* Full: the blocking descriptor must not block the queue. */
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	while (write(p[1], c, sizeof(c)) > 0)
		;
	fcntl(p[1], F_SETFL, 0);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 2);
	close(p[0]);
	close(p[1]);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

TEST("vhost ring: a kick descriptor that ends is polled instead", "")
{
	int p[2];

	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	CHECK_EQ(pipe(p), 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_addr(&f, 0);
	fe_send_fd(&f, VHOST_USER_SET_VRING_KICK, 0, p[0]);
	fe_offer(&f, 0);
	CHECK_EQ(write(p[1], &p, 8), 8);
	fe_step(&f);
	CHECK_EQ(fe_used(&f, 0), 1);
	close(p[0]);
	close(p[1]);
	fe_step(&f);
	CHECK_EQ(f.q[0].watched, -1);
	fe_offer(&f, 0);
	fe_step(&f);
	CHECK_EQ(fe_used(&f, 0), 1);
	fe_close(&f);
}

static void nothing(void *ctx)
{
	(void)ctx;
}

/* As by a queue's thread that is in the midst of a call for long. */
static void look_while_calling(void)
{
	vhu_call_begins(&f.s->ring[0]);
	for (unsigned i = 0; i < 5; i++)
		CHECK(vhu_server_unblock(f.s));
	vhu_call_ends(&f.s->ring[0]);
}

TEST("vhost ring: a call blocks that has no room, not one that has no processor",
     "")
{
	struct vhu_env_ops env = *fe_env();
	uint64_t full = UINT64_MAX - 1, got;

	env.watch_calls = nothing;
	fe_open_in(&f, &env);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	look_while_calling();
	CHECK_EQ(f.logs, 0);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_GE(fe_calls(&f, 0), 1);
	CHECK_EQ(write(f.q[0].call_fd, &full, 8), 8);
	look_while_calling();
	CHECK_EQ(f.logs, 1);
	/* It was made to end, and is not called any more. */
	CHECK_EQ(read(f.q[0].call_fd, &got, 8), -1);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_EQ(fe_calls(&f, 0), 0);
	fe_close(&f);
}
