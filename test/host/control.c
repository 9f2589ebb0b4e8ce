/* SPDX-License-Identifier: MIT */
/* The control socket: its lines, its manners, and what daemons tell by it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/control.h"
#include "test/host/peer.h"
#include "vtest.h"

/* -- lines ----------------------------------------------------------------- */

static int say(void *ctx, unsigned nr_args, char **args, struct text *out)
{
	unsigned *times = ctx;

	++*times;
	if (nr_args && !strcmp(args[0], "no")) {
		text_fmt(out, "said \"no\"");
		return -EINVAL;
	}
	if (nr_args)
		text_json(out, args[nr_args - 1]);
	return 0;
}

static const struct control_command table[] = {
	{ .name = "say", .args = "[A] [B]", .max_args = 2, .run = say },
	{ .name = "both", .args = "A B", .min_args = 2, .max_args = 2,
	  .run = say },
	{ .name = "raw", .args = "", .raw = true, .run = say },
	{ 0 }
};

/* Commands about one of several: there is one, called "it". */
static unsigned it;

static void *pick(void *ctx, const char *name)
{
	CHECK(!ctx);
	return strcmp(name, "it") ? NULL : &it;
}

static const struct control_command of_one[] = {
	{ .name = "say", .args = "A B", .min_args = 2, .max_args = 2,
	  .run = say },
	{ .name = "look", .args = "[A]", .max_args = 1, .run = say },
	{ 0 }
};

#define REFUSED(why) "{\"ok\":false,\"error\":\"" why "\"}\n"

static void expect(const char *line, const char *answer)
{
	unsigned times = 0;
	const struct control_set set = {
		.table = { NULL, table, of_one }, .ctx = { NULL, &times },
		.pick = { NULL, NULL, pick },
	};
	char copy[CONTROL_LINE_MAX + 1];
	struct text out;

	snprintf(copy, sizeof(copy), "%s", line);
	text_init(&out, CONTROL_ANSWER_MAX);
	control_answer(&set, copy, &out);
	CHECK_STREQ(text_str(&out), answer);
	text_free(&out);
}

TEST("a command may be about one of several, by its name", "")
{
	expect("look it", "{\"ok\":true,\"result\":null}\n");
	expect("look it A", "{\"ok\":true,\"result\":\"A\"}\n");
	expect("say it A B", "{\"ok\":true,\"result\":\"B\"}\n");
	CHECK_EQ(it, 3);
	expect("look that", REFUSED("there is no 'that'; "
				    "'list' tells what there is"));
	expect("look", REFUSED("'look' takes NAME [A]"));
	expect("look it A B", REFUSED("'look' takes NAME [A]"));
}

TEST("a line becomes a command, its words, and one answer", "")
{
	expect("say", "{\"ok\":true,\"result\":null}\n");
	expect(" say\tit  again ", "{\"ok\":true,\"result\":\"again\"}\n");
	expect("say \\\"", "{\"ok\":true,\"result\":\"\\\\\\\"\"}\n");
	expect("raw", "");
	expect("say no",
	       "{\"ok\":false,\"error\":\"said \\\"no\\\"\"}\n");
	expect("both one",
	       "{\"ok\":false,\"error\":\"'both' takes A B\"}\n");
	expect("raw x",
	       "{\"ok\":false,\"error\":\"'raw' takes no arguments\"}\n");
	expect("shout",
	       "{\"ok\":false,\"error\":\"no command 'shout'; 'help' lists them\"}\n");
	expect("", REFUSED("an empty line; 'help' lists the commands"));
	expect("say \x1b[0m",
	       REFUSED("the line has bytes that are not printable"));
	expect("say 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22"
	       " 23 24 25 26 27 28 29 30 31 32",
	       REFUSED("the line has too many words"));
}

TEST("a text never grows past its bound, and says so", "")
{
	struct text t;

	text_init(&t, 10);
	text_fmt(&t, "%s", "12345");
	text_add(&t, "67890", 5);
	CHECK(!t.failed);
	CHECK_STREQ(text_str(&t), "1234567890");
	text_add(&t, "x", 1);
	CHECK(t.failed);
	CHECK_STREQ(text_str(&t), "1234567890");
	text_clear(&t);
	text_fmt(&t, "%s", "12345678901");
	CHECK(t.failed);
	CHECK_EQ(t.len, 0);
	text_free(&t);
}

/* -- daemons --------------------------------------------------------------- */

static struct peer p;
static struct front_disk d;
static char path[96];

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = -1;

	CHECK_GE(fd, 0);
	strcpy(sa.sun_path, path);
	/* It comes behind the socket of front ends, for which peer.c waits. */
	for (unsigned i = 0; rc && i < 3000; i++) {
		rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
		if (rc)
			poll(NULL, 0, 10);
	}
	CHECK_EQ(rc, 0);
	return fd;
}

static void say_line(int fd, const char *line)
{
	size_t len = strlen(line);

	CHECK_EQ(send(fd, line, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* What comes until the text ends with @end. */
static void hear(int fd, char *buf, size_t size, const char *end)
{
	struct pollfd w = { .fd = fd, .events = POLLIN };
	size_t len = 0, n = strlen(end);

	while (len < n || memcmp(buf + len - n, end, n)) {
		ssize_t got;

		CHECK_EQ(poll(&w, 1, 30000), 1);
		got = recv(fd, buf + len, size - 1 - len, 0);
		CHECK_GT(got, 0);
		len += (size_t)got;
	}
	buf[len] = 0;
}

static const char *ask(const char *line)
{
	static char buf[65536];
	int fd = dial();

	say_line(fd, line);
	hear(fd, buf, sizeof(buf), "\n");
	close(fd);
	return buf;
}

static void begin(void)
{
	char control[128];

	peer_init(&p);
	snprintf(path, sizeof(path), "%s/control", p.dir);
	snprintf(control, sizeof(control), "--control-path=%s", path);
	PEER_START(&p, "vireo-blk", "--backend=mem", "--size=4M",
		   "--num-queues=2", "--latency", control);
}

static void end(void)
{
	struct stat st;

	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK(lstat(path, &st) && errno == ENOENT);
	peer_fini(&p);
}

TEST("a daemon tells its state, its rings and its metrics", "")
{
	static char text[65536];
	struct stat st;
	void *data;
	int fd;

	begin();
	CHECK_EQ(lstat(path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK(strstr(ask("status\n"), "\"connected\":false"));
	disk_open(&d, p.socket, 1);
	data = front_data(&d.front, 4096);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_OUT, i, data, 4096),
			 VIO_OK);
	CHECK(strstr(ask("status\n"), "\"connected\":true"));
	CHECK(strstr(ask("status\n"), "\"VIRTIO_BLK_F_FLUSH\""));
	CHECK(strstr(ask("status\n"), "\"INFLIGHT_SHMFD\""));
	CHECK(strstr(ask("ring 0\n"), "\"queue\":0,\"state\":\"running\""));
	CHECK(strstr(ask("ring 0\n"), "\"inflight\":0"));
	CHECK(strstr(ask("ring 1\n"), "\"state\":\"stopped\""));
	CHECK(strstr(ask("ring 2\n"), "no queue '2'; there are 0 to 1"));
	CHECK(strstr(ask("resize\n"), "\"sectors\":8192"));
	fd = dial();
	say_line(fd, "metrics\n");
	hear(fd, text, sizeof(text), "# EOF\n");
	CHECK(strstr(text, "\nvireo_requests_total{queue=\"0\"} 5\n"));
	CHECK(strstr(text, "\nvireo_written_bytes_total 20480\n"));
	CHECK(strstr(text, "\nvireo_connected 1\n"));
	CHECK(strstr(text, "\nvireo_storage_seconds_count{queue=\"0\"} 5\n"));
	close(fd);
	disk_close(&d);
	end();
}

TEST("each device has commands of its own", "")
{
	char control[128], said[128];

	begin();
	CHECK(strstr(ask("resize\n"), "\"sectors\":8192"));
	end();
	peer_init(&p);
	snprintf(path, sizeof(path), "%s/control", p.dir);
	snprintf(control, sizeof(control), "--control-path=%s", path);
	PEER_START(&p, "vireo-net", "--backend=null", control);
	CHECK(strstr(ask("link down\n"), "{\"ok\":true"));
	CHECK(strstr(ask("link sideways\n"), "\"ok\":false"));
	CHECK(strstr(ask("link\n"), "'link' takes up|down"));
	CHECK(strstr(ask("announce\n"), "{\"ok\":true"));
	end();
	peer_init(&p);
	snprintf(path, sizeof(path), "%s/control", p.dir);
	snprintf(control, sizeof(control), "--control-path=%s", path);
	snprintf(said, sizeof(said), "--path=%s/said", p.dir);
	PEER_START(&p, "vireo-console", "--backend=file", said, control);
	CHECK(strstr(ask("resize 100 40\n"), "{\"ok\":true"));
	CHECK(strstr(ask("resize 100 0\n"), "numbers from 1 to 65535"));
	end();
}

TEST("a client that breaks the rules is parted from", "")
{
	char text[1024], line[CONTROL_LINE_MAX];
	int fd;

	begin();
	fd = dial();
	memset(line, 'x', sizeof(line));
	CHECK_EQ(send(fd, line, sizeof(line), 0), (ssize_t)sizeof(line));
	hear(fd, text, sizeof(text), "\n");
	CHECK_STREQ(text, "{\"ok\":false,\"error\":\"the line is too long\"}\n");
	CHECK_EQ(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	fd = dial();
	CHECK_EQ(send(fd, "help\0ring\n", 10, 0), 10);
	hear(fd, text, sizeof(text), "\n");
	CHECK(strstr(text, "not printable"));
	/* Half a line, then the end: nothing was asked. */
	say_line(fd, "stat");
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	CHECK_EQ(recv(fd, text, sizeof(text), 0), 0);
	close(fd);
	end();
}

/* CPU time of the daemon in clock ticks. */
static unsigned long cpu_ticks(void)
{
	unsigned long user = 0, sys = 0;
	char name[64];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", p.pid);
	f = fopen(name, "r");
	CHECK(f != NULL);
	CHECK_EQ(fscanf(f, "%*d (%*[^)]) %*c"
			" %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d"
			" %lu %lu",
			&user, &sys), 2);
	fclose(f);
	return user + sys;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST("a storm of commands starves neither rings nor other clients", "")
{
	int storm[CONTROL_CLIENTS_MAX - 1];
	unsigned long ticks, rate = (unsigned long)sysconf(_SC_CLK_TCK);
	char text[8192], line[] = "metrics\nstatus\nring\nhelp\n";
	unsigned i, k, nr = CONTROL_CLIENTS_MAX - 1;
	double start, spent;
	void *data;

	begin();
	disk_open(&d, p.socket, 1);
	data = front_data(&d.front, 4096);
	for (i = 0; i < nr; i++)
		storm[i] = dial();
	ticks = cpu_ticks();
	start = now();
	for (k = 0; now() - start < 1.0 || (k <= 100 && now() - start < 60);
	     k++) {
		for (i = 0; i < nr; i++) {
			send(storm[i], line, sizeof(line) - 1,
			     MSG_DONTWAIT | MSG_NOSIGNAL);
			/* One of them never reads. */
			while (i && recv(storm[i], text, sizeof(text),
					 MSG_DONTWAIT) > 0)
				;
		}
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0, data, 4096),
			 VIO_OK);
		if (k % 256 == 0)
			CHECK(strstr(ask("ring 0\n"), "running"));
	}
	CHECK_GT(k, 100);
	/* The daemon served our requests too; still it had time left. */
	spent = now() - start;
	ticks = cpu_ticks() - ticks;
	if (!PEER_SANITIZED)
		CHECK((double)ticks / (double)rate < spent * 3 / 2);
	for (i = 0; i < nr; i++)
		close(storm[i]);
	CHECK(strstr(ask("status\n"), "\"ok\":true"));
	disk_close(&d);
	end();
}

TEST("clients that come and say nothing keep nobody out", "")
{
	int idle[3 * CONTROL_CLIENTS_MAX];
	unsigned i;

	begin();
	for (i = 0; i < VIO_ARRAY_LEN(idle); i++)
		idle[i] = dial();
	CHECK(strstr(ask("status\n"), "\"ok\":true"));
	for (i = 0; i < VIO_ARRAY_LEN(idle); i++)
		close(idle[i]);
	end();
}

/* Of a second; who polls has more on a machine of any load. */
#define IDLE_NS_MAX	1500000ull

TEST("an idle daemon uses no processor time, with a client and a front end", "")
{
	uint64_t ns = ~0ull;
	int fd;

	begin();
	disk_open(&d, p.socket, 1);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0,
			  front_data(&d.front, 512), 512), VIO_OK);
	fd = dial();
	CHECK(strstr(ask("status\n"), "\"ok\":true"));
	/* Time for the polling after the request to end: more, if need be. */
	for (unsigned i = 0; ns > IDLE_NS_MAX && i < 5; i++) {
		poll(NULL, 0, 200);
		ns = peer_used_ns(&p);
		poll(NULL, 0, 1000);
		ns = peer_used_ns(&p) - ns;
	}
	CHECK_LE(ns, IDLE_NS_MAX);
	close(fd);
	disk_close(&d);
	end();
}

/* A front end that asks and asks, and reads no answer for long. */
static void storm_of_messages(bool reads)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static uint32_t many[3 * 256];
	char none[65536];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	strcpy(sa.sun_path, p.socket);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		_exit(1);
	for (unsigned i = 0; i < 256; i++) {
		/* GET_FEATURES, version 1, no payload. */
		many[3 * i] = 1;
		many[3 * i + 1] = 1;
	}
	for (;;) {
		if (send(fd, many, sizeof(many), MSG_NOSIGNAL) < 0)
			_exit(1);
		while (reads &&
		       recv(fd, none, sizeof(none), MSG_DONTWAIT) > 0)
			;
	}
}

static int longer(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static void run_storm(bool reads)
{
	double took[30];
	int status;
	pid_t pid;

	begin();
	pid = fork();
	CHECK_GE(pid, 0);
	if (!pid)
		storm_of_messages(reads);
	while (!strstr(ask("status\n"), "\"connected\":true"))
		poll(NULL, 0, 10);
	for (unsigned i = 0; i < 30; i++) {
		took[i] = now();
		CHECK(strstr(ask("ring 0\n"), "\"ok\":true"));
		took[i] = now() - took[i];
		/* As often as one may ask. */
		poll(NULL, 0, 12);
	}
	/* Half of them: on a busy machine, one may wait for others. */
	qsort(took, VIO_ARRAY_LEN(took), sizeof(took[0]), longer);
	CHECK(took[15] < 1.0);
	/* It was still at it. */
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	disk_open(&d, p.socket, 1);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0,
			  front_data(&d.front, 512), 512), VIO_OK);
	disk_close(&d);
	end();
}

TEST("a front end's storm of messages keeps no client waiting", "")
{
	run_storm(true);
	/* One that waits for its own answers to be read, least of all. */
	run_storm(false);
}
