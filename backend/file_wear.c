/* SPDX-License-Identifier: MIT */
/*
 * How worn the storage is, as the kernel tells it of an eMMC: two files of
 * hexadecimal numbers, opened before the sandbox and read at each question.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend/file.h"

static int open_in(const char *folder, const char *name)
{
	char path[512];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = -errno;
	log_err("--lifetime: %s: %s; leave the option out, and the guest is not told",
		path, strerror(errno));
	return fd;
}

int file_wear_open(struct file *f, const char *folder)
{
	if (!folder)
		return 0;
	f->life_fd = open_in(folder, "life_time");
	if (f->life_fd < 0)
		return f->life_fd;
	f->eol_fd = open_in(folder, "pre_eol_info");
	if (f->eol_fd < 0)
		return f->eol_fd;
	f->dev.conf.lifetime = true;
	return 0;
}

void file_wear_close(struct file *f)
{
	if (f->life_fd >= 0)
		close(f->life_fd);
	if (f->eol_fd >= 0)
		close(f->eol_fd);
}

/* At most @n numbers; how many there are. */
static int read_numbers(int fd, unsigned *v, int n)
{
	char text[64];
	struct iovec iov = { text, sizeof(text) - 1 };
	ssize_t len = preadv(fd, &iov, 1, 0);

	if (len <= 0)
		return 0;
	text[len] = 0;
	return n == 1 ? sscanf(text, "%x", v) :
		sscanf(text, "%x %x", v, v + 1);
}

int file_wear(void *backend, struct vio_blk_wear *wear)
{
	struct file *f = vio_container_of(backend, struct file, dev);
	unsigned life[2], eol;

	if (read_numbers(f->life_fd, life, 2) != 2 ||
	    read_numbers(f->eol_fd, &eol, 1) != 1)
		return VIO_E_IO;
	wear->pre_eol = (uint8_t)(eol > UINT8_MAX ? UINT8_MAX : eol);
	wear->slc = (uint8_t)(life[0] > UINT8_MAX ? UINT8_MAX : life[0]);
	wear->mlc = (uint8_t)(life[1] > UINT8_MAX ? UINT8_MAX : life[1]);
	return VIO_OK;
}
