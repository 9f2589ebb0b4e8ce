/* SPDX-License-Identifier: MIT */
/*
 * vireo/bus_ccw.h - the channel I/O transport's driver side (standard: 4.3): a
 * bus for the drivers, over three things that the machine does.
 */
#ifndef VIREO_BUS_CCW_H
#define VIREO_BUS_CCW_H

#include <vireo/driver.h>
#include <vireo/spec/ccw.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a channel program ended: what the interruption response says. */
struct vio_ccw_end {
	uint8_t device;		/* CCW_DSTAT_* */
	uint8_t subchannel;	/* CCW_CSTAT_* */
	uint8_t sense;		/* first byte, after a unit check */
	uint16_t residual;
};

struct vio_ccw_access {
	/*
	 * Start the subchannel with the format-1 program at guest address
	 * @program, wait until it has ended, and say how; after a unit check
	 * with its sense, which the machine reads by itself or by a BASIC
	 * SENSE. VIO_OK, or VIO_E_IO when the subchannel is gone.
	 */
	int (*start)(void *ctx, uint32_t program, struct vio_ccw_end *end);
	/* Diagnose 0x500, subcode 3. Returns what is in GPR2 then. */
	uint64_t (*notify)(void *ctx, uint64_t data, uint64_t cookie);
	/*
	 * Come back when an interrupt came, or sooner: a poll may return at
	 * once. VIO_E_IO when waiting is of no use any more.
	 */
	int (*wait)(void *ctx);
};

#define VIO_BUS_CCW_DATA	512	/* bytes of configuration, at most */

/*
 * What bus and device share: zeroed, in the window, at a multiple of 8 (which
 * its type does not ask for by itself), and below 2^31 for the device. Nothing
 * in it is believed but what a command just answered.
 */
struct vio_ccw_area {
	struct vio_ccw1 ccw;
	uint8_t indicators[8];
	uint8_t config_indicators[8];
	uint8_t summary;
	uint8_t pad[7];
	uint8_t data[VIO_BUS_CCW_DATA];
};

struct vio_bus_ccw {
	const struct vio_bus_ops *ops;	/* what to give to a driver's init */
	const struct vio_ccw_access *access;
	void *ctx;
	struct vio_ccw_area *area;
	uint32_t area_addr;
	uint32_t device_id;
	uint64_t cookie;
	uint8_t revision;
	uint8_t status;		/* as we know it */
	bool listening;		/* indicators are set up */
	int isc;		/* two-stage indicators; below 0: classic */
};

extern const struct vio_bus_ops vio_bus_ccw_ops, vio_bus_ccw_legacy_ops;

/*
 * vio_bus_ccw_probe() - what is behind the subchannel? Agrees on the highest
 * revision that both know, down to @lowest (0: the legacy interface too).
 * @isc: subclass for adapter interrupts, or -1 for classic ones. Returns
 * VIO_OK, with bus->device_id and bus->ops; VIO_E_UNSUPP where there is no
 * VIRTIO device or none that speaks such a revision; VIO_E_INVAL for a bad
 * @area.
 */
int vio_bus_ccw_probe(struct vio_bus_ccw *bus,
		      const struct vio_ccw_access *access, void *ctx,
		      struct vio_ccw_area *area, vio_addr area_addr,
		      unsigned lowest, int isc);

/* The bus's interrupt came: what happened? Look into these queues after. */
struct vio_ccw_events {
	uint64_t queues;	/* bit 0 is queue 0 */
	bool config;		/* configuration or status changed */
};

struct vio_ccw_events vio_bus_ccw_interrupt(struct vio_bus_ccw *bus);

#ifdef __cplusplus
}
#endif
#endif
