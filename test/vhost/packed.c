/* SPDX-License-Identifier: MIT */
/*
 * Packed rings over vhost-user: where a front end says that they start, and
 * where we say that they stopped. The driver here offers one-entry buffers.
 */
#include "fe.h"

#include <errno.h>
#include <unistd.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/virtio.h>

static struct fe f;

#define FEATURES	(1ull << VIRTIO_F_VERSION_1 | \
			 1ull << VIRTIO_F_RING_PACKED)
#define SIZE		6	/* need not be a power of two */
#define BUFS		0x8000

static unsigned next, done;	/* entries offered and seen used, ever */

static struct pvirtq_desc *ring(void)
{
	return (struct pvirtq_desc *)(void *)f.mem;
}

static void offer(void)
{
	unsigned at = next % SIZE;
	bool wrap = next / SIZE % 2 == 0;
	struct pvirtq_desc *d = &ring()[at];
	vio_le16 flags = vio_to_le16(PVIRTQ_DESC_F_WRITE |
		(wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED));

	d->addr = vio_to_le64(FE_GUEST + BUFS + at * 16);
	d->len = vio_to_le32(16);
	d->id = vio_to_le16(at);
	memset(f.mem + BUFS + at * 16, 0, 16);
	__atomic_store_n(&d->flags.raw, flags.raw, __ATOMIC_RELEASE);
	next++;
}

/* Entries used since last asked. */
static unsigned used(void)
{
	unsigned n = 0;

	for (; done != next; done++, n++) {
		unsigned at = done % SIZE;
		bool wrap = done / SIZE % 2 == 0;
		uint16_t flags = vio_from_le16((vio_le16){
			__atomic_load_n(&ring()[at].flags.raw,
					__ATOMIC_ACQUIRE) });

		if (!!(flags & PVIRTQ_DESC_F_USED) != wrap ||
		    !!(flags & PVIRTQ_DESC_F_AVAIL) != wrap)
			break;
		CHECK_MEMEQ(f.mem + BUFS + at * 16, FE_ANSWER,
			    sizeof(FE_ANSWER));
	}
	return n;
}

/* A position as the protocol has it, in both halves of a base. */
static uint32_t both(unsigned entries)
{
	uint32_t pos = entries % SIZE |
		(entries / SIZE % 2 == 0 ? 0x8000u : 0);

	return pos | pos << 16;
}

static void start(uint32_t base)
{
	struct vhu_vring_addr a = {
		.desc = FE_USER, .avail = FE_USER + 0x1000,
		.used = FE_USER + 0x2000,
	};

	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, SIZE);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, base);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	fe_send_kick_fd(&f, 0);
	CHECK_EQ(f.ended, 0);
}

static void open_it(void)
{
	next = done = 0;
	fe_open(&f);
	fe_negotiate(&f, 0, FEATURES);
	fe_send_memory(&f);
}

static void run_one(void)
{
	offer();
	fe_kick(&f, 0);
	CHECK_EQ(used(), 1);
}

static uint32_t stop(void)
{
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	return f.in.in.p.state.num;
}

TEST("vhost packed: a new ring, as three front ends announce it", "")
{
	/* QEMU; one that tells the available half; User Mode Linux. */
	static const uint32_t base[] = { 0x80008000, 0x8000, 0 };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(base); i++) {
		open_it();
		start(base[i]);
		for (unsigned n = 0; n < 3 * SIZE; n++)
			run_one();
		fe_close(&f);
	}
}

TEST("vhost packed: the same with a buffer that waits already", "")
{
	open_it();
	offer();
	start(0);
	CHECK_EQ(used(), 1);
	fe_close(&f);
}

TEST("vhost packed: stopped and started at every position", "")
{
	open_it();
	start(0);
	for (unsigned n = 0; n < 5 * SIZE; n++) {
		uint32_t base = stop();

		CHECK_EQ(base, n ? both(n) : 0x80008000);
		offer();
		start(base);
		CHECK_EQ(used(), 1);
	}
	fe_close(&f);
}

TEST("vhost packed: after one round base 0 means what it says", "")
{
	open_it();
	start(0);
	for (unsigned n = 0; n < SIZE; n++)
		run_one();
	CHECK_EQ(stop(), 0);
	start(0);
	run_one();
	/* The same with a buffer that waits. */
	for (unsigned n = 1; n < 2 * SIZE; n++)
		run_one();
	CHECK_EQ(stop(), 0);
	offer();
	start(0);
	CHECK_EQ(used(), 1);
	fe_close(&f);
}

TEST("vhost packed: the base of a split ring has 16 bits, ours 32", "")
{
	open_it();
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, SIZE);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0x80008000);
	CHECK_EQ(f.ended, 0);
	/* An offset outside of the ring is seen when it starts. */
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0x80078007);
	fe_send_addr(&f, 0);
	fe_send_kick_fd(&f, 0);
	CHECK_EQ(f.ended, -EINVAL);
	fe_close(&f);
}

TEST("vhost packed: a misaligned ring is refused, and not looked into", "")
{
	struct vhu_vring_addr a = {
		.desc = FE_USER + 4, .avail = FE_USER + 0x1000,
		.used = FE_USER + 0x2000,
	};

	open_it();
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, SIZE);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 0);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	fe_send_kick_fd(&f, 0);
	CHECK_EQ(f.ended, -EINVAL);
	fe_close(&f);
}
