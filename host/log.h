/* SPDX-License-Identifier: MIT */
/*
 * One line a message on standard error: "program: level: text".
 *
 * Knows levels and a rate limit; deliberately does not know files, syslog or
 * colours: whoever starts a daemon decides where its standard error goes.
 */
#ifndef HOST_LOG_H
#define HOST_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <vireo/base.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* A burst of messages a second for one call site; zero it to start. */
struct log_rate {
	uint64_t since_ns;
	unsigned count;
	unsigned dropped;
};

#define LOG_RATE_BURST 10u

/* Name the program; the string is kept. Call before the first thread. */
void log_init(const char *program, enum log_level max);

/* True if a message of this level would be printed. */
int log_wants(enum log_level level);

void log_msg(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void log_vmsg(enum log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/*
 * Like log_msg(), at most LOG_RATE_BURST lines a second for each @rate. The
 * first line of the next second says how many were left out. A @rate belongs
 * to one thread.
 */
void log_limited(struct log_rate *rate, enum log_level level,
		 const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * The core's log hook (struct vio_log): limited for each thread's lines. Its
 * context is what they are about, as for log_about(), or NULL.
 */
void log_core(void *ctx, enum vio_log_level level, const char *text,
	      const struct vio_named *v, unsigned nr);

/*
 * Until the next call, this thread's lines are about @what, a name that is put
 * before their text; NULL: nothing in particular. Returns what it was before.
 */
const char *log_about(const char *what);

/*
 * This thread's errors are also appended to @text, of @size bytes, one behind
 * the other, without program and level. NULL ends that.
 */
void log_catch(char *text, size_t size);

#define log_err(...)	log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)	log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)	log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
