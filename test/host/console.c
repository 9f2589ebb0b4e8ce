/* SPDX-License-Identifier: MIT */
/* vireo-console and vireo-rng as programs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>

#include "test/host/peer.h"
#include "vtest.h"

static struct peer p;
static struct front f;
static struct vio_condrv con;

static void con_open(void)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	struct vio_features all = { { ~0ull, ~0ull } };

	memset(&con, 0, sizeof(con));
	CHECK(front_open(&f, p.socket, -1));
	CHECK_EQ(vio_condrv_init(&con, &vhu_client_bus, f.client, &all,
				 &limits, &f.drv_mem), VIO_OK);
}

static void print(const char *text)
{
	char *data = front_data(&f, strlen(text));

	memcpy(data, text, strlen(text));
	CHECK_EQ(vio_condrv_print(&con, data, strlen(text)), VIO_OK);
}

/* @len bytes of input, within 30 seconds. */
static void expect_input(const char *text)
{
	size_t len = strlen(text), got = 0;
	char buf[256];
	unsigned i;

	for (i = 0; i < 30000 && got < len; i++) {
		got += vio_condrv_read(&con, buf + got, sizeof(buf) - got);
		usleep(1000);
	}
	CHECK_EQ(got, len);
	CHECK_MEMEQ(buf, text, len);
}

/* Read exactly @len bytes from the host's end, within 30 seconds. */
static void read_all(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		CHECK_EQ(poll(&pfd, 1, 30000), 1);
		n = read(fd, (char *)buf + done, len - done);
		CHECK_GT(n, 0);
		done += (size_t)n;
	}
}

static int client(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

TEST("a file gets all that the guest prints, over several guests", "")
{
	char path[128], got[64] = "";
	int fd;

	peer_init(&p);
	snprintf(path, sizeof(path), "--path=%s", p.image);
	PEER_START(&p, "vireo-console", "--backend=file", path);
	con_open();
	print("first\n");
	front_close(&f);
	con_open();
	print("second\n");
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	fd = open(p.image, O_RDONLY);
	CHECK_EQ(read(fd, got, sizeof(got)), 13);
	close(fd);
	CHECK_STREQ(got, "first\nsecond\n");
	peer_fini(&p);
}

TEST("a socket's clients come and go; between them the newest is kept", "")
{
	char path[160], chr[128], got[64];
	struct stat st;
	int fd;

	peer_init(&p);
	snprintf(chr, sizeof(chr), "%s/console", p.dir);
	snprintf(path, sizeof(path), "--path=%s", chr);
	PEER_START(&p, "vireo-console", "--backend=socket", path);
	con_open();
	print("before anybody came\n");
	fd = client(chr);
	read_all(fd, got, 20);
	CHECK_MEMEQ(got, "before anybody came\n", 20);
	print("hello");
	read_all(fd, got, 5);
	CHECK_MEMEQ(got, "hello", 5);
	CHECK_EQ(write(fd, "typed\n", 6), 6);
	expect_input("typed\n");
	close(fd);
	print("and again");
	fd = client(chr);
	read_all(fd, got, 9);
	CHECK_EQ(write(fd, "x", 1), 1);
	expect_input("x");
	close(fd);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK_EQ(stat(chr, &st), -1);
	peer_fini(&p);
}

enum { FLOOD = 1 << 20, PIECE = 4096 };

TEST("a slow reader makes the guest wait, and nothing is lost", "")
{
	static unsigned char got[FLOOD], want[FLOOD];
	char path[160], chr[128];
	struct vtest_rand r = vtest_rand_init(vtest_seed());
	unsigned char *data;
	size_t sent = 0, done = 0, have = 0;
	unsigned idle = 0;
	int fd;

	peer_init(&p);
	snprintf(chr, sizeof(chr), "%s/console", p.dir);
	snprintf(path, sizeof(path), "--path=%s", chr);
	PEER_START(&p, "vireo-console", "--backend=socket", path);
	con_open();
	fd = client(chr);
	vtest_fill(&r, want, FLOOD);
	data = front_data(&f, FLOOD);
	memcpy(data, want, FLOOD);
	/* That it hears of no client before it has one to wait for. */
	print("ready");
	read_all(fd, got, 5);
	/* Fill all buffers while nobody reads, until the guest must wait. */
	while (sent < FLOOD && idle < 200) {
		if (!vio_condrv_send(&con, data + sent, PIECE, data)) {
			sent += PIECE;
			idle = 0;
		} else {
			idle++;
			usleep(1000);
		}
		while (vio_condrv_sent(&con))
			done += PIECE;
	}
	CHECK_LT(done, FLOOD);
	while (have < FLOOD) {
		while (sent < FLOOD &&
		       !vio_condrv_send(&con, data + sent, PIECE, data))
			sent += PIECE;
		read_all(fd, got + have, PIECE);
		have += PIECE;
		while (vio_condrv_sent(&con))
			done += PIECE;
	}
	CHECK_MEMEQ(got, want, FLOOD);
	close(fd);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("without a reader the guest never waits; the loss is told", "")
{
	char path[160], chr[128];
	unsigned char *data, *got = malloc(65536);
	size_t sent;
	int fd;

	peer_init(&p);
	snprintf(chr, sizeof(chr), "%s/console", p.dir);
	snprintf(path, sizeof(path), "--path=%s", chr);
	PEER_START(&p, "vireo-console", "--backend=socket", path);
	con_open();
	data = front_data(&f, PIECE);
	for (sent = 0; sent < 2 * 65536; sent += PIECE) {
		memset(data, (int)(sent / PIECE), PIECE);
		CHECK_EQ(vio_condrv_print(&con, data, PIECE), VIO_OK);
	}
	fd = client(chr);
	read_all(fd, got, 65536);
	CHECK_EQ(got[0], 16);
	CHECK_EQ(got[65535], 31);
	CHECK(peer_says(&p, "65536 bytes of console output were lost"));
	close(fd);
	free(got);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

/* Start with standard input and output of our choice. */
static void start_stdio(int in, int out, const char *const *args)
{
	int keep_in = dup(STDIN_FILENO), keep_out = dup(STDOUT_FILENO);

	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	peer_start(&p, "vireo-console", args, -1);
	dup2(keep_in, STDIN_FILENO);
	dup2(keep_out, STDOUT_FILENO);
	close(keep_in);
	close(keep_out);
}

TEST("standard input and output carry the console through pipes", "")
{
	static const char *const args[] = { "--backend=stdio", NULL };
	int in[2], out[2];
	char got[16];

	peer_init(&p);
	CHECK_EQ(pipe2(in, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	start_stdio(in[0], out[1], args);
	con_open();
	print("to the host");
	read_all(out[0], got, 11);
	CHECK_MEMEQ(got, "to the host", 11);
	CHECK_EQ(write(in[1], "to the guest", 12), 12);
	expect_input("to the guest");
	/* The end of the input is not the end of the output. */
	close(in[1]);
	usleep(50000);
	print("still here");
	read_all(out[0], got, 10);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	/* The descriptors are given back as they were. */
	CHECK_EQ(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	close(in[0]);
	close(out[0]);
	close(out[1]);
	peer_fini(&p);
}

TEST("a pseudo-terminal is named, and can be opened again", "")
{
	static const char *const args[] = { "--backend=pty", NULL };
	char name[64] = "", got[16];
	unsigned i;
	int out[2], fd;
	ssize_t n;

	peer_init(&p);
	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	start_stdio(STDIN_FILENO, out[1], args);
	n = read(out[0], name, sizeof(name) - 1);
	CHECK_GT(n, 1);
	name[n - 1] = 0;
	con_open();
	for (i = 0; i < 3; i++) {
		fd = open(name, O_RDWR | O_NOCTTY);
		CHECK_GE(fd, 0);
		print("prompt");
		read_all(fd, got, 6);
		CHECK_MEMEQ(got, "prompt", 6);
		CHECK_EQ(write(fd, "ls\n", 3), 3);
		expect_input("ls\n");
		close(fd);
		usleep(50000);
	}
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	close(out[0]);
	close(out[1]);
	peer_fini(&p);
}

TEST("a terminal is raw meanwhile, has a size, and is given back", "")
{
	static const char *const args[] = { NULL };
	struct winsize w = { .ws_col = 100, .ws_row = 30 };
	struct termios t;
	int master, slave;
	unsigned i;
	char got[8];

	peer_init(&p);
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_GE(master, 0);
	CHECK_EQ(grantpt(master) | unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_GE(slave, 0);
	CHECK_EQ(ioctl(slave, TIOCSWINSZ, &w), 0);
	start_stdio(slave, slave, args);
	con_open();
	CHECK_EQ(con.cols, 100);
	CHECK_EQ(con.rows, 30);
	CHECK_EQ(tcgetattr(slave, &t), 0);
	CHECK_EQ(t.c_lflag & (ICANON | ECHO | ISIG), 0);
	/* Ctrl-C is the guest's. */
	CHECK_EQ(write(master, "a\003b", 3), 3);
	expect_input("a\003b");
	print("$ ");
	read_all(master, got, 2);
	w.ws_col = 80;
	CHECK_EQ(ioctl(slave, TIOCSWINSZ, &w), 0);
	kill(p.pid, SIGWINCH);
	for (i = 0; i < 3000 && con.cols != 80; i++) {
		usleep(10000);
		CHECK_EQ(vio_condrv_refresh(&con), VIO_OK);
	}
	CHECK_EQ(con.cols, 80);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK_EQ(tcgetattr(slave, &t), 0);
	CHECK_EQ(t.c_lflag & (ICANON | ECHO | ISIG), ICANON | ECHO | ISIG);
	close(master);
	close(slave);
	peer_fini(&p);
}

/* Processor time of the daemon, in clock ticks. */
static long cpu_ticks(void)
{
	char path[64], text[512];
	unsigned long user, sys;
	const char *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", p.pid);
	file = fopen(path, "r");
	CHECK(file != NULL);
	CHECK(fgets(text, sizeof(text), file) != NULL);
	fclose(file);
	at = strrchr(text, ')');
	CHECK(at != NULL);
	CHECK_EQ(sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
			"%*u %lu %lu", &user, &sys), 2);
	return (long)(user + sys);
}

TEST("buffers that wait for input cost no processor time", "")
{
	char path[128];
	long before;

	peer_init(&p);
	snprintf(path, sizeof(path), "--path=%s", p.image);
	PEER_START(&p, "vireo-console", "--backend=file", path,
		   "--poll-us=1000");
	con_open();
	print("busy for a moment");
	before = cpu_ticks();
	sleep(1);
	/* A hundred ticks a second would be all of a processor. */
	CHECK_LE(cpu_ticks() - before, sysconf(_SC_CLK_TCK) / 20);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

static struct vio_rngdrv rng;

static void rng_open(void)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	struct vio_features all = { { ~0ull, ~0ull } };

	memset(&rng, 0, sizeof(rng));
	CHECK(front_open(&f, p.socket, -1));
	CHECK_EQ(vio_rngdrv_init(&rng, &vhu_client_bus, f.client, &all,
				 &limits, &f.drv_mem), VIO_OK);
}

TEST("the kernel's random bytes are not all alike", "")
{
	unsigned char *data;
	unsigned count[256] = { 0 }, i, sum = 0;
	uint32_t got;

	peer_init(&p);
	PEER_START(&p, "vireo-rng", "--poll-us=0");
	rng_open();
	data = front_data(&f, 4096);
	while (sum < 65536) {
		CHECK_EQ(vio_rngdrv_read(&rng, data, 4096, &got), VIO_OK);
		CHECK_GT(got, 0);
		for (i = 0; i < got; i++)
			count[data[i]]++;
		sum += got;
	}
	for (i = 0; i < 256; i++) {
		CHECK_GT(count[i], 100);
		CHECK_LT(count[i], 500);
	}
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("a file's bytes are given out once, a pipe's as they come", "")
{
	char source[160], fifo[128];
	unsigned char *data;
	uint32_t got;
	int fd;

	peer_init(&p);
	fd = open(p.image, O_CREAT | O_WRONLY, 0600);
	CHECK_EQ(write(fd, "0123456789", 10), 10);
	close(fd);
	snprintf(source, sizeof(source), "--source=%s", p.image);
	PEER_START(&p, "vireo-rng", source);
	rng_open();
	data = front_data(&f, 4096);
	CHECK_EQ(vio_rngdrv_read(&rng, data, 4096, &got), VIO_OK);
	CHECK_EQ(got, 10);
	CHECK_MEMEQ(data, "0123456789", 10);
	CHECK(peer_says(&p, "given out once"));
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);

	snprintf(fifo, sizeof(fifo), "%s/fifo", p.dir);
	CHECK_EQ(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDWR);
	CHECK_GE(fd, 0);
	snprintf(source, sizeof(source), "--source=%s", fifo);
	PEER_START(&p, "vireo-rng", source);
	rng_open();
	data = front_data(&f, 4096);
	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = fork();

		CHECK_GE(pid, 0);
		if (!pid) {
			/* After the driver has asked. */
			usleep(30000);
			_exit(write(fd, "abc", 3) != 3);
		}
		CHECK_EQ(vio_rngdrv_read(&rng, data, 4096, &got), VIO_OK);
		CHECK_EQ(got, 3);
	}
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	close(fd);
	peer_fini(&p);
}
