/* SPDX-License-Identifier: MIT */
/*
 * The file back end: opening, probing once what the file can do, and sending
 * each request the right way. What the file contains is never looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backend/file.h"
#include "host/clock.h"

/* One request may ask for this much; it keeps a thread busy meanwhile. */
#define DISCARD_MAX_BYTES (1u << 31)
#define ZEROES_MAX_BYTES (1u << 28)
/* On memory, a longer discard than this is not done on the queue's thread. */
#define INLINE_MAX_BYTES (1u << 20)

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

bool file_unsupported(int err)
{
	return err == EOPNOTSUPP || err == ENOSYS || err == ENOTTY ||
	       err == ENODEV;
}

/*
 * After a failed sync the kernel may count the pages as clean though the disk
 * does not have them: the next sync would succeed, and be a lie. An error of
 * the guest's memory, or of a full disk before anything was written, is none.
 */
static bool sync_failed(const struct vio_blk_io *io, int err)
{
	if (io->op == VIO_BLK_FLUSH)
		return err != EINTR && err != EAGAIN;
	return io->flags & VIO_BLK_FUA && err == EIO;
}

void file_finish(struct file_queue *q, struct vio_blk_io *io, int err)
{
	static const char *const names[] = {
		[VIO_BLK_READ] = "read", [VIO_BLK_WRITE] = "write",
		[VIO_BLK_FLUSH] = "flush", [VIO_BLK_DISCARD] = "discard",
		[VIO_BLK_WRITE_ZEROES] = "write zeroes",
		[VIO_BLK_SECURE_ERASE] = "secure erase",
		[VIO_BLK_ZONE_OPEN] = "opening a zone",
		[VIO_BLK_ZONE_CLOSE] = "closing a zone",
		[VIO_BLK_ZONE_FINISH] = "finishing a zone",
		[VIO_BLK_ZONE_RESET] = "resetting a zone",
		[VIO_BLK_ZONE_RESET_ALL] = "resetting all zones",
	};
	int result = q->file->dev.conf.zoned ? file_zone_status(err) :
		VIO_E_IO;

	if (!err) {
		io->done(io, VIO_OK);
		return;
	}
	if (file_unsupported(err) && io->op >= VIO_BLK_DISCARD) {
		io->done(io, VIO_E_UNSUPP);
		return;
	}
	if (sync_failed(io, err) && !atomic_exchange(&q->file->unsynced, err))
		log_err("the disk could not be written back (%s): what was written since the last flush may be lost, and no flush will succeed from now on; check the host's disk, then restart",
			strerror(err));
	/* A limit of zones is no failure. */
	log_limited(&q->rate, result == VIO_E_IO ? LOG_LEVEL_WARN :
		    LOG_LEVEL_DEBUG, "%s of %llu bytes at %llu failed: %s",
		    io->op < VIO_ARRAY_LEN(names) ? names[io->op] : "request",
		    (unsigned long long)io->len,
		    (unsigned long long)io->offset, strerror(err));
	io->done(io, result);
}

/* Can it be done on the queue's thread without waiting for a device? */
static bool is_quick(const struct file *f, const struct vio_blk_io *io)
{
	return f->aio == BLKDEV_AIO_INLINE &&
	       (io->op <= VIO_BLK_FLUSH || io->len <= INLINE_MAX_BYTES);
}

static bool for_ring(const struct file *f, struct vio_blk_io *io)
{
	enum file_way way = file_way(f, io);

	file_io(io)->way = way;
	/* What is polled for has to be as the device does it. */
	if (f->iopoll)
		return way == FILE_AS_IS && !(io->flags & VIO_BLK_FUA);
	return way != FILE_BOUNCED;
}

static void file_submit(void *backend, struct vio_blk_io *io)
{
	struct file *f = vio_container_of(backend, struct file, dev);
	struct file_queue *q = &f->queues[io->queue];
	uint64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);

	if (io->op != VIO_BLK_FLUSH &&
	    (io->offset > size || io->len > size - io->offset)) {
		file_finish(q, io, EINVAL);
		return;
	}
	if (f->read_only && io->op != VIO_BLK_READ &&
	    io->op != VIO_BLK_FLUSH) {
		file_finish(q, io, EROFS);
		return;
	}
	if ((io->op == VIO_BLK_FLUSH || io->flags & VIO_BLK_FUA) &&
	    atomic_load(&f->unsynced)) {
		file_finish(q, io, atomic_load(&f->unsynced));
		return;
	}
	if (f->map && io->op == VIO_BLK_READ && file_map_read(f, io)) {
		io->done(io, VIO_OK);
		return;
	}
	/* From now on the file may have holes. */
	if (f->map && io->op >= VIO_BLK_DISCARD)
		atomic_store(&f->map_off, true);
	file_io(io)->pos = 0;
	file_io(io)->tries = 0;
	if (q->has_ring && io->op <= VIO_BLK_WRITE && for_ring(f, io))
		file_uring_submit(q, io);
	else if (is_quick(f, io))
		file_finish(q, io, file_sync(f, io));
	else
		file_pool_submit(q, io);
}

static void file_commit(void *backend, unsigned queue)
{
	struct file *f = vio_container_of(backend, struct file, dev);

	if (f->queues[queue].has_ring)
		file_uring_commit(&f->queues[queue]);
}

static void file_drain(void *backend, unsigned queue)
{
	struct file *f = vio_container_of(backend, struct file, dev);
	struct file_queue *q = &f->queues[queue];
	uint64_t end = blkdev_drain_end(&f->patience);

	/* done() may submit again. */
	do {
		if (q->has_ring)
			file_uring_drain(q, end);
		file_pool_drain(q, end);
	} while ((q->ring_inflight || q->pool_inflight) && clock_ns() < end);
	q->leaving = false;
	if (q->ring_inflight || q->pool_inflight)
		blkdev_drain_failed(&f->patience,
				    q->ring_inflight + q->pool_inflight);
}

static void file_leave(void *backend, unsigned queue)
{
	struct file *f = vio_container_of(backend, struct file, dev);
	struct file_queue *q = &f->queues[queue];

	q->leaving = true;
	file_pool_leave(q);
	if (q->has_ring)
		file_uring_leave(q);
}

static void on_call(void *ctx)
{
	struct file_queue *q = ctx;

	if (q->memory_gen != atomic_load(&q->file->memory_gen))
		file_fixed_sync(q);
	file_pool_reap(q);
}

static int file_attach(struct blkdev *d, unsigned queue, struct loop *loop)
{
	struct file *f = vio_container_of(d, struct file, dev);
	struct file_queue *q = &f->queues[queue];

	q->call = (struct loop_call){ .fn = on_call, .ctx = q };
	pthread_mutex_lock(&q->lock);
	q->called = false;
	q->loop = loop;
	pthread_mutex_unlock(&q->lock);
	return q->has_ring ? file_uring_attach(q) : 0;
}

static void file_detach(struct blkdev *d, unsigned queue)
{
	struct file *f = vio_container_of(d, struct file, dev);
	struct file_queue *q = &f->queues[queue];

	struct loop *loop = q->loop;

	if (q->has_ring)
		file_uring_detach(q);
	pthread_mutex_lock(&q->lock);
	q->loop = NULL;
	pthread_mutex_unlock(&q->lock);
	loop_call_cancel(loop, &q->call);
}

static void file_memory_op(struct blkdev *d, void *base, size_t len,
			   bool huge, bool add)
{
	file_memory(vio_container_of(d, struct file, dev), base, len, huge,
		    add);
}

static void file_close(struct blkdev *d)
{
	struct file *f = vio_container_of(d, struct file, dev);
	unsigned i;

	file_pool_fini(&f->pool);
	file_unmap(f);
	file_wear_close(f);
	/* The rings hold the file a little longer than we do. */
	flock(f->fd, LOCK_UN);
	for (i = 0; i < f->queue_count; i++) {
		file_uring_close(&f->queues[i]);
		pthread_cond_destroy(&f->queues[i].cond);
		pthread_mutex_destroy(&f->queues[i].lock);
	}
	if (f->buffered_fd != f->fd)
		close(f->buffered_fd);
	close(f->fd);
	pthread_mutex_destroy(&f->memory_lock);
	free(f->queues);
	free(f);
}

/* Half a millisecond each. */
#define LOCK_TRIES	6000u

/* Two writers of one image would destroy it. */
static int lock_file(const struct file *f, const char *path, unsigned most)
{
	int op = (f->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;
	unsigned tries;

	/* A killed program's last requests may be under way, and keep the
	 * file and its lock: a few milliseconds, more than a second on a
	 * machine that is very busy. */
	for (tries = 0; tries < most; tries++) {
		/* EOPNOTSUPP and the like: a file system without locks. */
		if (!flock(f->fd, op) || errno != EWOULDBLOCK)
			return 0;
		usleep(500);
	}
	log_err("--blk-file: %s is in use by another program%s", path,
		f->read_only ? " that writes to it" :
		"; to share it, serve it everywhere with --read-only, or see --no-lock");
	return -EBUSY;
}

int blkdev_file_lock(struct blkdev *d, const char *path)
{
	return lock_file(vio_container_of(d, struct file, dev), path,
			 LOCK_TRIES);
}

static int open_direct(struct file *f, const char *path, int flags)
{
	int err;

	f->fd = open(path, flags | O_DIRECT);
	if (f->fd >= 0)
		return 0;
	err = errno;
	log_err("--direct: %s: %s; this file system has no direct I/O, leave --direct out",
		path, strerror(err));
	return -err;
}

/* A block device is not cached twice, by guest and host, where it can be. */
static void prefer_direct(struct file *f, const char *path, int flags)
{
	struct stat st;
	int fd;

	if (fstat(f->buffered_fd, &st) || !S_ISBLK(st.st_mode))
		return;
	fd = open(path, flags | O_DIRECT);
	if (fd < 0)
		return;
	f->fd = fd;
	f->direct = true;
}

static int open_path(struct file *f, const struct blkdev_file_conf *conf)
{
	int flags = (conf->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC, rc = 0;

	/* Not O_NONBLOCK for a FIFO: that is refused by its type below, and
	 * opening it for reading and writing does not block. */
	f->buffered_fd = open(conf->path, flags | O_NONBLOCK);
	if (f->buffered_fd < 0) {
		int err = errno;

		log_err("--blk-file: %s: %s%s", conf->path, strerror(err),
			(err == EACCES || err == EROFS || err == EPERM) &&
			!conf->read_only ?
			"; to serve it read-only add --read-only" : "");
		return -err;
	}
	/* io_uring would answer EAGAIN instead of waiting. */
	if (fcntl(f->buffered_fd, F_SETFL, 0))
		rc = -errno;
	f->fd = f->buffered_fd;
	f->direct = conf->direct;
	if (!rc && conf->direct)
		rc = open_direct(f, conf->path, flags);
	else if (!rc && !conf->buffered)
		prefer_direct(f, conf->path, flags);
	/* The descriptor whose requests may outlive this program. */
	if (!rc && !conf->no_lock)
		rc = lock_file(f, conf->path, conf->impatient ? 1 :
			       LOCK_TRIES);
	if (!rc)
		return 0;
	if (f->fd >= 0 && f->fd != f->buffered_fd)
		close(f->fd);
	close(f->buffered_fd);
	return rc;
}

static int ask_size(const struct file *f, struct stat *st, uint64_t *size)
{
	if (fstat(f->buffered_fd, st))
		return -errno;
	*size = (uint64_t)st->st_size;
	if (S_ISBLK(st->st_mode) &&
	    ioctl(f->buffered_fd, BLKGETSIZE64, size))
		return -errno;
	return 0;
}

static int find_size(struct file *f, const char *path, struct stat *st)
{
	uint64_t size;
	int rc = ask_size(f, st, &size);

	if (rc) {
		log_err("--blk-file: %s: cannot tell its size: %s", path,
			strerror(-rc));
		return rc;
	}
	f->block_device = S_ISBLK(st->st_mode);
	if (!f->block_device && !S_ISREG(st->st_mode)) {
		log_err("--blk-file: %s is neither a regular file nor a block device",
			path);
		return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
	}
	if (size < 512) {
		log_err("--blk-file: %s holds %llu bytes, less than one sector of 512; make it larger, for example: truncate -s 1G %s",
			path, (unsigned long long)size, path);
		return -EINVAL;
	}
	if (size % 512) {
		log_err("--blk-file: %s holds %llu bytes, no multiple of the sector size 512; is it a raw image? To add the missing bytes: truncate -s %%512 %s",
			path, (unsigned long long)size, path);
		return -EINVAL;
	}
	f->size = size;
	return 0;
}

static int file_resize(struct blkdev *d, uint64_t *sectors)
{
	struct file *f = vio_container_of(d, struct file, dev);
	struct stat st;
	uint64_t size;
	int rc = ask_size(f, &st, &size);

	if (rc) {
		log_err("cannot tell the disk's size: %s", strerror(-rc));
		return rc;
	}
	if (size < 512) {
		log_err("the disk holds %llu bytes, less than one sector; its size stays",
			(unsigned long long)size);
		return -EINVAL;
	}
	f->size = size / 512 * 512;
	*sectors = size / 512;
	return 0;
}

static const struct blkdev_ops file_ops = {
	.io = { .submit = file_submit, .commit = file_commit,
		.drain = file_drain, .leave = file_leave,
		.wear = file_wear, .zone_report = file_zone_report },
	.attach = file_attach,
	.detach = file_detach,
	.resize = file_resize,
	.memory = file_memory_op,
	.close = file_close,
};

uint64_t file_disk_attribute(dev_t dev, const char *name)
{
	static const char *const forms[] = {
		"/sys/dev/block/%u:%u/queue/%s",
		"/sys/dev/block/%u:%u/../queue/%s",
	};
	unsigned long long v = 0;
	char path[128];
	unsigned i;
	FILE *file;

	for (i = 0; i < VIO_ARRAY_LEN(forms); i++) {
		snprintf(path, sizeof(path), i ? forms[1] : forms[0],
			 major(dev), minor(dev), name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &v) != 1)
			v = 0;
		fclose(file);
		break;
	}
	return v;
}

static unsigned log2_of(uint64_t v)
{
	unsigned n = 0;

	while (v > 1) {
		v >>= 1;
		n++;
	}
	return n;
}

/* Sector sizes and what direct I/O asks for. */
static void find_geometry(struct file *f, const struct stat *st, bool direct)
{
	struct vio_blk_conf *c = &f->dev.conf;
	unsigned physical = (unsigned)st->st_blksize;
	int logical = 512;

	if (f->block_device) {
		if (ioctl(f->fd, BLKSSZGET, &logical) || logical < 512)
			logical = 512;
		if (ioctl(f->fd, BLKPBSZGET, &physical))
			physical = (unsigned)logical;
	} else {
		struct statx sx;

		if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) &&
		    sx.stx_mask & STATX_DIOALIGN && sx.stx_dio_mem_align) {
			f->mem_align = sx.stx_dio_mem_align;
			f->off_align = sx.stx_dio_offset_align;
		} else {
			f->mem_align = f->off_align = 4096;
		}
	}
	if (f->block_device)
		f->mem_align = f->off_align = (unsigned)logical;
	if (!direct)
		f->mem_align = f->off_align = 1;
	/* A page, not what the file system would like to write at once. */
	if (physical > 4096 || physical < (unsigned)logical)
		physical = logical > 4096 ? (unsigned)logical : 4096;
	c->capacity_sectors = f->size / 512;
	/* A disk whose size is no multiple of its block is served in 512s,
	 * as the page cache allows. */
	c->blk_size = f->size % (unsigned)logical ? 512 : (uint32_t)logical;
	c->topology = true;
	c->physical_block_exp = (uint8_t)log2_of(physical / c->blk_size);
	c->min_io_blocks = (uint16_t)(physical / c->blk_size);
	c->discard_sector_alignment = physical / 512;
}

/*
 * Ask the file system whether it can deallocate, where no data is: behind
 * the end of the file.
 */
static bool can_punch(const struct file *f)
{
	off_t end = (off_t)((f->size + 4095) / 4096 * 4096);

	return !f->sys->allocate(f->buffered_fd, FALLOC_FL_PUNCH_HOLE |
				 FALLOC_FL_KEEP_SIZE, end, 4096);
}

static void find_abilities(struct file *f, const struct stat *st)
{
	struct vio_blk_conf *c = &f->dev.conf;
	uint64_t discard_max = DISCARD_MAX_BYTES;
	bool can_discard;

	c->read_only = f->read_only;
	if (f->read_only)
		return;
	if (f->block_device) {
		discard_max = file_disk_attribute(st->st_rdev,
						  "discard_max_bytes");
		if (discard_max > DISCARD_MAX_BYTES)
			discard_max = DISCARD_MAX_BYTES;
		can_discard = discard_max >= 512;
	} else {
		can_discard = can_punch(f);
	}
	if (can_discard) {
		c->max_discard_sectors = (uint32_t)(discard_max / 512);
		c->max_discard_seg = VIO_BLK_RANGES_MAX;
	} else {
		atomic_store(&f->no_punch, true);
	}
	c->max_write_zeroes_sectors = ZEROES_MAX_BYTES / 512;
	c->max_write_zeroes_seg = VIO_BLK_RANGES_MAX;
	c->write_zeroes_may_unmap = can_discard;
}

static void offer_erase(struct file *f)
{
	struct vio_blk_conf *c = &f->dev.conf;

	c->max_secure_erase_sectors = ZEROES_MAX_BYTES / 512;
	c->max_secure_erase_seg = VIO_BLK_RANGES_MAX;
	c->secure_erase_sector_alignment = c->discard_sector_alignment;
}

/* Files that lie in memory: a system call never waits for a device. */
static bool in_memory(const struct file *f)
{
	struct statfs fs;

	if (f->block_device || fstatfs(f->fd, &fs))
		return false;
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
	       (unsigned long)fs.f_type == HUGETLBFS_MAGIC;
}

static int make_rings(struct file *f, unsigned inflight)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < f->queue_count && !rc; i++)
		rc = file_uring_setup(&f->queues[i], inflight);
	if (!rc)
		return 0;
	for (i = 0; i < f->queue_count; i++)
		file_uring_close(&f->queues[i]);
	return rc;
}

/* What was asked for and cannot be had. */
static int refuse_ring(const struct file *f, int rc)
{
	if (f->sqpoll)
		log_err("--sqpoll: %s; the kernel or the container forbids it, leave --sqpoll out",
			strerror(-rc));
	else
		log_err("--aio=io_uring: %s; the kernel or the container forbids it, leave --aio out to use threads",
			strerror(-rc));
	return rc;
}

static int check_polling(struct file *f)
{
	struct stat st;
	int rc;

	if (!f->direct) {
		log_err("--iopoll: only direct I/O can be polled for; add --direct");
		return -EINVAL;
	}
	/* A read of a hole would succeed. */
	if (fstat(f->fd, &st))
		rc = -errno;
	else if (!file_disk_attribute(f->block_device ? st.st_rdev :
				      st.st_dev, "io_poll"))
		rc = -EOPNOTSUPP;
	else
		rc = file_uring_can_poll(f);
	if (rc)
		log_err("--iopoll: %s: the disk under this file has no queues that can be polled; of NVMe disks give the kernel nvme.poll_queues=NUMBER, or leave --iopoll out",
			strerror(-rc));
	return rc;
}

/* Choose the way of doing I/O, and prepare it. */
static int choose_engine(struct file *f, const struct blkdev_file_conf *conf)
{
	static const char *const names[] = {
		[BLKDEV_AIO_URING] = "io_uring",
		[BLKDEV_AIO_THREADS] = "threads",
		[BLKDEV_AIO_INLINE] = "inline",
	};
	bool must = conf->sqpoll || conf->iopoll;
	int rc;

	f->aio = conf->aio;
	if (f->aio == BLKDEV_AIO_AUTO)
		f->aio = in_memory(f) && !must ? BLKDEV_AIO_INLINE :
			BLKDEV_AIO_URING;
	rc = f->iopoll ? check_polling(f) : 0;
	if (rc)
		return rc;
	if (f->aio == BLKDEV_AIO_URING) {
		rc = make_rings(f, conf->queue_size);
		if (rc && (must || conf->aio == BLKDEV_AIO_URING))
			return refuse_ring(f, rc);
		if (rc) {
			log_info("io_uring is not available (%s), using threads",
				 strerror(-rc));
			f->aio = BLKDEV_AIO_THREADS;
		}
	}
	f->dev.engine = names[f->aio];
	return 0;
}

static int make_queues(struct file *f, unsigned n)
{
	pthread_condattr_t attr;
	unsigned i;

	f->queues = calloc(n, sizeof(*f->queues));
	if (!f->queues)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	f->queue_count = n;
	for (i = 0; i < n; i++) {
		struct file_queue *q = &f->queues[i];

		q->file = f;
		q->index = i;
		q->finished_tail = &q->finished;
		pthread_mutex_init(&q->lock, NULL);
		pthread_cond_init(&q->cond, &attr);
	}
	pthread_condattr_destroy(&attr);
	return 0;
}

int blkdev_file_open(struct blkdev **d, const struct blkdev_file_conf *conf)
{
	struct file *f = calloc(1, sizeof(*f));
	struct stat st;
	int rc;

	if (!f)
		return -ENOMEM;
	f->dev.ops = &file_ops;
	f->sys = conf->sys ? conf->sys : &file_sys_linux;
	f->read_only = conf->read_only;
	f->life_fd = f->eol_fd = -1;
	f->fixed = conf->fixed;
	f->sqpoll = conf->sqpoll;
	f->iopoll = conf->iopoll;
	rc = open_path(f, conf);
	if (rc) {
		free(f);
		return rc;
	}
	pthread_mutex_init(&f->memory_lock, NULL);
	file_pool_init(&f->pool);
	rc = make_queues(f, conf->num_queues);
	if (!rc)
		rc = find_size(f, conf->path, &st);
	if (!rc) {
		find_geometry(f, &st, f->direct);
		find_abilities(f, &st);
		if (conf->secure_erase && !f->read_only)
			offer_erase(f);
		rc = file_zones_find(f, conf);
	}
	if (!rc)
		rc = choose_engine(f, conf);
	if (!rc)
		rc = file_wear_open(f, conf->lifetime);
	if (!rc && f->sys == &file_sys_linux)
		file_map(f, &st);
	if (rc) {
		file_close(&f->dev);
		return rc;
	}
	*d = &f->dev;
	return 0;
}
