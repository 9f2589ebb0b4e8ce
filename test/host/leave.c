/* SPDX-License-Identifier: MIT */
/*
 * A disk whose requests a low limit holds back is stopped without waiting for
 * them; another process does them, from the record. Nothing is lost, nothing
 * done twice, and the first one writes nothing after its answer.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#include "test/host/peer.h"
#include "vtest.h"

#define BLOCK		4096u
#define DEPTH		32u
#define ANSWERS_MS	20000

/* A request and its block; its data say how often that was written. */
struct op {
	struct vio_blkdrv_req req;
	struct vio_seg seg;
	bool busy;
};

static struct peer p;
static struct front_disk d;
static struct op op[DEPTH];
static unsigned generation, in_flight;

static void fill(unsigned char *data, unsigned block)
{
	memset(data, (int)(generation * DEPTH + block + 1), BLOCK);
}

static void submit_all(void)
{
	generation++;
	for (unsigned i = 0; i < DEPTH; i++) {
		struct op *o = &op[i];

		o->req = (struct vio_blkdrv_req){
			.type = VIRTIO_BLK_T_OUT, .sector = i * BLOCK / 512,
			.seg = &o->seg, .nr_seg = 1, .user = o,
		};
		fill(o->seg.base, i);
		CHECK_EQ(vio_blkdrv_submit(&d.blk, 0, &o->req), VIO_OK);
		o->busy = true;
		in_flight++;
	}
	vio_blkdrv_commit(&d.blk, 0);
}

static void collect(void)
{
	struct vio_blkdrv_req *req;

	while ((req = vio_blkdrv_poll(&d.blk, 0))) {
		struct op *o = req->user;

		CHECK(o->busy);
		CHECK_EQ(req->status, VIRTIO_BLK_S_OK);
		o->busy = false;
		in_flight--;
	}
	CHECK(!d.blk.queue[0].vq.broken);
}

/* Until at most @left are in flight. */
static void wait_for(unsigned left)
{
	struct pollfd call = {
		.fd = vhu_client_call_fd(d.front.client, 0), .events = POLLIN,
	};
	uint64_t n;

	for (;;) {
		collect();
		if (in_flight <= left)
			return;
		if (vio_vq_listen(&d.blk.queue[0].vq))
			continue;
		CHECK_EQ(poll(&call, 1, ANSWERS_MS), 1);
		if (read(call.fd, &n, sizeof(n)) < 0)
			continue;
	}
}

/* The image has what was answered, and nothing of what was not. */
static void check_image(void)
{
	static unsigned char got[BLOCK], want[BLOCK];
	int fd = open(p.image, O_RDONLY);

	for (unsigned i = 0; i < DEPTH; i++) {
		generation -= op[i].busy;
		fill(want, i);
		if (!generation)
			memset(want, 0, BLOCK);
		generation += op[i].busy;
		CHECK_EQ(pread(fd, got, BLOCK, (off_t)i * BLOCK), BLOCK);
		CHECK_MEMEQ(got, want, BLOCK);
	}
	close(fd);
}

/* Stop while some wait; how many. */
static unsigned leave(void)
{
	uint16_t avail;

	submit_all();
	/* A batch was taken when the first of it is answered. */
	wait_for(DEPTH - 1);
	CHECK_EQ(vhu_client_leave_queue(d.front.client, 0, &avail), 0);
	collect();
	check_image();
	return in_flight;
}

static void open_front(uint64_t feature)
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

static void pass_on(uint64_t feature, const char *option)
{
	char file[128];
	const char *slow[] = { file, option, "--ops=1", NULL };
	const char *fast[] = { file, option, NULL };
	unsigned left, all = 0;
	int fd;

	peer_init(&p);
	fd = open(p.image, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(ftruncate(fd, BLOCK * DEPTH), 0);
	close(fd);
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	generation = in_flight = 0;
	peer_start(&p, "vireo-blk", slow, -1);
	open_front(feature);
	for (unsigned i = 0; i < 3; i++) {
		left = leave();
		all += left;
		CHECK_GE(left, 8);
		CHECK(peer_says(&p, "requests that were not begun stay in the record"));
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		/* Not when it ends, either. */
		check_image();
		peer_start(&p, "vireo-blk", fast, -1);
		CHECK_EQ(vhu_client_reconnect(d.front.client, ANSWERS_MS), 0);
		wait_for(0);
		check_image();
		CHECK(peer_said(&p, "requests that were in flight are done again"));
		/* One that has nothing to leave. */
		CHECK_EQ(vhu_client_leave_queue(d.front.client, 0,
						&(uint16_t){ 0 }), 0);
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		peer_start(&p, "vireo-blk", slow, -1);
		CHECK_EQ(vhu_client_reconnect(d.front.client, ANSWERS_MS), 0);
	}
	vtest_note("%u of %u requests passed on", all, 3 * DEPTH);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("leave: split rings, io_uring", "")
{
	pass_on(0, "--aio=auto");
}

TEST("leave: split rings, threads", "")
{
	pass_on(0, "--aio=threads");
}

TEST("leave: packed rings, io_uring", "")
{
	pass_on(1ull << VIRTIO_F_RING_PACKED, "--aio=auto");
}

TEST("leave: packed rings, threads", "")
{
	pass_on(1ull << VIRTIO_F_RING_PACKED, "--aio=threads");
}
