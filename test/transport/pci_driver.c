/* SPDX-License-Identifier: MIT */
/*
 * pci_driver.c - our own drivers over our own PCI function, watched for what
 * a driver may not do, and probes of functions that are not what they say.
 */
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>

#include "test/transport/pci_machine.h"

#define DATA	(rig.ram + RIG_MEM / 2)

static struct vio_bus_pci bus;

static void probe(enum vio_pci_mechanism mechanism)
{
	machine_reset(mechanism);
	rig_place();
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
}

TEST("the function is found by every mechanism",
     "pci.driver.pci-device-discovery.1 pci.driver.pci-device-discovery.3 "
     "pci.driver.pci-device-discovery.4")
{
	for (unsigned i = 0; i < 3; i++) {
		uint32_t f = 0;

		rig_blk(&rig_conf);
		rig.p.config[VIO_PCI_REVISION] = (unsigned char)(i * 100);
		rig.p.config[VIO_PCI_SUBSYS] = (unsigned char)(i * 70);
		machine_reset((enum vio_pci_mechanism)i);
		CHECK_EQ(vio_pci_next(&machine, NULL, &f), VIO_OK);
		CHECK_EQ(f, MACHINE_AT);
		CHECK_EQ(watch.config_writes, 0);
		CHECK_EQ(vio_pci_get(&machine, NULL, f, VIO_PCI_DEVICE, 2),
			 0x1042);
		CHECK_EQ(vio_pci_get(&machine, NULL, f, VIO_PCI_REVISION, 1),
			 i * 100);
		probe((enum vio_pci_mechanism)i);
		CHECK_EQ(bus.device_id, VIRTIO_ID_BLOCK);
		CHECK_EQ(bus.vectors_max, RIG_VECTORS);
		f++;
		CHECK_EQ(vio_pci_next(&machine, NULL, &f), VIO_E_UNSUPP);
	}
	/* Another vendor's, and one beyond the range. */
	rig.p.config[VIO_PCI_VENDOR] ^= 1;
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);
	rig.p.config[VIO_PCI_VENDOR] ^= 1;
	rig.p.config[VIO_PCI_DEVICE] = 0x80;
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);
}

static void use_rng(unsigned set)
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_drv_mem dm = machine_mem();
	struct vio_features f = machine_features(set);
	struct vio_rngdrv drv;
	uint32_t got = 0;

	CHECK_EQ(bus.device_id, VIRTIO_ID_ENTROPY);
	CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits, &dm),
		 VIO_OK);
	for (unsigned i = 0; i < 100; i++) {
		memset(DATA, 0, 64);
		CHECK_EQ(vio_rngdrv_read(&drv, DATA, 64, &got), VIO_OK);
		CHECK_EQ(got, 64);
		CHECK_EQ(DATA[63], 0x5a);
	}
	CHECK_GT(watch.notifies[0], 0);
	CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
	CHECK_EQ(rig.mem.pins, 0);
}

TEST("the entropy driver, polling, every feature set",
     "pci.driver.common-configuration-structure-layout.1 "
     "pci.driver.common-configuration-structure-layout.2 "
     "pci.driver.common-configuration-structure-layout.3 "
     "pci.driver.common-configuration-structure-layout.4 "
     "pci.driver.common-configuration-structure-layout.5 "
     "pci.driver.common-configuration-structure-layout.6 "
     "pci.driver.virtio-structure-pci-capabilities.7 "
     "pci.driver.available-buffer-notifications.1 "
     "pci.driver.available-buffer-notifications.3")
{
	for (unsigned set = 0; set < 16; set++) {
		rig_rng(&rig_conf);
		probe(VIO_PCI_BY_HOOK);
		use_rng(set);
		CHECK_EQ(watch.notified, 0);
		CHECK_EQ(rig.edges, 0);
	}
}

TEST("with the interrupt line", "")
{
	for (unsigned set = 0; set < 16; set++) {
		rig_rng(&rig_conf);
		probe(VIO_PCI_BY_PORTS);
		vio_bus_pci_intx(&bus);
		use_rng(set);
		CHECK_GT(rig.edges, 0);
		CHECK(!rig.line);
		CHECK_GT(watch.isr_reads, 0);
	}
}

TEST("what the line's interrupt says may be both",
     "pci.driver.notification-device-configuration-changes.1 "
     "pci.other.notification-device-configuration-changes.1")
{
	rig_rng(&rig_conf);
	probe(VIO_PCI_BY_HOOK);
	vio_bus_pci_intx(&bus);
	rig_negotiate(0, RIG_V1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 15, 1);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), 0);
	vio_dev_config_changed(rig.dev);
	rig.dev->transport->queue_notify(rig.dev->transport_ctx, rig.queue);
	CHECK(rig.line);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), VIRTIO_PCI_ISR_QUEUE |
		 VIRTIO_PCI_ISR_CONFIG);
	CHECK(!rig.line);
	__atomic_store_n(&rig.p.isr, 0xf0, __ATOMIC_RELAXED);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), 0);	/* reserved bits */
}

static const struct vio_pci_message messages[RIG_VECTORS + 1] = {
	{ 0xfee00000, 0x40 }, { 0x1fee01000, 0x41 }, { 0xfee02000, 0x42 },
};

TEST("with messages, one or one a queue",
     "pci.driver.msi-x-vector-configuration.1 "
     "pci.driver.msi-x-vector-configuration.4 "
     "pci.driver.msi-x-vector-configuration.5 "
     "pci.driver.isr-status-capability.1")
{
	for (uint16_t nr = 1; nr <= 3; nr++) {
		rig_rng(&rig_conf);
		probe(VIO_PCI_BY_ECAM);
		CHECK_EQ(vio_bus_pci_msix(&bus, messages, nr), VIO_OK);
		use_rng(5);
		CHECK_GT(rig.msi[nr > 1], 0);
		CHECK_EQ(rig.msi[nr < 2] + rig.msi[2], 0);
		CHECK_EQ(rig.vectors[nr - 1].word[2], 0x40u + nr - 1);
		CHECK_EQ(watch.isr_reads, 0);
		CHECK_EQ(rig.edges, 0);
	}
	CHECK_EQ(vio_bus_pci_vector(&bus, 0), 1);
	CHECK_EQ(vio_bus_pci_vector(&bus, 1), 2);
	CHECK_EQ(vio_bus_pci_vector(&bus, 2), 1);
	/* More than the device has, and none at all. */
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, RIG_VECTORS + 1),
		 VIO_E_UNSUPP);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 0), VIO_E_UNSUPP);
	rig_rng(&(struct vio_pci_conf){ .vectors = 1 });
	probe(VIO_PCI_BY_HOOK);
	CHECK_EQ(bus.vectors_max, 1);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 1), VIO_OK);
	use_rng(0);
	rig_rng(&(struct vio_pci_conf){ .vectors = 0 });
	probe(VIO_PCI_BY_HOOK);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 1), VIO_E_UNSUPP);
	use_rng(0);
}

TEST("a vector that the device cannot map fails the start", "")
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = machine_features(0);
	struct vio_drv_mem dm;
	struct vio_rngdrv drv;

	rig_rng(&rig_conf);
	probe(VIO_PCI_BY_HOOK);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 2), VIO_OK);
	rig.p.nr_vectors = 1;		/* that is how it comes to be */
	dm = machine_mem();
	CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits, &dm),
		 VIO_E_IO);
}

static uint64_t map(void *ctx, enum vio_pci_space space, uint64_t addr,
		    uint64_t len)
{
	(void)ctx;
	CHECK_EQ(space, VIO_PCI_MEM);
	CHECK_GT(len, 0);
	CHECK_LE(len, addr == RIG_REGS_BAR ? VIRTIO_PCI_COMMON_SIZE : 4096);
	return watch.mapped ? addr + watch.mapped : UINT64_MAX;
}

TEST("structures are reached where the machine maps them",
     "pci.driver.virtio-structure-pci-capabilities.5")
{
	rig_rng(&rig_conf);
	/* Longer than we know, as others' may be. */
	rig.p.config[rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_COMMON_CFG,
			     0) + VIRTIO_PCI_CAP_LENGTH + 1] = 1;
	machine_reset(VIO_PCI_BY_HOOK);
	rig_place();
	machine.map = map;
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);
	watch.mapped = 0x100000;
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 2), VIO_OK);
	use_rng(3);
}

TEST("notifications with data, and with what the device gave for the index",
     "core.driver.reserved-feature-bits.12 "
     "pci.driver.available-buffer-notifications.2 "
     "pci.driver.available-buffer-notifications.4 "
     "pci.driver.available-buffer-notifications.5 "
     "pci.driver.available-buffer-notifications.6")
{
	for (unsigned i = 0; i < 4; i++) {
		const struct vio_pci_conf conf = {
			.notification_data = i & 1, .notif_config_data = i & 2,
			.notify_multiplier = 1024 };

		rig_rng(&conf);
		rig.regs[0].notify_data = 0x77;
		probe(VIO_PCI_BY_HOOK);
		use_rng(0);
		CHECK_EQ(watch.notified & 0xffff, i & 2 ? 0x77 : 0);
		CHECK_EQ(watch.notified >> 16, i & 1 ? 100 : 0);
		CHECK_EQ(watch.notify_len, i & 1 ? 4 : 2);
		CHECK_EQ(rig.regs[0].next, i & 1 ? 100 : 0);
	}
}

static struct vio_blkdrv bd;	/* large */
static struct vio_seg data = { NULL, 1024 };

static void start_blk(unsigned set)
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = machine_features(set);
	struct vio_drv_mem dm;

	vio_feature_set(&f, VIRTIO_BLK_F_BLK_SIZE);
	vio_feature_set(&f, VIRTIO_BLK_F_FLUSH);
	rig_blk(&rig_conf);
	probe(VIO_PCI_BY_HOOK);
	dm = machine_mem();
	CHECK_EQ(vio_blkdrv_init(&bd, bus.ops, &bus, &f, &limits, 1, &dm),
		 VIO_OK);
	CHECK_EQ(bd.capacity_sectors, RIG_SECTORS);
	CHECK_EQ(bd.blk_size, 512);
	data.base = DATA;
}

static struct vio_blkdrv_req request(uint32_t type, uint64_t sector)
{
	return (struct vio_blkdrv_req){ .type = type, .sector = sector,
					.seg = &data, .nr_seg = 1 };
}

TEST("the block driver, every feature set",
     "pci.driver.pci-device-layout.1 pci.driver.pci-device-layout.2")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned set = 0; set < 16; set++) {
		start_blk(set);
		for (uint64_t sector = 0; sector < RIG_SECTORS - 2; sector++) {
			struct vio_blkdrv_req r =
				request(VIRTIO_BLK_T_OUT, sector);
			unsigned char want[1024];

			vtest_fill(&rnd, want, sizeof(want));
			memcpy(data.base, want, sizeof(want));
			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
			CHECK_MEMEQ(rig.disk + sector * 512, want, 1024);
			memset(data.base, 0, sizeof(want));
			r = request(VIRTIO_BLK_T_IN, sector);
			CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
			CHECK_MEMEQ(data.base, want, 1024);
		}
		CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
	}
}

TEST("a queue is reset and given back, while its request is late",
     "pci.driver.common-configuration-structure-layout.7 "
     "pci.driver.common-configuration-structure-layout.8 "
     "pci.driver.common-configuration-structure-layout.9")
{
	struct vio_blkdrv_req r = request(VIRTIO_BLK_T_IN, 0);

	start_blk(4);
	rig.hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(rig.held != NULL);
	CHECK_EQ(vio_drv_queue_reset(&bd.drv, 0), VIO_OK);
	CHECK(!rig.held);
	CHECK_EQ(rig.queue[0].state, VIO_QUEUE_STOPPED);
	vio_vq_reset(&bd.queue[0].vq);
	CHECK_EQ(vio_drv_queue_again(&bd.drv, 0, &bd.queue[0].vq), VIO_OK);
	CHECK_EQ(rig.queue[0].state, VIO_QUEUE_RUNNING);
}

TEST("the console driver: two queues, what is printed comes back", "")
{
	const struct vio_vq_limits limits = { 8, 0 };
	static struct vio_condrv con;
	struct vio_features f = machine_features(5);
	unsigned char got[64];
	struct vio_drv_mem dm;
	size_t n = 0;

	vio_feature_set(&f, VIRTIO_CONSOLE_F_SIZE);
	rig_console(&rig_conf);
	probe(VIO_PCI_BY_HOOK);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 3), VIO_OK);
	dm = machine_mem();
	CHECK_EQ(vio_condrv_init(&con, bus.ops, &bus, &f, &limits, &dm),
		 VIO_OK);
	memcpy(DATA, "hello", 5);
	CHECK_EQ(vio_condrv_print(&con, DATA, 5), VIO_OK);
	while (!n && machine.wait(NULL) == VIO_OK)
		n = vio_condrv_read(&con, got, sizeof(got));
	CHECK_EQ(n, 5);
	CHECK_MEMEQ(got, "hello", 5);
	CHECK_GT(rig.msi[1], 0);	/* the terminal's input */
	CHECK_GT(rig.msi[2], 0);	/* what was printed */
	CHECK_EQ(vio_drv_reset(&con.drv), VIO_OK);
}

/* -- addresses where no firmware gave any --------------------------------- */

TEST("regions get addresses, each at a multiple of its size", "")
{
	struct vio_pci_windows w = { 0xfe000800, 0xfe100000, 0, 0 };
	struct vio_shm shm = { 1, 0, 0x10000 };
	struct vio_pci_conf conf = rig_conf;

	conf.shm_bar_size = 0x10000;
	rig_rng(&rig_conf);
	rig.dev->shm = &shm;
	rig.dev->nr_shm = 1;
	CHECK_EQ(vio_pci_init(&rig.p, &conf, rig.dev, &rig.mem, rig.regs,
			      rig.vectors, rig.p.ops, NULL, NULL), VIO_OK);
	machine_reset(VIO_PCI_BY_HOOK);
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT),
		 VIO_E_UNSUPP);		/* nothing can be reached */
	rig_cfg_put(VIO_PCI_COMMAND, 0, 2);
	CHECK_EQ(vio_pci_assign(&machine, NULL, MACHINE_AT, &w), VIO_OK);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 4, 4), 0xfe001000);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 8, 4) & ~15u, 0xfe010000);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 12, 4), 0);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 16, 4) & ~15u, 0xfe020000);
	CHECK_EQ(w.mem, 0xfe024000);
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	CHECK_EQ(rig.where[4], 0xfe020000);
	CHECK_EQ(bus.ops->shm(&bus, 1, &shm), VIO_OK);
	CHECK_EQ(shm.base, 0xfe010000);
	CHECK_EQ(shm.len, 0x10000);
	CHECK_EQ(bus.ops->shm(&bus, 2, &shm), VIO_E_UNSUPP);
	w = (struct vio_pci_windows){ 0xfe000000, 0xfe010000, 0, 0 };
	CHECK_EQ(vio_pci_assign(&machine, NULL, MACHINE_AT, &w), VIO_E_NOSPC);
}

/* -- functions that are not what they say --------------------------------- */

static unsigned cap_of(unsigned type)
{
	return rig_cap(VIO_PCI_CAP_VENDOR, type, 0);
}

static int try_probe(void)
{
	machine_reset(VIO_PCI_BY_HOOK);
	rig_place();
	return vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT);
}

/* A copy of the common configuration's capability, before all others. */
static unsigned char *first_cap(void)
{
	unsigned char *c = rig.p.config;

	memcpy(c + 0xf0, c + cap_of(VIRTIO_PCI_CAP_COMMON_CFG), 16);
	c[0xf1] = c[VIO_PCI_CAP_PTR];
	c[VIO_PCI_CAP_PTR] = 0xf0;
	return c + 0xf0;
}

TEST("capabilities of reserved kinds are not looked at",
     "pci.driver.virtio-structure-pci-capabilities.1 "
     "pci.driver.virtio-structure-pci-capabilities.2 "
     "pci.driver.virtio-structure-pci-capabilities.4")
{
	static const unsigned char reserved[] = { 0, 6, 7, 10, 255 };
	unsigned char *c;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(reserved); i++) {
		rig_rng(&rig_conf);
		c = first_cap();
		c[VIRTIO_PCI_CAP_CFG_TYPE] = reserved[i];
		c[VIRTIO_PCI_CAP_OFFSET] = 4;
		CHECK_EQ(try_probe(), VIO_OK);
		use_rng(0);
	}
	for (unsigned bar = 6; bar < 256; bar++) {
		rig_rng(&rig_conf);
		c = first_cap();
		c[VIRTIO_PCI_CAP_BAR] = (unsigned char)bar;
		c[VIRTIO_PCI_CAP_OFFSET] = 4;
		CHECK_EQ(try_probe(), VIO_OK);
		CHECK_EQ(bus.common.addr, RIG_REGS_BAR);
	}
	use_rng(0);
	/* Of two that can be used, the first. */
	rig_rng(&rig_conf);
	first_cap()[VIRTIO_PCI_CAP_OFFSET] = 4;
	CHECK_EQ(try_probe(), VIO_OK);
	CHECK_EQ(bus.common.addr, RIG_REGS_BAR + 4);
}

TEST("a place for notifications of two bytes is enough",
     "pci.driver.available-buffer-notifications.1")
{
	rig_rng(&rig_conf);
	rig.p.config[cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG) +
		     VIRTIO_PCI_CAP_LENGTH] = 2;
	CHECK_EQ(try_probe(), VIO_OK);
	CHECK_EQ(bus.notify.len, 2);
	use_rng(0);
}

TEST("longer capabilities and structures than we know",
     "pci.driver.virtio-structure-pci-capabilities.3 "
     "pci.driver.virtio-structure-pci-capabilities.6 "
     "pci.other.virtio-structure-pci-capabilities.1 "
     "pci.other.virtio-structure-pci-capabilities.3 "
     "pci.other.virtio-structure-pci-capabilities.4")
{
	unsigned char *c;

	rig_blk(&rig_conf);
	c = rig.p.config;
	for (unsigned type = 1; type < 5; type++) {
		c[cap_of(type) + VIRTIO_PCI_CAP_LEN] = 0xfc;
		memset(c + cap_of(type) + VIRTIO_PCI_CAP_LENGTH, 0xff, 4);
	}
	/* More than the region has is more than we can use. */
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	c[cap_of(2) + VIRTIO_PCI_CAP_LENGTH + 1] = 0x0f;
	memset(c + cap_of(2) + VIRTIO_PCI_CAP_LENGTH + 2, 0, 2);
	CHECK_EQ(try_probe(), VIO_OK);
	CHECK_EQ(bus.common.len, VIRTIO_PCI_COMMON_SIZE);
	CHECK_EQ(bus.isr.len, 1);
	CHECK_EQ(bus.device.len, 4096);
}

TEST("structures outside of their regions are none", "")
{
	static const uint32_t off[] = { 0x4000, 0x3fe0, 0xfffffffc, 2 };
	unsigned char *c;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(off); i++) {
		rig_rng(&rig_conf);
		c = rig.p.config + cap_of(VIRTIO_PCI_CAP_COMMON_CFG);
		for (unsigned k = 0; k < 4; k++)
			c[VIRTIO_PCI_CAP_OFFSET + k] =
				(unsigned char)(off[i] >> 8 * k);
		CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	}
	/* Too short; no list at all; a list that never ends. */
	rig_rng(&rig_conf);
	c = rig.p.config + cap_of(VIRTIO_PCI_CAP_COMMON_CFG);
	c[VIRTIO_PCI_CAP_LENGTH] = 0x37;
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	rig_rng(&rig_conf);
	rig.p.config[VIO_PCI_STATUS] = 0;
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	rig_rng(&rig_conf);
	c = rig.p.config + rig.p.config[VIO_PCI_CAP_PTR];
	c[1] = rig.p.config[VIO_PCI_CAP_PTR];
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	rig_rng(&rig_conf);
	rig.p.config[VIO_PCI_CAP_PTR] = 0x10;	/* within the header */
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	/* A table outside of its region. */
	rig_rng(&rig_conf);
	rig.p.config[rig.p.cap_msix + VIO_PCI_MSIX_TABLE + 1] = 0x10;
	CHECK_EQ(try_probe(), VIO_OK);
	CHECK_EQ(vio_bus_pci_msix(&bus, messages, 1), VIO_E_UNSUPP);
}

TEST("a capability that the space cuts off is none", "")
{
	unsigned char *c;

	rig_rng(&rig_conf);
	c = rig.p.config;
	memcpy(c + 0xf0, c + cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG), 16);
	c[cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG) + VIRTIO_PCI_CAP_CFG_TYPE] = 0;
	c[0xf1] = c[VIO_PCI_CAP_PTR];
	c[VIO_PCI_CAP_PTR] = 0xf0;
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
}

TEST("a structure of the first standard has no later registers", "")
{
	unsigned char *c;

	rig_rng(&(struct vio_pci_conf){ .notif_config_data = true });
	c = rig.p.config + cap_of(VIRTIO_PCI_CAP_COMMON_CFG);
	c[VIRTIO_PCI_CAP_LENGTH] = 0x38;
	CHECK_EQ(try_probe(), VIO_OK);
	use_rng(0);
	CHECK(!vio_dev_has(rig.dev, VIRTIO_F_RING_RESET));
	CHECK(!vio_dev_has(rig.dev, VIRTIO_F_NOTIF_CONFIG_DATA));
}

TEST("a notification address outside of its structure fails the start", "")
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = machine_features(0);
	struct vio_drv_mem dm;
	struct vio_rngdrv drv;
	unsigned char *c;

	rig_rng(&rig_conf);
	c = rig.p.config + cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG);
	c[VIRTIO_PCI_CAP_LENGTH] = 1;
	CHECK_EQ(try_probe(), VIO_E_UNSUPP);
	rig_console(&rig_conf);
	c = rig.p.config + cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG);
	c[VIRTIO_PCI_NOTIFY_CAP_MULT + 3] = 0x80;
	CHECK_EQ(try_probe(), VIO_OK);
	dm = machine_mem();
	CHECK_EQ(vio_drv_begin(&drv.drv, bus.ops, &bus, &f), VIO_OK);
	CHECK_EQ(vio_drv_queue(&drv.drv, 0, &drv.vq, &limits, &dm), VIO_OK);
	CHECK_EQ(vio_drv_queue(&drv.drv, 1, &drv.vq, &limits, &dm),
		 VIO_E_PEER);
}
