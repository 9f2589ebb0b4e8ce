/* SPDX-License-Identifier: MIT */
/*
 * mmio_legacy.c - what the device presents in the legacy registers of the MMIO
 * transport, access by access, and what our drivers do with them.
 */
#include <vireo/mmio_legacy.h>
#include "test/transport/mmio_rig.h"

static struct vio_mmio_legacy lm;
static struct vio_mmio_legacy_queue lq[1];

static const struct vio_mmio_ops ops;

static uint32_t lrd(unsigned off)
{
	return (uint32_t)vio_mmio_legacy_read(&lm, off, 4);
}

static void lwr(unsigned off, uint32_t v)
{
	vio_mmio_legacy_write(&lm, off, v, 4);
}

static void on_interrupt(void *ctx, bool level)
{
	(void)ctx;
	CHECK_NE(level, line);
	line = level;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	asked = true;
}

static const struct vio_mmio_ops ops = { on_interrupt, on_serve };

static void make(void)
{
	make_blk();
	vio_mmio_legacy_init(&lm, &blk.dev, &mem, lq, &ops, NULL, NULL);
}

static void begin(uint32_t features)
{
	lwr(VIRTIO_MMIO_STATUS, 0);
	lwr(VIRTIO_MMIO_STATUS, 1);
	lwr(VIRTIO_MMIO_STATUS, 3);
	lwr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	lwr(VIRTIO_MMIO_DRIVER_FEATURES, features);
	lwr(VIRTIO_MMIO_GUEST_PAGE_SIZE, 4096);
}

static void set_queue(uint32_t size, uint32_t align, uint32_t pfn)
{
	lwr(VIRTIO_MMIO_QUEUE_SEL, 0);
	lwr(VIRTIO_MMIO_QUEUE_SIZE, size);
	lwr(VIRTIO_MMIO_QUEUE_ALIGN, align);
	lwr(VIRTIO_MMIO_QUEUE_PFN, pfn);
}

#define PFN	((uint32_t)(GUEST / 4096))

TEST("legacy: what it is, and features of 32 bits",
     "core.other.legacy-interface-feature-bits.2 "
     "core.other.legacy-interface-reserved-feature-bits.3")
{
	make();
	CHECK_EQ(lrd(0), 0x74726976);
	CHECK_EQ(lrd(4), 1);
	CHECK_EQ(lrd(8), VIRTIO_ID_BLOCK);
	CHECK(lrd(VIRTIO_MMIO_DEVICE_FEATURES) >> VIRTIO_F_ANY_LAYOUT & 1);
	lwr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	CHECK_EQ(lrd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	begin(1u << VIRTIO_F_EVENT_IDX | 1u << 23);
	CHECK(vio_dev_has(&blk.dev, VIRTIO_F_EVENT_IDX));
	CHECK(!vio_dev_has(&blk.dev, 23));	/* not offered */
	CHECK(vio_dev_legacy(&blk.dev));
	lwr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	lwr(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	CHECK_EQ(blk.dev.driver.w[0] >> 32, 0);
	/* FEATURES_OK is no bit here. */
	lwr(VIRTIO_MMIO_STATUS, 15);
	CHECK_EQ(lrd(VIRTIO_MMIO_STATUS), 7);
	lwr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	lwr(VIRTIO_MMIO_DRIVER_FEATURES, 0);	/* too late */
	CHECK(vio_dev_has(&blk.dev, VIRTIO_F_EVENT_IDX));
}

TEST("legacy: a queue is where its page is, and says so until it stops",
     "split.other.legacy-interfaces-virtqueue-layout.2")
{
	make();
	begin(0);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_SIZE_MAX), SIZE);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), 0);
	asked = false;
	set_queue(8, 1024, PFN + 2);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), PFN + 2);
	CHECK(asked);
	CHECK_EQ(queue[0].size, 8);
	CHECK_EQ(queue[0].layout.desc.v, GUEST + 8192);
	CHECK_EQ(queue[0].layout.driver.v, GUEST + 8192 + 128);
	CHECK_EQ(queue[0].layout.device.v, GUEST + 8192 + 1024);
	/* What it is made of stays while it is in use. */
	set_queue(4, 4096, PFN);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), PFN + 2);
	CHECK_EQ(queue[0].size, 8);
	lwr(VIRTIO_MMIO_QUEUE_PFN, 0);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), 0);
	CHECK_EQ(mem.pins, 0);
	set_queue(4, 4096, PFN);
	CHECK_EQ(queue[0].size, 4);
	lwr(VIRTIO_MMIO_STATUS, 0);
	CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), 0);
	CHECK_EQ(mem.pins, 0);
}

TEST("legacy: queues that cannot be are not in use", "")
{
	const struct { uint32_t page, size, align, pfn; } bad[] = {
		{ 0, 8, 4096, PFN }, { 4095, 8, 4096, PFN },
		{ 4096, 0, 4096, PFN }, { 4096, 3, 4096, PFN },
		{ 4096, 32, 4096, PFN }, { 4096, 65544, 4096, PFN },
		{ 4096, 8, 0, PFN }, { 4096, 8, 24, PFN },
		{ 4096, 8, 2, PFN }, { 4096, 8, 1u << 31, PFN },
		{ 4096, 8, 4096, PFN + MEM / 4096 - 1 },
		{ 4096, 8, 4096, UINT32_MAX }, { 1u << 31, 8, 64, UINT32_MAX },
		{ 4096, 8, 4096, 1 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		make();
		begin(0);
		lwr(VIRTIO_MMIO_GUEST_PAGE_SIZE, bad[i].page);
		set_queue(bad[i].size, bad[i].align, bad[i].pfn);
		CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), 0);
		CHECK(lrd(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		CHECK_EQ(mem.pins, 0);
	}
}

TEST("legacy: configuration is written, and the device used, at any time",
     "core.other.legacy-interface-device-initialization.2 "
     "core.other.legacy-interface-device-initialization.3")
{
	vio_le16 idx = vio_to_le16(100);

	make();
	vio_dev_set_guest_endian(lm.dev, false);
	/* Before anything was said; the disk has no field to write. */
	vio_mmio_legacy_write(&lm, VIRTIO_MMIO_CONFIG + 32, 1, 1);
	CHECK_EQ(vio_mmio_legacy_read(&lm, VIRTIO_MMIO_CONFIG, 8), 64);
	begin(0);
	set_queue(8, 4096, PFN);
	/* More than the ring holds breaks it: so it was looked at. */
	memcpy(ram + 8 * 16 + 2, &idx, sizeof(idx));
	vio_queue_service(queue, 8);
	CHECK_EQ(queue[0].state, VIO_QUEUE_BROKEN);
}

TEST("legacy: what is of a wrong width, or nowhere, does nothing", "")
{
	make();
	begin(0);
	CHECK_EQ(vio_mmio_legacy_read(&lm, 0, 2), 0);
	CHECK_EQ(vio_mmio_legacy_read(&lm, 0, 8), 0);
	CHECK_EQ(vio_mmio_legacy_read(&lm, 2, 4), 0);
	CHECK_EQ(vio_mmio_legacy_read(&lm, 0xf0, 4), 0);
	CHECK_EQ(vio_mmio_legacy_read(&lm, UINT64_MAX, 4), 0);
	vio_mmio_legacy_write(&lm, VIRTIO_MMIO_STATUS, 7, 1);
	vio_mmio_legacy_write(&lm, VIRTIO_MMIO_STATUS + 1, 7, 4);
	vio_mmio_legacy_write(&lm, UINT64_MAX - 3, 7, 4);
	CHECK_EQ(lrd(VIRTIO_MMIO_STATUS), 3);
	/* Queues that are not there: none is set up, none is kicked. */
	asked = false;
	for (uint32_t sel = 1; sel; sel *= 2) {
		lwr(VIRTIO_MMIO_QUEUE_SEL, sel);
		CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
		lwr(VIRTIO_MMIO_QUEUE_SIZE, 8);
		lwr(VIRTIO_MMIO_QUEUE_ALIGN, 4096);
		lwr(VIRTIO_MMIO_QUEUE_PFN, PFN);
		CHECK_EQ(lrd(VIRTIO_MMIO_QUEUE_PFN), 0);
		lwr(VIRTIO_MMIO_QUEUE_NOTIFY, sel);
	}
	CHECK(!asked);
	CHECK_EQ(queue[0].state, VIO_QUEUE_STOPPED);
	CHECK_EQ(mem.pins, 0);
}

TEST("legacy: any access, any value, any order: no harm", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static const unsigned lens[] = { 1, 2, 4, 4, 4, 4, 8, 3 };

	make();
	for (unsigned i = 0; i < 200000; i++) {
		unsigned len = lens[vtest_below(&rnd, 8)];
		uint64_t off = vtest_below(&rnd, 4) ?
			vtest_below(&rnd, 0x40) * 4 :
			vtest_below(&rnd, 0x200);
		uint64_t v = vtest_below(&rnd, 3) ? vtest_below(&rnd, 32) :
			     vtest_below(&rnd, 2) ? PFN : vtest_u64(&rnd);

		if (vtest_below(&rnd, 3))
			vio_mmio_legacy_write(&lm, off, v, len);
		else
			vio_mmio_legacy_read(&lm, off, len);
		if (vtest_below(&rnd, 8) == 0)
			vio_queue_service(queue, 4);
	}
	lwr(VIRTIO_MMIO_STATUS, 0);
	CHECK_EQ(lrd(VIRTIO_MMIO_STATUS), 0);
	CHECK_EQ(mem.pins, 0);
}

TEST("legacy: a guest of the other byte order sees its own",
     "split.other.legacy-interfaces-virtqueue-endianness.1")
{
	/* As the guest's bytes, most significant first. */
	static const unsigned char want[] = { 0, 0, 0, 0, 0, 0, 0, 64 };
	unsigned char got[8];

	make();
	vio_dev_set_guest_endian(&blk.dev, true);
	for (unsigned i = 0; i < 8; i++)
		got[i] = (unsigned char)vio_mmio_legacy_read(&lm,
				VIRTIO_MMIO_CONFIG + i, 1);
	CHECK_MEMEQ(got, want, 8);
	/* seg_max at 12, of four bytes; blk_size at 20. */
	CHECK_EQ(vio_mmio_legacy_read(&lm, VIRTIO_MMIO_CONFIG + 15, 1), 8);
	CHECK_EQ(vio_mmio_legacy_read(&lm, VIRTIO_MMIO_CONFIG + 22, 1), 2);
	CHECK_EQ(vio_mmio_legacy_read(&lm, VIRTIO_MMIO_CONFIG + 1000, 4), 0);
	vio_dev_set_guest_endian(&blk.dev, false);
	CHECK_EQ(vio_mmio_legacy_read(&lm, VIRTIO_MMIO_CONFIG, 1), 64);
}

/* -- our drivers --------------------------------------------------------- */

static unsigned reads, changes;

static uint32_t read_unsteady(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	/* The capacity changes between its halves, as often as it may. */
	if (off == VIRTIO_MMIO_CONFIG + 4 && changes) {
		changes--;
		vio_blk_resize(&blk, blk.dev.config[0] == 64 ?
			       0x500000063ull : 64);
	}
	reads += off >= VIRTIO_MMIO_CONFIG;
	return (uint32_t)vio_mmio_legacy_read(&lm, off, len);
}

static void write_plain(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	(void)ctx;
	/* None of the registers of version 2. */
	CHECK(off < 0x80 || off >= VIRTIO_MMIO_CONFIG);
	CHECK_NE(off, VIRTIO_MMIO_QUEUE_READY);
	vio_mmio_legacy_write(&lm, off, v, len);
}

static int wait_plain(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

TEST("legacy: the driver reads until the same comes twice",
     "core.other.legacy-interface-device-configuration-space.1 "
     "core.other.legacy-interface-reserved-feature-bits.4")
{
	static const struct vio_mmio_access unsteady = { read_unsteady,
		write_plain, wait_plain };
	const struct vio_features want = { { 1ull << VIRTIO_BLK_F_SEG_MAX,
					     0 } };
	struct vio_bus_mmio bus;
	struct vio_drv drv;
	vio_le64 capacity;

	make();
	CHECK_EQ(vio_bus_mmio_probe(&bus, &unsteady, NULL), VIO_E_UNSUPP);
	CHECK_EQ(vio_bus_mmio_legacy_probe(&bus, &unsteady, NULL), VIO_OK);
	CHECK_EQ(vio_drv_begin(&drv, &vio_bus_mmio_legacy_ops, &bus, &want),
		 VIO_OK);
	CHECK(vio_drv_has(&drv, VIRTIO_F_ANY_LAYOUT));
	CHECK(!vio_drv_has(&drv, 30));
	CHECK_EQ(lrd(VIRTIO_MMIO_STATUS), 3);	/* no FEATURES_OK */
	for (unsigned i = 0; i < 8; i++) {
		changes = i;
		reads = 0;
		CHECK_EQ(vio_drv_config_read(&drv, 0, &capacity, 8), VIO_OK);
		CHECK_EQ(changes, 0);
		CHECK_GE(reads, 4);
		CHECK_EQ(vio_drv_from64(&drv, capacity),
			 vio_from_le64(blk.config.capacity));
	}
}
