/* SPDX-License-Identifier: MIT */
/*
 * pci_legacy.c - the device side of the PCI transport's legacy interface: the
 * ports of a transitional and of a legacy function.
 */
#include <vireo/spec/pci_legacy.h>

#include "test/transport/pci_rig.h"

#define L(field)	VIRTIO_PCI_LEGACY_##field
#define PORT		RIG_PORTS
#define PAGE		4096u

static const struct vio_pci_conf transitional = {
	.flavour = VIO_PCI_TRANSITIONAL, .vectors = RIG_VECTORS };
static const struct vio_pci_conf legacy = {
	.flavour = VIO_PCI_LEGACY, .vectors = RIG_VECTORS };

static uint32_t in(unsigned off, unsigned len)
{
	uint64_t v = 0;

	CHECK(vio_pci_access(&rig.p, VIO_PCI_IO, PORT + off, &v, len, false));
	return (uint32_t)v;
}

static void out(unsigned off, uint32_t v, unsigned len)
{
	uint64_t value = v;

	CHECK(vio_pci_access(&rig.p, VIO_PCI_IO, PORT + off, &value, len,
			     true));
}


TEST("who a transitional function is, and where its ports are",
     "pci.other.pci-device-discovery.1 "
     "pci.other.legacy-interfaces-pci-device-discovery.1 "
     "pci.other.legacy-interfaces-pci-device-discovery.2 "
     "pci.other.legacy-interfaces-pci-device-discovery.3 "
     "pci.other.legacy-interfaces-pci-device-layout.1 "
     "pci.other.legacy-interface-device-layout-detection.1")
{
	const struct { void (*make)(const struct vio_pci_conf *c);
		       uint32_t id, type; } all[] = {
		{ rig_blk, 0x1001, 2 }, { rig_console, 0x1003, 3 },
		{ rig_rng, 0x1005, 4 },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(all); i++) {
		all[i].make(i & 1 ? &legacy : &transitional);
		CHECK_EQ(rig_cfg(VIO_PCI_VENDOR, 2), 0x1af4);
		CHECK_EQ(rig_cfg(VIO_PCI_DEVICE, 2), all[i].id);
		CHECK_EQ(rig_cfg(VIO_PCI_REVISION, 1), 0);
		CHECK_EQ(rig_cfg(VIO_PCI_SUBSYS, 2), all[i].type);
		CHECK_EQ(rig_cfg(VIO_PCI_BAR, 4), VIO_PCI_BAR_IO);
		CHECK_EQ(!rig_cap(VIO_PCI_CAP_VENDOR,
				  VIRTIO_PCI_CAP_COMMON_CFG, 0), i & 1);
		rig_cfg_put(VIO_PCI_BAR, UINT32_MAX, 4);
		CHECK_LE(rig_cfg(VIO_PCI_BAR, 4), 0xffffffe1);
		CHECK_GE(rig_cfg(VIO_PCI_BAR, 4), 0xffffff01);
		rig_place();
		CHECK_EQ(rig.where[0], PORT);
		CHECK_EQ(in(L(QUEUE_SIZE), 2), RIG_SIZE);
	}
}

TEST("a type that never was legacy cannot be it", "")
{
	static struct vio_dev_ops other;
	struct vio_pci p;

	rig_rng(&rig_conf);
	other = *rig.dev->ops;
	other.id = 19;
	rig.dev->ops = &other;
	CHECK_EQ(vio_pci_init(&p, &transitional, rig.dev, &rig.mem, rig.regs,
			      rig.vectors, rig.p.ops, NULL, NULL),
		 VIO_E_INVAL);
}

TEST("features: 32 of them, and what was not offered is not there",
     "pci.other.legacy-interfaces-pci-device-layout.6")
{
	uint32_t offered;

	rig_blk(&transitional);
	rig_place();
	offered = in(L(DEVICE_FEATURES), 4);
	CHECK_EQ(offered, (uint32_t)rig.dev->offered.w[0]);
	CHECK(offered >> VIRTIO_F_NOTIFY_ON_EMPTY & 1);
	CHECK(offered >> VIRTIO_F_ANY_LAYOUT & 1);
	out(L(DEVICE_STATUS), 3, 1);
	out(L(DRIVER_FEATURES), UINT32_MAX, 4);
	CHECK_EQ(in(L(DRIVER_FEATURES), 4), offered);
	CHECK_EQ(rig.dev->driver.w[0], offered);
	CHECK_EQ(rig.dev->driver.w[1], 0);
	out(L(DEVICE_STATUS), 0xf, 1);		/* no FEATURES_OK here */
	CHECK_EQ(in(L(DEVICE_STATUS), 1), 7);
	out(L(DRIVER_FEATURES), 0, 4);		/* too late */
	CHECK_EQ(in(L(DRIVER_FEATURES), 4), offered);
	/* The modern structures do not offer what is legacy. */
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_FEATURE_SELECT, 0, 4);
	CHECK_EQ(rig_common(VIRTIO_PCI_COMMON_DEVICE_FEATURE, 4),
		 offered & ~(1u << VIRTIO_F_NOTIFY_ON_EMPTY |
			     1u << VIRTIO_F_ANY_LAYOUT));
}

/* A read of sector @sector, in the ring in one piece at RIG_GUEST. */
static void offer(uint16_t nth, uint64_t sector)
{
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d[3] = {
		{ RIG_GUEST + 0x8000, 16, 1, 1 },
		{ RIG_GUEST + 0x9000, 512, 3, 2 },
		{ RIG_GUEST + 0xa000, 1, 2, 0 },
	};
	struct { uint32_t type, prio; uint64_t sector; } h = { 0, 0, sector };
	uint16_t idx = nth, zero = 0;
	unsigned char *avail = rig.ram + RIG_SIZE * 16;

	memcpy(rig.ram + 0x8000, &h, sizeof(h));
	memcpy(rig.ram, d, sizeof(d));
	memcpy(avail + 4 + (nth - 1) % RIG_SIZE * 2, &zero, 2);
	memcpy(avail + 2, &idx, 2);
}

static uint16_t used_idx(void)
{
	uint16_t v;

	memcpy(&v, rig.ram + PAGE + 2, 2);
	return v;
}

static void start(const struct vio_pci_conf *conf)
{
	rig_blk(conf);
	rig_place();
	for (unsigned i = 0; i < sizeof(rig.disk); i++)
		rig.disk[i] = (unsigned char)(i / 512);
	out(L(DEVICE_STATUS), 3, 1);
	out(L(DRIVER_FEATURES), 0, 4);
	out(L(QUEUE_SELECT), 0, 2);
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), 0);
	out(L(QUEUE_ADDRESS), (uint32_t)(RIG_GUEST / PAGE), 4);
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), RIG_GUEST / PAGE);
	out(L(DEVICE_STATUS), 7, 1);
	rig.asked[0] = false;
}

TEST("a ring in one piece, notified and used, line and messages",
     "pci.other.legacy-interfaces-pci-device-layout.2")
{
	for (unsigned i = 0; i < 4; i++) {
		start(i & 1 ? &legacy : &transitional);
		offer(1, 7);
		if (i & 2) {
			rig_msix_on();
			rig_vector(3, 0xfee00000, 1);
			out(L(QUEUE_MSIX_VECTOR), 3, 2);
			CHECK_EQ(in(L(QUEUE_MSIX_VECTOR), 2), 3);
		}
		out(L(QUEUE_NOTIFY), 5, 2);	/* of no queue */
		CHECK(!rig.asked[0]);
		out(L(QUEUE_NOTIFY), 0, 2);
		CHECK(rig.asked[0]);
		CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
		CHECK_EQ(used_idx(), 1);
		CHECK_EQ(rig.ram[0x9000], 7);
		CHECK_EQ(rig.ram[0xa000], 0);
		CHECK_EQ(rig.line, !(i & 2));
		CHECK_EQ(rig.msi[3], i >> 1);
		CHECK_EQ(in(L(ISR_STATUS), 1), i & 2 ? 0 : 1);
		CHECK(!rig.line);
		CHECK_EQ(in(L(ISR_STATUS), 1), 0);
		/* 0 takes the queue back. */
		out(L(QUEUE_ADDRESS), 0, 4);
		CHECK_EQ(in(L(QUEUE_ADDRESS), 4), 0);
		CHECK_EQ(rig.queue[0].state, VIO_QUEUE_STOPPED);
		CHECK_EQ(rig.mem.pins, 0);
	}
}

TEST("configuration moves when MSI-X comes and goes, and is of any width",
     "pci.other.legacy-interfaces-pci-device-layout.3 "
     "pci.other.legacy-interfaces-pci-device-layout.4 "
     "pci.other.legacy-interfaces-pci-device-layout.5")
{
	unsigned cap;

	rig_blk(&transitional);
	vio_dev_set_guest_endian(rig.dev, false);
	rig_place();
	cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		unsigned at = i ? L(CONFIG_MSIX) : L(CONFIG);

		rig_cfg_put(cap + VIO_PCI_MSIX_CONTROL, i ?
			    VIO_PCI_MSIX_ENABLE : 0, 2);
		CHECK_EQ(in(at, 4), RIG_SECTORS);
		CHECK_EQ(in(at, 1), RIG_SECTORS);
		CHECK_EQ(in(at + 1, 1), 0);
		CHECK_EQ(in(at + 20, 4), 512);		/* blk_size */
		CHECK_EQ(in(at + 21, 1), 2);
		CHECK_EQ(in(at + 21, 2), 2);
		CHECK_EQ(in(at + 20, 2), 512);
		CHECK_EQ(rig_mem(rig_at_device() + 20, 4), 512);
	}
	CHECK_EQ(in(L(CONFIG_MSIX_VECTOR), 2), VIRTIO_MSI_NO_VECTOR);
	out(L(CONFIG_MSIX_VECTOR), 1, 2);
	CHECK_EQ(in(L(CONFIG_MSIX_VECTOR), 2), 1);
	out(L(CONFIG_MSIX_VECTOR), RIG_VECTORS, 2);
	CHECK_EQ(in(L(CONFIG_MSIX_VECTOR), 2), VIRTIO_MSI_NO_VECTOR);
	rig_vector(1, 0xfee00000, 1);
	out(L(CONFIG_MSIX_VECTOR), 1, 2);
	out(L(DEVICE_STATUS), 7, 1);
	vio_blk_resize(&rig.blk, 99);
	CHECK_EQ(rig.msi[1], 1);
	CHECK_EQ(in(L(CONFIG_MSIX), 4), 99);
}

TEST("a guest of the other byte order, and the modern part beside it", "")
{
	rig_blk(&transitional);
	vio_dev_set_guest_endian(rig.dev, true);
	rig_place();
	CHECK_EQ(in(L(CONFIG) + 7, 1), RIG_SECTORS);
	CHECK_EQ(in(L(CONFIG), 4), 0);
	CHECK_EQ(in(L(CONFIG) + 22, 1), 2);		/* blk_size: 512 */
	CHECK_EQ(rig_mem(rig_at_device(), 4), RIG_SECTORS);
	CHECK_EQ(rig_mem(rig_at_device() + 20, 4), 512);
	/* The write cache, a byte, is the same both ways. */
	out(L(CONFIG) + 32, 0, 1);
	CHECK_EQ(in(L(CONFIG) + 32, 1), rig.blk.dev.config[32]);
}

TEST("a ring that cannot be, and a reset out of it", "")
{
	rig_blk(&legacy);
	rig_place();
	out(L(DEVICE_STATUS), 3, 1);
	out(L(QUEUE_ADDRESS), UINT32_MAX, 4);
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), 0);
	CHECK(in(L(DEVICE_STATUS), 1) & VIRTIO_STATUS_NEEDS_RESET);
	out(L(DEVICE_STATUS), 0, 1);
	CHECK_EQ(in(L(DEVICE_STATUS), 1), 0);
	start(&legacy);
	out(L(QUEUE_ADDRESS), 1, 4);		/* is given already */
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), RIG_GUEST / PAGE);
	out(L(QUEUE_SELECT), 1, 2);
	CHECK_EQ(in(L(QUEUE_SIZE), 2), 0);
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), 0);
	out(L(QUEUE_ADDRESS), 1, 4);
	CHECK_EQ(in(L(QUEUE_ADDRESS), 4), 0);
	CHECK_EQ(in(L(QUEUE_SELECT), 2), 1);
	out(L(DEVICE_STATUS), 0, 1);
	CHECK_EQ(rig.mem.pins, 0);
}

TEST("accesses of a wrong width do nothing", "")
{
	rig_rng(&legacy);
	rig_place();
	CHECK_EQ(in(L(DEVICE_FEATURES), 2), 0);
	CHECK_EQ(in(L(DEVICE_FEATURES) + 1, 1), 0);
	CHECK_EQ(in(L(QUEUE_SIZE), 4), 0);
	CHECK_EQ(in(L(QUEUE_SIZE) + 1, 1), 0);
	out(L(DEVICE_STATUS), 1, 2);
	CHECK_EQ(in(L(DEVICE_STATUS), 1), 0);
	out(L(DEVICE_STATUS), 1, 1);
	CHECK_EQ(in(L(DEVICE_STATUS), 1), 1);
	out(L(ISR_STATUS), 1, 1);
	out(L(QUEUE_SIZE), 4, 2);
	CHECK_EQ(in(L(QUEUE_SIZE), 2), RIG_SIZE);
}

TEST("any access of ports, any value, any order: no harm", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	rig_blk(&transitional);
	rig_place();
	for (unsigned i = 0; i < 200000; i++) {
		static const unsigned lens[] = { 1, 2, 4, 8 };
		unsigned len = lens[vtest_below(&rnd, 4)];
		unsigned bar = vtest_below(&rnd, 6) ? 0 : 4;
		uint64_t v = vtest_below(&rnd, 3) ? vtest_below(&rnd, 16) :
			     vtest_below(&rnd, 2) ? RIG_GUEST / PAGE :
			     vtest_u64(&rnd);
		uint64_t off = vtest_below(&rnd, 0x40);

		if (vtest_below(&rnd, 3))
			vio_pci_bar_write(&rig.p, bar, off, v, len);
		else
			vio_pci_bar_read(&rig.p, bar, off, len);
		if (vtest_below(&rnd, 8) == 0)
			vio_queue_service(rig.queue, 4);
	}
	out(L(DEVICE_STATUS), 0, 1);
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig.mem.pins, 0);
	CHECK(!rig.line);
}
