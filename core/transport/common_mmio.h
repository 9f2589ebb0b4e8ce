/* SPDX-License-Identifier: MIT */
/*
 * common_mmio.h - what both versions of the MMIO transport do alike: the
 * interrupt, and configuration bytes as values of an access. It knows no
 * register.
 */
#ifndef CORE_TRANSPORT_COMMON_MMIO_H
#define CORE_TRANSPORT_COMMON_MMIO_H

#include <vireo/mmio.h>
#include "core/transport/common_line.h"

static inline bool vio_mmio_line_wanted(const void *status)
{
	return __atomic_load_n((const uint32_t *)status, __ATOMIC_SEQ_CST);
}

/*
 * mmio.device.mmio-device-register-layout.3: an event stands in
 * InterruptStatus from when it takes place until it is acknowledged.
 */
static inline void vio_mmio_raise(uint32_t *status, uint32_t bit,
				  struct vio_line *line,
				  const struct vio_mmio_ops *ops, void *ctx)
{
	if (!__atomic_fetch_or(status, bit, __ATOMIC_SEQ_CST))
		vio_line_update(line, vio_mmio_line_wanted, status,
				ops->interrupt, ctx);
}

static inline void vio_mmio_ack(uint32_t *status, uint32_t bits,
				struct vio_line *line,
				const struct vio_mmio_ops *ops, void *ctx)
{
	uint32_t old = __atomic_fetch_and(status, ~bits, __ATOMIC_SEQ_CST);

	if (old && !(old & ~bits))
		vio_line_update(line, vio_mmio_line_wanted, status,
				ops->interrupt, ctx);
}

static inline bool vio_mmio_width_ok(unsigned len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

/* Configuration has fields of every width; the bus is little-endian. */
static inline uint64_t vio_mmio_config_read(const struct vio_dev *dev,
					    uint64_t off, unsigned len)
{
	unsigned char b[8] = { 0 };
	uint64_t v = 0;

	vio_dev_config_read(dev, (uint32_t)off, b, len);
	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)b[i] << 8 * i;
	return v;
}

static inline void vio_mmio_config_write(struct vio_dev *dev, uint64_t off,
					 uint64_t v, unsigned len)
{
	unsigned char b[8];

	for (unsigned i = 0; i < len; i++)
		b[i] = (unsigned char)(v >> 8 * i);
	vio_dev_config_write(dev, (uint32_t)off, b, len);
}

#endif
