/* SPDX-License-Identifier: MIT */
/* mem.c - guest memory: translation at every edge, pins, the dirty log. */
#include <vireo/mem.h>
#include "vtest.h"

static unsigned char a[64], b[64], top[16];

static const struct vio_region regions[] = {
	{ { 0x1000 }, 64, a, 0x500000, VIO_PERM_RW },
	{ { 0x1040 }, 64, b, 0x600000, VIO_PERM_READ },
	{ { UINT64_MAX - 15 }, 16, top, 0x700000, VIO_PERM_RW },
};

static struct vio_mem make(void)
{
	struct vio_mem mem;

	CHECK_EQ(vio_mem_init(&mem, regions, 3), VIO_OK);
	return mem;
}

TEST("a map that makes no sense is refused", "")
{
	const struct vio_region empty = { { 0 }, 0, a, 0, VIO_PERM_RW };
	const struct vio_region wraps = { { UINT64_MAX }, 2, a, 0, 3 };
	const struct vio_region overlap[] = {
		{ { 0 }, 64, a, 0, 3 }, { { 63 }, 64, b, 0, 3 } };
	const struct vio_region order[] = {
		{ { 64 }, 64, a, 0, 3 }, { { 0 }, 64, b, 0, 3 } };
	struct vio_mem mem;

	CHECK_EQ(vio_mem_init(&mem, &empty, 1), VIO_E_INVAL);
	CHECK_EQ(vio_mem_init(&mem, &wraps, 1), VIO_E_INVAL);
	CHECK_EQ(vio_mem_init(&mem, overlap, 2), VIO_E_INVAL);
	CHECK_EQ(vio_mem_init(&mem, order, 2), VIO_E_INVAL);
	CHECK_EQ(vio_mem_init(&mem, NULL, 0), VIO_OK);
}

TEST("a translation stays inside one region", "")
{
	struct vio_mem mem = make();
	unsigned hint = 0;
	uint64_t got;

	CHECK(vio_mem_at(&mem, &hint, vio_addr_of(0x1000), 64, 3) == a);
	CHECK(vio_mem_at(&mem, &hint, vio_addr_of(0x103f), 1, 3) == a + 63);
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x103f), 2, 1));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0xfff), 1, 1));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x1080), 1, 1));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x1000), UINT64_MAX, 1));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x1000), 0, 1));
	CHECK(vio_mem_span(&mem, &hint, vio_addr_of(0x1030), 32, 1, &got) ==
	      a + 48);
	CHECK_EQ(got, 16);
}

TEST("a region may end where the address space ends", "")
{
	struct vio_mem mem = make();
	unsigned hint = 2;

	CHECK(vio_mem_at(&mem, &hint, vio_addr_of(UINT64_MAX), 1, 3) ==
	      top + 15);
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(UINT64_MAX), 2, 3));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0), 1, 3));
}

TEST("permissions are those of the region", "")
{
	struct vio_mem mem = make();
	unsigned hint = 0;

	CHECK(vio_mem_at(&mem, &hint, vio_addr_of(0x1040), 64, 1) == b);
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x1040), 64, 2));
	CHECK(!vio_mem_at(&mem, &hint, vio_addr_of(0x1040), 64, 3));
}

TEST("any hint gives the same answer", "")
{
	struct vio_mem mem = make();

	for (unsigned h = 0; h < 5; h++) {
		unsigned hint = h;

		CHECK(vio_mem_at(&mem, &hint, vio_addr_of(0x1044), 4, 1) ==
		      b + 4);
		CHECK_EQ(hint, 1);
	}
}

TEST("user addresses and host pointers lead back to guest addresses", "")
{
	struct vio_mem mem = make();
	vio_addr addr;

	CHECK(vio_mem_from_user(&mem, 0x600010, 48, &addr));
	CHECK_EQ(addr.v, 0x1050);
	CHECK(!vio_mem_from_user(&mem, 0x600010, 49, &addr));
	CHECK(!vio_mem_from_user(&mem, 0x4fffff, 1, &addr));
	CHECK(vio_mem_addr_of(&mem, b + 1, &addr));
	CHECK_EQ(addr.v, 0x1041);
	CHECK(!vio_mem_addr_of(&mem, &mem, &addr));
}

static unsigned gone;

static void on_gone(struct vio_mem *mem)
{
	(void)mem;
	gone++;
}

TEST("the last pin lets go, once", "")
{
	struct vio_mem mem = make();

	gone = 0;
	mem.unpinned = on_gone;
	vio_mem_pin(&mem);
	vio_mem_pin(&mem);
	vio_mem_unpin(&mem);
	CHECK_EQ(gone, 0);
	vio_mem_unpin(&mem);
	CHECK_EQ(gone, 1);
}

static uint64_t dirty_addr, dirty_len;

static void on_dirty(void *ctx, vio_addr addr, uint64_t len)
{
	(void)ctx;
	dirty_addr = addr.v;
	dirty_len = len;
}

TEST("a write is logged under its guest address", "")
{
	struct vio_mem mem = make();

	vio_mem_wrote(&mem, a + 3, 5);	/* no log: nothing happens */
	mem.dirty = on_dirty;
	vio_mem_wrote(&mem, a + 3, 5);
	CHECK_EQ(dirty_addr, 0x1003);
	CHECK_EQ(dirty_len, 5);
}
