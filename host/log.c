/* SPDX-License-Identifier: MIT */
/*
 * Messages to standard error. Each line is one write, so that lines of
 * several threads never mix. errno is preserved: a caller may log first and
 * look at errno afterwards.
 */
#include "host/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/clock.h"

static const char *const level_name[] = {
	[LOG_LEVEL_ERROR] = "error: ",
	[LOG_LEVEL_WARN] = "warning: ",
	[LOG_LEVEL_INFO] = "",
	[LOG_LEVEL_DEBUG] = "debug: ",
};

static const char *log_program = "vireo";
static enum log_level log_max = LOG_LEVEL_INFO;

static _Thread_local const char *about;
static _Thread_local struct {
	char *text;
	size_t size;
} caught;

void log_init(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
}

int log_wants(enum log_level level)
{
	return level <= log_max;
}

const char *log_about(const char *what)
{
	const char *before = about;

	about = what;
	return before;
}

void log_catch(char *text, size_t size)
{
	caught.text = text;
	caught.size = size;
	if (text)
		*text = 0;
}

static void catch(const char *line)
{
	size_t n = strlen(caught.text);

	snprintf(caught.text + n, caught.size - n, "%s%s", n ? "; " : "",
		 line);
}

void log_vmsg(enum log_level level, const char *fmt, va_list ap)
{
	int saved = errno, n, m;
	char line[1024];

	if (!log_wants(level))
		return;
	n = snprintf(line, sizeof(line), "%s: %s%s%s", log_program,
		     level_name[level], about ? about : "",
		     about ? ": " : "");
	if (n < 0 || n >= (int)sizeof(line) - 1)
		return;
	errno = saved;
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	if (m < 0)
		return;
	if (caught.text && level == LOG_LEVEL_ERROR)
		catch(line + n);
	n += m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* Nobody is left to tell if standard error itself fails. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = saved;
	errno = saved;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(level, fmt, ap);
	va_end(ap);
}

void log_limited(struct log_rate *rate, enum log_level level,
		 const char *fmt, ...)
{
	uint64_t now = clock_ns();
	va_list ap;

	if (now - rate->since_ns >= NS_PER_S) {
		if (rate->dropped)
			log_msg(level, "%u similar messages were left out",
				rate->dropped);
		rate->since_ns = now;
		rate->count = 0;
		rate->dropped = 0;
	}
	if (rate->count >= LOG_RATE_BURST) {
		rate->dropped++;
		return;
	}
	rate->count++;
	va_start(ap, fmt);
	log_vmsg(level, fmt, ap);
	va_end(ap);
}

void log_core(void *ctx, enum vio_log_level level, const char *text,
	      const struct vio_named *v, unsigned nr)
{
	static const enum log_level levels[] = {
		[VIO_LOG_ERROR] = LOG_LEVEL_ERROR,
		[VIO_LOG_WARN] = LOG_LEVEL_WARN,
		[VIO_LOG_INFO] = LOG_LEVEL_INFO,
		[VIO_LOG_DEBUG] = LOG_LEVEL_DEBUG,
	};
	/* One a level: chatter must not swallow the error that follows it. */
	static _Thread_local struct log_rate rate[VIO_ARRAY_LEN(levels)];
	const char *before;
	char numbers[512] = "";
	size_t n = 0;
	unsigned i;

	if (!log_wants(levels[level]))
		return;
	for (i = 0; i < nr && n < sizeof(numbers); i++)
		n += (size_t)snprintf(numbers + n, sizeof(numbers) - n,
				      "%s%s %llu", i ? ", " : ": ", v[i].name,
				      (unsigned long long)v[i].value);
	before = log_about(ctx ? ctx : about);
	if (level == VIO_LOG_DEBUG)	/* asked for; all of it */
		log_debug("%s%s", text, numbers);
	else
		log_limited(&rate[level], levels[level], "%s%s", text,
			    numbers);
	log_about(before);
}
