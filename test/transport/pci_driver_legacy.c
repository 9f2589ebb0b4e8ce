/* SPDX-License-Identifier: MIT */
/*
 * pci_driver_legacy.c - our own drivers over the ports of our own PCI
 * function, transitional and legacy.
 */
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>
#include <vireo/spec/pci_legacy.h>

#include "test/transport/pci_machine.h"

#define DATA	(rig.ram + RIG_MEM / 2)

static const struct vio_pci_conf flavours[] = {
	{ .flavour = VIO_PCI_TRANSITIONAL, .vectors = RIG_VECTORS },
	{ .flavour = VIO_PCI_LEGACY, .vectors = RIG_VECTORS },
};
static const struct vio_pci_message messages[] = {
	{ 0xfee00000, 0x40 }, { 0xfee01000, 0x41 }, { 0xfee02000, 0x42 },
};
static struct vio_bus_pci bus;

static void probe(void)
{
	machine_reset(VIO_PCI_BY_PORTS);
	rig_place();
	CHECK_EQ(vio_bus_pci_probe_legacy(&bus, &machine, NULL, MACHINE_AT),
		 VIO_OK);
}

TEST("which interface a function has",
     "pci.driver.pci-device-discovery.2 "
     "pci.other.legacy-interface-device-layout-detection.2 "
     "pci.other.legacy-interface-device-layout-detection.3 "
     "pci.other.legacy-interface-device-layout-detection.4 "
     "pci.other.legacy-interface-device-layout-detection.5 "
     "pci.other.legacy-interfaces-pci-device-layout.2")
{
	rig_blk(&flavours[0]);
	probe();
	CHECK_EQ(bus.device_id, VIRTIO_ID_BLOCK);
	CHECK(bus.ops == &vio_bus_pci_legacy_ops);
	CHECK_EQ(bus.common.space, VIO_PCI_IO);
	CHECK_EQ(bus.common.addr, RIG_PORTS);
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	CHECK(bus.ops == &vio_bus_pci_ops);
	CHECK_EQ(bus.device_id, VIRTIO_ID_BLOCK);
	rig_console(&flavours[1]);
	probe();
	CHECK_EQ(bus.device_id, VIRTIO_ID_CONSOLE);
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);
	rig_rng(&rig_conf);
	rig_place();
	CHECK_EQ(vio_bus_pci_probe_legacy(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);
}

static void interrupts(unsigned how)
{
	if (how == 1)
		vio_bus_pci_intx(&bus);
	if (how == 2)
		CHECK_EQ(vio_bus_pci_msix(&bus, messages, 3), VIO_OK);
}

TEST("the entropy driver: polling, line, messages", "")
{
	for (unsigned i = 0; i < 24; i++) {
		const struct vio_vq_limits limits = { 64, 4 };
		struct vio_features f = machine_features(i / 6);
		struct vio_drv_mem dm;
		struct vio_rngdrv drv;
		uint32_t got = 0;

		rig_rng(&flavours[i & 1]);
		probe();
		interrupts(i % 3);
		dm = machine_mem();
		dm.shared.at += 4096;	/* page 0 would mean no queue */
		CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits,
					 &dm), VIO_OK);
		CHECK_EQ(drv.vq.size, RIG_SIZE);
		for (unsigned k = 0; k < 100; k++) {
			memset(DATA, 0, 64);
			CHECK_EQ(vio_rngdrv_read(&drv, DATA, 64, &got),
				 VIO_OK);
			CHECK_EQ(got, 64);
			CHECK_EQ(DATA[63], 0x5a);
		}
		CHECK_GT(watch.notifies[0], 0);
		CHECK_EQ(rig.edges != 0, i % 3 == 1);
		CHECK_EQ(rig.msi[1] != 0, i % 3 == 2);
		CHECK_EQ(watch.isr_reads != 0, i % 3 == 1);
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		CHECK_EQ(rig.mem.pins, 0);
	}
}

TEST("the block driver, whose configuration moves with MSI-X",
     "pci.other.legacy-interfaces-pci-device-layout.4")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static struct vio_blkdrv bd;	/* large */

	for (unsigned i = 0; i < 12; i++) {
		const struct vio_vq_limits limits = { RIG_SIZE, 4 };
		struct vio_features f = machine_features(i / 3);
		struct vio_drv_mem dm;

		vio_feature_set(&f, VIRTIO_BLK_F_BLK_SIZE);
		vio_feature_set(&f, VIRTIO_BLK_F_FLUSH);
		rig_blk(&flavours[i & 1]);
		probe();
		interrupts(i % 3);
		dm = machine_mem();
		CHECK_EQ(vio_blkdrv_init(&bd, bus.ops, &bus, &f, &limits, 1,
					 &dm), VIO_OK);
		CHECK_EQ(bd.capacity_sectors, RIG_SECTORS);
		CHECK_EQ(bd.blk_size, 512);
		for (unsigned k = 0; k < 100; k++) {
			uint64_t sector = vtest_below(&rnd, RIG_SECTORS - 1);
			struct vio_seg data = { DATA, 1024 };
			struct vio_blkdrv_req r = { .type = k & 1 ?
				VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
				.sector = sector, .seg = &data, .nr_seg = 1 };

			if (!(k & 1))
				vtest_fill(&rnd, DATA, 1024);
			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
			CHECK_MEMEQ(rig.disk + sector * 512, DATA, 1024);
		}
		CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
	}
}

TEST("a ring that the device cannot be told of", "")
{
	struct vio_queue_layout l = { RIG_SIZE, { 0 }, { 0 }, { 0 } };

	rig_rng(&flavours[1]);
	probe();
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_E_RANGE);
	l.desc.v = RIG_GUEST + 16;
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_E_RANGE);
	l.desc.v = 1ull << 44;
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_E_RANGE);
	l.desc.v = RIG_GUEST + RIG_MEM;		/* not in memory */
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_E_PEER);
	l.desc.v = RIG_GUEST;
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_OK);
	CHECK_EQ(bus.ops->queue_start(&bus, 0, &l), VIO_E_STATE);
}

TEST("the ring has the size that the device says, or none", "")
{
	const struct vio_vq_limits limits = { RIG_SIZE / 2, 0 };
	struct vio_features f = machine_features(0);
	struct vio_drv_mem dm;
	struct vio_rngdrv drv;

	rig_rng(&flavours[1]);
	probe();
	dm = machine_mem();
	CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits, &dm),
		 VIO_E_NOSPC);
}

TEST("configuration is written through the ports, and not past their end", "")
{
	unsigned char big[256] = { 0 };
	uint16_t cols = 0;

	rig_console(&flavours[0]);
	probe();
	CHECK_EQ(bus.ops->config_read(&bus, 0, &cols, 2), VIO_OK);
	CHECK_EQ(cols, 80);
	CHECK_EQ(bus.ops->config_read(&bus, 4000, &cols, 2), VIO_OK);
	CHECK_EQ(cols, 0);
	CHECK_EQ(bus.ops->config_write(&bus, 8, big, 4), VIO_OK);
	CHECK_EQ(bus.ops->config_write(&bus, 0, big, 256), VIO_E_RANGE);
	CHECK_EQ(bus.ops->config_write(&bus, UINT32_MAX, big, 1),
		 VIO_E_RANGE);
}
