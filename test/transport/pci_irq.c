/* SPDX-License-Identifier: MIT */
/*
 * pci_irq.c - interrupts of the PCI transport's device side: ISR status and
 * line, vectors, masks and pending bits.
 */
#include "test/transport/pci_rig.h"

#define C(field)	VIRTIO_PCI_COMMON_##field
#define ENTRY(v)	(RIG_MSIX_BAR + (v) * VIO_PCI_MSIX_ENTRY)
#define PBA		(RIG_MSIX_BAR + 0x800)

static void start(const struct vio_pci_conf *conf)
{
	rig_console(conf);
	rig_place();
	rig_negotiate(0, RIG_V1);
	rig_enable(0, RIG_SIZE, RIG_GUEST);
	rig_enable(1, RIG_SIZE, RIG_GUEST + 0x1000);
	rig_common_put(C(DEVICE_STATUS), 15, 1);
}

static void used(unsigned q)
{
	rig.dev->transport->queue_notify(rig.dev->transport_ctx,
					 &rig.queue[q]);
}

static void changed(void)
{
	vio_dev_config_changed(rig.dev);
}

static bool status_bit(void)
{
	return rig_cfg(VIO_PCI_STATUS, 2) & VIO_PCI_STATUS_INTX;
}

TEST("events stand in the ISR status until it is read",
     "pci.device.isr-status-capability.2 pci.device.isr-status-capability.3 "
     "pci.device.isr-status-capability.4 pci.device.isr-status-capability.5")
{
	start(&rig_conf);
	CHECK(!rig.line && !status_bit());
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 0);
	used(0);
	CHECK(rig.line && status_bit());
	changed();
	CHECK(rig.line && status_bit());
	CHECK_EQ(rig.edges, 1);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 3);
	CHECK(!rig.line && !status_bit());
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 0);
	changed();
	CHECK_EQ(rig_mem(rig_at_isr(), 1), VIRTIO_PCI_ISR_CONFIG);
	used(1);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), VIRTIO_PCI_ISR_QUEUE);
	CHECK_EQ(rig.edges, 6);
	rig_mem_put(rig_at_isr(), 3, 1);
	CHECK(!rig.line);
}

TEST("the line is switched off by the command register", "")
{
	const uint32_t on = VIO_PCI_COMMAND_MEM | VIO_PCI_COMMAND_MASTER;

	start(&rig_conf);
	rig_cfg_put(VIO_PCI_COMMAND, on | VIO_PCI_COMMAND_NO_INTX, 2);
	used(0);
	CHECK(!rig.line);
	CHECK(status_bit());
	rig_cfg_put(VIO_PCI_COMMAND, on, 2);
	CHECK(rig.line);
	rig_cfg_put(VIO_PCI_COMMAND, on | VIO_PCI_COMMAND_NO_INTX, 2);
	CHECK(!rig.line);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), 1);
	rig_cfg_put(VIO_PCI_COMMAND, on, 2);
	CHECK(!rig.line);
}

TEST("any event is mapped to any vector, and unmapped",
     "pci.device.msi-x-vector-configuration.1 "
     "pci.device.msi-x-vector-configuration.2 "
     "pci.device.msi-x-vector-configuration.3 "
     "pci.device.msi-x-vector-configuration.4 "
     "pci.device.msi-x-vector-configuration.5 "
     "pci.device.msi-x-vector-configuration.6 "
     "pci.device.msi-x-vector-configuration.8 "
     "pci.device.msi-x-vector-configuration.9 "
     "pci.device.isr-status-capability.2 "
     "pci.device.used-buffer-notifications.1 "
     "pci.device.notification-device-configuration-changes.1")
{
	unsigned cap;

	start(&rig_conf);
	cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);
	CHECK_EQ(rig_cfg(cap + VIO_PCI_MSIX_CONTROL, 2), RIG_VECTORS - 1);
	rig_msix_on();
	for (unsigned v = 0; v < RIG_VECTORS; v++)
		rig_vector(v, 0x1fee00000ull + v * 4096, 0x40 + v);
	for (unsigned v = 0; v < RIG_VECTORS; v++) {
		rig_common_put(C(CONFIG_MSIX_VECTOR), v, 2);
		CHECK_EQ(rig_common(C(CONFIG_MSIX_VECTOR), 2), v);
		rig_common_put(C(QUEUE_SELECT), 1, 2);
		rig_common_put(C(QUEUE_MSIX_VECTOR), v, 2);
		CHECK_EQ(rig_common(C(QUEUE_MSIX_VECTOR), 2), v);
		CHECK_EQ(vio_pci_queue_vector(&rig.p, 1), v);
		used(1);
		CHECK_EQ(rig.msi[v], 1);
		changed();
		CHECK_EQ(rig.msi[v], 2);
		used(0);		/* NO_VECTOR */
		CHECK_EQ(rig.msi[v], 2);
		/* Messages or not, a change stands there. */
		CHECK_EQ(rig_mem(rig_at_isr(), 1), VIRTIO_PCI_ISR_CONFIG);
	}
	CHECK(!rig.line);
	CHECK(!status_bit());
	rig_common_put(C(CONFIG_MSIX_VECTOR), VIRTIO_MSI_NO_VECTOR, 2);
	rig_common_put(C(QUEUE_MSIX_VECTOR), RIG_VECTORS, 2);
	CHECK_EQ(rig_common(C(QUEUE_MSIX_VECTOR), 2), VIRTIO_MSI_NO_VECTOR);
	CHECK_EQ(rig_common(C(CONFIG_MSIX_VECTOR), 2), VIRTIO_MSI_NO_VECTOR);
	used(1);
	changed();
	for (unsigned v = 0; v < RIG_VECTORS; v++)
		CHECK_EQ(rig.msi[v], 2);
	CHECK(!rig.line);
}

static void map_queue_0(unsigned vector)
{
	rig_common_put(C(QUEUE_SELECT), 0, 2);
	rig_common_put(C(QUEUE_MSIX_VECTOR), vector, 2);
}

TEST("what is masked is pending, and comes when the mask goes", "")
{
	unsigned cap;
	uint64_t addr;
	uint32_t data;

	start(&rig_conf);
	cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);
	rig_msix_on();
	rig_vector(2, 0xfee00000, 0x42);
	map_queue_0(2);
	CHECK(vio_pci_vector(&rig.p, 2, &addr, &data));
	CHECK_EQ(addr, 0xfee00000);
	CHECK_EQ(data, 0x42);
	CHECK(!vio_pci_vector(&rig.p, 1, &addr, &data));
	CHECK(!vio_pci_vector(&rig.p, RIG_VECTORS, &addr, &data));
	/* the vector's own mask */
	rig_mem_put(ENTRY(2) + 12, 1, 4);
	used(0);
	used(0);
	CHECK_EQ(rig.msi[2], 0);
	CHECK_EQ(rig_mem(PBA, 4), 1 << 2);
	CHECK_EQ(rig_mem(PBA, 8), 1 << 2);
	rig_mem_put(PBA, 0, 4);			/* read-only */
	CHECK_EQ(rig_mem(PBA, 4), 1 << 2);
	rig_mem_put(ENTRY(2) + 12, 0, 4);
	CHECK_EQ(rig.msi[2], 1);
	CHECK_EQ(rig_mem(PBA, 4), 0);
	/* that of all */
	rig_cfg_put(cap + VIO_PCI_MSIX_CONTROL, VIO_PCI_MSIX_ENABLE |
		    VIO_PCI_MSIX_MASK_ALL, 2);
	CHECK(!vio_pci_vector(&rig.p, 2, &addr, &data));
	used(0);
	vio_pci_vector_raise(&rig.p, 3);
	vio_pci_vector_raise(&rig.p, RIG_VECTORS);
	CHECK_EQ(rig.msi[2], 1);
	CHECK_EQ(rig_mem(PBA, 4), 3 << 2);
	rig_msix_on();
	CHECK_EQ(rig.msi[2], 2);
	CHECK_EQ(rig_mem(PBA, 4), 1 << 3);	/* masked by itself */
	/* no master of the bus */
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MEM, 2);
	used(0);
	CHECK_EQ(rig.msi[2], 2);
	rig_cfg_put(VIO_PCI_COMMAND, VIO_PCI_COMMAND_MEM |
		    VIO_PCI_COMMAND_MASTER, 2);
	CHECK_EQ(rig.msi[2], 3);
}

TEST("the table takes words of 32 and 64 bits", "")
{
	start(&rig_conf);
	rig_msix_on();
	CHECK_EQ(rig_mem(ENTRY(1) + 12, 4), 1);		/* masked at first */
	rig.changed = 0;
	rig_mem_put(ENTRY(1), 0x1fee01003ull, 8);
	CHECK_EQ(rig.changed, 2);
	rig_mem_put(ENTRY(1) + 8, 0xfffffffe00000055ull, 8);
	CHECK_EQ(rig_mem(ENTRY(1), 8), 0x1fee01000ull);
	CHECK_EQ(rig_mem(ENTRY(1) + 8, 4), 0x55);
	CHECK_EQ(rig_mem(ENTRY(1) + 12, 4), 0);		/* reserved bits */
	rig_mem_put(ENTRY(1) + 8, 1, 2);
	rig_mem_put(ENTRY(1) + 9, 1, 4);
	rig_mem_put(ENTRY(1) + 4, 1, 8);
	CHECK_EQ(rig_mem(ENTRY(1) + 8, 4), 0x55);
	CHECK_EQ(rig_mem(ENTRY(1) + 8, 2), 0);
	rig_mem_put(ENTRY(RIG_VECTORS), 7, 4);		/* beyond the table */
	CHECK_EQ(rig_mem(ENTRY(RIG_VECTORS), 4), 0);
}

TEST("MSI-X on takes the line down, off brings it back", "")
{
	unsigned cap;

	start(&rig_conf);
	cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);
	changed();
	CHECK(rig.line);
	rig_msix_on();
	CHECK(!rig.line);
	CHECK(!status_bit());
	rig_cfg_put(cap + VIO_PCI_MSIX_CONTROL, 0, 2);
	CHECK(rig.line);
	/* The change of configuration is in the ISR status either way. */
	CHECK_EQ(rig_mem(rig_at_isr(), 1), VIRTIO_PCI_ISR_CONFIG);
	rig_msix_on();
	changed();
	used(0);
	CHECK_EQ(rig_mem(rig_at_isr(), 1), VIRTIO_PCI_ISR_CONFIG);
}

TEST("the largest table there is", "")
{
	static struct vio_pci_vector many[VIO_PCI_MSIX_VECTORS_MAX];
	const struct vio_pci_conf conf = { .vectors = 2048 };
	struct vio_pci_ops ops;
	unsigned cap;

	rig_rng(&rig_conf);
	ops = *rig.p.ops;
	ops.vector_changed = NULL;
	CHECK_EQ(vio_pci_init(&rig.p, &conf, rig.dev, &rig.mem, rig.regs,
			      many, &ops, NULL, NULL), VIO_OK);
	rig_place();
	cap = rig_cap(VIO_PCI_CAP_MSIX, 0, 0);
	CHECK_EQ(rig_cfg(cap + VIO_PCI_MSIX_CONTROL, 2), 0x7ff);
	CHECK_EQ(rig_cfg(cap + VIO_PCI_MSIX_TABLE, 4), 1);
	CHECK_EQ(rig_cfg(cap + VIO_PCI_MSIX_PBA, 4), 0x8001);
	rig_msix_on();
	vio_pci_vector_raise(&rig.p, 2047);
	CHECK_EQ(rig_mem(RIG_MSIX_BAR + 0x80fc, 4), 1u << 31);
	CHECK_EQ(rig_mem(RIG_MSIX_BAR + 0x8100, 4), 0);
	CHECK_EQ(rig_mem(ENTRY(2047) + 12, 4), 1);
	rig_common_put(C(CONFIG_MSIX_VECTOR), 2047, 2);
	CHECK_EQ(rig_common(C(CONFIG_MSIX_VECTOR), 2), 2047);
}
