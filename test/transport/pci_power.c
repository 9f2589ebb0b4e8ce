/* SPDX-License-Identifier: MIT */
/*
 * pci_power.c - a driver puts its function to sleep and wakes it: one that
 * forgets nothing, one that is reset on its way, one that says otherwise than
 * it does, and one that never changes.
 */
#include <vireo/driver_rng.h>

#include "test/transport/pci_machine.h"

#define DATA	(rig.ram + RIG_MEM / 2)

static struct vio_bus_pci bus;
static struct vio_rngdrv drv;
static unsigned delays;

static void delay(void *ctx, uint32_t usecs)
{
	(void)ctx;
	CHECK_EQ(usecs, 10000);
	delays++;
}

static const struct vio_pci_message messages[2] = {
	{ 0xfee00000, 0x40 }, { 0x1fee01000, 0x41 },
};

enum how { POLL, LINE, MESSAGE, HOWS };

static void interrupts(enum how how)
{
	if (how == LINE)
		vio_bus_pci_intx(&bus);
	if (how == MESSAGE)
		CHECK_EQ(vio_bus_pci_msix(&bus, messages, 2), VIO_OK);
}

static void init_driver(unsigned set)
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = machine_features(set);
	struct vio_drv_mem dm = machine_mem();

	CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits, &dm),
		 VIO_OK);
}

static void start(bool legacy, enum how how, unsigned set)
{
	const struct vio_pci_conf conf = {
		.flavour = legacy ? VIO_PCI_TRANSITIONAL : VIO_PCI_MODERN,
		.vectors = RIG_VECTORS,
	};

	rig_rng(&conf);
	machine_reset(VIO_PCI_BY_HOOK);
	machine.delay = delay;
	delays = 0;
	rig_place();
	CHECK_EQ((legacy ? vio_bus_pci_probe_legacy : vio_bus_pci_probe)
		 (&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	interrupts(how);
	init_driver(set);
}

static void read_some(void)
{
	uint32_t got = 0;

	for (unsigned i = 0; i < 20; i++) {
		memset(DATA, 0, 64);
		CHECK_EQ(vio_rngdrv_read(&drv, DATA, 64, &got), VIO_OK);
		CHECK_EQ(got, 64);
		CHECK_EQ(DATA[63], 0x5a);
	}
}

static uint32_t power_state(void)
{
	return rig_cfg(rig.p.cap_pm + VIO_PCI_PM_CSR, 2) & VIO_PCI_PM_STATE;
}

TEST("suspended, asleep, awake and resumed: nothing is forgotten",
     "core.driver.device-suspend.2 core.driver.device-suspend.6")
{
	bool kept;

	for (unsigned how = 0; how < HOWS; how++) {
		start(false, how, how * 5);
		read_some();
		for (unsigned i = 0; i < 5; i++) {
			CHECK_EQ(vio_drv_suspend(&drv.drv), VIO_OK);
			CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
			CHECK_EQ(power_state(), VIO_PCI_PM_D3HOT);
			CHECK_EQ(rig.where[4], 0);
			CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_E_STATE);
			CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
			CHECK_EQ(power_state(), 0);
			CHECK(kept);
			CHECK_EQ(delays, 2 * i + 2);
			CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_E_STATE);
			CHECK_EQ(vio_drv_resume(&drv.drv), VIO_OK);
			read_some();
		}
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		CHECK_EQ(rig.mem.pins, 0);
	}
}

/* The driver's part where it cannot suspend, or all was lost. */
static void start_anew(enum how how, unsigned set)
{
	interrupts(how == MESSAGE ? MESSAGE : POLL);
	init_driver(set);
	read_some();
}

TEST("reset on its way: regions and interrupts are put back, the driver starts",
     "")
{
	bool kept;

	for (unsigned i = 0; i < 2 * HOWS; i++) {
		unsigned how = i % HOWS;
		bool legacy = i >= HOWS;

		start(legacy, how, legacy ? 0 : 4);
		watch.forgets = true;
		read_some();
		rig_cfg_put(VIO_PCI_INT_LINE, 0x2a, 1);
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
		CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
		CHECK(!kept);
		CHECK_EQ(bus.vectors, 0);
		CHECK_EQ(rig.where[4], legacy ? rig.where[4] : RIG_REGS_BAR);
		CHECK_EQ(rig_cfg(VIO_PCI_INT_LINE, 1), 0x2a);
		CHECK_EQ(!(rig_cfg(VIO_PCI_COMMAND, 2) &
			   VIO_PCI_COMMAND_NO_INTX), how == LINE);
		start_anew(how, 5);
		CHECK_EQ(rig.edges > 0, how == LINE);
		CHECK_EQ(rig.msi[1] > 0, how == MESSAGE);
	}
}

TEST("a function that forgets what it said it keeps is found out", "")
{
	bool kept;

	/* All of it is gone. */
	start(false, POLL, 0);
	watch.forgets = watch.pretends = true;
	CHECK_EQ(vio_drv_suspend(&drv.drv), VIO_OK);
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
	CHECK(!kept);
	start_anew(POLL, 0);
	/* The device alone was reset behind its registers. */
	start(false, MESSAGE, 0);
	CHECK_EQ(vio_drv_suspend(&drv.drv), VIO_OK);
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
	CHECK_EQ(vio_dev_reset(rig.dev), VIO_OK);
	rig.regs[0] = (struct vio_pci_queue){ .notify_data = 0 };
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
	CHECK(!kept);
	CHECK_EQ(bus.vectors, 0);
	start_anew(MESSAGE, 0);
}

TEST("a function that does not change its state, and one without any", "")
{
	unsigned csr;
	bool kept;

	start(false, POLL, 0);
	csr = rig.p.cap_pm + VIO_PCI_PM_CSR;
	/* Wired to D0. */
	rig.p.writable[csr] = 0;
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_E_IO);
	CHECK_GT(delays, 1);
	CHECK_LE(delays, 100);
	read_some();
	/* Once asleep, it stays so. */
	rig.p.writable[csr] = VIO_PCI_PM_STATE;
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
	rig.p.writable[csr] = 0;
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_E_IO);
	CHECK(!kept);
	rig.p.writable[csr] = VIO_PCI_PM_STATE;
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
	CHECK(kept);
	read_some();
	rig.p.config[rig.p.cap_pm] = 0xff;
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_E_UNSUPP);
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_E_STATE);
}

TEST("of the register nothing but the state is changed", "")
{
	unsigned char *high;
	bool kept;

	start(false, POLL, 0);
	/* PME_EN is somebody's; PME_STATUS would be cleared by a 1. */
	high = &rig.p.config[rig.p.cap_pm + VIO_PCI_PM_CSR + 1];
	rig.p.writable[rig.p.cap_pm + VIO_PCI_PM_CSR + 1] = 0x7f;
	*high = 0x81;
	CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
	CHECK_EQ(*high, 0x81);
	CHECK_EQ(watch.power & 0xff00, 0x0100);
	CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
	CHECK(kept);
	CHECK_EQ(*high, 0x81);
	CHECK_EQ(watch.power & 0xff00, 0x0100);
}
