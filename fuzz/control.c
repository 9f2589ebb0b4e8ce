/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: lines for a control socket. Whatever comes, the answer is one
 * line that says whether it went well, or a raw text.
 */
#include <stdlib.h>
#include <string.h>

#include "host/control.h"

static int echo(void *ctx, unsigned nr_args, char **args, struct text *out)
{
	if (nr_args > 2 || ctx != (void *)echo)
		abort();
	text_add(out, "[", 1);
	for (unsigned i = 0; i < nr_args; i++) {
		text_comma(out);
		text_json(out, args[i]);
	}
	text_add(out, "]", 1);
	return nr_args == 2 ? -1 : 0;
}

static int raw(void *ctx, unsigned nr_args, char **args, struct text *out)
{
	(void)ctx;
	(void)args;
	if (nr_args)
		abort();
	text_fmt(out, "# EOF\n");
	return 0;
}

static const struct control_command first[] = {
	{ .name = "echo", .args = "[A] [B]", .max_args = 2, .help = "",
	  .run = echo },
	{ 0 }
};

static const struct control_command second[] = {
	{ .name = "raw", .args = "", .raw = true, .help = "", .run = raw },
	{ 0 }
};

/* About one of several, "a". */
static void *pick(void *ctx, const char *name)
{
	return strcmp(name, "a") ? NULL : ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct control_set set = {
		.table = { first, second, first },
		.ctx = { (void *)echo, NULL, (void *)echo },
		.pick = { NULL, NULL, pick },
	};
	char line[CONTROL_LINE_MAX + 1];
	struct text out;
	const char *a;

	if (size > CONTROL_LINE_MAX)
		return 0;
	memcpy(line, data, size);
	line[size] = 0;
	text_init(&out, CONTROL_ANSWER_MAX);
	control_answer(&set, line, &out);
	a = text_str(&out);
	if (out.failed || !out.len || a[out.len - 1] != '\n' ||
	    strchr(a, '\n') != a + out.len - 1 ||
	    (strncmp(a, "{\"ok\":", 6) && strcmp(a, "# EOF\n")))
		abort();
	text_free(&out);
	return 0;
}
