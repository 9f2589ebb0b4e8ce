/* SPDX-License-Identifier: MIT */
/* The file with the states of zones, see zones_store.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/zones_store.h"
#include "host/guard.h"
#include "host/log.h"

#define PAGE		4096u
#define VERSION		1u
#define STATE_SHIFT	56

/* The first page. In this machine's byte order: it belongs to its disk. */
struct head {
	char magic[8];
	uint32_t version;
	uint32_t model;
	uint64_t disk;
	uint32_t zone_sectors, zone_capacity, conventional, pad;
	char boot[40];		/* who wrote the live table */
};

struct live {
	uint64_t word;		/* state, sectors written */
	uint64_t low;		/* sectors, see struct zone */
};

struct durable {
	uint64_t word;
	uint64_t check;
};

struct zones_store {
	int fd;
	struct zones *zones;
	struct head *head;	/* the mapping, with live behind */
	struct live *live;
	size_t mapped;
	uint64_t durable_at;	/* in the file */
	atomic_bool lost;	/* the file was truncated */
	char boot[40];		/* this machine's */
	bool read_only;
};

static const char magic[8] = "VIREOZN";

static uint64_t word_of(const struct zone *g)
{
	return (uint64_t)g->state << STATE_SHIFT | (g->wp - g->start);
}

/* Tells a record from a piece of another. */
static uint64_t check_of(uint64_t word, uint32_t index)
{
	uint64_t x = word ^ (0x9e3779b97f4a7c15u * (index + 1ull));

	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
	return x ^ x >> 29;
}

static size_t table_size(const struct zones *z, size_t record)
{
	return (z->nr * record + PAGE - 1) / PAGE * PAGE;
}

static void read_boot(char boot[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, 36);

	memset(boot + (n > 0 ? n : 0), 0, 40 - (size_t)(n > 0 ? n : 0));
	if (fd >= 0)
		close(fd);
}

/*
 * low before the word: a program killed in between left a zone that may be
 * written again from where it was.
 */
static void on_change(void *ctx, uint32_t index)
{
	struct zones_store *s = ctx;
	const struct zone *g = &s->zones->zone[index];
	struct live *l = &s->live[index];

	__atomic_store_n(&l->low, g->low - g->start, __ATOMIC_RELEASE);
	__atomic_store_n(&l->word, word_of(g), __ATOMIC_RELEASE);
}

struct zones_record zones_store_record(const struct zones *z, uint32_t index)
{
	return (struct zones_record){ index, word_of(&z->zone[index]) };
}

static int write_all(int fd, const void *p, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)p + done, len - done,
				   (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static int sync_file(int fd)
{
	while (fdatasync(fd))
		if (errno != EINTR)
			return -errno;
	return 0;
}

int zones_store_save(struct zones_store *s, const struct zones_record *r,
		     uint32_t nr)
{
	int rc = atomic_load(&s->lost) ? -EIO : 0;

	for (uint32_t i = 0; i < nr && !rc; i++) {
		struct durable d = { r[i].word,
				     check_of(r[i].word, r[i].index) };

		rc = write_all(s->fd, &d, sizeof(d), s->durable_at +
			       r[i].index * (uint64_t)sizeof(d));
	}
	return rc ? rc : sync_file(s->fd);
}

/* -- opening -------------------------------------------------------------- */

static void fill_head(struct head *h, const struct zones_conf *c)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, magic, sizeof(magic));
	h->version = VERSION;
	h->model = c->model;
	h->disk = c->disk;
	h->zone_sectors = c->zone_sectors;
	h->zone_capacity = c->zone_capacity;
	h->conventional = c->conventional;
}

/* A new file: made under another name, and given its own when it is whole. */
static int make_file(struct zones_store *s, const char *path, uint64_t size)
{
	struct zones *z = s->zones;
	struct head h;
	char *tmp;
	int rc = 0, fd;

	if (asprintf(&tmp, "%s.new", path) < 0)
		return -ENOMEM;
	/* What lies there is of a program that was killed, or a trap: a link
	 * to a file of somebody's. */
	unlink(tmp);
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = -errno;
	if (!rc)	/* a hole would be a fault when the disk is full */
		rc = -posix_fallocate(fd, 0, (off_t)size);
	s->fd = fd;
	for (uint32_t i = 0; i < z->nr && !rc; i++) {
		uint64_t word = word_of(&z->zone[i]);
		struct durable d = { word, check_of(word, i) };
		struct live l = { word, 0 };

		rc = write_all(fd, &l, sizeof(l), PAGE + i * sizeof(l));
		if (!rc)
			rc = write_all(fd, &d, sizeof(d),
				       s->durable_at + i * sizeof(d));
	}
	fill_head(&h, &z->conf);
	if (!rc)
		rc = write_all(fd, &h, sizeof(h), 0);
	if (!rc && fsync(fd))
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	free(tmp);
	return rc;
}

/* Does the file belong to these zones? */
static int check_head(const struct zones_store *s, const char *path,
		      uint64_t size)
{
	struct head want, have = *s->head;
	struct stat st;

	fill_head(&want, &s->zones->conf);
	memset(have.boot, 0, sizeof(have.boot));
	if (!fstat(s->fd, &st) && (uint64_t)st.st_size >= size &&
	    !memcmp(&want, &have, sizeof(want)))
		return 0;
	log_err("%s holds the zones of another disk, or of this one with other sizes; serve it as before, or remove that file to begin with empty zones",
		path);
	return -EINVAL;
}

static int damaged(const char *path, uint32_t index)
{
	log_err("%s: the state of zone %u is damaged; bring the file back from a copy, or remove it to begin with empty zones",
		path, index);
	return -EBADMSG;
}

static bool restore(struct zones *z, uint32_t i, uint64_t word, uint64_t low)
{
	uint64_t written = word & ((1ull << STATE_SHIFT) - 1);

	return zones_restore(z, i, (uint8_t)(word >> STATE_SHIFT), written,
			     low < written ? low : written);
}

/* The program ended, or died, but not the machine. */
static int load_live(struct zones_store *s, const char *path)
{
	for (uint32_t i = 0; i < s->zones->nr; i++)
		if (!restore(s->zones, i, s->live[i].word, s->live[i].low))
			return damaged(path, i);
	return 0;
}

static int load_durable(struct zones_store *s, const char *path)
{
	for (uint32_t i = 0; i < s->zones->nr; i++) {
		struct durable d;
		ssize_t n = pread(s->fd, &d, sizeof(d), (off_t)(s->durable_at +
				  i * (uint64_t)sizeof(d)));

		if (n != sizeof(d) || d.check != check_of(d.word, i) ||
		    !restore(s->zones, i, d.word, UINT64_MAX))
			return damaged(path, i);
	}
	zones_power_on(s->zones);
	return 0;
}

static int map_file(struct zones_store *s)
{
	void *p = mmap(NULL, s->mapped, PROT_READ | PROT_WRITE, MAP_SHARED,
		       s->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (guard_init() || guard_add(p, s->mapped, &s->lost, -1)) {
		munmap(p, s->mapped);
		return -ENOSPC;
	}
	s->head = p;
	s->live = (struct live *)((char *)p + PAGE);
	return 0;
}

/* Whose live table it is from now on; and all of it is as it should be. */
static void take_over(struct zones_store *s, const char boot[40])
{
	for (uint32_t i = 0; i < s->zones->nr; i++)
		on_change(s, i);
	memcpy(s->head->boot, boot, sizeof(s->head->boot));
	s->zones->changed = on_change;
	s->zones->changed_ctx = s;
}

static int begin(struct zones_store *s, const char *path)
{
	int rc = s->boot[0] && !memcmp(s->boot, s->head->boot,
				       sizeof(s->boot)) ?
		load_live(s, path) : load_durable(s, path);

	if (!rc && !s->read_only)
		take_over(s, s->boot);
	return rc;
}

int zones_store_begin(struct zones_store *s)
{
	return begin(s, "the file");
}

static int load(struct zones_store *s, const char *path, uint64_t size,
		bool later)
{
	int rc;

	s->fd = open(path, O_RDWR | O_CLOEXEC);
	if (s->fd < 0 && errno != ENOENT)
		return -errno;
	if (s->fd < 0) {
		log_info("%s: made, all zones are empty", path);
		rc = make_file(s, path, size);
		if (rc)
			return rc;
	}
	rc = map_file(s);
	if (!rc)
		rc = check_head(s, path, size);
	if (rc)
		return rc;
	read_boot(s->boot);
	return later ? 0 : begin(s, path);
}

int zones_store_open(struct zones_store **out, const char *path,
		     struct zones *z, bool read_only, bool later)
{
	struct zones_store *s = calloc(1, sizeof(*s));
	uint64_t size;
	int rc;

	if (!s)
		return -ENOMEM;
	s->zones = z;
	s->fd = -1;
	s->mapped = PAGE + table_size(z, sizeof(struct live));
	s->durable_at = s->mapped;
	size = s->durable_at + table_size(z, sizeof(struct durable));
	s->read_only = read_only;
	rc = load(s, path, size, later);
	if (rc) {
		if (rc != -EINVAL && rc != -EBADMSG)
			log_err("%s, where the states of the zones are kept: %s",
				path, strerror(-rc));
		zones_store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void zones_store_close(struct zones_store *s)
{
	s->zones->changed = NULL;
	if (s->head) {
		guard_del(s->head);
		munmap(s->head, s->mapped);
	}
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

void zones_store_forget_boot(struct zones_store *s)
{
	memset(s->head->boot, 'x', sizeof(s->head->boot) - 1);
}
