/* SPDX-License-Identifier: MIT */
/* vireo/driver_rng.h - the entropy device's driver (standard: 5.4). */
#ifndef VIREO_DRIVER_RNG_H
#define VIREO_DRIVER_RNG_H

#include <vireo/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vio_rngdrv {
	struct vio_drv drv;
	struct vio_vq vq;
};

int vio_rngdrv_init(struct vio_rngdrv *rng, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits,
		    struct vio_drv_mem *mem);

/*
 * vio_rngdrv_read() - up to @len random bytes into @buf, which lies in the
 * window; waits. @got: how many came. Returns VIO_OK, VIO_E_PEER if the
 * device broke the rules or gave nothing, VIO_E_IO if it is gone.
 */
int vio_rngdrv_read(struct vio_rngdrv *rng, void *buf, uint32_t len,
		    uint32_t *got);

#ifdef __cplusplus
}
#endif
#endif
