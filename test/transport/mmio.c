/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - the registers of the MMIO transport, both sides: what the device
 * presents, access by access; then our own drivers over our own registers,
 * watched for what a driver may not do.
 */
#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_rng.h>
#include <vireo/blk.h>
#include <vireo/mmio.h>
#include <vireo/rng.h>
#include <vireo/spec/mmio.h>
#include <vireo/spec/virtio.h>
#include "vtest.h"

#define MEM		(1u << 20)
#define GUEST		0x80000000ull
#define SIZE		16u

static unsigned char ram[MEM] __attribute__((aligned(4096)));
static unsigned char priv[65536] __attribute__((aligned(64)));
static unsigned char storage[65536] __attribute__((aligned(64)));
static unsigned char disk[64 * 512];
static struct vio_region region;
static struct vio_mem mem;
static struct vio_queue queue[1];
static struct vio_mmio m;
static struct vio_mmio_queue regs[1];
static struct vio_rng rng;
static struct vio_blk blk;
static bool line, asked;	/* interrupt line; service was asked for */
static unsigned edges;
static bool hold_back;		/* the back end keeps requests */
static struct vio_blk_io *held;

static size_t fill(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	memset(dst, 0x5a, len);
	return len;
}

static void finish(struct vio_blk_io *io)
{
	uint64_t at = io->offset;

	for (unsigned i = 0; i < io->nr_seg; i++) {
		const struct vio_seg *s = &io->seg[i];

		if (io->op == VIO_BLK_READ)
			memcpy(s->base, disk + at, s->len);
		else
			memcpy(disk + at, s->base, s->len);
		at += s->len;
	}
	io->done(io, VIO_OK);
}

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	(void)ctx;
	if (hold_back)
		held = io;
	else
		finish(io);
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

static void on_interrupt(void *ctx, bool level)
{
	(void)ctx;
	CHECK_NE(level, line);
	line = level;
	edges++;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	asked = true;
}

static const struct vio_mmio_ops ops = { on_interrupt, on_serve };

static void prepare(uint16_t ctx_size)
{
	const struct vio_queue_limits limits = { SIZE, 16, ctx_size };

	memset(ram, 0, sizeof(ram));
	line = asked = hold_back = false;
	edges = 0;
	held = NULL;
	region = (struct vio_region){ { GUEST }, MEM, ram, 0, VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&mem, &region, 1), VIO_OK);
	CHECK_EQ(vio_queue_init(queue, NULL, 0, &limits, storage,
				sizeof(storage)), VIO_OK);
}

static void make_rng(void)
{
	static const struct vio_rng_source_ops source = { fill };

	prepare(vio_rng_ctx_size);
	CHECK_EQ(vio_rng_init(&rng, queue, &source, NULL), VIO_OK);
	vio_mmio_init(&m, &rng.dev, &mem, regs, &ops, NULL, NULL);
}

static void make_blk(void)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_blk_conf conf = { .capacity_sectors = 64,
		.seg_max = 8, .serial = "mmio" };

	prepare(vio_blk_ctx_size);
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &be, NULL, NULL), VIO_OK);
	vio_mmio_init(&m, &blk.dev, &mem, regs, &ops, NULL, NULL);
}

static uint32_t rd(unsigned off)
{
	return (uint32_t)vio_mmio_read(&m, off, 4);
}

static void wr(unsigned off, uint32_t v)
{
	vio_mmio_write(&m, off, v, 4);
}

/* As a driver by hand: features @low (bits 0 to 31), the ring at GUEST. */
static void negotiate(uint32_t low, uint32_t high)
{
	wr(VIRTIO_MMIO_STATUS, 0);
	wr(VIRTIO_MMIO_STATUS, 1);
	wr(VIRTIO_MMIO_STATUS, 3);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, low);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, high);
	wr(VIRTIO_MMIO_STATUS, 11);
}

#define HIGH_V1		(1u << (VIRTIO_F_VERSION_1 - 32))
#define HIGH_RESET	(1u << (VIRTIO_F_RING_RESET - 32))

static void enable(uint32_t size, uint64_t at)
{
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_SIZE, size);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)at);
	wr(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)at + 0x400);
	wr(VIRTIO_MMIO_QUEUE_DRIVER_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)at + 0x800);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
}

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

/* -- our drivers over our registers -------------------------------------- */

static bool ready;	/* as the driver knows it */
static bool aliased;	/* selects above 0 are taken for 1, as QEMU does */
static unsigned sel_writes, notifies;

/* The machine, with a watchman over what a driver may do. */
static uint32_t machine_read(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	if (off < VIRTIO_MMIO_CONFIG) {
		CHECK_EQ(len, 4);
		CHECK_EQ(off % 4, 0);
		/* Write-only ones. */
		CHECK_NE(off, VIRTIO_MMIO_DEVICE_FEATURES_SEL);
		CHECK_NE(off, VIRTIO_MMIO_DRIVER_FEATURES);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SEL);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SIZE);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_NOTIFY);
		CHECK_NE(off, VIRTIO_MMIO_INTERRUPT_ACK);
		CHECK(off < VIRTIO_MMIO_SHM_SEL ||
		      off > VIRTIO_MMIO_SHM_BASE_HIGH);
	} else {
		CHECK_EQ(off % len, 0);
	}
	if (off == VIRTIO_MMIO_DEVICE_FEATURES)
		CHECK_GT(sel_writes, 0);
	return (uint32_t)vio_mmio_read(&m, off, len);
}

static void machine_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	(void)ctx;
	if (off < VIRTIO_MMIO_CONFIG) {
		CHECK_EQ(len, 4);
		CHECK_EQ(off % 4, 0);
		CHECK(off >= VIRTIO_MMIO_DEVICE_FEATURES_SEL);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SIZE_MAX);
		CHECK_NE(off, VIRTIO_MMIO_INTERRUPT_STATUS);
		CHECK_NE(off, VIRTIO_MMIO_CONFIG_GENERATION);
	}
	switch (off) {
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		v = aliased && v ? 1 : v;
		break;
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		v = aliased && v ? 1 : v;
		sel_writes++;
		break;
	case VIRTIO_MMIO_QUEUE_SIZE:
		CHECK_LE(v, SIZE);
		CHECK(!ready);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		ready = v;
		break;
	case VIRTIO_MMIO_STATUS:
		ready &= v != 0;
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		CHECK_EQ(v & ~3u, 0);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notifies++;
		break;
	default:
		if (off >= VIRTIO_MMIO_QUEUE_DESC_LOW &&
		    off <= VIRTIO_MMIO_QUEUE_DEVICE_HIGH)
			CHECK(!ready);
	}
	vio_mmio_write(&m, off, v, len);
}

/* Let the device work; nothing to do and no interrupt is a lost wake-up. */
static int machine_wait(void *ctx)
{
	(void)ctx;
	if (!asked)
		return line ? VIO_OK : VIO_E_IO;
	asked = vio_queue_service(queue, 4) == VIO_SERVICE_MORE;
	return VIO_OK;
}

static const struct vio_mmio_access machine = { machine_read, machine_write,
						machine_wait };

static struct vio_drv_mem drv_mem(void)
{
	ready = false;
	sel_writes = notifies = 0;
	return (struct vio_drv_mem){
		.window = { ram, { GUEST }, MEM },
		.shared = { ram, MEM / 2 },
		.priv = { priv, sizeof(priv) },
	};
}

static struct vio_features variant(unsigned set)
{
	struct vio_features f = { { 0, 0 } };

	if (set & 1)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (set & 2)
		vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	if (set & 4)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (set & 8)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	return f;
}

TEST("the entropy driver over the registers, every feature set",
     "mmio.driver.mmio-device-register-layout.1 "
     "mmio.driver.mmio-device-register-layout.2 "
     "mmio.driver.mmio-device-register-layout.7 "
     "mmio.driver.mmio-device-register-layout.9 "
     "mmio.driver.mmio-device-register-layout.10 "
     "mmio.driver.device-initialization.3 "
     "mmio.driver.device-initialization.4")
{
	for (unsigned set = 0; set < 16; set++) {
		const struct vio_vq_limits limits = { 64, 4 };
		struct vio_drv_mem dm = drv_mem();
		struct vio_features f = variant(set);
		struct vio_bus_mmio bus;
		struct vio_rngdrv drv;
		uint32_t got = 0;

		make_rng();
		CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
		CHECK_EQ(bus.device_id, VIRTIO_ID_ENTROPY);
		CHECK_EQ(vio_rngdrv_init(&drv, &vio_bus_mmio_ops, &bus, &f,
					 &limits, &dm), VIO_OK);
		for (unsigned i = 0; i < 100; i++) {
			unsigned char *buf = ram + MEM / 2;

			memset(buf, 0, 64);
			CHECK_EQ(vio_rngdrv_read(&drv, buf, 64, &got),
				 VIO_OK);
			CHECK_EQ(got, 64);
			CHECK_EQ(buf[63], 0x5a);
		}
		CHECK_GT(notifies, 0);
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		CHECK_EQ(mem.pins, 0);
	}
}

TEST("a device that takes every select above 0 for 1", "")
{
	const struct vio_features want = { { 1ull << VIRTIO_F_RING_PACKED,
					     UINT64_MAX } };
	struct vio_features f;
	struct vio_bus_mmio bus;
	struct vio_drv drv;

	make_rng();
	drv_mem();
	aliased = true;
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
	CHECK_EQ(vio_bus_mmio_ops.get_features(&bus, &f), VIO_OK);
	CHECK_EQ(f.w[0], rng.dev.offered.w[0]);
	CHECK_EQ(f.w[1], 0);
	CHECK_EQ(vio_drv_begin(&drv, &vio_bus_mmio_ops, &bus, &want), VIO_OK);
	CHECK(vio_dev_has(&rng.dev, VIRTIO_F_VERSION_1));
	CHECK(vio_dev_has(&rng.dev, VIRTIO_F_RING_PACKED));
	aliased = false;
}

TEST("places without a device, and devices of another age",
     "mmio.driver.mmio-device-register-layout.4 "
     "mmio.driver.mmio-device-register-layout.5 "
     "mmio.driver.mmio-device-register-layout.6 "
     "mmio.driver.device-initialization.1 mmio.driver.device-initialization.2")
{
	static struct vio_dev_ops empty;
	struct vio_bus_mmio bus;

	make_rng();
	empty = *rng.dev.ops;
	empty.id = 0;
	rng.dev.ops = &empty;
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_E_AGAIN);
}

TEST("the interrupt is acknowledged before the rings are looked at",
     "mmio.driver.mmio-device-register-layout.12 "
     "mmio.driver.mmio-device-register-layout.13 "
     "mmio.driver.notifications-device.1 mmio.driver.notifications-device.3")
{
	struct vio_bus_mmio bus;

	make_rng();
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
	negotiate(0, HIGH_V1);
	wr(VIRTIO_MMIO_STATUS, 15);
	CHECK_EQ(vio_bus_mmio_interrupt(&bus), 0);
	vio_dev_config_changed(&rng.dev);
	CHECK_EQ(vio_bus_mmio_interrupt(&bus), VIRTIO_MMIO_INT_CONFIG);
	CHECK(!line);
	__atomic_store_n(&m.interrupt_status, 0xf0, __ATOMIC_RELAXED);
	CHECK_EQ(vio_bus_mmio_interrupt(&bus), 0);	/* undefined bits */
}

static struct vio_blkdrv bd;	/* large */

static struct vio_bus_mmio start_blk(unsigned set)
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_drv_mem dm = drv_mem();
	struct vio_features f = variant(set);
	static struct vio_bus_mmio bus;

	vio_feature_set(&f, VIRTIO_BLK_F_BLK_SIZE);
	vio_feature_set(&f, VIRTIO_BLK_F_FLUSH);
	vio_feature_set(&f, VIRTIO_F_RING_RESET);
	make_blk();
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
	CHECK_EQ(bus.device_id, VIRTIO_ID_BLOCK);
	CHECK_EQ(vio_blkdrv_init(&bd, &vio_bus_mmio_ops, &bus, &f, &limits,
				 1, &dm), VIO_OK);
	CHECK_EQ(bd.capacity_sectors, 64);
	CHECK_EQ(bd.blk_size, 512);
	return bus;
}

static struct vio_seg data = { ram + MEM / 2, 1024 };

static struct vio_blkdrv_req request(uint32_t type, uint64_t sector)
{
	return (struct vio_blkdrv_req){ .type = type, .sector = sector,
		.seg = &data, .nr_seg = type == VIRTIO_BLK_T_FLUSH ? 0 : 1 };
}

TEST("the block driver over the registers, every feature set",
     "mmio.driver.mmio-device-register-layout.3 "
     "mmio.driver.mmio-device-register-layout.8 "
     "mmio.driver.notifications-device.2")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned set = 0; set < 16; set++) {
		start_blk(set);
		for (uint64_t sector = 0; sector < 62; sector++) {
			struct vio_blkdrv_req r =
				request(VIRTIO_BLK_T_OUT, sector);
			unsigned char want[1024];

			vtest_fill(&rnd, want, sizeof(want));
			memcpy(data.base, want, sizeof(want));
			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
			CHECK_MEMEQ(disk + sector * 512, want, 1024);
			memset(data.base, 0, sizeof(want));
			r = request(VIRTIO_BLK_T_IN, sector);
			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
			CHECK_MEMEQ(data.base, want, 1024);
		}
		CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
	}
}

TEST("nothing is touched while the queue is not ready",
     "mmio.device.mmio-device-register-layout.7 "
     "mmio.driver.mmio-device-register-layout.11")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);
	static unsigned char before[MEM];

	start_blk(0);
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	vio_blkdrv_commit(&bd, 0);
	memcpy(before, ram, MEM);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK_MEMEQ(ram, before, MEM);
	CHECK(!line);
}

TEST("a queue is reset, which takes as long as its requests do",
     "mmio.device.mmio-device-register-layout.8 "
     "mmio.device.mmio-device-register-layout.9 "
     "mmio.device.mmio-device-register-layout.10 "
     "mmio.device.mmio-device-register-layout.11 "
     "mmio.device.mmio-device-register-layout.12 "
     "mmio.driver.mmio-device-register-layout.14 "
     "mmio.driver.mmio-device-register-layout.15 "
     "mmio.driver.mmio-device-register-layout.16")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);

	start_blk(0);
	hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK(held != NULL);
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	wr(VIRTIO_MMIO_QUEUE_RESET, 1);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 1);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 1);
	finish(held);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	CHECK_EQ(mem.pins, 0);
	/* Another size, another place. */
	memset(ram, 0, 0x2000);
	ready = false;
	enable(4, GUEST + 0x1000);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	CHECK_EQ(queue[0].size, 4);
	CHECK_EQ(vio_queue_avail_base(queue), 0);
}

TEST("without RING_RESET the register does nothing", "")
{
	make_rng();
	negotiate(0, HIGH_V1);
	enable(SIZE, GUEST);
	wr(VIRTIO_MMIO_QUEUE_RESET, 1);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
}
