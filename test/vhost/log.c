/* SPDX-License-Identifier: MIT */
/*
 * The dirty log: what the device wrote is what is marked, page for page, in
 * both formats, with whatever is in flight when logging begins.
 *
 * A page counts as written when its bytes differ from a copy that was made
 * before the device had its turn; the device fills buffers with bytes that
 * never repeat in a row.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

static struct fe f;
static unsigned char before[FE_MEM];
static unsigned char *bits;	/* the log, as the front end has it */
static int log_fd;

#define BIT(n)		(1ull << (n))
#define PROTOCOL	BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define LOG_ALL		BIT(VHOST_F_LOG_ALL)
#define SPLIT		(BIT(VIRTIO_F_VERSION_1) | PROTOCOL | \
			 BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX))
#define PACKED		(SPLIT | BIT(VIRTIO_F_RING_PACKED))
#define WANTED		(VHU_PF(LOG_SHMFD) | VHU_PF(REPLY_ACK) | \
			 VHU_PF(INFLIGHT_SHMFD) | VHU_PF(CONFIGURE_MEM_SLOTS))

#define PAGES		(FE_MEM / 4096)
#define FIRST_PAGE	(FE_GUEST / 4096)
/* Enough for all memory, and a page behind it. */
#define LOG_LEN		(FIRST_PAGE / 8 + PAGES / 8 + 8)
#define LOG_OFFSET	64	/* where it begins in its file */

/* Requests that the device does in one go. */
#define ROUND		8u

/* Buffers lie behind the rings. */
#define BUFS		0x40000u

static void open_log(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(log_fd, LOG_OFFSET + LOG_LEN), 0);
	bits = mmap(NULL, LOG_OFFSET + LOG_LEN, PROT_READ | PROT_WRITE,
		    MAP_SHARED, log_fd, 0);
	CHECK(bits != MAP_FAILED);
}

static void close_log(void)
{
	munmap(bits, LOG_OFFSET + LOG_LEN);
	close(log_fd);
}

static void send_log(uint64_t len)
{
	struct vhu_log_area a = { len, LOG_OFFSET };

	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &a, sizeof(a), &log_fd, 1);
	fe_expect(&f, VHOST_USER_SET_LOG_BASE, 8);
	CHECK_EQ(f.in.in.p.u64, 0);
}

static bool is_marked(uint64_t page)
{
	return bits[LOG_OFFSET + page / 8] >> page % 8 & 1;
}

/* From here on, what the device writes is seen. */
static void look(void)
{
	memset(bits, 0, LOG_OFFSET + LOG_LEN);
	memcpy(before, f.mem, FE_MEM);
}

/*
 * All that changed is marked, and nothing else is, but for the words of the
 * ring, which may be written again as they were. How many pages changed.
 */
static unsigned compare(void)
{
	unsigned marked = 0;

	for (uint64_t p = 0; p < LOG_LEN * 8; p++) {
		bool mine = p >= FIRST_PAGE && p < FIRST_PAGE + PAGES;
		size_t at = (p - FIRST_PAGE) * 4096;
		bool changed = mine && memcmp(before + at, f.mem + at, 4096);

		if (changed != is_marked(p) &&
		    (changed || p != FIRST_PAGE + 2))
			FAIL("page %#llx is %s and %s", (unsigned long long)p,
			     changed ? "written" : "not written",
			     is_marked(p) ? "marked" : "not marked");
		marked += changed;
	}
	return marked;
}

static void set_features(uint64_t features)
{
	fe_send_u64(&f, VHOST_USER_SET_FEATURES, features);
	CHECK_EQ(f.ended, 0);
}

static void send_addr_at(uint64_t log, uint32_t flags)
{
	struct vhu_vring_addr a = {
		.flags = flags, .desc = FE_USER, .avail = FE_USER + 0x1000,
		.used = FE_USER + 0x2000, .log = log,
	};

	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	CHECK_EQ(f.ended, 0);
}

/* As QEMU begins: the log, the features, each ring's address again. */
static void begin(uint64_t features)
{
	send_log(LOG_LEN);
	set_features(features | LOG_ALL);
	send_addr_at(FE_GUEST + 0x2000, VHU_VRING_F_LOG);
}

static void start(uint64_t features)
{
	fe_open(&f);
	f.fill = true;
	open_log();
	fe_negotiate(&f, WANTED, features);
	fe_send_memory(&f);
	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0,
		      features == PACKED ? 0x80008000 : 0);
	send_addr_at(0, 0);
	fe_send_kick_fd(&f, 0);
	fe_send_call_fd(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	CHECK_EQ(f.ended, 0);
}

static void finish(void)
{
	fe_close(&f);
	close_log();
}

/* -- drivers --------------------------------------------------------------- */

struct piece {
	uint32_t at;
	uint32_t len;
};

static uint16_t next;		/* entries offered, ever */

/* A buffer to write on, in pieces: an indirect table. */
static struct virtq_desc indirect(const struct piece *p, unsigned nr,
				  bool packed)
{
	uint32_t at = 0x10000 + next % FE_RING * 256u;

	for (unsigned i = 0; i < nr; i++) {
		struct virtq_desc d = {
			.addr = vio_to_le64(FE_GUEST + p[i].at),
			.len = vio_to_le32(p[i].len),
			.flags = vio_to_le16(VIRTQ_DESC_F_WRITE |
				(i + 1 < nr && !packed ? VIRTQ_DESC_F_NEXT :
							 0)),
			.next = vio_to_le16((uint16_t)(i + 1)),
		};

		/* A packed one has the id where next is, and no chain. */
		if (packed) {
			d.next = d.flags;
			d.flags = vio_to_le16(0);
		}
		memcpy(f.mem + at + i * 16, &d, sizeof(d));
	}
	return (struct virtq_desc){
		.addr = vio_to_le64(FE_GUEST + at),
		.len = vio_to_le32(nr * 16),
		.flags = vio_to_le16(VIRTQ_DESC_F_INDIRECT),
	};
}

static void offer_split(struct virtq_desc d)
{
	uint16_t slot = next % FE_RING;
	uint16_t *avail = (void *)(f.mem + 0x1000);

	memcpy(f.mem + slot * 16u, &d, sizeof(d));
	avail[2 + slot] = slot;
	next++;
	__atomic_store_n(&avail[1], next, __ATOMIC_RELEASE);
}

static void offer_packed(struct virtq_desc d)
{
	uint16_t slot = next % FE_RING;
	bool wrap = next / FE_RING % 2 == 0;
	uint16_t flags = vio_from_le16(d.flags) |
		(wrap ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
	struct pvirtq_desc e = {
		.addr = d.addr, .len = d.len, .id = vio_to_le16(slot),
		.flags = vio_to_le16(flags),
	};

	next++;
	memcpy(f.mem + slot * 16u, &e, sizeof(e));
}

/* Offer @nr pieces as one buffer. */
static void offer(uint64_t features, const struct piece *p, unsigned nr)
{
	struct virtq_desc d = {
		.addr = vio_to_le64(FE_GUEST + p->at),
		.len = vio_to_le32(p->len),
		.flags = vio_to_le16(VIRTQ_DESC_F_WRITE),
	};

	if (nr > 1)
		d = indirect(p, nr, features == PACKED);
	if (features == PACKED)
		offer_packed(d);
	else
		offer_split(d);
}

/* A buffer of pieces of random places and lengths, none twice in a round. */
static void offer_random(uint64_t features, uint32_t *seed, unsigned i)
{
	struct piece p[3];
	unsigned nr;

	*seed = *seed * 1664525u + 1013904223u;
	nr = 1 + *seed % 3;
	for (unsigned k = 0; k < nr; k++) {
		*seed = *seed * 1664525u + 1013904223u;
		p[k].at = BUFS + (i * 3 + k) * 0x3000 + *seed % 0x1800;
		p[k].len = 1 + (*seed >> 8) % 0x1800;
	}
	offer(features, p, nr);
}

static const uint64_t formats[] = { SPLIT, PACKED };

TEST("vhost log: the marks are what was written, page for page", "")
{
	uint32_t seed = (uint32_t)vtest_seed();

	for (unsigned format = 0; format < 2; format++) {
		uint64_t already;

		next = 0;
		start(formats[format]);
		already = f.queue[0].stats.requests;
		begin(formats[format]);
		for (unsigned round = 0; round < 20; round++) {
			for (unsigned i = 0; i < ROUND; i++)
				offer_random(formats[format], &seed, i);
			look();
			fe_kick(&f, 0);
			CHECK_EQ(f.queue[0].stats.requests - already, next);
			CHECK_GE(compare(), ROUND);
		}
		finish();
	}
}

TEST("vhost log: requests that were taken before it began are in it", "")
{
	struct piece p = { BUFS + 0x800, 0x2000 };

	for (unsigned format = 0; format < 2; format++) {
		next = 0;
		start(formats[format]);
		f.hold = true;
		offer(formats[format], &p, 1);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 1);
		/* They keep an older map of memory, too. */
		fe_send_memory(&f);
		begin(formats[format]);
		look();
		fe_release(&f);
		CHECK_GE(compare(), 4);
		finish();
	}
}

/* As when memory is plugged while a guest moves. */
TEST("vhost log: a longer one takes its place while a request is under way",
     "")
{
	struct piece p = { BUFS + 0x800, 0x2000 };

	for (unsigned format = 0; format < 2; format++) {
		unsigned char *old;
		int old_fd;

		next = 0;
		start(formats[format]);
		begin(formats[format]);
		f.hold = true;
		offer(formats[format], &p, 1);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 1);
		old = bits;
		old_fd = log_fd;
		open_log();
		memset(old, 0, LOG_OFFSET + LOG_LEN);
		send_log(LOG_LEN);
		look();
		fe_release(&f);
		CHECK_GE(compare(), 4);
		for (unsigned i = 0; i < LOG_LEN; i++)
			CHECK_EQ(old[LOG_OFFSET + i], 0);
		munmap(old, LOG_OFFSET + LOG_LEN);
		close(old_fd);
		finish();
	}
}

TEST("vhost log: a stop that waits for requests is answered when all stands",
     "")
{
	struct piece p = { BUFS + 0x800, 0x2000 };

	for (unsigned format = 0; format < 2; format++) {
		next = 0;
		start(formats[format]);
		begin(formats[format]);
		f.hold = true;
		offer(formats[format], &p, 1);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 1);
		look();
		fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
		fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
		CHECK_EQ(f.nr_held, 0);
		CHECK_GE(compare(), 4);
		finish();
	}
}

TEST("vhost log: it ends, and begins again", "")
{
	struct piece p = { BUFS, 0x1001 };

	next = 0;
	start(SPLIT);
	for (int i = 0; i < 3; i++) {
		begin(SPLIT);
		offer(SPLIT, &p, 1);
		look();
		fe_kick(&f, 0);
		CHECK_EQ(compare(), 3);
		set_features(SPLIT);
		offer(SPLIT, &p, 1);
		look();
		fe_kick(&f, 0);
		for (unsigned b = 0; b < LOG_LEN; b++)
			CHECK_EQ(bits[LOG_OFFSET + b], 0);
	}
	/* The driver's ring went on all the while. */
	CHECK_EQ(next, 6);
	CHECK_EQ(*(uint16_t *)(void *)(f.mem + 0x2002), 6);
	CHECK_EQ(f.resets, 0);
	finish();
}

TEST("vhost log: the used ring is marked where the front end says", "")
{
	struct piece p = { BUFS, 1 };

	next = 0;
	start(SPLIT);
	begin(SPLIT);
	/* Behind memory: only the log has to reach there. */
	send_addr_at(FE_GUEST + FE_MEM, VHU_VRING_F_LOG);
	offer(SPLIT, &p, 1);
	look();
	fe_kick(&f, 0);
	CHECK(is_marked(FIRST_PAGE + BUFS / 4096));
	CHECK(!is_marked(FIRST_PAGE + 2));
	CHECK(is_marked(FIRST_PAGE + PAGES));
	/* Nowhere. */
	send_addr_at(0, 0);
	offer(SPLIT, &p, 1);
	look();
	fe_kick(&f, 0);
	CHECK(is_marked(FIRST_PAGE + BUFS / 4096));
	CHECK(!is_marked(FIRST_PAGE + 2));
	CHECK(!is_marked(FIRST_PAGE + PAGES));
	finish();
}

TEST("vhost log: what a dead device left is done again, and marked", "")
{
	struct vhu_inflight in = { 16384, FE_MEM - 16384, 1, FE_RING };
	struct piece p = { BUFS + 0x100, 0x1f00 };

	for (unsigned format = 0; format < 2; format++) {
		static unsigned char dead[FE_MEM];

		next = 0;
		start(formats[format]);
		/* The record is handed over before the ring starts. */
		fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
		fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_INFLIGHT_FD, &in, 20,
				&f.memfd, 1), 0);
		fe_send_kick_fd(&f, 0);
		f.hold = true;
		for (int i = 0; i < 3; i++, p.at += 0x2000)
			offer(formats[format], &p, 1);
		fe_kick(&f, 0);
		CHECK_EQ(f.nr_held, 3);
		memcpy(dead, f.mem, FE_MEM);
		fe_release(&f);
		fe_reopen(&f);
		memcpy(f.mem, dead, FE_MEM);
		fe_negotiate(&f, WANTED, formats[format] | LOG_ALL);
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_INFLIGHT_FD, &in, 20,
				&f.memfd, 1), 0);
		fe_send_memory(&f);
		send_log(LOG_LEN);
		look();
		fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
		fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0,
			      format ? 0x80008000 : 0);
		send_addr_at(FE_GUEST + 0x2000, VHU_VRING_F_LOG);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		fe_send_kick_fd(&f, 0);
		CHECK_EQ(f.nr_held, 3);
		fe_release(&f);
		/* The record is the front end's business, not the log's. */
		memcpy(before + FE_MEM - 16384, f.mem + FE_MEM - 16384, 16384);
		CHECK_GE(compare(), 6);
		f.hold = false;
		finish();
	}
}

TEST("vhost log: a log that is too short is never overrun", "")
{
	struct piece p = { BUFS, 0x3000 };

	next = 0;
	start(SPLIT);
	begin(SPLIT);
	/* It ends in the middle of the buffer. */
	send_log(FIRST_PAGE / 8 + BUFS / 4096 / 8);
	offer(SPLIT, &p, 1);
	look();
	fe_kick(&f, 0);
	CHECK_EQ(f.logs, 1);
	for (unsigned i = FIRST_PAGE / 8 + BUFS / 4096 / 8; i < LOG_LEN; i++)
		CHECK_EQ(bits[LOG_OFFSET + i], 0);
	CHECK(is_marked(FIRST_PAGE + 2));
	offer(SPLIT, &p, 1);
	fe_kick(&f, 0);
	CHECK_EQ(f.logs, 1);
	finish();
}

TEST("vhost log: the front end is told that something was marked", "")
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct piece p = { BUFS, 1 };
	uint64_t n;

	next = 0;
	start(SPLIT);
	begin(SPLIT);
	fe_send(&f, VHOST_USER_SET_LOG_FD, 0, NULL, 0, &event, 1);
	CHECK_EQ(f.ended, 0);
	CHECK_LT(read(event, &n, 8), 0);
	offer(SPLIT, &p, 1);
	fe_kick(&f, 0);
	CHECK_EQ(read(event, &n, 8), 8);
	CHECK_GE(n, 1);
	/* Another takes its place; none is no fault. */
	fe_send(&f, VHOST_USER_SET_LOG_FD, 0, NULL, 0, NULL, 0);
	offer(SPLIT, &p, 1);
	fe_kick(&f, 0);
	CHECK_LT(read(event, &n, 8), 0);
	close(event);
	finish();
}

TEST("vhost log: a log that is not there is refused", "")
{
	static const struct vhu_log_area bad[] = {
		{ 0, 0 }, { LOG_OFFSET + LOG_LEN + 1, 0 },
		{ 1, LOG_OFFSET + LOG_LEN }, { UINT64_MAX, 1 },
		{ 1, UINT64_MAX },
	};
	int fds = fe_open_fds();

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		start(SPLIT);
		fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &bad[i],
			sizeof(bad[i]), &log_fd, 1);
		CHECK_EQ(f.ended, -EINVAL);
		CHECK_EQ(f.logs, 1);
		finish();
	}
	/* Without a descriptor, without a place in it, not a file. */
	start(SPLIT);
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &bad[0], 16, NULL, 0);
	CHECK_EQ(f.ended, -EINVAL);
	finish();
	start(SPLIT);
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &bad[2], 8, &log_fd, 1);
	CHECK_EQ(f.ended, -EINVAL);
	finish();
	start(SPLIT);
	fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &bad[2], 16,
		&f.q[0].call_fd, 1);
	CHECK_EQ(f.ended, -EINVAL);
	finish();
	CHECK_EQ(fe_open_fds(), fds);
}
