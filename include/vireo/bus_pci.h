/* SPDX-License-Identifier: MIT */
/*
 * vireo/bus_pci.h - the PCI transport's driver side (standard: 4.1): finding
 * functions on the bus, giving them addresses where no firmware did, and a
 * bus for the drivers, over accesses that the machine supplies.
 *
 * Thread: as of a device, see driver.h. vio_bus_pci_interrupt() belongs to
 * whoever handles the interrupt.
 */
#ifndef VIREO_BUS_PCI_H
#define VIREO_BUS_PCI_H

#include <vireo/driver.h>
#include <vireo/spec/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- the machine --------------------------------------------------------- */

/* How configuration space is reached. */
enum vio_pci_mechanism {
	VIO_PCI_BY_HOOK,	/* accesses of VIO_PCI_CONFIG: address is
				 * function << 12 | offset */
	VIO_PCI_BY_PORTS,	/* configuration mechanism #1: 0xcf8, 0xcfc */
	VIO_PCI_BY_ECAM,	/* memory at ecam_base */
};

/*
 * How the machine reaches things. Values are numbers: on a big-endian machine
 * these swap, for PCI is little-endian. Accesses keep their order, among each
 * other and with memory. @len: 1, 2 or 4.
 */
struct vio_pci_machine {
	uint32_t (*read)(void *ctx, enum vio_pci_space space, uint64_t addr,
			 unsigned len);
	void (*write)(void *ctx, enum vio_pci_space space, uint64_t addr,
		      uint32_t value, unsigned len);
	/*
	 * Come back when the device's interrupt came, or sooner: a poll may
	 * return at once. VIO_E_IO when waiting is of no use any more.
	 */
	int (*wait)(void *ctx);
	/*
	 * Make @len bytes at a bus address reachable; what it returns is the
	 * address that accesses get instead, as aligned as the other, or
	 * UINT64_MAX if it cannot be. NULL: they get the bus address.
	 */
	uint64_t (*map)(void *ctx, enum vio_pci_space space, uint64_t addr,
			uint64_t len);
	/*
	 * Let this many microseconds pass. NULL: functions change their power
	 * state at once, as those of a hypervisor do.
	 */
	void (*delay)(void *ctx, uint32_t usecs);
	enum vio_pci_mechanism mechanism;
	uint64_t ecam_base;
	uint16_t nr_buses;	/* to look at, from 0; 0: one */
};

/* A function's place on the bus, as the accesses spell it. */
#define VIO_PCI_FUNCTION(bus, dev, fn) \
	((uint32_t)(bus) << 8 | (uint32_t)(dev) << 3 | (uint32_t)(fn))

uint32_t vio_pci_get(const struct vio_pci_machine *m, void *ctx,
		     uint32_t function, unsigned off, unsigned len);
void vio_pci_put(const struct vio_pci_machine *m, void *ctx,
		 uint32_t function, unsigned off, uint32_t value,
		 unsigned len);

/*
 * vio_pci_next() - the first virtio function at *@function or behind it, by
 * vendor and device. VIO_OK and its place; VIO_E_UNSUPP: there is no more.
 */
int vio_pci_next(const struct vio_pci_machine *m, void *ctx,
		 uint32_t *function);

/* Addresses that regions may have: from here on, up to the end. */
struct vio_pci_windows {
	uint64_t mem, mem_end;
	uint64_t io, io_end;
};

/*
 * vio_pci_assign() - give each region of a function an address, where no
 * firmware did. Takes what it needs from @w. VIO_OK, or VIO_E_NOSPC if it
 * does not fit.
 */
int vio_pci_assign(const struct vio_pci_machine *m, void *ctx,
		   uint32_t function, struct vio_pci_windows *w);

/* -- a device ------------------------------------------------------------ */

#ifndef VIO_BUS_PCI_QUEUES
#define VIO_BUS_PCI_QUEUES	32	/* a device's others are not used */
#endif

/* A structure of the device, as accesses reach it. */
struct vio_pci_place {
	enum vio_pci_space space;
	uint64_t addr;
	uint64_t len;		/* 0: there is none */
};

struct vio_bus_pci_queue {
	uint64_t at;		/* where to notify */
	uint16_t data;		/* lower half of what is written there */
};

/* What is put back when a function wakes. */
struct vio_pci_slept {
	bool asleep;
	uint8_t int_line;
	uint16_t command;
	uint32_t status;	/* the device's */
	uint32_t bar[VIO_PCI_NR_BARS];
};

struct vio_bus_pci {
	const struct vio_bus_ops *ops;	/* for a driver's init */
	const struct vio_pci_machine *machine;
	void *ctx;
	uint32_t function;
	uint32_t device_id;	/* VIRTIO_ID_* */

	struct vio_pci_place common, notify, isr, device;
	struct vio_pci_place bar[VIO_PCI_NR_BARS];
	uint32_t notify_multiplier;
	uint8_t cap_msix, cap_pm;
	bool wide;		/* NOTIFICATION_DATA: 32 bits */
	bool config_data;	/* NOTIF_CONFIG_DATA */
	bool line;		/* INTx is in use */
	uint16_t vectors_max;	/* that the device has */
	uint16_t vectors;	/* in use; 0: no MSI-X */
	struct vio_bus_pci_queue queue[VIO_BUS_PCI_QUEUES];
	struct vio_pci_slept slept;
};

extern const struct vio_bus_ops vio_bus_pci_ops;
extern const struct vio_bus_ops vio_bus_pci_legacy_ops;

/*
 * vio_bus_pci_probe() - find a function's structures, switch its regions on,
 * interrupts off. Returns VIO_OK and its type in bus->device_id;
 * VIO_E_UNSUPP where it is no virtio function, or not one that can be used;
 * VIO_E_PEER where what it says of itself cannot be. Then give bus->ops and
 * @bus to a driver's init.
 */
int vio_bus_pci_probe(struct vio_bus_pci *bus,
		      const struct vio_pci_machine *m, void *ctx,
		      uint32_t function);

/*
 * vio_bus_pci_probe_legacy() - the same through the ports of a legacy or a
 * transitional function. Where both ways are of interest, first try the other
 * one; a build that never calls this has none of it. Rings lie in one piece,
 * below 16 TiB, and have the size that the device says.
 */
int vio_bus_pci_probe_legacy(struct vio_bus_pci *bus,
			     const struct vio_pci_machine *m, void *ctx,
			     uint32_t function);

/* An interrupt message: what is written where. */
struct vio_pci_message {
	uint64_t addr;
	uint32_t data;
};

/*
 * vio_bus_pci_msix() - use MSI-X with @nr messages, before a driver's init:
 * the first for changes of configuration, the others for the queues, shared
 * in turn if there are more queues; a single one for all. Returns VIO_OK,
 * VIO_E_UNSUPP where the device has not so many vectors (bus->vectors_max).
 */
int vio_bus_pci_msix(struct vio_bus_pci *bus,
		     const struct vio_pci_message *msg, uint16_t nr);

/* The message (index) that comes for queue @index. */
uint16_t vio_bus_pci_vector(const struct vio_bus_pci *bus, uint16_t index);

/* Use the interrupt line. Not together with MSI-X. */
void vio_bus_pci_intx(struct vio_bus_pci *bus);

/*
 * vio_bus_pci_interrupt() - the line's interrupt came: acknowledge, first of
 * all, and say what happened. Returns VIRTIO_PCI_ISR_* bits, both of which may
 * be set; 0: it was not ours. Look into each queue for used buffers, or at
 * the configuration, after this.
 */
uint32_t vio_bus_pci_interrupt(struct vio_bus_pci *bus);

/* -- power ---------------------------------------------------------------- */

/*
 * vio_bus_pci_sleep() - put the function into D3hot. Before, the driver
 * suspends the device (vio_drv_suspend()), or resets it where it cannot: until
 * vio_bus_pci_wake() nothing may be in flight, and no register be touched.
 * Returns VIO_OK; VIO_E_UNSUPP where it has no such state, VIO_E_STATE where
 * it sleeps already, VIO_E_IO where it does not go there.
 */
int vio_bus_pci_sleep(struct vio_bus_pci *bus);

/*
 * vio_bus_pci_wake() - back to D0. @kept: out: it forgot nothing, and
 * vio_drv_resume() lets the device go on. Else it was reset on its way (PCI
 * permits that, No_Soft_Reset): its regions are where they were, but requests
 * are lost, messages are to be given again (vio_bus_pci_msix()), and the
 * driver starts it anew by its init. Returns VIO_OK, or VIO_E_STATE or
 * VIO_E_IO as above.
 */
int vio_bus_pci_wake(struct vio_bus_pci *bus, bool *kept);

#ifdef __cplusplus
}
#endif
#endif
