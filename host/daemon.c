/* SPDX-License-Identifier: MIT */
/*
 * The frame of a daemon from its command line to its exit code: see
 * daemon.h. A device is opened and served in daemon_device.c; how there come
 * to be many, in daemon_many.c.
 */
#include "host/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/daemon_control.h"
#include "host/daemon_device.h"
#include "host/daemon_many.h"
#include "host/daemon_options.h"
#include "host/daemon_serve.h"
#include "host/daemon_upgrade.h"
#include "host/guard.h"
#include "host/log.h"
#include "host/service.h"

const char daemon_version[] = VIREO_VERSION;

/* -- the sandbox --------------------------------------------------------- */

/* What all devices of the process need together. */
struct needs {
	const char *syscalls[64];
	unsigned long ioctls[32];
	unsigned nr_syscalls, nr_ioctls;
	int *dirs;
	unsigned nr_dirs;
	int live[OPT_LIST_MAX];
	unsigned nr_live;
	bool network, connect, full;
	const char **files;	/* to read */
	unsigned nr_files;
	const char *read_replaced;
};

static void need_syscalls(struct needs *n, const char *const *list)
{
	unsigned i;

	for (; list && *list; list++) {
		for (i = 0; i < n->nr_syscalls; i++)
			if (!strcmp(n->syscalls[i], *list))
				break;
		if (i < n->nr_syscalls)
			continue;
		if (i == VIO_ARRAY_LEN(n->syscalls) - 1)
			n->full = true;
		else
			n->syscalls[n->nr_syscalls++] = *list;
	}
}

static void need_ioctls(struct needs *n, const unsigned long *list)
{
	unsigned i;

	for (; list && *list; list++) {
		for (i = 0; i < n->nr_ioctls; i++)
			if (n->ioctls[i] == *list)
				break;
		if (i < n->nr_ioctls)
			continue;
		if (i == VIO_ARRAY_LEN(n->ioctls) - 1)
			n->full = true;
		else
			n->ioctls[n->nr_ioctls++] = *list;
	}
}

static void need_dir(struct needs *n, int fd)
{
	if (fd >= 0)
		n->dirs[n->nr_dirs++] = fd;
}

/* What postcopy takes, on descriptors that come of faults_fd. */
static const unsigned long fault_ioctls[] = {
	USERFAULTFD_IOC_NEW, UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER,
	UFFDIO_WAKE, 0
};

static int gather(struct daemon_process *p, const struct daemon_options *o,
		  struct needs *n)
{
	struct daemon *d;
	unsigned count = 1;

	for (d = p->devices; d; d = d->next)
		count++;
	n->dirs = calloc(2 * count, sizeof(*n->dirs));
	n->files = calloc(count, sizeof(*n->files));
	if (!n->dirs || !n->files)
		return -ENOMEM;
	need_dir(n, o->control_path ? p->control.sock.dir_fd : -1);
	need_dir(n, p->upgrade.dir_fd);
	if (p->faults_fd >= 0)
		need_ioctls(n, fault_ioctls);
	for (d = p->devices; d; d = d->next) {
		need_dir(n, d->sock.dir_fd);
		need_dir(n, d->unlink_dir_fd);
		need_syscalls(n, d->more_syscalls);
		need_ioctls(n, d->more_ioctls);
		n->network |= d->network;
		n->connect |= d->opt.connect;
		if (d->read_file)
			n->files[n->nr_files++] = d->read_file;
		if (d->read_replaced)
			n->read_replaced = d->read_replaced;
	}
	if (o->live.n) {
		need_syscalls(n, p->type->live_syscalls);
		need_ioctls(n, p->type->live_ioctls);
	}
	for (; n->nr_live < o->live.n; n->nr_live++) {
		const char *path = o->live.v[n->nr_live];
		int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0) {
			log_err("--live=%s: %s", path, strerror(errno));
			return -errno;
		}
		n->live[n->nr_live] = fd;
	}
	return n->full ? -E2BIG : 0;
}

static int enter_sandbox(struct daemon_process *p,
			 const struct daemon_options *o)
{
	struct needs n = { .nr_dirs = 0 };
	struct sandbox sb = {
		.syscalls = p->type->syscalls,
		.ioctls = p->type->ioctls,
		.more_syscalls = n.syscalls,
		.more_ioctls = n.ioctls,
		.open_dir_fd = n.live,
		.trace = o->verbose,
	};
	int rc;

	if (o->sandbox != DAEMON_SANDBOX_ON) {
		log_warn("running without a sandbox, as --sandbox=none told");
		return 0;
	}
	rc = gather(p, o, &n);
	sb.unlink_dir_fd = n.dirs;
	sb.nr_unlink_dirs = n.nr_dirs;
	sb.nr_open_dirs = n.nr_live;
	sb.network = n.network;
	sb.connect = n.connect;
	sb.read_file = n.files;
	sb.nr_read_files = n.nr_files;
	sb.read_replaced = n.read_replaced;
	if (!rc)
		rc = sandbox_enter(&sb);
	while (n.nr_live)
		close(n.live[--n.nr_live]);
	free(n.dirs);
	free(n.files);
	p->sandboxed = !rc;
	p->network = n.network;
	return rc;
}

/* -- threads ------------------------------------------------------------- */

struct worker_set_up {
	struct worker *worker;
	uint64_t poll_ns;
	int cpu;		/* -1: any */
	int rc;
};

static void set_up(void *arg)
{
	struct worker_set_up *s = arg;

	loop_poll_limit(&s->worker->loop, s->poll_ns);
	s->rc = s->cpu < 0 ? 0 : worker_pin(s->cpu);
}

/* The longest that any device wants to poll. */
static uint64_t poll_ns(const struct daemon_process *p,
			const struct daemon_options *o)
{
	unsigned us = o->poll_us;
	const struct daemon *d;

	for (d = p->devices; d; d = d->next)
		us = d->opt.poll_us > us ? d->opt.poll_us : us;
	return us * NS_PER_US;
}

static unsigned count_workers(const struct daemon_process *p,
			      const struct daemon_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = 0, most = cpus > 0 ? (unsigned)cpus : 1;
	const struct daemon *d;

	if (!p->type->threaded)
		return 0;
	for (d = p->devices; d; d = d->next)
		n += d->num_workers;
	if (o->threads)
		most = o->threads;
	/* Who may come later wants threads, too. */
	return n > most || p->many ? most : n;
}

static void say_no_thread(int cpu, int rc)
{
	if (cpu >= 0 && rc == -EINVAL)
		log_err("--cpus: there is no processor %d that this program may use; `taskset -cp $$` tells which it may",
			cpu);
	else
		log_err("cannot start a thread: %s", strerror(-rc));
}

static int start_workers(struct daemon_process *p,
			 const struct daemon_options *o)
{
	struct worker_set_up s = { .poll_ns = poll_ns(p, o), .cpu = -1 };
	unsigned i, n = count_workers(p, o);

	p->workers = calloc(n + 1, sizeof(*p->workers));
	if (!p->workers)
		return -ENOMEM;
	s.worker = &p->main;
	set_up(&s);
	for (i = 0; i < n && !s.rc; i++) {
		char name[16];

		snprintf(name, sizeof(name), "queues-%u", i % 1000);
		s.worker = &p->workers[i];
		s.cpu = o->cpus ? worker_cpu(o->cpus, i) : -1;
		s.rc = worker_start(s.worker, name);
		if (s.rc)
			break;
		p->num_workers = i + 1;
		worker_run(s.worker, set_up, &s);
	}
	if (s.rc)
		say_no_thread(s.cpu, s.rc);
	return s.rc;
}

/*
 * From here on all runs on the main thread. Their memory stays until the
 * devices are closed, whose queues know them.
 */
static void stop_workers(struct daemon_process *p)
{
	for (unsigned i = 0; i < p->num_workers; i++)
		worker_stop(&p->workers[i]);
}

static void free_workers(struct daemon_process *p)
{
	p->num_workers = 0;
	free(p->workers);
	p->workers = NULL;
}

/* -- signals ------------------------------------------------------------- */

static void on_signal(void *ctx, uint32_t events)
{
	struct signalfd_siginfo info;
	struct daemon_process *p = ctx;
	struct daemon *d;

	(void)events;
	if (read(p->signal_fd.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH || info.ssi_signo == SIGUSR1) {
		for (d = p->devices; d; d = d->next)
			p->type->resized(d);
		return;
	}
	log_debug("ends by signal %u", info.ssi_signo);
	p->ending = true;
	loop_stop(&p->main.loop);
}

static int watch_signals(struct daemon_process *p)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (p->type->resized) {
		sigaddset(&set, SIGWINCH);
		sigaddset(&set, SIGUSR1);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	p->signal_fd = (struct loop_fd){ fd, on_signal, p };
	return loop_fd_add(&p->main.loop, &p->signal_fd, EPOLLIN);
}

/* -- the way through ----------------------------------------------------- */

/* From open devices to the end of the loop. */
static int serve(struct daemon_process *p, const struct daemon_options *o)
{
	struct daemon *d;
	int rc;

	rc = enter_sandbox(p, o);
	if (!rc)
		rc = start_workers(p, o);
	if (!rc)
		rc = calls_start(&p->calls);
	for (d = p->devices; d && !rc; d = d->next) {
		log_about(d->name);
		rc = daemon_device_start(d);
	}
	log_about(NULL);
	if (!rc)
		rc = daemon_control_start(p, o);
	if (!rc)
		rc = daemon_upgrade_start(p);
	if (!rc) {
		service_ready();
		rc = loop_run(&p->main.loop);
		service_stopping();
	}
	for (d = p->devices; d; d = d->next)
		daemon_device_stop(d);
	if (p->ending)
		service_wait();
	return rc;
}

static void close_all(struct daemon_process *p)
{
	bool stuck = false;
	struct daemon *d;

	for (d = p->devices; d; d = d->next)
		stuck |= atomic_load(&d->stuck);
	daemon_control_close(p);
	daemon_upgrade_close(p);
	if (!stuck)
		stop_workers(p);
	for (d = p->devices; d; d = d->next)
		daemon_device_close(d);
	calls_stop(&p->calls);
	if (!stuck)
		free_workers(p);
	if (p->many && !stuck)
		daemon_many_close(p);
}

/* Those of the process: whoever sees a device's socket can count on them. */
static int open_sockets(struct daemon_process *p,
			const struct daemon_options *o)
{
	int rc = daemon_upgrade_open(p, o);

	return rc ? rc : daemon_control_open(p, o);
}

static int run_one(struct daemon_process *p, const struct daemon_options *o,
		   void *ctx)
{
	struct daemon d;
	int rc;

	daemon_device_init(&d, p, ctx, NULL);
	d.opt = *o;
	rc = open_sockets(p, o);
	if (!rc)
		rc = daemon_device_open(&d);
	if (rc) {
		daemon_control_close(p);
		daemon_upgrade_close(p);
		return rc;
	}
	p->devices = &d;
	rc = serve(p, o);
	close_all(p);
	p->devices = NULL;
	return rc;
}

/* A disk or two take more descriptors than many a shell allows. */
static void more_descriptors(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur == lim.rlim_max)
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
}

static int run_many(struct daemon_process *p, const struct daemon_options *o)
{
	int rc;

	p->many = true;
	more_descriptors();
	rc = open_sockets(p, o);
	if (!rc)
		rc = daemon_many_open(p, o->config);
	if (!rc)
		rc = serve(p, o);
	close_all(p);
	return rc;
}

/*
 * The device, for the system call needs a privilege that the sandbox takes
 * away, and this can be given to a group.
 */
static int open_faults(struct daemon_process *p,
		       const struct daemon_options *o)
{
	int rc;

	if (!o->postcopy)
		return 0;
	p->faults_fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (p->faults_fd >= 0)
		return 0;
	rc = -errno;
	log_err("--postcopy: /dev/userfaultfd: %s; it takes Linux 6.1 with CONFIG_USERFAULTFD, and a user who may open it",
		strerror(-rc));
	return rc;
}

static int run(struct daemon_process *p, const struct daemon_options *o,
	       void *ctx)
{
	int rc = open_faults(p, o);

	if (rc)
		return rc;
	rc = watch_signals(p);

	if (!rc)
		rc = guard_init();
	if (rc)
		log_err("cannot set up: %s", strerror(-rc));
	else if (o->config)
		rc = run_many(p, o);
	else
		rc = run_one(p, o, ctx);
	if (p->signal_fd.fd >= 0)
		close(p->signal_fd.fd);
	if (p->faults_fd >= 0)
		close(p->faults_fd);
	return rc;
}

int daemon_main(const struct daemon_type *type, void *ctx, int argc,
		char **argv)
{
	static struct daemon_process p;
	struct daemon_options o;
	int rc;

	p.type = type;
	p.signal_fd.fd = p.heir.fd = p.faults_fd = -1;
	p.upgrade.fd = p.upgrade.dir_fd = -1;
	log_init(type->program, LOG_LEVEL_INFO);
	rc = daemon_options_read(type, argc, argv, &o);
	if (rc >= 0)
		return rc;
	if (o.verbose)
		log_init(type->program, LOG_LEVEL_DEBUG);
	service_init();
	rc = loop_init(&p.main.loop);
	if (!rc) {
		rc = run(&p, &o, ctx);
		loop_fini(&p.main.loop);
	}
	service_fini();
	return rc || p.exit_code ? EXIT_FAILURE : EXIT_SUCCESS;
}
