/* SPDX-License-Identifier: MIT */
/*
 * Starting and ending daemons, and being their front end. What they should
 * do is for the tests to know.
 */
#include "test/host/peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/listens.h"
#include "vtest.h"

enum { LOGS = 8, TOLD = 64 << 10, WAIT_MS = 60000 };

/* What the daemons of this case say goes where; "" where there is none. */
static char logs[LOGS][sizeof(((struct peer *)0)->log)];
static pid_t pids[LOGS];

static void tell_log(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "r");

	if (!f)
		return;
	vtest_note("%s:", path);
	if (!fseek(f, 0, SEEK_END) && ftell(f) > TOLD)
		fseek(f, -TOLD, SEEK_END);
	else
		rewind(f);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		vtest_note("  %s", line);
	}
	fclose(f);
}

/* One that a test has not waited for. */
static void tell_end(pid_t pid)
{
	siginfo_t info = { 0 };

	if (pid > 0 && !waitid(P_PID, (id_t)pid, &info,
			       WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
		vtest_note("it has ended: %s %d", info.si_code == CLD_EXITED ?
			   "exit status" : "signal", info.si_status);
}

/* A case that failed never comes to its peer_fini(). */
static void tell(void)
{
	unsigned i;

	for (i = 0; i < LOGS; i++) {
		if (logs[i][0]) {
			tell_log(logs[i]);
			tell_end(pids[i]);
		}
		logs[i][0] = 0;
	}
}

static void remember(const char *log, pid_t pid)
{
	unsigned i;

	vtest_witness(tell);
	for (i = 0; i < LOGS - 1; i++)
		if (!logs[i][0] || !strcmp(logs[i], log))
			break;
	snprintf(logs[i], sizeof(logs[i]), "%s", log);
	pids[i] = pid;
}

/* All in a folder. */
static void forget(const char *dir)
{
	unsigned i;

	for (i = 0; i < LOGS; i++)
		if (!strncmp(logs[i], dir, strlen(dir)))
			logs[i][0] = 0;
}

void peer_init(struct peer *p)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->dir, sizeof(p->dir), "/tmp/vireo-peer.XXXXXX");
	CHECK(mkdtemp(p->dir) != NULL);
	snprintf(p->socket, sizeof(p->socket), "%s/socket", p->dir);
	snprintf(p->image, sizeof(p->image), "%s/image", p->dir);
	snprintf(p->stats, sizeof(p->stats), "%s/stats", p->dir);
	snprintf(p->log, sizeof(p->log), "%s/log", p->dir);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void peer_fini(struct peer *p)
{
	if (p->pid)
		peer_end(p, SIGKILL);
	forget(p->dir);
	nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}

static void become(struct peer *p, const char *program,
		   const char *const *args, int fd)
{
	const char *argv[32];
	char path[512];
	int log, n = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, STDERR_FILENO);
	/* Onto itself it would keep its close-on-exec flag. */
	if (fd == 3)
		fcntl(fd, F_SETFD, 0);
	else if (fd >= 0)
		dup2(fd, 3);
	snprintf(path, sizeof(path), "%s/%s", VIREO_BIN, program);
	argv[n++] = path;
	if (fd == -1) {
		argv[n++] = "--socket-path";
		argv[n++] = p->socket;
	}
	/* The tap has no sandbox. */
	if (PEER_SANITIZED && strcmp(program, "vireo-tap")) {
		argv[n++] = "--sandbox=none";
		argv[n++] = "--i-know-this-is-unsafe";
	}
	while (*args && n < 31)
		argv[n++] = *args++;
	argv[n] = NULL;
	execv(path, (char **)(uintptr_t)argv);
	_exit(127);
}

void peer_start(struct peer *p, const char *program, const char *const *args,
		int fd)
{
	unsigned i;

	unlink(p->log);
	p->pid = fork();
	CHECK_GE(p->pid, 0);
	if (!p->pid)
		become(p, program, args, fd);
	remember(p->log, p->pid);
	/* Often: how soon a successor serves is measured. */
	for (i = 0; fd < 0 && i < WAIT_MS; i++) {
		siginfo_t info = { 0 };

		if (listens(p->socket))
			return;
		/* Perhaps it refused its options: the caller sees. */
		waitid(P_PID, (id_t)p->pid, &info,
		       WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			return;
		pause_ms(1);
	}
}

static int status_of(int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL &&
	    WTERMSIG(status) != SIGTERM)
		vtest_note("ended by signal %d", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) :
		128 + WTERMSIG(status);
}

int peer_wait(struct peer *p)
{
	unsigned i;
	int status;

	for (i = 0; i < WAIT_MS / 10; i++) {
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			p->pid = 0;
			return status_of(status);
		}
		pause_ms(10);
	}
	return -1;
}

int peer_end(struct peer *p, int sig)
{
	kill(p->pid, sig);
	return peer_wait(p);
}

uint64_t peer_used_ns(const struct peer *p)
{
	unsigned long long sum = 0, ns;
	char path[96];
	struct dirent *e;
	FILE *file;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	dir = opendir(path);
	CHECK(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat",
			 p->pid, e->d_name);
		file = fopen(path, "r");
		if (file && fscanf(file, "%llu", &ns) == 1)
			sum += ns;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

static bool log_has(struct peer *p, const char *text)
{
	char buf[16384];
	FILE *f = fopen(p->log, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = 0;
	fclose(f);
	return strstr(buf, text) != NULL;
}

bool peer_said(struct peer *p, const char *text)
{
	if (log_has(p, text))
		return true;
	vtest_note("it did not say: %s", text);
	return false;
}

bool peer_says(struct peer *p, const char *text)
{
	unsigned i;

	for (i = 0; i < WAIT_MS / 10 && !log_has(p, text); i++)
		pause_ms(10);
	return peer_said(p, text);
}

bool front_open(struct front *f, const char *path, int fd)
{
	return front_open_as(f, path, fd, false);
}

static bool open_it(struct front *f, struct vhu_client_conf conf)
{
	unsigned i;
	int rc = -1;

	memset(f, 0, sizeof(*f));
	f->len = FRONT_MEM;
	f->used = FRONT_RINGS;
	f->mem_fd = memfd_create("front", MFD_CLOEXEC);
	CHECK_GE(f->mem_fd, 0);
	CHECK_EQ(ftruncate(f->mem_fd, (off_t)f->len), 0);
	f->mem = mmap(NULL, f->len, PROT_READ | PROT_WRITE, MAP_SHARED,
		      f->mem_fd, 0);
	CHECK(f->mem != MAP_FAILED);
	f->priv = malloc(FRONT_RINGS);
	f->drv_mem.window.host = f->mem;
	f->drv_mem.window.addr = vio_addr_of(1u << 30);
	f->drv_mem.window.size = f->len;
	f->drv_mem.shared.at = f->mem;
	f->drv_mem.shared.left = FRONT_RINGS;
	f->drv_mem.priv.at = f->priv;
	f->drv_mem.priv.left = FRONT_RINGS;
	conf.mem_fd = f->mem_fd;
	conf.window = f->drv_mem.window;
	/* The file is there a moment before the socket listens. */
	for (i = 0; i < WAIT_MS / 10 && rc; i++) {
		rc = vhu_client_open(&f->client, &conf);
		if (rc != -ECONNREFUSED && rc != -ENOENT)
			break;
		pause_ms(10);
	}
	if (!rc)
		return true;
	vtest_note("no connection: %s", strerror(-rc));
	front_close(f);
	return false;
}

bool front_open_as(struct front *f, const char *path, int fd, bool net)
{
	return open_it(f, (struct vhu_client_conf){
			.socket_path = path, .socket_fd = fd,
			.queue_pairs = net, .timeout_ms = WAIT_MS });
}

bool front_open_with(struct front *f, const char *path,
		     const struct vhu_client_conf *more)
{
	struct vhu_client_conf conf = *more;

	conf.socket_path = path;
	conf.timeout_ms = WAIT_MS;
	return open_it(f, conf);
}

void front_close(struct front *f)
{
	vhu_client_close(f->client);
	munmap(f->mem, f->len);
	close(f->mem_fd);
	free(f->priv);
}

void *front_data(struct front *f, size_t len)
{
	void *p = f->mem + f->used;

	CHECK_LE(len, f->len - f->used);
	f->used += (len + 4095) / 4096 * 4096;
	return p;
}

void disk_open(struct front_disk *d, const char *path, unsigned queues)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();

	memset(&d->blk, 0, sizeof(d->blk));
	CHECK(front_open(&d->front, path, -1));
	CHECK_EQ(vio_blkdrv_init(&d->blk, &vhu_client_bus, d->front.client,
				 &wanted, &limits, queues,
				 &d->front.drv_mem), VIO_OK);
}

void disk_close(struct front_disk *d)
{
	front_close(&d->front);
}

int disk_run(struct front_disk *d, unsigned queue, uint32_t type,
	     uint64_t sector, void *data, size_t len)
{
	struct vio_seg seg = { data, len };
	struct vio_blkdrv_req req = {
		.type = type, .sector = sector, .seg = &seg,
		.nr_seg = data ? 1 : 0,
		.num_sectors = (uint32_t)(len / 512),
	};

	return vio_blkdrv_sync(&d->blk, queue, &req);
}
