/* SPDX-License-Identifier: MIT */
/* So much a second, by a clock that a test turns. */
#include "host/bucket.h"

#include "vtest.h"

/* Take @cost whenever it has something, for @ns; how much was taken. */
static uint64_t run(struct bucket *b, uint64_t *now, uint64_t ns,
		    uint64_t step_ns, uint64_t cost)
{
	uint64_t end = *now + ns, sum = 0;

	for (; *now < end; *now += step_ns)
		while (!bucket_wait(b, *now)) {
			bucket_take(b, *now, cost);
			sum += cost;
		}
	return sum;
}

TEST("bucket: the rate holds, whatever is taken at a time and how seldom", "")
{
	static const struct { uint64_t rate, cost, step_ns; } t[] = {
		{ 1000, 1, 100000 }, { 99991, 1, 1000000 },
		{ 3, 1, 1000000 }, { 1000000, 65553, 7777777 },
		{ 999999937, 1514, 1000000 },
		{ 12345678901ull, 65553, 1000000 },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t now = 5 * NS_PER_S, want = 10 * t[i].rate, sum;
		struct bucket b;

		bucket_set(&b, t[i].rate, 50 * NS_PER_MS, now);
		sum = run(&b, &now, 10 * NS_PER_S, t[i].step_ns, t[i].cost);
		vtest_note("%llu of %llu", (unsigned long long)sum,
			   (unsigned long long)want);
		CHECK_LE(sum, want + t[i].cost);
		CHECK_GE(sum + t[i].cost + t[i].rate * t[i].step_ns /
			 NS_PER_S, want);
	}
}

TEST("bucket: after a pause a burst, and no more", "")
{
	uint64_t now = NS_PER_S;
	struct bucket b;

	bucket_set(&b, 1000, 50 * NS_PER_MS, now);
	CHECK_EQ(bucket_has(&b, now), 0);
	CHECK_EQ(bucket_has(&b, now + 10 * NS_PER_MS), 10);
	now += 3600 * NS_PER_S;
	CHECK_EQ(bucket_has(&b, now), 50);
	/* The one that empties it may go below. */
	CHECK_EQ(run(&b, &now, 1, 1, 1), 51);
	CHECK_EQ(bucket_wait(&b, now), NS_PER_MS - 1);
	/* What costs more than there is passes, and is paid for. */
	now += 10 * NS_PER_MS;
	CHECK_EQ(bucket_take(&b, now, 5000), 5 * NS_PER_S);
	CHECK_GT(bucket_wait(&b, now), 4900 * NS_PER_MS);
	CHECK_EQ(bucket_has(&b, now), 0);
}

TEST("bucket: without a limit there is always more", "")
{
	struct bucket b;

	bucket_set(&b, 0, 50 * NS_PER_MS, 1);
	CHECK_EQ(bucket_take(&b, 1, UINT64_MAX), 0);
	CHECK_EQ(bucket_wait(&b, 1), 0);
	CHECK_EQ(bucket_has(&b, 1), UINT64_MAX);
	/* Nor does the largest rate run over. */
	bucket_set(&b, UINT64_MAX, 10 * NS_PER_S, 1);
	CHECK_EQ(bucket_has(&b, 20 * NS_PER_S), UINT64_MAX);
	CHECK_EQ(bucket_take(&b, 20 * NS_PER_S, 1), 0);
}
