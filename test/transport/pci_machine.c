/* SPDX-License-Identifier: MIT */
/*
 * pci_machine.c - see pci_machine.h.
 */
#include "test/transport/pci_machine.h"
#include "test/transport/whole_field.h"

#define C(field)	VIRTIO_PCI_COMMON_##field
#define AT_COMMON	RIG_REGS_BAR
#define AT_ISR		(RIG_REGS_BAR + 0x1000)
#define AT_DEVICE	(RIG_REGS_BAR + 0x2000)
#define AT_NOTIFY	(RIG_REGS_BAR + 0x3000)
#define AT_END		(RIG_REGS_BAR + 0x4000)

struct pci_watch watch;
static uint32_t latch;			/* of mechanism #1 */
static bool resetting;			/* 0 was written, but not read yet */
static bool enabled[2];
static bool unverified;			/* a vector that was not read back */
static uint16_t selected;
static unsigned char priv[1 << 18] __attribute__((aligned(64)));

/* -- configuration space ------------------------------------------------- */

/* pci.driver.virtio-structure-pci-capabilities.7 */
static void check_config_write(unsigned off, unsigned len)
{
	unsigned msix = rig.p.cap_msix;

	unsigned power = rig.p.cap_pm + VIO_PCI_PM_CSR;

	watch.config_writes++;
	CHECK(off + len <= 0x40 || (off == power && len == 2) ||
	      (msix && off >= msix && off + len <= msix + 4u));
}

static void lose_all(unsigned power)
{
	uint64_t go = 1;

	vio_pci_access(&rig.p, VIO_PCI_CONFIG,
		       rig.p.cap_af + VIO_PCI_AF_CONTROL, &go, 1, true);
	if (!watch.pretends)
		rig.p.config[power] &=
			(unsigned char)~VIO_PCI_PM_NO_SOFT_RESET;
	memset(enabled, 0, sizeof(enabled));
}

static uint32_t config_read(uint32_t function, unsigned off, unsigned len)
{
	uint64_t v = UINT32_MAX >> (32 - 8 * len);

	CHECK_LE(off + len, 256);
	/* A device of many functions, of which one is there. */
	if (function == (MACHINE_AT & ~7u) && off == VIO_PCI_HEADER)
		return 0x80;
	if (function == MACHINE_AT)
		vio_pci_access(&rig.p, VIO_PCI_CONFIG, off, &v, len, false);
	return (uint32_t)v;
}

static void config_write(uint32_t function, unsigned off, uint32_t v,
			 unsigned len)
{
	unsigned power = rig.p.cap_pm + VIO_PCI_PM_CSR;
	bool asleep = rig.p.config[power] & VIO_PCI_PM_STATE;
	uint64_t value = v;

	if (function != MACHINE_AT)
		return;
	check_config_write(off, len);
	vio_pci_access(&rig.p, VIO_PCI_CONFIG, off, &value, len, true);
	if (off != power)
		return;
	watch.power = v;
	if (watch.forgets && asleep &&
	    !(rig.p.config[power] & VIO_PCI_PM_STATE))
		lose_all(power);
}

/* -- registers ----------------------------------------------------------- */

static unsigned field_width(uint64_t off)
{
	if (off == C(DEVICE_STATUS) || off == C(CONFIG_GENERATION))
		return 1;
	return off < C(CONFIG_MSIX_VECTOR) || (off >= C(QUEUE_DESC) &&
	       off < C(QUEUE_NOTIF_CONFIG_DATA)) ? 4 : 2;
}

static void check_common_read(uint64_t off, unsigned len)
{
	CHECK_EQ(len, field_width(off));
	if (off == C(CONFIG_MSIX_VECTOR) || off == C(QUEUE_MSIX_VECTOR))
		unverified = false;
	if (off == C(QUEUE_NOTIF_CONFIG_DATA))
		CHECK(vio_dev_has(rig.dev, VIRTIO_F_NOTIF_CONFIG_DATA));
}

static void check_vector(uint32_t v)
{
	/* pci.driver.msi-x-vector-configuration.4 and .5 */
	CHECK(v < RIG_VECTORS || v == VIRTIO_MSI_NO_VECTOR);
	unverified = true;
}

static void check_status(uint32_t v)
{
	if (!v) {
		resetting = true;
		memset(enabled, 0, sizeof(enabled));
	}
	CHECK_EQ(v & ~0xdfu, 0);
}

static void check_common_write(uint64_t off, uint32_t v, unsigned len)
{
	CHECK_EQ(len, field_width(off));
	CHECK(!unverified);
	CHECK(!resetting);
	switch (off) {
	case C(DEVICE_FEATURE):
	case C(NUM_QUEUES):
	case C(CONFIG_GENERATION):
	case C(QUEUE_NOTIFY_OFF):
	case C(QUEUE_NOTIF_CONFIG_DATA):
	case C(ADMIN_QUEUE_INDEX):
	case C(ADMIN_QUEUE_NUM):
		FAIL("the driver writes a field that is not its own: %#x",
		     (unsigned)off);
		return;
	case C(DEVICE_STATUS):
		check_status(v);
		return;
	case C(QUEUE_SELECT):
		selected = (uint16_t)v;
		CHECK_LT(v, rig.dev->nr_queues);
		return;
	case C(QUEUE_SIZE):
		CHECK(v && !(v & (v - 1)) && v <= RIG_SIZE);
		CHECK(!enabled[selected]);
		return;
	case C(QUEUE_ENABLE):
		CHECK_EQ(v, 1);
		enabled[selected] = true;
		return;
	case C(QUEUE_RESET):
		CHECK(vio_dev_has(rig.dev, VIRTIO_F_RING_RESET));
		CHECK(enabled[selected]);
		enabled[selected] = false;
		return;
	case C(CONFIG_MSIX_VECTOR):
	case C(QUEUE_MSIX_VECTOR):
		check_vector(v);
		return;
	default:
		if (off >= C(QUEUE_DESC))
			CHECK(!enabled[selected]);
	}
}

static void check_notify(uint64_t off, uint32_t v, unsigned len)
{
	CHECK_EQ(off % rig.p.notify_multiplier, 0);
	CHECK_LT(off / rig.p.notify_multiplier, 2);
	watch.notifies[off / rig.p.notify_multiplier]++;
	watch.notified = v;
	watch.notify_len = len;
	CHECK_EQ(len, vio_dev_has(rig.dev, VIRTIO_F_NOTIFICATION_DATA) ?
		 4 : 2);
}

static uint32_t memory_read(uint64_t addr, unsigned len)
{
	uint64_t v = UINT32_MAX >> (32 - 8 * len);

	CHECK_EQ(addr % len, 0);
	if (addr >= AT_COMMON && addr < AT_ISR)
		check_common_read(addr - AT_COMMON, len);
	else if (addr >= AT_DEVICE && addr < AT_NOTIFY)
		CHECK(whole_field(rig.dev, addr - AT_DEVICE, len));
	else if (addr >= AT_NOTIFY && addr < AT_END)
		FAIL("the driver reads where notifications go");
	else if (addr == AT_ISR)
		watch.isr_reads++;
	CHECK(vio_pci_access(&rig.p, VIO_PCI_MEM, addr, &v, len, false));
	if (addr == AT_COMMON + C(DEVICE_STATUS) && !v)
		resetting = false;
	return (uint32_t)v;
}

static void memory_write(uint64_t addr, uint32_t v, unsigned len)
{
	uint64_t value = v;

	CHECK_EQ(addr % len, 0);
	if (addr >= AT_COMMON && addr < AT_ISR)
		check_common_write(addr - AT_COMMON, v, len);
	else if (addr >= AT_NOTIFY && addr < AT_END)
		check_notify(addr - AT_NOTIFY, v, len);
	else if (addr >= AT_DEVICE && addr < AT_NOTIFY)
		CHECK(whole_field(rig.dev, addr - AT_DEVICE, len));
	else
		CHECK(addr < AT_ISR || addr >= AT_DEVICE);
	CHECK(vio_pci_access(&rig.p, VIO_PCI_MEM, addr, &value, len, true));
}

/* -- the machine --------------------------------------------------------- */

static uint32_t port_read(uint64_t addr, unsigned len)
{
	uint64_t v = 0;

	if (vio_pci_access(&rig.p, VIO_PCI_IO, addr, &v, len, false)) {
		watch.isr_reads += addr - RIG_PORTS == 19;
		return (uint32_t)v;
	}
	CHECK_EQ(addr & ~3ull, 0xcfc);
	CHECK(latch & 0x80000000);
	return config_read(latch >> 8 & 0xffff,
			   (latch & 0xfc) | (addr & 3), len);
}

static void port_write(uint64_t addr, uint32_t v, unsigned len)
{
	uint64_t value = v;

	if (vio_pci_access(&rig.p, VIO_PCI_IO, addr, &value, len, true)) {
		if (addr - RIG_PORTS == 16)
			watch.notifies[v & 1]++;
		return;
	}
	if (addr == 0xcf8) {
		CHECK_EQ(len, 4);
		CHECK_EQ(v & 0x7f000003, 0);
		latch = v;
		return;
	}
	CHECK_EQ(addr & ~3ull, 0xcfc);
	config_write(latch >> 8 & 0xffff, (latch & 0xfc) | (addr & 3), v, len);
}

static bool in_ecam(uint64_t addr)
{
	return addr >= MACHINE_ECAM && addr - MACHINE_ECAM < 1u << 28;
}

static uint32_t machine_read(void *ctx, enum vio_pci_space space,
			     uint64_t addr, unsigned len)
{
	(void)ctx;
	CHECK(len == 1 || len == 2 || len == 4);
	if (space == VIO_PCI_IO)
		return port_read(addr, len);
	if (space == VIO_PCI_MEM && !in_ecam(addr))
		return memory_read(addr - watch.mapped, len);
	if (space == VIO_PCI_MEM)
		addr -= MACHINE_ECAM;
	return config_read((uint32_t)(addr >> 12), addr & 0xfff, len);
}

static void machine_write(void *ctx, enum vio_pci_space space, uint64_t addr,
			  uint32_t v, unsigned len)
{
	(void)ctx;
	CHECK(len == 1 || len == 2 || len == 4);
	if (space == VIO_PCI_IO) {
		port_write(addr, v, len);
		return;
	}
	if (space == VIO_PCI_MEM && !in_ecam(addr)) {
		memory_write(addr - watch.mapped, v, len);
		return;
	}
	if (space == VIO_PCI_MEM)
		addr -= MACHINE_ECAM;
	config_write((uint32_t)(addr >> 12), addr & 0xfff, v, len);
}

/* Let the device work; nothing to do and no interrupt is a lost wake-up. */
static int machine_wait(void *ctx)
{
	bool worked = false;

	(void)ctx;
	for (unsigned i = 0; i < rig.dev->nr_queues; i++) {
		if (!rig.asked[i])
			continue;
		rig.asked[i] = vio_queue_service(&rig.queue[i], 4) ==
			       VIO_SERVICE_MORE;
		worked = true;
	}
	if (rig.held && !worked) {
		rig_finish();
		worked = true;
	}
	return worked || rig.line ? VIO_OK : VIO_E_IO;
}

struct vio_pci_machine machine = {
	.read = machine_read,
	.write = machine_write,
	.wait = machine_wait,
	.ecam_base = MACHINE_ECAM,
	.nr_buses = 2,
};

void machine_reset(enum vio_pci_mechanism mechanism)
{
	memset(&watch, 0, sizeof(watch));
	memset(enabled, 0, sizeof(enabled));
	resetting = unverified = false;
	selected = 0;
	machine.mechanism = mechanism;
	machine.map = NULL;
	machine.delay = NULL;
}

struct vio_drv_mem machine_mem(void)
{
	memset(rig.ram, 0, sizeof(rig.ram));
	return (struct vio_drv_mem){
		.window = { rig.ram, { RIG_GUEST }, RIG_MEM },
		.shared = { rig.ram, RIG_MEM / 2 },
		.priv = { priv, sizeof(priv) },
	};
}

struct vio_features machine_features(unsigned set)
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
