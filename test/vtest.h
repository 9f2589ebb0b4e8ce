/* SPDX-License-Identifier: MIT */
/*
 * The test harness: cases, checks, skips, seeded randomness. It knows nothing
 * of what it tests; main() and the reporting live in vtest.c.
 *
 *	TEST("a descriptor loop breaks the queue", "core.device.x.1")
 *	{
 *		struct vtest_rand r = vtest_rand_init(vtest_seed());
 *
 *		if (!have_it())
 *			SKIP("needs a kernel with it");
 *		CHECK(queue_is_broken(q));
 *		CHECK_EQ(q.used_idx, 3);
 *	}
 *
 * The second string names, separated by blanks, the clauses of the standard
 * (doc/clauses.tsv) that the case proves; "" where it proves none.
 *
 * A check that fails on the case's own thread ends the case at once; on any
 * other thread it is recorded and the thread goes on.
 */
#ifndef VTEST_H
#define VTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vtest_case {
	const char *name;
	const char *clauses;
	const char *file;
	int line;
	void (*body)(void);
	struct vtest_case *next;
};

/* A number of any integer type: its bits, and whether it is below zero. */
struct vtest_num {
	unsigned long long bits;
	bool negative;
};

struct vtest_rand {
	uint64_t state;
};

#define TEST(name, clauses) VTEST_CASE_(name, clauses, __COUNTER__)

/* Ends the case as skipped; the reason is shown. Case's own thread only. */
#define SKIP(...) vtest_skip(__VA_ARGS__)

/* Fails the case with a text of the caller's. */
#define FAIL(...) vtest_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			vtest_fail(__FILE__, __LINE__,			\
				   "CHECK(%s)", #cond);			\
	} while (0)

/* Integers of any types, compared by value: -1 is below 0u. */
#define CHECK_EQ(a, b) VTEST_CMP_(a, ==, b)
#define CHECK_NE(a, b) VTEST_CMP_(a, !=, b)
#define CHECK_LT(a, b) VTEST_CMP_(a, <, b)
#define CHECK_LE(a, b) VTEST_CMP_(a, <=, b)
#define CHECK_GT(a, b) VTEST_CMP_(a, >, b)
#define CHECK_GE(a, b) VTEST_CMP_(a, >=, b)

#define CHECK_STREQ(a, b)						\
	vtest_check_str(__FILE__, __LINE__, #a, (a), #b, (b))

#define CHECK_MEMEQ(a, b, len)						\
	vtest_check_mem(__FILE__, __LINE__, #a, (a), #b, (b), (len))

void vtest_register(struct vtest_case *c);
void vtest_skip(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
void vtest_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * From now on @tell is called where a check fails, on the thread where it
 * does: to print what else is known, for example what a daemon said.
 */
void vtest_witness(void (*tell)(void));
/* Prints a diagnostic line, "# ..." in the protocol. */
void vtest_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vtest_check_str(const char *file, int line, const char *a_text,
		     const char *a, const char *b_text, const char *b);
void vtest_check_mem(const char *file, int line, const char *a_text,
		     const void *a, const char *b_text, const void *b,
		     size_t len);
void vtest_cmp_failed(const char *file, int line, const char *text,
		      struct vtest_num a, struct vtest_num b);
/* Three-way: below 0, 0, above 0. */
int vtest_cmp(struct vtest_num a, struct vtest_num b);

/*
 * The seed of the running case: the number in the environment variable
 * VTEST_SEED, else one derived from the case's name. A failure prints it.
 */
uint64_t vtest_seed(void);
struct vtest_rand vtest_rand_init(uint64_t seed);
uint64_t vtest_u64(struct vtest_rand *r);
/* Uniform in [0, n); n must not be 0. */
uint64_t vtest_below(struct vtest_rand *r, uint64_t n);
/* The same bytes, whether all at once or in pieces. */
void vtest_fill(struct vtest_rand *r, void *buf, size_t len);
/* Others, and eight times as fast. */
void vtest_fill_much(struct vtest_rand *r, void *buf, size_t len);
/*
 * How many of @n random rounds to go: all, or one in VTEST_LESS of the
 * environment, where a build is slow and others go them all.
 */
unsigned vtest_rounds(unsigned n);

/* What follows serves the macros above. */

#define VTEST_CASE_(name, clauses, n) VTEST_CASE2_(name, clauses, n)
#define VTEST_CASE2_(name_, clauses_, n)				\
	static void vtest_body_##n(void);				\
	static void __attribute__((constructor)) vtest_ctor_##n(void)	\
	{								\
		static struct vtest_case c = {				\
			name_, clauses_, __FILE__, __LINE__,		\
			vtest_body_##n, NULL				\
		};							\
		vtest_register(&c);					\
	}								\
	static void vtest_body_##n(void)

static inline struct vtest_num vtest_num_s_(long long v)
{
	return (struct vtest_num){ (unsigned long long)v, v < 0 };
}

static inline struct vtest_num vtest_num_u_(unsigned long long v)
{
	return (struct vtest_num){ v, false };
}

/* v is promoted already (see VTEST_CMP_), so three signed types remain. */
#define VTEST_NUM_(v)							\
	_Generic((v), int: vtest_num_s_, long: vtest_num_s_,		\
		 long long: vtest_num_s_, default: vtest_num_u_)(v)

/* "+ 0" promotes, so that bit-fields and small types take part. */
#define VTEST_CMP_(a, op, b)						\
	do {								\
		__auto_type vtest_x_ = (a) + 0;				\
		__auto_type vtest_y_ = (b) + 0;				\
		struct vtest_num vtest_a_ = VTEST_NUM_(vtest_x_);	\
		struct vtest_num vtest_b_ = VTEST_NUM_(vtest_y_);	\
									\
		if (!(vtest_cmp(vtest_a_, vtest_b_) op 0))		\
			vtest_cmp_failed(__FILE__, __LINE__,		\
					 #a " " #op " " #b,		\
					 vtest_a_, vtest_b_);		\
	} while (0)

#endif
