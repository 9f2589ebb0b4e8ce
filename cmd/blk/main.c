/* SPDX-License-Identifier: MIT */
/*
 * vireo-blk: a block device behind a vhost-user socket. Here lies only the
 * wiring: options, storage, device.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vireo/blk.h>

#include "backend/blkdev.h"
#include "host/daemon.h"
#include "host/log.h"

/* Segments of one request; a guest's request of 1 MiB in pages fits. */
#define SEG_MAX 254u

struct blk {
	struct vio_blk dev;
	struct blkdev *disk;
	struct vio_queue *queues;
	struct vio_blk_stats *stats;
	unsigned attached;	/* queues */
	struct loop *attach_loop;	/* arguments of attach() */
	unsigned attach_queue;
	int attach_rc;
};

enum { KIND_FILE, KIND_NULL, KIND_MEM };

static const char *const kinds[] = { "file", "null", "mem", NULL };
static const char *const aios[] = {
	[BLKDEV_AIO_AUTO] = "auto", [BLKDEV_AIO_URING] = "io_uring",
	[BLKDEV_AIO_THREADS] = "threads", [BLKDEV_AIO_INLINE] = "inline",
	NULL
};

static struct {
	const char *file, *serial;
	unsigned kind, aio, num_queues, queue_size, threads, drain_s;
	uint64_t size;
	bool read_only, no_lock, direct, in_order;
} o = {
	.num_queues = 16, .queue_size = 1024, .serial = "vireo",
	.drain_s = 30,
};

static const struct opt options[] = {
	{ .name = "blk-file", .type = OPT_STRING, .to = &o.file,
	  .arg = "FILE",
	  .help = "Serve this raw image or block device. Its contents are never looked at: no format is probed.",
	},
	{ .name = "read-only", .type = OPT_FLAG, .to = &o.read_only,
	  .help = "Open it for reading only and refuse all changes." },
	{ .name = "no-lock", .type = OPT_FLAG, .to = &o.no_lock,
	  .help = "Do not lock it: something else sees to it that one program at a time writes, as when a guest migrates.",
	},
	{ .name = "drain-timeout", .type = OPT_UINT, .to = &o.drain_s,
	  .arg = "SECONDS", .min = 1, .max = 86400,
	  .help = "How long to wait for storage that does not answer when a ring is to stop, before the program ends without it. Default 30.",
	},
	{ .name = "backend", .type = OPT_CHOICE, .to = &o.kind,
	  .arg = "file|null|mem", .choices = kinds,
	  .help = "What lies behind the disk: --blk-file (default); nothing, for measurements; memory, gone at exit.",
	},
	{ .name = "size", .type = OPT_SIZE, .to = &o.size, .arg = "BYTES",
	  .min = 512, .help = "Size of a null or mem disk, such as 256M." },
	{ .name = "num-queues", .type = OPT_UINT, .to = &o.num_queues,
	  .arg = "NUMBER", .min = 1, .max = BLKDEV_QUEUES_MAX,
	  .help = "Request queues, 16 by default; each guest CPU may use its own. QEMU asks for one per guest CPU, and refuses fewer.",
	},
	{ .name = "queue-size", .type = OPT_UINT, .to = &o.queue_size,
	  .arg = "NUMBER", .min = 2, .max = 32768,
	  .help = "Largest ring that a front end may choose. Default 1024." },
	{ .name = "threads", .type = OPT_UINT, .to = &o.threads,
	  .arg = "NUMBER", .min = 1, .max = BLKDEV_QUEUES_MAX,
	  .help = "Threads that serve the queues. By default as many as there are queues or processors, whichever is less.",
	},
	{ .name = "serial", .type = OPT_STRING, .to = &o.serial,
	  .arg = "TEXT", .help = "Serial number, at most 20 bytes." },
	{ .name = "aio", .type = OPT_CHOICE, .to = &o.aio,
	  .arg = "auto|io_uring|threads|inline", .choices = aios,
	  .help = "How to do I/O on the file. Default auto: on the queue's thread for files in memory (tmpfs), else io_uring, else threads.",
	},
	{ .name = "direct", .type = OPT_FLAG, .to = &o.direct,
	  .help = "Bypass the host's page cache." },
	{ .name = "in-order", .type = OPT_FLAG, .to = &o.in_order,
	  .help = "Offer IN_ORDER: a slow request then holds up those behind it.",
	},
	{ 0 }
};

static const char *const capabilities[] = { "read-only", "blk-file", NULL };

#define FEATURE(name) { VIRTIO_BLK_F_ ## name, "VIRTIO_BLK_F_" #name }

static const struct daemon_feature features[] = {
	FEATURE(SIZE_MAX), FEATURE(SEG_MAX), FEATURE(GEOMETRY), FEATURE(RO),
	FEATURE(BLK_SIZE), FEATURE(FLUSH), FEATURE(TOPOLOGY),
	FEATURE(CONFIG_WCE), FEATURE(MQ), FEATURE(DISCARD),
	FEATURE(WRITE_ZEROES), { 0, NULL }
};

/* What the disk needs once it is open. No open(), no io_uring_setup(). */
static const char *const syscalls[] = {
	"io_uring_enter", "io_uring_register", "preadv", "pwritev",
	"preadv2", "pwritev2", "fallocate", "fdatasync", "flock",
	NULL
};

static const unsigned long ioctls[] = { BLKDISCARD, BLKGETSIZE64, 0 };

static int check_options(void)
{
	if (o.kind == KIND_FILE && !o.file) {
		log_err("what is to be served? Give --blk-file=FILE, or --backend=null or mem with --size");
		return -EINVAL;
	}
	if (o.kind != KIND_FILE && o.file) {
		log_err("--blk-file and --backend=%s exclude each other",
			kinds[o.kind]);
		return -EINVAL;
	}
	if (o.kind != KIND_FILE && !o.size) {
		log_err("--backend=%s needs a size: --size=256M",
			kinds[o.kind]);
		return -EINVAL;
	}
	if (o.kind == KIND_FILE && o.size) {
		log_err("--size is for --backend=null and mem; a file has its own size");
		return -EINVAL;
	}
	if (o.size % 512) {
		log_err("--size: %llu is no multiple of the sector size 512",
			(unsigned long long)o.size);
		return -EINVAL;
	}
	if (o.queue_size & (o.queue_size - 1)) {
		log_err("--queue-size: %u is no power of two", o.queue_size);
		return -EINVAL;
	}
	if (strlen(o.serial) > VIRTIO_BLK_ID_BYTES) {
		log_err("--serial: '%s' is longer than %u bytes", o.serial,
			VIRTIO_BLK_ID_BYTES);
		return -EINVAL;
	}
	return 0;
}

static int open_disk(struct blk *b, bool shared)
{
	const struct blkdev_file_conf conf = {
		.path = o.file,
		.read_only = o.read_only,
		.no_lock = o.no_lock || shared,
		.direct = o.direct,
		.aio = (enum blkdev_aio)o.aio,
		.num_queues = o.num_queues,
		.queue_size = o.queue_size,
	};
	int rc;

	if (o.kind == KIND_MEM)
		return blkdev_mem_open(&b->disk, o.size, o.read_only);
	if (o.kind == KIND_FILE)
		return blkdev_file_open(&b->disk, &conf);
	rc = blkdev_null_open(&b->disk, o.size);
	if (!rc)
		b->disk->conf.read_only = o.read_only;
	return rc;
}

/* A ring of n entries holds a request of n segments, two of them ours. */
static uint32_t seg_max(void)
{
	unsigned room = o.queue_size > 2 ? o.queue_size - 2 : 1;

	return room < SEG_MAX ? room : SEG_MAX;
}

static int make_device(struct blk *b)
{
	/* A segment that crosses regions of guest memory counts twice. */
	const struct vio_queue_limits limits = {
		.size_max = (uint16_t)o.queue_size,
		.seg_max = (uint16_t)(2 * seg_max() + 8),
		.ctx_size = vio_blk_ctx_size,
	};
	struct vio_blk_conf *conf = &b->disk->conf;
	int rc;

	b->queues = daemon_queues_make(&b->dev.dev, o.num_queues, &limits);
	if (!b->queues)
		return -ENOMEM;
	b->stats = calloc(o.num_queues, sizeof(*b->stats));
	if (!b->stats)
		return -ENOMEM;
	conf->seg_max = seg_max();
	conf->num_queues = (uint16_t)o.num_queues;
	conf->in_order = o.in_order;
	memcpy(conf->serial, o.serial, strlen(o.serial));
	rc = vio_blk_init(&b->dev, conf, b->queues, &b->disk->ops->io,
			  b->disk, b->stats);
	if (rc)
		log_err("the block device refuses its configuration (%d)", rc);
	return rc ? -EINVAL : 0;
}

static void batch_begin(void *ctx, unsigned queue)
{
	struct blk *b = ctx;

	vio_queue_hold(&b->queues[queue]);
}

static void batch_end(void *ctx, unsigned queue)
{
	struct blk *b = ctx;

	vio_queue_release(&b->queues[queue]);
}

static void blk_close(struct daemon *d)
{
	struct blk *b = d->ctx;

	if (b->disk)
		blkdev_close(b->disk);
	daemon_queues_free(b->queues);
	free(b->stats);
}

static int blk_open(struct daemon *d)
{
	struct blk *b = d->ctx;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	rc = check_options();
	blkdev_drain_limit(o.drain_s);
	if (!rc)
		rc = open_disk(b, d->opt.inherit);
	if (!rc)
		rc = make_device(b);
	if (rc) {
		blk_close(d);
		return rc;
	}
	b->disk->batch = (struct blkdev_batch){ batch_begin, batch_end, b };
	d->dev = &b->dev.dev;
	d->num_workers = o.threads;
	if (!d->num_workers)
		d->num_workers = cpus > 0 ? (unsigned)cpus : 1;
	if (d->num_workers > o.num_queues)
		d->num_workers = o.num_queues;
	log_debug("%llu sectors, I/O by %s",
		  (unsigned long long)b->disk->conf.capacity_sectors,
		  b->disk->engine);
	return 0;
}

static void attach(void *arg)
{
	struct blk *b = arg;

	b->attach_rc = b->disk->ops->attach(b->disk, b->attach_queue,
					    b->attach_loop);
}

static void detach(void *arg)
{
	struct blk *b = arg;

	b->disk->ops->detach(b->disk, b->attach_queue);
}

static void blk_stop(struct daemon *d)
{
	struct blk *b = d->ctx;

	while (b->attached) {
		b->attach_queue = --b->attached;
		daemon_queue_run(d, b->attach_queue, detach, b);
	}
}

static int blk_start(struct daemon *d)
{
	struct blk *b = d->ctx;

	if (!b->disk->ops->attach)
		return 0;
	for (; b->attached < o.num_queues; b->attached++) {
		b->attach_queue = b->attached;
		b->attach_loop = daemon_queue_loop(d, b->attached);
		daemon_queue_run(d, b->attached, attach, b);
		if (b->attach_rc) {
			log_err("cannot start the disk: %s",
				strerror(-b->attach_rc));
			blk_stop(d);
			return b->attach_rc;
		}
	}
	return 0;
}

/* The predecessor ends, and its lock with it. */
static void blk_alone(struct daemon *d)
{
	struct blk *b = d->ctx;

	if (o.kind == KIND_FILE && !o.no_lock &&
	    blkdev_file_lock(b->disk, o.file))
		log_warn("--blk-file: going on without a lock");
}

static void blk_drain(struct daemon *d, unsigned queue)
{
	struct blk *b = d->ctx;

	if (b->disk->ops->io.drain)
		b->disk->ops->io.drain(b->disk, queue);
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void blk_stats(struct daemon *d, struct stats_values *v)
{
	struct blk *b = d->ctx;
	unsigned i;

	for (i = 0; i < o.num_queues; i++) {
		const struct vio_blk_stats *s = &b->stats[i];

		v->requests += load(&s->reads) + load(&s->writes) +
			       load(&s->flushes) + load(&s->others);
		v->bytes_read += load(&s->bytes_read);
		v->bytes_written += load(&s->bytes_written);
		v->errors += load(&s->errors);
	}
}

static void blk_resized(struct daemon *d)
{
	struct blk *b = d->ctx;
	uint64_t sectors;

	if (!b->disk->ops->resize || b->disk->ops->resize(b->disk, &sectors))
		return;
	/* SIGWINCH comes here as well. */
	if (sectors == b->disk->conf.capacity_sectors)
		return;
	b->disk->conf.capacity_sectors = sectors;
	log_info("the disk has %llu sectors now",
		 (unsigned long long)sectors);
	vio_blk_resize(&b->dev, sectors);
}

static int cmd_resize(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon *d = ctx;
	struct blk *b = d->ctx;

	(void)nr_args;
	(void)args;
	if (!b->disk->ops->resize) {
		text_fmt(out, "a %s disk keeps its size", kinds[o.kind]);
		return -EOPNOTSUPP;
	}
	blk_resized(d);
	text_fmt(out, "{\"sectors\":%llu}",
		 (unsigned long long)b->disk->conf.capacity_sectors);
	return 0;
}

static const struct control_command commands[] = {
	{ .name = "resize", .args = "",
	  .help = "look how large the image is now, and tell the guest",
	  .run = cmd_resize },
	{ 0 }
};

static const struct daemon_type blk_type = {
	.program = "vireo-blk",
	.summary = "Serve a disk image, a block device, memory or nothing as a virtio disk.",
	.device = "block",
	.capabilities = capabilities,
	.opts = options,
	.features = features,
	.syscalls = syscalls,
	.ioctls = ioctls,
	.open = blk_open,
	.start = blk_start,
	.stop = blk_stop,
	.close = blk_close,
	.heritable = true,
	.alone = blk_alone,
	.drain = blk_drain,
	.stats = blk_stats,
	.resized = blk_resized,
	.commands = commands,
};

int main(int argc, char **argv)
{
	static struct blk blk;

	return daemon_main(&blk_type, &blk, argc, argv);
}
