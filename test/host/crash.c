/* SPDX-License-Identifier: MIT */
/*
 * vireo-blk, killed at random moments under a load that knows what every
 * block must hold. The front end reconnects to its successor, the driver
 * notices nothing: no request is lost, stuck, done twice, or done again after
 * a later one.
 *
 * VIREO_KILLS: how often it dies, in each case (10).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#include "test/host/peer.h"
#include "vhost/sock.h"
#include "vtest.h"

#define BLOCK		4096u
#define BLOCKS		512u
#define DEPTH		32u
#define STUCK_MS	60000	/* without an answer */

/* What stands at the beginning and at the end of each block. */
struct mark {
	uint64_t offset, generation;
};

/* A request and the block it is about; no two at a time are about one. */
struct op {
	struct vio_blkdrv_req req;
	struct vio_seg seg;
	unsigned block;
	bool busy;
};

static struct peer p;
static struct front_disk d;
static struct op op[DEPTH];
static uint64_t generation[BLOCKS];	/* written last, and answered */
static bool taken[BLOCKS];
static unsigned in_flight;
static uint64_t nr_done;
static struct vtest_rand rnd;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static unsigned kills(void)
{
	const char *s = getenv("VIREO_KILLS");

	return s ? (unsigned)atoi(s) : 10;
}

/* -- the load -------------------------------------------------------------- */

static void mark(void *block, uint64_t offset, uint64_t gen)
{
	const struct mark m = { offset, gen };

	memset(block, (int)gen, BLOCK);
	memcpy(block, &m, sizeof(m));
	memcpy((char *)block + BLOCK - sizeof(m), &m, sizeof(m));
}

static void check_block(const void *block, unsigned at)
{
	struct mark want = { (uint64_t)at * BLOCK, generation[at] };

	if (!want.generation)
		want.offset = 0;
	CHECK_MEMEQ(block, &want, sizeof(want));
	CHECK_MEMEQ((const char *)block + BLOCK - sizeof(want), &want,
		    sizeof(want));
}

static void submit(struct op *o)
{
	unsigned at;

	do {
		at = (unsigned)vtest_below(&rnd, BLOCKS);
	} while (taken[at]);
	o->block = at;
	o->req.type = vtest_below(&rnd, 3) ? VIRTIO_BLK_T_OUT :
					     VIRTIO_BLK_T_IN;
	o->req.sector = (uint64_t)at * BLOCK / 512;
	o->req.seg = &o->seg;
	o->req.nr_seg = 1;
	o->req.user = o;
	if (o->req.type == VIRTIO_BLK_T_OUT)
		mark(o->seg.base, (uint64_t)at * BLOCK, generation[at] + 1);
	else
		memset(o->seg.base, 0xee, BLOCK);
	CHECK_EQ(vio_blkdrv_submit(&d.blk, 0, &o->req), VIO_OK);
	taken[at] = o->busy = true;
	in_flight++;
}

static void finish(struct op *o)
{
	CHECK(o->busy && taken[o->block]);
	CHECK_EQ(o->req.status, VIRTIO_BLK_S_OK);
	if (o->req.type == VIRTIO_BLK_T_OUT)
		generation[o->block]++;
	else
		check_block(o->seg.base, o->block);
	taken[o->block] = o->busy = false;
	in_flight--;
	nr_done++;
}

static bool collect(void)
{
	struct vio_blkdrv_req *req;
	bool any = false;

	while ((req = vio_blkdrv_poll(&d.blk, 0))) {
		finish(req->user);
		any = true;
	}
	CHECK(!d.blk.queue[0].vq.broken);
	return any;
}

static void fill(unsigned depth)
{
	for (unsigned i = 0; i < depth; i++) {
		if (!op[i].busy)
			submit(&op[i]);
	}
	vio_blkdrv_commit(&d.blk, 0);
}

/* Sleep until called; true if there is something to collect. */
static bool sleep_for(int ms)
{
	struct pollfd call = {
		.fd = vhu_client_call_fd(d.front.client, 0), .events = POLLIN,
	};
	uint64_t n;

	if (vio_vq_listen(&d.blk.queue[0].vq))
		return true;
	if (poll(&call, 1, ms) == 1 && read(call.fd, &n, sizeof(n)) < 0)
		CHECK_EQ(errno, EAGAIN);
	return false;
}

/* Load until @end; a front end alone, whatever the back end does. */
static void run_until(uint64_t end_us)
{
	while (now_us() < end_us) {
		fill(1 + (unsigned)vtest_below(&rnd, DEPTH));
		if (!collect())
			sleep_for(1);
	}
}

/* Everything must come back, called for. */
static void run_dry(void)
{
	uint64_t end = now_us() + STUCK_MS * 1000ull;

	while (in_flight) {
		if (!collect())
			sleep_for(1000);
		if (now_us() > end) {
			FAIL("%u requests are stuck", in_flight);
			return;
		}
	}
}

/* -- deaths ---------------------------------------------------------------- */

/* From the start of the process to the first answer. */
static uint64_t rise(const char *const *args)
{
	uint64_t from = now_us(), before = nr_done;

	peer_start(&p, "vireo-blk", args, -1);
	CHECK_EQ(vhu_client_reconnect(d.front.client, STUCK_MS), 0);
	while (nr_done == before) {
		if (!collect())
			sleep_for(1000);
		CHECK_LT(now_us() - from, STUCK_MS * 1000ull);
	}
	return now_us() - from;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void tell_deaths(uint64_t *us, unsigned n, unsigned with_load)
{
	if (!n)
		return;
	qsort(us, n, sizeof(*us), by_size);
	vtest_note("%u deaths, %u with requests in flight, %" PRIu64
		   " requests; back after %" PRIu64 " us at least, %" PRIu64
		   " half of the time, %" PRIu64 " at most", n, with_load,
		   nr_done, us[0], us[n / 2], us[n - 1]);
}

static void die_often(const char *const *args)
{
	unsigned n = kills(), with_load = 0;
	uint64_t *took = calloc(n + 1, sizeof(*took)), us;

	for (unsigned i = 0; i < n; i++) {
		run_until(now_us() + vtest_below(&rnd, 20000));
		fill(DEPTH);
		us = vtest_below(&rnd, 400);
		for (uint64_t end = now_us() + us; now_us() < end;)
			;
		CHECK_EQ(peer_end(&p, SIGKILL), 128 + SIGKILL);
		/* What was shown before the death counts. */
		collect();
		with_load += in_flight > 0;
		fill(DEPTH);
		took[i] = rise(args);
	}
	tell_deaths(took, n, with_load);
	free(took);
	if (n >= 10)
		CHECK_GT(with_load, 0);
}

static void check_file(void)
{
	static unsigned char block[BLOCK];
	int fd = open(p.image, O_RDONLY);

	for (unsigned i = 0; i < BLOCKS; i++) {
		CHECK_EQ(pread(fd, block, BLOCK, (off_t)i * BLOCK), BLOCK);
		check_block(block, i);
	}
	close(fd);
}

static void front_up(uint64_t feature)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();

	vio_feature_clear(&wanted, VIRTIO_F_IN_ORDER);
	vio_feature_clear(&wanted, VIRTIO_F_RING_PACKED);
	wanted.w[0] |= feature;
	CHECK(front_open(&d.front, p.socket, -1));
	CHECK_EQ(vio_blkdrv_init(&d.blk, &vhu_client_bus, d.front.client,
				 &wanted, &limits, 1, &d.front.drv_mem),
		 VIO_OK);
	CHECK_EQ(d.blk.drv.features.w[0] & feature, feature);
	for (unsigned i = 0; i < DEPTH; i++)
		op[i] = (struct op){ .seg = { front_data(&d.front, BLOCK),
					      BLOCK } };
}

static void survive(uint64_t feature, const char *option)
{
	char file[128];
	const char *args[] = { file, option, NULL };
	int fd;

	rnd = vtest_rand_init(vtest_seed());
	memset(generation, 0, sizeof(generation));
	memset(taken, 0, sizeof(taken));
	in_flight = 0;
	nr_done = 0;
	peer_init(&p);
	fd = open(p.image, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(ftruncate(fd, BLOCK * BLOCKS), 0);
	close(fd);
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	peer_start(&p, "vireo-blk", args, -1);
	front_up(feature);
	die_often(args);
	run_dry();
	check_file();
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("crash: split rings, io_uring", "")
{
	survive(0, "--aio=auto");
}

TEST("crash: split rings, threads that finish in any order", "")
{
	survive(0, "--aio=threads");
}

TEST("crash: packed rings", "")
{
	survive(1ull << VIRTIO_F_RING_PACKED, "--aio=auto");
}

TEST("crash: packed rings, threads that finish in any order", "")
{
	survive(1ull << VIRTIO_F_RING_PACKED, "--aio=threads");
}

TEST("crash: split rings in order", "")
{
	survive(1ull << VIRTIO_F_IN_ORDER, "--in-order");
}

/* -- a front end that cuts the record short -------------------------------- */

static struct vhu_msg msg;

static void say(int sock, uint32_t request, const void *payload, uint32_t len,
		int fd)
{
	vhu_msg_init(&msg, request, 0, len);
	memcpy(&msg.p, payload, len);
	msg.fd[0] = fd;
	msg.nr_fds = fd >= 0;
	CHECK_EQ(vhu_sock_send(sock, &msg, 1000), 0);
}

static void say_state(int sock, uint32_t request, uint32_t num)
{
	struct vhu_vring_state st = { 0, num };

	say(sock, request, &st, sizeof(st), -1);
}

static int raw_front(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, p.socket);
	CHECK_EQ(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Up to the kick, which would start the ring, and the record with it. */
static void say_ring(int sock, int memory, int record)
{
	const uint64_t features = 1ull << VIRTIO_F_VERSION_1 |
				  1ull << VHOST_USER_F_PROTOCOL_FEATURES;
	const struct vhu_inflight in = { 65536, 0, 1, 128 };
	const struct vhu_vring_addr addr = { .desc = 0x10000,
		.avail = 0x11000, .used = 0x12000 };
	struct vhu_mem_table t = { .nr = 1,
		.region[0] = { 0, 65536, 0x10000, 0 } };

	say(sock, VHOST_USER_SET_FEATURES, &features, 8, -1);
	say(sock, VHOST_USER_SET_INFLIGHT_FD, &in, 20, record);
	say(sock, VHOST_USER_SET_MEM_TABLE, &t, 40, memory);
	say_state(sock, VHOST_USER_SET_VRING_NUM, 128);
	say_state(sock, VHOST_USER_SET_VRING_BASE, 0);
	say(sock, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	/* All of it was read when this is answered. */
	say(sock, VHOST_USER_GET_FEATURES, "", 0, -1);
	CHECK_EQ(read(sock, &msg, 20), 20);
}

TEST("crash: a record that is cut short ends the session, not the daemon", "")
{
	const uint64_t zero = 0;
	char none[1];
	int sock, memory, record;

	peer_init(&p);
	PEER_START(&p, "vireo-blk", "--backend=mem", "--size=1M");
	CHECK(front_open(&d.front, p.socket, -1));
	front_close(&d.front);
	sock = raw_front();
	memory = memfd_create("memory", MFD_CLOEXEC);
	record = memfd_create("record", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(memory, 65536) | ftruncate(record, 65536), 0);
	say_ring(sock, memory, record);
	CHECK_EQ(ftruncate(record, 0), 0);
	say(sock, VHOST_USER_SET_VRING_KICK, &zero, 8, memory);
	/* It hangs up. */
	CHECK_EQ(read(sock, none, 1), 0);
	CHECK(peer_says(&p, "memory disappeared"));
	close(sock);
	close(memory);
	close(record);
	disk_open(&d, p.socket, 1);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}
