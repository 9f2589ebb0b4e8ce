/* SPDX-License-Identifier: MIT */
/*
 * whole_field.h - how a driver may access the configuration of a device: each
 * field by its width, 64-bit ones by halves. It knows no transport.
 */
#ifndef TEST_TRANSPORT_WHOLE_FIELD_H
#define TEST_TRANSPORT_WHOLE_FIELD_H

#include <vireo/dev.h>

/*
 * mmio.driver.mmio-device-register-layout.3, pci.driver.pci-device-layout.1.
 * Of fields that are younger than legacy drivers the widths are not known
 * here: aligned is all that can be said.
 */
static inline bool whole_field(const struct vio_dev *dev, uint64_t off,
			       unsigned len)
{
	const char *f = dev->ops->config_fields;
	uint64_t first = 0;

	for (; f && *f; first += (unsigned)(*f++ - '0')) {
		unsigned width = (unsigned)(*f - '0');

		if (off - first >= width)
			continue;
		return len == (width < 4 ? width : 4) &&
		       (off - first) % 4 == 0;
	}
	return off % len == 0;
}

#endif
