/* SPDX-License-Identifier: MIT */
/*
 * What vireo-tap knows of I/O addresses, against a model of one entry a byte;
 * and messages that make no sense.
 */
#include "cmd/tap/tap.h"
#include "vtest.h"

#define SPACE	96u
#define BASE	0x1000u
#define USER	0x100000u

static struct tap t;
static struct { bool known; uint64_t user; } model[SPACE];
static unsigned found_anew;

/* The address itself, as a pointer: nothing is read here. */
const void *memory_at_user(const struct tap *tap, uint64_t addr, uint64_t len)
{
	(void)tap;
	(void)len;
	return (const void *)(uintptr_t)addr;
}

void rings_again(struct tap *tap)
{
	(void)tap;
	found_anew++;
}

/* One ring: the first 8 bytes. */
bool rings_lie_in(const struct tap *tap, uint64_t first, uint64_t last)
{
	(void)tap;
	return first < BASE + 8 && last >= BASE;
}

static void say(uint8_t type, uint64_t iova, uint64_t size, uint64_t user)
{
	struct vhu_msg m = {
		.hdr = { VHOST_USER_IOTLB_MSG, VHU_VERSION,
			 sizeof(m.p.iotlb) },
		.p.iotlb = { .iova = iova, .size = size, .user_addr = user,
			     .perm = 3, .type = type },
	};

	iotlb_message(&t, &m);
}

static void check_all(void)
{
	for (unsigned at = 0; at < SPACE; at++) {
		uint64_t n = 0;

		while (at + n < SPACE && model[at + n].known &&
		       model[at + n].user == model[at].user + n)
			n++;
		CHECK_EQ(iotlb_at(&t, BASE + at, n + 1) == NULL, 1);
		if (n)
			CHECK_EQ((uintptr_t)iotlb_at(&t, BASE + at, n),
				 model[at].user);
	}
}

TEST("tap: what I/O addresses mean, told and taken back in any order", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = (unsigned)vtest_below(&rnd, SPACE);
		unsigned n = 1 + (unsigned)vtest_below(&rnd, SPACE - at);
		bool known = vtest_below(&rnd, 3);
		/* Neighbours often go on where they do in memory, too. */
		uint64_t user = USER + at + SPACE * vtest_below(&rnd, 3);

		n = known ? 1 + n % 8 : n;
		n = n > SPACE - at ? SPACE - at : n;
		say(known ? VHU_IOTLB_UPDATE : VHU_IOTLB_INVALIDATE, BASE + at,
		    n, user);
		for (unsigned b = at; b < at + n; b++) {
			model[b].known = known;
			model[b].user = user + (b - at);
		}
		check_all();
	}
	CHECK_GT(found_anew, 100);
	/* All there is. */
	say(VHU_IOTLB_INVALIDATE, 0, UINT64_MAX, 0);
	CHECK_EQ(t.nr_tlb, 0);
	iotlb_drop(&t);
}

TEST("tap: no more is kept than there is room for, but what rings need", "")
{
	say(VHU_IOTLB_UPDATE, BASE, 8, USER);
	for (uint64_t i = 1; i < 200000; i++)
		say(VHU_IOTLB_UPDATE, BASE + 16 * i, 8, USER + 64 * i);
	CHECK_LE(t.nr_tlb, 32768);
	CHECK_EQ((uintptr_t)iotlb_at(&t, BASE, 8), USER);
	CHECK_EQ((uintptr_t)iotlb_at(&t, BASE + 16 * 199999ull, 8),
		 USER + 64 * 199999ull);
	iotlb_drop(&t);
	CHECK_EQ(iotlb_at(&t, BASE, 8) == NULL, 1);
}

TEST("tap: addresses that make no sense are not believed", "")
{
	say(VHU_IOTLB_UPDATE, UINT64_MAX - 3, 8, USER);
	say(VHU_IOTLB_UPDATE, BASE, 0, USER);
	say(VHU_IOTLB_MISS, BASE, 8, USER);
	say(0xff, BASE, 8, USER);
	CHECK_EQ(t.nr_tlb, 0);
	say(VHU_IOTLB_UPDATE, UINT64_MAX - 7, 8, USER);
	say(VHU_IOTLB_UPDATE, 0, 8, USER + 8);
	CHECK_EQ((uintptr_t)iotlb_at(&t, UINT64_MAX, 1), USER + 7);
	CHECK_EQ(iotlb_at(&t, UINT64_MAX, 2) == NULL, 1);
	say(VHU_IOTLB_INVALIDATE, UINT64_MAX - 1, 100, 0);
	CHECK_EQ(iotlb_at(&t, UINT64_MAX, 1) == NULL, 1);
	CHECK_EQ((uintptr_t)iotlb_at(&t, UINT64_MAX - 7, 6), USER);
	iotlb_drop(&t);
}
