/* SPDX-License-Identifier: MIT */
/* vireo-blk as a program: good and bad front ends, signals, options. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/host/peer.h"
#include "vtest.h"

enum { SIZE = 4 << 20 };

static struct peer p;
static struct front_disk d;

static void make_image(void)
{
	int fd = open(p.image, O_CREAT | O_RDWR, 0600);

	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, SIZE), 0);
	close(fd);
}

static void begin(void)
{
	peer_init(&p);
	make_image();
}

static bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

/* Write a pattern at @sector, and read it back from disk and file. */
static void exercise(unsigned queue, uint64_t sector)
{
	unsigned char *out = front_data(&d.front, 8192), in[8192];
	struct vtest_rand r = vtest_rand_init(vtest_seed() + sector);
	unsigned char *got = front_data(&d.front, 8192);
	int fd;

	vtest_fill(&r, out, 8192);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_OUT, sector, out, 8192),
		 VIO_OK);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_IN, sector, got, 8192),
		 VIO_OK);
	CHECK_MEMEQ(got, out, 8192);
	fd = open(p.image, O_RDONLY);
	CHECK_EQ(pread(fd, in, 8192, (off_t)sector * 512), 8192);
	close(fd);
	CHECK_MEMEQ(in, out, 8192);
}

static void slurp_stats(char *buf, size_t size)
{
	FILE *f = fopen(p.stats, "r");

	CHECK(f != NULL);
	CHECK(fgets(buf, (int)size, f) != NULL);
	fclose(f);
}

TEST("front ends come and go, the disk stays", "")
{
	char file[128], stats[128], text[2048];
	unsigned i;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	snprintf(stats, sizeof(stats), "--stats-file=%s", p.stats);
	PEER_START(&p, "vireo-blk", file, stats);
	for (i = 0; i < 5; i++) {
		disk_open(&d, p.socket, 1);
		CHECK_EQ(d.blk.capacity_sectors, SIZE / 512);
		exercise(0, i * 64);
		disk_close(&d);
	}
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK(!exists(p.socket));
	slurp_stats(text, sizeof(text));
	CHECK(strstr(text, "{\"device\":\"block\",\"features\":[\""));
	CHECK(strstr(text, "\"VIRTIO_BLK_F_FLUSH\""));
	CHECK(strstr(text, "\"requests\":15,\"bytes_read\":40960,"
		     "\"bytes_written\":40960,\"errors\":0,"));
	peer_fini(&p);
}

TEST("every way of doing I/O serves several queues", "")
{
	static const char *const ways[] = {
		"--aio=io_uring", "--aio=threads", "--aio=inline",
		"--aio=auto"
	};
	static const char *const polls[] = { "--poll-us=0", "--poll-us=50" };
	char file[128];
	unsigned i, q;

	for (i = 0; i < 8; i++) {
		begin();
		snprintf(file, sizeof(file), "--blk-file=%s", p.image);
		PEER_START(&p, "vireo-blk", file, ways[i / 2], polls[i % 2],
			   "--num-queues=4", "--threads=2");
		disk_open(&d, p.socket, 4);
		CHECK_EQ(d.blk.nr_queues, 4);
		for (q = 0; q < 4; q++)
			exercise(q, q * 16);
		disk_close(&d);
		CHECK_EQ(peer_end(&p, SIGINT), 0);
		peer_fini(&p);
	}
}

TEST("a read-only disk is not written, whatever the driver does", "")
{
	char file[128];
	void *data;

	begin();
	CHECK_EQ(chmod(p.image, 0444), 0);
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", file, "--read-only");
	disk_open(&d, p.socket, 1);
	CHECK(d.blk.read_only);
	d.blk.read_only = false;
	data = front_data(&d.front, 4096);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_OUT, 0, data, 4096), VIO_E_IO);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0, data, 4096), VIO_OK);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

/* The capacity as the guest sees it after a signal, within 30 seconds. */
static void expect_sectors(uint64_t sectors)
{
	unsigned i;

	kill(p.pid, SIGUSR1);
	for (i = 0; i < 3000 && d.blk.capacity_sectors != sectors; i++) {
		usleep(10000);
		CHECK_EQ(vio_blkdrv_refresh(&d.blk), VIO_OK);
	}
	CHECK_EQ(d.blk.capacity_sectors, sectors);
}

TEST("a disk grows and shrinks while it is served", "")
{
	char file[128];

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", file);
	disk_open(&d, p.socket, 1);
	exercise(0, 0);
	CHECK_EQ(truncate(p.image, 2 * SIZE), 0);
	expect_sectors(2 * SIZE / 512);
	exercise(0, 2 * SIZE / 512 - 16);
	CHECK_EQ(truncate(p.image, SIZE + 100), 0);
	expect_sectors(SIZE / 512);
	d.blk.capacity_sectors = 2 * SIZE / 512;
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, SIZE / 512,
			  front_data(&d.front, 512), 512), VIO_E_IO);
	exercise(0, SIZE / 512 - 16);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

struct busy {
	pthread_t thread;
	unsigned queue;
	unsigned char *out, *in;
};

/* Write and read back, each queue in its own quarter of the disk. */
static void *be_busy(void *arg)
{
	struct busy *b = arg;
	struct vtest_rand r = vtest_rand_init(b->queue + 1);
	uint64_t first = b->queue * (SIZE / 512 / 4), at;
	unsigned i;

	for (i = 0; i < 200; i++) {
		at = first + vtest_below(&r, SIZE / 512 / 4 - 8);
		vtest_fill(&r, b->out, 4096);
		CHECK_EQ(disk_run(&d, b->queue, VIRTIO_BLK_T_OUT, at, b->out,
				  4096), VIO_OK);
		CHECK_EQ(disk_run(&d, b->queue, VIRTIO_BLK_T_IN, at, b->in,
				  4096), VIO_OK);
		if (memcmp(b->in, b->out, 4096)) {
			FAIL("queue %u: wrong data at %llu", b->queue,
			     (unsigned long long)at);
			break;
		}
	}
	return NULL;
}

TEST("four queues are busy at once while the size changes", "")
{
	static const char *const ways[] = { "--aio=io_uring",
					    "--aio=threads", "--aio=inline" };
	static struct busy b[4];
	char file[128];
	unsigned w, q;

	for (w = 0; w < 3; w++) {
		begin();
		snprintf(file, sizeof(file), "--blk-file=%s", p.image);
		PEER_START(&p, "vireo-blk", file, ways[w], "--num-queues=4",
			   "--threads=2");
		disk_open(&d, p.socket, 4);
		for (q = 0; q < 4; q++) {
			b[q].queue = q;
			b[q].out = front_data(&d.front, 4096);
			b[q].in = front_data(&d.front, 4096);
			CHECK_EQ(pthread_create(&b[q].thread, NULL, be_busy,
						&b[q]), 0);
		}
		for (q = 0; q < 20; q++) {
			CHECK_EQ(truncate(p.image, SIZE + 4096 * (q % 2)), 0);
			kill(p.pid, SIGUSR1);
			usleep(2000);
		}
		for (q = 0; q < 4; q++)
			pthread_join(b[q].thread, NULL);
		disk_close(&d);
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		peer_fini(&p);
	}
}

/* A front end that leaves requests behind: killed, or its memory gone. */
static void leave_badly(bool truncate_memory)
{
	static struct vio_blkdrv_req req[32];
	static struct vio_seg seg[32];
	unsigned i;

	/* A child of a test that failed must not stay behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	disk_open(&d, p.socket, 1);
	for (i = 0; i < 32; i++) {
		seg[i] = (struct vio_seg){ front_data(&d.front, 65536),
					   65536 };
		req[i] = (struct vio_blkdrv_req){
			.type = VIRTIO_BLK_T_OUT, .sector = 128 * i,
			.seg = &seg[i], .nr_seg = 1,
		};
		CHECK_EQ(vio_blkdrv_submit(&d.blk, 0, &req[i]), VIO_OK);
	}
	if (truncate_memory) {
		/* The rings' pages too. */
		CHECK_EQ(ftruncate(d.front.mem_fd, 0), 0);
		/* A kick by hand, for the driver's would read the ring. */
		vhu_client_bus.notify(d.front.client, 0, 0);
		/* The first time, until it was noticed. */
		peer_says(&p, "guest memory disappeared");
	} else {
		vio_blkdrv_commit(&d.blk, 0);
	}
}

TEST("a front end that is killed with requests in flight harms nobody", "")
{
	char file[128];
	unsigned i;
	pid_t pid;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", file);
	for (i = 0; i < 10; i++) {
		pid = fork();
		CHECK_GE(pid, 0);
		if (!pid) {
			leave_badly(false);
			kill(getpid(), SIGKILL);
		}
		waitpid(pid, NULL, 0);
	}
	disk_open(&d, p.socket, 1);
	exercise(0, 0);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("guest memory that disappears ends the session, not the daemon", "")
{
	char file[128];
	unsigned i;
	pid_t pid;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", file, "--poll-us=1000");
	for (i = 0; i < 5; i++) {
		pid = fork();
		CHECK_GE(pid, 0);
		if (!pid) {
			leave_badly(true);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	disk_open(&d, p.socket, 1);
	exercise(0, 0);
	disk_close(&d);
	CHECK(peer_says(&p, "guest memory disappeared"));
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("a daemon that is killed is replaced at the same socket", "")
{
	char file[128];
	unsigned i;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	for (i = 0; i < 3; i++) {
		PEER_START(&p, "vireo-blk", file);
		disk_open(&d, p.socket, 1);
		exercise(0, 16 * i);
		CHECK_EQ(peer_end(&p, SIGKILL), 128 + SIGKILL);
		CHECK(exists(p.socket));
		disk_close(&d);
	}
	/* The next one must not mistake the old file for its own. */
	PEER_START(&p, "vireo-blk", file);
	disk_open(&d, p.socket, 1);
	exercise(0, 0);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK(!exists(p.socket));
	peer_fini(&p);
}

TEST("a second front end waits for the first to leave", "")
{
	static struct front_disk second;
	char file[128];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;
	char c;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", file);
	disk_open(&d, p.socket, 1);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", p.socket);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	exercise(0, 0);
	/* It is not hung up on. */
	CHECK_EQ(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	close(fd);
	disk_close(&d);
	disk_open(&second, p.socket, 1);
	d = second;
	exercise(0, 0);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("an inherited connection is served, and the daemon ends with it", "")
{
	char file[128];
	int sv[2];

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	peer_start(&p, "vireo-blk", (const char *[]){ "--fd=3", file, NULL },
		   sv[1]);
	close(sv[1]);
	CHECK(front_open(&d.front, NULL, sv[0]));
	front_close(&d.front);
	CHECK_EQ(peer_wait(&p), 0);
	peer_fini(&p);
}

TEST("the daemon leaves with its first front end, if told so", "")
{
	struct stat st;

	begin();
	PEER_START(&p, "vireo-blk", "--backend=null", "--size=1M",
		   "--exit-on-disconnect", "--socket-mode=0600");
	CHECK_EQ(lstat(p.socket, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	disk_open(&d, p.socket, 1);
	disk_close(&d);
	CHECK_EQ(peer_wait(&p), 0);
	CHECK(!exists(p.socket));
	peer_fini(&p);
}

TEST("an inherited socket that listens is served over and over", "")
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	unsigned i;
	int fd;

	begin();
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", p.socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(fd, 1), 0);
	peer_start(&p, "vireo-blk", (const char *[]){ "--fd=3",
		   "--backend=null", "--size=1M", NULL }, fd);
	for (i = 0; i < 3; i++) {
		disk_open(&d, p.socket, 1);
		CHECK_EQ(d.blk.capacity_sectors, 2048);
		disk_close(&d);
	}
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	/* Not ours to remove. */
	CHECK(exists(p.socket));
	close(fd);
	peer_fini(&p);
}

/* What a program says on standard output before it leaves. */
static void expect_output(const char *program, const char *option,
			  const char *want)
{
	char command[512], got[16384];	/* all: it must not die of a pipe */
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s/%s %s", VIREO_BIN, program,
		 option);
	f = popen(command, "r");
	CHECK(f != NULL);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = 0;
	CHECK_EQ(pclose(f), 0);
	CHECK(!strncmp(got, want, strlen(want)));
}

TEST("each daemon says what it can do and what it is", "")
{
	expect_output("vireo-blk", "--print-capabilities",
		      "{\"type\":\"block\",\"features\":[\"read-only\","
		      "\"blk-file\"]}\n");
	expect_output("vireo-console", "--print-capabilities",
		      "{\"type\":\"console\",\"features\":[]}\n");
	expect_output("vireo-rng", "--print-capabilities",
		      "{\"type\":\"rng\",\"features\":[]}\n");
	expect_output("vireo-blk", "--version", "vireo-blk 0.");
	expect_output("vireo-blk", "--help", "usage: vireo-blk --socket-path");
}

TEST("SIGTERM in the middle of work ends cleanly", "")
{
	unsigned i;
	int ready[2];
	pid_t pid;
	char c;

	for (i = 0; i < 5; i++) {
		begin();
		PEER_START(&p, "vireo-blk", "--backend=mem", "--size=16M");
		CHECK_EQ(pipe(ready), 0);
		pid = fork();
		CHECK_GE(pid, 0);
		if (!pid) {
			leave_badly(false);
			if (write(ready[1], "", 1) == 1)
				pause();
			_exit(1);
		}
		close(ready[1]);
		CHECK_EQ(read(ready[0], &c, 1), 1);
		close(ready[0]);
		usleep(200 * i);
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		CHECK(!exists(p.socket));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		peer_fini(&p);
	}
}

/* Exit code and words of a start that must fail. */
static void refused(int code, const char *words, const char *const *args)
{
	peer_start(&p, "vireo-blk", args, -1);
	CHECK_EQ(peer_wait(&p), code);
	CHECK(peer_said(&p, words));
	CHECK(!exists(p.socket));
}

#define REFUSED(code, words, ...) \
	refused(code, words, (const char *[]){ __VA_ARGS__, NULL })

TEST("bad input is refused with cause and cure", "")
{
	char file[128], folder[128];

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	snprintf(folder, sizeof(folder), "--blk-file=%s", p.dir);
	REFUSED(1, "Give --blk-file=FILE", "--read-only");
	REFUSED(1, "No such file", "--blk-file=/nonexistent");
	REFUSED(1, "directory", folder);
	REFUSED(1, "neither a regular file nor", "--blk-file=/dev/null");
	REFUSED(1, "exclude each other", file, "--backend=null");
	REFUSED(1, "--size=256M", "--backend=mem");
	REFUSED(1, "--size is for", file, "--size=1M");
	REFUSED(1, "no multiple of the sector size", "--backend=mem",
		"--size=1000");
	REFUSED(1, "longer than 20 bytes", file,
		"--serial=123456789012345678901");
	REFUSED(1, "no power of two", file, "--queue-size=100");
	REFUSED(2, "outside 1..64", file, "--num-queues=65");
	REFUSED(2, "did you mean '--blk-file'?", "--blk-fil=x");
	if (!PEER_SANITIZED)
		REFUSED(2, "--i-know-this-is-unsafe", file,
			"--sandbox=none");
	REFUSED(2, "either --socket-path", file, "--fd=3");
	REFUSED(1, "no user 'nobody-of-that-name' can be found; a number", file,
		"--socket-owner=nobody-of-that-name");
	REFUSED(1, "each: too many; make them larger", "--backend=null",
		"--size=16T", "--zoned=host-managed", "--zone-size=4096");
	CHECK_EQ(truncate(p.image, 1000), 0);
	REFUSED(1, "truncate -s %512", file);
	CHECK_EQ(truncate(p.image, 100), 0);
	REFUSED(1, "less than one sector", file);
	peer_fini(&p);
}

TEST("sockets that cannot be are refused", "")
{
	char file[128], longer[128];
	struct peer other;

	begin();
	snprintf(file, sizeof(file), "--blk-file=%s", p.image);
	PEER_START(&p, "vireo-blk", "--backend=null", "--size=1M");
	other = p;
	other.pid = 0;
	snprintf(other.log, sizeof(other.log), "%s/log2", p.dir);
	PEER_START(&other, "vireo-blk", file);
	CHECK_EQ(peer_wait(&other), 1);
	CHECK(peer_said(&other, "is in use"));
	/* The first one is as good as before. */
	disk_open(&d, p.socket, 1);
	disk_close(&d);
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[127] = 0;
	PEER_START(&other, "vireo-blk", file, "--socket-path", longer);
	CHECK_EQ(peer_wait(&other), 1);
	CHECK(peer_said(&other, "too long"));
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("a running daemon has no capability and no new privileges", "")
{
	char path[64], line[256];
	unsigned seen = 0;
	FILE *f;

	if (PEER_SANITIZED)
		SKIP("runs without a sandbox here");
	begin();
	PEER_START(&p, "vireo-blk", "--backend=null", "--size=1M");
	disk_open(&d, p.socket, 1);
	snprintf(path, sizeof(path), "/proc/%d/status", p.pid);
	f = fopen(path, "r");
	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "CapEff:", 7) ||
		    !strncmp(line, "CapPrm:", 7) ||
		    !strncmp(line, "CapBnd:", 7)) {
			/* The bounding set stays where root is not. */
			if (geteuid() == 0 || line[3] != 'B')
				CHECK_EQ(strtoull(line + 7, NULL, 16), 0);
			seen++;
		}
		if (!strncmp(line, "NoNewPrivs:", 11)) {
			CHECK_EQ(atoi(line + 11), 1);
			seen++;
		}
		if (!strncmp(line, "Seccomp:", 8)) {
			CHECK_EQ(atoi(line + 8), 2);
			seen++;
		}
	}
	fclose(f);
	CHECK_EQ(seen, 5);
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}
