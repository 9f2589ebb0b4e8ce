/* SPDX-License-Identifier: MIT */
/* A daemon in a process of its own; see program.h. */
#define _GNU_SOURCE
#include "program.h"
#include "test/listens.h"
#include "vtest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>
#include <vireo/vhu_msg.h>

#define ARGS	16

static void make_memory(struct program *p)
{
	p->conf.mem_fd = memfd_create("program", MFD_CLOEXEC);
	CHECK_GE(p->conf.mem_fd, 0);
	CHECK_EQ(ftruncate(p->conf.mem_fd, PROGRAM_WINDOW), 0);
	p->mem.window.host = mmap(NULL, PROGRAM_WINDOW,
				  PROT_READ | PROT_WRITE, MAP_SHARED,
				  p->conf.mem_fd, 0);
	CHECK(p->mem.window.host != MAP_FAILED);
	p->mem.window.addr = vio_addr_of(0x100000);
	p->mem.window.size = PROGRAM_WINDOW;
	p->priv = malloc(PROGRAM_RINGS);
	CHECK(p->priv);
	p->data = p->mem.window.host + PROGRAM_RINGS;
	p->conf.window = p->mem.window;
	p->conf.timeout_ms = 60000;
}

void program_arenas(struct program *p)
{
	p->mem.shared.at = p->mem.window.host;
	p->mem.shared.left = PROGRAM_RINGS;
	p->mem.priv.at = p->priv;
	p->mem.priv.left = PROGRAM_RINGS;
}

/* In the child; does not come back. */
static void become(const char *name, const char *where,
		   const char *const *args)
{
	const char *argv[ARGS] = { name, where };
	char path[4096];
	unsigned n = 2;

	/* The sandbox keeps the leak checker from its work. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	while (*args && n < ARGS - 1)
		argv[n++] = *args++;
	snprintf(path, sizeof(path), "%s/%s", PROGRAMS, name);
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* A socket can be seen a moment before anybody listens on it. */
void program_open(struct program *p)
{
	int rc = vhu_client_open(&p->client, &p->conf);

	for (unsigned i = 0; i < 6000 && rc == -ECONNREFUSED; i++) {
		usleep(10000);
		rc = vhu_client_open(&p->client, &p->conf);
	}
	CHECK_EQ(rc, 0);
}

void program_start(struct program *p, const char *name,
		   const char *const *args, const int io[2])
{
	int pair[2];
	char fd[24];

	memset(p, 0, sizeof(*p));
	make_memory(p);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	p->pid = fork();
	CHECK_GE(p->pid, 0);
	if (p->pid == 0) {
		if (io) {
			dup2(io[0], STDIN_FILENO);
			dup2(io[1], STDOUT_FILENO);
		}
		snprintf(fd, sizeof(fd), "--fd=%d", dup(pair[1]));
		become(name, fd, args);
	}
	close(pair[1]);
	p->conf.socket_fd = pair[0];
	program_open(p);
}

void program_again(struct program *p, const char *name,
		   const char *const *args)
{
	char where[128];

	snprintf(where, sizeof(where), "--socket-path=%s",
		 p->conf.socket_path);
	p->pid = fork();
	CHECK_GE(p->pid, 0);
	if (p->pid == 0)
		become(name, where, args);
}

void program_start_to(struct program *p, const char *name,
		      const char *const *args, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	memset(p, 0, sizeof(*p));
	make_memory(p);
	p->conf.listen = true;
	p->conf.socket_path = path;
	strcpy(sa.sun_path, path);
	p->conf.socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	program_again(p, name, args);
	/* It may well be there before us. */
	usleep(5000);
	CHECK_EQ(bind(p->conf.socket_fd, (void *)&sa, sizeof(sa)), 0);
	CHECK_EQ(listen(p->conf.socket_fd, 4), 0);
	program_open(p);
}

void program_spawn_peer(struct program *p, const char *const *args,
			const char *socket)
{
	int quiet;

	memset(p, 0, sizeof(*p));
	make_memory(p);
	unlink(socket);
	p->pid = fork();
	CHECK_GE(p->pid, 0);
	if (p->pid == 0) {
		quiet = open("/dev/null", O_RDWR);
		dup2(quiet, STDOUT_FILENO);
		dup2(quiet, STDERR_FILENO);
		execv(args[0], (char *const *)(uintptr_t)args);
		_exit(127);
	}
	for (unsigned i = 0; i < 6000 && !listens(socket); i++)
		usleep(10000);
	p->conf.socket_path = socket;
}

void program_start_peer(struct program *p, const char *const *args,
			const char *socket)
{
	program_spawn_peer(p, args, socket);
	program_open(p);
}

static const struct {
	unsigned bit;
	const char *name;
} ring_features[] = {
	{ VIRTIO_F_INDIRECT_DESC, "INDIRECT_DESC" },
	{ VIRTIO_F_EVENT_IDX, "EVENT_IDX" },
	{ VIRTIO_F_VERSION_1, "VERSION_1" },
	{ VIRTIO_F_ACCESS_PLATFORM, "ACCESS_PLATFORM" },
	{ VIRTIO_F_RING_PACKED, "RING_PACKED" },
	{ VIRTIO_F_IN_ORDER, "IN_ORDER" },
	{ VIRTIO_F_ORDER_PLATFORM, "ORDER_PLATFORM" },
};

void program_report(struct program *p, const char *peer, uint64_t features)
{
	uint64_t pf = vhu_client_protocol_features(p->client);
	char path[300], fresh[320];
	const char *comma = "";
	FILE *f;

	mkdir(PROGRAMS "/../interop", 0777);
	snprintf(path, sizeof(path), PROGRAMS "/../interop/drives-%s.json",
		 peer);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	f = fopen(fresh, "w");
	CHECK(f != NULL);
	fprintf(f, "{\"features\":[");
	for (unsigned i = 0; i < VIO_ARRAY_LEN(ring_features); i++) {
		if (!(features >> ring_features[i].bit & 1))
			continue;
		fprintf(f, "%s\"%s\"", comma, ring_features[i].name);
		comma = ",";
	}
	fprintf(f, "],\"protocol_features\":[");
	comma = "";
	for (unsigned i = 0; i < VHU_PROTOCOL_BITS; i++) {
		if (!(pf >> i & 1))
			continue;
		fprintf(f, "%s\"%s\"", comma, vhu_protocol_name(i));
		comma = ",";
	}
	fprintf(f, "]}\n");
	CHECK_EQ(fclose(f), 0);
	CHECK_EQ(rename(fresh, path), 0);
}

static void free_memory(struct program *p)
{
	munmap(p->mem.window.host, PROGRAM_WINDOW);
	close(p->conf.mem_fd);
	free(p->priv);
}

void program_stop_peer(struct program *p)
{
	vhu_client_close(p->client);
	kill(p->pid, SIGTERM);
	CHECK_EQ(waitpid(p->pid, NULL, 0), p->pid);
	free_memory(p);
}

void program_stop(struct program *p)
{
	int status = 0;

	vhu_client_close(p->client);
	if (p->pid) {
		CHECK_EQ(kill(p->pid, SIGTERM), 0);
		CHECK_EQ(waitpid(p->pid, &status, 0), p->pid);
	}
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
	free_memory(p);
}
