/* SPDX-License-Identifier: MIT */
/*
 * Disks whose file system is full, and whose file shrinks under them: the
 * request says so, the queue lives, what was written stays.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "test/host/peer.h"
#include "vtest.h"

#define BLOCK	65536u
#define SIZE	(4u << 20)
#define ROOM	(1u << 20)
#define SECTORS	(BLOCK / 512)

static struct peer p;
static struct front_disk d;
static unsigned char *data;

static const char *const aios[] = {
	"--aio=inline", "--aio=threads", "--aio=io_uring",
};

/* A small file system of our own at @path. False: not permitted. */
static bool mount_small(const char *path)
{
	char how[32];

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	snprintf(how, sizeof(how), "size=%u", ROOM);
	return !mount("small", path, "tmpfs", 0, how);
}

static void make_file(const char *path, off_t size)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, size), 0);
	close(fd);
}

static void start(const char *image, const char *aio)
{
	char file[160];

	snprintf(file, sizeof(file), "--blk-file=%s", image);
	PEER_START(&p, "vireo-blk", file, aio, "--num-queues=1");
	disk_open(&d, p.socket, 1);
	data = front_data(&d.front, BLOCK);
}

static int put(unsigned block)
{
	memset(data, (int)block + 1, BLOCK);
	return disk_run(&d, 0, VIRTIO_BLK_T_OUT, block * SECTORS, data, BLOCK);
}

static bool holds(unsigned block)
{
	memset(data, 0, BLOCK);
	if (disk_run(&d, 0, VIRTIO_BLK_T_IN, block * SECTORS, data, BLOCK) !=
	    VIO_OK)
		return false;
	for (unsigned i = 0; i < BLOCK; i++)
		if (data[i] != block + 1)
			return false;
	return true;
}

static void fill_up(const char *aio)
{
	char image[128], other[128];
	unsigned n = 0;

	peer_init(&p);
	if (!mount_small(p.dir)) {
		peer_fini(&p);
		SKIP("no file system can be mounted here");
	}
	snprintf(image, sizeof(image), "%s/image", p.dir);
	snprintf(other, sizeof(other), "%s/other", p.dir);
	make_file(image, SIZE);
	make_file(other, 0);
	CHECK_EQ(posix_fallocate(open(other, O_RDWR), 0, ROOM / 4), 0);
	start(image, aio);
	while (put(n) == VIO_OK)
		CHECK_LT(++n, SIZE / BLOCK);
	CHECK_GT(n, 2u);
	/* Alive, nothing lost, and it goes on when there is room. */
	CHECK_NE(put(n), VIO_OK);
	for (unsigned i = 0; i < n; i++)
		CHECK(holds(i));
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	CHECK_EQ(truncate(other, 0), 0);
	CHECK_EQ(put(n), VIO_OK);
	CHECK(holds(n));
	CHECK(holds(0));
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	umount2(p.dir, MNT_DETACH);
	peer_fini(&p);
}

TEST("blk on a full file system: writes fail, the rest stays, and it goes on when there is room",
     "")
{
	for (unsigned i = 0; i < 3; i++)
		fill_up(aios[i]);
}

static void shrink(const char *image, const char *aio)
{
	const unsigned last = SIZE / BLOCK - 1;

	make_file(image, SIZE);
	start(image, aio);
	for (unsigned n = 0; n <= last; n++)
		CHECK_EQ(put(n), VIO_OK);
	CHECK(holds(last));
	CHECK_EQ(truncate(image, SIZE / 2), 0);
	CHECK(holds(0));
	CHECK_NE(disk_run(&d, 0, VIRTIO_BLK_T_IN, last * SECTORS, data,
			  BLOCK), VIO_OK);
	CHECK(holds(1));
	/* Its name is nobody's business. */
	CHECK_EQ(unlink(image), 0);
	CHECK_EQ(put(2), VIO_OK);
	CHECK(holds(2));
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
}

TEST("blk: a file that shrinks and disappears under it: errors for what is gone, an answer for all else",
     "")
{
	char memory[64];

	for (unsigned i = 0; i < 3; i++) {
		peer_init(&p);
		shrink(p.image, aios[i]);
		/* Where reads go through a mapping. */
		snprintf(memory, sizeof(memory), "/dev/shm/vireo-faults.%d",
			 (int)getpid());
		shrink(memory, aios[i]);
		peer_fini(&p);
	}
}
