/* SPDX-License-Identifier: MIT */
/* The load order of a guest's modules, from the modules themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/vireo/initrd.h"
#include "vtest.h"

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/vireo-modules.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
}

static void module(const char *path, const char *depends)
{
	char full[128];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	f = fopen(full, "w");
	CHECK(f != NULL);
	fprintf(f, "ELF%cdescription=xdepends=wrong%cdepends=%s%cname=x", 0, 0,
		depends, 0);
	fclose(f);
}

static const char *order(const char *const *names, size_t n)
{
	static char text[512];
	struct args out = { 0 };

	text[0] = '\0';
	CHECK_EQ(modules_resolve(dir, names, n, &out), 0);
	for (size_t i = 0; i < out.n; i++) {
		strcat(text, strrchr(out.v[i], '/') + 1);
		strcat(text, " ");
	}
	args_free(&out);
	return text;
}

TEST("dependencies come first, each once, whatever the folder", "")
{
	static const char *const names[] = { "virtio_pci", "virtio_rng" };
	char sub[128];

	make_dir();
	snprintf(sub, sizeof(sub), "%s/drivers", dir);
	CHECK_EQ(make_dirs(sub), 0);
	module("drivers/virtio_ring.ko", "");
	module("virtio.ko", "virtio_ring");
	module("virtio_pci.ko", "virtio,virtio_ring");
	module("drivers/virtio-rng.ko", "virtio_ring,virtio");
	CHECK_STREQ(order(names, 2), "virtio_ring.ko virtio.ko virtio_pci.ko "
				     "virtio-rng.ko ");
	remove_tree(dir);
}

TEST("what is not there is built in", "")
{
	static const char *const names[] = { "ext4", "virtio_blk" };

	make_dir();
	module("virtio_blk.ko", "virtio,virtio_ring");
	module("virtio_blk_more.ko", "");
	CHECK_STREQ(order(names, 2), "virtio_blk.ko ");
	remove_tree(dir);
}

TEST("a circle of dependencies is an error, not a hang", "")
{
	static const char *const names[] = { "a" };
	struct args out = { 0 };

	make_dir();
	module("a.ko", "b");
	module("b.ko", "a");
	CHECK_LT(modules_resolve(dir, names, 1, &out), 0);
	args_free(&out);
	remove_tree(dir);
}
