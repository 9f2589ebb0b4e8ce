/* SPDX-License-Identifier: MIT */
/*
 * threads.c - the two halves of a ring in two threads, as in real life: every
 * buffer comes back once with what the device wrote, both sides sleep and are
 * woken, and the thread sanitizer sees no race (payload included).
 */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vireo/dev.h>
#include <vireo/vq.h>
#include "vtest.h"

#define SIZE	16u
#define BUFFERS	40000u
#define SLOT	64u		/* bytes of a buffer */
#define DATA_AT	16384u

static unsigned char shared[DATA_AT + SIZE * SLOT]
	__attribute__((aligned(64)));

static struct {
	struct vio_vq vq;
	struct vio_dev dev;
	struct vio_queue queue;
	struct vio_mem mem;
	struct vio_region region;
	int kick, call;
	bool end;
	unsigned char priv[8192] __attribute__((aligned(64)));
	unsigned char storage[65536] __attribute__((aligned(64)));
} s;

static void wake(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
}

/* A lost wake-up is a time-out here, not a hang. */
static void nap(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t n;

	CHECK_EQ(poll(&pfd, 1, 60000), 1);
	CHECK_EQ(read(fd, &n, sizeof(n)), sizeof(n));
}

static void on_notify(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	wake(s.call);
}

static void ignore_queue(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static void ignore(void *ctx)
{
	(void)ctx;
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_notify, .queue_ready = ignore_queue,
	.config_changed = ignore };

/* Answers with the bitwise opposite of what it read. */
static enum vio_service serve(struct vio_dev *dev, struct vio_queue *q,
			      unsigned budget)
{
	(void)dev;
	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);
		struct vio_cursor rd, wr;
		uint32_t v;

		if (!req)
			return VIO_SERVICE_IDLE;
		rd = vio_req_reader(req);
		wr = vio_req_writer(req);
		CHECK(vio_cursor_read(&rd, &v, sizeof(v)));
		v = ~v;
		CHECK(vio_cursor_write(&wr, &v, sizeof(v)));
		vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops ops = { .name = "t", .id = 4,
					.service = serve };

static void *device(void *arg)
{
	while (!__atomic_load_n(&s.end, __ATOMIC_ACQUIRE)) {
		if (vio_queue_service(&s.queue, 4) == VIO_SERVICE_MORE)
			continue;
		nap(s.kick);
	}
	return arg;
}

static unsigned char *slot(unsigned i)
{
	return shared + DATA_AT + i % SIZE * SLOT;
}

static void offer(unsigned char *at, uint32_t n)
{
	const struct vio_seg seg[] = { { at, 4 }, { at + 4, 4 } };

	memcpy(at, &n, sizeof(n));
	memset(at + 4, 0, 4);
	CHECK_EQ(vio_vq_add(&s.vq, seg, 1, 1, at), VIO_OK);
}

static void check(const unsigned char *at, uint32_t len)
{
	uint32_t asked, got;

	CHECK_EQ(len, 4);
	memcpy(&asked, at, 4);
	memcpy(&got, at + 4, 4);
	CHECK_EQ(got, ~asked);
}

static void drive(struct vtest_rand *rnd)
{
	unsigned char *free_slot[SIZE], *at;
	unsigned nr_free = SIZE / 2, sent = 0, got = 0;
	uint32_t len;

	for (unsigned i = 0; i < nr_free; i++)
		free_slot[i] = slot(i);
	while (got < BUFFERS) {
		unsigned batch = 1 + vtest_below(rnd, 4);

		while (batch-- && nr_free && sent < BUFFERS)
			offer(free_slot[--nr_free], sent++);
		if (vio_vq_publish(&s.vq))
			wake(s.kick);
		at = vio_vq_get(&s.vq, &len);
		if (!at && !vio_vq_listen(&s.vq)) {
			nap(s.call);
			vio_vq_quiet(&s.vq);
		}
		if (!at)
			continue;
		check(at, len);
		free_slot[nr_free++] = at;
		got++;
	}
}

static void set_up(const struct vio_features *f)
{
	const struct vio_vq_limits limits = { SIZE, 4 };
	const struct vio_queue_limits room = { SIZE, 16, 0 };
	struct vio_drv_mem mem = {
		.window = { shared, { 0x100000 }, sizeof(shared) },
		.shared = { shared, DATA_AT },
		.priv = { s.priv, sizeof(s.priv) },
	};
	uint16_t base = vio_has(f, VIRTIO_F_RING_PACKED) ?
			VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;

	memset(&s, 0, sizeof(s));
	s.kick = eventfd(0, EFD_CLOEXEC);
	s.call = eventfd(0, EFD_CLOEXEC);
	CHECK_EQ(vio_vq_init(&s.vq, &limits, f, &mem), VIO_OK);
	CHECK_EQ(vio_queue_init(&s.queue, NULL, 0, &room, s.storage,
				sizeof(s.storage)), VIO_OK);
	vio_dev_init(&s.dev, &ops, f, &s.queue, 1, NULL, 0);
	vio_dev_attach(&s.dev, &transport, NULL, NULL);
	CHECK_EQ(vio_dev_set_features(&s.dev, f), VIO_OK);
	vio_dev_set_status(&s.dev, 15);
	CHECK_EQ(vio_dev_status(&s.dev), 15);
	s.region = (struct vio_region){ .addr = { 0x100000 },
		.size = sizeof(shared), .host = shared, .perm = VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&s.mem, &s.region, 1), VIO_OK);
	CHECK_EQ(vio_queue_start(&s.queue, &s.mem, &s.vq.layout, base, base),
		 VIO_OK);
}

TEST("both halves in threads, every layout and feature set",
     "core.device.reserved-feature-bits.5")
{
	static const unsigned bits[] = { VIRTIO_F_RING_PACKED,
		VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC,
		VIRTIO_F_IN_ORDER };
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned set = 0; set < 16; set++) {
		struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };
		pthread_t thread;

		for (unsigned b = 0; b < 4; b++)
			if (set >> b & 1)
				vio_feature_set(&f, bits[b]);
		set_up(&f);
		CHECK_EQ(pthread_create(&thread, NULL, device, NULL), 0);
		drive(&rnd);
		__atomic_store_n(&s.end, true, __ATOMIC_RELEASE);
		wake(s.kick);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		CHECK_EQ(s.queue.stats.requests, BUFFERS);
		close(s.kick);
		close(s.call);
	}
}
