/* SPDX-License-Identifier: MIT */
/*
 * vireo-blk: a block device behind a vhost-user socket. Here lies only the
 * wiring: options, storage, device.
 */
#include <errno.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vireo/blk.h>

#include "cmd/blk/disk.h"
#include "host/daemon.h"
#include "host/log.h"

/* Segments of one request; a guest's request of 1 MiB in pages fits. */
#define SEG_MAX 254u

struct blk {
	struct vio_blk dev;
	struct disk_opt opt;
	struct disk storage;
	struct blkdev *disk;	/* the top of it */
	struct vio_queue *queues;
	struct vio_blk_stats *stats;
	uint64_t attached;	/* queues, a bit each, as threads have turns */
	int attach_rc;		/* of the first that failed */
};

static const char *const capabilities[] = { "read-only", "blk-file", NULL };

#define FEATURE(name) { VIRTIO_BLK_F_ ## name, "VIRTIO_BLK_F_" #name }

static const struct daemon_feature features[] = {
	FEATURE(SIZE_MAX), FEATURE(SEG_MAX), FEATURE(GEOMETRY), FEATURE(RO),
	FEATURE(BLK_SIZE), FEATURE(FLUSH), FEATURE(TOPOLOGY),
	FEATURE(CONFIG_WCE), FEATURE(MQ), FEATURE(DISCARD),
	FEATURE(WRITE_ZEROES), FEATURE(LIFETIME), FEATURE(SECURE_ERASE),
	FEATURE(ZONED), { 0, NULL }
};

/* What the disk needs once it is open. No open(), no io_uring_setup(). */
static const char *const syscalls[] = {
	"io_uring_enter", "io_uring_register", "preadv", "pwritev",
	"preadv2", "pwritev2", "fallocate", "fdatasync", "flock", "pwrite64",
	NULL
};

static const unsigned long ioctls[] = {
	BLKDISCARD, BLKSECDISCARD, BLKGETSIZE64, BLKREPORTZONE, BLKOPENZONE,
	BLKCLOSEZONE, BLKFINISHZONE, BLKRESETZONE, 0
};

/* To open one. */
static const char *const live_syscalls[] = { "fsync", NULL };
static const unsigned long live_ioctls[] = {
	BLKSSZGET, BLKPBSZGET, BLKGETZONESZ, 0
};

/* A ring of n entries holds a request of n segments, two of them ours. */
static uint32_t seg_max(const struct disk_opt *o)
{
	unsigned room = o->queue_size > 2 ? o->queue_size - 2 : 1;

	return room < SEG_MAX ? room : SEG_MAX;
}

static int make_device(struct blk *b)
{
	/* A segment that crosses regions of guest memory counts twice. */
	const struct vio_queue_limits limits = {
		.size_max = (uint16_t)b->opt.queue_size,
		.seg_max = (uint16_t)(2 * seg_max(&b->opt) + 8),
		.ctx_size = vio_blk_ctx_size,
	};
	struct vio_blk_conf *conf = &b->disk->conf;
	int rc;

	b->queues = daemon_queues_make(&b->dev.dev, b->opt.num_queues,
				       &limits);
	if (!b->queues)
		return -ENOMEM;
	b->stats = calloc(b->opt.num_queues, sizeof(*b->stats));
	if (!b->stats)
		return -ENOMEM;
	conf->seg_max = seg_max(&b->opt);
	conf->num_queues = (uint16_t)b->opt.num_queues;
	conf->in_order = b->opt.in_order;
	memcpy(conf->serial, b->opt.serial, strlen(b->opt.serial));
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

	if (b->storage.zoned && d->handed_over)
		blkdev_zoned_leave(b->storage.zoned);
	if (b->disk)
		blkdev_close(b->disk);
	daemon_queues_free(b->queues);
	free(b->stats);
}

static int blk_open(struct daemon *d)
{
	struct blk *b = d->ctx;
	int rc;

	b->opt = disk_opt;
	b->opt.live = d->live;
	rc = disk_check_options(&b->opt, d->inherits);
	if (!rc && !disk_is_local(&b->opt))
		rc = daemon_network(d, "--backend=nbd");
	blkdev_drain_limit(b->opt.drain_s);
	if (!rc)
		rc = disk_open(&b->storage, &b->opt, d->opt.control_path,
			       d->inherits);
	b->disk = b->storage.top;
	if (!rc)
		rc = make_device(b);
	if (rc) {
		blk_close(d);
		return rc;
	}
	b->disk->batch = (struct blkdev_batch){ batch_begin, batch_end, b };
	d->dev = &b->dev.dev;
	d->num_workers = b->opt.num_queues;
	if (b->opt.nbd) {
		d->more_syscalls = blkdev_nbd_syscalls();
		d->network = true;
		d->read_file = b->opt.tls_psk ? b->opt.tls_psk :
			b->opt.tls_certificates;
	}
	log_debug("%llu sectors, I/O by %s",
		  (unsigned long long)b->disk->conf.capacity_sectors,
		  b->disk->engine);
	return 0;
}

static void attach(void *arg, unsigned queue)
{
	struct daemon *d = arg;
	struct blk *b = d->ctx;

	if (b->attach_rc)
		return;
	b->attach_rc = b->disk->ops->attach(b->disk, queue,
					    daemon_queue_loop(d, queue));
	if (!b->attach_rc)
		b->attached |= 1ull << queue;
}

static void detach(void *arg, unsigned queue)
{
	struct daemon *d = arg;
	struct blk *b = d->ctx;

	if (b->attached & 1ull << queue)
		b->disk->ops->detach(b->disk, queue);
	b->attached &= ~(1ull << queue);
}

static void blk_stop(struct daemon *d)
{
	const struct blk *b = d->ctx;

	if (b->attached)
		daemon_queues_run(d, detach, d);
}

static int blk_start(struct daemon *d)
{
	struct blk *b = d->ctx;

	if (!b->disk->ops->attach)
		return 0;
	daemon_queues_run(d, attach, d);
	if (!b->attach_rc)
		return 0;
	log_err("cannot start the disk: %s", strerror(-b->attach_rc));
	blk_stop(d);
	return b->attach_rc;
}

/* The predecessor ends, and its lock with it. */
static void blk_alone(struct daemon *d)
{
	const struct blk *b = d->ctx;

	if (disk_lock(&b->storage, &b->opt))
		log_warn("--blk-file: going on without a lock");
}

static void blk_drain(struct daemon *d, unsigned queue)
{
	struct blk *b = d->ctx;

	if (b->disk->ops->io.drain)
		b->disk->ops->io.drain(b->disk, queue);
}

static void blk_memory(struct daemon *d, void *ptr, size_t len, bool huge,
		       bool add)
{
	struct blkdev *disk = ((struct blk *)d->ctx)->storage.bottom;

	if (disk->ops->memory)
		disk->ops->memory(disk, ptr, len, huge, add);
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void blk_stats(struct daemon *d, struct stats_values *v)
{
	struct blk *b = d->ctx;
	unsigned i;

	for (i = 0; i < b->opt.num_queues; i++) {
		const struct vio_blk_stats *s = &b->stats[i];

		v->requests += load(&s->reads) + load(&s->writes) +
			       load(&s->flushes) + load(&s->others);
		v->bytes_read += load(&s->bytes_read);
		v->bytes_written += load(&s->bytes_written);
		v->errors += load(&s->errors);
	}
}

static void blk_metrics(struct daemon *d, struct text *out)
{
	struct blk *b = d->ctx;

	if (b->storage.latency)
		blkdev_latency_tell(b->storage.latency, out);
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
		text_fmt(out, "this disk keeps its size");
		return -EOPNOTSUPP;
	}
	blk_resized(d);
	text_fmt(out, "{\"sectors\":%llu}",
		 (unsigned long long)b->disk->conf.capacity_sectors);
	return 0;
}

static int cmd_throttle(void *ctx, unsigned nr_args, char **args,
			struct text *out)
{
	struct daemon *d = ctx;
	struct blk *b = d->ctx;
	unsigned i;

	for (i = 0; i < nr_args; i++)
		if (disk_limit(&b->opt.limits, args[i])) {
			text_fmt(out, "not ops=, bytes=, queue-ops= or queue-bytes= with a number: %s",
				 args[i]);
			return -EINVAL;
		}
	blkdev_throttle_set(b->disk, &b->opt.limits);
	text_fmt(out, "{");
	text_member_u64(out, "ops", b->opt.limits.ops);
	text_member_u64(out, "bytes", b->opt.limits.bytes);
	text_member_u64(out, "queue_ops", b->opt.limits.queue_ops);
	text_member_u64(out, "queue_bytes", b->opt.limits.queue_bytes);
	text_fmt(out, "}");
	return 0;
}

static const struct control_command commands[] = {
	{ .name = "throttle",
	  .args = "[ops=N] [bytes=N] [queue-ops=N] [queue-bytes=N]",
	  .max_args = 4,
	  .help = "operations and bytes a second, of the disk and of each queue; 0 takes a limit away; what is not named stays; without words, only tells",
	  .run = cmd_throttle },
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
	.opts = disk_options,
	.opt_data = &disk_opt,
	.opt_size = sizeof(disk_opt),
	.ctx_size = sizeof(struct blk),
	.threaded = true,
	.features = features,
	.syscalls = syscalls,
	.ioctls = ioctls,
	.live_syscalls = live_syscalls,
	.live_ioctls = live_ioctls,
	.open = blk_open,
	.start = blk_start,
	.stop = blk_stop,
	.close = blk_close,
	.heritable = true,
	.alone = blk_alone,
	.drain = blk_drain,
	.memory = blk_memory,
	.stats = blk_stats,
	.metrics = blk_metrics,
	.resized = blk_resized,
	.commands = commands,
};

int main(int argc, char **argv)
{
	static struct blk blk;

	return daemon_main(&blk_type, &blk, argc, argv);
}
