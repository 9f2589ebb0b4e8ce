/* SPDX-License-Identifier: MIT */
/*
 * vireo/driver.h - what all drivers share: the bus that a device is reached
 * through, and the start of a device. Drivers of a type stand beside it, in
 * driver_*.h.
 *
 * Thread: a device is started and reset by one thread; each of its queues
 * belongs to one thread at a time.
 */
#ifndef VIREO_DRIVER_H
#define VIREO_DRIVER_H

#include <vireo/vq.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- buses --------------------------------------------------------------- */

/*
 * The way to a device. Every method returns VIO_OK or an error of base.h;
 * those that give a number take a pointer for it.
 */
struct vio_bus_ops {
	int (*get_status)(void *bus, uint32_t *status);
	int (*set_status)(void *bus, uint32_t status);
	int (*get_features)(void *bus, struct vio_features *f);
	int (*set_features)(void *bus, const struct vio_features *f);
	/* The configuration space's generation. NULL: it has none. */
	int (*generation)(void *bus, uint32_t *generation);
	int (*config_read)(void *bus, uint32_t off, void *dst, uint32_t len);
	int (*config_write)(void *bus, uint32_t off, const void *src,
			    uint32_t len);
	/* Largest size of a queue; 0 where there is no such queue. */
	int (*queue_max)(void *bus, uint16_t index, uint16_t *size);
	int (*queue_start)(void *bus, uint16_t index,
			   const struct vio_queue_layout *layout);
	/*
	 * Available buffer notification. @next: the upper half of the
	 * notification's value where NOTIFICATION_DATA was agreed on (next_off
	 * and next_wrap, 2.9), else 0. What stands in the lower half is the
	 * bus's business.
	 */
	void (*notify)(void *bus, uint16_t index, uint16_t next);
	/*
	 * Come back when the queue may have used buffers, or sooner.
	 * VIO_E_IO when the device is gone for good.
	 */
	int (*wait)(void *bus, uint16_t index);
	/*
	 * Reset one queue and wait until that is done (RING_RESET). NULL: the
	 * bus cannot.
	 */
	int (*queue_reset)(void *bus, uint16_t index);
	/*
	 * Where shared memory region @id lies; VIO_E_UNSUPP where there is no
	 * such region. NULL: there are none.
	 */
	int (*shm)(void *bus, uint8_t id, struct vio_shm *shm);
	/*
	 * Features that are the bus's own to carry out (NOTIFICATION_DATA and
	 * the like): accepted where the device offers them, whatever the
	 * type's driver wants.
	 */
	struct vio_features carries;
	/*
	 * The legacy interface (standard: 2.4.1 and the like): no VERSION_1,
	 * no FEATURES_OK, configuration and rings in the guest's own order of
	 * bytes, and the ring in one piece with its used part aligned to this
	 * many bytes. 0: not legacy.
	 */
	uint32_t legacy_align;
	/* Queues have the size that queue_max() gives, and no other. */
	bool size_fixed;
};

/* -- a device as its driver knows it ------------------------------------- */

struct vio_drv {
	const struct vio_bus_ops *bus;
	void *bus_ctx;
	struct vio_features features;	/* as negotiated */
	uint32_t status;		/* bits we have set */
	bool legacy;			/* the bus has no other interface */
	bool suspended;			/* vio_drv_suspend() */
};

/*
 * Numbers that a device has in little-endian, or, through the legacy
 * interface, in the order of this machine: configuration, headers.
 */
static inline uint16_t vio_drv_from16(const struct vio_drv *drv, vio_le16 v)
{
	return drv->legacy ? v.raw : vio_from_le16(v);
}

static inline uint32_t vio_drv_from32(const struct vio_drv *drv, vio_le32 v)
{
	return drv->legacy ? v.raw : vio_from_le32(v);
}

static inline uint64_t vio_drv_from64(const struct vio_drv *drv, vio_le64 v)
{
	return drv->legacy ? v.raw : vio_from_le64(v);
}

static inline vio_le16 vio_drv_to16(const struct vio_drv *drv, uint16_t v)
{
	vio_le16 raw = { v };

	return drv->legacy ? raw : vio_to_le16(v);
}

static inline vio_le32 vio_drv_to32(const struct vio_drv *drv, uint32_t v)
{
	vio_le32 raw = { v };

	return drv->legacy ? raw : vio_to_le32(v);
}

static inline vio_le64 vio_drv_to64(const struct vio_drv *drv, uint64_t v)
{
	vio_le64 raw = { v };

	return drv->legacy ? raw : vio_to_le64(v);
}

/*
 * vio_drv_begin() - reset the device, acknowledge it, agree on features
 * (standard: 3.1.1, steps 1 to 6): those of @wanted that it offers.
 * Returns VIO_OK, VIO_E_UNSUPP if it is no VERSION_1 device or refuses the
 * features (status FAILED then), or what the bus says.
 *
 * On a bus of the legacy interface a device has no VERSION_1, nor a way to
 * refuse; each queue takes vio_vq_legacy_extra() bytes of shared memory more.
 */
int vio_drv_begin(struct vio_drv *drv, const struct vio_bus_ops *bus,
		  void *bus_ctx, const struct vio_features *wanted);

/*
 * The same in two steps, for a driver that looks at the configuration before
 * it chooses: vio_drv_meet() resets, acknowledges and leaves what is offered
 * in drv->features; vio_drv_agree() settles those of @wanted, and
 * vio_drv_give_up() says FAILED instead.
 */
int vio_drv_meet(struct vio_drv *drv, const struct vio_bus_ops *bus,
		 void *bus_ctx);
int vio_drv_agree(struct vio_drv *drv, const struct vio_features *wanted);
void vio_drv_give_up(struct vio_drv *drv);

/*
 * vio_drv_queue() - make queue @index and tell the device where it lies.
 * limits->size is cut to what the device permits.
 */
int vio_drv_queue(struct vio_drv *drv, uint16_t index, struct vio_vq *vq,
		  const struct vio_vq_limits *limits,
		  struct vio_drv_mem *mem);

/*
 * vio_drv_queue_reset() - take one queue away from the device and wait until
 * it let go. Take the buffers back (vio_vq_detach()), then vio_vq_reset() and
 * vio_drv_queue_again(), or vio_drv_queue() with another size. VIO_E_UNSUPP
 * where RING_RESET was not agreed on.
 */
int vio_drv_queue_reset(struct vio_drv *drv, uint16_t index);

/* Give a queue that was reset back to the device, empty. */
int vio_drv_queue_again(struct vio_drv *drv, uint16_t index,
			const struct vio_vq *vq);

/* All queues are set up: DRIVER_OK. */
int vio_drv_ready(struct vio_drv *drv);

/*
 * vio_drv_suspend() - suspend the device, and wait until it has used all
 * buffers that it was working on and says so (standard: 3.5). Until
 * vio_drv_resume() nothing is published, notified or configured; take back
 * buffers as ever. Returns VIO_OK, VIO_E_UNSUPP where SUSPEND was not agreed
 * on, VIO_E_STATE before vio_drv_ready(), VIO_E_PEER where the device cannot
 * and needs a reset.
 */
int vio_drv_suspend(struct vio_drv *drv);

/*
 * vio_drv_resume() - let it go on, and wait until it does; then kick each
 * queue that got buffers meanwhile. VIO_OK, VIO_E_STATE, or VIO_E_PEER where
 * the device cannot and needs a reset.
 */
int vio_drv_resume(struct vio_drv *drv);

/* Reset the device and wait until it says so. */
int vio_drv_reset(struct vio_drv *drv);

static inline bool vio_drv_has(const struct vio_drv *drv, unsigned bit)
{
	return vio_has(&drv->features, bit);
}

/*
 * A field of a configuration structure, which is there with the feature @bit,
 * or with @or_bit (0: no other).
 */
struct vio_drv_field {
	uint16_t off, len;		/* bytes: of one field, not of several,
					 * for buses go by them: 1, 2, 4, 8 */
	uint8_t bit, or_bit;
};

#define VIO_DRV_ALWAYS	255u		/* @bit: needs no feature */

/*
 * vio_drv_config_fields() - those of the @nr fields, in the order in which
 * they lie, that the features in drv->features make exist, as they were at one
 * moment, each at its place in @config. Nothing else is read from the device
 * (core.driver.device-configuration-space.2) nor written here.
 */
int vio_drv_config_fields(struct vio_drv *drv,
			  const struct vio_drv_field *fields, unsigned nr,
			  void *config);

/*
 * A copy of one field of the configuration; or of several of 32 or 64 bits
 * that belong together.
 */
int vio_drv_config_read(struct vio_drv *drv, uint32_t off, void *dst,
			uint32_t len);

/* Write configuration. VIO_E_STATE while the device is suspended. */
int vio_drv_config_write(struct vio_drv *drv, uint32_t off, const void *src,
			 uint32_t len);

/* Publish, and notify if the device wants it. */
void vio_drv_kick(struct vio_drv *drv, uint16_t index, struct vio_vq *vq);

/*
 * vio_drv_wait_used() - publish, notify, and wait until a buffer is used.
 * Returns its token; NULL if the device is gone or broke the queue.
 */
void *vio_drv_wait_used(struct vio_drv *drv, uint16_t index,
			struct vio_vq *vq, uint32_t *len);

#ifdef __cplusplus
}
#endif
#endif
