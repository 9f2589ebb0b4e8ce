/* SPDX-License-Identifier: MIT */
/*
 * The harness tests itself: above all that a check which does not hold makes
 * the program fail, since every other test stands on that.
 */
#include "vtest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Cases that must fail: they stand in this program, but do their work only
 * in a child that the case "failing checks fail" starts.
 */
static bool is_child(void)
{
	return getenv("VTEST_HARNESS_CHILD") != NULL;
}

int main(int argc, char **argv);

/*
 * Runs one case of this program by itself; gives its exit code. By main()
 * and not by exec(), which under a machine emulator is another thing.
 */
static int run_child(char *name, char *out, size_t size)
{
	char *argv[] = { "child", name, NULL };
	int fds[2], status;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	CHECK_EQ(pipe(fds), 0);
	pid = fork();
	CHECK_GE(pid, 0);
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		setenv("VTEST_HARNESS_CHILD", "1", 1);
		_exit(main(2, argv));
	}
	close(fds[1]);
	while (len < size - 1) {
		got = read(fds[0], out + len, size - 1 - len);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	out[len] = '\0';
	close(fds[0]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST("child: check", "")
{
	CHECK(!is_child());
}

TEST("child: numbers", "")
{
	int minus_one = -1;

	CHECK_EQ(is_child() ? minus_one : 0, 0u);
}

TEST("child: strings", "")
{
	CHECK_STREQ(is_child() ? "one" : "two", "two");
}

TEST("child: bytes", "")
{
	CHECK_MEMEQ(is_child() ? "abXd" : "abcd", "abcd", 4);
}

TEST("child: skip", "")
{
	if (is_child())
		SKIP("for %s", "a reason");
}

static void *fail_elsewhere(void *arg)
{
	CHECK(!is_child());
	return arg;
}

TEST("child: thread", "")
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, fail_elsewhere, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
}

TEST("failing checks fail", "")
{
	static char *const cases[][2] = {
		{ "child: check", "CHECK(!is_child())" },
		{ "child: numbers", "left is -1, right is 0" },
		{ "child: strings", "is \"one\"" },
		{ "child: bytes", "differ at byte 2 of 4: 58, 63" },
		{ "child: thread", "CHECK(!is_child())" },
	};
	char out[2048];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(run_child(cases[i][0], out, sizeof(out)), 1);
		CHECK(strstr(out, "not ok 1 - child"));
		CHECK(strstr(out, cases[i][1]));
	}
}

TEST("a skip passes and says why", "")
{
	char out[2048];

	CHECK_EQ(run_child("child: skip", out, sizeof(out)), 0);
	CHECK(strstr(out, "ok 1 - child: skip # SKIP for a reason\n"));
}

TEST("a name that no case has is an error", "")
{
	char out[2048];

	CHECK_EQ(run_child("no such " "name", out, sizeof(out)), 1);
}

TEST("numbers compare by value, not by representation", "")
{
	struct { unsigned int bits : 3; } s = { 5 };

	CHECK_LT(-1, 0u);
	CHECK_GT(0u, -1);
	CHECK_NE(-1, UINT64_MAX);
	CHECK_LT(INT64_MIN, INT64_MIN + 1);
	CHECK_GE(UINT64_MAX, INT64_MAX);
	CHECK_LE((unsigned char)255, 255);
	CHECK_EQ(s.bits, 5);
	CHECK_EQ(true, 1);
}

TEST("random numbers follow the seed", "")
{
	struct vtest_rand a = vtest_rand_init(7), b = vtest_rand_init(7);
	unsigned int seen = 0;
	int i;

	for (i = 0; i < 100; i++)
		CHECK_EQ(vtest_u64(&a), vtest_u64(&b));
	for (i = 0; i < 1000; i++) {
		uint64_t v = vtest_below(&a, 8);

		CHECK_LT(v, 8);
		seen |= 1u << v;
	}
	CHECK_EQ(seen, 0xff);
}
