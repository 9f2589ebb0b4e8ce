/* SPDX-License-Identifier: MIT */
/*
 * The file back end's requests as plain system calls, with everything that
 * can go wrong: interruptions, short transfers, file systems that lack an
 * operation. Runs on any thread, knows no queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/file.h"

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

/* Segments in one call; more make a short transfer, which goes on. */
#define SYNC_IOV 64

static ssize_t sys_readv(int fd, const struct iovec *iov, int n, off_t off)
{
	if (n == 1)
		return pread(fd, iov->iov_base, iov->iov_len, off);
	return preadv(fd, iov, n, off);
}

static ssize_t sys_writev(int fd, const struct iovec *iov, int n, off_t off,
			  int flags)
{
	if (n == 1 && !flags)
		return pwrite(fd, iov->iov_base, iov->iov_len, off);
	return pwritev2(fd, iov, n, off, flags);
}

static int sys_discard(int fd, const uint64_t range[2], bool secure)
{
	return ioctl(fd, secure ? BLKSECDISCARD : BLKDISCARD, range);
}

const struct file_sys file_sys_linux = {
	.readv = sys_readv,
	.writev = sys_writev,
	.allocate = fallocate,
	.datasync = fdatasync,
	.discard = sys_discard,
	.zones = file_sys_zones,
	.zone_report = file_sys_zone_report,
	.zone_manage = file_sys_zone_manage,
};

/* The bounce buffer lies on a thread's stack. */
#define BOUNCE_ALIGN 4096u
#define BOUNCE_BYTES 65536u

enum file_way file_way(const struct file *f, const struct vio_blk_io *io)
{
	uintptr_t bits = 0;
	unsigned i;

	if (f->off_align <= 1)
		return FILE_AS_IS;
	if ((io->offset | io->len) & (f->off_align - 1))
		return FILE_BUFFERED;
	for (i = 0; i < io->nr_seg; i++) {
		bits |= (uintptr_t)io->seg[i].base & (f->mem_align - 1);
		bits |= io->seg[i].len & (f->off_align - 1);
	}
	if (!bits)
		return FILE_AS_IS;
	return f->mem_align <= BOUNCE_ALIGN && f->off_align <= BOUNCE_BYTES ?
		FILE_BOUNCED : FILE_BUFFERED;
}

void file_moved(const struct file *f, struct vio_blk_io *io, uint64_t n)
{
	struct file_io *fi = file_io(io);

	fi->pos += n;
	/* Direct I/O that stopped within a block cannot go on there. */
	if (fi->pos & ((f->off_align - 1) | (f->mem_align - 1)))
		fi->way = FILE_BUFFERED;
}

/* @n bytes of the request's data from @pos on: to @buf if @out, else from. */
static void copy_data(const struct vio_blk_io *io, uint64_t pos,
		      unsigned char *buf, size_t n, bool out)
{
	uint64_t skip = pos;
	unsigned i;

	for (i = 0; i < io->nr_seg && n; i++) {
		unsigned char *at = io->seg[i].base;
		size_t len = io->seg[i].len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		at += skip;
		len = len - skip < n ? len - (size_t)skip : n;
		skip = 0;
		if (out)
			memcpy(buf, at, len);
		else
			memcpy(at, buf, len);
		buf += len;
		n -= len;
	}
}

/* The rest of the request from @pos on, as far as it fits into @iov. */
static int rest(const struct vio_blk_io *io, uint64_t pos, struct iovec *iov)
{
	uint64_t skip = pos, left = io->len - pos;
	unsigned i;
	int n = 0;

	for (i = 0; i < io->nr_seg && left && n < SYNC_IOV; i++) {
		size_t len = io->seg[i].len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		iov[n].iov_base = (char *)io->seg[i].base + skip;
		iov[n].iov_len = len - skip < left ? len - skip : left;
		left -= iov[n].iov_len;
		skip = 0;
		n++;
	}
	return n;
}

/* Is the failed call worth another try? Counts the tries. */
static bool again(int err, unsigned *tries)
{
	return (err == EINTR || err == EAGAIN) && ++*tries < FILE_TRIES_MAX;
}

/*
 * One call's worth, through a buffer that direct I/O takes: of the guest's
 * blocks, only where they lie in memory does not suit it. What went through
 * the page cache instead could undo a neighbour's direct write to the same
 * page.
 */
static ssize_t __attribute__((noinline))
move_bounced(struct file *f, struct vio_blk_io *io)
{
	unsigned char buf[BOUNCE_BYTES]
		__attribute__((aligned(BOUNCE_ALIGN)));
	uint64_t pos = file_io(io)->pos, left = io->len - pos;
	struct iovec iov = {
		buf, left < sizeof(buf) ? (size_t)left : sizeof(buf)
	};
	off_t off = (off_t)(io->offset + pos);
	ssize_t got;

	if (io->op == VIO_BLK_WRITE) {
		copy_data(io, pos, buf, iov.iov_len, true);
		return f->sys->writev(f->fd, &iov, 1, off,
				      io->flags & VIO_BLK_FUA ? RWF_DSYNC : 0);
	}
	got = f->sys->readv(f->fd, &iov, 1, off);
	if (got > 0)
		copy_data(io, pos, buf, (size_t)got, false);
	return got;
}

/* One call's worth, from and to where the guest has it. */
static ssize_t move(struct file *f, struct vio_blk_io *io)
{
	const struct file_io *fi = file_io(io);
	int fd = fi->way == FILE_BUFFERED ? f->buffered_fd : f->fd;
	off_t off = (off_t)(io->offset + fi->pos);
	struct iovec iov[SYNC_IOV];
	int n = rest(io, fi->pos, iov);

	if (!n) {		/* fewer bytes than promised */
		errno = EINVAL;
		return -1;
	}
	if (io->op == VIO_BLK_READ)
		return f->sys->readv(fd, iov, n, off);
	return f->sys->writev(fd, iov, n, off,
			      io->flags & VIO_BLK_FUA ? RWF_DSYNC : 0);
}

/* Returns 0 or a positive errno. */
static int transfer(struct file *f, struct vio_blk_io *io)
{
	struct file_io *fi = file_io(io);
	unsigned tries = 0;
	ssize_t got;

	fi->way = file_way(f, io);
	for (fi->pos = 0; fi->pos < io->len; file_moved(f, io, (size_t)got)) {
		while ((got = fi->way == FILE_BOUNCED ? move_bounced(f, io) :
			move(f, io)) < 0)
			if (!again(errno, &tries))
				return errno;
		if (!got)	/* a file that shrank, a disk that is full */
			return io->op == VIO_BLK_READ ? ENODATA : ENOSPC;
	}
	return 0;
}

static int sync_data(struct file *f)
{
	unsigned tries = 0;

	while (f->sys->datasync(f->fd))
		if (!again(errno, &tries))
			return errno;
	return 0;
}

static int allocate(struct file *f, int mode, const struct vio_blk_io *io)
{
	unsigned tries = 0;

	while (f->sys->allocate(f->fd, mode | FALLOC_FL_KEEP_SIZE,
				(off_t)io->offset, (off_t)io->len))
		if (!again(errno, &tries))
			return errno;
	return 0;
}

static int discard(struct file *f, const struct vio_blk_io *io)
{
	const uint64_t range[2] = { io->offset, io->len };
	bool secure = io->op == VIO_BLK_SECURE_ERASE;
	unsigned tries = 0;

	if (!f->block_device)
		return allocate(f, FALLOC_FL_PUNCH_HOLE, io);
	while (f->sys->discard(f->fd, range, secure))
		if (!again(errno, &tries))
			return errno;
	return 0;
}

/* The way that always works. */
static int write_zeroes_by_hand(struct file *f, const struct vio_blk_io *io)
{
	static const unsigned char zeroes[65536]
		__attribute__((aligned(4096)));
	bool direct = !((io->offset | io->len) & (f->off_align - 1)) &&
		f->mem_align <= 4096;
	int fd = direct ? f->fd : f->buffered_fd, n;
	struct iovec iov[16];
	unsigned tries = 0;
	uint64_t pos = 0, left;
	ssize_t got;

	while (pos < io->len) {
		left = io->len - pos;
		for (n = 0; n < 16 && left; n++) {
			/* Never written through; the type has no const. */
			iov[n].iov_base = (void *)(uintptr_t)zeroes;
			iov[n].iov_len = left < sizeof(zeroes) ?
				left : sizeof(zeroes);
			left -= iov[n].iov_len;
		}
		got = f->sys->writev(fd, iov, n, (off_t)(io->offset + pos),
				     0);
		if (got < 0 && again(errno, &tries))
			continue;
		if (got <= 0)
			return got ? errno : ENOSPC;
		pos += (uint64_t)got;
	}
	return 0;
}

static int write_zeroes(struct file *f, const struct vio_blk_io *io)
{
	int err;

	if (io->flags & VIO_BLK_UNMAP && !atomic_load(&f->no_punch)) {
		err = allocate(f, FALLOC_FL_PUNCH_HOLE, io);
		if (!file_unsupported(err))
			return err;
		atomic_store(&f->no_punch, true);
	}
	if (!atomic_load(&f->no_zero_range)) {
		err = allocate(f, FALLOC_FL_ZERO_RANGE, io);
		if (!file_unsupported(err))
			return err;
		atomic_store(&f->no_zero_range, true);
	}
	return write_zeroes_by_hand(f, io);
}

/*
 * A file's bytes are overwritten where they lie, and that is on the disk
 * before they are given back; what a file system or a disk keeps of them
 * elsewhere is out of reach.
 */
static int secure_erase(struct file *f, const struct vio_blk_io *io)
{
	int err;

	if (f->block_device)
		return discard(f, io);
	err = write_zeroes_by_hand(f, io);
	if (!err)
		err = sync_data(f);
	if (!err && !atomic_load(&f->no_punch))
		discard(f, io);		/* as well as it can */
	return err;
}

int file_sync(struct file *f, struct vio_blk_io *io)
{
	int err;

	/* The last step before the host: whatever was negotiated. */
	if (f->read_only && io->op != VIO_BLK_READ &&
	    io->op != VIO_BLK_FLUSH)
		return EROFS;
	switch (io->op) {
	case VIO_BLK_READ:
	case VIO_BLK_WRITE:
		return transfer(f, io);
	case VIO_BLK_FLUSH:
		return sync_data(f);
	case VIO_BLK_DISCARD:
		return discard(f, io);
	case VIO_BLK_SECURE_ERASE:
		return secure_erase(f, io);
	case VIO_BLK_WRITE_ZEROES:
		err = write_zeroes(f, io);
		if (!err && io->flags & VIO_BLK_FUA)
			err = sync_data(f);
		return err;
	case VIO_BLK_ZONE_OPEN:
	case VIO_BLK_ZONE_CLOSE:
	case VIO_BLK_ZONE_FINISH:
	case VIO_BLK_ZONE_RESET:
	case VIO_BLK_ZONE_RESET_ALL:
		return file_zone_manage(f, io);
	default:
		return EOPNOTSUPP;
	}
}
