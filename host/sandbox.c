/* SPDX-License-Identifier: MIT */
/*
 * The layers of the sandbox, from cheap to strict: no new privileges, no
 * capabilities, Landlock (no path, no network, no signals outside), seccomp.
 */
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/log.h"

#define SANDBOX_EXIT (128 + SIGSYS)

/* Sanitizers come with a run-time library that needs a wider filter. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* What a thread with an event loop, a heap and a log line needs. */
static const char *const common[] = {
	"read", "readv", "write", "writev", "close", "lseek", "fstat",
	"newfstatat", "fstatfs", "fcntl", "dup", "ftruncate", "pread64",
	"pwrite64", "preadv2", "pwritev2",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",
	"epoll_create1", "eventfd2", "poll", "ppoll",
	"futex", "futex_waitv", "nanosleep", "clock_nanosleep",
	"clock_gettime", "clock_getres", "gettimeofday", "time",
	"sched_yield", "sched_getaffinity", "getcpu", "rseq",
	"set_robust_list", "set_tid_address", "gettid", "getpid",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"restart_syscall", "exit", "exit_group",
	"memfd_create", "brk", "munmap", "mremap", "madvise", "getrandom",
	"accept4", "recvmsg", "recvfrom", "sendmsg", "sendto", "shutdown",
	"getsockopt",
#if SANDBOX_SANITIZED
	/* The sanitizers' own run-time libraries. */
	"mmap", "mprotect", "open", "openat", "readlink", "prctl", "ptrace",
	"wait4", "clone", "personality", "sysinfo", "arch_prctl", "getppid",
	"process_vm_readv", "uname", "getdents64", "prlimit64", "kill",
	"tgkill", "sched_getparam", "sched_getscheduler", "ioctl", "stat",
	"sched_getattr", "getuid", "geteuid", "getrlimit", "access",
	"readlinkat",
#endif
	NULL
};

/* To open files and make sockets in folders that stay open. */
static const char *const opening[] = {
	"open", "openat", "statx", "bind", "listen", "connect", "umask",
	"chmod", "fchmodat", "lchown", "fchownat", "unlink", "unlinkat",
	"setsockopt", "io_uring_setup", "flock", "statfs", "stat", "lstat",
	"prlimit64", "uname", "readlink", "readlinkat",
	"rename", "renameat",
	NULL
};

static int no_new_privs(void)
{
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 0;
	log_err("sandbox: no_new_privs: %s", strerror(errno));
	return -errno;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	int cap;

	/* Both fail without privileges, and are not needed then. */
	for (cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno == EPERM)
			break;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	memset(data, 0, sizeof(data));
	if (!syscall(SYS_capset, &head, data))
		return 0;
	log_err("sandbox: cannot drop capabilities: %s", strerror(errno));
	return -errno;
}

/* Newer than the headers of some systems. */
#define FS_TRUNCATE	(1ull << 14)
#define FS_IOCTL_DEV	(1ull << 15)	/* ioctl on devices */

/* All rights that this kernel's Landlock can take away, by its version. */
static uint64_t landlock_fs_rights(int abi)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1;

	if (abi >= 2)
		rights |= 1ull << 13;	/* link or rename across folders */
	if (abi >= 3)
		rights |= FS_TRUNCATE;
	if (abi >= 5)
		rights |= FS_IOCTL_DEV;
	return rights;
}

/* The rule set as of version 6; older kernels take a shorter one. */
struct ruleset_attr {
	uint64_t fs, net, scoped;
};

/* The one file, if it exists, or those below a folder. */
static int landlock_file(int set, const char *path)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	long rc;

	if (rule.parent_fd < 0)
		return 0;
	rc = syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH,
		     &rule, 0);
	close(rule.parent_fd);
	return (int)rc;
}

/* What lies in the folder of a file, as far as permissions have it. */
static int landlock_folder(int set, const char *path)
{
	char *copy = strdup(path), *end = copy ? strrchr(copy, '/') : NULL;
	int rc = copy ? 0 : -ENOMEM;

	if (end) {
		*end = '\0';
		rc = landlock_file(set, *copy ? copy : "/");
	}
	free(copy);
	return rc;
}

/* Without capabilities, root still owns what others must not read. */
static int landlock_replaced(int set, const char *path)
{
	char *target;
	int rc;

	if (!geteuid())
		return landlock_file(set, path);
	rc = landlock_folder(set, path);
	target = realpath(path, NULL);
	if (!rc && target)
		rc = landlock_folder(set, target);
	free(target);
	return rc;
}

/* Files and sockets in folders that stay open. */
static int landlock_open_dirs(int set, const struct sandbox *sb, int abi)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
				  LANDLOCK_ACCESS_FS_WRITE_FILE |
				  LANDLOCK_ACCESS_FS_READ_DIR |
				  LANDLOCK_ACCESS_FS_MAKE_DIR |
				  LANDLOCK_ACCESS_FS_MAKE_REG |
				  LANDLOCK_ACCESS_FS_MAKE_SOCK |
				  LANDLOCK_ACCESS_FS_REMOVE_FILE,
	};
	unsigned i;

	if (abi >= 3)
		rule.allowed_access |= FS_TRUNCATE;
	if (abi >= 5)
		rule.allowed_access |= FS_IOCTL_DEV;
	for (i = 0; i < sb->nr_open_dirs; i++) {
		rule.parent_fd = sb->open_dir_fd[i];
		if (syscall(SYS_landlock_add_rule, set,
			    LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
			return -errno;
	}
	return 0;
}

static int landlock_rules(int set, const struct sandbox *sb, int abi)
{
	unsigned i;
	int rc;

	for (i = 0; i < sb->nr_unlink_dirs; i++) {
		struct landlock_path_beneath_attr path = {
			.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE,
			.parent_fd = sb->unlink_dir_fd[i],
		};

		if (path.parent_fd >= 0 &&
		    syscall(SYS_landlock_add_rule, set,
			    LANDLOCK_RULE_PATH_BENEATH, &path, 0))
			return -errno;
	}
	for (i = 0; i < sb->nr_read_files; i++)
		if (landlock_file(set, sb->read_file[i]))
			return -errno;
	if (sb->read_replaced && landlock_replaced(set, sb->read_replaced))
		return -errno;
	rc = landlock_open_dirs(set, sb, abi);
	if (rc)
		return rc;
	return syscall(SYS_landlock_restrict_self, set, 0) ? -errno : 0;
}

static int landlock(const struct sandbox *sb, bool *done)
{
	struct ruleset_attr attr = { 0 };
	size_t size = sizeof(attr.fs);
	long abi, set;
	int rc;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1 && sb->nr_open_dirs) {
		log_err("this kernel has no Landlock, without which a folder cannot be left open alone; leave out --live, or use --sandbox=none --i-know-this-is-unsafe");
		return -EOPNOTSUPP;
	}
	if (abi < 1) {
		if (sb->trace)
			log_info("sandbox: this kernel has no Landlock; seccomp alone guards the file system");
		return 0;
	}
	attr.fs = landlock_fs_rights((int)abi);
	if (abi >= 4) {
		/* bind and connect of TCP */
		attr.net = sb->network ? 0 : 3;
		size = 2 * sizeof(attr.fs);
	}
	if (abi >= 6) {
		attr.scoped = 3;	/* abstract sockets, signals */
		size = sizeof(attr);
	}
	*done = true;
	set = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	rc = set < 0 ? -errno : landlock_rules((int)set, sb,
							 (int)abi);
	if (set >= 0)
		close((int)set);
	if (rc)
		log_err("sandbox: Landlock: %s", strerror(-rc));
	return rc;
}

/* Runs instead of a forbidden call. */
static void on_sys(int sig, siginfo_t *info, void *context)
{
	char *name, line[128];
	int n;

	(void)sig;
	(void)context;
	/* Not async-signal-safe, but the process ends here either way. */
	name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE,
						info->si_syscall);
	n = snprintf(line, sizeof(line),
		     "error: sandbox: system call %d (%s) is not allowed\n",
		     info->si_syscall, name ? name : "unknown");
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(SANDBOX_EXIT);
	_exit(SANDBOX_EXIT);
}

static int allow(scmp_filter_ctx ctx, const char *const *names)
{
	int nr, rc;

	for (; names && *names; names++) {
		nr = seccomp_syscall_resolve_name(*names);
		if (nr == __NR_SCMP_ERROR) {
			log_err("sandbox: unknown system call '%s'", *names);
			return -EINVAL;
		}
		/* Negative: exists on other machines only. */
		if (nr < 0)
			continue;
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
		if (rc && rc != -EEXIST)
			return rc;
	}
	return 0;
}

/* A call that is allowed if (argument @arg & @mask) == @value. */
struct masked_rule {
	int nr;
	unsigned arg;
	uint64_t mask, value;
};

static int allow_masked(scmp_filter_ctx ctx, const struct masked_rule *r)
{
	struct scmp_arg_cmp cmp = {
		.arg = r->arg,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = r->mask,
		.datum_b = r->value,
	};

	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->nr, 1, &cmp);
}

/* The kernel takes 32 bits of a request; so does the filter. */
static int allow_ioctls(scmp_filter_ctx ctx, const unsigned long *requests)
{
	int rc = 0;

	for (; requests && *requests && !rc; requests++) {
		const struct masked_rule r = {
			SCMP_SYS(ioctl), 1, UINT32_MAX, (uint32_t)*requests,
		};

		rc = allow_masked(ctx, &r);
	}
	return rc;
}

/* The names to remove at exit. */
static int allow_unlink(scmp_filter_ctx ctx, const struct sandbox *sb)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < sb->nr_unlink_dirs && !rc; i++) {
		const struct masked_rule r = {
			SCMP_SYS(unlinkat), 0, UINT32_MAX,
			(uint32_t)sb->unlink_dir_fd[i],
		};

		if (sb->unlink_dir_fd[i] >= 0)
			rc = allow_masked(ctx, &r);
	}
	return rc;
}

static int allow_connect(scmp_filter_ctx ctx)
{
	const struct masked_rule r = {
		SCMP_SYS(socket), 0, UINT32_MAX, AF_UNIX,
	};
	int rc = allow_masked(ctx, &r);

	return rc ? rc : seccomp_rule_add(ctx, SCMP_ACT_ALLOW,
					  SCMP_SYS(connect), 0);
}

/* Calls that are allowed with some arguments only. */
static int allow_some(scmp_filter_ctx ctx, bool open)
{
	int rc = 0;
#if !SANDBOX_SANITIZED
	const struct masked_rule rules[] = {
		/* New threads, but no new processes. */
		{ SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD },
		/* Memory, but never executable. */
		{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
		{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
		/* The thread's own name, and where it runs. */
		{ SCMP_SYS(prctl), 0, UINT64_MAX, PR_SET_NAME },
		{ SCMP_SYS(sched_setaffinity), 0, UINT64_MAX, 0 },
		/* abort() signals its own thread. */
		{ SCMP_SYS(tgkill), 0, UINT64_MAX, (uint64_t)getpid() },
	};
	unsigned i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]) && !rc; i++)
		rc = allow_masked(ctx, &rules[i]);
	/* glibc looks into files now and then: let it fail softly. */
	if (!rc)
		rc = seccomp_rule_add(ctx, open ? SCMP_ACT_ALLOW :
				      SCMP_ACT_ERRNO(EACCES),
				      SCMP_SYS(openat), 0);
	if (rc == -EEXIST)
		rc = 0;
#else
	(void)open;
#endif
	/* glibc falls back to clone() where clone3(), whose flags a filter
	 * cannot see, is missing. */
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				      SCMP_SYS(clone3), 0);
	return rc;
}

/* Paths are Landlock's to guard; sockets are local ones. */
static int allow_opening(scmp_filter_ctx ctx, const struct sandbox *sb)
{
	const struct masked_rule local = {
		SCMP_SYS(socket), 0, UINT64_MAX, AF_UNIX,
	};
	int rc;

	if (!sb->nr_open_dirs)
		return 0;
	rc = allow(ctx, opening);
	return rc ? rc : allow_masked(ctx, &local);
}

static int seccomp(const struct sandbox *sb, bool landlocked)
{
	struct sigaction sa = { .sa_sigaction = on_sys,
				.sa_flags = SA_SIGINFO };
	scmp_filter_ctx ctx;
	int rc;

	if (sigaction(SIGSYS, &sa, NULL))
		return -errno;
	ctx = seccomp_init(SCMP_ACT_TRAP);
	if (!ctx)
		return -ENOMEM;
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	/* A binary tree: few steps whatever the number of the call. */
	if (!rc)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!rc)
		rc = allow(ctx, common);
	if (!rc)
		rc = allow(ctx, sb->syscalls);
	if (!rc)
		rc = allow(ctx, sb->more_syscalls);
	if (!rc)
		rc = allow_opening(ctx, sb);
	if (!rc)
		rc = allow_some(ctx, sb->nr_open_dirs ||
				((sb->nr_read_files || sb->read_replaced) &&
				 landlocked));
	if (!rc && !sb->nr_open_dirs)
		rc = allow_unlink(ctx, sb);
	if (!rc && sb->connect)
		rc = allow_connect(ctx);
	if (!rc && !SANDBOX_SANITIZED)
		rc = allow_ioctls(ctx, sb->ioctls);
	if (!rc && !SANDBOX_SANITIZED)
		rc = allow_ioctls(ctx, sb->more_ioctls);
	if (!rc)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc)
		log_err("sandbox: seccomp: %s; in a container that forbids it use --sandbox=none --i-know-this-is-unsafe",
			strerror(-rc));
	return rc;
}

int sandbox_enter(const struct sandbox *sb)
{
	bool landlocked = false;
	int rc;

	rc = no_new_privs();
	if (!rc)
		rc = drop_capabilities();
	if (!rc)
		rc = landlock(sb, &landlocked);
	if (!rc)
		rc = seccomp(sb, landlocked);
	return rc;
}
