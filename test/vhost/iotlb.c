/* SPDX-License-Identifier: MIT */
/*
 * The device IOTLB: a front end with an IOMMU, in which each page of the
 * rings and buffers has an I/O address of its own; it tells what it is asked
 * for, or lies.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/look.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define PLATFORM	(1ull << VIRTIO_F_ACCESS_PLATFORM)

#define PAGE		0x1000u
#define PAGES		(FE_MEM / PAGE)
/* Page @n of memory, as the driver has it; nothing else is there. */
#define IO(n)		(0x200000ull + (uint64_t)(n) * 2 * PAGE)

static struct fe f;
static struct vhu_sock back;	/* what the back end asks for */
static unsigned misses, fails;
static uint64_t last_miss;
static uint8_t last_perm;

static void send_iotlb(uint8_t type, uint64_t io, uint64_t size, uint64_t user,
		       uint8_t perm)
{
	struct vhu_iotlb m = { .iova = io, .size = size, .user_addr = user,
			       .perm = perm, .type = type };

	fe_send(&f, VHOST_USER_IOTLB_MSG, 0, &m, sizeof(m), NULL, 0);
	fe_expect(&f, VHOST_USER_IOTLB_MSG, 8);
}

static void tell_page(unsigned n, uint8_t perm)
{
	send_iotlb(VHU_IOTLB_UPDATE, IO(n), PAGE, FE_USER + n * PAGE, perm);
	CHECK_EQ(f.in.in.p.u64, 0);
}

static void take_page(unsigned n)
{
	send_iotlb(VHU_IOTLB_INVALIDATE, IO(n), PAGE, 0, 0);
	CHECK_EQ(f.in.in.p.u64, 0);
}

/* What it asked for last; false: nothing. */
static bool asked(void)
{
	while (vhu_sock_recv(&back) == 1) {
		const struct vhu_iotlb *m = &back.in.p.iotlb;

		CHECK_EQ(back.in.hdr.request, VHOST_USER_BACKEND_IOTLB_MSG);
		CHECK_EQ(back.in.hdr.flags, VHU_VERSION);
		last_miss = m->iova;
		last_perm = m->perm;
		if (m->type == VHU_IOTLB_ACCESS_FAIL) {
			fails++;
			continue;
		}
		CHECK_EQ(m->type, VHU_IOTLB_MISS);
		misses++;
		return true;
	}
	return false;
}

/* Tell all that is asked for, with what it is asked for. */
static void tell_asked(void)
{
	while (asked()) {
		uint64_t n = (last_miss - IO(0)) / (2 * PAGE);

		CHECK_LT(n, PAGES);
		CHECK_LT((last_miss - IO(0)) % (2 * PAGE), PAGE);
		tell_page((unsigned)n, last_perm);
	}
}

static void connect_back(void)
{
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	fe_send_fd(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, sv[1]);
	close(sv[1]);
	vhu_sock_init(&back, sv[0]);
	misses = fails = 0;
}

static void negotiate(uint64_t more)
{
	fe_negotiate(&f, VHU_PF(BACKEND_REQ) | VHU_PF(REPLY_ACK) |
		     VHU_PF(LOG_SHMFD) | VHU_PF(CONFIGURE_MEM_SLOTS),
		     MODERN | PROTOCOL | PLATFORM | more);
	connect_back();
}

static void open_it(void)
{
	fe_open_with(&f, &(struct vhu_conf){ .iommu = true });
	negotiate(0);
	fe_send_memory(&f);
}

static void close_it(void)
{
	vhu_sock_fini(&back);
	fe_close(&f);
}

/* As fe.c lays a ring out, four pages, at their I/O addresses. */
static void send_ring(unsigned q)
{
	struct vhu_vring_addr a = {
		.index = q, .desc = IO(4 * q), .avail = IO(4 * q + 1),
		.used = IO(4 * q + 2),
	};

	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, q, FE_RING);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, q, f.q[q].used_seen);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	fe_send_kick_fd(&f, q);
	fe_send_call_fd(&f, q);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, q, 1);
}

/* One buffer at @io, which is byte @at of memory. */
static void offer(unsigned q, uint64_t io)
{
	struct virtq_desc *desc = (void *)(f.mem + q * 4 * PAGE);
	uint16_t slot = f.q[q].avail_idx % FE_RING;

	fe_offer(&f, q);
	desc[slot].addr = vio_to_le64(io);
}

/* Of slot @slot in the page of buffers that fe.c has for queue @q. */
static uint64_t buffer(unsigned q)
{
	return IO(4 * q + 3) + f.q[q].avail_idx % FE_RING * 16u;
}

static bool is_running(unsigned q)
{
	struct vhu_ring_info info;

	CHECK(vhu_queue_info(f.s, q, &info));
	return info.started;
}

TEST("vhost iotlb: offered where it is wanted, and only there",
     "core.device.reserved-feature-bits.3")
{
	fe_open(&f);
	CHECK(!(fe_get_u64(&f, VHOST_USER_GET_FEATURES) & PLATFORM));
	fe_close(&f);
	open_it();
	CHECK(fe_get_u64(&f, VHOST_USER_GET_FEATURES) & PLATFORM);
	close_it();
}

TEST("vhost iotlb: rings and buffers are asked for, and served", "")
{
	open_it();
	send_ring(0);
	/* Nothing is known: not even where the ring lies. */
	CHECK(!is_running(0));
	offer(0, buffer(0));
	fe_kick(&f, 0);
	CHECK(asked());
	CHECK_EQ(last_miss, IO(0));
	CHECK_EQ(last_perm, VIO_PERM_READ);
	CHECK(!asked());		/* once */
	tell_page(0, VIO_PERM_RW);
	tell_asked();
	CHECK(is_running(0));
	CHECK_EQ(misses, 4);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_GE(fe_calls(&f, 0), 1);
	/* What is known is not asked for again. */
	for (unsigned i = 0; i < 100; i++) {
		offer(0, buffer(0));
		fe_kick(&f, 0);
		CHECK_EQ(fe_used(&f, 0), 1);
	}
	CHECK(!asked());
	CHECK_EQ(f.logs, 0);
	close_it();
}

TEST("vhost iotlb: one queue waits, others do not", "")
{
	open_it();
	for (unsigned q = 0; q < 2; q++) {
		send_ring(q);
		tell_asked();
	}
	offer(0, IO(100));
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		offer(1, buffer(1));
		fe_kick(&f, 1);
		if (!i) {
			while (asked() && last_miss != IO(7))
				CHECK_EQ(last_miss, IO(100));
			tell_page(7, VIO_PERM_RW);
		}
		CHECK_EQ(fe_used(&f, 1), 1);
	}
	/* It did not wait for that: told of another page, it still waits. */
	tell_page(50, VIO_PERM_RW);
	CHECK_EQ(fe_used(&f, 0), 0);
	/* Where the driver's buffer is, fe_used() looks for it. */
	send_iotlb(VHU_IOTLB_UPDATE, IO(100), PAGE, FE_USER + 3 * PAGE,
		   VIO_PERM_RW);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_EQ(f.logs, 0);
	close_it();
}

TEST("vhost iotlb: a page is taken away while buffers in it are in flight", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	f.hold = true;
	offer(0, buffer(0));
	offer(0, buffer(0));
	fe_kick(&f, 0);
	tell_asked();
	CHECK_EQ(f.nr_held, 2);
	/* Another page: nobody waits for them. */
	tell_page(60, VIO_PERM_RW);
	take_page(60);
	CHECK_EQ(f.nr_held, 2);
	/* Theirs: they are done before it is answered. */
	take_page(3);
	CHECK_EQ(f.nr_held, 0);
	CHECK_EQ(f.drains, 1);
	CHECK_EQ(fe_used(&f, 0), 2);
	f.hold = false;
	/* And it is asked for again. */
	misses = 0;
	offer(0, buffer(0));
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 0);
	tell_asked();
	CHECK_EQ(misses, 1);
	CHECK_EQ(fe_used(&f, 0), 1);
	close_it();
}

TEST("vhost iotlb: a ring's own page is taken away, and comes back", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	for (unsigned n = 0; n < 3; n++) {
		for (unsigned i = 0; i < 5; i++) {
			offer(0, buffer(0));
			fe_kick(&f, 0);
			tell_asked();
			CHECK_EQ(fe_used(&f, 0), 1);
		}
		take_page(n);
		CHECK(!is_running(0));
		offer(0, buffer(0));
		fe_kick(&f, 0);
		CHECK_EQ(fe_used(&f, 0), 0);
		CHECK(asked());
		CHECK_EQ(last_miss, IO(n));
		tell_page(n, VIO_PERM_RW);
		CHECK(is_running(0));
		CHECK_EQ(fe_used(&f, 0), 1);
	}
	CHECK_EQ(f.logs, 0);
	close_it();
}

TEST("vhost iotlb: what is not permitted breaks the queue, and is told", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	tell_page(3, VIO_PERM_READ);
	offer(0, buffer(0));
	fe_kick(&f, 0);
	/* It might be more now than it was then. */
	CHECK(asked());
	CHECK_EQ(last_perm, VIO_PERM_WRITE);
	CHECK(!asked());
	tell_page(9, VIO_PERM_RW);		/* not the answer */
	CHECK_EQ(f.logs, 0);
	tell_page(3, VIO_PERM_READ);
	CHECK(!asked());
	CHECK_EQ(fails, 1);
	CHECK_EQ(last_miss, IO(3));
	CHECK_EQ(fe_used(&f, 0), 0);
	CHECK_GE(f.logs, 1);
	CHECK_EQ(f.ended, 0);
	close_it();
}

TEST("vhost iotlb: rings over pages in a row need not lie in one", "")
{
	struct vhu_vring_addr a = {
		.index = 0, .desc = 0x10000, .avail = 0x11000, .used = 0x12000,
	};

	open_it();
	/* Pages told in disorder become one piece; the ring lies across. */
	for (unsigned i = 0; i < 8; i++) {
		unsigned n = i * 5 % 8;

		send_iotlb(VHU_IOTLB_UPDATE, 0x10000 + n * PAGE, PAGE,
			   FE_USER + n * PAGE, VIO_PERM_RW);
		CHECK_EQ(f.in.in.p.u64, 0);
	}
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	fe_send_kick_fd(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	CHECK(is_running(0));
	offer(0, 0x13000 + 0 * 16);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK(!asked());
	/* A hole in the middle. */
	send_iotlb(VHU_IOTLB_INVALIDATE, 0x13000, 16, 0, 0);
	offer(0, 0x13000 + 1 * 16);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	offer(0, 0x13000);
	fe_kick(&f, 0);
	CHECK(asked());
	CHECK_EQ(last_miss, 0x13000);
	close_it();
}

TEST("vhost iotlb: a front end that tells nonsense", "")
{
	static const struct vhu_iotlb wrong[] = {
		{ IO(0), 0, FE_USER, 3, VHU_IOTLB_UPDATE, { 0 } },
		{ UINT64_MAX, 2, FE_USER, 3, VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), UINT64_MAX, FE_USER, 3, VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), PAGE, FE_USER - 1, 3, VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), PAGE, FE_USER + FE_MEM - PAGE + 1, 3,
		  VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), PAGE, UINT64_MAX - 5, 3, VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), PAGE, FE_USER, 4, VHU_IOTLB_UPDATE, { 0 } },
		{ IO(0), PAGE, FE_USER, 3, VHU_IOTLB_MISS, { 0 } },
		{ IO(0), PAGE, FE_USER, 3, 0, { 0 } },
		{ IO(0), PAGE, FE_USER, 3, 255, { 0 } },
		{ IO(0), 0, 0, 0, VHU_IOTLB_INVALIDATE, { 0 } },
		{ 0, 0, FE_USER, 3, VHU_IOTLB_UPDATE, { 0 } },
	};

	open_it();
	send_ring(0);
	tell_asked();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(wrong); i++) {
		f.logs = 0;
		fe_send(&f, VHOST_USER_IOTLB_MSG, 0, &wrong[i],
			sizeof(wrong[i]), NULL, 0);
		fe_expect(&f, VHOST_USER_IOTLB_MSG, 8);
		if (f.in.in.p.u64 != 1 || f.logs != 1 || f.ended)
			FAIL("case %u", i);
	}
	/* All at once is fine, with nothing in it, too. */
	send_iotlb(VHU_IOTLB_INVALIDATE, 0, UINT64_MAX, 0, 0);
	CHECK_EQ(f.in.in.p.u64, 0);
	/* QEMU says it so when the guest takes all away. */
	tell_asked();
	CHECK(is_running(0));
	send_iotlb(VHU_IOTLB_INVALIDATE, 0, 0, 0, 0);
	CHECK_EQ(f.in.in.p.u64, 0);
	CHECK(!is_running(0));
	tell_asked();
	offer(0, buffer(0));
	fe_kick(&f, 0);
	tell_asked();
	CHECK_EQ(fe_used(&f, 0), 1);
	close_it();
}

/* More than are kept: none joins another, of every second page. */
static void tell_many(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		send_iotlb(VHU_IOTLB_UPDATE, (1ull << 40) + i * 2ull * PAGE,
			   PAGE, FE_USER + 3 * PAGE, VIO_PERM_RW);
		CHECK_EQ(f.in.in.p.u64, 0);
	}
}

TEST("vhost iotlb: more than is kept is forgotten, and asked for", "")
{
	unsigned lost = 0;

	open_it();
	send_ring(0);
	tell_asked();
	tell_many();
	/* The ring still runs; any of them serves, at a question at most. */
	for (unsigned i = 0; i < 10000; i += 97) {
		uint64_t page = (1ull << 40) + i * 2ull * PAGE;

		misses = 0;
		offer(0, page + f.q[0].avail_idx % FE_RING * 16u);
		fe_kick(&f, 0);
		while (asked())
			send_iotlb(VHU_IOTLB_UPDATE, page, PAGE,
				   FE_USER + 3 * PAGE, VIO_PERM_RW);
		CHECK_LE(misses, 1);
		lost += misses;
		CHECK_EQ(fe_used(&f, 0), 1);
	}
	CHECK_GT(lost, 20);
	CHECK_LT(lost, 90);
	close_it();
}

TEST("vhost iotlb: what was forgotten for lack of room is waited for, too", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	f.hold = true;
	offer(0, buffer(0));
	fe_kick(&f, 0);
	tell_asked();
	CHECK_EQ(f.nr_held, 1);
	tell_many();
	CHECK_EQ(f.nr_held, 1);
	take_page(3);
	CHECK_EQ(f.nr_held, 0);
	CHECK_EQ(f.drains, 1);
	f.hold = false;
	/* Nothing is in flight that may be in what was forgotten. */
	take_page(60);
	CHECK_EQ(f.drains, 1);
	close_it();
}

/* Both messages are there before the back end moves. */
static void tell_and_take(unsigned n)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, VHOST_USER_IOTLB_MSG, 0, sizeof(msg.p.iotlb));
	msg.p.iotlb = (struct vhu_iotlb){
		.iova = IO(n), .size = PAGE, .user_addr = FE_USER + n * PAGE,
		.perm = VIO_PERM_RW, .type = VHU_IOTLB_UPDATE,
	};
	CHECK_EQ(vhu_sock_send(f.sock, &msg, 1000), 0);
	take_page(n);
	/* The answer to the second. */
	fe_expect(&f, VHOST_USER_IOTLB_MSG, 8);
}

TEST("vhost iotlb: who asks in vain asks again at the next kick", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	offer(0, buffer(0));
	fe_kick(&f, 0);
	CHECK(asked());
	CHECK(!asked());
	fe_kick(&f, 0);
	CHECK(asked());
	/* Told and taken away before it can look: that was no answer. */
	tell_and_take(3);
	CHECK_EQ(fe_used(&f, 0), 0);
	CHECK(asked());
	tell_page(3, VIO_PERM_RW);
	CHECK_EQ(fe_used(&f, 0), 1);
	/* With nobody to ask, the queue breaks. */
	vhu_sock_fini(&back);
	offer(0, IO(200));
	fe_kick(&f, 0);
	CHECK_GE(f.logs, 1);
	CHECK_EQ(f.ended, 0);
	fe_close(&f);
}

TEST("vhost iotlb: a request of more pages than are kept ends", "")
{
	unsigned n = 0;

	open_it();
	send_ring(0);
	tell_asked();
	offer(0, buffer(0));
	fe_kick(&f, 0);
	/* It takes away what it told before it is used. */
	while (!f.logs && n++ < 10000) {
		while (asked())
			;
		send_iotlb(VHU_IOTLB_UPDATE, IO(3), 1,
			   FE_USER + 3 * PAGE, VIO_PERM_RW);
		take_page(3);
		tell_page(70, VIO_PERM_RW);
		fe_kick(&f, 0);
	}
	CHECK_GE(f.logs, 1);
	CHECK_GT(n, 100);
	CHECK_LT(n, 10000);
	CHECK_EQ(f.ended, 0);
	close_it();
}

TEST("vhost iotlb: memory comes and goes, rings stay", "")
{
	struct vhu_mem_reg more = { 0, { 0x80000000, FE_MEM, 0x5000000, 0 } };

	open_it();
	send_ring(0);
	tell_asked();
	f.hold = true;
	offer(0, buffer(0));
	fe_kick(&f, 0);
	tell_asked();
	CHECK_EQ(fe_ask(&f, VHOST_USER_ADD_MEM_REG, &more, sizeof(more),
			&f.memfd, 1), 0);
	CHECK(is_running(0));
	CHECK_EQ(f.nr_held, 1);
	f.hold = false;
	offer(0, buffer(0));
	fe_kick(&f, 0);
	fe_release(&f);
	CHECK_EQ(fe_used(&f, 0), 2);
	CHECK_EQ(fe_ask(&f, VHOST_USER_REM_MEM_REG, &more, sizeof(more),
			NULL, 0), 0);
	offer(0, buffer(0));
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK(!asked());
	close_it();
}

TEST("vhost iotlb: the dirty log has guest-physical pages", "")
{
	int log = memfd_create("log", MFD_CLOEXEC);
	struct vhu_log_area area = { .size = 0x20000 };
	struct vhu_vring_addr a = {
		.index = 0, .flags = VHU_VRING_F_LOG, .desc = IO(0),
		.avail = IO(1), .used = IO(2), .log = IO(2),
	};
	unsigned char *bits;

	CHECK_EQ(ftruncate(log, area.size), 0);
	bits = mmap(NULL, area.size, PROT_READ | PROT_WRITE, MAP_SHARED, log,
		    0);
	open_it();
	send_ring(0);
	tell_asked();
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &area, sizeof(area), &log, 1);
	fe_expect(&f, VHOST_USER_SET_LOG_BASE, 8);
	fe_send_u64(&f, VHOST_USER_SET_FEATURES,
		    MODERN | PROTOCOL | PLATFORM | 1ull << VHOST_F_LOG_ALL);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	offer(0, buffer(0));
	fe_kick(&f, 0);
	tell_asked();
	CHECK_EQ(fe_used(&f, 0), 1);
	for (uint64_t p = 0; p < area.size * 8; p++) {
		uint64_t n = p - FE_GUEST / PAGE;

		if (!!(bits[p / 8] >> p % 8 & 1) != (n == 2 || n == 3))
			FAIL("page %llu of memory", (unsigned long long)n);
	}
	close_it();
	munmap(bits, area.size);
	close(log);
}

TEST("vhost iotlb: what was told ends with the rings", "")
{
	open_it();
	send_ring(0);
	tell_asked();
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
	/* QEMU tells nothing of what goes away in between. */
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, MODERN | PROTOCOL | PLATFORM);
	misses = 0;
	send_ring(0);
	CHECK(!is_running(0));
	tell_asked();
	CHECK_EQ(misses, 3);
	CHECK(is_running(0));
	close_it();
}
