/* SPDX-License-Identifier: MIT */
/*
 * explore.h - an exhaustive explorer of two threads over the real ring code.
 *
 * The driver and the device of one small ring run as coroutines that stop
 * before every access to shared memory. Between two stops the explorer tries
 * every continuation: either thread goes on, or the oldest store in either
 * thread's store buffer reaches memory. That is the memory model of x86
 * (total store order); a full barrier waits until the thread's own buffer is
 * empty. States seen before are not explored again.
 *
 * It knows nothing of rings: struct model says what the threads do.
 */
#ifndef TEST_MODEL_EXPLORE_H
#define TEST_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DRIVER, DEVICE, THREADS };

struct model {
	/* Everything that the threads can change, apart from their stacks;
	 * a multiple of 8 bytes. */
	void *state;
	size_t state_len;
	void (*init)(void);
	/* Clear what has no influence on what comes, such as counters. */
	void (*settle)(void);
	void (*thread[THREADS])(void);
	/*
	 * The other side is no processor: barriers among processors do
	 * nothing, only those that order devices do.
	 */
	bool dma;
	/* All threads have ended or sleep for ever: is that as it should be?
	 * Returns NULL, or what is wrong. */
	const char *(*check_end)(void);
};

struct verdict {
	const char *wrong;	/* NULL: nothing was found */
	unsigned long states, ends;
	bool complete;		/* every state was explored */
};

/*
 * @skip_barrier: file:line of a barrier that shall do nothing, or NULL.
 */
struct verdict explore(const struct model *m, const char *skip_barrier);

/* The places of full barriers that were reached since the last clearing. */
#define SITES_MAX	32
struct sites {
	char at[SITES_MAX][64];
	unsigned nr;
};
extern struct sites explore_sites;

/* -- for the threads ----------------------------------------------------- */

/* Sleep until the thread's event is set; clears it. */
void explore_sleep(void);
/* Set a thread's event: an eventfd's write, and as strong as a barrier. */
void explore_wake(int thread);
/* Something is wrong: the path ends here. */
void explore_wrong(const char *what);

#endif
