/* SPDX-License-Identifier: MIT */
/*
 * A short conversation with a file system, in which nothing is changed: who is
 * there, what its root is, how much room there is, what lies in the root. It
 * knows FUSE's messages (its wire format is the kernel's fuse.h, in the
 * machine's byte order) and nothing of rings: an answer is a function's.
 */
#include "smoke_fs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FUSE_GETATTR = 3, FUSE_STATFS = 17, FUSE_INIT = 26,
	FUSE_OPENDIR = 27, FUSE_READDIR = 28, FUSE_RELEASEDIR = 29,
};

#define ROOT		1u
#define HEADER_IN	40u
#define HEADER_OUT	16u
#define LIST_MAX	2048u
#define DIRENT		24u	/* before its name */

struct header_in {
	uint32_t len, opcode;
	uint64_t unique, node;
	uint32_t uid, gid, pid, padding;
};

struct header_out {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct talk {
	smoke_fs_ask *ask;
	void *ctx;
	uint64_t unique;
	unsigned char in[HEADER_IN + 64];
	unsigned char out[HEADER_OUT + LIST_MAX];
};

/*
 * One request. How many bytes the answer has behind its header, or -errno, be
 * it the file system's or, for an answer that makes no sense, -EPROTO.
 */
static int ask(struct talk *t, uint32_t opcode, const void *arg, uint32_t len,
	       uint32_t room)
{
	struct header_in in = {
		.len = HEADER_IN + len, .opcode = opcode,
		.unique = t->unique += 2, .node = ROOT,
	};
	struct header_out out;
	uint32_t used = 0;

	memcpy(t->in, &in, HEADER_IN);
	memcpy(t->in + HEADER_IN, arg, len);
	memset(t->out, 0, sizeof(t->out));
	if (!t->ask(t->ctx, t->in, HEADER_IN + len, t->out,
		    HEADER_OUT + room, &used))
		return -ETIMEDOUT;
	memcpy(&out, t->out, HEADER_OUT);
	if (used < HEADER_OUT || used > HEADER_OUT + room ||
	    out.len != used || out.unique != in.unique || out.error > 0 ||
	    out.error < -4095)
		return -EPROTO;
	return out.error ? out.error : (int)(used - HEADER_OUT);
}

/* A number of the answer, behind its header. */
static uint64_t number(const struct talk *t, uint32_t at, unsigned size)
{
	uint32_t v32;
	uint64_t v64;

	memcpy(&v64, t->out + HEADER_OUT + at, sizeof(v64));
	memcpy(&v32, t->out + HEADER_OUT + at, sizeof(v32));
	return size == 4 ? v32 : v64;
}

static bool fail(struct text *says, const char *what, int got)
{
	if (got >= 0)
		text_fmt(says, "%s: an answer of %d bytes", what, got);
	else
		text_fmt(says, "%s: %s", what, got == -ETIMEDOUT ?
			 "no answer" : strerror(-got));
	return false;
}

static bool init(struct talk *t, struct text *says)
{
	const uint32_t arg[4] = { 7, 31, 0, 0 };
	int got = ask(t, FUSE_INIT, arg, sizeof(arg), 64);

	if (got < 8)
		return fail(says, "FUSE_INIT", got);
	text_fmt(says, "FUSE_INIT: version %u.%u", (unsigned)number(t, 0, 4),
		 (unsigned)number(t, 4, 4));
	return true;
}

static bool root(struct talk *t, struct text *says)
{
	const uint64_t arg[2] = { 0, 0 };
	int got = ask(t, FUSE_GETATTR, arg, sizeof(arg), 104);
	unsigned mode = (unsigned)number(t, 76, 4);

	if (got < 104)
		return fail(says, "GETATTR of the root", got);
	text_fmt(says, "GETATTR: the root is %s, mode %04o",
		 S_ISDIR(mode) ? "a folder" : "no folder", mode & 07777);
	return S_ISDIR(mode);
}

static bool room(struct talk *t, struct text *says)
{
	int got = ask(t, FUSE_STATFS, "", 0, 80);

	if (got < 80)
		return fail(says, "STATFS", got);
	text_fmt(says, "STATFS: %llu blocks of %llu bytes, %llu free",
		 (unsigned long long)number(t, 0, 8),
		 (unsigned long long)number(t, 40, 4),
		 (unsigned long long)number(t, 8, 8));
	return true;
}

/* How many names there are in @len bytes, or -EPROTO. */
static int count_names(const struct talk *t, uint32_t len)
{
	uint32_t at = 0, name;
	int n = 0;

	for (; len - at >= DIRENT; n++) {	/* each step takes 24 or more */
		name = (uint32_t)number(t, at + 16, 4);
		if (!name || name > len - at - DIRENT)
			return -EPROTO;
		name = (name + 7) & ~7u;
		at += name > len - at - DIRENT ? len - at : DIRENT + name;
	}
	return at == len ? n : -EPROTO;
}

static bool names(struct talk *t, struct text *says)
{
	struct {
		uint64_t fh, offset;
		uint32_t size, read_flags;
		uint64_t lock_owner;
		uint32_t flags, padding;
	} list = { .size = LIST_MAX };
	uint64_t open = 0, done[3] = { 0 };
	int got = ask(t, FUSE_OPENDIR, &open, sizeof(open), 16), n;

	if (got < 16)
		return fail(says, "OPENDIR of the root", got);
	done[0] = list.fh = number(t, 0, 8);
	got = ask(t, FUSE_READDIR, &list, sizeof(list), LIST_MAX);
	n = got < 0 ? got : count_names(t, (uint32_t)got);
	if (n < 0)
		return fail(says, "READDIR of the root", n);
	got = ask(t, FUSE_RELEASEDIR, done, sizeof(done), 0);
	if (got)
		return fail(says, "RELEASEDIR of the root", got);
	text_fmt(says, "READDIR: %d names in the root%s", n,
		 n ? "" : ", not even a dot");
	return true;
}

bool smoke_fs(smoke_fs_ask *fn, void *ctx, smoke_fs_tell *tell)
{
	static bool (*const step[])(struct talk *, struct text *) = {
		init, root, room, names,
	};
	struct talk t = { .ask = fn, .ctx = ctx };
	bool good = true;

	for (unsigned i = 0; i < sizeof(step) / sizeof(step[0]) && good; i++) {
		struct text says;

		text_init(&says, 256);
		good = step[i](&t, &says);
		tell(ctx, good, text_str(&says));
		text_free(&says);
	}
	return good;
}
