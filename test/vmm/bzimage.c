/* SPDX-License-Identifier: MIT */
/* Kernel images: good ones, and what people give instead. */
#include "vmm/bzimage.h"

#include "test/vmm/guest.h"
#include "vtest.h"

static unsigned char head[BZIMAGE_HEAD];
static struct bzimage b;

enum { SIZE = 100000 };

static void put(unsigned off, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		head[off + i] = (unsigned char)(v >> 8 * i);
}

static void good(void)
{
	memcpy(head, guest_image, sizeof(head));
}

static const char *parse(uint64_t size)
{
	return bzimage_parse(&b, head, size);
}

static void refused(const char *why, const char *word)
{
	if (!why || !strstr(why, word))
		FAIL("'%s' does not say '%s'", why ? why : "taken", word);
}

TEST("a kernel's header says where it wants to lie", "")
{
	good();
	CHECK(!parse(SIZE));
	CHECK_EQ(b.code_off, 1024);
	CHECK_EQ(b.code_len, SIZE - 1024);
	CHECK_EQ(b.load, 0x200000);
	CHECK_EQ(b.room, 0x100000);
	CHECK_EQ(b.entry, 0x200200);
	CHECK_EQ(b.initrd_max, 0x7fffffff);
	CHECK_EQ(b.cmdline_max, 255);
	CHECK_EQ(b.hdr_len, 0x268 - BZIMAGE_HDR);
	put(0x1f1, 0, 1);	/* an old loader's 0 means 4 */
	CHECK(!parse(SIZE));
	CHECK_EQ(b.code_off, 5 * 512);
	put(0x201, 0xff, 1);	/* a header longer than there is room for */
	CHECK(!parse(SIZE));
	CHECK_EQ(b.hdr_len, BZIMAGE_HDR_MAX);
}

TEST("what is no kernel for this machine is named", "")
{
	good();
	refused(parse(BZIMAGE_HEAD - 1), "too short");
	refused(parse(BZIMAGE_HEAD), "cut short");
	refused(parse(1024 + 0x200), "cut short");
	CHECK(!parse(1024 + 0x201));
	memset(head, 0, sizeof(head));
	refused(parse(SIZE), "no bzImage");
	memcpy(head, "\177ELF", 4);
	refused(parse(SIZE), "ELF");
	memcpy(head, "\x1f\x8b", 2);
	refused(parse(SIZE), "gzip");
	good();
	put(0x206, 0x20b, 2);
	refused(parse(SIZE), "64-bit");
	good();
	put(0x236, 0, 2);
	refused(parse(SIZE), "64-bit");
	good();
	put(0x211, 0, 1);
	refused(parse(SIZE), "zImage");
}

TEST("a header's addresses and sizes are not believed", "")
{
	static const uint64_t bad[] = {
		0, 0x100000 - 1, 0x200001, 0xc0000000, 0xbff00000 + 0x200000,
		UINT64_MAX, UINT64_MAX & ~0x1fffffull, 1ull << 32,
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		good();
		put(0x258, bad[i], 8);
		refused(parse(SIZE), "damaged");
	}
	good();
	put(0x260, 0xffffffff, 4);
	refused(parse(SIZE), "damaged");
	good();
	refused(parse(0x100000 + 1025), "damaged");
	CHECK(!parse(0x100000 + 1024));
	refused(parse(UINT64_MAX), "damaged");
}
