/* SPDX-License-Identifier: MIT */
/*
 * mmio_qemu.c - our drivers and our MMIO bus against QEMU's own devices, on
 * split and on packed rings, in version 2 and in the legacy version 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_rng.h>
#include <vireo/spec/mmio.h>
#include "test/transport/qemu_net.h"
#include "test/transport/qtest.h"
#include "vtest.h"

#define RAM	(64u << 20)
#define RINGS	(1u << 20)	/* guest address of what the driver uses */
#define AREA	(4u << 20)
#define FIRST	0xfeb00000u	/* microvm: 8 transports of 512 bytes */
#define NR	8u

static struct qtest q;
static uint32_t base;		/* of the device that is used */
static unsigned patience;
static bool legacy;		/* version 1 */
static unsigned char priv[1 << 20] __attribute__((aligned(64)));

static uint32_t access_read(void *ctx, uint32_t off, unsigned len)
{
	uint32_t v = 0;

	(void)ctx;
	CHECK(qtest_read(&q, base + off, len, &v));
	return v;
}

static void access_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	(void)ctx;
	CHECK(qtest_write(&q, base + off, len, v));
}

/* QEMU works in its own time. */
static int access_wait(void *ctx)
{
	(void)ctx;
	usleep(2000);
	return patience-- ? VIO_OK : VIO_E_IO;
}

static const struct vio_mmio_access access_qemu = { access_read, access_write,
						    access_wait };

/* Also what a case left behind that failed. */
static void stop(void)
{
	qtest_stop(&q);
	q = (struct qtest){ .fd = -1 };
}

static void start(const char *const *args)
{
	static bool registered;
	int rc;

	if (!registered)
		registered = atexit(stop) == 0;
	else
		stop();
	rc = qtest_start(&q, RAM, args);
	if (rc == 77)
		SKIP("qemu-system-x86_64 is not installed");
	CHECK_EQ(rc, 0);
	patience = 2000;
}

static struct vio_bus_mmio find(uint32_t device_id)
{
	struct vio_bus_mmio bus;
	unsigned free_places = 0;

	for (unsigned i = 0; i < NR; i++) {
		int err;

		base = FIRST + i * 512;
		err = legacy ?
		      vio_bus_mmio_legacy_probe(&bus, &access_qemu, NULL) :
		      vio_bus_mmio_probe(&bus, &access_qemu, NULL);
		if (err == VIO_OK && bus.device_id == device_id)
			return bus;
		free_places += err == VIO_E_AGAIN;
	}
	FAIL("no device of type %u; %u places are free", device_id,
	     free_places);
	return bus;
}

static struct vio_drv_mem memory(void)
{
	memset(priv, 0, sizeof(priv));
	return (struct vio_drv_mem){
		.window = { q.ram + RINGS, { RINGS }, AREA },
		.shared = { q.ram + RINGS, AREA / 2 },
		.priv = { priv, sizeof(priv) },
	};
}

#define MODERN	"-global", "virtio-mmio.force-legacy=false"
#define VERSION	"-global", legacy ? "virtio-mmio.force-legacy=true" : \
				    "virtio-mmio.force-legacy=false"

static const struct vio_bus_ops *bus_ops(void)
{
	return legacy ? &vio_bus_mmio_legacy_ops : &vio_bus_mmio_ops;
}

static void use_rng(bool packed)
{
	const char *const args[] = { VERSION, "-device", packed ?
		"virtio-rng-device,packed=on" : "virtio-rng-device", NULL };
	const struct vio_vq_limits limits = { 64, 0 };
	struct vio_features f = { { 1ull << VIRTIO_F_RING_PACKED |
				    1ull << VIRTIO_F_EVENT_IDX, 0 } };
	static unsigned seen[256];
	unsigned kinds = 0;
	struct vio_drv_mem mem;
	struct vio_bus_mmio bus;
	struct vio_rngdrv drv;
	uint32_t got;

	start(args);
	bus = find(VIRTIO_ID_ENTROPY);
	mem = memory();
	CHECK_EQ(vio_rngdrv_init(&drv, bus_ops(), &bus, &f, &limits,
				 &mem), VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED), packed);
	for (unsigned i = 0; i < 100; i++) {
		unsigned char *buf = q.ram + RINGS + AREA / 2;

		CHECK_EQ(vio_rngdrv_read(&drv, buf, 64, &got), VIO_OK);
		CHECK_GT(got, 0);
		for (unsigned k = 0; k < got; k++)
			kinds += !seen[buf[k]]++;
	}
	CHECK_GT(kinds, 200);
	CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
	memset(seen, 0, sizeof(seen));
}

static void use_blk(const char *device, uint64_t ring_features, bool packed)
{
	char drive[128], path[] = "/tmp/vireo-disk-XXXXXX";
	const char *const args[] = { VERSION, "-blockdev", drive, "-device",
				     device, NULL };
	const struct vio_vq_limits limits = { 64, 8 };
	struct vio_features f = vio_blkdrv_features();
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static unsigned char model[256 * 512];
	static struct vio_blkdrv drv;
	struct vio_drv_mem mem;
	struct vio_bus_mmio bus;
	int fd = mkstemp(path);

	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, sizeof(model)), 0);
	close(fd);
	snprintf(drive, sizeof(drive), "driver=raw,node-name=d,"
		 "file.driver=file,file.filename=%s", path);
	start(args);
	/* The block features that it knows, and these ring features. */
	f.w[0] &= (1ull << VIRTIO_F_NOTIFY_ON_EMPTY) - 1;
	f.w[0] |= ring_features;
	bus = find(VIRTIO_ID_BLOCK);
	mem = memory();
	CHECK_EQ(vio_blkdrv_init(&drv, bus_ops(), &bus, &f, &limits,
				 1, &mem), VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED), packed);
	CHECK_EQ(drv.capacity_sectors, 256);
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < 200; i++) {
		unsigned n = 1 + vtest_below(&rnd, 8);
		uint64_t sector = vtest_below(&rnd, 256 - n);
		unsigned char *buf = q.ram + RINGS + AREA / 2;
		struct vio_seg seg[2] = { { buf, 512 * n - 100 },
					  { buf + 8192, 100 } };
		struct vio_blkdrv_req r = { .type = i % 2 ?
			VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
			.sector = sector, .seg = seg, .nr_seg = 2 };

		if (!(i % 2)) {
			vtest_fill(&rnd, model + sector * 512, n * 512);
			memcpy(buf, model + sector * 512, n * 512 - 100);
			memcpy(buf + 8192, model + (sector + n) * 512 - 100,
			       100);
		}
		CHECK_EQ(vio_blkdrv_sync(&drv, 0, &r), VIO_OK);
		CHECK_MEMEQ(buf, model + sector * 512, n * 512 - 100);
		CHECK_MEMEQ(buf + 8192, model + (sector + n) * 512 - 100, 100);
	}
	CHECK_EQ(vio_blkdrv_reset(&drv, NULL, NULL), VIO_OK);
	stop();
	unlink(path);
}

static void use_net(const char *device, struct qemu_net n)
{
	struct qemu_wire wire;
	const char *const args[] = { VERSION, "-netdev", wire.netdev,
				     "-device", device, NULL };
	struct vio_drv_mem mem;
	struct vio_bus_mmio bus;

	qemu_wire_open(&wire);
	start(args);
	bus = find(VIRTIO_ID_NET);
	mem = memory();
	n.ops = bus_ops();
	n.bus = &bus;
	n.mem = &mem;
	n.data = q.ram + RINGS + AREA / 2;
	n.size = 64;
	n.wait = access_wait;
	qemu_net_use(&n, &wire);
	stop();
	qemu_wire_close(&wire);
}

#define SPLIT	(1ull << VIRTIO_F_VERSION_1)

TEST("QEMU's entropy device, split", "")
{
	use_rng(false);
}

TEST("QEMU's entropy device, packed", "")
{
	use_rng(true);
}

TEST("QEMU's disk, split, plain", "")
{
	use_blk("virtio-blk-device,drive=d", SPLIT, false);
}

TEST("QEMU's disk, split, indirect and event index", "")
{
	use_blk("virtio-blk-device,drive=d", SPLIT |
		1ull << VIRTIO_F_EVENT_IDX | 1ull << VIRTIO_F_INDIRECT_DESC,
		false);
}

TEST("QEMU's disk, packed, plain", "")
{
	use_blk("virtio-blk-device,drive=d,packed=on", SPLIT |
		1ull << VIRTIO_F_RING_PACKED, true);
}

TEST("QEMU's disk, packed, indirect and event index", "")
{
	use_blk("virtio-blk-device,drive=d,packed=on", SPLIT |
		1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_EVENT_IDX |
		1ull << VIRTIO_F_INDIRECT_DESC, true);
}

TEST("QEMU's network card, split and packed", "")
{
	use_net("virtio-net-device,netdev=n",
		(struct qemu_net){ .merge = true });
	use_net("virtio-net-device,netdev=n,packed=on",
		(struct qemu_net){ .packed = true });
}

TEST("QEMU's legacy network card",
     "net.other.legacy-interface-framing-requirements.1")
{
	legacy = true;
	use_net("virtio-net-device,netdev=n", (struct qemu_net){ 0 });
	use_net("virtio-net-device,netdev=n,any_layout=off",
		(struct qemu_net){ .framed = true });
	legacy = false;
}

TEST("QEMU's devices in their legacy form",
     "core.other.legacy-interface-feature-bits.1 "
     "core.other.legacy-interface-device-initialization.1 "
     "split.other.legacy-interfaces-virtqueue-layout.1 "
     "split.other.legacy-interfaces-virtqueue-layout.2")
{
	legacy = true;
	use_rng(false);
	use_blk("virtio-blk-device,drive=d", 0, false);
	use_blk("virtio-blk-device,drive=d", 1ull << VIRTIO_F_EVENT_IDX |
		1ull << VIRTIO_F_INDIRECT_DESC, false);
	legacy = false;
}

TEST("places without a device are free, not in error",
     "mmio.driver.mmio-device-register-layout.6")
{
	const char *const args[] = { MODERN, NULL };
	struct vio_bus_mmio bus;

	start(args);
	for (unsigned i = 0; i < NR; i++) {
		base = FIRST + i * 512;
		CHECK_EQ(vio_bus_mmio_probe(&bus, &access_qemu, NULL),
			 VIO_E_AGAIN);
	}
}
