/* SPDX-License-Identifier: MIT */
/*
 * dma.c - hooks for buffers outside of the window: when they are called, with
 * what, and what the ring then says; and the bounce pool by itself.
 */
#include <vireo/dma.h>
#include <vireo/driver.h>
#include <vireo/spec/packed.h>
#include "vtest.h"

#define SIZE	8u
#define BASE	0x100000ull	/* guest address of the window */
/* Where the hooks put buffers: out of 32 bits where there are more. */
#define FAR	(UINTPTR_MAX > UINT32_MAX ? 0x500000000ull : 0x50000000ull)
#define CALLS	64

static unsigned char window[16384] __attribute__((aligned(4096)));
static unsigned char priv[65536] __attribute__((aligned(64)));
static unsigned char far_away[4096] __attribute__((aligned(64)));
static struct vio_vq vq;

enum what { SHARE, UNSHARE, CLEAN, INVALIDATE };

static struct call {
	enum what what;
	size_t off, len, used;
	bool from_device;
} call[CALLS];
static unsigned nr_calls, fail_at;
static int lent;

static void note(enum what what, const void *p, size_t len, bool from_device,
		 size_t used)
{
	CHECK_LT(nr_calls, CALLS);
	call[nr_calls++] = (struct call){ what,
		(size_t)((const unsigned char *)p - far_away), len, used,
		from_device };
}

static int share(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
		 vio_addr *addr)
{
	CHECK(ctx == &vq);
	if (nr_calls + 1 == fail_at)
		return VIO_E_NOSPC;
	note(SHARE, p, len, dir == VIO_DMA_FROM_DEVICE, 0);
	*addr = vio_addr_of(FAR + call[nr_calls - 1].off);
	lent++;
	return VIO_OK;
}

static void unshare(void *ctx, void *p, size_t len, enum vio_dma_dir dir,
		    vio_addr addr, size_t used)
{
	CHECK(ctx == &vq);
	note(UNSHARE, p, len, dir == VIO_DMA_FROM_DEVICE, used);
	CHECK_EQ(addr.v, FAR + call[nr_calls - 1].off);
	lent--;
}

static void clean(void *ctx, const void *p, size_t len)
{
	(void)ctx;
	note(CLEAN, p, len, false, 0);
}

static void invalidate(void *ctx, void *p, size_t len)
{
	(void)ctx;
	note(INVALIDATE, p, len, true, 0);
}

static const struct vio_dma_ops mapped = { .share = share,
					   .unshare = unshare };
static const struct vio_dma_ops all = { share, unshare, clean, invalidate };
static const struct vio_dma_ops caches = { .clean = clean,
					   .invalidate = invalidate };
static struct vio_dma dma;

static void start(const struct vio_dma_ops *ops, bool packed,
		  uint16_t indirect)
{
	const struct vio_vq_limits limits = { SIZE, indirect };
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1 |
				    1ull << VIRTIO_F_INDIRECT_DESC, 0 } };
	struct vio_drv_mem mem = {
		.window = { window, { BASE }, sizeof(window) },
		.shared = { window, sizeof(window) / 2 },
		.priv = { priv, vio_vq_private_size(&limits) +
				vio_dma_private_size(&limits) },
		.dma = &dma,
	};

	if (packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	dma = (struct vio_dma){ ops, &vq, { far_away, { FAR },
				sizeof(far_away) }, false };
	nr_calls = fail_at = 0;
	lent = 0;
	memset(window, 0, sizeof(window));
	CHECK_EQ(vio_vq_init(&vq, &limits, &f, &mem), VIO_OK);
}

/* 100 bytes to read; 50 and 60 to write, the latter in the window. */
static int add(void *token)
{
	const struct vio_seg seg[] = { { far_away, 100 },
		{ far_away + 128, 50 }, { window + 12288, 60 },
		{ far_away + 256, 70 } };

	return vio_vq_add(&vq, seg, 1, 3, token);
}

/* The address, length and flags of entry @i, wherever the layout has it. */
static struct virtq_desc entry(bool packed, bool indirect, unsigned i)
{
	unsigned char *at = window + (vq.layout.desc.v - BASE);
	struct pvirtq_desc p;
	struct virtq_desc d;

	if (indirect) {
		memcpy(&d, at, sizeof(d));
		at = window + (vio_from_le64(d.addr) - BASE);
	}
	if (!packed) {
		memcpy(&d, at + i * sizeof(d), sizeof(d));
		return d;
	}
	memcpy(&p, at + i * sizeof(p), sizeof(p));
	return (struct virtq_desc){ p.addr, p.len, p.flags, { 0 } };
}

/* The device uses buffer 0, having written @len. */
static void use(bool packed, uint32_t len)
{
	unsigned char *used = window + (vq.layout.device.v - BASE);
	struct virtq_used_elem e = { { 0 }, vio_to_le32(len) };
	struct pvirtq_desc p = { .len = vio_to_le32(len),
		.flags = vio_to_le16(PVIRTQ_DESC_F_AVAIL |
				     PVIRTQ_DESC_F_USED) };
	vio_le16 one = vio_to_le16(1);

	if (packed) {
		memcpy(window + (vq.layout.desc.v - BASE), &p, sizeof(p));
	} else {
		memcpy(used + 4, &e, sizeof(e));
		memcpy(used + 2, &one, sizeof(one));
	}
}

static void check_call(unsigned i, enum what what, size_t off, size_t used)
{
	CHECK_LT(i, nr_calls);
	CHECK_EQ(call[i].what, what);
	CHECK_EQ(call[i].off, off);
	CHECK_EQ(call[i].used, used);
	CHECK_EQ(call[i].from_device, off != 0);
	CHECK_EQ(call[i].len, off == 0 ? 100 : off == 128 ? 50 : 70);
}

TEST("buffers outside of the window are shared, entered, and let go", "")
{
	static const uint64_t want[] = { FAR, FAR + 128, BASE + 12288,
					 FAR + 256 };

	for (unsigned i = 0; i < 4; i++) {
		bool packed = i & 1, indirect = i & 2;
		uint32_t len;

		start(&mapped, packed, indirect ? 4 : 0);
		CHECK_EQ(add(window), VIO_OK);
		CHECK_EQ(nr_calls, 3);
		check_call(0, SHARE, 0, 0);
		check_call(1, SHARE, 128, 0);
		check_call(2, SHARE, 256, 0);
		vio_vq_publish(&vq);
		for (unsigned k = 0; k < 4; k++) {
			struct virtq_desc d = entry(packed, indirect, k);

			CHECK_EQ(vio_from_le64(d.addr), want[k]);
			CHECK_EQ(!!(vio_from_le16(d.flags) &
				    VIRTQ_DESC_F_WRITE), k > 0);
		}
		/* 50, 60, and 7 of the last. */
		use(packed, 117);
		CHECK(vio_vq_get(&vq, &len) == window);
		CHECK_EQ(len, 117);
		CHECK_EQ(nr_calls, 6);
		check_call(3, UNSHARE, 0, 0);
		check_call(4, UNSHARE, 128, 50);
		check_call(5, UNSHARE, 256, 7);
		CHECK_EQ(lent, 0);
	}
}

TEST("a device that claims more has what was offered, and no more", "")
{
	for (unsigned packed = 0; packed < 2; packed++) {
		uint32_t len;

		start(&mapped, packed, 4);
		CHECK_EQ(add(&vq), VIO_OK);
		vio_vq_publish(&vq);
		use(packed, UINT32_MAX);
		CHECK(vio_vq_get(&vq, &len) == &vq);
		CHECK_EQ(len, 180);
		check_call(4, UNSHARE, 128, 50);
		check_call(5, UNSHARE, 256, 70);
		CHECK_EQ(vq.stats.clamped, 1);
	}
}

TEST("what cannot be shared as a whole is not shared in part", "")
{
	for (unsigned packed = 0; packed < 2; packed++) {
		for (unsigned at = 1; at <= 3; at++) {
			start(&mapped, packed, 0);
			fail_at = at;
			CHECK_EQ(add(&vq), VIO_E_NOSPC);
			CHECK_EQ(lent, 0);
			CHECK_EQ(vio_vq_inflight(&vq), 0);
			CHECK(!vio_vq_publish(&vq));
			fail_at = 0;
			nr_calls = 0;
			/* Nothing of the ring was lost: it takes two. */
			CHECK_EQ(add(&vq), VIO_OK);
			CHECK_EQ(add(&vq), VIO_OK);
			CHECK_EQ(add(&vq), VIO_E_NOSPC);
			CHECK_EQ(lent, 6);
		}
	}
}

TEST("buffers that are taken back or forgotten are let go", "")
{
	for (unsigned packed = 0; packed < 2; packed++) {
		start(&mapped, packed, 4);
		CHECK_EQ(add(&vq), VIO_OK);
		CHECK_EQ(add(&dma), VIO_OK);
		CHECK_EQ(lent, 6);
		CHECK(vio_vq_detach(&vq) != NULL);
		CHECK_EQ(lent, 3);
		vio_vq_reset(&vq);
		CHECK_EQ(lent, 0);
		CHECK_EQ(add(&vq), VIO_OK);
		CHECK(vio_vq_detach(&vq) == &vq);
		CHECK(vio_vq_detach(&vq) == NULL);
		CHECK_EQ(lent, 0);
	}
}

TEST("caches are cleaned before the device, invalidated around it", "")
{
	uint32_t len;

	start(&all, false, 4);
	CHECK_EQ(add(&vq), VIO_OK);
	CHECK_EQ(nr_calls, 6);
	check_call(1, CLEAN, 0, 0);
	check_call(3, INVALIDATE, 128, 0);
	check_call(5, INVALIDATE, 256, 0);
	vio_vq_publish(&vq);
	use(false, 51);
	CHECK(vio_vq_get(&vq, &len) == &vq);
	/* Forgotten before it is looked at, all of it. */
	CHECK_EQ(nr_calls, 11);
	check_call(6, UNSHARE, 0, 0);
	check_call(7, INVALIDATE, 128, 0);
	check_call(8, UNSHARE, 128, 50);
	check_call(9, INVALIDATE, 256, 0);
	check_call(10, UNSHARE, 256, 0);
}

TEST("with caches alone, buffers lie in a window of their own", "")
{
	const struct vio_seg out = { far_away + sizeof(far_away) - 1, 2 };

	start(&caches, false, 4);
	CHECK_EQ(add(&vq), VIO_OK);
	CHECK_EQ(nr_calls, 3);
	CHECK_EQ(vio_from_le64(entry(false, true, 1).addr), FAR + 128);
	CHECK_EQ(vio_vq_add(&vq, &out, 0, 1, &vq), VIO_E_RANGE);
}

/* -- the pool ------------------------------------------------------------ */

static struct vio_bounce pool;

static void make_pool(uint64_t size, uint32_t block)
{
	const struct vio_window w = { window, { BASE }, size };
	struct vio_arena a = { priv, sizeof(priv) };

	CHECK_EQ(vio_bounce_init(&pool, &w, block, &a), VIO_OK);
}

TEST("pool: sizes that cannot be", "")
{
	static const uint32_t bad[] = { 0, 1, 32, 96, 1u << 21, UINT32_MAX };
	const struct vio_window w = { window, { BASE }, 4096 };
	const struct vio_window small = { window, { BASE }, 63 };
	struct vio_arena a = { priv, sizeof(priv) }, none = { priv, 3 };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++)
		CHECK_EQ(vio_bounce_init(&pool, &w, bad[i], &a), VIO_E_INVAL);
	CHECK_EQ(vio_bounce_init(&pool, &small, 64, &a), VIO_E_INVAL);
	CHECK_EQ(vio_bounce_init(&pool, &w, 256, &none), VIO_E_NOSPC);
	CHECK_EQ(vio_bounce_init(&pool, &w, 256, &a), VIO_OK);
	CHECK_EQ(pool.nr_free, 16);
}

static bool apart(uint64_t a, size_t a_len, uint64_t b, size_t b_len)
{
	return a + a_len <= b || b + b_len <= a;
}

TEST("pool: pieces never overlap, and all comes back, whatever the order", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct { uint64_t addr; size_t len; } held[64];
	unsigned n = 0, full = 0, fulfilled = 0;

	make_pool(8192, 64);
	for (unsigned i = 0; i < 100000; i++) {
		size_t len = 1 + vtest_below(&rnd, 1000);
		vio_addr a;
		unsigned k;
		int err;

		if (n == 64 || (n && vtest_below(&rnd, 2))) {
			k = (unsigned)vtest_below(&rnd, n);
			vio_bounce_ops.unshare(&pool, far_away, held[k].len,
				VIO_DMA_TO_DEVICE,
				vio_addr_of(held[k].addr), 0);
			held[k] = held[--n];
			continue;
		}
		err = vio_bounce_ops.share(&pool, far_away, len,
					   VIO_DMA_TO_DEVICE, &a);
		full += err != VIO_OK;
		fulfilled += err == VIO_OK;
		if (err)
			continue;
		CHECK(a.v >= BASE && a.v - BASE <= 8192 - len);
		for (k = 0; k < n; k++)
			CHECK(apart(a.v, len, held[k].addr, held[k].len));
		held[n].addr = a.v;
		held[n++].len = len;
	}
	CHECK_GT(full, 100);
	CHECK_GT(fulfilled, 10000);
	while (n--)
		vio_bounce_ops.unshare(&pool, far_away, held[n].len,
			VIO_DMA_TO_DEVICE, vio_addr_of(held[n].addr), 0);
	CHECK_EQ(pool.nr_free, pool.nr);
}

TEST("pool: copied in and out, and not a byte more", "")
{
	unsigned char buf[300];
	vio_addr a;

	make_pool(1024, 64);
	memset(window, 0xee, 1024);
	memset(far_away, 0x11, 300);
	CHECK_EQ(vio_bounce_ops.share(&pool, far_away, 300,
				      VIO_DMA_TO_DEVICE, &a), VIO_OK);
	CHECK_MEMEQ(window + (a.v - BASE), far_away, 300);
	CHECK_EQ(window[a.v - BASE + 300], 0xee);
	CHECK_EQ(vio_bounce_ops.share(&pool, buf, 300, VIO_DMA_FROM_DEVICE,
				      &a), VIO_OK);
	memset(buf, 0x22, 300);
	memset(window + (a.v - BASE), 0x33, 300);
	vio_bounce_ops.unshare(&pool, buf, 300, VIO_DMA_FROM_DEVICE, a, 299);
	CHECK_EQ(buf[298], 0x33);
	CHECK_EQ(buf[299], 0x22);
	CHECK_EQ(vio_bounce_ops.share(&pool, buf, 1025, VIO_DMA_TO_DEVICE,
				      &a), VIO_E_RANGE);
	CHECK_EQ(vio_bounce_ops.share(&pool, buf, 1024, VIO_DMA_TO_DEVICE,
				      &a), VIO_E_NOSPC);
}

/* -- ACCESS_PLATFORM ------------------------------------------------------ */

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	(void)bus;
	(void)index;
	*size = SIZE;
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *layout)
{
	(void)bus;
	(void)index;
	(void)layout;
	return VIO_OK;
}

TEST("without ACCESS_PLATFORM a device gets physical addresses or nothing",
     "core.driver.reserved-feature-bits.3 "
     "core.driver.reserved-feature-bits.4")
{
	static const struct vio_bus_ops bus = { .queue_max = queue_max,
						.queue_start = queue_start };
	const struct vio_vq_limits limits = { SIZE, 0 };
	struct vio_drv drv = { .bus = &bus };

	for (unsigned i = 0; i < 4; i++) {
		struct vio_drv_mem mem = {
			.window = { window, { BASE }, sizeof(window) },
			.shared = { window, sizeof(window) },
			.priv = { priv, sizeof(priv) },
			.dma = &dma,
		};

		dma = (struct vio_dma){ .ops = &mapped, .ctx = &vq,
					.translated = i & 1 };
		drv.features = (struct vio_features){ { 0, 0 } };
		if (i & 2)
			vio_feature_set(&drv.features,
					VIRTIO_F_ACCESS_PLATFORM);
		CHECK_EQ(vio_drv_queue(&drv, 0, &vq, &limits, &mem),
			 i == 1 ? VIO_E_UNSUPP : VIO_OK);
	}
}
