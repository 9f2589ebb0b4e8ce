/* SPDX-License-Identifier: MIT */
/* Private to the block driver. */
#ifndef CORE_DRIVER_BLK_H
#define CORE_DRIVER_BLK_H

#include <vireo/driver_blk.h>

#include "core/base/mod.h"

/*
 * May this request be sent, by what was agreed and what the disk is? VIO_OK,
 * or what vio_blkdrv_submit() says.
 */
int vio_blkdrv_check(const struct vio_blkdrv *blk,
		     const struct vio_blkdrv_req *req);

#endif
