/* SPDX-License-Identifier: MIT */
/*
 * limits - what this machine allows two threads on two processors: how long a
 * cache line takes there and back, a copy, a system call, a wake-up. One line
 * of JSON. It knows nothing of this project; it is what the other figures are
 * to be held against.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	4096u	/* bytes of a copy, at most */
#define FAR	(256u << 20)	/* bytes: more than any cache */
#define NEAR	(128u << 10)	/* bytes: fits the second level */

static struct {
	_Alignas(64) atomic_uint ball;
	_Alignas(64) atomic_bool stop;
	int there, back;	/* eventfds */
	int core;
} shared;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0) {
		perror("limits: sched_setaffinity");
		exit(1);
	}
}

/* Odd is ours: answer with the next even number. */
static void *return_ball(void *arg)
{
	(void)arg;
	pin(shared.core);
	while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
		unsigned v = atomic_load_explicit(&shared.ball,
						  memory_order_acquire);

		if (v & 1)
			atomic_store_explicit(&shared.ball, v + 1,
					      memory_order_release);
	}
	return NULL;
}

static double line_ns(void)
{
	const unsigned rounds = 200000;
	pthread_t other;
	uint64_t from;
	unsigned i;

	atomic_store(&shared.stop, false);
	if (pthread_create(&other, NULL, return_ball, NULL))
		return 0;
	usleep(1000);
	from = now_ns();
	for (i = 0; i < rounds; i++) {
		atomic_store_explicit(&shared.ball, 2 * i + 1,
				      memory_order_release);
		while (atomic_load_explicit(&shared.ball,
					    memory_order_acquire) != 2 * i + 2)
			;
	}
	from = now_ns() - from;
	atomic_store(&shared.stop, true);
	pthread_join(other, NULL);
	return (double)from / rounds;
}

static void *echo_event(void *arg)
{
	uint64_t n;

	(void)arg;
	pin(shared.core);
	while (read(shared.there, &n, sizeof(n)) == sizeof(n) && n == 1)
		if (write(shared.back, &n, sizeof(n)) < 0)
			break;
	return NULL;
}

static double wake_ns(void)
{
	const unsigned rounds = 3000;
	uint64_t n = 1, from;
	pthread_t other;
	unsigned i;

	shared.there = eventfd(0, EFD_CLOEXEC);
	shared.back = eventfd(0, EFD_CLOEXEC);
	if (shared.there < 0 || shared.back < 0 ||
	    pthread_create(&other, NULL, echo_event, NULL))
		return 0;
	from = now_ns();
	for (i = 0; i < rounds; i++) {
		n = 1;
		if (write(shared.there, &n, sizeof(n)) < 0 ||
		    read(shared.back, &n, sizeof(n)) < 0)
			break;
	}
	from = now_ns() - from;
	n = 2;	/* ends the other */
	if (write(shared.there, &n, sizeof(n)) == sizeof(n))
		pthread_join(other, NULL);
	close(shared.there);
	close(shared.back);
	return i ? (double)from / i : 0;
}

/* Copies of a block from random places of a memory of @size bytes. */
static double copy_ns(unsigned char *memory, size_t size, size_t block)
{
	static unsigned char to[BLOCK];
	const unsigned rounds = 200000;
	const uint64_t mask = size / block - 1;	/* powers of two */
	uint64_t rand = 88172645463325252u, from;
	unsigned i;

	for (i = 0; i < size; i += BLOCK)
		memory[i] = 1;
	from = now_ns();
	for (i = 0; i < rounds; i++) {
		rand ^= rand << 13;
		rand ^= rand >> 7;
		rand ^= rand << 17;
		memcpy(to, memory + (rand & mask) * block, block);
		__asm__ volatile("" : : "r"(to) : "memory");
	}
	return (double)(now_ns() - from) / rounds;
}

static double call_ns(void)
{
	const unsigned rounds = 500000;
	uint64_t from = now_ns();
	unsigned i;

	for (i = 0; i < rounds; i++)
		syscall(SYS_getppid);
	return (double)(now_ns() - from) / rounds;
}

int main(int argc, char **argv)
{
	unsigned char *memory;

	if (argc != 3) {
		fprintf(stderr, "usage: limits CORE OTHER-CORE\n");
		return 2;
	}
	pin(atoi(argv[1]));
	shared.core = atoi(argv[2]);
	memory = malloc(FAR);
	if (!memory) {
		perror("limits");
		return 1;
	}
	printf("{\"line_there_and_back_ns\": %.1f, ", line_ns());
	printf("\"copy_64_ns\": %.2f, ", copy_ns(memory, NEAR, 64));
	printf("\"copy_4k_near_ns\": %.1f, ", copy_ns(memory, NEAR, BLOCK));
	printf("\"copy_4k_far_ns\": %.1f, ", copy_ns(memory, FAR, BLOCK));
	printf("\"system_call_ns\": %.1f, ", call_ns());
	printf("\"wake_there_and_back_ns\": %.1f}\n", wake_ns());
	free(memory);
	return 0;
}
