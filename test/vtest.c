/* SPDX-License-Identifier: MIT */
/*
 * main() of every test program: picks the cases, runs them one after the
 * other, reports in the Test Anything Protocol. Knows nothing of what the
 * cases test.
 */
#include "vtest.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum outcome { RAN = 0, FAILED, SKIPPED };

static struct vtest_case *first, **last = &first;
static struct vtest_case *running;
static pthread_t case_thread;
static jmp_buf case_end;
static atomic_uint failures;	/* of the running case */
static char skip_reason[256];
static void (*witness)(void);

void vtest_register(struct vtest_case *c)
{
	*last = c;
	last = &c->next;
}

void vtest_note(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	printf("# %s\n", line);
	fflush(stdout);
}

void vtest_witness(void (*tell)(void))
{
	witness = tell;
}

static void leave(enum outcome how)
{
	if (pthread_equal(pthread_self(), case_thread))
		longjmp(case_end, how);
}

void vtest_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(skip_reason, sizeof(skip_reason), fmt, ap);
	va_end(ap);
	leave(SKIPPED);
	fprintf(stderr, "SKIP() on a thread that is not the case's own\n");
	abort();
}

void vtest_fail(const char *file, int line, const char *fmt, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vtest_note("%s:%d: failed: %s", file, line, text);
	/* Once: what it tells may itself have failed a check. */
	if (!atomic_fetch_add(&failures, 1) && witness)
		witness();
	leave(FAILED);
}

int vtest_cmp(struct vtest_num a, struct vtest_num b)
{
	if (a.negative != b.negative)
		return a.negative ? -1 : 1;
	/* Two's complement keeps the order among numbers of one sign. */
	return a.bits < b.bits ? -1 : a.bits > b.bits;
}

static void num_text(char *buf, size_t size, struct vtest_num n)
{
	if (n.negative)
		snprintf(buf, size, "%lld", (long long)n.bits);
	else
		snprintf(buf, size, "%llu (0x%llx)", n.bits, n.bits);
}

void vtest_cmp_failed(const char *file, int line, const char *text,
		      struct vtest_num a, struct vtest_num b)
{
	char at[64], bt[64];

	num_text(at, sizeof(at), a);
	num_text(bt, sizeof(bt), b);
	vtest_fail(file, line, "%s: left is %s, right is %s", text, at, bt);
}

void vtest_check_str(const char *file, int line, const char *a_text,
		     const char *a, const char *b_text, const char *b)
{
	if (a && b ? strcmp(a, b) == 0 : a == b)
		return;
	vtest_fail(file, line, "%s is \"%s\", %s is \"%s\"", a_text,
		   a ? a : "(null)", b_text, b ? b : "(null)");
}

void vtest_check_mem(const char *file, int line, const char *a_text,
		     const void *a, const char *b_text, const void *b,
		     size_t len)
{
	const unsigned char *x = a, *y = b;
	size_t i;

	if (!len || !memcmp(a, b, len))
		return;
	for (i = 0; i < len; i++) {
		if (x[i] == y[i])
			continue;
		vtest_fail(file, line,
			   "%s and %s differ at byte %zu of %zu: %02x, %02x",
			   a_text, b_text, i, len, x[i], y[i]);
		return;
	}
}

uint64_t vtest_seed(void)
{
	const char *env = getenv("VTEST_SEED");
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */
	const char *p;

	if (env && *env)
		return strtoull(env, NULL, 0);
	for (p = running ? running->name : ""; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
	return hash;
}

struct vtest_rand vtest_rand_init(uint64_t seed)
{
	return (struct vtest_rand){ seed };
}

uint64_t vtest_u64(struct vtest_rand *r)
{
	uint64_t z;

	/* splitmix64: any seed is a good one. */
	r->state += 0x9e3779b97f4a7c15u;
	z = r->state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t vtest_below(struct vtest_rand *r, uint64_t n)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n;
	uint64_t v;

	do
		v = vtest_u64(r);
	while (v >= limit);
	return v % n;
}

void vtest_fill(struct vtest_rand *r, void *buf, size_t len)
{
	unsigned char *p = buf;
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (unsigned char)vtest_u64(r);
}

void vtest_fill_much(struct vtest_rand *r, void *buf, size_t len)
{
	unsigned char *p = buf;
	uint64_t v;

	for (; len; p += sizeof(v), len -= sizeof(v)) {
		v = vtest_u64(r);
		if (len <= sizeof(v)) {
			memcpy(p, &v, len);
			break;
		}
		memcpy(p, &v, sizeof(v));
	}
}

unsigned vtest_rounds(unsigned n)
{
	const char *less = getenv("VTEST_LESS");
	unsigned long by = less ? strtoul(less, NULL, 0) : 1;

	return by > 1 && n > by ? (unsigned)(n / by) : n;
}

/* False when it failed. */
static bool run_case(struct vtest_case *c, unsigned int nr)
{
	int how;

	running = c;
	atomic_store(&failures, 0);
	how = setjmp(case_end);
	if (how == RAN)
		c->body();
	if (atomic_load(&failures)) {
		printf("not ok %u - %s\n", nr, c->name);
		vtest_note("%s:%d: VTEST_SEED=0x%" PRIx64, c->file, c->line,
			   vtest_seed());
	} else if (how == SKIPPED) {
		printf("ok %u - %s # SKIP %s\n", nr, c->name, skip_reason);
	} else {
		printf("ok %u - %s\n", nr, c->name);
	}
	fflush(stdout);
	return atomic_load(&failures) == 0;
}

static bool wanted(const struct vtest_case *c, int n, char **words)
{
	int i;

	for (i = 0; i < n; i++)
		if (strstr(c->name, words[i]) || strstr(c->clauses, words[i]))
			return true;
	return n == 0;
}

static int usage(const char *prog)
{
	printf("usage: %s [--list] [WORD...]\n"
	       "Runs the cases whose name or clauses contain one of the words,"
	       "\nall cases where there is no word.\n"
	       "  --list   prints them: name, tab, clauses\n"
	       "VTEST_SEED in the environment overrides the random seed.\n",
	       prog);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int nr = 0, bad = 0;
	struct vtest_case *c;
	bool list = false;

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return usage(argv[0]);
	if (argc > 1 && strcmp(argv[1], "--list") == 0) {
		list = true;
		argc--;
		argv++;
	}
	case_thread = pthread_self();
	for (c = first; c; c = c->next) {
		if (!wanted(c, argc - 1, argv + 1))
			continue;
		nr++;
		if (list)
			printf("%s\t%s\n", c->name, c->clauses);
		else if (!run_case(c, nr))
			bad++;
	}
	if (!list)
		printf("1..%u\n", nr);
	if (nr == 0)
		fprintf(stderr, "no case has such a name or clause\n");
	return bad > 0 || nr == 0;
}
