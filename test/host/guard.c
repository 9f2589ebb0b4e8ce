/* SPDX-License-Identifier: MIT */
/* Memory whose file is truncated under us, touched by several threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/guard.h"
#include "vtest.h"

enum { LEN = 1 << 20 };

static unsigned char *map_file(int *fd)
{
	unsigned char *p;

	*fd = memfd_create("guard", MFD_CLOEXEC);
	CHECK_GE(*fd, 0);
	CHECK_EQ(ftruncate(*fd, LEN), 0);
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 7, LEN);
	return p;
}

static void *touch(void *arg)
{
	volatile unsigned char *p = arg;
	unsigned sum = 0, i;

	for (i = 0; i < LEN; i += 4096) {
		sum += p[i];
		p[i] = 1;
	}
	return (void *)(uintptr_t)sum;
}

TEST("a truncated file is replaced by zeroes and reported", "")
{
	atomic_bool lost = false, other_lost = false;
	int fd, other, ev = eventfd(0, EFD_NONBLOCK), i;
	unsigned char *p, *q;
	pthread_t t[4];
	uint64_t n;

	CHECK_EQ(guard_init(), 0);
	p = map_file(&fd);
	q = map_file(&other);
	CHECK_EQ(guard_add(p, LEN, &lost, ev), 0);
	CHECK_EQ(guard_add(q, LEN, &other_lost, ev), 0);
	CHECK_EQ(ftruncate(fd, 0), 0);
	for (i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, touch, p), 0);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK(atomic_load(&lost));
	CHECK_EQ(read(ev, &n, sizeof(n)), 8);
	/* The neighbour is untouched. */
	CHECK(!atomic_load(&other_lost));
	CHECK_EQ((uintptr_t)touch(q), LEN / 4096 * 7);
	guard_del(p);
	guard_del(q);
	munmap(p, LEN);
	munmap(q, LEN);
	close(fd);
	close(other);
	close(ev);
}

TEST("a fault outside all regions still kills", "")
{
	unsigned char *p;
	int fd, status;
	pid_t pid = fork();

	CHECK_GE(pid, 0);
	if (!pid) {
		/* A sanitizer's handler would turn the signal into a report. */
		signal(SIGBUS, SIG_DFL);
		if (guard_init())
			_exit(1);
		p = map_file(&fd);
		if (ftruncate(fd, 0))
			_exit(1);
		touch(p);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGBUS);
}

TEST("regions can be taken up to the limit and given back", "")
{
	static atomic_bool lost;
	static char base[GUARD_REGIONS + 1];
	unsigned i;

	for (i = 0; i < GUARD_REGIONS; i++)
		CHECK_EQ(guard_add(&base[i], 1, &lost, -1), 0);
	CHECK_LT(guard_add(&base[i], 1, &lost, -1), 0);
	for (i = 0; i < GUARD_REGIONS; i++)
		guard_del(&base[i]);
	CHECK_EQ(guard_add(&base[0], 1, &lost, -1), 0);
	guard_del(&base[0]);
}
