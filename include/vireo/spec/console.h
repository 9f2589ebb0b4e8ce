/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/console.h - constants and wire structs of the console device
 * (standard: 5.3), in its spelling.
 */
#ifndef VIREO_SPEC_CONSOLE_H
#define VIREO_SPEC_CONSOLE_H

#include <vireo/base.h>

#define VIRTIO_CONSOLE_F_SIZE		0
#define VIRTIO_CONSOLE_F_MULTIPORT	1
#define VIRTIO_CONSOLE_F_EMERG_WRITE	2

struct virtio_console_config {
	vio_le16 cols;
	vio_le16 rows;
	vio_le32 max_nr_ports;
	vio_le32 emerg_wr;
};

VIO_STATIC_ASSERT(offsetof(struct virtio_console_config, emerg_wr) == 8,
		  "5.3.4");
VIO_STATIC_ASSERT(sizeof(struct virtio_console_config) == 12, "5.3.4");

#endif
