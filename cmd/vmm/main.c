/* SPDX-License-Identifier: MIT */
/*
 * vireo-vmm: a small machine on KVM that boots a Linux kernel, all devices in
 * the process. Here lies only the wiring: options, devices, machine.
 */
#include <errno.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "host/log.h"
#include "host/opt.h"
#include "host/sandbox.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

enum {
	EXIT_OFF = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	MEM_DEFAULT_MIB = 256,
	QUEUES_MAX = 16,
	IOCTLS_MAX = 32,	/* that a sandbox may let through */
};

enum { SERIAL_STDIO, SERIAL_STDERR, SERIAL_NONE };

static const char *const serials[] = { "stdio", "stderr", "none", NULL };
static const char *const consoles[] = {
	[CHARDEV_STDIO] = "stdio", [CHARDEV_PTY] = "pty",
	[CHARDEV_SOCKET] = "socket", [CHARDEV_FILE] = "file",
	[CHARDEV_FILE + 1] = "none", NULL
};
static const char *const transports[] = {
	[MACHINE_PCI] = "pci",
	[MACHINE_PCI_TRANSITIONAL] = "pci-transitional",
	[MACHINE_PCI_LEGACY] = "pci-legacy", [MACHINE_MMIO] = "mmio",
	[MACHINE_MMIO_LEGACY] = "mmio-legacy", NULL
};

enum { SANDBOX_ON, SANDBOX_NONE };

static const char *const sandboxes[] = { "on", "none", NULL };

enum { CONSOLE_NONE = CHARDEV_FILE + 1 };

static struct {
	const char *kernel, *initrd, *append, *console_path, *stats_dir;
	const char *net;
	uint64_t mem;
	unsigned cpus, serial, console, transport;
	struct opt_list disks, vhost;
	unsigned sandbox;
	bool rng, unsafe, verbose;
} o = {
	.mem = (uint64_t)MEM_DEFAULT_MIB << 20, .cpus = 1,
	.console = CONSOLE_NONE,
};

static const struct opt options[] = {
	{ .name = "kernel", .type = OPT_STRING, .to = &o.kernel,
	  .arg = "FILE", .help = "Boot this Linux kernel (bzImage, x86-64).",
	},
	{ .name = "initrd", .type = OPT_STRING, .to = &o.initrd,
	  .arg = "FILE", .help = "Give it this initramfs." },
	{ .name = "append", .type = OPT_STRING, .to = &o.append,
	  .arg = "WORDS", .help = "The kernel's command line." },
	{ .name = "mem", .type = OPT_SIZE, .to = &o.mem, .arg = "BYTES",
	  .min = RAM_MIN, .max = RAM_MAX,
	  .help = "Memory of the guest. Default 256M." },
	{ .name = "cpus", .type = OPT_UINT, .to = &o.cpus, .arg = "NUMBER",
	  .min = 1, .max = VMM_CPUS_MAX,
	  .help = "Processors of the guest. Default 1." },
	{ .name = "transport", .type = OPT_CHOICE, .to = &o.transport,
	  .arg = "pci|pci-transitional|pci-legacy|mmio|mmio-legacy",
	  .choices = transports,
	  .help = "How the guest finds its devices. Default pci." },
	{ .name = "disk", .type = OPT_LIST, .to = &o.disks,
	  .arg = "FILE[,ro]",
	  .help = "A disk from a raw image or block device; may be given several times.",
	},
	{ .name = "console", .type = OPT_CHOICE, .to = &o.console,
	  .arg = "stdio|pty|socket|file|none", .choices = consoles,
	  .help = "A console device, and its host end. Default none." },
	{ .name = "console-path", .type = OPT_STRING, .to = &o.console_path,
	  .arg = "PATH",
	  .help = "Of the console's socket to listen on, or of its file." },
	{ .name = "rng", .type = OPT_FLAG, .to = &o.rng,
	  .help = "An entropy device." },
	{ .name = "net", .type = OPT_STRING, .to = &o.net,
	  .arg = "user|tap=NAME|switch=NAME|stream=SOCKET",
	  .help = "A network card, and what its wire is: see vireo-net(1).",
	},
	{ .name = "vhost-user", .type = OPT_LIST, .to = &o.vhost,
	  .arg = "TYPE,SOCKET",
	  .help = "A device in another process: net, blk, console, rng, vsock or fs, at this vhost-user socket; may be given several times.",
	},
	{ .name = "serial", .type = OPT_CHOICE, .to = &o.serial,
	  .arg = "stdio|stderr|none", .choices = serials,
	  .help = "Where the serial port leads (ttyS0). Default stdio." },
	{ .name = "stats-dir", .type = OPT_STRING, .to = &o.stats_dir,
	  .arg = "FOLDER",
	  .help = "Write what each device did there at the end, as JSON: 0.json and so on, in the order disks, console, entropy, network.",
	},
	{ .name = "sandbox", .type = OPT_CHOICE, .to = &o.sandbox,
	  .arg = "on|none", .choices = sandboxes,
	  .help = "Give up what is not needed before the guest runs. Default on.",
	},
	{ .name = "i-know-this-is-unsafe", .type = OPT_FLAG, .to = &o.unsafe,
	  .help = "Needed for --sandbox=none." },
	{ .name = "verbose", .type = OPT_FLAG, .to = &o.verbose,
	  .help = "Say more." },
	{ 0 }
};

struct vmm {
	struct machine machine;
	struct loop loop;
	struct chardev *serial;
	struct dev *console, *net;
	struct loop_fd signals;
	unsigned devices;	/* opened so far */
	char stats[4096];
};

static void on_escape(void *ctx)
{
	machine_stop(ctx);
}

static void on_signal(void *ctx, uint32_t events)
{
	struct vmm *v = ctx;
	struct signalfd_siginfo info;

	(void)events;
	while (read(v->signals.fd, &info, sizeof(info)) ==
	       (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGWINCH)
			machine_stop(&v->machine);
		else if (v->console)
			dev_console_resized(v->console);
	}
}

static int watch_signals(struct vmm *v)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	v->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	v->signals.fn = on_signal;
	v->signals.ctx = v;
	if (v->signals.fd < 0)
		return -errno;
	return loop_fd_add(&v->loop, &v->signals, EPOLLIN);
}

/* -- options ------------------------------------------------------------- */

static int check_options(void)
{
	if (!o.kernel) {
		log_err("what is to be booted? Give --kernel=FILE, such as /boot/vmlinuz-*");
		return -EINVAL;
	}
	if (o.console == CHARDEV_STDIO && o.serial == SERIAL_STDIO) {
		log_err("--console=stdio and --serial=stdio exclude each other: add --serial=stderr or none");
		return -EINVAL;
	}
	if ((o.console == CHARDEV_SOCKET || o.console == CHARDEV_FILE) !=
	    (o.console_path != NULL)) {
		log_err("--console-path belongs to --console=socket and file, and they need it");
		return -EINVAL;
	}
	if (o.sandbox == SANDBOX_NONE && !o.unsafe) {
		log_err("--sandbox=none leaves the host open to a guest that breaks out; add --i-know-this-is-unsafe if that is meant");
		return -EINVAL;
	}
	if (o.mem % (1 << 20)) {
		log_err("--mem: %llu is no multiple of 1M",
			(unsigned long long)o.mem);
		return -EINVAL;
	}
	return 0;
}

/* Returns a negative number to go on, else the exit code. */
static int read_options(int argc, char **argv)
{
	static const struct opt_set set = {
		.program = "vireo-vmm",
		.summary = "Boot a Linux kernel in a small machine on KVM.",
		.usage = "--kernel=FILE [options]",
		.tables = { options },
	};

	switch (opt_parse(&set, argc, argv)) {
	case OPT_OK:
		return check_options() ? EXIT_USAGE : -1;
	case OPT_HELP:
		opt_help(&set);
		return 0;
	case OPT_VERSION:
		printf("vireo-vmm %s\n", VIREO_VERSION);
		return 0;
	default:
		return EXIT_USAGE;
	}
}

/* -- devices ------------------------------------------------------------- */

static const char *next_stats(struct vmm *v)
{
	unsigned nr = v->devices++;

	if (!o.stats_dir)
		return NULL;
	snprintf(v->stats, sizeof(v->stats), "%s/%u.json", o.stats_dir, nr);
	return v->stats;
}

static int add_disk(struct vmm *v, const char *words)
{
	struct dev_blk_conf conf = {
		.num_queues = o.cpus < QUEUES_MAX ? o.cpus : QUEUES_MAX,
		.stats = next_stats(v),
	};
	char path[4096];
	struct dev *d;
	size_t len = strlen(words);
	int err;

	conf.read_only = len > 3 && !strcmp(words + len - 3, ",ro");
	if (conf.read_only)
		len -= 3;
	if (len >= sizeof(path)) {
		log_err("--disk: the path is too long");
		return -ENAMETOOLONG;
	}
	memcpy(path, words, len);
	path[len] = '\0';
	conf.path = path;
	err = dev_blk_open(&d, &conf);
	return err ? err : machine_add(&v->machine, d);
}

static int add_console(struct vmm *v)
{
	const struct dev_console_conf conf = {
		.chr = {
			.kind = (enum chardev_kind)o.console,
			.path = o.console_path,
			.escape = isatty(0),
			.listen_fd = -1, .peer_fd = -1,
		},
		.escaped = on_escape, .ctx = &v->machine,
		.stats = next_stats(v),
	};
	struct dev *d;
	int err = dev_console_open(&d, &conf);

	if (!err)
		err = machine_add(&v->machine, d);
	if (!err)
		v->console = d;
	return err;
}

static int add_net(struct vmm *v)
{
	const struct dev_net_conf conf = {
		.wire = o.net, .stats = next_stats(v),
	};
	struct dev *d;
	int err = dev_net_open(&d, &conf);

	if (!err)
		err = machine_add(&v->machine, d);
	if (!err)
		v->net = d;
	return err;
}

static int add_vhost(struct vmm *v, const char *words)
{
	const char *comma = strchr(words, ',');
	struct dev_vhost_conf conf = { .ram = &v->machine.ram };
	struct dev *d;
	int err;

	if (comma)
		conf.type = dev_vhost_type(words, (size_t)(comma - words));
	if (!conf.type || !comma[1]) {
		log_err("--vhost-user: '%s' is no TYPE,SOCKET, such as net,/tmp/net.sock",
			words);
		return -EINVAL;
	}
	conf.path = comma + 1;
	err = dev_vhost_open(&d, &conf);
	return err ? err : machine_add(&v->machine, d);
}

static int add_devices(struct vmm *v)
{
	struct dev *d;
	int err = 0;

	for (unsigned i = 0; i < o.disks.n && !err; i++)
		err = add_disk(v, o.disks.v[i]);
	if (!err && o.console != CONSOLE_NONE)
		err = add_console(v);
	if (!err && o.rng) {
		err = dev_rng_open(&d, next_stats(v));
		if (!err)
			err = machine_add(&v->machine, d);
	}
	if (!err && o.net)
		err = add_net(v);
	for (unsigned i = 0; i < o.vhost.n && !err; i++)
		err = add_vhost(v, o.vhost.v[i]);
	return err;
}

static int open_serial(struct vmm *v)
{
	const struct chardev_conf conf = {
		.kind = CHARDEV_STDIO, .escape = isatty(0),
		.listen_fd = -1, .peer_fd = -1,
	};
	int err = 0;

	if (o.serial == SERIAL_STDIO)
		err = chardev_open(&v->serial, &conf);
	if (!err)
		machine_serial(&v->machine, v->serial,
			       o.serial == SERIAL_STDERR ? STDERR_FILENO : -1);
	return err;
}

/* What does not fit is forbidden. */
static void add_ioctls(unsigned long *to, const unsigned long *from)
{
	unsigned n = 0;

	while (to[n])
		n++;
	for (; from && *from && n < IOCTLS_MAX; from++)
		to[n++] = *from;
}

/*
 * Everything is open: what is left to a guest that breaks out is what its
 * devices need, and what KVM is asked while it runs.
 */
static int enter_sandbox(const struct vmm *v)
{
	static const char *const calls[] = {
		"io_uring_enter", "io_uring_register", "preadv", "pwritev",
		"preadv2", "pwritev2", "fallocate", "fdatasync", "flock",
		NULL
	};
	static const unsigned long ioctls[] = {
		BLKDISCARD, BLKSECDISCARD, BLKGETSIZE64, BLKREPORTZONE,
		BLKOPENZONE, BLKCLOSEZONE, BLKFINISHZONE, BLKRESETZONE,
		TIOCGWINSZ, TCGETS, TCSETS, 0
	};
	const struct netdev *wire = v->net ? dev_net_wire(v->net) : NULL;
	const int dirs[] = {
		v->console ? dev_console_unlink_dir(v->console) : -1,
		wire && wire->unlink_dir_fd > 0 ? wire->unlink_dir_fd : -1,
	};
	unsigned long all[IOCTLS_MAX + 1] = { 0 };
	struct sandbox sb = {
		.syscalls = calls, .ioctls = ioctls, .more_ioctls = all,
		.unlink_dir_fd = dirs, .nr_unlink_dirs = 2,
		/* To a back end that comes in the place of one that died. */
		.connect = o.vhost.n > 0, .trace = o.verbose,
	};

	add_ioctls(all, machine_ioctls);
	if (wire) {
		add_ioctls(all, wire->ioctls);
		sb.more_syscalls = wire->syscalls;
		sb.network = wire->network;
		sb.read_replaced = wire->read_replaced;
	}

	if (o.sandbox == SANDBOX_ON)
		return sandbox_enter(&sb);
	log_warn("running without a sandbox, as --sandbox=none told");
	return 0;
}

static int run(struct vmm *v)
{
	const struct machine_conf conf = {
		.mem = o.mem, .cpus = o.cpus,
		.transport = (enum machine_transport)o.transport,
		.boot = {
			.kernel = o.kernel, .initrd = o.initrd,
			.cmdline = o.append,
		},
	};
	int err = machine_open(&v->machine, &conf, &v->loop);

	if (err)
		return err;
	err = watch_signals(v);
	if (!err)
		err = add_devices(v);
	if (!err)
		err = open_serial(v);
	if (!err)
		err = machine_load(&v->machine);
	if (!err)
		err = enter_sandbox(v);
	if (!err)
		err = machine_run(&v->machine);
	machine_close(&v->machine);
	if (v->serial)
		chardev_close(v->serial);
	return err;
}

int main(int argc, char **argv)
{
	static struct vmm v;
	int err;

	log_init("vireo-vmm", LOG_LEVEL_INFO);
	err = read_options(argc, argv);
	if (err >= 0)
		return err;
	if (o.verbose)
		log_init("vireo-vmm", LOG_LEVEL_DEBUG);
	v.signals.fd = -1;
	err = loop_init(&v.loop);
	if (err) {
		log_err("cannot make an event loop: %s", strerror(-err));
		return EXIT_FAILED;
	}
	err = run(&v);
	if (v.signals.fd >= 0) {
		loop_fd_del(&v.loop, &v.signals);
		close(v.signals.fd);
	}
	loop_fini(&v.loop);
	return err == MACHINE_OFF || err == MACHINE_RESET ? EXIT_OFF :
							    EXIT_FAILED;
}
