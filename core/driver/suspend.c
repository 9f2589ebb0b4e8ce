/* SPDX-License-Identifier: MIT */
/*
 * suspend.c - a driver suspends its device and lets it go on (standard: 3.5).
 * It knows no bus but by its methods, and no device type.
 */
#include <vireo/driver.h>

/* Polls of the status before the device counts as stuck. */
#define PATIENCE	100000

/* Wait until those of DRIVER_OK and SUSPEND that are set are @want. */
static int wait_for(struct vio_drv *drv, uint32_t want)
{
	const uint32_t both = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_SUSPEND;
	uint32_t status;
	int err;

	for (unsigned i = 0; i < PATIENCE; i++) {
		err = drv->bus->get_status(drv->bus_ctx, &status);
		if (err)
			return err;
		if ((status & both) == want)
			return VIO_OK;
		if (status & VIRTIO_STATUS_NEEDS_RESET)
			return VIO_E_PEER;
		err = drv->bus->wait(drv->bus_ctx, 0);
		if (err)
			return err;
	}
	return VIO_E_IO;
}

int vio_drv_suspend(struct vio_drv *drv)
{
	int err;

	if (!vio_drv_has(drv, VIRTIO_F_SUSPEND))
		return VIO_E_UNSUPP;
	/* core.driver.device-suspend.1 */
	if (!(drv->status & VIRTIO_STATUS_DRIVER_OK) || drv->suspended)
		return VIO_E_STATE;
	drv->suspended = true;
	err = drv->bus->set_status(drv->bus_ctx, drv->status |
				   VIRTIO_STATUS_SUSPEND);
	/* core.driver.device-suspend.2 */
	return err ? err : wait_for(drv, VIRTIO_STATUS_SUSPEND);
}

int vio_drv_resume(struct vio_drv *drv)
{
	int err;

	if (!drv->suspended)
		return VIO_E_STATE;
	/* Bits are set, never cleared: SUSPEND goes by the device's hand. */
	err = drv->bus->set_status(drv->bus_ctx, drv->status |
				   VIRTIO_STATUS_SUSPEND);
	/* core.driver.device-suspend.6 */
	if (!err)
		err = wait_for(drv, VIRTIO_STATUS_DRIVER_OK);
	if (!err)
		drv->suspended = false;
	return err;
}
