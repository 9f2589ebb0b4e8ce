/* SPDX-License-Identifier: MIT */
/* Inside the sandbox: what must work works, what must not ends the child. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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
