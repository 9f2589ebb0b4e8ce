/* SPDX-License-Identifier: MIT */
/* The entropy driver: a buffer, filled. Knows no bus and no ring layout. */
#include <vireo/driver_rng.h>
#include <vireo/spec/rng.h>

int vio_rngdrv_init(struct vio_rngdrv *rng, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits,
		    struct vio_drv_mem *mem)
{
	int err;

	err = vio_drv_begin(&rng->drv, bus, bus_ctx, wanted);
	if (!err)
		err = vio_drv_queue(&rng->drv, VIRTIO_RNG_REQUESTQ, &rng->vq,
				    limits, mem);
	if (!err)
		err = vio_drv_ready(&rng->drv);
	return err;
}

int vio_rngdrv_read(struct vio_rngdrv *rng, void *buf, uint32_t len,
		    uint32_t *got)
{
	struct vio_seg seg = { buf, len };
	int err;

	/* entropy.driver.device-operation.1: nothing for it to read */
	err = vio_vq_add(&rng->vq, &seg, 0, 1, rng);
	if (err)
		return err;
	if (!vio_drv_wait_used(&rng->drv, VIRTIO_RNG_REQUESTQ, &rng->vq, got))
		return rng->vq.broken ? VIO_E_PEER : VIO_E_IO;
	/* entropy.driver.device-operation.2: at least one byte must come */
	return *got ? VIO_OK : VIO_E_PEER;
}
