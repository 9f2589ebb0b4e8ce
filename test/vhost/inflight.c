/* SPDX-License-Identifier: MIT */
/*
 * The record of requests in flight, by messages: made, handed back, gone by
 * after a death. A death is a snapshot of all shared memory, put back for the
 * next session.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vireo/spec/inflight.h>
#include <vireo/spec/virtio.h>

static struct fe f;
static unsigned char snapshot[FE_MEM];

#define FEATURES	(1ull << VIRTIO_F_VERSION_1 | \
			 1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define WANTED		(VHU_PF(INFLIGHT_SHMFD) | VHU_PF(REPLY_ACK) | \
			 VHU_PF(RESET_DEVICE))

static uint64_t more;		/* wanted, too */

static void open_it(void)
{
	fe_open(&f);
	fe_negotiate(&f, WANTED | more, FEATURES);
}

/* A question of @size bytes; the answer is in f.in.in. */
static int ask_for(uint16_t queues, uint16_t size, uint32_t bytes)
{
	struct vhu_inflight in = { .nr_queues = queues, .queue_size = size };

	fe_send(&f, VHOST_USER_GET_INFLIGHT_FD, 0, &in, bytes, NULL, 0);
	fe_expect(&f, VHOST_USER_GET_INFLIGHT_FD, bytes);
	return vhu_msg_take_fd(&f.in.in, 0);
}

static uint64_t hand_over(int fd, const struct vhu_inflight *in)
{
	return fe_ask(&f, VHOST_USER_SET_INFLIGHT_FD, in, 20, &fd, 1);
}

TEST("vhost in flight: the memory is made to size, and cannot shrink", "")
{
	static const uint32_t bytes[] = { 20, 24 };	/* packed, padded */
	int before = fe_open_fds(), fd;

	open_it();
	for (unsigned i = 0; i < 2; i++) {
		fd = ask_for(3, 128, bytes[i]);
		CHECK_GE(fd, 0);
		CHECK_EQ(f.in.in.p.inflight.nr_queues, 3);
		CHECK_EQ(f.in.in.p.inflight.queue_size, 128);
		CHECK_EQ(f.in.in.p.inflight.mmap_offset, 0);
		CHECK_EQ(lseek(fd, 0, SEEK_END),
			 f.in.in.p.inflight.mmap_size);
		CHECK_GE(f.in.in.p.inflight.mmap_size, 3 * (32 + 32 * 128));
		CHECK_NE(ftruncate(fd, 0), 0);
		CHECK_EQ(hand_over(fd, &f.in.in.p.inflight), 0);
		close(fd);
	}
	/* No such queues: an answer that says so. */
	CHECK_EQ(ask_for(0, 128, 24), -1);
	CHECK_EQ(f.in.in.p.inflight.mmap_size, 0);
	CHECK_EQ(ask_for(FE_QUEUES + 1, 128, 24), -1);
	CHECK_EQ(ask_for(1, 0, 24), -1);
	CHECK_EQ(ask_for(1, 32769, 24), -1);
	CHECK_EQ(f.logs, 4);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost in flight: memory that is not there is refused", "")
{
	int before = fe_open_fds();
	static const struct vhu_inflight bad[] = {
		{ 0, 0, 1, 16 },
		{ FE_MEM + 1, 0, 1, 16 },
		{ FE_MEM, 8, 1, 16 },
		{ 4096, FE_MEM, 1, 16 },
		{ 4096, UINT64_MAX - 4095, 1, 16 },
		{ 4096, 4, 1, 16 },
		{ 4096, 0, 0, 16 },
		{ 4096, 0, FE_QUEUES + 1, 16 },
		{ 4096, 0, 1, 0 },
		{ 4096, 0, 1, 65535 },
	};
	struct vhu_inflight good = { 4096, 4096 + 64, 1, 16 };

	open_it();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		CHECK_EQ(hand_over(f.memfd, &bad[i]), 1);
		CHECK_EQ(f.logs, i + 1);
	}
	CHECK_EQ(hand_over(f.q[0].kick_fd, &good), 1);
	CHECK_EQ(f.guarded, 0);
	CHECK_EQ(hand_over(f.memfd, &good), 0);
	CHECK_EQ(hand_over(f.memfd, &good), 0);
	CHECK_EQ(f.guarded, 1);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

/* Memory for the rings and a record behind them, which is @queues long. */
static struct vhu_inflight behind(uint16_t queues)
{
	return (struct vhu_inflight){ 16384, FE_MEM - 16384, queues, FE_RING };
}

static struct inflight_split *record(unsigned q)
{
	return (void *)(f.mem + FE_MEM - 16384 +
			q * (16 + FE_RING * 16 + 48) / 64 * 64);
}

static void start(void)
{
	struct vhu_inflight in = behind(2);

	CHECK_EQ(hand_over(f.memfd, &in), 0);
	fe_send_memory(&f);
	for (unsigned q = 0; q < 2; q++) {
		fe_send_ring(&f, q);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, q, 1);
	}
	CHECK_EQ(f.ended, 0);
}

/* Death; the next session sees what the last one left. */
static void die(void)
{
	struct fe_queue q[2] = { f.q[0], f.q[1] };

	memcpy(snapshot, f.mem, FE_MEM);
	fe_reopen(&f);
	memcpy(f.mem, snapshot, FE_MEM);
	for (unsigned i = 0; i < 2; i++) {
		f.q[i].avail_idx = q[i].avail_idx;
		f.q[i].used_seen = q[i].used_seen;
	}
	fe_negotiate(&f, WANTED | more, FEATURES);
}

TEST("vhost in flight: what a dead back end had taken is done, out of order", "")
{
	open_it();
	start();
	CHECK_EQ(record(1)->version, 1);
	CHECK_EQ(record(1)->desc_num, FE_RING);
	f.hold = true;
	for (unsigned i = 0; i < 4; i++)
		fe_offer(&f, 1);
	fe_kick(&f, 1);
	CHECK_EQ(f.nr_held, 4);
	/* The newest is done first: the used index says nothing of which. */
	f.hold = false;
	fe_offer(&f, 1);
	fe_kick(&f, 1);
	CHECK_EQ(fe_used(&f, 1), 1);
	CHECK_EQ(record(1)->used_idx, 1);
	die();
	fe_calls(&f, 1);
	start();
	CHECK_EQ(fe_used(&f, 1), 4);
	CHECK_GE(fe_calls(&f, 1), 1);
	/* And goes on. */
	fe_offer(&f, 1);
	fe_kick(&f, 1);
	CHECK_EQ(fe_used(&f, 1), 1);
	fe_close(&f);
}

TEST("vhost in flight: a base that skips what was taken does not count", "")
{
	open_it();
	start();
	f.hold = true;
	fe_offer(&f, 0);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	die();
	f.hold = false;
	/* Some front ends restart at the available index. */
	f.q[0].used_seen = 2;
	start();
	f.q[0].used_seen = 0;
	CHECK_EQ(fe_used(&f, 0), 2);
	fe_close(&f);
}

TEST("vhost in flight: after a stop or a reset nothing is known", "")
{
	open_it();
	start();
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	CHECK_EQ(record(0)->version, 0);
	CHECK_EQ(record(1)->version, 1);
	fe_send_ring(&f, 0);
	CHECK_EQ(record(0)->version, 1);
	/* The queue that only its front end has is left alone. */
	fe_send_ring(&f, 2);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 2, 1);
	fe_offer(&f, 2);
	fe_kick(&f, 2);
	CHECK_EQ(fe_used(&f, 2), 1);
	/* A record of another life, and the reset that ends it. */
	fe_send(&f, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0);
	record(1)->version = 1;
	fe_send(&f, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0);
	CHECK_EQ(record(1)->version, 0);
	fe_close(&f);
}

/* -- stops that do not wait ------------------------------------------------ */

#define LEAVE	(VHU_PF(GET_VRING_BASE_INFLIGHT) | \
		 VHU_PF(GET_VRING_BASE_SKIP_DRAIN))

/* Five requests taken, the first done. */
static void take_some(void)
{
	open_it();
	start();
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	f.hold = true;
	for (unsigned i = 0; i < 4; i++)
		fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(f.nr_held, 4);
}

static void stop_by(uint32_t request)
{
	fe_send_state(&f, request, 0, 0);
	fe_expect(&f, request, 8);
	CHECK_EQ(f.in.in.p.state.num, 5);
	CHECK_EQ(f.nr_held, 0);
}

static unsigned recorded(void)
{
	const struct inflight_split_desc *d = (const void *)(record(0) + 1);
	unsigned n = 0;

	for (unsigned i = 0; i < FE_RING; i++)
		n += d[i].inflight;
	return n;
}

/* They come in the order in which the first one had taken them. */
static void expect_again(void)
{
	CHECK_EQ(fe_used(&f, 0), 0);
	CHECK_EQ(f.nr_held, 4);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(f.held[i]->head, 1 + i);
	fe_release(&f);
	CHECK_EQ(fe_used(&f, 0), 4);
	f.hold = false;
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	/* The usual stop. */
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	CHECK_EQ(record(0)->version, 0);
	fe_close(&f);
	more = 0;
}

TEST("vhost leave: what is not begun stays in the record, for the next", "")
{
	more = LEAVE;
	take_some();
	stop_by(VHOST_USER_GET_VRING_BASE_SKIP_DRAIN);
	CHECK_EQ(f.drains, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	CHECK_EQ(record(0)->version, 1);
	CHECK_EQ(recorded(), 4);
	die();
	f.hold = true;
	start();
	expect_again();
}

TEST("vhost leave: a migration that failed goes on here", "")
{
	more = LEAVE;
	take_some();
	stop_by(VHOST_USER_GET_VRING_BASE_SKIP_DRAIN);
	/* QEMU writes it once its rings are stopped. */
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 0);
	CHECK_EQ(recorded(), 4);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	expect_again();
}

TEST("vhost leave: by GET_VRING_BASE where there is no other request", "")
{
	more = VHU_PF(GET_VRING_BASE_INFLIGHT);
	take_some();
	stop_by(VHOST_USER_GET_VRING_BASE);
	CHECK_EQ(recorded(), 4);
	more = LEAVE;
	die();
	f.hold = true;
	start();
	expect_again();
}

TEST("vhost leave: the usual stop drains where there is another", "")
{
	more = LEAVE;
	take_some();
	stop_by(VHOST_USER_GET_VRING_BASE);
	CHECK_EQ(f.drains, 1);
	CHECK_EQ(fe_used(&f, 0), 4);
	CHECK_EQ(record(0)->version, 0);
	fe_close(&f);
	more = 0;
}

TEST("vhost leave: without a record all is done first", "")
{
	fe_open(&f);
	fe_negotiate(&f, WANTED | LEAVE, FEATURES);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	f.hold = true;
	for (unsigned i = 0; i < 5; i++)
		fe_offer(&f, 0);
	fe_kick(&f, 0);
	stop_by(VHOST_USER_GET_VRING_BASE_SKIP_DRAIN);
	CHECK_EQ(f.drains, 1);
	CHECK_EQ(fe_used(&f, 0), 5);
	fe_close(&f);
}
