/* SPDX-License-Identifier: MIT */
/*
 * vireo/bus_mmio.h - the MMIO transport's driver side (standard: 4.2): a bus
 * for the drivers, over four accesses that the machine supplies.
 */
#ifndef VIREO_BUS_MMIO_H
#define VIREO_BUS_MMIO_H

#include <vireo/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How the machine reaches the registers. Values are numbers: on a big-endian
 * machine these swap, for the registers are little-endian. Accesses keep
 * their order, among each other and with memory.
 */
struct vio_mmio_access {
	uint32_t (*read)(void *ctx, uint32_t off, unsigned len);
	void (*write)(void *ctx, uint32_t off, uint32_t value, unsigned len);
	/*
	 * Come back when the device's interrupt came, or sooner: a poll may
	 * return at once. VIO_E_IO when waiting is of no use any more.
	 */
	int (*wait)(void *ctx);
};

struct vio_bus_mmio {
	const struct vio_mmio_access *access;
	void *ctx;
	uint32_t device_id;
};

extern const struct vio_bus_ops vio_bus_mmio_ops;

/*
 * vio_bus_mmio_probe() - is there a device? Returns VIO_OK and its type in
 * bus->device_id, VIO_E_UNSUPP where there is no VIRTIO device of version 2,
 * or VIO_E_AGAIN for a place that is kept free (device id 0): no error.
 * Then give &vio_bus_mmio_ops and @bus to a driver's init.
 */
int vio_bus_mmio_probe(struct vio_bus_mmio *bus,
		       const struct vio_mmio_access *access, void *ctx);

/*
 * The same for devices of version 1, the legacy interface: give
 * &vio_bus_mmio_legacy_ops to the driver's init then. The shared part of the
 * window is for the ring below 2^44, and begins at a multiple of 4096 for the
 * device as for us.
 */
extern const struct vio_bus_ops vio_bus_mmio_legacy_ops;
int vio_bus_mmio_legacy_probe(struct vio_bus_mmio *bus,
			      const struct vio_mmio_access *access, void *ctx);

/*
 * vio_bus_mmio_interrupt() - the interrupt came: acknowledge, first of all,
 * and say what happened. Returns VIRTIO_MMIO_INT_* bits; look into each queue
 * for used buffers, or at the configuration, after this.
 */
uint32_t vio_bus_mmio_interrupt(struct vio_bus_mmio *bus);

#ifdef __cplusplus
}
#endif
#endif
