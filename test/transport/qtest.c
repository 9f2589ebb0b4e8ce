/* SPDX-License-Identifier: MIT */
/*
 * qtest.c - see qtest.h. It knows no device.
 */
#define _GNU_SOURCE
#include "test/transport/qtest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROM_LEN		65536
#define ARGS_MAX	64
#define START_MS	60000

/* The processor halts at its first instruction, and again if it wakes. */
static bool write_rom(const char *path)
{
	static const unsigned char park[] = { 0xfa, 0xf4, 0xeb, 0xfd };
	static unsigned char rom[ROM_LEN];
	FILE *f = fopen(path, "wbe");
	bool ok;

	if (!f)
		return false;
	memcpy(rom + ROM_LEN - 16, park, sizeof(park));
	ok = fwrite(rom, 1, ROM_LEN, f) == ROM_LEN;
	return fclose(f) == 0 && ok;
}

static bool map_ram(struct qtest *q, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return false;
	if (ftruncate(fd, (off_t)q->ram_len) == 0)
		q->ram = mmap(NULL, q->ram_len, PROT_READ | PROT_WRITE,
			      MAP_SHARED, fd, 0);
	close(fd);
	return q->ram && q->ram != MAP_FAILED;
}

static void run_qemu(const struct qtest *q, const char *const *args)
{
	char object[160], size[32], sock[96], rom[80], machine[80];
	const char *argv[ARGS_MAX] = {
		"qemu-system-x86_64", "-M", machine, "-accel", "tcg",
		"-nodefaults", "-display", "none", "-no-user-config",
		"-object", object, "-m", size, "-bios", rom, "-qtest", sock,
		"-qtest-log", "none", NULL };
	unsigned n = 0;

	snprintf(object, sizeof(object), "memory-backend-file,id=ram,"
		 "size=%zu,share=on,mem-path=%s/ram", q->ram_len, q->dir);
	snprintf(machine, sizeof(machine), "%s,memory-backend=ram,acpi=off",
		 q->machine);
	snprintf(size, sizeof(size), "%zuM", q->ram_len >> 20);
	snprintf(rom, sizeof(rom), "%s/rom", q->dir);
	snprintf(sock, sizeof(sock), "unix:%s/s,server=on,wait=off", q->dir);
	while (argv[n])
		n++;
	for (; *args && n < ARGS_MAX - 1; args++)
		argv[n++] = *args;
	argv[n] = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(errno == ENOENT ? 77 : 1);
}

/* Connect as soon as QEMU listens. */
static int connect_qtest(struct qtest *q)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int status;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", q->dir);
	for (unsigned ms = 0; ms < START_MS; ms += 10) {
		q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (q->fd >= 0 && connect(q->fd, (struct sockaddr *)&addr,
					  sizeof(addr)) == 0)
			return 0;
		if (q->fd >= 0)
			close(q->fd);
		q->fd = -1;
		if (waitpid(q->pid, &status, WNOHANG) == q->pid) {
			q->pid = 0;
			return WIFEXITED(status) &&
			       WEXITSTATUS(status) == 77 ? 77 : 1;
		}
		usleep(10000);
	}
	fprintf(stderr, "# QEMU does not answer\n");
	return 1;
}

int qtest_start(struct qtest *q, size_t ram_len, const char *const *args)
{
	return qtest_start_on(q, "microvm", ram_len, args);
}

int qtest_start_on(struct qtest *q, const char *machine, size_t ram_len,
		   const char *const *args)
{
	char path[80];
	int rc;

	*q = (struct qtest){ .fd = -1, .ram_len = ram_len,
			     .machine = machine };
	strcpy(q->dir, "/dev/shm/vireo-qtest-XXXXXX");
	if (!mkdtemp(q->dir)) {
		q->dir[0] = '\0';
		return 1;
	}
	snprintf(path, sizeof(path), "%s/rom", q->dir);
	if (!write_rom(path))
		return 1;
	snprintf(path, sizeof(path), "%s/ram", q->dir);
	if (!map_ram(q, path))
		return 1;
	q->pid = fork();
	if (q->pid == 0)
		run_qemu(q, args);
	rc = q->pid < 0 ? 1 : connect_qtest(q);
	return rc;
}

void qtest_stop(struct qtest *q)
{
	static const char *const files[] = { "ram", "rom", "s" };
	char path[80];

	if (q->fd >= 0)
		close(q->fd);
	if (q->pid > 0) {
		kill(q->pid, SIGKILL);
		waitpid(q->pid, NULL, 0);
	}
	if (q->ram && q->ram != MAP_FAILED)
		munmap(q->ram, q->ram_len);
	if (!q->dir[0])
		return;
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", q->dir, files[i]);
		unlink(path);
	}
	rmdir(q->dir);
}

/* Send a line, get a line. */
static bool ask(struct qtest *q, const char *line, char *answer, size_t room)
{
	size_t have = 0;
	ssize_t n = (ssize_t)strlen(line);

	if (q->fd < 0 || send(q->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	while (have + 1 < room) {
		struct pollfd p = { .fd = q->fd, .events = POLLIN };

		if (poll(&p, 1, START_MS) != 1)
			return false;
		n = read(q->fd, answer + have, room - 1 - have);
		if (n <= 0)
			return false;
		have += (size_t)n;
		answer[have] = '\0';
		if (answer[have - 1] == '\n')
			return strncmp(answer, "OK", 2) == 0;
	}
	return false;
}

static char letter(unsigned len)
{
	return len == 1 ? 'b' : len == 2 ? 'w' : 'l';
}

static bool get(struct qtest *q, const char *verb, uint64_t addr,
		unsigned len, uint32_t *v)
{
	char line[64], answer[64];

	snprintf(line, sizeof(line), "%s%c 0x%llx\n", verb, letter(len),
		 (unsigned long long)addr);
	if (!ask(q, line, answer, sizeof(answer)))
		return false;
	*v = (uint32_t)strtoull(answer + 2, NULL, 0);
	return true;
}

static bool put(struct qtest *q, const char *verb, uint64_t addr,
		unsigned len, uint32_t v)
{
	char line[64], answer[64];

	snprintf(line, sizeof(line), "%s%c 0x%llx 0x%x\n", verb, letter(len),
		 (unsigned long long)addr, v);
	return ask(q, line, answer, sizeof(answer));
}

bool qtest_read(struct qtest *q, uint64_t addr, unsigned len, uint32_t *v)
{
	return get(q, "read", addr, len, v);
}

bool qtest_write(struct qtest *q, uint64_t addr, unsigned len, uint32_t v)
{
	return put(q, "write", addr, len, v);
}

bool qtest_in(struct qtest *q, uint64_t port, unsigned len, uint32_t *v)
{
	return get(q, "in", port, len, v);
}

bool qtest_out(struct qtest *q, uint64_t port, unsigned len, uint32_t v)
{
	return put(q, "out", port, len, v);
}
