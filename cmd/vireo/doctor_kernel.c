/* SPDX-License-Identifier: MIT */
/*
 * The doctor's examinations of what the host's kernel offers: each one
 * tries the thing itself rather than reading a version number.
 */
#include "doctor.h"
#include "util.h"

#include <errno.h>
#include <liburing.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SHM_WANTED_MIB = 192,	/* the default guest's RAM and some air */
	NOFILE_WANTED = 1024,
};

bool doctor_memfd(void)
{
	int fd = memfd_create("vireo-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool good = fd >= 0 && ftruncate(fd, 4096) == 0;

	finding(good ? VERDICT_OK : VERDICT_BAD, "memfd",
		"allow memfd_create in the container's seccomp profile",
		good ? "shared guest memory can be made"
		     : "memfd_create fails: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return good;
}

/* User Mode Linux keeps its RAM there, and maps it executable. */
bool doctor_shm(void)
{
	static const char cure[] =
		"mount -o remount,exec,size=1G /dev/shm "
		"(docker: --shm-size=1g)";
	struct statvfs fs;
	unsigned long long mib;

	if (statvfs("/dev/shm", &fs) < 0) {
		finding(VERDICT_NOTE, "/dev/shm",
			"mount -t tmpfs -o size=1G tmpfs /dev/shm",
			"missing; User Mode Linux cannot run");
		return false;
	}
	mib = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
	if (fs.f_flag & ST_NOEXEC) {
		finding(VERDICT_NOTE, "/dev/shm", cure,
			"mounted noexec; User Mode Linux cannot run");
		return false;
	}
	if (mib < SHM_WANTED_MIB) {
		finding(VERDICT_NOTE, "/dev/shm", cure,
			"only %llu MiB free; User Mode Linux wants %d",
			mib, SHM_WANTED_MIB);
		return false;
	}
	finding(VERDICT_OK, "/dev/shm", NULL, "%llu MiB free", mib);
	return true;
}

bool doctor_ptrace(void)
{
	int status = 0;
	bool good;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	good = pid > 0 && waitpid(pid, &status, 0) == pid &&
	       WIFSTOPPED(status);
	if (good) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	finding(good ? VERDICT_OK : VERDICT_NOTE, "ptrace",
		"allow ptrace in the container (docker: "
		"--cap-add=SYS_PTRACE)",
		good ? "User Mode Linux can trace its processes"
		     : "refused; User Mode Linux cannot run");
	return good;
}

/* A ring that carries one no-op there and back. */
static int try_io_uring(void)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int err = io_uring_queue_init(4, &ring, 0);

	if (err)
		return err;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	err = io_uring_submit_and_wait(&ring, 1);
	if (err == 1)
		err = io_uring_peek_cqe(&ring, &cqe) ? -EIO : cqe->res;
	io_uring_queue_exit(&ring);
	return err;
}

void doctor_io_uring(void)
{
	int err = try_io_uring();

	if (!err)
		finding(VERDICT_OK, "io_uring", NULL, "works");
	else
		finding(VERDICT_NOTE, "io_uring",
			"sysctl kernel.io_uring_disabled=0, and allow "
			"io_uring_* in the container's seccomp profile",
			"refused (%s); disks use a pool of workers",
			strerror(-err));
}

void doctor_sandbox(void)
{
	unsigned int action = SECCOMP_RET_KILL_PROCESS;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);

	if (abi > 0)
		finding(VERDICT_OK, "Landlock", NULL, "ABI %ld", abi);
	else
		finding(VERDICT_NOTE, "Landlock",
			"boot with lsm=landlock,... on a kernel 5.13 or newer",
			"not there (%s); the sandbox works without",
			strerror(errno));
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
		finding(VERDICT_OK, "seccomp", NULL, "filters work");
	else
		finding(VERDICT_NOTE, "seccomp",
			"use a kernel with CONFIG_SECCOMP_FILTER",
			"no filters (%s)", strerror(errno));
}

static const char *limit_text(rlim_t v, char *buf, size_t size)
{
	if (v == RLIM_INFINITY)
		return "unlimited";
	snprintf(buf, size, "%llu", (unsigned long long)v);
	return buf;
}

void doctor_limits(void)
{
	struct rlimit files, lock;
	char a[32], b[32];

	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_MEMLOCK, &lock);
	finding(files.rlim_cur >= NOFILE_WANTED ? VERDICT_OK : VERDICT_NOTE,
		"open files", "ulimit -n 65536", "%s (at most %s)",
		limit_text(files.rlim_cur, a, sizeof(a)),
		limit_text(files.rlim_max, b, sizeof(b)));
	finding(lock.rlim_cur >= 8 << 20 ? VERDICT_OK : VERDICT_NOTE,
		"locked memory", "ulimit -l 65536 (limits registered buffers)",
		"%s bytes", limit_text(lock.rlim_cur, a, sizeof(a)));
}

static long meminfo(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

void doctor_hugepages(void)
{
	char text[4096];
	long total, free_pages, kib;

	read_small("/proc/meminfo", text, sizeof(text));
	total = meminfo(text, "HugePages_Total:");
	free_pages = meminfo(text, "HugePages_Free:");
	kib = meminfo(text, "Hugepagesize:");
	finding(total ? VERDICT_OK : VERDICT_NOTE, "hugepages",
		"sysctl vm.nr_hugepages=256 (only large guests gain)",
		"%ld of %ld free, %ld KiB each", free_pages, total, kib);
}
