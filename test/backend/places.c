/* SPDX-License-Identifier: MIT */
/* The file back end in other surroundings: block devices, no io_uring. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "backend/file.h"
#include "test/backend/util.h"

enum { SIZE = 8 << 20 };

/* A loop device over @path; skips the case where there can be none. */
static int loop_attach(const char *path, char name[32])
{
	struct loop_config conf = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int ctl, fd, nr;

	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	nr = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
	if (ctl >= 0)
		close(ctl);
	if (nr < 0) {
		unlink(path);
		SKIP("no loop devices for us: %s", strerror(errno));
	}
	snprintf(name, 32, "/dev/loop%d", nr);
	fd = open(name, O_RDWR | O_CLOEXEC);
	conf.fd = (unsigned)open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &conf)) {
		unlink(path);
		SKIP("%s: %s", name, strerror(errno));
	}
	close((int)conf.fd);
	return fd;
}

/* Pieces of a disk, each written, cleared in one way, and read back. */
static void clear_in_every_way(struct blkdev *d)
{
	static unsigned char buf[65536] __attribute__((aligned(4096)));
	static const struct {
		uint8_t op, flags;
	} ways[] = {
		{ VIO_BLK_WRITE_ZEROES, 0 },
		{ VIO_BLK_WRITE_ZEROES, VIO_BLK_UNMAP },
		{ VIO_BLK_WRITE_ZEROES, VIO_BLK_FUA },
		{ VIO_BLK_DISCARD, 0 },
	};
	struct request r;
	unsigned i, k;

	for (i = 0; i < VIO_ARRAY_LEN(ways); i++) {
		uint64_t at = i * sizeof(buf);

		memset(buf, 0x77, sizeof(buf));
		CHECK_EQ(run(d, VIO_BLK_WRITE, at, sizeof(buf), buf), VIO_OK);
		request_init(&r, ways[i].op, at + 8192, 16384, NULL);
		r.io.flags = ways[i].flags;
		CHECK_EQ(request_run(d, &r), VIO_OK);
		CHECK_EQ(run(d, VIO_BLK_FLUSH, 0, 0, NULL), VIO_OK);
		CHECK_EQ(run(d, VIO_BLK_READ, at, sizeof(buf), buf), VIO_OK);
		for (k = 0; k < sizeof(buf); k++) {
			bool cleared = k >= 8192 && k < 8192 + 16384;

			/* What was discarded may read as anything. */
			if (!cleared || ways[i].op != VIO_BLK_DISCARD)
				CHECK_EQ(buf[k], cleared ? 0 : 0x77);
		}
	}
}

static bool is_direct(struct blkdev *d)
{
	const struct file *f = vio_container_of(d, struct file, dev);

	return fcntl(f->fd, F_GETFL) & O_DIRECT;
}

TEST("a block device is served like a file", "")
{
	/* As it is by default, and as it can be asked for. */
	static const struct { bool direct, buffered, is; } ways[] = {
		{ false, false, true }, { true, false, true },
		{ false, true, false },
	};
	struct blkdev_file_conf conf = {
		.num_queues = 1, .queue_size = 64,
	};
	struct blkdev *d;
	struct loop loop;
	char path[64], name[32];
	unsigned i;
	int fd;

	for (i = 0; i < VIO_ARRAY_LEN(ways); i++) {
		make_image(path, "/tmp", SIZE);
		fd = loop_attach(path, name);
		conf.path = name;
		conf.direct = ways[i].direct;
		conf.buffered = ways[i].buffered;
		CHECK_EQ(blkdev_file_open(&d, &conf), 0);
		CHECK_EQ(is_direct(d), ways[i].is);
		close(fd);
		CHECK_EQ(d->conf.capacity_sectors, SIZE / 512);
		CHECK_GT(d->conf.max_discard_sectors, 0);
		CHECK_EQ(loop_init(&loop), 0);
		CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
		clear_in_every_way(d);
		d->ops->detach(d, 0);
		loop_fini(&loop);
		blkdev_close(d);
		unlink(path);
	}
}

TEST("a block device grows", "")
{
	struct blkdev_file_conf conf = {
		.num_queues = 1, .queue_size = 64,
	};
	static unsigned char data[4096] __attribute__((aligned(4096)));
	char path[64], name[32];
	struct blkdev *d;
	uint64_t sectors;
	struct loop loop;
	int fd;

	make_image(path, "/tmp", SIZE);
	fd = loop_attach(path, name);
	conf.path = name;
	CHECK_EQ(blkdev_file_open(&d, &conf), 0);
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
	CHECK_EQ(run(d, VIO_BLK_READ, SIZE, 4096, data), VIO_E_IO);
	CHECK_EQ(truncate(path, 2 * SIZE), 0);
	CHECK_EQ(ioctl(fd, LOOP_SET_CAPACITY, 0), 0);
	CHECK_EQ(d->ops->resize(d, &sectors), 0);
	CHECK_EQ(sectors, 2 * SIZE / 512);
	CHECK_EQ(run(d, VIO_BLK_WRITE, 2 * SIZE - 4096, 4096, data), VIO_OK);
	/* And shrinks again. */
	CHECK_EQ(truncate(path, SIZE), 0);
	CHECK_EQ(ioctl(fd, LOOP_SET_CAPACITY, 0), 0);
	CHECK_EQ(d->ops->resize(d, &sectors), 0);
	CHECK_EQ(sectors, SIZE / 512);
	CHECK_EQ(run(d, VIO_BLK_READ, SIZE, 4096, data), VIO_E_IO);
	d->ops->detach(d, 0);
	loop_fini(&loop);
	blkdev_close(d);
	close(fd);
	unlink(path);
}

TEST("a disk in huge pages, or the reason why not", "")
{
	static unsigned char data[8192], got[8192];
	struct blkdev *d;
	int rc = blkdev_mem_open_huge(&d, SIZE, false);

	if (rc) {
		CHECK(rc == -ENOMEM || rc == -EOPNOTSUPP);
		SKIP("needs huge pages: sysctl vm.nr_hugepages=16");
	}
	memset(data, 7, sizeof(data));
	CHECK_EQ(run(d, VIO_BLK_WRITE, SIZE - 8192, 8192, data), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_READ, SIZE - 8192, 8192, got), VIO_OK);
	CHECK_MEMEQ(got, data, 8192);
	/* Less than a page is cleared, not given back. */
	CHECK_EQ(run(d, VIO_BLK_DISCARD, SIZE - 4096, 4096, NULL), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_READ, SIZE - 8192, 8192, got), VIO_OK);
	CHECK_MEMEQ(got, data, 4096);
	CHECK_EQ(got[4096], 0);
	CHECK_EQ(run(d, VIO_BLK_DISCARD, 0, SIZE, NULL), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_READ, SIZE - 8192, 8192, got), VIO_OK);
	CHECK_EQ(got[0], 0);
	blkdev_close(d);
}

/* In a child, for a filter stays. */
static int without_io_uring(const char *path, enum blkdev_aio aio)
{
	struct blkdev_file_conf conf = {
		.path = path, .aio = aio, .num_queues = 1, .queue_size = 64,
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	struct blkdev *d;
	struct loop loop;
	int rc;

	if (!ctx || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
				     SCMP_SYS(io_uring_setup), 0) ||
	    seccomp_load(ctx))
		return 77;
	seccomp_release(ctx);
	rc = blkdev_file_open(&d, &conf);
	if (rc)
		return -rc;
	if (strcmp(d->engine, "threads"))
		return 101;
	if (loop_init(&loop) || d->ops->attach(d, 0, &loop))
		return 102;
	clear_in_every_way(d);
	d->ops->detach(d, 0);
	loop_fini(&loop);
	blkdev_close(d);
	return 0;
}

static int in_child(const char *path, enum blkdev_aio aio)
{
	int status;
	pid_t pid = fork();

	CHECK_GE(pid, 0);
	if (!pid)
		_exit(without_io_uring(path, aio));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST("where io_uring is not permitted threads do the work", "")
{
	char path[64];
	int rc;

	make_image(path, "/tmp", SIZE);
	rc = in_child(path, BLKDEV_AIO_AUTO);
	if (rc == 77) {
		unlink(path);
		SKIP("no seccomp filter can be loaded");
	}
	CHECK_EQ(rc, 0);
	/* But who asks for io_uring is told. */
	CHECK_EQ(in_child(path, BLKDEV_AIO_URING), EPERM);
	unlink(path);
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CHECK(f);
	fputs(text, f);
	fclose(f);
}

TEST("secure erase overwrites; wear is read from where the kernel tells it",
     "blk.device.device-operation.13 blk.device.device-operation.14")
{
	char path[64], dir[] = "/tmp/vireo-wear.XXXXXX", cmd[64];
	static unsigned char buf[8192];
	struct blkdev_file_conf conf = {
		.path = path, .num_queues = 1, .queue_size = 8,
		.aio = BLKDEV_AIO_INLINE, .secure_erase = true,
	};
	struct vio_blk_wear w;
	struct blkdev *d;

	CHECK(mkdtemp(dir));
	make_image(path, "/tmp", 1 << 20);
	conf.lifetime = dir;
	CHECK_EQ(blkdev_file_open(&d, &conf), -ENOENT);
	put(dir, "life_time", "0x02 0x0b\n");
	put(dir, "pre_eol_info", "0x01\n");
	CHECK_EQ(blkdev_file_open(&d, &conf), 0);
	CHECK(d->conf.lifetime);
	CHECK_EQ(d->ops->io.wear(d, &w), VIO_OK);
	CHECK_EQ(w.pre_eol, 1);
	CHECK_EQ(w.slc, 2);
	CHECK_EQ(w.mlc, 11);
	put(dir, "life_time", "0x03 0x0b\n");
	CHECK_EQ(d->ops->io.wear(d, &w), VIO_OK);
	CHECK_EQ(w.slc, 3);
	put(dir, "life_time", "nothing");
	CHECK_EQ(d->ops->io.wear(d, &w), VIO_E_IO);
	CHECK_GT(d->conf.max_secure_erase_sectors, 0);
	memset(buf, 0x5a, sizeof(buf));
	CHECK_EQ(run(d, VIO_BLK_WRITE, 0, sizeof(buf), buf), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_SECURE_ERASE, 512, 4096, NULL), VIO_OK);
	CHECK_EQ(run(d, VIO_BLK_READ, 0, sizeof(buf), buf), VIO_OK);
	CHECK_EQ(buf[511], 0x5a);
	CHECK_EQ(buf[512], 0);
	CHECK_EQ(buf[4607], 0);
	CHECK_EQ(buf[4608], 0x5a);
	blkdev_close(d);
	conf.lifetime = NULL;
	conf.secure_erase = false;
	CHECK_EQ(blkdev_file_open(&d, &conf), 0);
	CHECK(!d->conf.lifetime);
	CHECK_EQ(d->conf.max_secure_erase_sectors, 0);
	blkdev_close(d);
	unlink(path);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	CHECK_EQ(system(cmd), 0);
}
