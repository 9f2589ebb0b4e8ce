/* SPDX-License-Identifier: MIT */
/*
 * mmio_driver.c - our own drivers over our own registers of the MMIO
 * transport.
 */
#include "test/transport/mmio_rig.h"

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

/* What stands in the first two registers, and accesses to all others. */
static struct {
	uint32_t magic, version;
	unsigned reads, writes;
	uint32_t written;	/* last */
} strange;

static uint32_t strange_read(void *ctx, uint32_t off, unsigned len)
{
	if (off == VIRTIO_MMIO_MAGIC_VALUE)
		return strange.magic;
	if (off == VIRTIO_MMIO_VERSION_REG)
		return strange.version;
	strange.reads++;
	return machine.read(ctx, off, len);
}

static void strange_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	strange.writes++;
	strange.written = v;
	machine.write(ctx, off, v, len);
}

static const struct vio_mmio_access strange_access = {
	.read = strange_read, .write = strange_write };

static int probe_strange(uint32_t magic, uint32_t version)
{
	struct vio_bus_mmio bus;

	memset(&strange, 0, sizeof(strange));
	strange.magic = magic;
	strange.version = version;
	return vio_bus_mmio_probe(&bus, &strange_access, NULL);
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
	/* Nothing else is touched of what is none: a read of the id at most,
	 * and that only where it means something. */
	CHECK_EQ(probe_strange(VIRTIO_MMIO_MAGIC, 2), VIO_E_AGAIN);
	CHECK_EQ(strange.reads, 1);
	CHECK_EQ(probe_strange(VIRTIO_MMIO_MAGIC ^ 1, 2), VIO_E_UNSUPP);
	CHECK_EQ(strange.reads, 0);
	CHECK_EQ(probe_strange(VIRTIO_MMIO_MAGIC, 1), VIO_E_UNSUPP);
	CHECK_EQ(probe_strange(VIRTIO_MMIO_MAGIC, 3), VIO_E_UNSUPP);
	CHECK_EQ(strange.reads, 0);
	CHECK_EQ(strange.writes, 0);
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
	bus.access = &strange_access;
	CHECK_EQ(vio_bus_mmio_interrupt(&bus), VIRTIO_MMIO_INT_CONFIG);
	/* What is acknowledged is what was seen: more may have come. */
	CHECK_EQ(strange.written, VIRTIO_MMIO_INT_CONFIG);
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
	struct vio_bus_mmio bus;

	bus = start_blk(0);
	/* Nor does a driver touch what describes one that is. */
	CHECK_EQ(vio_bus_mmio_ops.queue_start(&bus, 0,
					      &bd.queue[0].vq.layout),
		 VIO_E_STATE);
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

TEST("a queue is ready as long as its requests are at work",
     "mmio.device.mmio-device-register-layout.7")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);
	static unsigned char before[MEM];

	start_blk(0);
	hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK(held != NULL);
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	finish(held);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	memcpy(before, ram, MEM);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK_MEMEQ(ram, before, MEM);
}

TEST("a queue is reset, which takes as long as its requests do",
     "mmio.device.mmio-device-register-layout.8 "
     "mmio.device.mmio-device-register-layout.9 "
     "mmio.device.mmio-device-register-layout.10 "
     "mmio.device.mmio-device-register-layout.11 "
     "mmio.device.mmio-device-register-layout.12 "
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

TEST("a queue whose reset nobody asked for again is enabled, and not reset",
     "mmio.device.mmio-device-register-layout.9")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);
	struct vio_blkdrv_queue *q = &bd.queue[0];
	struct vio_bus_mmio bus = start_blk(0);

	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_RESET, 1);
	ready = false;
	vio_vq_reset(&q->vq);
	CHECK_EQ(vio_bus_mmio_ops.queue_start(&bus, 0, &q->vq.layout),
		 VIO_OK);
	hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK(held != NULL);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_RESET), 0);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	finish(held);
}

TEST("the driver waits until a queue's reset is over",
     "mmio.driver.mmio-device-register-layout.14")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);

	start_blk(0);
	hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(queue, 8), VIO_SERVICE_IDLE);
	CHECK(held != NULL);
	asked = false;
	CHECK_EQ(vio_drv_queue_reset(&bd.drv, 0), VIO_OK);
	CHECK(!held);
	CHECK_EQ(mem.pins, 0);
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

TEST("a notification says how far the driver is, in both layouts",
     "packed.driver.virtqueue-descriptor-table.3")
{
	for (unsigned set = 0; set < 16; set++) {
		start_blk(set);
		CHECK(vio_dev_has(&blk.dev, VIRTIO_F_NOTIFICATION_DATA));
		told = &bd.queue[0].vq;
		for (unsigned i = 0; i < 200; i++) {
			struct vio_blkdrv_req r =
				request(VIRTIO_BLK_T_IN, i % 62);

			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
		}
		CHECK_GE(notifies, 200);
		told = NULL;
		CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
	}
}

TEST("what a notification says is a hint and no more", "")
{
	struct vio_blkdrv_req r;

	for (unsigned set = 0; set < 16; set++) {
		uint16_t before;

		start_blk(set);
		before = m.queue[0].next;
		asked = false;
		wr(VIRTIO_MMIO_QUEUE_NOTIFY, 1);	/* no such queue */
		wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0xffff);
		CHECK(!asked);
		wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0x7abcu << 16);
		CHECK(asked);
		/* An index of a split ring; no place of a packed one. */
		CHECK_EQ(m.queue[0].next, set & 4 ? before : 0x7abc);
		CHECK_NE(vio_queue_service(queue, 4), VIO_SERVICE_MORE);
		CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
		r = request(VIRTIO_BLK_T_IN, 0);
		CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
	}
}

TEST("where the driver has no notification data, the value is the index", "")
{
	make_rng();
	negotiate(0, HIGH_V1);
	enable(SIZE, GUEST);
	asked = false;
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 1u << 16);
	CHECK(!asked);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	CHECK(asked);
}

TEST("shared memory regions are told, and nothing where there is none",
     "shm.device.shared-memory-regions.1")
{
	static const struct vio_shm at[] = {
		{ 0, 0x1c0000000ull, 0x200000000ull }, { 7, 0x4000, 0x1000 },
	};
	const struct vio_mem *map = &mem;
	struct vio_shm shm;
	struct vio_bus_mmio bus;

	make_rng();
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
	CHECK_EQ(vio_bus_mmio_ops.shm(&bus, 0, &shm), VIO_E_UNSUPP);
	rng.dev.shm = at;
	rng.dev.nr_shm = 2;
	CHECK_EQ(vio_bus_mmio_ops.shm(&bus, 0, &shm), VIO_OK);
	CHECK_EQ(shm.base, at[0].base);
	CHECK_EQ(shm.len, at[0].len);
	CHECK_EQ(vio_bus_mmio_ops.shm(&bus, 7, &shm), VIO_OK);
	CHECK_EQ(shm.id, 7);
	CHECK_EQ(shm.base, 0x4000);
	CHECK_EQ(shm.len, 0x1000);
	CHECK_EQ(vio_bus_mmio_ops.shm(&bus, 1, &shm), VIO_E_UNSUPP);
	wr(VIRTIO_MMIO_SHM_SEL, 0x100);		/* no id is so large */
	CHECK_EQ(rd(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	/* No queue lies in one: the guest's memory is another thing. */
	negotiate(0, HIGH_V1);
	enable(SIZE, at[1].base);
	CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	CHECK_EQ(map->pins, 0);
}

TEST("the driver resets one queue and makes it anew",
     "core.driver.virtqueue-reset.1 core.driver.virtqueue-reset.2 "
     "core.driver.virtqueue-re-enable.1")
{
	struct vio_blkdrv_queue *q = &bd.queue[0];
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);

	for (unsigned set = 0; set < 16; set++) {
		start_blk(set);
		CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
		CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
		CHECK_EQ(vio_drv_queue_reset(&bd.drv, 0), VIO_OK);
		ready = false;
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 0);
		CHECK_EQ(mem.pins, 0);
		/* What it held comes back, and only then is it used again. */
		CHECK(vio_vq_detach(&q->vq) == &r);
		CHECK(vio_vq_detach(&q->vq) == NULL);
		q->free[q->nr_free++] = r.slot;
		vio_vq_reset(&q->vq);
		CHECK_EQ(vio_drv_queue_again(&bd.drv, 0, &q->vq), VIO_OK);
		CHECK_EQ(rd(VIRTIO_MMIO_QUEUE_READY), 1);
		CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
	}
}

TEST("a queue is not reset where that was not agreed on", "")
{
	struct vio_features f = { { 0, 0 } };
	struct vio_bus_mmio bus;
	struct vio_drv drv;

	make_rng();
	vio_feature_clear(&rng.dev.offered, VIRTIO_F_RING_RESET);
	CHECK_EQ(vio_bus_mmio_probe(&bus, &machine, NULL), VIO_OK);
	CHECK_EQ(vio_drv_begin(&drv, &vio_bus_mmio_ops, &bus, &f), VIO_OK);
	CHECK_EQ(vio_drv_queue_reset(&drv, 0), VIO_E_UNSUPP);
}
