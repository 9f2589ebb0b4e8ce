/* SPDX-License-Identifier: MIT */
/* Which disk: the options that say it, and how it is put together. */
#include "cmd/blk/disk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "host/log.h"

enum { KIND_FILE, KIND_NULL, KIND_MEM, KIND_NBD };
enum { ZONED_AUTO, ZONED_NONE, ZONED_HM, ZONED_HA };

struct disk_opt disk_opt = {
	.num_queues = 16, .queue_size = 1024, .serial = "vireo",
	.zone_size = 64 << 20, .drain_s = 30, .reconnect_s = 60,
};

static const char *const kinds[] = { "file", "null", "mem", "nbd", NULL };
static const char *const zoned[] = {
	"auto", "none", "host-managed", "host-aware", NULL
};
static const char *const aios[] = {
	[BLKDEV_AIO_AUTO] = "auto", [BLKDEV_AIO_URING] = "io_uring",
	[BLKDEV_AIO_THREADS] = "threads", [BLKDEV_AIO_INLINE] = "inline",
	NULL
};

static const char *const fixed[] = {
	[BLKDEV_FIXED_AUTO] = "auto", [BLKDEV_FIXED_ON] = "on",
	[BLKDEV_FIXED_OFF] = "off", NULL
};

const struct opt disk_options[] = {
	{ .name = "blk-file", .type = OPT_STRING, .to = &disk_opt.file,
	  .arg = "FILE",
	  .help = "Serve this raw image or block device. Its contents are never looked at: no format is probed.",
	},
	{ .name = "read-only", .type = OPT_FLAG, .to = &disk_opt.read_only,
	  .help = "Open it for reading only and refuse all changes." },
	{ .name = "no-lock", .type = OPT_FLAG, .to = &disk_opt.no_lock,
	  .help = "Do not lock it: something else sees to it that one program at a time writes, as when a guest migrates.",
	},
	{ .name = "latency", .type = OPT_FLAG, .to = &disk_opt.latency,
	  .help = "Time requests, for the metrics: how many took how long in the storage.",
	},
	{ .name = "drain-timeout", .type = OPT_UINT, .to = &disk_opt.drain_s,
	  .arg = "SECONDS", .min = 1, .max = 86400,
	  .help = "How long to wait for storage that does not answer when a ring is to stop, before the program ends without it. Default 30.",
	},
	{ .name = "backend", .type = OPT_CHOICE, .to = &disk_opt.kind,
	  .arg = "file|null|mem|nbd", .choices = kinds,
	  .help = "What lies behind the disk: --blk-file (default); nothing, for measurements; memory, gone at exit; the NBD server of --nbd.",
	},
	{ .name = "nbd", .type = OPT_STRING, .to = &disk_opt.nbd,
	  .arg = "URI",
	  .help = "With --backend=nbd: the disk, such as nbd://192.0.2.1/name or nbd+unix:///name?socket=PATH; nbds for TLS.",
	},
	{ .name = "tls-certificates", .type = OPT_STRING,
	  .to = &disk_opt.tls_certificates, .arg = "FOLDER",
	  .help = "Speak TLS to the NBD server, with the certificates of this folder.",
	},
	{ .name = "tls-psk", .type = OPT_STRING, .to = &disk_opt.tls_psk,
	  .arg = "FILE",
	  .help = "Speak TLS to the NBD server, with a key that it shares, in this file.",
	},
	{ .name = "reconnect", .type = OPT_UINT, .to = &disk_opt.reconnect_s,
	  .arg = "SECONDS", .max = 86400,
	  .help = "How long requests wait for an NBD server that went away to come back, before they fail. Default 60.",
	},
	{ .name = "hugepages", .type = OPT_FLAG, .to = &disk_opt.hugepages,
	  .help = "Have a mem disk in huge pages, all of it from the start." },
	{ .name = "size", .type = OPT_SIZE, .to = &disk_opt.size, .arg = "BYTES",
	  .min = 512, .help = "Size of a null or mem disk, such as 256M." },
	{ .name = "num-queues", .type = OPT_UINT, .to = &disk_opt.num_queues,
	  .arg = "NUMBER", .min = 1, .max = BLKDEV_QUEUES_MAX,
	  .help = "Request queues, 16 by default; each guest CPU may use its own. QEMU asks for one per guest CPU, and refuses fewer.",
	},
	{ .name = "queue-size", .type = OPT_UINT, .to = &disk_opt.queue_size,
	  .arg = "NUMBER", .min = 2, .max = 32768,
	  .help = "Largest ring that a front end may choose. Default 1024." },
	{ .name = "serial", .type = OPT_STRING, .to = &disk_opt.serial,
	  .arg = "TEXT", .help = "Serial number, at most 20 bytes." },
	{ .name = "aio", .type = OPT_CHOICE, .to = &disk_opt.aio,
	  .arg = "auto|io_uring|threads|inline", .choices = aios,
	  .help = "How to do I/O on the file. Default auto: on the queue's thread for files in memory (tmpfs), else io_uring, else threads.",
	},
	{ .name = "direct", .type = OPT_FLAG, .to = &disk_opt.direct,
	  .help = "Bypass the host's page cache; of block devices by default.",
	},
	{ .name = "buffered", .type = OPT_FLAG, .to = &disk_opt.buffered,
	  .help = "Go through the host's page cache, with block devices, too.",
	},
	{ .name = "fixed-memory", .type = OPT_CHOICE, .to = &disk_opt.fixed,
	  .arg = "auto|on|off", .choices = fixed,
	  .help = "For direct I/O with io_uring: register the guest's memory with the kernel once, which keeps all of it in memory. Default auto: where it lies in huge pages.",
	},
	{ .name = "sqpoll", .type = OPT_FLAG, .to = &disk_opt.sqpoll,
	  .help = "Have a thread of the kernel take requests from io_uring: no system calls, for a processor that it keeps busy.",
	},
	{ .name = "iopoll", .type = OPT_FLAG, .to = &disk_opt.iopoll,
	  .help = "Look for completions instead of waiting for interrupts; for --direct, on NVMe disks with queues for it.",
	},
	{ .name = "in-order", .type = OPT_FLAG, .to = &disk_opt.in_order,
	  .help = "Offer IN_ORDER: a slow request then holds up those behind it.",
	},
	{ .name = "ops", .type = OPT_SIZE, .to = &disk_opt.limits.ops,
	  .arg = "NUMBER",
	  .help = "At most so many requests a second, of all queues together.",
	},
	{ .name = "bytes", .type = OPT_SIZE, .to = &disk_opt.limits.bytes,
	  .arg = "BYTES", .help = "At most so many bytes a second." },
	{ .name = "queue-ops", .type = OPT_SIZE,
	  .to = &disk_opt.limits.queue_ops, .arg = "NUMBER",
	  .help = "The same of each queue." },
	{ .name = "queue-bytes", .type = OPT_SIZE,
	  .to = &disk_opt.limits.queue_bytes, .arg = "BYTES",
	  .help = "The same of each queue." },
	{ .name = "zoned", .type = OPT_CHOICE, .to = &disk_opt.zoned,
	  .arg = "auto|none|host-managed|host-aware", .choices = zoned,
	  .help = "Make a zoned disk of it; the states of a file's zones are kept in FILE.zones. Default auto: what a zoned block device has of zones is passed on.",
	},
	{ .name = "zone-size", .type = OPT_SIZE, .to = &disk_opt.zone_size,
	  .arg = "BYTES", .min = 4096,
	  .max = (uint64_t)UINT32_MAX * 512,
	  .help = "Size of a zone. Default 64M." },
	{ .name = "zone-capacity", .type = OPT_SIZE,
	  .to = &disk_opt.zone_capacity, .arg = "BYTES", .min = 4096,
	  .help = "How much of a zone can be written. Default: all." },
	{ .name = "conventional-zones", .type = OPT_UINT,
	  .to = &disk_opt.conventional, .arg = "NUMBER", .max = UINT32_MAX,
	  .help = "The first so many zones can be written anywhere." },
	{ .name = "max-open-zones", .type = OPT_UINT,
	  .to = &disk_opt.max_open, .arg = "NUMBER", .max = UINT32_MAX,
	  .help = "Zones that may be open at once. Default: any number." },
	{ .name = "max-active-zones", .type = OPT_UINT,
	  .to = &disk_opt.max_active, .arg = "NUMBER", .max = UINT32_MAX,
	  .help = "Zones that may be open or closed at once. Default: any number.",
	},
	{ .name = "secure-erase", .type = OPT_FLAG,
	  .to = &disk_opt.secure_erase,
	  .help = "Let the guest erase for good: a file's bytes are overwritten in place, a block device is told to.",
	},
	{ .name = "lifetime", .type = OPT_STRING, .to = &disk_opt.lifetime,
	  .arg = "FOLDER",
	  .help = "Tell the guest how worn the storage is, from FOLDER/life_time and FOLDER/pre_eol_info, as of an eMMC in /sys/block/DEVICE/device.",
	},
	{ 0 }
};

/* Are zones to be made where there are none? */
static bool makes_zones(const struct disk_opt *o)
{
	return o->zoned == ZONED_HM || o->zoned == ZONED_HA;
}

static int refuse(const char *why)
{
	log_err("%s", why);
	return -EINVAL;
}

/* What goes with which kind of disk. */
static int check_kind(const struct disk_opt *o)
{
	bool sized = o->kind == KIND_NULL || o->kind == KIND_MEM;

	if (o->kind == KIND_FILE && !o->file)
		return refuse("what is to be served? Give --blk-file=FILE, or --backend=null or mem with --size, or nbd with --nbd");
	if (o->kind != KIND_FILE && (o->sqpoll || o->iopoll))
		return refuse("--sqpoll and --iopoll are for --blk-file");
	if (o->kind != KIND_FILE && o->file) {
		log_err("--blk-file and --backend=%s exclude each other",
			kinds[o->kind]);
		return -EINVAL;
	}
	if (sized && !o->size) {
		log_err("--backend=%s needs a size: --size=256M",
			kinds[o->kind]);
		return -EINVAL;
	}
	if (!sized && o->size)
		return refuse("--size is for --backend=null and mem; a file and a server have their own size");
	if ((o->kind == KIND_NBD) != (o->nbd != NULL))
		return refuse("--backend=nbd and --nbd=URI belong together");
	if (!o->nbd && (o->tls_certificates || o->tls_psk))
		return refuse("--tls-certificates and --tls-psk are for --backend=nbd");
	if (o->hugepages && o->kind != KIND_MEM)
		return refuse("--hugepages is for --backend=mem");
	if (o->direct && o->buffered)
		return refuse("--direct and --buffered exclude each other");
	if ((o->sqpoll || o->iopoll) && o->aio != BLKDEV_AIO_AUTO &&
	    o->aio != BLKDEV_AIO_URING)
		return refuse("--sqpoll and --iopoll are for --aio=io_uring");
	if (o->kind == KIND_NBD && makes_zones(o))
		return refuse("--zoned: there is no place beside an NBD disk for the states of its zones");
	return 0;
}

int disk_check_options(const struct disk_opt *o, bool inherits)
{
	if (inherits && (o->kind == KIND_MEM ||
			 (o->kind != KIND_FILE && makes_zones(o)))) {
		log_err("--inherit: what is in the memory of a program ends with it; use a file in /dev/shm");
		return -EINVAL;
	}
	if (check_kind(o))
		return -EINVAL;
	if (o->size % 512) {
		log_err("--size: %llu is no multiple of the sector size 512",
			(unsigned long long)o->size);
		return -EINVAL;
	}
	if (o->queue_size & (o->queue_size - 1)) {
		log_err("--queue-size: %u is no power of two",
			o->queue_size);
		return -EINVAL;
	}
	if (strlen(o->serial) > VIRTIO_BLK_ID_BYTES) {
		log_err("--serial: '%s' is longer than %u bytes",
			o->serial, VIRTIO_BLK_ID_BYTES);
		return -EINVAL;
	}
	if (!makes_zones(o) && (o->zone_capacity || o->conventional ||
				o->max_open || o->max_active)) {
		log_err("there are no zones to speak of: add --zoned=host-managed, or leave out what is said of them");
		return -EINVAL;
	}
	return 0;
}

bool disk_is_local(const struct disk_opt *o)
{
	static const char local[] = "nbd+unix:";

	return o->kind != KIND_NBD ||
		(!strncmp(o->nbd, local, sizeof(local) - 1) &&
		 !o->tls_certificates && !o->tls_psk);
}

static int open_plain(struct blkdev **disk, const struct disk_opt *o,
		      bool shared)
{
	const struct blkdev_file_conf conf = {
		.path = o->file,
		.read_only = o->read_only,
		.no_lock = o->no_lock || shared,
		.impatient = o->live,
		.direct = o->direct,
		.buffered = o->buffered,
		.secure_erase = o->secure_erase,
		.lifetime = o->lifetime,
		.aio = (enum blkdev_aio)o->aio,
		.fixed = (enum blkdev_fixed)o->fixed,
		.sqpoll = o->sqpoll,
		.iopoll = o->iopoll,
		.num_queues = o->num_queues,
		.queue_size = o->queue_size,
	};
	const struct blkdev_nbd_conf nbd = {
		.uri = o->nbd, .read_only = o->read_only,
		.tls_certificates = o->tls_certificates,
		.tls_psk = o->tls_psk, .num_queues = o->num_queues,
		.reconnect_s = o->reconnect_s,
	};
	int rc;

	if (o->kind == KIND_NBD)
		return blkdev_nbd_open(disk, &nbd);
	if (o->kind == KIND_MEM && o->hugepages)
		return blkdev_mem_open_huge(disk, o->size, o->read_only);
	if (o->kind == KIND_MEM)
		return blkdev_mem_open(disk, o->size, o->read_only);
	if (o->kind == KIND_FILE)
		return blkdev_file_open(disk, &conf);
	rc = blkdev_null_open(disk, o->size);
	if (!rc)
		(*disk)->conf.read_only = o->read_only;
	return rc;
}

static int add_zones(struct blkdev **disk, const struct disk_opt *o,
		     bool inherited)
{
	struct blkdev_zoned_conf conf = {
		.host_aware = o->zoned == ZONED_HA,
		.zone_sectors = (uint32_t)(o->zone_size / 512),
		.zone_capacity = (uint32_t)(o->zone_capacity / 512),
		.conventional = o->conventional,
		.max_open = o->max_open,
		.max_active = o->max_active,
		.num_queues = o->num_queues,
		.queue_size = o->queue_size,
	};
	char path[PATH_MAX];

	if (o->file) {
		if (snprintf(path, sizeof(path), "%s.zones", o->file) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		conf.store_path = path;
		conf.inherited = inherited;
	}
	return blkdev_zoned_open(disk, *disk, &conf);
}

/* A device that has zones of its own. */
static int pass_zones(struct blkdev **disk, const struct disk_opt *o,
		      bool shared)
{
	const struct blkdev_host_zones_conf conf = {
		/* Unlocked, it may be that another changes them until our
		 * first request. */
		.inherited = shared || o->no_lock,
		.num_queues = o->num_queues,
		.queue_size = o->queue_size,
	};

	if (o->zoned != ZONED_AUTO) {
		log_err("--zoned=%s: %s is a zoned block device, and has its zones itself; leave --zoned out to pass them on",
			zoned[o->zoned], o->file);
		return -EINVAL;
	}
	return blkdev_host_zones_open(disk, *disk, &conf);
}

int disk_lock(const struct disk *disk, const struct disk_opt *o)
{
	if (o->kind != KIND_FILE || o->no_lock)
		return 0;
	return blkdev_file_lock(disk->bottom, o->file);
}

int disk_open(struct disk *disk, const struct disk_opt *o, bool may_change,
	      bool shared)
{
	const struct blkdev_limits *l = &o->limits;
	int rc = open_plain(&disk->top, o, shared);

	disk->bottom = disk->top;
	if (!rc && disk->top->conf.zoned)
		rc = pass_zones(&disk->top, o, shared);
	else if (!rc && makes_zones(o))
		rc = add_zones(&disk->top, o, shared);
	if (!rc && makes_zones(o))
		disk->zoned = disk->top;
	if (!rc && o->latency)
		rc = blkdev_latency_open(&disk->top, disk->top, o->num_queues,
					 o->queue_size);
	if (!rc && o->latency)
		disk->latency = disk->top;
	if (!rc && (may_change || l->ops || l->bytes || l->queue_ops ||
		    l->queue_bytes))
		rc = blkdev_throttle_open(&disk->top, disk->top,
					  o->num_queues, l);
	return rc;
}

int disk_limit(struct blkdev_limits *l, const char *word)
{
	const struct { const char *name; uint64_t *to; } limits[] = {
		{ "ops=", &l->ops }, { "bytes=", &l->bytes },
		{ "queue-ops=", &l->queue_ops },
		{ "queue-bytes=", &l->queue_bytes },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(limits); i++) {
		size_t len = strlen(limits[i].name);

		if (!strncmp(word, limits[i].name, len))
			return opt_size(word + len, limits[i].to);
	}
	return -EINVAL;
}
