/* SPDX-License-Identifier: MIT */
/*
 * The default disk and what the host says of it afterwards. The file system
 * is filled and read by e2fsprogs, never mounted: that needs no privilege.
 * Knows nothing of guests and devices.
 */
#include "image.h"
#include "sha256.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	IMAGE_MIB = 96,
	COPY_MAX = 8 << 20,	/* larger files of the host are left out */
	LINE_MAX_SUMS = SHA256_HEX + 2 + NAME_MAX + 2,
};

/* Sizes at the edges of sectors, pages, and file system blocks. */
static const size_t pattern_sizes[] = {
	0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1048577, 3000001,
};

static const char *const host_files[] = {
	"/proc/self/exe", "/bin/busybox", "/etc/os-release",
	"/usr/share/common-licenses/GPL-3",
	"/usr/share/common-licenses/Apache-2.0",
	"/usr/share/common-licenses/MPL-2.0",
	"/usr/share/common-licenses/LGPL-2.1",
};

/* Reproducible bytes that no page-sized mistake can hide in. */
static void fill_pattern(uint8_t *buf, size_t len, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf[i] = (uint8_t)(x >> 24);
	}
}

static int write_file(const char *dir, const char *name, const void *data,
		      size_t len)
{
	char path[PATH_MAX];
	int fd, err = path_fmt(path, "%s/%s", dir, name);

	if (err)
		return err;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	err = write_all(fd, data, len);
	if (close(fd) < 0 && !err)
		err = -errno;
	return err;
}

static int write_patterns(const char *dir)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(pattern_sizes) && !err; i++) {
		uint8_t *buf = malloc(pattern_sizes[i] + 1);
		char name[64];

		if (!buf)
			return -ENOMEM;
		fill_pattern(buf, pattern_sizes[i], i + 1);
		snprintf(name, sizeof(name), "pattern-%zu", pattern_sizes[i]);
		err = write_file(dir, name, buf, pattern_sizes[i]);
		free(buf);
	}
	return err;
}

/* A file of the host's, if it is there and not too large. */
static int copy_host_file(const char *dir, const char *path)
{
	const char *base = strrchr(path, '/') + 1;
	uint8_t *buf = malloc(COPY_MAX + 1);
	int fd, err = 0;
	size_t got = 0;
	ssize_t n = 1;

	if (!buf)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && n > 0 && got <= COPY_MAX) {
		n = read(fd, buf + got, COPY_MAX + 1 - got);
		got += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0 && n == 0)
		err = write_file(dir, base, buf, got);
	if (fd >= 0)
		close(fd);
	free(buf);
	return err;
}

/* One line of SHA256SUMS for each file, sorted by name. */
static int write_sums(const char *dir)
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, NULL, alphasort);
	char path[PATH_MAX], hex[SHA256_HEX + 1], *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int err = n < 0 || !f ? -ENOMEM : 0;

	for (int i = 0; i < n; i++) {
		if (!err && names[i]->d_name[0] != '.') {
			err = path_fmt(path, "%s/%s", dir, names[i]->d_name);
			if (!err)
				err = sha256_file(path, hex);
			if (!err)
				fprintf(f, "%s  %s\n", hex, names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	if (f && fclose(f))
		err = -ENOMEM;
	if (!err)
		err = write_file(dir, "SHA256SUMS", text, size);
	free(text);
	return err;
}

static int make_files(const char *dir)
{
	int err = make_dirs(dir);

	if (!err)
		err = write_patterns(dir);
	for (size_t i = 0; i < ARRAY_LEN(host_files) && !err; i++)
		err = copy_host_file(dir, host_files[i]);
	return err ? err : write_sums(dir);
}

int image_make(const char *image, const char *work)
{
	char root[PATH_MAX], files[PATH_MAX], why[1024];
	struct args a = { 0 };
	int err = path_fmt(root, "%s/disk", work);

	if (!err)
		err = path_fmt(files, "%s/disk/files", work);
	if (!err)
		err = make_files(files);
	if (err) {
		complain("cannot write the default disk's files: %s",
			 strerror(-err));
		return err;
	}
	args_add(&a, "mke2fs");
	args_add(&a, "-q");
	args_add(&a, "-F");
	args_add(&a, "-t");
	args_add(&a, "ext4");
	args_add(&a, "-L");
	args_add(&a, "vireo");
	args_add(&a, "-E");
	args_add(&a, "root_owner=0:0");
	args_add(&a, "-d");
	args_add(&a, "%s", root);
	args_add(&a, "%s", image);
	args_add(&a, "%dM", IMAGE_MIB);
	err = run_args(&a, NULL, 0, why, sizeof(why));
	if (err == -ENOENT)
		complain("mke2fs is missing: apt-get install e2fsprogs");
	else if (err)
		complain("cannot make the default disk: %s", why);
	return err ? -EIO : 0;
}

int image_fsck(const char *image, char *text, size_t size)
{
	char out[4096];
	struct args a = { 0 };
	int rc;

	args_add(&a, "e2fsck");
	args_add(&a, "-fn");
	args_add(&a, "%s", image);
	rc = run_args(&a, out, sizeof(out), NULL, 0);
	if (!rc) {
		snprintf(text, size, "clean");
		return 0;
	}
	if (rc == -ENOENT)
		snprintf(text, size, "e2fsck is missing: apt-get install "
			 "e2fsprogs");
	else
		snprintf(text, size, "e2fsck finds damage (exit code %d)",
			 rc);
	return -EIO;
}

static int take_out(const char *image, const char *into)
{
	struct args a = { 0 };
	int err = make_dirs(into);

	if (err)
		return err;
	args_add(&a, "debugfs");
	args_add(&a, "-R");
	args_add(&a, "rdump /written %s", into);
	args_add(&a, "%s", image);
	return run_args(&a, NULL, 0, NULL, 0) ? -EIO : 0;
}

/*
 * Check every line "sum  name" of a list against the files below @dir.
 * Return how many were right, or a negative errno with @text set.
 */
static int compare_list(const char *list, const char *dir, char *text,
			size_t size)
{
	char line[LINE_MAX_SUMS], path[PATH_MAX], hex[SHA256_HEX + 1];
	FILE *f = fopen(list, "re");
	int good = 0;

	if (!f) {
		snprintf(text, size, "there is no list of sums");
		return -ENOENT;
	}
	while (good >= 0 && fgets(line, sizeof(line), f)) {
		char *name = line + SHA256_HEX + 2;

		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) <= SHA256_HEX + 2 || strstr(name, "..") ||
		    path_fmt(path, "%s/%s", dir, name) ||
		    sha256_file(path, hex) ||
		    memcmp(hex, line, SHA256_HEX)) {
			snprintf(text, size, "%.100s differs or is missing",
				 strlen(line) > SHA256_HEX + 2 ? name : line);
			good = -EIO;
			break;
		}
		good++;
	}
	fclose(f);
	return good;
}

int image_compare(const char *image, const char *work, char *text,
		  size_t size)
{
	char out[PATH_MAX], list[PATH_MAX], dir[PATH_MAX];
	int copies, all;

	if (path_fmt(out, "%s/taken", work) || take_out(image, out)) {
		snprintf(text, size, "cannot take the files out (debugfs)");
		return -EIO;
	}
	if (path_fmt(list, "%s/disk/files/SHA256SUMS", work) ||
	    path_fmt(dir, "%s/written/copy", out))
		return -ENAMETOOLONG;
	copies = compare_list(list, dir, text, size);
	if (copies < 0)
		return copies;
	if (path_fmt(list, "%s/written/SHA256SUMS", out) ||
	    path_fmt(dir, "%s/written", out))
		return -ENAMETOOLONG;
	all = compare_list(list, dir, text, size);
	if (all < 0)
		return all;
	if (all <= copies) {
		snprintf(text, size, "only %d files were written", all);
		return -EIO;
	}
	snprintf(text, size, "%d files, %d of them copies of ours", all,
		 copies);
	return 0;
}
