/* SPDX-License-Identifier: MIT */
/* The front end's memory: tables, slots, mistakes, changes under way. */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

static struct fe f;

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define PAGE		4096ull

static unsigned regions(void)
{
	struct vhu_info info;

	vhu_server_info(f.s, &info);
	return info.mem_regions;
}

static void open_slots(void)
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(REPLY_ACK) | VHU_PF(CONFIGURE_MEM_SLOTS),
		     MODERN | PROTOCOL);
}

static uint64_t add(uint64_t guest, uint64_t size, uint64_t user,
		    uint64_t offset, int fd)
{
	struct vhu_mem_reg r = { 0, { guest, size, user, offset } };

	return fe_ask(&f, VHOST_USER_ADD_MEM_REG, &r, sizeof(r), &fd,
		      fd >= 0 ? 1 : 0);
}

static uint64_t rem(uint64_t guest, uint64_t size, uint64_t user)
{
	struct vhu_mem_reg r = { 0, { guest, size, user, 77 } };

	return fe_ask(&f, VHOST_USER_REM_MEM_REG, &r, sizeof(r), NULL, 0);
}

static void run_one(unsigned q)
{
	fe_offer(&f, q);
	fe_kick(&f, q);
	CHECK_EQ(fe_used(&f, q), 1);
}

TEST("vhost memory: 509 slots and more come and go, one by one", "")
{
	int before = fe_open_fds();
	unsigned n = 0;

	open_slots();
	/* From the top down, to see them sorted. */
	for (unsigned i = 512; i-- > 0; n++)
		CHECK_EQ(add(FE_GUEST + i * PAGE, PAGE, FE_USER + i * PAGE,
			     i % 256 * PAGE, f.memfd), 0);
	CHECK_EQ(regions(), 512);
	CHECK_EQ(f.guarded, 512);
	CHECK_EQ(f.told, 512);
	CHECK_NE(add(0, PAGE, 0x1000, 0, f.memfd), 0);
	CHECK_EQ(regions(), 512);
	CHECK_EQ(f.ended, 0);
	for (unsigned i = 0; i < 512; i++)
		CHECK_EQ(rem(FE_GUEST + i * PAGE, PAGE, FE_USER + i * PAGE),
			 0);
	CHECK_EQ(regions(), 0);
	CHECK_EQ(f.guarded, 0);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost memory: a region to remove is known by all its numbers", "")
{
	struct vhu_mem_reg r = { 0, { FE_GUEST, PAGE, FE_USER, 0 } };

	open_slots();
	CHECK_EQ(add(FE_GUEST, PAGE, FE_USER, 0, f.memfd), 0);
	CHECK_NE(rem(FE_GUEST + PAGE, PAGE, FE_USER), 0);
	CHECK_NE(rem(FE_GUEST, 2 * PAGE, FE_USER), 0);
	CHECK_NE(rem(FE_GUEST, PAGE, FE_USER + 1), 0);
	CHECK_EQ(regions(), 1);
	/* Some send a descriptor along; it is closed. */
	CHECK_EQ(fe_ask(&f, VHOST_USER_REM_MEM_REG, &r, sizeof(r), &f.memfd,
			1), 0);
	CHECK_EQ(regions(), 0);
	fe_close(&f);
}

TEST("vhost memory: a region that is there already may be added again, from the same file",
     "")
{
	int before = fe_open_fds(), other;

	open_slots();
	other = memfd_create("other", 0);
	CHECK_EQ(ftruncate(other, FE_MEM), 0);
	CHECK_EQ(add(FE_GUEST, PAGE, FE_USER, 0, f.memfd), 0);
	CHECK_EQ(add(FE_GUEST + PAGE, PAGE, FE_USER + PAGE, PAGE, f.memfd),
		 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(add(FE_GUEST + PAGE, PAGE, FE_USER + PAGE, PAGE,
			     f.memfd), 0);
	CHECK_EQ(regions(), 2);
	CHECK_EQ(f.guarded, 2);
	CHECK_EQ(f.logs, 0);
	CHECK_NE(add(FE_GUEST, PAGE, FE_USER, 0, other), 0);
	CHECK_NE(add(FE_GUEST, PAGE, FE_USER, PAGE, f.memfd), 0);
	CHECK_NE(add(FE_GUEST, PAGE, FE_USER, 0, -1), 0);
	CHECK_EQ(regions(), 2);
	CHECK_EQ(rem(FE_GUEST, PAGE, FE_USER), 0);
	CHECK_EQ(regions(), 1);
	close(other);
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), before);
}

/* guest, size, user, offset */
static const struct {
	struct vhu_region r;
	const char *why;
} bad[] = {
	{ { FE_GUEST + 0x10000, 0, FE_USER + 0x10000, 0 }, "empty" },
	{ { UINT64_MAX - PAGE + 2, PAGE, 1, 0 }, "guest address wraps" },
	{ { 0, PAGE, UINT64_MAX - PAGE + 2, 0 }, "user address wraps" },
	{ { 0, PAGE, 1, FE_MEM }, "begins at the end of the file" },
	{ { 0, PAGE, 1, FE_MEM - 1 }, "runs past the end of the file" },
	{ { 0, FE_MEM + 1, 1, 0 }, "longer than the file" },
	{ { 0, PAGE, 1, UINT64_MAX - 1 }, "offset is negative" },
	{ { 0, UINT64_MAX, 1, 0 }, "size is negative" },
	{ { 0, INT64_MAX, 1, INT64_MAX }, "offset + size overflows" },
	{ { FE_GUEST, PAGE, 1, 0 }, "is there already" },
	{ { FE_GUEST + 2 * PAGE - 1, PAGE, 1, 0 }, "overlaps the end" },
	{ { FE_GUEST - PAGE + 1, PAGE, 1, 0 }, "overlaps the beginning" },
};

TEST("vhost memory: impossible regions are refused, one by one", "")
{
	open_slots();
	CHECK_EQ(add(FE_GUEST, 2 * PAGE, FE_USER, 0, f.memfd), 0);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		const struct vhu_region *r = &bad[i].r;
		unsigned logs = f.logs;

		if (!add(r->guest_addr, r->size, r->user_addr, r->mmap_offset,
			 f.memfd))
			FAIL("accepted a region that %s", bad[i].why);
		CHECK_EQ(f.logs, logs + 1);
		CHECK_EQ(regions(), 1);
		CHECK_EQ(f.guarded, 1);
	}
	/* The last byte of the address space is memory like any other. */
	CHECK_EQ(add(UINT64_MAX - PAGE + 1, PAGE, FE_USER + FE_MEM, 0,
		     f.memfd), 0);
	fe_close(&f);
}

TEST("vhost memory: no descriptor: the log names the cure", "")
{
	struct vhu_mem_table t = {
		.nr = 1,
		.region[0] = { FE_GUEST, FE_MEM, FE_USER, 0 },
	};

	open_slots();
	CHECK_NE(add(FE_GUEST, PAGE, FE_USER, 0, -1), 0);
	CHECK(strstr(f.log, "memory-backend-memfd") != NULL);
	CHECK(strstr(f.log, "share=on") != NULL);
	f.log[0] = 0;
	fe_send(&f, VHOST_USER_SET_MEM_TABLE, 0, &t, 40, NULL, 0);
	CHECK(strstr(f.log, "share=on") != NULL);
	CHECK_EQ(f.ended, -EBADF);
	fe_close(&f);
}

TEST("vhost memory: rings but no memory at all: the same", "")
{
	uint64_t pf = VHU_PF(REPLY_ACK) | VHU_PF(CONFIGURE_MEM_SLOTS) |
		VHU_PF(STATUS);

	/* QEMU with memory slots leaves out what is not shared. */
	fe_open(&f);
	fe_negotiate(&f, pf, MODERN | PROTOCOL);
	fe_send_ring(&f, 0);
	fe_send_ring(&f, 1);
	CHECK_EQ(f.logs, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 1, 1);
	CHECK_EQ(f.logs, 1);
	CHECK(strstr(f.log, "share=on") != NULL);
	CHECK_EQ(f.ended, 0);
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 15);
	CHECK_EQ(f.ended, -ENXIO);
	CHECK_EQ(f.logs, 1);
	fe_close(&f);
}

TEST("vhost memory: something that cannot be mapped is refused", "")
{
	int p[2];

	open_slots();
	CHECK_EQ(pipe(p), 0);
	CHECK_NE(add(FE_GUEST, PAGE, FE_USER, 0, p[0]), 0);
	close(p[0]);
	close(p[1]);
	CHECK_EQ(f.guarded, 0);
	fe_close(&f);
}

TEST("vhost memory: offsets need no page alignment", "")
{
	struct vhu_mem_table t = {
		.nr = 2,
		.region[0] = { FE_GUEST + 100, FE_MEM - 100, FE_USER + 100,
			       100 },
		.region[1] = { FE_GUEST, 100, FE_USER, 0 },
	};
	int fd[2] = { f.memfd, f.memfd };

	fe_open(&f);
	fd[0] = fd[1] = f.memfd;
	fe_negotiate(&f, 0, MODERN);
	fe_send(&f, VHOST_USER_SET_MEM_TABLE, 0, &t, 8 + 64, fd, 2);
	CHECK_EQ(f.ended, 0);
	/* Queue 1 lies behind the odd boundary, queue 0 across it. */
	fe_send_ring(&f, 1);
	run_one(1);
	fe_send_ring(&f, 0);
	CHECK_EQ(f.ended, -EINVAL);
	CHECK(strstr(f.log, "memory that was shared") != NULL);
	fe_close(&f);
}

/* A file of two huge pages, if some are free. */
static int make_huge(size_t len)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)len))
		SKIP("no hugetlbfs");
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		SKIP("no huge pages are free");
	}
	munmap(p, len);
	return fd;
}

/* How many mappings are there of that file? */
static unsigned mappings_of(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned n = 0;

	CHECK(maps != NULL);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, name) != NULL;
	fclose(maps);
	return n;
}

TEST("vhost memory: huge pages, at offsets that are no multiple of them", "")
{
	const size_t len = 4u << 20;
	int fd = make_huge(len);

	open_slots();
	CHECK_EQ(add(FE_GUEST, PAGE, FE_USER, 0, fd), 0);
	CHECK_EQ(add(FE_GUEST + PAGE, PAGE, FE_USER + PAGE, PAGE, fd), 0);
	CHECK_EQ(add(FE_GUEST + len, len / 2, FE_USER + len, len / 2, fd), 0);
	CHECK_NE(add(0, PAGE, 0, len, fd), 0);
	fe_close(&f);
	close(fd);
	CHECK_EQ(mappings_of("memfd:huge"), 0);
}

TEST("vhost memory: a log and a record in huge pages, whole and again", "")
{
	const struct vhu_log_area log[] = { { PAGE, 0 }, { PAGE, 3 * PAGE } };
	const struct vhu_inflight in = { PAGE, 5 * PAGE, 1, FE_RING };
	int fd = make_huge(4u << 20);

	fe_open(&f);
	fe_negotiate(&f, VHU_PF(REPLY_ACK) | VHU_PF(LOG_SHMFD) |
		     VHU_PF(INFLIGHT_SHMFD), MODERN | PROTOCOL);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_LOG_BASE, &log[i % 2],
				sizeof(log[0]), &fd, 1), 0);
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_INFLIGHT_FD, &in,
				sizeof(in), &fd, 1), 0);
		CHECK_EQ(mappings_of("memfd:huge"), 2);
	}
	fe_close(&f);
	close(fd);
	CHECK_EQ(mappings_of("memfd:huge"), 0);
}

TEST("vhost memory: a read-only region can be read, not written", "")
{
	char path[64];
	int ro;

	open_slots();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f.memfd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_GE(ro, 0);
	CHECK_EQ(add(FE_GUEST, FE_MEM, FE_USER, 0, ro), 0);
	close(ro);
	/* The used ring would have to be written. */
	fe_send_ring(&f, 0);
	CHECK_NE(f.ended, 0);
	fe_close(&f);
}

TEST("vhost memory: the table's length and descriptors must agree", "")
{
	struct vhu_mem_table t = { .nr = 2 };
	int fd[2];

	for (unsigned i = 0; i < 2; i++)
		t.region[i] = (struct vhu_region){ FE_GUEST + i * PAGE, PAGE,
						   FE_USER + i * PAGE, 0 };
	open_slots();
	fd[0] = fd[1] = f.memfd;
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, fd, 2), 0);
	CHECK_EQ(regions(), 2);
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8 + 63, fd, 2), 0);
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, fd, 1), 0);
	t.nr = VHU_TABLE_REGIONS + 1;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, fd, 2), 0);
	t.nr = UINT32_MAX;
	CHECK_NE(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, fd, 2), 0);
	CHECK_EQ(regions(), 2);
	/* An empty table takes all memory away. */
	t.nr = 0;
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, &t, 8, NULL, 0), 0);
	CHECK_EQ(regions(), 0);
	fe_close(&f);
}

TEST("vhost memory: added and removed while a ring runs", "")
{
	open_slots();
	CHECK_EQ(add(FE_GUEST, FE_MEM, FE_USER, 0, f.memfd), 0);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(add(FE_GUEST + FE_MEM + i * PAGE, PAGE,
			     FE_USER + FE_MEM + i * PAGE, 0, f.memfd), 0);
		run_one(0);
	}
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(rem(FE_GUEST + FE_MEM + i * PAGE, PAGE,
			     FE_USER + FE_MEM + i * PAGE), 0);
		run_one(0);
	}
	/* Not the one that the ring lies in. */
	CHECK_NE(rem(FE_GUEST, FE_MEM, FE_USER), 0);
	CHECK_EQ(f.ended, 0);
	run_one(0);
	fe_close(&f);
}

TEST("vhost memory: a request in flight keeps the memory it came with", "")
{
	fe_open(&f);
	fe_negotiate(&f, VHU_PF(REPLY_ACK) | VHU_PF(CONFIGURE_MEM_SLOTS),
		     MODERN | PROTOCOL);
	CHECK_EQ(add(FE_GUEST, FE_MEM, FE_USER, 0, f.memfd), 0);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	f.hold = true;
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(f.nr_held, 1);
	/* A whole new table: the first mapping is in use once more. */
	fe_send_memory(&f);
	CHECK_EQ(f.guarded, 2);
	CHECK_EQ(f.told, 2);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(f.nr_held, 2);
	fe_release(&f);
	CHECK_EQ(fe_used(&f, 0), 2);
	CHECK_EQ(f.guarded, 1);
	CHECK_EQ(f.told, 1);
	/* More tables at a time than a queue holds: it drains first. */
	for (int i = 0; i < 8; i++) {
		fe_offer(&f, 0);
		fe_kick(&f, 0);
		fe_send_memory(&f);
		CHECK_EQ(f.ended, 0);
	}
	CHECK_GE(f.drains, 1);
	fe_release(&f);
	CHECK_EQ(fe_used(&f, 0), 8);
	fe_close(&f);
}

TEST("vhost memory: a ring whose guest address changes moves along", "")
{
	struct vhu_mem_table t = {
		.nr = 2,
		.region[0] = { FE_GUEST, FE_MEM, FE_USER + FE_MEM, 0 },
		.region[1] = { FE_GUEST + FE_MEM, FE_MEM, FE_USER, 0 },
	};
	int fd[2];

	fe_open(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	for (int i = 0; i < 5; i++)
		run_one(0);
	fd[0] = fd[1] = f.memfd;
	fe_send(&f, VHOST_USER_SET_MEM_TABLE, 0, &t, 8 + 64, fd, 2);
	CHECK_EQ(f.ended, 0);
	for (int i = 0; i < 5; i++)
		run_one(0);
	fe_close(&f);
}
