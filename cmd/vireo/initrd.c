/* SPDX-License-Identifier: MIT */
/*
 * Writes the initramfs: a cpio archive ("newc") with busybox, our init, the
 * modules that the guest's kernel needs, and the command to run. Knows
 * nothing of where kernels and busybox come from.
 */
#include "initrd.h"
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cpio {
	FILE *f;
	unsigned int inode;
	size_t bytes;
};

/* The drivers for what we give; load order comes from their dependencies. */
static const char *const wanted[] = {
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_console",
	"virtio_rng", "virtio_net", "ext4",
};

static void cpio_pad(struct cpio *c)
{
	while (c->bytes % 4) {
		fputc(0, c->f);
		c->bytes++;
	}
}

static void cpio_put(struct cpio *c, const void *data, size_t len)
{
	fwrite(data, 1, len, c->f);
	c->bytes += len;
}

/* One entry; a device's numbers are given as @major and @minor. */
static void cpio_entry(struct cpio *c, const char *name, unsigned int mode,
		       const void *data, size_t len, unsigned int major,
		       unsigned int minor)
{
	char head[111];

	snprintf(head, sizeof(head),
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 c->inode++, mode, 0, 0, 1, 0, (unsigned int)len, 0, 0,
		 major, minor, (unsigned int)strlen(name) + 1, 0);
	cpio_put(c, head, 110);
	cpio_put(c, name, strlen(name) + 1);
	cpio_pad(c);
	cpio_put(c, data, len);
	cpio_pad(c);
}

static void cpio_dir(struct cpio *c, const char *name)
{
	cpio_entry(c, name, S_IFDIR | 0755, "", 0, 0, 0);
}

static int cpio_file(struct cpio *c, const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_size > 64 << 20) {
		close(fd);
		return -EFBIG;
	}
	data = malloc((size_t)st.st_size + 1);
	if (!data) {
		close(fd);
		return -ENOMEM;
	}
	n = read(fd, data, (size_t)st.st_size);
	close(fd);
	if (n == (ssize_t)st.st_size)
		cpio_entry(c, name, S_IFREG | 0755, data, (size_t)n, 0, 0);
	free(data);
	return n == (ssize_t)st.st_size ? 0 : -EIO;
}

static int add_modules(struct cpio *c, const char *folder)
{
	struct args paths = { 0 };
	char list[4096] = "";
	int err;

	if (!*folder)
		return 0;
	err = modules_resolve(folder, wanted, ARRAY_LEN(wanted), &paths);
	for (size_t i = 0; i < paths.n && !err; i++) {
		const char *base = strrchr(paths.v[i], '/') + 1;
		size_t used = strlen(list);
		char name[PATH_MAX];

		snprintf(list + used, sizeof(list) - used, "%s\n", base);
		err = path_fmt(name, "modules/%s", base);
		if (!err)
			err = cpio_file(c, name, paths.v[i]);
	}
	if (!err)
		cpio_entry(c, "modules/list", S_IFREG | 0644, list,
			   strlen(list), 0, 0);
	args_free(&paths);
	return err;
}

static void put_quoted(FILE *f, const char *word)
{
	fputc('\'', f);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", f);
		else
			fputc(*word, f);
	fputs("' ", f);
}

/* Several words are a command; a single one is a line for the shell. */
static int add_command(struct cpio *c, char **words)
{
	char *text;
	size_t size;
	FILE *f;

	if (!words)
		return 0;
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	if (!words[1])
		fputs(words[0], f);
	else
		while (*words)
			put_quoted(f, *words++);
	fputc('\n', f);
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	cpio_entry(c, "command", S_IFREG | 0755, text, size, 0, 0);
	free(text);
	return 0;
}

static int fill(struct cpio *c, const struct run *r, const char *busybox)
{
	static const char *const dirs[] = {
		"bin", "dev", "proc", "sys", "tmp", "mnt", "root", "modules",
	};
	int err;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		cpio_dir(c, dirs[i]);
	cpio_entry(c, "dev/console", S_IFCHR | 0600, "", 0, 5, 1);
	cpio_entry(c, "dev/null", S_IFCHR | 0666, "", 0, 1, 3);
	cpio_entry(c, "init", S_IFREG | 0755, guest_init, guest_init_size,
		   0, 0);
	cpio_entry(c, "check", S_IFREG | 0644, guest_check, guest_check_size,
		   0, 0);
	if (r->image[0])
		cpio_entry(c, "default-disk", S_IFREG | 0644, "", 0, 0, 0);
	err = cpio_file(c, "bin/busybox", busybox);
	if (!err)
		err = add_modules(c, r->kernel.modules);
	if (!err)
		err = add_command(c, r->opt.command);
	cpio_entry(c, "TRAILER!!!", 0, "", 0, 0, 0);
	return err;
}

int initrd_make(const struct run *r)
{
	struct cpio c = { .inode = 1 };
	char busybox[PATH_MAX];
	int err = kernel_get_busybox(busybox);

	if (err)
		return err;
	c.f = fopen(r->initrd, "we");
	if (!c.f) {
		complain("cannot make %s: %s", r->initrd, strerror(errno));
		return -errno;
	}
	err = fill(&c, r, busybox);
	if (ferror(c.f) && !err)
		err = -EIO;
	if (fclose(c.f) && !err)
		err = -errno;
	if (err)
		complain("cannot make the initramfs %s: %s", r->initrd,
			 strerror(-err));
	return err;
}
