/* SPDX-License-Identifier: MIT */
/*
 * The daemons as users run them, each under the driver of its type: what goes
 * in on one side comes out on the other.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>

#include "program.h"
#include "vtest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static unsigned translated;	/* pages that were asked for */
static const struct vio_vq_limits limits = { .size = 32, .indirect_max = 8 };

static struct vio_features ring_features(void)
{
	struct vio_features f = { { 0, 0 } };

	vio_feature_set(&f, VIRTIO_F_VERSION_1);
	vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	return f;
}

/* A file of @len random bytes; the caller unlinks it. */
static void make_file(char *path, unsigned char *bytes, size_t len)
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	int fd;

	vtest_fill(&rand, bytes, len);
	strcpy(path, "/tmp/vireo-test-XXXXXX");
	fd = mkstemp(path);
	CHECK_GE(fd, 0);
	CHECK_EQ(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void check_file(const char *path, const unsigned char *bytes,
		       size_t len)
{
	static unsigned char now[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK_GE(fd, 0);
	CHECK_LE(len, sizeof(now));
	CHECK_EQ(read(fd, now, sizeof(now)), (ssize_t)len);
	close(fd);
	CHECK_MEMEQ(now, bytes, len);
}

TEST("vireo-rng: the driver gets the bytes of the source, and each once",
     "entropy.device.device-operation.1")
{
	unsigned char bytes[8192], *buf;
	char path[32], source[64];
	const char *args[] = { source, NULL };
	struct vio_features wanted = ring_features();
	struct vio_rngdrv rng;
	struct program p;
	uint32_t got;
	size_t sum;

	make_file(path, bytes, sizeof(bytes));
	snprintf(source, sizeof(source), "--source=%s", path);
	program_start(&p, "vireo-rng", args, NULL);
	program_arenas(&p);
	CHECK_EQ(vio_rngdrv_init(&rng, &vhu_client_bus, p.client, &wanted,
				 &limits, &p.mem), VIO_OK);
	buf = p.data;
	for (sum = 0; sum < sizeof(bytes) / 2; sum += got) {
		CHECK_EQ(vio_rngdrv_read(&rng, buf, 100, &got), VIO_OK);
		CHECK_LE(got, 100);
		CHECK(memmem(bytes, sizeof(bytes), buf, got));
		CHECK_MEMEQ(buf, bytes + sum, got);
	}
	CHECK_EQ(vio_drv_reset(&rng.drv), VIO_OK);
	program_stop(&p);
	unlink(path);
}

/*
 * Each daemon's state goes out of one process and into another; behind its
 * sandbox, where a thread of its own moves it.
 */
static void move_state(const char *name, const char *const *args,
		       const int io[2])
{
	struct program p;
	void *state;
	size_t len;

	program_start(&p, name, args, io);
	CHECK_EQ(vhu_client_save(p.client, &state, &len, 1 << 20), 0);
	CHECK_GT(len, 0);
	program_stop(&p);
	program_start(&p, name, args, io);
	CHECK_EQ(vhu_client_load(p.client, state, len), 0);
	/* Of another device, to begin with. */
	((unsigned char *)state)[6]++;
	CHECK_EQ(vhu_client_load(p.client, state, len), -EREMOTEIO);
	program_stop(&p);
	free(state);
}

TEST("each daemon: its state goes out, and into another", "")
{
	static const char *const none[] = { NULL };
	static const char *const disk[] = {
		"--backend=mem", "--size=1M", NULL,
	};
	static const char *const net[] = { "--backend=null", NULL };
	int io[2] = { open("/dev/null", O_RDWR | O_CLOEXEC),
		      open("/dev/null", O_RDWR | O_CLOEXEC) };

	signal(SIGPIPE, SIG_IGN);
	move_state("vireo-rng", none, NULL);
	move_state("vireo-blk", disk, NULL);
	move_state("vireo-net", net, NULL);
	move_state("vireo-console", none, io);
	close(io[0]);
	close(io[1]);
}

/* Read exactly @len bytes of the daemon's standard output. */
static void read_all(int fd, unsigned char *to, size_t len)
{
	size_t sum = 0;
	ssize_t n;

	for (; sum < len; sum += (size_t)n) {
		n = read(fd, to + sum, len - sum);
		CHECK_GT(n, 0);
	}
}

/* Wait for input; false when there was none for too long. */
static bool wait_input(struct vio_condrv *con, struct program *p)
{
	vio_drv_kick(&con->drv, 0, &con->rx);
	return vio_vq_listen(&con->rx) ||
	       vhu_client_bus.wait(p->client, 0) == VIO_OK;
}

TEST("vireo-console: what is printed and typed comes through, byte by byte",
     "console.driver.device-operation.1 console.driver.device-operation.2")
{
	static const char *const args[] = {
		"--backend=stdio", "--cols=100", "--rows=40", NULL,
	};
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	static unsigned char typed[20000], got[20000], shown[5000];
	struct vio_features wanted = ring_features();
	struct vio_condrv con;
	struct program p;
	int in[2], out[2];
	size_t sum;
	unsigned i;

	vio_feature_set(&wanted, VIRTIO_CONSOLE_F_SIZE);
	CHECK_EQ(pipe2(in, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	program_start(&p, "vireo-console", args,
		      (const int[2]){ in[0], out[1] });
	program_arenas(&p);
	CHECK_EQ(vio_condrv_init(&con, &vhu_client_bus, p.client, &wanted,
				 &limits, &p.mem), VIO_OK);
	CHECK_EQ(con.cols, 100);
	CHECK_EQ(con.rows, 40);
	for (i = 0; i < 20; i++) {
		size_t len = 1 + (size_t)vtest_below(&rand, sizeof(shown));

		vtest_fill(&rand, p.data, len);
		CHECK_EQ(vio_condrv_print(&con, p.data, len), VIO_OK);
		read_all(out[0], shown, len);
		CHECK_MEMEQ(shown, p.data, len);
	}
	vtest_fill(&rand, typed, sizeof(typed));
	CHECK_EQ(write(in[1], typed, sizeof(typed)), (ssize_t)sizeof(typed));
	for (sum = 0; sum < sizeof(typed);) {
		size_t n = vio_condrv_read(&con, got + sum,
					   sizeof(got) - sum);

		sum += n;
		if (!n)
			CHECK(wait_input(&con, &p));
	}
	CHECK_MEMEQ(got, typed, sizeof(typed));
	CHECK_EQ(vio_drv_reset(&con.drv), VIO_OK);
	program_stop(&p);
	for (i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

/* Wait until the back end said that the configuration changed. */
static bool wait_change(struct program *p)
{
	struct pollfd poll_fd = {
		.fd = vhu_client_event_fd(p->client), .events = POLLIN,
	};

	CHECK_GE(poll_fd.fd, 0);
	return poll(&poll_fd, 1, 30000) == 1 &&
	       vhu_client_events(p->client) > 0;
}

TEST("vireo-console: a terminal that changes its size tells the driver", "")
{
	static const char *const args[] = { "--backend=stdio", NULL };
	struct vio_features wanted = ring_features();
	struct winsize size = { .ws_col = 90, .ws_row = 30 };
	struct vio_condrv con;
	struct program p;
	int master, slave;

	vio_feature_set(&wanted, VIRTIO_CONSOLE_F_SIZE);
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_GE(master, 0);
	CHECK_EQ(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_GE(slave, 0);
	CHECK_EQ(ioctl(master, TIOCSWINSZ, &size), 0);
	program_start(&p, "vireo-console", args,
		      (const int[2]){ slave, slave });
	program_arenas(&p);
	CHECK_EQ(vio_condrv_init(&con, &vhu_client_bus, p.client, &wanted,
				 &limits, &p.mem), VIO_OK);
	CHECK_EQ(con.cols, 90);
	CHECK_EQ(con.rows, 30);
	size.ws_col = 132;
	CHECK_EQ(ioctl(master, TIOCSWINSZ, &size), 0);
	/* It is nobody's controlling terminal: say it ourselves. */
	CHECK_EQ(kill(p.pid, SIGWINCH), 0);
	CHECK(wait_change(&p));
	CHECK_EQ(vio_condrv_refresh(&con), VIO_OK);
	CHECK_EQ(con.cols, 132);
	CHECK_EQ(vio_drv_reset(&con.drv), VIO_OK);
	program_stop(&p);
	close(slave);
	close(master);
}

static void start_disk(struct program *p, struct vio_blkdrv *blk,
		       const char *path, const char *more)
{
	struct vio_features wanted = vio_blkdrv_features();
	char file[64];
	const char *args[] = { file, more, NULL };

	snprintf(file, sizeof(file), "--blk-file=%s", path);
	program_start(p, "vireo-blk", args, NULL);
	program_arenas(p);
	CHECK_EQ(vio_blkdrv_init(blk, &vhu_client_bus, p->client, &wanted,
				 &limits, 1, &p->mem), VIO_OK);
}

TEST("vireo-blk: the file is the disk, sector by sector",
     "blk.device.device-operation.8 blk.device.device-operation.11")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	static unsigned char bytes[1 << 18];
	struct vio_blkdrv_req req;
	struct vio_seg seg;
	struct vio_blkdrv blk;
	struct program p;
	char path[32];
	unsigned i;

	make_file(path, bytes, sizeof(bytes));
	start_disk(&p, &blk, path, NULL);
	CHECK_EQ(blk.capacity_sectors, sizeof(bytes) / 512);
	for (i = 0; i < 200; i++) {
		uint32_t nr = 1 + (uint32_t)vtest_below(&rand, 32);
		uint64_t at = vtest_below(&rand, sizeof(bytes) / 512 - nr);

		seg.base = p.data;
		seg.len = nr * 512;
		memset(&req, 0, sizeof(req));
		req.sector = at;
		req.type = i % 3 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_WRITE_ZEROES;
		if (i % 3) {
			req.seg = &seg;
			req.nr_seg = 1;
			vtest_fill(&rand, p.data, seg.len);
			memcpy(bytes + at * 512, p.data, seg.len);
		} else {
			req.num_sectors = nr;
			memset(bytes + at * 512, 0, seg.len);
		}
		CHECK_EQ(vio_blkdrv_sync(&blk, 0, &req), VIO_OK);
	}
	memset(&req, 0, sizeof(req));
	req.type = VIRTIO_BLK_T_FLUSH;
	CHECK_EQ(vio_blkdrv_sync(&blk, 0, &req), VIO_OK);
	check_file(path, bytes, sizeof(bytes));
	CHECK_EQ(vio_blkdrv_reset(&blk, NULL, NULL), VIO_OK);
	program_stop(&p);
	unlink(path);
}

/* Pages of 4 KiB, each for itself, as an IOMMU has them. */
static int translate(void *ctx, uint64_t iova, unsigned perm,
		     struct vhu_client_map *map)
{
	struct program *p = ctx;
	uint64_t at = (iova - p->mem.window.addr.v) & ~0xfffull;

	(void)perm;
	if (at >= PROGRAM_WINDOW)
		return -EFAULT;
	map->iova = p->mem.window.addr.v + at;
	map->host = p->mem.window.host + at;
	map->size = 0x1000;
	map->perm = VIO_PERM_RW;
	translated++;
	return 0;
}

static void run_translated(struct program *p, unsigned bit)
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	struct vio_features wanted = vio_blkdrv_features();
	struct vio_blkdrv_req req;
	struct vio_blkdrv blk;
	struct vio_seg seg;

	vio_feature_set(&wanted, VIRTIO_F_ACCESS_PLATFORM);
	vio_feature_set(&wanted, bit);
	program_open(p);
	program_arenas(p);
	translated = 0;
	CHECK_EQ(vio_blkdrv_init(&blk, &vhu_client_bus, p->client, &wanted,
				 &limits, 1, &p->mem), VIO_OK);
	CHECK(vio_has(&blk.drv.features, VIRTIO_F_ACCESS_PLATFORM));
	/* Each at another place in memory, over a page's end or two. */
	for (unsigned i = 0; i < 100; i++) {
		unsigned char *at = p->data + vtest_below(&rand, 2 << 20);

		seg.base = at;
		seg.len = 512 * (1 + vtest_below(&rand, 24));
		for (unsigned back = 0; back < 2; back++) {
			memset(at, back ? 0 : (int)i, seg.len);
			req = (struct vio_blkdrv_req){
				.type = back ? VIRTIO_BLK_T_IN :
					       VIRTIO_BLK_T_OUT,
				.sector = i, .seg = &seg, .nr_seg = 1,
			};
			CHECK_EQ(vio_blkdrv_sync(&blk, 0, &req), VIO_OK);
		}
		CHECK_EQ(at[0], i);
		CHECK_EQ(at[seg.len - 1], i);
	}
	CHECK_GT(translated, 100);
	CHECK_EQ(vio_blkdrv_reset(&blk, NULL, NULL), VIO_OK);
	vhu_client_close(p->client);
}

TEST("vireo-blk --iommu: each page is asked for, and the bytes are right", "")
{
	static const struct vhu_client_ops ops = { .translate = translate };
	char sock[] = "/tmp/vireo-test-XXXXXX", where[64];
	const char *args[] = {
		PROGRAMS "/vireo-blk", where, "--backend=mem", "--size=1M",
		"--iommu", NULL,
	};
	struct program p;

	close(mkstemp(sock));
	snprintf(where, sizeof(where), "--socket-path=%s", sock);
	program_spawn_peer(&p, args, sock);
	p.conf.ops = &ops;
	p.conf.ops_ctx = &p;
	p.conf.iommu = true;
	p.conf.serve_events = true;
	run_translated(&p, VIRTIO_F_EVENT_IDX);
	run_translated(&p, VIRTIO_F_RING_PACKED);
	program_open(&p);
	program_stop_peer(&p);
}

TEST("vireo-blk --read-only: the file stays as it is",
     "blk.device.device-operation.3")
{
	static unsigned char bytes[1 << 16];
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_OUT };
	struct vio_seg seg;
	struct vio_blkdrv blk;
	struct program p;
	char path[32];

	make_file(path, bytes, sizeof(bytes));
	start_disk(&p, &blk, path, "--read-only");
	CHECK(blk.read_only);
	seg.base = p.data;
	seg.len = 4096;
	req.seg = &seg;
	req.nr_seg = 1;
	/* A driver that does not care what the device said. */
	blk.read_only = false;
	CHECK_EQ(vio_blkdrv_sync(&blk, 0, &req), VIO_E_IO);
	req.type = VIRTIO_BLK_T_IN;
	CHECK_EQ(vio_blkdrv_sync(&blk, 0, &req), VIO_OK);
	CHECK_MEMEQ(p.data, bytes, 4096);
	check_file(path, bytes, sizeof(bytes));
	program_stop(&p);
	unlink(path);
}
