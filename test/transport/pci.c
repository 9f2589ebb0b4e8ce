/* SPDX-License-Identifier: MIT */
/*
 * pci.c - the device side of the PCI transport, access by access: identity,
 * regions, capabilities, common configuration, notifications.
 */
#include "test/transport/pci_rig.h"

#define C(field)	VIRTIO_PCI_COMMON_##field

static uint32_t status(void)
{
	return rig_common(C(DEVICE_STATUS), 1);
}

static void put_status(uint32_t v)
{
	rig_common_put(C(DEVICE_STATUS), v, 1);
}

TEST("what it is", "pci.device.virtio-over-pci-bus.1 "
     "pci.device.pci-device-discovery.1 pci.device.pci-device-discovery.2 "
     "pci.device.pci-device-discovery.3 pci.device.pci-device-discovery.4 "
     "pci.device.pci-device-discovery.5 pci.device.pci-device-discovery.6")
{
	const struct vio_pci_conf other = { .subsystem_vendor = 0x1234,
		.subsystem = 0x5678, .class_code = 0x010203 };

	rig_blk(&rig_conf);
	CHECK_EQ(rig_cfg(VIO_PCI_VENDOR, 4), 0x10421af4);
	CHECK_EQ(rig_cfg(VIO_PCI_REVISION, 1), 1);
	CHECK_EQ(rig_cfg(VIO_PCI_REVISION, 4) >> 8, 0x018000);
	CHECK_EQ(rig_cfg(VIO_PCI_SUBSYS_VENDOR, 2), 0x1af4);
	CHECK_GE(rig_cfg(VIO_PCI_SUBSYS, 2), 0x40);
	CHECK_EQ(rig_cfg(VIO_PCI_HEADER, 1), 0);
	CHECK_EQ(rig_cfg(VIO_PCI_INT_PIN, 1), 1);
	CHECK(rig_cfg(VIO_PCI_STATUS, 2) & VIO_PCI_STATUS_CAPS);
	CHECK_EQ(rig_cfg(0x100, 4), 0);		/* no extended ones */
	rig_rng(&other);
	CHECK_EQ(rig_cfg(VIO_PCI_VENDOR, 4), 0x10441af4);
	CHECK_EQ(rig_cfg(VIO_PCI_SUBSYS_VENDOR, 4), 0x56781234);
	CHECK_EQ(rig_cfg(VIO_PCI_REVISION, 4), 0x01020301);
	CHECK_EQ(rig_cap(VIO_PCI_CAP_MSIX, 0, 0), 0);
	rig_console(&other);
	CHECK_EQ(rig_cfg(VIO_PCI_DEVICE, 2), 0x1043);
	/* What says who it is cannot be written. */
	rig_cfg_put(VIO_PCI_VENDOR, UINT32_MAX, 4);
	rig_cfg_put(VIO_PCI_REVISION, UINT32_MAX, 4);
	rig_cfg_put(VIO_PCI_CAP_PTR, 0xff, 1);
	rig_cfg_put(VIO_PCI_INT_PIN, 0xff, 1);
	CHECK_EQ(rig_cfg(VIO_PCI_VENDOR, 4), 0x10431af4);
	CHECK_EQ(rig_cfg(VIO_PCI_REVISION, 4), 0x01020301);
	CHECK_EQ(rig_cfg(VIO_PCI_CAP_PTR, 1), 0x40);
	CHECK_EQ(rig_cfg(VIO_PCI_INT_PIN, 1), 1);
	/* The line's number is software's own note. */
	rig_cfg_put(VIO_PCI_INT_LINE, 11, 1);
	CHECK_EQ(rig_cfg(VIO_PCI_INT_LINE, 1), 11);
}

static uint64_t bar_size(unsigned bar)
{
	unsigned off = VIO_PCI_BAR + 4 * bar;
	uint32_t old = rig_cfg(off, 4);
	uint64_t mask;

	rig_cfg_put(off, UINT32_MAX, 4);
	mask = rig_cfg(off, 4) & ~15u;
	if (old & VIO_PCI_BAR_64) {
		rig_cfg_put(off + 4, UINT32_MAX, 4);
		mask |= (uint64_t)rig_cfg(off + 4, 4) << 32;
	} else if (mask) {
		mask |= ~(uint64_t)UINT32_MAX;
	}
	return ~mask + 1;
}

TEST("regions say their size, move and are switched off", "")
{
	uint64_t v = 0, addr, size;

	rig_blk(&rig_conf);
	CHECK_EQ(bar_size(0), 0);
	CHECK_EQ(bar_size(1), 0x1000);
	CHECK_EQ(bar_size(2), 0);
	CHECK_EQ(bar_size(4), 0x4000);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 4, 4) & 15, 0);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 16, 4) & 15, VIO_PCI_BAR_64);
	CHECK_EQ(rig.moves, 0);		/* decoding was off */
	rig_place();
	CHECK_EQ(rig.where[1], RIG_MSIX_BAR);
	CHECK_EQ(rig.where[4], RIG_REGS_BAR);
	CHECK_EQ(rig_common(C(NUM_QUEUES), 2), 1);
	CHECK(vio_pci_bar_where(&rig.p, 4, &addr, &size));
	CHECK_EQ(addr, RIG_REGS_BAR);
	CHECK_EQ(size, 0x4000);
	CHECK(!vio_pci_bar_where(&rig.p, 0, &addr, &size));
	CHECK(!vio_pci_bar_where(&rig.p, 6, &addr, &size));
	/* It moves while it is in use. */
	rig_negotiate(0, RIG_V1);
	rig_cfg_put(VIO_PCI_BAR + 16, 0x10000, 4);
	CHECK_EQ(rig.where[4], (RIG_REGS_BAR >> 32 << 32) + 0x10000);
	CHECK(!vio_pci_access(&rig.p, VIO_PCI_MEM, RIG_REGS_BAR, &v, 4,
			      false));
	rig_cfg_put(VIO_PCI_BAR + 16, (uint32_t)RIG_REGS_BAR, 4);
	CHECK_EQ(status(), 11);
	/* Nothing is at 0, nor at the end while the size is asked for. */
	rig_cfg_put(VIO_PCI_BAR + 4, 0, 4);
	CHECK_EQ(rig.where[1], 0);
	rig_cfg_put(VIO_PCI_BAR + 4, UINT32_MAX, 4);
	CHECK_EQ(rig.where[1], 0);
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MASTER, 2);
	CHECK_EQ(rig.where[4], 0);
	CHECK(!vio_pci_access(&rig.p, VIO_PCI_MEM, RIG_REGS_BAR, &v, 4,
			      false));
	CHECK(!vio_pci_access(&rig.p, VIO_PCI_CONFIG, 4096, &v, 4, false));
}

TEST("capabilities say where the structures are",
     "pci.device.virtio-structure-pci-capabilities.1 "
     "pci.device.common-configuration-structure-layout.1 "
     "pci.device.common-configuration-structure-layout.2 "
     "pci.device.notification-capability.1 "
     "pci.device.notification-capability.6 "
     "pci.device.notification-capability.7 "
     "pci.device.notification-capability.8 "
     "pci.device.notification-capability.9 "
     "pci.device.isr-status-capability.1 "
     "pci.device.device-specific-configuration.1 "
     "pci.device.pci-configuration-access-capability.1 "
     "pci.other.device-specific-configuration.1")
{
	static const struct { unsigned type, len; } want[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, 16 },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 20 },
		{ VIRTIO_PCI_CAP_ISR_CFG, 16 },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 16 },
		{ VIRTIO_PCI_CAP_PCI_CFG, 20 },
	};
	const struct vio_pci_conf conf = { .vectors = 2,
		.notification_data = true, .notify_multiplier = 256 };
	unsigned cap;

	rig_console(&conf);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(want); i++) {
		cap = rig_cap(VIO_PCI_CAP_VENDOR, want[i].type, 0);
		CHECK_NE(cap, 0);
		CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_LEN, 1), want[i].len);
		CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_OFFSET, 4) % 4, 0);
		CHECK_EQ(rig_cap(VIO_PCI_CAP_VENDOR, want[i].type, 1), 0);
	}
	cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_NOTIFY_CFG, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), 256);
	rig_place();
	rig_common_put(C(QUEUE_SELECT), 1, 2);
	CHECK_GE(rig_cfg(cap + VIRTIO_PCI_CAP_LENGTH, 4),
		 rig_common(C(QUEUE_NOTIFY_OFF), 2) * 256 + 4);
	CHECK(vio_has(&rig.dev->offered, VIRTIO_F_NOTIFICATION_DATA));
	/* A type without configuration has no place for it. */
	rig_rng(&conf);
	CHECK_EQ(rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_DEVICE_CFG, 0), 0);
}

TEST("without NOTIFICATION_DATA the multiplier and the length are right too",
     "pci.device.notification-capability.2 "
     "pci.device.notification-capability.3 "
     "pci.device.notification-capability.4 "
     "pci.device.notification-capability.5")
{
	unsigned cap;

	rig_console(&rig_conf);
	rig_place();
	CHECK(!vio_has(&rig.dev->offered, VIRTIO_F_NOTIFICATION_DATA));
	cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_NOTIFY_CFG, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_OFFSET, 4) % 2, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), 4);
	rig_common_put(C(QUEUE_SELECT), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_NOTIFY_OFF), 2), 1);
	CHECK_GE(rig_cfg(cap + VIRTIO_PCI_CAP_LENGTH, 4), 1 * 4 + 2);
}

#define TRY(fn, want)							\
	CHECK_EQ(vio_pci_init(fn, &conf, rig.dev, &rig.mem, rig.regs,	\
			      rig.vectors, rig.p.ops, NULL, NULL), want)

TEST("shared memory and a vendor's data",
     "pci.device.shared-memory-capability.1 "
     "pci.device.shared-memory-capability.2 "
     "pci.device.vendor-data-capability.1 "
     "pci.device.vendor-data-capability.2 "
     "pci.device.vendor-data-capability.3 "
     "pci.other.vendor-data-capability.1")
{
	struct vio_shm shm[] = { { 1, 0, 1ull << 33 },
				 { 7, 1ull << 33, 0x1000 } };
	struct vio_pci_conf conf = { .shm_bar_size = 1ull << 34,
		.vendor_id = 0x1234, .vendor_data = "hello", .vendor_len = 5 };
	struct vio_pci p;
	unsigned cap;

	rig_rng(&conf);
	rig.dev->shm = shm;
	rig.dev->nr_shm = 2;
	TRY(&rig.p, VIO_OK);
	cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_LEN, 1), 24);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_BAR, 1), 2);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_ID, 1), 1);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_LENGTH, 4), 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP64_LENGTH_HI, 4), 2);
	cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, 1);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_ID, 1), 7);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP64_OFFSET_HI, 4), 2);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_LENGTH, 4), 0x1000);
	CHECK_EQ(bar_size(2), 1ull << 34);
	cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_VENDOR_CFG, 0);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_CAP_LEN, 1), 12);
	CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_VNDR_VENDOR_ID, 2), 0x1234);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(rig_cfg(cap + VIRTIO_PCI_VNDR_DATA + i * 2, 2),
			 i ? 'l' | 'l' << 8 : 'h' | 'e' << 8);
	rig_place();
	CHECK_EQ(rig.where[2], RIG_SHM_BAR);
	CHECK_EQ(rig_mem(RIG_SHM_BAR, 4), 0);
	/* What a caller may not ask for. */
	shm[1].id = 1;
	TRY(&p, VIO_E_INVAL);
	shm[1].id = 2;
	shm[1].len = 1ull << 34;
	TRY(&p, VIO_E_INVAL);
	rig.dev->nr_shm = 1;
	conf.vendor_id = 0x1af4;
	TRY(&p, VIO_E_INVAL);
	conf.vendor_id = 0x1234;
	conf.vectors = 2049;
	TRY(&p, VIO_E_INVAL);
	conf.vectors = 0;
	conf.notify_multiplier = 6;
	TRY(&p, VIO_E_INVAL);
	conf.notify_multiplier = 0;
	conf.vendor_len = 128;
	TRY(&p, VIO_E_NOSPC);
}

TEST("features come in words of 32, and beyond them is nothing",
     "pci.device.common-configuration-structure-layout.3 "
     "pci.device.common-configuration-structure-layout.4")
{
	uint64_t got = 0;

	rig_rng(&rig_conf);
	rig_place();
	for (uint32_t i = 0; i < 2; i++) {
		rig_common_put(C(DEVICE_FEATURE_SELECT), i, 4);
		CHECK_EQ(rig_common(C(DEVICE_FEATURE_SELECT), 4), i);
		got |= (uint64_t)rig_common(C(DEVICE_FEATURE), 4) << 32 * i;
	}
	CHECK_EQ(got, rig.dev->offered.w[0]);
	CHECK(got >> VIRTIO_F_RING_RESET & 1);
	vio_feature_set(&rig.dev->offered, 100);
	rig_common_put(C(DEVICE_FEATURE_SELECT), 3, 4);
	CHECK_EQ(rig_common(C(DEVICE_FEATURE), 4), 1u << 4);
	vio_feature_clear(&rig.dev->offered, 100);
	rig_common_put(C(DEVICE_FEATURE_SELECT), 4, 4);
	CHECK_EQ(rig_common(C(DEVICE_FEATURE), 4), 0);
	rig_common_put(C(DEVICE_FEATURE_SELECT), UINT32_MAX, 4);
	CHECK_EQ(rig_common(C(DEVICE_FEATURE), 4), 0);
	rig_common_put(C(DRIVER_FEATURE_SELECT), UINT32_MAX, 4);
	rig_common_put(C(DRIVER_FEATURE), UINT32_MAX, 4);
	rig_negotiate(1u << VIRTIO_F_EVENT_IDX, RIG_V1);
	CHECK_EQ(status(), 11);
	CHECK_EQ(rig_common(C(DRIVER_FEATURE_SELECT), 4), 1);
	CHECK_EQ(rig_common(C(DRIVER_FEATURE), 4), RIG_V1);
	rig_common_put(C(DRIVER_FEATURE_SELECT), 0, 4);
	CHECK_EQ(rig_common(C(DRIVER_FEATURE), 4), 1u << VIRTIO_F_EVENT_IDX);
	rig_negotiate(1u << 20, RIG_V1);	/* not offered */
	CHECK_EQ(status(), 3);
	rig_negotiate(0, 0);			/* no VERSION_1 */
	CHECK_EQ(status(), 3);
}

TEST("queues that are there, and others",
     "pci.device.common-configuration-structure-layout.14 "
     "pci.device.common-configuration-structure-layout.15")
{
	rig_console(&rig_conf);
	rig_place();
	CHECK_EQ(rig_common(C(NUM_QUEUES), 2), 2);
	for (unsigned i = 0; i < 2; i++) {
		rig_common_put(C(QUEUE_SELECT), i, 2);
		CHECK_EQ(rig_common(C(QUEUE_SIZE), 2), RIG_SIZE);
		CHECK_EQ(rig_common(C(QUEUE_NOTIFY_OFF), 2), i);
		CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		rig_common_put(C(QUEUE_SELECT), i ? 0xffff : 2, 2);
		CHECK_EQ(rig_common(C(QUEUE_SIZE), 2), 0);
		CHECK_EQ(rig_common(C(QUEUE_DESC), 4), 0);
		CHECK_EQ(rig_common(C(QUEUE_MSIX_VECTOR), 2), 0xffff);
		rig_common_put(C(QUEUE_MSIX_VECTOR), 0, 2);
		rig_common_put(C(QUEUE_ENABLE), 1, 2);
		CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 0);
	}
	/* No administration queues. */
	CHECK_EQ(rig_common(C(ADMIN_QUEUE_INDEX), 2), 0);
	CHECK_EQ(rig_common(C(ADMIN_QUEUE_NUM), 2), 0);
}

TEST("accesses of a wrong width or place do nothing", "")
{
	uint64_t base = RIG_REGS_BAR;

	rig_rng(&rig_conf);
	rig_place();
	CHECK_EQ(rig_mem(base + C(NUM_QUEUES), 1), 0);
	CHECK_EQ(rig_mem(base + C(CONFIG_MSIX_VECTOR), 4), 0);
	CHECK_EQ(rig_mem(base + C(NUM_QUEUES) + 1, 2), 0);
	CHECK_EQ(rig_mem(base + C(NUM_QUEUES), 3), 0);
	CHECK_EQ(rig_mem(base + C(DEVICE_FEATURE), 8), 0);
	CHECK_EQ(rig_mem(base + C(SIZE), 4), 0);
	CHECK_EQ(rig_mem(base + 0x3fff, 4), 0);
	CHECK_EQ(rig_mem(base + 0x3000, 4), 0);
	rig_mem_put(base + C(DEVICE_STATUS), 1, 2);
	rig_mem_put(base + C(DEVICE_STATUS), 1, 4);
	CHECK_EQ(status(), 0);
	rig_mem_put(base + C(CONFIG_GENERATION), 9, 1);
	CHECK_EQ(rig_common(C(CONFIG_GENERATION), 1), 0);
	CHECK_EQ(vio_pci_bar_read(&rig.p, 6, 0, 4), 0);
	CHECK_EQ(vio_pci_bar_read(&rig.p, 4, UINT64_MAX, 4), 0);
	vio_pci_bar_write(&rig.p, 6, 0, 4, 4);
	vio_pci_bar_write(&rig.p, 4, UINT64_MAX - 3, 4, 4);
	CHECK_EQ(vio_pci_config_read(&rig.p, 1, 2), 0);
	CHECK_EQ(vio_pci_config_read(&rig.p, 0, 3), 0);
	CHECK_EQ(vio_pci_config_read(&rig.p, UINT32_MAX - 3, 4), 0);
	vio_pci_config_write(&rig.p, UINT32_MAX - 3, 0, 4);
	vio_pci_config_write(&rig.p, VIO_PCI_COMMAND + 1, 0, 2);
	CHECK_EQ(rig_common(C(NUM_QUEUES), 2), 1);
}

TEST("the generation changes when a change is seen",
     "pci.device.common-configuration-structure-layout.6 "
     "pci.device.pci-device-layout.1")
{
	uint32_t before;

	rig_blk(&rig_conf);
	rig_place();
	CHECK_EQ(rig_mem(rig_at_device(), 4), RIG_SECTORS);
	before = rig_common(C(CONFIG_GENERATION), 1);
	CHECK_EQ(rig_mem(rig_at_device(), 4), RIG_SECTORS);
	CHECK_EQ(rig_common(C(CONFIG_GENERATION), 1), before);
	/* As often as 8 bits wrap. */
	for (unsigned i = 0; i < 256; i++)
		vio_blk_resize(&rig.blk, (1ull << 40) + i);
	CHECK_EQ(rig_mem(rig_at_device(), 4), 255);
	CHECK_EQ(rig_mem(rig_at_device() + 4, 4), 1 << 8);
	CHECK_NE(rig_common(C(CONFIG_GENERATION), 1), before);
	CHECK_EQ(rig_mem(rig_at_device() + 21, 1), 2);
	CHECK_EQ(rig_mem(rig_at_device(), 8), (1ull << 40) + 255);
	CHECK_EQ(rig_mem(rig_at_device() + 0x800, 4), 0);
}

TEST("a reset clears queues, vectors and events",
     "pci.device.common-configuration-structure-layout.7 "
     "pci.device.common-configuration-structure-layout.8 "
     "pci.device.common-configuration-structure-layout.9 "
     "pci.device.msi-x-vector-configuration.7")
{
	rig_rng(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1 | RIG_RESET);
	rig_enable(0, 8, RIG_GUEST);
	rig_common_put(C(QUEUE_MSIX_VECTOR), 1, 2);
	rig_common_put(C(CONFIG_MSIX_VECTOR), 0, 2);
	put_status(15);
	vio_dev_config_changed(rig.dev);
	CHECK(rig.line);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
	CHECK_EQ(rig_common(C(QUEUE_SIZE), 2), 8);
	put_status(0);
	CHECK_EQ(status(), 0);
	CHECK(!rig.line);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 0);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 0);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	CHECK_EQ(rig_common(C(QUEUE_SIZE), 2), RIG_SIZE);
	CHECK_EQ(rig_common(C(QUEUE_DESC), 4), 0);
	CHECK_EQ(rig_common(C(QUEUE_MSIX_VECTOR), 2), 0xffff);
	CHECK_EQ(rig_common(C(CONFIG_MSIX_VECTOR), 2), 0xffff);
	CHECK_EQ(rig.mem.pins, 0);
}

TEST("a ring that cannot be is not enabled, and the device says so", "")
{
	const struct { uint32_t size; uint64_t at; } bad[] = {
		{ 0, RIG_GUEST }, { 3, RIG_GUEST }, { 32, RIG_GUEST },
		{ 16, RIG_GUEST + 8 }, { 16, RIG_GUEST + RIG_MEM }, { 16, 0 },
		{ 16, 0xfffffffffffff000ull },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		rig_rng(&rig_conf);
		rig_place();
		rig_negotiate(0, RIG_V1);
		rig_enable(0, bad[i].size, bad[i].at);
		CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 0);
		CHECK(status() & VIRTIO_STATUS_NEEDS_RESET);
	}
}

TEST("what an enabled queue has does not change", "")
{
	rig_rng(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1);
	rig_enable(0, 8, RIG_GUEST);
	CHECK(rig.asked[0]);
	rig_common_put(C(QUEUE_SIZE), 4, 2);
	rig_common_put(C(QUEUE_DESC), 0, 4);
	rig_common_put(C(QUEUE_DEVICE) + 4, 7, 4);
	rig_common_put(C(QUEUE_ENABLE), 0, 2);
	rig_common_put(C(QUEUE_ENABLE), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_SIZE), 2), 8);
	CHECK_EQ(rig_common(C(QUEUE_DESC), 4), (uint32_t)RIG_GUEST);
	CHECK_EQ(rig_common(C(QUEUE_DEVICE) + 4, 4), 0);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
	CHECK_EQ(status(), 11);
	/* Without RING_RESET that register is none. */
	rig_common_put(C(QUEUE_RESET), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
}

/* One descriptor for the device to write, in the ring at RIG_GUEST. */
static void offer(void)
{
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d = {
		VIO_SWAP64(RIG_GUEST + 0x1000), VIO_SWAP32(64),
		VIO_SWAP16(2), 0 };
	uint16_t ring[3] = { 0, VIO_SWAP16(1), 0 };

	memcpy(rig.ram, &d, sizeof(d));
	memcpy(rig.ram + 0x400, ring, sizeof(ring));
}

static void start_rng(void)
{
	rig_rng(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1 | RIG_RESET);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	put_status(15);
	rig.asked[0] = false;
	offer();
}

TEST("a region that moves takes its notifications along, while a queue runs", "")
{
	const uint64_t up = 0x10000;
	uint64_t v = 0, at;

	start_rng();
	at = rig_at_notify(0);
	rig_cfg_put(VIO_PCI_BAR + 16, (uint32_t)(RIG_REGS_BAR + up), 4);
	CHECK(!vio_pci_access(&rig.p, VIO_PCI_MEM, at, &v, 2, true));
	CHECK(!rig.asked[0]);
	CHECK(vio_pci_access(&rig.p, VIO_PCI_MEM, at + up, &v, 2, true));
	CHECK(rig.asked[0]);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK_EQ(rig.ram[0x1000], 0x5a);
	/* In two halves: between them it is somewhere else. */
	rig_cfg_put(VIO_PCI_BAR + 20, 0x77, 4);
	CHECK_EQ(rig.where[4], 0x7700000000 + up);
	rig_cfg_put(VIO_PCI_BAR + 16, 0, 4);
	CHECK_EQ(rig.where[4], 0x7700000000);
	CHECK_EQ(rig.queue[0].state, VIO_QUEUE_RUNNING);
	CHECK_EQ(vio_dev_status(rig.dev), 15);
}

TEST("each queue has its address for notifications", "")
{
	unsigned bar;
	uint64_t off;

	rig_console(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	rig_enable(1, RIG_SIZE, RIG_GUEST + 0x1000);
	put_status(15);
	memset(rig.asked, 0, sizeof(rig.asked));
	rig_mem_put(rig_at_notify(1), 1, 2);
	CHECK(rig.asked[1] && !rig.asked[0]);
	rig_mem_put(rig_at_notify(0), 0, 4);
	CHECK(rig.asked[0]);
	vio_pci_notify_where(&rig.p, 1, &bar, &off);
	CHECK_EQ(bar, 4);
	CHECK_EQ(RIG_REGS_BAR + off, rig_at_notify(1));
	memset(rig.asked, 0, sizeof(rig.asked));
	rig_mem_put(rig_at_notify(0), 0, 1);
	rig_mem_put(rig_at_notify(0) + 2, 0, 2);
	rig_mem_put(rig_at_notify(1) + 4, 2, 2);	/* of no queue */
	CHECK(!rig.asked[0] && !rig.asked[1]);
	/* No master of the bus: not heard, until it may be. */
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MEM, 2);
	rig_mem_put(rig_at_notify(0), 0, 2);
	CHECK(!rig.asked[0]);
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MEM |
		    VIO_PCI_COMMAND_MASTER, 2);
	CHECK(rig.asked[0] && rig.asked[1]);
}

TEST("data for notifications is there once it is agreed on", "")
{
	const struct vio_pci_conf conf = { .notif_config_data = true };

	rig_console(&conf);
	rig_place();
	rig.regs[1].notify_data = 0x1234;
	rig_common_put(C(QUEUE_SELECT), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_NOTIF_CONFIG_DATA), 2), 0);
	rig_negotiate(0, RIG_V1 | 1u << (VIRTIO_F_NOTIF_CONFIG_DATA - 32));
	rig_common_put(C(QUEUE_SELECT), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_NOTIF_CONFIG_DATA), 2), 0x1234);
	rig_common_put(C(QUEUE_NOTIF_CONFIG_DATA), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_NOTIF_CONFIG_DATA), 2), 0x1234);
	rig_enable(1, RIG_SIZE, RIG_GUEST);
	put_status(15);
	rig.asked[1] = false;
	rig_mem_put(rig_at_notify(1), 0x1234, 2);
	CHECK(rig.asked[1]);
}

/* A read of one sector in the ring at its start, which the disk keeps. */
static void keep_one(void)
{
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d[2] = {
		{ VIO_SWAP64(RIG_GUEST + 0x1000), VIO_SWAP32(16),
		  VIO_SWAP16(1), VIO_SWAP16(1) },
		{ VIO_SWAP64(RIG_GUEST + 0x2000), VIO_SWAP32(513),
		  VIO_SWAP16(2), 0 },
	};
	uint16_t ring[3] = { 0, VIO_SWAP16(1), 0 };

	memcpy(rig.ram, d, sizeof(d));
	memcpy(rig.ram + 0x400, ring, sizeof(ring));
	rig.hold_back = true;
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(rig.held != NULL);
}

TEST("a queue is reset, which takes as long as its requests do",
     "pci.device.common-configuration-structure-layout.10 "
     "pci.device.common-configuration-structure-layout.11 "
     "pci.device.common-configuration-structure-layout.12 "
     "pci.device.common-configuration-structure-layout.13")
{
	rig_blk(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1 | RIG_RESET);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	put_status(15);
	keep_one();
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	rig_common_put(C(QUEUE_RESET), 2, 2);		/* no such value */
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	rig_common_put(C(QUEUE_RESET), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 1);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 1);
	rig_finish();
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 0);
	CHECK_EQ(rig.mem.pins, 0);
	/* Another size, another place. */
	memset(rig.ram, 0, 0x2000);
	rig_enable(0, 4, RIG_GUEST + 0x1000);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	CHECK_EQ(rig.queue[0].size, 4);
}

TEST("a reset of a queue is over with the device's, and when it is enabled",
     "pci.device.common-configuration-structure-layout.9 "
     "pci.device.common-configuration-structure-layout.10")
{
	rig_blk(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1 | RIG_RESET);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	put_status(15);
	/* Whose end nobody looked at. */
	rig_common_put(C(QUEUE_RESET), 1, 2);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	keep_one();
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
	rig_common_put(C(QUEUE_RESET), 1, 2);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 1);
	put_status(0);
	CHECK_EQ(rig_common(C(QUEUE_RESET), 2), 0);
	rig_finish();
	CHECK_EQ(status(), 0);
}

/* -- the window in configuration space ------------------------------------ */

static unsigned aim(unsigned bar, uint32_t off, uint32_t len)
{
	unsigned cap = rig_cap(VIO_PCI_CAP_VENDOR, VIRTIO_PCI_CAP_PCI_CFG, 0);

	rig_cfg_put(cap + VIRTIO_PCI_CAP_BAR, bar, 1);
	rig_cfg_put(cap + VIRTIO_PCI_CAP_OFFSET, off, 4);
	rig_cfg_put(cap + VIRTIO_PCI_CAP_LENGTH, len, 4);
	return cap + VIRTIO_PCI_CFG_CAP_DATA;
}

TEST("registers are reached without any mapping",
     "pci.device.pci-configuration-access-capability.2 "
     "pci.device.pci-configuration-access-capability.3")
{
	rig_console(&rig_conf);		/* nothing is mapped */
	CHECK_EQ(rig_cfg(aim(4, C(NUM_QUEUES), 2), 2), 2);
	CHECK_EQ(rig_cfg(aim(4, C(QUEUE_SIZE), 2), 2), RIG_SIZE);
	rig_cfg_put(aim(4, C(DEVICE_STATUS), 1), 1, 1);
	CHECK_EQ(vio_dev_status(rig.dev), 1);
	CHECK_EQ(rig_cfg(aim(4, C(DEVICE_STATUS), 1), 1), 1);
	rig_cfg_put(aim(4, C(DRIVER_FEATURE), 4), 0x12345678, 4);
	CHECK_EQ(rig.p.driver.w[0], 0x12345678);
	CHECK_EQ(rig_cfg(aim(4, 0x2000, 2), 2), 80);	/* columns */
	/* What it may not be aimed at. */
	rig_cfg_put(aim(4, C(DRIVER_FEATURE), 3), 0, 4);
	rig_cfg_put(aim(4, C(DRIVER_FEATURE) + 2, 4), 0, 4);
	rig_cfg_put(aim(4, C(DRIVER_FEATURE), 0), 0, 4);
	rig_cfg_put(aim(5, C(DRIVER_FEATURE), 4), 0, 4);
	rig_cfg_put(aim(255, C(DRIVER_FEATURE), 4), 0, 4);
	rig_cfg_put(aim(1, 12, 4), 0, 4);
	rig_cfg_put(aim(4, UINT32_MAX - 3, 4), 0, 4);
	CHECK_EQ(rig.p.driver.w[0], 0x12345678);
	CHECK_EQ(rig.vectors[0].word[3], 1);
}

/* -- reset and sleep ------------------------------------------------------ */

TEST("the function is reset as a whole", "")
{
	unsigned af;

	start_rng();
	rig_msix_on();
	rig_vector(0, 0xfee00000, 7);
	af = rig_cap(VIO_PCI_CAP_AF, 0, 0);
	CHECK_EQ(rig_cfg(af + VIO_PCI_AF_CAPS, 1), 3);
	rig_cfg_put(af + VIO_PCI_AF_CONTROL, 1, 1);
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig_cfg(VIO_PCI_COMMAND, 2), 0);
	CHECK_EQ(rig_cfg(VIO_PCI_BAR + 16, 4), VIO_PCI_BAR_64);
	CHECK_EQ(rig.where[4], 0);
	CHECK_EQ(rig.where[1], 0);
	CHECK_EQ(rig.vectors[0].word[3], 1);
	CHECK_EQ(rig_cfg(rig_cap(VIO_PCI_CAP_MSIX, 0, 0) + 2, 2),
		 RIG_VECTORS - 1);
	CHECK_EQ(rig_cfg(af + VIO_PCI_AF_CONTROL, 1), 0);
	CHECK_EQ(rig_cfg(af + VIO_PCI_AF_STATUS, 1), 0);
	CHECK_EQ(rig_cfg(VIO_PCI_VENDOR, 4), 0x10441af4);
	CHECK_EQ(rig.mem.pins, 0);
	rig_place();
	CHECK_EQ(status(), 0);
}

/* As in the next case, by the registers and by the function's reset. */
static void reset_in_flight(bool function)
{
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d[3] = {
		{ VIO_SWAP64(RIG_GUEST + 0x1000), VIO_SWAP32(16),
		  VIO_SWAP16(1), VIO_SWAP16(1) },
		{ VIO_SWAP64(RIG_GUEST + 0x2000), VIO_SWAP32(513),
		  VIO_SWAP16(2), 0 },
	};
	uint16_t ring[3] = { 0, VIO_SWAP16(1), 0 };
	unsigned af;

	rig_blk(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	put_status(15);
	memcpy(rig.ram, d, sizeof(d));
	memcpy(rig.ram + 0x400, ring, sizeof(ring));
	rig.hold_back = true;
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(rig.held != NULL);
	af = rig_cap(VIO_PCI_CAP_AF, 0, 0);
	if (function)
		rig_cfg_put(af + VIO_PCI_AF_CONTROL, 1, 1);
	else
		put_status(0);
	CHECK_NE(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig_cfg(af + VIO_PCI_AF_STATUS, 1), 1);
	vio_blk_resize(&rig.blk, 99);
	vio_dev_needs_reset(rig.dev);
	rig_finish();
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig_cfg(af + VIO_PCI_AF_STATUS, 1), 0);
	CHECK(!rig.line);
	CHECK_EQ(rig.edges, 0);
	CHECK_EQ(rig.p.isr, 0);
	CHECK_EQ(rig.mem.pins, 0);
}

TEST("a reset waits for what is in flight, and no interrupt comes of that",
     "pci.device.common-configuration-structure-layout.7 "
     "core.device.device-reset.2")
{
	reset_in_flight(false);
	reset_in_flight(true);
}

TEST("asleep it is silent and out of sight, and it forgets nothing", "")
{
	unsigned pm;
	uint64_t v;

	start_rng();
	pm = rig_cap(VIO_PCI_CAP_PM, 0, 0);
	rig_cfg_put(pm + VIO_PCI_PM_CSR, VIO_PCI_PM_D3HOT, 2);
	CHECK_EQ(rig_cfg(pm + VIO_PCI_PM_CSR, 2), VIO_PCI_PM_D3HOT |
		 VIO_PCI_PM_NO_SOFT_RESET);
	CHECK(!vio_pci_access(&rig.p, VIO_PCI_MEM, RIG_REGS_BAR, &v, 4,
			      false));
	CHECK_EQ(rig.where[4], 0);
	vio_dev_config_changed(rig.dev);
	CHECK(!rig.line);
	/* Lighter sleep there is none. */
	rig_cfg_put(pm + VIO_PCI_PM_CSR, 1, 2);
	CHECK_EQ(rig_cfg(pm + VIO_PCI_PM_CSR, 1) & VIO_PCI_PM_STATE,
		 VIO_PCI_PM_D3HOT);
	rig_cfg_put(pm + VIO_PCI_PM_CSR, 0, 2);
	CHECK(rig.line);
	CHECK_EQ(status(), 15);
	rig_cfg_put(pm + VIO_PCI_PM_CSR, 2, 1);
	CHECK_EQ(rig_cfg(pm + VIO_PCI_PM_CSR, 1) & VIO_PCI_PM_STATE, 0);
	CHECK_EQ(status(), 15);
	CHECK_EQ(rig_common(C(QUEUE_ENABLE), 2), 1);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK_EQ(rig.ram[0x1000], 0x5a);
}

/* -- anything ------------------------------------------------------------- */

static void any_access(struct vtest_rand *rnd)
{
	static const unsigned lens[] = { 1, 2, 4, 4, 2, 4, 8, 3 };
	unsigned len = lens[vtest_below(rnd, 8)];
	uint64_t v = vtest_below(rnd, 3) ? vtest_below(rnd, 32) :
		     vtest_u64(rnd);
	uint64_t off = vtest_below(rnd, 0x40);
	unsigned bar = 4;

	switch (vtest_below(rnd, 6)) {
	case 0:
		off = vtest_below(rnd, 0x104) & ~(vtest_below(rnd, 4));
		if (vtest_below(rnd, 2))
			vio_pci_config_write(&rig.p, (unsigned)off,
					     (uint32_t)v, len);
		else
			vio_pci_config_read(&rig.p, (unsigned)off, len);
		return;
	case 1:
		off += vtest_below(rnd, 4) << 12;
		break;
	case 2:
		bar = (unsigned)vtest_below(rnd, 7);
		off = vtest_below(rnd, 0x1100);
		break;
	default:
		break;
	}
	if (vtest_below(rnd, 3))
		vio_pci_bar_write(&rig.p, bar, off, v, len);
	else
		vio_pci_bar_read(&rig.p, bar, off, len);
}

TEST("any access, any value, any order: no harm", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	rig_blk(&rig_conf);
	rig_place();
	for (unsigned i = 0; i < 300000; i++) {
		any_access(&rnd);
		if (vtest_below(&rnd, 8) == 0)
			vio_queue_service(rig.queue, 4);
	}
	vio_pci_bar_write(&rig.p, 4, C(DEVICE_STATUS), 0, 1);
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig.mem.pins, 0);
	CHECK(!rig.line);
}
