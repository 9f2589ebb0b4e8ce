/* SPDX-License-Identifier: MIT */
/* What a guest says, cut anywhere: its lines for the host, and its panic. */
#include <stdio.h>
#include <string.h>

#include "cmd/vireo/output.h"
#include "vtest.h"

struct heard {
	char raw[4096];
	size_t raw_len;
	char told[4096];
};

static void on_told(void *arg, char *line)
{
	struct heard *h = arg;

	strcat(h->told, line);
	strcat(h->told, "|");
}

static void on_raw(void *arg, const char *data, size_t len)
{
	struct heard *h = arg;

	memcpy(h->raw + h->raw_len, data, len);
	h->raw_len += len;
}

static void start(struct filter *f, struct heard *h)
{
	memset(f, 0, sizeof(*f));
	memset(h, 0, sizeof(*h));
	f->told = on_told;
	f->raw = on_raw;
	f->arg = h;
	filter_init(f, "token");
}

static const char stream[] =
	"one\n\036@token step a ok\ntwo\036@tok\036@token exit 1\n"
	"\036\036@token \n\036@wrong x\nthree\036@token";

TEST("lines for the host are taken out wherever the stream is cut", "")
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());

	for (int round = 0; round < 2000; round++) {
		struct filter f;
		struct heard h;
		size_t at = 0;

		start(&f, &h);
		while (at < sizeof(stream) - 1) {
			size_t left = sizeof(stream) - 1 - at;
			size_t n = 1 + vtest_below(&r, left < 9 ? left : 9);

			filter_feed(&f, stream + at, n);
			at += n;
		}
		filter_flush(&f);
		CHECK_STREQ(h.told, "step a ok|exit 1||");
		CHECK_STREQ(h.raw, "one\ntwo\036@tok\036\036@wrong x\nthree"
				   "\036@token");
	}
}

TEST("what is no mark passes at once", "")
{
	struct filter f;
	struct heard h;

	start(&f, &h);
	filter_feed(&f, "no end of line", 14);
	CHECK_EQ(h.raw_len, 14);
	filter_feed(&f, "\n", 1);
	CHECK_EQ(h.raw_len, 15);
}

TEST("a line for the host is cut and cleaned", "")
{
	char line[2 * OUTPUT_LINE];
	struct filter f;
	struct heard h;

	start(&f, &h);
	memset(line, 'x', sizeof(line));
	line[3] = '\033';
	filter_feed(&f, "\036@token ", 8);
	filter_feed(&f, line, sizeof(line));
	filter_feed(&f, "\nrest", 5);
	CHECK_EQ(strlen(h.told), OUTPUT_LINE);
	CHECK_MEMEQ(h.told, "xxx.xxx", 7);
	CHECK_STREQ(h.raw, "rest");
}

TEST("a panic is found in a log, the last line is remembered", "")
{
	static const char log[] =
		"[ 1.0] fine\r\n\n[ 2.0] Kernel panic - not syncing: sysrq\n"
		"[ 2.1] Kernel panic - not syncing: again\nlast\n\npartial";
	struct tail t = { 0 };

	CHECK_STREQ(tail_last(&t), "");
	for (size_t i = 0; i < sizeof(log) - 1; i++)
		tail_feed(&t, log + i, 1);
	CHECK_STREQ(t.panic, "sysrq");
	CHECK_STREQ(tail_last(&t), "last");
}

TEST("a log line without end is cut, many lines are forgotten", "")
{
	struct tail t = { 0 };
	char line[64];

	for (int i = 0; i < 1000; i++)
		tail_feed(&t, "yyyyyyyy", 8);
	tail_feed(&t, "\n", 1);
	CHECK_EQ(strlen(tail_last(&t)), OUTPUT_LINE - 1);
	for (int i = 0; i < 100; i++)
		tail_feed(&t, line, (size_t)snprintf(line, sizeof(line),
						     "line %d\n", i));
	CHECK_STREQ(tail_last(&t), "line 99");
}
