/* SPDX-License-Identifier: MIT */
/*
 * Which module files a guest needs, in which order. Packages bring no
 * modules.dep (it is made at installation), so the dependencies come from
 * the modules themselves: each carries "depends=a,b" in its .modinfo.
 */
#include "initrd.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16 };

/* nftw() hands no context to its visitor. */
static struct {
	const char *name;
	char *found;
} search;

/* "virtio_rng" is in virtio-rng.ko: both marks mean the same. */
static bool same_name(const char *file, const char *name)
{
	for (; *name; file++, name++) {
		char a = *file == '-' ? '_' : *file;
		char b = *name == '-' ? '_' : *name;

		if (a != b)
			return false;
	}
	return !strcmp(file, ".ko");
}

static int visit(const char *path, const struct stat *st, int type,
		 struct FTW *ftw)
{
	(void)st;
	if (type != FTW_F || !same_name(path + ftw->base, search.name))
		return 0;
	return path_fmt(search.found, "%s", path) ? 0 : 1;
}

static int find_module(const char *folder, const char *name, char *out)
{
	search.name = name;
	search.found = out;
	return nftw(folder, visit, 16, FTW_PHYS) == 1 ? 0 : -ENOENT;
}

/* The text after "depends=" in a module, "" when it depends on nothing. */
static int read_depends(const char *path, char *out, size_t size)
{
	static const char key[] = "\0depends=";
	struct stat st;
	char *map, *at;
	size_t room;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	out[0] = '\0';
	if (fstat(fd, &st) < 0 || !st.st_size) {
		close(fd);
		return -EINVAL;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	at = memmem(map, (size_t)st.st_size, key, sizeof(key) - 1);
	if (at) {
		at += sizeof(key) - 1;
		room = (size_t)(map + st.st_size - at);
		if (room > size - 1)
			room = size - 1;
		memcpy(out, at, room);
		out[room] = '\0';
	}
	munmap(map, (size_t)st.st_size);
	return 0;
}

static bool have_path(const struct args *a, const char *path)
{
	for (size_t i = 0; i < a->n; i++)
		if (!strcmp(a->v[i], path))
			return true;
	return false;
}

static int resolve(const char *folder, const char *name, struct args *out,
		   unsigned int depth)
{
	char path[PATH_MAX], depends[1024], *save, *word;
	int err;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (find_module(folder, name, path) || have_path(out, path))
		return 0;
	err = read_depends(path, depends, sizeof(depends));
	word = strtok_r(depends, ",", &save);
	for (; !err && word; word = strtok_r(NULL, ",", &save))
		err = resolve(folder, word, out, depth + 1);
	if (!err)
		args_add(out, "%s", path);
	return err;
}

int modules_resolve(const char *folder, const char *const *names, size_t n,
		    struct args *out)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = resolve(folder, names[i], out, 0);
	return out->failed ? -ENOMEM : err;
}
