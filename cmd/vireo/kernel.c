/* SPDX-License-Identifier: MIT */
/*
 * Where guest kernels come from. Looks at installed packages first, then
 * into the cache, then asks apt for the package and unpacks it into the
 * cache; a package is never installed as the host's own. Knows nothing of
 * how a guest is started.
 */
#include "kernel.h"
#include "proc.h"
#include "util.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a package gives, as patterns below "/" or below the cache's copy. */
struct source {
	const char *package;
	const char *image;
	const char *modules;
};

static const struct source sources[] = {
	[GUEST_UML] = {
		"user-mode-linux", "/usr/bin/linux.uml",
		"/usr/lib/uml/modules/*",
	},
	[GUEST_PC] = {
		"linux-image-cloud-amd64", "/boot/vmlinuz-*-cloud-amd64", NULL,
	},
};

static const struct source busybox = {
	"busybox-static", "{/usr,}/bin/busybox", NULL,
};

static int cache_dir(char *out)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (cache && *cache == '/')
		return path_fmt(out, "%s/vireo", cache);
	if (home && *home == '/')
		return path_fmt(out, "%s/.cache/vireo", home);
	return path_fmt(out, "/var/tmp/vireo-%u", (unsigned int)getuid());
}

/* The match of @root @pattern with the highest version in its name. */
static int find_last(const char *root, const char *pattern, char *out)
{
	char full[PATH_MAX];
	const char *best;
	glob_t g = { 0 };
	int err = path_fmt(full, "%s%s", root, pattern);

	if (err)
		return err;
	err = -ENOENT;
	if (!glob(full, GLOB_BRACE, NULL, &g) && g.gl_pathc) {
		best = g.gl_pathv[0];
		for (size_t i = 1; i < g.gl_pathc; i++)
			if (strverscmp(g.gl_pathv[i], best) > 0)
				best = g.gl_pathv[i];
		err = path_fmt(out, "%s", best);
	}
	globfree(&g);
	if (!err && access(out, R_OK) < 0)
		err = -errno;
	return err;
}

void kernel_modules_of(struct guest_kernel *k)
{
	const char *name = strrchr(k->image, '/');
	const char *version = strstr(name ? name : k->image, "vmlinuz-");
	char root[PATH_MAX];

	k->modules[0] = '\0';
	if (!name || !version)
		return;
	version += strlen("vmlinuz-");
	if (path_fmt(root, "%.*s/../lib/modules/%s", (int)(name - k->image),
		     k->image, version) || !file_exists(root))
		path_fmt(root, "/lib/modules/%s", version);
	if (file_exists(root))
		path_fmt(k->modules, "%s", root);
}

static int find_kernel(const char *root, enum guest_kind kind,
		       struct guest_kernel *out)
{
	const struct source *s = &sources[kind];
	int err = find_last(root, s->image, out->image);

	out->modules[0] = '\0';
	if (err)
		return err;
	if (s->modules)
		return find_last(root, s->modules, out->modules);
	kernel_modules_of(out);
	return out->modules[0] ? 0 : -ENOENT;
}

/* A dynamically linked program is of no use in an initramfs. */
static bool is_static(const char *path)
{
	Elf64_Phdr ph;
	Elf64_Ehdr eh;
	bool ok = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, &eh, sizeof(eh)) == (ssize_t)sizeof(eh) &&
	    !memcmp(eh.e_ident, ELFMAG, SELFMAG) &&
	    eh.e_ident[EI_CLASS] == ELFCLASS64)
		ok = true;
	for (unsigned int i = 0; ok && i < eh.e_phnum; i++) {
		off_t at = (off_t)(eh.e_phoff + i * sizeof(ph));

		if (pread(fd, &ph, sizeof(ph), at) != (ssize_t)sizeof(ph) ||
		    ph.p_type == PT_INTERP)
			ok = false;
	}
	close(fd);
	return ok;
}

static int find_busybox(const char *root, char *out)
{
	int err = find_last(root, busybox.image, out);

	if (!err && !is_static(out))
		err = -ENOENT;
	return err;
}

static int package_root(const char *package, char *out)
{
	char dir[PATH_MAX];
	int err = cache_dir(dir);

	return err ? err : path_fmt(out, "%s/%s", dir, package);
}

int kernel_find(enum guest_kind kind, struct guest_kernel *out)
{
	char root[PATH_MAX];

	if (!find_kernel("", kind, out))
		return 0;
	if (package_root(sources[kind].package, root))
		return -ENOENT;
	return find_kernel(root, kind, out) ? -ENOENT : 0;
}

int kernel_find_busybox(char *out)
{
	char root[PATH_MAX];

	if (!find_busybox("", out))
		return 0;
	if (package_root(busybox.package, root))
		return -ENOENT;
	return find_busybox(root, out) ? -ENOENT : 0;
}

bool kernel_can_fetch(void)
{
	return have_tool("apt-get") && have_tool("dpkg-deb");
}

/*
 * linux-image-cloud-amd64 is empty and depends on the kernel of the day:
 * find the name that apt would follow.
 */
static void real_package(const char *package, char *out, size_t size)
{
	struct args a = { 0 };
	char text[8192];
	const char *at;

	snprintf(out, size, "%s", package);
	if (strncmp(package, "linux-image-", 12))
		return;
	args_add(&a, "apt-cache");
	args_add(&a, "depends");
	args_add(&a, "--important");
	args_add(&a, "%s", package);
	if (run_args(&a, text, sizeof(text), NULL, 0))
		return;
	at = strstr(text, "Depends: linux-image-");
	if (at)
		snprintf(out, size, "%.*s", (int)strcspn(at + 9, " \n\r"),
			 at + 9);
}

/* The last line that says what went wrong, for one clear message. */
static const char *last_line(char *text)
{
	char *end = text + strlen(text);
	char *nl;

	while (end > text && end[-1] == '\n')
		*--end = '\0';
	nl = strrchr(text, '\n');
	return nl ? nl + 1 : text;
}

static int download(const char *dir, const char *name, char *why, size_t size)
{
	/* apt-get writes into the current folder. */
	struct args a = { 0 };

	args_add(&a, "env");
	args_add(&a, "--chdir=%s", dir);
	args_add(&a, "apt-get");
	args_add(&a, "-q");
	args_add(&a, "-o");
	args_add(&a, "APT::Sandbox::User=root");
	args_add(&a, "download");
	args_add(&a, "%s", name);
	return run_args(&a, NULL, 0, why, size) ? -EIO : 0;
}

static int unpack(const char *dir, const char *into, char *why, size_t size)
{
	struct args a = { 0 };
	char deb[PATH_MAX];

	if (find_last(dir, "/*.deb", deb)) {
		snprintf(why, size, "apt-get left no package file");
		return -EIO;
	}
	args_add(&a, "dpkg-deb");
	args_add(&a, "-x");
	args_add(&a, "%s", deb);
	args_add(&a, "%s", into);
	return run_args(&a, NULL, 0, why, size) ? -EIO : 0;
}

/*
 * Fetch into a private folder, then rename: who looks at the cache sees all
 * of a package or nothing, also when two fetch at once.
 */
static int fetch_into(const char *package, const char *root, char *why,
		      size_t size)
{
	char name[128], dir[PATH_MAX], tree[PATH_MAX];
	struct janitor janitor;
	int err = path_fmt(dir, "%s.XXXXXX", root);

	if (err)
		return err;
	if (!mkdtemp(dir)) {
		snprintf(why, size, "cannot make %.1024s: %s", dir,
			 strerror(errno));
		return -errno;
	}
	/* For a Ctrl-C in the middle of it. */
	janitor_start(&janitor, dir);
	real_package(package, name, sizeof(name));
	err = path_fmt(tree, "%s/tree", dir);
	if (!err)
		err = download(dir, name, why, size);
	if (!err)
		err = unpack(dir, tree, why, size);
	if (!err && rename(tree, root) < 0 && errno != ENOTEMPTY &&
	    errno != EEXIST) {
		snprintf(why, size, "%s", strerror(errno));
		err = -EIO;
	}
	remove_tree(dir);
	janitor_dismiss(&janitor);
	return err;
}

static int fetch(const char *package)
{
	char root[PATH_MAX], dir[PATH_MAX], why[2048] = "";
	int err = package_root(package, root);

	if (err || (err = cache_dir(dir)))
		return err;
	if (!kernel_can_fetch()) {
		complain("%s is not installed, and there is no apt-get to "
			 "fetch it; name a kernel with --kernel, or install "
			 "the package", package);
		return -ENOENT;
	}
	err = make_dirs(dir);
	if (err) {
		complain("cannot make the cache folder %s: %s", dir,
			 strerror(-err));
		return err;
	}
	fprintf(stderr, "vireo: fetching package %s into %s (once)\n",
		package, dir);
	err = fetch_into(package, root, why, sizeof(why));
	if (err)
		complain("cannot fetch package %s: %s; try `apt-get update` "
			 "or install it", package, last_line(why));
	return err;
}

int kernel_get(enum guest_kind kind, struct guest_kernel *out)
{
	int err = kernel_find(kind, out);

	if (err != -ENOENT)
		return err;
	err = fetch(sources[kind].package);
	if (err)
		return err;
	err = kernel_find(kind, out);
	if (err)
		complain("package %s holds no guest kernel that fits",
			 sources[kind].package);
	return err;
}

int kernel_get_busybox(char *out)
{
	int err = kernel_find_busybox(out);

	if (err != -ENOENT)
		return err;
	err = fetch(busybox.package);
	if (err)
		return err;
	err = kernel_find_busybox(out);
	if (err)
		complain("package %s holds no static busybox",
			 busybox.package);
	return err;
}
