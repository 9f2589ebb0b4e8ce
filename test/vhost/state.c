/* SPDX-License-Identifier: MIT */
/*
 * A device's state goes from one back end into another through our front end.
 * The back ends are scripts that keep to the protocol, or do not.
 */
#define _GNU_SOURCE
#include <vireo/vhu_client.h>

#include "program.h"
#include "vhost/sock.h"
#include "vtest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define STATE	300000u		/* more than a pipe holds */

enum manner {
	GOOD,
	OWN_FD,			/* gives a descriptor of its own */
	SAYS_OWN,		/* says so, and gives none */
	REFUSES,		/* the transfer */
	FAILS,			/* at its end */
	NEVER_ENDS,		/* sends, and never closes */
	DEAF,			/* takes nothing, and closes */
	MANNERS
};

struct back {
	pthread_t thread;
	int fd;
	enum manner manner;
	int transfer;		/* its end; -1: none */
	bool save;
	size_t len;
	unsigned char state[STATE];
};

static void answer(struct back *b, uint32_t request, uint64_t v, int fd)
{
	struct vhu_msg m;

	vhu_msg_init(&m, request, VHU_REPLY, sizeof(v));
	m.p.u64 = v;
	m.fd[0] = fd;
	m.nr_fds = fd >= 0;
	CHECK_EQ(vhu_sock_send(b->fd, &m, 1000), 0);
}

/* The bytes, as soon as the descriptor is agreed on. */
static void transfer(struct back *b)
{
	size_t at = 0;
	ssize_t n = 1;

	if (b->manner == DEAF || b->manner == SAYS_OWN)
		n = 0;
	while (n > 0 && b->save && at < b->len) {
		n = write(b->transfer, b->state + at, b->len - at);
		at += n > 0 ? (size_t)n : 0;
	}
	while (n > 0 && !b->save && at < sizeof(b->state)) {
		n = read(b->transfer, b->state + at, sizeof(b->state) - at);
		at += n > 0 ? (size_t)n : 0;
	}
	if (!b->save)
		b->len = at;
	if (b->manner == NEVER_ENDS)
		return;
	close(b->transfer);
	b->transfer = -1;
}

static void set_fd(struct back *b, struct vhu_msg *in)
{
	int own[2] = { -1, -1 };

	b->save = in->p.transfer.direction == VHU_TRANSFER_SAVE;
	CHECK_EQ(in->p.transfer.phase, VHU_PHASE_STOPPED);
	CHECK_EQ(in->nr_fds, 1);
	b->transfer = vhu_msg_take_fd(in, 0);
	if (b->manner == REFUSES) {
		close(b->transfer);
		b->transfer = -1;
		answer(b, in->hdr.request, 1 | VHU_TRANSFER_NOFD, -1);
		return;
	}
	if (b->manner == OWN_FD) {
		close(b->transfer);
		CHECK_EQ(pipe2(own, O_CLOEXEC), 0);
		b->transfer = own[b->save];
		answer(b, in->hdr.request, 0, own[!b->save]);
		close(own[!b->save]);
	} else {
		answer(b, in->hdr.request, b->manner == SAYS_OWN ? 0 :
		       VHU_TRANSFER_NOFD, -1);
	}
	transfer(b);
}

static void serve_one(struct back *b, struct vhu_msg *in)
{
	switch (in->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		answer(b, in->hdr.request, 1ull << 32 |
		       1ull << VHOST_USER_F_PROTOCOL_FEATURES, -1);
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		answer(b, in->hdr.request, VHU_PF(DEVICE_STATE), -1);
		break;
	case VHOST_USER_SET_DEVICE_STATE_FD:
		set_fd(b, in);
		break;
	case VHOST_USER_CHECK_DEVICE_STATE:
		answer(b, in->hdr.request, b->manner == FAILS, -1);
		break;
	}
}

static void *serve(void *arg)
{
	struct back *b = arg;
	struct vhu_sock s;

	vhu_sock_init(&s, b->fd);
	while (vhu_sock_wait(s.fd, 60000) > 0) {
		int r = vhu_sock_recv(&s);

		if (r < 0)
			break;
		if (r > 0)
			serve_one(b, &s.in);
	}
	if (b->transfer >= 0)
		close(b->transfer);
	vhu_sock_fini(&s);
	return NULL;
}

static struct vhu_client *start(struct back *b, enum manner manner)
{
	struct vhu_client_conf conf = {
		.timeout_ms = manner == NEVER_ENDS ? 1000 : 60000,
	};
	struct vhu_client *c;
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	b->fd = pair[1];
	b->manner = manner;
	b->transfer = -1;
	CHECK_EQ(pthread_create(&b->thread, NULL, serve, b), 0);
	conf.socket_fd = pair[0];
	CHECK_EQ(vhu_client_open(&c, &conf), 0);
	return c;
}

static void end(struct back *b, struct vhu_client *c)
{
	vhu_client_close(c);
	CHECK_EQ(pthread_join(b->thread, NULL), 0);
}

static struct back from, to;

TEST("vhost state: out of one back end, into another, whole", "")
{
	static const size_t lens[] = { 0, 1, 4096, 65536, 65537, STATE };
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	struct vhu_client *a, *b;
	void *state;
	size_t len;

	for (unsigned i = 0; i < 2 * VIO_ARRAY_LEN(lens); i++) {
		enum manner manner = i % 2 ? OWN_FD : GOOD;

		from.len = lens[i / 2];
		vtest_fill(&rand, from.state, STATE);
		a = start(&from, manner);
		b = start(&to, manner);
		CHECK_EQ(vhu_client_save(a, &state, &len, STATE), 0);
		CHECK_EQ(len, from.len);
		CHECK_EQ(vhu_client_load(b, state, len), 0);
		free(state);
		end(&from, a);
		end(&to, b);
		CHECK_EQ(to.len, from.len);
		CHECK_MEMEQ(to.state, from.state, from.len);
	}
}

TEST("vhost state: what goes wrong on the way out, and in", "")
{
	static const int saved[MANNERS] = {
		[SAYS_OWN] = -EPROTO, [REFUSES] = -EREMOTEIO,
		[FAILS] = -EREMOTEIO, [NEVER_ENDS] = -ETIMEDOUT,
	};
	static const int loaded[MANNERS] = {
		[SAYS_OWN] = -EPROTO, [REFUSES] = -EREMOTEIO,
		[FAILS] = -EREMOTEIO, [DEAF] = -EPIPE,
	};
	static unsigned char bytes[STATE];
	struct vhu_client *c;
	void *state;
	size_t len;

	for (unsigned manner = SAYS_OWN; manner < MANNERS; manner++) {
		from.len = 1000;
		c = start(&from, (enum manner)manner);
		CHECK_EQ(vhu_client_save(c, &state, &len, STATE),
			 saved[manner]);
		CHECK_EQ(len, 0);
		/* Nothing at all is a state, too. */
		CHECK_EQ(state == NULL, saved[manner] != 0);
		free(state);
		end(&from, c);
		c = start(&to, (enum manner)manner);
		CHECK_EQ(vhu_client_load(c, bytes, STATE), loaded[manner]);
		end(&to, c);
	}
}

TEST("vhost state: more than is wanted is refused, and takes no memory", "")
{
	struct vhu_client *c;
	void *state;
	size_t len;

	from.len = 70000;
	c = start(&from, GOOD);
	CHECK_EQ(vhu_client_save(c, &state, &len, 69999), -EFBIG);
	CHECK(state == NULL);
	CHECK_EQ(vhu_client_save(c, &state, &len, 70000), 0);
	CHECK_EQ(len, 70000);
	free(state);
	CHECK_EQ(vhu_client_save(c, &state, &len, 0), -EFBIG);
	end(&from, c);
}

/* -- between daemons ------------------------------------------------------ */

/* Far enough that the device has its features; no ring runs. */
static void begin(struct program *p, struct vio_drv *drv, const char *name,
		  const char *const *args)
{
	struct vio_features wanted = { { 1ull << VIRTIO_F_VERSION_1, 0 } };

	program_start(p, name, args, NULL);
	CHECK_EQ(vio_drv_begin(drv, &vhu_client_bus, p->client, &wanted),
		 VIO_OK);
}

static void move_state(const char *name, const char *const *args)
{
	struct program a, b;
	struct vio_drv from_drv, to_drv;
	unsigned char *state;
	uint32_t status;
	void *p;
	size_t len;

	begin(&a, &from_drv, name, args);
	begin(&b, &to_drv, name, args);
	CHECK_EQ(vhu_client_save(a.client, &p, &len, 1 << 20), 0);
	CHECK_GT(len, 0);
	state = p;
	/* Cut off, and spoilt in its first word: refused, and no harm. */
	CHECK_EQ(vhu_client_load(b.client, state, len - 1), -EREMOTEIO);
	state[0] ^= 0xff;
	CHECK_EQ(vhu_client_load(b.client, state, len), -EREMOTEIO);
	state[0] ^= 0xff;
	CHECK_EQ(vhu_client_load(b.client, state, len), 0);
	CHECK_EQ(vhu_client_bus.get_status(b.client, &status), VIO_OK);
	/* There, back and there again. */
	CHECK_EQ(vhu_client_load(a.client, state, len), 0);
	free(p);
	CHECK_EQ(vhu_client_save(b.client, &p, &len, 1 << 20), 0);
	CHECK_EQ(vhu_client_load(a.client, p, len), 0);
	free(p);
	program_stop(&a);
	program_stop(&b);
}

TEST("vhost state: from daemon to daemon, there and back", "")
{
	static const char *const blk[] = {
		"--backend=mem", "--size=1M", NULL,
	};
	static const char *const net[] = { "--backend=null", NULL };

	move_state("vireo-blk", blk);
	move_state("vireo-net", net);
}
