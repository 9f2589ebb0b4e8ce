/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - a device behind an IOMMU (ACCESS_PLATFORM): a table of pages
 * stands between the addresses in the ring and memory. What is not mapped,
 * or not for this, breaks the queue; what the table says is not believed.
 */
#include "test/core/rig.h"
#include "vtest.h"

#define PAGE		0x1000u
#define PAGES		32
#define IO_BASE		RIG_LOW		/* rings are mapped one to one */
#define IO_PAGE(n)	(IO_BASE + (uint64_t)(n) * PAGE)

static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];
static struct vio_mem phys;
static struct { uint64_t phys; unsigned perm; } page[PAGES];
static unsigned translations;
static enum { HONEST, TOO_MUCH, NOTHING, LATER } table;
static bool known;		/* all that there is */
static unsigned served;
static struct vio_req *last;
static unsigned char got_bytes[2 * PAGE];
static uint32_t got_len;
static uint64_t dirty_at[8];
static unsigned dirtied;

static enum vio_translated translate(void *ctx, vio_addr io, uint64_t len,
				     unsigned perm, vio_addr *to,
				     uint64_t *got)
{
	uint64_t off = io.v - IO_BASE, room = PAGE - io.v % PAGE;

	CHECK(ctx == page);
	CHECK_GT(len, 0);
	translations++;
	if (table == LATER)
		return VIO_TRANSLATED_LATER;
	if (io.v < IO_BASE || off / PAGE >= PAGES ||
	    (page[off / PAGE].perm & perm) != perm)
		return known ? VIO_TRANSLATED_NOT : VIO_TRANSLATED_LATER;
	to->v = page[off / PAGE].phys + io.v % PAGE;
	*got = len < room ? len : room;
	if (table == TOO_MUCH)
		*got = UINT64_MAX;
	else if (table == NOTHING)
		*got = 0;
	return VIO_TRANSLATED;
}

static void on_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	(void)ctx;
	(void)len;
	if (dirtied < VIO_ARRAY_LEN(dirty_at))
		dirty_at[dirtied] = addr.v;
	dirtied++;
}

/* Reads all that is readable, fills all that is writable. */
static enum vio_service serve(struct vio_dev *d, struct vio_queue *q,
			      unsigned budget)
{
	(void)d;
	while (budget--) {
		struct vio_cursor c;

		last = vio_queue_pop(q);
		if (!last)
			return VIO_SERVICE_IDLE;
		served++;
		c = vio_req_reader(last);
		got_len = c.left;
		CHECK(vio_cursor_read(&c, got_bytes, c.left));
		c = vio_req_writer(last);
		CHECK(vio_cursor_zero(&c, c.left));
		vio_req_done(last);
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops ops = { .name = "t", .id = 4,
					.service = serve };

/* A map of I/O addresses; pages 0 and 1 are mapped to themselves. */
static void setup(void)
{
	served = translations = dirtied = 0;
	table = HONEST;
	known = true;
	memset(page, 0, sizeof(page));
	page[0].phys = IO_PAGE(0);
	page[1].phys = IO_PAGE(1);
	page[0].perm = page[1].perm = VIO_PERM_RW;
	rig_init(&r, queue, 1, 0);
	phys = r.mem;
	vio_mem_init_iommu(&r.mem, &phys, translate, page);
	vio_dev_init(&dev, &ops, &(struct vio_features){ { 0, 0 } }, queue, 1,
		     NULL, 0);
	vio_dev_behind_iommu(&dev);
}

static void start(void)
{
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1 |
				    1ull << VIRTIO_F_INDIRECT_DESC |
				    1ull << VIRTIO_F_ACCESS_PLATFORM, 0 } };

	rig_start_at(&r, &dev, &f, VIO_QUEUE_NEW_SPLIT);
	translations = 0;
}

static void map(unsigned n, uint64_t to, unsigned perm)
{
	page[n].phys = to;
	page[n].perm = perm;
}

TEST("ACCESS_PLATFORM is offered where there is an IOMMU, and only there",
     "core.device.reserved-feature-bits.3")
{
	setup();
	CHECK(vio_has(vio_dev_offered(&dev), VIRTIO_F_ACCESS_PLATFORM));
	start();
	CHECK(vio_dev_has(&dev, VIRTIO_F_ACCESS_PLATFORM));
	vio_dev_init(&dev, &ops, &(struct vio_features){ { 0, 0 } }, queue, 1,
		     NULL, 0);
	CHECK(!vio_has(vio_dev_offered(&dev), VIRTIO_F_ACCESS_PLATFORM));
}

TEST("a buffer over pages that lie apart", "")
{
	setup();
	map(4, RIG_HIGH + 2 * PAGE, VIO_PERM_READ);
	map(5, RIG_HIGH, VIO_PERM_READ);
	map(6, RIG_HIGH + 5 * PAGE, VIO_PERM_WRITE);
	map(7, RIG_HIGH + 3 * PAGE, VIO_PERM_WRITE);
	start();
	memset(rig_at(&r, RIG_HIGH + 3 * PAGE - 2), 'a', 2);
	memset(rig_at(&r, RIG_HIGH), 'b', 3);
	memset(rig_at(&r, RIG_HIGH + 6 * PAGE - 4), 'x', 4);
	memset(rig_at(&r, RIG_HIGH + 3 * PAGE), 'x', 4);
	rig_desc(&r, 0, IO_PAGE(5) - 2, 5, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, IO_PAGE(7) - 3, 6, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 1);
	CHECK_EQ(got_len, 5);
	CHECK_MEMEQ(got_bytes, "aabbb", 5);
	CHECK_EQ(translations, 4);
	CHECK_MEMEQ(rig_at(&r, RIG_HIGH + 6 * PAGE - 4), "x\0\0\0", 4);
	CHECK_MEMEQ(rig_at(&r, RIG_HIGH + 3 * PAGE), "\0\0\0x", 4);
}

TEST("an indirect table over pages that lie apart", "")
{
	setup();
	map(4, RIG_HIGH + 2 * PAGE, VIO_PERM_READ);
	map(5, RIG_HIGH, VIO_PERM_READ);
	start();
	memset(rig_at(&r, RIG_HIGH + 0x100), 'c', 4);
	/* An entry that is cut in the middle: written whole, then moved. */
	rig_indirect(&r, RIG_LOW + 0x1800, 0, IO_PAGE(5) + 0x100, 4, 0, 0);
	memcpy(rig_at(&r, RIG_HIGH + 3 * PAGE - 8),
	       rig_at(&r, RIG_LOW + 0x1800), 8);
	memcpy(rig_at(&r, RIG_HIGH), rig_at(&r, RIG_LOW + 0x1808), 8);
	rig_desc(&r, 0, IO_PAGE(5) - 8, 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(served, 1);
	CHECK_EQ(got_len, 4);
	CHECK_MEMEQ(got_bytes, "cccc", 4);
}

/* A buffer of 8 bytes at @io; does the queue break? */
static bool breaks(uint64_t io, uint16_t flags)
{
	start();
	rig_desc(&r, 0, io, 8, flags, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(served, !rig_broken(&r));
	return rig_broken(&r);
}

TEST("what is not mapped, or not for this, breaks the queue", "")
{
	static const struct {
		uint64_t io;
		uint16_t flags;
		bool breaks;
	} t[] = {
		{ IO_PAGE(4), 0, false },
		{ IO_PAGE(4), VIRTQ_DESC_F_WRITE, true },
		{ IO_PAGE(6), VIRTQ_DESC_F_WRITE, false },
		{ IO_PAGE(6), 0, true },
		{ IO_PAGE(9), 0, true },		/* no such page */
		{ IO_PAGE(5) - 4, 0, true },		/* its second half */
		{ RIG_HIGH, 0, true },			/* physical */
		{ IO_PAGE(8), 0, true },		/* leads nowhere */
		{ UINT64_MAX - 7, 0, true },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(t); i++) {
		setup();
		map(4, RIG_HIGH + PAGE, VIO_PERM_READ);
		map(6, RIG_HIGH + 2 * PAGE, VIO_PERM_WRITE);
		map(8, RIG_HIGH + RIG_LEN, VIO_PERM_RW);
		if (breaks(t[i].io, t[i].flags) != t[i].breaks)
			FAIL("case %u", i);
	}
}

/*
 * A chain whose pages become known one by one: each attempt ends at the next
 * one, and nothing has happened until all are there.
 */
static void one_by_one(const unsigned *n, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		CHECK_EQ(vio_queue_service(&queue[0], 8), VIO_SERVICE_WAIT);
		CHECK_EQ(served, 0);
		CHECK(!rig_broken(&r));
		CHECK_EQ(queue[0].inflight, 0);
		map(n[i], RIG_HIGH + n[i] * PAGE, VIO_PERM_RW);
	}
	CHECK_EQ(vio_queue_service(&queue[0], 8), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 1);
}

TEST("a translation that comes later: the queue waits, and goes on", "")
{
	static const unsigned all[] = { 5, 4, 6, 7 };

	setup();
	known = false;
	map(3, RIG_HIGH + 3 * PAGE, VIO_PERM_RW);
	start();
	/* Readable over 4 and 5 by a table in 5; writable over 6 and 7. */
	memset(rig_at(&r, RIG_HIGH + 4 * PAGE), 'd', PAGE);
	rig_indirect(&r, RIG_HIGH + 5 * PAGE, 0, IO_PAGE(5) - 4, 8, 1, 1);
	rig_indirect(&r, RIG_HIGH + 5 * PAGE, 1, IO_PAGE(7) - 4, 8,
		     VIRTQ_DESC_F_WRITE, 0);
	rig_desc(&r, 0, IO_PAGE(5), 32, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	one_by_one(all, VIO_ARRAY_LEN(all));
	CHECK_EQ(got_len, 8);
	CHECK_MEMEQ(got_bytes, "dddd", 4);
	/* Not to be had at all breaks it still. */
	known = true;
	rig_desc(&r, 1, IO_PAGE(9), 8, 0, 0);
	rig_avail(&r, 1);
	rig_kick(&r);
	CHECK(rig_broken(&r));
}

TEST("a translation that comes later: those before it are served", "")
{
	setup();
	known = false;
	map(4, RIG_HIGH, VIO_PERM_RW);
	start();
	rig_desc(&r, 0, IO_PAGE(4), 8, 0, 0);
	rig_desc(&r, 1, IO_PAGE(5), 8, 0, 0);
	rig_desc(&r, 2, IO_PAGE(4), 8, 0, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 1);
	rig_avail(&r, 2);
	CHECK_EQ(vio_queue_service(&queue[0], 8), VIO_SERVICE_WAIT);
	CHECK_EQ(served, 1);
	map(5, RIG_HIGH + PAGE, VIO_PERM_RW);
	CHECK_EQ(vio_queue_service(&queue[0], 8), VIO_SERVICE_IDLE);
	CHECK_EQ(served, 3);
}

TEST("a ring whose own place comes later starts later", "")
{
	struct vio_queue_layout l;

	setup();
	known = false;
	start();
	vio_queue_stop(&queue[0]);
	l = r.layout;
	l.desc.v = IO_PAGE(4);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &l, 0, 0), VIO_E_AGAIN);
	l.device.v = IO_PAGE(5);
	map(4, RIG_HIGH, VIO_PERM_RW);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &l, 0, 0), VIO_E_AGAIN);
	map(5, RIG_HIGH + PAGE, VIO_PERM_RW);
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &l, 0, 0), VIO_OK);
	vio_queue_stop(&queue[0]);
	l.driver.v = IO_PAGE(9);
	known = true;
	CHECK_EQ(vio_queue_start(&queue[0], &r.mem, &l, 0, 0), VIO_E_RANGE);
	/* Nothing keeps the map. */
	CHECK_EQ(r.mem.pins, 0);
}

TEST("an IOMMU that says too much or nothing is not believed", "")
{
	unsigned hint = 0;
	uint64_t got = 0;

	setup();
	map(4, RIG_HIGH + RIG_LEN - 4, VIO_PERM_RW);
	table = TOO_MUCH;
	CHECK(vio_mem_span(&r.mem, &hint, vio_addr_of(IO_PAGE(4)), 100,
			   VIO_PERM_READ, &got) == r.high + RIG_LEN - 4);
	CHECK_EQ(got, 4);	/* memory ends there */
	CHECK(vio_mem_span(&r.mem, &hint, vio_addr_of(IO_PAGE(4)), 3,
			   VIO_PERM_READ, &got) == r.high + RIG_LEN - 4);
	CHECK_EQ(got, 3);
	table = NOTHING;
	CHECK(!vio_mem_span(&r.mem, &hint, vio_addr_of(IO_PAGE(4)), 3,
			    VIO_PERM_READ, &got));
	CHECK(!vio_mem_span(&r.mem, &hint, vio_addr_of(IO_PAGE(4)), 0,
			    VIO_PERM_READ, &got));
}

TEST("a ring over pages: together, or not at all", "")
{
	unsigned hint = 0;

	setup();
	map(4, RIG_HIGH, VIO_PERM_RW);
	map(5, RIG_HIGH + PAGE, VIO_PERM_RW);
	map(6, RIG_HIGH + 3 * PAGE, VIO_PERM_RW);
	CHECK(vio_mem_at(&r.mem, &hint, vio_addr_of(IO_PAGE(4) + 8), 2 * PAGE
			 - 8, VIO_PERM_RW) == r.high + 8);
	CHECK(!vio_mem_at(&r.mem, &hint, vio_addr_of(IO_PAGE(4) + 8), 2 * PAGE,
			  VIO_PERM_RW));
	CHECK(!vio_mem_at(&r.mem, &hint, vio_addr_of(IO_PAGE(6)), 2 * PAGE,
			  VIO_PERM_RW));
}

TEST("the dirty log learns physical addresses", "")
{
	setup();
	phys.dirty = on_dirty;
	vio_mem_init_iommu(&r.mem, &phys, translate, page);
	map(4, RIG_HIGH + 2 * PAGE, VIO_PERM_WRITE);
	start();
	dirtied = 0;
	rig_desc(&r, 0, IO_PAGE(4) + 0x20, 4, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK_EQ(served, 1);
	for (unsigned i = 0; i < dirtied && i < VIO_ARRAY_LEN(dirty_at); i++)
		if (dirty_at[i] == RIG_HIGH + 2 * PAGE + 0x20)
			return;
	FAIL("the write is not in the log");
}
