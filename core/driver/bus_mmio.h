/* SPDX-License-Identifier: MIT */
/* bus_mmio.h - methods that both versions of the MMIO bus have. */
#ifndef CORE_DRIVER_BUS_MMIO_H
#define CORE_DRIVER_BUS_MMIO_H

#include <vireo/bus_mmio.h>

static inline uint32_t vio_bus_mmio_get(const struct vio_bus_mmio *b,
					uint32_t off)
{
	return b->access->read(b->ctx, off, 4);
}

static inline void vio_bus_mmio_put(const struct vio_bus_mmio *b,
				    uint32_t off, uint32_t v)
{
	b->access->write(b->ctx, off, v, 4);
}

int vio_bus_mmio_find(struct vio_bus_mmio *b,
		      const struct vio_mmio_access *access, void *ctx,
		      uint32_t version);
int vio_bus_mmio_get_status(void *bus, uint32_t *status);
int vio_bus_mmio_set_status(void *bus, uint32_t status);
int vio_bus_mmio_config_read(void *bus, uint32_t off, void *dst,
			     uint32_t len);
int vio_bus_mmio_config_write(void *bus, uint32_t off, const void *src,
			      uint32_t len);
int vio_bus_mmio_queue_max(void *bus, uint16_t index, uint16_t *size);
int vio_bus_mmio_wait(void *bus, uint16_t index);

#endif
