/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - what the device presents in the registers of the MMIO transport,
 * access by access.
 */
#include "test/transport/mmio_rig.h"

TEST("what it is", "mmio.device.mmio-device-register-layout.1 "
     "mmio.device.mmio-device-register-layout.2")
{
	make_rng();
	CHECK_EQ(rd(0), 0x74726976);
	CHECK_EQ(rd(4), 2);
	CHECK_EQ(rd(8), VIRTIO_ID_ENTROPY);
	m.vendor_id = 0x1234;
	CHECK_EQ(rd(12), 0x1234);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), SIZE);
	wr(VIRTIO_MMIO_QUEUE_SEL, 1);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
	wr(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);		/* of no queue: nothing */
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 7);
	CHECK_EQ(rd(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	CHECK_EQ(rd(VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
}

TEST("features come in words of 32, and beyond them is nothing", "")
{
	uint64_t got = 0;

	make_rng();
	for (uint32_t i = 0; i < 2; i++) {
		wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		got |= (uint64_t)rd(VIRTIO_MMIO_DEVICE_FEATURES) << 32 * i;
	}
	CHECK_EQ(got, rng.dev.offered.w[0]);
	CHECK(got >> VIRTIO_F_RING_RESET & 1);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4);
	CHECK_EQ(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	CHECK_EQ(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, UINT32_MAX);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	negotiate(0, HIGH_V1);
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 11);
	negotiate(1u << 20, HIGH_V1);		/* not offered */
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 3);
	negotiate(0, 0);			/* no VERSION_1 */
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 3);
}

TEST("accesses of a wrong width or place do nothing", "")
{
	make_rng();
	CHECK_EQ(vio_mmio_read(&m, 0, 2), 0);
	CHECK_EQ(vio_mmio_read(&m, 0, 8), 0);
	CHECK_EQ(vio_mmio_read(&m, 2, 4), 0);
	CHECK_EQ(vio_mmio_read(&m, 0, 3), 0);
	CHECK_EQ(vio_mmio_read(&m, UINT64_MAX, 4), 0);
	CHECK_EQ(vio_mmio_read(&m, 0xf0, 4), 0);
	vio_mmio_write(&m, VIRTIO_MMIO_STATUS, 1, 1);
	vio_mmio_write(&m, VIRTIO_MMIO_STATUS + 1, 1, 4);
	vio_mmio_write(&m, UINT64_MAX - 3, 1, 4);
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 0);
}

TEST("a queue that is not there has no size, and takes nothing", "")
{
	static const uint32_t sel[] = { 1, 2, 0xffff, 0x10000, UINT32_MAX };

	make_rng();
	negotiate(0, HIGH_V1 | HIGH_RESET);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(sel); i++) {
		wr(VIRTIO_MMIO_QUEUE_SEL, sel[i]);
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
		wr(VIRTIO_MMIO_QUEUE_SIZE, 8);
		wr(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)GUEST);
		wr(VIRTIO_MMIO_QUEUE_READY, 1);
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
		wr(VIRTIO_MMIO_QUEUE_RESET, 1);
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	}
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 11);
	CHECK_EQ(queue[0].state, VIO_QUEUE_STOPPED);
	CHECK_EQ(mem.pins, 0);
}

TEST("any access, any value, any order: no harm", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static const unsigned lens[] = { 1, 2, 4, 4, 4, 4, 8, 3 };

	make_blk();
	for (unsigned i = 0; i < 200000; i++) {
		unsigned len = lens[vtest_below(&rnd, 8)];
		uint64_t off = vtest_below(&rnd, 4) ?
			vtest_below(&rnd, 0x40) * 4 :
			vtest_below(&rnd, 0x200);
		uint64_t v = vtest_below(&rnd, 3) ? vtest_below(&rnd, 32) :
			     vtest_u64(&rnd);

		if (vtest_below(&rnd, 3))
			vio_mmio_write(&m, off, v, len);
		else
			vio_mmio_read(&m, off, len);
		if (vtest_below(&rnd, 8) == 0)
			vio_queue_service(queue, 4);
	}
	wr(VIRTIO_MMIO_STATUS, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 0);
	CHECK_EQ(mem.pins, 0);
}

TEST("events stand until they are acknowledged, and no others",
     "mmio.device.mmio-device-register-layout.3 "
     "mmio.device.mmio-device-register-layout.4")
{
	make_rng();
	negotiate(0, HIGH_V1);
	wr(VIRTIO_MMIO_STATUS, 15);
	CHECK_EQ(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	vio_dev_config_changed(&rng.dev);
	CHECK(line);
	CHECK_EQ(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	CHECK_EQ(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	CHECK(line);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	CHECK(!line);
	CHECK_EQ(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

TEST("the generation changes with the configuration",
     "mmio.device.mmio-device-register-layout.6")
{
	uint32_t before;

	make_blk();
	before = rd(VIRTIO_MMIO_CONFIG_GENERATION);
	vio_blk_resize(&blk, 99);
	CHECK_NE(rd(VIRTIO_MMIO_CONFIG_GENERATION), before);
	CHECK_EQ(rd(VIRTIO_MMIO_CONFIG), 99);
	CHECK_EQ(vio_mmio_read(&m, VIRTIO_MMIO_CONFIG, 8), 99);
	CHECK_EQ(vio_mmio_read(&m, VIRTIO_MMIO_CONFIG + 21, 1), 2);
	CHECK_EQ(vio_mmio_read(&m, VIRTIO_MMIO_CONFIG + 0x10000, 4), 0);
}

TEST("a reset clears events, ready bits and the layout",
     "mmio.device.mmio-device-register-layout.5 "
     "mmio.device.mmio-device-register-layout.8")
{
	make_rng();
	negotiate(0, HIGH_V1 | HIGH_RESET);
	enable(SIZE, GUEST);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	wr(VIRTIO_MMIO_STATUS, 15);
	vio_dev_config_changed(&rng.dev);
	wr(VIRTIO_MMIO_STATUS, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 0);
	CHECK_EQ(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	CHECK(!line);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	CHECK_EQ(mem.pins, 0);
}

TEST("a ring that cannot be is not ready, and the device says so", "")
{
	const struct { uint32_t size; uint64_t at; } bad[] = {
		{ 0, GUEST }, { 3, GUEST }, { 32, GUEST }, { 65552, GUEST },
		{ 16, GUEST + 8 }, { 16, GUEST + MEM }, { 16, 0 },
		{ 16, 0xfffffffffffff000ull },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		make_rng();
		negotiate(0, HIGH_V1);
		enable(bad[i].size, bad[i].at);
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
		CHECK(rd(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	}
}

TEST("what a ready queue has does not change", "")
{
	const struct vio_queue_layout *l = &queue[0].layout;

	make_rng();
	negotiate(0, HIGH_V1);
	/* Kicks of no queue, and of one before there is anything. */
	asked = false;
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0xffff);
	CHECK(!asked);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	CHECK_EQ(vio_queue_service(&queue[0], 16), VIO_SERVICE_IDLE);
	enable(8, GUEST);
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
	wr(VIRTIO_MMIO_QUEUE_SIZE, 4);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, 7);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
	CHECK_EQ(l->size, 8);
	CHECK_EQ(l->desc.v, GUEST);
	CHECK_EQ(l->device.v, GUEST + 0x800);
	CHECK_EQ(rd(VIRTIO_MMIO_STATUS), 11);
	/* Nor does another queue's selection touch it. */
	wr(VIRTIO_MMIO_QUEUE_SEL, 1);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
}
