/* SPDX-License-Identifier: MIT */
/*
 * Every daemon at rest: with a front end that asks for nothing it takes no
 * processor time, and after front ends that lie, cut memory short and hang up
 * it holds no descriptor, mapping or thread more than before.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/driver_console.h>
#include <vireo/driver_net.h>
#include <vireo/driver_rng.h>

#include "test/host/peer.h"
#include "vhost/sock.h"
#include "vtest.h"

#define PROGRAMS 4u
/* Looked at for so long, of which so much may be used. */
#define REST_US 1500000
#define REST_NS_MAX 1500000ull
/* Connections of a front end that lies; what it says in one, at most. */
#define ATTACKS 60u
#define WORDS 24u

static struct peer p[PROGRAMS];
static struct front f[PROGRAMS];
static struct front_disk disk;
static struct vio_rngdrv rng;
static struct vio_condrv con;
static struct vio_netdrv net;

static void start_all(void)
{
	for (unsigned i = 0; i < PROGRAMS; i++)
		peer_init(&p[i]);
	PEER_START(&p[0], "vireo-blk", "--backend=mem", "--size=4M",
		   "--num-queues=2");
	PEER_START(&p[1], "vireo-rng", NULL);
	PEER_START(&p[2], "vireo-console", "--backend=pty");
	PEER_START(&p[3], "vireo-net", "--backend=echo");
}

static void end_all(void)
{
	for (unsigned i = 0; i < PROGRAMS; i++) {
		CHECK_EQ(peer_end(&p[i], SIGTERM), 0);
		peer_fini(&p[i]);
	}
}

/* A driver each, and something to do. */
static void front_all(void)
{
	const struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	const struct vio_features all = { { ~0ull, ~0ull } };
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 128, .indirect_max = 4 },
		.rx_buffers = 64, .rx_len = 2048,
	};
	uint32_t got;

	disk_open(&disk, p[0].socket, 2);
	CHECK_EQ(disk_run(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	for (unsigned i = 1; i < PROGRAMS; i++)
		CHECK(front_open_as(&f[i], p[i].socket, -1, i == 3));
	CHECK_EQ(vio_rngdrv_init(&rng, &vhu_client_bus, f[1].client, &all,
				 &limits, &f[1].drv_mem), VIO_OK);
	CHECK_EQ(vio_rngdrv_read(&rng, front_data(&f[1], 64), 64, &got),
		 VIO_OK);
	memset(&con, 0, sizeof(con));
	CHECK_EQ(vio_condrv_init(&con, &vhu_client_bus, f[2].client, &all,
				 &limits, &f[2].drv_mem), VIO_OK);
	CHECK_EQ(vio_condrv_print(&con, front_data(&f[2], 8), 8), VIO_OK);
	CHECK_EQ(vio_netdrv_init(&net, &vhu_client_bus, f[3].client, &c,
				 &f[3].drv_mem), VIO_OK);
}

static void leave_all(void)
{
	disk_close(&disk);
	for (unsigned i = 1; i < PROGRAMS; i++)
		front_close(&f[i]);
}

/* -- what a process has ---------------------------------------------------- */

static unsigned entries(pid_t pid, const char *of)
{
	struct dirent *e;
	unsigned n = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, of);
	dir = opendir(path);
	CHECK(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* Mappings of memory that front ends share. */
static unsigned mappings(pid_t pid)
{
	char path[64], line[512];
	unsigned n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "r");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, "memfd:") != NULL;
	fclose(file);
	return n;
}

struct has {
	unsigned fds, maps, threads;
};

static struct has look(pid_t pid)
{
	return (struct has){ entries(pid, "fd"), mappings(pid),
			     entries(pid, "task") };
}

/* They notice in their own time that a front end left: 30 seconds at most. */
static struct has look_until(pid_t pid, struct has as)
{
	struct has now = look(pid);

	for (unsigned i = 0; i < 3000; i++) {
		if (now.fds <= as.fds && !now.maps &&
		    now.threads <= as.threads)
			break;
		usleep(10000);
		now = look(pid);
	}
	return now;
}

/* -- rest ------------------------------------------------------------------ */

/* The most that one of them uses. */
static uint64_t used_at_rest(void)
{
	uint64_t before[PROGRAMS], ns, most = 0;

	usleep(300000);	/* polling ends, timers of the start are through */
	for (unsigned i = 0; i < PROGRAMS; i++)
		before[i] = peer_used_ns(&p[i]);
	usleep(REST_US);
	for (unsigned i = 0; i < PROGRAMS; i++) {
		ns = peer_used_ns(&p[i]) - before[i];
		most = ns > most ? ns : most;
		if (ns > REST_NS_MAX)
			vtest_note("program %u: %llu us of %u", i,
				   (unsigned long long)ns / 1000, REST_US);
	}
	return most;
}

/* A machine that is busy otherwise may take longer until they rest. */
static void rest(const char *when)
{
	uint64_t most = used_at_rest();

	for (unsigned i = 0; i < 5 && most > REST_NS_MAX; i++)
		most = used_at_rest();
	vtest_note("%s: %llu us at most", when,
		   (unsigned long long)most / 1000);
	CHECK_LE(most, REST_NS_MAX);
}

TEST("rest: no daemon takes processor time without work", "")
{
	start_all();
	rest("before the first front end");
	front_all();
	rest("with one that asks for nothing");
	leave_all();
	rest("after it");
	end_all();
}

/* -- attacks --------------------------------------------------------------- */

static struct vtest_rand rnd;
static struct vhu_msg msg;

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	CHECK_EQ(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Small numbers more often than others; now and then, all of it at random. */
static void invent(uint32_t request)
{
	uint32_t len = (uint32_t)vtest_below(&rnd, 9) * 8;
	uint64_t *word = (uint64_t *)(void *)&msg.p;

	vhu_msg_init(&msg, request, vtest_below(&rnd, 2) ? VHU_NEED_REPLY : 0,
		     len);
	for (uint32_t i = 0; i < len / 8; i++)
		word[i] = vtest_below(&rnd, 3) ? vtest_below(&rnd, 4) :
			vtest_below(&rnd, 2) ? 65536 : vtest_u64(&rnd);
}

/* What is in order, with memory that will be cut. */
static void offer_memory(int memory)
{
	struct vhu_mem_table t = { .nr = 1,
		.region[0] = { 0, 65536, 0x10000, 0 } };

	vhu_msg_init(&msg, VHOST_USER_SET_MEM_TABLE, 0, 40);
	memcpy(&msg.p, &t, 40);
	msg.fd[0] = memory;
	msg.nr_fds = 1;
}

static void attack(const char *path)
{
	int sock = connect_to(path), memory = memfd_create("m", MFD_CLOEXEC);
	unsigned words = (unsigned)vtest_below(&rnd, WORDS);
	char answer[512];

	CHECK_EQ(ftruncate(memory, 65536), 0);
	for (unsigned i = 0; i < words; i++) {
		if (vtest_below(&rnd, 4)) {
			invent(1 + (uint32_t)vtest_below(&rnd, 46));
			msg.nr_fds = (unsigned)vtest_below(&rnd, 3);
			for (unsigned k = 0; k < msg.nr_fds; k++)
				msg.fd[k] = memory;
		} else {
			offer_memory(memory);
		}
		if (vhu_sock_send(sock, &msg, 100))
			break;
		if (!vtest_below(&rnd, 8))
			CHECK_EQ(ftruncate(memory, 0), 0);
		while (recv(sock, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			;
	}
	close(memory);
	close(sock);
}

TEST("rest: nothing is left of front ends that lie", "")
{
	struct has before[PROGRAMS], after;

	rnd = vtest_rand_init(vtest_seed());
	start_all();
	front_all();
	leave_all();
	usleep(200000);
	for (unsigned i = 0; i < PROGRAMS; i++) {
		do {
			before[i] = look(p[i].pid);
			usleep(10000);
		} while (before[i].maps);
	}
	for (unsigned n = 0; n < ATTACKS; n++) {
		for (unsigned i = 0; i < PROGRAMS; i++)
			attack(p[i].socket);
	}
	/* Each serves a good one, and has no more than it had. */
	front_all();
	leave_all();
	for (unsigned i = 0; i < PROGRAMS; i++) {
		after = look_until(p[i].pid, before[i]);
		CHECK_LE(after.fds, before[i].fds);
		CHECK_EQ(after.maps, 0);
		CHECK_LE(after.threads, before[i].threads);
		CHECK(peer_says(&p[i], "error:"));
	}
	end_all();
}
