/* SPDX-License-Identifier: MIT */
/*
 * Our front end under our drivers with back ends of others: a disk of
 * qemu-storage-daemon, a folder of virtiofsd. What they offer is used; what
 * they do not is done without.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>

#include "program.h"
#include "vtest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STORAGE		"/usr/bin/qemu-storage-daemon"
#define VIRTIOFSD	"/usr/lib/qemu/virtiofsd"

static const struct vio_vq_limits limits = { .size = 64, .indirect_max = 8 };

static char dir[] = "/tmp/vireo-peer-XXXXXX";

static void in_folder(char *path, size_t len, const char *name)
{
	if (!strcmp(dir + sizeof(dir) - 7, "XXXXXX"))
		CHECK(mkdtemp(dir) != NULL);
	snprintf(path, len, "%s/%s", dir, name);
}

static void clean_up(const char *a, const char *b)
{
	if (a)
		unlink(a);
	if (b)
		unlink(b);
	rmdir(dir);
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
}

static void one(struct vio_blkdrv *blk, struct program *p, uint32_t type,
		uint64_t sector, uint32_t nr)
{
	struct vio_seg seg = { p->data, nr * 512 };
	struct vio_blkdrv_req req = {
		.type = type, .sector = sector,
	};

	if (nr) {
		req.seg = &seg;
		req.nr_seg = 1;
	}
	CHECK_EQ(vio_blkdrv_sync(blk, 0, &req), VIO_OK);
}

static void mark(void *ctx, vio_addr page)
{
	unsigned char *marked = ctx;
	uint64_t at = (page.v - 0x100000) >> 12;

	CHECK_LT(at, PROGRAM_WINDOW >> 12);
	marked[at]++;
}

/* Its log has the pages that a read filled, and nothing else behind rings. */
static void use_log(struct vio_blkdrv *blk, struct program *p)
{
	static unsigned char marked[PROGRAM_WINDOW >> 12];
	unsigned first = PROGRAM_RINGS >> 12, nr = 0;

	CHECK_EQ(vhu_client_log_start(p->client), 0);
	one(blk, p, VIRTIO_BLK_T_IN, 3, 50);
	memset(marked, 0, sizeof(marked));
	vhu_client_log_take(p->client, mark, marked);
	for (unsigned i = 0; i < 7; i++)
		CHECK_EQ(marked[first + i], 1);
	for (unsigned i = first; i < sizeof(marked); i++)
		nr += marked[i];
	/* The status byte may lie elsewhere. */
	CHECK_LE(nr, 8);
	CHECK_EQ(vhu_client_log_stop(p->client), 0);
}

/* Write all of it in pieces, read it back through other buffers. */
static void use_disk(struct vio_blkdrv *blk, struct program *p,
		     unsigned char *bytes, uint32_t sectors)
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	uint32_t at, nr;

	vtest_fill(&rand, bytes, sectors * 512);
	for (at = 0; at < sectors; at += nr) {
		nr = 1 + (uint32_t)vtest_below(&rand, 64);
		if (nr > sectors - at)
			nr = sectors - at;
		memcpy(p->data, bytes + at * 512, nr * 512);
		one(blk, p, VIRTIO_BLK_T_OUT, at, nr);
	}
	one(blk, p, VIRTIO_BLK_T_FLUSH, 0, 0);
	for (at = 0; at < sectors; at += nr) {
		nr = sectors - at < 100 ? sectors - at : 100;
		memset(p->data, 0, nr * 512);
		one(blk, p, VIRTIO_BLK_T_IN, at, nr);
		CHECK_MEMEQ(p->data, bytes + at * 512, nr * 512);
	}
}

TEST("a disk of qemu-storage-daemon, under our driver", "")
{
	static unsigned char bytes[1 << 18], file[1 << 18];
	struct vio_features wanted = vio_blkdrv_features();
	char image[64], sock[64], node[160], export[200];
	const char *args[] = {
		STORAGE, "--blockdev", node, "--export", export, NULL,
	};
	struct vio_blkdrv blk;
	struct program p;
	int fd;

	if (access(STORAGE, X_OK))
		SKIP("needs qemu-storage-daemon");
	in_folder(image, sizeof(image), "disk");
	in_folder(sock, sizeof(sock), "sock");
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, sizeof(bytes)), 0);
	snprintf(node, sizeof(node), "driver=file,node-name=f,filename=%s",
		 image);
	snprintf(export, sizeof(export),
		 "type=vhost-user-blk,id=e,node-name=f,writable=on,"
		 "addr.type=unix,addr.path=%s", sock);
	program_start_peer(&p, args, sock);
	/* Twice: a driver leaves, and the next one comes. */
	for (unsigned i = 0; i < 2; i++) {
		program_arenas(&p);
		CHECK_EQ(vio_blkdrv_init(&blk, &vhu_client_bus, p.client,
					 &wanted, &limits, 1, &p.mem), VIO_OK);
		CHECK_EQ(blk.capacity_sectors, sizeof(bytes) / 512);
		CHECK(!blk.read_only);
		use_disk(&blk, &p, bytes, sizeof(bytes) / 512);
		use_log(&blk, &p);
		program_report(&p, "qemu-storage-daemon",
			       blk.drv.features.w[0]);
		CHECK_EQ(vio_drv_reset(&blk.drv), VIO_OK);
	}
	program_stop_peer(&p);
	CHECK_EQ(pread(fd, file, sizeof(file), 0), sizeof(file));
	CHECK_MEMEQ(file, bytes, sizeof(file));
	close(fd);
	clean_up(image, sock);
}

/* As FUSE's kernel interface has them, in this machine's byte order. */
struct fuse_in {
	uint32_t len, opcode;
	uint64_t unique, node;
	uint32_t uid, gid, pid, padding;
	uint32_t major, minor, readahead, flags;
	uint32_t unused[12];
};

struct fuse_out {
	uint32_t len;
	int32_t error;
	uint64_t unique;
	uint32_t major, minor, readahead, flags;
	uint32_t more[12];
};

#define FUSE_INIT	26u
#define FS_REQUESTS	1	/* the first request queue; 0: high priority */

TEST("a folder of virtiofsd: FUSE_INIT is answered", "")
{
	struct vio_features wanted = { { 0, 0 } };
	char sock[64], path[80], source[80], pid[80];
	const char *args[] = {
		VIRTIOFSD, path, "-o", source, "-o", "sandbox=chroot",
		"--thread-pool-size=1", NULL,
	};
	struct vio_vq vq[2];
	struct vio_drv drv;
	struct program p;
	struct fuse_in *in;
	struct fuse_out *out;
	struct vio_seg seg[2];
	uint32_t len;

	if (access(VIRTIOFSD, X_OK) || geteuid())
		SKIP("needs virtiofsd, and to be root for it");
	in_folder(sock, sizeof(sock), "sock");
	snprintf(path, sizeof(path), "--socket-path=%s", sock);
	snprintf(source, sizeof(source), "source=%s", dir);
	snprintf(pid, sizeof(pid), "%s.pid", sock);
	program_start_peer(&p, args, sock);
	program_arenas(&p);
	vio_feature_set(&wanted, VIRTIO_F_VERSION_1);
	vio_feature_set(&wanted, VIRTIO_F_EVENT_IDX);
	CHECK_EQ(vio_drv_begin(&drv, &vhu_client_bus, p.client, &wanted),
		 VIO_OK);
	/* It does not say how many queues it has; there are two at least. */
	for (uint16_t q = 0; q < vhu_client_queues(p.client) && q < 2; q++)
		CHECK_EQ(vio_drv_queue(&drv, q, &vq[q], &limits, &p.mem),
			 VIO_OK);
	CHECK_GE(vhu_client_queues(p.client), 2);
	CHECK_EQ(vio_drv_ready(&drv), VIO_OK);
	in = (void *)p.data;
	out = (void *)(p.data + 4096);
	memset(p.data, 0, 8192);
	*in = (struct fuse_in){
		.len = 56, .opcode = FUSE_INIT, .unique = 77,
		.major = 7, .minor = 31, .readahead = 65536,
	};
	seg[0] = (struct vio_seg){ in, in->len };
	seg[1] = (struct vio_seg){ out, sizeof(*out) };
	CHECK_EQ(vio_vq_add(&vq[FS_REQUESTS], seg, 1, 1, in), VIO_OK);
	CHECK(vio_drv_wait_used(&drv, FS_REQUESTS, &vq[FS_REQUESTS], &len) ==
	      in);
	CHECK_GE(len, 24);
	CHECK_EQ(out->len, len);
	CHECK_EQ(out->error, 0);
	CHECK_EQ(out->unique, 77);
	CHECK_EQ(out->major, 7);
	program_report(&p, "virtiofsd", drv.features.w[0]);
	CHECK_EQ(vio_drv_reset(&drv), VIO_OK);
	program_stop_peer(&p);
	clean_up(sock, pid);
}
