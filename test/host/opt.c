/* SPDX-License-Identifier: MIT */
/* Command lines: values, sizes, mistakes and the hints they get. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "host/opt.h"
#include "vtest.h"

static struct {
	bool ro;
	const char *file;
	unsigned queues, mode, kind;
	uint64_t size;
} v;

static const char *const kinds[] = { "null", "mem", NULL };

static const struct opt table[] = {
	{ .name = "read-only", .type = OPT_FLAG, .to = &v.ro, .help = "x" },
	{ .name = "blk-file", .type = OPT_STRING, .to = &v.file, .help = "x" },
	{ .name = "num-queues", .type = OPT_UINT, .to = &v.queues, .min = 1,
	  .max = 64, .help = "x" },
	{ .name = "size", .type = OPT_SIZE, .to = &v.size, .min = 512,
	  .help = "x" },
	{ .name = "socket-mode", .type = OPT_OCTAL, .to = &v.mode,
	  .max = 0777, .help = "x" },
	{ .name = "backend", .type = OPT_CHOICE, .to = &v.kind,
	  .choices = kinds, .help = "x" },
	{ 0 }
};

static const struct opt_set set = {
	.program = "prog", .summary = "s", .tables = { table },
};

static char said[1024];

/* Parse, and keep what was said on standard error. */
static int parse(int argc, const char *const *argv)
{
	int keep = dup(STDERR_FILENO), p[2], rc;
	ssize_t n;

	memset(&v, 0, sizeof(v));
	CHECK_EQ(pipe(p), 0);
	dup2(p[1], STDERR_FILENO);
	rc = opt_parse(&set, argc, (char **)(uintptr_t)argv);
	dup2(keep, STDERR_FILENO);
	close(p[1]);
	n = read(p[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = 0;
	close(p[0]);
	close(keep);
	return rc;
}

#define PARSE(...)							\
	parse((int)(sizeof((const char *[]){ "prog", __VA_ARGS__ }) /	\
		    sizeof(char *)),					\
	      (const char *[]){ "prog", __VA_ARGS__ })

TEST("values come with an equals sign or as the next word", "")
{
	CHECK_EQ(PARSE("--blk-file=a=b", "--num-queues", "4", "--read-only",
		       "--size=256M", "--socket-mode=0660", "--backend=mem"),
		 OPT_OK);
	CHECK_STREQ(v.file, "a=b");
	CHECK_EQ(v.queues, 4);
	CHECK(v.ro);
	CHECK_EQ(v.size, 256 << 20);
	CHECK_EQ(v.mode, 0660);
	CHECK_EQ(v.kind, 1);
}

TEST("sizes take suffixes and refuse what does not fit", "")
{
	uint64_t n;

	CHECK_EQ(opt_size("1g", &n), 0);
	CHECK_EQ(n, 1ull << 30);
	CHECK_EQ(opt_size("512", &n), 0);
	CHECK_EQ(n, 512);
	CHECK_EQ(opt_size("16777215T", &n), 0);
	CHECK_EQ(opt_size("16777216T", &n), -ERANGE);
	CHECK_EQ(opt_size("-1", &n), -EINVAL);
	CHECK_EQ(opt_size("", &n), -EINVAL);
	CHECK_EQ(opt_size("1MB", &n), -EINVAL);
	CHECK_EQ(opt_size("1X", &n), -EINVAL);
	CHECK_EQ(opt_size("99999999999999999999", &n), -ERANGE);
}

TEST("a mistake is answered with the cure", "")
{
	CHECK_EQ(PARSE("--readonly"), -EINVAL);
	CHECK(strstr(said, "did you mean '--read-only'?"));
	CHECK_EQ(PARSE("--blk=x"), -EINVAL);
	CHECK(strstr(said, "did you mean '--blk-file'?"));
	CHECK_EQ(PARSE("--zzzzzzzzzzzz"), -EINVAL);
	CHECK(strstr(said, "see prog --help"));
	CHECK_EQ(PARSE("disk.img"), -EINVAL);
	CHECK(strstr(said, "unexpected argument 'disk.img'"));
	CHECK_EQ(PARSE("--num-queues=65"), -EINVAL);
	CHECK(strstr(said, "outside 1..64"));
	CHECK_EQ(PARSE("--num-queues=0x4"), -EINVAL);
	CHECK_EQ(PARSE("--size=1MB"), -EINVAL);
	CHECK(strstr(said, "256M"));
	CHECK_EQ(PARSE("--size=1"), -EINVAL);
	CHECK(strstr(said, "outside 512..18446744073709551615"));
	CHECK_EQ(PARSE("--size=16777216T"), -EINVAL);
	CHECK(strstr(said, "16777216T is outside 512..18446744073709551615"));
	CHECK_EQ(PARSE("--num-queues=4294967297"), -EINVAL);
	CHECK(strstr(said, "4294967297 is outside 1..64"));
	CHECK_EQ(PARSE("--backend=nul"), -EINVAL);
	CHECK(strstr(said, "null, mem"));
	CHECK_EQ(PARSE("--read-only=yes"), -EINVAL);
	CHECK_EQ(PARSE("--blk-file"), -EINVAL);
	CHECK(strstr(said, "needs a value"));
}

TEST("--help and --version win over what follows", "")
{
	CHECK_EQ(PARSE("--help", "--nonsense"), OPT_HELP);
	CHECK_EQ(PARSE("--version"), OPT_VERSION);
}
