/* SPDX-License-Identifier: MIT */
/*
 * What I/O addresses mean, as far as the front end told the back end of it: a
 * sorted table in which neighbours are one entry. It asks for nothing; what was
 * not told is not known.
 */
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX	32768u

/* I/O addresses from first to last are user addresses from user on. */
struct tlb_entry {
	uint64_t first, last, user;
};

/* Index of the first entry that does not end before @addr. */
static unsigned find(const struct tap *t, uint64_t addr)
{
	unsigned from = 0, to = t->nr_tlb;

	while (from < to) {
		unsigned mid = from + (to - from) / 2;

		if (t->tlb[mid].last < addr)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

const void *iotlb_at(const struct tap *t, uint64_t addr, uint64_t len)
{
	unsigned i = find(t, addr);
	const struct tlb_entry *e = t->tlb + i;

	if (i == t->nr_tlb || addr < e->first || len - 1 > e->last - addr)
		return NULL;
	return memory_at_user(t, e->user + (addr - e->first), len);
}

static void remove_at(struct tap *t, unsigned i)
{
	t->nr_tlb--;
	memmove(t->tlb + i, t->tlb + i + 1,
		(t->nr_tlb - i) * sizeof(t->tlb[0]));
}

/* Only where rings lie it has to be known. */
static void make_room(struct tap *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->nr_tlb; i++)
		if (rings_lie_in(t, t->tlb[i].first, t->tlb[i].last))
			t->tlb[n++] = t->tlb[i];
	t->nr_tlb = n;
}

/* False: there is no room. */
static bool insert(struct tap *t, struct tlb_entry e)
{
	unsigned i;

	if (!t->tlb)
		t->tlb = calloc(ENTRIES_MAX, sizeof(t->tlb[0]));
	if (t->tlb && t->nr_tlb == ENTRIES_MAX)
		make_room(t);
	if (!t->tlb || t->nr_tlb == ENTRIES_MAX)
		return false;
	i = find(t, e.first);
	memmove(t->tlb + i + 1, t->tlb + i,
		(t->nr_tlb - i) * sizeof(t->tlb[0]));
	t->tlb[i] = e;
	t->nr_tlb++;
	return true;
}

static void forget(struct tap *t, uint64_t first, uint64_t last)
{
	unsigned i = find(t, first);

	while (i < t->nr_tlb && t->tlb[i].first <= last) {
		struct tlb_entry *e = t->tlb + i, behind = *e;

		if (e->first < first && e->last > last) {
			/* Without room what is behind is not known. */
			behind.user += last + 1 - e->first;
			behind.first = last + 1;
			e->last = first - 1;
			insert(t, behind);
			return;
		}
		if (e->first < first) {
			e->last = first - 1;
			i++;
		} else if (e->last > last) {
			e->user += last + 1 - e->first;
			e->first = last + 1;
			return;
		} else {
			remove_at(t, i);
		}
	}
}

/* With those before and behind it, if they go on where it does. */
static void join(struct tap *t, unsigned i)
{
	struct tlb_entry *a = t->tlb + i, *b = a + 1;

	if (i + 1 >= t->nr_tlb || a->last + 1 != b->first ||
	    a->user + (b->first - a->first) != b->user)
		return;
	a->last = b->last;
	remove_at(t, i + 1);
}

static void learn(struct tap *t, uint64_t first, uint64_t last, uint64_t user)
{
	unsigned i;

	forget(t, first, last);
	if (!insert(t, (struct tlb_entry){ first, last, user }))
		return;
	i = find(t, first);
	join(t, i);
	if (i)
		join(t, i - 1);
}

void iotlb_message(struct tap *t, const struct vhu_msg *msg)
{
	const struct vhu_iotlb *m = &msg->p.iotlb;
	uint64_t last = m->iova + (m->size - 1);

	if (msg->hdr.size < offsetof(struct vhu_iotlb, padding) || !m->size)
		return;
	if (m->type == VHU_IOTLB_UPDATE && last >= m->iova) {
		learn(t, m->iova, last, m->user_addr);
	} else if (m->type == VHU_IOTLB_INVALIDATE) {
		/* All of it may be more than there is. */
		last = last < m->iova ? UINT64_MAX : last;
		forget(t, m->iova, last);
	} else {
		return;
	}
	if (rings_lie_in(t, m->iova, last))
		rings_again(t);
}

void iotlb_drop(struct tap *t)
{
	free(t->tlb);
	t->tlb = NULL;
	t->nr_tlb = 0;
}
