/* SPDX-License-Identifier: MIT */
/*
 * explore.c - see explore.h. Depth-first search over snapshots: of the
 * model's state, both stacks, both store buffers. All that settles what comes
 * next is in them and in the registers that a switch of contexts keeps; a
 * state is told by a hash of these.
 */
#define _GNU_SOURCE
#include "test/model/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK		(16 * 1024)
#define BUFFER		16	/* stores waiting, more than any code makes */
#define STATES_MAX	(1u << 20)

struct store {
	void *at;
	uint32_t v;
	uint8_t len;
};

struct thread {
	ucontext_t ctx;
	struct store buf[BUFFER];
	unsigned nr;		/* stores waiting, the oldest first */
	bool event, asleep, ended;
	bool draining;		/* at a barrier, until nr is 0 */
};

static struct {
	const struct model *m;
	const char *skip;
	struct thread t[THREADS];
	int current;
	const char *wrong;
} x;

static ucontext_t explorer;
static char stack[THREADS][STACK] __attribute__((aligned(64)));
struct sites explore_sites;

/* -- states seen --------------------------------------------------------- */

static uint64_t *table;
static unsigned long nr_seen;

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	h ^= h >> 29;
	return h * 0xbf58476d1ce4e5b9u;
}

/* @len is a multiple of 8. */
static uint64_t mix_words(uint64_t h, const void *p, size_t len)
{
	const unsigned char *b = p;
	uint64_t w;

	for (size_t i = 0; i < len; i += sizeof(w)) {
		memcpy(&w, b + i, sizeof(w));
		h = mix(h, w);
	}
	return h;
}

/* Where a thread is: its stack in use, and the registers it will go on with. */
static uint64_t thread_hash(uint64_t h, int i)
{
	static const int kept[] = { REG_RIP, REG_RSP, REG_RBX, REG_RBP,
				    REG_R12, REG_R13, REG_R14, REG_R15 };
	const greg_t *reg = x.t[i].ctx.uc_mcontext.gregs;
	const char *sp = (const char *)(uintptr_t)reg[REG_RSP];

	for (unsigned k = 0; k < sizeof(kept) / sizeof(kept[0]); k++)
		h = mix(h, (uint64_t)reg[kept[k]]);
	return mix_words(h, sp, (size_t)(stack[i] + STACK - sp));
}

static uint64_t state_hash(void)
{
	uint64_t h;

	x.m->settle();
	h = mix_words(1, x.m->state, x.m->state_len);
	for (int i = 0; i < THREADS; i++) {
		const struct thread *t = &x.t[i];

		h = thread_hash(h, i);
		h = mix(h, t->event | t->asleep << 1 | t->ended << 2 |
			t->draining << 3);
		for (unsigned k = 0; k < t->nr; k++) {
			h = mix(h, (uintptr_t)t->buf[k].at);
			h = mix(h, t->buf[k].v);
		}
	}
	return h ? h : 1;
}

/* True if @h is new. */
static bool remember(uint64_t h)
{
	size_t i = h & (2 * STATES_MAX - 1);

	while (table[i]) {
		if (table[i] == h)
			return false;
		i = (i + 1) & (2 * STATES_MAX - 1);
	}
	table[i] = h;
	nr_seen++;
	return true;
}

/* -- threads ------------------------------------------------------------- */

/* Let the explorer choose who goes on. */
static void stop(void)
{
	swapcontext(&x.t[x.current].ctx, &explorer);
}

static struct thread *self(void)
{
	return &x.t[x.current];
}

/* The model's init runs before the threads: straight on memory. */
static bool starting;

/* What a thread loads, it sees through its own store buffer. */
static void load(void *dst, const void *src, size_t len)
{
	const struct thread *t = self();
	unsigned char *to = dst;

	memcpy(dst, src, len);
	for (unsigned i = 0; i < t->nr; i++) {
		const struct store *s = &t->buf[i];

		for (unsigned b = 0; b < s->len; b++) {
			const char *at = (const char *)s->at + b;

			if (at >= (const char *)src &&
			    at < (const char *)src + len)
				to[at - (const char *)src] =
					((const unsigned char *)&s->v)[b];
		}
	}
}

uint16_t vio_explore_load16(const uint16_t *p);
void vio_explore_store(void *p, uint32_t v, unsigned len);
void vio_explore_store64(uint64_t *p, uint64_t v);
void vio_explore_copy(void *dst, const void *src, size_t len);
void vio_explore_mb(const char *file, int line, bool device);

uint16_t vio_explore_load16(const uint16_t *p)
{
	uint16_t v;

	if (starting)
		return *p;
	stop();
	load(&v, p, sizeof(v));
	return v;
}

void vio_explore_copy(void *dst, const void *src, size_t len)
{
	if (starting) {
		memcpy(dst, src, len);
		return;
	}
	stop();
	load(dst, src, len);
}

/* Of the record of requests in flight, which no model here has. */
void vio_explore_store64(uint64_t *p, uint64_t v)
{
	(void)p;
	(void)v;
	explore_wrong("a store that cannot be");
}

void vio_explore_store(void *p, uint32_t v, unsigned len)
{
	struct thread *t = self();

	if (starting) {
		memcpy(p, &v, len);
		return;
	}
	/* A store only enters the buffer; when it leaves is a choice. */
	if (t->nr == BUFFER) {
		explore_wrong("the store buffer of the model is too small");
		return;
	}
	t->buf[t->nr++] = (struct store){ p, v, (uint8_t)len };
}

static void drain(void)
{
	self()->draining = true;
	while (self()->nr)
		stop();
	self()->draining = false;
}

static void note_site(const char *site)
{
	for (unsigned i = 0; i < explore_sites.nr; i++)
		if (!strcmp(explore_sites.at[i], site))
			return;
	if (explore_sites.nr < SITES_MAX)
		strcpy(explore_sites.at[explore_sites.nr++], site);
}

void vio_explore_mb(const char *file, int line, bool device)
{
	const char *base = strrchr(file, '/');
	char site[64];

	if (starting)
		return;
	snprintf(site, sizeof(site), "%.40s:%d", base ? base + 1 : file, line);
	note_site(site);
	if (x.skip && !strcmp(x.skip, site))
		return;
	if (x.m->dma && !device)
		return;
	drain();
}

void explore_sleep(void)
{
	struct thread *t = self();

	t->asleep = true;
	while (!t->event)
		stop();
	t->asleep = false;
	t->event = false;
}

void explore_wake(int thread)
{
	drain();
	stop();
	x.t[thread].event = true;
}

void explore_wrong(const char *what)
{
	x.wrong = what;
	stop();
}

static void run_thread(int i)
{
	x.m->thread[i]();
	x.t[i].ended = true;
	for (;;)
		stop();
}

/* -- search -------------------------------------------------------------- */

/* Threads come first, then the flushes. */
static bool possible(int choice)
{
	const struct thread *t = &x.t[choice % THREADS];

	if (choice >= THREADS)
		return t->nr != 0;
	return !t->ended && !(t->asleep && !t->event) &&
	       !(t->draining && t->nr);
}

static void take_choice(int choice)
{
	struct thread *t = &x.t[choice % THREADS];

	if (choice < THREADS) {
		x.current = choice;
		swapcontext(&explorer, &t->ctx);
		return;
	}
	memcpy(t->buf[0].at, &t->buf[0].v, t->buf[0].len);
	memmove(&t->buf[0], &t->buf[1], --t->nr * sizeof(t->buf[0]));
}

struct snapshot {
	unsigned char *bytes;
	int next;		/* the choice to try next */
};

static struct { void *at; size_t len; } part[THREADS + 2];

static size_t snapshot_len(void)
{
	size_t len = 0;

	for (unsigned i = 0; i < THREADS + 2; i++)
		len += part[i].len;
	return len;
}

static void save(unsigned char *to)
{
	for (unsigned i = 0; i < THREADS + 2; i++) {
		memcpy(to, part[i].at, part[i].len);
		to += part[i].len;
	}
}

static void restore(const unsigned char *from)
{
	for (unsigned i = 0; i < THREADS + 2; i++) {
		memcpy(part[i].at, from, part[i].len);
		from += part[i].len;
	}
}

static void start(const struct model *m, const char *skip)
{
	memset(&x, 0, sizeof(x));
	x.m = m;
	x.skip = skip;
	starting = true;
	m->init();
	starting = false;
	for (int i = 0; i < THREADS; i++) {
		getcontext(&x.t[i].ctx);
		x.t[i].ctx.uc_stack.ss_sp = stack[i];
		x.t[i].ctx.uc_stack.ss_size = STACK;
		makecontext(&x.t[i].ctx, (void (*)(void))run_thread, 1, i);
		part[i].at = stack[i];
		part[i].len = STACK;
	}
	part[THREADS].at = &x;
	part[THREADS].len = sizeof(x);
	part[THREADS + 1].at = m->state;
	part[THREADS + 1].len = m->state_len;
}

/* Make room for another snapshot on the path, and take it. */
static bool push(struct snapshot **path, size_t *depth, size_t *room)
{
	struct snapshot *s;

	if (*depth == *room) {
		size_t more = *room ? 2 * *room : 256;
		void *p = realloc(*path, more * sizeof(**path));

		if (!p)
			return false;
		*path = p;
		memset(*path + *room, 0, (more - *room) * sizeof(**path));
		*room = more;
	}
	s = &(*path)[*depth];
	if (!s->bytes)
		s->bytes = malloc(snapshot_len());
	if (!s->bytes)
		return false;
	save(s->bytes);
	s->next = 0;
	++*depth;
	return true;
}

/* The next choice of the state on top of the path; false if none is left. */
static bool advance(struct snapshot *s)
{
	restore(s->bytes);
	while (s->next < 2 * THREADS && !possible(s->next))
		s->next++;
	if (s->next == 2 * THREADS)
		return false;
	take_choice(s->next++);
	return true;
}

static bool stuck(void)
{
	for (int i = 0; i < 2 * THREADS; i++)
		if (possible(i))
			return false;
	return true;
}

struct verdict explore(const struct model *m, const char *skip_barrier)
{
	struct verdict v = { NULL, 0, 0, true };
	struct snapshot *path = NULL;
	size_t depth = 0, room = 0;

	table = calloc(2 * STATES_MAX, sizeof(*table));
	nr_seen = 0;
	start(m, skip_barrier);
	if (!table || !push(&path, &depth, &room))
		v.wrong = "out of memory";
	while (depth && !v.wrong) {
		if (!advance(&path[depth - 1])) {
			depth--;
			continue;
		}
		if (x.wrong) {
			v.wrong = x.wrong;
		} else if (!remember(state_hash())) {
			continue;
		} else if (nr_seen >= STATES_MAX) {
			v.complete = false;
			break;
		} else if (stuck()) {
			v.ends++;
			v.wrong = m->check_end();
		} else if (!push(&path, &depth, &room)) {
			v.wrong = "out of memory";
		}
	}
	v.states = nr_seen;
	for (size_t i = 0; i < room; i++)
		free(path[i].bytes);
	free(path);
	free(table);
	return v;
}
