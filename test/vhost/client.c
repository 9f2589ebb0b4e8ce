/* SPDX-License-Identifier: MIT */
/*
 * The front end's side of vhost-user: the block driver on it against
 * vireo-blk as users run it, and the client alone against back ends that
 * answer nonsense, too little, or nothing.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>
#include "program.h"
#include <vireo/vhu_msg.h>
#include "vhost/sock.h"
#include "vtest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECTORS	2048u		/* of the disk: 1 MiB */

struct fixture {
	struct program program;
	struct vio_blkdrv blk;
};

static void setup(struct fixture *f)
{
	static const char *const args[] = {
		"--backend=mem", "--size=1M", "--num-queues=2",
		"--serial=client-test", "--in-order", NULL,
	};

	memset(f, 0, sizeof(*f));
	program_start(&f->program, "vireo-blk", args, NULL);
}

static void teardown(struct fixture *f)
{
	program_stop(&f->program);
}

enum { EVENT_IDX = 1, INDIRECT = 2, IN_ORDER = 4, PACKED = 8, SETS = 16 };

static struct vio_features features(unsigned set)
{
	static const uint8_t bits[] = {
		VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER,
		VIRTIO_F_RING_PACKED,
	};
	struct vio_features f = vio_blkdrv_features();
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(bits); i++) {
		if (set >> i & 1)
			vio_feature_set(&f, bits[i]);
		else
			vio_feature_clear(&f, bits[i]);
	}
	return f;
}

static void start_driver(struct fixture *f, unsigned set)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 8 };
	struct vio_features wanted = features(set);

	program_arenas(&f->program);
	CHECK_EQ(vio_blkdrv_init(&f->blk, &vhu_client_bus, f->program.client,
				 &wanted, &limits, 2, &f->program.mem),
		 VIO_OK);
	CHECK_EQ(f->blk.nr_queues, 2);
	CHECK_EQ(f->blk.capacity_sectors, SECTORS);
	CHECK_EQ(f->blk.drv.features.w[0] & wanted.w[0] & ((1ull << 29) |
		 (1ull << 28) | (1ull << 34) | (1ull << 35)),
		 wanted.w[0] & ((1ull << 29) | (1ull << 28) | (1ull << 34) |
				(1ull << 35)));
}

/* Write, read back and compare at random places, on both queues. */
static void exercise(struct fixture *f, struct vtest_rand *rand)
{
	unsigned char *out = f->program.data, *in = f->program.data + 65536;
	unsigned i;

	for (i = 0; i < 50; i++) {
		size_t len = 512 * (1 + (size_t)vtest_below(rand, 64));
		struct vio_seg seg[2] = { { out, len / 2 },
					  { out + len / 2, len - len / 2 } };
		struct vio_blkdrv_req req = {
			.type = VIRTIO_BLK_T_OUT, .seg = seg, .nr_seg = 2,
			.sector = vtest_below(rand, SECTORS - 64),
		};

		vtest_fill(rand, out, len);
		memset(in, 0, len);
		CHECK_EQ(vio_blkdrv_sync(&f->blk, i & 1, &req), VIO_OK);
		req.type = VIRTIO_BLK_T_IN;
		seg[0].base = in;
		seg[1].base = in + len / 2;
		CHECK_EQ(vio_blkdrv_sync(&f->blk, ~i & 1, &req), VIO_OK);
		CHECK_EQ(req.used_len, len + 1);
		CHECK_MEMEQ(in, out, len);
	}
}

TEST("client: our driver and vireo-blk, every feature set, on one connection",
     "core.driver.device-initialization.1")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	struct fixture f;
	unsigned set;

	setup(&f);
	CHECK_EQ(vhu_client_queues(f.program.client), 2);
	CHECK(vhu_client_protocol_features(f.program.client) &
	      VHU_PF(CONFIG));
	for (set = 0; set < SETS; set++) {
		start_driver(&f, set);
		exercise(&f, &rand);
		CHECK_EQ(vio_blkdrv_reset(&f.blk, NULL, NULL), VIO_OK);
	}
	teardown(&f);
}

static void count_lost(void *ctx, struct vio_blkdrv_req *req)
{
	unsigned *nr = ctx;

	(void)req;
	++*nr;
}

TEST("client: many requests in flight; a reset gives every one of them back",
     "core.driver.device-cleanup.2")
{
	struct vio_blkdrv_req req[16];
	struct vio_seg seg[16];
	unsigned round, i, done, lost;
	struct fixture f;

	setup(&f);
	for (round = 0; round < 20; round++) {
		start_driver(&f, round % SETS);
		memset(req, 0, sizeof(req));
		for (i = 0; i < 16; i++) {
			seg[i].base = f.program.data + i * 4096;
			seg[i].len = 4096;
			req[i].type = VIRTIO_BLK_T_IN;
			req[i].sector = i * 8;
			req[i].seg = &seg[i];
			req[i].nr_seg = 1;
			CHECK_EQ(vio_blkdrv_submit(&f.blk, 0, &req[i]),
				 VIO_OK);
		}
		vio_blkdrv_commit(&f.blk, 0);
		for (done = 0; done < round && done < 16;)
			done += vio_blkdrv_poll(&f.blk, 0) != NULL;
		lost = 0;
		CHECK_EQ(vio_blkdrv_reset(&f.blk, count_lost, &lost), VIO_OK);
		CHECK_EQ(done + lost, 16);
	}
	teardown(&f);
}

TEST("client: a back end that is killed ends the wait with an error", "")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_FLUSH };
	struct pollfd gone;
	struct fixture f;
	int status;

	setup(&f);
	start_driver(&f, EVENT_IDX);
	CHECK_EQ(vio_blkdrv_sync(&f.blk, 0, &req), VIO_OK);
	CHECK_EQ(kill(f.program.pid, SIGKILL), 0);
	/* Who watches learns of it at once. */
	gone = (struct pollfd){ vhu_client_fd(f.program.client), POLLRDHUP, 0 };
	CHECK_EQ(poll(&gone, 1, 60000), 1);
	CHECK_EQ(vhu_client_reconnect(f.program.client, 0), -EOPNOTSUPP);
	CHECK_EQ(waitpid(f.program.pid, &status, 0), f.program.pid);
	f.program.pid = 0;
	CHECK_EQ(vio_blkdrv_sync(&f.blk, 0, &req), VIO_E_IO);
	teardown(&f);
}

/* Full, and whoever signals it waits: our descriptor is the back end's. */
static void spoil(int call)
{
	uint64_t n = UINT64_MAX - 1;

	while (read(call, &n, sizeof(n)) == sizeof(n))
		;
	n = UINT64_MAX - 1;
	CHECK_EQ(write(call, &n, sizeof(n)), sizeof(n));
	CHECK_EQ(fcntl(call, F_SETFL, fcntl(call, F_GETFL) & ~O_NONBLOCK), 0);
}

TEST("client: a call descriptor that blocks does not keep a daemon", "")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_IN, .nr_seg = 1 };
	struct vio_seg seg;
	struct fixture f;
	uint16_t avail;

	setup(&f);
	for (unsigned queue = 0; queue < 2; queue++) {
		start_driver(&f, 0);
		seg = (struct vio_seg){ f.program.data, 4096 };
		req.seg = &seg;
		CHECK_EQ(vio_blkdrv_sync(&f.blk, queue, &req), VIO_OK);
		spoil(vhu_client_call_fd(f.program.client, (uint16_t)queue));
		CHECK_EQ(vio_blkdrv_submit(&f.blk, queue, &req), VIO_OK);
		vio_blkdrv_commit(&f.blk, queue);
		while (!vio_blkdrv_poll(&f.blk, queue))
			usleep(100);
		/* Answered by the thread that waits, or was let go. */
		CHECK_EQ(vhu_client_stop_queue(f.program.client,
					       (uint16_t)queue, &avail), 0);
		CHECK_EQ(avail, 2);
		CHECK_EQ(vio_blkdrv_reset(&f.blk, NULL, NULL), VIO_OK);
	}
	/* Another one is served as if nothing had been. */
	vhu_client_close(f.program.client);
	f.program.client = NULL;
	teardown(&f);
}

static void ignore(void *ctx, vio_addr page)
{
	(void)ctx, (void)page;
}

TEST("client: nor does a descriptor that says what was logged", "")
{
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_IN, .nr_seg = 1 };
	struct vio_seg seg;
	struct fixture f;
	uint16_t avail;

	setup(&f);
	start_driver(&f, 0);
	seg = (struct vio_seg){ f.program.data, 4096 };
	req.seg = &seg;
	CHECK_EQ(vhu_client_log_start(f.program.client), 0);
	spoil(vhu_client_log_fd(f.program.client));
	/* The signal after it is the one that hangs. */
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(vio_blkdrv_submit(&f.blk, 0, &req), VIO_OK);
		vio_blkdrv_commit(&f.blk, 0);
		while (!vio_blkdrv_poll(&f.blk, 0))
			usleep(100);
	}
	CHECK_EQ(vhu_client_stop_queue(f.program.client, 0, &avail), 0);
	CHECK_EQ(avail, 2);
	CHECK_GE(vhu_client_log_take(f.program.client, ignore, NULL), 1);
	vhu_client_close(f.program.client);
	f.program.client = NULL;
	teardown(&f);
}

TEST("client: it listens, and back ends come, one after the other", "")
{
	static const char *const args[] = {
		"--connect", "--backend=mem", "--size=1M", "--num-queues=2",
		NULL,
	};
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	char path[] = "/tmp/vireo-listen-XXXXXX";
	struct fixture f;
	int status;

	CHECK(mkdtemp(path) != NULL);
	rmdir(path);
	memset(&f, 0, sizeof(f));
	program_start_to(&f.program, "vireo-blk", args, path);
	start_driver(&f, EVENT_IDX);
	exercise(&f, &rand);
	/* We leave, and it comes again. */
	vhu_client_close(f.program.client);
	CHECK_EQ(vhu_client_open(&f.program.client, &f.program.conf), 0);
	start_driver(&f, PACKED);
	exercise(&f, &rand);
	/* It dies, and another one takes its place under the driver. */
	CHECK_EQ(kill(f.program.pid, SIGKILL), 0);
	CHECK_EQ(waitpid(f.program.pid, &status, 0), f.program.pid);
	CHECK_EQ(vhu_client_reconnect(f.program.client, 0), -ETIMEDOUT);
	program_again(&f.program, "vireo-blk", args);
	CHECK_EQ(vhu_client_reconnect(f.program.client, 5000), 0);
	exercise(&f, &rand);
	close(f.program.conf.socket_fd);
	unlink(path);
	teardown(&f);
}

/* -- back ends that are no good ------------------------------------------ */

enum manner {
	SILENT,			/* reads, and never answers */
	GONE,			/* hangs up after the first request */
	OTHER_REQUEST,		/* answers another question */
	NO_REPLY_FLAG,
	SHORT,			/* an answer without its payload */
	BAD_HEADER,
	REFUSES,		/* REPLY_ACK: everything failed */
	MANNERS
};

struct impostor {
	int fd;
	enum manner manner;
};

static void answer(struct impostor *im, const struct vhu_msg *q)
{
	struct vhu_msg a;
	uint64_t v = 0;

	/* Without a reply of its own, and nobody asked for one. */
	if (!vhu_rule(q->hdr.request)->reply &&
	    !(q->hdr.flags & VHU_NEED_REPLY))
		return;
	if (q->hdr.request == VHOST_USER_GET_FEATURES)
		v = 1ull << VHOST_USER_F_PROTOCOL_FEATURES | 1ull << 32;
	if (q->hdr.request == VHOST_USER_GET_PROTOCOL_FEATURES)
		v = VHU_PF(REPLY_ACK);
	if (q->hdr.flags & VHU_NEED_REPLY)
		v = im->manner == REFUSES;
	vhu_msg_init(&a, q->hdr.request, VHU_REPLY, sizeof(v));
	a.p.u64 = v;
	if (im->manner == OTHER_REQUEST)
		a.hdr.request++;
	if (im->manner == NO_REPLY_FLAG)
		a.hdr.flags &= ~VHU_REPLY;
	if (im->manner == SHORT)
		a.hdr.size = 4;
	if (im->manner == BAD_HEADER)
		a.hdr.flags = 0xffffffff;
	vhu_sock_send(im->fd, &a, 60000);
}

static void *pretend(void *arg)
{
	struct impostor *im = arg;
	struct vhu_sock s;

	vhu_sock_init(&s, im->fd);
	while (vhu_sock_wait(s.fd, 60000) > 0) {
		int r = vhu_sock_recv(&s);

		if (r < 0 || (r > 0 && im->manner == GONE))
			break;
		if (r > 0 && im->manner != SILENT)
			answer(im, &s.in);
	}
	vhu_sock_fini(&s);
	return NULL;
}

TEST("client: nonsense, silence and refusal are errors, and soon", "")
{
	static const int expected[MANNERS] = {
		[SILENT] = -ETIMEDOUT, [GONE] = -ENOTCONN,
		[OTHER_REQUEST] = -EPROTO, [NO_REPLY_FLAG] = -EPROTO,
		[SHORT] = -EPROTO, [BAD_HEADER] = -EBADMSG, [REFUSES] = -EIO,
	};
	struct impostor im;
	pthread_t thread;
	unsigned manner;
	int pair[2], err;

	for (manner = 0; manner < MANNERS; manner++) {
		struct vhu_client_conf conf = {
			.timeout_ms = manner == SILENT ? 200 : 60000,
		};
		struct vhu_client *client = (void *)&conf;

		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair), 0);
		im.fd = pair[1];
		im.manner = (enum manner)manner;
		CHECK_EQ(pthread_create(&thread, NULL, pretend, &im), 0);
		conf.socket_fd = pair[0];
		err = vhu_client_open(&client, &conf);
		CHECK_EQ(err, expected[manner]);
		CHECK(client == NULL);
		CHECK_EQ(pthread_join(thread, NULL), 0);
	}
}

TEST("client: a path that is too long, or nobody's, is an error", "")
{
	struct vhu_client_conf conf = { .timeout_ms = 200 };
	struct vhu_client *client;
	char path[300];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	conf.socket_path = path;
	CHECK_EQ(vhu_client_open(&client, &conf), -ENAMETOOLONG);
	conf.socket_path = "/nonexistent/socket";
	CHECK_EQ(vhu_client_open(&client, &conf), -ENOENT);
}
