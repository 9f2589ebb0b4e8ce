/* SPDX-License-Identifier: MIT */
/* Inside the sandbox: what must work works, what must not ends the child. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/sandbox.h"
#include "host/worker.h"
#include "vtest.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define DENIED (128 + SIGSYS)

static const char *const extra[] = { "fallocate", NULL };

static const unsigned long ioctls[] = { FIONREAD, 0 };

/* Exit status of @body in a sandboxed child. */
static int child(const char *const *syscalls, int (*body)(void))
{
	struct sandbox sb = { .syscalls = syscalls, .ioctls = ioctls };
	int status, quiet;
	pid_t pid = fork();

	CHECK_GE(pid, 0);
	if (!pid) {
		quiet = open("/dev/null", O_WRONLY);
		dup2(quiet, STDERR_FILENO);
		if (sandbox_enter(&sb))
			_exit(99);
		_exit(body());
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int body_worker(void)
{
	struct worker w;
	void *p;

	if (worker_start(&w, "inside"))
		return 1;
	worker_run(&w, nothing, NULL);
	worker_stop(&w);
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? 2 : 0;
}

static int body_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 0;
}

static int body_exec(void)
{
	char *argv[] = { NULL };

	execve("/bin/true", argv, argv);
	return 1;
}

static int body_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	     -1, 0);
	return 1;
}

static int body_fork(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	return 1;
}

static int body_ioctl_good(void)
{
	int n;

	return ioctl(STDIN_FILENO, FIONREAD, &n) && errno != ENOTTY ? 1 : 0;
}

/* What would type into the terminal that the program was started from. */
static int body_ioctl_bad(void)
{
	char c = 'x';

	ioctl(STDIN_FILENO, TIOCSTI, &c);
	return 1;
}

TEST("threads, loops and memory work inside", "")
{
	CHECK_EQ(child(extra, body_worker), 0);
}

TEST("forbidden system calls are not executed", "")
{
#ifdef SANITIZED
	SKIP("the sanitizers need a wider filter");
#endif
	CHECK_EQ(child(NULL, body_socket), DENIED);
	CHECK_EQ(child(NULL, body_exec), DENIED);
	CHECK_EQ(child(NULL, body_code), DENIED);
	CHECK_EQ(child(NULL, body_fork), DENIED);
	CHECK_EQ(child(NULL, body_ioctl_good), 0);
	CHECK_EQ(child(NULL, body_ioctl_bad), DENIED);
}

static int body_caps(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return 1;
	if (data[0].effective | data[1].effective | data[0].permitted |
	    data[1].permitted)
		return 2;
	return 0;
}

TEST("no capability is left, even for root", "")
{
	static const char *const capget[] = { "capget", NULL };

	CHECK_EQ(child(capget, body_caps), 0);
}

/* -- one file that others replace ---------------------------------------- */

static char replaced[] = "/tmp/vireo-sandbox.XXXXXX/resolv";

static bool says(const char *what)
{
	int fd = openat(AT_FDCWD, replaced, O_RDONLY);
	char buf[8] = { 0 };
	bool good;

	good = fd >= 0 && read(fd, buf, sizeof(buf) - 1) >= 0 &&
	       !strcmp(buf, what);
	if (fd >= 0)
		close(fd);
	return good;
}

static void put(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	CHECK_GE(fd, 0);
	CHECK_EQ(write(fd, what, strlen(what)), (ssize_t)strlen(what));
	close(fd);
}

/* Reads, waits until the file was replaced, reads again. */
static int reader(int go, int ready)
{
	struct sandbox sb = { .syscalls = extra, .ioctls = ioctls,
			      .read_replaced = replaced };
	char c = 0;

	if (setresuid(65534, 65534, 65534) || sandbox_enter(&sb))
		return 99;
	if (!says("old"))
		return 1;
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		return 2;
	if (!says("new"))
		return 3;
	return openat(AT_FDCWD, "/usr/bin/env", O_RDONLY) >= 0 ? 4 : 0;
}

TEST("a file that another takes the place of can be read on", "")
{
	char other[sizeof(replaced) + 1], c;
	int go[2], ready[2], status;
	char *end = strrchr(replaced, '/');
	pid_t pid;

	if (syscall(444, NULL, 0, 1) < 1)
		SKIP("this kernel has no Landlock");
	if (geteuid())
		SKIP("needs root, to be somebody else");
	*end = '\0';
	CHECK(mkdtemp(replaced));
	CHECK(!chmod(replaced, 0755));
	*end = '/';
	snprintf(other, sizeof(other), "%s2", replaced);
	put(replaced, "old");
	put(other, "new");
	CHECK(!pipe(go) && !pipe(ready));
	pid = fork();
	CHECK_GE(pid, 0);
	if (!pid)
		_exit(reader(go[0], ready[1]));
	close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK(!rename(other, replaced));
	CHECK_EQ(write(go[1], &c, 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
	close(go[0]);
	close(go[1]);
	close(ready[0]);
	unlink(replaced);
	*end = '\0';
	rmdir(replaced);
}

static int body_openat2(void)
{
	uint64_t how[3] = { O_RDONLY, 0, 0 };
	long fd = syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how,
			  sizeof(how));

	return fd < 0 && errno == EACCES ? 0 : 1;
}

TEST("Landlock refuses a path that seccomp lets through", "")
{
	static const char *const names[] = { "openat2", NULL };

	if (syscall(444, NULL, 0, 1) < 1)
		SKIP("this kernel has no Landlock");
	CHECK_EQ(child(names, body_openat2), 0);
}
