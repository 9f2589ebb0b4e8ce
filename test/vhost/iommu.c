/* SPDX-License-Identifier: MIT */
/*
 * Our front end as the IOMMU before vireo-blk (--iommu): pages are told when
 * they are missed, taken back, and asked for again.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>

#include "program.h"
#include "vtest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE		4096u
#define PAGES		(PROGRAM_WINDOW / PAGE)
#define SECTORS		2048u
#define BIT(n)		(1ull << (n))

static struct program p;
static struct vio_blkdrv blk;
static unsigned told[PAGES];
static bool gone[PAGES];

static int translate(void *ctx, uint64_t iova, unsigned perm,
		     struct vhu_client_map *map)
{
	uint64_t n = (iova - p.mem.window.addr.v) / PAGE;

	(void)ctx, (void)perm;
	if (n >= PAGES || gone[n])
		return -EFAULT;
	told[n]++;
	map->iova = p.mem.window.addr.v + n * PAGE;
	map->host = p.mem.window.host + n * PAGE;
	map->size = PAGE;
	map->perm = VIO_PERM_RW;
	return 0;
}

static const struct vhu_client_ops ops = { .translate = translate };
static char sock[64];

static void start(void)
{
	static const char program[] = PROGRAMS "/vireo-blk";
	static char path[80];
	static const char *args[] = {
		program, "--iommu", "--backend=mem", "--size=1M", path, NULL,
	};

	snprintf(sock, sizeof(sock), "/tmp/vireo-iommu-%d", getpid());
	snprintf(path, sizeof(path), "--socket-path=%s", sock);
	program_spawn_peer(&p, args, sock);
	p.conf.iommu = true;
	p.conf.serve_events = true;
	p.conf.ops = &ops;
	program_open(&p);
	memset(told, 0, sizeof(told));
	memset(gone, 0, sizeof(gone));
}

static void drive(bool packed)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 8 };
	struct vio_features wanted = vio_blkdrv_features();

	vio_feature_set(&wanted, VIRTIO_F_ACCESS_PLATFORM);
	if (packed)
		vio_feature_set(&wanted, VIRTIO_F_RING_PACKED);
	else
		vio_feature_clear(&wanted, VIRTIO_F_RING_PACKED);
	program_arenas(&p);
	CHECK_EQ(vio_blkdrv_init(&blk, &vhu_client_bus, p.client, &wanted,
				 &limits, 1, &p.mem), VIO_OK);
	CHECK(blk.drv.features.w[0] & BIT(VIRTIO_F_ACCESS_PLATFORM));
}

static int one(uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	struct vio_seg seg = { data, len };
	struct vio_blkdrv_req req = {
		.type = type, .sector = sector, .seg = &seg, .nr_seg = 1,
	};

	return vio_blkdrv_sync(&blk, 0, &req);
}

static void exercise(struct vtest_rand *rand)
{
	unsigned char *out = p.data, *in = p.data + 1024 * 1024;

	for (unsigned i = 0; i < 40; i++) {
		unsigned len = 512 * (1 + (unsigned)vtest_below(rand, 64));
		unsigned at = 512 * (unsigned)vtest_below(rand, 1000);
		uint64_t sector = vtest_below(rand, SECTORS - 64);

		vtest_fill(rand, out + at, len);
		CHECK_EQ(one(VIRTIO_BLK_T_OUT, sector, out + at, len), VIO_OK);
		CHECK_EQ(one(VIRTIO_BLK_T_IN, sector, in + at, len), VIO_OK);
		CHECK_MEMEQ(in + at, out + at, len);
	}
}

TEST("vhost iommu: pages are told as they are missed, split and packed", "")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	unsigned rings = 0, data = 0;

	start();
	for (unsigned packed = 0; packed < 2; packed++) {
		drive(packed);
		exercise(&rand);
		CHECK_EQ(vio_blkdrv_reset(&blk, NULL, NULL), VIO_OK);
	}
	for (unsigned i = 0; i < PAGES; i++)
		*(i < PROGRAM_RINGS / PAGE ? &rings : &data) += told[i];
	CHECK_GE(rings, 6);
	CHECK_GE(data, 50);
	program_stop_peer(&p);
	unlink(sock);
}

TEST("vhost iommu: what is taken back is asked for again", "")
{
	unsigned n, before;
	uint64_t iova;

	start();
	drive(false);
	n = (unsigned)((p.data - p.mem.window.host) / PAGE);
	iova = p.mem.window.addr.v + n * PAGE;
	CHECK_EQ(one(VIRTIO_BLK_T_IN, 0, p.data, PAGE), VIO_OK);
	before = told[n];
	CHECK_GE(before, 1);
	CHECK_EQ(one(VIRTIO_BLK_T_IN, 0, p.data, PAGE), VIO_OK);
	CHECK_EQ(told[n], before);
	CHECK_EQ(vhu_client_invalidate(p.client, iova, PAGE), 0);
	CHECK_EQ(one(VIRTIO_BLK_T_IN, 0, p.data, PAGE), VIO_OK);
	CHECK_GT(told[n], before);
	program_stop_peer(&p);
	unlink(sock);
}

static void mark(void *ctx, vio_addr page)
{
	unsigned char *marked = ctx;

	CHECK_LT((page.v - p.mem.window.addr.v) / PAGE, PAGES);
	marked[(page.v - p.mem.window.addr.v) / PAGE]++;
}

TEST("vhost iommu: the log has guest addresses, and a successor goes on", "")
{
	static unsigned char marked[PAGES];
	const char *args[] = {
		"--iommu", "--backend=mem", "--size=1M", NULL,
	};
	unsigned n;

	start();
	drive(false);
	CHECK_EQ(vhu_client_log_start(p.client), 0);
	CHECK_EQ(one(VIRTIO_BLK_T_IN, 0, p.data, PAGE), VIO_OK);
	memset(marked, 0, sizeof(marked));
	vhu_client_log_take(p.client, mark, marked);
	n = (unsigned)((p.data - p.mem.window.host) / PAGE);
	CHECK_EQ(marked[n], 1);
	CHECK_EQ(marked[n + 1], 0);
	/* All of it is told once more, the log as well. */
	CHECK_EQ(kill(p.pid, SIGKILL), 0);
	CHECK_EQ(waitpid(p.pid, NULL, 0), p.pid);
	unlink(sock);
	program_again(&p, "vireo-blk", args);
	CHECK_EQ(vhu_client_reconnect(p.client, 5000), 0);
	CHECK_EQ(one(VIRTIO_BLK_T_IN, 0, p.data + 3 * PAGE, PAGE), VIO_OK);
	memset(marked, 0, sizeof(marked));
	vhu_client_log_take(p.client, mark, marked);
	CHECK_EQ(marked[n], 0);
	CHECK_EQ(marked[n + 3], 1);
	program_stop_peer(&p);
	unlink(sock);
}
