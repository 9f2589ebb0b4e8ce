/* SPDX-License-Identifier: MIT */
/*
 * vireo/mmio.h - the MMIO transport's device side (standard: 4.2): any device
 * behind a block of registers. A hypervisor's trap handler, an emulator's bus
 * or another core's mailbox calls vio_mmio_read() and vio_mmio_write() for
 * each access; nothing else is needed.
 *
 * Thread: calls for one device come one at a time. A queue is started and
 * stopped from within them; an embedder that serves queues on other threads
 * keeps these away meanwhile (see dev.h). What every interrupt costs, reads of
 * InterruptStatus and writes of InterruptACK, may come on any thread at any
 * time.
 */
#ifndef VIREO_MMIO_H
#define VIREO_MMIO_H

#include <vireo/dev.h>
#include <vireo/line.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the transport asks of the machine around it. */
struct vio_mmio_ops {
	/* The level of the interrupt line changed. Any thread that works on
	 * the device's queues, one call at a time. */
	void (*interrupt)(void *ctx, bool level);
	/*
	 * Call vio_queue_service(@q) soon: the driver notified, or the device
	 * asks for it. May be called from within vio_mmio_write(), and from
	 * any thread.
	 */
	void (*serve)(void *ctx, struct vio_queue *q);
};

/* The registers of one queue, as the driver wrote them. */
struct vio_mmio_queue {
	uint64_t desc, driver, device;
	uint16_t size;
	/*
	 * With NOTIFICATION_DATA: how far the driver said it was, when it
	 * notified last. A hint for those who look on: nothing goes by it.
	 */
	uint16_t next;
	bool ready;
	bool resetting;
};

struct vio_mmio {
	struct vio_dev *dev;
	struct vio_mem *mem;
	const struct vio_mmio_ops *ops;
	void *ctx;
	struct vio_mmio_queue *queue;	/* as many as the device has */
	struct vio_features driver;	/* written, not yet agreed on */
	uint32_t vendor_id;
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	uint32_t shm_sel;
	uint32_t interrupt_status;	/* atomic */
	struct vio_line line;
};

/*
 * vio_mmio_init() - put a device behind registers. @queue: storage for one
 * entry a queue of @dev; @mem: the guest's memory, which outlives the device;
 * @log may be NULL. RING_RESET, NOTIFICATION_DATA and SUSPEND are added to
 * what the device offers.
 */
void vio_mmio_init(struct vio_mmio *m, struct vio_dev *dev,
		   struct vio_mem *mem, struct vio_mmio_queue *queue,
		   const struct vio_mmio_ops *ops, void *ctx,
		   const struct vio_log *log);

/*
 * The driver reads or writes @len bytes (1, 2, 4, 8) at @off from the start of
 * the registers; values are numbers, not bytes. An access that no register
 * has reads as 0 or does nothing.
 */
uint64_t vio_mmio_read(struct vio_mmio *m, uint64_t off, unsigned len);
void vio_mmio_write(struct vio_mmio *m, uint64_t off, uint64_t value,
		    unsigned len);

#ifdef __cplusplus
}
#endif
#endif
