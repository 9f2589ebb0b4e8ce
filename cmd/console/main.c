/* SPDX-License-Identifier: MIT */
/*
 * vireo-console: a console device behind a vhost-user socket. Here lies only
 * the wiring: options, the host's end, device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vireo/console.h>

#include "backend/chardev.h"
#include "host/daemon.h"
#include "host/log.h"

struct console {
	struct vio_console dev;
	struct chardev *chr;
	struct vio_queue *queues;
	struct daemon *daemon;
};

static const char *const kinds[] = {
	[CHARDEV_STDIO] = "stdio", [CHARDEV_PTY] = "pty",
	[CHARDEV_SOCKET] = "socket", [CHARDEV_FILE] = "file", NULL
};

static struct {
	unsigned kind, cols, rows;
	const char *path;
	bool escape;
} o;

static const struct opt options[] = {
	{ .name = "backend", .type = OPT_CHOICE, .to = &o.kind,
	  .arg = "stdio|pty|socket|file", .choices = kinds,
	  .help = "The host's end of the console. Default stdio.",
	},
	{ .name = "path", .type = OPT_STRING, .to = &o.path, .arg = "PATH",
	  .help = "Of the socket to listen on, or of the file to append to.",
	},
	{ .name = "escape", .type = OPT_FLAG, .to = &o.escape,
	  .help = "With stdio: Ctrl-] ends the program.",
	},
	{ .name = "cols", .type = OPT_UINT, .to = &o.cols, .arg = "NUMBER",
	  .max = 65535,
	  .help = "Width that the guest is told; by default the terminal's.",
	},
	{ .name = "rows", .type = OPT_UINT, .to = &o.rows, .arg = "NUMBER",
	  .max = 65535,
	  .help = "Height that the guest is told; by default the terminal's.",
	},
	{ 0 }
};

static const char *const capabilities[] = { NULL };

static const struct daemon_feature features[] = {
	{ VIRTIO_CONSOLE_F_SIZE, "VIRTIO_CONSOLE_F_SIZE" },
	{ VIRTIO_CONSOLE_F_EMERG_WRITE, "VIRTIO_CONSOLE_F_EMERG_WRITE" },
	{ 0, NULL }
};

/* The terminal's size and its state at exit. */
static const char *const syscalls[] = { NULL };
/* tcgetattr() is among what isatty() and tcsetattr() do. */
static const unsigned long ioctls[] = { TIOCGWINSZ, TCGETS, TCSETS, 0 };

static size_t back_write(void *backend, const void *src, size_t len)
{
	struct console *c = backend;

	return chardev_write(c->chr, src, len);
}

static size_t back_read(void *backend, void *dst, size_t len)
{
	struct console *c = backend;

	return chardev_read(c->chr, dst, len);
}

static void back_emergency(void *backend, unsigned char byte)
{
	struct console *c = backend;

	if (!chardev_write(c->chr, &byte, 1))
		log_warn("an emergency byte 0x%02x found no room", byte);
}

static const struct vio_console_backend_ops back_ops = {
	.write = back_write, .read = back_read, .emergency = back_emergency,
};

static void on_readable(void *ctx)
{
	struct console *c = ctx;

	vio_console_readable(&c->dev);
}

static void on_writable(void *ctx)
{
	struct console *c = ctx;

	vio_console_writable(&c->dev);
}

static void on_escape(void *ctx)
{
	struct console *c = ctx;

	loop_stop(&c->daemon->main->loop);
}

static void console_close(struct daemon *d)
{
	struct console *c = d->ctx;

	daemon_queues_free(c->queues);
	if (c->chr)
		chardev_close(c->chr);
}

static int make_device(struct console *c)
{
	const struct vio_queue_limits limits = {
		.size_max = 1024, .seg_max = 64,
		.ctx_size = vio_console_ctx_size,
	};
	struct vio_console_conf conf = {
		.cols = (uint16_t)o.cols, .rows = (uint16_t)o.rows,
	};

	if (!o.cols || !o.rows)
		chardev_size(c->chr, &conf.cols, &conf.rows);
	c->queues = daemon_queues_make(&c->dev.dev, VIO_CONSOLE_QUEUES,
				       &limits);
	if (!c->queues)
		return -ENOMEM;
	return vio_console_init(&c->dev, &conf, c->queues, &back_ops, c) ?
		-EINVAL : 0;
}

static void console_save(void *ctx, struct vio_state_out *out)
{
	struct console *c = ctx;

	chardev_save(c->chr, out);
}

static int console_load(void *ctx, const struct vio_state_record *r)
{
	struct console *c = ctx;

	return chardev_load(c->chr, r);
}

static const struct vio_dev_outer outer = { console_save, console_load };

static int console_open(struct daemon *d)
{
	const struct chardev_conf conf = {
		.kind = (enum chardev_kind)o.kind,
		.path = o.path,
		.escape = o.escape && o.kind == CHARDEV_STDIO,
		.listen_fd = daemon_file(d, "listen"),
		.peer_fd = daemon_file(d, "peer"),
	};
	struct console *c = d->ctx;
	int rc;

	if (o.path && (o.kind == CHARDEV_STDIO || o.kind == CHARDEV_PTY)) {
		log_err("--path is for --backend=socket and file");
		return -EINVAL;
	}
	rc = chardev_open(&c->chr, &conf);
	if (!rc)
		rc = make_device(c);
	if (rc) {
		console_close(d);
		return rc;
	}
	c->daemon = d;
	d->dev = &c->dev.dev;
	d->dev->outer = &outer;
	d->dev->outer_ctx = c;
	d->unlink_dir_fd = chardev_unlink_dir(c->chr);
	return 0;
}

static int start_chardev(struct daemon *d)
{
	struct console *c = d->ctx;
	const struct chardev_events events = {
		on_readable, on_writable, on_escape, c,
	};
	int rc = chardev_start(c->chr, &d->main->loop, &events);

	if (rc)
		log_err("cannot watch the console's host end: %s",
			strerror(-rc));
	return rc;
}

/* A predecessor works on the same descriptors until it hands over. */
static int console_start(struct daemon *d)
{
	return d->inherits ? 0 : start_chardev(d);
}

static void console_alone(struct daemon *d)
{
	start_chardev(d);
}

static unsigned console_files(struct daemon *d,
			      struct daemon_file file[DAEMON_FILES_MAX])
{
	struct console *c = d->ctx;
	unsigned n = 0;

	file[n] = (struct daemon_file){ "listen", chardev_listen_fd(c->chr) };
	n += file[n].fd >= 0;
	file[n] = (struct daemon_file){ "peer", chardev_peer_fd(c->chr) };
	n += file[n].fd >= 0;
	return n;
}

static void console_stop(struct daemon *d)
{
	struct console *c = d->ctx;

	if (d->files_left)
		chardev_given(c->chr);
	chardev_stop(c->chr);
}

static void console_resized(struct daemon *d)
{
	struct console *c = d->ctx;
	uint16_t cols, rows;

	if (!o.cols && chardev_size(c->chr, &cols, &rows))
		vio_console_resize(&c->dev, cols, rows);
}

static void console_stats(struct daemon *d, struct stats_values *v)
{
	struct console *c = d->ctx;
	unsigned i;

	for (i = 0; i < VIO_CONSOLE_QUEUES; i++)
		v->requests += c->queues[i].stats.requests;
	v->bytes_read = c->dev.stats.bytes_in;
	v->bytes_written = c->dev.stats.bytes_out;
}

/* A number of columns or rows; 0: it is none. */
static uint16_t cells(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && n <= UINT16_MAX ?
		(uint16_t)n : 0;
}

static int cmd_resize(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon *d = ctx;
	struct console *c = d->ctx;
	uint16_t cols = cells(args[0]), rows = cells(args[1]);

	(void)nr_args;
	if (!cols || !rows) {
		text_fmt(out, "columns and rows are numbers from 1 to 65535");
		return -EINVAL;
	}
	vio_console_resize(&c->dev, cols, rows);
	return 0;
}

static const struct control_command commands[] = {
	{ .name = "resize", .args = "COLUMNS ROWS", .min_args = 2,
	  .max_args = 2, .help = "tell the guest another size of its terminal",
	  .run = cmd_resize },
	{ 0 }
};

static const struct daemon_type console_type = {
	.program = "vireo-console",
	.summary = "Serve a virtio console: standard input and output, a pseudo-terminal, a socket or a file.",
	.device = "console",
	.capabilities = capabilities,
	.opts = options,
	.features = features,
	.syscalls = syscalls,
	.ioctls = ioctls,
	.open = console_open,
	.start = console_start,
	.stop = console_stop,
	.close = console_close,
	.heritable = true,
	.alone = console_alone,
	.files = console_files,
	.stats = console_stats,
	.resized = console_resized,
	.commands = commands,
};

int main(int argc, char **argv)
{
	static struct console console;

	return daemon_main(&console_type, &console, argc, argv);
}
