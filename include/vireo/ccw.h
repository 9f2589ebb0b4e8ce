/* SPDX-License-Identifier: MIT */
/*
 * vireo/ccw.h - the channel I/O transport's device side (standard: 4.3): any
 * device behind a subchannel. A hypervisor's channel subsystem hands over each
 * CCW (vio_ccw_cmd()), or a whole channel program (vio_ccw_start()), and
 * what status comes back is the subchannel's. Nothing else is needed.
 *
 * Thread: as mmio.h.
 */
#ifndef VIREO_CCW_H
#define VIREO_CCW_H

#include <vireo/dev.h>
#include <vireo/spec/ccw.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the transport asks of the machine around it. */
struct vio_ccw_ops {
	/*
	 * Make an unsolicited I/O interrupt pending for the subchannel, if
	 * none is. Any thread that works on the device's queues.
	 */
	void (*interrupt)(void *ctx);
	/* Make an adapter I/O interrupt of subclass @isc pending. */
	void (*adapter_interrupt)(void *ctx, unsigned isc);
	/* Call vio_queue_service(@q) soon; as in mmio.h. */
	void (*serve)(void *ctx, struct vio_queue *q);
};

/* A CCW of either format, decoded. */
struct vio_ccw_command {
	uint8_t code;
	uint8_t flags;
	uint16_t count;
	uint64_t addr;		/* guest address of the data */
};

/* How a command, or the program that it ended, came to its end. */
struct vio_ccw_status {
	uint8_t device;		/* CCW_DSTAT_* */
	uint8_t subchannel;	/* CCW_CSTAT_* */
	uint16_t residual;	/* bytes of the count that were not used */
};

#define VIO_CCW_REVISION	2	/* the highest */

struct vio_ccw {
	struct vio_dev *dev;
	struct vio_mem *mem;
	const struct vio_ccw_ops *ops;
	void *ctx;
	bool transitional;
	uint8_t max_revision;	/* 0 to VIO_CCW_REVISION; the owner's */
	int revision;		/* below 0: not set */
	uint8_t sense;		/* of the last command */
	struct vio_features driver;	/* written, not yet agreed on */
	/* Guest addresses of indicators; 0: none. */
	uint64_t indicators;	/* classic */
	uint64_t config_indicators;
	uint64_t summary, adapter;	/* two-stage */
	uint64_t bit_nr;
	uint8_t isc;
};

/*
 * vio_ccw_init() - put a device behind a subchannel. @transitional: revision
 * 0, the legacy interface, is to be had too. NOTIFICATION_DATA is added to
 * what the device offers, and SUSPEND where the revision has READ_STATUS.
 */
void vio_ccw_init(struct vio_ccw *c, struct vio_dev *dev, struct vio_mem *mem,
		  bool transitional, const struct vio_ccw_ops *ops, void *ctx,
		  const struct vio_log *log);

/* The subchannel was enabled: the revision is unset again. */
void vio_ccw_enabled(struct vio_ccw *c);

/*
 * vio_ccw_cmd() - carry out one command. Returns VIO_OK, with its end in @st,
 * or VIO_E_AGAIN for a reset that waits for requests in flight: nothing has
 * ended yet, give the same command again when a queue was served.
 */
int vio_ccw_cmd(struct vio_ccw *c, const struct vio_ccw_command *cmd,
		struct vio_ccw_status *st);

/*
 * vio_ccw_start() - run a program of format-1 CCWs at guest address @at, with
 * command chaining and transfers in channel. @at is moved on, so that after
 * VIO_E_AGAIN the same call goes on where it has to. When it returns VIO_OK,
 * @at is behind the last CCW (the address that a subchannel stores).
 */
int vio_ccw_start(struct vio_ccw *c, uint64_t *at, struct vio_ccw_status *st);

/*
 * vio_ccw_notify() - the guest called diagnose 0x500 with subcode 3; @data is
 * its GPR3, @cookie its GPR4. Returns the cookie for GPR2.
 */
uint64_t vio_ccw_notify(struct vio_ccw *c, uint64_t data, uint64_t cookie);

/* The subchannel that GPR2 names; its upper half means nothing. */
static inline uint32_t vio_ccw_subchannel(uint64_t gpr2)
{
	return (uint32_t)gpr2;
}

#ifdef __cplusplus
}
#endif
#endif
